//! Whatever bytes come: the parser finds its way, what it found can be read, and what is written can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchtender_sip::stream::{Frame, Framer};
use switchtender_sip::{
    Answer, Edits, Error, HeaderName, Index, Kind, Message, NameAddr, Output, Response, Span, Via, ack, cancel, respond,
};

const NAMES: [HeaderName; 12] = [
    HeaderName::Via,
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::Path,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::Contact,
    HeaderName::ContentLength,
    HeaderName::ProxyRequire,
    HeaderName::Other,
];

fuzz_target!(|bytes: &[u8]| {
    let mut index = Index::new();
    let parsed = index.parse(bytes);
    let message = index.message(bytes);
    let checked = parsed.and_then(|()| message.validate());
    read(&message);
    if let Err(error) = checked
        && message.code().is_some()
    {
        assert!(!matches!(message.answer(error), Answer::Respond { .. }), "a response is never answered");
    }
    write(&message, checked);
    agree_with_the_framer(bytes, &message, parsed);
});

fn within(message: &Message<'_>, span: Span) {
    assert!(span.start <= span.end && usize::from(span.end) <= message.bytes().len(), "{span:?}");
}

fn read(message: &Message<'_>) {
    let mut end = message.index().fields().start;
    for header in message.headers() {
        within(message, header.field);
        within(message, header.value);
        assert!(header.field.start >= end, "fields do not overlap");
        end = header.field.end;
        let name = message.name_text(header);
        assert!(!name.is_empty());
        assert!(message.field(name).is_some(), "a field is found by its own name");
    }
    for name in NAMES {
        let mut end = 0;
        for value in message.values(name) {
            within(message, value.span);
            within(message, value.removal);
            assert!(value.span.start >= end && !value.span.is_empty());
            end = value.span.end;
            let text = value.span.of(message.bytes());
            let _ = (Via::parse(text), NameAddr::parse(text).and_then(|address| address.uri()));
        }
    }
    let _ = (message.auth_user(), message.replaces(), message.join(), message.cseq(), message.max_forwards());
    for span in [message.index().span(), message.index().fields(), message.body_span()] {
        within(message, span);
    }
}

/// Everything the proxy writes about a message; where the message was sound, what is written is sound, too.
fn write(message: &Message<'_>, checked: Result<(), Error>) {
    let mut buffer = vec![0; 80_000];
    let source = "192.0.2.1:9".parse().expect("an address");
    let mut edits = Edits::new();
    edits.set_source(message, source);
    edits.push_field(message, HeaderName::Via, |output| output.bytes(b"SIP/2.0/UDP me;branch=z9hG4bKme"));
    edits.push_field(message, HeaderName::RecordRoute, |output| output.bytes(b"<sip:me;lr>"));
    edits.remove_first(message, HeaderName::Route, 1);
    edits.set_max_forwards(message, 69);
    edits.set_uri(message, |output| output.bytes(b"sip:node"));
    let mut output = Output::new(&mut buffer);
    if edits.splice(message, &mut output).is_ok() && checked.is_ok() && message.index().span().len() < 60_000 {
        again(output.written(), |forwarded| {
            assert_eq!(forwarded.call_id(), message.call_id());
            assert_eq!(forwarded.values(HeaderName::Via).count(), message.values(HeaderName::Via).count() + 1);
            let routes = message.values(HeaderName::Route).count();
            assert_eq!(forwarded.values(HeaderName::Route).count(), routes.saturating_sub(1));
            assert_eq!(forwarded.max_forwards(), Some(69));
            assert_eq!(forwarded.body(), message.body());
        });
    }
    if !matches!(message.kind(), Kind::Request { .. }) {
        return;
    }
    let answer = Response { code: 486, reason: b"Busy Here", to_tag: Some(b"t"), source: Some(source), fields: b"" };
    let mut output = Output::new(&mut buffer);
    if respond(message, &answer, &mut output).is_ok() && checked.is_ok() {
        again(output.written(), |response| {
            assert_eq!(response.code(), Some(486));
            assert!(response.to_tag().is_some());
            assert_eq!(response.values(HeaderName::Via).count(), message.values(HeaderName::Via).count());
        });
    }
    let mut output = Output::new(&mut buffer);
    if ack(message, message, &mut output).is_ok() && checked.is_ok() {
        again(output.written(), |ack| assert_eq!(ack.call_id(), message.call_id()));
    }
    let mut output = Output::new(&mut buffer);
    if cancel(message, b"", &mut output).is_ok() && checked.is_ok() {
        again(output.written(), |cancel| assert_eq!(cancel.from_tag(), message.from_tag()));
    }
}

/// What we wrote parses; more header fields than a message may have are the one excuse.
#[track_caller]
fn again(bytes: &[u8], check: impl FnOnce(&Message<'_>)) {
    let mut index = Index::new();
    match index.parse(bytes) {
        Err(
            Error::TooManyHeaders
            | Error::FieldTooLong
            | Error::UriTooLong
            | Error::MessageTooLong
            | Error::BodyTooLong,
        ) => {}
        parsed => {
            let message = index.message(bytes);
            let checked = parsed.and_then(|()| message.validate());
            assert_eq!(checked, Ok(()), "{}", String::from_utf8_lossy(bytes));
            check(&message);
        }
    }
}

/// A datagram and a stream of the same bytes hold the same first message.
fn agree_with_the_framer(bytes: &[u8], message: &Message<'_>, parsed: Result<(), Error>) {
    let start = usize::from(message.index().span().start);
    let Some(bytes) = bytes.get(start..) else { return };
    if let Frame::Message(length) = Framer::new().next(bytes)
        && parsed.is_ok()
    {
        assert_eq!(length, message.index().span().len());
    }
}
