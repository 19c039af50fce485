//! The algorithms: given the members that may take the call, which one does.
//!
//! To add one: a file beside this with a type that implements [`Chooser`], a variant of [`Algorithm`], an arm in
//! [`Algorithm::pick`]. Eligibility, tiers and panic are settled before and are no concern of an algorithm.

mod least_load;
pub(crate) mod rendezvous;
mod round_robin;

pub(crate) use round_robin::RoundRobinCursor;

use least_load::LeastLoad;
use round_robin::RoundRobin;

use crate::group::{Group, GroupSlot};
use crate::load::Evaluation;
use crate::memory::Memory;
use crate::rng::Rng;
use crate::snapshot::NodeSlot;

/// How a group chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Two draws in proportion to capacity × weight, the less utilized wins.
    LeastLoad,
    /// In turn, smoothly weighted.
    RoundRobin,
    /// By key.
    Hash,
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
    /// Those that can be configured.
    pub const ALL: &'static [Self] = &[Self::LeastLoad, Self::RoundRobin];

    /// The configured names.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// The name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastLoad => "LeastLoad",
            Self::RoundRobin => "RoundRobin",
            Self::Hash => "Hash",
        }
    }
}

/// An algorithm with its settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    algorithm: Algorithm,
}

impl Manner {
    pub(crate) const fn of(group: &Group) -> Self {
        Self { algorithm: group.algorithm }
    }

    /// The one of `contenders` that takes the call.
    pub(crate) fn pick(
        self,
        contenders: impl Iterator<Item = Contender>,
        rng: &mut Rng,
        cursor: &mut RoundRobinCursor,
    ) -> Option<Contender> {
        match self.algorithm {
            Algorithm::LeastLoad | Algorithm::Hash => run(LeastLoad::new(rng), contenders),
            Algorithm::RoundRobin => run(RoundRobin::new(cursor), contenders),
        }
    }
}

/// The bare algorithm over plain numbers, for models and simulations: the index of the node that takes the call. `nodes`
/// are evaluations with their weights; those that are not eligible, have no weight or stand in `excluded` are passed by.
pub fn choose_among(
    algorithm: Algorithm,
    nodes: &[(Evaluation, f64)],
    excluded: &[usize],
    rng: &mut Rng,
    memory: &mut Memory,
) -> Option<usize> {
    let contenders = nodes.iter().enumerate().filter_map(|(index, &(evaluation, weight))| {
        let slot = NodeSlot(u32::try_from(index).ok()?);
        let may = evaluation.eligible && weight > 0.0 && weight.is_finite() && !excluded.contains(&index);
        may.then_some(Contender { member: index, slot, evaluation, weight })
    });
    let memory = memory.of(GroupSlot(0));
    Manner { algorithm }.pick(contenders, rng, &mut memory.cursor).map(|winner| winner.member)
}

fn run<C: Chooser>(mut chooser: C, contenders: impl Iterator<Item = Contender>) -> Option<Contender> {
    contenders.for_each(|contender| chooser.offer(contender));
    chooser.pick()
}
