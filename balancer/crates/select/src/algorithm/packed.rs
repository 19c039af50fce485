//! `Packed`: the fullest node below a high-water mark, so that others run empty and can be taken away.

use super::least_load::LeastLoad;
use super::{Chooser, Contender};
use crate::rng::Rng;

/// Sums of scaled counts carry rounding of this order.
const ROUNDING: f64 = 1e-9;

pub(super) struct Packed<'a> {
    high_water: f64,
    legs: f64,
    fullest: Option<(f64, usize)>,
    /// Above the mark there is nothing to save: as evenly as can be.
    above: LeastLoad<'a>,
}

impl<'a> Packed<'a> {
    pub(super) fn new(high_water: f64, legs: u32, rng: &'a mut Rng) -> Self {
        Self { high_water, legs: f64::from(legs), fullest: None, above: LeastLoad::new(rng) }
    }
}

impl Chooser for Packed<'_> {
    /// Of equally full ones the first as configured, so that all replicas fill the same.
    fn offer(&mut self, contender: &Contender) {
        let then = (contender.evaluation.effective + self.legs) / contender.evaluation.capacity;
        if then > self.high_water + ROUNDING {
            self.above.offer(contender);
        } else if self.fullest.is_none_or(|(fullest, _)| then * contender.weight > fullest) {
            self.fullest = Some((then * contender.weight, contender.member));
        }
    }

    fn pick(self) -> Option<usize> {
        self.fullest.map(|(_, member)| member).or_else(|| self.above.pick())
    }
}
