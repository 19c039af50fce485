//! `Hash`: each key has its own order of the nodes, and goes to the first that can take it and is not overloaded.
//!
//! The order depends on the key and the configured weights alone. What a node reports, and whether it is there, only
//! passes it over: who dies moves its own keys and nobody else's, and a heartbeat moves none. What bounds the load is
//! "Consistent Hashing with Bounded Loads" (Mirrokni, Thorup, Zadimoghaddam 2018).

use super::rendezvous::{nearer, unit};
use super::standing::Standing;
use super::{Contender, Tier};

/// A node may be so many times as full as all are on average …
const BOUND: f64 = 1.25;
/// … or by this part of its capacity fuller: in an idle pool a key stays with its node.
const SLACK: f64 = 0.05;
/// No node is overloaded below this utilization: where most of the pool is idle, a few calls are many times the average.
const FLOOR: f64 = 0.25;
/// So many of the nearest nodes are looked at one by one; after that a look at everyone is cheaper.
const NEAREST: usize = 6;
/// Tells the number that slow start goes by from the one that orders the nodes.
const RAMP: u64 = 0x5bd1_e995_7b93_3c1f;

/// The node for a key.
pub(super) fn pick(tier: &mut impl Tier, key: u64, standing: &Standing) -> Option<usize> {
    let average = standing.average();
    let most = (BOUND * average).max(average + SLACK).max(FLOOR);
    let mut passed_over = None;
    let mut last = (f64::NEG_INFINITY, 0);
    for _ in 0..NEAREST {
        let Some(next) = after(tier, key, last) else { return passed_over };
        last = next;
        let Some(contender) = tier.contender(next.1) else { continue };
        if welcomes(&contender, key, most, tier) {
            return Some(next.1);
        }
        passed_over = passed_over.or(Some(next.1));
    }
    scan(tier, key, most)
}

/// The nearest node behind `last` in the key's order: distance and index.
fn after(tier: &impl Tier, key: u64, last: (f64, usize)) -> Option<(f64, usize)> {
    let mut best: Option<(f64, usize)> = None;
    for index in 0..tier.len() {
        let Some((identity, weight)) = tier.fixed(index) else { continue };
        let limit = best.map_or(f64::INFINITY, |(distance, _)| distance);
        if let Some(distance) = nearer(key, identity, weight, limit)
            && (distance, index) > last
        {
            best = Some((distance, index));
        }
    }
    best
}

/// The nearest that can take the call and is not overloaded, else the nearest that can take it.
fn scan(tier: &mut impl Tier, key: u64, most: f64) -> Option<usize> {
    let (mut welcome, mut any) = ((f64::INFINITY, None), (f64::INFINITY, None));
    for index in 0..tier.len() {
        let Some((identity, weight)) = tier.fixed(index) else { continue };
        let Some(distance) = nearer(key, identity, weight, welcome.0) else { continue };
        let Some(contender) = tier.contender(index) else { continue };
        if welcomes(&contender, key, most, tier) {
            welcome = (distance, Some(index));
        } else if distance < any.0 {
            any = (distance, Some(index));
        }
    }
    welcome.1.or(any.1)
}

/// Not overloaded, and in slow start only for a part of its keys that grows until it has all of them.
fn welcomes(contender: &Contender, key: u64, most: f64, tier: &impl Tier) -> bool {
    let has_started = contender.ramp >= 1.0
        || tier.fixed(contender.member).is_some_and(|(identity, _)| unit(key ^ RAMP, identity) <= contender.ramp);
    contender.evaluation.utilization <= most && has_started
}
