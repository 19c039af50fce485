//! A few numbers published as one unit: readers never see half of one and half of another, and nobody ever waits.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Two copies and a version: the version's parity names the copy in force, the writer fills the other one and then turns
/// the version. A reader is only sent round again when a whole further publication overtook it, so a writer that is
/// put to sleep in the middle holds up nobody (unlike a plain seqlock).
#[derive(Debug)]
pub(crate) struct Publication<const WORDS: usize> {
    version: AtomicU64,
    copies: [[AtomicU64; WORDS]; 2],
}

impl<const WORDS: usize> Publication<WORDS> {
    pub(crate) fn new(words: [u64; WORDS]) -> Self {
        Self {
            version: AtomicU64::new(0),
            copies: [words.map(AtomicU64::new), std::array::from_fn(|_| AtomicU64::new(0))],
        }
    }

    /// Publish. One writer at a time: the caller's lock sees to it.
    pub(crate) fn publish(&self, words: [u64; WORDS]) {
        let version = self.version.load(Ordering::Relaxed);
        // Whoever reads one of the stores below must also see that the version turned away from this copy: pairs with
        // the fence in `read`.
        fence(Ordering::Release);
        for (place, word) in self.copy(version + 1).iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.version.store(version + 1, Ordering::Release);
    }

    pub(crate) fn read(&self) -> [u64; WORDS] {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let mut words = [0; WORDS];
            for (word, place) in words.iter_mut().zip(self.copy(version)) {
                *word = place.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == version {
                return words;
            }
            std::hint::spin_loop();
        }
    }

    fn copy(&self, version: u64) -> &[AtomicU64; WORDS] {
        let [even, odd] = &self.copies;
        if version % 2 == 0 { even } else { odd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn the_last_publication_is_read() {
        let publication = Publication::new([1, 2]);
        assert_eq!(publication.read(), [1, 2]);
        publication.publish([3, 4]);
        assert_eq!(publication.read(), [3, 4]);
        publication.publish([5, 6]);
        assert_eq!(publication.read(), [5, 6]);
    }

    /// Stress: whatever the interleaving, all words of one reading are of one publication, and none goes back in time.
    #[test]
    fn readers_never_see_half() {
        const ROUNDS: u64 = 200_000;
        let publication = Publication::new([0_u64; 12]);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut last, mut readings) = (0, 0_u64);
                        while !done.load(Ordering::Acquire) {
                            let words = publication.read();
                            assert!(words.iter().all(|&word| word == words[0]), "torn: {words:?}");
                            assert!(words[0] >= last, "{} after {last}", words[0]);
                            last = words[0];
                            readings += 1;
                        }
                        readings
                    })
                })
                .collect();
            for round in 1..=ROUNDS {
                publication.publish([round; 12]);
            }
            done.store(true, Ordering::Release);
            for reader in readers {
                reader.join().unwrap();
            }
        });
        assert_eq!(publication.read(), [ROUNDS; 12]);
    }
}
