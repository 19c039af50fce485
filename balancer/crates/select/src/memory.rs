//! What a worker remembers between choices, group by group: whose turn it is, tables to draw from.

use crate::algorithm::{RoundRobinCursor, Standing};
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
    tiers: Vec<Standing>,
    /// For looks at a tier of which nothing is kept.
    pub(crate) spare: Standing,
}

impl GroupMemory {
    /// What is kept of the group, with the tier of that place from the top; with none, where nothing is to be kept.
    pub(crate) fn tier(
        &mut self,
        tier: usize,
        is_kept: bool,
    ) -> (&mut RoundRobinCursor, &mut Ejections, &mut Standing) {
        if !is_kept {
            return (&mut self.cursor, &mut self.ejections, &mut self.spare);
        }
        if self.tiers.len() <= tier {
            self.tiers.resize_with(tier + 1, Standing::default);
        }
        let standing = self.tiers.get_mut(tier).unwrap_or(&mut self.spare);
        (&mut self.cursor, &mut self.ejections, standing)
    }
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
