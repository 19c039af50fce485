//! `;name=value` parameters of header fields and URIs.

#[cfg(test)]
pub(crate) mod model;

use crate::scan::find;
use crate::text::{find_unquoted, param_name_len, trim, trim_end};

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

    #[inline]
    fn next(&mut self) -> Option<Param<'a>> {
        loop {
            let rest = self.0.text.get(self.0.at..)?;
            let start = self.0.at + if rest.first() == Some(&b';') { 0 } else { find(b';', rest)? };
            let rest = self.0.text.get(start + 1..)?;
            let name_len = param_name_len(rest);
            let tail = rest.get(name_len..)?;
            let len = match tail.first() {
                None | Some(b';') => name_len,
                _ => find_unquoted(b';', tail).map_or(rest.len(), |tail_len| name_len + tail_len),
            };
            self.0.at = start + 1 + len;
            let whole = rest.get(..len)?;
            let name = rest.get(..name_len)?;
            let value = whole.get(name_len..)?.strip_prefix(b"=").map(trim);
            let name = trim(name);
            if !name.is_empty() {
                let end = start + 1 + trim_end(whole).len();
                return Some(Param { name, value, start, end });
            }
        }
    }
}
