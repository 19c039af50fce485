//! The cases of RFC 4475 and RFC 5118, each under its name there: messages of our own with the property that the case is
//! about, and what is found in them or wrong with them, as a datagram and in a stream. What leaves the proxy for each is
//! in that crate's tests.

use switchtender_sip::stream::{Frame, Framer};
use switchtender_sip::{Answer, Error, HeaderName, Host, Index, Message, Method, Scheme};

use crate::text;

/// The bytes of a case.
#[track_caller]
fn case(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/torture/{name}.sip", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Nothing is wrong with it, whichever way it comes; `check` looks at what is found.
#[track_caller]
fn accepted<R>(name: &str, check: impl FnOnce(Message<'_>) -> R) -> R {
    let bytes = case(name);
    let mut index = Index::new();
    assert_eq!(index.parse(&bytes), Ok(()));
    assert_eq!(index.message(&bytes).validate(), Ok(()));
    if index.first(HeaderName::ContentLength).is_some() {
        assert_eq!(frame(&bytes), Frame::Message(index.span().end.into()), "in a stream");
    }
    check(index.message(&bytes))
}

/// It is answered with `status`, or dropped where that is 0.
#[track_caller]
fn refused(name: &str, error: Error, status: u16) {
    let bytes = case(name);
    let mut index = Index::new();
    let parsed = index.parse(&bytes);
    let message = index.message(&bytes);
    let found = parsed.and_then(|()| message.validate()).expect_err("a fault");
    assert_eq!(found, error);
    match message.answer(found) {
        Answer::Respond { code, .. } => assert_eq!(code, status),
        Answer::Drop => assert_eq!(status, 0),
        Answer::Ignore => panic!("ignored"),
    }
}

/// How a stream that begins with these bytes goes on.
fn frame(bytes: &[u8]) -> Frame {
    Framer::new().next(bytes)
}

fn user(message: &Message<'_>) -> Option<String> {
    message.uri()?.user.map(text)
}

#[test]
fn every_case_has_its_test() {
    let here = include_str!("torture.rs");
    for (folder, count) in [("rfc4475", 49), ("rfc5118", 12)] {
        let path = format!("{}/tests/torture/{folder}", env!("CARGO_MANIFEST_DIR"));
        let names: Vec<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".sip", ""))
            .collect();
        assert_eq!(names.len(), count);
        for name in names {
            assert!(here.contains(&format!("\"{folder}/{name}\"")), "{name}");
            assert!(here.contains(&format!("fn {}()", name.replace('-', "_"))), "{name}");
        }
    }
}

#[test]
fn wsinv() {
    accepted("rfc4475/wsinv", |message| {
        assert_eq!(message.from_tag(), Some(&b"w5inv"[..]));
        assert_eq!(message.from().map(|from| text(from.display)).as_deref(), Some(r#""A \\\"name\"   in quotes""#));
        assert_eq!(message.max_forwards(), Some(68));
        assert_eq!(message.cseq().map(|cseq| (cseq.number, cseq.method)), Some((9, Method::Invite)));
        assert_eq!(message.top_via().and_then(|via| via.branch).map(text).as_deref(), Some("oldfashioned"));
        assert_eq!(message.values(HeaderName::Via).count(), 3);
        assert!(message.body().starts_with(b"v=0\r\n"));
        let odd = message.named(b"fieldofstrangevalue").next().unwrap();
        assert_eq!(odd.value.of(message.bytes()), b";;,,;;,;");
        assert_eq!(message.named(b"s").next().unwrap().value.of(message.bytes()), b"", "an empty subject");
    });
}

#[test]
fn intmeth() {
    accepted("rfc4475/intmeth", |message| {
        assert_eq!(message.method_text().map(text).as_deref(), Some("!x.-_*%+`'~9"));
        assert_eq!(user(&message).as_deref(), Some("1_odd.URI~(is-it!so)&why&not+(then)$and?more,/;;*"));
        assert_eq!(message.uri().unwrap().host, Host::Name(b"sip.example.com"));
        assert_eq!(message.to().unwrap().display, b"\"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f\"");
        assert_eq!(message.from().map(|from| text(from.display)).as_deref(), Some("word1~` word2'+_ word3*%!.-"));
        assert_eq!(message.from_tag(), Some(&b"_word~1'+`*%!-."[..]));
        assert_eq!(message.max_forwards(), Some(255));
    });
}

#[test]
fn esc01() {
    // Escapes stay as they are: what is escaped is no delimiter.
    accepted("rfc4475/esc01", |message| {
        assert_eq!(user(&message).as_deref(), Some("sips%3Auser%40example.net"));
        assert_eq!(message.uri().unwrap().scheme, Scheme::Sip);
        assert_eq!(message.to().unwrap().uri().unwrap().user, Some(&b"%75se%72"[..]));
    });
}

#[test]
fn escnull() {
    accepted("rfc4475/escnull", |message| {
        assert_eq!(message.values(HeaderName::Contact).count(), 2);
        assert_eq!(message.to().unwrap().uri().unwrap().user, Some(&b"null-%00-null"[..]));
    });
}

#[test]
fn esc02() {
    // The percent sign is no escape in a method, a header name, a display name: `%49` is no `I` there.
    accepted("rfc4475/esc02", |message| {
        assert_eq!(message.method(), Some(Method::Other));
        assert_eq!(message.values(HeaderName::Contact).count(), 2);
        assert_eq!(message.named(b"c%6fntact").count(), 1);
    });
}

#[test]
fn lwsdisp() {
    accepted("rfc4475/lwsdisp", |message| {
        assert_eq!(message.from().map(|from| from.display), Some(&b"caller"[..]));
        assert_eq!(message.from_tag(), Some(&b"lwsdisp"[..]));
    });
}

#[test]
fn longreq() {
    accepted("rfc4475/longreq", |message| {
        assert_eq!(message.values(HeaderName::Via).count(), 33);
        assert_eq!(message.from_tag().map(<[u8]>::len), Some(120));
        assert_eq!(message.call_id().map(<[u8]>::len), Some(388));
        assert_eq!(message.top_via().and_then(|via| via.branch).map(<[u8]>::len), Some(308));
    });
}

#[test]
fn dblreq() {
    // Octets behind the body of a datagram are no second message; in a stream they are.
    accepted("rfc4475/dblreq", |message| {
        assert_eq!(message.method(), Some(Method::Register));
        let first = message.index().span();
        assert!(message.bytes().len() > first.len());
        let rest = &message.bytes()[usize::from(first.end)..];
        assert_eq!(frame(rest), Frame::Message(rest.len()));
        crate::with(rest, |second| assert_eq!(second.method(), Some(Method::Invite)));
    });
}

#[test]
fn semiuri() {
    accepted("rfc4475/semiuri", |message| {
        assert_eq!(user(&message).as_deref(), Some("user;par=u%40example.net"));
        assert_eq!(message.uri().unwrap().params.into_iter().count(), 0);
        // Without brackets the tag is a parameter of the field, not of the URI.
        assert_eq!(message.to().unwrap().uri_text, b"sip:j_user@sip.example.com");
    });
}

#[test]
fn transports() {
    accepted("rfc4475/transports", |message| assert_eq!(message.values(HeaderName::Via).count(), 5));
}

#[test]
fn mpart01() {
    accepted("rfc4475/mpart01", |message| {
        assert!(message.body().ends_with(b"--edge 7--"));
        assert!(message.body().contains(&0), "binary passes");
    });
}

#[test]
fn unreason() {
    accepted("rfc4475/unreason", |message| {
        assert_eq!(message.code(), Some(200));
        let reason = message.reason().map(text).unwrap();
        assert!(reason.starts_with("= 2**3 * 5**2 ") && !reason.is_ascii(), "{reason}");
    });
}

#[test]
fn noreason() {
    accepted("rfc4475/noreason", |message| assert_eq!((message.code(), message.reason()), (Some(183), Some(&b""[..]))));
}

#[test]
fn badinv01() {
    refused("rfc4475/badinv01", Error::Malformed(HeaderName::Via), 400);
}

#[test]
fn clerr() {
    refused("rfc4475/clerr", Error::Incomplete, 400);
    assert_eq!(frame(&case("rfc4475/clerr")), Frame::Partial, "a stream waits for the rest");
}

/// The verdict of a stream whose first message has no end that can be known.
#[track_caller]
fn endless(name: &str) -> Error {
    match frame(&case(name)) {
        Frame::Bad { error, head: Some(_) } => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ncl() {
    refused("rfc4475/ncl", Error::Malformed(HeaderName::ContentLength), 400);
    assert_eq!(endless("rfc4475/ncl"), Error::Malformed(HeaderName::ContentLength));
}

#[test]
fn scalar02() {
    refused("rfc4475/scalar02", Error::Malformed(HeaderName::CSeq), 400);
}

#[test]
fn scalarlg() {
    refused("rfc4475/scalarlg", Error::Malformed(HeaderName::CSeq), 0);
}

#[test]
fn quotbal() {
    refused("rfc4475/quotbal", Error::Malformed(HeaderName::To), 400);
}

#[test]
fn ltgtruri() {
    refused("rfc4475/ltgtruri", Error::RequestUri, 400);
}

#[test]
fn lwsruri() {
    refused("rfc4475/lwsruri", Error::RequestLine, 400);
}

#[test]
fn lwsstart() {
    refused("rfc4475/lwsstart", Error::RequestLine, 400);
}

#[test]
fn trws() {
    refused("rfc4475/trws", Error::RequestLine, 400);
}

#[test]
fn escruri() {
    // Tolerated, since the proxy does not pass the header part on.
    accepted("rfc4475/escruri", |message| {
        assert_eq!(message.uri().unwrap().headers, Some(&b"Route=%3Csip:elsewhere.example.org%3E"[..]));
        assert_eq!(message.values(HeaderName::Route).count(), 0);
    });
}

#[test]
fn baddate() {
    accepted("rfc4475/baddate", |message| assert_eq!(message.named(b"date").count(), 1));
}

#[test]
fn regbadct() {
    accepted("rfc4475/regbadct", |message| assert_eq!(message.method(), Some(Method::Register)));
}

#[test]
fn badaspec() {
    // The address parses; that its URI is none is for those who need the URI, and a proxy does not.
    accepted("rfc4475/badaspec", |message| assert!(message.to().unwrap().uri().is_none()));
}

#[test]
fn baddn() {
    accepted("rfc4475/baddn", |message| {
        assert_eq!(message.from().map(|from| from.display), Some(&b"Bell, Alexander"[..]));
        assert_eq!(message.from_tag(), Some(&b"baddn"[..]));
    });
}

#[test]
fn badvers() {
    refused("rfc4475/badvers", Error::Version, 505);
}

#[test]
fn mismatch01() {
    refused("rfc4475/mismatch01", Error::CSeqMethod, 400);
}

#[test]
fn mismatch02() {
    refused("rfc4475/mismatch02", Error::CSeqMethod, 400);
}

#[test]
fn bigcode() {
    refused("rfc4475/bigcode", Error::StatusLine, 0);
}

#[test]
fn badbranch() {
    // Nothing stands behind the cookie: the transaction is told by more than the branch.
    accepted("rfc4475/badbranch", |message| {
        assert_eq!(message.top_via().and_then(|via| via.branch), Some(&b"z9hG4bK"[..]));
    });
}

#[test]
fn insuf() {
    refused("rfc4475/insuf", Error::Missing(HeaderName::From), 400);
}

#[test]
fn unkscm() {
    accepted("rfc4475/unkscm", |message| assert_eq!(message.uri().unwrap().scheme, Scheme::Other));
}

#[test]
fn novelsc() {
    accepted("rfc4475/novelsc", |message| assert_eq!(message.uri().unwrap().scheme, Scheme::Other));
}

#[test]
fn unksm2() {
    accepted("rfc4475/unksm2", |message| {
        assert_eq!(message.to().and_then(|to| to.uri()).map(|uri| uri.scheme), Some(Scheme::Other));
        assert_eq!(message.from_tag(), Some(&b"unksm2"[..]));
    });
}

#[test]
fn bext01() {
    accepted("rfc4475/bext01", |message| {
        assert_eq!(message.values(HeaderName::ProxyRequire).count(), 2);
        assert_eq!(message.values(HeaderName::Require).count(), 2);
    });
}

#[test]
fn invut() {
    accepted("rfc4475/invut", |message| assert!(message.body().starts_with(b"<audio>")));
}

#[test]
fn regaut01() {
    accepted("rfc4475/regaut01", |message| assert!(message.first(HeaderName::Authorization).is_some()));
}

#[test]
fn multi01() {
    refused("rfc4475/multi01", Error::Repeated(HeaderName::From), 400);
}

#[test]
fn mcl01() {
    refused("rfc4475/mcl01", Error::Repeated(HeaderName::ContentLength), 400);
    assert_eq!(endless("rfc4475/mcl01"), Error::Repeated(HeaderName::ContentLength));
}

#[test]
fn bcast() {
    accepted("rfc4475/bcast", |message| assert_eq!(message.values(HeaderName::Via).count(), 2));
}

#[test]
fn zeromf() {
    accepted("rfc4475/zeromf", |message| assert_eq!(message.max_forwards(), Some(0)));
}

#[test]
fn cparam01() {
    accepted("rfc4475/cparam01", |message| {
        let contact = message.values(HeaderName::Contact).next().unwrap();
        let contact = switchtender_sip::NameAddr::parse(contact.span.of(message.bytes())).unwrap();
        assert!(contact.params.get(b"unknownparam").is_some(), "of the field");
    });
}

#[test]
fn cparam02() {
    accepted("rfc4475/cparam02", |message| {
        let contact = message.values(HeaderName::Contact).next().unwrap();
        let contact = switchtender_sip::NameAddr::parse(contact.span.of(message.bytes())).unwrap();
        assert!(contact.params.get(b"unknownparam").is_none());
        assert!(contact.uri().unwrap().params.get(b"unknownparam").is_some(), "of the URI");
    });
}

#[test]
fn regescrt() {
    accepted("rfc4475/regescrt", |message| assert_eq!(message.values(HeaderName::Contact).count(), 1));
}

#[test]
fn sdp01() {
    accepted("rfc4475/sdp01", |message| assert!(!message.body().is_empty()));
}

#[test]
fn inv2543() {
    // No branch, no tags, no Max-Forwards; the body reaches to the end of the datagram. No stream can carry it.
    accepted("rfc4475/inv2543", |message| {
        assert_eq!(message.top_via().and_then(|via| via.branch), None);
        assert_eq!((message.from_tag(), message.to_tag(), message.max_forwards()), (None, None, None));
        assert!(message.body().starts_with(b"v=0"));
    });
    assert_eq!(endless("rfc4475/inv2543"), Error::Missing(HeaderName::ContentLength));
}

/// The host and port of the Request-URI.
fn host(message: &Message<'_>) -> (Option<String>, Option<u16>) {
    let uri = message.uri().unwrap();
    (uri.host.ip().map(|ip| ip.to_string()), uri.port)
}

#[test]
fn ipv6_good() {
    accepted("rfc5118/ipv6-good", |message| assert_eq!(host(&message), (Some("2001:db8::10".into()), None)));
}

#[test]
fn ipv6_bad() {
    refused("rfc5118/ipv6-bad", Error::RequestUri, 400);
}

#[test]
fn port_ambiguous() {
    accepted("rfc5118/port-ambiguous", |message| assert_eq!(host(&message), (Some("2001:db8::10:5070".into()), None)));
}

#[test]
fn port_unambiguous() {
    accepted("rfc5118/port-unambiguous", |message| {
        assert_eq!(host(&message), (Some("2001:db8::10".into()), Some(5070)));
    });
}

#[test]
fn via_received_param_with_delim() {
    let received = accepted("rfc5118/via-received-param-with-delim", |message| message.top_via().unwrap().received);
    assert_eq!(received.map(|ip| ip.to_string()).as_deref(), Some("2001:db8::9:255"));
}

#[test]
fn via_received_param_no_delim() {
    let received = accepted("rfc5118/via-received-param-no-delim", |message| message.top_via().unwrap().received);
    assert_eq!(received.map(|ip| ip.to_string()).as_deref(), Some("2001:db8::9:255"));
}

#[test]
fn ipv6_in_sdp() {
    accepted("rfc5118/ipv6-in-sdp", |message| assert!(text(message.body()).contains("IN IP6 2001:db8::20")));
}

#[test]
fn mult_ip_in_header() {
    accepted("rfc5118/mult-ip-in-header", |message| {
        let vias =
            message.values(HeaderName::Via).map(|value| switchtender_sip::Via::parse(value.span.of(message.bytes())));
        let hosts: Vec<String> = vias.map(|via| via.unwrap().host.ip().unwrap().to_string()).collect();
        assert_eq!(hosts, ["2001:db8::9:1", "2001:db8::9:255", "192.0.2.1", "2001:db8::10"]);
    });
}

#[test]
fn mult_ip_in_sdp() {
    accepted("rfc5118/mult-ip-in-sdp", |message| {
        let body = text(message.body());
        assert!(body.contains("IN IP4 192.0.2.1") && body.contains("IN IP6 2001:db8::1"));
    });
}

#[test]
fn ipv4_mapped_ipv6() {
    accepted("rfc5118/ipv4-mapped-ipv6", |message| {
        let via = message.top_via().unwrap();
        assert_eq!(via.host.ip().map(|ip| ip.to_canonical().to_string()).as_deref(), Some("192.0.2.10"));
        assert_eq!(via.port, Some(19823));
    });
}

#[test]
fn ipv6_bug_abnf_3_colons() {
    accepted("rfc5118/ipv6-bug-abnf-3-colons", |message| {
        assert_eq!(host(&message), (Some("2001:db8::c000:201".into()), None));
    });
}

#[test]
fn ipv6_correct_abnf_2_colons() {
    accepted("rfc5118/ipv6-correct-abnf-2-colons", |message| {
        assert_eq!(host(&message), (Some("2001:db8::c000:201".into()), None));
    });
}
