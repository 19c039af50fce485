//! Our own limits, and the nodes' request budgets.

use switchtender_proxy::Counter;

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{NODES, PUBLIC, Setup, World, config};

fn call(number: u32) -> Request {
    let id = format!("call{number}");
    let via = format!("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{id};rport");
    Request::invite().call_id(&id).via(&via)
}

#[test]
fn past_max_transactions_new_calls_get_a_stateless_503_and_dialogs_go_on() {
    let mut config = config();
    config.max_transactions = 6;
    let mut world = World::with(config, &Setup::default());
    let (_, ok) = answered(&mut world, &call(0));
    place(&mut world, &call(1));
    place(&mut world, &call(2));
    assert_eq!(world.proxy.transactions(), 6);
    for number in 3..10 {
        world.caller_sends(call(number).text());
        let refusal = world.sent_response(503);
        assert!(refusal.text.get("Retry-After").is_some());
        world.silent();
    }
    assert_eq!(world.proxy.transactions(), 6);
    assert_eq!(world.count(Counter::RejectedOverload), 7);
    let mut bye = Request::in_dialog("BYE", "bye", &ok);
    bye.call_id = "call0".into();
    world.caller_sends(bye.text());
    world.sent_request("BYE");
    // A retransmission of a call that was taken is no new call.
    world.caller_sends(call(1).text());
    world.sent_response(100);
}

#[test]
fn past_twice_the_limit_requests_in_dialogs_are_dropped_too() {
    let mut config = config();
    config.max_transactions = 4;
    let mut world = World::with(config, &Setup::default());
    let (_, ok) = answered(&mut world, &Request::invite());
    for number in 0..10 {
        world.caller_sends(Request::in_dialog("INFO", &format!("info{number}"), &ok).text());
    }
    assert_eq!(world.drain().len(), 3);
    assert_eq!(world.proxy.transactions(), 8);
    assert_eq!(world.count(Counter::DroppedOverload), 7);
    world.settle_down();
}

#[test]
fn a_lagging_worker_refuses_new_calls_only() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &call(0));
    world.proxy.set_overloaded(true);
    world.caller_sends(call(1).text());
    world.sent_response(503);
    world.caller_sends(Request::new("MESSAGE", "message").text());
    world.sent_request("MESSAGE");
    let mut reinvite = Request::in_dialog("INVITE", "reinvite", &ok);
    reinvite.call_id = "call0".into();
    world.caller_sends(reinvite.text());
    world.sent_response(100);
    world.sent_request("INVITE");
    world.proxy.set_overloaded(false);
    place(&mut world, &call(1));
}

#[test]
fn past_a_nodes_request_budget_only_what_ends_calls_still_goes_there() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.requests_last_second = 960);
    for method in ["INFO", "UPDATE", "INVITE", "OPTIONS"] {
        world.caller_sends(Request::in_dialog(method, &format!("no{method}"), &ok).text());
        let refusal = world.sent_response(503);
        assert!(refusal.text.get("Retry-After").is_some(), "{method}");
        world.silent();
    }
    assert_eq!(world.count(Counter::RejectedBudget), 4);
    for method in ["ACK", "PRACK", "BYE"] {
        world.caller_sends(Request::in_dialog(method, &format!("yes{method}"), &ok).text());
        world.sent_request(method);
    }
    assert!(place(&mut world, &call(1)).to_node(NODES[1]), "and no new call");
}

#[test]
fn a_panicked_input_is_told_from_a_finished_one() {
    let mut world = World::new();
    assert!(!world.proxy.changing());
    place(&mut world, &Request::invite());
    world.pass_ms(100);
    assert!(!world.proxy.changing(), "every input that returns is whole");
}

#[test]
fn a_listener_may_be_for_some_networks_only() {
    let mut config = config();
    config.listeners[0].allow = vec!["192.0.2.0/28".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let mut world = World::with(config, &Setup::default());
    let (sent, _) = answered(&mut world, &call(0));
    for (method, number) in [("INVITE", 1), ("BYE", 2), ("CANCEL", 3), ("OPTIONS", 4)] {
        let id = format!("call{number}");
        let via = format!("SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK{id}");
        world.receive_at(PUBLIC, "203.0.113.5:5060", Request::new(method, "x").call_id(&id).via(&via).text());
        assert_eq!(world.sent_response(403).to.to_string(), "203.0.113.5:5060", "{method}");
        world.silent();
    }
    world.receive_at(PUBLIC, "203.0.113.5:5060", Request::new("ACK", "x").text());
    world.silent();
    assert_eq!(world.count(Counter::RejectedSource), 5);
    // Nodes are known by themselves, whichever side they use.
    world.receive_at(PUBLIC, NODES[0], Request::by_node("BYE", "nodebye", &sent.text).text());
    world.sent_request("BYE");
}
