//! Which worker owns which live server transaction: the table that a retransmission or CANCEL is looked up in when it
//! lands on another worker than its INVITE did.
//!
//! One fixed array of atomics shared by all workers. It is a hint: an entry that found no room costs a sibling one
//! "unknown", a false match (56 bits: about never) one needless hand-over.

use std::sync::atomic::{AtomicU64, Ordering};

const WAYS: usize = 8;
const EMPTY: u64 = 0;

/// The entries. An entry is the fingerprint's upper 56 bits and the worker + 1; zero is an empty place.
#[derive(Debug)]
pub(crate) struct Fingerprints {
    buckets: Box<[[AtomicU64; WAYS]]>,
}

impl Fingerprints {
    /// Room for `transactions` entries, half full at that many; with one worker there is nobody to ask, so no table.
    pub(crate) fn new(transactions: usize, workers: usize) -> Self {
        let buckets = if workers < 2 { 0 } else { (transactions.saturating_mul(2) / WAYS).next_power_of_two() };
        Self { buckets: (0..buckets).map(|_| std::array::from_fn(|_| AtomicU64::new(EMPTY))).collect() }
    }

    /// This worker owns that transaction now. False: no room in its bucket.
    pub(crate) fn publish(&self, fingerprint: u64, worker: u8) -> bool {
        let entry = entry(fingerprint, worker);
        self.bucket(fingerprint)
            .iter()
            .any(|place| place.compare_exchange(EMPTY, entry, Ordering::Relaxed, Ordering::Relaxed).is_ok())
    }

    /// It does no longer.
    pub(crate) fn retract(&self, fingerprint: u64, worker: u8) {
        let entry = entry(fingerprint, worker);
        for place in self.bucket(fingerprint) {
            if place.compare_exchange(entry, EMPTY, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The worker other than `asking` that owns the transaction.
    pub(crate) fn owner(&self, fingerprint: u64, asking: u8) -> Option<u8> {
        self.bucket(fingerprint).iter().find_map(|place| {
            let entry = place.load(Ordering::Relaxed);
            let worker = u8::try_from(entry & 0xff).ok()?.checked_sub(1)?;
            (entry >> 8 == fingerprint >> 8 && worker != asking).then_some(worker)
        })
    }

    /// Forget a worker whose transactions are gone.
    pub(crate) fn forget(&self, worker: u8) {
        for place in self.buckets.iter().flatten() {
            let entry = place.load(Ordering::Relaxed);
            if entry & 0xff == u64::from(worker) + 1 {
                // Failing means that somebody else filled the place meanwhile; then it is not that worker's.
                let _ = place.compare_exchange(entry, EMPTY, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    fn bucket(&self, fingerprint: u64) -> &[AtomicU64] {
        let mask = self.buckets.len().saturating_sub(1);
        let index = usize::try_from(fingerprint >> 8).unwrap_or(0) & mask;
        self.buckets.get(index).map_or(&[], |bucket| bucket)
    }
}

fn entry(fingerprint: u64, worker: u8) -> u64 {
    (fingerprint & !0xff) | (u64::from(worker) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 0x1234_5678_9abc_de00;

    #[test]
    fn siblings_find_what_was_published_until_it_is_retracted() {
        let table = Fingerprints::new(100, 2);
        assert!(table.publish(A, 0));
        assert_eq!(table.owner(A, 1), Some(0));
        assert_eq!(table.owner(A, 0), None);
        assert_eq!(table.owner(A ^ 1 << 60, 1), None);
        table.retract(A, 1);
        assert_eq!(table.owner(A, 1), Some(0));
        table.retract(A, 0);
        assert_eq!(table.owner(A, 1), None);
    }

    #[test]
    fn a_bucket_holds_eight_and_then_says_no() {
        let table = Fingerprints::new(100, 2);
        let colliding = |n: u64| A | n << 60;
        assert!((0..8).all(|n| table.publish(colliding(n), 0)));
        assert!(!table.publish(colliding(8), 0));
        table.retract(colliding(3), 0);
        assert!(table.publish(colliding(8), 0));
        assert_eq!(table.owner(colliding(8), 1), Some(0));
    }

    #[test]
    fn a_lone_worker_needs_no_table() {
        let table = Fingerprints::new(200_000, 1);
        assert_eq!(table.buckets.len(), 0);
        assert!(!table.publish(A, 0));
        assert_eq!(table.owner(A, 1), None);
    }

    #[test]
    fn a_worker_that_lost_its_transactions_is_forgotten() {
        let table = Fingerprints::new(100, 3);
        assert!(table.publish(A, 0) && table.publish(A ^ 1 << 50, 2) && table.publish(A ^ 1 << 51, 2));
        table.forget(2);
        assert_eq!(table.owner(A, 1), Some(0));
        assert_eq!(table.owner(A ^ 1 << 50, 1), None);
        assert_eq!(table.owner(A ^ 1 << 51, 1), None);
    }

    /// Stress: workers publish and retract their own at once; nobody's entry is lost or left.
    #[test]
    fn workers_do_not_disturb_each_other() {
        let table = Fingerprints::new(4096, 4);
        std::thread::scope(|scope| {
            for worker in 0..4_u8 {
                let table = &table;
                scope.spawn(move || {
                    let mine = |n: u64| (n * 4 + u64::from(worker) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    for _ in 0..50 {
                        let kept: Vec<_> = (0..500).map(mine).filter(|&f| table.publish(f, worker)).collect();
                        assert!(kept.len() > 490);
                        assert!(kept.iter().all(|&f| table.owner(f, 99) == Some(worker)));
                        for fingerprint in kept {
                            table.retract(fingerprint, worker);
                        }
                    }
                });
            }
        });
        assert!(table.buckets.iter().flatten().all(|place| place.load(Ordering::Relaxed) == EMPTY));
    }
}
