//! `First`: strictly in order: highest score, then as configured.

use super::{Chooser, Contender};

#[derive(Default)]
pub(super) struct First(Option<Contender>);

impl Chooser for First {
    fn offer(&mut self, contender: Contender) {
        if self.0.is_none_or(|first| contender.score > first.score) {
            self.0 = Some(contender);
        }
    }

    fn pick(self) -> Option<Contender> {
        self.0
    }
}
