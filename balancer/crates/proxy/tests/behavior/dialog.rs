//! Requests in dialogs: the token, both directions, restarts, replicas, keys, and those who try to use us as a relay.

use switchtender_proxy::{Counter, Local, Outcome};

use crate::call::{answered, place};
use crate::text::{Request, Text};
use crate::world::{CALLER, NODES, PUBLIC, Setup, World, config};

/// A BYE from the node's side after the world changed; it must reach the caller.
fn bye_from_node_reaches_the_caller(world: &mut World, invite: &Text) {
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("BYE", "nodebye", invite).text());
    let bye = world.sent_request("BYE");
    assert_eq!(bye.to.to_string(), CALLER);
    assert_eq!(bye.from, PUBLIC);
    world.respond(&bye, bye.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!(ok.to.to_string(), NODES[0]);
    world.silent();
}

fn bye_from_caller_reaches_its_node(world: &mut World, ok: &Text) {
    world.caller_sends(Request::in_dialog("BYE", "callerbye", ok).text());
    let bye = world.sent_request("BYE");
    assert!(bye.to_node(NODES[0]));
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    world.silent();
}

#[test]
fn rfc_3261_12_1_1_a_caller_without_a_tag_has_dialogs_both_ways() {
    let mut world = World::new();
    let mut invite = Request::invite();
    invite.from = "<sip:caller@192.0.2.10>".into();
    let (sent, ok) = answered(&mut world, &invite);
    let mut info = Request::in_dialog("INFO", "info", &ok);
    info.from = invite.from;
    world.caller_sends(info.text());
    let info = world.sent_request("INFO");
    assert!(info.to_node(NODES[0]));
    world.respond(&info, info.text.response(200, "OK", ""));
    world.sent_response(200);
    bye_from_node_reaches_the_caller(&mut world, &sent.text);
}

#[test]
fn a_bye_from_the_node_after_the_balancer_restarted_with_fewer_workers() {
    let mut before = config();
    before.worker = 3;
    before.workers = 4;
    before.worker_address = crate::world::address("10.0.0.9:5074");
    let mut world = World::with(before, &Setup::default());
    let (invite, ok) = answered(&mut world, &Request::invite());
    let mut after = config();
    after.run_id = 99;
    after.secret = [99; 16];
    world.restart(after);
    bye_from_node_reaches_the_caller(&mut world, &invite.text);
    bye_from_caller_reaches_its_node(&mut world, &ok);
    world.settle_down();
}

#[test]
fn a_bye_after_another_replica_took_over() {
    let mut world = World::new();
    let (invite, ok) = answered(&mut world, &Request::invite());
    let mut other = config();
    other.run_id = 5;
    other.secret = [5; 16];
    other.replica = 8;
    other.listeners[0].address = crate::world::address("198.51.100.2:5060");
    other.node_side.as_mut().unwrap().address = crate::world::address("10.0.0.10:5070");
    other.worker_address = crate::world::address("10.0.0.10:5071");
    world.restart(other);
    bye_from_caller_reaches_its_node(&mut world, &ok);
    bye_from_node_reaches_the_caller(&mut world, &invite.text);
    assert_eq!(world.ledger(NODES[0]).ended, 2, "each replica counts what it saw");
}

#[test]
fn a_token_replayed_from_outside_with_a_foreign_request_uri_goes_to_its_node_and_is_never_relayed() {
    let mut world = World::new();
    let (invite, ok) = answered(&mut world, &Request::invite());
    let target = "sip:victim@203.0.113.66:5060";
    // In the dialog, with what the caller knows, from anywhere.
    for (method, source) in [("BYE", CALLER), ("INFO", "203.0.113.5:5060"), ("INVITE", "203.0.113.5:5060")] {
        let replay =
            Request::in_dialog(method, &format!("replay{method}"), &ok).uri(target).route(&format!("<{target};lr>"));
        world.receive_at(PUBLIC, source, replay.text());
        let sent = world.drain().into_iter().find(|sent| sent.text.method() == Some(method)).unwrap();
        assert!(sent.to_node(NODES[0]), "{method}");
    }
    // With the tags turned round, as if the node sent it: to the caller's own flow and nothing else.
    let turned = Request::by_node("INFO", "turned", &invite.text).uri(target).route(&format!("<{target};lr>"));
    world.receive_at(PUBLIC, "203.0.113.5:5060", turned.text());
    let sent = world.sent_request("INFO");
    assert_eq!(sent.to.to_string(), CALLER);
    assert_eq!(world.count(Counter::ForcedToFlow), 1);
    // In another dialog, or in none.
    let foreign = Request::in_dialog("BYE", "foreign", &ok).uri(target).call_id("another");
    world.receive_at(PUBLIC, "203.0.113.5:5060", foreign.text());
    world.sent_response(481);
    assert_eq!(world.count(Counter::TokensRefused), 1);
    world.silent();
    let mut fresh = Request::invite()
        .call_id("fresh")
        .uri("sip:1000@sip.example.com")
        .via("SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKfresh");
    fresh.routes = Request::in_dialog("BYE", "x", &ok).routes;
    world.receive_at(PUBLIC, "203.0.113.5:5060", fresh.text());
    world.sent_response(100);
    assert!(world.sent_request("INVITE").to_node(NODES[0]), "a new call is a new call, whatever Route it brings");
}

#[test]
fn a_changed_token_is_no_token() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    let mut bye = Request::in_dialog("BYE", "bye", &ok).uri("sip:node@203.0.113.66");
    for route in &mut bye.routes {
        let at = route.find('@').unwrap() - 3;
        let changed = if route.as_bytes()[at] == b'A' { "B" } else { "A" };
        route.replace_range(at..=at, changed);
    }
    world.caller_sends(bye.text());
    world.sent_response(481);
    world.silent();
    assert_eq!(world.count(Counter::TokensRefused), 1);
}

#[test]
fn a_token_for_a_node_that_left_the_set_still_leads_there() {
    let mut world = World::new();
    let (invite, ok) = answered(&mut world, &Request::invite());
    world.apply(&Setup { nodes: vec![NODES[1]], ..Setup::default() });
    bye_from_caller_reaches_its_node(&mut world, &ok);
    bye_from_node_reaches_the_caller(&mut world, &invite.text);
    // Even when nothing is known of it any more: the caller's requests are carried by the token alone.
    let mut slots = switchtender_select::Slots::new(4, 4);
    world.snapshot = switchtender_proxy::Snapshot::from_json(
        Setup { nodes: vec![NODES[1]], ..Setup::default() }.json().as_bytes(),
        &mut slots.at(world.now),
    )
    .unwrap();
    world.caller_sends(Request::in_dialog("INFO", "later", &ok).text());
    assert!(world.sent_request("INFO").to_node(NODES[0]));
}

#[test]
fn key_rotation() {
    let mut world = World::new();
    let (_, old) = answered(&mut world, &Request::invite());
    // The new key verifies everywhere before it signs.
    world.apply(&Setup { keys: vec![1, 2], ..Setup::default() });
    world.apply(&Setup { keys: vec![2, 1], ..Setup::default() });
    let second = Request::invite().call_id("second").via("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKsecond;rport");
    let (_, new) = answered(&mut world, &second);
    bye_from_caller_reaches_its_node(&mut world, &old);
    // The old key goes: dialogs of its time fall back to the Request-URI, which names a node.
    world.apply(&Setup { keys: vec![2], ..Setup::default() });
    let mut bye = Request::in_dialog("BYE", "newbye", &new);
    bye.call_id = "second".into();
    world.caller_sends(bye.text());
    assert!(world.sent_request("BYE").to_node(NODES[0]));
    world.caller_sends(Request::in_dialog("INFO", "oldinfo", &old).text());
    assert!(world.sent_request("INFO").to_node(NODES[0]));
    assert_eq!(world.count(Counter::TokensRefused), 1);
    world.caller_sends(Request::in_dialog("INFO", "oldinfo2", &old).uri("sip:node@10.1.0.1:5062").text());
    world.sent_response(481);
}

#[test]
fn a_bye_is_never_lost_to_a_key_mismatch() {
    let mut world = World::new();
    let (invite, ok) = answered(&mut world, &Request::invite());
    world.apply(&Setup { keys: vec![9], ..Setup::default() });
    bye_from_caller_reaches_its_node(&mut world, &ok);
    bye_from_node_reaches_the_caller(&mut world, &invite.text);
    assert_eq!(world.ledger(NODES[0]).ended, 2);
    // But nobody else gets a BYE relayed that way.
    world.receive_at(Local::NodeSide, "203.0.113.5:5060", Request::by_node("BYE", "attack", &invite.text).text());
    world.sent_response(481);
    // And other requests of the node are refused: without the token nothing says who the caller is.
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("INFO", "info", &invite.text).text());
    world.sent_response(481);
    world.silent();
}

#[test]
fn an_in_dialog_request_without_a_token_goes_to_exactly_a_known_node_or_gets_481() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    for (uri, known) in [
        ("sip:node@10.1.0.1:05060", true),
        ("sip:node@10.1.0.1", true),
        ("sip:node@10.1.0.1:5062", false),
        ("sip:node@10.1.0.9", false),
        ("sip:node@example.org", false),
    ] {
        let mut request = Request::in_dialog("INFO", &format!("b{}", uri.replace([':', '@'], "")), &ok).uri(uri);
        request.routes.clear();
        world.caller_sends(request.text());
        if known {
            assert!(world.sent_request("INFO").to_node(NODES[0]), "{uri}");
        } else {
            world.sent_response(481);
        }
        world.silent();
    }
    let mut ack = Request::in_dialog("ACK", "lost", &ok).uri("sip:node@10.1.0.9");
    ack.routes.clear();
    world.caller_sends(ack.text());
    world.silent();
    assert_eq!(world.count(Counter::StrayAcks), 1, "an ACK is never answered");
}

#[test]
fn from_a_known_node_the_request_goes_where_it_says() {
    let mut world = World::new();
    let invite = Request {
        via: vec![
            "SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bKedge;rport".into(),
            "SIP/2.0/UDP 192.168.0.7:5062;branch=z9hG4bKphone".into(),
        ],
        contact: Some("<sip:caller@192.168.0.7:5062>".into()),
        ..Request::invite()
    }
    .extra("Record-Route: <sip:192.0.2.20;lr>");
    world.receive_at(PUBLIC, "192.0.2.20:5060", invite.text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.text.all("Record-Route").len(), 3);
    assert_eq!(sent.text.all("Record-Route")[2], "<sip:192.0.2.20;lr>", "ours stand above those that were there");
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    // The next Route is the caller's own proxy.
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("INFO", "info", &sent.text).text());
    let info = world.sent_request("INFO");
    assert_eq!(info.to.to_string(), "192.0.2.20:5060");
    assert_eq!(info.text.all("Route"), ["<sip:192.0.2.20;lr>"]);
    assert_eq!(info.text.uri(), "sip:caller@192.168.0.7:5062");
    // Without it, the Request-URI: target refreshes move it.
    let mut moved = Request::by_node("INFO", "moved", &sent.text).uri("sip:caller@192.0.2.21:5080");
    moved.routes.truncate(2);
    world.receive_at(Local::NodeSide, NODES[0], moved.text());
    assert_eq!(world.sent_request("INFO").to.to_string(), "192.0.2.21:5080");
    // A name cannot be resolved here: the caller's flow, then.
    let mut named = Request::by_node("INFO", "named", &sent.text).uri("sip:caller@phone.example.org");
    named.routes.truncate(2);
    world.receive_at(Local::NodeSide, NODES[0], named.text());
    assert_eq!(world.sent_request("INFO").to.to_string(), "192.0.2.20:5060");
}

#[test]
fn known_sources_are_members_those_that_left_and_the_configured_networks() {
    let mut world = World::new();
    let (invite, _) = answered(&mut world, &Request::invite());
    let elsewhere = "sip:caller@192.0.2.77:5060";
    for (source, known) in
        [("10.1.0.2:5080", true), ("10.2.3.4:5060", true), ("10.3.0.1:5060", false), ("192.0.2.10:5060", false)]
    {
        let info =
            Request::by_node("INFO", &format!("b{}", source.replace([':', '.'], "")), &invite.text).uri(elsewhere);
        world.receive_at(Local::NodeSide, source, info.text());
        let to = world.sent_request("INFO").to.to_string();
        assert_eq!(to, if known { "192.0.2.77:5060" } else { CALLER }, "{source}");
    }
}

#[test]
fn rfc_3261_16_4_a_strict_router_upstream_gets_its_request_uri_put_right() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    let loose = Request::in_dialog("INFO", "strict", &ok);
    let (first, rest) = loose.routes.split_first().unwrap();
    let mut strict = loose.clone().uri(first.trim_matches(['<', '>']));
    strict.routes = rest.to_vec();
    strict.routes.push(format!("<{}>", loose.uri));
    world.caller_sends(strict.text());
    let sent = world.sent_request("INFO");
    assert!(sent.to_node(NODES[0]));
    assert_eq!(sent.text.uri(), "sip:node@10.1.0.1:5060");
    assert_eq!(sent.text.all("Route"), Vec::<&str>::new());
}

#[test]
fn rfc_3261_16_6_step_6_a_strict_router_downstream_gets_its_own_uri() {
    let mut world = World::new();
    let (invite, _) = answered(&mut world, &Request::invite());
    let info = Request::by_node("INFO", "strict", &invite.text).route("<sip:192.0.2.20>").route("<sip:192.0.2.21;lr>");
    world.receive_at(Local::NodeSide, NODES[0], info.text());
    let sent = world.sent_request("INFO");
    assert_eq!(sent.to.to_string(), "192.0.2.20:5060");
    assert_eq!(sent.text.uri(), "sip:192.0.2.20");
    assert_eq!(sent.text.all("Route"), ["<sip:192.0.2.21;lr>", "<sip:caller@192.0.2.10:5060>"]);
}

#[test]
fn rfc_3327_a_call_along_the_path_of_a_registration() {
    let mut world = World::new();
    let register = Request::new("REGISTER", "register").uri("sip:sip.example.com");
    world.caller_sends(register.text());
    let sent = world.sent_request("REGISTER");
    let path = sent.text.get("Path").unwrap().to_owned();
    assert!(path.ends_with("@10.96.7.7:5070;lr>"));
    assert_eq!(sent.text.all("Path").len(), 1);

    let call = Request {
        uri: "sip:caller@192.0.2.10:5060".into(),
        from: "<sip:1000@10.1.0.1>;tag=nodetag".into(),
        to: "<sip:caller@192.0.2.10>".into(),
        call_id: "from-node".into(),
        contact: Some("<sip:node@10.1.0.1:5060>".into()),
        ..Request::new("INVITE", "nodecall")
    }
    .via("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKnodecall")
    .route(&path);
    world.receive_at(PUBLIC, "203.0.113.5:5060", call.text());
    world.sent_response(403);
    assert_eq!(world.count(Counter::RejectedForeignPath), 1, "only nodes may use it");
    let mut in_dialog = call.clone();
    in_dialog.to += ";tag=any";
    world.receive_at(PUBLIC, "203.0.113.5:5060", in_dialog.via("SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKx").text());
    world.sent_response(481);
    world.silent();

    world.receive_at(Local::NodeSide, NODES[0], call.text());
    let trying = world.sent_response(100);
    assert_eq!(trying.from, Local::NodeSide);
    let invite = world.sent_request("INVITE");
    assert_eq!(invite.to.to_string(), CALLER);
    assert_eq!(invite.from, PUBLIC);
    assert!(invite.text.all("Record-Route")[0].contains("@sip.example.com:5060"), "the callee's side on top");
    assert_eq!(world.ledger(NODES[0]).assigned, 0, "not a call that we placed");
    world.respond(&invite, invite.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!(ok.from, Local::NodeSide);

    // The one called hangs up; its tag is in From now.
    let bye = Request {
        uri: "sip:node@10.1.0.1:5060".into(),
        from: format!("{};tag=node", call.to),
        to: call.from.clone(),
        call_id: call.call_id.clone(),
        routes: invite.text.all("Record-Route").into_iter().map(String::from).collect(),
        ..Request::new("BYE", "calleebye")
    };
    world.caller_sends(bye.text());
    let sent = world.sent_request("BYE");
    assert!(sent.to_node(NODES[0]));
    assert_eq!(sent.text.all("Route"), Vec::<&str>::new());
    // And the node's own request in that dialog comes back to it.
    let mut info = Request { method: "INFO", cseq: 8, ..call.clone() };
    info.via = vec!["SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKnodeinfo".into()];
    info.to = format!("{};tag=node", call.to);
    info.routes = ok.text.all("Record-Route").into_iter().rev().map(String::from).collect();
    world.receive_at(Local::NodeSide, NODES[0], info.text());
    assert_eq!(world.sent_request("INFO").to.to_string(), CALLER);
}

#[test]
fn an_invite_with_credentials_returns_to_the_node_that_challenged_it() {
    for (status, challenge, credentials) in
        [(407, "Proxy-Authenticate", "Proxy-Authorization"), (401, "WWW-Authenticate", "Authorization")]
    {
        let mut world = World::new();
        let high = world.slot(NODES[0]);
        world.book.edit(high, |ledger| ledger.sessions = 999.0);
        let invite = Request::invite();
        let first = place(&mut world, &invite);
        assert!(first.to_node(NODES[1]));
        let fields = format!("{challenge}: Digest realm=\"a\", nonce=\"n\"\r\n");
        world.respond(&first, first.text.response(status, "Unauthorized", &fields));
        world.sent_request("ACK");
        world.sent_response(status);
        assert_eq!(world.outcome(Outcome::Challenged), 1);
        world.caller_sends(invite.of_same_transaction("ACK"));

        // By room alone the first node would have it now.
        world.book.edit(high, |ledger| ledger.sessions = 0.0);
        let again = |branch: &str, call_id: &str| {
            let mut again = Request::new("INVITE", branch).call_id(call_id);
            again.cseq = 2;
            again.extra(&format!("{credentials}: Digest username=\"u\", nonce=\"n\""))
        };
        let second = place(&mut world, &again("again", "call@192.0.2.10"));
        assert!(second.to_node(NODES[1]), "{status}");
        assert_eq!(world.count(Counter::Challenged), 1);
        assert!(place(&mut world, &again("other", "other")).to_node(NODES[0]), "another call goes by room");

        // It must still be able to take calls, and the memory ends.
        let low = world.slot(NODES[1]);
        world.book.edit(low, |ledger| ledger.closed = true);
        assert!(place(&mut world, &again("third", "call@192.0.2.10")).to_node(NODES[0]));
        world.book.edit(low, |ledger| ledger.closed = false);
        world.pass_ms(61_000);
        world.drain();
        let slot = world.slot(NODES[0]);
        world.book.edit(slot, |ledger| ledger.suspect = false);
        assert!(place(&mut world, &again("fourth", "call@192.0.2.10")).to_node(NODES[0]));
    }
}

#[test]
fn a_challenged_call_finds_the_place_that_its_first_attempt_took() {
    let mut world = World::new();
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.sessions = 997.0);
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    assert!(first.to_node(NODES[0]));
    world.respond(&first, first.text.response(407, "Proxy Authentication Required", ""));
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.drain();
    let with_credentials = |branch: &str, cseq: u32| {
        let mut again = Request::new("INVITE", branch).extra("Proxy-Authorization: Digest username=\"u\"");
        again.cseq = cseq;
        again
    };
    // Full by our count, but for this very call, and not reachable for the control side.
    world.book.edit(slot, |ledger| ledger.unreachable = true);
    assert!(place(&mut world, &with_credentials("again", 2)).to_node(NODES[0]));
    assert!(place(&mut world, &with_credentials("third", 3)).to_node(NODES[1]), "two calls would be one too many");
}
