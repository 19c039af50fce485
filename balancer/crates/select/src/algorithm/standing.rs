//! What a worker keeps of a tier between calls: a table to draw from, and how full its members are on average. Looking
//! at all members for each call would cost more than everything else together.

use core::time::Duration;

use super::alias::Alias;
use super::{Size, Tier};
use crate::time::Time;

/// After so long a table is built anew. Until then a member that became ready is found by scans only, and one whose
/// capacity changed is drawn by the former one; whether a drawn one may take the call is judged on the spot.
const KEPT: Duration = Duration::from_millis(250);

/// Whether what is kept of a tier may serve a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Unless it is too old, by the snapshot's generation and the time.
    Until { generation: u64, now: Time },
    /// All is looked at anew.
    Anew,
    /// Nothing is kept: this is no look at the tier as calls usually find it.
    Nothing,
}

/// Of what and when something was built.
#[derive(Clone, Copy, Debug)]
struct Built {
    generation: u64,
    members: usize,
    at: Time,
    until: Time,
}

/// One tier as it stood a moment ago.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    built: Option<Built>,
    pub(crate) draws: Alias,
    sizes: Vec<f64>,
    effective: f64,
    capacity: f64,
}

impl Standing {
    /// Builds it anew where it is too old.
    #[inline]
    pub(crate) fn refresh(&mut self, tier: &mut impl Tier, size: Size, keep: Keep) {
        match keep {
            Keep::Nothing => return,
            Keep::Anew => self.built = None,
            Keep::Until { generation, now } => {
                let members = tier.len();
                let is_fresh = self.built.is_some_and(|built| {
                    built.generation == generation && built.members == members && (built.at..built.until).contains(&now)
                });
                if is_fresh {
                    return;
                }
                self.built = Some(Built { generation, members, at: now, until: now + KEPT });
            }
        }
        self.rebuild(tier, size);
    }

    #[cold]
    fn rebuild(&mut self, tier: &mut impl Tier, size: Size) {
        self.sizes.clear();
        (self.effective, self.capacity) = (0.0, 0.0);
        for index in 0..tier.len() {
            let standing = tier.standing(index);
            self.sizes.push(standing.map_or(0.0, |(contender, _)| size.of(&contender)));
            if let Some((contender, true)) = standing {
                self.effective += contender.evaluation.effective;
                self.capacity += contender.evaluation.capacity;
            }
        }
        self.draws.rebuild(self.sizes.iter().copied());
    }

    /// A call was placed here: what is kept need not wait for the next look to know it.
    pub(crate) fn placed(&mut self, legs: u32) {
        self.effective += f64::from(legs);
    }

    /// Utilization of all that can take calls, taken together.
    pub(crate) fn average(&self) -> f64 {
        if self.capacity > 0.0 { self.effective / self.capacity } else { 1.0 }
    }
}
