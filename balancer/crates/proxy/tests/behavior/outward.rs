//! Calls that nodes make to the outside: who may, where to, what becomes of their dialogs, what they count.

use switchtender_proxy::{ConnectionId, Counter, FailureKind, Flow, Local, Outcome, Transport};

use crate::text::{Request, Text};
use crate::world::{CALLER, NODES, PUBLIC, Sent, Setup, World, address, config};

const FIRST: &str = "192.0.2.40:5060";
const SECOND: &str = "192.0.2.41:5080";

fn to_trunks() -> Setup {
    Setup {
        group: r#""egress": {"listener": 0, "next_hops": [
            {"address": "192.0.2.40:5060", "transport": "UDP", "priority": 10, "weight": 1.0},
            {"address": "192.0.2.41:5080", "transport": "UDP", "priority": 0, "weight": 1.0}]},"#,
        legs: 1,
        ..Setup::default()
    }
}

/// As the first node sends it.
fn invite() -> Request {
    Request {
        from: "<sip:1000@10.1.0.1>;tag=nodetag".into(),
        to: "<sip:+15550100@trunk.example.net>".into(),
        call_id: "outward".into(),
        contact: Some("<sip:node@10.1.0.1:5060>".into()),
        ..Request::invite().uri("sip:+15550100@trunk.example.net")
    }
    .via("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKoutward")
}

/// The INVITE as the one outside gets it.
fn leave(world: &mut World, invite: &Request) -> Sent {
    world.receive_at(Local::NodeSide, NODES[0], invite.text());
    assert_eq!(world.sent_response(100).from, Local::NodeSide);
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.from, PUBLIC, "out of the listener of the egress");
    sent
}

/// Answers as the one outside does; the 200 as the node gets it.
fn answer(world: &mut World, sent: &Sent) -> Text {
    let peer = sent.to.to_string();
    let ok = sent.text.response(200, "OK", "").replace("<sip:node@10.1.0.1:5060>", &format!("<sip:out@{peer}>"));
    world.receive_at(PUBLIC, &peer, ok);
    let ok = world.sent_response(200);
    assert_eq!((ok.from, ok.to.to_string()), (Local::NodeSide, NODES[0].to_owned()));
    ok.text
}

/// In the dialog, from the node.
fn by_caller(method: &'static str, ok: &Text) -> Request {
    let mut routes: Vec<String> = ok.all("Record-Route").into_iter().map(String::from).collect();
    routes.reverse();
    Request {
        method,
        to: ok.get("To").unwrap().into(),
        routes,
        cseq: if method == "ACK" { 1 } else { 2 },
        body: String::new(),
        extra: String::new(),
        ..invite().uri(ok.get("Contact").unwrap().trim_matches(['<', '>']))
    }
    .via(&format!("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKnode{method}"))
}

/// In the dialog, from outside.
fn by_callee(method: &'static str, sent: &Sent) -> Request {
    Request {
        method,
        uri: "sip:node@10.1.0.1:5060".into(),
        from: format!("{};tag=node", sent.text.get("To").unwrap()),
        to: sent.text.get("From").unwrap().into(),
        call_id: "outward".into(),
        routes: sent.text.all("Record-Route").into_iter().map(String::from).collect(),
        contact: None,
        cseq: 9,
        ..Request::new(method, "callee")
    }
    .via(&format!("SIP/2.0/UDP {};rport;branch=z9hG4bKcallee{method}", sent.to))
}

#[test]
fn a_call_of_a_node_leaves_to_the_next_hop_and_its_dialog_comes_through_us_both_ways() {
    let mut world = World::with(config(), &to_trunks());
    let sent = leave(&mut world, &invite());
    assert_eq!(sent.to.to_string(), FIRST);
    assert_eq!(sent.text.uri(), "sip:+15550100@trunk.example.net", "as the node wrote it");
    assert!(sent.text.get("Via").unwrap().starts_with("SIP/2.0/UDP sip.example.com:5060;"));
    let routes = sent.text.all("Record-Route");
    assert!(routes.len() == 1 && routes[0].ends_with("@sip.example.com:5060;lr>"), "nothing of the inside: {routes:?}");
    let ok = answer(&mut world, &sent);
    let routes = ok.all("Record-Route");
    assert!(routes[0].ends_with("@sip.example.com:5060;lr>") && routes[1].ends_with("@10.96.7.7:5070;lr>"));
    world.receive_at(Local::NodeSide, NODES[0], by_caller("ACK", &ok).text());
    let ack = world.sent_request("ACK");
    assert_eq!((ack.from, ack.to.to_string()), (PUBLIC, FIRST.to_owned()));
    world.receive_at(Local::NodeSide, NODES[0], by_caller("INFO", &ok).text());
    let info = world.sent_request("INFO");
    assert_eq!((info.from, info.to.to_string()), (PUBLIC, FIRST.to_owned()));
    assert_eq!(info.text.all("Route"), Vec::<&str>::new());
    world.receive_at(PUBLIC, FIRST, by_callee("BYE", &sent).text());
    let bye = world.sent_request("BYE");
    assert!(bye.to_node(NODES[0]) && bye.from == Local::Worker);
    world.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(world.sent_response(200).to.to_string(), FIRST);
    let counts =
        [Outcome::Outward, Outcome::OutwardAnswered, Outcome::OutwardFailed, Outcome::Offered, Outcome::Answered];
    assert_eq!(counts.map(|one| world.outcome(one)), [1, 1, 0, 0, 0], "not one of the group's own calls");
    world.settle_down();
}

#[test]
fn an_outward_call_counts_once_at_its_node_where_a_call_is_one_leg_and_not_at_all_where_it_is_more() {
    for (legs, counted) in [(1, 1), (2, 0)] {
        let mut world = World::with(config(), &Setup { legs, ..to_trunks() });
        let sent = leave(&mut world, &invite());
        assert_eq!(world.ledger(NODES[0]).assigned, counted, "{legs}");
        assert_eq!(world.ledger(NODES[0]).in_flight, 0);
        let ok = answer(&mut world, &sent);
        world.receive_at(Local::NodeSide, NODES[0], by_caller("BYE", &ok).text());
        let bye = world.sent_request("BYE");
        world.receive_at(PUBLIC, FIRST, bye.text.response(200, "OK", ""));
        world.sent_response(200);
        assert_eq!(world.ledger(NODES[0]).ended, counted, "{legs}");
    }
}

#[test]
fn where_a_node_reports_nothing_a_failed_outward_call_is_given_back() {
    let mut world = World::with(config(), &to_trunks());
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.admission = Some(switchtender_select::Admission::Unmeasured));
    let sent = leave(&mut world, &invite());
    world.receive_at(PUBLIC, FIRST, sent.text.response(486, "Busy Here", ""));
    world.sent_request("ACK");
    world.sent_response(486);
    let ledger = world.ledger(NODES[0]);
    assert_eq!((ledger.assigned, ledger.ended), (1, 1));
    assert_eq!(world.outcome(Outcome::OutwardFailed), 1);
}

#[test]
fn rfc_3263_4_3_another_next_hop_is_tried_on_503_silence_and_transport_errors() {
    for fate in ["503", "100 and 503", "silence", "icmp"] {
        let mut world = World::with(config(), &to_trunks());
        let sent = leave(&mut world, &invite());
        match fate {
            "silence" => world.pass_ms(2000),
            "icmp" => world.fail(FailureKind::Icmp, FIRST, &sent.text),
            _ => {
                if fate.starts_with("100") {
                    world.receive_at(PUBLIC, FIRST, sent.text.response(100, "Trying", ""));
                }
                world.receive_at(PUBLIC, FIRST, sent.text.response(503, "Service Unavailable", ""));
                world.sent_request("ACK");
            }
        }
        let second = world.drain().into_iter().find(|sent| sent.to.to_string() == SECOND).expect(fate);
        assert_eq!(second.text.method(), Some("INVITE"));
        // Its answer has a token that leads to it.
        world.receive_at(
            PUBLIC,
            SECOND,
            second.text.response(200, "OK", "").replace("node@10.1.0.1:5060", "out@name.example.net"),
        );
        let ok = world.drain().pop().unwrap().text;
        world.receive_at(Local::NodeSide, NODES[0], by_caller("BYE", &ok).text());
        assert_eq!(world.drain().pop().unwrap().to.to_string(), SECOND, "{fate}");
        // The one that failed is not the first to be tried next.
        let next = Request { call_id: "next".into(), ..invite() }.via("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKnext");
        assert_eq!(leave(&mut world, &next).to.to_string(), SECOND, "{fate}");
    }
}

#[test]
fn when_every_next_hop_fails_the_node_gets_500_and_a_far_ends_answer_is_final() {
    let mut world = World::with(config(), &to_trunks());
    let sent = leave(&mut world, &invite());
    world.receive_at(PUBLIC, FIRST, sent.text.response(503, "Service Unavailable", ""));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    world.receive_at(PUBLIC, SECOND, second.text.response(503, "Service Unavailable", ""));
    assert_eq!(world.wire.decisions, ["failed outside code 1 true", "failed outside code 2 false"]);
    world.sent_request("ACK");
    world.sent_response(500);
    world.silent();
    let again = Request { call_id: "again".into(), ..invite() }.via("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKagain");
    let sent = leave(&mut world, &again);
    let peer = sent.to.to_string();
    world.receive_at(PUBLIC, &peer, sent.text.response(486, "Busy Here", ""));
    world.sent_request("ACK");
    world.sent_response(486);
    world.silent();
}

#[test]
fn a_cancelled_outward_call_is_cancelled_outside() {
    let mut world = World::with(config(), &to_trunks());
    let sent = leave(&mut world, &invite());
    world.receive_at(PUBLIC, FIRST, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.receive_at(Local::NodeSide, NODES[0], invite().of_same_transaction("CANCEL"));
    world.sent_response(200);
    let cancel = world.sent_request("CANCEL");
    assert_eq!(cancel.to.to_string(), FIRST);
    world.receive_at(PUBLIC, FIRST, sent.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    world.sent_response(487);
    world.receive_at(Local::NodeSide, NODES[0], invite().of_same_transaction("ACK"));
    world.settle_down();
}

#[test]
fn the_literal_request_uri_is_followed_into_its_networks_and_nowhere_else() {
    let group = r#""egress": {"listener": 0, "request_uri": ["192.0.2.0/24"]},"#;
    let mut world = World::with(config(), &Setup { group, ..Setup::default() });
    for (uri, to) in [
        ("sip:bob@192.0.2.77:5090", Some("192.0.2.77:5090")),
        ("sip:bob@192.0.2.77", Some("192.0.2.77:5060")),
        ("sip:bob@203.0.113.1", None),
        ("sip:bob@phone.example.org", None),
        ("sip:bob@192.0.2.77;maddr=203.0.113.1", None),
        ("sip:bob@198.51.100.1", None),
        ("tel:+15550100", None),
    ] {
        let branch = uri.replace([':', '@', ';', '=', '+'], "");
        let invite = Request { call_id: branch.clone(), ..invite().uri(uri) }
            .via(&format!("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bK{branch}"));
        world.receive_at(Local::NodeSide, NODES[0], invite.text());
        match to {
            Some(to) => {
                world.sent_response(100);
                assert_eq!(world.sent_request("INVITE").to.to_string(), to);
            }
            None => drop(world.sent_response(403)),
        }
        world.silent();
    }
    assert_eq!(world.count(Counter::RejectedOutward), 5);
}

#[test]
fn networks_that_hold_everything_do_not_hold_our_own_host_nor_the_nodes() {
    let everything = r#""egress": {"listener": 0, "request_uri": ["0.0.0.0/0", "::/0"]},"#;
    let loopback = r#""egress": {"listener": 0, "request_uri": ["127.0.0.0/8", "fe80::/10"]},"#;
    for (group, named, leaves) in [
        (everything, "127.0.0.1:8080;transport=tcp", false),
        (everything, "[::1]", false),
        (everything, "[::ffff:127.0.0.1]", false),
        (everything, "169.254.169.254:80", false),
        (everything, "[fe80::1]", false),
        (everything, "10.1.0.2:8021;transport=tcp", false),
        (everything, "203.0.113.1", true),
        (loopback, "127.0.0.1:5062", true),
        (loopback, "[fe80::1]", true),
    ] {
        let mut world = World::with(config(), &Setup { group, ..Setup::default() });
        world.receive_at(Local::NodeSide, NODES[0], invite().uri(&format!("sip:bob@{named}")).text());
        world.sent_response(if leaves { 100 } else { 403 });
        assert_eq!(world.drain().len(), usize::from(leaves), "{named}");
    }
}

#[test]
fn without_an_egress_or_from_a_stranger_or_from_a_node_that_left_it_is_403() {
    let mut plain = World::new();
    plain.receive_at(Local::NodeSide, NODES[0], invite().text());
    plain.sent_response(403);
    let mut world = World::with(config(), &to_trunks());
    for source in [CALLER, "10.2.3.4:5060"] {
        world.receive_at(Local::NodeSide, source, invite().text());
        world.sent_response(403);
    }
    world.apply(&Setup { nodes: vec![NODES[1]], ..to_trunks() });
    world.receive_at(Local::NodeSide, NODES[0], invite().text());
    world.sent_response(403);
    world.silent();
    assert_eq!(world.count(Counter::RejectedOutward), 3);
    // A member's other profile, at another port of the same address, is the member.
    world.receive_at(Local::NodeSide, "10.1.0.2:5080", invite().text());
    world.sent_response(100);
    world.sent_request("INVITE");
}

#[test]
fn a_node_without_a_side_of_its_own_is_known_by_its_exact_endpoint() {
    let mut config = config();
    config.node_side = None;
    let mut world = World::with(config, &to_trunks());
    world.receive_at(PUBLIC, NODES[0], invite().text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.to.to_string(), FIRST);
    let caller = Request::invite().via("SIP/2.0/UDP 10.1.0.1:5099;branch=z9hG4bKcaller;rport");
    world.receive_at(PUBLIC, "10.1.0.1:5099", caller.text());
    world.sent_response(100);
    assert!(world.sent_request("INVITE").to_node(NODES[0]), "a caller that lives beside the node");
    // A connection comes from any port: the endpoint is that of sent-by.
    let over = Flow {
        transport: Transport::Tcp,
        connection: Some(ConnectionId::new(0, 1)),
        ..Flow::udp(PUBLIC, None, address("10.1.0.1:33333"))
    };
    let second = Request { call_id: "second".into(), ..invite() };
    world.receive_over(&over, second.via("SIP/2.0/TCP 10.1.0.1:5060;branch=z9hG4bKsecond").text());
    world.sent_response(100);
    assert_eq!(world.sent_request("INVITE").to.to_string(), FIRST);
}

#[test]
fn from_one_groups_nodes_to_anothers_and_back_in_the_dialog() {
    let others = r#", {"namespace": "voice", "name": "media", "uid": "m", "generation": 1, "priority": 0,
        "match": [{"request_uri": {"user": "nobody", "host": null, "user_pattern": null}, "sources": []}],
        "algorithm": "LeastLoad", "legs_per_call": 2,
        "failover": {"attempts": 3, "retry_on": {"own_refusal": true, "timeout": true, "transport": true, "codes": []},
                     "first_response_timeout_ms": 2000, "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000]},
        "timer_c_ms": 180000, "over_limit": {"action": "Reject", "status": 503, "retry_after_s": [5, 15]},
        "panic_threshold": 0.5,
        "members": [{"node": 1, "weight": 1.0, "priority": 0, "draining": false}]}"#;
    let group = r#""egress": {"listener": 0, "group": 1},"#;
    let mut world = World::with(config(), &Setup { group, others, ..Setup::default() });
    world.receive_at(Local::NodeSide, NODES[0], invite().text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    assert!(sent.to_node(NODES[1]));
    assert_eq!((world.ledger(NODES[0]).assigned, world.ledger(NODES[1]).assigned), (0, 1));
    world.respond(&sent, sent.text.response(200, "OK", "").replace("10.1.0.1:5060", NODES[1]));
    let ok = world.sent_response(200).text;
    world.receive_at(Local::NodeSide, NODES[0], by_caller("INFO", &ok).text());
    assert!(world.sent_request("INFO").to_node(NODES[1]));
    world.receive_at(Local::NodeSide, NODES[1], by_callee("BYE", &sent).text());
    let bye = world.sent_request("BYE");
    assert_eq!((bye.from, bye.to.to_string()), (Local::NodeSide, NODES[0].to_owned()), "from the side of the nodes");
    world.receive_at(Local::NodeSide, NODES[0], bye.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!((world.ledger(NODES[0]).ended, world.ledger(NODES[1]).ended), (0, 1));
}

#[test]
fn a_call_that_an_outward_dialog_stands_for_can_be_replaced_at_its_node() {
    let mut world = World::with(config(), &to_trunks());
    let sent = leave(&mut world, &invite());
    answer(&mut world, &sent);
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.closed = true);
    let replacing = Request::invite().extra("Replaces: outward;to-tag=a;from-tag=b");
    assert!(crate::call::place(&mut world, &replacing).to_node(NODES[0]));
}
