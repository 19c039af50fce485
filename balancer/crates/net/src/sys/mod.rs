//! The system calls, and the only unsafe code of the project: what `std` and `socket2` do not offer.
//!
//! Everything here takes and returns plain values (`SocketAddr`, slices, `io::Error`); nothing here knows SIP, nodes or
//! workers. Each unsafe block says why it is sound.
#![allow(unsafe_code)]

mod address;
mod affinity;
mod clock;
mod epoll;
mod errors;
mod event_fd;
mod receive;
mod send;
mod signals;
mod socket;
mod tcp;

pub use affinity::pin_to_cpu;
pub use clock::monotonic;
pub(crate) use clock::wall_clock;
pub(crate) use epoll::Interest;
pub use epoll::{Epoll, Ready};
pub use errors::{Complaint, next_complaint};
pub(crate) use event_fd::EventFd;
pub use receive::{ReceiveBatch, Received};
pub use send::{Flushed, SendBatch, SendFailure};
pub(crate) use signals::leave_to_main_thread;
pub use socket::UdpSocket;
pub(crate) use socket::source_towards;
pub(crate) use tcp::{TcpAcceptor, TcpStream};

/// Datagrams moved by one system call.
pub const BATCH: usize = 32;
