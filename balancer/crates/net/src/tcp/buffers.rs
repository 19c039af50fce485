//! Buffers that go around: a connection has one only while it holds part of a message, and none is made per message.

/// The sizes: what is left of a message, one read, and the longest message with something behind it.
const SIZES: [usize; 3] = [2 << 10, 16 << 10, 64 << 10];
/// Of each size, kept for the next one who asks.
const KEPT: [usize; 3] = [256, 16, 4];
/// Queues kept, and their size at most.
const QUEUES_KEPT: usize = 64;
const QUEUE_BYTES: usize = 16 << 10;

/// A worker's spare buffers.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    buffers: [Vec<Box<[u8]>>; SIZES.len()],
    queues: Vec<Vec<u8>>,
}

impl Spares {
    /// A buffer of at least so many bytes, or of the largest size.
    pub(crate) fn take(&mut self, bytes: usize) -> Box<[u8]> {
        let largest = SIZES.len() - 1;
        let class = SIZES.iter().position(|size| *size >= bytes).unwrap_or(largest);
        let spare = self.buffers.get_mut(class).and_then(Vec::pop);
        spare.unwrap_or_else(|| vec![0; SIZES.get(class).copied().unwrap_or(0)].into_boxed_slice())
    }

    pub(crate) fn give(&mut self, buffer: Box<[u8]>) {
        let Some(class) = SIZES.iter().position(|size| *size == buffer.len()) else { return };
        if let (Some(spares), Some(kept)) = (self.buffers.get_mut(class), KEPT.get(class))
            && spares.len() < *kept
        {
            spares.push(buffer);
        }
    }

    /// An empty queue.
    pub(crate) fn take_queue(&mut self) -> Vec<u8> {
        self.queues.pop().unwrap_or_default()
    }

    pub(crate) fn give_queue(&mut self, mut queue: Vec<u8>) {
        queue.clear();
        if self.queues.len() < QUEUES_KEPT && (1..=QUEUE_BYTES).contains(&queue.capacity()) {
            self.queues.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_in_their_size_and_hoards_are_bounded() {
        let mut spares = Spares::default();
        assert_eq!(
            [1, 2048, 2049, 16_385, 1 << 20].map(|bytes| spares.take(bytes).len()),
            [2048, 2048, 16_384, 65_536, 65_536]
        );
        let buffer = spares.take(10_000);
        let place = buffer.as_ptr();
        spares.give(buffer);
        let again = spares.take(5_000);
        assert_eq!(again.as_ptr(), place);
        for _ in 0..1000 {
            spares.give(vec![0; 64 << 10].into_boxed_slice());
            spares.give_queue(Vec::with_capacity(100));
        }
        spares.give(Box::default());
        spares.give_queue(vec![0; QUEUE_BYTES + 1]);
        assert_eq!((spares.buffers[2].len(), spares.queues.len()), (4, QUEUES_KEPT));
    }
}
