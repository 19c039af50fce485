//! Affinity: the node of a key for requests that take no room, such as REGISTER.
//!
//! A registration is found at the node that has it, so a full node keeps its own; only one that takes no requests at all
//! hands them on.

use crate::algorithm::rendezvous::nearer;
use crate::group::{Group, Member};
use crate::load::{NodeLoad, Nodes};
use crate::place::NoNode;
use crate::snapshot::NodeSlot;
use crate::time::Time;
use crate::verdict::{Verdict, judge, may_send_in_dialog};

/// The node that a key leads to by the configured weights (weighted rendezvous, whatever the algorithm of the group): of
/// the first tier that has a node taking requests, full ones included. Unreachable ones only where there is no other.
///
/// # Errors
/// No member may have it, or the one that should is past its request budget.
pub fn home(group: &Group, key: u64, nodes: &impl Nodes, excluded: &[NodeSlot], now: Time) -> Result<NodeSlot, NoNode> {
    let found = |reachable: bool| {
        group.members.chunk_by(|left, right| left.tier() == right.tier()).find_map(|tier| {
            let mut best = (f64::INFINITY, None);
            for member in tier.iter().filter(|member| !excluded.contains(&member.slot)) {
                let load = nodes.load(member.slot, now);
                if takes_requests(group, member, &load, reachable, now)
                    && let Some(distance) = nearer(key, member.identity, member.weight, best.0)
                {
                    best = (distance, Some((member.slot, load)));
                }
            }
            best.1
        })
    };
    let (slot, load) = found(true).or_else(|| found(false)).ok_or(NoNode::NotReady)?;
    if may_send_in_dialog(&load, false) { Ok(slot) } else { Err(NoNode::RateLimited) }
}

fn takes_requests(group: &Group, member: &Member, load: &NodeLoad, reachable: bool, now: Time) -> bool {
    match judge(group, member, load, now).1 {
        Verdict::Eligible
        | Verdict::Full
        | Verdict::Resource
        | Verdict::RateLimited
        | Verdict::RequestBudget
        | Verdict::Cooling
        | Verdict::Suspect => true,
        Verdict::Unreachable | Verdict::Ejected => !reachable,
        Verdict::Excluded | Verdict::Draining | Verdict::ZeroWeight | Verdict::Closed | Verdict::Unknown => false,
    }
}
