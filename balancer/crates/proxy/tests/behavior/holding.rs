//! Calls that wait a moment because only the per-second limits are used up.

use switchtender_proxy::{Counter, Outcome};

use crate::text::Request;
use crate::world::{NODES, Setup, World, config};

fn world(wait: &'static str) -> World {
    let mut world = World::with(config(), &Setup { group: wait, ..Setup::default() });
    busy(&mut world, true);
    world
}

/// Whether the rates of both nodes are used up.
fn busy(world: &mut World, busy: bool) {
    for node in NODES {
        let slot = world.slot(node);
        world.book.edit(slot, |ledger| ledger.legs_last_second = if busy { 2000 } else { 0 });
    }
}

fn call(number: u32) -> Request {
    let id = format!("call{number}");
    let via = format!("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{id};rport");
    Request::invite().call_id(&id).via(&via)
}

#[test]
fn a_call_waits_while_only_the_rates_are_used_up_and_goes_on_when_they_are_not() {
    let mut world = world(r#""queue_ms": 500,"#);
    world.caller_sends(call(0).text());
    world.sent_response(100);
    world.pass_ms(400);
    world.silent();
    world.caller_sends(call(0).text());
    world.sent_response(100);
    assert_eq!((world.proxy.waiting_calls(), world.proxy.open_transactions()), (1, 1));
    busy(&mut world, false);
    world.pass_ms(50);
    let sent = world.sent_request("INVITE");
    assert!(sent.to_node(NODES[0]));
    assert_eq!(world.ledger(NODES[0]).assigned, 1);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    let counts =
        [Outcome::Offered, Outcome::Held, Outcome::HeldPlaced, Outcome::Answered].map(|one| world.outcome(one));
    assert_eq!(counts, [1; 4]);
    assert_eq!(world.outcome(Outcome::HeldExpired), 0);
    world.settle_down();
}

#[test]
fn calls_that_wait_go_in_order_of_arrival_and_nobody_overtakes_them() {
    let mut world = world(r#""queue_ms": 500,"#);
    for number in 0..3 {
        world.caller_sends(call(number).text());
        world.sent_response(100);
    }
    busy(&mut world, false);
    // There is room now, but others came first.
    world.caller_sends(call(3).text());
    world.sent_response(100);
    world.silent();
    world.pass_ms(50);
    let order: Vec<String> = world.drain().iter().map(|sent| sent.text.get("Call-ID").unwrap().to_owned()).collect();
    assert_eq!(order, ["call0", "call1", "call2", "call3"]);
    assert_eq!(world.outcome(Outcome::HeldPlaced), 4);
    world.caller_sends(call(4).text());
    world.sent_response(100);
    world.sent_request("INVITE");
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_reaches_no_node() {
    let mut world = world(r#""queue_ms": 500,"#);
    world.caller_sends(call(0).text());
    world.sent_response(100);
    world.caller_sends(call(0).of_same_transaction("CANCEL"));
    world.sent_response(200);
    world.sent_response(487);
    world.caller_sends(call(0).of_same_transaction("ACK"));
    busy(&mut world, false);
    world.pass_ms(600);
    world.silent();
    assert_eq!(world.outcome(Outcome::Cancelled), 1);
    assert_eq!(world.outcome(Outcome::HeldExpired), 0);
    world.settle_down();
}

#[test]
fn a_call_that_waits_in_vain_gets_the_over_limit_answer() {
    let mut world = world(r#""queue_ms": 500,"#);
    world.caller_sends(call(0).text());
    world.sent_response(100);
    world.pass_ms(560);
    let refusal = world.sent_response(503);
    let seconds: u32 = refusal.text.get("Retry-After").unwrap().parse().unwrap();
    assert!((5..=15).contains(&seconds));
    world.caller_sends(call(0).of_same_transaction("ACK"));
    let counts = [Outcome::Held, Outcome::HeldExpired, Outcome::RejectedFull, Outcome::ServerError];
    assert_eq!(counts.map(|one| world.outcome(one)), [1, 1, 1, 0]);
    world.settle_down();
}

#[test]
fn what_waiting_cannot_help_is_refused_at_once() {
    let mut off = world("");
    off.caller_sends(call(0).text());
    off.sent_response(503);
    off.silent();
    let mut full = world(r#""queue_ms": 500,"#);
    busy(&mut full, false);
    for node in NODES {
        let slot = full.slot(node);
        full.book.edit(slot, |ledger| ledger.sessions = 999.0);
    }
    full.caller_sends(call(0).text());
    full.sent_response(503);
    assert_eq!(full.count(Counter::RejectedOverLimit), 1);
    let mut message = world(r#""queue_ms": 500,"#);
    message.caller_sends(Request::new("MESSAGE", "message").text());
    message.sent_response(503);
    message.silent();
}

#[test]
fn a_group_that_is_deleted_while_calls_wait_for_it_refuses_them() {
    let mut world = world(r#""queue_ms": 500,"#);
    world.caller_sends(call(0).text());
    world.sent_response(100);
    let other = Setup { nodes: vec![NODES[1]], ..Setup::default() };
    let json = other.json().replace(r#""name": "ivr""#, r#""name": "other""#);
    world.apply_json(&json);
    world.pass_ms(100);
    world.sent_response(503);
    world.caller_sends(call(0).of_same_transaction("ACK"));
    world.settle_down();
}
