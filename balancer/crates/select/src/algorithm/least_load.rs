//! `LeastLoad`: the power of two choices (Mitzenmacher 2001), drawn in proportion to size.
//!
//! Always taking the emptiest node would send every replica's calls to the same one until the next report. Two random
//! candidates avoid that herd at nearly the same balance. Uniform draws would starve big nodes: see the tests.

use super::standing::Standing;
use super::{Chooser, Contender, Tier};
use crate::rng::Rng;

/// What two drawn ones are compared by.
#[derive(Clone, Copy)]
struct Drawn {
    member: usize,
    utilization: f64,
    weight: f64,
}

impl Drawn {
    fn of(contender: &Contender) -> Self {
        let (member, weight) = (contender.member, contender.weight);
        Self { member, utilization: contender.evaluation.utilization, weight }
    }

    /// The one with less utilization ÷ weight (a node of weight 2 may be twice as full as one of weight 1), without the
    /// divisions. Of equal ones the first.
    fn or_lighter(self, other: Self) -> usize {
        if other.utilization * self.weight < self.utilization * other.weight { other.member } else { self.member }
    }
}

/// So many draws at most to find two that can take the call: enough where half of them can, and where fewer can, a scan
/// is not much dearer.
const DRAWS: usize = 8;

/// Draws from the table and judges the drawn ones only. `None`: none of them can take the call, scan.
pub(super) fn draw(tier: &mut impl Tier, standing: &Standing, rng: &mut Rng) -> Option<usize> {
    let mut first: Option<Drawn> = None;
    let mut refused = usize::MAX;
    for _ in 0..DRAWS {
        let index = standing.draws.draw(rng)?;
        // Without replacement.
        if index == refused || first.is_some_and(|first| first.member == index) {
            continue;
        }
        let Some(contender) = tier.contender(index) else {
            refused = index;
            continue;
        };
        let drawn = Drawn::of(&contender);
        match first {
            Some(first) => return Some(first.or_lighter(drawn)),
            None if standing.draws.drawable() == 1 => return Some(index),
            None => first = Some(drawn),
        }
    }
    first.map(|first| first.member)
}

/// The same by a look at everyone.
pub(super) struct LeastLoad<'a> {
    rng: &'a mut Rng,
    first: Option<(f64, Drawn)>,
    second: Option<(f64, Drawn)>,
}

impl<'a> LeastLoad<'a> {
    pub(super) fn new(rng: &'a mut Rng) -> Self {
        Self { rng, first: None, second: None }
    }
}

impl Chooser for LeastLoad<'_> {
    /// Weighted sampling of two without replacement in one pass (Efraimidis and Spirakis 2006): each contender waits an
    /// exponential time with its size as the rate; the two shortest waits are the draw.
    fn offer(&mut self, contender: &Contender) {
        let (wait, drawn) = (wait(self.rng, size(contender)), Drawn::of(contender));
        if self.first.is_none_or(|(shortest, _)| wait < shortest) {
            self.second = self.first.replace((wait, drawn));
        } else if self.second.is_none_or(|(shorter, _)| wait < shorter) {
            self.second = Some((wait, drawn));
        }
    }

    fn pick(self) -> Option<usize> {
        let (_, first) = self.first?;
        Some(self.second.map_or(first.member, |(_, second)| first.or_lighter(second)))
    }
}

/// A random time until a contender of this size comes first.
pub(super) fn wait(rng: &mut Rng, size: f64) -> f64 {
    // A size of 0 cannot occur among eligible ones, but is harmless.
    -(1.0 - rng.unit_f64()).ln() / size.max(f64::MIN_POSITIVE)
}

/// What a node is drawn by. An unlimited node of weight w still has a size.
pub(super) fn size(contender: &Contender) -> f64 {
    contender.evaluation.capacity * contender.weight
}
