//! A stream gives the same frames however its bytes arrive, and its messages are those that the parser sees.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchtender_sip::stream::{Frame, Framer};
use switchtender_sip::{Error, Index};

fuzz_target!(|input: &[u8]| {
    // The first bytes say how the rest arrives.
    let (pieces, bytes) = input.split_at(input.len().min(4));
    let at_once = frames(bytes, &[bytes.len().max(1)]);
    let pieces: Vec<usize> = pieces.iter().map(|piece| usize::from(*piece) + 1).collect();
    if !pieces.is_empty() {
        assert_eq!(frames(bytes, &pieces), at_once);
    }
    let mut start = 0;
    for frame in at_once {
        if let Frame::Message(length) = frame {
            agree(&bytes[start..start + length]);
        }
        if let Frame::Message(length) | Frame::Ping(length) | Frame::Blank(length) = frame {
            start += length;
        }
    }
});

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
            Frame::Partial if end < bytes.len() => end = bytes.len().min(end + pieces.next().expect("endless")),
            Frame::Partial | Frame::Bad { .. } => {
                found.push(next);
                return found;
            }
        }
    }
}

/// The parser takes the frame for one message, whole, and nothing behind it.
fn agree(frame: &[u8]) {
    let mut index = Index::new();
    match index.parse(frame) {
        Ok(()) => assert_eq!(index.span().of(frame), frame),
        Err(error) => assert!(
            !matches!(error, Error::KeepAlive | Error::NotSip | Error::Unterminated | Error::Incomplete),
            "{error:?}"
        ),
    }
}
