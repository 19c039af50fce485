//! One worker's proxy: the way in for datagrams, time and transport errors.

use switchtender_select::{Nodes, Snapshot, Time};

use crate::config::Config;
use crate::counters::Counters;
use crate::histogram::Histogram;
use crate::output::{Datagram, Output, TransportFailure};

/// The stateful proxy of one worker (RFC 3261 §16). Shares nothing with its siblings but what [`Output`] offers.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    counters: Counters,
    post_dial_delay: Histogram,
    overloaded: bool,
}

impl Proxy {
    /// A proxy without transactions.
    pub fn new(config: Config) -> Self {
        Self { config, counters: Counters::default(), post_dial_delay: Histogram::default(), overloaded: false }
    }

    /// Handles one datagram from the network.
    pub fn receive<N: Nodes, O: Output>(
        &mut self,
        _now: Time,
        _datagram: &Datagram<'_>,
        _snapshot: &Snapshot,
        _nodes: &N,
        _output: &mut O,
    ) {
    }

    /// Handles a datagram that a sibling worker received and believes to be ours; it is never handed over again.
    pub fn handed_over<N: Nodes, O: Output>(
        &mut self,
        _now: Time,
        _datagram: &Datagram<'_>,
        _snapshot: &Snapshot,
        _nodes: &N,
        _output: &mut O,
    ) {
    }

    /// Handles a datagram that could not be sent or delivered (RFC 3261 §16.9, §18.4).
    pub fn transport_error<N: Nodes, O: Output>(
        &mut self,
        _now: Time,
        _failure: &TransportFailure<'_>,
        _snapshot: &Snapshot,
        _nodes: &N,
        _output: &mut O,
    ) {
    }

    /// Fires every timer that is due at `now`.
    pub fn expire<N: Nodes, O: Output>(&mut self, _now: Time, _snapshot: &Snapshot, _nodes: &N, _output: &mut O) {}

    /// When to call [`Proxy::expire`] next; `None`: nothing is pending.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Transactions without a final outcome: what a graceful stop waits for. Those that linger only to absorb
    /// retransmissions do not count.
    pub fn open_transactions(&self) -> usize {
        0
    }

    /// All transactions held, lingering ones included.
    pub fn transactions(&self) -> usize {
        0
    }

    /// Whether new INVITEs are refused because the worker lags behind.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// From a new call's INVITE to its first 18x or 2xx passed upstream.
    pub fn post_dial_delay(&self) -> &Histogram {
        &self.post_dial_delay
    }

    /// Checks all that must hold between any two calls. For tests and simulation: takes time in proportion to the
    /// transactions held.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        Ok(())
    }
}
