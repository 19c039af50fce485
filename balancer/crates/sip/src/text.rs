//! Characters of RFC 3261 §25.1: linear white space, tokens, quoted strings, numbers. Knows no header field.

/// White space within a value, folds included.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    text
}

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

/// `token` of RFC 3261 §25.1 by byte.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        #[allow(clippy::cast_possible_truncation)] // byte < 128
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric()
            || matches!(character, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    table
};

pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
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

/// The length of the quoted string that `text` begins with, both quotes included; `None` when it is not closed.
pub(crate) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
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
    fn tokens_and_white_space() {
        assert!(is_token(b"X-Header.1~`'"));
        assert!(!is_token(b""));
        assert!(!is_token(b"a b"));
        assert!(!is_token(b"a\x80"));
        assert_eq!(trim(b" \t\r\n a b\r\n "), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }
}
