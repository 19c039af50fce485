//! Our own stop: everything is served on until no transaction was open for 5 s, at the latest until the deadline. The
//! 5 s count from the stop's beginning at the earliest: new calls still come until everybody knows that we go.
//!
//! All workers end together, since the kernel spreads packets over the sockets of those that are left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use switchtender_select::Time;

/// A quiet of this length means that nothing is being set up or torn down.
const QUIET: Duration = Duration::from_secs(5);
const NEVER: u64 = u64::MAX;

/// What workers and the control side agree by.
#[derive(Debug)]
pub(crate) struct Stop {
    deadline: AtomicU64,
    begun_at: AtomicU64,
    /// Since when each worker has no open transaction; `NEVER` while it has.
    quiet_since: Box<[AtomicU64]>,
    over: AtomicBool,
}

impl Stop {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            deadline: AtomicU64::new(NEVER),
            begun_at: AtomicU64::new(NEVER),
            quiet_since: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            over: AtomicBool::new(false),
        }
    }

    /// Begin, or bring the end nearer.
    pub(crate) fn begin(&self, now: Time, deadline: Time) {
        self.begun_at.fetch_min(now.as_nanos(), Ordering::Relaxed);
        // NEVER means "not asked", so the latest deadline there is comes one before.
        self.deadline.fetch_min(deadline.as_nanos().min(NEVER - 1), Ordering::Relaxed);
    }

    pub(crate) fn begun(&self) -> bool {
        self.deadline.load(Ordering::Relaxed) != NEVER
    }

    /// A worker tells whether it has open transactions.
    pub(crate) fn tell(&self, worker: usize, open: usize, now: Time) {
        let Some(since) = self.quiet_since.get(worker) else { return };
        let was_quiet = since.load(Ordering::Relaxed) != NEVER;
        match (open == 0, was_quiet) {
            (true, false) => since.store(now.as_nanos(), Ordering::Relaxed),
            (false, true) => since.store(NEVER, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Whether it is time to end. Once true for one worker, it is true for all.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        if self.over.load(Ordering::Relaxed) {
            return true;
        }
        let deadline = self.deadline.load(Ordering::Relaxed);
        if deadline == NEVER {
            return false;
        }
        let begun_at = self.begun_at.load(Ordering::Relaxed);
        let quiet = self.quiet_since.iter().all(|since| {
            let since = since.load(Ordering::Relaxed).max(begun_at);
            since != NEVER && now.since(Time::from_nanos(since)) >= QUIET
        });
        let over = quiet || now.as_nanos() >= deadline;
        if over {
            self.over.store(true, Ordering::Relaxed);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    #[test]
    fn nothing_ends_that_was_not_asked_to() {
        let stop = Stop::new(1);
        assert!(!stop.begun());
        assert!(!stop.is_over(s(1_000_000)));
    }

    #[test]
    fn ends_after_five_quiet_seconds_of_all_workers() {
        let stop = Stop::new(2);
        stop.tell(0, 3, s(100));
        stop.tell(1, 0, s(100));
        stop.begin(s(100), s(280));
        assert!(stop.begun());
        assert!(!stop.is_over(s(200)), "a transaction is open");
        stop.tell(0, 0, s(200));
        stop.tell(0, 0, s(203));
        assert!(!stop.is_over(s(204)));
        assert!(stop.is_over(s(205)));
        stop.tell(1, 1, s(205));
        assert!(stop.is_over(s(205)), "the workers end together");
    }

    #[test]
    fn a_new_transaction_begins_the_quiet_anew() {
        let stop = Stop::new(1);
        stop.begin(s(90), s(1000));
        stop.tell(0, 1, s(92));
        stop.tell(0, 0, s(100));
        stop.tell(0, 1, s(104));
        stop.tell(0, 0, s(105));
        assert!(!stop.is_over(s(109)));
        assert!(stop.is_over(s(110)));
    }

    #[test]
    fn quiet_before_the_stop_does_not_count() {
        let stop = Stop::new(1);
        stop.begin(s(100), s(1000));
        stop.begin(s(103), s(900));
        assert!(!stop.is_over(s(104)), "a call may be on its way");
        assert!(stop.is_over(s(105)));
    }

    #[test]
    fn the_deadline_ends_it_whatever_is_open_and_only_comes_nearer() {
        let stop = Stop::new(1);
        stop.tell(0, 1, s(0));
        stop.begin(s(0), s(100));
        stop.begin(s(1), s(50));
        stop.begin(s(2), s(200));
        assert!(!stop.is_over(s(49)));
        assert!(stop.is_over(s(50)));
    }
}
