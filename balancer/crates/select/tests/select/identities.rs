//! Slots, present and removed nodes, and the tables over them.

use core::time::Duration;

use serde_json::{Value, json};
use switchtender_select::{GroupSlot, KEPT_AFTER_REMOVAL, NodeSlot, Slots, Snapshot, Time};

use crate::world::document;

fn with_nodes(nodes: &[(&str, &str)]) -> Value {
    let parts = vec![(1.0, 0); nodes.len()];
    let mut document = document("LeastLoad", 1, &parts);
    for (index, (uid, sip)) in nodes.iter().enumerate() {
        document["nodes"][index] = json!({"uid": uid, "name": uid, "sip": sip});
    }
    document
}

fn apply(slots: &mut Slots, now: Time, nodes: &[(&str, &str)]) -> Snapshot {
    Snapshot::from_json(with_nodes(nodes).to_string().as_bytes(), &mut slots.at(now)).unwrap()
}

#[test]
fn a_uid_keeps_its_slot_and_a_removed_node_stays_known_for_an_hour() {
    let mut slots = Slots::new(10, 10);
    let start = Time::from_secs(10);
    let first = apply(&mut slots, start, &[("a", "10.0.0.1:5060"), ("b", "10.0.0.2:5060")]);
    assert_eq!(slots.take_fresh(), [NodeSlot(0), NodeSlot(1)]);
    assert_eq!(first.node_at("10.0.0.2:5060".parse().unwrap()), Some(NodeSlot(1)));
    assert_eq!(first.node_at("10.0.0.2:5061".parse().unwrap()), None);
    assert_eq!(first.node_at("[::ffff:10.0.0.2]:5060".parse().unwrap()), Some(NodeSlot(1)));
    assert!(first.node_by_ip("::ffff:10.0.0.1".parse().unwrap()) && !first.node_by_ip("10.0.0.3".parse().unwrap()));

    let second = apply(&mut slots, start, &[("c", "10.0.0.3:5060"), ("b", "10.0.0.2:5060")]);
    assert_eq!(slots.take_fresh(), [NodeSlot(2)]);
    assert_eq!(second.node_at("10.0.0.1:5060".parse().unwrap()), Some(NodeSlot(0)));
    assert!(second.node(NodeSlot(0)).unwrap().removed);
    assert!(!second.node(NodeSlot(1)).unwrap().removed);
    assert_eq!(second.groups[0].members[0].slot, NodeSlot(2));
    assert_eq!(second.nodes.len(), 3);

    // It comes back within the hour: the same slot, nothing fresh.
    let third = apply(&mut slots, start + KEPT_AFTER_REMOVAL / 2, &[("a", "10.0.0.1:5060")]);
    assert_eq!(slots.take_fresh(), []);
    assert!(!third.node(NodeSlot(0)).unwrap().removed);
    assert_eq!(third.nodes.iter().filter(|node| node.removed).count(), 2);

    // An hour after b and c left they are forgotten, and their slots go to others, with fresh counters.
    let late = start + KEPT_AFTER_REMOVAL / 2 + KEPT_AFTER_REMOVAL;
    let fourth = apply(&mut slots, late, &[("a", "10.0.0.1:5060")]);
    assert_eq!(fourth.nodes.len(), 1);
    assert!(!fourth.node_by_ip("10.0.0.2".parse().unwrap()));
    let fifth = apply(&mut slots, late, &[("a", "10.0.0.1:5060"), ("d", "10.0.0.4:5060")]);
    assert_eq!(slots.take_fresh().len(), 1);
    assert!(fifth.nodes[1].slot.0 < 3, "a freed slot is used again");
}

#[test]
fn a_new_uid_at_the_address_of_a_removed_one_is_the_node_there() {
    let mut slots = Slots::new(10, 10);
    apply(&mut slots, Time::ZERO, &[("old", "10.0.0.1:5060")]);
    let snapshot = apply(&mut slots, Time::from_secs(1), &[("new", "10.0.0.1:5060")]);
    let slot = snapshot.node_at("10.0.0.1:5060".parse().unwrap()).unwrap();
    assert_eq!(&*snapshot.node(slot).unwrap().uid, "new");
    assert_eq!(slots.node("old"), Some(NodeSlot(0)));
}

#[test]
fn with_no_slot_free_the_longest_gone_gives_its_own_up() {
    let mut slots = Slots::new(2, 10);
    apply(&mut slots, Time::ZERO, &[("a", "10.0.0.1:5060"), ("b", "10.0.0.2:5060")]);
    apply(&mut slots, Time::from_secs(1), &[("b", "10.0.0.2:5060")]);
    let snapshot = apply(&mut slots, Time::from_secs(2), &[("b", "10.0.0.2:5060"), ("c", "10.0.0.3:5060")]);
    assert_eq!(snapshot.nodes.len(), 2);
    assert!(!snapshot.node_by_ip("10.0.0.1".parse().unwrap()));
    let three = with_nodes(&[("b", "10.0.0.2:5060"), ("c", "10.0.0.3:5060"), ("d", "10.0.0.4:5060")]);
    let error = Snapshot::from_json(three.to_string().as_bytes(), &mut slots.at(Time::from_secs(3))).unwrap_err();
    assert_eq!(error.pointer, "/nodes");
    // The refusal took nothing from those in force.
    let again = apply(&mut slots, Time::from_secs(4), &[("b", "10.0.0.2:5060"), ("c", "10.0.0.3:5060")]);
    assert_eq!(again.nodes, snapshot.nodes);
}

#[test]
fn a_group_keeps_its_slot() {
    let mut slots = Slots::new(10, 10);
    let slot = |slots: &mut Slots, name: &str| {
        let mut document = document("LeastLoad", 1, &[(1.0, 0)]);
        document["groups"][0]["name"] = json!(name);
        let now = Time::ZERO + Duration::from_secs(1);
        let snapshot = Snapshot::from_json(document.to_string().as_bytes(), &mut slots.at(now)).unwrap();
        let slot = snapshot.groups[0].slot;
        assert_eq!(&*snapshot.group(slot).unwrap().name, name);
        slot
    };
    let first = slot(&mut slots, "ivr");
    let second = slot(&mut slots, "conf");
    assert_ne!(second, first);
    assert_eq!(slots.take_fresh_groups(), [first, second]);
    assert_eq!(slot(&mut slots, "ivr"), first);
    assert_eq!(slots.take_fresh_groups(), []);
}

#[test]
fn a_slot_that_another_group_had_is_told_to_be_fresh() {
    let mut slots = Slots::new(10, 1);
    let mut fresh_after = |groups: Value, now| {
        let mut document = document("LeastLoad", 1, &[(1.0, 0)]);
        document["groups"] = groups;
        Snapshot::from_json(document.to_string().as_bytes(), &mut slots.at(Time::from_secs(now))).unwrap();
        slots.take_fresh_groups()
    };
    let named = |name: &str| {
        let mut groups = document("LeastLoad", 1, &[(1.0, 0)])["groups"].clone();
        groups[0]["name"] = json!(name);
        groups
    };
    assert_eq!(fresh_after(named("ivr"), 1), [GroupSlot(0)]);
    assert_eq!(fresh_after(json!([]), 2), []);
    assert_eq!(fresh_after(named("conf"), 3), [GroupSlot(0)], "the one that left longest ago gave it up");
}

#[test]
fn a_refused_document_asks_for_no_slot() {
    let mut slots = Slots::new(10, 10);
    let mut bad = with_nodes(&[("a", "10.0.0.1:5060")]);
    bad["groups"][0]["panic_threshold"] = json!(2);
    assert!(Snapshot::from_json(bad.to_string().as_bytes(), &mut slots.at(Time::ZERO)).is_err());
    assert_eq!((slots.node("a"), slots.take_fresh()), (None, vec![]));
}
