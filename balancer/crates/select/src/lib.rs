//! Which node takes a call.
//!
//! Holds the immutable [`Snapshot`] of groups and nodes, the arithmetic that turns a node's last report and our own
//! counts into free room, and the algorithms that choose. It is a pure library: time, randomness and load are arguments.
//! It must not know sockets, clocks, atomics, threads or SIP messages; `net` supplies the numbers through [`Nodes`],
//! `proxy` asks the questions.

#![forbid(unsafe_code)]

mod algorithm;
mod choice;
mod document;
mod history;
pub mod json;
mod load;
mod matching;
mod network;
mod rng;
mod slots;
mod snapshot;
mod time;
mod transport;
mod verdict;

pub use algorithm::{Algorithm, RoundRobinCursor};
pub use choice::{Candidate, Choice, NoNode, candidates, choose, choose_among};
pub use history::{BUCKET, BUCKETS, Cell64, History, Reading, SECOND};
pub use json::ConfigError;
pub use load::{Admission, Evaluation, NOMINAL_CAPACITY, NodeLoad, Nodes, evaluate};
pub use matching::{Call, Matcher, Rule};
pub use network::{Network, canonical, canonical_socket};
pub use rng::Rng;
pub use slots::{KEPT_AFTER_REMOVAL, Slots, SlotsAt};
pub use snapshot::{
    Failover, Group, GroupSlot, Key, Member, Node, NodeSlot, OverLimit, OverLimitAction, Registry, RetryOn, Snapshot,
};
pub use time::Time;
pub use transport::Transport;
pub use verdict::{DEFAULT_SESSIONS_PER_SECOND, Verdict, judge, may_send_in_dialog};
