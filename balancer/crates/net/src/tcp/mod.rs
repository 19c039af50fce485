//! A worker's TCP connections: accepted, opened, read, written and closed, without a thread or a timer of their own.
//!
//! Time is an argument here as everywhere above the loop. What a message says is the engine's business; this knows where
//! one begins and ends, whose connection it came in on, and what each peer may cost us.

mod buffers;
mod connection;
mod input;
mod limits;
mod queue;
mod table;

pub(crate) use input::{Framed, Input};
pub(crate) use limits::TcpLimits;
pub(crate) use table::{Connections, Ended, Listening, Undelivered, Worked};

#[cfg(test)]
mod tests;
