//! Responses (RFC 3261 §16.7, §17.1, RFC 6026).

use switchtender_proxy::Counter;

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{NODES, Setup, World};

#[test]
fn rfc_3261_16_7_100_is_consumed_and_101_to_199_are_forwarded() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.respond(&sent, sent.text.response(100, "Trying", ""));
    world.silent();
    for (status, reason) in [(180, "Ringing"), (181, "Call Is Being Forwarded"), (183, "Session Progress"), (199, "X")]
    {
        world.respond(&sent, sent.text.response(status, reason, "X-Kept: yes\r\n"));
        let passed = world.sent_response(status);
        assert_eq!(passed.text.reason(), reason);
        assert_eq!(passed.text.get("X-Kept"), Some("yes"));
        assert_eq!(passed.text.all("Record-Route").len(), 1, "step 8: the one that is for the caller");
    }
}

#[test]
fn rfc_3261_16_8_timer_c_cancels_and_provisionals_restart_it() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.pass_ms(170_000);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.pass_ms(180_999);
    world.silent();
    world.pass_ms(1);
    let cancel = world.sent_request("CANCEL");
    world.respond(&sent, cancel.text.response(200, "OK", ""));
    world.respond(&sent, sent.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    world.sent_response(487);
    world.settle_down();
}

#[test]
fn a_storm_of_provisionals_leaves_no_trail_of_timers() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    for _ in 0..1000 {
        world.respond(&sent, sent.text.response(183, "Session Progress", ""));
    }
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.drain();
    world.settle_down();
}

#[test]
fn rfc_3261_16_7_a_2xx_is_forwarded_each_time_it_comes_until_timer_m() {
    let mut world = World::new();
    let (sent, _) = answered(&mut world, &Request::invite());
    for _ in 0..3 {
        world.pass_ms(4000);
        world.respond(&sent, sent.text.response(200, "OK", ""));
        world.sent_response(200);
    }
    world.pass_ms(21_000);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.silent();
    assert_eq!(world.count(Counter::StrayResponses), 1, "RFC 6026 §8.12: a stray 2xx is not forwarded");
    world.settle_down();
}

#[test]
fn rfc_6026_an_invite_retransmitted_after_the_2xx_is_absorbed() {
    let mut world = World::new();
    let invite = Request::invite();
    answered(&mut world, &invite);
    world.caller_sends(invite.text());
    world.silent();
    assert_eq!(world.count(Counter::Retransmissions), 1);
    assert_eq!(world.ledger(NODES[0]).assigned, 1);
}

#[test]
fn rfc_3261_16_7_step_3_a_response_without_a_second_via_goes_nowhere() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    let response = sent.text.response(180, "Ringing", "");
    let below = format!("Via: {}\r\n", sent.text.all("Via")[1]);
    world.respond(&sent, response.replace(&below, ""));
    world.silent();
    assert_eq!(world.count(Counter::ResponsesWithoutVia), 1);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
}

#[test]
fn vias_in_one_field_are_told_apart() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    let vias = sent.text.all("Via");
    let folded = sent.text.response(180, "Ringing", "").replace(
        &format!("Via: {}\r\nVia: {}\r\n", vias[0], vias[1]),
        &format!("v: {} ,\r\n {}\r\n", vias[0], vias[1]),
    );
    world.respond(&sent, folded);
    assert_eq!(world.sent_response(180).text.all("v"), [vias[1]]);
}

#[test]
fn an_old_response_after_a_restart_matches_nothing() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    let mut config = crate::world::config();
    config.run_id += 1 << 40;
    world.restart(config);
    // The same slot is taken again.
    let other = Request::invite().call_id("other").via("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKother");
    place(&mut world, &other);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.silent();
    assert_eq!(world.count(Counter::StrayResponses), 1);
}

#[test]
fn a_response_to_an_earlier_user_of_the_slot_matches_nothing() {
    let mut world = World::new();
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    world.respond(&first, first.text.response(486, "Busy Here", ""));
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.drain();
    world.settle_down();
    let other = Request::invite().call_id("other").via("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKother");
    place(&mut world, &other);
    world.respond(&first, first.text.response(200, "OK", ""));
    world.silent();
    assert_eq!(world.count(Counter::StrayResponses), 1);
}

#[test]
fn a_response_must_have_the_call_id_and_cseq_of_its_transaction() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    let response = sent.text.response(200, "OK", "");
    for (found, put) in [
        ("Call-ID: call@", "Call-ID: another@"),
        ("CSeq: 1 INVITE", "CSeq: 2 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ("CSeq: 1 INVITE", "CSeq: 1 invite"),
    ] {
        let changed = response.replace(found, put);
        assert_ne!(changed, response);
        world.respond(&sent, changed);
        world.silent();
    }
    assert_eq!(world.count(Counter::MismatchedResponses), 4);
    world.respond(&sent, response);
    world.sent_response(200);
}

#[test]
fn a_response_with_a_forged_branch_matches_nothing() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    let branch = sent.text.top_branch().to_owned();
    let response = sent.text.response(200, "OK", "");
    for position in 7..branch.len() {
        let mut forged = branch.clone().into_bytes();
        forged[position] = if forged[position] == b'0' { b'1' } else { b'0' };
        let forged = String::from_utf8(forged).unwrap();
        world.respond(&sent, response.replace(&branch, &forged));
    }
    world.silent();
    world.respond(&sent, response.replace(&branch, "z9hG4bKforeign"));
    world.silent();
    assert_eq!(world.count(Counter::StrayResponses), u64::try_from(branch.len() - 7 + 1).unwrap());
}

#[test]
fn rfc_3261_16_7_step_6_of_two_failures_the_better_is_passed() {
    // (the first node's answer, the second's, what the caller gets)
    for (first, second, passed) in [(500, 404, 404), (404, 500, 404), (500, 600, 600), (486, 401, 401), (600, 404, 600)]
    {
        let retry_on = r#"{"own_refusal": true, "timeout": true, "transport": true,
            "codes": [401, 404, 486, 500, 600]}"#;
        let mut world = World::with(crate::world::config(), &Setup { retry_on, ..Setup::default() });
        let sent = place(&mut world, &Request::invite());
        world.respond(&sent, sent.text.response(first, "First", ""));
        world.sent_request("ACK");
        let sent = world.sent_request("INVITE");
        world.respond(&sent, sent.text.response(second, "Second", ""));
        world.sent_request("ACK");
        world.sent_response(passed);
        world.silent();
    }
}

#[test]
fn a_redirect_is_the_callers_to_follow() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.respond(&sent, sent.text.response(302, "Moved Temporarily", "Contact: <sip:b@example.org>\r\n"));
    world.sent_request("ACK");
    let moved = world.sent_response(302);
    assert_eq!(moved.text.get("Contact"), Some("<sip:b@example.org>"));
}

#[test]
fn rfc_4320_no_408_for_anything_but_invite() {
    let mut world = World::new();
    let message = Request::new("MESSAGE", "message");
    world.caller_sends(message.text());
    world.pass_ms(60_000);
    assert!(world.drain().iter().all(|sent| sent.text.method() == Some("MESSAGE")));
    world.caller_sends(message.text());
    world.silent();
    world.settle_down();
}

#[test]
fn no_100_for_anything_but_invite() {
    let mut world = World::new();
    world.caller_sends(Request::new("MESSAGE", "message").text());
    let sent = world.sent_request("MESSAGE");
    world.respond(&sent, sent.text.response(100, "Trying", ""));
    world.silent();
}

#[test]
fn internal_headers_never_reach_a_node_nor_a_caller() {
    let mut world = World::new();
    let invite = Request::invite().extra("X-Switchtender-Group: a").extra("x-switchtender-node:b").extra("X-Other: c");
    let sent = place(&mut world, &invite);
    assert!(!sent.text.to_string().to_lowercase().contains("x-switchtender"), "{}", sent.text);
    assert_eq!(sent.text.get("X-Other"), Some("c"));
    world.respond(&sent, sent.text.response(180, "Ringing", "X-Switchtender-Group: a\r\nX-Other: d\r\n"));
    let ringing = world.sent_response(180);
    assert!(!ringing.text.to_string().contains("X-Switchtender"), "{}", ringing.text);
    assert_eq!(ringing.text.get("X-Other"), Some("d"));
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let mut world = World::new();
    let invite =
        Request::invite().extra("Record-Route: <sip:upstream.example.com;lr>").extra("X-Odd:   kept , as it is ");
    let sent = place(&mut world, &invite);
    for name in ["From", "To", "Call-ID", "CSeq", "Contact"] {
        let value = |text: &str| text.lines().find(|line| line.starts_with(&format!("{name}:"))).map(str::to_owned);
        assert_eq!(value(&sent.text.to_string()), value(&invite.text()), "{name}");
    }
    assert!(sent.text.to_string().contains("X-Odd:   kept , as it is \r\n"));
    assert_eq!(sent.text.all("Record-Route").last(), Some(&"<sip:upstream.example.com;lr>"));
    assert_eq!(sent.text.body(), invite.body);
}
