//! Header fields that hold lists: elements may be repeated fields or one field with commas (RFC 3261 §7.3.1).

use crate::scan::{find, find3};
use crate::text::{is_lws, quoted_len, trim_end};
use crate::{Header, HeaderName, Message, Span};

/// The elements of one field's value: split at commas that stand neither in a quoted string nor in `<…>`. Empty
/// elements are passed over; what is not closed reaches to the end of the value.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(bytes: &'a [u8], value: Span) -> Self {
        Self { bytes, at: value.start.into(), end: usize::from(value.end).min(bytes.len()) }
    }
}

impl Iterator for Elements<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let rest = self.bytes.get(self.at..self.end)?;
        let skip = rest.iter().position(|byte| !is_lws(*byte) && *byte != b',')?;
        let rest = rest.get(skip..)?;
        let len = element_len(rest);
        let start = self.at + skip;
        self.at = start + len;
        Some(Span::new(start, start + trim_end(rest.get(..len)?).len()))
    }
}

/// Length up to the first comma that separates, or to the end.
fn element_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| find3(b',', b'"', b'<', rest)) {
        at += found;
        let rest = text.get(at..).unwrap_or_default();
        let skip = match rest.first() {
            Some(b',') => return at,
            Some(b'"') => quoted_len(rest),
            _ => find(b'>', rest).map(|close| close + 1),
        };
        match skip {
            Some(skip) => at += skip,
            None => break,
        }
    }
    text.len()
}

/// One element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// The element without white space around it.
    pub span: Span,
    /// What to delete so that this one element is gone and the rest is still well formed: the whole field when it
    /// stands alone there, else itself with one comma. To remove several at once use
    /// [`crate::Edits::remove_first`], since removals of neighbors overlap.
    pub removal: Span,
}

/// Every element of all fields of one name, in order; see [`Message::values`].
#[derive(Debug, Clone)]
pub struct Values<'a> {
    message: Message<'a>,
    name: HeaderName,
    /// Headers not yet begun.
    headers: std::slice::Iter<'a, Header>,
    field: Span,
    elements: Elements<'a>,
    upcoming: Option<Span>,
    /// End of the element before, within the same field.
    previous: Option<u16>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(message: Message<'a>, name: HeaderName) -> Self {
        Self {
            message,
            name,
            headers: message.index().headers_from(name).iter(),
            field: Span::default(),
            elements: Elements::new(&[], Span::default()),
            upcoming: None,
            previous: None,
        }
    }
}

impl Iterator for Values<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let span = loop {
            if let Some(span) = self.upcoming {
                break span;
            }
            let name = self.name;
            let header = self.headers.find(|header| header.name == name)?;
            self.field = header.field;
            self.elements = Elements::new(self.message.bytes(), header.value);
            self.upcoming = self.elements.next();
            self.previous = None;
        };
        self.upcoming = self.elements.next();
        let removal = match (self.previous, self.upcoming) {
            (None, None) => self.field,
            (None, Some(next)) => Span { start: span.start, end: next.start },
            (Some(previous), _) => Span { start: previous, end: span.end },
        };
        self.previous = Some(span.end);
        Some(Value { span, removal })
    }
}
