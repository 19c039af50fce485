//! A range of the received buffer. Knows nothing of SIP.

/// The bytes `start..end` of the buffer that was indexed. Two `u16` reach every byte of the longest message accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u16,
    /// Offset past the last byte.
    pub end: u16,
}

impl Span {
    /// The bytes of this span; empty when it does not lie within `buffer`.
    #[must_use]
    #[inline]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    /// Length in bytes; 0 for a reversed span.
    #[must_use]
    pub fn len(self) -> usize {
        usize::from(self.end.saturating_sub(self.start))
    }

    /// Whether the span holds no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Builds a span from offsets into a buffer of at most 65,535 bytes.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: offset(start), end: offset(end) }
    }
}

/// An offset into a buffer of at most 65,535 bytes as it is stored in a span.
#[inline]
#[allow(clippy::cast_possible_truncation)] // no longer buffer is read, see `limits::MESSAGE`
pub(crate) fn offset(at: usize) -> u16 {
    debug_assert!(u16::try_from(at).is_ok(), "an offset past the longest message");
    at as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_and_reversed_spans_are_empty() {
        assert_eq!(Span { start: 1, end: 3 }.of(b"abc"), b"bc");
        assert_eq!(Span { start: 1, end: 4 }.of(b"abc"), b"");
        assert_eq!(Span { start: 2, end: 1 }.of(b"abc"), b"");
        assert!(Span { start: 2, end: 1 }.is_empty());
        assert_eq!(Span { start: 2, end: 1 }.len(), 0);
        assert_eq!(Span { start: 9, end: 12 }.len(), 3);
    }
}
