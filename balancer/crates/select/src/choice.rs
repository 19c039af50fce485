//! The choice of a node for a call: tiers, panic and the over-limit policy around an algorithm.

use crate::algorithm::{Algorithm, Contender, RoundRobinCursor};
use crate::load::{Admission, Evaluation, NodeLoad, Nodes, evaluate};
use crate::rng::Rng;
use crate::snapshot::{Group, Member, NodeSlot, OverLimitAction};
use crate::time::Time;
use crate::verdict::{Verdict, judge, restraint};

/// The node that takes the call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Its place in [`Group::members`].
    pub member: usize,
    /// The node.
    pub slot: NodeSlot,
    /// Its room before this call.
    pub evaluation: Evaluation,
}

/// Why no node takes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoNode {
    /// The group has no members.
    Empty,
    /// All that might take it were tried already.
    Excluded,
    /// At least one is up, and all that are up are full.
    Full,
    /// Room is there, but the rates are used up.
    RateLimited,
    /// Room is there, but its nodes refused or timed out a moment ago.
    Cooling,
    /// None is ready: draining, paused, unknown or unreachable, all of them.
    NotReady,
}

impl NoNode {
    /// The name in metrics and explanations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Excluded => "Excluded",
            Self::Full => "Full",
            Self::RateLimited => "RateLimited",
            Self::Cooling => "Cooling",
            Self::NotReady => "NotReady",
        }
    }
}

/// One member as a call would find it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its place in [`Group::members`].
    pub member: usize,
    /// The node.
    pub slot: NodeSlot,
    /// All that is known of it.
    pub load: NodeLoad,
    /// Its room.
    pub evaluation: Evaluation,
    /// Whether it may take the call.
    pub verdict: Verdict,
    /// It may take the call only because nothing better can: the panic threshold or `overLimit: Allow`.
    pub last_resort: bool,
}

/// How hard we look, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Nodes whose own word is that they can.
    Ready,
    /// Unreachable ones by their last numbers: too many are unreachable for that to be their fault.
    Panic,
    /// Full ones by our own limits, within the node's limit.
    OverLimit,
}

/// Chooses a node for a new call of `group`. `excluded`: nodes that this call tried. Counts nothing: the caller
/// assigns the choice through [`Nodes::assign`].
///
/// A lower priority gets the call only when no higher one can take it. When too few nodes are reachable, unreachable
/// ones are taken by their last numbers, after the reachable ones: these tell us when they are full, so there is no
/// reason to prefer a doubtful node to one that answers.
///
/// # Errors
/// The reason when no node can take it.
pub fn choose(
    group: &Group,
    nodes: &impl Nodes,
    excluded: &[NodeSlot],
    now: Time,
    rng: &mut Rng,
    cursor: &mut RoundRobinCursor,
) -> Result<Choice, NoNode> {
    for pass in [Pass::Ready, Pass::Panic, Pass::OverLimit] {
        if !applies(pass, group, nodes, now) {
            continue;
        }
        let mut start = 0;
        for tier in group.members.chunk_by(|left, right| left.priority == right.priority) {
            let contenders = tier.iter().enumerate().filter_map(|(offset, member)| {
                if excluded.contains(&member.slot) {
                    return None;
                }
                let load = nodes.load(member.slot, now);
                let (evaluation, verdict) = assess(pass, group, member, &load, now);
                (verdict == Verdict::Eligible).then_some(Contender {
                    member: start + offset,
                    slot: member.slot,
                    evaluation,
                    weight: weight(member, &load),
                })
            });
            if let Some(winner) = group.algorithm.pick(contenders, rng, cursor) {
                return Ok(Choice { member: winner.member, slot: winner.slot, evaluation: winner.evaluation });
            }
            start += tier.len();
        }
    }
    Err(reason(group, nodes, excluded, now))
}

/// The bare algorithm over plain numbers, for models and simulations: the index of the node that takes the call. `nodes`
/// are evaluations with their weights; those that are not eligible, have no weight or stand in `excluded` are passed by.
pub fn choose_among(
    algorithm: Algorithm,
    nodes: &[(Evaluation, f64)],
    excluded: &[usize],
    rng: &mut Rng,
    cursor: &mut RoundRobinCursor,
) -> Option<usize> {
    let contenders = nodes.iter().enumerate().filter_map(|(index, &(evaluation, weight))| {
        let slot = NodeSlot(u32::try_from(index).ok()?);
        let may = evaluation.eligible && weight > 0.0 && weight.is_finite() && !excluded.contains(&index);
        may.then_some(Contender { member: index, slot, evaluation, weight })
    });
    algorithm.pick(contenders, rng, cursor).map(|winner| winner.member)
}

/// Every member with its numbers and verdict, in the order of [`Group::members`], for explanations and tables.
pub fn candidates(group: &Group, nodes: &impl Nodes, excluded: &[NodeSlot], now: Time) -> Vec<Candidate> {
    let passes = [Pass::Panic, Pass::OverLimit].map(|pass| applies(pass, group, nodes, now).then_some(pass));
    let candidate = |(index, member): (usize, &Member)| {
        let load = nodes.load(member.slot, now);
        let (evaluation, verdict) = judge(group, member, &load, now);
        let base = Candidate { member: index, slot: member.slot, load, evaluation, verdict, last_resort: false };
        if excluded.contains(&member.slot) {
            return Candidate { verdict: Verdict::Excluded, ..base };
        }
        passes
            .into_iter()
            .flatten()
            .map(|pass| assess(pass, group, member, &load, now))
            .find(|(_, verdict)| *verdict == Verdict::Eligible)
            .filter(|_| verdict != Verdict::Eligible)
            .map_or(base, |(evaluation, verdict)| Candidate { evaluation, verdict, last_resort: true, ..base })
    };
    group.members.iter().enumerate().map(candidate).collect()
}

fn applies(pass: Pass, group: &Group, nodes: &impl Nodes, now: Time) -> bool {
    match pass {
        Pass::Ready => true,
        Pass::Panic => panics(group, nodes, now),
        Pass::OverLimit => group.over_limit.action == OverLimitAction::Allow,
    }
}

/// Whether fewer than the threshold of those that want calls are reachable. Draining, paused and disabled ones do not
/// count on either side, nodes that have not reported yet count as reachable: their silence is no evidence.
fn panics(group: &Group, nodes: &impl Nodes, now: Time) -> bool {
    let (mut willing, mut unreachable) = (0_u32, 0_u32);
    for member in &group.members {
        let load = nodes.load(member.slot, now);
        if member.draining || load.admission == Admission::Closed || weight(member, &load) <= 0.0 {
            continue;
        }
        willing += 1;
        unreachable += u32::from(load.admission == Admission::Unreachable);
    }
    unreachable > 0 && f64::from(willing - unreachable) < group.panic_threshold * f64::from(willing)
}

fn assess(pass: Pass, group: &Group, member: &Member, load: &NodeLoad, now: Time) -> (Evaluation, Verdict) {
    let (evaluation, verdict) = judge(group, member, load, now);
    match (pass, verdict) {
        (Pass::Panic, Verdict::Unreachable) => {
            let trusted = NodeLoad { admission: last_admission(load), ..*load };
            judge(group, member, &trusted, now)
        }
        (Pass::OverLimit, Verdict::Full) => {
            let unrestrained = NodeLoad { cap: f64::INFINITY, headroom: 0.0, ..*load };
            let evaluation = evaluate(&unrestrained, group.legs_per_call);
            (evaluation, restraint(group.legs_per_call, &unrestrained, &evaluation, now))
        }
        // What an earlier pass could take, it took.
        (Pass::Panic | Pass::OverLimit, Verdict::Eligible) => (evaluation, Verdict::Excluded),
        _ => (evaluation, verdict),
    }
}

/// An unreachable node that once reported goes by its last numbers, another by its static weight.
fn last_admission(load: &NodeLoad) -> Admission {
    if load.max_sessions > 0.0 { Admission::Open } else { Admission::Unmeasured }
}

fn weight(member: &Member, load: &NodeLoad) -> f64 {
    member.weight * load.weight_factor
}

fn reason(group: &Group, nodes: &impl Nodes, excluded: &[NodeSlot], now: Time) -> NoNode {
    if group.members.is_empty() {
        return NoNode::Empty;
    }
    // What comes first here says most about when to try again.
    let mut found = NoNode::NotReady;
    let rank = |reason: NoNode| match reason {
        NoNode::Empty | NoNode::NotReady => 0,
        NoNode::Excluded => 1,
        NoNode::Cooling => 2,
        NoNode::Full => 3,
        NoNode::RateLimited => 4,
    };
    for member in &group.members {
        let load = nodes.load(member.slot, now);
        let this = if excluded.contains(&member.slot) {
            NoNode::Excluded
        } else {
            match judge(group, member, &load, now).1 {
                Verdict::Full => NoNode::Full,
                Verdict::RateLimited | Verdict::RequestBudget => NoNode::RateLimited,
                Verdict::Cooling | Verdict::Suspect => NoNode::Cooling,
                Verdict::Eligible
                | Verdict::Excluded
                | Verdict::Draining
                | Verdict::ZeroWeight
                | Verdict::Closed
                | Verdict::Unknown
                | Verdict::Unreachable => NoNode::NotReady,
            }
        };
        if rank(this) > rank(found) {
            found = this;
        }
    }
    found
}
