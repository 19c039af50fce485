//! What happened to a Call-ID at which node, remembered for a while.
//!
//! The node that challenged it: the request that comes back with credentials must go there, since a digest nonce means
//! something to its maker only. The node that it ended at: a second BYE, of the other side, ends nothing more.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use switchtender_select::{NodeSlot, Time};

use crate::fingerprint::Hashed;

/// How long a caller may take to ask its user for a password; longer than any transaction.
const KEPT: Duration = Duration::from_secs(60);
/// The oldest is forgotten for one more than this.
const LIMIT: usize = 16 * 1024;

/// Nodes by hash of the Call-ID, for a while.
#[derive(Debug, Default)]
pub(crate) struct RecentCalls {
    nodes: HashMap<u64, (NodeSlot, Time), BuildHasherDefault<Hashed>>,
    /// In order of time; an entry whose time is not the one in the table was renewed since.
    order: VecDeque<(Time, u64)>,
}

impl RecentCalls {
    pub(crate) fn note(&mut self, call_id: u64, node: NodeSlot, now: Time) {
        while let Some((until, oldest)) = self.order.front().copied()
            && (until <= now || self.order.len() >= LIMIT)
        {
            self.order.pop_front();
            if self.nodes.get(&oldest).is_some_and(|(_, renewed)| *renewed == until) {
                self.nodes.remove(&oldest);
            }
        }
        let until = now + KEPT;
        self.nodes.insert(call_id, (node, until));
        self.order.push_back((until, call_id));
    }

    /// The node noted last for this Call-ID, and how long ago.
    pub(crate) fn node(&self, call_id: u64, now: Time) -> Option<(NodeSlot, Duration)> {
        let (node, until) = self.nodes.get(&call_id).filter(|(_, until)| now < *until)?;
        Some((*node, now.since(*until - KEPT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_note_counts_and_is_forgotten_in_time() {
        let mut calls = RecentCalls::default();
        calls.note(1, NodeSlot(1), Time::from_secs(1));
        calls.note(1, NodeSlot(2), Time::from_secs(30));
        assert_eq!(calls.node(1, Time::from_secs(62)), Some((NodeSlot(2), Duration::from_secs(32))));
        calls.note(2, NodeSlot(1), Time::from_secs(62));
        assert!(calls.node(1, Time::from_secs(62)).is_some(), "renewed entries stay");
        assert_eq!(calls.node(1, Time::from_secs(90)), None);
        calls.note(3, NodeSlot(1), Time::from_secs(200));
        assert_eq!((calls.nodes.len(), calls.order.len()), (1, 1));
    }

    #[test]
    fn a_flood_of_notes_is_bounded() {
        let mut calls = RecentCalls::default();
        for call in 0..100_000 {
            calls.note(call, NodeSlot(0), Time::from_secs(1));
        }
        assert!(calls.nodes.len() <= LIMIT && calls.order.len() <= LIMIT);
        assert_eq!(calls.node(99_999, Time::from_secs(1)), Some((NodeSlot(0), Duration::ZERO)));
    }
}
