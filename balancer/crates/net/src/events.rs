//! What happened, for the control side: small records in bounded rings. Nothing depends on one arriving.

use switchtender_proxy::{Event, Refusal, Silence};
use switchtender_select::{NodeSlot, Time};

use crate::nodes::Turned;

/// A log record's weight, as Python's `logging` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Warning,
    Error,
}

/// One entry of a ring.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at: Time,
    pub(crate) what: What,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum What {
    Proxy(Event),
    /// A node was ejected, or came back from that.
    Turned(Turned),
    /// A panic was caught; the message.
    Panicked(Box<str>),
    Log(Level, Box<str>),
}

/// A record as the control side reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// What kind: see the table of kinds in the Python stub.
    pub kind: &'static str,
    /// Seconds of `CLOCK_MONOTONIC`.
    pub time: f64,
    /// The worker that tells.
    pub worker: u8,
    /// The node's uid; empty where it is about none.
    pub uid: String,
    /// SIP status, `logging` level, or 0.
    pub code: u16,
    /// In words.
    pub detail: String,
}

impl What {
    /// The record, with the node named by `uid_of`.
    pub(crate) fn told(self, at: Time, worker: u8, uid_of: impl Fn(NodeSlot) -> Option<String>) -> EventRecord {
        let (kind, node, code, detail) = match self {
            Self::Proxy(Event::Refused { node, status, why }) => {
                ("node_refused", Some(node), status, refusal(why).to_owned())
            }
            Self::Proxy(Event::TimedOut { node, what }) => ("node_timed_out", Some(node), 0, silence(what).to_owned()),
            Self::Proxy(Event::TransportError { node }) => ("node_transport_error", Some(node), 0, String::new()),
            Self::Proxy(Event::ShutdownSeen { node }) => ("shutdown_seen", Some(node), 0, String::new()),
            Self::Turned(Turned::Ejected(node, time)) => (
                "node_ejected",
                Some(node),
                0,
                format!("for {} s after calls that failed in a row", time.as_secs_f64()),
            ),
            Self::Turned(Turned::Returned(node)) => ("node_returned", Some(node), 0, String::new()),
            Self::Panicked(message) => ("worker_panicked", None, 0, message.into()),
            Self::Log(Level::Warning, message) => ("log", None, 30, message.into()),
            Self::Log(Level::Error, message) => ("log", None, 40, message.into()),
        };
        let uid = node.and_then(uid_of).unwrap_or_default();
        #[allow(
            clippy::cast_precision_loss,
            reason = "nanoseconds of uptime: a double holds microseconds of centuries"
        )]
        let time = at.as_nanos() as f64 / 1e9;
        EventRecord { kind, time, worker, uid, code, detail }
    }
}

const fn refusal(why: Refusal) -> &'static str {
    match why {
        Refusal::MaximumCalls => "Maximum Calls In Progress",
        Refusal::Paused => "System Paused",
        Refusal::Busy => "System Busy",
        Refusal::Code => "retried by the group's rules",
    }
}

const fn silence(what: Silence) -> &'static str {
    match what {
        Silence::FirstResponse => "no response",
        Silence::Progress => "nothing after its 100",
        Silence::Transaction => "no final response",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_node_and_reason() {
        let event = Event::Refused { node: NodeSlot(4), status: 503, why: Refusal::Paused };
        let record = What::Proxy(event).told(Time::from_millis(1500), 2, |slot| Some(format!("node {}", slot.0)));
        let expected = EventRecord {
            kind: "node_refused",
            time: 1.5,
            worker: 2,
            uid: "node 4".into(),
            code: 503,
            detail: "System Paused".into(),
        };
        assert_eq!(record, expected);
    }

    #[test]
    fn an_ejection_says_for_how_long() {
        let turned = Turned::Ejected(NodeSlot(4), std::time::Duration::from_millis(1500));
        let record = What::Turned(turned).told(Time::ZERO, 0, |_| Some("fs1".into()));
        assert_eq!((record.kind, record.uid.as_str()), ("node_ejected", "fs1"));
        assert_eq!(record.detail, "for 1.5 s after calls that failed in a row");
    }

    #[test]
    fn a_node_long_gone_and_no_node_at_all_are_empty() {
        let gone = What::Proxy(Event::ShutdownSeen { node: NodeSlot(4) }).told(Time::ZERO, 0, |_| None);
        let log = What::Log(Level::Error, "x".into()).told(Time::ZERO, 0, |_| panic!("asked for no node"));
        assert_eq!((gone.uid.as_str(), log.uid.as_str(), log.code), ("", "", 40));
    }
}
