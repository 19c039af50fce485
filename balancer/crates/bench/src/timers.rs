//! What is due when. Nearly all that is ever set is one of two durations and is not needed any more when it is due, so
//! those stand in queues in order; the few others in a heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use switchtender_select::Time;

use crate::script::Name;

/// RFC 3261 §17.1.1.1: how long a message over UDP waits before it is sent again.
pub const T1: Duration = Duration::from_millis(500);
/// The longest that any but INVITE waits.
pub const T2: Duration = Duration::from_secs(4);

const SLACK: Duration = Duration::from_millis(2);

/// What may be due for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// INVITE again (Timer A), or the end of waiting for its answer (B).
    Invite,
    /// The 200 of INVITE again, until ACK comes (RFC 3261 §13.3.1.4), or the end of waiting for that.
    Answer,
    /// BYE again (Timer E), or the end of waiting for its answer (F).
    Bye,
    /// To hang up.
    HangUp,
}

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
    /// How long it was waited for.
    pub after: Duration,
    slot: u32,
    serial: u64,
}

impl Due {
    /// For which call.
    pub fn name(&self) -> Name {
        Name::new(self.slot, self.serial)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Timers {
    /// After T1.
    first: VecDeque<Due>,
    /// After the time that calls hold.
    hold: VecDeque<Due>,
    others: BinaryHeap<Reverse<Due>>,
}

impl Timers {
    /// What a call is to be asked about after this time. Calls that hold all do so for the same time.
    pub fn set(&mut self, now: Time, after: Duration, what: What, name: Name) {
        let due = Due { at: now + after, what, after, slot: name.slot, serial: name.serial };
        match what {
            What::HangUp => self.hold.push_back(due),
            _ if after == T1 => self.first.push_back(due),
            _ => self.others.push(Reverse(due)),
        }
    }

    /// Take something that is due.
    pub fn take(&mut self, now: Time) -> Option<Due> {
        let is_due = |due: Option<&Due>| due.is_some_and(|due| due.at <= now);
        if is_due(self.first.front()) {
            self.first.pop_front()
        } else if is_due(self.hold.front()) {
            self.hold.pop_front()
        } else if is_due(self.others.peek().map(|Reverse(due)| due)) {
            self.others.pop().map(|Reverse(due)| due)
        } else {
            None
        }
    }

    /// When something is to be looked at next: what is sent again may be a little late, so that the many that are not
    /// needed any more wake nobody one by one.
    pub fn next(&self) -> Time {
        let again = [self.first.front(), self.others.peek().map(|Reverse(due)| due)];
        let again = again.into_iter().flatten().map(|due| due.at + SLACK).min();
        let hold = self.hold.front().map(|due| due.at);
        again.into_iter().chain(hold).min().unwrap_or(Time::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_when_it_is_due_and_nothing_before() {
        let mut timers = Timers::default();
        let name = |serial| Name::new(1, serial);
        assert_eq!((timers.next(), timers.take(Time::from_secs(9))), (Time::MAX, None));
        timers.set(Time::ZERO, 4 * T1, What::Bye, name(1));
        timers.set(Time::ZERO, T2, What::Invite, name(2));
        timers.set(Time::ZERO, Duration::from_secs(1), What::HangUp, name(3));
        timers.set(Time::from_millis(100), T1, What::Answer, name(4));
        let mut taken = Vec::new();
        while timers.next() != Time::MAX {
            let at = timers.next();
            assert_eq!(timers.take(at - SLACK - Duration::from_nanos(1)), None);
            let due = timers.take(at).unwrap();
            taken.push((due.at.as_millis(), due.what, due.name().serial));
        }
        let expected = [(600, What::Answer, 4), (1000, What::HangUp, 3), (2000, What::Bye, 1), (4000, What::Invite, 2)];
        assert_eq!(taken, expected);
    }
}
