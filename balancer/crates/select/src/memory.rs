//! What a worker remembers between choices: whose turn it is, group by group.

use crate::algorithm::RoundRobinCursor;
use crate::ejection::Ejections;
use crate::group::GroupSlot;

/// One worker's memory of all groups, kept over configuration changes.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    groups: Vec<GroupMemory>,
    spare: GroupMemory,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct GroupMemory {
    pub(crate) cursor: RoundRobinCursor,
    pub(crate) ejections: Ejections,
}

impl Memory {
    /// Nothing was chosen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is remembered of a group.
    pub(crate) fn of(&mut self, group: GroupSlot) -> &mut GroupMemory {
        let index = usize::try_from(group.0).unwrap_or(usize::MAX);
        if index >= self.groups.len() && index < usize::MAX {
            self.groups.resize_with(index + 1, GroupMemory::default);
        }
        self.groups.get_mut(index).unwrap_or(&mut self.spare)
    }
}
