//! Nodes that report nothing: what we count is all there is, so it must come back to nothing.

use std::time::Duration;

use switchtender_proxy::{FailureKind, Local};
use switchtender_select::Admission;

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{NODES, PUBLIC, World};

fn world() -> World {
    let world = World::new();
    for node in NODES {
        world.book.edit(world.slot(node), |ledger| ledger.admission = Some(Admission::Unmeasured));
    }
    world
}

/// Calls that we take to stand, at both nodes together.
fn standing(world: &World) -> u64 {
    NODES.into_iter().map(|node| world.ledger(node)).map(|ledger| ledger.assigned - ledger.ended).sum()
}

#[test]
fn a_refused_call_is_given_back_at_once() {
    let mut world = world();
    let sent = place(&mut world, &Request::invite());
    assert_eq!(standing(&world), 1);
    for _ in 0..2 {
        world.respond(&sent, sent.text.response(486, "Busy Here", ""));
        assert_eq!(standing(&world), 0, "once, though it is repeated");
    }
    world.settle_down();
    assert_eq!(standing(&world), 0);
}

#[test]
fn a_cancelled_call_is_given_back() {
    let mut world = world();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.respond(&sent, sent.text.response(487, "Request Terminated", ""));
    assert_eq!(standing(&world), 0);
    world.settle_down();
    assert_eq!(standing(&world), 0);
}

#[test]
fn a_silent_nodes_call_is_given_back_when_nothing_can_come_any_more() {
    let mut world = world();
    place(&mut world, &Request::invite());
    world.pass(Duration::from_secs(3));
    assert_eq!(standing(&world), 2, "the abandoned attempt may still succeed");
    world.settle_down();
    assert_eq!(standing(&world), 0);
}

#[test]
fn a_call_that_could_not_be_delivered_is_given_back() {
    let mut world = world();
    let sent = place(&mut world, &Request::invite());
    world.fail(FailureKind::Icmp, NODES[0], &sent.text);
    assert_eq!(standing(&world), 1, "at the next node");
    world.settle_down();
    assert_eq!(standing(&world), 0);
}

#[test]
fn a_bye_ends_the_call_however_it_is_answered() {
    for (status, left) in [(200, 0), (481, 0), (500, 0), (401, 1), (407, 1)] {
        let mut world = world();
        let (_, ok) = answered(&mut world, &Request::invite());
        world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
        let bye = world.sent_request("BYE");
        world.respond(&bye, bye.text.response(status, "Whatever", ""));
        assert_eq!(standing(&world), left, "{status}");
    }
}

#[test]
fn a_bye_that_nobody_answers_ends_the_call() {
    let mut world = world();
    let (sent, _) = answered(&mut world, &Request::invite());
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("BYE", "nodebye", &sent.text).text());
    assert_eq!(standing(&world), 1);
    world.settle_down();
    assert_eq!(standing(&world), 0);
}

#[test]
fn both_sides_hang_up_at_once_and_it_counts_once() {
    let mut world = world();
    answered(&mut world, &Request::invite());
    let (sent, ok) = answered(&mut world, &Request::invite().call_id("second"));
    let node = sent.to.to_string();
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    let from_caller = world.sent_request("BYE");
    world.receive_at(Local::NodeSide, &node, Request::by_node("BYE", "nodebye", &sent.text).text());
    let from_node = world.sent_request("BYE");
    world.respond(&from_caller, from_caller.text.response(200, "OK", ""));
    world.respond(&from_node, from_node.text.response(200, "OK", ""));
    assert_eq!(standing(&world), 1, "the first call still stands");
}

#[test]
fn a_call_that_ended_in_a_sibling_is_not_given_back_twice() {
    let mut world = world();
    let (sent, ok) = answered(&mut world, &Request::invite());
    let bye_of_node = Request::by_node("BYE", "nodebye", &sent.text);
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    let bye = world.sent_request("BYE");
    world.respond(&bye, bye.text.response(200, "OK", ""));
    let told = std::mem::take(&mut world.wire.over);
    assert_eq!(told.len(), 1, "the siblings are told once");
    // The sibling is another worker of the same process, with the same nodes.
    world.restart(crate::world::config());
    world.proxy.call_over(world.now, told[0], &world.snapshot, &world.book, &mut world.wire);
    world.receive_at(Local::NodeSide, NODES[0], bye_of_node.text());
    let bye = world.sent_request("BYE");
    world.receive_at(PUBLIC, &bye.to.to_string(), bye.text.response(200, "OK", ""));
    assert_eq!(world.ledger(NODES[0]).ended, 1);
}

#[test]
fn a_call_from_before_a_restart_gives_back_nothing() {
    let mut world = world();
    let (_, ok) = answered(&mut world, &Request::invite());
    world.book.edit(world.slot(NODES[0]), |ledger| ledger.assigned = 0);
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    let bye = world.sent_request("BYE");
    world.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(world.ledger(NODES[0]).ended, 0);
}
