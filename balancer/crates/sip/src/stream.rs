//! Where messages begin and end in a byte stream (RFC 3261 §7.5, §18.3; keep-alives of RFC 5626 §3.5.1). Knows lines and
//! Content-Length, nothing else of a message, and nothing of sockets, connections or time.
//!
//! Lines, folds and names are read as [`crate::Index`] reads them, since two readings of one stream would let a sender
//! hide one message within another. Where another stack might read a line end and we none, the stream is bad.
//!
//! ```
//! use switchtender_sip::stream::{Frame, Framer};
//!
//! let mut framer = Framer::new();
//! let mut buffered: &[u8] = b"\r\n\r\nSIP/2.0 200 OK\r\nl: 2\r\n\r\nhi\r\n";
//! let mut frames = Vec::new();
//! loop {
//!     match framer.next(buffered) {
//!         Frame::Ping(length) | Frame::Blank(length) | Frame::Message(length) => {
//!             frames.push(&buffered[..length]);
//!             buffered = &buffered[length..];
//!         }
//!         Frame::Partial => break, // read more behind what is buffered
//!         Frame::Bad { .. } => unreachable!(),
//!     }
//! }
//! assert_eq!(frames, [&b"\r\n\r\n"[..], b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nhi"]);
//! assert_eq!(buffered, b"\r\n"); // may yet become a ping
//! ```

use memchr::memchr;

use crate::text::{decimal, has_bare_nul, is_token, trim};
use crate::{Error, HeaderName, limits};

/// What the buffered bytes begin with. After a frame with a length the caller discards so many bytes and asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Not a whole frame yet: ask again with the same bytes and more behind them.
    Partial,
    /// A keep-alive of so many bytes, to be answered with CRLF (RFC 5626 §3.5.1).
    Ping(usize),
    /// So many bytes of line end before a message: the answer to a ping, or of no meaning (RFC 3261 §7.5).
    Blank(usize),
    /// One message of so many bytes, body included.
    Message(usize),
    /// The bytes are no SIP stream, or where the message ends cannot be known: the connection is of no more use.
    Bad {
        /// Why: one of [`Error::NotSip`], [`Error::ControlCharacter`], [`Error::MessageTooLong`] (the header fields
        /// pass [`limits::MESSAGE`]), [`Error::BodyTooLong`], and of Content-Length [`Error::Missing`],
        /// [`Error::Malformed`] or [`Error::Repeated`] with unlike values.
        error: Error,
        /// Length of start line and header fields where they are whole: enough to answer a request with
        /// [`Error::answer`] before the connection is closed.
        head: Option<usize>,
    },
}

/// Finds the frames of one direction of one connection. Remembers how far it has read, so that the cost is linear in
/// the bytes of the stream however they arrive; holds no bytes itself.
#[derive(Debug, Clone, Default)]
pub struct Framer {
    /// Where the start line, or the header field that is not yet read whole with its folds, begins.
    field: usize,
    /// Where the line that is not yet whole begins; past `field` in a fold.
    line: usize,
    /// That line does not end before this place.
    searched: usize,
    length: Length,
    found: Found,
}

/// What Content-Length said so far.
#[derive(Debug, Clone, Copy, Default)]
enum Length {
    #[default]
    Absent,
    Known(usize),
    Faulty(Error),
}

/// What is known of the frame as a whole.
#[derive(Debug, Clone, Copy, Default)]
enum Found {
    #[default]
    Nothing,
    /// The length of the message, whose body may yet be missing.
    Message(usize),
    Bad(Frame),
}

impl Framer {
    /// A framer at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What `buffered` begins with: all bytes of the stream that were received and not yet discarded. After
    /// [`Frame::Partial`] the same bytes must come again, with more behind them; after [`Frame::Bad`] nothing helps.
    pub fn next(&mut self, buffered: &[u8]) -> Frame {
        match self.found {
            Found::Nothing => {}
            Found::Message(length) => return self.message(buffered, length),
            Found::Bad(bad) => return bad,
        }
        if self.searched == 0
            && let Some(frame) = before_message(buffered)
        {
            return if matches!(frame, Frame::Bad { .. }) { self.bad(Error::NotSip, None) } else { frame };
        }
        let head = buffered.get(..limits::MESSAGE).unwrap_or(buffered);
        match self.head(head) {
            Err(error) => self.bad(error, None),
            Ok(Some(end)) => self.whole_head(buffered, end),
            Ok(None) if head.len() == limits::MESSAGE => self.bad(Error::MessageTooLong, None),
            Ok(None) => Frame::Partial,
        }
    }

    /// Reads on to the empty line; where the body begins, once that is known.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        while let Some(feed) = bytes.get(self.searched..).and_then(|rest| memchr(b'\n', rest)) {
            self.searched += feed;
            let next = self.searched + 1;
            let text = without_line_end(bytes.get(self.line..next).unwrap_or_default());
            if text.is_empty() && self.line == self.field {
                return Ok(Some(next));
            }
            if self.field == 0 {
                start_line(text)?;
            } else {
                // Whether the field goes on in a fold tells the next byte, and there is one: the empty line ends it.
                let Some(after) = bytes.get(next) else { return Ok(None) };
                control_characters(text)?;
                if matches!(after, b' ' | b'\t') {
                    (self.line, self.searched) = (next, next);
                    continue;
                }
                self.content_length(without_line_end(bytes.get(self.field..next).unwrap_or_default()));
            }
            (self.field, self.line, self.searched) = (next, next, next);
        }
        self.searched = bytes.len();
        Ok(None)
    }

    /// Notes the value of a Content-Length.
    fn content_length(&mut self, text: &[u8]) {
        if !matches!(text.first(), Some(b'c' | b'C' | b'l' | b'L')) {
            return;
        }
        let Some((HeaderName::ContentLength, value)) = crate::index::name_and_value(text) else {
            return;
        };
        let value = decimal(trim(value)).and_then(|length| usize::try_from(length).ok());
        self.length = match (self.length, value) {
            (Length::Faulty(error), _) => Length::Faulty(error),
            (_, None) => Length::Faulty(Error::Malformed(HeaderName::ContentLength)),
            (Length::Known(one), Some(other)) if one != other => {
                Length::Faulty(Error::Repeated(HeaderName::ContentLength))
            }
            (_, Some(length)) => Length::Known(length),
        };
    }

    fn whole_head(&mut self, buffered: &[u8], end: usize) -> Frame {
        match self.length {
            Length::Absent => self.bad(Error::Missing(HeaderName::ContentLength), Some(end)),
            Length::Faulty(error) => self.bad(error, Some(end)),
            Length::Known(body) => match end.checked_add(body).filter(|length| *length <= limits::MESSAGE) {
                Some(length) => self.message(buffered, length),
                None => self.bad(Error::BodyTooLong, Some(end)),
            },
        }
    }

    fn message(&mut self, buffered: &[u8], length: usize) -> Frame {
        if buffered.len() < length {
            self.found = Found::Message(length);
            return Frame::Partial;
        }
        *self = Self::new();
        Frame::Message(length)
    }

    fn bad(&mut self, error: Error, head: Option<usize>) -> Frame {
        let bad = Frame::Bad { error, head };
        self.found = Found::Bad(bad);
        bad
    }
}

/// What may stand between messages; `None` when a message begins. Depends on nothing but the bytes, not on how many of
/// them have arrived: so a CRLF waits for the byte that tells whether it is half a ping.
fn before_message(buffered: &[u8]) -> Option<Frame> {
    let [first, rest @ ..] = buffered else {
        return Some(Frame::Partial);
    };
    let frame = match (first, rest) {
        (b'\n', _) => Frame::Blank(1),
        (b'\r', [] | [b'\n'] | [b'\n', b'\r']) => Frame::Partial,
        (b'\r', [b'\n', b'\r', b'\n', ..]) => Frame::Ping(4),
        (b'\r', [b'\n', ..]) => Frame::Blank(2),
        _ if is_token(&[*first]) => return None,
        _ => Frame::Bad { error: Error::NotSip, head: None },
    };
    Some(frame)
}

/// Whether this line may begin a message: `SIP/…`, or with `SIP/…` at its end.
fn start_line(text: &[u8]) -> Result<(), Error> {
    control_characters(text)?;
    let is_version = |word: &[u8]| word.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"));
    let last = crate::text::trim_end(text).rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    if is_version(text) || (last.len() < text.len() && is_version(last)) { Ok(()) } else { Err(Error::NotSip) }
}

fn control_characters(text: &[u8]) -> Result<(), Error> {
    if memchr(b'\r', text).is_some() || has_bare_nul(text) { Err(Error::ControlCharacter) } else { Ok(()) }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
