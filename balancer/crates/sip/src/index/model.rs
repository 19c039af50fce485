//! The reader that [`super::Index::parse`] took the place of, search by search: what it must agree with on every input.

use memchr::{memchr, memchr_iter, memrchr};
use proptest::prelude::*;

use super::{ABSENT, Header, HeaderName, Index, Kind, Method};
use crate::span::offset;
use crate::text::{decimal, has_bare_nul, is_lws, is_token, trim, trim_end, trim_start};
use crate::{Error, Span, limits, samples};

impl Index {
    pub(super) fn model_parse(&mut self, datagram: &[u8]) -> Result<(), Error> {
        self.clear();
        let bytes = datagram.get(..limits::MESSAGE).unwrap_or(datagram);
        let too_long = datagram.len() > limits::MESSAGE;
        let Some(start) = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else {
            return Err(Error::KeepAlive);
        };
        self.start = offset(start);
        // Without any line end the start line reaches to the end, and no header field follows.
        let line = Line::read(bytes, start).unwrap_or(Line { end: bytes.len(), next: bytes.len() });
        self.fields = Span::new(line.next, line.next);
        self.body = self.fields;
        let mut fault = self.model_start_line(bytes, start, line);
        if self.kind == Kind::Unknown {
            let blank = bytes.iter().all(|byte| is_lws(*byte) || *byte == 0);
            return if blank { Err(Error::KeepAlive) } else { fault };
        }
        let fields = self.model_header_fields(bytes, line);
        let head = bytes.get(start..fields.next).unwrap_or_default();
        if memchr_iter(b'\r', head).count() != fields.carriage_returns || has_bare_nul(head) {
            self.clear();
            return Err(Error::ControlCharacter);
        }
        fault = fault.and(fields.fault);
        if !fields.terminated {
            return fault.and(Err(if too_long { Error::MessageTooLong } else { Error::Unterminated }));
        }
        fault.and(self.body(bytes, fields.next, too_long))
    }

    fn model_start_line(&mut self, bytes: &[u8], start: usize, line: Line) -> Result<(), Error> {
        let text = bytes.get(start..line.end).unwrap_or_default();
        let parsed = if text.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"SIP/")) {
            self.model_status_line(text, start)
        } else {
            self.model_request_line(text, start)
        };
        if self.kind == Kind::Unknown {
            return parsed;
        }
        if text.len() > limits::FIELD { Err(Error::UriTooLong) } else { parsed }
    }

    fn model_request_line(&mut self, text: &[u8], start: usize) -> Result<(), Error> {
        let trimmed = trim_end(text);
        let (Some(method_end), Some(uri_end)) = (memchr(b' ', trimmed), memrchr(b' ', trimmed)) else {
            return Err(Error::NotSip);
        };
        let version = trimmed.get(uri_end + 1..).unwrap_or_default();
        let version = version.split_at_checked(4).filter(|(name, _)| name.eq_ignore_ascii_case(b"SIP/"));
        let Some((_, number)) = version else {
            return Err(Error::NotSip);
        };
        let method = text.get(..method_end).unwrap_or_default();
        let uri = text.get(method_end + 1..uri_end).unwrap_or_default();
        self.kind = Kind::Request {
            method: Method::from_bytes(method),
            method_span: Span::new(start, start + method_end),
            uri: Span::new(start + method_end + 1, start + method_end + 1 + uri.len()),
        };
        if number != b"2.0" {
            return Err(Error::Version);
        }
        let whole = trimmed.len() == text.len() && !uri.is_empty() && !uri.iter().any(|byte| is_lws(*byte));
        if whole && is_token(method) { Ok(()) } else { Err(Error::RequestLine) }
    }

    fn model_status_line(&mut self, text: &[u8], start: usize) -> Result<(), Error> {
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

    fn model_header_fields(&mut self, bytes: &[u8], start_line: Line) -> Fields {
        let mut fields = Fields {
            fault: Ok(()),
            next: start_line.next,
            terminated: false,
            carriage_returns: start_line.carriage_returns(),
        };
        while let Some(mut line) = Line::read(bytes, fields.next) {
            let start = fields.next;
            self.fields.end = offset(start);
            fields.carriage_returns += line.carriage_returns();
            fields.next = line.next;
            if line.end == start {
                fields.terminated = true;
                break;
            }
            while let Some(b' ' | b'\t') = bytes.get(line.next) {
                let Some(fold) = Line::read(bytes, line.next) else {
                    return fields;
                };
                line = fold;
                fields.carriage_returns += line.carriage_returns();
                fields.next = line.next;
            }
            let result = self.model_header_field(bytes, start, line);
            fields.fault = fields.fault.and(result);
            if result == Err(Error::TooManyHeaders) {
                break;
            }
        }
        fields
    }

    fn model_header_field(&mut self, bytes: &[u8], start: usize, line: Line) -> Result<(), Error> {
        let text = bytes.get(start..line.end).unwrap_or_default();
        if line.next - start > limits::FIELD {
            return Err(Error::FieldTooLong);
        }
        let Some((name, value)) = name_and_value(text) else {
            return Err(Error::HeaderLine);
        };
        let at = text.len() - trim_start(value).len();
        let value = trim(value);
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
}

/// Splits a header field without its final line end at the colon; `None` without one, or when the name is no token.
fn name_and_value(text: &[u8]) -> Option<(HeaderName, &[u8])> {
    let colon = memchr(b':', text)?;
    let name_text = without_blanks(text.get(..colon)?);
    let name = HeaderName::from_bytes(name_text);
    (name != HeaderName::Other || is_token(name_text)).then_some((name, text.get(colon + 1..)?))
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
    /// How many stand in line ends.
    carriage_returns: usize,
}

/// A line and its end: CRLF, or a bare LF, which is tolerated.
#[derive(Clone, Copy)]
struct Line {
    /// Before the line end.
    end: usize,
    /// After it.
    next: usize,
}

impl Line {
    fn read(bytes: &[u8], from: usize) -> Option<Self> {
        let rest = bytes.get(from..)?;
        let feed = memchr(b'\n', rest)?;
        let crlf = rest.get(..feed).and_then(<[u8]>::last) == Some(&b'\r');
        Some(Self { end: from + feed - usize::from(crlf), next: from + feed + 1 })
    }

    fn carriage_returns(self) -> usize {
        (self.next - self.end).saturating_sub(1)
    }
}

fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (mut index, mut model) = (Index::new(), Index::new());
    prop_assert_eq!(index.parse(bytes), model.model_parse(bytes));
    let parts = |index: &Index| (index.kind, index.first, index.repeated, index.fields, index.body, index.start);
    prop_assert_eq!(parts(&index), parts(&model));
    prop_assert_eq!(index.headers(), model.headers());
    Ok(())
}

proptest! {
    #[test]
    fn messages_are_indexed_as_before(message in samples::message(), text in samples::text()) {
        agree(&message)?;
        agree(&text)?;
        agree(&[b"BYE sip:a@b SIP/2.0\r\n", &text[..], b"\r\n\r\n"].concat())?;
    }
}
