//! A node for a new request, and what the call holds of that node's limited resources.
//!
//! One call has one record ([`CallRecords`]): it moves with the call to the next node, and goes when the call is refused
//! or ended, when it shows no sign of life for `callExpiry`, or when the node restarts. Whatever is told twice changes
//! nothing the second time.

use std::time::Duration;

use switchtender_select::{Group, NoNode, NodeSlot, Nodes, Placement, ResourceSet, Time, Wanted, home, place};
use switchtender_sip::Message;

use crate::core::{Core, Step};
use crate::counters::CHOICES_PER_SAMPLE;
use crate::fingerprint;
use crate::output::Output;
use crate::records::{self, CallRecord};
use crate::slab::Handle;
use crate::transaction::{Due, MAX_ATTEMPTS};

/// `callExpiry` where the group that could say is gone.
const LIFETIME: Duration = Duration::from_secs(4 * 3600);
/// So many times another worker may be quicker before there is no room.
const MOST_RACES: usize = 8;

/// A call by its Call-ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallKey {
    /// Keyed hash, for tables of this process.
    pub(crate) key: u64,
    /// The same on every replica.
    pub(crate) call: u64,
}

impl CallKey {
    pub(crate) fn of(secret: &[u8; 16], message: &Message<'_>) -> Self {
        Self { key: fingerprint::of_call_id(secret, message), call: fingerprint::of_call_everywhere(message) }
    }
}

/// Where a call was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The group, by its place in the snapshot: another one after a spill.
    pub(crate) group: usize,
    pub(crate) node: NodeSlot,
}

impl Core {
    /// Chooses a node for a call and takes there what it wants.
    pub(crate) fn place<N: Nodes, O: Output>(
        &mut self,
        step: &Step<'_, N, O>,
        group: &Group,
        wanted: &Wanted,
        call: CallKey,
        tried: &[NodeSlot],
    ) -> Result<Placed, NoNode> {
        let began = if self.choices % CHOICES_PER_SAMPLE == 0 { step.output.clock() } else { None };
        self.choices = self.choices.wrapping_add(1);
        let placed = self.choose(step, group, wanted, call, tried);
        if let Some(began) = began
            && let Some(ended) = step.output.clock()
        {
            self.counters.note_choice(ended.since(began));
        }
        placed
    }

    fn choose<N: Nodes, O>(
        &mut self,
        step: &Step<'_, N, O>,
        group: &Group,
        wanted: &Wanted,
        call: CallKey,
        tried: &[NodeSlot],
    ) -> Result<Placed, NoNode> {
        let mut excluded = [NodeSlot(0); MAX_ATTEMPTS + MOST_RACES];
        let mut count = 0;
        for (to, from) in excluded.iter_mut().zip(tried) {
            *to = *from;
            count += 1;
        }
        for _ in 0..MOST_RACES {
            let excluded_now = excluded.get(..count).unwrap_or_default();
            let (rng, memory) = (&mut self.rng, &mut self.memory);
            let placement = place(step.snapshot, group, wanted, step.nodes, excluded_now, step.now, rng, memory)?;
            if placement.reserve(step.snapshot, wanted, step.nodes) {
                let Placement { group, slot: node, .. } = placement;
                let lifetime = step.snapshot.groups.get(group).map_or(LIFETIME, |group| group.call_expiry);
                let noted = self.note_claim(step, node, wanted.resources, lifetime, call);
                return if noted { Ok(Placed { group, node }) } else { Err(NoNode::Resource) };
            }
            if let Some(to) = excluded.get_mut(count) {
                *to = placement.slot;
                count += 1;
            }
        }
        Err(NoNode::Resource)
    }

    /// Takes what a call wants at this node and no other. `limited`: within its limits.
    pub(crate) fn claim<N: Nodes, O>(
        &mut self,
        step: &Step<'_, N, O>,
        (group, node): (&Group, NodeSlot),
        wanted: &Wanted,
        call: CallKey,
        limited: bool,
    ) -> bool {
        if wanted.resources.is_empty() {
            return true;
        }
        let reserve = if wanted.emergency { group.emergency_reserve } else { 0 };
        let member = group.member(node).filter(|_| limited);
        step.nodes.reserve(node, wanted.resources, &|resource| member?.limit(resource, reserve))
            && self.note_claim(step, node, wanted.resources, group.call_expiry, call)
    }

    /// The node for a request that takes no room, by its key.
    pub(crate) fn home<N: Nodes, O>(
        step: &Step<'_, N, O>,
        group: &Group,
        key: u64,
        tried: &[NodeSlot],
    ) -> Result<NodeSlot, NoNode> {
        home(group, key, step.nodes, tried, step.now)
    }

    /// Writes the record of what was taken. False: there is no room for it, and it was given back.
    fn note_claim<N: Nodes, O>(
        &mut self,
        step: &Step<'_, N, O>,
        node: NodeSlot,
        resources: ResourceSet,
        lifetime: Duration,
        call: CallKey,
    ) -> bool {
        if resources.is_empty() {
            return true;
        }
        let epoch = step.nodes.epoch(node);
        if self.records.len() >= self.config.max_transactions && self.records.get(call.key).is_none() {
            step.nodes.release(node, resources, epoch);
            return false;
        }
        self.arm_records(step.now);
        let record = CallRecord { call: call.call, node, epoch, resources, expires: step.now + lifetime };
        if let Some(former) = self.records.put(call.key, record, lifetime) {
            step.nodes.release(former.node, former.resources, former.epoch);
        }
        true
    }

    /// The call came about at this node: that is where it holds what it holds, whichever attempt was counted last.
    pub(crate) fn settle_claim<N: Nodes, O>(&mut self, step: &Step<'_, N, O>, handle: Handle) {
        let Some(client) = self.clients.get(handle) else { return };
        let (Some(node), Some(server)) = (client.node, self.servers.get(client.server)) else { return };
        let (wanted, call) = (server.wanted, server.call);
        if wanted.resources.is_empty() || self.records.get(call.key).is_some_and(|record| record.node == node) {
            return;
        }
        let group = server.group.and_then(|group| step.snapshot.group(group));
        let lifetime = group.map_or(LIFETIME, |group| group.call_expiry);
        if step.nodes.reserve(node, wanted.resources, &|_| None) {
            self.note_claim(step, node, wanted.resources, lifetime, call);
        }
    }

    /// The request of this server transaction brought no call about.
    pub(crate) fn release_attempt<N: Nodes, O>(&mut self, step: &Step<'_, N, O>, handle: Handle) {
        let Some(server) = self.servers.get(handle).filter(|server| !server.wanted.resources.is_empty()) else {
            return;
        };
        let key = server.call.key;
        let tried = server.tried.get(..server.attempts).unwrap_or_default();
        // Another request with this Call-ID may have been placed since; what that one holds stays.
        let is_ours = self.records.get(key).is_some_and(|record| tried.is_empty() || tried.contains(&record.node));
        if is_ours {
            self.release_call(step, key);
        }
    }

    /// The call is over. Whether it held something here.
    pub(crate) fn release_call<N: Nodes, O>(&mut self, step: &Step<'_, N, O>, key: u64) -> bool {
        let Some(record) = self.records.take(key) else { return false };
        step.nodes.release(record.node, record.resources, record.epoch);
        true
    }

    /// The call of this request stands: its record is good for another while. Whether there is one here.
    pub(crate) fn refresh_call(&mut self, now: Time, message: &Message<'_>) -> bool {
        self.records.len() > 0 && self.records.refresh(fingerprint::of_call_id(&self.config.secret, message), now)
    }

    /// Drops records that nobody renewed, and those of nodes that restarted.
    pub(crate) fn look_at_records<N: Nodes, O>(&mut self, step: &Step<'_, N, O>) {
        let nodes = step.nodes;
        self.records.look(
            step.now,
            |record| nodes.epoch(record.node) != record.epoch,
            |record| nodes.release(record.node, record.resources, record.epoch),
        );
        self.looks_at_records = false;
        if self.records.len() > 0 {
            self.arm_records(step.now);
        }
    }

    pub(crate) fn keep_records(&mut self, former: &mut Self, now: Time) {
        self.records = std::mem::take(&mut former.records);
        if self.records.len() > 0 {
            self.arm_records(now);
        }
    }

    /// Has the records looked at, unless that is to come anyway.
    fn arm_records(&mut self, now: Time) {
        if !std::mem::replace(&mut self.looks_at_records, true) {
            self.timers.set(now, records::LOOK, Due::Records);
        }
    }
}
