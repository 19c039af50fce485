//! Characters of RFC 3261 §25.1: linear white space, tokens, quoted strings, numbers. Knows no header field.

use crate::scan::{find, find2};

/// White space within a value, folds included.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[inline]
pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    text
}

#[inline]
pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_lws(*last)
    {
        text = rest;
    }
    text
}

pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

const TOKEN: u8 = 1;
const HOST: u8 = 2;
const URI: u8 = 4;
const USER: u8 = 8;
const PARAM_NAME: u8 = 16;

/// What each byte may be part of. A table, since these tests run for every byte of names and URIs.
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[allow(clippy::cast_possible_truncation)] // at < 256
        let byte = at as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            table[at] |= TOKEN;
        }
        if alphanumeric || matches!(byte, b'.' | b'-' | b'_') {
            table[at] |= HOST;
        }
        if !matches!(byte, 0..=b' ' | 0x7f | b'<' | b'>' | b'"') {
            table[at] |= URI;
            if !matches!(byte, b':' | b'@') {
                table[at] |= USER;
            }
        }
        if !matches!(byte, b';' | b'=' | b'"') {
            table[at] |= PARAM_NAME;
        }
        at += 1;
    }
    table
};

fn all(text: &[u8], class: u8) -> bool {
    // Without an early exit, which costs more than it saves on short texts.
    text.iter().fold(class, |common, byte| common & CLASSES[usize::from(*byte)]) != 0
}

/// `token` of RFC 3261 §25.1.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && all(text, TOKEN)
}

fn len_of(text: &[u8], class: u8) -> usize {
    text.iter().position(|byte| CLASSES[usize::from(*byte)] & class == 0).unwrap_or(text.len())
}

/// Length of the host name or IPv4 address that `text` begins with.
#[inline]
pub(crate) fn host_len(text: &[u8]) -> usize {
    len_of(text, HOST)
}

/// Length of what `text` begins with that may stand in a user name or a host: URI text without `:` and `@`.
#[inline]
pub(crate) fn user_len(text: &[u8]) -> usize {
    len_of(text, USER)
}

/// Length of the name, white space included, that the parameter in `text` begins with.
#[inline]
pub(crate) fn param_name_len(text: &[u8]) -> usize {
    len_of(text, PARAM_NAME)
}

/// Whether nothing stands there that ends a URI wherever one is embedded.
pub(crate) fn is_uri_text(text: &[u8]) -> bool {
    all(text, URI)
}

/// Whether `text` is `word`, which is in lower case, in any case.
#[inline(always)]
#[allow(clippy::inline_always)] // a few comparisons with constants where the word is known, which it is everywhere
pub(crate) fn is_word<const N: usize>(text: &[u8], word: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else {
        return false;
    };
    // Pieces of one size, of which the last overlaps the one before; all but the text is constant.
    let unlike = |at| eight(text, at) | eight(&word.map(case_bit), at) != eight(word, at);
    match N {
        0..8 => text.iter().zip(word).fold(0, |unlike, (one, other)| unlike | ((one | case_bit(*other)) ^ other)) == 0,
        8 => !unlike(0),
        9..=16 => !unlike(0) && !unlike(N - 8),
        _ => !unlike(0) && !unlike(8) && !unlike(N - 8) && N <= 24,
    }
}

/// The eight bytes from that place, which are there.
fn eight(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |piece| u64::from_le_bytes(*piece))
}

/// What a byte may lack of `byte` and mean the same: the bit that tells a letter's case.
const fn case_bit(byte: u8) -> u8 {
    if byte.is_ascii_lowercase() { 0x20 } else { 0 }
}

/// A decimal number; `None` when empty, when another character stands in it, or past `u32::MAX`.
pub(crate) fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// Whether a NUL stands there other than behind a backslash, where the grammar allows one (`quoted-pair`).
#[inline]
pub(crate) fn has_bare_nul(text: &[u8]) -> bool {
    let escaped = |at: usize| at.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'\\');
    memchr::memchr_iter(0, text).any(|at| !escaped(at))
}

/// The length of the quoted string that `text` begins with, both quotes included; `None` when it is not closed.
pub(crate) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += find2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Whether every quoted string in `text` is closed: only then does what is put behind `text` stand outside of quotes.
#[inline]
pub(crate) fn quotes_are_closed(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(open) = find(b'"', rest) {
        let after = rest.get(open..).and_then(|quoted| quoted.get(quoted_len(quoted)?..));
        let Some(after) = after else { return false };
        rest = after;
    }
    true
}

/// Offset of the first `wanted` outside quoted strings; `None` when there is none, or a quoted string before it is not
/// closed.
pub(crate) fn find_unquoted(wanted: u8, text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += find2(wanted, b'"', text.get(at..)?)?;
        let rest = text.get(at..)?;
        if rest.first() == Some(&wanted) {
            return Some(at);
        }
        at += quoted_len(rest)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0070"), Some(70));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal(b"4294967296"), None);
        assert_eq!(decimal(b"99999999999999999999"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"-1"), None);
        assert_eq!(decimal(b"1 "), None);
    }

    #[test]
    fn quoted_strings_end_at_the_first_quote_not_escaped() {
        assert_eq!(quoted_len(b"\"ab\"c"), Some(4));
        assert_eq!(quoted_len(br#""a\"b" "#), Some(6));
        assert_eq!(quoted_len(br#""a\\" "#), Some(5));
        assert_eq!(quoted_len(br#""a\"#), None);
        assert_eq!(quoted_len(b"\"a"), None);
        assert_eq!(quoted_len(b"\""), None);
    }

    #[test]
    fn a_nul_stands_behind_a_backslash_or_not_at_all() {
        assert!(!has_bare_nul(b"\"a\\\0\""));
        assert!(has_bare_nul(b"\0"));
        assert!(has_bare_nul(b"a\\\0\0"));
        assert!(!has_bare_nul(b""));
    }

    #[test]
    fn quotes_that_are_closed() {
        for closed in ["", "a", "\"\"", ";a=\"x\\\"y\";b=\"\""] {
            assert!(quotes_are_closed(closed.as_bytes()), "{closed}");
        }
        for open in ["\"", "a\"b", "\"\"\"", ";a=\"x\\\"", "\"\\"] {
            assert!(!quotes_are_closed(open.as_bytes()), "{open}");
        }
    }

    #[test]
    fn search_passes_over_quoted_strings() {
        assert_eq!(find_unquoted(b';', br#"a=";";b"#), Some(5));
        assert_eq!(find_unquoted(b';', br#"a="\";";b"#), Some(7));
        assert_eq!(find_unquoted(b';', br#"a="x;y"#), None);
        assert_eq!(find_unquoted(b';', b"a"), None);
    }

    #[test]
    fn tokens_and_white_space() {
        assert!(is_token(b"X-Header.1~`'"));
        assert!(!is_token(b""));
        assert!(!is_token(b"a b"));
        assert!(!is_token(b"a\x80"));
        assert_eq!(trim(b" \t\r\n a b\r\n "), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }
}
