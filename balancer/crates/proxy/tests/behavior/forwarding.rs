//! The forwarded request (RFC 3261 §16.4, §16.6, RFC 3581).

use switchtender_proxy::{Advertised, Local};

use crate::call::place;
use crate::text::{Request, param};
use crate::world::{CALLER, NODES, PUBLIC, Setup, World, address, config};

#[test]
fn rfc_3261_16_6_step_3_max_forwards_is_decremented_or_set_to_70() {
    for (before, after) in [(Some(70), "69"), (Some(1), "0"), (Some(255), "254"), (None, "70")] {
        let mut world = World::new();
        let mut invite = Request::invite();
        invite.max_forwards = before;
        let sent = place(&mut world, &invite);
        assert_eq!(sent.text.all("Max-Forwards"), [after]);
    }
}

#[test]
fn rfc_3261_16_6_step_8_every_attempt_has_its_own_branch() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    assert!(sent.text.top_branch().starts_with("z9hG4bK"));
    world.pass_ms(2000);
    let branches: std::collections::BTreeSet<String> =
        world.drain().iter().map(|sent| sent.text.top_branch().to_owned()).collect();
    assert_eq!(branches.len(), 2);
    assert!(branches.contains(sent.text.top_branch()));
}

#[test]
fn rfc_3581_received_and_rport_are_filled_in() {
    for (via, source, wanted, to) in [
        (
            "SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK1",
            CALLER,
            "rport=5060;branch=z9hG4bK1;received=192.0.2.10",
            CALLER,
        ),
        (
            "SIP/2.0/UDP 192.168.0.9:5060;branch=z9hG4bK1;rport",
            "192.0.2.10:1024",
            "rport=1024;received=192.0.2.10",
            "192.0.2.10:1024",
        ),
        ("SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1", "192.0.2.10:1024", "branch=z9hG4bK1", "192.0.2.10:5062"),
        (
            "SIP/2.0/UDP 192.168.0.9;branch=z9hG4bK1",
            "192.0.2.10:1024",
            "branch=z9hG4bK1;received=192.0.2.10",
            "192.0.2.10:5060",
        ),
        (
            "SIP/2.0/UDP phone.example.org;branch=z9hG4bK1",
            "192.0.2.10:1024",
            "branch=z9hG4bK1;received=192.0.2.10",
            "192.0.2.10:5060",
        ),
    ] {
        let mut world = World::new();
        world.receive_at(PUBLIC, source, Request::invite().via(via).text());
        let trying = world.sent_response(100);
        assert_eq!(trying.to.to_string(), to, "{via}");
        assert!(trying.text.get("Via").unwrap().ends_with(wanted), "{}", trying.text);
        let sent = world.sent_request("INVITE");
        assert!(sent.text.all("Via")[1].ends_with(wanted), "{}", sent.text);
        world.respond(&sent, sent.text.response(180, "Ringing", ""));
        assert_eq!(world.sent_response(180).to.to_string(), to, "{via}");
    }
}

#[test]
fn our_via_asks_for_rport_and_names_the_workers_own_port() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    let via = sent.text.get("Via").unwrap();
    assert!(via.starts_with("SIP/2.0/UDP 10.0.0.9:5071;") && via.ends_with(";rport"), "{via}");
    assert!(!sent.text.all("Record-Route").iter().any(|route| route.contains("5071")));
}

#[test]
fn advertise_omitted_gives_the_bound_address_and_for_a_wildcard_the_one_the_kernel_picks() {
    let mut bound = config();
    bound.listeners[0].advertise = None;
    bound.node_side.as_mut().unwrap().advertise.clear();
    let mut world = World::with(bound.clone(), &Setup::default());
    let sent = place(&mut world, &Request::invite());
    assert!(sent.text.all("Record-Route")[0].ends_with("@10.0.0.9:5070;lr>"));
    assert!(sent.text.all("Record-Route")[1].ends_with("@198.51.100.1:5060;lr>"));

    bound.listeners[0].address = address("0.0.0.0:5060");
    bound.node_side.as_mut().unwrap().address = address("0.0.0.0:5070");
    bound.worker_address = address("0.0.0.0:5071");
    let mut world = World::with(bound, &Setup::default());
    let sent = place(&mut world, &Request::invite());
    assert!(sent.text.get("Via").unwrap().starts_with("SIP/2.0/UDP 198.51.100.99:5071;"));
    assert!(sent.text.all("Record-Route")[0].ends_with("@198.51.100.99:5070;lr>"));
    assert!(sent.text.all("Record-Route")[1].ends_with("@198.51.100.99:5060;lr>"));
    assert!(!sent.text.to_string().contains("0.0.0.0"));
}

#[test]
fn the_node_side_is_advertised_by_the_nodes_network() {
    let mut config = config();
    let side = config.node_side.as_mut().unwrap();
    side.advertise.insert(
        0,
        switchtender_proxy::NodeAdvertise {
            networks: vec!["10.1.0.2/32".parse().unwrap()],
            address: Advertised { host: "[2001:db8::7]".into(), port: 5075 },
        },
    );
    let mut world = World::with(config, &Setup::default());
    let sent = place(&mut world, &Request::invite());
    assert!(sent.text.get("Record-Route").unwrap().contains("@10.96.7.7:5070"));
    world.respond(&sent, sent.text.response(503, "Maximum Calls In Progress", ""));
    world.sent_request("ACK");
    assert!(world.sent_request("INVITE").text.get("Record-Route").unwrap().contains("@[2001:db8::7]:5075"));
}

#[test]
fn ipv6_on_both_sides() {
    let mut config = config();
    config.listeners[0].address = address("[2001:db8::1]:5060");
    config.listeners[0].advertise = None;
    config.node_side = None;
    config.worker_address = address("[2001:db8::1]:5071");
    let mut world = World::with(config, &Setup { nodes: vec!["[2001:db8::10]:5060"], ..Setup::default() });
    let invite = Request { contact: Some("<sip:caller@[2001:db8::99]:5060>".into()), ..Request::invite() }
        .via("SIP/2.0/UDP [2001:db8::99]:5060;branch=z9hG4bK6;rport");
    world.receive_at(PUBLIC, "[2001:db8::99]:5060", invite.text());
    let trying = world.sent_response(100);
    assert_eq!(param(trying.text.get("Via").unwrap(), "received"), Some("2001:db8::99"));
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.to.to_string(), "[2001:db8::10]:5060");
    assert!(sent.text.get("Via").unwrap().starts_with("SIP/2.0/UDP [2001:db8::1]:5071;"));
    assert!(sent.text.get("Record-Route").unwrap().ends_with("@[2001:db8::1]:5060;lr>"));
    let mut bye = Request::by_node("BYE", "bye", &sent.text).via("SIP/2.0/UDP [2001:db8::10];rport;branch=z9hG4bKbye");
    bye.contact = None;
    world.receive_at(PUBLIC, "[2001:db8::10]:5060", bye.text());
    assert_eq!(world.sent_request("BYE").to.to_string(), "[2001:db8::99]:5060");
}

#[test]
fn rfc_3261_16_4_a_route_of_ours_without_a_token_is_removed() {
    let mut world = World::new();
    for route in ["<sip:sip.example.com;lr>", "<sip:198.51.100.1:5060;lr>", "<sip:someone@sip.example.com;lr>"] {
        let invite = Request::invite().call_id(route).route(route);
        let sent = place(&mut world, &invite);
        assert!(sent.to_node(NODES[0]) || sent.to_node(NODES[1]));
        assert_eq!(sent.text.all("Route"), Vec::<&str>::new());
    }
}

#[test]
fn rfc_3261_16_6_step_2_what_must_not_stand_in_a_request_uri_is_removed() {
    for (uri, target) in [
        ("sip:1@h:5066;a=b;METHOD=bye;lr?Route=%3Csip:x%3E&b=c", "sip:1@h:5066;a=b;lr"),
        ("sip:1:secret@[2001:db8::1];method=INVITE", "sip:1:secret@[2001:db8::1]"),
        ("sip:1@h?", "sip:1@h"),
        ("sip:1@h;user=phone;maddr=192.0.2.77", "sip:1@h;user=phone;maddr=192.0.2.77"),
        ("tel:+1555;method=x", "tel:+1555;method=x"),
    ] {
        let mut world = World::new();
        world.caller_sends(Request::invite().uri(uri).text());
        world.sent_response(100);
        assert_eq!(world.sent_request("INVITE").text.uri(), target);
    }
}

#[test]
fn rfc_3261_16_4_maddr_that_names_us_is_stripped() {
    let mut world = World::new();
    let invite = Request::invite().uri("sip:1000@pbx.example.com;maddr=198.51.100.1;transport=udp;user=phone");
    let sent = place(&mut world, &invite);
    assert_eq!(sent.text.uri(), "sip:1000@pbx.example.com;user=phone");
    let invite = Request::invite().call_id("foreign").uri("sip:1000@pbx.example.com;maddr=203.0.113.66");
    let sent = place(&mut world, &invite);
    assert!(sent.to_node(NODES[0]), "we relay to no maddr");
    assert_eq!(sent.text.uri(), "sip:1000@pbx.example.com;maddr=203.0.113.66");
}

#[test]
fn a_foreign_route_on_a_new_request_makes_us_no_relay() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite().route("<sip:203.0.113.66;lr>").route("<sip:203.0.113.67;lr>"));
    assert!(sent.to_node(NODES[0]));
    assert_eq!(sent.text.all("Route"), ["<sip:203.0.113.66;lr>", "<sip:203.0.113.67;lr>"], "what is not ours stays");
}

#[test]
fn requests_to_nodes_leave_from_the_workers_socket_and_count_against_their_budget() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    assert_eq!(sent.from, Local::Worker);
    assert_eq!(world.ledger(NODES[0]).requests, 1);
    world.pass_ms(500);
    assert_eq!(world.ledger(NODES[0]).requests, 2, "retransmissions are requests");
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    assert_eq!(world.ledger(NODES[0]).requests, 3, "so is the ACK");
}

#[test]
fn a_message_that_would_not_fit_once_forwarded_gets_513() {
    let mut world = World::new();
    let mut invite = Request::invite();
    invite.body = "x".repeat(65_000);
    world.caller_sends(invite.text());
    world.sent_response(100);
    world.sent_response(513);
    world.silent();
    assert_eq!(world.ledger(NODES[0]).in_flight, 0);
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.settle_down();
}
