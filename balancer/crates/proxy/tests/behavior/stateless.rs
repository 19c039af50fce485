//! Groups without transactions (RFC 3261 §16.11).

use std::time::Duration;

use switchtender_proxy::{Config, Counter, FailureKind, Flow, Local, Transport};

use crate::connections::connection;
use crate::text::{Request, param};
use crate::world::{CALLER, NODES, PUBLIC, Sent, Setup, World, address, config};

fn world() -> World {
    world_of(config(), "CallID")
}

fn world_of(config: Config, hash_on: &str) -> World {
    let mut world = World::with(config, &Setup::default());
    let stateless = format!(r#""mode": "Stateless", "algorithm": "Hash", "hash_on": {{"type": "{hash_on}"}}"#);
    world.apply_json(&Setup::default().json().replace(r#""algorithm": "LeastLoad""#, &stateless));
    for member in &mut world.snapshot.groups[0].members {
        member.priority = 0;
    }
    world
}

fn invite_of(world: &mut World, invite: &Request) -> Sent {
    world.caller_sends(invite.text());
    let sent = world.sent_request("INVITE");
    world.silent();
    sent
}

#[test]
fn rfc_3261_16_11_no_transaction_no_timer_and_no_100() {
    let mut world = world();
    let sent = invite_of(&mut world, &Request::invite());
    assert_eq!(sent.from, Local::NodeSide);
    assert_eq!(world.wire.decisions, [format!("placed {} after []", world.slot(&sent.to.to_string()).0)]);
    assert_eq!(world.proxy.transactions(), 0);
    assert_eq!(world.proxy.next_deadline(), None);
    world.pass(Duration::from_secs(64));
    world.silent();
    assert_eq!(world.wire.table.len(), 0);
    let ledger = world.ledger(&sent.to.to_string());
    assert_eq!((ledger.assigned, ledger.in_flight, ledger.requests), (0, 0, 1));
    assert_eq!(world.count(Counter::RelayedRequests), 1);
}

#[test]
fn rfc_3261_16_11_a_retransmission_is_the_same_request_for_the_same_node() {
    let mut world = world();
    let first = invite_of(&mut world, &Request::invite());
    let again = invite_of(&mut world, &Request::invite());
    assert_eq!((again.to, again.text), (first.to, first.text.clone()));
    // Another worker of another replica after a restart: what all share is the configuration and the keys.
    let mut other = config();
    (other.worker, other.workers, other.run_id, other.secret, other.replica) = (3, 4, 77, [9; 16], 99);
    world.restart(other);
    let elsewhere = invite_of(&mut world, &Request::invite());
    assert_eq!((elsewhere.to, elsewhere.text), (first.to, first.text));
}

#[test]
fn rfc_3261_16_11_another_request_has_another_branch() {
    let mut world = world();
    let first = invite_of(&mut world, &Request::invite());
    let other_branch = invite_of(&mut world, &Request::invite().via("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKother"));
    let other_host = invite_of(&mut world, &Request::invite().via("SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKinvite"));
    let old_style = invite_of(&mut world, &Request::invite().via("SIP/2.0/UDP 192.0.2.10;branch=1"));
    let mut branches = [first, other_branch, other_host, old_style].map(|sent| sent.text.top_branch().to_owned());
    branches.sort();
    assert!(branches.windows(2).all(|pair| pair[0] != pair[1]), "{branches:?}");
    assert!(branches.iter().all(|branch| branch.starts_with("z9hG4bK")));
}

#[test]
fn rfc_3261_16_11_cancel_and_the_ack_for_a_failure_have_branch_and_node_of_their_invite() {
    for hash_on in ["CallID", "From", "To", "RequestURI", "SourceAddress"] {
        for via in ["SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKinvite;rport", "SIP/2.0/UDP 192.0.2.10:5060"] {
            let mut world = world_of(config(), hash_on);
            let invite = Request::invite().via(via);
            let sent = invite_of(&mut world, &invite);
            world.caller_sends(invite.of_same_transaction("CANCEL"));
            let cancel = world.sent_request("CANCEL");
            assert_eq!((cancel.to, cancel.text.top_branch()), (sent.to, sent.text.top_branch()), "{hash_on}");
            let mut ack = invite.clone();
            ack.to += ";tag=node";
            world.caller_sends(ack.of_same_transaction("ACK"));
            let ack = world.sent_request("ACK");
            assert_eq!((ack.to, ack.text.top_branch()), (sent.to, sent.text.top_branch()), "{hash_on}");
            world.silent();
            assert_eq!(world.proxy.transactions(), 0);
        }
    }
}

#[test]
fn rfc_3261_16_11_a_cancel_from_a_new_source_port_is_of_its_invite_all_the_same() {
    let mut world = world();
    let invite = Request::invite();
    let sent = invite_of(&mut world, &invite);
    world.receive_at(PUBLIC, "192.0.2.10:6000", invite.of_same_transaction("CANCEL"));
    assert_eq!(world.sent_request("CANCEL").text.top_branch(), sent.text.top_branch());
}

#[test]
fn rfc_3261_16_11_responses_go_by_the_next_via_and_any_worker_passes_them_on() {
    let mut world = world();
    let sent = invite_of(&mut world, &Request::invite().via("SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKx"));
    for (status, reason) in [(180, "Ringing"), (200, "OK"), (200, "OK"), (503, "Service Unavailable")] {
        let mut other = config();
        (other.worker, other.workers, other.run_id, other.secret, other.replica) = (1, 2, 77, [9; 16], 99);
        world.restart(other);
        world.respond(&sent, sent.text.response(status, reason, "X-Switchtender-Node: a\r\n"));
        let passed = world.sent_response(status);
        assert_eq!(passed.flow, Flow::udp(PUBLIC, None, address("192.0.2.10:5062")));
        assert_eq!(passed.text.all("Via").len(), 1);
        assert_eq!(passed.text.reason(), reason, "as it is: nothing is kept that could be better");
        assert_eq!(passed.text.get("X-Switchtender-Node"), None);
        world.silent();
        assert_eq!(world.proxy.transactions(), 0);
    }
}

#[test]
fn a_response_that_we_did_not_cause_goes_nowhere() {
    let mut world = world();
    let sent = invite_of(&mut world, &Request::invite());
    let response = sent.text.response(200, "OK", "");
    let forged = response.replace(&sent.text.top_branch()[20..24], "0000");
    world.respond(&sent, &forged);
    world.receive_at(Local::NodeSide, "203.0.113.66:5060", &response);
    world.silent();
    assert_eq!(world.count(Counter::StrayResponses), 2);
    let alone: String = response.split_inclusive("\r\n").filter(|line| !line.contains("z9hG4bKinvite")).collect();
    world.respond(&sent, &alone);
    world.silent();
    assert_eq!(world.count(Counter::ResponsesWithoutVia), 1);
}

#[test]
fn a_listener_for_callers_behind_nat_is_answered_at_the_source_port() {
    let mut config = config();
    config.listeners[0].nat = true;
    let mut world = world_of(config, "CallID");
    let invite = Request::invite().via("SIP/2.0/UDP 192.168.1.5;branch=z9hG4bKx");
    world.receive_at(PUBLIC, "192.0.2.10:1024", invite.text());
    let sent = world.sent_request("INVITE");
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    assert_eq!(world.sent_response(180).to, address("192.0.2.10:1024"));
}

#[test]
fn a_caller_over_a_connection_is_answered_over_it() {
    let mut world = world();
    world.receive_over(&connection(), Request::invite().via("SIP/2.0/TCP 192.0.2.10;branch=z9hG4bKx").text());
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.flow.transport, Transport::Udp);
    world.respond(&sent, sent.text.response(180, "Ringing", "").replace("Content-Length: 0\r\n", ""));
    let ringing = world.sent_response(180);
    assert_eq!(
        ringing.flow,
        connection(),
        "its own port, not that of sent-by: a connection is another peer's otherwise"
    );
    assert_eq!(ringing.text.get("Content-Length"), Some("0"));
    let mut other = config();
    other.replica = 99;
    world.restart(other);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.silent();
    assert_eq!(world.count(Counter::ResponsesLost), 1, "another replica has the connection");
}

#[test]
fn dialogs_go_by_their_token_and_are_not_counted() {
    let mut world = world();
    let sent = invite_of(&mut world, &Request::invite());
    let node = sent.to.to_string();
    assert_eq!(sent.text.all("Record-Route").len(), 2);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200).text;
    world.caller_sends(Request::in_dialog("ACK", "ack", &ok).text());
    let ack = world.sent_request("ACK");
    assert!(ack.to_node(&node));
    world.receive_at(Local::NodeSide, &node, Request::by_node("INFO", "info", &sent.text).text());
    let info = world.sent_request("INFO");
    assert_eq!(info.to, address(CALLER));
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    let bye = world.sent_request("BYE");
    assert!(bye.to_node(&node));
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.ledger(&node).ended, 0, "it was not assigned, either");
}

#[test]
fn refusals_are_those_of_any_group() {
    let mut world = world();
    let mut request = Request::invite();
    request.max_forwards = Some(0);
    world.caller_sends(request.text());
    world.sent_response(483);
    for member in &mut world.snapshot.groups[0].members {
        member.weight = 0.0;
    }
    world.caller_sends(Request::invite().text());
    assert!(world.sent_response(503).text.get("Retry-After").is_some());
    world.silent();
}

#[test]
fn a_transport_error_is_the_callers_to_find_out() {
    let mut world = world();
    let sent = invite_of(&mut world, &Request::invite());
    world.fail(FailureKind::Icmp, &sent.to.to_string(), &sent.text);
    world.silent();
    assert_eq!(world.count(Counter::StrayTransportErrors), 1);
}

#[test]
fn calls_spread_over_the_nodes_by_their_key() {
    let mut world = world();
    let mut found = [0; NODES.len()];
    for call in 0..64 {
        let sent = invite_of(&mut world, &Request::invite().call_id(&format!("{call}@192.0.2.10")));
        found[NODES.iter().position(|node| sent.to_node(node)).unwrap()] += 1;
        assert_eq!(param(sent.text.all("Via")[1], "rport"), Some("5060"));
    }
    assert!(found.iter().all(|&calls| calls > 10), "{found:?}");
}
