//! Which node carries which call: what an INVITE that names another dialog (RFC 3891, RFC 3911) is routed by, and what
//! is known of the number of calls.
//!
//! One fixed array of atomics for all workers. It is a hint: a call that found no room in its bucket drives out another
//! one, and a false match (47 bits and the bucket: about never) sends one such INVITE to a node that answers 481.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use switchtender_select::NodeSlot;

const WAYS: usize = 8;
const EMPTY: u64 = 0;
/// So many low bits of an entry hold the node's slot + 1; the rest is the hash.
const NODE_BITS: u32 = 17;
const NODE_MASK: u64 = (1 << NODE_BITS) - 1;

/// The entries, by bucket.
#[derive(Debug)]
pub(crate) struct Standing {
    buckets: Box<[[AtomicU64; WAYS]]>,
}

impl Standing {
    /// Room for about so many calls.
    pub(crate) fn new(calls: usize) -> Self {
        let buckets = calls.div_ceil(WAYS).next_power_of_two();
        Self { buckets: (0..buckets).map(|_| std::array::from_fn(|_| AtomicU64::new(EMPTY))).collect() }
    }

    /// The call stands at this node now, wherever it stood before.
    pub(crate) fn remember(&self, call: u64, node: NodeSlot) {
        let entry = call & !NODE_MASK | (u64::from(node.0) + 1) & NODE_MASK;
        let bucket = self.bucket(call);
        let same = bucket.iter().find(|place| is_of(place.load(Ordering::Relaxed), call));
        let empty = || bucket.iter().find(|place| place.load(Ordering::Relaxed) == EMPTY);
        // Which one is driven out is as good as random.
        let victim = || bucket.get(usize::try_from(call & (WAYS as u64 - 1)).unwrap_or(0));
        if let Some(place) = same.or_else(empty).or_else(victim) {
            place.store(entry, Ordering::Relaxed);
        }
    }

    /// It does no longer.
    pub(crate) fn forget(&self, call: u64) {
        for place in self.bucket(call) {
            let entry = place.load(Ordering::Relaxed);
            if is_of(entry, call) {
                // Failing means that another call took the place meanwhile.
                let _ = place.compare_exchange(entry, EMPTY, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Where it stands.
    pub(crate) fn node(&self, call: u64) -> Option<NodeSlot> {
        let entries = self.bucket(call).iter().map(|place| place.load(Ordering::Relaxed));
        let entry = entries.into_iter().find(|entry| is_of(*entry, call))?;
        node_of(entry)
    }

    /// How many calls stand at each node. Looks at every place: for those who can wait.
    pub(crate) fn by_node(&self) -> HashMap<NodeSlot, u64> {
        let mut counts = HashMap::new();
        for place in self.buckets.iter().flatten() {
            if let Some(node) = node_of(place.load(Ordering::Relaxed)) {
                *counts.entry(node).or_default() += 1;
            }
        }
        counts
    }

    fn bucket(&self, call: u64) -> &[AtomicU64] {
        let mask = self.buckets.len().saturating_sub(1);
        let index = usize::try_from(call >> NODE_BITS).unwrap_or(0) & mask;
        self.buckets.get(index).map_or(&[], |bucket| bucket)
    }
}

fn node_of(entry: u64) -> Option<NodeSlot> {
    u32::try_from(entry & NODE_MASK).ok()?.checked_sub(1).map(NodeSlot)
}

fn is_of(entry: u64, call: u64) -> bool {
    entry != EMPTY && entry >> NODE_BITS == call >> NODE_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 0x1234_5678_9abc_de00;

    #[test]
    fn a_call_is_found_where_it_was_seen_last_until_it_ends() {
        let table = Standing::new(1000);
        assert_eq!(table.node(A), None);
        table.remember(A, NodeSlot(0));
        table.remember(A, NodeSlot(65_535));
        assert_eq!(table.node(A), Some(NodeSlot(65_535)));
        table.remember(!A, NodeSlot(0));
        table.remember(!A >> 1, NodeSlot(0));
        assert_eq!(table.by_node(), HashMap::from([(NodeSlot(65_535), 1), (NodeSlot(0), 2)]));
        table.forget(!A);
        table.forget(!A >> 1);
        assert_eq!(table.node(A ^ 1 << 60), None);
        table.forget(A ^ 1 << 60);
        table.forget(A);
        assert_eq!(table.node(A), None);
        assert!(table.buckets.iter().flatten().all(|place| place.load(Ordering::Relaxed) == EMPTY));
    }

    #[test]
    fn more_calls_than_there_is_room_for_drive_out_older_ones() {
        let table = Standing::new(100);
        let calls = (1..10_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        calls.clone().for_each(|call| table.remember(call, NodeSlot(7)));
        let found = calls.filter(|call| table.node(*call) == Some(NodeSlot(7))).count();
        assert_eq!(found, table.buckets.len() * WAYS, "every place is taken");
    }
}
