//! When the next call is due at a fixed rate: evenly spaced, however late one looks. What was missed is due at once, and
//! whoever asks takes it in bursts of bounded size.

use std::time::Duration;

use switchtender_select::Time;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    start: Time,
    per_second: f64,
    taken: u64,
}

impl Pace {
    /// So many a second from `start` on; the first is due then.
    pub fn new(start: Time, per_second: f64) -> Self {
        Self { start, per_second, taken: 0 }
    }

    /// When the next one is due. Reckoned from the start, so that no error adds up.
    pub fn due(&self) -> Time {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let seconds = self.taken as f64 / self.per_second;
        self.start + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Take one that is due; tells how late it is taken.
    pub fn take(&mut self, now: Time) -> Option<Duration> {
        let due = self.due();
        (due <= now).then(|| {
            self.taken += 1;
            now.since(due)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_evenly_spaced_and_none_is_lost_by_looking_late() {
        let start = Time::from_secs(5);
        let mut pace = Pace::new(start, 1500.0);
        assert_eq!(pace.take(Time::from_millis(4999)), None);
        assert_eq!(pace.take(start), Some(Duration::ZERO));
        assert_eq!(pace.take(start), None);
        assert_eq!(pace.due(), start + Duration::from_nanos(666_667));
        let mut taken = 1;
        while pace.take(Time::from_secs(6)).is_some() {
            taken += 1;
        }
        assert_eq!(taken, 1501, "one at the start and one at the end of the second");
        assert_eq!(pace.due(), Time::from_secs(6) + Duration::from_nanos(666_667));
    }

    #[test]
    fn an_hour_has_as_many_as_the_rate_says() {
        let mut pace = Pace::new(Time::ZERO, 0.3);
        let mut taken = 0;
        for second in 0..3600 {
            while pace.take(Time::from_secs(second)).is_some() {
                taken += 1;
            }
        }
        assert_eq!(taken, 1080);
    }
}
