//! Framing: the same frames however the bytes arrive, and the same reading as the parser's.

use proptest::prelude::*;
use switchtender_sip::stream::{Frame, Framer};
use switchtender_sip::{Error, HeaderName, Index, limits};

/// A message with these header lines and this body.
fn message(fields: &str, body: &str) -> Vec<u8> {
    format!("MESSAGE sip:b@example.net SIP/2.0\r\n{fields}\r\n{body}").into_bytes()
}

/// The frame that `bytes` begin with, when they come all at once.
fn frame(bytes: impl AsRef<[u8]>) -> Frame {
    Framer::new().next(bytes.as_ref())
}

/// All frames of a stream that arrives in pieces of these sizes, over and over; the last is what it ended in.
fn frames(bytes: &[u8], pieces: &[usize]) -> Vec<Frame> {
    let mut framer = Framer::new();
    let (mut start, mut end) = (0, 0);
    let mut found = Vec::new();
    let mut pieces = pieces.iter().cycle();
    loop {
        let next = framer.next(&bytes[start..end]);
        match next {
            Frame::Ping(length) | Frame::Blank(length) | Frame::Message(length) => {
                assert!(length > 0 && start + length <= end);
                start += length;
                found.push(next);
            }
            Frame::Partial if end < bytes.len() => end = bytes.len().min(end + pieces.next().unwrap()),
            Frame::Partial | Frame::Bad { .. } => {
                assert_eq!(framer.next(&bytes[start..end]), next, "asked twice, answered alike");
                found.push(next);
                return found;
            }
        }
    }
}

#[test]
fn a_message_ends_with_its_body() {
    let whole = message("Content-Length: 5\r\n", "hello");
    assert_eq!(frame(&whole), Frame::Message(whole.len()));
    assert_eq!(frame([&whole[..], b"MORE"].concat()), Frame::Message(whole.len()));
    for short in 1..whole.len() {
        assert_eq!(frame(&whole[..short]), Frame::Partial, "{short}");
    }
    let empty = message("l: 0\r\n", "");
    assert_eq!(frame(&empty), Frame::Message(empty.len()));
}

#[test]
fn the_length_in_every_spelling() {
    for field in [
        "Content-Length: 3",
        "l:3",
        "L : 3",
        "CONTENT-LENGTH\t: 3 ",
        "Content-Length:\r\n 3",
        "Subject: x\r\nl: 003\r\nVia: y",
        "Subject: x\r\n Content-Length: 9\r\nl: 3",
        "l: 3\r\nContent-Length: 3",
        "no field at all\r\nl: 3",
    ] {
        let whole = message(&format!("{field}\r\n"), "abc");
        assert_eq!(frame(&whole), Frame::Message(whole.len()), "{field}");
        let bare = String::from_utf8(whole).unwrap().replace("\r\n", "\n");
        assert_eq!(frame(&bare), Frame::Message(bare.len()), "{field}, bare line feeds");
    }
}

#[test]
fn keep_alives_between_messages() {
    let whole = message("l: 0\r\n", "");
    let length = whole.len();
    let stream = [b"\r\n\r\n", &whole[..], b"\r\n", &whole, b"\r\n\r\n\r\n\n", &whole].concat();
    let expected = [
        Frame::Ping(4),
        Frame::Message(length),
        Frame::Blank(2),
        Frame::Message(length),
        Frame::Ping(4),
        Frame::Blank(2),
        Frame::Blank(1),
        Frame::Message(length),
        Frame::Partial,
    ];
    assert_eq!(frames(&stream, &[stream.len()]), expected);
    assert_eq!(frames(&stream, &[1]), expected);
    // Half a ping may be the answer to one of ours: the byte behind it tells.
    for waiting in ["", "\r", "\r\n", "\r\n\r"] {
        assert_eq!(frame(waiting), Frame::Partial, "{waiting:?}");
    }
}

#[test]
fn a_length_is_needed_and_must_be_one() {
    let verdict = |fields: &str| {
        let whole = message(fields, "abc");
        match frame(&whole) {
            Frame::Bad { error, head: Some(head) } => {
                assert_eq!(head, whole.len() - 3);
                error
            }
            other => panic!("{other:?}"),
        }
    };
    let name = HeaderName::ContentLength;
    assert_eq!(verdict("Subject: x\r\n"), Error::Missing(name));
    assert_eq!(verdict(""), Error::Missing(name));
    assert_eq!(verdict(" Content-Length: 3\r\n"), Error::Missing(name), "no fold of the start line");
    for value in ["", "-3", "+3", "3 3", "3,3", "0x3", "three", "99999999999999999999"] {
        assert_eq!(verdict(&format!("l: {value}\r\n")), Error::Malformed(name), "{value:?}");
    }
    assert_eq!(verdict("l: 3\r\nContent-Length: 4\r\n"), Error::Repeated(name));
    assert_eq!(verdict("l: 4\r\nl: 3\r\nl: 4\r\n"), Error::Repeated(name));
}

#[test]
fn what_is_no_sip_is_known_at_once_or_at_its_first_line_end() {
    let bad = |error| Frame::Bad { error, head: None };
    // A TLS client, HTTP, a NUL keep-alive, a CR that ends no line.
    for bytes in
        ["\x16\x03\x01", "GET / HTTP/1.1\r\n", "\0", "\rX", "\r\r", "INVITE\r\n", "INVITE sip:h HTTP/1.0\n", " "]
    {
        assert_eq!(frame(bytes), bad(Error::NotSip), "{bytes:?}");
    }
    assert_eq!(frame("SIP/2.0 200 OK\r\n"), Frame::Partial);
    // Other readers would see a line end there, and in it perhaps another length.
    for field in ["X: a\rl: 9\r\n", "X: a\r\n b\0\r\n", "X: a\r\r\n"] {
        assert_eq!(frame(message(&format!("{field}l: 0\r\n"), "")), bad(Error::ControlCharacter), "{field:?}");
    }
    assert_eq!(frame("INVITE sip:h\r SIP/2.0\r\n"), bad(Error::ControlCharacter));
}

#[test]
fn the_largest_message_and_one_byte_more() {
    let sized = |total: usize| {
        let head = message("Content-Length: 65000\r\n", "").len();
        message(&format!("Content-Length: {:05}\r\n", total - head), &"x".repeat(total - head))
    };
    let largest = sized(limits::MESSAGE);
    assert_eq!(frame(&largest), Frame::Message(limits::MESSAGE));
    let head = message("Content-Length: 65000\r\n", "").len();
    assert_eq!(frame(sized(limits::MESSAGE + 1)), Frame::Bad { error: Error::BodyTooLong, head: Some(head) });
    assert_eq!(frame(message("l: 4294967295\r\n", "")), Frame::Bad { error: Error::BodyTooLong, head: Some(52) });

    let lines = |total: usize| {
        let rest = total - message("l: 0\r\nX: \r\n", "").len();
        message(&format!("l: 0\r\nX: {}\r\n", "x".repeat(rest)), "")
    };
    assert_eq!(frame(lines(limits::MESSAGE)), Frame::Message(limits::MESSAGE));
    let endless = lines(limits::MESSAGE + 1);
    let too_long = Frame::Bad { error: Error::MessageTooLong, head: None };
    assert_eq!(frame(&endless), too_long);
    assert_eq!(frame(&endless[..limits::MESSAGE]), too_long);
    assert_eq!(frame(&endless[..limits::MESSAGE - 1]), Frame::Partial);
    assert_eq!(frames(&endless, &[1]), [too_long]);
}

#[test]
fn a_fault_within_one_message_leaves_the_next_alone() {
    // Not ours to judge here: the parser answers 400, 513, 505, and the stream goes on.
    let faulty = [
        message("no colon\r\nl: 0\r\n", ""),
        message(&format!("{}l: 0\r\n", "X: x\r\n".repeat(limits::HEADERS + 1)), ""),
        b"INVITE sip:h SIP/7.0\r\nl: 0\r\n\r\n".to_vec(),
        b"SIP/2.0 9999999 better not\r\nl: 0\r\n\r\n".to_vec(),
    ];
    for bytes in &faulty {
        assert_eq!(frame(bytes), Frame::Message(bytes.len()));
        assert!(Index::new().parse(bytes).is_err());
    }
}

/// A piece of a stream that is fit to stand anywhere in it.
fn good_piece() -> impl Strategy<Value = (Vec<u8>, Frame)> {
    let field = prop_oneof![
        Just("Subject: a\r\n b".to_owned()),
        Just("v: SIP/2.0/UDP h;branch=z9hG4bK1".to_owned()),
        "[a-zA-Z-]{1,12}[ \t]{0,2}:[ -~]{0,30}",
    ]
    .prop_filter("another length", |field| !matches!(field.as_bytes().first(), Some(b'c' | b'C' | b'l' | b'L')));
    let lengths = prop_oneof![Just("Content-Length: "), Just("l:"), Just("CONTENT-length \t:\r\n\t ")];
    let fields = prop::collection::vec(field, 0..6);
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let message = (fields, lengths, body, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut fields, length, body, position, feed)| {
            fields.insert(position.index(fields.len() + 1), format!("{length}{}", body.len()));
            let head = format!("SIP/2.0 200 OK\r\n{}\r\n\r\n", fields.join("\r\n"));
            let head = if feed { head.replace("\r\n", "\n") } else { head };
            let bytes = [head.as_bytes(), &body].concat();
            let frame = Frame::Message(bytes.len());
            (bytes, frame)
        },
    );
    prop_oneof![4 => message, 1 => Just((b"\r\n\r\n".to_vec(), Frame::Ping(4)))]
}

proptest! {
    #[test]
    fn any_split_gives_the_frames_that_were_sent(
        sent in prop::collection::vec(good_piece(), 0..6),
        pieces in prop::collection::vec(1usize..40, 1..20),
    ) {
        let stream: Vec<u8> = sent.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut expected: Vec<Frame> = sent.iter().map(|(_, frame)| *frame).collect();
        expected.push(Frame::Partial);
        prop_assert_eq!(frames(&stream, &[stream.len().max(1)]), expected.clone());
        prop_assert_eq!(frames(&stream, &pieces), expected);
    }

    #[test]
    fn any_bytes_give_the_same_frames_under_any_split(
        bytes in "(SIP/2.0 200 OK|A b SIP/2.0|[ -~\r\n\0]{0,20})(\r\n|\n)([a-z: \r\n0-9\t]|l: [0-9]|\r\n|\n|\r\n\r\n){0,40}",
        pieces in prop::collection::vec(1usize..9, 1..20),
    ) {
        let at_once = frames(bytes.as_bytes(), &[bytes.len().max(1)]);
        prop_assert_eq!(frames(bytes.as_bytes(), &[1]), at_once.clone());
        prop_assert_eq!(frames(bytes.as_bytes(), &pieces), at_once);
    }

    #[test]
    fn the_parser_sees_the_same_end(
        bytes in "(SIP/2.0 200 OK|A b SIP/2.0)(\r\n|\n)([a-z]{1,3}:|l: ?[0-9]|[ \t]|\r\n|\n){0,40}(\r\n\r\n|\n\n)[a-z]{0,9}",
    ) {
        if let Frame::Message(length) = frame(&bytes) {
            let frame = &bytes.as_bytes()[..length];
            let mut index = Index::new();
            match index.parse(frame) {
                Ok(()) => prop_assert_eq!(index.span().of(frame), frame),
                Err(error) => prop_assert!(!matches!(error, Error::Unterminated | Error::Incomplete | Error::NotSip)),
            }
        }
    }
}
