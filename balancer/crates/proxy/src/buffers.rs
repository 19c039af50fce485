//! Byte buffers that go round, so that storing a message allocates nothing once traffic has settled.

/// A buffer that grew past this is given back to the allocator, not kept.
const KEPT_CAPACITY: usize = 8 * 1024;
/// Enough to even out what comes and goes; the rest of a burst is given back too.
const KEPT_BUFFERS: usize = 8 * 1024;

/// Empty buffers ready for use.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer, with the capacity of its last use.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    /// Takes back a buffer that is no longer needed. One that never held anything is not worth keeping.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let worth_keeping = (1..=KEPT_CAPACITY).contains(&buffer.capacity());
        if worth_keeping && self.free.len() < KEPT_BUFFERS {
            buffer.clear();
            self.free.push(buffer);
        }
    }

    /// Empties `slot` in place.
    pub(crate) fn release(&mut self, slot: &mut Vec<u8>) {
        self.give(std::mem::take(slot));
    }
}
