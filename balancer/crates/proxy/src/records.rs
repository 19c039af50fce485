//! What calls hold of their nodes' limited resources: one record for each call.
//!
//! A record is a value that means the same wherever it is read: taking one over twice, or releasing one that is gone,
//! changes nothing. It is found by a hash of the Call-ID that is the same on every replica. This table knows neither
//! messages nor transactions, and what it drops its owner gives back to the node.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::time::Duration;

use switchtender_select::{NodeSlot, ResourceSet, Time};

use crate::fingerprint::Hashed;
use crate::slab::{Handle, Slab};

/// What one call holds at its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallRecord {
    /// Hash of the Call-ID, the same on every replica.
    pub call: u64,
    /// Where it holds something.
    pub node: NodeSlot,
    /// The life of the node that it belongs to.
    pub epoch: u32,
    /// One of each of these.
    pub resources: ResourceSet,
    /// When it is forgotten unless the call shows that it stands.
    pub expires: Time,
}

/// A whole round over all records takes so many looks.
const LOOKS_PER_ROUND: usize = 16;
/// The time between two looks while there are records.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    key: u64,
    record: CallRecord,
    /// A sign of life is good for so long.
    lifetime: Duration,
}

/// The calls that hold something, by a keyed hash of their Call-ID: one that everybody can work out would let callers
/// pile up entries in one place of the table.
#[derive(Debug, Default)]
pub(crate) struct CallRecords {
    records: Slab<Entry>,
    by_key: HashMap<u64, Handle, BuildHasherDefault<Hashed>>,
    /// Where the next look begins.
    cursor: usize,
}

impl CallRecords {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn get(&self, key: u64) -> Option<&CallRecord> {
        self.records.get(*self.by_key.get(&key)?).map(|entry| &entry.record)
    }

    /// Takes a record in, in place of the one of the same call, which is returned. `lifetime`: from one sign of life to
    /// the next at most.
    pub(crate) fn put(&mut self, key: u64, record: CallRecord, lifetime: Duration) -> Option<CallRecord> {
        let former = self.take(key);
        if let Some(handle) = self.records.insert(Entry { key, record, lifetime }) {
            self.by_key.insert(key, handle);
        }
        former
    }

    /// Takes the record of a call out.
    pub(crate) fn take(&mut self, key: u64) -> Option<CallRecord> {
        let handle = self.by_key.remove(&key)?;
        self.records.remove(handle).map(|entry| entry.record)
    }

    /// The call shows that it stands. Whether it has a record here.
    pub(crate) fn refresh(&mut self, key: u64, now: Time) -> bool {
        let found = self.by_key.get(&key).and_then(|handle| self.records.get_mut(*handle));
        let Some(entry) = found else { return false };
        entry.record.expires = now + entry.lifetime;
        true
    }

    /// Looks at the next few records and hands those to `drop` that are over by `now` or that `is_past` says belong to an
    /// earlier life of their node. Each record is looked at once in [`LOOKS_PER_ROUND`] looks.
    pub(crate) fn look(&mut self, now: Time, is_past: impl Fn(&CallRecord) -> bool, mut drop: impl FnMut(&CallRecord)) {
        let places = self.records.places();
        for _ in 0..places.div_ceil(LOOKS_PER_ROUND) {
            let place = self.cursor % places;
            self.cursor = (place + 1) % places;
            let Some(Entry { key, record, .. }) = self.records.at(place) else { continue };
            let (key, record) = (*key, *record);
            if record.expires <= now || is_past(&record) {
                self.take(key);
                drop(&record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(100);

    fn record(call: u64, node: u32, now: u64) -> CallRecord {
        CallRecord {
            call,
            node: NodeSlot(node),
            epoch: 0,
            resources: ResourceSet(1),
            expires: Time::from_secs(now) + LIFETIME,
        }
    }

    fn round(records: &mut CallRecords, now: u64, epoch: u32) -> Vec<u64> {
        let mut dropped = Vec::new();
        for _ in 0..LOOKS_PER_ROUND {
            records.look(Time::from_secs(now), |record| record.epoch != epoch, |record| dropped.push(record.call));
        }
        dropped.sort_unstable();
        dropped
    }

    #[test]
    fn one_call_has_one_record() {
        let mut records = CallRecords::default();
        assert_eq!(records.put(1, record(1, 1, 0), LIFETIME), None);
        assert_eq!(records.put(1, record(1, 2, 0), LIFETIME).map(|record| record.node), Some(NodeSlot(1)));
        assert_eq!(records.get(1).map(|record| record.node), Some(NodeSlot(2)));
        assert!(records.take(1).is_some());
        assert_eq!(records.take(1), None);
        assert_eq!((records.len(), records.by_key.len()), (0, 0));
    }

    #[test]
    fn what_shows_no_sign_of_life_is_dropped_within_a_round() {
        let mut records = CallRecords::default();
        for call in 0..1000 {
            records.put(call, record(call, 1, 0), LIFETIME);
        }
        assert!(records.refresh(7, Time::from_secs(50)));
        assert!(!records.refresh(1000, Time::from_secs(50)));
        assert_eq!(round(&mut records, 99, 0), [0; 0]);
        assert_eq!(round(&mut records, 100, 0).len(), 999);
        assert_eq!(records.len(), 1);
        assert_eq!(round(&mut records, 150, 0), [7]);
        assert_eq!(round(&mut records, 1000, 0), [0; 0], "nothing is left to look at");
    }

    #[test]
    fn records_of_an_earlier_life_of_their_node_are_dropped() {
        let mut records = CallRecords::default();
        records.put(1, record(1, 1, 0), LIFETIME);
        records.put(2, CallRecord { epoch: 1, ..record(2, 1, 0) }, LIFETIME);
        assert_eq!(round(&mut records, 1, 1), [1]);
    }
}
