//! What is known of each node, as atomics beside the snapshot: a configuration change resets nothing.
//!
//! Every worker writes cells of its own (no contention, a total is the sum when read); the control side publishes what a
//! node reported as one unit. A node's cells are found by its slot, which `select`'s registry hands out.
//!
//! Memory: about 3.2 KiB per node and worker (three histories of 128 buckets) and 1 KiB per node (64 resources among
//! them); 1,000 nodes under 4 workers take 14 MiB. Slots of nodes that left are used again after an hour, so it does not grow beyond the nodes of
//! an hour.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use switchtender_select::{
    Admission, Cell64, Ejection, History, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Time,
};

use crate::ejection::Failures;
use crate::publication::Publication;
use crate::resources::Resources;

/// How far a rate looks back, with the bucket that runs: past this an idle node's history need not be searched.
const RATE_MEMORY: Duration = Duration::from_millis(1100);
/// An INVITE takes this long to a node and into its count, at most: younger assignments are not in its report.
const INVITE_WAY: Duration = Duration::from_millis(20);
/// A report older than this clears nothing.
const OLDEST_BASELINE: Duration = Duration::from_secs(2);

/// Answers are noted as exactly as this, so that workers do not fight over one line for each.
const ANSWER_STEP: Duration = Duration::from_millis(100);

const WORDS: usize = 13;

/// What the control side makes of a node's report. Sessions are legs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Whether new calls may go there.
    pub admission: Admission,
    /// Sessions it had.
    pub sessions: f64,
    /// Its `Max-Sessions`.
    pub max_sessions: f64,
    /// The configured limit below that.
    pub cap: Option<f64>,
    /// Sessions to keep free.
    pub headroom: f64,
    /// Our part of its new sessions, in (0, 1].
    pub share: f64,
    /// Its sessions-per-second limit, where it told one.
    pub sessions_per_second: Option<f64>,
    /// The host's idle CPU in percent.
    pub idle_cpu: Option<f64>,
    /// [`Baseline::assigned`] that these numbers stand on.
    pub baseline_assigned: u64,
    /// [`Baseline::ended`] that these numbers stand on.
    pub baseline_ended: u64,
    /// Multiplies the configured weight, in [0, 1].
    pub weight_factor: f64,
    /// What the group's scorer makes of it, not below 0: multiplies the weight; `First` goes by it.
    pub score: f64,
}

impl Default for Report {
    /// A node that never reported.
    fn default() -> Self {
        Self {
            admission: Admission::Unknown,
            sessions: 0.0,
            max_sessions: 0.0,
            cap: None,
            headroom: 0.0,
            share: 1.0,
            sessions_per_second: None,
            idle_cpu: None,
            baseline_assigned: 0,
            baseline_ended: 0,
            weight_factor: 1.0,
            score: 1.0,
        }
    }
}

/// What this process had placed on a node when a report was taken; totals since the node became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Calls assigned up to the report's moment less one INVITE's way.
    pub assigned: u64,
    /// Calls assigned up to now.
    pub assigned_now: u64,
    /// Calls ended up to now.
    pub ended: u64,
    /// False: the report is older than what is remembered; it clears nothing.
    pub exact: bool,
}

/// An atomic as `select`'s histories want it.
#[derive(Debug, Default)]
struct Shared(AtomicU64);

impl Cell64 for Shared {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}

/// One worker's counts for one node. Only that worker writes; the alignment keeps it off other workers' cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerCell {
    ended: Shared,
    in_flight: Shared,
    /// When a request last went there.
    latest: Shared,
    assigned: History<Shared>,
    legs: History<Shared>,
    requests: History<Shared>,
}

/// One node.
#[derive(Debug)]
struct NodeCell {
    report: Publication<WORDS>,
    cooling_until: AtomicU64,
    suspect: AtomicBool,
    failures: Failures,
    /// When it last answered anything; 0 = never.
    answered: AtomicU64,
    resources: Resources,
    /// The totals when the slot was given to this node: what the former one left. Written by the control side only.
    origin_assigned: AtomicU64,
    origin_ended: AtomicU64,
    workers: Box<[WorkerCell]>,
}

impl NodeCell {
    fn new(workers: usize) -> Self {
        Self {
            report: Publication::new(pack(&Report::default(), Time::ZERO)),
            cooling_until: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            failures: Failures::default(),
            answered: AtomicU64::new(0),
            resources: Resources::default(),
            origin_assigned: AtomicU64::new(0),
            origin_ended: AtomicU64::new(0),
            workers: (0..workers).map(|_| WorkerCell::default()).collect(),
        }
    }

    /// Give it to another node.
    fn renew(&self) {
        let (assigned, ended) = (self.assigned(), self.ended());
        self.origin_assigned.store(assigned, Ordering::Relaxed);
        self.origin_ended.store(ended, Ordering::Relaxed);
        self.cooling_until.store(0, Ordering::Relaxed);
        self.suspect.store(false, Ordering::Relaxed);
        self.failures.forget();
        self.answered.store(0, Ordering::Relaxed);
        self.resources.restart();
        let unknown = Report { baseline_assigned: assigned, baseline_ended: ended, ..Report::default() };
        self.report.publish(pack(&unknown, Time::ZERO));
    }

    fn assigned(&self) -> u64 {
        self.sum(|worker| worker.assigned.total())
    }

    fn ended(&self) -> u64 {
        self.sum(|worker| worker.ended.get())
    }

    fn sum(&self, count: impl Fn(&WorkerCell) -> u64) -> u64 {
        self.workers.iter().map(count).fold(0, u64::wrapping_add)
    }

    fn rate(&self, now: Time, history: impl Fn(&WorkerCell) -> &History<Shared>) -> u64 {
        self.sum(|worker| {
            let recent = now.since(Time::from_nanos(worker.latest.get())) < RATE_MEMORY;
            if recent { history(worker).last_second(now) } else { 0 }
        })
    }

    fn load(&self, now: Time) -> NodeLoad {
        let (report, _) = unpack(&self.report.read());
        NodeLoad {
            admission: report.admission,
            sessions: report.sessions,
            max_sessions: report.max_sessions,
            cap: report.cap.unwrap_or(f64::INFINITY),
            headroom: report.headroom,
            share: report.share,
            assigned: self.assigned().saturating_sub(report.baseline_assigned),
            ended: self.ended().saturating_sub(report.baseline_ended),
            sessions_per_second: report.sessions_per_second,
            legs_last_second: self.rate(now, |worker| &worker.legs),
            requests_last_second: self.rate(now, |worker| &worker.requests),
            cooling_until: Time::from_nanos(self.cooling_until.load(Ordering::Relaxed)),
            suspect: self.suspect.load(Ordering::Relaxed),
            in_flight: self.sum(|worker| worker.in_flight.get()),
            weight_factor: report.weight_factor,
            idle_cpu: report.idle_cpu,
            score: report.score,
            ejected_until: self.failures.until(),
        }
    }
}

/// What the control side sees of a node beyond its load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) report: Report,
    /// When it was published; `None` before the first.
    pub(crate) reported: Option<Time>,
    pub(crate) load: NodeLoad,
    /// Totals since the node became known.
    pub(crate) assigned: u64,
    pub(crate) ended: u64,
    /// Calls that failed there in a row.
    pub(crate) failures: u32,
    /// When it last answered anything.
    pub(crate) answered: Option<Time>,
}

/// All nodes' cells, by slot. A cell is made when its slot is first given out and never moves.
#[derive(Debug)]
pub(crate) struct NodeTable {
    workers: usize,
    cells: Box<[OnceLock<Box<NodeCell>>]>,
}

impl NodeTable {
    pub(crate) fn new(slots: u32, workers: usize) -> Self {
        Self { workers, cells: (0..slots).map(|_| OnceLock::new()).collect() }
    }

    fn cell(&self, slot: NodeSlot) -> Option<&NodeCell> {
        self.cells.get(usize::try_from(slot.0).ok()?)?.get().map(|cell| &**cell)
    }

    /// The slot was given to a new node: its account starts now. Control side, before workers can see the slot.
    pub(crate) fn open(&self, slot: NodeSlot) {
        let Some(place) = usize::try_from(slot.0).ok().and_then(|slot| self.cells.get(slot)) else { return };
        match place.get() {
            Some(cell) => cell.renew(),
            None => drop(place.set(Box::new(NodeCell::new(self.workers)))),
        }
    }

    /// Publish a report. One caller at a time.
    pub(crate) fn report(&self, slot: NodeSlot, report: &Report, now: Time) {
        let Some(cell) = self.cell(slot) else { return };
        let report = Report {
            baseline_assigned: report.baseline_assigned.wrapping_add(cell.origin_assigned.load(Ordering::Relaxed)),
            baseline_ended: report.baseline_ended.wrapping_add(cell.origin_ended.load(Ordering::Relaxed)),
            ..*report
        };
        cell.report.publish(pack(&report, now));
    }

    /// The totals that a report of this age stands on.
    pub(crate) fn baseline(&self, slot: NodeSlot, age: Duration, now: Time) -> Option<Baseline> {
        let cell = self.cell(slot)?;
        let moment = now - age - INVITE_WAY;
        let (mut assigned, mut exact) = (0_u64, age <= OLDEST_BASELINE);
        for worker in &cell.workers {
            let reading = worker.assigned.total_by(moment, now);
            assigned = assigned.wrapping_add(reading.total);
            exact &= reading.exact;
        }
        let origin = cell.origin_assigned.load(Ordering::Relaxed);
        Some(Baseline {
            // A reading from before the slot was this node's counts as its beginning.
            assigned: assigned.saturating_sub(origin),
            assigned_now: cell.assigned().saturating_sub(origin),
            ended: cell.ended().saturating_sub(cell.origin_ended.load(Ordering::Relaxed)),
            exact,
        })
    }

    pub(crate) fn account(&self, slot: NodeSlot, now: Time) -> Option<Account> {
        let cell = self.cell(slot)?;
        let (report, reported) = unpack(&cell.report.read());
        Some(Account {
            report,
            reported: (reported > Time::ZERO).then_some(reported),
            load: cell.load(now),
            assigned: cell.assigned().saturating_sub(cell.origin_assigned.load(Ordering::Relaxed)),
            ended: cell.ended().saturating_sub(cell.origin_ended.load(Ordering::Relaxed)),
            failures: cell.failures.in_a_row(),
            answered: Some(cell.answered.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Time::from_nanos),
        })
    }

    /// What the configuration says of ejecting the node.
    pub(crate) fn configure(&self, slot: NodeSlot, ejection: Option<&Ejection>) {
        let Some(cell) = self.cell(slot) else { return };
        cell.failures.configure(ejection);
    }

    /// The node began anew: what its calls had taken is free, and nothing is known against it.
    pub(crate) fn restarted(&self, slot: NodeSlot) {
        let Some(cell) = self.cell(slot) else { return };
        cell.resources.restart();
        cell.failures.forget();
    }

    /// A worker lost its transactions: what it had in flight is nowhere any more.
    pub(crate) fn abandon(&self, worker: usize) {
        for cell in self.cells.iter().filter_map(OnceLock::get) {
            if let Some(worker) = cell.workers.get(worker) {
                worker.in_flight.set(0);
            }
        }
    }

    /// The table as one worker sees and writes it at a time.
    pub(crate) fn of_worker(&self, worker: usize, now: Time) -> WorkerNodes<'_> {
        WorkerNodes { table: self, worker, now, turned: Cell::new(None) }
    }
}

/// What turned for a node while a worker wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It failed too often in a row, and is left alone for so long.
    Ejected(NodeSlot, Duration),
    /// It answered after that.
    Returned(NodeSlot),
}

/// The table in a worker's hands.
#[derive(Clone, Debug)]
pub(crate) struct WorkerNodes<'a> {
    table: &'a NodeTable,
    worker: usize,
    now: Time,
    /// The last that turned: one input does not turn two.
    turned: Cell<Option<Turned>>,
}

impl<'a> WorkerNodes<'a> {
    /// What turned since this was made.
    pub(crate) fn take_turned(&self) -> Option<Turned> {
        self.turned.take()
    }

    fn mine(&self, slot: NodeSlot) -> Option<&'a WorkerCell> {
        self.table.cell(slot)?.workers.get(self.worker)
    }
}

impl Nodes for WorkerNodes<'_> {
    fn load(&self, slot: NodeSlot, now: Time) -> NodeLoad {
        self.table.cell(slot).map(|cell| cell.load(now)).unwrap_or_default()
    }

    fn assign(&self, slot: NodeSlot, legs: u32, now: Time) {
        let Some(cell) = self.mine(slot) else { return };
        cell.latest.set(now.as_nanos());
        cell.assigned.add(1, now);
        cell.legs.add(legs.into(), now);
        cell.in_flight.set(cell.in_flight.get().saturating_add(1));
    }

    fn settle(&self, slot: NodeSlot) {
        let Some(cell) = self.mine(slot) else { return };
        cell.in_flight.set(cell.in_flight.get().saturating_sub(1));
    }

    fn ended(&self, slot: NodeSlot) {
        let Some(cell) = self.mine(slot) else { return };
        cell.ended.set(cell.ended.get().wrapping_add(1));
    }

    fn request(&self, slot: NodeSlot, now: Time) {
        let Some(cell) = self.mine(slot) else { return };
        cell.latest.set(now.as_nanos());
        cell.requests.add(1, now);
    }

    fn cool(&self, slot: NodeSlot, until: Time) {
        let Some(cell) = self.table.cell(slot) else { return };
        cell.cooling_until.fetch_max(until.as_nanos(), Ordering::Relaxed);
    }

    fn suspect(&self, slot: NodeSlot) {
        let Some(cell) = self.table.cell(slot) else { return };
        cell.suspect.store(true, Ordering::Relaxed);
        if let Some(time) = cell.failures.failed(self.now) {
            self.turned.set(Some(Turned::Ejected(slot, time)));
        }
    }

    fn answered(&self, slot: NodeSlot) {
        let Some(cell) = self.table.cell(slot) else { return };
        // Read first: it is nearly always clear, and a store would take the line from the other workers.
        if cell.suspect.load(Ordering::Relaxed) {
            cell.suspect.store(false, Ordering::Relaxed);
        }
        if self.now.since(Time::from_nanos(cell.answered.load(Ordering::Relaxed))) >= ANSWER_STEP {
            cell.answered.store(self.now.as_nanos(), Ordering::Relaxed);
        }
        if cell.failures.answered(self.now) {
            self.turned.set(Some(Turned::Returned(slot)));
        }
    }

    fn reserve(&self, node: NodeSlot, wanted: ResourceSet, limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        self.table.cell(node).is_some_and(|cell| cell.resources.reserve(wanted, limit))
    }

    fn release(&self, node: NodeSlot, taken: ResourceSet, epoch: u32) {
        let Some(cell) = self.table.cell(node) else { return };
        cell.resources.release(taken, epoch);
    }

    fn epoch(&self, node: NodeSlot) -> u32 {
        self.table.cell(node).map_or(0, |cell| cell.resources.epoch())
    }

    fn in_use(&self, node: NodeSlot, resource: ResourceSlot) -> u32 {
        self.table.cell(node).map_or(0, |cell| cell.resources.in_use(resource))
    }
}

fn pack(report: &Report, now: Time) -> [u64; WORDS] {
    let admission: u64 = match report.admission {
        Admission::Unknown => 0,
        Admission::Open => 1,
        Admission::Unmeasured => 2,
        Admission::Closed => 3,
        Admission::Unreachable => 4,
    };
    let optional = |number: Option<f64>| number.unwrap_or(f64::NAN).to_bits();
    [
        admission,
        report.sessions.to_bits(),
        report.max_sessions.to_bits(),
        optional(report.cap),
        report.headroom.to_bits(),
        report.share.to_bits(),
        optional(report.sessions_per_second),
        optional(report.idle_cpu),
        report.baseline_assigned,
        report.baseline_ended,
        report.weight_factor.to_bits(),
        report.score.to_bits(),
        now.as_nanos(),
    ]
}

fn unpack(words: &[u64; WORDS]) -> (Report, Time) {
    let [admission, sessions, max_sessions, cap, headroom, share, rate, idle, assigned, ended, factor, score, now] =
        *words;
    let optional = |bits| Some(f64::from_bits(bits)).filter(|number| !number.is_nan());
    let report = Report {
        admission: match admission {
            1 => Admission::Open,
            2 => Admission::Unmeasured,
            3 => Admission::Closed,
            4 => Admission::Unreachable,
            _ => Admission::Unknown,
        },
        sessions: f64::from_bits(sessions),
        max_sessions: f64::from_bits(max_sessions),
        cap: optional(cap),
        headroom: f64::from_bits(headroom),
        share: f64::from_bits(share),
        sessions_per_second: optional(rate),
        idle_cpu: optional(idle),
        baseline_assigned: assigned,
        baseline_ended: ended,
        weight_factor: f64::from_bits(factor),
        score: f64::from_bits(score),
    };
    (report, Time::from_nanos(now))
}

#[cfg(test)]
mod tests;
