//! What a run counts and tells.

use serde::Serialize;

use crate::histogram::{Histogram, Percentiles};
use crate::reading::Fault;

/// Reasons that are told.
const REASONS: usize = 5;

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Calls that were begun.
    pub calls_started: u64,
    /// Calls of which everything came, whole and once.
    pub calls_completed: u64,
    /// Calls that went wrong.
    pub calls_failed: u64,
    /// Messages that came again or late, and messages that were sent again.
    pub retransmissions: u64,
    /// Datagrams that fit nothing, and errors of the network.
    pub unexpected: u64,
    /// Datagrams.
    pub datagrams_sent: u64,
    /// Datagrams.
    pub datagrams_received: u64,
    /// OPTIONS to nodes that were answered; they belong to no call.
    pub options_answered: u64,
}

impl Tally {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            calls_started: self.calls_started - before.calls_started,
            calls_completed: self.calls_completed - before.calls_completed,
            calls_failed: self.calls_failed - before.calls_failed,
            retransmissions: self.retransmissions - before.retransmissions,
            unexpected: self.unexpected - before.unexpected,
            datagrams_sent: self.datagrams_sent - before.datagrams_sent,
            datagrams_received: self.datagrams_received - before.datagrams_received,
            options_answered: self.options_answered - before.options_answered,
        }
    }

    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        self.calls_failed == 0 && self.retransmissions == 0 && self.unexpected == 0
    }
}

/// The first few kinds of things that went wrong, and how often.
#[derive(Clone, Debug, Default)]
pub struct Reasons(Vec<(Fault, u64)>);

impl Reasons {
    /// Once more.
    pub fn note(&mut self, fault: Fault) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == fault) {
            *count += 1;
        } else if self.0.len() < REASONS {
            self.0.push((fault, 1));
        }
    }

    fn tell(&self) -> Vec<String> {
        self.0.iter().map(|(fault, count)| format!("{fault} ({count} times)")).collect()
    }
}

/// How long things took in the measured window.
#[derive(Debug, Default)]
pub struct Latencies {
    /// From INVITE sent to 200 received.
    pub setup: Histogram,
    /// From BYE sent to 200 received.
    pub bye: Histogram,
    /// From INVITE sent to INVITE received at a node.
    pub oneway: Histogram,
    /// From a call's due time to its INVITE: by how much the generator itself is late.
    pub late: Histogram,
}

impl Latencies {
    /// Forget everything.
    pub fn clear(&mut self) {
        let Self { setup, bye, oneway, late } = self;
        [setup, bye, oneway, late].into_iter().for_each(Histogram::clear);
    }
}

/// What the measured window showed.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    #[serde(flatten)]
    tally: Tally,
    /// Completed calls a second.
    rate: f64,
    seconds: f64,
    setup_us: Percentiles,
    bye_us: Percentiles,
    oneway_us: Percentiles,
    late_us: Percentiles,
    reasons: Vec<String>,
}

impl Figures {
    /// Of a window of so many seconds.
    pub fn new(tally: Tally, seconds: f64, latencies: &Latencies, reasons: &Reasons) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let completed = tally.calls_completed as f64;
        Self {
            tally,
            rate: if seconds > 0.0 { completed / seconds } else { 0.0 },
            seconds,
            setup_us: latencies.setup.percentiles(),
            bye_us: latencies.bye.percentiles(),
            oneway_us: latencies.oneway.percentiles(),
            late_us: latencies.late.percentiles(),
            reasons: reasons.tell(),
        }
    }
}

/// What the whole run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Totals {
    /// All of it, with what was outside of the measured window.
    #[serde(flatten)]
    pub tally: Tally,
    reasons: Vec<String>,
}

impl Totals {
    /// At the end.
    pub fn new(tally: Tally, reasons: &Reasons) -> Self {
        Self { tally, reasons: reasons.tell() }
    }
}

/// What a run tells while it goes on, each as a line of JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// All sockets are bound.
    Ready,
    /// The calls that stand until the end are up.
    Standing {
        /// How many.
        calls: usize,
    },
    /// The measured window begins.
    Begin,
    /// It ends.
    End(Figures),
    /// Everything is over.
    Done(Totals),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_five_reasons_are_told_with_their_counts() {
        let mut reasons = Reasons::default();
        for number in [0, 1, 0, 2, 3, 4, 5, 0] {
            reasons.note(format!("reason {number}").into());
        }
        let told = reasons.tell();
        assert_eq!((told.len(), told[0].as_str(), told[4].as_str()), (5, "reason 0 (3 times)", "reason 4 (1 times)"));
    }

    #[test]
    fn a_line_names_its_event_and_its_figures() {
        let tally = Tally { calls_completed: 30, datagrams_sent: 7, ..Tally::default() };
        let figures = Figures::new(tally, 2.0, &Latencies::default(), &Reasons::default());
        let line = serde_json::to_value(Event::End(figures)).unwrap();
        assert_eq!((&line["event"], &line["rate"], &line["datagrams_sent"]), (&"end".into(), &15.0.into(), &7.into()));
        assert_eq!(line["oneway_us"]["p99"], 0.0);
        assert_eq!(serde_json::to_string(&Event::Ready).unwrap(), "{\"event\":\"ready\"}");
    }
}
