//! Slots for counters: stable for an identity, kept for an hour after it left, then given to another.

use core::hash::Hash;
use core::time::Duration;
use std::collections::{HashMap, HashSet};

use crate::group::GroupSlot;
use crate::resources::{RESOURCES, ResourceSlot};
use crate::snapshot::{Node, NodeSlot, Registry};
use crate::time::Time;

/// A node that left the set stays a known source address and token target for so long.
pub const KEPT_AFTER_REMOVAL: Duration = Duration::from_secs(3600);

/// The slots of nodes and groups in this process.
#[derive(Debug)]
pub struct Slots {
    nodes: Table<String>,
    groups: Table<(String, String)>,
    /// Names of resources by slot. None is ever given up: calls may hold them for hours, and names are few.
    resources: Vec<String>,
    known: HashMap<u32, Node>,
    fresh: Vec<NodeSlot>,
    fresh_groups: Vec<GroupSlot>,
}

impl Slots {
    /// Room for so many nodes and groups, those that left within the hour included.
    pub fn new(nodes: u32, groups: u32) -> Self {
        Self {
            nodes: Table::new(nodes),
            groups: Table::new(groups),
            resources: Vec::new(),
            known: HashMap::new(),
            fresh: Vec::new(),
            fresh_groups: Vec::new(),
        }
    }

    /// The registry at a moment, for [`crate::Snapshot::from_json`].
    pub fn at(&mut self, now: Time) -> SlotsAt<'_> {
        SlotsAt { slots: self, now }
    }

    /// The slot of a uid that is present or was so within the hour.
    pub fn node(&self, uid: &str) -> Option<NodeSlot> {
        self.nodes.entries.get(uid).map(|entry| NodeSlot(entry.slot))
    }

    /// The names of all resources that there ever were, by slot.
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// Node slots given to a new identity since the last call: their counters must start anew.
    pub fn take_fresh(&mut self) -> Vec<NodeSlot> {
        core::mem::take(&mut self.fresh)
    }

    /// Likewise of groups.
    pub fn take_fresh_groups(&mut self) -> Vec<GroupSlot> {
        core::mem::take(&mut self.fresh_groups)
    }
}

/// [`Slots`] with the time of the configuration change.
#[derive(Debug)]
pub struct SlotsAt<'a> {
    slots: &'a mut Slots,
    now: Time,
}

impl Registry for SlotsAt<'_> {
    fn node_slot(&mut self, uid: &str) -> Option<NodeSlot> {
        let (slot, is_new) = self.slots.nodes.claim(uid, || uid.to_owned())?;
        if is_new {
            self.slots.known.remove(&slot);
            self.slots.fresh.push(NodeSlot(slot));
        }
        Some(NodeSlot(slot))
    }

    fn group_slot(&mut self, namespace: &str, name: &str) -> Option<GroupSlot> {
        let key = (namespace.to_owned(), name.to_owned());
        let (slot, is_new) = self.slots.groups.claim(&key, || key.clone())?;
        if is_new {
            self.slots.fresh_groups.push(GroupSlot(slot));
        }
        Some(GroupSlot(slot))
    }

    fn resource_slot(&mut self, name: &str) -> Option<ResourceSlot> {
        let names = &mut self.slots.resources;
        let known = names.iter().position(|known| known == name);
        let slot = ResourceSlot(u8::try_from(known.unwrap_or(names.len())).ok().filter(|&slot| slot < RESOURCES)?);
        if known.is_none() {
            names.push(name.to_owned());
        }
        Some(slot)
    }

    fn settle(&mut self, present: &[Node], groups: &[GroupSlot]) -> Vec<Node> {
        let Slots { nodes, groups: group_table, known, .. } = &mut *self.slots;
        for node in present {
            known.insert(node.slot.0, node.clone());
        }
        nodes.settle(&present.iter().map(|node| node.slot.0).collect(), self.now);
        group_table.settle(&groups.iter().map(|slot| slot.0).collect(), self.now);
        let left: HashSet<u32> =
            nodes.entries.values().filter(|entry| entry.left.is_some()).map(|entry| entry.slot).collect();
        let stays: HashSet<u32> = nodes.entries.values().map(|entry| entry.slot).collect();
        known.retain(|slot, _| stays.contains(slot));
        let mut removed: Vec<Node> = known.values().filter(|node| left.contains(&node.slot.0)).cloned().collect();
        for node in &mut removed {
            node.removed = true;
        }
        removed.sort_by_key(|node| node.slot);
        removed
    }
}

#[derive(Debug)]
struct Entry {
    slot: u32,
    /// When it left the configuration.
    left: Option<Time>,
}

#[derive(Debug)]
struct Table<K> {
    entries: HashMap<K, Entry>,
    /// Given back and not yet given to another.
    free: Vec<u32>,
    /// Slots from here on were never used.
    next: u32,
    capacity: u32,
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn new(capacity: u32) -> Self {
        Self { entries: HashMap::new(), free: Vec::new(), next: 0, capacity }
    }

    /// The slot of this key and whether it is newly given to it. With none free, the one that left longest ago goes.
    fn claim<Q>(&mut self, key: &Q, owned: impl FnOnce() -> K) -> Option<(u32, bool)>
    where
        K: core::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.left = None;
            return Some((entry.slot, false));
        }
        let slot = self.free.pop().or_else(|| self.unused()).or_else(|| self.evict())?;
        self.entries.insert(owned(), Entry { slot, left: None });
        Some((slot, true))
    }

    fn unused(&mut self) -> Option<u32> {
        let slot = self.next;
        (slot < self.capacity).then(|| {
            self.next += 1;
            slot
        })
    }

    fn evict(&mut self) -> Option<u32> {
        let oldest = self
            .entries
            .iter()
            .filter_map(|(key, entry)| entry.left.map(|left| (left, entry.slot, key)))
            .min_by_key(|(left, slot, _)| (*left, *slot))
            .map(|(_, slot, key)| (slot, key.clone()))?;
        self.entries.remove(&oldest.1);
        Some(oldest.0)
    }

    fn settle(&mut self, present: &HashSet<u32>, now: Time) {
        let free = &mut self.free;
        self.entries.retain(|_, entry| {
            if present.contains(&entry.slot) {
                entry.left = None;
                return true;
            }
            let left = *entry.left.get_or_insert(now);
            let kept = now.since(left) < KEPT_AFTER_REMOVAL;
            if !kept {
                free.push(entry.slot);
            }
            kept
        });
    }
}
