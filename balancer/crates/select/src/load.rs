//! The arithmetic: from a node's last report and our own counts since to the room it has now.

use core::time::Duration;

use crate::resources::{ResourceSet, ResourceSlot};
use crate::snapshot::NodeSlot;
use crate::time::Time;

/// Where neither a report nor the configuration tells a node's capacity, this many sessions (`FreeSWITCH`'s default
/// `max-sessions`) stand in for it in comparisons; such a node is never called full.
pub const NOMINAL_CAPACITY: f64 = 1000.0;

/// Shares below this are noise; it bounds how much one own call may be scaled up (1/64).
const SMALLEST_SHARE: f64 = 1.0 / 64.0;

/// Sums of scaled counts carry rounding of this order; a node is not full by a billionth of a session.
const ROUNDING: f64 = 1e-9;

/// No count of sessions is larger; keeps every result finite.
const LARGEST: f64 = 1e12;

/// What the control side says about new calls to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Nothing was ever reported: no new calls.
    #[default]
    Unknown,
    /// New calls as the arithmetic allows.
    Open,
    /// The node reports nothing (by configuration, or its numbers are too old): our own counts against its configured
    /// capacity, its static weight.
    Unmeasured,
    /// Paused, draining, shutting down or disabled: its own will, never overridden.
    Closed,
    /// Stale or down: evidence that may be our own fault, ignored below the panic threshold.
    Unreachable,
}

impl Admission {
    /// The name on the Python side.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Open => "open",
            Self::Unmeasured => "unmeasured",
            Self::Closed => "closed",
            Self::Unreachable => "unreachable",
        }
    }

    /// The reverse of [`Admission::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Unknown, Self::Open, Self::Unmeasured, Self::Closed, Self::Unreachable]
            .into_iter()
            .find(|admission| admission.name() == name)
    }
}

/// All that is known of one node at one moment. The default is a node that never reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeLoad {
    /// The control side's word.
    pub admission: Admission,
    /// Sessions (legs) at the last report, from all sources.
    pub sessions: f64,
    /// `Max-Sessions` as reported.
    pub max_sessions: f64,
    /// Configured cap below it (`capacity.maxSessions`); `f64::INFINITY` when there is none.
    pub cap: f64,
    /// Sessions kept free.
    pub headroom: f64,
    /// This replica's part of the node's new sessions, in (0, 1].
    pub share: f64,
    /// Calls that we assigned since the report's baseline.
    pub assigned: u64,
    /// Calls that we saw end since the report's baseline.
    pub ended: u64,
    /// Reported `sessions-per-second` limit; `None` before the first report: [`crate::DEFAULT_SESSIONS_PER_SECOND`].
    pub sessions_per_second: Option<f64>,
    /// Legs of calls that we sent there in the last second.
    pub legs_last_second: u64,
    /// Requests of any kind that we sent there in the last second.
    pub requests_last_second: u64,
    /// No new calls before this time (after an own refusal or a transport error).
    pub cooling_until: Time,
    /// It timed out and has not answered since: one call at a time.
    pub suspect: bool,
    /// INVITE attempts there whose outcome is waited for.
    pub in_flight: u64,
    /// Slow start and idle-CPU, in [0, 1]: multiplies the member's weight.
    pub weight_factor: f64,
    /// The host's idle CPU in percent, where it was reported.
    pub idle_cpu: Option<f64>,
    /// What the group's scorer makes of the node, not below 0: multiplies the weight; `First` goes by it.
    pub score: f64,
    /// Calls failed there in a row: no new ones before this time. Evidence of being unreachable, no word of the node.
    pub ejected_until: Time,
}

impl Default for NodeLoad {
    fn default() -> Self {
        Self {
            admission: Admission::Unknown,
            sessions: 0.0,
            max_sessions: 0.0,
            cap: f64::INFINITY,
            headroom: 0.0,
            share: 1.0,
            assigned: 0,
            ended: 0,
            sessions_per_second: None,
            legs_last_second: 0,
            requests_last_second: 0,
            cooling_until: Time::ZERO,
            suspect: false,
            in_flight: 0,
            weight_factor: 1.0,
            idle_cpu: None,
            score: 1.0,
            ejected_until: Time::ZERO,
        }
    }
}

/// A node's room now, in sessions (legs). Every number is finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Sessions that it is taken to carry now.
    pub effective: f64,
    /// Sessions that it may carry.
    pub capacity: f64,
    /// `capacity − effective`, not below 0.
    pub free: f64,
    /// `effective / capacity`, in [0, 1]; 1 where there is no capacity.
    pub utilization: f64,
    /// Room for one more call. Says nothing of rates or states: that is [`crate::judge`].
    pub eligible: bool,
}

/// The load as the packet path sees it; written by workers at once, published by the control side per report.
/// `net` implements it with atomics, tests and simulations with cells, hence `&self` throughout.
pub trait Nodes {
    /// All that is known of the node at `now`, rates over the second before it.
    fn load(&self, slot: NodeSlot, now: Time) -> NodeLoad;
    /// An INVITE of a new call with so many legs goes there; also one more in flight.
    fn assign(&self, slot: NodeSlot, legs: u32, now: Time);
    /// That attempt has its final outcome, or is no longer waited for; one less in flight. An abandoned attempt must not
    /// stand in the way of the next one to a suspect node, which would keep it closed until Timer B.
    fn settle(&self, slot: NodeSlot);
    /// A call that it carried ended: a BYE got its final response.
    fn ended(&self, slot: NodeSlot);
    /// Any request was put on the wire to it.
    fn request(&self, slot: NodeSlot, now: Time);
    /// No new calls before `until`; a later time that already stands is kept.
    fn cool(&self, slot: NodeSlot, until: Time);
    /// It did not answer in time: one call at a time from now on.
    fn suspect(&self, slot: NodeSlot);
    /// It answered: no longer suspect.
    fn answered(&self, slot: NodeSlot);
    /// Takes one of each wanted resource at the node, all or none. `limit`: so much of a resource may be in use there at
    /// most; `None` = no limit of ours. False: none was taken.
    fn reserve(&self, node: NodeSlot, wanted: ResourceSet, limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool;
    /// Gives back what [`Nodes::reserve`] took in this life of the node; of an earlier one there is nothing to give back.
    /// Never below zero.
    fn release(&self, node: NodeSlot, taken: ResourceSet, epoch: u32);
    /// Counts the restarts of the node: its calls, and so what they took, end with it.
    fn epoch(&self, node: NodeSlot) -> u32;
    /// So much of a resource is in use at the node, as far as we placed it.
    fn in_use(&self, node: NodeSlot, resource: ResourceSlot) -> u32;
}

/// How far back rates are counted.
pub(crate) const RATE_WINDOW: Duration = Duration::from_secs(1);

/// The room of a node for calls of `legs` sessions each:
///
/// ```text
/// d         = assigned − ended, since the last report
/// effective = sessions + legs·d / share   if d > 0      (other replicas place calls as we do, in proportion)
///             sessions + legs·d           if d < 0 and share > 2/3, else sessions
/// capacity  = min(max_sessions − 1, cap) − headroom     (`FreeSWITCH` admits Max-Sessions − 1)
/// ```
///
/// An unmeasured node has no report: `effective` is our own open calls over the share, `capacity` its cap. Numbers that
/// are not finite count on the safe side: no room.
#[inline(always)]
#[allow(clippy::inline_always)] // load and result would go through memory, which takes longer than the arithmetic
pub fn evaluate(load: &NodeLoad, legs: u32) -> Evaluation {
    let legs = f64::from(legs.max(1));
    let share = if load.share.is_finite() { load.share.clamp(SMALLEST_SHARE, 1.0) } else { SMALLEST_SHARE };
    let delta = count(load.assigned) - count(load.ended);
    let unmeasured = load.admission == Admission::Unmeasured;

    let reported = if unmeasured { 0.0 } else { finite(load.sessions, LARGEST) };
    let effective = if delta > 0.0 {
        reported + legs * delta / share
    } else if delta < 0.0 && share > 2.0 / 3.0 {
        reported + legs * delta
    } else {
        reported
    };

    let limit = if unmeasured { f64::INFINITY } else { finite(load.max_sessions, 0.0) - 1.0 };
    let cap = if load.cap.is_nan() { 0.0 } else { load.cap };
    let unlimited = unmeasured && cap.is_infinite() && cap > 0.0;
    let usable = if unlimited { NOMINAL_CAPACITY } else { limit.min(cap).min(LARGEST) };
    let headroom = if unmeasured { 0.0 } else { finite(load.headroom, LARGEST).max(0.0) };
    let capacity = usable - headroom;

    // Nobody carries fewer than no sessions: what ended beyond what was reported makes no room above the capacity.
    let effective = effective.clamp(0.0, LARGEST);
    let eligible = unlimited || capacity - effective + ROUNDING >= legs;
    let capacity = capacity.clamp(0.0, LARGEST);
    Evaluation {
        effective,
        capacity,
        free: (capacity - effective).max(0.0),
        utilization: if capacity > 0.0 { (effective / capacity).clamp(0.0, 1.0) } else { 1.0 },
        eligible,
    }
}

fn finite(value: f64, otherwise: f64) -> f64 {
    if value.is_finite() { value.clamp(-LARGEST, LARGEST) } else { otherwise }
}

#[allow(clippy::cast_precision_loss)] // exact up to 2^53 calls
fn count(total: u64) -> f64 {
    total as f64
}
