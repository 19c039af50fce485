//! The node of a key without any memory or load: what a stateless proxy needs (RFC 3261 §16.11).

use crate::algorithm::rendezvous::nearer;
use crate::group::Group;
use crate::snapshot::NodeSlot;

/// The node that a key leads to by the configuration alone: among the first tier that has a member with weight, by
/// configured weights, whatever the load; draining ones only where there is no other. The same for a request, its
/// retransmissions, its CANCEL and its ACK on every replica, as long as the configuration stays.
pub fn place_stateless(group: &Group, hash: u64) -> Option<NodeSlot> {
    nearest(group, hash, false).or_else(|| nearest(group, hash, true))
}

fn nearest(group: &Group, hash: u64, draining: bool) -> Option<NodeSlot> {
    group.members.chunk_by(|left, right| left.tier() == right.tier()).find_map(|tier| {
        let mut best = (f64::INFINITY, None);
        for member in tier.iter().filter(|member| draining || !member.draining) {
            if let Some(distance) = nearer(hash, member.identity, member.weight, best.0) {
                best = (distance, Some(member.slot));
            }
        }
        best.1
    })
}
