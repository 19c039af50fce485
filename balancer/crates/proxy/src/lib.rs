//! The sans-IO stateful SIP proxy: packets and time go in, packets and timers come out.
//!
//! Knows nothing of sockets, clocks, threads or atomics: time and randomness are arguments, load is read through an
//! injected view, and what is to be sent is handed to an output the caller supplies.

#![forbid(unsafe_code)]

pub mod branch;
pub mod token;

mod buffers;
mod cancel;
mod config;
mod core;
mod counters;
mod egress;
mod ended;
mod expire;
mod failover;
mod fingerprint;
mod forward;
mod histogram;
mod hold;
mod named;
mod output;
mod placing;
mod plan;
mod proxy;
mod recent;
mod record_route;
mod records;
mod relay;
mod reply;
mod request;
mod response;
mod route;
mod slab;
mod stateless;
mod timers;
mod transaction;
mod transport;
mod upstream;
mod view;

pub use config::{Advertised, Config, Listener, NodeAdvertise, NodeSide};
pub use counters::{CHOICES_PER_SAMPLE, Counter, Counters, Delay, GroupCounts, Outcome};
pub use histogram::{BOUNDS, Bounds, Histogram};
pub use output::{
    ConnectionId, Decision, Event, FailureKind, Flow, Local, Output, Packet, Refusal, Silence, TransportFailure,
};
pub use proxy::Proxy;
pub use switchtender_select::{Nodes, Snapshot, Time, Transport};
pub use view::View;
