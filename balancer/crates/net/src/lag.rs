//! How far a worker is behind: how long the packet in hand may have waited.
//!
//! Measured without asking the kernel per packet: none that waits now came before the last time that every socket was
//! seen empty.

use std::time::Duration;

use switchtender_select::Time;

/// Packets that wait longer than T1 (RFC 3261 §17.1.1.1) are sent again by their senders: from there on lagging feeds
/// on itself, so new calls are refused.
const LIMIT: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct Lag {
    empty_at: Time,
    emptied: bool,
}

impl Default for Lag {
    fn default() -> Self {
        Self { empty_at: Time::ZERO, emptied: true }
    }
}

impl Lag {
    /// A turn begins. After one that left nothing behind, the sockets were empty until we were woken.
    pub(crate) fn turn(&mut self, now: Time) {
        if std::mem::replace(&mut self.emptied, true) {
            self.empty_at = now;
        }
    }

    /// A socket may still hold something at the end of the turn.
    pub(crate) fn leave_behind(&mut self) {
        self.emptied = false;
    }

    /// How long a packet taken now may have waited, and whether that is too long.
    pub(crate) fn at(&self, now: Time) -> (Duration, bool) {
        let lag = now.since(self.empty_at);
        (lag, lag > LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn an_idle_worker_is_never_behind() {
        let mut lag = Lag::default();
        for at in [0, 10, 60_000] {
            lag.turn(ms(at));
            assert_eq!(lag.at(ms(at)), (Duration::ZERO, false));
        }
    }

    #[test]
    fn what_is_left_behind_ages_until_everything_was_read() {
        let mut lag = Lag::default();
        lag.turn(ms(100));
        lag.leave_behind();
        lag.turn(ms(300));
        lag.leave_behind();
        assert_eq!(lag.at(ms(300)), (Duration::from_millis(200), false));
        lag.turn(ms(601));
        assert_eq!(lag.at(ms(601)), (Duration::from_millis(501), true), "still the same backlog");
        lag.turn(ms(700));
        assert_eq!(lag.at(ms(700)), (Duration::ZERO, false));
    }

    #[test]
    fn a_long_turn_is_lag_too() {
        let mut lag = Lag::default();
        lag.turn(ms(100));
        assert_eq!(lag.at(ms(700)), (Duration::from_millis(600), true));
    }
}
