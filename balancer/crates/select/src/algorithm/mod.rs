//! The algorithms: given the members that may take the call, which one does.
//!
//! To add one: a file beside this, a variant of [`Algorithm`], an arm in [`Manner::pick`]. One that looks at everyone
//! implements [`Chooser`]; one that must not asks the [`Tier`] for single members. Eligibility, tiers and panic are
//! settled outside and are no concern of an algorithm.

mod alias;
mod by_key;
mod first;
mod least_load;
mod packed;
mod random;
pub(crate) mod rendezvous;
mod round_robin;
mod standing;
mod weighted;

pub(crate) use round_robin::RoundRobinCursor;
pub(crate) use standing::{Keep, Standing};
pub(crate) use weighted::reported_weight;

use first::First;
use least_load::LeastLoad;
use packed::Packed;
use random::Random;
use round_robin::RoundRobin;

use crate::group::{Group, GroupSlot};
use crate::hash::identity;
use crate::load::Evaluation;
use crate::memory::Memory;
use crate::rng::Rng;
use crate::snapshot::NodeSlot;

/// How a group chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Two draws in proportion to capacity × weight, the less utilized wins.
    LeastLoad,
    /// In turn, by weights from the reported load or from the configuration.
    Weighted,
    /// In turn, by configured weights.
    RoundRobin,
    /// Drawn by weight.
    Random,
    /// By the key of the call.
    Hash,
    /// The fullest below a mark.
    Packed,
    /// Strictly in order.
    First,
}

impl Algorithm {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::LeastLoad, Self::Weighted, Self::RoundRobin, Self::Random, Self::Hash, Self::Packed, Self::First];

    /// The configured names.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// The name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastLoad => "LeastLoad",
            Self::Weighted => "Weighted",
            Self::RoundRobin => "RoundRobin",
            Self::Random => "Random",
            Self::Hash => "Hash",
            Self::Packed => "Packed",
            Self::First => "First",
        }
    }
}

/// A member that may take the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// Its place in the tier.
    pub(crate) member: usize,
    pub(crate) slot: NodeSlot,
    pub(crate) evaluation: Evaluation,
    /// Configured weight × weight factor × score, finite and above 0; under `Weighted` made of what it reports, not
    /// below 0.
    pub(crate) weight: f64,
    /// The weight factor alone: below 1 in slow start.
    pub(crate) ramp: f64,
    pub(crate) score: f64,
}

/// The members of one tier, looked at one by one.
pub(crate) trait Tier {
    /// How many there are.
    fn len(&self) -> usize;
    /// What is known of one without a look at its load: lasting identity and configured weight.
    fn fixed(&self, index: usize) -> Option<(u64, f64)>;
    /// One of them, if it may take this call now.
    fn contender(&mut self, index: usize) -> Option<Contender>;
    /// One of them as any call would find it, and whether it may take one now; `None` when none will for some time.
    fn standing(&mut self, index: usize) -> Option<(Contender, bool)>;
}

/// Takes the contenders one by one and names the winner at the end, so that nothing need be stored per call.
pub(crate) trait Chooser {
    /// One more that may take the call.
    fn offer(&mut self, contender: &Contender);
    /// The winner's place in the tier; `None` when nobody was offered.
    fn pick(self) -> Option<usize>;
}

/// What members are drawn by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    Capacity,
    Weight,
}

impl Size {
    fn of(self, contender: &Contender) -> f64 {
        match self {
            Self::Capacity => least_load::size(contender),
            Self::Weight => contender.weight,
        }
    }
}

/// In tiers of so few a look at everyone costs no more than two draws, and draws exactly.
const FEW: usize = 4;

/// An algorithm with its settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    algorithm: Algorithm,
    high_water: f64,
    legs: u32,
    /// The key of the call.
    hash: Option<u64>,
}

impl Manner {
    pub(crate) const fn of(group: &Group, hash: Option<u64>) -> Self {
        Self { algorithm: group.algorithm, high_water: group.high_water, legs: group.legs_per_call, hash }
    }

    /// The member of the tier that takes the call. `keep`: whether what `standing` keeps of the tier may serve.
    pub(crate) fn pick(
        self,
        tier: &mut impl Tier,
        keep: Keep,
        standing: &mut Standing,
        cursor: &mut RoundRobinCursor,
        rng: &mut Rng,
    ) -> Option<usize> {
        match self.algorithm {
            Algorithm::LeastLoad => {
                let drawn = (tier.len() > FEW && keep != Keep::Nothing).then(|| {
                    standing.refresh(tier, Size::Capacity, keep);
                    least_load::draw(tier, standing, rng)
                });
                drawn.flatten().or_else(|| run(LeastLoad::new(rng), tier))
            }
            Algorithm::Random => {
                let drawn = (tier.len() > FEW && keep != Keep::Nothing).then(|| {
                    standing.refresh(tier, Size::Weight, keep);
                    random::draw(tier, standing, rng)
                });
                drawn.flatten().or_else(|| run(Random::new(rng), tier))
            }
            Algorithm::RoundRobin | Algorithm::Weighted => run(RoundRobin::new(cursor, rng), tier),
            Algorithm::Hash => {
                standing.refresh(tier, Size::Weight, keep);
                let chosen = by_key::pick(tier, self.hash.unwrap_or_else(|| rng.next_u64()), standing);
                standing.placed(if chosen.is_some() { self.legs } else { 0 });
                chosen
            }
            Algorithm::Packed => run(Packed::new(self.high_water, self.legs, rng), tier),
            Algorithm::First => run(First::default(), tier),
        }
    }
}

fn run<C: Chooser>(mut chooser: C, tier: &mut impl Tier) -> Option<usize> {
    for index in 0..tier.len() {
        if let Some(contender) = tier.contender(index) {
            chooser.offer(&contender);
        }
    }
    chooser.pick()
}

/// The bare algorithm over plain numbers, for models and simulations: the index of the node that takes the call. `nodes`
/// are evaluations with their weights; those that are not eligible, have no weight or stand in `excluded` are passed by.
/// `Hash` draws its key, `Packed` fills up to 0.8.
pub fn choose_among(
    algorithm: Algorithm,
    nodes: &[(Evaluation, f64)],
    excluded: &[usize],
    rng: &mut Rng,
    memory: &mut Memory,
) -> Option<usize> {
    let manner = Manner { algorithm, high_water: 0.8, legs: 1, hash: None };
    let memory = memory.of(GroupSlot(0));
    let (standing, cursor) = (&mut memory.spare, &mut memory.cursor);
    manner.pick(&mut Plain { nodes, excluded }, Keep::Anew, standing, cursor, rng)
}

struct Plain<'a> {
    nodes: &'a [(Evaluation, f64)],
    excluded: &'a [usize],
}

impl Tier for Plain<'_> {
    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn fixed(&self, index: usize) -> Option<(u64, f64)> {
        self.nodes.get(index).map(|(_, weight)| (identity(&index.to_string()), *weight))
    }

    fn contender(&mut self, index: usize) -> Option<Contender> {
        let (contender, may) = self.standing(index)?;
        (may && !self.excluded.contains(&index)).then_some(contender)
    }

    fn standing(&mut self, index: usize) -> Option<(Contender, bool)> {
        let &(evaluation, weight) = self.nodes.get(index)?;
        let slot = NodeSlot(u32::try_from(index).ok()?);
        let contender = Contender { member: index, slot, evaluation, weight, ramp: 1.0, score: 1.0 };
        (weight > 0.0 && weight.is_finite()).then_some((contender, evaluation.eligible))
    }
}
