//! `Random`: by weight alone.

use super::least_load::wait;
use super::standing::Standing;
use super::{Chooser, Contender, Tier};
use crate::rng::Rng;

const DRAWS: usize = 8;

/// Draws from the table until one can take the call. `None`: scan.
pub(super) fn draw(tier: &mut impl Tier, standing: &Standing, rng: &mut Rng) -> Option<usize> {
    (0..DRAWS).find_map(|_| tier.contender(standing.draws.draw(rng)?)).map(|contender| contender.member)
}

/// The same by a look at everyone: whose exponential waiting time is shortest.
pub(super) struct Random<'a> {
    rng: &'a mut Rng,
    first: Option<(f64, usize)>,
}

impl<'a> Random<'a> {
    pub(super) fn new(rng: &'a mut Rng) -> Self {
        Self { rng, first: None }
    }
}

impl Chooser for Random<'_> {
    fn offer(&mut self, contender: &Contender) {
        let wait = wait(self.rng, contender.weight);
        if self.first.is_none_or(|(shortest, _)| wait < shortest) {
            self.first = Some((wait, contender.member));
        }
    }

    fn pick(self) -> Option<usize> {
        self.first.map(|(_, member)| member)
    }
}
