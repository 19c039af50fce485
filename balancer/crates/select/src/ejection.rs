//! Which ejections hold: those of a few nodes are their fault, those of many are more likely ours.

use crate::group::Group;
use crate::load::{Admission, Nodes};
use crate::place::is_willing;
use crate::time::Time;

/// The ejections of a group that hold, found out when first asked for. Keeps its room from call to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ejections {
    is_known: bool,
    /// Members by index, in rising order.
    holding: Vec<usize>,
    ranked: Vec<(Time, usize)>,
}

impl Ejections {
    /// What was found out is no longer up to date.
    pub(crate) fn forget(&mut self) {
        self.is_known = false;
    }

    /// Whether the ejection of this member, which is ejected, holds. No more than `max_ejected` of those that want calls
    /// are kept out (one always may be), and never the last one that could take a call; those stay out that were ejected
    /// for longest, so the worst.
    pub(crate) fn hold(&mut self, member: usize, group: &Group, nodes: &impl Nodes, now: Time) -> bool {
        if !self.is_known {
            self.find_out(group, nodes, now);
        }
        self.holding.binary_search(&member).is_ok()
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // a part of a count
    fn find_out(&mut self, group: &Group, nodes: &impl Nodes, now: Time) {
        self.ranked.clear();
        self.holding.clear();
        let (mut willing, mut reachable) = (0_usize, 0_usize);
        for (index, member) in group.members.iter().enumerate() {
            let load = nodes.load(member.slot, now);
            if !is_willing(member, &load) {
                continue;
            }
            willing += 1;
            if matches!(load.admission, Admission::Open | Admission::Unmeasured) {
                reachable += 1;
                if now < load.ejected_until {
                    self.ranked.push((load.ejected_until, index));
                }
            }
        }
        let share = (group.max_ejected * willing as f64) as usize;
        let most = if group.max_ejected > 0.0 { share.max(1) } else { 0 }.min(reachable.saturating_sub(1));
        self.ranked.sort_unstable_by_key(|&(until, index)| (core::cmp::Reverse(until), index));
        self.holding.extend(self.ranked.iter().take(most).map(|&(_, index)| index));
        self.holding.sort_unstable();
        self.is_known = true;
    }
}
