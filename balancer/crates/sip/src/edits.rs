//! Forwarding: a list of changes against the received bytes, written out in one pass.

use std::net::SocketAddr;

use crate::list::Elements;
use crate::{Header, HeaderName, Kind, Message, Output, Overflow, Span, Via};

/// Changes one message can take.
const EDITS: usize = 32;
/// Bytes of inserted text one message can take.
const SCRATCH: usize = 4096;

/// Deletes `delete`, which may be empty, and puts scratch text in its place.
#[derive(Debug, Clone, Copy)]
struct Edit {
    delete: Span,
    insert: Span,
}

/// A reusable list of changes to one message. Positions are those of the received bytes, in any order of calls; what is
/// inserted at one position appears in the order of the calls. A change that does not fit is remembered, and
/// [`Edits::splice`] then fails, so that the single calls need no check.
#[derive(Debug, Clone)]
pub struct Edits {
    /// Sorted by start.
    list: [Edit; EDITS],
    count: usize,
    scratch: [u8; SCRATCH],
    used: usize,
    overflow: bool,
}

impl Default for Edits {
    fn default() -> Self {
        Self::new()
    }
}

impl Edits {
    /// No changes.
    #[must_use]
    pub const fn new() -> Self {
        const NONE: Span = Span { start: 0, end: 0 };
        Self {
            list: [Edit { delete: NONE, insert: NONE }; EDITS],
            count: 0,
            scratch: [0; SCRATCH],
            used: 0,
            overflow: false,
        }
    }

    /// Forgets all changes.
    pub fn clear(&mut self) {
        self.count = 0;
        self.used = 0;
        self.overflow = false;
    }

    /// Deletes a span. Spans deleted may overlap.
    pub fn delete(&mut self, span: Span) {
        self.add(Edit { delete: span, insert: Span::default() });
    }

    /// Inserts text before the byte at `position`.
    pub fn insert(&mut self, position: u16, write: impl FnOnce(&mut Output<'_>) -> Result<(), Overflow>) {
        self.replace(Span { start: position, end: position }, write);
    }

    /// Deletes a span and puts text in its place.
    pub fn replace(&mut self, span: Span, write: impl FnOnce(&mut Output<'_>) -> Result<(), Overflow>) {
        let mut output = Output::new(self.scratch.get_mut(self.used..).unwrap_or_default());
        if write(&mut output).is_err() {
            self.overflow = true;
            return;
        }
        let end = self.used + output.len();
        let insert = Span::new(self.used, end);
        self.used = end;
        self.add(Edit { delete: span, insert });
    }

    fn add(&mut self, edit: Edit) {
        let Some(sorted) = self.list.get_mut(..=self.count) else {
            self.overflow = true;
            return;
        };
        let rank = sorted.iter().take(self.count).rposition(|other| other.delete.start <= edit.delete.start);
        let at = rank.map_or(0, |before| before + 1);
        if let Some(tail) = sorted.get_mut(at..) {
            tail.rotate_right(1);
            if let Some(slot) = tail.first_mut() {
                *slot = edit;
            }
        }
        self.count += 1;
    }

    /// Writes the message with all changes made, without what came before its start line or after its body.
    ///
    /// # Errors
    /// [`Overflow`] when the result does not fit `output`, or a change did not fit the list.
    pub fn splice(&self, message: &Message<'_>, output: &mut Output<'_>) -> Result<(), Overflow> {
        if self.overflow {
            return Err(Overflow);
        }
        let span = message.index().span();
        let mut cursor = span.start;
        for edit in self.list.iter().take(self.count) {
            if edit.delete.start > cursor {
                output.bytes(Span { start: cursor, end: edit.delete.start }.of(message.bytes()))?;
                cursor = edit.delete.start;
            }
            output.bytes(edit.insert.of(&self.scratch))?;
            cursor = cursor.max(edit.delete.end);
        }
        output.bytes(Span { start: cursor, end: span.end }.of(message.bytes()))
    }

    /// Deletes a whole field.
    pub fn remove(&mut self, header: &Header) {
        self.delete(header.field);
    }

    /// Deletes the first `count` elements of a list, over as many fields as they stand in: the own Via from a
    /// response, one or two own entries from Route.
    pub fn remove_first(&mut self, message: &Message<'_>, name: HeaderName, count: usize) {
        let mut left = count;
        for header in message.all(name) {
            if left == 0 {
                return;
            }
            let mut elements = Elements::new(message.bytes(), header.value);
            let Some(first) = elements.next() else {
                continue;
            };
            let mut kept = Some(first);
            while left > 0 && kept.is_some() {
                kept = elements.next();
                left -= 1;
            }
            match kept {
                Some(kept) => self.delete(Span { start: first.start, end: kept.start }),
                None => self.remove(header),
            }
        }
    }

    /// Deletes the last element of a list: the URI that a strict router put behind its own (RFC 3261 §16.4).
    pub fn remove_last(&mut self, message: &Message<'_>, name: HeaderName) {
        if let Some(last) = message.values(name).last() {
            self.delete(last.removal);
        }
    }

    /// Deletes all fields of a name.
    pub fn remove_all(&mut self, message: &Message<'_>, name: HeaderName) {
        for header in message.all(name) {
            self.remove(header);
        }
    }

    /// Inserts a field before all others of its name, or before all fields when there is none: Via, Record-Route,
    /// Route, Path (RFC 3261 §16.6). `write` gives the value.
    pub fn push_field(
        &mut self,
        message: &Message<'_>,
        name: HeaderName,
        write: impl FnOnce(&mut Output<'_>) -> Result<(), Overflow>,
    ) {
        let position = message.first(name).map_or(message.index().fields().start, |header| header.field.start);
        self.insert(position, |output| {
            output.bytes(name.as_bytes())?;
            output.bytes(b": ")?;
            write(output)?;
            output.bytes(b"\r\n")
        });
    }

    /// Replaces the Request-URI; nothing in a response.
    pub fn set_uri(&mut self, message: &Message<'_>, write: impl FnOnce(&mut Output<'_>) -> Result<(), Overflow>) {
        if let Kind::Request { uri, .. } = message.kind() {
            self.replace(uri, write);
        }
    }

    /// Replaces code and reason phrase; nothing in a request.
    pub fn set_status(&mut self, message: &Message<'_>, code: u16, reason: &[u8]) {
        if let Kind::Response { status, .. } = message.kind() {
            self.replace(status, |output| {
                output.decimal(code.into())?;
                output.bytes(b" ")?;
                output.bytes(reason)
            });
        }
    }

    /// Sets Max-Forwards, whether there is one or not (RFC 3261 §16.6 step 3).
    pub fn set_max_forwards(&mut self, message: &Message<'_>, hops: u8) {
        match message.first(HeaderName::MaxForwards) {
            Some(header) => self.replace(header.value, |output| output.decimal(hops.into())),
            None => self.push_field(message, HeaderName::MaxForwards, |output| output.decimal(hops.into())),
        }
    }

    /// Notes in the top Via where the request came from; see [`Via::write_with_source`].
    pub fn set_source(&mut self, message: &Message<'_>, source: SocketAddr) {
        if let Some(top) = message.values(HeaderName::Via).next()
            && let Some(via) = Via::parse(top.span.of(message.bytes()))
        {
            self.replace(top.span, |output| via.write_with_source(source, output));
        }
    }
}
