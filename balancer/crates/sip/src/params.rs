//! `;name=value` parameters of header fields and URIs.

use memchr::{memchr, memchr2};

use crate::text::{quoted_len, trim};

/// The parameters of a header value or a URI, in order. Those without a name are passed over.
#[derive(Debug, Clone, Copy)]
pub struct Params<'a> {
    text: &'a [u8],
    at: usize,
}

/// Iterates over [`Params`].
#[derive(Debug, Clone)]
pub struct ParamsIter<'a>(Params<'a>);

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// Never empty.
    pub name: &'a [u8],
    /// As it stands there, quotes and escapes included; `None` when there is no `=`.
    pub value: Option<&'a [u8]>,
    /// Offset of its `;` in the text of the header value or URI it stands in.
    pub start: usize,
    /// Offset past its last byte.
    pub end: usize,
}

impl<'a> Params<'a> {
    /// Parameters of `text` from offset `at`, where the first `;` is expected.
    pub(crate) fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// The first parameter of that name; names are case-insensitive (RFC 3261 §7.3.1).
    #[must_use]
    pub fn get(self, name: &[u8]) -> Option<Param<'a>> {
        self.into_iter().find(|param| param.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of that name.
    #[must_use]
    pub fn value(self, name: &[u8]) -> Option<&'a [u8]> {
        self.get(name)?.value
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = Param<'a>;
    type IntoIter = ParamsIter<'a>;

    fn into_iter(self) -> ParamsIter<'a> {
        ParamsIter(self)
    }
}

impl<'a> Iterator for ParamsIter<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        loop {
            let start = self.0.at + memchr(b';', self.0.text.get(self.0.at..)?)?;
            let rest = self.0.text.get(start + 1..)?;
            let len = param_len(rest);
            self.0.at = start + 1 + len;
            let whole = rest.get(..len)?;
            let (name, value) = match memchr(b'=', whole) {
                Some(equals) => (whole.get(..equals)?, whole.get(equals + 1..).map(trim)),
                None => (whole, None),
            };
            let name = trim(name);
            if !name.is_empty() {
                let end = start + 1 + crate::text::trim_end(whole).len();
                return Some(Param { name, value, start, end });
            }
        }
    }
}

/// Length up to the next `;` outside a quoted string.
fn param_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b';', b'"', rest)) {
        at += found;
        let rest = text.get(at..).unwrap_or_default();
        if rest.first() == Some(&b';') {
            return at;
        }
        match quoted_len(rest) {
            Some(skip) => at += skip,
            None => break,
        }
    }
    text.len()
}
