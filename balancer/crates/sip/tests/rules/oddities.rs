//! Variations on what RFC 4475 tests: for each class what is found in a message or what is wrong with it.

use switchtender_sip::{Answer, Error, HeaderName, Index, Scheme};

use crate::text;

/// What the proxy would do: nothing wrong, or the answer.
fn verdict(bytes: &[u8]) -> Result<(), (Error, Answer)> {
    let mut index = Index::new();
    let parsed = index.parse(bytes);
    let message = index.message(bytes);
    parsed.and_then(|()| message.validate()).map_err(|error| (error, message.answer(error)))
}

#[track_caller]
fn accepted<R>(bytes: impl AsRef<[u8]>, check: impl FnOnce(switchtender_sip::Message<'_>) -> R) -> R {
    assert_eq!(verdict(bytes.as_ref()), Ok(()));
    crate::with(bytes, check)
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, error: Error, code: u16) {
    let (found, answer) = verdict(bytes.as_ref()).expect_err("a fault");
    assert_eq!(found, error);
    match answer {
        Answer::Respond { code: answered, .. } => assert_eq!(answered, code),
        Answer::Drop | Answer::Ignore => assert_eq!(code, 0),
    }
}

/// A short request; `line` and `fields` replace or add to what it says.
fn request(line: &str, fields: &str) -> String {
    let method = line.split(' ').next().unwrap_or_default();
    format!(
        "{line}\r\nVia: SIP/2.0/UDP pc.example.net;branch=z9hG4bKt\r\nFrom: <sip:a@example.net>;tag=1\r\n\
         To: <sip:b@example.net>\r\nCall-ID: torture\r\nCSeq: 1 {method}\r\n{fields}\r\n"
    )
}

#[test]
fn long_values() {
    let tag = "t".repeat(4_000);
    let branch = "b".repeat(7_000);
    let bytes = request("INVITE sip:h SIP/2.0", &"Via: SIP/2.0/UDP h\r\n".repeat(60))
        .replace("tag=1", &format!("tag={tag}"))
        .replace("z9hG4bKt", &branch);
    accepted(bytes, |message| {
        assert_eq!(message.from_tag().map(<[u8]>::len), Some(4_000));
        assert_eq!(message.top_via().and_then(|via| via.branch).map(<[u8]>::len), Some(7_000));
        assert_eq!(message.values(HeaderName::Via).count(), 61);
    });
}

#[test]
fn reason_phrases() {
    for (phrase, expected) in [(" = 2**3 * 5**2 \u{43d}\u{43e}", "= 2**3 * 5**2 \u{43d}\u{43e}"), (" ", ""), ("", "")] {
        let bytes =
            request("OPTIONS sip:h SIP/2.0", "").replace("OPTIONS sip:h SIP/2.0", &format!("SIP/2.0 200{phrase}"));
        accepted(bytes, |message| assert_eq!(message.reason().map(text).as_deref(), Some(expected)));
    }
}

#[test]
fn separators_without_anything_between() {
    let bytes =
        request("INVITE sip:h SIP/2.0", "Contact: \"Joe\" <sip:joe@h>;;;;,,\r\n").replace(";branch", ";;,;,,branch");
    refused(bytes, Error::Malformed(HeaderName::Via), 400);
    let bytes = request("INVITE sip:h SIP/2.0", "").replace("branch=z9hG4bKt", ";;,,");
    accepted(bytes, |message| assert_eq!(message.top_via().and_then(|via| via.branch), None));
    let bytes = request("INVITE sip:h SIP/2.0", "").replace(";branch", ";;branch");
    accepted(bytes, |message| assert_eq!(message.top_via().and_then(|via| via.branch), Some(&b"z9hG4bKt"[..])));
}

#[test]
fn lengths_and_numbers_out_of_range() {
    refused(request("INVITE sip:h SIP/2.0", "Content-Length: 9999\r\n"), Error::Incomplete, 400);
    refused(
        request("INVITE sip:h SIP/2.0", "Content-Length: -999\r\n"),
        Error::Malformed(HeaderName::ContentLength),
        400,
    );
    let bytes = request("REGISTER sip:h SIP/2.0", "").replace("CSeq: 1", "CSeq: 36893488147419103232");
    refused(bytes, Error::Malformed(HeaderName::CSeq), 400);
    let fields = "Max-Forwards: 300\r\nExpires: 10000000000000000000000000\r\n";
    refused(request("REGISTER sip:h SIP/2.0", fields), Error::Malformed(HeaderName::MaxForwards), 400);
    let fields = "Retry-After: 949302838503028349304023988\r\nWarning: 1812 overture \"In Progress\"\r\n";
    accepted(request("REGISTER sip:h SIP/2.0", fields), |_| ());
    refused("SIP/2.0 4294967301 better not break\r\nVia: SIP/2.0/UDP h\r\n\r\n", Error::StatusLine, 0);
}

#[test]
fn quotes_and_brackets_not_closed() {
    let bytes = request("INVITE sip:h SIP/2.0", "").replace("To: <", "To: \"Mr. J. User <");
    refused(bytes, Error::Malformed(HeaderName::To), 400);
    let bytes = request("INVITE sip:h SIP/2.0", "").replace("b@example.net>", "b@example.net");
    refused(bytes, Error::Malformed(HeaderName::To), 400);
    // Contact is the concern of the ends.
    accepted(request("INVITE sip:h SIP/2.0", "Contact: \"unclosed <sip:x>\r\n"), |_| ());
}

#[test]
fn request_lines_out_of_shape() {
    refused(request("INVITE <sip:user@example.com> SIP/2.0", ""), Error::RequestUri, 400);
    refused(request("INVITE sip:user@example.com; lr SIP/2.0", ""), Error::RequestLine, 400);
    refused(request("INVITE  sip:user@example.com  SIP/2.0", ""), Error::RequestLine, 400);
    refused(request("OPTIONS sip:user@example.com SIP/2.0  ", ""), Error::RequestLine, 400);
    refused(request("OPTIONS sip:user@example.com SIP/7.0", ""), Error::Version, 505);
    refused("\r\n\r\nINVITE\r\n\r\n", Error::NotSip, 0);
    // Escaped headers in the Request-URI have no place there, but are harmless to a proxy that replaces it.
    accepted(request("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", ""), |message| {
        assert_eq!(message.uri().and_then(|uri| uri.headers), Some(&b"Route=%3Csip:example.com%3E"[..]));
    });
}

#[test]
fn fields_missing_or_repeated() {
    refused(
        "INVITE sip:h SIP/2.0\r\nCSeq: 1 INVITE\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        Error::Missing(HeaderName::From),
        400,
    );
    refused("INVITE sip:h SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n", Error::Missing(HeaderName::Via), 0);
    refused(request("INVITE sip:h SIP/2.0", "Call-ID: other\r\n"), Error::Repeated(HeaderName::CallId), 400);
    refused(request("INVITE sip:h SIP/2.0", "t: <sip:c@h>;tag=9\r\n"), Error::Repeated(HeaderName::To), 400);
    let bytes = request("OPTIONS sip:h SIP/2.0", "Content-Length: 0\r\nl: 3\r\n") + "abc";
    refused(bytes, Error::Repeated(HeaderName::ContentLength), 400);
}

#[test]
fn schemes() {
    for (uri, scheme) in [
        ("nobodyKnowsThisScheme:totallyopaquecontent", Scheme::Other),
        ("soap.beep://192.0.2.103:3002", Scheme::Other),
        ("TEL:+12015550143", Scheme::Tel),
        ("SipS:h", Scheme::Sips),
    ] {
        accepted(request(&format!("OPTIONS {uri} SIP/2.0"), ""), |message| {
            assert_eq!(message.uri().map(|uri| uri.scheme), Some(scheme));
        });
    }
    let bytes = request("REGISTER sip:h SIP/2.0", "").replace("<sip:b@example.net>", "isbn:2983792873");
    accepted(bytes, |message| {
        assert_eq!(message.to().and_then(|to| to.uri()).map(|uri| uri.scheme), Some(Scheme::Other));
    });
}

#[test]
fn spaces_around_addresses() {
    let bytes = request("OPTIONS sip:h SIP/2.0", "").replace("<sip:b@example.net>", "\"Watson\" < sip:b@example.net >");
    // It parses as an address; that its URI is none is for those who need it.
    accepted(bytes, |message| assert!(message.to().unwrap().uri().is_none()));
    let bytes =
        request("OPTIONS sip:h SIP/2.0", "").replace("<sip:a@example.net>", "Bell, Alexander <sip:a@example.net>");
    accepted(bytes, |message| assert_eq!(message.from().map(|from| from.display), Some(&b"Bell, Alexander"[..])));
}

#[test]
fn only_punctuation() {
    refused(request("INVITE sip:h SIP/2.0", ":::\r\n"), Error::HeaderLine, 400);
    refused(request("INVITE sip:h SIP/2.0", ",,,: x\r\n"), Error::HeaderLine, 400);
    refused(request("INVITE sip:h SIP/2.0", "").replace("tag=1", "tag=1\r\n\x0b: x"), Error::HeaderLine, 400);
    let commas = ",".repeat(8_000);
    accepted(request("INVITE sip:h SIP/2.0", &format!("Route: {commas}\r\n")), |message| {
        assert_eq!(message.values(HeaderName::Route).count(), 0);
    });
}
