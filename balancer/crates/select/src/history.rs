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
pub const SECOND: u32 = 50;

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
    /// Bucket number (upper half) and the total before the first event in it (lower half, modulo 2³²). A bucket without
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
            && stamp(cell.get()) != bucket
        {
            cell.set(u64::from(bucket) << 32 | total & u64::from(u32::MAX));
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
        let age = current.wrapping_sub(bucket);
        let remembered = u32::try_from(BUCKETS).unwrap_or(u32::MAX) - 1;
        let first = if age < remembered { bucket } else { current.wrapping_sub(remembered) };
        Reading { total: self.before(first, current), exact: age < remembered }
    }

    /// How many in the last second, up to 20 ms more: never too few.
    pub fn last_second(&self, now: Time) -> u64 {
        let current = bucket_at(now);
        let before = self.before(current.wrapping_sub(SECOND), current);
        self.total.get().wrapping_sub(before)
    }

    /// The total before the first event in any bucket of `first..=current`.
    fn before(&self, first: u32, current: u32) -> u64 {
        let span = current.wrapping_sub(first);
        let stored = (0..=span).find_map(|offset| {
            let bucket = first.wrapping_add(offset);
            self.cell(bucket).map(Cell64::get).filter(|&cell| stamp(cell) == bucket)
        });
        // Read after the cells, so it cannot be older than what they say.
        let total = self.total.get();
        let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
        stored.map_or(total, |cell| total.wrapping_sub(u64::from(low(total).wrapping_sub(low(cell)))))
    }

    fn cell(&self, bucket: u32) -> Option<&C> {
        self.cells.get(usize::try_from(bucket).unwrap_or(0) % BUCKETS)
    }
}

const _: () = assert!(RATE_WINDOW.as_millis() == SECOND as u128 * BUCKET.as_millis());

/// The number of the bucket; wraps after 2.7 years, which the comparisons above bear. Bucket 0 never occurs, so that an
/// empty cell is none.
fn bucket_at(time: Time) -> u32 {
    let number = time.as_nanos() / 20_000_000 + 1;
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

fn stamp(cell: u64) -> u32 {
    u32::try_from(cell >> 32).unwrap_or(0)
}
