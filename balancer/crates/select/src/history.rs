//! A monotonic total that remembers its recent past: "how many up to 300 ms ago", "how many in the last second".
//!
//! One writer, any number of readers, no locks: each bucket is one 64-bit cell, so a reader sees a whole bucket or the
//! whole one before. `net` supplies atomic cells, tests plain ones; the arithmetic is here.

use core::array;
use core::cell::Cell;
use core::time::Duration;

use crate::load::RATE_WINDOW;
use crate::time::Time;

/// Resolution of the past.
pub const BUCKET: Duration = Duration::from_millis(20);
/// How many buckets are kept: 2.56 s.
pub const BUCKETS: usize = 128;
/// How far back a rate counts: one second and the running bucket, so never less than a second.
pub const SECOND: u64 = 50;

/// A cell of 64 bits that is read and written whole. Loads acquire and stores release where threads are involved.
pub trait Cell64 {
    /// The value.
    fn get(&self) -> u64;
    /// A new value.
    fn set(&self, value: u64);
}

impl Cell64 for Cell<u64> {
    fn get(&self) -> u64 {
        Self::get(self)
    }
    fn set(&self, value: u64) {
        Self::set(self, value);
    }
}

/// The total at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The total then; the oldest one remembered where the moment lies further back.
    pub total: u64,
    /// Whether the moment lies within memory.
    pub exact: bool,
}

/// A monotonic total with its last 2.5 s in buckets of 20 ms.
#[derive(Debug)]
pub struct History<C> {
    total: C,
    /// [`mark`] of the bucket (upper half) and the total before the first event in it (lower half, modulo 2³²). A bucket without
    /// events leaves its cell alone, so nothing ticks.
    cells: [C; BUCKETS],
}

impl<C: Cell64 + Default> Default for History<C> {
    fn default() -> Self {
        Self { total: C::default(), cells: array::from_fn(|_| C::default()) }
    }
}

impl<C: Cell64> History<C> {
    /// Counts `amount` more. For one writer with a clock that does not step back.
    pub fn add(&self, amount: u64, now: Time) {
        let bucket = bucket_at(now);
        let total = self.total.get();
        if let Some(cell) = self.cell(bucket)
            && cell.get() >> 32 != mark(bucket)
        {
            cell.set(mark(bucket) << 32 | total & LOW);
        }
        self.total.set(total.wrapping_add(amount));
    }

    /// The total now.
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// The total of all buckets that had ended by `moment`: what was counted in the last 0–20 ms before it is left out.
    pub fn total_by(&self, moment: Time, now: Time) -> Reading {
        let (bucket, current) = (bucket_at(moment.min(now)), bucket_at(now));
        let oldest = current.saturating_sub(REMEMBERED);
        Reading { total: self.before(bucket.max(oldest), current), exact: bucket >= oldest }
    }

    /// How many in the last second, up to 20 ms more: never too few.
    pub fn last_second(&self, now: Time) -> u64 {
        let current = bucket_at(now);
        let before = self.before(current.saturating_sub(SECOND), current);
        self.total.get().wrapping_sub(before)
    }

    /// The total before the first event in any bucket of `first..=current`.
    fn before(&self, first: u64, current: u64) -> u64 {
        let stored = (first..=current)
            .find_map(|bucket| self.cell(bucket).map(Cell64::get).filter(|&cell| cell >> 32 == mark(bucket)));
        // Read after the cells, so it cannot be older than what they say.
        let total = self.total.get();
        stored.map_or(total, |cell| total.wrapping_sub(total.wrapping_sub(cell) & LOW))
    }

    fn cell(&self, bucket: u64) -> Option<&C> {
        self.cells.get(usize::try_from(bucket % BUCKETS as u64).unwrap_or(0))
    }
}

const _: () = assert!(RATE_WINDOW.as_millis() == SECOND as u128 * BUCKET.as_millis());

const LOW: u64 = 0xffff_ffff;
/// Buckets before the running one whose cells cannot have been taken by a later one.
const REMEMBERED: u64 = BUCKETS as u64 - 1;

fn bucket_at(time: Time) -> u64 {
    time.as_nanos() / 20_000_000
}

/// 31 bits of the bucket's number (they come round after 1.3 years) below a bit that tells a used cell from an empty one.
fn mark(bucket: u64) -> u64 {
    bucket & 0x7fff_ffff | 0x8000_0000
}
