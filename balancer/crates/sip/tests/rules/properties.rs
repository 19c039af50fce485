//! What holds for every input.

use proptest::prelude::*;
use switchtender_sip::{
    Edits, HeaderName, Index, Kind, Message, NameAddr, Output, Response, Span, Uri, Via, ack, cancel, limits, respond,
};

const NAMES: [HeaderName; 22] = [
    HeaderName::Via,
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::Path,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::Contact,
    HeaderName::ContentLength,
    HeaderName::ProxyRequire,
    HeaderName::Require,
    HeaderName::Supported,
    HeaderName::RetryAfter,
    HeaderName::Reason,
    HeaderName::Authorization,
    HeaderName::ProxyAuthorization,
    HeaderName::WwwAuthenticate,
    HeaderName::ProxyAuthenticate,
    HeaderName::Timestamp,
    HeaderName::Other,
];

fn check_span(message: &Message<'_>, span: Span) {
    assert!(span.start <= span.end && usize::from(span.end) <= message.bytes().len(), "{span:?}");
}

/// Reads and writes everything there is, and checks every span.
fn exercise(message: &Message<'_>) {
    match message.kind() {
        Kind::Unknown => assert!(message.headers().is_empty()),
        Kind::Request { method_span, uri, .. } => {
            check_span(message, method_span);
            check_span(message, uri);
        }
        Kind::Response { code, status, reason } => {
            assert!((100..700).contains(&code));
            check_span(message, status);
            check_span(message, reason);
        }
    }
    for span in [message.index().span(), message.index().fields(), message.body_span()] {
        check_span(message, span);
    }
    assert!(message.headers().len() <= limits::HEADERS);
    let mut end = message.index().fields().start;
    for header in message.headers() {
        check_span(message, header.field);
        check_span(message, header.value);
        assert!(
            header.field.start >= end && header.value.start > header.field.start && header.value.end < header.field.end
        );
        assert!(!message.name_text(header).is_empty());
        assert!(header.field.len() <= limits::FIELD);
        end = header.field.end;
    }
    for name in NAMES {
        assert_eq!(message.first(name), message.all(name).next());
        assert_eq!(message.index().is_repeated(name), message.all(name).nth(1).is_some());
        let mut end = 0;
        for value in message.values(name) {
            check_span(message, value.span);
            check_span(message, value.removal);
            assert!(value.span.start >= end && !value.span.is_empty());
            end = value.span.end;
            let text = value.span.of(message.bytes());
            let _ = (Via::parse(text), NameAddr::parse(text).and_then(|address| address.uri()));
        }
    }
    let _ = (message.uri(), message.from_tag(), message.to_tag(), message.cseq(), message.max_forwards());
    if let (Err(error), Some(_)) = (message.validate(), message.code()) {
        assert_eq!(message.answer(error), switchtender_sip::Answer::Drop);
    }
    let source = "192.0.2.1:9".parse().unwrap();
    let response = Response { code: 100, reason: b"x", to_tag: Some(b"t"), source: Some(source), fields: b"" };
    let mut buffer = [0; 16_384];
    assert!(respond(message, &response, &mut Output::new(&mut buffer)).is_ok());
    assert!(ack(message, message, &mut Output::new(&mut buffer)).is_ok());
    assert!(cancel(message, b"", &mut Output::new(&mut buffer)).is_ok());
    let mut edits = Edits::new();
    forward(&mut edits, message);
    assert!(edits.splice(message, &mut Output::new(&mut buffer)).is_ok());
}

fn forward(edits: &mut Edits, message: &Message<'_>) {
    edits.set_source(message, "192.0.2.1:9".parse().unwrap());
    edits.push_field(message, HeaderName::Via, |output| output.bytes(b"SIP/2.0/UDP me;branch=z9hG4bKme"));
    edits.push_field(message, HeaderName::RecordRoute, |output| output.bytes(b"<sip:me;lr>"));
    edits.remove_first(message, HeaderName::Route, 1);
    edits.set_max_forwards(message, 69);
    edits.set_uri(message, |output| output.bytes(b"sip:node"));
}

fn parsed(bytes: &[u8]) -> Index {
    let mut index = Index::new();
    let _ = index.parse(bytes);
    index
}

/// Pieces that lead deep into the parser.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(vec![
        "INVITE ",
        "ACK ",
        "sip:",
        "sip:a@b",
        " SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "Via: ",
        "v:",
        "SIP/2.0/UDP ",
        "From: ",
        "To:",
        "Route: ",
        "Call-ID: x\r\n",
        "CSeq: 1 INVITE\r\n",
        "Content-Length: 3\r\n",
        "Max-Forwards: 1\r\n",
        ";branch=",
        ";rport",
        ";received=",
        ";tag=",
        ";lr",
        "\"",
        "\\",
        "<",
        ">",
        ",",
        ";",
        ":",
        "=",
        "@",
        "[",
        "]",
        "[::1]",
        "192.0.2.1",
        ":5060",
        "\r\n",
        "\n",
        "\r",
        "\r\n ",
        "\r\n\r\n",
        " ",
        "\t",
        "\0",
        "%41",
        "?",
        "&",
        "/",
        "é",
    ]);
    prop_oneof![8 => fragment.prop_map(|text| text.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..6)]
}

fn value_text() -> impl Strategy<Value = String> {
    "[!-~\u{80}-\u{ff} ]{0,40}"
}

fn address() -> impl Strategy<Value = String> {
    let display = prop_oneof![Just(String::new()), "\"[ -!#-\\[\\]-~]{0,8}\" ?", "[a-z]{1,8} "];
    let uri = prop_oneof![
        "sips?:([a-z0-9;?+%._~-]{1,12}@)?[a-z0-9.-]{1,10}[a-z](:[0-9]{1,4})?(;[a-z]{1,4}(=[a-z0-9]{1,4})?){0,3}",
        "sip:[a-z]{1,5}@\\[2001:db8::[0-9a-f]{1,4}\\]:[0-9]{1,4}",
    ];
    (display, uri, "( ?; ?x[a-z]{1,4}( ?= ?([a-z0-9]{1,4}|\"[ -!#-\\[\\]-~]{0,6}\"))?){0,3}")
        .prop_map(|(display, uri, params)| format!("{display}<{uri}>{params}"))
}

/// How a field is written: its name, the space around it, a line end.
fn style() -> impl Strategy<Value = (bool, bool, &'static str, &'static str)> {
    let before = prop::sample::select(vec!["", " ", "\t "]);
    let after = prop::sample::select(vec!["", " ", "\r\n ", " \t"]);
    (any::<bool>(), any::<bool>(), before, after)
}

fn field(full: &str, compact: &str, (short, lower, before, after): (bool, bool, &str, &str), value: &str) -> String {
    let name = if short && !compact.is_empty() { compact } else { full };
    let name = if lower { name.to_lowercase() } else { name.to_owned() };
    format!("{name}{before}:{after}{value}\r\n")
}

#[derive(Debug)]
struct Valid {
    bytes: Vec<u8>,
    call_id: String,
    number: u32,
    tag: String,
    branches: Vec<String>,
    routes: Vec<String>,
    body: Vec<u8>,
}

fn valid() -> impl Strategy<Value = Valid> {
    let vias = prop::collection::vec(("[a-z0-9]{1,8}", any::<bool>(), any::<bool>()), 1..5);
    let routes = prop::collection::vec((address(), any::<bool>()), 0..5);
    let others = prop::collection::vec(("X-[a-z]{1,8}", value_text()), 0..5);
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let names = ("[a-zA-Z0-9@.]{1,20}", 0..1u32 << 31, "[a-z0-9]{1,8}", address(), address());
    (vias, routes, others, body, names, prop::collection::vec(style(), 8)).prop_map(
        |(vias, routes, others, body, (call_id, number, tag, from, to), styles)| {
            // Elements joined to the field before by a comma, or in one of their own.
            let list = |name: &str, compact: &str, style, elements: &[(String, bool)]| {
                let mut fields: Vec<String> = Vec::new();
                for (element, joined) in elements {
                    match fields.last_mut() {
                        Some(last) if *joined => last.extend([" ,", element]),
                        _ => fields.push(element.clone()),
                    }
                }
                fields.iter().map(|value| field(name, compact, style, value)).collect::<String>()
            };
            let via_elements: Vec<_> = vias
                .iter()
                .map(|(branch, joined, rport)| {
                    let rport = if *rport { ";rport" } else { "" };
                    (format!("SIP/2.0/UDP 192.0.2.9:5060{rport};branch=z9hG4bK{branch}"), *joined)
                })
                .collect();
            let mut text = "INVITE sip:service@sip.example.com SIP/2.0\r\n".to_owned();
            text += &list("Via", "v", styles[0], &via_elements);
            text += &field("From", "f", styles[1], &format!("{from};tag={tag}"));
            text += &field("To", "t", styles[2], &to);
            text += &list("Route", "", styles[3], &routes);
            text += &field("Call-ID", "i", styles[4], &call_id);
            for (name, value) in &others {
                text += &field(name, "", styles[5], value);
            }
            text += &field("CSeq", "", styles[6], &format!("{number} INVITE"));
            text += &field("Content-Length", "l", styles[7], &body.len().to_string());
            text += "\r\n";
            let mut bytes = text.into_bytes();
            bytes.extend_from_slice(&body);
            Valid {
                bytes,
                call_id,
                number,
                tag,
                branches: vias.into_iter().map(|(branch, ..)| format!("z9hG4bK{branch}")).collect(),
                routes: routes.into_iter().map(|(route, _)| route).collect(),
                body,
            }
        },
    )
}

fn strings(message: &Message<'_>, name: HeaderName) -> Vec<String> {
    message.values(name).map(|value| crate::at(*message, value.span)).collect()
}

fn branches(message: &Message<'_>) -> Vec<String> {
    let branch = |value: switchtender_sip::Value| {
        Via::parse(value.span.of(message.bytes())).and_then(|via| via.branch).map(crate::text)
    };
    message.values(HeaderName::Via).filter_map(branch).collect()
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&parsed(&bytes).message(&bytes));
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        let bytes = pieces.concat();
        exercise(&parsed(&bytes).message(&bytes));
        let request = [&b"INVITE sip:a@b SIP/2.0\r\n"[..], &bytes, b"\r\n\r\n"].concat();
        exercise(&parsed(&request).message(&request));
    }

    #[test]
    fn damaged_messages_never_panic(valid in valid(), cut in any::<prop::sample::Index>(), damage in piece()) {
        let at = cut.index(valid.bytes.len());
        let (head, tail) = valid.bytes.split_at(at);
        for bytes in [head.to_vec(), tail.to_vec(), [head, &damage, tail].concat(), [head, &damage].concat()] {
            exercise(&parsed(&bytes).message(&bytes));
        }
    }

    #[test]
    fn an_index_read_with_other_bytes_never_panics(valid in valid(), other in prop::collection::vec(any::<u8>(), 0..200)) {
        let index = parsed(&valid.bytes);
        let message = index.message(&other);
        let _ = (message.validate(), message.uri(), message.body(), message.values(HeaderName::Via).count());
        let mut edits = Edits::new();
        forward(&mut edits, &message);
        let _ = edits.splice(&message, &mut Output::new(&mut [0; 4096]));
    }

    #[test]
    fn values_of_uris_never_panic(bytes in "\\PC{0,60}") {
        let text = bytes.as_bytes();
        let _ = (Via::parse(text), NameAddr::parse(text));
        if let Some(uri) = Uri::parse(text) {
            prop_assert!(uri.equivalent(&uri));
        }
    }

    #[test]
    fn valid_messages_are_read_as_written(valid in valid()) {
        crate::with(&valid.bytes, |message| {
            prop_assert_eq!(message.validate(), Ok(()));
            prop_assert_eq!(message.call_id().map(crate::text), Some(valid.call_id));
            prop_assert_eq!(message.cseq().map(|cseq| cseq.number), Some(valid.number));
            prop_assert_eq!(message.from_tag().map(crate::text), Some(valid.tag));
            prop_assert_eq!(branches(&message), valid.branches);
            prop_assert_eq!(strings(&message, HeaderName::Route), valid.routes);
            prop_assert_eq!(message.body(), &valid.body[..]);
            exercise(&message);
            Ok(())
        })?;
    }

    #[test]
    fn nothing_changed_is_written_as_received(valid in valid(), excess in prop::collection::vec(any::<u8>(), 0..9)) {
        let bytes = [&b"\r\n"[..], &valid.bytes, &excess].concat();
        crate::with(&bytes, |message| {
            let mut buffer = vec![0; 65_535];
            let mut output = Output::new(&mut buffer);
            prop_assert_eq!(Edits::new().splice(&message, &mut output), Ok(()));
            prop_assert_eq!(output.written(), &valid.bytes[..]);
            Ok(())
        })?;
    }

    #[test]
    fn a_forwarded_message_is_valid_and_forwards_back(valid in valid()) {
        let mut edits = Edits::new();
        let mut buffer = vec![0; 65_535];
        let mut output = Output::new(&mut buffer);
        crate::with(&valid.bytes, |message| {
            forward(&mut edits, &message);
            edits.splice(&message, &mut output)
        }).unwrap();
        let forwarded = output.written().to_vec();
        crate::with(&forwarded, |message| {
            prop_assert_eq!(message.validate(), Ok(()));
            prop_assert_eq!(message.max_forwards(), Some(69));
            prop_assert_eq!(message.uri_text(), Some(&b"sip:node"[..]));
            prop_assert_eq!(branches(&message), [&["z9hG4bKme".to_owned()], &valid.branches[..]].concat());
            prop_assert_eq!(strings(&message, HeaderName::Route), valid.routes.get(1..).unwrap_or_default());
            prop_assert_eq!(strings(&message, HeaderName::RecordRoute), ["<sip:me;lr>"]);
            prop_assert_eq!(message.call_id().map(crate::text), Some(valid.call_id));
            prop_assert_eq!(message.body(), &valid.body[..]);
            // The way back: our Via is the first and goes, the caller's is the first then.
            edits.clear();
            edits.remove_first(&message, HeaderName::Via, 1);
            let mut buffer = vec![0; 65_535];
            let mut output = Output::new(&mut buffer);
            prop_assert_eq!(edits.splice(&message, &mut output), Ok(()));
            crate::with(output.written(), |back| {
                prop_assert_eq!(branches(&back), valid.branches);
                Ok(())
            })
        })?;
    }

    #[test]
    fn each_removal_leaves_the_others(valid in valid(), which in any::<prop::sample::Index>()) {
        crate::with(&valid.bytes, |message| {
            let values: Vec<_> = message.values(HeaderName::Via).collect();
            let position = which.index(values.len());
            let removal = values[position].removal;
            let mut bytes = valid.bytes.clone();
            bytes.drain(usize::from(removal.start)..usize::from(removal.end));
            let mut expected = valid.branches.clone();
            expected.remove(position);
            crate::with(&bytes, |rest| {
                prop_assert_eq!(branches(&rest), expected);
                Ok(())
            })
        })?;
    }

    #[test]
    fn responses_are_valid(valid in valid()) {
        crate::with(&valid.bytes, |message| {
            let mut buffer = vec![0; 65_535];
            let mut output = Output::new(&mut buffer);
            let source = Some("198.51.100.1:7".parse().unwrap());
            let response = Response { code: 404, reason: b"Not Found", to_tag: Some(b"tt"), source, fields: b"" };
            prop_assert_eq!(respond(&message, &response, &mut output), Ok(()));
            crate::with(output.written(), |answer| {
                prop_assert_eq!(answer.validate(), Ok(()));
                prop_assert_eq!(answer.code(), Some(404));
                prop_assert_eq!(branches(&answer), valid.branches);
                prop_assert_eq!(answer.cseq(), message.cseq());
                prop_assert_eq!(answer.to_tag(), Some(&b"tt"[..]));
                prop_assert_eq!(answer.top_via().and_then(|via| via.received), Some([198, 51, 100, 1].into()));
                Ok(())
            })
        })?;
    }
}
