//! Which node takes a call.
//!
//! Holds the immutable [`Snapshot`] of groups and nodes, the arithmetic that turns a node's last report and our own
//! counts into free room, and the algorithms that choose. It is a pure library: time, randomness and load are arguments.
//! It must not know sockets, clocks, atomics, threads or SIP messages; `net` supplies the numbers through [`Nodes`],
//! `proxy` asks the questions.

#![forbid(unsafe_code)]

mod affinity;
mod algorithm;
mod document;
mod ejection;
mod group;
mod hash;
mod history;
pub mod json;
mod load;
mod matching;
mod memory;
mod network;
mod place;
mod request;
mod resources;
mod rng;
mod slots;
mod snapshot;
mod stateless;
mod text;
mod time;
mod transport;
mod verdict;

pub use affinity::home;
pub use algorithm::{Algorithm, choose_among};
pub use group::{
    Egress, EgressTo, Failover, Group, GroupSlot, Member, Mode, NextHop, OverLimit, OverLimitAction, Resource, RetryOn,
    WeightsFrom,
};
pub use hash::{HashOn, HashSource};
pub use history::{BUCKET, BUCKETS, Cell64, History, Reading, SECOND};
pub use json::ConfigError;
pub use load::{Admission, Evaluation, NOMINAL_CAPACITY, NodeLoad, Nodes, evaluate};
pub use matching::{HeaderRule, HeaderValue, Matched, Matcher, Rule, UriRule};
pub use memory::Memory;
pub use network::{Network, canonical, canonical_socket};
pub use place::{Candidate, NoNode, Placement, Wanted, candidates, place};
pub use request::{Request, UriParts};
pub use resources::{RESOURCES, ResourceSet, ResourceSlot};
pub use rng::Rng;
pub use slots::{KEPT_AFTER_REMOVAL, Slots, SlotsAt};
pub use snapshot::{Ejection, Key, Node, NodeSlot, Registry, Snapshot};
pub use stateless::place_stateless;
pub use time::Time;
pub use transport::Transport;
pub use verdict::{DEFAULT_SESSIONS_PER_SECOND, Verdict, judge, may_send_in_dialog};
