//! How long things took, to within 1/64 of each value, in constant room: so that a 99.9th percentile can be told after
//! millions of them.

use std::time::Duration;

use serde::Serialize;

/// Steps between a power of two and the next.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.ilog2();
const BUCKETS: usize = 59 * 64;

/// See the module.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// By value in nanoseconds, finer for small ones.
    counts: Box<[u64]>,
    len: u64,
    max: u64,
}

/// Microseconds that so many of a hundred or thousand took at most; zeros where there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// All.
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), len: 0, max: 0 }
    }
}

impl Histogram {
    /// Add one.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
        }
        self.len += 1;
        self.max = self.max.max(nanos);
    }

    /// Forget everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.len, self.max) = (0, 0);
    }

    /// The value that `share` of all (0 to 1) do not exceed, in nanoseconds: at most 1/64 too much, never too little.
    pub fn quantile(&self, share: f64) -> u64 {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts"
        )]
        let wanted = ((self.len as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_bound(bucket).min(self.max);
            }
        }
        self.max
    }

    /// The usual ones.
    pub fn percentiles(&self) -> Percentiles {
        let at = |share| micros(self.quantile(share));
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: micros(self.max) }
    }
}

fn bucket(nanos: u64) -> usize {
    // How many of the lowest bits do not count.
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let step = nanos >> shift;
    usize::try_from(u64::from(shift) * STEPS + step).unwrap_or(usize::MAX)
}

fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = bucket - shift * STEPS;
    u64::try_from(((u128::from(step) + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "microseconds below 2^52")]
fn micros(nanos: u64) -> f64 {
    (nanos / 100) as f64 / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_lies_in_a_bucket_that_ends_at_most_a_step_above_it(nanos in any::<u64>(), bits in 0_u32..64) {
            let nanos = nanos >> bits;
            let bound = upper_bound(bucket(nanos));
            prop_assert!(bucket(nanos) < BUCKETS);
            prop_assert!(nanos <= bound && bound - nanos <= nanos / STEPS, "{nanos} {bound}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), Percentiles::default());
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let told = histogram.percentiles();
        for (value, exact) in [(told.p50, 500.0), (told.p90, 900.0), (told.p99, 990.0), (told.p999, 999.0)] {
            assert!(value >= exact && value <= exact * 65.0 / 64.0, "{value} for {exact}");
        }
        assert!((told.max - 1000.0).abs() < f64::EPSILON);
        histogram.clear();
        assert_eq!(histogram.percentiles(), Percentiles::default());
    }
}
