//! How much of each named resource of a node is in use. All workers take and give back here, so a limit holds over all of
//! them.

use std::sync::atomic::{AtomicU64, Ordering};

use switchtender_select::{RESOURCES, ResourceSet, ResourceSlot};

/// One word for each resource: the node's life (its restarts, upper half) and the count in that life (lower half), so
/// that a count of an earlier life is never taken for one of this.
#[derive(Debug)]
pub(crate) struct Resources {
    epoch: AtomicU64,
    words: [AtomicU64; RESOURCES as usize],
}

impl Default for Resources {
    fn default() -> Self {
        Self { epoch: AtomicU64::new(0), words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Resources {
    /// The node restarted, or the slot went to another node: whatever was taken is free.
    pub(crate) fn restart(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn epoch(&self) -> u32 {
        low(self.epoch.load(Ordering::Acquire))
    }

    pub(crate) fn in_use(&self, resource: ResourceSlot) -> u32 {
        let epoch = self.epoch();
        self.word(resource).map_or(0, |word| count(word.load(Ordering::Acquire), epoch))
    }

    pub(crate) fn reserve(&self, wanted: ResourceSet, limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        let epoch = self.epoch();
        let mut taken = ResourceSet::EMPTY;
        for resource in wanted.iter() {
            let most = limit(resource).unwrap_or(u32::MAX);
            let change = |count: u32| (count < most).then(|| count + 1);
            if !self.change(resource, epoch, change) {
                self.release(taken, epoch);
                return false;
            }
            taken = taken.with(resource);
        }
        true
    }

    pub(crate) fn release(&self, taken: ResourceSet, epoch: u32) {
        if epoch != self.epoch() {
            return;
        }
        for resource in taken.iter() {
            self.change(resource, epoch, |count| count.checked_sub(1));
        }
    }

    /// Changes the count of this life; false when `change` refuses or a later life has begun.
    fn change(&self, resource: ResourceSlot, epoch: u32, change: impl Fn(u32) -> Option<u32>) -> bool {
        let Some(word) = self.word(resource) else { return false };
        let next = |value: u64| {
            let is_past = high(value) > epoch;
            let count = if is_past { None } else { change(count(value, epoch)) }?;
            Some(u64::from(epoch) << 32 | u64::from(count))
        };
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }

    fn word(&self, resource: ResourceSlot) -> Option<&AtomicU64> {
        self.words.get(usize::from(resource.0))
    }
}

/// The count in this life: what an earlier one left is nothing.
fn count(word: u64, epoch: u32) -> u32 {
    if high(word) == epoch { low(word) } else { 0 }
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low(word: u64) -> u32 {
    word as u32
}

#[allow(clippy::cast_possible_truncation, reason = "shifted into the lower half")]
const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: ResourceSlot = ResourceSlot(3);
    const TRUNK: ResourceSlot = ResourceSlot(63);

    fn both() -> ResourceSet {
        ResourceSet::EMPTY.with(CONF).with(TRUNK)
    }

    #[test]
    fn all_or_none_is_taken() {
        let resources = Resources::default();
        let limit = |resource| if resource == CONF { Some(2) } else { Some(1) };
        assert!(resources.reserve(both(), &limit));
        assert!(!resources.reserve(both(), &limit), "the trunk is used up");
        assert_eq!((resources.in_use(CONF), resources.in_use(TRUNK)), (1, 1), "and no seat was kept");
        assert!(resources.reserve(ResourceSet::EMPTY.with(CONF), &limit));
        assert!(resources.reserve(both(), &|_| None), "without limits of ours");
        resources.release(both(), 0);
        resources.release(both(), 0);
        assert_eq!((resources.in_use(CONF), resources.in_use(TRUNK)), (1, 0));
        resources.release(both(), 0);
        resources.release(both(), 0);
        assert_eq!((resources.in_use(CONF), resources.in_use(TRUNK)), (0, 0), "never below zero");
    }

    #[test]
    fn a_restart_frees_all_and_late_releases_take_nothing_from_the_new_life() {
        let resources = Resources::default();
        assert!(resources.reserve(both(), &|_| Some(1)));
        let earlier = resources.epoch();
        resources.restart();
        assert_eq!((resources.in_use(CONF), resources.epoch()), (0, earlier + 1));
        assert!(resources.reserve(both(), &|_| Some(1)));
        resources.release(both(), earlier);
        assert_eq!(resources.in_use(CONF), 1);
        resources.release(both(), earlier + 1);
        assert_eq!(resources.in_use(CONF), 0);
    }

    #[test]
    fn many_workers_never_take_more_than_there_is() {
        let resources = Resources::default();
        let taken: u32 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..100).map(|_| u32::from(resources.reserve(both(), &|_| Some(50)))).sum::<u32>())
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!((taken, resources.in_use(CONF), resources.in_use(TRUNK)), (50, 50, 50));
    }
}
