//! Named resources of a node that calls use up: conference seats, transcoders, trunk channels.
//!
//! A resource is known by its name in the whole process: a node that is a member of two groups has one count of it.

/// Where a resource name's counters live: stable while this process runs, below [`RESOURCES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceSlot(pub u8);

/// So many resource names fit into one process.
pub const RESOURCES: u8 = 64;

/// A set of resources, one bit for each slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResourceSet(pub u64);

impl ResourceSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it holds this one.
    pub const fn contains(self, resource: ResourceSlot) -> bool {
        self.0 & bit(resource) != 0
    }

    /// With this one more. A slot that cannot be is left out.
    #[must_use]
    pub const fn with(self, resource: ResourceSlot) -> Self {
        Self(self.0 | bit(resource))
    }

    /// Those that it holds, lowest slot first.
    pub fn iter(self) -> impl Iterator<Item = ResourceSlot> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let lowest = u8::try_from(rest.trailing_zeros()).ok().filter(|&slot| slot < RESOURCES)?;
            rest &= rest - 1;
            Some(ResourceSlot(lowest))
        })
    }
}

impl FromIterator<ResourceSlot> for ResourceSet {
    fn from_iter<I: IntoIterator<Item = ResourceSlot>>(resources: I) -> Self {
        resources.into_iter().fold(Self::EMPTY, Self::with)
    }
}

const fn bit(resource: ResourceSlot) -> u64 {
    if resource.0 < RESOURCES { 1 << resource.0 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: ResourceSet = [0, 5, 63].map(ResourceSlot).into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63].map(ResourceSlot));
        assert!(set.contains(ResourceSlot(63)) && !set.contains(ResourceSlot(62)));
        assert!(ResourceSet::EMPTY.is_empty() && !set.is_empty());
        assert_eq!(set.with(ResourceSlot(64)), set, "there is no such slot");
    }
}
