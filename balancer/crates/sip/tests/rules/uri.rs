//! URIs and addresses.

use switchtender_sip::{Host, NameAddr, Scheme, Uri};

use crate::text;

fn uri(source: &str) -> Uri<'_> {
    Uri::parse(source.as_bytes()).unwrap_or_else(|| panic!("{source}"))
}

fn host(source: &str) -> String {
    match uri(source).host {
        Host::Name(name) => text(name),
        Host::Ip(ip) => format!("ip {ip}"),
    }
}

#[test]
fn parts_of_a_sip_uri() {
    let source = "sip:al%20ice;day=tue:s%3acret@Example.COM:5070;transport=tcp;lr;x=%22?Subject=a&To=b";
    let uri = uri(source);
    assert_eq!(text(uri.text), source);
    assert_eq!(uri.scheme, Scheme::Sip);
    assert_eq!(uri.user, Some(&b"al%20ice;day=tue"[..]));
    assert_eq!(uri.password, Some(&b"s%3acret"[..]));
    assert_eq!(uri.host, Host::Name(b"Example.COM"));
    assert_eq!(uri.port, Some(5070));
    assert_eq!(uri.params.value(b"TRANSPORT"), Some(&b"tcp"[..]));
    assert_eq!(uri.params.get(b"lr").map(|lr| lr.value), Some(None));
    assert!(uri.params.get(b"Subject").is_none());
    assert_eq!(uri.params.into_iter().count(), 3);
    assert!(uri.is_loose_router());
    assert_eq!(uri.headers, Some(&b"Subject=a&To=b"[..]));
}

#[test]
fn short_uris() {
    let plain = uri("SIPS:h");
    assert_eq!((plain.scheme, plain.user, plain.password, plain.port), (Scheme::Sips, None, None, None));
    assert_eq!(plain.host, Host::Name(b"h"));
    assert_eq!(plain.port_or_default(), 5061);
    assert_eq!(uri("sip:h").port_or_default(), 5060);
    assert_eq!(uri("sip:h:7").port_or_default(), 7);
    assert!(!plain.is_loose_router());
    assert_eq!(uri("sip:a@h?b=c").headers, Some(&b"b=c"[..]));
    assert_eq!(uri("sip:a:@h").password, Some(&b""[..]));
    // Before `@` a question mark is part of the user.
    assert_eq!(uri("sip:a?b=c@h").user, Some(&b"a?b=c"[..]));
}

#[test]
fn hosts() {
    assert_eq!(host("sip:192.0.2.1"), "ip 192.0.2.1");
    assert_eq!(host("sip:a@[2001:DB8::9:1]:5060"), "ip 2001:db8::9:1");
    assert_eq!(host("sip:[::ffff:192.0.2.1];lr"), "ip ::ffff:192.0.2.1");
    assert_eq!(host("sip:[2001:db8:::192.0.2.1]"), "ip 2001:db8::c000:201");
    assert_eq!(host("sip:192.0.2.256"), "192.0.2.256");
    assert_eq!(host("sip:192.0.2"), "192.0.2");
    assert_eq!(host("sip:192.0.2.01"), "192.0.2.01");
    assert_eq!(host("sip:192.0.2.1.5"), "192.0.2.1.5");
    assert_eq!(host("sip:0.0.0.0"), "ip 0.0.0.0");
    assert_eq!(host("sip:my_host-1.example.com."), "my_host-1.example.com.");
    assert_eq!(uri("sip:192.0.2.1").host.ip(), Some([192, 0, 2, 1].into()));
    assert_eq!(uri("sip:h").host.ip(), None);
}

#[test]
fn other_schemes() {
    let tel = uri("tel:+1-201-555-0123;phone-context=example.com");
    assert_eq!((tel.scheme, tel.user), (Scheme::Tel, Some(&b"+1-201-555-0123"[..])));
    assert_eq!(tel.params.value(b"phone-context"), Some(&b"example.com"[..]));
    let other = uri("urn:service:sos");
    assert_eq!((other.scheme, other.user, other.host), (Scheme::Other, None, Host::Name(b"")));
}

#[test]
fn no_uris() {
    for source in [
        "",
        "sip",
        "sip:",
        "sip:@h",
        "sip:a@",
        "sip:a@b@c",
        "sip:h:",
        "sip:h:x",
        "sip:h:65536",
        "sip:h:5060x",
        "sip:a b@h",
        "sip:[::1",
        "sip:[::1]x",
        "sip:[1.2.3.4]",
        "sip:[]",
        "sip:h/p",
        "sip:h\u{e9}",
        "sip:a@h;x=\"y\"",
        "<sip:h>",
        "sip:h>",
        "sip:a@h\r\n",
        "sip:a@h\0",
        ":h",
        "tel:",
        "tel:;x",
        "1ab:c",
        "a(b:c",
        "x:",
        "sip::5060",
        "sip:h,h",
    ] {
        assert!(Uri::parse(source.as_bytes()).is_none(), "{source:?}");
    }
}

#[test]
fn equivalence() {
    // The examples of RFC 3261 §19.1.4 in our words, and more.
    for (one, other) in [
        ("sip:%61lice@example.com;transport=TCP", "sip:alice@EXAMPLE.com;Transport=tcp"),
        ("sip:bob@h", "sip:bob@h;newparam=5"),
        ("sip:bob@h;a=1", "sip:bob@h;b=2"),
        ("sip:h;transport=;transport=tcp", "sip:h;transport="),
        (
            "sip:h;transport=tcp;method=REGISTER?to=sip:b%40h&x=1",
            "sip:h;method=register;transport=tcp?X=1&to=sip:b%40h",
        ),
        ("sip:a:p@h:5060", "SIP:a:p@H:5060"),
        ("sip:192.0.2.1", "sip:192.0.2.1"),
        ("sip:[2001:db8::1]", "sip:[2001:DB8:0:0::1]"),
        ("tel:+1", "tel:+1"),
    ] {
        assert!(uri(one).equivalent(&uri(other)), "{one} {other}");
        assert!(uri(other).equivalent(&uri(one)), "{other} {one}");
    }
    for (one, other) in [
        ("sip:a@h", "sips:a@h"),
        ("sip:ALICE@h", "sip:alice@h"),
        ("sip:a:p@h", "sip:a:P@h"),
        ("sip:a:p@h", "sip:a@h"),
        ("sip:a@h", "sip:h"),
        ("sip:a@h", "sip:a@h:5060"),
        ("sip:a@h", "sip:a@i"),
        ("sip:a@h", "sip:a@h;transport=udp"),
        ("sip:a@h;user=phone", "sip:a@h"),
        ("sip:a@h;maddr=1.1.1.1", "sip:a@h"),
        ("sip:a@h;ttl=1", "sip:a@h"),
        ("sip:a@h;method=INVITE", "sip:a@h"),
        ("sip:a@h;x=1", "sip:a@h;x=2"),
        ("sip:a@h?Subject=x", "sip:a@h"),
        ("sip:a@h?a=1&b=2", "sip:a@h?a=1"),
        ("sip:a@h?a=1&a=1", "sip:a@h?a=1&b=1"),
        ("sip:a%3bb@h", "sip:a;b@h"),
        ("sip:192.0.2.1", "sip:h"),
        ("tel:+1", "tel:+2"),
    ] {
        assert!(!uri(one).equivalent(&uri(other)), "{one} {other}");
        assert!(!uri(other).equivalent(&uri(one)), "{other} {one}");
    }
}

#[test]
fn comparing_many_parameters_is_bounded() {
    let many = format!("sip:a@h{}", ";p".repeat(17));
    assert!(uri(&many).equivalent(&uri(&many)));
    assert!(!uri(&many).equivalent(&uri(&format!("{many};q"))));
    let few = format!("sip:a@h{}", ";p".repeat(16));
    assert!(uri(&few).equivalent(&uri("sip:a@h")));
}

#[track_caller]
fn address(source: &str, display: &str, uri: &str, tag: Option<&str>) {
    let address = NameAddr::parse(source.as_bytes()).unwrap_or_else(|| panic!("{source}"));
    assert_eq!(text(address.display), display, "{source}");
    assert_eq!(text(address.uri_text), uri, "{source}");
    assert_eq!(address.tag().map(text).as_deref(), tag, "{source}");
}

#[test]
fn addresses() {
    address("<sip:a@h>", "", "sip:a@h", None);
    address("<sip:a@h;tag=uri>;tag=field", "", "sip:a@h;tag=uri", Some("field"));
    address("\"A <x> \\\" B\"  <sip:a@h> ; x ; TAG = t1", "\"A <x> \\\" B\"", "sip:a@h", Some("t1"));
    address("Mister Watson<sip:a@h>;q=\";tag=no\";tag=yes", "Mister Watson", "sip:a@h", Some("yes"));
    address("sip:a@h;tag=t", "", "sip:a@h", Some("t"));
    address(" sip:a@h ", "", "sip:a@h", None);
    address("*", "", "*", None);
    address("<sip:a@h>;tag=", "", "sip:a@h", None);
    address("<sip:a@h>;tag", "", "sip:a@h", None);
    address("<sip:a@h>;;tag=1;tag=2", "", "sip:a@h", Some("1"));
    address("sip:a@h;x=\"<\";tag=1", "", "sip:a@h", Some("1"));
    assert_eq!(NameAddr::parse(b"<sip:a@192.0.2.1>").and_then(|it| it.uri()?.host.ip()), Some([192, 0, 2, 1].into()));
}

#[test]
fn no_addresses() {
    for source in [
        "",
        " ",
        "<>",
        "\"x\"",
        "\"x <sip:a@h>",
        "<sip:a@h",
        "sip:a@h>",
        "<sip:a@h> x",
        "\"a\" sip:a@h",
        ";tag=1",
        "<sip:a@h>;x=\"",
        "sip:a@h;x=\"y",
    ] {
        assert!(NameAddr::parse(source.as_bytes()).is_none(), "{source:?}");
    }
}
