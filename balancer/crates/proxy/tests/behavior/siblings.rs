//! Workers of one process: what is received by one and belongs to another.

use switchtender_proxy::{Counter, Local};

use crate::call::place;
use crate::text::Request;
use crate::world::{CALLER, PUBLIC, Setup, World, address, config};

/// Worker 0 of two with a call on its way, and worker 1, which sees what worker 0 published.
fn two_workers() -> (World, World, Request, crate::world::Sent) {
    let worker = |number: u8| {
        let mut config = config();
        config.worker = number;
        config.workers = 2;
        config.worker_address = address(&format!("10.0.0.9:{}", 5071 + u16::from(number)));
        World::with(config, &Setup::default())
    };
    let (mut first, mut second) = (worker(0), worker(1));
    let invite = Request::invite();
    let sent = place(&mut first, &invite);
    second.wire.table.clone_from(&first.wire.table);
    assert_eq!(first.wire.table.len(), 1);
    (first, second, invite, sent)
}

#[test]
fn a_retransmission_that_lands_on_another_worker_is_handed_over_and_is_no_new_call() {
    let (mut first, mut second, invite, _) = two_workers();
    second.receive_at(PUBLIC, "192.0.2.10:40000", invite.text());
    second.silent();
    assert_eq!(second.wire.handed, [(0, invite.text().into_bytes())]);
    assert_eq!(second.count(Counter::HandedOver), 1);
    assert_eq!(second.proxy.transactions(), 0);
    first.handed_over(PUBLIC, "192.0.2.10:40000", invite.text());
    let trying = first.sent_response(100);
    assert_eq!(trying.to.to_string(), CALLER);
    first.silent();
}

#[test]
fn a_cancel_and_an_ack_that_land_on_another_worker_are_handed_over() {
    let (mut first, mut second, invite, sent) = two_workers();
    first.respond(&sent, sent.text.response(180, "Ringing", ""));
    first.drain();
    second.receive_at(PUBLIC, "192.0.2.10:40000", invite.of_same_transaction("CANCEL"));
    second.silent();
    assert_eq!(second.wire.handed.len(), 1);
    first.handed_over(PUBLIC, "192.0.2.10:40000", invite.of_same_transaction("CANCEL"));
    first.sent_response(200);
    first.sent_request("CANCEL");
    first.respond(&sent, sent.text.response(487, "Request Terminated", ""));
    first.drain();
    second.receive_at(PUBLIC, "192.0.2.10:40000", invite.of_same_transaction("ACK"));
    assert_eq!(second.wire.handed.len(), 2);
    first.handed_over(PUBLIC, "192.0.2.10:40000", invite.of_same_transaction("ACK"));
    first.silent();
    assert_eq!(first.proxy.open_transactions(), 0);
}

#[test]
fn a_response_that_lands_on_another_worker_is_handed_over_by_its_branch() {
    let (mut first, mut second, _, sent) = two_workers();
    let ringing = sent.text.response(180, "Ringing", "");
    second.receive_at(Local::Listener(0), "10.1.0.1:5060", &ringing);
    second.silent();
    assert_eq!(second.wire.handed, [(0, ringing.clone().into_bytes())]);
    first.handed_over(Local::Listener(0), "10.1.0.1:5060", &ringing);
    first.sent_response(180);
}

#[test]
fn nothing_is_handed_over_twice() {
    let (_, mut second, invite, sent) = two_workers();
    second.handed_over(PUBLIC, CALLER, invite.of_same_transaction("CANCEL"));
    second.sent_response(481);
    second.handed_over(Local::Worker, "10.1.0.1:5060", sent.text.response(180, "Ringing", ""));
    second.silent();
    assert_eq!(second.count(Counter::StrayResponses), 1);
    assert!(second.wire.handed.is_empty());
}

#[test]
fn what_no_sibling_has_is_new() {
    let (_, mut second, _, _) = two_workers();
    let other = Request::invite().call_id("other").via("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKother;rport");
    place(&mut second, &other);
    assert!(second.wire.handed.is_empty());
}

#[test]
fn a_full_ring_loses_the_datagram_and_counts_it() {
    let (_, mut second, invite, _) = two_workers();
    second.wire.ring_is_full = true;
    second.caller_sends(invite.text());
    second.silent();
    assert_eq!(second.count(Counter::HandOversLost), 1);
    assert_eq!(second.proxy.transactions(), 0, "the next retransmission finds its way");
}
