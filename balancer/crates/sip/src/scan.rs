//! Finds bytes in short texts, eight at a time. The texts of a message are lines and parts of lines: there the call of a
//! vectorized search costs more than the search. Knows no grammar.

const HIGH: u64 = each(0x80);

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks, by its highest bit, the first byte of `word` below `limit`, which is at most 0x80. What is marked above the
/// first mark means nothing, since a subtraction borrows from the next byte.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(each(limit)) & !word & HIGH
}

/// Marks the first `byte` in `word`, as [`below`] does.
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ each(byte), 1)
}

/// Offset of the first byte that `marks` marks in a word, and `is` tells alone.
#[inline(always)]
#[allow(clippy::inline_always)] // a loop of ten instructions, for which a call with two closures is too much
fn position(text: &[u8], marks: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    let first = |word: &[u8; 8]| {
        let marks = marks(u64::from_le_bytes(*word));
        (marks != 0).then_some(marks.trailing_zeros() as usize / 8)
    };
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().position(|byte| is(*byte));
    };
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        if let Some(at) = first(word) {
            return Some(text.len() - rest.len() + at);
        }
        rest = behind;
    }
    // Of the last eight bytes those already read hold no such byte.
    first(last).map(|at| text.len() - 8 + at)
}

/// Offset of the first `wanted`.
#[inline]
pub(crate) fn find(wanted: u8, text: &[u8]) -> Option<usize> {
    position(text, |word| equal(word, wanted), |byte| byte == wanted)
}

/// Offset of the first of two bytes.
#[inline]
pub(crate) fn find2(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    position(text, |word| equal(word, one) | equal(word, other), |byte| byte == one || byte == other)
}

/// Offset of the first of three bytes.
#[inline]
pub(crate) fn find3(one: u8, two: u8, three: u8, text: &[u8]) -> Option<usize> {
    position(
        text,
        |word| equal(word, one) | equal(word, two) | equal(word, three),
        |byte| byte == one || byte == two || byte == three,
    )
}

/// Offset of the first byte below `LIMIT`, which is at most 0x80; the texts are lines, and few such bytes stand in one.
#[inline]
pub(crate) fn find_below<const LIMIT: u8>(text: &[u8]) -> Option<usize> {
    let mut rest = text;
    while let Some((piece, behind)) = rest.split_first_chunk::<16>() {
        // Without an early exit, so that it is one comparison of vectors.
        if piece.iter().fold(0, |any, byte| any | u8::from(*byte < LIMIT)) != 0 {
            break;
        }
        rest = behind;
    }
    position(rest, |word| below(word, LIMIT), |byte| byte < LIMIT).map(|at| text.len() - rest.len() + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{find, find_below, find2, find3};

    proptest! {
        #[test]
        fn what_is_found_is_what_a_search_byte_by_byte_finds(
            text in prop::collection::vec(prop_oneof![Just(b':'), Just(b'"'), Just(b'\n'), Just(0), any::<u8>()], 0..40),
            bytes in any::<[u8; 3]>(),
        ) {
            for [one, two, three] in [bytes, [b':', b'"', b'\n'], [0, 0x80, 0xff], [b';', 1, 9]] {
                prop_assert_eq!(find(one, &text), text.iter().position(|byte| *byte == one));
                prop_assert_eq!(find2(one, two, &text), text.iter().position(|byte| [one, two].contains(byte)));
                let any = text.iter().position(|byte| [one, two, three].contains(byte));
                prop_assert_eq!(find3(one, two, three, &text), any);
            }
            prop_assert_eq!(find_below::<14>(&text), text.iter().position(|byte| *byte < 14));
            prop_assert_eq!(find_below::<0x80>(&text), text.iter().position(|byte| *byte < 0x80));
        }
    }
}
