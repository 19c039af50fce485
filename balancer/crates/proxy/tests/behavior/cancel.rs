//! CANCEL and ACK (RFC 3261 §9, §16.10, §17.1.1.3).

use switchtender_proxy::{Counter, FailureKind, Outcome};

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{CALLER, NODES, PUBLIC, Setup, World};

#[test]
fn rfc_3261_16_10_cancel_while_ringing() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    let ok = world.sent_response(200);
    assert_eq!(ok.text.get("CSeq"), Some("1 CANCEL"));
    let cancel = world.sent_request("CANCEL");
    assert_eq!(cancel.to, sent.to);
    assert_eq!(cancel.text.uri(), sent.text.uri());
    assert_eq!(cancel.text.all("Via"), [sent.text.get("Via").unwrap()]);
    assert_eq!(cancel.text.get("CSeq"), Some("1 CANCEL"));
    assert_eq!(cancel.text.get("To"), sent.text.get("To"));
    world.respond(&sent, cancel.text.response(200, "OK", ""));
    world.silent();
    world.respond(&sent, sent.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    let terminated = world.sent_response(487);
    assert_eq!(terminated.text.get("To"), Some("<sip:1000@sip.example.com>;tag=node"), "the node's own answer");
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.silent();
    assert_eq!(world.outcome(Outcome::Cancelled), 1);
    assert_eq!(world.ledger(NODES[0]).in_flight, 0);
    world.settle_down();
}

#[test]
fn rfc_3261_9_1_no_cancel_is_sent_before_the_first_provisional() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.sent_response(200);
    world.sent_response(487);
    world.silent();
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.respond(&sent, sent.text.response(100, "Trying", ""));
    let cancel = world.sent_request("CANCEL");
    world.respond(&sent, cancel.text.response(200, "OK", ""));
    world.respond(&sent, sent.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    world.silent();
    world.settle_down();
}

#[test]
fn a_cancel_is_retransmitted_until_it_is_answered() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.drain();
    world.pass_ms(3500);
    let cancels = world.drain();
    assert_eq!(cancels.len(), 3, "after 0.5, 1.5 and 3.5 s");
    world.pass_ms(12_000);
    assert_eq!(world.drain().len(), 3, "after 7.5, 11.5 and 15.5 s");
    world.respond(&sent, cancels[0].text.response(200, "OK", ""));
    world.pass_ms(8_000);
    world.silent();
    // No final response 64·T1 after the CANCEL: it is taken as cancelled (RFC 3261 §9.1).
    world.pass_ms(12_000);
    world.sent_response(487);
    world.settle_down();
}

#[test]
fn a_retransmitted_cancel_is_answered_again_and_cancels_once() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.drain();
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.sent_response(200);
    world.silent();
}

#[test]
fn a_cancel_without_match_gets_481() {
    let mut world = World::new();
    world.caller_sends(Request::invite().of_same_transaction("CANCEL"));
    world.sent_response(481);
    // Nor does one that matches something else than an INVITE.
    world.caller_sends(Request::new("MESSAGE", "message").text());
    world.sent_request("MESSAGE");
    world.caller_sends(Request::new("MESSAGE", "message").of_same_transaction("CANCEL"));
    world.sent_response(481);
    world.silent();
    assert_eq!(world.count(Counter::RejectedNoDialog), 2);
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut world = World::new();
    let invite = Request::invite();
    let (sent, ok) = answered(&mut world, &invite);
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.sent_response(200);
    world.silent();
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    assert_eq!(world.sent_request("BYE").to, sent.to);
}

#[test]
fn a_cancel_that_races_with_failover_stops_it() {
    for fate in ["refusal", "shutdown", "icmp"] {
        let mut world = World::new();
        let invite = Request::invite();
        let sent = place(&mut world, &invite);
        world.respond(&sent, sent.text.response(100, "Trying", ""));
        world.caller_sends(invite.of_same_transaction("CANCEL"));
        world.sent_response(200);
        world.sent_request("CANCEL");
        match fate {
            "refusal" => world.respond(&sent, sent.text.response(503, "Maximum Calls In Progress", "")),
            "shutdown" => {
                let reason = "Reason: SIP;cause=701;text=\"SYSTEM_SHUTDOWN\"\r\n";
                world.respond(&sent, sent.text.response(480, "Temporarily Unavailable", reason));
            }
            _ => {
                world.fail(FailureKind::Icmp, NODES[0], &sent.text);
                world.pass_ms(32_000);
            }
        }
        let sent = world.drain();
        let last = sent.last().unwrap();
        assert_eq!(last.text.status(), Some(if fate == "shutdown" { 480 } else { 487 }), "{fate}");
        assert_eq!(world.ledger(NODES[1]).assigned, 0, "{fate}");
        assert_eq!(world.outcome(Outcome::Cancelled), 1, "{fate}");
        world.settle_down();
    }
}

#[test]
fn a_cancel_during_failover_stops_the_second_attempt_and_tries_no_third() {
    let nodes = vec![NODES[0], NODES[1], "10.1.0.3:5060"];
    let mut world = World::with(crate::world::config(), &Setup { nodes, ..Setup::default() });
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    world.respond(&first, first.text.response(503, "Maximum Calls In Progress", ""));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.sent_response(200);
    world.sent_response(487);
    world.respond(&second, second.text.response(503, "Maximum Calls In Progress", ""));
    world.sent_request("ACK");
    world.silent();
    world.drain();
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.settle_down();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_forwarded() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.drain();
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.outcome(Outcome::Answered), 1);
    world.settle_down();
}

#[test]
fn a_cancel_matches_by_its_branch_and_not_by_where_it_comes_from() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.drain();
    world.receive_at(PUBLIC, "192.0.2.10:40000", invite.of_same_transaction("CANCEL"));
    assert_eq!(world.sent_response(200).to.to_string(), "192.0.2.10:40000");
    world.sent_request("CANCEL");
    world.respond(&sent, sent.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    assert_eq!(world.sent_response(487).to.to_string(), CALLER, "the INVITE is answered where it came from");
}

#[test]
fn rfc_3261_17_1_1_3_the_ack_for_a_failure_is_ours_and_repeated_on_demand() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(404, "Not Found", ""));
    let ack = world.sent_request("ACK");
    assert_eq!(ack.to, sent.to);
    assert_eq!(ack.text.uri(), sent.text.uri());
    assert_eq!(ack.text.all("Via"), [sent.text.get("Via").unwrap()]);
    assert_eq!(ack.text.get("CSeq"), Some("1 ACK"));
    assert_eq!(ack.text.get("To"), Some("<sip:1000@sip.example.com>;tag=node"), "the To of the response");
    world.sent_response(404);
    world.respond(&sent, sent.text.response(404, "Not Found", ""));
    let again = world.sent_request("ACK");
    assert_eq!(again.text, ack.text);
    world.silent();
}

#[test]
fn the_ack_for_a_2xx_goes_end_to_end_each_time_it_comes() {
    let mut world = World::new();
    let (sent, ok) = answered(&mut world, &Request::invite());
    let ack = Request::in_dialog("ACK", "again", &ok);
    world.caller_sends(ack.text());
    let first = world.sent_request("ACK");
    assert_eq!(first.to, sent.to);
    assert_eq!(first.text.all("Via").len(), 2);
    assert_eq!(first.text.get("Max-Forwards"), Some("69"));
    world.caller_sends(ack.text());
    assert_eq!(world.sent_request("ACK").text, first.text, "the same branch each time (RFC 3261 §16.11)");
    // Some clients give it the branch of the INVITE.
    let mut reused = Request::in_dialog("ACK", "invite", &ok);
    reused.cseq = 1;
    world.caller_sends(reused.text());
    assert_eq!(world.sent_request("ACK").to, sent.to);
    let mut hopless = Request::in_dialog("ACK", "spent", &ok);
    hopless.max_forwards = Some(0);
    world.caller_sends(hopless.text());
    world.silent();
}

#[test]
fn the_ack_for_a_refusal_without_a_transaction_goes_nowhere() {
    let mut world = World::new();
    world.proxy.set_overloaded(true);
    let invite = Request::invite().uri("sip:1000@10.1.0.1:5060");
    world.caller_sends(invite.text());
    let refusal = world.sent_response(503);
    let mut ack = Request { method: "ACK", body: String::new(), extra: String::new(), ..invite.clone() };
    ack.to = refusal.text.get("To").unwrap().into();
    world.caller_sends(ack.text());
    world.silent();
    assert_eq!(world.count(Counter::StrayAcks), 0);
    // Not so an ACK of a dialog that names a node: it goes there.
    ack.to = "<sip:1000@sip.example.com>;tag=node".into();
    world.caller_sends(ack.text());
    world.sent_request("ACK");
}
