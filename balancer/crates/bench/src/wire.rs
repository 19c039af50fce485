//! The sockets and the clock around a run.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use switchtender_net::udp::{
    BATCH, Epoll, Flushed, Ready, ReceiveBatch, SendBatch, SendFailure, UdpSocket, monotonic, next_complaint,
};

use crate::figures::Event;
use crate::load::{Leaving, Load};
use crate::script::Cast;

/// Batches taken from one socket in one turn.
const BATCHES_PER_TURN: usize = 4;
/// The longest sleep.
const LONGEST: Duration = Duration::from_millis(100);

/// A socket with what waits to leave through it.
struct Port {
    socket: UdpSocket,
    leaving: SendBatch,
}

/// What waits to leave, by socket.
struct Outbox {
    ports: Vec<Port>,
    /// The sockets through which something waits to leave.
    waiting: Vec<usize>,
    failures: Vec<SendFailure>,
    dropped: u64,
}

/// The sockets of a run: the caller's, then each node's.
pub struct Wire {
    outbox: Outbox,
    epoll: Epoll,
    batch: ReceiveBatch,
    complaint: Vec<u8>,
}

impl Leaving for Outbox {
    fn send(&mut self, socket: usize, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(port) = self.ports.get_mut(socket) else { return };
        if port.leaving.is_empty() {
            self.waiting.push(socket);
        }
        port.leaving.compose(to, |bytes| {
            write(bytes);
            true
        });
        if port.leaving.is_full() {
            self.flush();
        }
    }
}

impl Outbox {
    fn flush(&mut self) {
        while let Some(socket) = self.waiting.pop() {
            let Some(port) = self.ports.get_mut(socket) else { continue };
            let Flushed { dropped, .. } = port.leaving.flush(&port.socket, &mut self.failures);
            self.dropped += dropped;
        }
    }

    fn tell_troubles(&mut self, load: &mut Load) {
        for _ in 0..std::mem::take(&mut self.dropped) {
            load.complain("the send buffer was full".into());
        }
        for failure in self.failures.drain(..) {
            load.complain(format!("cannot send to {}: {}", failure.to, failure.error).into());
        }
    }
}

impl Wire {
    /// Bind the sockets of a cast.
    ///
    /// # Errors
    /// The address that cannot be bound, and why.
    pub fn open(cast: &Cast) -> Result<Self, String> {
        let bind = |address: &SocketAddr| {
            let socket = UdpSocket::bind(*address, true).map_err(|error| format!("{address}: {error}"))?;
            Ok(Port { socket, leaving: SendBatch::default() })
        };
        let ports = std::iter::once(&cast.caller).chain(&cast.nodes).map(bind).collect::<Result<Vec<_>, String>>()?;
        let watched = || -> io::Result<Epoll> {
            let epoll = Epoll::new()?;
            for (port, token) in ports.iter().zip(0..) {
                epoll.add(port.socket.as_raw_fd(), token)?;
            }
            Ok(epoll)
        };
        let epoll = watched().map_err(|error| format!("epoll: {error}"))?;
        let outbox = Outbox { ports, waiting: Vec::new(), failures: Vec::new(), dropped: 0 };
        Ok(Self { outbox, epoll, batch: ReceiveBatch::new(), complaint: vec![0; 1 << 16] })
    }

    /// Go on with a run until it is over, telling what happens.
    ///
    /// # Errors
    /// The kernel refuses to wait, or `tell` fails.
    pub fn serve(&mut self, load: &mut Load, mut tell: impl FnMut(&Event) -> io::Result<()>) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            load.turn(monotonic(), &mut self.outbox);
            self.outbox.flush();
            self.outbox.tell_troubles(load);
            while let Some(event) = load.take_event() {
                tell(&event)?;
            }
            if load.is_over() {
                return Ok(());
            }
            let patience = load.next_due().since(monotonic()).min(LONGEST);
            self.epoll.wait_precisely(patience, &mut ready)?;
            for event in &ready {
                self.take(*event, load);
            }
        }
    }

    fn take(&mut self, event: Ready, load: &mut Load) {
        let Ok(index) = usize::try_from(event.token) else { return };
        for _ in 0..BATCHES_PER_TURN {
            let Some(port) = self.outbox.ports.get(index) else { return };
            if event.error {
                while let Ok(Some(complaint)) = next_complaint(&port.socket, &mut self.complaint) {
                    let error = io::Error::from_raw_os_error(complaint.errno);
                    load.complain(format!("the network cannot reach {}: {error}", complaint.to).into());
                }
            }
            // An error is that of an earlier datagram, which the error queue tells.
            let count = self.batch.receive(&port.socket).unwrap_or(0);
            let now = monotonic();
            for datagram in self.batch.datagrams() {
                load.receive(now, index, datagram.source, datagram.bytes, &mut self.outbox);
            }
            if count < BATCH {
                return;
            }
        }
    }
}
