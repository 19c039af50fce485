//! From one node to the next, and when not. Each case that a node can fail in is a test.

use std::time::Duration;

use switchtender_proxy::{Counter, Event, FailureKind, Outcome, Refusal, Silence};

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{NODES, Sent, Setup, World};

const FULL: &str = "Maximum Calls In Progress";
const FULL_FIELDS: &str = "Retry-After: 300\r\n";

/// The caller's ACK for the failure of `invite` is absorbed.
fn acknowledge(world: &mut World, invite: &Request) {
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.silent();
    assert_eq!(world.count(Counter::StrayAcks), 0);
}

/// The attempt at the second node, taken off the wire, succeeds.
fn succeeds(world: &mut World, second: &Sent) {
    assert!(second.to_node(NODES[1]));
    world.respond(second, second.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.outcome(Outcome::Answered), 1);
    world.drain();
    world.settle_down();
    assert_eq!(world.ledger(NODES[0]).assigned, 1);
    assert_eq!(world.ledger(NODES[1]).assigned, 1);
}

#[test]
fn own_refusal_leads_to_the_next_node_at_once() {
    for (phrase, why) in
        [(FULL, Refusal::MaximumCalls), ("System Paused", Refusal::Paused), ("System Busy", Refusal::Busy)]
    {
        let mut world = World::new();
        let first = place(&mut world, &Request::invite());
        assert!(first.to_node(NODES[0]));
        world.respond(&first, first.text.response(503, phrase, FULL_FIELDS));
        let ack = world.sent_request("ACK");
        assert_eq!(ack.to, first.to);
        assert_eq!(ack.text.top_branch(), first.text.top_branch());
        let second = world.sent_request("INVITE");
        assert_ne!(second.text.top_branch(), first.text.top_branch());
        world.silent();
        let node = world.slot(NODES[0]);
        assert_eq!(world.wire.events, [Event::Refused { node, status: 503, why }]);
        let cooling = world.ledger(NODES[0]).cooling_until.since(world.now);
        let range = Duration::from_secs(1)..=Duration::from_secs(2);
        assert!(range.contains(&cooling), "{cooling:?}: never what its Retry-After says");
        assert_eq!(world.ledger(NODES[0]).in_flight, 0);
        assert_eq!(world.outcome(Outcome::FailoverRefusal), 1);
        succeeds(&mut world, &second);
    }
}

#[test]
fn the_next_node_gets_the_request_as_the_caller_sent_it() {
    let mut world = World::new();
    let invite = Request::invite().extra("X-Kept: yes");
    let first = place(&mut world, &invite);
    world.respond(&first, first.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    assert_eq!(second.text.uri(), first.text.uri());
    assert_eq!(second.text.body(), first.text.body());
    assert_eq!(second.text.all("Via")[1..], first.text.all("Via")[1..]);
    assert_eq!(second.text.get("X-Kept"), Some("yes"));
    assert_eq!(second.text.get("Max-Forwards"), Some("69"));
    let record = |sent: &Sent| sent.text.get("Record-Route").unwrap().to_owned();
    assert_ne!(record(&first), record(&second), "the token names the node");
}

#[test]
fn a_group_that_does_not_retry_on_refusals_answers_with_our_own_503() {
    let retry_on = r#"{"own_refusal": false, "timeout": false, "transport": false, "codes": []}"#;
    let mut world = World::with(crate::world::config(), &Setup { retry_on, ..Setup::default() });
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    assert_own_503(&mut world);
}

/// A 503 of our own: random small Retry-After, never the node's.
fn assert_own_503(world: &mut World) {
    let refusal = world.sent_response(503);
    let seconds: u32 = refusal.text.get("Retry-After").unwrap().parse().unwrap();
    assert!((5..=15).contains(&seconds), "{seconds}");
    assert_eq!(refusal.text.reason(), "Service Unavailable");
    assert_eq!(refusal.text.all("Retry-After").len(), 1);
    world.silent();
}

#[test]
fn when_every_node_refuses_the_caller_gets_503_with_our_own_retry_after() {
    let mut world = World::new();
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    world.respond(&first, first.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    world.respond(&second, second.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    assert_own_503(&mut world);
    assert_eq!(world.outcome(Outcome::RejectedRefused), 1);
    acknowledge(&mut world, &invite);
    world.settle_down();
}

#[test]
fn attempts_bound_how_many_nodes_are_tried() {
    let nodes = vec!["10.1.0.1:5060", "10.1.0.2:5060", "10.1.0.3:5060"];
    let mut world = World::with(crate::world::config(), &Setup { nodes, attempts: 2, ..Setup::default() });
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    world.respond(&second, second.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    world.sent_response(503);
    world.silent();
}

#[test]
fn a_full_node_is_never_tried() {
    let mut world = World::new();
    let slot = world.slot(NODES[1]);
    world.book.edit(slot, |ledger| ledger.sessions = 999.0);
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    assert_own_503(&mut world);
    assert_eq!(world.ledger(NODES[1]).assigned, 0);
}

#[test]
fn a_group_without_room_is_answered_at_once_and_without_a_transaction() {
    let mut world = World::new();
    for node in NODES {
        let slot = world.slot(node);
        world.book.edit(slot, |ledger| ledger.sessions = 999.0);
    }
    let mut seen = std::collections::BTreeSet::new();
    for call in 0..50 {
        world.caller_sends(Request::invite().call_id(&format!("call{call}")).text());
        let refusal = world.sent_response(503);
        seen.insert(refusal.text.get("Retry-After").unwrap().to_owned());
        world.silent();
    }
    assert!(seen.len() > 5, "the waiting times differ, so that the callers do not come back all at once: {seen:?}");
    assert_eq!(world.proxy.transactions(), 0);
    assert_eq!(world.outcome(Outcome::RejectedFull), 50);
    assert_eq!(world.count(Counter::RejectedOverLimit), 50);
}

#[test]
fn response_410_of_a_node_that_tears_down_leads_to_the_next() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(410, "Gone", ""));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    assert_eq!(world.outcome(Outcome::FailoverCode), 1);
    succeeds(&mut world, &second);
}

#[test]
fn a_410_from_the_far_end_is_passed_on() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(100, "Trying", ""));
    world.respond(&first, first.text.response(410, "Gone", ""));
    world.sent_request("ACK");
    world.sent_response(410);
    world.silent();
    assert_eq!(world.ledger(NODES[1]).assigned, 0);
}

#[test]
fn other_codes_lead_to_the_next_only_by_opt_in_and_only_before_a_100() {
    let retry_on = r#"{"own_refusal": true, "timeout": true, "transport": true, "codes": [500]}"#;
    for trying in [false, true] {
        let mut world = World::with(crate::world::config(), &Setup { retry_on, ..Setup::default() });
        let first = place(&mut world, &Request::invite());
        if trying {
            world.respond(&first, first.text.response(100, "Trying", ""));
        }
        world.respond(&first, first.text.response(500, "Server Internal Error", ""));
        world.sent_request("ACK");
        if trying {
            world.sent_response(500);
        } else {
            let second = world.sent_request("INVITE");
            assert_eq!(world.ledger(NODES[0]).cooling_until, switchtender_proxy::Time::ZERO, "no refusal of its own");
            world.respond(&second, second.text.response(404, "Not Found", ""));
            world.sent_request("ACK");
            world.sent_response(404);
        }
        world.silent();
    }
}

#[test]
fn silence_leads_to_the_next_node_while_the_first_goes_on() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.pass_ms(1999);
    let repeated = world.drain();
    assert_eq!(repeated.len(), 2, "Timer A at 0.5 s and 1.5 s");
    assert!(repeated.iter().all(|sent| sent.text == first.text));
    world.pass_ms(1);
    let second = world.sent_request("INVITE");
    world.silent();
    assert!(world.ledger(NODES[0]).suspect, "one call at a time until it answers");
    let node = world.slot(NODES[0]);
    assert_eq!(world.wire.events, [Event::TimedOut { node, what: Silence::FirstResponse }]);
    assert_eq!(world.ledger(NODES[0]).in_flight, 0, "the next call may find out");
    assert_eq!(world.ledger(NODES[0]).assigned, 1, "but its session stays counted until the next report");
    assert_eq!(world.outcome(Outcome::FailoverSilence), 1);
    world.pass_ms(1500);
    let repeated = world.drain();
    assert_eq!(repeated.iter().filter(|sent| sent.to == first.to).count(), 1, "its own retransmissions run on");
    assert_eq!(repeated.iter().filter(|sent| sent.to == second.to).count(), 2);
    succeeds(&mut world, &second);
}

#[test]
fn an_abandoned_branch_is_cancelled_on_its_first_provisional_and_not_before() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.pass_ms(2000);
    world.drain();
    world.respond(&first, first.text.response(100, "Trying", ""));
    let cancel = world.sent_request("CANCEL");
    assert_eq!(cancel.to, first.to);
    assert_eq!(cancel.text.top_branch(), first.text.top_branch());
    assert!(!world.ledger(NODES[0]).suspect, "it answered");
    world.respond(&first, cancel.text.response(200, "OK", ""));
    world.respond(&first, first.text.response(180, "Ringing", ""));
    world.silent();
    world.respond(&first, first.text.response(487, "Request Terminated", ""));
    let ack = world.sent_request("ACK");
    assert_eq!(ack.to, first.to);
    world.silent();
    assert_eq!(world.ledger(NODES[0]).in_flight, 0);
}

#[test]
fn silence_everywhere_is_answered_408_when_timer_b_fires() {
    let mut world = World::new();
    let invite = Request::invite();
    place(&mut world, &invite);
    world.pass_ms(2000);
    assert_eq!(world.drain().last().unwrap().to.to_string(), NODES[1]);
    world.pass_ms(31_999);
    assert!(world.drain().iter().all(|sent| sent.text.method() == Some("INVITE")), "nothing better than to wait");
    world.pass_ms(1);
    world.sent_response(408);
    assert_eq!(world.outcome(Outcome::TimedOut), 1);
    acknowledge(&mut world, &invite);
    world.settle_down();
}

#[test]
fn silence_after_100_cancels_that_branch_and_leads_to_the_next() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(100, "Trying", ""));
    world.pass_ms(9999);
    world.silent();
    world.pass_ms(1);
    let second = world.sent_request("INVITE");
    let cancel = world.sent_request("CANCEL");
    assert_eq!(cancel.to, first.to);
    world.silent();
    let node = world.slot(NODES[0]);
    assert_eq!(world.wire.events, [Event::TimedOut { node, what: Silence::Progress }]);
    assert!(!world.ledger(NODES[0]).suspect, "it did answer");
    world.respond(&first, cancel.text.response(200, "OK", ""));
    world.respond(&first, first.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    world.silent();
    assert_eq!(world.outcome(Outcome::FailoverProgress), 1);
    succeeds(&mut world, &second);
}

#[test]
fn silence_after_100_with_nobody_else_to_ask_goes_on_waiting() {
    let mut world = World::with(crate::world::config(), &Setup { nodes: vec![NODES[0]], ..Setup::default() });
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(100, "Trying", ""));
    world.pass_ms(60_000);
    world.silent();
    world.respond(&first, first.text.response(200, "OK", ""));
    world.sent_response(200);
    world.settle_down();
}

#[test]
fn icmp_refused_leads_to_the_next_node() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    // A router need not quote all of it, but where the branch is readable it names the attempt.
    let quoted = &first.text.as_ref()[..300];
    world.fail(FailureKind::Icmp, NODES[0], quoted);
    let second = world.sent_request("INVITE");
    world.silent();
    let node = world.slot(NODES[0]);
    assert_eq!(world.wire.events, [Event::TransportError { node }]);
    assert_eq!(world.ledger(NODES[0]).in_flight, 0);
    assert!(world.ledger(NODES[0]).cooling_until > world.now);
    assert_eq!(world.outcome(Outcome::FailoverTransport), 1);
    world.fail(FailureKind::Icmp, NODES[0], quoted);
    assert_eq!(world.count(Counter::StrayTransportErrors), 1, "that attempt is over");
    succeeds(&mut world, &second);
}

#[test]
fn icmp_without_a_quoted_branch_is_mapped_by_the_destination() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.fail(FailureKind::Icmp, "10.1.0.9:5060", &first.text.as_ref()[..8]);
    world.silent();
    world.pass_ms(20);
    world.fail(FailureKind::Icmp, NODES[0], &first.text.as_ref()[..8]);
    let second = world.sent_request("INVITE");
    succeeds(&mut world, &second);
}

#[test]
fn a_forged_icmp_error_about_another_branch_changes_nothing() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    let branch = first.text.top_branch().to_owned();
    let forged = first.text.to_string().replace(&branch, &branch.replace("z9hG4bK0", "z9hG4bK1"));
    world.fail(FailureKind::Icmp, NODES[0], forged);
    world.fail(FailureKind::Icmp, NODES[1], &first.text);
    world.silent();
    assert_eq!(world.count(Counter::StrayTransportErrors), 2);
}

#[test]
fn a_send_error_is_retried_once_before_it_counts() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.fail(FailureKind::Send, NODES[0], &first.text);
    let again = world.sent_request("INVITE");
    assert_eq!(again.text, first.text);
    assert!(world.wire.events.is_empty());
    world.fail(FailureKind::Send, NODES[0], &first.text);
    let second = world.sent_request("INVITE");
    succeeds(&mut world, &second);
}

#[test]
fn rfc_3261_16_9_a_transport_error_with_nobody_left_is_answered_500() {
    let mut world = World::with(crate::world::config(), &Setup { nodes: vec![NODES[0]], ..Setup::default() });
    let first = place(&mut world, &Request::invite());
    world.fail(FailureKind::Icmp, NODES[0], &first.text);
    world.sent_response(500);
    world.silent();
    assert_eq!(world.outcome(Outcome::ServerError), 1);
}

const SHUTDOWN: &str = "Reason: SIP;cause=701;text=\"SYSTEM_SHUTDOWN\"\r\n";

#[test]
fn response_480_system_shutdown_before_ringing_leads_to_the_next() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(100, "Trying", ""));
    world.respond(&first, first.text.response(480, "Temporarily Unavailable", SHUTDOWN));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    let node = world.slot(NODES[0]);
    assert_eq!(world.wire.events, [Event::ShutdownSeen { node }]);
    assert_eq!(world.outcome(Outcome::FailoverShutdown), 1);
    assert_eq!(world.ledger(NODES[0]).cooling_until.since(world.now), Duration::from_secs(2), "the longest cool-down");
    succeeds(&mut world, &second);
}

#[test]
fn response_480_system_shutdown_while_ringing_goes_upstream_and_marks_the_node() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.respond(&first, first.text.response(480, "Temporarily Unavailable", SHUTDOWN));
    world.sent_request("ACK");
    let passed = world.sent_response(480);
    assert_eq!(passed.text.get("Reason"), Some("SIP;cause=701;text=\"SYSTEM_SHUTDOWN\""));
    world.silent();
    let node = world.slot(NODES[0]);
    assert_eq!(world.wire.events, [Event::ShutdownSeen { node }]);
    assert_eq!(world.ledger(NODES[1]).assigned, 0, "the caller heard it ring: no failover");
    assert!(world.ledger(NODES[0]).cooling_until > world.now);
}

#[test]
fn a_480_without_that_reason_is_the_far_ends() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(480, "Temporarily Unavailable", "Reason: Q.850;cause=20\r\n"));
    world.sent_request("ACK");
    world.sent_response(480);
    assert!(world.wire.events.is_empty());
}

#[test]
fn a_bye_with_system_shutdown_marks_the_node() {
    let mut world = World::new();
    let (sent, _) = answered(&mut world, &Request::invite());
    let bye = Request::by_node("BYE", "nodebye", &sent.text).extra(SHUTDOWN.trim_end());
    world.receive_at(switchtender_proxy::Local::NodeSide, NODES[0], bye.text());
    world.sent_request("BYE");
    let node = world.slot(NODES[0]);
    assert_eq!(world.wire.events, [Event::ShutdownSeen { node }]);
}

#[test]
fn a_far_ends_486_is_passed_on_as_it_is_and_not_dialled_twice() {
    let mut world = World::new();
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    world.respond(&first, first.text.response(100, "Trying", ""));
    world.respond(&first, first.text.response(486, "Busy Here", "Reason: Q.850;cause=17;text=\"USER_BUSY\"\r\n"));
    world.sent_request("ACK");
    let busy = world.sent_response(486);
    assert_eq!(busy.text.reason(), "Busy Here");
    assert_eq!(busy.text.get("To"), Some("<sip:1000@sip.example.com>;tag=node"));
    assert_eq!(busy.text.get("Reason"), Some("Q.850;cause=17;text=\"USER_BUSY\""));
    world.silent();
    assert_eq!(world.ledger(NODES[1]).assigned, 0);
    acknowledge(&mut world, &invite);
    world.settle_down();
}

#[test]
fn rfc_3261_16_7_step_6_a_far_ends_503_becomes_500_and_is_not_dialled_twice() {
    for (trying, phrase, fields) in [
        (true, "Service Unavailable", "Reason: Q.850;cause=42\r\n"),
        (true, FULL, FULL_FIELDS),
        (false, FULL, "Retry-After: 300\r\nReason: Q.850;cause=42\r\n"),
        (false, "Service Unavailable", FULL_FIELDS),
    ] {
        let mut world = World::new();
        let first = place(&mut world, &Request::invite());
        if trying {
            world.respond(&first, first.text.response(100, "Trying", ""));
        }
        world.respond(&first, first.text.response(503, phrase, fields));
        world.sent_request("ACK");
        let error = world.sent_response(500);
        assert_eq!(error.text.reason(), "Server Internal Error");
        assert_eq!(error.text.get("Retry-After"), None, "that was about one node");
        world.silent();
        assert_eq!(world.ledger(NODES[1]).assigned, 0);
    }
}

#[test]
fn no_failover_once_a_provisional_above_100_was_passed_upstream() {
    for fate in ["refusal", "icmp", "silence"] {
        let mut world = World::new();
        let first = place(&mut world, &Request::invite());
        world.respond(&first, first.text.response(183, "Session Progress", ""));
        world.sent_response(183);
        match fate {
            "refusal" => world.respond(&first, first.text.response(503, FULL, "")),
            "icmp" => world.fail(FailureKind::Icmp, NODES[0], &first.text),
            _ => world.pass_ms(60_000),
        }
        if fate == "icmp" {
            world.silent();
        }
        world.drain();
        assert_eq!(world.ledger(NODES[1]).assigned, 0, "{fate}");
    }
}

#[test]
fn a_late_2xx_of_an_abandoned_branch_wins_when_no_other_did() {
    let mut world = World::new();
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    world.pass_ms(2000);
    world.drain();
    world.respond(&first, first.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    world.silent();
    assert_eq!(world.outcome(Outcome::Answered), 1);
    world.caller_sends(Request::in_dialog("ACK", "ack", &ok.text).text());
    assert_eq!(world.sent_request("ACK").to, first.to, "the token in its Record-Route leads to the first node");
    // The second attempt is cancelled as soon as it may be.
    world.pass_ms(500);
    let second = world.sent_request("INVITE");
    world.respond(&second, second.text.response(180, "Ringing", ""));
    world.sent_request("CANCEL");
    world.silent();
    world.respond(&second, second.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    world.silent();
    world.settle_down();
}

#[test]
fn a_late_2xx_after_a_failure_was_passed_is_forwarded_all_the_same() {
    let mut world = World::new();
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    world.pass_ms(2000);
    let second = world.drain().pop().unwrap();
    world.respond(&second, second.text.response(486, "Busy Here", ""));
    world.sent_request("ACK");
    world.sent_response(486);
    acknowledge(&mut world, &invite);
    world.pass_ms(20_000);
    world.drain();
    world.respond(&first, first.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.count(Counter::Further2xx), 1);
    world.drain();
    world.settle_down();
}

#[test]
fn two_2xx_are_both_forwarded() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.pass_ms(2000);
    let second = world.drain().pop().unwrap();
    world.respond(&second, second.text.response(200, "OK", ""));
    world.sent_response(200);
    world.respond(&first, first.text.response(200, "OK", "X-Which: first\r\n"));
    let late = world.sent_response(200);
    assert_eq!(late.text.get("X-Which"), Some("first"));
    assert_eq!(world.outcome(Outcome::Answered), 1);
    assert_eq!(world.ledger(NODES[0]).in_flight + world.ledger(NODES[1]).in_flight, 0);
    world.settle_down();
}

#[test]
fn an_attempt_is_given_back_exactly_once_whatever_ends_it() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.respond(&first, first.text.response(180, "Ringing", ""));
    for _ in 0..3 {
        world.respond(&first, first.text.response(486, "Busy Here", ""));
    }
    world.fail(FailureKind::Icmp, NODES[0], &first.text);
    world.settle_down();
    assert_eq!(world.ledger(NODES[0]).assigned, 1);
}

fn other(number: u32) -> Request {
    let id = format!("other{number}");
    Request::invite().call_id(&id).via(&format!("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK{id}"))
}

#[test]
fn a_suspect_node_gets_one_call_at_a_time_until_it_answers() {
    let mut world = World::with(crate::world::config(), &Setup { nodes: vec![NODES[0]], ..Setup::default() });
    place(&mut world, &Request::invite());
    world.pass_ms(2000);
    world.drain();
    let probe = place(&mut world, &other(1));
    world.caller_sends(other(2).text());
    world.sent_response(503);
    // Nor does the silence of that one close the node for longer than its patience.
    world.pass_ms(2000);
    world.drain();
    let second = place(&mut world, &other(3));
    world.caller_sends(other(4).text());
    world.sent_response(503);
    world.respond(&second, second.text.response(100, "Trying", ""));
    place(&mut world, &other(4));
    place(&mut world, &other(5));
    world.respond(&probe, probe.text.response(100, "Trying", ""));
    world.drain();
    world.settle_down();
}

#[test]
fn calls_that_ring_for_long_do_not_keep_a_suspect_node_closed() {
    let mut world = World::with(crate::world::config(), &Setup { nodes: vec![NODES[0]], ..Setup::default() });
    let ringing = place(&mut world, &Request::invite());
    world.respond(&ringing, ringing.text.response(180, "Ringing", ""));
    world.sent_response(180);
    assert_eq!(world.ledger(NODES[0]).in_flight, 0, "no failover from here on");
    place(&mut world, &other(1));
    world.pass_ms(2000);
    assert!(world.ledger(NODES[0]).suspect);
    world.drain();
    place(&mut world, &other(2));
    // Any response tells that it lives, also one of a call that it took up before.
    world.respond(&ringing, ringing.text.response(180, "Ringing", ""));
    assert!(!world.ledger(NODES[0]).suspect);
    world.drain();
    world.settle_down();
}

#[test]
fn requests_other_than_invite_fail_over_too() {
    let mut world = World::new();
    world.caller_sends(Request::new("REGISTER", "register").text());
    let first = world.sent_request("REGISTER");
    world.respond(&first, first.text.response(503, FULL, FULL_FIELDS));
    let second = world.sent_request("REGISTER");
    assert!(second.to_node(NODES[1]));
    world.silent();
    world.respond(&second, second.text.response(200, "OK", ""));
    world.sent_response(200);
    world.caller_sends(Request::new("MESSAGE", "message").text());
    world.pass_ms(2000);
    let sent = world.drain();
    assert!(sent[0].to_node(NODES[1]), "the first one cools down");
    assert!(sent.last().unwrap().to_node(NODES[0]), "nothing in two seconds");
    world.settle_down();
}

#[test]
fn a_group_that_was_deleted_in_mid_call_fails_over_no_more() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.snapshot.groups.clear();
    world.respond(&first, first.text.response(503, FULL, FULL_FIELDS));
    world.sent_request("ACK");
    assert_own_503(&mut world);
}
