//! What the proxy may do to the world, for one worker: messages to sockets, events to the control side, packets,
//! fingerprints and the ends of calls to its siblings.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use switchtender_proxy::{Decision, Event, FailureKind, Flow, Local, Output, Packet};
use switchtender_select::{NodeSlot, Time, Transport};

use crate::bind::{Bound, Sockets};
use crate::counts::{Tally, Traffic};
use crate::events::{Record, What};
use crate::observer::{Observer, Way};
use crate::ring::Producer;
use crate::shared::Shared;
use crate::sources::Sources;
use crate::sys::{Epoll, SendBatch, SendFailure, UdpSocket, monotonic};
use crate::tcp::{Connections, Ended, Listening, TcpLimits, Undelivered};

/// What a sibling worker is told.
#[derive(Debug)]
pub(crate) enum Handed {
    /// A packet that is its to handle.
    Packet { bytes: Box<[u8]>, flow: Flow },
    /// A call ended here.
    CallOver(u64),
    /// A message for a connection of its, from this worker.
    Send { bytes: Box<[u8]>, flow: Flow, from: u8 },
    /// A message that it sent over a connection of ours, and that did not get out.
    Undelivered(Undelivered),
    /// A connection of ours that it sent requests over is no more.
    ConnectionClosed(Flow),
}

/// What came of sending.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// This worker's messages that were not sent.
    pub(crate) undelivered: Vec<Undelivered>,
    /// Connections over which this worker sent requests, and that are no more.
    pub(crate) ended: Vec<Ended>,
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
    /// The bound address of each side, with datagrams or without.
    addresses: Vec<(Local, SocketAddr)>,
    pub(crate) connections: Connections,
    undelivered: Vec<Undelivered>,
    sources: Sources,
    events: Producer<Record>,
    observer: Observer,
    /// By worker; our own place is never used.
    siblings: Vec<Producer<Handed>>,
    shared: Arc<Shared>,
}

impl Outbox {
    pub(crate) fn new(
        worker: u8,
        sockets: Sockets,
        (limits, epoll): (TcpLimits, Arc<Epoll>),
        (events, observer): (Producer<Record>, Observer),
        siblings: Vec<Producer<Handed>>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let listeners = sockets.listeners.into_iter().zip(0..).map(|(bound, index)| (bound, Local::Listener(index)));
        let node_side = sockets.node_side.map(|bound| (bound, Local::NodeSide));
        let (mut ports, mut addresses, mut listening) = (Vec::new(), Vec::new(), Vec::new());
        for (bound, local) in listeners.chain(node_side).chain([(sockets.worker, Local::Worker)]) {
            let Bound { address, udp, tcp } = bound;
            addresses.push((local, address));
            ports.extend(udp.map(|socket| Port { socket, local, batch: SendBatch::default() }));
            listening.extend(tcp.map(|acceptor| Listening { acceptor, local }));
        }
        Ok(Self {
            worker,
            now: Time::ZERO,
            tally: Tally::default(),
            ports,
            addresses,
            connections: Connections::new(worker, limits, listening, epoll)?,
            undelivered: Vec::new(),
            sources: Sources::default(),
            events,
            observer,
            siblings,
            shared,
        })
    }

    /// The sockets; what is sent on `NodeSide` where there is none goes out of the first listener, which is first.
    pub(crate) fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Send everything and wake whom something was put before. What could not be sent and what ended is returned, as far
    /// as it is this worker's.
    pub(crate) fn flush(&mut self) -> Troubles {
        for port in self.ports.iter_mut().filter(|port| !port.batch.is_empty()) {
            flush_port(port, self.worker, &mut self.tally, &mut self.undelivered);
        }
        self.connections.flush(self.now);
        let (undelivered, ended) = self.connections.take_troubles();
        self.undelivered.extend(undelivered);
        let mut troubles = Troubles { undelivered: std::mem::take(&mut self.undelivered), ended };
        self.tell_siblings(&mut troubles);
        self.siblings.iter().for_each(Producer::announce);
        self.events.announce();
        self.observer.flush(&mut self.tally);
        troubles
    }

    /// Whether a flush has something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.ports.iter().any(|port| !port.batch.is_empty())
            || !self.undelivered.is_empty()
            || self.connections.has_work()
            || self.observer.has_work()
    }

    /// Take from the troubles what is the siblings'.
    fn tell_siblings(&mut self, troubles: &mut Troubles) {
        let all = std::mem::take(&mut troubles.undelivered);
        let (own, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|undelivered| undelivered.worker == self.worker);
        troubles.undelivered = own;
        for undelivered in others {
            let worker = undelivered.worker;
            tell(&self.siblings, &mut self.tally, worker, Handed::Undelivered(undelivered));
        }
        for ended in &troubles.ended {
            let others = (0..64).filter(|worker| ended.workers >> worker & 1 == 1 && *worker != self.worker);
            for worker in others {
                tell(&self.siblings, &mut self.tally, worker, Handed::ConnectionClosed(ended.flow));
            }
        }
        troubles.ended.retain(|ended| ended.workers >> self.worker & 1 == 1);
    }

    /// A sibling's message for a connection of ours.
    pub(crate) fn send_for(&mut self, worker: u8, flow: &Flow, bytes: &[u8]) {
        self.connections.send(self.now, flow, None, bytes, worker);
        self.observe(true, flow, bytes);
    }

    /// A message came or goes: shown to whoever looks.
    #[inline]
    pub(crate) fn observe(&mut self, sent: bool, flow: &Flow, bytes: &[u8]) {
        if self.observer.looks(self.now, &self.shared.traces) {
            self.show(sent, flow, bytes);
        }
    }

    #[cold]
    fn show(&mut self, sent: bool, flow: &Flow, bytes: &[u8]) {
        let way = Way { sent, transport: flow.transport, local: self.local_end(flow), peer: flow.peer };
        self.observer.on_message(self.now, &self.shared.traces, way, bytes, &mut self.tally);
    }

    /// Our end of a message's way, as the network shows it.
    fn local_end(&mut self, flow: &Flow) -> SocketAddr {
        let (ip, port) = match flow.transport {
            Transport::Udp => (None, None),
            Transport::Tcp => self.connections.local_end(flow),
        };
        let bound = self.bound_to(flow.local);
        let ip = ip.or(bound.map(|bound| bound.ip()).filter(|ip| !ip.is_unspecified())).or(flow.local_ip);
        let ip = ip.unwrap_or_else(|| self.local_ip(flow.local, flow.peer));
        SocketAddr::new(ip.to_canonical(), port.or(bound.map(|bound| bound.port())).unwrap_or(0))
    }

    fn send_datagram(&mut self, flow: &Flow, bytes: &[u8]) {
        let &Flow { local: from, local_ip, peer: to, .. } = flow;
        let position = self.ports.iter().position(|port| port.local == from).unwrap_or(0);
        let Some(port) = self.ports.get_mut(position) else { return };
        // A socket bound to one address sends from it anyway.
        let bound_to_all = port.socket.local().ip().is_unspecified();
        port.batch.push(to, local_ip.filter(|ip| bound_to_all && ip.is_ipv4() == to.is_ipv4()), bytes);
        if port.batch.is_full() {
            flush_port(port, self.worker, &mut self.tally, &mut self.undelivered);
        }
    }

    fn send_over_connection(&mut self, flow: &Flow, bytes: &[u8]) {
        match flow.connection.map(|id| (id, id.worker())) {
            Some((_, Some(worker))) if worker != self.worker => {
                let handed = Handed::Send { bytes: bytes.into(), flow: *flow, from: self.worker };
                if !tell(&self.siblings, &mut self.tally, worker, handed) {
                    self.undelivered.push(Undelivered {
                        kind: FailureKind::Closed,
                        flow: *flow,
                        bytes: bytes.to_vec(),
                        worker: self.worker,
                        error: io::ErrorKind::ConnectionAborted.into(),
                    });
                }
            }
            _ => {
                let bound = self.bound_to(flow.local).map(|bound| bound.ip()).filter(|ip| !ip.is_unspecified());
                let from = bound.or(flow.local_ip).filter(|ip| ip.is_ipv4() == flow.peer.is_ipv4());
                self.connections.send(self.now, flow, from, bytes, self.worker);
                self.observe(true, flow, bytes);
            }
        }
    }

    /// The address that a side is bound to; without a node side, the first listener is it.
    fn bound_to(&self, local: Local) -> Option<SocketAddr> {
        let own = self.addresses.iter().find(|(known, _)| *known == local);
        own.or(self.addresses.first()).map(|(_, address)| *address)
    }

    /// Tell the control side.
    pub(crate) fn record(&mut self, what: What) {
        if !self.events.offer(Record { at: self.now, what }) {
            self.tally.add(Traffic::EventsLost, 1);
        }
    }
}

/// Put something before a sibling; false when there is none or no room.
fn tell(siblings: &[Producer<Handed>], tally: &mut Tally, worker: u8, handed: Handed) -> bool {
    let told = siblings.get(usize::from(worker)).is_some_and(|sibling| sibling.offer(handed));
    tally.add(Traffic::HandedLost, u64::from(!told));
    told
}

fn flush_port(port: &mut Port, worker: u8, tally: &mut Tally, undelivered: &mut Vec<Undelivered>) {
    let mut refused = Vec::new();
    let flushed = port.batch.flush(&port.socket, &mut refused);
    tally.add(Traffic::Sent, flushed.sent);
    tally.add(Traffic::SendBufferFull, flushed.dropped);
    tally.add(Traffic::SendFailed, refused.len() as u64);
    undelivered.extend(refused.into_iter().map(|SendFailure { to, bytes, error }| {
        let flow = Flow::udp(port.local, None, to);
        Undelivered { kind: FailureKind::Send, flow, bytes, worker, error }
    }));
}

impl Output for Outbox {
    fn send(&mut self, flow: &Flow, bytes: &[u8]) {
        match flow.transport {
            Transport::Udp => {
                self.send_datagram(flow, bytes);
                self.observe(true, flow, bytes);
            }
            Transport::Tcp => self.send_over_connection(flow, bytes),
        }
    }

    fn local_ip(&mut self, from: Local, to: SocketAddr) -> IpAddr {
        if let Some(bound) = self.bound_to(from).map(|bound| bound.ip()).filter(|ip| !ip.is_unspecified()) {
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

    fn decided(&mut self, request: &[u8], decision: &Decision<'_>) {
        let Shared { traces, nodes, snapshot, .. } = &*self.shared;
        if traces.any(self.now) {
            let world = (&**snapshot.load(), nodes);
            self.observer.on_decision(self.now, traces, world, (request, decision), &mut self.tally);
        }
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

    fn clock(&self) -> Option<Time> {
        Some(monotonic())
    }
}
