//! Which group takes a call.

use serde_json::{Value, json};
use switchtender_select::Snapshot;

use crate::request::{Ask, call};
use crate::world::{document, read};

fn takes(rule: Value, call: &Ask) -> bool {
    let mut document = document("LeastLoad", 1, &[(1.0, 0)]);
    document["groups"][0]["match"] = json!([rule]);
    read(&document).classify(call).is_some()
}

fn uri(user: Value, host: Value, pattern: Value) -> Value {
    json!({"request_uri": {"user": user, "host": host, "user_pattern": pattern}, "sources": []})
}

#[test]
fn the_user_is_exact_and_case_sensitive() {
    let rule = uri(json!("Alice"), Value::Null, Value::Null);
    assert!(takes(rule.clone(), &call(Some("Alice"), "x", "192.0.2.1")));
    assert!(takes(rule.clone(), &call(Some("%41lice"), "x", "192.0.2.1")), "an escape is what it stands for");
    assert!(!takes(rule.clone(), &call(Some("alice"), "x", "192.0.2.1")));
    assert!(!takes(rule.clone(), &call(Some("Alice%"), "x", "192.0.2.1")));
    assert!(!takes(rule, &call(None, "x", "192.0.2.1")));
}

#[test]
fn the_host_is_compared_in_any_case() {
    let rule = uri(Value::Null, json!("SIP.example.com"), Value::Null);
    assert!(takes(rule.clone(), &call(None, "sip.EXAMPLE.com", "192.0.2.1")));
    assert!(!takes(rule, &call(None, "example.com", "192.0.2.1")));
    let rule = uri(Value::Null, json!("2001:DB8::1"), Value::Null);
    assert!(takes(rule, &call(None, "[2001:db8::1]", "192.0.2.1")));
}

#[test]
fn the_pattern_is_searched_in_the_user_as_bytes() {
    let rule = uri(Value::Null, Value::Null, json!("^conf"));
    assert!(takes(rule.clone(), &call(Some("conf-77"), "x", "192.0.2.1")));
    assert!(!takes(rule.clone(), &call(Some("myconf"), "x", "192.0.2.1")));
    assert!(!takes(rule, &call(None, "x", "192.0.2.1")));
    let anywhere = uri(Value::Null, Value::Null, json!(r"\d{3}$"));
    assert!(takes(anywhere.clone(), &call(Some("a%3123"), "x", "192.0.2.1")));
    let mut odd = call(None, "x", "192.0.2.1");
    odd.uri.user = Some(b"\xff\xfe123".to_vec());
    assert!(takes(anywhere, &odd), "bytes that are no UTF-8 do not disturb");
}

#[test]
fn sources_are_networks_of_both_families() {
    let rule = json!({"sources": ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"]});
    for (source, expected) in [
        ("192.0.2.9", true),
        ("::ffff:192.0.2.9", true),
        ("198.51.100.7", true),
        ("2001:db8::5", true),
        ("198.51.100.8", false),
        ("2001:db9::5", false),
    ] {
        assert_eq!(takes(rule.clone(), &call(None, "x", source)), expected, "{source}");
    }
}

#[test]
fn all_fields_of_a_rule_must_hold() {
    let rule = json!({
        "request_uri": {"user": null, "host": "a.example", "user_pattern": "^1"},
        "sources": ["10.0.0.0/8"],
    });
    assert!(takes(rule.clone(), &call(Some("100"), "a.example", "10.1.1.1")));
    assert!(!takes(rule.clone(), &call(Some("200"), "a.example", "10.1.1.1")));
    assert!(!takes(rule.clone(), &call(Some("100"), "b.example", "10.1.1.1")));
    assert!(!takes(rule, &call(Some("100"), "a.example", "11.1.1.1")));
}

fn several() -> Snapshot {
    let mut document = document("LeastLoad", 1, &[(1.0, 0)]);
    let template = document["groups"][0].clone();
    let group = |name: &str, rules: Value| {
        let mut group = template.clone();
        group["name"] = json!(name);
        group["match"] = rules;
        group
    };
    document["groups"] = json!([
        group("conf", json!([{"request_uri": {"user_pattern": "^9999"}}, {"request_uri": {"user_pattern": "^conf"}}])),
        group("conf2", json!([{"request_uri": {"user_pattern": "^conf"}}])),
        group("rest", json!([])),
        group("never", json!([])),
    ]);
    read(&document)
}

#[test]
fn the_first_group_that_matches_takes_the_call() {
    let snapshot = several();
    let name = |user| snapshot.classify(&call(Some(user), "x", "192.0.2.1")).unwrap().group.name.to_string();
    assert_eq!(name("conf-1"), "conf");
    assert_eq!(name("bob"), "rest", "no rules take every call");
    let rule = |group: usize, user| snapshot.groups[group].matches(&call(user, "x", "192.0.2.1")).unwrap().rule;
    assert_eq!(rule(0, Some("conf-1")), Some(1), "the rule is named");
    assert_eq!(rule(2, None), None);
}

#[test]
fn without_a_match_nobody_takes_it() {
    let rule = json!({"sources": ["10.0.0.0/8"]});
    assert!(!takes(rule, &call(Some("bob"), "x", "192.0.2.1")));
    assert!(Snapshot::default().classify(&call(Some("bob"), "x", "192.0.2.1")).is_none());
}

#[test]
fn to_and_from_are_matched_like_the_request_uri() {
    let with = |field: &str, value: Value| json!({ field: value });
    let call = call(Some("x"), "x", "192.0.2.1");
    assert!(takes(with("to", json!({"user": "bob", "host": "BILOXI.example"})), &call));
    assert!(!takes(with("to", json!({"user": "alice"})), &call));
    assert!(takes(with("from", json!({"user_pattern": "^al"})), &call));
    assert!(!takes(with("from", json!({"host": "biloxi.example"})), &call));
    let mut nobody = call.clone();
    (nobody.to, nobody.from) = (None, None);
    assert!(!takes(with("to", json!({"user_pattern": ".*"})), &nobody), "what cannot be read does not hold");
}

#[test]
fn methods_listeners_and_header_fields() {
    let mut message = call(None, "x", "192.0.2.1");
    message.method = "MESSAGE";
    message.listener = Some(1);
    message.headers = vec![("X-Tenant", "gold-7"), ("Subject", "")];
    for (rule, expected) in [
        (json!({"methods": ["INVITE", "MESSAGE"]}), true),
        (json!({"methods": ["message"]}), false),
        (json!({"listeners": [1, 2]}), true),
        (json!({"listeners": [0]}), false),
        (json!({"headers": [{"name": "x-tenant"}, {"name": "Subject"}]}), true),
        (json!({"headers": [{"name": "Missing"}]}), false),
        (json!({"headers": [{"name": "X-Tenant", "value": "gold-7"}]}), true),
        (json!({"headers": [{"name": "X-Tenant", "value": "gold"}]}), false),
        (json!({"headers": [{"name": "X-Tenant", "pattern": "^gold-\\d$"}]}), true),
        (json!({"headers": [{"name": "X-Tenant", "pattern": "^silver"}]}), false),
        (json!({"headers": [{"name": "X-Tenant"}, {"name": "Missing"}]}), false),
    ] {
        assert_eq!(takes(rule.clone(), &message), expected, "{rule}");
    }
    message.listener = None;
    assert!(!takes(json!({"listeners": [0, 1]}), &message), "the node side is no listener");
}

#[test]
fn nothing_is_parsed_that_no_rule_asks_for_and_nothing_twice() {
    let asked = |rules: Value| {
        let mut document = document("LeastLoad", 1, &[(1.0, 0)]);
        document["groups"][0]["match"] = rules;
        let call = call(Some("bob"), "x", "192.0.2.1");
        read(&document).classify(&call);
        call.parsed.get()
    };
    assert_eq!(asked(json!([{"request_uri": {"user": "bob"}}, {"to": {"user": "x"}}])), 0);
    assert_eq!(asked(json!([{"methods": ["BYE"], "to": {"user": "x"}, "from": {"user": "x"}}])), 0);
    assert_eq!(asked(json!([{"to": {"user": "x"}}, {"to": {"user": "y"}}, {"from": {"user": "z"}}])), 2);
}

/// A backtracking matcher takes 2³⁰ steps here.
#[test]
fn patterns_take_linear_time() {
    let user = "a".repeat(60);
    assert!(!takes(uri(Value::Null, Value::Null, json!("^(a+)+$x")), &call(Some(&user), "x", "192.0.2.1")));
    let long = "%61".repeat(300);
    assert!(takes(uri(Value::Null, Value::Null, json!("^(a+)+$")), &call(Some(&long), "x", "192.0.2.1")));
}
