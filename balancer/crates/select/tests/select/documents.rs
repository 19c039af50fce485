//! What a snapshot document may hold.

use core::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use switchtender_select::{Algorithm, OverLimitAction, Slots, Snapshot, Time};

use crate::world::{document, read};

fn refusal(document: &Value) -> (String, String) {
    let error =
        Snapshot::from_json(document.to_string().as_bytes(), &mut Slots::new(100, 100).at(Time::ZERO)).unwrap_err();
    (error.pointer, error.message)
}

#[test]
fn a_whole_document_is_read() {
    let mut text = document("RoundRobin", 2, &[(1.0, 0), (2.5, 5)]);
    text["groups"][0]["over_limit"]["action"] = json!("Allow");
    text["groups"][0]["members"][0]["draining"] = json!(true);
    let snapshot = read(&text);
    assert_eq!((snapshot.generation, snapshot.keys.len(), snapshot.keys[0].id), (0, 1, 7));
    assert_eq!(snapshot.keys[0].secret, [0; 64]);
    let group = &snapshot.groups[0];
    assert_eq!((&*group.namespace, &*group.name, &*group.uid, group.generation), ("voice", "ivr", "g-1", 7));
    assert_eq!((group.algorithm, group.legs_per_call, group.panic_threshold), (Algorithm::RoundRobin, 2, 0.5));
    assert_eq!(group.timer_c, Duration::from_secs(180));
    assert_eq!(group.failover.attempts, 3);
    assert_eq!(group.failover.retry_on.codes, [410]);
    assert_eq!(group.failover.first_response_timeout, Duration::from_secs(2));
    assert_eq!(group.failover.progress_timeout, Duration::from_secs(10));
    assert_eq!(group.failover.cool_down, (Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!(group.over_limit.action, OverLimitAction::Allow);
    assert_eq!((group.over_limit.status, group.over_limit.retry_after_s), (503, (5, 15)));
    assert_eq!((group.members[0].weight, group.members[0].priority, group.members[1].draining), (2.5, 5, true));
}

#[test]
fn secrets_are_never_shown() {
    let mut text = document("LeastLoad", 2, &[(1.0, 0)]);
    text["keys"][0]["secret"] = json!(format!("{}==", "c2Vj".repeat(21) + "c2"));
    let (_, message) = refusal(&text);
    assert!(!message.contains("c2Vj"), "{message}");
    let snapshot = read(&document("LeastLoad", 2, &[(1.0, 0)]));
    assert_eq!(format!("{:?}", snapshot.keys), "[Key { id: 7, .. }]");
}

#[test]
fn no_groups_and_no_nodes_are_fine() {
    let mut text = document("LeastLoad", 2, &[]);
    text["groups"] = json!([]);
    assert!(read(&text).groups.is_empty());
}

/// Each: where, what stands there instead, a word of the message; the pointer of the error is the place itself unless
/// given.
#[test]
fn every_error_says_where_it_is() {
    let long = "a".repeat(2_000);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/format", json!(1), "format 2"),
        ("/format", json!(3), "format 2"),
        ("/format", json!("1"), "whole number"),
        ("/keys", json!([]), "at least one"),
        ("/keys/0/id", json!(256), "0 to 255"),
        ("/keys/0/secret", json!("AAAA"), "64 bytes"),
        ("/keys/0/secret", json!("!"), "base64"),
        ("/nodes", json!({}), "a list"),
        ("/nodes/1/uid", json!("uid-0"), "twice"),
        ("/nodes/1/uid", json!(""), "empty"),
        ("/nodes/1/sip", json!("fs1:5060"), "IP-address:port"),
        ("/nodes/1/sip", json!("10.0.0.1"), "IP-address:port"),
        ("/nodes/1/sip", json!("10.0.0.1:0"), "one host"),
        ("/nodes/1/sip", json!("0.0.0.0:5060"), "one host"),
        ("/nodes/1/sip", json!("224.0.0.1:5060"), "one host"),
        ("/groups/0/namespace", json!(null), "a string, found null"),
        ("/groups/0/generation", json!(-1), "whole number"),
        ("/groups/0/match", json!(null), "a list"),
        ("/groups/0/match", json!([{"request_uri": {"user_pattern": "("}}]), "regular expression"),
        ("/groups/0/match", json!([{"request_uri": {"user_pattern": "(a{1000}){1000}"}}]), "regular expression"),
        ("/groups/0/match", json!([{"request_uri": {"user_pattern": long}}]), "1024 bytes"),
        ("/groups/0/match", json!([{"request_uri": {"user_pattern": ""}}]), "1024 bytes"),
        ("/groups/0/match", json!([{"request_uri": {"method": "INVITE"}}]), "unknown field"),
        ("/groups/0/match", json!([{"sources": ["10.0.0.0/33"]}]), "at most 32"),
        ("/groups/0/algorithm", json!("Hashed"), "LeastLoad, Weighted, RoundRobin, Random, Hash, Packed, First"),
        ("/groups/0/legs_per_call", json!(0), "1 to 100"),
        ("/groups/0/legs_per_call", json!(1.5), "whole number"),
        ("/groups/0/failover/attempts", json!(0), "1 to 16"),
        ("/groups/0/failover/retry_on/codes", json!([200]), "300 to 699"),
        ("/groups/0/failover/retry_on/timeout", json!("yes"), "true or false"),
        ("/groups/0/failover/first_response_timeout_ms", json!(1), "whole number"),
        ("/groups/0/failover/cool_down_ms", json!([2000, 1000]), "above"),
        ("/groups/0/failover/cool_down_ms", json!([1000]), "two numbers"),
        ("/groups/0/timer_c_ms", json!(4e12), "whole number"),
        ("/groups/0/over_limit/action", json!("Refuse"), "Reject, Allow"),
        ("/groups/0/over_limit/status", json!(200), "400 to 699"),
        ("/groups/0/over_limit/retry_after_s", json!([15, 5]), "above"),
        ("/groups/0/over_limit/retry_after_s", json!([1, 2, 3]), "at most 2"),
        ("/groups/0/panic_threshold", json!(1.01), "0 to 1"),
        ("/groups/0/members/1/node", json!(2), "no node 2"),
        ("/groups/0/members/1/node", json!(0), "member already"),
        ("/groups/0/members/1/weight", json!(-1), "a number from"),
        ("/groups/0/members/1/weight", json!("1"), "a number from"),
        ("/groups/0/members/1/draining", json!(0), "true or false"),
        ("/groups/0/priority", json!("high"), "whole number"),
    ];
    for (place, value, word) in cases {
        let mut text = document("LeastLoad", 2, &[(1.0, 0), (1.0, 0)]);
        *text.pointer_mut(place).unwrap() = value.clone();
        let (pointer, message) = refusal(&text);
        assert!(pointer.starts_with(place), "{place} = {value}: {pointer}: {message}");
        assert!(message.contains(word), "{place} = {value}: {message}");
    }
}

#[test]
fn nan_and_infinity_cannot_be_written() {
    let text = document("LeastLoad", 2, &[(1.0, 0)]).to_string();
    for bad in ["NaN", "Infinity", "1e999"] {
        let text = text.replace("\"panic_threshold\":0.5", &format!("\"panic_threshold\":{bad}"));
        assert!(Snapshot::from_json(text.as_bytes(), &mut Slots::new(9, 9).at(Time::ZERO)).is_err(), "{bad}");
    }
}

/// Every place where an object stands.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.push(at.to_owned());
            map.iter().for_each(|(key, value)| objects(value, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| objects(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn an_unknown_field_is_refused_wherever_it_stands_and_so_is_a_missing_one() {
    let mut whole = document("LeastLoad", 2, &[(1.0, 0)]);
    whole["groups"][0]["match"] =
        json!([{"request_uri": {"user": "a", "host": "b", "user_pattern": "c"}, "sources": []}]);
    let mut places = Vec::new();
    objects(&whole, "", &mut places);
    assert!(places.len() >= 10, "{places:?}");
    let mut missing = 0;
    for place in places {
        let mut text = whole.clone();
        text.pointer_mut(&place).unwrap()["no/such"] = json!(1);
        let (pointer, message) = refusal(&text);
        assert_eq!(pointer, format!("{place}/no~1such"));
        assert!(message.contains("unknown field"), "{message}");

        let fields: Vec<String> = whole.pointer(&place).unwrap().as_object().unwrap().keys().cloned().collect();
        for field in fields {
            let optional = ["priority", "user", "host", "user_pattern", "sources", "request_uri"];
            if optional.contains(&field.as_str()) && !place.contains("members") {
                continue;
            }
            let mut text = whole.clone();
            text.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(&field);
            let (pointer, message) = refusal(&text);
            assert_eq!(pointer, place);
            assert!(message.contains(&field), "{message}");
            missing += 1;
        }
    }
    assert!(missing > 30);
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Snapshot::from_json(&bytes, &mut Slots::new(9, 9).at(Time::ZERO)).is_err());
    }
}

/// A field of format 2 that says what makes no sense: where it stands, what, a word of the message.
#[test]
fn what_groups_may_say_of_resources_keys_spill_and_egress_is_checked() {
    let conf = json!([{"name": "conf", "limited": true}]);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("mode", json!("Stateless"), "CallID, From, To"),
        ("mode", json!("Half"), "Stateful, Stateless"),
        ("weights_from", json!("Guess"), "Reported, Static"),
        ("high_water", json!(1.5), "a number from"),
        ("max_ejected", json!(-0.1), "a number from"),
        ("large_requests", json!("SCTP"), "UDP, TCP"),
        ("hash_on", json!({"type": "Header"}), "needs a name"),
        ("hash_on", json!({"type": "From", "name": "X"}), "only Header"),
        ("hash_on", json!({"type": "Via"}), "CallID, From, To"),
        ("over_limit", json!({"action": "Spill", "status": 503, "retry_after_s": [1, 2]}), "needs a group"),
        ("over_limit", json!({"action": "Spill", "group": 0, "status": 503, "retry_after_s": [1, 2]}), "into itself"),
        ("over_limit", json!({"action": "Spill", "group": 1, "status": 503, "retry_after_s": [1, 2]}), "no group 1"),
        ("over_limit", json!({"action": "Reject", "group": 0, "status": 503, "retry_after_s": [1, 2]}), "only Spill"),
        ("resources", json!([{"name": "a", "limited": true}, {"name": "a", "limited": true}]), "twice"),
        ("match", json!([{"resources": ["conf"]}]), "no resource"),
        ("match", json!([{"headers": [{"name": "X", "value": "a", "pattern": "b"}]}]), "not both"),
        ("match", json!([{"listeners": [-1]}]), "whole number"),
        ("egress", json!({"listener": 0}), "exactly one"),
        ("egress", json!({"listener": 0, "group": 0, "request_uri": ["10.0.0.0/8"]}), "exactly one"),
        ("egress", json!({"listener": 0, "group": 7}), "no group 7"),
        ("egress", json!({"listener": 0, "next_hops": [{"address": "0.0.0.0:5060"}]}), "one host"),
    ];
    for (field, value, word) in cases {
        let mut text = document("LeastLoad", 1, &[(1.0, 0)]);
        text["groups"][0][field] = value.clone();
        let (pointer, message) = refusal(&text);
        assert!(pointer.starts_with("/groups/0"), "{field} = {value}: {pointer}");
        assert!(message.contains(word), "{field} = {value}: {message}");
    }
    let mut text = document("LeastLoad", 1, &[(1.0, 0)]);
    text["groups"][0]["resources"] = conf;
    text["groups"][0]["members"][0]["limits"] = json!({"seats": 1});
    assert_eq!(refusal(&text).0, "/groups/0/members/0/limits/seats");
    text["groups"][0]["members"][0]["limits"] = json!({"conf": 1});
    text["nodes"][0]["ejection"] = json!({"failures": 5, "duration_ms": 30_000, "max_ms": 1_000});
    assert_eq!(refusal(&text).0, "/nodes/0/ejection");
}

#[test]
fn a_resource_keeps_its_slot_by_its_name() {
    let mut slots = Slots::new(9, 9);
    let mut read_with = |names: &[&str]| {
        let mut text = document("LeastLoad", 1, &[(1.0, 0)]);
        text["groups"][0]["resources"] = names.iter().map(|name| json!({"name": name, "limited": true})).collect();
        let last = names[names.len() - 1];
        text["groups"][0]["members"][0]["limits"] = json!({ last: 3 });
        let group =
            Snapshot::from_json(text.to_string().as_bytes(), &mut slots.at(Time::ZERO)).unwrap().groups.remove(0);
        let slot = group.resources.iter().find(|resource| &*resource.name == last).unwrap().slot;
        assert_eq!((group.members[0].limit(slot, 0), group.members[0].limit(slot, 2)), (Some(3), Some(5)));
        slot
    };
    let conf = read_with(&["conf"]);
    assert_ne!(read_with(&["trunk"]), conf);
    assert_eq!(read_with(&["fax", "trunk", "conf"]), conf, "whatever came before it");
    assert_eq!(slots.resources(), ["conf", "trunk", "fax"]);
}
