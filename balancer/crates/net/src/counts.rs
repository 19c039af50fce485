//! Statistics pages: each worker copies what it counted to a page of its own, anyone reads at any time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use switchtender_proxy::{BOUNDS, Counter, Counters, Delay, GroupCounts, Histogram, Outcome};
use switchtender_select::GroupSlot;

macro_rules! traffic {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(, $label:literal = $value:literal)?;)*) => {
        /// What the worker loop itself counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Traffic { $($(#[$doc])* $variant,)* }

        impl Traffic {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Name without prefix and suffix.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(crate) const fn label(self) -> Option<(&'static str, &'static str)> {
                match self { $(Self::$variant => traffic!(@label $($label, $value)?),)* }
            }
        }
    };
    (@label) => { None };
    (@label $label:literal, $value:literal) => { Some(($label, $value)) };
}

traffic! {
    /// Datagrams from the network.
    Received = "datagrams_received";
    /// Datagrams given to the network.
    Sent = "datagrams_sent";
    /// Dropped by the kernel before we read them.
    ReceiveBufferFull = "datagrams_dropped", "cause" = "receive_buffer_full";
    /// Dropped because the kernel had no room to send.
    SendBufferFull = "datagrams_dropped", "cause" = "send_buffer_full";
    /// Refused by the kernel, twice.
    SendFailed = "datagrams_dropped", "cause" = "send_failed";
    /// Their handling panicked.
    Panicked = "datagrams_dropped", "cause" = "panic";
    /// ICMP errors.
    Unreachable = "icmp_errors";
    /// Receive calls that failed.
    ReceiveFailed = "receive_errors";
    /// Messages and keep-alives from connections.
    TcpReceived = "tcp_messages_received";
    /// Messages written to connections.
    TcpSent = "tcp_messages_sent";
    /// Bytes from connections.
    TcpBytesReceived = "tcp_bytes_received";
    /// Bytes written to connections.
    TcpBytesSent = "tcp_bytes_sent";
    /// Messages that no connection took.
    TcpUndelivered = "tcp_messages_undelivered";
    /// Connections from peers.
    TcpAccepted = "tcp_connections_accepted";
    /// Connections that we opened and that came about.
    TcpOpened = "tcp_connections_opened";
    /// Connections to a peer that refused, or that the network cannot reach.
    TcpConnectRefused = "tcp_connects_failed", "cause" = "refused";
    /// Connections to a peer that did not answer in time.
    TcpConnectTimeout = "tcp_connects_failed", "cause" = "timeout";
    /// Closed or reset by the peer, or given up by the network.
    TcpClosedPeer = "tcp_connections_closed", "cause" = "peer";
    /// Nothing came or went for too long.
    TcpClosedIdle = "tcp_connections_closed", "cause" = "idle";
    /// A message did not become whole in time.
    TcpClosedSlow = "tcp_connections_closed", "cause" = "slow";
    /// What came was no SIP stream.
    TcpClosedFraming = "tcp_connections_closed", "cause" = "framing";
    /// The peer took nothing of what was to be sent.
    TcpClosedFull = "tcp_connections_closed", "cause" = "queue_full";
    /// Open when we stopped.
    TcpClosedStop = "tcp_connections_closed", "cause" = "stop";
    /// More than may be open at once.
    TcpRefusedLimit = "tcp_connections_refused", "cause" = "limit";
    /// More than may be open at once from one address.
    TcpRefusedSourceLimit = "tcp_connections_refused", "cause" = "source_limit";
    /// From an address that is no node's, where only nodes connect.
    TcpRefusedStranger = "tcp_connections_refused", "cause" = "not_a_node";
    /// Times that there was no descriptor or memory for one more.
    TcpRefusedExhausted = "tcp_connections_refused", "cause" = "exhausted";
    /// Streams in which the end of a message could not be found.
    TcpFramingErrors = "tcp_framing_errors";
    /// Messages that found the ring to the sibling that has the connection full.
    HandedLost = "messages_not_handed_over";
    /// Packets from sibling workers.
    TakenOver = "datagrams_taken_over";
    /// Events that found the ring to the control side full.
    EventsLost = "events_lost";
    /// Messages and decisions told of traced calls.
    Traced = "trace_messages";
    /// Copies of messages sent to the HEP collector.
    HepSent = "hep_packets";
    /// Copies that the kernel had no room to send.
    HepBufferFull = "hep_dropped", "cause" = "send_buffer_full";
    /// Copies that the kernel refused to send.
    HepFailed = "hep_dropped", "cause" = "send_failed";
    /// Copies of messages that leave no room for the rest of a datagram.
    HepTooLarge = "hep_dropped", "cause" = "too_large";
    /// Server transactions that found no room in the siblings' table.
    Unpublished = "fingerprints_unpublished";
    /// Ends of calls that a sibling could not be told.
    CallEndsLost = "call_ends_lost";
    /// Panics caught.
    Panics = "worker_panics";
    /// Transactions that were still open when we stopped.
    LostAtStop = "transactions_lost_at_stop";
}

/// A worker's own counts.
#[derive(Clone, Debug)]
pub(crate) struct Tally([u64; Traffic::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Traffic::ALL.len()])
    }
}

impl Tally {
    pub(crate) fn add(&mut self, what: Traffic, amount: u64) {
        if let Some(count) = self.0.get_mut(what as usize) {
            *count = count.wrapping_add(amount);
        }
    }

    /// Take over what another one counted.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        for (sum, count) in self.0.iter_mut().zip(std::mem::take(other).0) {
            *sum = sum.wrapping_add(count);
        }
    }

    #[cfg(test)]
    pub(crate) fn get(&self, what: Traffic) -> u64 {
        self.0[what as usize]
    }
}

/// A histogram as others read it.
#[derive(Debug)]
struct HistogramCells {
    counts: [AtomicU64; BOUNDS + 1],
    sum_nanos: AtomicU64,
}

impl Default for HistogramCells {
    fn default() -> Self {
        Self { counts: zeros(), sum_nanos: AtomicU64::new(0) }
    }
}

impl HistogramCells {
    fn write(&self, now: &Histogram, before: &Histogram) {
        store(&self.counts, &now.counts, &before.counts);
        self.sum_nanos.store(now.sum_nanos.wrapping_add(before.sum_nanos), Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        Histogram { counts: read_all(&self.counts), sum_nanos: read(&self.sum_nanos) }
    }
}

/// What is counted of a group, as others read it.
#[derive(Debug)]
struct GroupCells {
    changes: AtomicU64,
    outcomes: [AtomicU64; Outcome::COUNT],
    delays: [HistogramCells; Delay::COUNT],
}

impl Default for GroupCells {
    fn default() -> Self {
        Self {
            changes: AtomicU64::new(0),
            outcomes: zeros(),
            delays: std::array::from_fn(|_| HistogramCells::default()),
        }
    }
}

impl GroupCells {
    /// Cheap where nothing changed: there may be thousands of groups, and few of them busy.
    fn write(&self, now: &GroupCounts, before: &GroupCounts) {
        let changes = now.changes.wrapping_add(before.changes);
        if read(&self.changes) == changes {
            return;
        }
        self.changes.store(changes, Ordering::Relaxed);
        store(&self.outcomes, &now.outcomes, &before.outcomes);
        for ((cells, now), before) in self.delays.iter().zip(&now.delays).zip(&before.delays) {
            cells.write(now, before);
        }
    }

    fn read(&self) -> GroupCounts {
        let [post_dial, first_response] = &self.delays;
        GroupCounts {
            changes: read(&self.changes),
            outcomes: read_all(&self.outcomes),
            delays: [post_dial.read(), first_response.read()],
        }
    }
}

/// One worker's page. Only that worker writes, with plain stores; readers may see one count a moment before another.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Page {
    pub(crate) generation: AtomicU64,
    pub(crate) open_transactions: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) loop_lag_nanos: AtomicU64,
    pub(crate) overloaded: AtomicBool,
    pub(crate) running: AtomicBool,
    traffic: [AtomicU64; Traffic::ALL.len()],
    totals: [AtomicU64; Counter::COUNT],
    choices: HistogramCells,
    groups: Box<[OnceLock<Box<GroupCells>>]>,
}

impl Page {
    /// Room for so many groups; a group's counts are made when it has some.
    pub(crate) fn new(groups: u32) -> Self {
        Self {
            generation: AtomicU64::new(0),
            open_transactions: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            loop_lag_nanos: AtomicU64::new(0),
            overloaded: AtomicBool::new(false),
            running: AtomicBool::new(false),
            traffic: zeros(),
            totals: zeros(),
            choices: HistogramCells::default(),
            groups: (0..groups).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The worker's copy to its page. `earlier`: what the proxies before the present one had counted (a proxy is given
    /// up after a panic), so that totals never fall.
    pub(crate) fn write(&self, counters: &Counters, earlier: &Counters, tally: &Tally) {
        store(&self.traffic, &tally.0, &[0; Traffic::ALL.len()]);
        store(&self.totals, counters.totals(), earlier.totals());
        self.choices.write(counters.choices(), earlier.choices());
        let none = GroupCounts::default();
        for (index, place) in self.groups.iter().enumerate() {
            let (now, before) = (counters.groups().get(index), earlier.groups().get(index));
            if now.is_none() && before.is_none() {
                break;
            }
            let (now, before) = (now.unwrap_or(&none), before.unwrap_or(&none));
            if now.changes > 0 || before.changes > 0 {
                place.get_or_init(Box::default).write(now, before);
            }
        }
    }

    pub(crate) fn traffic(&self, what: Traffic) -> u64 {
        self.traffic.get(what as usize).map_or(0, read)
    }

    pub(crate) fn total(&self, counter: Counter) -> u64 {
        self.totals.get(counter as usize).map_or(0, read)
    }

    /// The time that choices of a node took.
    pub(crate) fn choices(&self) -> Histogram {
        self.choices.read()
    }

    /// All of one group's slot; `None`: nothing was counted there.
    pub(crate) fn group(&self, group: GroupSlot) -> Option<GroupCounts> {
        let place = usize::try_from(group.0).ok().and_then(|group| self.groups.get(group))?;
        place.get().map(|cells| cells.read())
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn read_all<const N: usize>(cells: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|index| cells.get(index).map_or(0, read))
}

fn store(cells: &[AtomicU64], now: &[u64], before: &[u64]) {
    for ((cell, now), before) in cells.iter().zip(now).zip(before) {
        cell.store(now.wrapping_add(*before), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_what_was_counted_before_a_proxy_was_given_up_too() {
        let (page, earlier, mut tally) = (Page::new(4), Counters::default(), Tally::default());
        tally.add(Traffic::Sent, 3);
        page.write(&Counters::default(), &earlier, &tally);
        assert_eq!(page.traffic(Traffic::Sent), 3);
        assert_eq!(page.group(GroupSlot(3)), None, "nothing was counted, so nothing is kept");
        assert_eq!(page.group(GroupSlot(9)), None, "there is no such place");
    }

    #[test]
    fn cells_hold_the_sum_of_both_lives() {
        let (cells, mut counts) = (GroupCells::default(), GroupCounts { changes: 3, ..GroupCounts::default() });
        counts.outcomes[Outcome::Offered as usize] = 2;
        counts.delays[Delay::FirstResponse as usize].record(&Delay::BOUNDS, std::time::Duration::from_millis(2));
        cells.write(&counts, &counts);
        let mut twice = counts.clone();
        twice.merge(&counts, u64::wrapping_add);
        assert_eq!(cells.read(), twice);
        assert_eq!(twice.outcomes[Outcome::Offered as usize], 4);
        assert_eq!(twice.delays[Delay::FirstResponse as usize].sum_nanos, 4_000_000);
        assert!(twice.delays[Delay::PostDial as usize].is_empty());
        cells.outcomes[0].store(77, Ordering::Relaxed);
        cells.write(&counts, &counts);
        assert_eq!(cells.read().outcomes[0], 77, "what did not change is not written again");
        counts.changes += 1;
        cells.write(&counts, &counts);
        assert_eq!(cells.read().outcomes[0], twice.outcomes[0]);
    }
}
