//! Start lines, header fields, body, and the faults in them.

use switchtender_sip::{Answer, Error, HeaderName, Index, Kind, Method, limits};

use crate::{INVITE, at, fault, text, with};

#[test]
fn request_line() {
    with(INVITE, |message| {
        let Kind::Request { method, method_span, uri } = message.kind() else { panic!("a request") };
        assert_eq!(method, Method::Invite);
        assert_eq!(at(message, method_span), "INVITE");
        assert_eq!(at(message, uri), "sip:conf@sip.example.com");
        assert_eq!((message.code(), message.reason()), (None, None));
        assert_eq!(message.method_text(), Some(&b"INVITE"[..]));
    });
}

#[test]
fn unknown_method_keeps_its_text() {
    with(INVITE.replace("INVITE", "x.Y!%*_+`'~-1"), |message| {
        assert_eq!(message.method(), Some(Method::Other));
        assert_eq!(message.method_text().map(text).as_deref(), Some("x.Y!%*_+`'~-1"));
        assert_eq!(message.validate(), Ok(()));
    });
}

#[test]
fn status_line() {
    for (line, code, reason) in [
        ("SIP/2.0 200 OK", 200, "OK"),
        ("SIP/2.0 183 Session  Progress ", 183, "Session  Progress "),
        ("SIP/2.0 486 ", 486, ""),
        ("SIP/2.0 699", 699, ""),
        ("sip/2.0 100 \u{fc}ber", 100, "\u{fc}ber"),
    ] {
        with(format!("{line}\r\nCSeq: 1 INVITE\r\n\r\n"), |message| {
            assert_eq!(message.code(), Some(code), "{line}");
            assert_eq!(message.reason().map(text).as_deref(), Some(reason), "{line}");
            assert_eq!((message.method(), message.uri_text().map(text)), (None, None));
        });
    }
}

#[test]
fn malformed_status_lines_are_dropped() {
    for line in [
        "SIP/2.0 99 Low",
        "SIP/2.0 700 High",
        "SIP/2.0 2000 OK",
        "SIP/2.0  200 OK",
        "SIP/2.0 +20 OK",
        "SIP/2.0 20x OK",
        "SIP/2.0 ",
        "SIP/2.0",
        "SIP/",
    ] {
        let fault = fault(format!("{line}\r\n\r\n"));
        assert_eq!(fault, Error::StatusLine, "{line}");
        assert_eq!(fault.answer(), Answer::Drop);
    }
}

#[test]
fn malformed_request_lines_are_answered_400() {
    for line in [
        "INVITE  sip:a@b SIP/2.0",
        "INVITE sip:a@b  SIP/2.0",
        "INVITE sip:a@b SIP/2.0 ",
        "INVITE sip:a@b;x=a b SIP/2.0",
        "INVITE\tsip:a@b SIP/2.0",
        " INVITE sip:a@b SIP/2.0",
        "INV(TE sip:a@b SIP/2.0",
        "INVITE SIP/2.0",
    ] {
        let fault = fault(INVITE.replace("INVITE sip:conf@sip.example.com SIP/2.0", line));
        assert_eq!(fault, Error::RequestLine, "{line}");
        assert_eq!(fault.answer(), Answer::Respond { code: 400, reason: "Malformed Request-Line" });
    }
}

#[test]
fn a_fault_in_the_request_line_leaves_the_fields_readable() {
    let bytes = INVITE.replace("conf@sip.example.com SIP", "conf@sip.example.com  SIP");
    let mut index = Index::new();
    assert_eq!(index.parse(bytes.as_bytes()), Err(Error::RequestLine));
    let message = index.message(bytes.as_bytes());
    assert_eq!(message.call_id(), Some(&b"c1@192.0.2.7"[..]));
    assert_eq!(message.method(), Some(Method::Invite));
    assert!(message.top_via().is_some());
}

#[test]
fn another_version_is_answered_505() {
    let fault = fault(INVITE.replace("com SIP/2.0", "com SIP/7.0"));
    assert_eq!(fault, Error::Version);
    assert_eq!(fault.answer(), Answer::Respond { code: 505, reason: "Version Not Supported" });
    assert_eq!(self::fault("SIP/1.0 200 OK\r\n\r\n"), Error::Version);
}

#[test]
fn what_is_not_sip_is_dropped() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"hello",
        b"INVITE sip:a@b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\n\x01\xfc",
        b"\r\n\r\nx",
    ] {
        assert_eq!(fault(bytes), Error::NotSip, "{bytes:?}");
    }
    assert_eq!(Error::NotSip.answer(), Answer::Drop);
}

#[test]
fn keep_alives_are_ignored() {
    for bytes in ["", "\r\n\r\n", "\r\n", "\n", "\0\0\0\0", " ", "\0\r\n"] {
        assert_eq!(fault(bytes), Error::KeepAlive, "{bytes:?}");
    }
    assert_eq!(Error::KeepAlive.answer(), Answer::Ignore);
}

#[test]
fn line_ends_before_the_start_line_are_passed_over() {
    let bytes = format!("\r\n\r\n{INVITE}");
    with(&bytes, |message| {
        assert_eq!(message.method(), Some(Method::Invite));
        assert_eq!(at(message, message.index().span()), INVITE);
    });
}

#[test]
fn bare_line_feeds_end_lines() {
    with(INVITE.replace("\r\n", "\n").replace(": 5", ": 4"), |message| {
        assert_eq!(message.headers().len(), 9);
        assert_eq!(message.call_id(), Some(&b"c1@192.0.2.7"[..]));
        assert_eq!(message.body(), b"v=0\n");
        assert_eq!(message.validate(), Ok(()));
    });
}

#[test]
fn stray_carriage_returns_and_nul_are_dropped() {
    for (from, to) in [
        ("Ann", "A\rnn"),
        ("Ann", "A\0nn"),
        ("Max-Forwards: 70\r\n", "Max-Forwards: 70\rX-Hidden: 1\r\n"),
        ("Max-Forwards: 70\r\n", "Max-Forwards: 70\r\r\n"),
        ("SIP/2.0\r\nVia", "SIP/2.0\r\r\nVia"),
        ("conf@sip", "co\rnf@sip"),
        ("Contact:", "Con\0tact:"),
    ] {
        let fault = fault(INVITE.replacen(from, to, 1));
        assert_eq!(fault, Error::ControlCharacter, "{to:?}");
        assert_eq!(fault.answer(), Answer::Drop);
    }
    // In the body they mean nothing.
    with(INVITE.replace("v=0\r\n", "v\r\0x\n"), |message| assert_eq!(message.body(), b"v\r\0x\n"));
}

#[test]
fn fields_keep_their_order_and_bounds() {
    with(INVITE, |message| {
        let names: Vec<_> = message.headers().iter().map(|header| text(message.name_text(header))).collect();
        assert_eq!(
            names,
            ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Content-Length"]
        );
        let joined: String = message.headers().iter().map(|header| at(message, header.field)).collect();
        assert_eq!(joined, at(message, message.index().fields()));
        let header = message.first(HeaderName::CSeq).unwrap();
        assert_eq!(at(message, header.field), "CSeq: 7 INVITE\r\n");
        assert_eq!(at(message, header.value), "7 INVITE");
    });
}

#[test]
fn compact_names_any_case_and_space_around_the_colon() {
    let bytes = INVITE
        .replace("Via:", "v \t :\t ")
        .replace("From: ", "F:")
        .replace("To:", "t:")
        .replace("Call-ID:", "i  :")
        .replace("CSeq", "cSEQ")
        .replace("Contact", "m")
        .replace("Content-Length", "L");
    with(bytes, |message| {
        assert_eq!(message.validate(), Ok(()));
        assert_eq!(message.top_via().and_then(|via| via.branch), Some(&b"z9hG4bK-1"[..]));
        assert_eq!(message.from_tag(), Some(&b"f1"[..]));
        assert_eq!(message.call_id(), Some(&b"c1@192.0.2.7"[..]));
        assert_eq!(message.content_length(), Some(5));
        assert!(message.first(HeaderName::Contact).is_some());
    });
}

#[test]
fn folded_fields_are_one_field() {
    let bytes = INVITE
        .replace("Max-Forwards: ", "Max-Forwards:\r\n  \t")
        .replace("CSeq: 7 ", "CSeq: 7\r\n\t")
        .replace(";tag=f1", "\r\n ;\r\n tag\n = f1\r\n ");
    with(bytes, |message| {
        assert_eq!(message.max_forwards(), Some(70));
        assert_eq!(message.cseq().map(|cseq| (cseq.number, cseq.method)), Some((7, Method::Invite)));
        assert_eq!(message.from_tag(), Some(&b"f1"[..]));
        assert_eq!(message.headers().len(), 9);
        assert_eq!(message.validate(), Ok(()));
    });
}

#[test]
fn empty_values_are_allowed_where_they_are_not_read() {
    with(INVITE.replace("Content-Type: application/sdp", "Supported:\r\nSubject: \t\r\nX:"), |message| {
        assert_eq!(message.value(HeaderName::Supported), Some(&b""[..]));
        assert_eq!(message.values(HeaderName::Supported).count(), 0);
        assert_eq!(message.validate(), Ok(()));
    });
}

#[test]
fn bytes_beyond_ascii_pass() {
    let mut bytes = INVITE.replace("Ann", "#").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'#').unwrap();
    bytes[at] = 0xff;
    with(&bytes, |message| assert_eq!(message.from().map(|from| from.display), Some(&b"\"\xff\""[..])));
}

#[test]
fn header_lines_must_have_a_token_and_a_colon() {
    for line in
        ["no colon here", ": no name", "two words: x", "na(me: x", "n\u{e4}me: x", "name\x0b: x", "\" quoted\": x"]
    {
        let fault = fault(INVITE.replace("Content-Type: application/sdp", line));
        assert_eq!(fault, Error::HeaderLine, "{line:?}");
        assert_eq!(fault.answer(), Answer::Respond { code: 400, reason: "Malformed Header Field" });
    }
    assert_eq!(fault(INVITE.replace("\r\nVia", "\r\n Via")), Error::HeaderLine);
    assert_eq!(fault(INVITE.replace("Via:", "Via\r\n :")), Error::HeaderLine);
}

#[test]
fn a_malformed_header_line_leaves_the_others_readable() {
    let bytes = INVITE.replace("Max-Forwards: 70", "Max-Forwards 70");
    let mut index = Index::new();
    assert_eq!(index.parse(bytes.as_bytes()), Err(Error::HeaderLine));
    let message = index.message(bytes.as_bytes());
    assert_eq!(message.headers().len(), 8);
    assert_eq!(message.body(), b"v=0\r\n");
    assert!(message.cseq().is_some());
}

#[test]
fn fields_must_be_ended_by_an_empty_line() {
    let head = INVITE.split("\r\n\r\n").next().unwrap();
    for bytes in
        [head.to_owned(), format!("{head}\r\n"), format!("{head}\r\n folded"), head[..20].to_owned() + " SIP/2.0"]
    {
        let fault = fault(&bytes);
        assert_eq!(fault, Error::Unterminated, "{bytes:?}");
        assert_eq!(fault.answer(), Answer::Respond { code: 400, reason: "Header Fields Not Terminated" });
    }
}

#[test]
fn body_is_cut_to_content_length() {
    with(format!("{INVITE}excess"), |message| {
        assert_eq!(message.body(), b"v=0\r\n");
        assert_eq!(at(message, message.index().span()), INVITE);
    });
    with(INVITE.replace("Content-Length: 5", "Content-Length: 0"), |message| assert_eq!(message.body(), b""));
    with(INVITE.replace("Content-Length: 5", "Content-Length: 005"), |message| assert_eq!(message.body(), b"v=0\r\n"));
}

#[test]
fn without_content_length_the_body_is_the_rest() {
    with(INVITE.replace("Content-Length: 5\r\n", "") + "more", |message| {
        assert_eq!(message.body(), b"v=0\r\nmore");
        assert_eq!(message.content_length(), None);
    });
}

#[test]
fn content_length_past_the_datagram_is_answered_400() {
    let fault = fault(INVITE.replace("Content-Length: 5", "Content-Length: 6"));
    assert_eq!(fault, Error::Incomplete);
    assert_eq!(fault.answer(), Answer::Respond { code: 400, reason: "Content-Length Exceeds Datagram" });
    assert_eq!(self::fault(INVITE.replace("Content-Length: 5", "Content-Length: 4294967295")), Error::Incomplete);
}

#[test]
fn malformed_content_length() {
    for value in ["", "-1", "5x", "5 5", "0x5", "4294967296", "\"5\""] {
        let fault = fault(INVITE.replace("Content-Length: 5", &format!("Content-Length: {value}")));
        assert_eq!(fault, Error::Malformed(HeaderName::ContentLength), "{value}");
        assert_eq!(fault.answer(), Answer::Respond { code: 400, reason: "Malformed Content-Length" });
    }
}

#[test]
fn header_count_is_limited() {
    let filled = |count: usize| INVITE.replace("Content-Type: application/sdp\r\n", &"X: 1\r\n".repeat(count));
    with(filled(limits::HEADERS - 8), |message| assert_eq!(message.headers().len(), limits::HEADERS));
    let fault = fault(filled(limits::HEADERS - 7));
    assert_eq!(fault, Error::TooManyHeaders);
    assert_eq!(fault.answer(), Answer::Respond { code: 513, reason: "Too Many Header Fields" });
}

#[test]
fn field_length_is_limited() {
    let filled = |length: usize| {
        let field = format!("X: {}\r\n {}\r\n", "a".repeat(100), "b".repeat(length - 108));
        assert_eq!(field.len(), length);
        INVITE.replace("Content-Type: application/sdp\r\n", &field)
    };
    with(filled(limits::FIELD), |message| assert_eq!(message.headers().len(), 9));
    let fault = fault(filled(limits::FIELD + 1));
    assert_eq!(fault, Error::FieldTooLong);
    assert_eq!(fault.answer(), Answer::Respond { code: 513, reason: "Header Field Too Long" });
}

#[test]
fn start_line_length_is_limited() {
    let filled = |length: usize| INVITE.replacen("conf", &"c".repeat(length - 35), 1);
    with(filled(limits::FIELD), |message| assert_eq!(message.validate(), Ok(())));
    let fault = fault(filled(limits::FIELD + 1));
    assert_eq!(fault, Error::UriTooLong);
    assert_eq!(fault.answer(), Answer::Respond { code: 414, reason: "Request-URI Too Long" });
}

#[test]
fn message_length_is_limited() {
    let head = INVITE.replace("Content-Length: 5\r\n", "").replace("v=0\r\n", "");
    with(head.clone() + &"b".repeat(limits::MESSAGE - head.len()), |message| {
        assert_eq!(message.index().span().len(), limits::MESSAGE);
        assert_eq!(message.body().len(), limits::MESSAGE - head.len());
    });
    let fault = fault(head.clone() + &"b".repeat(limits::MESSAGE - head.len() + 1));
    assert_eq!(fault, Error::BodyTooLong);
    assert_eq!(fault.answer(), Answer::Respond { code: 413, reason: "Request Entity Too Large" });

    let fields = format!("X: {}\r\n", "a".repeat(8_000)).repeat(9);
    let fault = self::fault(head.replace("Content-Type: application/sdp\r\n", &fields));
    assert_eq!(fault, Error::MessageTooLong);
    assert_eq!(fault.answer(), Answer::Respond { code: 513, reason: "Message Too Large" });
}

#[test]
fn an_index_forgets_the_message_before() {
    let mut index = Index::new();
    assert_eq!(index.parse(INVITE.as_bytes()), Ok(()));
    let response = b"SIP/2.0 200 OK\r\nTo: <sip:a@b>\r\nTo: <sip:a@b>\r\n\r\n";
    assert_eq!(index.parse(response), Ok(()));
    let message = index.message(response);
    assert_eq!(message.headers().len(), 2);
    assert!(message.first(HeaderName::Via).is_none());
    assert!(index.is_repeated(HeaderName::To));
    assert_eq!(index.parse(b"\r\n"), Err(Error::KeepAlive));
    assert_eq!((index.kind(), index.headers().len()), (Kind::Unknown, 0));
    assert_eq!(index.parse(INVITE.as_bytes()), Ok(()));
    assert!(!index.is_repeated(HeaderName::To));
}

#[test]
fn fields_of_a_name() {
    let bytes =
        INVITE.replace("Contact:", "Route: <sip:a;lr>\r\nX-Tag: 1\r\nroute: <sip:b;lr>\r\nx-tag: 2\r\nContact:");
    with(bytes, |message| {
        let routes: Vec<_> = message.all(HeaderName::Route).map(|header| at(message, header.value)).collect();
        assert_eq!(routes, ["<sip:a;lr>", "<sip:b;lr>"]);
        let tags: Vec<_> = message.named(b"X-TAG").map(|header| at(message, header.value)).collect();
        assert_eq!(tags, ["1", "2"]);
        assert_eq!(message.all(HeaderName::Path).count(), 0);
        assert!(message.index().is_repeated(HeaderName::Route));
    });
}
