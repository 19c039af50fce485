//! `First`: strictly in order: highest score, then as configured.

use super::{Chooser, Contender};

/// The first of those with the highest score so far: score and place.
#[derive(Default)]
pub(super) struct First(Option<(f64, usize)>);

impl Chooser for First {
    fn offer(&mut self, contender: &Contender) {
        if self.0.is_none_or(|(highest, _)| contender.score > highest) {
            self.0 = Some((contender.score, contender.member));
        }
    }

    fn pick(self) -> Option<usize> {
        self.0.map(|(_, member)| member)
    }
}
