//! The algorithms: given the members that may take the call, which one does.
//!
//! To add one: a file beside this with a type that implements [`Chooser`], a variant of [`Algorithm`], an arm in
//! [`Algorithm::pick`]. Eligibility, tiers and panic are settled before and are no concern of an algorithm.

mod least_load;
mod round_robin;

pub use round_robin::RoundRobinCursor;

use least_load::LeastLoad;
use round_robin::RoundRobin;

use crate::load::Evaluation;
use crate::rng::Rng;
use crate::snapshot::NodeSlot;

/// How a group chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Two draws in proportion to capacity × weight, the less utilized wins.
    LeastLoad,
    /// In turn, smoothly weighted.
    RoundRobin,
}

/// A member that may take the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// Its place in the group's members.
    pub(crate) member: usize,
    pub(crate) slot: NodeSlot,
    pub(crate) evaluation: Evaluation,
    /// Configured weight × weight factor, finite and above 0.
    pub(crate) weight: f64,
}

/// Takes the contenders one by one and names the winner at the end, so that nothing need be stored per call.
pub(crate) trait Chooser {
    /// One more that may take the call.
    fn offer(&mut self, contender: Contender);
    /// The winner; `None` when nobody was offered.
    fn pick(self) -> Option<Contender>;
}

impl Algorithm {
    /// The configured names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::LeastLoad, Self::RoundRobin].into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastLoad => "LeastLoad",
            Self::RoundRobin => "RoundRobin",
        }
    }

    /// The one of `contenders` that takes the call.
    pub(crate) fn pick(
        self,
        contenders: impl Iterator<Item = Contender>,
        rng: &mut Rng,
        cursor: &mut RoundRobinCursor,
    ) -> Option<Contender> {
        match self {
            Self::LeastLoad => run(LeastLoad::new(rng), contenders),
            Self::RoundRobin => run(RoundRobin::new(cursor), contenders),
        }
    }
}

fn run<C: Chooser>(mut chooser: C, contenders: impl Iterator<Item = Contender>) -> Option<Contender> {
    contenders.for_each(|contender| chooser.offer(contender));
    chooser.pick()
}
