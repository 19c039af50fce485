//! The calls that are followed by their Call-ID: begun and ended by the control side, looked up by every worker.
//!
//! While none is followed a worker reads one atomic for each message and no more. Knows no SIP: a worker's
//! [`crate::tracer::Tracer`] says whose Call-ID a message carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use memchr::memmem::Finder;
use switchtender_select::Time;

/// Calls followed at once.
const MOST: usize = 8;
/// A Call-ID is longer than a datagram only by mistake.
const LONGEST: usize = 1024;
/// Messages a second that one trace may ask for.
const MOST_PER_SECOND: u32 = 10_000;

/// Why a call cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// No more room.
    #[error("{MOST} calls are traced already; end one of those first")]
    TooMany,
    /// The number names another one.
    #[error("a trace with this id stands already")]
    SameId,
    /// No Call-ID of this length can be meant.
    #[error("the Call-ID has to have 1 to {LONGEST} bytes")]
    CallId,
    /// A limit that lets nothing through, or everything.
    #[error("the messages per second have to be 1 to {MOST_PER_SECOND}")]
    PerSecond,
}

/// One call that is followed.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: u64,
    call_id: Finder<'static>,
    until: Time,
    per_second: u32,
    messages: Second,
    decisions: Second,
    left_out: AtomicU64,
}

impl Trace {
    fn is_over(&self, now: Time) -> bool {
        self.until <= now
    }

    /// Whether its Call-ID stands somewhere in these bytes: nearly always enough to say that a message is not its.
    pub(crate) fn may_be_in(&self, bytes: &[u8], now: Time) -> bool {
        !self.is_over(now) && self.call_id.find(bytes).is_some()
    }

    /// Whether this is its Call-ID (RFC 3261 §8.1.1.4: compared byte by byte).
    pub(crate) fn is_of(&self, call_id: &[u8]) -> bool {
        self.call_id.needle() == call_id
    }

    /// Whether one more message fits this second; one that does not is counted.
    pub(crate) fn takes_message(&self, now: Time) -> bool {
        self.takes(&self.messages, now)
    }

    /// Whether one more decision fits this second; one that does not is counted.
    pub(crate) fn takes_decision(&self, now: Time) -> bool {
        self.takes(&self.decisions, now)
    }

    fn takes(&self, second: &Second, now: Time) -> bool {
        let takes = second.take(now, self.per_second);
        if !takes {
            self.leave_out();
        }
        takes
    }

    /// Something of it was not told.
    pub(crate) fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }
}

/// How much was let through in the present second, over all workers: the second above, the count below.
#[derive(Debug, Default)]
struct Second(AtomicU64);

impl Second {
    fn take(&self, now: Time, most: u32) -> bool {
        let second = (now.as_nanos() / 1_000_000_000) & u64::from(u32::MAX);
        let next = |state: u64| {
            let count = if state >> 32 == second { state & u64::from(u32::MAX) } else { 0 };
            (count < u64::from(most)).then_some(second << 32 | (count + 1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// See the module. Written by the control side, one call at a time.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// When the last of them ends, in nanoseconds; 0 without any.
    until: AtomicU64,
    list: ArcSwap<Vec<Arc<Trace>>>,
}

impl Traces {
    /// Whether any call is followed now.
    #[inline]
    pub(crate) fn any(&self, now: Time) -> bool {
        now.as_nanos() < self.until.load(Ordering::Relaxed)
    }

    /// Those that stand, ended ones possibly among them.
    pub(crate) fn list(&self) -> Guard<Arc<Vec<Arc<Trace>>>> {
        self.list.load()
    }

    /// How many are followed now.
    pub(crate) fn active(&self, now: Time) -> usize {
        self.list.load().iter().filter(|trace| !trace.is_over(now)).count()
    }

    /// Follow one more call; what is over makes room.
    pub(crate) fn begin(
        &self,
        id: u64,
        call_id: &[u8],
        (now, until): (Time, Time),
        per_second: u32,
    ) -> Result<(), TraceError> {
        if call_id.is_empty() || call_id.len() > LONGEST {
            return Err(TraceError::CallId);
        }
        if !(1..=MOST_PER_SECOND).contains(&per_second) {
            return Err(TraceError::PerSecond);
        }
        let mut list = self.list.load().to_vec();
        if list.iter().any(|trace| trace.id == id) {
            return Err(TraceError::SameId);
        }
        if list.len() >= MOST {
            list.retain(|trace| !trace.is_over(now));
        }
        if list.len() >= MOST {
            return Err(TraceError::TooMany);
        }
        list.push(Arc::new(Trace {
            id,
            call_id: Finder::new(call_id).into_owned(),
            until,
            per_second,
            messages: Second::default(),
            decisions: Second::default(),
            left_out: AtomicU64::new(0),
        }));
        self.replace(list);
        Ok(())
    }

    /// Follow it no more, and forget it; what was left out of it, 0 for one that is not known.
    pub(crate) fn end(&self, id: u64) -> u64 {
        let left_out = self.left_out(id);
        self.replace(self.list.load().iter().filter(|trace| trace.id != id).cloned().collect());
        left_out
    }

    /// What was left out of it so far, for want of room or for its limit; 0 for one that is not known.
    pub(crate) fn left_out(&self, id: u64) -> u64 {
        let list = self.list.load();
        list.iter().find(|trace| trace.id == id).map_or(0, |trace| trace.left_out.load(Ordering::Relaxed))
    }

    fn replace(&self, list: Vec<Arc<Trace>>) {
        let until = list.iter().map(|trace| trace.until.as_nanos()).max().unwrap_or(0);
        self.list.store(Arc::new(list));
        self.until.store(until, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(call_ids: &[&str]) -> Traces {
        let traces = Traces::default();
        for (call_id, id) in call_ids.iter().zip(1..) {
            traces.begin(id, call_id.as_bytes(), (Time::ZERO, Time::from_secs(10)), 2).unwrap();
        }
        traces
    }

    #[test]
    fn the_last_end_is_the_end_of_all_and_what_is_over_makes_room() {
        let traces = followed(&["a", "b"]);
        traces.begin(3, b"c", (Time::ZERO, Time::from_secs(20)), 1).unwrap();
        assert!(traces.any(Time::from_secs(19)) && !traces.any(Time::from_secs(20)));
        assert_eq!((traces.active(Time::from_secs(9)), traces.active(Time::from_secs(10))), (3, 1));
        for id in 4..=8 {
            traces.begin(id, b"d", (Time::ZERO, Time::from_secs(20)), 1).unwrap();
        }
        let begin = |now, id| traces.begin(id, b"e", (Time::from_secs(now), Time::from_secs(30)), 1);
        assert_eq!(begin(9, 9), Err(TraceError::TooMany));
        assert_eq!(begin(10, 8), Err(TraceError::SameId));
        assert_eq!(begin(10, 9), Ok(()));
        for id in 3..=9 {
            traces.end(id);
        }
        assert!(!traces.any(Time::ZERO), "nothing is left of it");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let traces = Traces::default();
        let begin = |call_id: &[u8], per_second| traces.begin(1, call_id, (Time::ZERO, Time::MAX), per_second);
        assert_eq!(begin(b"", 1), Err(TraceError::CallId));
        assert_eq!(begin(&[b'x'; LONGEST + 1], 1), Err(TraceError::CallId));
        assert_eq!(begin(b"x", 0), Err(TraceError::PerSecond));
        assert_eq!(begin(b"x", MOST_PER_SECOND + 1), Err(TraceError::PerSecond));
        assert!(!traces.any(Time::ZERO));
    }

    #[test]
    fn each_second_lets_so_many_through_and_the_rest_is_counted() {
        let traces = followed(&["a"]);
        let trace = Arc::clone(&traces.list()[0]);
        let taken = |now| (0..5).filter(|_| trace.takes_message(now)).count();
        assert_eq!((taken(Time::from_millis(1500)), taken(Time::from_millis(1999))), (2, 0));
        assert_eq!((taken(Time::from_millis(2000)), traces.left_out(1)), (2, 11));
        assert!(trace.takes_decision(Time::from_millis(2001)), "decisions have room of their own");
        assert_eq!((traces.end(1), traces.end(1), traces.left_out(1)), (11, 0, 0));
    }

    #[test]
    fn a_call_id_is_looked_for_until_its_end() {
        let traces = followed(&["1@host"]);
        let trace = Arc::clone(&traces.list()[0]);
        assert!(trace.may_be_in(b"Call-ID: 11@host", Time::from_secs(9)), "whose it is, is another question");
        assert!(!trace.is_of(b"11@host") && trace.is_of(b"1@host"));
        assert!(!trace.may_be_in(b"Call-ID: 1@host", Time::from_secs(10)));
        assert!(!trace.may_be_in(b"Call-ID: 1@HOST", Time::ZERO));
    }
}
