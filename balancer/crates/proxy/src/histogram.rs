//! A histogram of durations with fixed bounds: small enough to have one for each group and worker. Knows nothing of
//! what it measures.

use std::time::Duration;

/// Bounds that a histogram has, but for the last bucket, which has none.
pub const BOUNDS: usize = 14;

/// The upper bounds of a histogram's buckets, inclusive and growing, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds([u64; BOUNDS]);

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

impl Bounds {
    /// For what a network and a callee take: 0.25 ms to 30 s.
    pub const ANSWERS: Self = Self([
        MILLI / 4,
        MILLI,
        5 * MILLI / 2,
        5 * MILLI,
        10 * MILLI,
        25 * MILLI,
        100 * MILLI,
        250 * MILLI,
        500 * MILLI,
        SECOND,
        5 * SECOND / 2,
        5 * SECOND,
        10 * SECOND,
        30 * SECOND,
    ]);

    /// For what our own steps take: 100 ns to 1 ms.
    pub const STEPS: Self = Self([
        100,
        200,
        300,
        500,
        MICRO,
        2 * MICRO,
        3 * MICRO,
        5 * MICRO,
        10 * MICRO,
        20 * MICRO,
        50 * MICRO,
        100 * MICRO,
        250 * MICRO,
        MILLI,
    ]);

    /// Each bound, in nanoseconds.
    pub fn nanos(&self) -> &[u64; BOUNDS] {
        &self.0
    }
}

/// Counts durations by bucket. Which bounds those have is its owner's to know, and the same at every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many lie in each bucket; the one after the last bound is open.
    pub counts: [u64; BOUNDS + 1],
    /// The sum of all observations, in nanoseconds.
    pub sum_nanos: u64,
}

impl Histogram {
    /// Adds one observation.
    pub fn record(&mut self, bounds: &Bounds, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bounds.0.partition_point(|bound| *bound < nanos);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(nanos);
    }

    /// Each number of this and of the other one, turned into one by `join`.
    pub fn merge(&mut self, other: &Self, join: fn(u64, u64) -> u64) {
        for (mine, other) in self.counts.iter_mut().zip(other.counts) {
            *mine = join(*mine, other);
        }
        self.sum_nanos = join(self.sum_nanos, other.sum_nanos);
    }

    /// How many observations there are.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_within_its_bound_and_beyond_the_one_before() {
        for bounds in [Bounds::ANSWERS, Bounds::STEPS] {
            assert!(bounds.nanos().is_sorted_by(|one, next| one < next));
            for (bucket, bound) in bounds.nanos().iter().enumerate() {
                let mut histogram = Histogram::default();
                histogram.record(&bounds, Duration::from_nanos(*bound));
                histogram.record(&bounds, Duration::from_nanos(bound + 1));
                assert_eq!((histogram.counts[bucket], histogram.counts[bucket + 1]), (1, 1), "{bound}");
            }
        }
    }

    #[test]
    fn observations_are_counted_and_summed() {
        let mut histogram = Histogram::default();
        assert!(histogram.is_empty());
        histogram.record(&Bounds::ANSWERS, Duration::ZERO);
        histogram.record(&Bounds::ANSWERS, Duration::from_millis(4));
        histogram.record(&Bounds::ANSWERS, Duration::from_secs(3600));
        assert_eq!(histogram.len(), 3);
        assert_eq!((histogram.counts[0], histogram.counts[BOUNDS]), (1, 1));
        assert_eq!(histogram.sum_nanos, 3_600_004_000_000);
    }
}
