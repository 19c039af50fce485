//! What `Hash` keys on: equal for what means the same, unequal for what does not.

use switchtender_select::{HashOn, HashSource};

use crate::request::{Address, Ask, call};

fn invite() -> Ask {
    call(Some("1000"), "example.com", "192.0.2.1")
}

fn key(source: HashSource, request: &Ask) -> u64 {
    HashOn { source, user_only: false }.key(request)
}

fn user_key(source: HashSource, request: &Ask) -> u64 {
    HashOn { source, user_only: true }.key(request)
}

/// A call that differs from `invite` in everything but the URI in From.
fn another_from(uri: &str) -> Ask {
    Ask {
        from: Some(Address::of(uri)),
        to: Some(Address::of("carol@chicago.example")),
        call_id: Some("other"),
        ..call(Some("2000"), "example.org", "192.0.2.2")
    }
}

#[test]
fn from_to_and_request_uri_decide_alone() {
    let one = invite();
    assert_eq!(key(HashSource::From, &one), key(HashSource::From, &another_from("alice@atlanta.example")));
    assert_ne!(key(HashSource::From, &one), key(HashSource::From, &another_from("alice@atlanta.example:5070")));
    assert_ne!(key(HashSource::From, &one), key(HashSource::From, &another_from("alicia@atlanta.example")));
    let same_to = Ask { to: one.to.clone(), ..another_from("x@y.example") };
    assert_eq!(key(HashSource::To, &one), key(HashSource::To, &same_to));
    assert_ne!(key(HashSource::To, &one), key(HashSource::To, &another_from("alice@atlanta.example")));
    let same_uri = Ask { uri: one.uri.clone(), ..another_from("x@y.example") };
    assert_eq!(key(HashSource::RequestUri, &one), key(HashSource::RequestUri, &same_uri));
    assert_ne!(key(HashSource::RequestUri, &one), key(HashSource::RequestUri, &another_from("x@y.example")));
}

#[test]
fn spellings_of_one_uri_are_one_key() {
    let plain = another_from("alice@atlanta.example");
    for spelling in ["alice@ATLANTA.example", "alice@atlanta.example:5060", "%61lice@atlanta.example"] {
        assert_eq!(key(HashSource::From, &plain), key(HashSource::From, &another_from(spelling)), "{spelling}");
    }
    assert_ne!(key(HashSource::From, &plain), key(HashSource::From, &another_from("Alice@atlanta.example")));
}

#[test]
fn the_user_part_alone_where_asked() {
    let (here, there) = (another_from("alice@atlanta.example"), another_from("alice@other.example:5070"));
    assert_eq!(user_key(HashSource::From, &here), user_key(HashSource::From, &there));
    assert_ne!(user_key(HashSource::From, &here), user_key(HashSource::From, &another_from("bob@atlanta.example")));
    let identity = |value| Ask { headers: vec![("P-Asserted-Identity", value)], ..invite() };
    let header = || HashSource::Header(b"P-Asserted-Identity".as_slice().into());
    let long = identity("\"Alice\" <sip:alice@atlanta.example>");
    assert_eq!(user_key(header(), &long), user_key(header(), &identity("<sip:alice@other.example>")));
    assert_ne!(key(header(), &long), key(header(), &identity("<sip:alice@other.example>")));
}

#[test]
fn the_user_that_authenticates_and_without_one_the_call() {
    let with = |auth_user, call_id| Ask { auth_user, call_id: Some(call_id), ..invite() };
    let auth = |request: &Ask| key(HashSource::AuthUser, request);
    assert_eq!(auth(&with(Some("u1"), "a")), auth(&with(Some("u1"), "b")));
    assert_ne!(auth(&with(Some("u1"), "a")), auth(&with(Some("u2"), "a")));
    // Calls without credentials are spread, not sent to one node together.
    assert_ne!(auth(&with(None, "a")), auth(&with(None, "b")));
    assert_eq!(auth(&with(None, "a")), key(HashSource::CallId, &with(Some("u1"), "a")));
}

#[test]
fn a_header_and_the_source_address() {
    let with = |value| Ask { headers: vec![("X-Key", value)], ..invite() };
    let header = |request: &Ask| key(HashSource::Header(b"X-Key".as_slice().into()), request);
    assert_eq!(header(&with("k1")), header(&Ask { call_id: Some("other"), ..with("k1") }));
    assert_ne!(header(&with("k1")), header(&with("k2")));
    assert_eq!(header(&invite()), key(HashSource::CallId, &invite()));
    let from = |source| Ask { call_id: Some("other"), ..call(None, "example.net", source) };
    let source = |request: &Ask| key(HashSource::SourceAddress, request);
    assert_eq!(source(&invite()), source(&from("192.0.2.1")));
    assert_eq!(source(&invite()), source(&from("::ffff:192.0.2.1")));
    assert_ne!(source(&invite()), source(&from("192.0.2.2")));
}
