//! The reader that [`super::ParamsIter`] took the place of, and the searches it used: what it must agree with.

use memchr::{memchr, memchr2};
use proptest::prelude::*;

use super::{Param, Params};
use crate::samples;
use crate::text::{trim, trim_end};

/// The parameters of `text` from offset `at`.
pub(crate) fn all(text: &[u8], at: usize) -> Vec<Param<'_>> {
    Iter { text, at }.collect()
}

struct Iter<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        loop {
            let rest = self.text.get(self.at..)?;
            let start = self.at + if rest.first() == Some(&b';') { 0 } else { memchr(b';', rest)? };
            let rest = self.text.get(start + 1..)?;
            let name_len = rest.iter().position(|byte| matches!(byte, b';' | b'=' | b'"')).unwrap_or(rest.len());
            let tail = rest.get(name_len..)?;
            let len = match tail.first() {
                None | Some(b';') => name_len,
                _ => find_unquoted(b';', tail).map_or(rest.len(), |tail_len| name_len + tail_len),
            };
            self.at = start + 1 + len;
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

fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// As [`crate::text::quotes_are_closed`] was.
pub(crate) fn quotes_are_closed(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(open) = memchr(b'"', rest) {
        let after = rest.get(open..).and_then(|quoted| quoted.get(quoted_len(quoted)?..));
        let Some(after) = after else { return false };
        rest = after;
    }
    true
}

fn find_unquoted(wanted: u8, text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(wanted, b'"', text.get(at..)?)?;
        let rest = text.get(at..)?;
        if rest.first() == Some(&wanted) {
            return Some(at);
        }
        at += quoted_len(rest)?;
    }
}

proptest! {
    #[test]
    fn parameters_are_read_as_before(text in samples::text(), at in 0..8usize) {
        prop_assert_eq!(Params::new(&text, at).into_iter().collect::<Vec<_>>(), all(&text, at));
        prop_assert_eq!(crate::text::quotes_are_closed(&text), quotes_are_closed(&text));
        for wanted in [b';', b'<', b','] {
            prop_assert_eq!(crate::text::find_unquoted(wanted, &text), find_unquoted(wanted, &text));
        }
    }
}
