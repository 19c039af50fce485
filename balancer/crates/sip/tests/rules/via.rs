//! Via.

use switchtender_sip::{Host, Output, Rport, Transport, Via};

use crate::text;

fn via(source: &str) -> Via<'_> {
    Via::parse(source.as_bytes()).unwrap_or_else(|| panic!("{source}"))
}

#[test]
fn parts() {
    let source =
        "SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK1;rport=7;received=198.51.100.1;maddr=224.2.0.1;ttl=16;x=\"a;b\"";
    let via = via(source);
    assert_eq!(text(via.text), source);
    assert_eq!(via.transport, Transport::Udp);
    assert_eq!(via.host, Host::Ip([192, 0, 2, 7].into()));
    assert_eq!(via.port, Some(5062));
    assert_eq!(via.branch, Some(&b"z9hG4bK1"[..]));
    assert_eq!(via.rport, Some(Rport::Port(7)));
    assert_eq!(via.received, Some([198, 51, 100, 1].into()));
    assert_eq!(via.maddr, Some(Host::Ip([224, 2, 0, 1].into())));
    assert_eq!(via.ttl, Some(16));
    assert_eq!(via.params.value(b"x"), Some(&b"\"a;b\""[..]));
}

#[test]
fn white_space_wherever_the_grammar_allows_it() {
    let via = via("SIP / 2.0\r\n /\tTLS \r\n first.example.com : 4000 ;ttl = 16 ; BRANCH\r\n = z9hG4bKx ; rport");
    assert_eq!(via.transport, Transport::Tls);
    assert_eq!(via.host, Host::Name(b"first.example.com"));
    assert_eq!((via.port, via.ttl, via.rport), (Some(4000), Some(16), Some(Rport::Flag)));
    assert_eq!(via.branch, Some(&b"z9hG4bKx"[..]));
}

#[test]
fn transports_and_default_ports() {
    for (name, transport, port) in [
        ("udp", Transport::Udp, 5060),
        ("TCP", Transport::Tcp, 5060),
        ("Tls", Transport::Tls, 5061),
        ("SCTP", Transport::Sctp, 5060),
        ("ws", Transport::Ws, 5060),
        ("WSS", Transport::Wss, 5061),
        ("TLS-SCTP", Transport::Other, 5060),
    ] {
        let source = format!("sip/2.0/{name} h");
        let via = via(&source);
        assert_eq!((via.transport, via.port_or_default()), (transport, port), "{name}");
    }
    assert_eq!(Transport::Udp.as_bytes(), b"UDP");
    assert_eq!(Transport::Other.as_bytes(), b"");
}

#[test]
fn unreadable_parameters_count_as_absent_and_the_first_wins() {
    let via = via("SIP/2.0/UDP h;branch=;branch=b;branch=c;rport=x;received=h;ttl=256;maddr=a/b;branch");
    assert_eq!(via.branch, Some(&b"b"[..]));
    assert_eq!((via.rport, via.received, via.ttl, via.maddr), (None, None, None, None));
}

#[test]
fn ipv6_with_and_without_brackets() {
    let via = via("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=b");
    assert_eq!(via.host.ip().map(|ip| ip.to_string()).as_deref(), Some("2001:db8::9:1"));
    assert_eq!(via.received.map(|ip| ip.to_string()).as_deref(), Some("2001:db8::9:255"));
    let bare = self::via("SIP/2.0/UDP [2001:db8::9:1]:6050;received=2001:db8::9:255;maddr=2001:db8::2");
    assert_eq!(bare.received, via.received);
    assert_eq!(bare.maddr.and_then(Host::ip).map(|ip| ip.to_string()).as_deref(), Some("2001:db8::2"));
}

#[test]
fn no_vias() {
    for source in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0/UDP ;branch=b",
        "SIP/2.0 h",
        "SIP//UDP h",
        "SIP/\u{b}/UDP h",
        "SIP/2.0/UDP h;x=\"open",
        "HTTP/2.0/UDP h",
        "SIP/2.0// h",
        "SIP/2.0/U(P h",
        "SIP/2.0/UDP h:x",
        "SIP/2.0/UDP h:70000",
        "SIP/2.0/UDP h i",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP h,",
        "h",
    ] {
        assert!(Via::parse(source.as_bytes()).is_none(), "{source:?}");
    }
}

#[test]
fn the_version_is_told() {
    // So that a request of another version gets its 505.
    assert_eq!((via("SIP/7.0/UDP h").version, via("sip / 2.0 / UDP h").version), (&b"7.0"[..], &b"2.0"[..]));
}

#[test]
fn where_responses_go() {
    for (source, address) in [
        ("SIP/2.0/UDP 192.0.2.7", Some("192.0.2.7:5060")),
        ("SIP/2.0/UDP 192.0.2.7:99", Some("192.0.2.7:99")),
        ("SIP/2.0/UDP h:99;received=192.0.2.8", Some("192.0.2.8:99")),
        ("SIP/2.0/UDP h:99;received=192.0.2.8;rport=7", Some("192.0.2.8:7")),
        ("SIP/2.0/UDP h:99;received=192.0.2.8;rport", Some("192.0.2.8:99")),
        ("SIP/2.0/UDP 192.0.2.7:99;rport=7", Some("192.0.2.7:99")),
        ("SIP/2.0/UDP h:99;maddr=192.0.2.9;received=192.0.2.8;rport=7", Some("192.0.2.9:99")),
        ("SIP/2.0/TLS [2001:db8::1]", Some("[2001:db8::1]:5061")),
        ("SIP/2.0/UDP h:99", None),
        ("SIP/2.0/UDP 192.0.2.7;maddr=h", None),
    ] {
        assert_eq!(via(source).response_address().map(|it| it.to_string()).as_deref(), address, "{source}");
    }
}

#[test]
fn source_is_noted() {
    for (before, source, after) in [
        ("192.0.2.7:5062;branch=b", "192.0.2.7:5062", "192.0.2.7:5062;branch=b"),
        // Another port alone is not noted unless asked for (RFC 3261 §18.2.1).
        ("192.0.2.7:5062;branch=b", "192.0.2.7:99", "192.0.2.7:5062;branch=b"),
        ("192.0.2.7;branch=b", "192.0.2.8:99", "192.0.2.7;branch=b;received=192.0.2.8"),
        ("h;branch=b", "192.0.2.8:99", "h;branch=b;received=192.0.2.8"),
        // Asked for, both are noted even where they are the same (RFC 3581 §4).
        ("192.0.2.7:5062;rport;branch=b", "192.0.2.7:5062", "192.0.2.7:5062;rport=5062;branch=b;received=192.0.2.7"),
        ("h;RPORT ;branch=b", "192.0.2.8:99", "h;rport=99 ;branch=b;received=192.0.2.8"),
        // What the sender claims about itself does not count.
        ("h;received=1.1.1.1;rport=1;branch=b", "192.0.2.8:99", "h;rport=99;branch=b;received=192.0.2.8"),
        ("192.0.2.7;received=1.1.1.1;branch=b;received=2.2.2.2", "192.0.2.7:99", "192.0.2.7;branch=b"),
        ("h;rport=x", "192.0.2.8:99", "h;rport=99;received=192.0.2.8"),
        ("[2001:db8::1];rport", "[2001:db8::2]:9", "[2001:db8::1];rport=9;received=2001:db8::2"),
        ("[2001:db8:0::1]", "[2001:db8::1]:9", "[2001:db8:0::1]"),
        // An IPv4 source seen through an IPv6 socket is the same source.
        ("192.0.2.7", "[::ffff:192.0.2.7]:9", "192.0.2.7"),
    ] {
        let element = format!("SIP/2.0/UDP {before}");
        let mut buffer = [0; 256];
        let mut output = Output::new(&mut buffer);
        via(&element).write_with_source(source.parse().unwrap(), &mut output).unwrap();
        assert_eq!(text(output.written()), format!("SIP/2.0/UDP {after}"));
    }
}
