//! Limited resources: taken at selection, moved with the call, given back when it is over.

use std::time::Duration;

use switchtender_proxy::{FailureKind, Local, Outcome};

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{NODES, Sent, Setup, World, config};

fn setup() -> Setup {
    Setup {
        group: r#""resources": [{"name": "ch", "limited": false}, {"name": "conf", "limited": true}],
                  "call_expiry_ms": 3600000,"#,
        member: r#", "limits": {"conf": 1}"#,
        user_pattern: Some("^1"),
        rule: r#", "resources": ["conf"]"#,
        ..Setup::default()
    }
}

fn world() -> World {
    World::with(config(), &setup())
}

fn call(number: u32) -> Request {
    let id = format!("call{number}");
    let via = format!("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{id};rport");
    Request::invite().call_id(&id).via(&via)
}

/// What is in use at each node, and how many records say so.
fn in_use(world: &World) -> (u32, u32, usize) {
    let of = |node: &str| world.ledger(node).taken.values().sum();
    (of(NODES[0]), of(NODES[1]), world.proxy.call_records())
}

fn bye(world: &mut World, call: &Request, ok: &crate::text::Text) -> Sent {
    let mut bye = Request::in_dialog("BYE", &format!("bye{}", call.call_id), ok);
    bye.call_id.clone_from(&call.call_id);
    world.caller_sends(bye.text());
    world.sent_request("BYE")
}

#[test]
fn a_node_takes_as_many_as_its_limit_and_a_bye_makes_room() {
    let mut world = world();
    let (first, ok) = answered(&mut world, &call(0));
    assert!(first.to_node(NODES[0]));
    assert!(place(&mut world, &call(1)).to_node(NODES[1]));
    assert_eq!(in_use(&world), (1, 1, 2));
    world.caller_sends(call(2).text());
    world.sent_response(503);
    assert_eq!(world.outcome(Outcome::RejectedFull), 1);
    let bye = bye(&mut world, &call(0), &ok);
    assert_eq!(in_use(&world), (1, 1, 2), "not before the final response");
    for _ in 0..2 {
        world.respond(&bye, bye.text.response(200, "OK", ""));
    }
    world.drain();
    assert_eq!(in_use(&world), (0, 1, 1));
    assert!(place(&mut world, &call(3)).to_node(NODES[0]));
}

#[test]
fn a_call_that_is_refused_cancelled_or_never_answered_gives_back() {
    for fate in ["refused", "cancelled", "silent", "unreachable"] {
        let mut world = World::with(config(), &Setup { nodes: vec![NODES[0]], ..setup() });
        let sent = place(&mut world, &call(0));
        match fate {
            "refused" => world.respond(&sent, sent.text.response(486, "Busy Here", "")),
            "cancelled" => world.caller_sends(call(0).of_same_transaction("CANCEL")),
            "silent" => world.pass_ms(33_000),
            _ => world.fail(FailureKind::Icmp, NODES[0], &sent.text),
        }
        world.drain();
        assert_eq!(world.ledger(NODES[0]).taken.values().sum::<u32>(), 0, "{fate}");
        assert_eq!(world.proxy.call_records(), 0, "{fate}");
        world.caller_sends(call(0).of_same_transaction("ACK"));
        world.settle_down();
    }
}

#[test]
fn what_a_call_holds_moves_with_it_to_the_next_node() {
    let mut world = world();
    let first = place(&mut world, &call(0));
    world.respond(&first, first.text.response(503, "Maximum Calls In Progress", ""));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    assert!(second.to_node(NODES[1]));
    assert_eq!(in_use(&world), (0, 1, 1));
    // By silence, too; and where nobody else can take it, it stays.
    let mut world = self::world();
    let first = place(&mut world, &call(0));
    world.pass_ms(2000);
    assert_eq!(in_use(&world), (0, 1, 1));
    world.drain();
    // The first one answers after all: that is where the call is.
    world.respond(&first, first.text.response(200, "OK", ""));
    world.drain();
    assert_eq!(in_use(&world), (1, 0, 1));
}

#[test]
fn an_attempt_without_a_successor_keeps_what_it_took() {
    let mut world = World::with(config(), &Setup { nodes: vec![NODES[0]], ..setup() });
    place(&mut world, &call(0));
    world.pass_ms(3000);
    assert_eq!(world.ledger(NODES[0]).taken.values().sum::<u32>(), 1);
}

#[test]
fn a_call_that_shows_no_sign_of_life_is_forgotten_and_a_reinvite_is_one() {
    let mut world = world();
    let (_, ok) = answered(&mut world, &call(0));
    world.pass(Duration::from_secs(3000));
    let mut update = Request::in_dialog("UPDATE", "update", &ok);
    update.call_id = "call0".into();
    world.caller_sends(update.text());
    let update = world.sent_request("UPDATE");
    world.respond(&update, update.text.response(200, "OK", ""));
    world.drain();
    world.pass(Duration::from_secs(3500));
    assert_eq!(in_use(&world), (1, 0, 1), "an hour after it was seen last");
    world.pass(Duration::from_secs(130));
    assert_eq!(in_use(&world), (0, 0, 0));
    // Its BYE, late, gives back nothing a second time.
    let bye = bye(&mut world, &call(0), &ok);
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.drain();
    assert_eq!(in_use(&world), (0, 0, 0));
    world.settle_down();
}

#[test]
fn a_node_that_restarts_has_nothing_in_use_and_old_records_take_nothing_from_new_calls() {
    let mut world = world();
    let (_, ok) = answered(&mut world, &call(0));
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| {
        ledger.epoch += 1;
        ledger.taken.clear();
    });
    assert!(place(&mut world, &call(1)).to_node(NODES[0]));
    let bye = bye(&mut world, &call(0), &ok);
    world.respond(&bye, bye.text.response(481, "Call/Transaction Does Not Exist", ""));
    world.drain();
    assert_eq!(in_use(&world), (1, 0, 1), "the new call's");
}

#[test]
fn records_of_a_restarted_node_are_dropped() {
    let mut world = world();
    answered(&mut world, &call(0));
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.epoch += 1);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.proxy.call_records(), 0);
}

#[test]
fn siblings_are_told_of_the_end_of_a_call_that_they_may_hold() {
    let mut config = config();
    config.workers = 2;
    let mut world = World::with(config, &setup());
    let (sent, ok) = answered(&mut world, &call(0));
    // The BYE came in at the other worker, which tells us.
    let mut other = crate::world::config();
    (other.worker, other.workers) = (1, 2);
    let mut sibling = World::with(other, &setup());
    let mut bye = Request::in_dialog("BYE", "bye", &ok);
    bye.call_id = "call0".into();
    sibling.caller_sends(bye.text());
    let bye = sibling.sent_request("BYE");
    sibling.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(sibling.wire.over.len(), 1);
    assert_eq!(in_use(&world), (1, 0, 1));
    for _ in 0..2 {
        world.proxy.call_over(world.now, sibling.wire.over[0], &world.snapshot, &world.book, &mut world.wire);
    }
    assert_eq!(in_use(&world), (0, 0, 0));
    // Had it been ours, nobody would have been told.
    let (_, ok) = answered(&mut world, &call(1));
    let told = world.wire.over.len();
    let bye = self::bye(&mut world, &call(1), &ok);
    world.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(world.wire.over.len(), told);
    // Nor for a call that holds nothing: by its token.
    let mut plain = sibling;
    plain.drain();
    plain.apply(&Setup::default());
    let (_, ok) = answered(&mut plain, &call(2));
    let told = plain.wire.over.len();
    let bye = self::bye(&mut plain, &call(2), &ok);
    plain.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(plain.wire.over.len(), told);
    assert!(sent.to_node(NODES[0]));
}

#[test]
fn a_bye_of_the_node_gives_back_as_well() {
    let mut world = world();
    let (sent, _) = answered(&mut world, &call(0));
    let mut bye = Request::by_node("BYE", "nodebye", &sent.text);
    bye.call_id = "call0".into();
    world.receive_at(Local::NodeSide, NODES[0], bye.text());
    let bye = world.sent_request("BYE");
    world.respond(&bye, bye.text.response(401, "Unauthorized", ""));
    assert_eq!(in_use(&world), (1, 0, 1), "it comes again, with credentials");
    let mut again = Request::by_node("BYE", "again", &sent.text);
    again.call_id = "call0".into();
    world.drain();
    world.receive_at(Local::NodeSide, NODES[0], again.text());
    let bye = world.sent_request("BYE");
    world.respond(&bye, bye.text.response(408, "Request Timeout", ""));
    assert_eq!(in_use(&world), (0, 0, 0), "who sent it takes the session for ended");
}

#[test]
fn requests_other_than_calls_hold_nothing() {
    let mut world = world();
    world.caller_sends(Request::new("MESSAGE", "message").text());
    world.sent_request("MESSAGE");
    assert_eq!(in_use(&world), (0, 0, 0));
}

#[test]
fn a_call_that_was_challenged_claims_again_when_it_returns() {
    let mut world = world();
    let first = place(&mut world, &call(0));
    world.respond(&first, first.text.response(407, "Proxy Authentication Required", ""));
    world.drain();
    assert_eq!(in_use(&world), (0, 0, 0));
    world.caller_sends(call(0).of_same_transaction("ACK"));
    let via = "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKagain;rport";
    let mut again = call(0).via(via).extra("Proxy-Authorization: Digest username=\"u\"");
    again.cseq = 2;
    assert!(place(&mut world, &again).to_node(NODES[0]));
    assert_eq!(in_use(&world), (1, 0, 1));
}

#[test]
fn after_a_panic_the_records_go_on_in_the_proxy_that_is_made_anew() {
    let mut world = world();
    let (_, ok) = answered(&mut world, &call(0));
    let mut anew = switchtender_proxy::Proxy::new(config());
    anew.keep_records(&mut world.proxy, world.now);
    world.proxy = anew;
    world.wire.table.clear();
    assert_eq!(in_use(&world), (1, 0, 1));
    let bye = bye(&mut world, &call(0), &ok);
    world.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(in_use(&world), (0, 0, 0));
    world.drain();
    world.settle_down();
}

#[test]
fn what_was_taken_for_an_attempt_that_cannot_be_written_is_given_back() {
    // Our address towards the second node is longer than towards the first, so a request may fit for one of them only.
    let mut config = config();
    config.node_side.as_mut().unwrap().advertise[0].networks = vec!["10.1.0.1/32".parse().unwrap()];
    config.node_side.as_mut().unwrap().address = "10.100.100.109:50700".parse().unwrap();
    let mut room = 0;
    for attempt in ["measured", "too long for the second"] {
        let mut world = World::with(config.clone(), &setup());
        let mut request = call(0);
        request.body = "x".repeat(60_000 + room);
        let sent = place(&mut world, &request);
        room = 65_535 - sent.text.as_ref().len();
        world.fail(FailureKind::Icmp, NODES[0], &sent.text);
        if attempt == "measured" {
            assert!(world.sent_request("INVITE").to_node(NODES[1]));
            continue;
        }
        assert_eq!(room, 0);
        world.sent_response(500);
        assert_eq!(in_use(&world), (0, 0, 0));
    }
}
