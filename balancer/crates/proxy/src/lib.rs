//! The sans-IO stateful SIP proxy: datagrams and time go in, datagrams and timers come out.
//!
//! Knows nothing of sockets, clocks, threads or atomics: time and randomness are arguments, load is read through an
//! injected view, and what is to be sent is handed to an output the caller supplies.

pub mod branch;
pub mod token;
