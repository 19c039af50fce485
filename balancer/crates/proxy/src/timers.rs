//! Pending timers: one queue per distinct duration, so that each queue is in order of time by itself.
//!
//! SIP has few distinct durations (T1 doubled up to T2, 64·T1, T4, Timer C and two per group), so setting a timer is an
//! append. Cancelling is lazy: an entry whose time is not the one its transaction now waits for is passed over when its
//! time comes. Knows no transaction.

use std::collections::VecDeque;
use std::time::Duration;

use switchtender_select::Time;

/// Queues by duration. `K` says what is due.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    queues: Vec<Queue<K>>,
    /// The latest `now` seen: keeps each queue in order should time be handed in out of order.
    latest: Time,
}

#[derive(Debug)]
struct Queue<K> {
    duration: Duration,
    entries: VecDeque<(Time, K)>,
}

impl<K: Copy> Timers<K> {
    pub(crate) const fn new() -> Self {
        Self { queues: Vec::new(), latest: Time::ZERO }
    }

    /// Sets a timer and returns when it is due.
    pub(crate) fn set(&mut self, now: Time, duration: Duration, key: K) -> Time {
        self.latest = self.latest.max(now);
        let due = self.latest + duration;
        self.queue(duration).entries.push_back((due, key));
        due
    }

    fn queue(&mut self, duration: Duration) -> &mut Queue<K> {
        let found = self.queues.iter().position(|queue| queue.duration == duration);
        // An empty queue may change its duration: durations that no group uses any more leave nothing behind.
        let found = found.or_else(|| self.queues.iter().position(|queue| queue.entries.is_empty()));
        let index = found.unwrap_or_else(|| {
            self.queues.push(Queue { duration, entries: VecDeque::new() });
            self.queues.len() - 1
        });
        let queue = &mut self.queues[index];
        queue.duration = duration;
        queue
    }

    /// When the next timer is due; it may turn out to be cancelled.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.queues.iter().filter_map(|queue| Some(queue.entries.front()?.0)).min()
    }

    /// Takes the earliest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, K)> {
        let due = |queue: &&mut Queue<K>| queue.entries.front().is_some_and(|(at, _)| *at <= now);
        let first = |queue: &&mut Queue<K>| queue.entries.front().map(|(at, _)| *at);
        self.queues.iter_mut().filter(due).min_by_key(first)?.entries.pop_front()
    }

    /// Every pending entry, cancelled ones included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Time, K)> {
        self.queues.iter().flat_map(|queue| queue.entries.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_order_of_time_over_all_durations() {
        let mut timers = Timers::new();
        let start = Time::from_secs(1);
        timers.set(start, Duration::from_millis(500), 'b');
        timers.set(start, Duration::from_secs(4), 'd');
        timers.set(start, Duration::from_millis(100), 'a');
        timers.set(start + Duration::from_millis(100), Duration::from_millis(500), 'c');
        assert_eq!(timers.next_deadline(), Some(start + Duration::from_millis(100)));
        assert_eq!(timers.pop_due(start), None);
        let mut order = String::new();
        while let Some((_, key)) = timers.pop_due(start + Duration::from_secs(4)) {
            order.push(key);
        }
        assert_eq!(order, "abcd");
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_clock_that_steps_back_leaves_each_queue_in_order() {
        let mut timers = Timers::new();
        timers.set(Time::from_secs(10), Duration::from_secs(1), 1);
        let due = timers.set(Time::from_secs(5), Duration::from_secs(1), 2);
        assert_eq!(due, Time::from_secs(11));
        assert_eq!(timers.pop_due(Time::from_secs(11)).map(|(_, key)| key), Some(1));
        assert_eq!(timers.pop_due(Time::from_secs(11)).map(|(_, key)| key), Some(2));
    }

    #[test]
    fn durations_no_longer_used_leave_no_queue_behind() {
        let mut timers = Timers::new();
        for second in 1..100 {
            timers.set(Time::from_secs(second), Duration::from_millis(second), ());
            assert!(timers.pop_due(Time::from_secs(second + 1)).is_some());
        }
        assert_eq!(timers.queues.len(), 1);
        assert_eq!(timers.iter().count(), 0);
    }
}
