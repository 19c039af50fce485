//! Which node challenged which Call-ID: the request that comes back with credentials must go there, since a digest
//! nonce means something to its maker only.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use switchtender_select::{NodeSlot, Time};

use crate::fingerprint::Hashed;

/// How long a caller may take to ask its user for a password.
const KEPT: Duration = Duration::from_secs(60);
/// The oldest is forgotten for one more than this.
const LIMIT: usize = 16 * 1024;

/// Nodes by hash of the Call-ID, for a while.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    nodes: HashMap<u64, (NodeSlot, Time), BuildHasherDefault<Hashed>>,
    /// In order of time; an entry whose time is not the one in the table was renewed since.
    order: VecDeque<(Time, u64)>,
}

impl Challenges {
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

    /// The node that challenged this Call-ID, and how long ago.
    pub(crate) fn node(&self, call_id: u64, now: Time) -> Option<(NodeSlot, Duration)> {
        let (node, until) = self.nodes.get(&call_id).filter(|(_, until)| now < *until)?;
        Some((*node, now.since(*until - KEPT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_challenge_counts_and_is_forgotten_in_time() {
        let mut challenges = Challenges::default();
        challenges.note(1, NodeSlot(1), Time::from_secs(1));
        challenges.note(1, NodeSlot(2), Time::from_secs(30));
        assert_eq!(challenges.node(1, Time::from_secs(62)), Some((NodeSlot(2), Duration::from_secs(32))));
        challenges.note(2, NodeSlot(1), Time::from_secs(62));
        assert!(challenges.node(1, Time::from_secs(62)).is_some(), "renewed entries stay");
        assert_eq!(challenges.node(1, Time::from_secs(90)), None);
        challenges.note(3, NodeSlot(1), Time::from_secs(200));
        assert_eq!((challenges.nodes.len(), challenges.order.len()), (1, 1));
    }

    #[test]
    fn a_flood_of_challenges_is_bounded() {
        let mut challenges = Challenges::default();
        for call in 0..100_000 {
            challenges.note(call, NodeSlot(0), Time::from_secs(1));
        }
        assert!(challenges.nodes.len() <= LIMIT && challenges.order.len() <= LIMIT);
        assert_eq!(challenges.node(99_999, Time::from_secs(1)), Some((NodeSlot(0), Duration::ZERO)));
    }
}
