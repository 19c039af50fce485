//! Load as one replica knows it: what nodes reported, late, and what its own workers counted since.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use switchtender_select::{Admission, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Time};

#[derive(Default)]
struct Entry {
    /// When the node said what follows.
    reported: Time,
    admission: Admission,
    sessions: f64,
    max_sessions: f64,
    assigned: Vec<Time>,
    legs: u32,
    ended: u64,
    baseline_assigned: u64,
    baseline_ended: u64,
    requests: Vec<Time>,
    cooling_until: Time,
    suspect: bool,
    in_flight: i64,
}

/// The counters of one replica.
#[derive(Default)]
pub(crate) struct Load {
    nodes: RefCell<BTreeMap<NodeSlot, Entry>>,
    share: f64,
}

const SECOND: Duration = Duration::from_secs(1);
/// Assignments younger than a report's age and this are not in it yet.
const UNDERWAY: Duration = Duration::from_millis(20);

impl Load {
    pub(crate) fn new(share: f64) -> Self {
        Self { nodes: RefCell::default(), share }
    }

    /// Publishes what a node said at `stamp`, unless it has said something newer.
    pub(crate) fn report(&self, slot: NodeSlot, admission: Admission, sessions: f64, max_sessions: f64, stamp: Time) {
        let mut nodes = self.nodes.borrow_mut();
        let entry = nodes.entry(slot).or_default();
        if stamp < entry.reported {
            return;
        }
        entry.reported = stamp;
        let known = entry.assigned.iter().filter(|&&at| at + UNDERWAY <= stamp).count();
        entry.admission = admission;
        entry.sessions = sessions;
        entry.max_sessions = max_sessions;
        entry.baseline_assigned = u64::try_from(known).unwrap_or(u64::MAX);
        entry.baseline_ended = entry.ended;
    }

    /// INVITE attempts without an outcome, per node.
    pub(crate) fn in_flight(&self) -> Vec<(NodeSlot, i64)> {
        self.nodes.borrow().iter().map(|(slot, entry)| (*slot, entry.in_flight)).collect()
    }

    /// # Errors
    /// What can never be.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.in_flight().iter().find(|(_, in_flight)| *in_flight < 0) {
            Some((slot, in_flight)) => Err(format!("{in_flight} attempts in flight at {slot:?}")),
            None => Ok(()),
        }
    }
}

fn count(amount: usize) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

impl Nodes for Load {
    fn load(&self, slot: NodeSlot, now: Time) -> NodeLoad {
        let mut nodes = self.nodes.borrow_mut();
        let entry = nodes.entry(slot).or_default();
        entry.requests.retain(|&at| now.since(at) < SECOND);
        let recent = count(entry.assigned.iter().filter(|&&at| now.since(at) < SECOND).count());
        NodeLoad {
            admission: entry.admission,
            sessions: entry.sessions,
            max_sessions: entry.max_sessions,
            headroom: 2.0,
            share: self.share,
            assigned: count(entry.assigned.len()) - entry.baseline_assigned,
            ended: entry.ended - entry.baseline_ended,
            sessions_per_second: Some(1000.0),
            legs_last_second: recent * u64::from(entry.legs),
            requests_last_second: count(entry.requests.len()),
            cooling_until: entry.cooling_until,
            suspect: entry.suspect,
            in_flight: u64::try_from(entry.in_flight).unwrap_or(0),
            ..NodeLoad::default()
        }
    }

    fn assign(&self, slot: NodeSlot, legs: u32, now: Time) {
        let mut nodes = self.nodes.borrow_mut();
        let entry = nodes.entry(slot).or_default();
        entry.assigned.push(now);
        entry.legs = legs;
        entry.in_flight += 1;
    }

    fn settle(&self, slot: NodeSlot) {
        self.nodes.borrow_mut().entry(slot).or_default().in_flight -= 1;
    }

    fn ended(&self, slot: NodeSlot) {
        self.nodes.borrow_mut().entry(slot).or_default().ended += 1;
    }

    fn request(&self, slot: NodeSlot, now: Time) {
        self.nodes.borrow_mut().entry(slot).or_default().requests.push(now);
    }

    fn cool(&self, slot: NodeSlot, until: Time) {
        let mut nodes = self.nodes.borrow_mut();
        let entry = nodes.entry(slot).or_default();
        entry.cooling_until = entry.cooling_until.max(until);
    }

    fn suspect(&self, slot: NodeSlot) {
        self.nodes.borrow_mut().entry(slot).or_default().suspect = true;
    }

    fn answered(&self, slot: NodeSlot) {
        self.nodes.borrow_mut().entry(slot).or_default().suspect = false;
    }
    fn reserve(&self, _node: NodeSlot, _wanted: ResourceSet, _limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        true
    }
    fn release(&self, _node: NodeSlot, _taken: ResourceSet, _epoch: u32) {}
    fn epoch(&self, _node: NodeSlot) -> u32 {
        0
    }
    fn in_use(&self, _node: NodeSlot, _resource: ResourceSlot) -> u32 {
        0
    }
}
