//! The sockets and the clock around a run.
//!
//! Nodes at many addresses with one port share one socket where that can be had, so that what comes for them is taken in
//! batches, however many they are: otherwise the generator costs more with each node, and is the limit of what it measures.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use switchtender_net::udp::{
    BATCH, Epoll, Flushed, Ready, ReceiveBatch, SendBatch, SendFailure, UdpSocket, monotonic, next_complaint,
};

use crate::figures::Event;
use crate::load::{CALLER, Leaving, Load};
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
    ends: Ends,
    /// The sockets through which something waits to leave.
    waiting: Vec<usize>,
    failures: Vec<SendFailure>,
    dropped: u64,
}

/// Which socket is whose: an end, as [`Load`] counts them, has a socket of its own or a part of the nodes' common one.
enum Ends {
    Apart,
    /// The nodes' addresses as they are counted, and their places by address.
    Together(Vec<IpAddr>, Vec<(IpAddr, usize)>),
}

impl Ends {
    /// If all nodes have one port, at addresses of IPv4.
    fn together(nodes: &[SocketAddr]) -> Option<(Self, SocketAddr)> {
        let port = nodes.first()?.port();
        if nodes.len() < 2 || nodes.iter().any(|node| node.port() != port || node.is_ipv6()) {
            return None;
        }
        let ips: Vec<IpAddr> = nodes.iter().map(SocketAddr::ip).collect();
        let mut places: Vec<_> = ips.iter().copied().zip(CALLER + 1..).collect();
        places.sort_unstable();
        Some((Self::Together(ips, places), (Ipv4Addr::UNSPECIFIED, port).into()))
    }

    /// The port of an end, and the address to send from.
    fn port_of(&self, end: usize) -> (usize, Option<IpAddr>) {
        match self {
            Self::Together(ips, _) if end != CALLER => (CALLER + 1, ips.get(end - CALLER - 1).copied()),
            _ => (end, None),
        }
    }

    /// The end that a datagram is for, by its port and the address that it was sent to.
    fn end_at(&self, port: usize, local: Option<IpAddr>) -> Option<usize> {
        match self {
            Self::Together(_, places) if port != CALLER => {
                let place = places.binary_search_by_key(&local?, |(ip, _)| *ip).ok()?;
                places.get(place).map(|(_, end)| *end)
            }
            _ => Some(port),
        }
    }
}

/// The sockets of a run: the caller's, then the nodes'.
pub struct Wire {
    outbox: Outbox,
    epoll: Epoll,
    batch: ReceiveBatch,
    complaint: Vec<u8>,
}

impl Leaving for Outbox {
    fn send(&mut self, end: usize, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        let (socket, from) = self.ends.port_of(end);
        let Some(port) = self.ports.get_mut(socket) else { return };
        if port.leaving.is_empty() {
            self.waiting.push(socket);
        }
        port.leaving.compose(to, from, |bytes| {
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
            Ok::<_, String>(Port { socket, leaving: SendBatch::default() })
        };
        let mut ports = vec![bind(&cast.caller)?];
        // Where somebody has the port at another address, the common socket cannot be had.
        let common = Ends::together(&cast.nodes).and_then(|(ends, address)| Some((ends, bind(&address).ok()?)));
        let ends = if let Some((ends, port)) = common {
            ports.push(port);
            ends
        } else {
            for node in &cast.nodes {
                ports.push(bind(node)?);
            }
            Ends::Apart
        };
        let watched = || -> io::Result<Epoll> {
            let epoll = Epoll::new()?;
            for (port, token) in ports.iter().zip(0..) {
                epoll.add(port.socket.as_raw_fd(), token)?;
            }
            Ok(epoll)
        };
        let epoll = watched().map_err(|error| format!("epoll: {error}"))?;
        let outbox = Outbox { ports, ends, waiting: Vec::new(), failures: Vec::new(), dropped: 0 };
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
                match self.outbox.ends.end_at(index, datagram.local_ip) {
                    Some(end) => load.receive(now, end, datagram.source, datagram.bytes, &mut self.outbox),
                    None => load.complain("a datagram at an address of no node".into()),
                }
            }
            if count < BATCH {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_with_one_port_share_a_socket_and_are_told_apart_by_address() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let nodes = ["127.0.0.3:5060", "127.0.0.1:5060", "127.0.0.2:5060"].map(at);
        let (ends, address) = Ends::together(&nodes).unwrap();
        assert_eq!(
            (address, ends.port_of(CALLER), ends.end_at(CALLER, None)),
            (at("0.0.0.0:5060"), (0, None), Some(0))
        );
        for (node, end) in nodes.iter().zip(1..) {
            assert_eq!((ends.port_of(end), ends.end_at(1, Some(node.ip()))), ((1, Some(node.ip())), Some(end)));
        }
        assert_eq!((ends.end_at(1, Some(at("127.0.0.4:1").ip())), ends.end_at(1, None)), (None, None));
        assert!(Ends::together(&[nodes[0], at("127.0.0.9:1")]).is_none() && Ends::together(&nodes[..1]).is_none());
        assert_eq!((Ends::Apart.port_of(2), Ends::Apart.end_at(2, None)), ((2, None), Some(2)));
    }
}
