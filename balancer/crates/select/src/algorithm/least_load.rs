//! `LeastLoad`: the power of two choices (Mitzenmacher 2001), drawn in proportion to size.
//!
//! Always taking the emptiest node would send every replica's calls to the same one until the next report. Two random
//! candidates avoid that herd at nearly the same balance. Uniform draws would starve big nodes: see the tests.

use super::{Chooser, Contender};
use crate::rng::Rng;

pub(super) struct LeastLoad<'a> {
    rng: &'a mut Rng,
    first: Option<(f64, Contender)>,
    second: Option<(f64, Contender)>,
}

impl<'a> LeastLoad<'a> {
    pub(super) fn new(rng: &'a mut Rng) -> Self {
        Self { rng, first: None, second: None }
    }
}

impl Chooser for LeastLoad<'_> {
    /// Weighted sampling of two without replacement in one pass (Efraimidis and Spirakis 2006): each contender waits an
    /// exponential time with its size as the rate; the two shortest waits are the draw.
    fn offer(&mut self, contender: Contender) {
        // An unlimited node of weight w still has a size; a size of 0 cannot occur among eligible ones, but is harmless.
        let size = (contender.evaluation.capacity * contender.weight).max(f64::MIN_POSITIVE);
        let wait = -(1.0 - self.rng.unit_f64()).ln() / size;
        if self.first.is_none_or(|(shortest, _)| wait < shortest) {
            self.second = self.first.replace((wait, contender));
        } else if self.second.is_none_or(|(shorter, _)| wait < shorter) {
            self.second = Some((wait, contender));
        }
    }

    fn pick(self) -> Option<Contender> {
        let (_, first) = self.first?;
        match self.second {
            Some((_, second)) if pressure(&second) < pressure(&first) => Some(second),
            _ => Some(first),
        }
    }
}

/// Utilization against the part that the weight gives it: a node of weight 2 may be twice as full as one of weight 1.
fn pressure(contender: &Contender) -> f64 {
    contender.evaluation.utilization / contender.weight
}
