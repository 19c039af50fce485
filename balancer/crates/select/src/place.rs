//! The choice of a node for a call: tiers, reserves, panic and the over-limit policy around an algorithm.

use crate::algorithm::{Algorithm, Contender, Keep, Manner, Tier, reported_weight};
use crate::ejection::Ejections;
use crate::group::{Group, Member, OverLimitAction, WeightsFrom};
use crate::load::{Admission, Evaluation, NodeLoad, Nodes};
use crate::memory::{GroupMemory, Memory};
use crate::resources::ResourceSet;
use crate::rng::Rng;
use crate::snapshot::{NodeSlot, Snapshot};
use crate::time::Time;
use crate::verdict::{Verdict, judge, judge_emergency, judge_over_limit};

/// What one call wants of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its key ([`Group::hash_key`]).
    pub hash: Option<u64>,
    /// The limited resources that it uses, one of each.
    pub resources: ResourceSet,
    /// It may use what is kept for emergencies.
    pub emergency: bool,
}

/// The node that takes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The group that it was placed in, by its place in [`Snapshot::groups`]: another one after a spill.
    pub group: usize,
    /// Its place in [`Group::members`].
    pub member: usize,
    /// The node.
    pub slot: NodeSlot,
    /// How far beyond its limits the call may use a resource; `None` = without limit (`overLimit: Allow`).
    pub beyond: Option<u32>,
}

impl Placement {
    /// Takes the resources that the call wants at the node, all or none. False: another worker was quicker; place again
    /// with this node excluded.
    pub fn reserve(&self, snapshot: &Snapshot, wanted: &Wanted, nodes: &impl Nodes) -> bool {
        let group = snapshot.groups.get(self.group);
        let Some(member) = group.and_then(|group| group.members.get(self.member)) else { return false };
        wanted.resources.is_empty()
            || nodes.reserve(self.slot, wanted.resources, &|resource| member.limit(resource, self.beyond?))
    }
}

/// Why no node takes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoNode {
    // In this order: what comes last says most about when to try again.
    /// The group has no members.
    Empty,
    /// None is ready: draining, paused, unknown or unreachable, all of them.
    NotReady,
    /// All that might take it were tried already.
    Excluded,
    /// Room is there, but its nodes refused or timed out a moment ago.
    Cooling,
    /// At least one is up, and all that are up are full.
    Full,
    /// Sessions are free, but a resource that the call needs is used up.
    Resource,
    /// Room is there, but the rates are used up.
    RateLimited,
}

impl NoNode {
    /// The name in metrics and explanations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::NotReady => "NotReady",
            Self::Excluded => "Excluded",
            Self::Cooling => "Cooling",
            Self::Full => "Full",
            Self::Resource => "Resource",
            Self::RateLimited => "RateLimited",
        }
    }

    const fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Excluded => Self::Excluded,
            Verdict::Cooling | Verdict::Suspect => Self::Cooling,
            Verdict::Full => Self::Full,
            Verdict::Resource => Self::Resource,
            Verdict::RateLimited | Verdict::RequestBudget => Self::RateLimited,
            Verdict::Eligible
            | Verdict::Draining
            | Verdict::ZeroWeight
            | Verdict::Closed
            | Verdict::Unknown
            | Verdict::Unreachable
            | Verdict::Ejected => Self::NotReady,
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
    /// Its weight now: configured × weight factor × score.
    pub weight: f64,
    /// Whether it may take the call.
    pub verdict: Verdict,
    /// It may take the call only because nothing better can: a reserve, the panic threshold or `overLimit: Allow`.
    pub last_resort: bool,
}

/// How hard we look, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Nodes whose own word is that they can.
    Ready,
    /// Those with no more room than what is kept for emergencies.
    Emergency,
    /// Unreachable ones by their last numbers: too many are unreachable for that to be their fault.
    Panic,
    /// Full ones by our own limits, within the node's limit.
    OverLimit,
}

const PASSES: [Pass; 4] = [Pass::Ready, Pass::Emergency, Pass::Panic, Pass::OverLimit];

/// Chooses a node for a new call of `group`. `excluded`: nodes that this call tried. Counts nothing: the caller
/// assigns the choice through [`Nodes::assign`] and takes resources by [`Placement::reserve`].
///
/// A lower priority gets the call only when no higher one has room within its headroom, backups only when no other
/// member has. When too few nodes are reachable, unreachable ones are taken by their last numbers, after the reachable
/// ones: these tell us when they are full, so there is no reason to prefer a doubtful node to one that answers. Where the
/// group spills, the other group's policy holds there; that one does not spill further.
///
/// # Errors
/// The reason when no node can take it; after a spill, of both groups' reasons the one that gives more hope.
#[allow(clippy::too_many_arguments)] // pure: the world comes in
pub fn place(
    snapshot: &Snapshot,
    group: &Group,
    wanted: &Wanted,
    nodes: &impl Nodes,
    excluded: &[NodeSlot],
    now: Time,
    rng: &mut Rng,
    memory: &mut Memory,
) -> Result<Placement, NoNode> {
    let mut within = |group: &Group| {
        let look = Look { group, wanted, nodes, excluded, now };
        look.place(snapshot.generation, rng, memory.of(group.slot))
    };
    within(group).or_else(|why| {
        let OverLimitAction::Spill(other) = group.over_limit.action else { return Err(why) };
        let Some(other) = snapshot.groups.get(other) else { return Err(why) };
        within(other).map_err(|there| why.max(there))
    })
}

/// Every member with its numbers and verdict, in the order of [`Group::members`], for explanations and tables.
pub fn candidates(
    group: &Group,
    wanted: &Wanted,
    nodes: &impl Nodes,
    excluded: &[NodeSlot],
    now: Time,
) -> Vec<Candidate> {
    let look = Look { group, wanted, nodes, excluded, now };
    let mut ejections = Ejections::default();
    let passes = PASSES.map(|pass| look.applies(pass, &mut ejections).then_some(pass));
    let candidate = |(index, member): (usize, &Member)| {
        let load = nodes.load(member.slot, now);
        let (evaluation, verdict) = look.assess(Pass::Ready, index, member, &load, &mut ejections);
        let base = Candidate {
            member: index,
            slot: member.slot,
            load,
            evaluation,
            weight: weight(member, &load),
            verdict,
            last_resort: false,
        };
        if excluded.contains(&member.slot) {
            return Candidate { verdict: Verdict::Excluded, ..base };
        }
        passes
            .into_iter()
            .flatten()
            .map(|pass| look.assess(pass, index, member, &load, &mut ejections))
            .find(|(_, verdict)| *verdict == Verdict::Eligible)
            .filter(|_| verdict != Verdict::Eligible)
            .map_or(base, |(evaluation, verdict)| Candidate { evaluation, verdict, last_resort: true, ..base })
    };
    group.members.iter().enumerate().map(candidate).collect()
}

/// One call's look at one group.
struct Look<'a, N> {
    group: &'a Group,
    wanted: &'a Wanted,
    nodes: &'a N,
    excluded: &'a [NodeSlot],
    now: Time,
}

impl<N: Nodes> Look<'_, N> {
    fn place(&self, generation: u64, rng: &mut Rng, memory: &mut GroupMemory) -> Result<Placement, NoNode> {
        memory.ejections.forget();
        let manner = Manner::of(self.group, self.wanted.hash);
        for pass in PASSES {
            if !self.applies(pass, &mut memory.ejections) {
                continue;
            }
            // What is kept of a tier is true of what is tried first only.
            let keep = if pass == Pass::Ready { Keep::Until { generation, now: self.now } } else { Keep::Nothing };
            let mut rest = self.group.members.as_slice();
            for place in 0.. {
                let Some((members, others)) = first_tier(rest) else { break };
                let (cursor, ejections, standing) = memory.tier(place, keep != Keep::Nothing);
                let start = self.group.members.len() - rest.len();
                let mut tier = TierLook { look: self, pass, start, members, ejections };
                let winner = manner.pick(&mut tier, keep, standing, cursor, rng);
                if let Some((index, member)) = winner.and_then(|index| Some((index, members.get(index)?))) {
                    let (group, member, slot) = (self.group.index, start + index, member.slot);
                    return Ok(Placement { group, member, slot, beyond: self.beyond(pass) });
                }
                rest = others;
            }
        }
        Err(self.reason(&mut memory.ejections))
    }

    fn applies(&self, pass: Pass, ejections: &mut Ejections) -> bool {
        match pass {
            Pass::Ready => true,
            Pass::Emergency => self.wanted.emergency,
            Pass::Panic => self.panics(ejections),
            Pass::OverLimit => self.group.over_limit.action == OverLimitAction::Allow,
        }
    }

    /// How far beyond its limits a call found in this pass may use a resource.
    fn beyond(&self, pass: Pass) -> Option<u32> {
        match pass {
            Pass::Ready => Some(0),
            Pass::Emergency | Pass::Panic => Some(if self.wanted.emergency { self.group.emergency_reserve } else { 0 }),
            Pass::OverLimit => None,
        }
    }

    /// Whether fewer than the threshold of those that want calls are reachable. Draining, paused and disabled ones do
    /// not count on either side, nodes that have not reported yet count as reachable: their silence is no evidence.
    fn panics(&self, ejections: &mut Ejections) -> bool {
        let (mut willing, mut unreachable) = (0_u32, 0_u32);
        for (index, member) in self.group.members.iter().enumerate() {
            let load = self.nodes.load(member.slot, self.now);
            if !is_willing(member, &load) {
                continue;
            }
            willing += 1;
            let out = load.admission == Admission::Unreachable || self.is_ejected(index, &load, ejections);
            unreachable += u32::from(out);
        }
        unreachable > 0 && f64::from(willing - unreachable) < self.group.panic_threshold * f64::from(willing)
    }

    fn is_ejected(&self, index: usize, load: &NodeLoad, ejections: &mut Ejections) -> bool {
        self.now < load.ejected_until && ejections.hold(index, self.group, self.nodes, self.now)
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // as `evaluate`
    fn assess(
        &self,
        pass: Pass,
        index: usize,
        member: &Member,
        load: &NodeLoad,
        ejections: &mut Ejections,
    ) -> (Evaluation, Verdict) {
        if pass == Pass::Ready && load.ejected_until <= self.now && self.wanted.resources.is_empty() {
            return judge(self.group, member, load, self.now);
        }
        self.assess_closely(pass, index, member, *load, ejections)
    }

    /// Whatever is beside the node's own word: nothing, for nearly every look at a node.
    #[cold]
    fn assess_closely(
        &self,
        pass: Pass,
        index: usize,
        member: &Member,
        mut load: NodeLoad,
        ejections: &mut Ejections,
    ) -> (Evaluation, Verdict) {
        if self.now < load.ejected_until && !self.is_ejected(index, &load, ejections) {
            load.ejected_until = Time::ZERO;
        }
        let (evaluation, verdict) = self.judge_with_resources(Pass::Ready, member, &load);
        let again = match (pass, verdict) {
            (Pass::Panic, Verdict::Unreachable | Verdict::Ejected) => {
                NodeLoad { admission: last_admission(&load), ejected_until: Time::ZERO, ..load }
            }
            (Pass::OverLimit | Pass::Emergency, Verdict::Full | Verdict::Resource) => load,
            // What an earlier pass could take, it took.
            (Pass::Emergency | Pass::Panic | Pass::OverLimit, Verdict::Eligible) => {
                return (evaluation, Verdict::Excluded);
            }
            _ => return (evaluation, verdict),
        };
        self.judge_with_resources(pass, member, &again)
    }

    fn judge_with_resources(&self, pass: Pass, member: &Member, load: &NodeLoad) -> (Evaluation, Verdict) {
        let (evaluation, verdict) = match pass {
            Pass::OverLimit => judge_over_limit(self.group, member, load, self.now),
            Pass::Emergency | Pass::Panic if self.wanted.emergency => {
                judge_emergency(self.group, member, load, self.now)
            }
            _ => judge(self.group, member, load, self.now),
        };
        let reaches_resources = matches!(verdict, Verdict::Eligible | Verdict::RateLimited | Verdict::RequestBudget);
        let used_up = reaches_resources && !self.has_resources(member, self.beyond(pass));
        (evaluation, if used_up { Verdict::Resource } else { verdict })
    }

    /// Whether one of each wanted resource is free at the node.
    fn has_resources(&self, member: &Member, beyond: Option<u32>) -> bool {
        let Some(beyond) = beyond else { return true };
        self.wanted.resources.iter().all(|resource| {
            member.limit(resource, beyond).is_none_or(|limit| self.nodes.in_use(member.slot, resource) < limit)
        })
    }

    #[inline]
    fn contender(&self, index: usize, member: &Member, load: &NodeLoad, evaluation: Evaluation) -> Contender {
        let mut weight = weight(member, load);
        if self.group.algorithm == Algorithm::Weighted && self.group.weights_from == WeightsFrom::Reported {
            // Our calls since the report count as well; a node that reports nothing goes by its static weight.
            let max = if load.admission == Admission::Unmeasured { 0.0 } else { load.max_sessions };
            weight = reported_weight(weight, evaluation.effective, max, load.idle_cpu).unwrap_or(weight);
        }
        let (slot, ramp, score) = (member.slot, load.weight_factor, load.score);
        Contender { member: index, slot, evaluation, weight, ramp, score }
    }

    fn reason(&self, ejections: &mut Ejections) -> NoNode {
        let reasons = self.group.members.iter().enumerate().map(|(index, member)| {
            if self.excluded.contains(&member.slot) {
                return NoNode::Excluded;
            }
            let load = self.nodes.load(member.slot, self.now);
            NoNode::of(self.assess(Pass::Ready, index, member, &load, ejections).1)
        });
        reasons.max().unwrap_or(NoNode::Empty)
    }
}

/// A tier as one call finds it in one pass.
struct TierLook<'a, 'b, N> {
    look: &'a Look<'a, N>,
    pass: Pass,
    /// Where the tier begins among the members.
    start: usize,
    members: &'a [Member],
    ejections: &'b mut Ejections,
}

impl<N: Nodes> Tier for TierLook<'_, '_, N> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn fixed(&self, index: usize) -> Option<(u64, f64)> {
        self.members.get(index).map(|member| (member.identity, member.weight))
    }

    #[inline]
    fn contender(&mut self, index: usize) -> Option<Contender> {
        let member = self.members.get(index)?;
        if self.look.excluded.contains(&member.slot) {
            return None;
        }
        let load = self.look.nodes.load(member.slot, self.look.now);
        let (evaluation, verdict) = self.look.assess(self.pass, self.start + index, member, &load, self.ejections);
        (verdict == Verdict::Eligible).then(|| self.look.contender(index, member, &load, evaluation))
    }

    fn standing(&mut self, index: usize) -> Option<(Contender, bool)> {
        let member = self.members.get(index)?;
        let load = self.look.nodes.load(member.slot, self.look.now);
        let (evaluation, verdict) = self.look.assess(self.pass, self.start + index, member, &load, self.ejections);
        let is_in = !matches!(
            verdict,
            Verdict::Draining
                | Verdict::ZeroWeight
                | Verdict::Closed
                | Verdict::Unknown
                | Verdict::Unreachable
                | Verdict::Ejected
        );
        is_in.then(|| (self.look.contender(index, member, &load, evaluation), verdict == Verdict::Eligible))
    }
}

/// The first tier of members, and the others. Those of a tier stand together, in the order in which tiers are tried.
fn first_tier(members: &[Member]) -> Option<(&[Member], &[Member])> {
    let (first, last) = (members.first()?, members.last()?);
    let is_one = last.tier() == first.tier();
    let len = if is_one { members.len() } else { members.partition_point(|member| member.tier() <= first.tier()) };
    members.split_at_checked(len)
}

/// Whether a member wants calls at all, reachable or not.
pub(crate) fn is_willing(member: &Member, load: &NodeLoad) -> bool {
    !member.draining && load.admission != Admission::Closed && weight(member, load) > 0.0
}

/// An unreachable node that once reported goes by its last numbers, another by its static weight.
fn last_admission(load: &NodeLoad) -> Admission {
    match load.admission {
        Admission::Unreachable if load.max_sessions > 0.0 => Admission::Open,
        Admission::Unreachable => Admission::Unmeasured,
        admission => admission,
    }
}

fn weight(member: &Member, load: &NodeLoad) -> f64 {
    member.weight * load.weight_factor * load.score
}
