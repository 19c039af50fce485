//! A pool of nodes in plain cells, and the documents that describe it.

use core::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use switchtender_select::{
    Admission, Group, Memory, NoNode, NodeLoad, NodeSlot, Nodes, Placement, ResourceSet, ResourceSlot, Rng, Slots,
    Snapshot, Time, Wanted, place,
};

/// Loads by slot, set by tests and changed by the calls of [`Nodes`].
pub(crate) struct Pool {
    pub(crate) loads: RefCell<Vec<NodeLoad>>,
    /// Resources in use by node and slot.
    pub(crate) used: RefCell<BTreeMap<(NodeSlot, ResourceSlot), u32>>,
    /// How often a node's load was looked at.
    pub(crate) looks: core::cell::Cell<usize>,
}

impl Pool {
    pub(crate) fn of(loads: Vec<NodeLoad>) -> Self {
        Self { loads: RefCell::new(loads), used: RefCell::default(), looks: core::cell::Cell::new(0) }
    }

    /// Open nodes with this `Max-Sessions` and so many sessions.
    pub(crate) fn open(nodes: &[(f64, f64)]) -> Self {
        Self::of(nodes.iter().map(|&(max_sessions, sessions)| open(max_sessions, sessions)).collect())
    }

    pub(crate) fn set(&self, index: usize, change: impl FnOnce(&mut NodeLoad)) {
        change(&mut self.loads.borrow_mut()[index]);
    }

    fn change(&self, slot: NodeSlot, change: impl FnOnce(&mut NodeLoad)) {
        self.set(usize::try_from(slot.0).unwrap(), change);
    }
}

pub(crate) fn open(max_sessions: f64, sessions: f64) -> NodeLoad {
    NodeLoad {
        admission: Admission::Open,
        max_sessions,
        sessions,
        sessions_per_second: Some(1e6),
        ..NodeLoad::default()
    }
}

impl Nodes for Pool {
    fn load(&self, slot: NodeSlot, _now: Time) -> NodeLoad {
        self.looks.set(self.looks.get() + 1);
        self.loads.borrow()[usize::try_from(slot.0).unwrap()]
    }
    fn assign(&self, slot: NodeSlot, legs: u32, _now: Time) {
        self.change(slot, |load| {
            load.assigned += 1;
            load.in_flight += 1;
            load.legs_last_second += u64::from(legs);
        });
    }
    fn settle(&self, slot: NodeSlot) {
        self.change(slot, |load| load.in_flight -= 1);
    }
    fn ended(&self, slot: NodeSlot) {
        self.change(slot, |load| load.ended += 1);
    }
    fn request(&self, slot: NodeSlot, _now: Time) {
        self.change(slot, |load| load.requests_last_second += 1);
    }
    fn cool(&self, slot: NodeSlot, until: Time) {
        self.change(slot, |load| load.cooling_until = load.cooling_until.max(until));
    }
    fn suspect(&self, slot: NodeSlot) {
        self.change(slot, |load| load.suspect = true);
    }
    fn answered(&self, slot: NodeSlot) {
        self.change(slot, |load| load.suspect = false);
    }
    fn reserve(&self, node: NodeSlot, wanted: ResourceSet, limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        let free =
            wanted.iter().all(|resource| limit(resource).is_none_or(|limit| self.in_use(node, resource) < limit));
        if free {
            let mut used = self.used.borrow_mut();
            wanted.iter().for_each(|resource| *used.entry((node, resource)).or_default() += 1);
        }
        free
    }
    fn release(&self, node: NodeSlot, taken: ResourceSet, _epoch: u32) {
        let mut used = self.used.borrow_mut();
        taken.iter().for_each(|resource| *used.get_mut(&(node, resource)).unwrap() -= 1);
    }
    fn epoch(&self, _node: NodeSlot) -> u32 {
        0
    }
    fn in_use(&self, node: NodeSlot, resource: ResourceSlot) -> u32 {
        self.used.borrow().get(&(node, resource)).copied().unwrap_or(0)
    }
}

/// A member of the only group: weight and priority.
pub(crate) type Part = (f64, i32);

/// The document of one group "voice/ivr" over `parts`, one node each.
pub(crate) fn document(algorithm: &str, legs: u32, parts: &[Part]) -> Value {
    let nodes: Vec<Value> = (0..parts.len())
        .map(|i| json!({"uid": format!("uid-{i}"), "name": format!("fs-{i}"), "sip": format!("10.0.{}.{}:5060", i / 250, i % 250 + 1)}))
        .collect();
    let members: Vec<Value> = parts
        .iter()
        .enumerate()
        .map(|(node, (weight, priority))| json!({"node": node, "weight": weight, "priority": priority, "draining": false}))
        .collect();
    json!({
        "format": 2,
        "keys": [{"id": 7, "secret": format!("{}==", "A".repeat(86))}],
        "nodes": nodes,
        "groups": [{
            "namespace": "voice", "name": "ivr", "uid": "g-1", "generation": 7, "priority": 10,
            "match": [],
            "algorithm": algorithm,
            "legs_per_call": legs,
            "failover": {
                "attempts": 3,
                "retry_on": {"own_refusal": true, "timeout": true, "transport": true, "codes": [410]},
                "first_response_timeout_ms": 2000, "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000],
            },
            "timer_c_ms": 180_000,
            "over_limit": {"action": "Reject", "status": 503, "retry_after_s": [5, 15]},
            "panic_threshold": 0.5,
            "members": members,
        }],
    })
}

pub(crate) fn read(document: &Value) -> Snapshot {
    let mut slots = Slots::new(1000, 10);
    Snapshot::from_json(document.to_string().as_bytes(), &mut slots.at(Time::ZERO)).unwrap()
}

/// A group whose members' slots are their indexes, all of weight 1 and one priority.
pub(crate) fn group(algorithm: &str, legs: u32, nodes: usize) -> Group {
    weighted(algorithm, legs, &vec![(1.0, 0); nodes])
}

pub(crate) fn weighted(algorithm: &str, legs: u32, parts: &[Part]) -> Group {
    read(&document(algorithm, legs, parts)).groups.remove(0)
}

/// Chooses with a generator and a memory that live as long as the caller.
pub(crate) struct Dice {
    rng: Rng,
    memory: Memory,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), memory: Memory::new() }
    }

    pub(crate) fn choose(&mut self, group: &Group, pool: &Pool, excluded: &[u32]) -> Result<Placement, NoNode> {
        self.choose_at(group, pool, excluded, Time::from_secs(100))
    }

    pub(crate) fn choose_at(
        &mut self,
        group: &Group,
        pool: &Pool,
        excluded: &[u32],
        now: Time,
    ) -> Result<Placement, NoNode> {
        let excluded: Vec<NodeSlot> = excluded.iter().copied().map(NodeSlot).collect();
        let (rng, memory) = (&mut self.rng, &mut self.memory);
        place(&Snapshot::default(), group, &Wanted::default(), pool, &excluded, now, rng, memory)
    }

    /// As a call of its own kind finds the groups of a snapshot.
    pub(crate) fn place(
        &mut self,
        snapshot: &Snapshot,
        group: usize,
        wanted: &Wanted,
        pool: &Pool,
    ) -> Result<Placement, NoNode> {
        let (rng, memory) = (&mut self.rng, &mut self.memory);
        place(snapshot, &snapshot.groups[group], wanted, pool, &[], Time::from_secs(100), rng, memory)
    }

    /// The node (its slot number), or why none.
    pub(crate) fn node(&mut self, group: &Group, pool: &Pool) -> Result<u32, NoNode> {
        self.choose(group, pool, &[]).map(|choice| choice.slot.0)
    }
}
