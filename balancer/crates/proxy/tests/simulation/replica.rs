//! One balancer process: its workers around the real proxy, their sockets, the table they share, its clock, its snapshot.
//! Everything that goes in or out passes a [`Witness`].

use crate::load::Load;
use crate::network::{Alarm, Network, Who};
use crate::witness::{Place, Witness};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use switchtender_proxy::{
    Advertised, Config, ConnectionId, Event, FailureKind, Flow, Listener, Local, NodeAdvertise, NodeSide, Output,
    Packet, Proxy, Snapshot, Time, Transport, TransportFailure,
};
use switchtender_select::{NodeSlot, Slots, SlotsAt};

/// Where callers reach any replica.
pub(crate) const PUBLIC: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1)), 5060);
/// Where nodes reach any replica.
pub(crate) const NODE_SIDE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 7, 7)), 5070);

const LISTENER_PORT: u16 = 5060;
const NODE_SIDE_PORT: u16 = 5070;
const WORKER_PORT: u16 = 5071;
/// Datagrams that fit the ring between two workers.
const RING: usize = 32;

struct Worker {
    proxy: Proxy,
    armed: Option<Time>,
}

/// What one worker tells another.
enum Passed {
    Packet { worker: u8, bytes: Vec<u8>, flow: Flow },
    CallOver { from: u8, call: u64 },
}

pub(crate) struct Replica {
    pub(crate) index: usize,
    pub(crate) ip: IpAddr,
    /// Counts its runs, from 1; 0 while it is down.
    pub(crate) life: u64,
    lives: u64,
    workers: Vec<Worker>,
    slots: Slots,
    pub(crate) snapshot: Rc<Snapshot>,
    pub(crate) load: Load,
    /// Fingerprints of live server transactions, by the worker that has them.
    table: BTreeMap<u64, u8>,
    /// Nodes of calls, by hash of the Call-ID.
    standing: BTreeMap<u64, NodeSlot>,
    /// Its monotonic clock against the world's; jumps forward only.
    clock: Duration,
    /// Callers and nodes whose flow through the virtual address leads here.
    pub(crate) flows: Vec<SocketAddr>,
    /// Sends that fail, as the late echo of an ICMP error on the same socket.
    pub(crate) failing_sends: usize,
}

/// What the process around a worker does for it.
struct Shell<'a> {
    worker: u8,
    workers: u8,
    ip: IpAddr,
    table: &'a mut BTreeMap<u64, u8>,
    standing: &'a mut BTreeMap<u64, NodeSlot>,
    sent: Vec<(Flow, Vec<u8>)>,
    passed: &'a mut VecDeque<Passed>,
    misuse: Vec<String>,
}

impl Output for Shell<'_> {
    fn send(&mut self, flow: &Flow, bytes: &[u8]) {
        self.sent.push((*flow, bytes.to_vec()));
    }

    fn local_ip(&mut self, _from: Local, _to: SocketAddr) -> IpAddr {
        self.ip
    }

    fn event(&mut self, _event: Event) {}

    fn hand_over(&mut self, worker: u8, packet: &Packet<'_>) -> bool {
        if worker >= self.workers || worker == self.worker {
            self.misuse.push(format!("worker {} hands over to worker {worker}", self.worker));
            return false;
        }
        let Packet { bytes, flow } = *packet;
        if self.passed.len() < RING {
            self.passed.push_back(Passed::Packet { worker, bytes: bytes.to_vec(), flow });
        }
        self.passed.len() < RING
    }

    fn call_over(&mut self, call: u64) {
        if self.passed.len() < RING {
            self.passed.push_back(Passed::CallOver { from: self.worker, call });
        }
    }

    fn remember_call(&mut self, call: u64, node: NodeSlot) {
        self.standing.insert(call, node);
    }

    fn forget_call(&mut self, call: u64) {
        self.standing.remove(&call);
    }

    fn node_of_call(&mut self, call: u64) -> Option<NodeSlot> {
        self.standing.get(&call).copied()
    }

    fn publish(&mut self, fingerprint: u64) {
        self.table.insert(fingerprint, self.worker);
    }

    fn retract(&mut self, fingerprint: u64) {
        self.table.remove(&fingerprint);
    }

    fn owner(&mut self, fingerprint: u64) -> Option<u8> {
        self.table.get(&fingerprint).copied().filter(|&worker| worker != self.worker)
    }
}

/// What goes into a worker.
enum Input<'a> {
    Received(Packet<'a>),
    HandedOver(Packet<'a>),
    CallOver(u64),
    Failed(TransportFailure<'a>),
    Expired,
}

impl Replica {
    pub(crate) fn new(index: usize, share: f64) -> Self {
        let ip = IpAddr::from([10, 0, 0, 1 + u8::try_from(index).unwrap_or(0)]);
        Self {
            index,
            ip,
            life: 0,
            lives: 0,
            workers: Vec::new(),
            slots: Slots::new(64, 16),
            snapshot: Rc::default(),
            load: Load::new(share),
            table: BTreeMap::new(),
            standing: BTreeMap::new(),
            clock: Duration::ZERO,
            flows: Vec::new(),
            failing_sends: 0,
        }
    }

    /// Starts with so many workers, no memory, and a clock that starts anywhere.
    pub(crate) fn start(&mut self, network: &mut Network, workers: u8, share: f64) {
        self.lives += 1;
        self.life = self.lives;
        self.clock = network.between(Duration::ZERO, Duration::from_secs(1 << 20));
        let run_id = network.rng.next_u64();
        let secret = u128::from(network.rng.next_u64()) << 64 | u128::from(network.rng.next_u64());
        self.workers.clear();
        for worker in 0..workers {
            let everywhere = "0.0.0.0/0".parse().expect("a network");
            let config = Config {
                worker,
                workers,
                run_id,
                replica: u32::try_from(self.index).unwrap_or(0),
                secret: secret.to_be_bytes(),
                listeners: vec![Listener {
                    address: SocketAddr::new(self.ip, LISTENER_PORT),
                    advertise: Some(Advertised::from_address(PUBLIC)),
                    nat: false,
                    allow: vec![],
                }],
                node_side: Some(NodeSide {
                    address: SocketAddr::new(self.ip, NODE_SIDE_PORT),
                    advertise: vec![NodeAdvertise {
                        networks: vec![everywhere],
                        address: Advertised::from_address(NODE_SIDE),
                    }],
                    sources: Vec::new(),
                }),
                worker_address: SocketAddr::new(self.ip, WORKER_PORT + u16::from(worker)),
                max_transactions: 4096,
                seed: network.rng.next_u64(),
            };
            self.workers.push(Worker { proxy: Proxy::new(config), armed: None });
        }
        self.slots = Slots::new(64, 16);
        self.load = Load::new(share);
        self.table.clear();
        self.standing.clear();
        self.flows.clear();
        self.failing_sends = 0;
    }

    /// Dies with everything it knew.
    pub(crate) fn stop(&mut self) {
        self.life = 0;
        self.workers.clear();
        self.table.clear();
        self.standing.clear();
        self.flows.clear();
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.life > 0
    }

    /// Its own time.
    pub(crate) fn time(&self, network: &Network) -> Time {
        network.now + self.clock
    }

    /// Its clock jumps ahead, as after a suspend.
    pub(crate) fn jump(&mut self, network: &mut Network, by: Duration) {
        self.clock += by;
        for worker in &mut self.workers {
            worker.armed = None;
        }
        self.arm_all(network);
    }

    /// The registry that gives nodes and groups their slots.
    pub(crate) fn registry(&mut self, network: &Network) -> SlotsAt<'_> {
        let now = self.time(network);
        self.slots.at(now)
    }

    /// Which worker the kernel gives a datagram to, on a socket that all workers share.
    fn pick_worker(&self, from: SocketAddr) -> usize {
        let bytes = from.to_string().bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        usize::try_from(bytes % u64::try_from(self.workers.len()).unwrap_or(1)).unwrap_or(0)
    }

    /// A datagram reaches this process at `to`, one of its own addresses or a virtual one.
    pub(crate) fn deliver(
        &mut self,
        network: &mut Network,
        witness: &mut Witness<'_>,
        (from, to): (SocketAddr, SocketAddr),
        bytes: &[u8],
    ) {
        let (local, worker) = match (to, to.port()) {
            (PUBLIC, _) | (_, LISTENER_PORT) => (Local::Listener(0), self.pick_worker(from)),
            (NODE_SIDE, _) | (_, NODE_SIDE_PORT) => (Local::NodeSide, self.pick_worker(from)),
            (_, port) => (Local::Worker, usize::from(port.saturating_sub(WORKER_PORT))),
        };
        if worker >= self.workers.len() {
            return network.bounce(from, to, bytes.to_vec());
        }
        let mut flow = Flow::udp(local, Some(self.ip), from);
        if network.is_stream(from, to) {
            // Each peer has one connection to a worker.
            let serial = u32::from(from.port()) << 16 | from.to_string().bytes().map(u32::from).sum::<u32>();
            let connection = ConnectionId::new(u8::try_from(worker).unwrap_or(u8::MAX), serial);
            flow = Flow { transport: Transport::Tcp, connection: Some(connection), ..flow };
        }
        let packet = Packet { bytes, flow };
        self.run(network, witness, worker, &Input::Received(packet));
    }

    /// A datagram that this process sent from `source` came back.
    pub(crate) fn undeliverable(
        &mut self,
        network: &mut Network,
        witness: &mut Witness<'_>,
        (source, destination): (SocketAddr, SocketAddr),
        quoted: &[u8],
    ) {
        // The virtual and the shared addresses are everybody's: nobody knows whose datagram it was.
        let worker = match source.port() {
            port if source.ip() == self.ip && port >= WORKER_PORT => usize::from(port - WORKER_PORT),
            _ => self.pick_worker(destination),
        };
        if worker < self.workers.len() {
            let datagram = Flow::udp(Local::Worker, None, destination);
            let (kind, flow) = if network.is_stream(source, destination) {
                (FailureKind::Connect, Flow { transport: Transport::Tcp, ..datagram })
            } else {
                (FailureKind::Icmp, datagram)
            };
            let failure = TransportFailure { kind, flow, quoted };
            self.run(network, witness, worker, &Input::Failed(failure));
        }
    }

    /// The deadline of a worker has come.
    pub(crate) fn expire(&mut self, network: &mut Network, witness: &mut Witness<'_>, worker: usize) {
        let now = self.time(network);
        let Some(state) = self.workers.get_mut(worker) else { return };
        if state.armed.is_some_and(|armed| armed <= now) {
            state.armed = None;
            self.run(network, witness, worker, &Input::Expired);
            let next = self.workers[worker].proxy.next_deadline();
            assert!(next.is_none_or(|next| next > now), "a timer due at {next:?} did not fire at {now:?}");
        }
    }

    fn run(&mut self, network: &mut Network, witness: &mut Witness<'_>, worker: usize, input: &Input<'_>) {
        let mut passed = VecDeque::new();
        self.step(network, witness, worker, input, &mut passed);
        while let Some(next) = passed.pop_front() {
            match next {
                Passed::Packet { worker, bytes, flow } => {
                    let packet = Packet { bytes: &bytes, flow };
                    self.step(network, witness, usize::from(worker), &Input::HandedOver(packet), &mut passed);
                }
                Passed::CallOver { from, call } => {
                    for sibling in (0..self.workers.len()).filter(|&sibling| sibling != usize::from(from)) {
                        self.step(network, witness, sibling, &Input::CallOver(call), &mut passed);
                    }
                }
            }
        }
        self.arm_all(network);
    }

    fn step(
        &mut self,
        network: &mut Network,
        witness: &mut Witness<'_>,
        worker: usize,
        input: &Input<'_>,
        passed: &mut VecDeque<Passed>,
    ) {
        let now = self.time(network);
        let snapshot = Rc::clone(&self.snapshot);
        let (count, ip) = (u8::try_from(self.workers.len()).unwrap_or(u8::MAX), self.ip);
        let proxy = &mut self.workers[worker].proxy;
        let (snapshot, load) = (&*snapshot, &self.load);
        let index = u8::try_from(worker).unwrap_or(u8::MAX);
        let mut shell = Shell {
            worker: index,
            workers: count,
            ip,
            table: &mut self.table,
            standing: &mut self.standing,
            sent: Vec::new(),
            passed,
            misuse: Vec::new(),
        };
        let passed_before = shell.passed.len();
        match input {
            Input::Received(packet) => proxy.receive(now, packet, snapshot, load, &mut shell),
            Input::HandedOver(packet) => proxy.handed_over(now, packet, snapshot, load, &mut shell),
            Input::CallOver(call) => proxy.call_over(now, *call, snapshot, load, &mut shell),
            Input::Failed(failure) => proxy.transport_error(now, failure, snapshot, load, &mut shell),
            Input::Expired => proxy.expire(now, snapshot, load, &mut shell),
        }
        let was_passed = shell.passed.len() > passed_before;
        let Shell { sent, misuse, .. } = shell;
        // With debug assertions the proxy checks itself after every call.
        let invariants = if cfg!(debug_assertions) { Ok(()) } else { proxy.check_invariants() };
        let place = Place { replica: self.index, life: self.life, worker, ip, now };
        for what in misuse.into_iter().chain(invariants.err()).chain(load.check().err()) {
            witness.ledger.violation(format!("{place:?}: {what}"));
        }
        match input {
            Input::Received(packet) | Input::HandedOver(packet) => {
                witness.took_in(&place, packet.flow.peer, packet.bytes, &sent, was_passed);
            }
            Input::Failed(failure) => witness.failed(&place, failure.quoted),
            Input::Expired | Input::CallOver(_) => {}
        }
        for (flow, bytes) in sent {
            let Flow { local: from, peer: to, .. } = flow;
            witness.put_out(&place, snapshot, from, to, &bytes);
            let stream = network.is_stream(self.source(from, worker, to), to);
            if stream != (flow.transport == Transport::Tcp) {
                witness.ledger.violation(format!("{place:?} sent by {:?} to {to}", flow.transport));
            }
            if self.failing_sends > 0 && from == Local::Worker && !stream {
                self.failing_sends -= 1;
                let failure = TransportFailure { kind: FailureKind::Send, flow, quoted: &bytes };
                self.step(network, witness, worker, &Input::Failed(failure), passed);
                continue;
            }
            let source = self.source(from, worker, to);
            network.send(source, to, bytes);
        }
    }

    /// The source address that `to` sees: the virtual one on a flow that came through it.
    fn source(&self, from: Local, worker: usize, to: SocketAddr) -> SocketAddr {
        let through_virtual = self.flows.contains(&to);
        match from {
            Local::Listener(_) if through_virtual => PUBLIC,
            Local::Listener(_) => SocketAddr::new(self.ip, LISTENER_PORT),
            Local::NodeSide if through_virtual => NODE_SIDE,
            Local::NodeSide => SocketAddr::new(self.ip, NODE_SIDE_PORT),
            Local::Worker => SocketAddr::new(self.ip, WORKER_PORT + u16::try_from(worker).unwrap_or(0)),
        }
    }

    fn arm_all(&mut self, network: &mut Network) {
        let (clock, replica, life) = (self.clock, self.index, self.life);
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let Some(next) = worker.proxy.next_deadline() else { continue };
            if worker.armed.is_none_or(|armed| next < armed) {
                worker.armed = Some(next);
                network.wake(next - clock, Who::Worker { replica, worker: index }, Alarm::Deadline { life });
            }
        }
    }

    /// # Errors
    /// What is left of transactions long after the last message.
    pub(crate) fn check_quiet(&self) -> Result<(), String> {
        for (index, worker) in self.workers.iter().enumerate() {
            let proxy = &worker.proxy;
            if proxy.open_transactions() + proxy.transactions() > 0 {
                return Err(format!(
                    "worker {index} of replica {} keeps {} transactions, {} of them open",
                    self.index,
                    proxy.transactions(),
                    proxy.open_transactions()
                ));
            }
        }
        if let Some((slot, in_flight)) = self.load.in_flight().into_iter().find(|(_, in_flight)| *in_flight != 0) {
            return Err(format!("replica {}: {in_flight} attempts in flight at {slot:?}", self.index));
        }
        if !self.table.is_empty() {
            return Err(format!("replica {}: {} fingerprints are still published", self.index, self.table.len()));
        }
        Ok(())
    }

    /// The workers' proxies.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.workers.iter().map(|worker| &worker.proxy)
    }
}
