//! The least that a program between callers and nodes can do: move datagrams. It has the sockets, batches and turns of
//! the balancer's worker, so what that costs beyond this is what it does with SIP. It must not look into a datagram.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use switchtender_net::udp::{BATCH, Epoll, ReceiveBatch, SendBatch, UdpSocket, next_complaint};

use crate::options::{Options, UsageError};

/// As the worker does.
const BATCHES_PER_TURN: usize = 4;
const CALLERS: u64 = 0;
const NODES: u64 = 1;

/// Where a forwarder listens and sends.
#[derive(Debug, PartialEq, Eq)]
pub struct Places {
    /// Towards callers.
    pub listen: SocketAddr,
    /// Towards nodes.
    pub upstream_bind: SocketAddr,
    /// The nodes, at least one.
    pub to: Vec<SocketAddr>,
}

impl Places {
    /// From the command line.
    ///
    /// # Errors
    /// An address is missing or cannot be read.
    pub fn read(options: &mut Options) -> Result<Self, UsageError> {
        let places = Self {
            listen: options.require("listen")?,
            upstream_bind: options.require("upstream-bind")?,
            to: options.take_list("to")?,
        };
        if places.to.is_empty() { Err(UsageError::Missing("to")) } else { Ok(places) }
    }
}

/// A socket with what waits to leave through it.
struct Port {
    socket: UdpSocket,
    leaving: SendBatch,
}

impl Port {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::bind(address, true)?, leaving: SendBatch::default() })
    }

    /// What cannot be sent is lost, as on any way.
    fn flush(&mut self) {
        self.leaving.flush(&self.socket, &mut Vec::new());
    }

    /// Forget what the network says of datagrams that were sent: a socket with errors queued never sleeps.
    fn ignore_complaints(&self, room: &mut [u8]) {
        while let Ok(Some(_)) = next_complaint(&self.socket, room) {}
    }
}

/// See the module.
pub struct Forwarder {
    callers: Port,
    nodes: Port,
    to: Vec<SocketAddr>,
    /// The place in `to` that is next.
    next: usize,
    caller: Option<SocketAddr>,
    epoll: Epoll,
    batch: ReceiveBatch,
}

impl Forwarder {
    /// Bind both sockets.
    ///
    /// # Errors
    /// One of them cannot be bound.
    pub fn open(places: Places) -> io::Result<Self> {
        let (callers, nodes) = (Port::bind(places.listen)?, Port::bind(places.upstream_bind)?);
        let epoll = Epoll::new()?;
        epoll.add(callers.socket.as_raw_fd(), CALLERS)?;
        epoll.add(nodes.socket.as_raw_fd(), NODES)?;
        Ok(Self { callers, nodes, to: places.to, next: 0, caller: None, epoll, batch: ReceiveBatch::new() })
    }

    /// Forward until the process ends.
    ///
    /// # Errors
    /// The kernel refuses to wait, which it does not.
    pub fn run(mut self) -> io::Result<()> {
        let (mut ready, mut room) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            self.epoll.wait(None, &mut ready)?;
            for event in &ready {
                if event.error {
                    let port = if event.token == CALLERS { &self.callers } else { &self.nodes };
                    port.ignore_complaints(&mut room);
                }
                if event.token == CALLERS { self.take_from_callers() } else { self.take_from_nodes() }
            }
            self.nodes.flush();
            self.callers.flush();
        }
    }

    /// Each datagram goes to the next node in turn.
    fn take_from_callers(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            // An error is that of an earlier datagram.
            let count = self.batch.receive(&self.callers.socket).unwrap_or(0);
            for datagram in self.batch.datagrams() {
                self.caller = Some(datagram.source);
                let Some(node) = self.to.get(self.next) else { return };
                self.next = if self.next + 1 < self.to.len() { self.next + 1 } else { 0 };
                self.nodes.leaving.push(*node, None, datagram.bytes);
                if self.nodes.leaving.is_full() {
                    self.nodes.flush();
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    /// Each datagram goes to the caller that was heard last.
    fn take_from_nodes(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let count = self.batch.receive(&self.nodes.socket).unwrap_or(0);
            for datagram in self.batch.datagrams() {
                let Some(caller) = self.caller else { continue };
                self.callers.leaving.push(caller, None, datagram.bytes);
                if self.callers.leaving.is_full() {
                    self.callers.flush();
                }
            }
            if count < BATCH {
                return;
            }
        }
    }
}
