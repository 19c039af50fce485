//! Which group takes a call.

use serde_json::{Value, json};
use switchtender_select::{Call, Snapshot};

use crate::world::{document, read};

fn call<'a>(user: Option<&'a str>, host: &'a str, source: &str) -> Call<'a> {
    Call { method: b"INVITE", user: user.map(str::as_bytes), host: host.as_bytes(), source: source.parse().unwrap() }
}

fn takes(rule: Value, call: &Call<'_>) -> bool {
    let mut document = document("LeastLoad", 1, &[(1.0, 0)]);
    document["groups"][0]["match"] = json!([rule]);
    read(&document).group_for(call).is_some()
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
    let odd = Call { user: Some(b"\xff\xfe123"), ..call(None, "x", "192.0.2.1") };
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
    let name = |user| snapshot.group_for(&call(Some(user), "x", "192.0.2.1")).unwrap().name.to_string();
    assert_eq!(name("conf-1"), "conf");
    assert_eq!(name("bob"), "rest", "no rules take every call");
    let matched = snapshot.groups[0].matcher.matches(&call(Some("conf-1"), "x", "192.0.2.1"));
    assert_eq!(matched, Some(Some(1)), "the rule is named");
    assert_eq!(snapshot.groups[2].matcher.matches(&call(None, "x", "192.0.2.1")), Some(None));
}

#[test]
fn without_a_match_nobody_takes_it() {
    let rule = json!({"sources": ["10.0.0.0/8"]});
    assert!(!takes(rule, &call(Some("bob"), "x", "192.0.2.1")));
    assert!(Snapshot::default().group_for(&call(Some("bob"), "x", "192.0.2.1")).is_none());
}
