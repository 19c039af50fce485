//! Weighted draws in constant time: the alias method (Walker 1977, as built by Vose 1991).

use crate::rng::Rng;

/// A column of the table: the column's own index below `keep`, the other one from there on.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// In parts of 2⁶⁴.
    keep: u64,
    other: usize,
}

/// Draws indexes in proportion to their sizes. Keeps its room from one set of sizes to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alias {
    columns: Vec<Column>,
    /// How many can be drawn at all.
    drawable: usize,
    scaled: Vec<f64>,
    small: Vec<usize>,
    large: Vec<usize>,
}

const WHOLE: f64 = 18_446_744_073_709_551_616.0; // 2⁶⁴

impl Alias {
    /// New sizes, finite and not below 0; those of size 0 are never drawn. In O(n).
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // parts of a whole
    pub(crate) fn rebuild(&mut self, sizes: impl Iterator<Item = f64>) {
        self.scaled.clear();
        self.scaled.extend(sizes);
        self.columns.clear();
        self.small.clear();
        self.large.clear();
        let total: f64 = self.scaled.iter().sum();
        self.drawable = self.scaled.iter().filter(|&&size| size > 0.0).count();
        if !(total > 0.0 && total.is_finite()) {
            self.drawable = 0;
            return;
        }
        let count = self.scaled.len() as f64;
        for (index, size) in self.scaled.iter_mut().enumerate() {
            *size *= count / total;
            let pile = if *size < 1.0 { &mut self.small } else { &mut self.large };
            pile.push(index);
            // What rounding leaves over at the end keeps its whole column.
            self.columns.push(Column { keep: u64::MAX, other: index });
        }
        // Each column is filled up by one that has more than its part.
        while let (Some(&low), Some(&high)) = (self.small.last(), self.large.last()) {
            self.small.pop();
            let part = self.scaled.get(low).copied().unwrap_or(1.0);
            if let Some(column) = self.columns.get_mut(low) {
                *column = Column { keep: (part * WHOLE) as u64, other: high };
            }
            if let Some(rest) = self.scaled.get_mut(high) {
                *rest -= 1.0 - part;
                if *rest < 1.0 {
                    self.large.pop();
                    self.small.push(high);
                }
            }
        }
        // By rounding one of size 0 may be left over; it must not be drawn.
        let some =
            self.scaled.iter().zip(0..).max_by(|(one, _), (other, _)| one.total_cmp(other)).map_or(0, |(_, i)| i);
        for &index in &self.small {
            if let Some(column) = self.columns.get_mut(index)
                && self.scaled.get(index).is_none_or(|&size| size <= 0.0)
            {
                *column = Column { keep: 0, other: some };
            }
        }
    }

    /// How many there are of a size above 0.
    pub(crate) fn drawable(&self) -> usize {
        self.drawable
    }

    /// An index; `None` when nothing has a size. One random number gives column and part.
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let wide = u128::from(rng.next_u64()) * u128::try_from(self.columns.len()).ok()?;
        let (index, part) = (usize::try_from(wide >> 64).ok()?, wide & u128::from(u64::MAX));
        let column = self.columns.get(index)?;
        Some(if part < u128::from(column.keep) { index } else { column.other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Within six standard deviations of what is expected: one failure in half a billion, and the seed is fixed.
    #[test]
    fn draws_are_in_proportion_to_size() {
        let mut seed = Rng::new(1);
        let mut alias = Alias::default();
        for count in [1, 2, 3, 4, 5, 7, 10, 33, 64, 199, 200_usize] {
            let size = |_| if seed.below(5) == 0 { 0.0 } else { 0.001 + 1000.0 * seed.unit_f64() };
            let mut sizes: Vec<f64> = (0..count).map(size).collect();
            sizes[count / 2] = 1.0;
            alias.rebuild(sizes.iter().copied());
            let total: f64 = sizes.iter().sum();
            let (mut rng, mut drawn, trials) = (Rng::new(2), vec![0_u32; count], 4_000);
            for _ in 0..trials {
                drawn[alias.draw(&mut rng).unwrap()] += 1;
            }
            for (size, drawn) in sizes.iter().zip(drawn) {
                let part = size / total;
                let (mean, deviation) = (part * f64::from(trials), (f64::from(trials) * part * (1.0 - part)).sqrt());
                assert!((f64::from(drawn) - mean).abs() <= 6.0 * deviation + 2.0, "{drawn} of {mean} among {count}");
                assert!(*size > 0.0 || drawn == 0, "nothing of size 0 is drawn");
            }
            assert_eq!(alias.drawable(), sizes.iter().filter(|&&size| size > 0.0).count());
        }
    }

    #[test]
    fn nothing_to_draw_from() {
        let mut alias = Alias::default();
        assert_eq!(alias.draw(&mut Rng::new(1)), None);
        for sizes in [&[][..], &[0.0, 0.0], &[f64::INFINITY]] {
            alias.rebuild(sizes.iter().copied());
            assert_eq!((alias.draw(&mut Rng::new(1)), alias.drawable()), (None, 0));
        }
    }
}
