//! Sockets, threads, atomics and swaps around the sans-IO core: the only crate with unsafe code, all of it in `sys`.
//!
//! [`Core`] is the whole of it from outside: made from settings, given snapshots and reports, asked for numbers. Inside,
//! each worker thread has its own sockets, its own proxy and its own counters, and shares with its siblings nothing but
//! atomics and bounded rings. It must not know Python, and it must not know SIP beyond what it passes on.

mod bind;
mod core;
mod counts;
mod ejection;
mod engine;
mod events;
mod explain;
mod exporter;
mod fingerprints;
mod guard;
mod hep;
mod lag;
mod nodes;
mod observer;
mod outbox;
mod publication;
mod resources;
mod ring;
mod settings;
mod shared;
mod sources;
mod standing;
mod stop;
mod sys;
mod tcp;
mod tracer;
mod traces;
pub mod udp;
mod views;
mod worker;

pub use bind::BindError;
pub use core::{Core, OpenError, Stopped};
pub use events::EventRecord;
pub use nodes::{Baseline, Report};
pub use settings::{Hep, Listener, NodeSide, Settings, Tcp, Transports};
pub use switchtender_select::json::ConfigError;
pub use tracer::TraceRecord;
pub use traces::TraceError;
