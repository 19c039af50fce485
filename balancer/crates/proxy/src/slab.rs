//! Slots with generations: a handle to an entry that is gone finds nothing, even after its slot was taken again.
//!
//! Knows nothing of what it holds.

use crate::branch::Transaction;

/// Names one entry of one [`Slab`] for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    slot: u32,
    generation: u32,
}

impl From<Handle> for Transaction {
    fn from(handle: Handle) -> Self {
        Self { slot: handle.slot, generation: handle.generation }
    }
}

impl From<Transaction> for Handle {
    fn from(transaction: Transaction) -> Self {
        Self { slot: transaction.slot, generation: transaction.generation }
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Entries in reusable slots. Grows to the most entries ever held at once and then allocates no more.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Puts `value` into a free slot. `None` when 2^32 are taken.
    pub(crate) fn insert(&mut self, value: T) -> Option<Handle> {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else {
            let slot = u32::try_from(self.entries.len()).ok()?;
            self.entries.push(Entry { generation: 0, value: None });
            slot
        };
        let entry = self.entries.get_mut(slot as usize)?;
        debug_assert!(entry.value.is_none(), "a free slot holds nothing");
        entry.value = Some(value);
        self.len += 1;
        Some(Handle { slot, generation: entry.generation })
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        let entry = self.entries.get(handle.slot as usize)?;
        if entry.generation == handle.generation { entry.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let entry = self.entries.get_mut(handle.slot as usize)?;
        if entry.generation == handle.generation { entry.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        let entry = self.entries.get_mut(handle.slot as usize)?;
        if entry.generation != handle.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(handle.slot);
        self.len -= 1;
        Some(value)
    }

    /// How many places there are, free ones included.
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }

    /// The entry in a place.
    pub(crate) fn at(&self, place: usize) -> Option<&T> {
        self.entries.get(place)?.value.as_ref()
    }

    /// Every entry, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.entries.iter().zip(0u32..).filter_map(|(entry, slot)| {
            let value = entry.value.as_ref()?;
            Some((Handle { slot, generation: entry.generation }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_handle_finds_nothing_after_its_slot_was_taken_again() {
        let mut slab = Slab::new();
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(first.slot, second.slot);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.iter().count(), 1);
    }
}
