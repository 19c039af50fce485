//! A node that fails call after call is left alone for a while: outlier ejection. All workers count here, at once.
//!
//! Any answer ends a row of failures, but not an ejection that is in force: a node that answers a BYE or an OPTIONS may
//! go on losing INVITEs. What the node reports says nothing about its SIP side and changes nothing here.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use switchtender_select::{Ejection, Time};

/// One node's failures.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// The policy: so many in a row, 0 = never ejected; durations in milliseconds.
    limit: AtomicU32,
    duration: AtomicU32,
    max: AtomicU32,
    in_a_row: AtomicU32,
    /// Ejections that count for how long the next one takes.
    times: AtomicU32,
    until: AtomicU64,
    /// No answer came since the last ejection.
    awaited: AtomicBool,
}

impl Failures {
    /// The policy from now on. Switched off, it ends an ejection.
    pub(crate) fn configure(&self, ejection: Option<&Ejection>) {
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let (limit, duration, max) =
            ejection.map_or((0, 0, 0), |policy| (policy.failures, millis(policy.duration), millis(policy.max)));
        self.duration.store(duration, Ordering::Relaxed);
        self.max.store(max, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        if limit == 0 {
            self.forget();
        }
    }

    /// Another node, or one that began anew: nothing is known against it.
    pub(crate) fn forget(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.times.store(0, Ordering::Relaxed);
        self.until.store(0, Ordering::Relaxed);
        self.awaited.store(false, Ordering::Relaxed);
    }

    /// A call failed there; the time for which the node is ejected, if this was one too many.
    pub(crate) fn failed(&self, now: Time) -> Option<Duration> {
        let until = self.until();
        if now < until {
            // Those that were on their way when it was ejected.
            return None;
        }
        let limit = self.limit.load(Ordering::Relaxed);
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // Of all workers, the one that makes the row complete ejects, and the row begins anew.
        if limit == 0 || in_a_row != limit {
            return None;
        }
        self.in_a_row.store(0, Ordering::Relaxed);
        let millis = |cell: &AtomicU32| Duration::from_millis(cell.load(Ordering::Relaxed).into());
        let (duration, max) = (millis(&self.duration), millis(&self.max));
        // Each healthy time as long as the first ejection takes one of the former ones back.
        let healthy = now.since(until).as_nanos() / duration.as_nanos().max(1);
        let before = self.times.load(Ordering::Relaxed).saturating_sub(u32::try_from(healthy).unwrap_or(u32::MAX));
        let times = before.saturating_add(1);
        let ejected = duration.saturating_mul(times).min(max);
        self.times.store(times, Ordering::Relaxed);
        self.awaited.store(true, Ordering::Relaxed);
        self.until.fetch_max((now + ejected).as_nanos(), Ordering::Relaxed);
        Some(ejected)
    }

    /// The node answered something. True: it is the first answer after an ejection.
    pub(crate) fn answered(&self, now: Time) -> bool {
        // Read first: it is nearly always clear, and a store would take the line from the other workers.
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
        self.awaited.load(Ordering::Relaxed) && now >= self.until() && self.awaited.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn until(&self) -> Time {
        Time::from_nanos(self.until.load(Ordering::Relaxed))
    }

    /// So many in a row by now.
    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(secs: u64) -> Time {
        Time::from_secs(1_000 + secs)
    }

    fn failures() -> Failures {
        let failures = Failures::default();
        failures.configure(Some(&Ejection {
            failures: 3,
            duration: Duration::from_secs(30),
            max: Duration::from_secs(100),
        }));
        failures
    }

    fn fail(failures: &Failures, times: u32, now: Time) -> Option<u64> {
        (0..times).find_map(|_| failures.failed(now)).map(|time| time.as_secs())
    }

    #[test]
    fn only_a_whole_row_ejects_and_an_answer_ends_a_row() {
        let failures = failures();
        assert_eq!(fail(&failures, 2, s(0)), None);
        assert_eq!(failures.in_a_row(), 2);
        assert!(!failures.answered(s(1)));
        assert_eq!(fail(&failures, 2, s(2)), None);
        assert_eq!(fail(&failures, 1, s(3)), Some(30));
        assert_eq!((failures.until(), failures.in_a_row()), (s(33), 0));
    }

    #[test]
    fn while_it_is_ejected_nothing_counts_and_answers_do_not_end_it() {
        let failures = failures();
        assert_eq!(fail(&failures, 3, s(0)), Some(30));
        assert_eq!(fail(&failures, 10, s(29)), None);
        assert!(!failures.answered(s(29)));
        assert_eq!((failures.until(), failures.in_a_row()), (s(30), 0));
        assert!(failures.answered(s(31)), "it is back");
        assert!(!failures.answered(s(32)), "which is told once");
    }

    #[test]
    fn each_further_one_takes_longer_until_it_was_healthy_for_a_while() {
        let failures = failures();
        assert_eq!(fail(&failures, 3, s(0)), Some(30));
        assert_eq!(fail(&failures, 3, s(30)), Some(60));
        assert_eq!(fail(&failures, 3, s(90)), Some(90));
        assert_eq!(fail(&failures, 3, s(180)), Some(100), "the longest");
        // Back at 280; of four ejections two healthy times take two.
        assert_eq!(fail(&failures, 3, s(340)), Some(90));
        assert_eq!(fail(&failures, 3, s(4_000)), Some(30));
    }

    #[test]
    fn without_a_policy_nobody_is_ejected() {
        let failures = Failures::default();
        assert_eq!(fail(&failures, 100, s(0)), None);
        let failures = self::failures();
        assert_eq!(fail(&failures, 3, s(0)), Some(30));
        failures.configure(None);
        assert_eq!(failures.until(), Time::ZERO);
        assert_eq!(fail(&failures, 100, s(1)), None);
    }

    /// Stress: however workers' failures interleave, each row ejects once.
    #[test]
    fn one_row_ejects_once() {
        let failures = Failures::default();
        failures.configure(Some(&Ejection {
            failures: 1000,
            duration: Duration::from_secs(30),
            max: Duration::from_secs(30),
        }));
        let ejections: usize = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..500).filter(|_| failures.failed(s(0)).is_some()).count())).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(ejections, 1);
    }
}
