//! A group of nodes and its policy, as configured.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use crate::algorithm::Algorithm;
use crate::hash::HashOn;
use crate::matching::Matcher;
use crate::network::Network;
use crate::request::Request;
use crate::resources::{ResourceSet, ResourceSlot};
use crate::snapshot::NodeSlot;
use crate::transport::Transport;

/// Where a group's counters live: stable for a namespace and name while this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupSlot(pub u32);

/// How requests are forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By transactions (RFC 3261 §16): counts calls, fails over.
    #[default]
    Stateful,
    /// Message by message (RFC 3261 §16.11): the same target for whatever belongs together, no memory.
    Stateless,
}

/// Where the weights of `Weighted` come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightsFrom {
    /// The reported load, scaled by the configured weight.
    #[default]
    Reported,
    /// The configuration alone.
    Static,
}

/// A resource that calls of a group may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Where it is counted.
    pub slot: ResourceSlot,
    /// Its name.
    pub name: Arc<str>,
    /// Counted by us against a limit; otherwise it stands for the sessions that nodes report.
    pub limited: bool,
}

/// A node's part in a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The node.
    pub slot: NodeSlot,
    /// Stands for the node's uid wherever keys are spread: the same on every replica and in every run.
    pub identity: u64,
    /// Multiplies its share; 0 = no new calls.
    pub weight: f64,
    /// Higher first; lower ones get calls only when no higher one can.
    pub priority: i32,
    /// Used only when no other member can, whatever its priority.
    pub backup: bool,
    /// No new calls.
    pub draining: bool,
    /// How much of each limited resource we may use there.
    pub limits: Vec<(ResourceSlot, u32)>,
}

impl Member {
    /// How much of a resource a call may find in use at most, less one; `None` = no limit of ours. `reserve` is what an
    /// emergency call may use beyond.
    pub fn limit(&self, resource: ResourceSlot, reserve: u32) -> Option<u32> {
        self.limits.iter().find(|(slot, _)| *slot == resource).map(|(_, limit)| limit.saturating_add(reserve))
    }

    /// What is tried before what: the same for members of one tier.
    pub(crate) fn tier(&self) -> (bool, core::cmp::Reverse<i32>) {
        (self.backup, core::cmp::Reverse(self.priority))
    }
}

/// Which outcomes of an attempt lead to the next node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// The node's own 503.
    pub own_refusal: bool,
    /// No response in time.
    pub timeout: bool,
    /// A transport error.
    pub transport: bool,
    /// These final response codes.
    pub codes: Vec<u16>,
}

/// How a call goes on to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Nodes tried at most, the first one included.
    pub attempts: u8,
    /// When to try the next.
    pub retry_on: RetryOn,
    /// No response at all for so long: try the next.
    pub first_response_timeout: Duration,
    /// Nothing after its 100 for so long: try the next.
    pub progress_timeout: Duration,
    /// Bounds of the random time without new calls after a node's own refusal.
    pub cool_down: (Duration, Duration),
}

/// What happens to a call when no node has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimitAction {
    /// Refuse it.
    Reject,
    /// Ignore our own limits (cap and headroom), never the node's own.
    Allow,
    /// Try the group of this index in [`crate::Snapshot::groups`], by its policy; where that has no room either, refuse.
    Spill(usize),
}

/// The answer when no node has room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// Whether to refuse.
    pub action: OverLimitAction,
    /// Status of the refusal.
    pub status: u16,
    /// Bounds of its random Retry-After, whole seconds, both included.
    pub retry_after_s: (u16, u16),
}

/// Where calls go that a member node makes to the outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Egress {
    /// Index of the listener that they leave from.
    pub listener: u16,
    /// Where they go.
    pub to: EgressTo,
}

/// The targets of [`Egress`].
#[derive(Clone, Debug, PartialEq)]
pub enum EgressTo {
    /// One of these, highest priority first.
    NextHops(Vec<NextHop>),
    /// A node of the group of this index.
    Group(usize),
    /// The Request-URI, where it lies in one of these networks.
    RequestUri(Vec<Network>),
}

/// A host outside that takes calls from nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NextHop {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub transport: Transport,
    /// Higher first.
    pub priority: i32,
    /// Its share among those of the same priority.
    pub weight: f64,
}

/// One group of nodes and its policy.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its place in [`crate::Snapshot::groups`].
    pub index: usize,
    /// Where its counters live.
    pub slot: GroupSlot,
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The object's identity.
    pub uid: Arc<str>,
    /// The object's `metadata.generation`.
    pub generation: u64,
    /// Which calls it takes.
    pub matcher: Matcher,
    /// How requests are forwarded.
    pub mode: Mode,
    /// How a node is chosen.
    pub algorithm: Algorithm,
    /// What `Hash` keys on.
    pub hash_on: HashOn,
    /// Where the weights of `Weighted` come from.
    pub weights_from: WeightsFrom,
    /// `Packed` fills a node up to this part of its capacity before it takes the next. In (0, 1].
    pub high_water: f64,
    /// Sessions that one call makes on a node.
    pub legs_per_call: u32,
    /// What its calls may use.
    pub resources: Vec<Resource>,
    /// Kept free on each node for emergency calls: sessions, and so much of each limited resource.
    pub emergency_reserve: u32,
    /// A call waits so long when nothing but the per-second limits are used up.
    pub queue: Duration,
    /// After so long a call's record is forgotten and its resources are given back.
    pub call_expiry: Duration,
    /// How a call goes on to another node.
    pub failover: Failover,
    /// Timer C (RFC 3261 §16.6 step 11).
    pub timer_c: Duration,
    /// What happens when no node has room.
    pub over_limit: OverLimit,
    /// Below this share of reachable nodes, being unreachable no longer excludes one. In [0, 1].
    pub panic_threshold: f64,
    /// No more than this share of the members is kept out by ejection at a time. In [0, 1].
    pub max_ejected: f64,
    /// The transport for requests that are too large for a datagram (RFC 3261 §18.1.1).
    pub large_requests: Transport,
    /// Where calls of its nodes may go; `None` = nowhere.
    pub egress: Option<Egress>,
    /// Backups last, highest priority first, otherwise as configured.
    pub members: Vec<Member>,
}

impl Group {
    /// The key of a request, where the group goes by one.
    pub fn hash_key(&self, request: &impl Request) -> Option<u64> {
        (self.algorithm == Algorithm::Hash).then(|| self.hash_on.key(request))
    }

    /// The member that a node is.
    pub fn member(&self, node: NodeSlot) -> Option<&Member> {
        self.members.iter().find(|member| member.slot == node)
    }

    /// The limited ones of its resources.
    pub fn limited(&self) -> ResourceSet {
        self.resources.iter().filter(|resource| resource.limited).map(|resource| resource.slot).collect()
    }
}
