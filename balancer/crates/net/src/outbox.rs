//! What the proxy may do to the world, for one worker: messages to sockets, events to the control side, packets,
//! fingerprints and the ends of calls to its siblings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use switchtender_proxy::{Event, Flow, Local, Output, Packet};
use switchtender_select::{NodeSlot, Time};

use crate::bind::Sockets;
use crate::counts::{Tally, Traffic};
use crate::events::{Record, What};
use crate::ring::Producer;
use crate::shared::Shared;
use crate::sources::Sources;
use crate::sys::{SendBatch, SendFailure, UdpSocket};

/// What a sibling worker is told.
#[derive(Debug)]
pub(crate) enum Handed {
    /// A packet that is its to handle.
    Packet { bytes: Box<[u8]>, flow: Flow },
    /// A call ended here.
    CallOver(u64),
}

/// A socket with what waits to leave through it.
pub(crate) struct Port {
    pub(crate) socket: UdpSocket,
    pub(crate) local: Local,
    batch: SendBatch,
}

/// The worker's way out.
pub(crate) struct Outbox {
    worker: u8,
    /// The time of the batch in hand.
    pub(crate) now: Time,
    pub(crate) tally: Tally,
    ports: Vec<Port>,
    failures: Vec<(Local, SendFailure)>,
    sources: Sources,
    events: Producer<Record>,
    /// By worker; our own place is never used.
    siblings: Vec<Producer<Handed>>,
    shared: Arc<Shared>,
}

impl Outbox {
    pub(crate) fn new(
        worker: u8,
        sockets: Sockets,
        events: Producer<Record>,
        siblings: Vec<Producer<Handed>>,
        shared: Arc<Shared>,
    ) -> Self {
        let listeners = sockets.listeners.into_iter().zip(0..).map(|(socket, index)| (socket, Local::Listener(index)));
        let node_side = sockets.node_side.map(|socket| (socket, Local::NodeSide));
        let ports = listeners
            .chain(node_side)
            .chain([(sockets.worker, Local::Worker)])
            .map(|(socket, local)| Port { socket, local, batch: SendBatch::default() })
            .collect();
        Self {
            worker,
            now: Time::ZERO,
            tally: Tally::default(),
            ports,
            failures: Vec::new(),
            sources: Sources::default(),
            events,
            siblings,
            shared,
        }
    }

    /// The sockets; what is sent on `NodeSide` where there is none goes out of the first listener, which is first.
    pub(crate) fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Send everything and wake whom something was put before. What the kernel refused is returned.
    pub(crate) fn flush(&mut self) -> Vec<(Local, SendFailure)> {
        for port in self.ports.iter_mut().filter(|port| !port.batch.is_empty()) {
            flush_port(port, &mut self.tally, &mut self.failures);
        }
        self.siblings.iter().for_each(Producer::announce);
        self.events.announce();
        std::mem::take(&mut self.failures)
    }

    /// Tell the control side.
    pub(crate) fn record(&mut self, what: What) {
        if !self.events.offer(Record { at: self.now, what }) {
            self.tally.add(Traffic::EventsLost, 1);
        }
    }

    fn port_of(&mut self, local: Local) -> Option<&mut Port> {
        let position = self.ports.iter().position(|port| port.local == local).unwrap_or(0);
        self.ports.get_mut(position)
    }
}

fn flush_port(port: &mut Port, tally: &mut Tally, failures: &mut Vec<(Local, SendFailure)>) {
    let mut refused = Vec::new();
    let flushed = port.batch.flush(&port.socket, &mut refused);
    tally.add(Traffic::Sent, flushed.sent);
    tally.add(Traffic::SendBufferFull, flushed.dropped);
    tally.add(Traffic::SendFailed, refused.len() as u64);
    failures.extend(refused.into_iter().map(|failure| (port.local, failure)));
}

impl Output for Outbox {
    fn send(&mut self, flow: &Flow, bytes: &[u8]) {
        let &Flow { local: from, local_ip, peer: to, .. } = flow;
        let position = self.ports.iter().position(|port| port.local == from).unwrap_or(0);
        let Some(port) = self.ports.get_mut(position) else { return };
        // A socket bound to one address sends from it anyway.
        let bound_to_all = port.socket.local().ip().is_unspecified();
        port.batch.push(to, local_ip.filter(|ip| bound_to_all && ip.is_ipv4() == to.is_ipv4()), bytes);
        if port.batch.is_full() {
            flush_port(port, &mut self.tally, &mut self.failures);
        }
    }

    fn local_ip(&mut self, from: Local, to: SocketAddr) -> IpAddr {
        let bound = self.port_of(from).map(|port| port.socket.local().ip());
        if let Some(bound) = bound.filter(|ip| !ip.is_unspecified()) {
            return bound;
        }
        let now = self.now;
        self.sources.towards(to.ip(), now).unwrap_or_else(|| {
            // No route: the datagram itself will fail. An unspecified address must not get into a header even so.
            if to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
        })
    }

    fn event(&mut self, event: Event) {
        self.record(What::Proxy(event));
    }

    fn hand_over(&mut self, worker: u8, packet: &Packet<'_>) -> bool {
        let handed = |packet: &Packet<'_>| Handed::Packet { bytes: packet.bytes.into(), flow: packet.flow };
        worker != self.worker
            && self.siblings.get(usize::from(worker)).is_some_and(|sibling| sibling.offer(handed(packet)))
    }

    fn call_over(&mut self, call: u64) {
        for (worker, sibling) in self.siblings.iter().enumerate() {
            if worker != usize::from(self.worker) && !sibling.offer(Handed::CallOver(call)) {
                self.tally.add(Traffic::CallEndsLost, 1);
            }
        }
    }

    fn remember_call(&mut self, call: u64, node: NodeSlot) {
        self.shared.standing.remember(call, node);
    }

    fn forget_call(&mut self, call: u64) {
        self.shared.standing.forget(call);
    }

    fn node_of_call(&mut self, call: u64) -> Option<NodeSlot> {
        self.shared.standing.node(call)
    }

    fn publish(&mut self, fingerprint: u64) {
        if self.siblings.len() > 1 && !self.shared.fingerprints.publish(fingerprint, self.worker) {
            self.tally.add(Traffic::Unpublished, 1);
        }
    }

    fn retract(&mut self, fingerprint: u64) {
        self.shared.fingerprints.retract(fingerprint, self.worker);
    }

    fn owner(&mut self, fingerprint: u64) -> Option<u8> {
        self.shared.fingerprints.owner(fingerprint, self.worker)
    }
}
