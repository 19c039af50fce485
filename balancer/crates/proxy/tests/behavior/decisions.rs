//! What is told of decisions, for whoever follows a call: each kind, at the place where it is made.

use switchtender_proxy::{FailureKind, Outcome};

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{NODES, Setup, World, config};

/// Decisions told since the last time, in words; nodes by their place in the snapshot.
fn told(world: &mut World) -> Vec<String> {
    std::mem::take(&mut world.wire.decisions)
}

fn busy(world: &mut World, busy: bool) {
    for node in NODES {
        let slot = world.slot(node);
        world.book.edit(slot, |ledger| ledger.legs_last_second = if busy { 2000 } else { 0 });
    }
}

fn held() -> World {
    let mut world = World::with(config(), &Setup { group: r#""queue_ms": 500,"#, ..Setup::default() });
    busy(&mut world, true);
    world.caller_sends(Request::invite().text());
    world.sent_response(100);
    assert_eq!(told(&mut world), ["held RateLimited"]);
    world
}

#[test]
fn each_attempt_is_told_once_with_the_nodes_before_it() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    assert_eq!(told(&mut world), ["placed 0 after []"]);
    // The caller's retransmission and what the node answers decide nothing.
    world.caller_sends(Request::invite().text());
    world.respond(&first, first.text.response(100, "Trying", ""));
    assert_eq!(told(&mut world), [""; 0]);
    world.respond(&first, first.text.response(503, "Maximum Calls In Progress", ""));
    assert_eq!(told(&mut world), [""; 0], "a 100 came before: not the node's own");
    world.drain();

    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(503, "Maximum Calls In Progress", ""));
    assert_eq!(told(&mut world), ["placed 0 after []", "failed 0 refusal 1 true", "placed 1 after [0]"]);
    world.drain();
}

#[test]
fn an_attempt_after_which_nothing_is_tried_says_so() {
    let mut world = World::with(config(), &Setup { attempts: 1, ..Setup::default() });
    let first = place(&mut world, &Request::invite());
    for _ in 0..2 {
        // The first error may be the echo of another one.
        world.fail(FailureKind::Send, NODES[0], &first.text);
    }
    assert_eq!(told(&mut world), ["placed 0 after []", "failed 0 transport 1 false"]);
    world.drain();
}

#[test]
fn requests_in_dialogs_are_no_decisions() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    told(&mut world);
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    world.sent_request("BYE");
    assert_eq!(told(&mut world), [""; 0]);
}

#[test]
fn a_call_that_no_node_can_take_is_refused_with_the_reason() {
    let mut world = World::new();
    busy(&mut world, true);
    world.caller_sends(Request::invite().text());
    world.sent_response(503);
    assert_eq!(told(&mut world), ["refused RateLimited"]);
}

#[test]
fn a_call_that_waits_is_placed_or_refused_in_the_end() {
    let mut world = held();
    busy(&mut world, false);
    world.pass_ms(50);
    world.sent_request("INVITE");
    assert_eq!(told(&mut world), ["placed 0 after []"]);

    let mut world = held();
    world.pass_ms(600);
    world.sent_response(503);
    assert_eq!(told(&mut world), ["refused RateLimited"]);
    assert_eq!(world.outcome(Outcome::HeldExpired), 1);
}
