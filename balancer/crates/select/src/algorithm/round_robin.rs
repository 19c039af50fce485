//! `RoundRobin` and `Weighted`: in turn, smoothly weighted, so that weights 3, 1, 2 interleave instead of coming in runs.

use super::{Chooser, Contender};
use crate::rng::Rng;
use crate::snapshot::NodeSlot;

/// Whose turn it is: one per worker and group, kept over configuration changes (turns are remembered by node).
#[derive(Clone, Debug, Default)]
pub(crate) struct RoundRobinCursor {
    turns: Vec<Turn>,
    round: u64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    slot: NodeSlot,
    credit: f64,
    /// The last round that it took part in.
    round: u64,
}

/// Who did not take part for so many rounds is forgotten, so that the cursor stays as small as the group.
const FORGOTTEN_AFTER: u64 = 4096;

pub(super) struct RoundRobin<'a> {
    cursor: &'a mut RoundRobinCursor,
    rng: &'a mut Rng,
    total: f64,
    /// The richest so far: credit, the index of its turn, its place.
    best: Option<(f64, usize, usize)>,
    /// One of those without weight, each as likely as the other, and how many there were.
    weightless: (u64, Option<usize>),
}

impl<'a> RoundRobin<'a> {
    pub(super) fn new(cursor: &'a mut RoundRobinCursor, rng: &'a mut Rng) -> Self {
        cursor.round += 1;
        if cursor.round % FORGOTTEN_AFTER == 0 {
            let oldest = cursor.round - FORGOTTEN_AFTER;
            cursor.turns.retain(|turn| turn.round > oldest);
        }
        Self { cursor, rng, total: 0.0, best: None, weightless: (0, None) }
    }

    /// Index of the node's turn. `hint`: members come in the same order each time, so it mostly is where it was.
    fn turn(&mut self, slot: NodeSlot, hint: usize) -> usize {
        let turns = &mut self.cursor.turns;
        if turns.get(hint).is_some_and(|turn| turn.slot == slot) {
            return hint;
        }
        turns.iter().position(|turn| turn.slot == slot).unwrap_or_else(|| {
            turns.push(Turn { slot, credit: 0.0, round: 0 });
            turns.len() - 1
        })
    }
}

impl Chooser for RoundRobin<'_> {
    /// Everyone eligible gains its weight, the richest goes and pays the sum: over any stretch each gets its part, as
    /// evenly spread as can be. A node that cannot take calls neither gains nor pays. Where none has a weight (by what they
    /// report) but can take the call, any of them does.
    fn offer(&mut self, contender: &Contender) {
        if contender.weight <= 0.0 {
            self.weightless.0 += 1;
            if self.rng.below(self.weightless.0) == 0 {
                self.weightless.1 = Some(contender.member);
            }
            return;
        }
        let index = self.turn(contender.slot, contender.member);
        let round = self.cursor.round;
        let Some(turn) = self.cursor.turns.get_mut(index) else { return };
        turn.credit += contender.weight;
        turn.round = round;
        let credit = turn.credit;
        self.total += contender.weight;
        if self.best.is_none_or(|(richest, ..)| credit > richest) {
            self.best = Some((credit, index, contender.member));
        }
    }

    fn pick(self) -> Option<usize> {
        let Some((_, index, member)) = self.best else { return self.weightless.1 };
        if let Some(turn) = self.cursor.turns.get_mut(index) {
            turn.credit -= self.total;
        }
        Some(member)
    }
}
