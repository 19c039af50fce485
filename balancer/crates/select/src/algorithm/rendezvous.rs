//! Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005).
//!
//! Each pair of key and node has a number of its own, as if drawn at random; the node with the best takes the key. Whoever
//! leaves loses only its own keys, each to a different one of the others; whoever comes takes its part from all.

use crate::hash::mixed;

/// How far a node stands from a key, in proportion to nothing but the two and the weight: least is best. An exponential
/// waiting time with the weight as its rate, so that a node of weight w is first for w parts of all keys. `best`: a
/// distance that is to be beaten; the exact one is not worked out where it cannot.
///
/// `None`: not nearer than `best`, or of no weight.
pub(crate) fn nearer(key: u64, identity: u64, weight: f64, best: f64) -> Option<f64> {
    let unit = unit(key, identity);
    // −ln u ≥ 1 − u: most nodes are out of question without the logarithm.
    if !(weight > 0.0 && (1.0 - unit) < best * weight) {
        return None;
    }
    let distance = -unit.ln() / weight;
    (distance < best).then_some(distance)
}

/// The number of a pair, in (0, 1]. Both are hashes already.
#[allow(clippy::cast_precision_loss)] // 53 bits fit a double exactly
pub(crate) fn unit(key: u64, identity: u64) -> f64 {
    let bits = mixed(key ^ identity);
    ((bits >> 11) + 1) as f64 * (1.0 / (1_u64 << 53) as f64)
}
