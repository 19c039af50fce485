//! The system calls, and the only unsafe code of the project: what `std` and `socket2` do not offer.
//!
//! Everything here takes and returns plain values (`SocketAddr`, slices, `io::Error`); nothing here knows SIP, nodes or
//! workers. Each unsafe block says why it is sound.
#![allow(unsafe_code)]

mod address;
mod clock;
mod epoll;
mod errors;
mod event_fd;
mod receive;
mod send;
mod signals;
mod socket;
mod tcp;

pub(crate) use clock::{monotonic, wall_clock};
pub(crate) use epoll::{Epoll, Interest, Ready};
pub(crate) use errors::{Complaint, next_complaint};
pub(crate) use event_fd::EventFd;
pub(crate) use receive::{ReceiveBatch, Received};
pub(crate) use send::{SendBatch, SendFailure};
pub(crate) use signals::leave_to_main_thread;
pub(crate) use socket::{UdpSocket, source_towards};
pub(crate) use tcp::{TcpAcceptor, TcpStream};

/// Datagrams moved by one system call.
pub(crate) const BATCH: usize = 32;
