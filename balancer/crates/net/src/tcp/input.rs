//! What a connection received and nobody has handled yet.

use switchtender_sip::Error;
use switchtender_sip::stream::{Frame, Framer};

use super::buffers::Spares;

/// Bytes read at once where nothing is held back.
const READ: usize = 16 << 10;
/// Room behind what is held of a message.
const MORE: usize = 4 << 10;

/// The next thing in a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed<'a> {
    Message(&'a [u8]),
    /// To be answered with CRLF (RFC 5626 §3.5.1).
    Ping,
    /// The stream is of no more use; the head of the message that made it so, where it is whole.
    Bad(Error, &'a [u8]),
}

/// Received bytes from the first that is not handled yet, and how far they are understood.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    framer: Framer,
}

impl Input {
    /// Room to read into; [`Input::received`] tells how much of it was used.
    pub(crate) fn room(&mut self, spares: &mut Spares) -> &mut [u8] {
        let wanted = (self.end + MORE).max(READ);
        if self.bytes.len() < wanted {
            let mut larger = spares.take(wanted);
            if larger.len() > self.bytes.len() {
                if let (Some(to), Some(held)) = (larger.get_mut(..self.end), self.bytes.get(..self.end)) {
                    to.copy_from_slice(held);
                }
                std::mem::swap(&mut self.bytes, &mut larger);
            }
            spares.give(larger);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.bytes.len());
    }

    /// The next whole thing; `None` when more must be read first.
    pub(crate) fn next(&mut self) -> Option<Framed<'_>> {
        loop {
            let rest = self.bytes.get(self.start..self.end).unwrap_or_default();
            if rest.is_empty() {
                return None;
            }
            match self.framer.next(rest) {
                Frame::Partial => return None,
                Frame::Blank(length) => self.start += length,
                Frame::Ping(length) => {
                    self.start += length;
                    return Some(Framed::Ping);
                }
                Frame::Message(length) => {
                    self.start += length;
                    return Some(Framed::Message(rest.get(..length).unwrap_or(rest)));
                }
                Frame::Bad { error, head } => {
                    // Nothing that follows means anything.
                    self.end = self.start;
                    return Some(Framed::Bad(error, head.and_then(|length| rest.get(..length)).unwrap_or_default()));
                }
            }
        }
    }

    /// Whether a message has begun and is not whole. Line ends alone are no message: a peer may keep a connection alive
    /// with them for ever.
    pub(crate) fn is_partial(&self) -> bool {
        let held = self.bytes.get(self.start..self.end).unwrap_or_default();
        held.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Handled for now: keep what is left in the smallest buffer that holds it.
    pub(crate) fn park(&mut self, spares: &mut Spares) {
        let held = self.end - self.start;
        if held == 0 {
            spares.give(std::mem::take(&mut self.bytes));
        } else {
            self.bytes.copy_within(self.start..self.end, 0);
            let mut smaller = if self.bytes.len() > READ && held > READ { Box::default() } else { spares.take(held) };
            if smaller.len() < self.bytes.len()
                && let (Some(to), Some(left)) = (smaller.get_mut(..held), self.bytes.get(..held))
            {
                to.copy_from_slice(left);
                std::mem::swap(&mut self.bytes, &mut smaller);
            }
            spares.give(smaller);
        }
        (self.start, self.end) = (0, held);
    }

    /// The connection is no more.
    pub(crate) fn discard(mut self, spares: &mut Spares) {
        spares.give(std::mem::take(&mut self.bytes));
    }

    #[cfg(test)]
    pub(crate) fn holds(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: usize) -> Vec<u8> {
        let mut text = format!("MESSAGE sip:a@b SIP/2.0\r\nv: x\r\nl: {body}\r\n\r\n").into_bytes();
        text.extend(std::iter::repeat_n(b'x', body));
        text
    }

    /// Feed a stream in pieces; what came out, in order.
    fn feed(stream: &[u8], pieces: impl Iterator<Item = usize>) -> (Vec<Vec<u8>>, Input, Spares) {
        let (mut input, mut spares, mut found) = (Input::default(), Spares::default(), Vec::new());
        let mut rest = stream;
        for piece in pieces {
            if rest.is_empty() {
                break;
            }
            let room = input.room(&mut spares);
            let count = piece.min(rest.len()).min(room.len());
            assert!(count > 0, "there is always room");
            room[..count].copy_from_slice(&rest[..count]);
            input.received(count);
            rest = &rest[count..];
            while let Some(framed) = input.next() {
                match framed {
                    Framed::Message(bytes) => found.push(bytes.to_vec()),
                    Framed::Ping => found.push(b"ping".to_vec()),
                    Framed::Bad(error, _) => found.push(format!("{error:?}").into_bytes()),
                }
            }
            input.park(&mut spares);
        }
        assert!(rest.is_empty());
        (found, input, spares)
    }

    proptest! {
        /// However a stream is cut, the same messages come out, and between messages nothing is held.
        #[test]
        fn every_split_gives_the_same(
            bodies in prop::collection::vec(prop_oneof![0..200_usize, 0..20_000_usize, Just(65_000)], 1..6),
            pieces in prop::collection::vec(1..30_000_usize, 1..40),
        ) {
            let expected: Vec<_> = bodies.iter().map(|body| message(*body)).collect();
            let stream = expected.concat();
            let (found, input, _) = feed(&stream, pieces.into_iter().cycle());
            prop_assert_eq!(found, expected);
            prop_assert_eq!((input.holds(), input.is_partial()), (0, false));
        }
    }

    #[test]
    fn byte_by_byte_with_pings_between() {
        let stream = [&b"\r\n\r\n"[..], &message(3), b"\r\n", &message(0), b"\r\n\r\n"].concat();
        let (found, input, _) = feed(&stream, std::iter::repeat(1));
        assert_eq!(found, [b"ping".to_vec(), message(3), message(0), b"ping".to_vec()]);
        assert_eq!(input.holds(), 0);
    }

    #[test]
    fn what_is_left_waits_in_a_small_buffer_and_line_ends_are_no_message() {
        let (found, mut input, mut spares) = feed(b"INVITE sip:a@b SIP/2.0\r\nl: 1", std::iter::once(100));
        assert!(found.is_empty() && input.is_partial());
        assert_eq!(input.holds(), 2048);
        input.room(&mut spares);
        assert_eq!(input.holds(), READ);
        let (_, input, _) = feed(b"\r\n", std::iter::once(2));
        assert!(!input.is_partial());
    }

    #[test]
    fn after_what_is_no_sip_nothing_is_read() {
        let stream = [&b"GET / HTTP/1.1\r\n\r\n"[..], &message(0)].concat();
        let (found, ..) = feed(&stream, std::iter::repeat(4096));
        assert_eq!(found, [b"NotSip".to_vec()]);
    }

    #[test]
    fn a_promise_too_large_is_refused_by_its_head() {
        let (mut input, mut spares) = (Input::default(), Spares::default());
        let head = b"MESSAGE sip:a@b SIP/2.0\r\nl: 4000000000\r\n\r\n";
        input.room(&mut spares)[..head.len()].copy_from_slice(head);
        input.received(head.len());
        assert_eq!(input.next(), Some(Framed::Bad(Error::BodyTooLong, head)));
        assert_eq!(input.next(), None);
        assert_eq!(input.holds(), READ, "nothing was made ready for what was promised");
    }
}
