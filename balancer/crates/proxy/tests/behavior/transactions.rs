//! Retransmissions and timers of both transaction machines (RFC 3261 §17, RFC 6026).

use switchtender_proxy::{Counter, Event, Silence};

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{NODES, PUBLIC, Setup, World};

fn alone() -> World {
    World::with(crate::world::config(), &Setup { nodes: vec![NODES[0]], ..Setup::default() })
}

/// When, in milliseconds from now, something was sent in so much time.
fn times(world: &mut World, millis: u64) -> Vec<u64> {
    let mut times = Vec::new();
    for milli in 1..=millis {
        world.pass_ms(1);
        times.extend(world.drain().iter().map(|_| milli));
    }
    times
}

#[test]
fn rfc_3261_17_1_1_2_timer_a_doubles_until_timer_b() {
    let mut world = alone();
    place(&mut world, &Request::invite());
    let sent = times(&mut world, 32_000);
    assert_eq!(sent, [500, 1500, 3500, 7500, 15_500, 31_500, 32_000], "six times the INVITE, then 408");
    assert_eq!(world.ledger(NODES[0]).in_flight, 0, "abandoned by Timer B");
    let node = world.slot(NODES[0]);
    assert_eq!(world.wire.events.last(), Some(&Event::TimedOut { node, what: Silence::Transaction }));
}

#[test]
fn rfc_3261_17_1_1_2_a_provisional_stops_timer_a() {
    let mut world = alone();
    let sent = place(&mut world, &Request::invite());
    world.pass_ms(100);
    world.respond(&sent, sent.text.response(100, "Trying", ""));
    assert_eq!(times(&mut world, 60_000), Vec::<u64>::new());
}

#[test]
fn rfc_3261_17_1_2_2_timer_e_doubles_up_to_t2_until_timer_f() {
    let mut world = alone();
    world.caller_sends(Request::new("MESSAGE", "message").text());
    world.drain();
    let sent = times(&mut world, 40_000);
    assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    world.settle_down();
}

#[test]
fn rfc_3261_17_1_2_2_a_provisional_slows_timer_e_down_to_t2() {
    let mut world = alone();
    world.caller_sends(Request::new("MESSAGE", "message").text());
    let message = world.sent();
    world.pass_ms(100);
    world.respond(&message, message.text.response(100, "Trying", ""));
    assert_eq!(times(&mut world, 10_000), [400, 4400, 8400]);
}

#[test]
fn rfc_3261_17_2_1_a_retransmitted_invite_gets_the_last_response_again() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.caller_sends(invite.text());
    world.sent_response(100);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    let ringing = world.sent_response(180);
    world.caller_sends(invite.text());
    assert_eq!(world.sent_response(180).text, ringing.text);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.sent_request("ACK");
    let busy = world.sent_response(486);
    world.caller_sends(invite.text());
    assert_eq!(world.sent_response(486).text, busy.text);
    world.silent();
    assert_eq!(world.count(Counter::Retransmissions), 3);
    assert_eq!(world.ledger(NODES[0]).assigned, 1);
}

#[test]
fn rfc_3261_17_2_1_timer_g_repeats_a_failure_until_the_ack_or_timer_h() {
    let mut world = alone();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.drain();
    assert_eq!(times(&mut world, 40_000), [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    world.settle_down();

    let mut world = alone();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.drain();
    world.pass_ms(500);
    world.sent_response(486);
    world.caller_sends(invite.of_same_transaction("ACK"));
    assert_eq!(times(&mut world, 40_000), Vec::<u64>::new());
    world.settle_down();
}

#[test]
fn rfc_3261_17_2_1_after_the_ack_further_acks_and_invites_are_absorbed_for_timer_i() {
    let mut world = alone();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.drain();
    for _ in 0..3 {
        world.caller_sends(invite.of_same_transaction("ACK"));
        world.caller_sends(invite.text());
        world.silent();
    }
    assert_eq!(world.count(Counter::StrayAcks), 0);
}

#[test]
fn rfc_3261_17_2_2_a_retransmitted_request_gets_its_final_response_for_timer_j() {
    let mut world = alone();
    let message = Request::new("MESSAGE", "message");
    world.caller_sends(message.text());
    let sent = world.sent_request("MESSAGE");
    world.caller_sends(message.text());
    world.silent();
    world.respond(&sent, sent.text.response(202, "Accepted", ""));
    let accepted = world.sent_response(202);
    world.pass_ms(31_000);
    world.caller_sends(message.text());
    assert_eq!(world.sent_response(202).text, accepted.text);
    world.pass_ms(1001);
    world.caller_sends(message.text());
    world.sent_request("MESSAGE");
}

#[test]
fn a_retransmitted_final_response_is_absorbed() {
    let mut world = alone();
    world.caller_sends(Request::new("MESSAGE", "message").text());
    let sent = world.sent_request("MESSAGE");
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.respond(&sent, sent.text.response(404, "Not Found", ""));
    world.silent();
}

#[test]
fn rfc_3261_17_2_3_requests_are_told_apart_by_branch_sent_by_and_method() {
    let mut world = World::new();
    let invite = Request::invite();
    place(&mut world, &invite);
    // Another branch, another sent-by, another port.
    for via in [
        "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKinvitex;rport",
        "SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKinvite;rport",
        "SIP/2.0/UDP 192.0.2.10:5061;branch=z9hG4bKinvite;rport",
    ] {
        place(&mut world, &invite.clone().via(via));
    }
    // Another method.
    world.caller_sends(Request::new("MESSAGE", "invite").text());
    world.sent_request("MESSAGE");
    assert_eq!(world.count(Counter::Retransmissions), 0);
    // The same, however it is written.
    let spelled = invite.clone().via("SIP / 2.0 / UDP  192.0.2.10 ; rport ;branch=z9hG4bKinvite");
    world.caller_sends(spelled.text());
    world.sent_response(100);
    assert_eq!(world.count(Counter::Retransmissions), 1);
}

#[test]
fn equal_branches_of_clients_behind_equal_private_addresses_stay_apart() {
    let mut world = World::new();
    place(&mut world, &Request::invite());
    let other = Request::invite().call_id("another");
    world.receive_at(PUBLIC, "203.0.113.9:5060", other.text());
    world.sent_response(100);
    world.sent_request("INVITE");
}

#[test]
fn rfc_2543_a_request_without_the_magic_cookie_matches_by_its_fields() {
    let mut world = World::new();
    let invite = Request::invite().via("SIP/2.0/UDP 192.0.2.10:5060;branch=1");
    let sent = place(&mut world, &invite);
    world.caller_sends(invite.text());
    world.sent_response(100);
    world.silent();
    let mut other = invite.clone().call_id("other");
    place(&mut world, &other);
    other.cseq = 2;
    place(&mut world, &other);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.sent_request("ACK");
    world.sent_response(486);
    let mut ack = Request { method: "ACK", body: String::new(), extra: String::new(), ..invite };
    ack.to += ";tag=node";
    world.caller_sends(ack.text());
    world.pass_ms(1000);
    let repeated = world.drain();
    assert!(repeated.iter().all(|sent| sent.text.status() != Some(486)), "acknowledged: {repeated:?}");
}

#[test]
fn the_slot_of_a_transaction_that_is_over_is_used_again() {
    let mut world = alone();
    for call in 0..200 {
        let id = format!("call{call}");
        let via = format!("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{id};rport");
        let invite = Request::invite().call_id(&id).via(&via);
        let sent = place(&mut world, &invite);
        world.respond(&sent, sent.text.response(486, "Busy Here", ""));
        world.caller_sends(invite.of_same_transaction("ACK"));
        world.drain();
        world.pass_ms(40_000);
    }
    assert_eq!(world.proxy.transactions(), 0);
    world.settle_down();
}

#[test]
fn open_transactions_are_those_that_still_want_something() {
    let mut world = alone();
    let invite = Request::invite();
    assert_eq!(world.proxy.open_transactions(), 0);
    let sent = place(&mut world, &invite);
    assert_eq!(world.proxy.open_transactions(), 2);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    assert_eq!(world.proxy.open_transactions(), 1, "the ACK is awaited");
    world.caller_sends(invite.of_same_transaction("ACK"));
    assert_eq!(world.proxy.open_transactions(), 0);
    assert_eq!(world.proxy.transactions(), 2, "they linger to absorb retransmissions");
    let other = Request::invite().call_id("other").via("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKother");
    world.drain();
    answered(&mut world, &other);
    assert_eq!(world.proxy.open_transactions(), 0);
}
