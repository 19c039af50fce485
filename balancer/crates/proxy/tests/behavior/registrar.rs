//! REGISTER by affinity, and calls that spill into another group.

use std::collections::BTreeMap;

use switchtender_proxy::Outcome;
use switchtender_select::GroupSlot;

use crate::call::place;
use crate::text::Request;
use crate::world::{NODES, Setup, World, config};

const OTHER: &str = r#", {"namespace": "voice", "name": "spare", "uid": "s", "generation": 1, "priority": 0,
    "match": [{"request_uri": {"user": "nobody", "host": null, "user_pattern": null}, "sources": []}],
    "algorithm": "LeastLoad", "legs_per_call": 1,
    "failover": {"attempts": 3, "retry_on": {"own_refusal": true, "timeout": true, "transport": true, "codes": []},
                 "first_response_timeout_ms": 500, "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000]},
    "timer_c_ms": 180000, "over_limit": {"action": "Reject", "status": 480, "retry_after_s": [5, 15]},
    "panic_threshold": 0.5, "members": [{"node": 1, "weight": 1.0, "priority": 0, "draining": false}]}"#;

fn register(world: &mut World, user: &str, number: u32) -> String {
    let mut register = Request::new("REGISTER", &format!("{user}{number}")).uri("sip:sip.example.com");
    register.to = format!("<sip:{user}@sip.example.com>");
    register.call_id = format!("{user}{number}");
    world.caller_sends(register.text());
    let sent = world.sent_request("REGISTER");
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    sent.to.to_string()
}

/// Both nodes in one tier.
fn world() -> World {
    let mut world = World::new();
    let json = Setup::default().json().replace(r#""priority": 99"#, r#""priority": 100"#);
    world.apply_json(&json);
    world
}

#[test]
fn registrations_of_one_address_of_record_go_to_one_node() {
    let mut world = world();
    let users: Vec<String> = (0..40).map(|number| format!("user{number}")).collect();
    let homes: BTreeMap<&str, String> =
        users.iter().map(|user| (user.as_str(), register(&mut world, user, 0))).collect();
    let on_first = homes.values().filter(|home| *home == NODES[0]).count();
    assert!((8..=32).contains(&on_first), "spread over both: {on_first}");
    // The load moves none, and a full node keeps its own.
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.sessions = 999.0);
    for (user, home) in &homes {
        assert_eq!(register(&mut world, user, 1), *home);
    }
    // Another replica agrees.
    let mut replica = self::world();
    for (user, home) in &homes {
        assert_eq!(register(&mut replica, user, 1), *home);
    }
    // A node that takes none any more hands its own on, and gets them back.
    world.book.edit(slot, |ledger| ledger.closed = true);
    for user in &users {
        assert_eq!(register(&mut world, user, 2), NODES[1]);
    }
    world.book.edit(slot, |ledger| ledger.closed = false);
    for (user, home) in &homes {
        assert_eq!(register(&mut world, user, 3), *home);
    }
}

#[test]
fn a_registration_goes_on_to_the_next_home_when_its_own_is_silent() {
    let mut world = world();
    let home = register(&mut world, "user", 0);
    let mut again = Request::new("REGISTER", "again").uri("sip:sip.example.com");
    again.to = "<sip:user@sip.example.com>".into();
    world.caller_sends(again.text());
    assert_eq!(world.sent_request("REGISTER").to.to_string(), home);
    world.pass_ms(2000);
    let other = world.drain().into_iter().find(|sent| sent.to.to_string() != home).unwrap();
    assert_eq!(other.text.method(), Some("REGISTER"));
}

#[test]
fn a_call_that_spills_is_the_other_groups_from_then_on() {
    let over_limit = r#"{"action": "Spill", "group": 1, "status": 503, "retry_after_s": [5, 15]}"#;
    let setup = Setup { nodes: vec![NODES[0], NODES[1]], over_limit, others: OTHER, ..Setup::default() };
    let mut world = World::with(config(), &setup);
    // The first group has the first node only.
    let json = setup.json().replacen(r#", {"node": 1, "weight": 1.0, "priority": 99, "draining": false}"#, "", 1);
    world.apply_json(&json);
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.sessions = 999.0);
    let sent = place(&mut world, &Request::invite());
    assert!(sent.to_node(NODES[1]));
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    let other = |outcome| world.proxy.counters().outcome(GroupSlot(1), outcome);
    assert_eq!([Outcome::Spilled, Outcome::Offered, Outcome::Answered].map(|one| world.outcome(one)), [1, 0, 0]);
    assert_eq!([Outcome::Spilled, Outcome::Offered, Outcome::Answered].map(other), [0, 1, 1]);
    // Where that has no room either, it is the first one's to refuse.
    let slot = world.slot(NODES[1]);
    world.book.edit(slot, |ledger| ledger.sessions = 999.0);
    world.caller_sends(Request::invite().call_id("second").via("SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKsecond").text());
    world.sent_response(503);
    assert_eq!(world.outcome(Outcome::RejectedFull), 1);
}
