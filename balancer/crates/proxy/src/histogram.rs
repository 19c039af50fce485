//! A log-linear histogram of durations: fixed size, relative error at most 1/16. Knows nothing of what it measures.

use std::time::Duration;

/// Buckets per power of two.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts durations by bucket, in microseconds: exact below 16 µs, then 16 buckets for each power of two up to 2^36 µs
/// (about 19 hours), the last one open.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: [u64; Self::BUCKETS],
    sum_micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; Self::BUCKETS], sum_micros: 0 }
    }
}

impl Histogram {
    /// How many buckets there are.
    pub const BUCKETS: usize = 33 * 16;

    /// Adds one observation.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(Self::bucket_of(micros)) {
            *bucket += 1;
        }
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// Observations by bucket; bucket `i` holds those below [`Histogram::upper_micros`]`(i)` and not below that of `i − 1`.
    pub fn buckets(&self) -> &[u64; Self::BUCKETS] {
        &self.buckets
    }

    /// The sum of all observations, in microseconds.
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros
    }

    /// The exclusive upper bound of a bucket, in microseconds.
    pub fn upper_micros(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < STEPS {
            return bucket + 1;
        }
        let shift = bucket / STEPS - 1;
        (STEPS + bucket % STEPS + 1) << shift
    }

    fn bucket_of(micros: u64) -> usize {
        let bucket = if micros < STEPS {
            micros
        } else {
            let shift = u64::BITS - 1 - micros.leading_zeros() - STEP_BITS;
            (u64::from(shift) + 1) * STEPS + (micros >> shift) - STEPS
        };
        usize::try_from(bucket).unwrap_or(usize::MAX).min(Self::BUCKETS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_below_its_bound_and_not_below_the_one_before() {
        for micros in (0..5_000).chain([65_535, 65_536, 1 << 20, (1 << 35) + 12_345]) {
            let bucket = Histogram::bucket_of(micros);
            assert!(micros < Histogram::upper_micros(bucket), "{micros}");
            assert!(bucket == 0 || micros >= Histogram::upper_micros(bucket - 1), "{micros}");
        }
        assert_eq!(Histogram::bucket_of(u64::MAX), Histogram::BUCKETS - 1);
    }

    #[test]
    fn observations_are_counted_and_summed() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_millis(4));
        histogram.record(Duration::from_millis(4));
        assert_eq!(histogram.buckets().iter().sum::<u64>(), 2);
        assert_eq!(histogram.sum_micros(), 8_000);
    }
}
