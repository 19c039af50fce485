//! The index: one pass over a datagram that notes where things are. Understands line structure only; what a value
//! means is for [`crate::Message`].

#[cfg(test)]
mod model;

use crate::scan::{find, find_below};
use crate::span::offset;
use crate::text::{decimal, has_bare_nul, is_lws, is_token, trim_end, trim_start};
use crate::{Error, HeaderName, Message, Method, Span, limits};

/// What the start line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Nothing was parsed, or what was parsed is not SIP.
    #[default]
    Unknown,
    /// A request.
    Request {
        /// The method.
        method: Method,
        /// Its text.
        method_span: Span,
        /// The Request-URI.
        uri: Span,
    },
    /// `status` spans code, blank and reason phrase.
    Response {
        /// Status code, in 100–699.
        code: u16,
        /// Code, blank and reason phrase.
        status: Span,
        /// Reason phrase, may be empty.
        reason: Span,
    },
}

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which field.
    pub name: HeaderName,
    /// The whole field: name, value, folds and the final line end.
    pub field: Span,
    /// The value without white space around it; may contain folds.
    pub value: Span,
}

const ABSENT: u8 = u8::MAX;
const NO_HEADER: Header =
    Header { name: HeaderName::Other, field: Span { start: 0, end: 0 }, value: Span { start: 0, end: 0 } };

/// Where the parts of one message are. Fixed in size (about 1.4 KB) and reusable: keep one per worker.
#[derive(Debug, Clone)]
pub struct Index {
    kind: Kind,
    headers: [Header; limits::HEADERS],
    count: u8,
    /// Position in `headers` of the first field of each name.
    first: [u8; HeaderName::COUNT],
    /// One bit for each name that stands more than once.
    repeated: u32,
    fields: Span,
    body: Span,
    start: u16,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An index of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kind: Kind::Unknown,
            headers: [NO_HEADER; limits::HEADERS],
            count: 0,
            first: [ABSENT; HeaderName::COUNT],
            repeated: 0,
            fields: Span { start: 0, end: 0 },
            body: Span { start: 0, end: 0 },
            start: 0,
        }
    }

    /// Indexes one datagram in linear time.
    ///
    /// # Errors
    /// The first fault found, see the table in the crate's documentation. All that could be indexed is indexed even so,
    /// so that a response can be built. Whether the fields that must be there are, and parse, says
    /// [`Message::validate`].
    pub fn parse(&mut self, datagram: &[u8]) -> Result<(), Error> {
        self.clear();
        let bytes = datagram.get(..limits::MESSAGE).unwrap_or(datagram);
        let too_long = datagram.len() > limits::MESSAGE;
        let Some(start) = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else {
            return Err(Error::KeepAlive);
        };
        self.start = offset(start);
        // Without any line end the start line reaches to the end, and no header field follows.
        let line = Line::read(bytes, start).unwrap_or_else(|| Line::without_end(bytes, start));
        self.fields = Span::new(line.next, line.next);
        self.body = self.fields;
        let mut fault = self.start_line(bytes, start, line);
        if self.kind == Kind::Unknown {
            let blank = bytes.iter().all(|byte| is_lws(*byte) || *byte == 0);
            return if blank { Err(Error::KeepAlive) } else { fault };
        }
        let fields = self.header_fields(bytes, line);
        if !fields.clean {
            self.clear();
            return Err(Error::ControlCharacter);
        }
        fault = fault.and(fields.fault);
        if !fields.terminated {
            return fault.and(Err(if too_long { Error::MessageTooLong } else { Error::Unterminated }));
        }
        fault.and(self.body(bytes, fields.next, too_long))
    }

    /// Forgets the message, but not the fields, which `count` hides.
    fn clear(&mut self) {
        self.kind = Kind::Unknown;
        self.count = 0;
        self.first = [ABSENT; HeaderName::COUNT];
        self.repeated = 0;
        self.fields = Span::default();
        self.body = Span::default();
        self.start = 0;
    }

    fn start_line(&mut self, bytes: &[u8], start: usize, line: Line) -> Result<(), Error> {
        let text = bytes.get(start..line.end).unwrap_or_default();
        let parsed = if text.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"SIP/")) {
            self.status_line(text, start)
        } else {
            self.request_line(text, start)
        };
        if self.kind == Kind::Unknown {
            return parsed;
        }
        if text.len() > limits::FIELD { Err(Error::UriTooLong) } else { parsed }
    }

    fn request_line(&mut self, text: &[u8], start: usize) -> Result<(), Error> {
        let trimmed = trim_end(text);
        let uri_end = match trimmed.strip_suffix(b" SIP/2.0") {
            Some(before) => Some(before.len()),
            None => trimmed.iter().rposition(|byte| *byte == b' '),
        };
        let (Some(method_end), Some(uri_end)) = (find(b' ', trimmed), uri_end) else {
            return Err(Error::NotSip);
        };
        let version = trimmed.get(uri_end + 1..).unwrap_or_default();
        let version = version.split_at_checked(4).filter(|(name, _)| name.eq_ignore_ascii_case(b"SIP/"));
        let Some((_, number)) = version else {
            return Err(Error::NotSip);
        };
        let method_text = text.get(..method_end).unwrap_or_default();
        let method = Method::from_bytes(method_text);
        let uri = text.get(method_end + 1..uri_end).unwrap_or_default();
        self.kind = Kind::Request {
            method,
            method_span: Span::new(start, start + method_end),
            uri: Span::new(start + method_end + 1, start + method_end + 1 + uri.len()),
        };
        if number != b"2.0" {
            return Err(Error::Version);
        }
        // White space is below `!`, and so is nothing that stands in most URIs.
        let parted = || find_below::<b'!'>(uri).is_some() && uri.iter().any(|byte| is_lws(*byte));
        let whole = trimmed.len() == text.len() && !uri.is_empty() && !parted();
        let named = || method != Method::Other || is_token(method_text);
        if whole && named() { Ok(()) } else { Err(Error::RequestLine) }
    }

    fn status_line(&mut self, text: &[u8], start: usize) -> Result<(), Error> {
        let code = text.get(8..11).and_then(decimal).and_then(|code| u16::try_from(code).ok());
        let separated = text.get(7) == Some(&b' ') && text.get(11).is_none_or(|byte| *byte == b' ');
        let Some(code) = code.filter(|code| separated && (100..700).contains(code)) else {
            return Err(Error::StatusLine);
        };
        self.kind = Kind::Response {
            code,
            status: Span::new(start + 8, start + text.len()),
            reason: Span::new(start + text.len().min(12), start + text.len()),
        };
        if text.get(4..7) == Some(b"2.0") { Ok(()) } else { Err(Error::Version) }
    }

    fn header_fields(&mut self, bytes: &[u8], start_line: Line) -> Fields {
        let mut fields = Fields { fault: Ok(()), next: start_line.next, terminated: false, clean: start_line.clean };
        let mut start = fields.next;
        while let Some(line) = Line::read(bytes, fields.next) {
            self.fields.end = offset(start);
            fields.clean &= line.clean;
            fields.next = line.next;
            if line.end == start {
                fields.terminated = true;
                break;
            }
            if let Some(b' ' | b'\t') = bytes.get(line.next) {
                continue; // a fold: the field goes on
            }
            let result = self.header_field(bytes, start, line);
            fields.fault = fields.fault.and(result);
            if result == Err(Error::TooManyHeaders) {
                break;
            }
            start = line.next;
        }
        fields
    }

    #[inline]
    fn header_field(&mut self, bytes: &[u8], start: usize, line: Line) -> Result<(), Error> {
        let text = bytes.get(start..line.end).unwrap_or_default();
        if line.next - start > limits::FIELD {
            return Err(Error::FieldTooLong);
        }
        let Some((name, value)) = name_and_value(text) else {
            return Err(Error::HeaderLine);
        };
        let value = trim_start(value);
        let at = text.len() - value.len();
        let value = trim_end(value);
        let Some(slot) = self.headers.get_mut(usize::from(self.count)) else {
            return Err(Error::TooManyHeaders);
        };
        *slot =
            Header { name, field: Span::new(start, line.next), value: Span::new(start + at, start + at + value.len()) };
        let first = &mut self.first[name as usize];
        if *first == ABSENT {
            *first = self.count;
        } else {
            self.repeated |= 1 << name as u32;
        }
        self.count += 1;
        Ok(())
    }

    /// RFC 3261 §18.3: without Content-Length the body reaches to the end of the datagram; bytes past it are discarded;
    /// fewer bytes than it says are an error.
    fn body(&mut self, bytes: &[u8], start: usize, too_long: bool) -> Result<(), Error> {
        self.body = Span::new(start, bytes.len());
        if too_long {
            return Err(Error::BodyTooLong);
        }
        let Some(header) = self.first(HeaderName::ContentLength) else {
            return Ok(());
        };
        let Some(length) = decimal(header.value.of(bytes)).and_then(|length| usize::try_from(length).ok()) else {
            return Err(Error::Malformed(HeaderName::ContentLength));
        };
        if length > bytes.len() - start {
            return Err(Error::Incomplete);
        }
        self.body.end = offset(start + length);
        Ok(())
    }

    /// What the start line says; [`Kind::Unknown`] before the first [`Index::parse`].
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// All fields in the order received.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        self.headers.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The first field of that name, in constant time.
    #[must_use]
    pub fn first(&self, name: HeaderName) -> Option<&Header> {
        self.headers().get(usize::from(self.first[name as usize]))
    }

    /// Every field of that name, in the order received.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &Header> {
        self.headers_from(name).iter().filter(move |header| header.name == name)
    }

    /// All fields from the first of that name on.
    pub(crate) fn headers_from(&self, name: HeaderName) -> &[Header] {
        self.headers().get(usize::from(self.first[name as usize])..).unwrap_or_default()
    }

    /// Whether a field of that name stands more than once.
    #[must_use]
    pub fn is_repeated(&self, name: HeaderName) -> bool {
        self.repeated & (1 << name as u32) != 0
    }

    /// From the first header field to the empty line, which is not included.
    #[must_use]
    pub fn fields(&self) -> Span {
        self.fields
    }

    /// The body, cut to Content-Length.
    #[must_use]
    pub fn body_span(&self) -> Span {
        self.body
    }

    /// The message without line ends before it and without excess bytes after its body.
    #[must_use]
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.body.end }
    }

    /// Joins the index with the bytes it was made from. With other bytes the values are meaningless, but safe.
    #[must_use]
    pub fn message<'a>(&'a self, bytes: &'a [u8]) -> Message<'a> {
        Message::new(self, bytes)
    }
}

/// Splits a header field without its final line end at the colon; `None` without one, or when the name is no token.
#[inline]
pub(crate) fn name_and_value(text: &[u8]) -> Option<(HeaderName, &[u8])> {
    let (name_text, value) = text.split_at_checked(find(b':', text)?)?;
    let name_text = without_blanks(name_text);
    let name = HeaderName::from_bytes(name_text);
    (name != HeaderName::Other || is_token(name_text)).then_some((name, value.get(1..)?))
}

/// A field name without the blanks that may stand before the colon; a fold may not (RFC 3261 §25.1 `HCOLON`).
fn without_blanks(mut name: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    name
}

/// What [`Index::header_fields`] found.
struct Fields {
    /// The first fault.
    fault: Result<(), Error>,
    /// Past the last line read.
    next: usize,
    /// Whether that was the empty line.
    terminated: bool,
    /// Whether every line was, see [`Line::clean`].
    clean: bool,
}

/// A line and its end: CRLF, or a bare LF, which is tolerated.
#[derive(Clone, Copy)]
struct Line {
    /// Before the line end.
    end: usize,
    /// After it.
    next: usize,
    /// Whether no other reader sees a line end within: no CR without LF, no NUL but for a `quoted-pair`.
    clean: bool,
}

impl Line {
    #[inline]
    fn read(bytes: &[u8], from: usize) -> Option<Self> {
        let mut clean = true;
        let mut at = from;
        loop {
            // One search for all three, and a tab on occasion.
            at += find_below::<0x0e>(bytes.get(at..)?)?;
            match bytes.get(at..)? {
                [b'\n', ..] => return Some(Self { end: at, next: at + 1, clean }),
                [b'\r', b'\n', ..] => return Some(Self { end: at, next: at + 2, clean }),
                [b'\r', ..] => clean = false,
                [0, ..] => clean &= at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'\\'),
                _ => {}
            }
            at += 1;
        }
    }

    /// The rest of the bytes, in which no line ends.
    fn without_end(bytes: &[u8], from: usize) -> Self {
        let rest = bytes.get(from..).unwrap_or_default();
        Self { end: bytes.len(), next: bytes.len(), clean: find(b'\r', rest).is_none() && !has_bare_nul(rest) }
    }
}
