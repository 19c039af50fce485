//! A proxy alone in the world: what is put in is written in the tests, what comes out is recorded.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use switchtender_proxy::{
    Advertised, Config, ConnectionId, Counter, Decision, Delay, Event, FailureKind, Flow, Listener, Local,
    NodeAdvertise, NodeSide, Outcome, Output, Packet, Proxy, Snapshot, Time, Transport, TransportFailure,
};
use switchtender_select::{Admission, GroupSlot, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Slots};

use crate::text::Text;

/// The caller of most tests.
pub const CALLER: &str = "192.0.2.10:5060";
/// Where it calls: the public listener.
pub const PUBLIC: Local = Local::Listener(0);
/// Two nodes.
pub const NODES: [&str; 2] = ["10.1.0.1:5060", "10.1.0.2:5060"];

/// A connection that we open.
pub const OPENED: ConnectionId = ConnectionId::new(0, 1000);

/// From one reading of the clock for our own work to the next.
pub const CLOCK_STEP_NANOS: u64 = 300;

/// A message that the proxy sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub from: Local,
    pub local_ip: Option<IpAddr>,
    pub to: SocketAddr,
    /// All of that, and by which transport.
    pub flow: Flow,
    pub text: Text,
}

impl Sent {
    pub fn to_node(&self, node: &str) -> bool {
        self.to == address(node)
    }
}

/// What one node went through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub assigned: u64,
    pub in_flight: i64,
    pub ended: u64,
    pub requests: u64,
    pub cooling_until: Time,
    pub suspect: bool,
    /// Sessions at its last report, of 999 that it takes.
    pub sessions: f64,
    pub closed: bool,
    pub unreachable: bool,
    /// What the control side says of it otherwise.
    pub admission: Option<Admission>,
    pub requests_last_second: u64,
    pub legs_last_second: u64,
    /// Restarts that the control side saw.
    pub epoch: u32,
    /// In use of each resource in this life.
    pub taken: BTreeMap<u8, u32>,
}

#[derive(Debug, Default)]
pub struct Book {
    pub nodes: RefCell<BTreeMap<u32, Ledger>>,
}

impl Book {
    pub fn edit(&self, slot: NodeSlot, change: impl FnOnce(&mut Ledger)) {
        change(self.nodes.borrow_mut().entry(slot.0).or_default());
    }

    pub fn of(&self, slot: NodeSlot) -> Ledger {
        self.nodes.borrow().get(&slot.0).cloned().unwrap_or_default()
    }
}

impl Nodes for Book {
    fn load(&self, slot: NodeSlot, _now: Time) -> NodeLoad {
        let ledger = self.of(slot);
        NodeLoad {
            admission: match ledger {
                Ledger { closed: true, .. } => Admission::Closed,
                Ledger { unreachable: true, .. } => Admission::Unreachable,
                _ => ledger.admission.unwrap_or(Admission::Open),
            },
            sessions: ledger.sessions,
            max_sessions: 1000.0,
            assigned: ledger.assigned,
            ended: ledger.ended,
            sessions_per_second: Some(1000.0),
            cooling_until: ledger.cooling_until,
            suspect: ledger.suspect,
            in_flight: u64::try_from(ledger.in_flight).unwrap_or(0),
            requests_last_second: ledger.requests_last_second,
            legs_last_second: ledger.legs_last_second,
            ..NodeLoad::default()
        }
    }

    fn assign(&self, slot: NodeSlot, legs: u32, _now: Time) {
        assert!(matches!(legs, 1 | 2), "the legs per call of some group");
        self.edit(slot, |ledger| {
            ledger.assigned += 1;
            ledger.in_flight += 1;
        });
    }

    fn settle(&self, slot: NodeSlot) {
        self.edit(slot, |ledger| ledger.in_flight -= 1);
        assert!(self.of(slot).in_flight >= 0, "given back more than was taken");
    }

    fn ended(&self, slot: NodeSlot) {
        self.edit(slot, |ledger| ledger.ended += 1);
    }

    fn request(&self, slot: NodeSlot, _now: Time) {
        self.edit(slot, |ledger| ledger.requests += 1);
    }

    fn cool(&self, slot: NodeSlot, until: Time) {
        self.edit(slot, |ledger| ledger.cooling_until = ledger.cooling_until.max(until));
    }

    fn suspect(&self, slot: NodeSlot) {
        self.edit(slot, |ledger| ledger.suspect = true);
    }

    fn answered(&self, slot: NodeSlot) {
        self.edit(slot, |ledger| ledger.suspect = false);
    }

    fn reserve(&self, node: NodeSlot, wanted: ResourceSet, limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        let fits = wanted.iter().all(|one| limit(one).is_none_or(|limit| self.in_use(node, one) < limit));
        if fits {
            self.edit(node, |ledger| wanted.iter().for_each(|one| *ledger.taken.entry(one.0).or_default() += 1));
        }
        fits
    }

    fn release(&self, node: NodeSlot, taken: ResourceSet, epoch: u32) {
        self.edit(node, |ledger| {
            for one in taken.iter().filter(|_| ledger.epoch == epoch) {
                let count = ledger.taken.entry(one.0).or_default();
                *count = count.checked_sub(1).expect("given back more than was taken");
            }
        });
    }

    fn epoch(&self, node: NodeSlot) -> u32 {
        self.of(node).epoch
    }

    fn in_use(&self, node: NodeSlot, resource: ResourceSlot) -> u32 {
        self.of(node).taken.get(&resource.0).copied().unwrap_or(0)
    }
}

/// What surrounds a worker.
#[derive(Debug, Default)]
pub struct Wire {
    pub sent: VecDeque<Sent>,
    pub events: Vec<Event>,
    /// In words, nodes by their slots.
    pub decisions: Vec<String>,
    pub handed: Vec<(u8, Vec<u8>)>,
    pub table: BTreeMap<u64, u8>,
    pub standing: BTreeMap<u64, NodeSlot>,
    pub ring_is_full: bool,
    /// Calls that siblings were told to be over.
    pub over: Vec<u64>,
    /// So often the clock for our own work was read: it goes on by a step with each reading.
    readings: Cell<u64>,
    worker: u8,
}

impl Output for Wire {
    fn send(&mut self, flow: &Flow, bytes: &[u8]) {
        let Flow { local: from, local_ip, peer: to, .. } = *flow;
        self.sent.push_back(Sent { from, local_ip, to, flow: *flow, text: Text::received(bytes) });
    }

    fn local_ip(&mut self, _from: Local, to: SocketAddr) -> IpAddr {
        if to.is_ipv4() { IpAddr::from([198, 51, 100, 99]) } else { "2001:db8::99".parse().unwrap() }
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn decided(&mut self, request: &[u8], decision: &Decision<'_>) {
        let text = Text::received(request);
        assert!(text.method().is_some(), "the request as received");
        self.decisions.push(match *decision {
            Decision::Placed { node, tried, .. } => {
                format!("placed {} after {:?}", node.0, tried.iter().map(|slot| slot.0).collect::<Vec<_>>())
            }
            Decision::Failed { node, cause, attempts, goes_on, .. } => {
                let node = node.map_or_else(|| "outside".to_owned(), |node| node.0.to_string());
                format!("failed {node} {cause} {attempts} {goes_on}")
            }
            Decision::Held { why, .. } => format!("held {}", why.name()),
            Decision::Refused { why, .. } => format!("refused {}", why.name()),
        });
    }

    fn hand_over(&mut self, worker: u8, packet: &Packet<'_>) -> bool {
        if !self.ring_is_full {
            self.handed.push((worker, packet.bytes.to_vec()));
        }
        !self.ring_is_full
    }

    fn call_over(&mut self, call: u64) {
        self.over.push(call);
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
        assert_eq!(self.table.insert(fingerprint, self.worker), None, "published once");
    }

    fn retract(&mut self, fingerprint: u64) {
        assert_eq!(self.table.remove(&fingerprint), Some(self.worker), "only what was published is retracted");
    }

    fn owner(&mut self, fingerprint: u64) -> Option<u8> {
        self.table.get(&fingerprint).copied()
    }

    fn clock(&self) -> Option<Time> {
        self.readings.set(self.readings.get() + 1);
        Some(Time::from_nanos(self.readings.get() * CLOCK_STEP_NANOS))
    }
}

/// What the tests vary in the snapshot.
#[derive(Clone, Debug)]
pub struct Setup {
    pub nodes: Vec<&'static str>,
    pub keys: Vec<u8>,
    pub attempts: u8,
    pub retry_on: &'static str,
    pub user_pattern: Option<&'static str>,
    pub legs: u32,
    /// Further fields of the group, each with its comma.
    pub group: &'static str,
    /// What each member has besides.
    pub member: &'static str,
    /// What each rule has besides.
    pub rule: &'static str,
    pub over_limit: &'static str,
    /// Further groups, each with a comma in front.
    pub others: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: NODES.to_vec(),
            keys: vec![1],
            attempts: 3,
            retry_on: r#"{"own_refusal": true, "timeout": true, "transport": true, "codes": [410]}"#,
            user_pattern: None,
            legs: 2,
            group: "",
            member: "",
            rule: "",
            over_limit: r#"{"action": "Reject", "status": 503, "retry_after_s": [5, 15]}"#,
            others: "",
        }
    }
}

impl Setup {
    pub fn json(&self) -> String {
        let keys: Vec<String> =
            self.keys.iter().map(|id| format!(r#"{{"id": {id}, "secret": "{}"}}"#, secret(*id))).collect();
        let nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|sip| format!(r#"{{"uid": "voice/ivr/{sip}", "name": "{sip}", "sip": "{sip}"}}"#))
            .collect();
        let members: Vec<String> = (0..self.nodes.len())
            .map(|index| {
                let (priority, more) = (100 - index, self.member);
                format!(r#"{{"node": {index}, "weight": 1.0, "priority": {priority}, "draining": false{more}}}"#)
            })
            .collect();
        let rules = match self.user_pattern {
            Some(pattern) => format!(
                r#"[{{"request_uri": {{"user": null, "host": null, "user_pattern": "{pattern}"}}, "sources": []{}}}]"#,
                self.rule
            ),
            None => "[]".to_owned(),
        };
        format!(
            r#"{{"format": 2, "keys": [{}], "nodes": [{}], "groups": [{{
                "namespace": "voice", "name": "ivr", "uid": "g", "generation": 1, "priority": 0, "match": {rules},
                "algorithm": "LeastLoad", "legs_per_call": {}, {}
                "failover": {{"attempts": {}, "retry_on": {}, "first_response_timeout_ms": 2000,
                              "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000]}},
                "timer_c_ms": 180000,
                "over_limit": {}, "panic_threshold": 0.5, "members": [{}]}}{}]}}"#,
            keys.join(", "),
            nodes.join(", "),
            self.legs,
            self.group,
            self.attempts,
            self.retry_on,
            self.over_limit,
            members.join(", "),
            self.others
        )
    }
}

/// 64 equal bytes in base64.
fn secret(id: u8) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = [id; 64];
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for position in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * position) & 63).unwrap();
            text.push(if position <= group.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn config() -> Config {
    Config {
        worker: 0,
        workers: 1,
        run_id: 0x1234_5678_9abc_def0,
        replica: 7,
        secret: [7; 16],
        listeners: vec![Listener {
            address: address("198.51.100.1:5060"),
            advertise: Some(Advertised { host: "sip.example.com".into(), port: 5060 }),
            nat: false,
            allow: vec![],
        }],
        node_side: Some(NodeSide {
            address: address("10.0.0.9:5070"),
            advertise: vec![NodeAdvertise {
                networks: vec!["0.0.0.0/0".parse().unwrap()],
                address: Advertised { host: "10.96.7.7".into(), port: 5070 },
            }],
            sources: vec!["10.2.0.0/16".parse().unwrap()],
        }),
        worker_address: address("10.0.0.9:5071"),
        max_transactions: 1000,
        seed: 1,
    }
}

/// A proxy with its snapshot, its nodes, its clock and its wire.
pub struct World {
    pub proxy: Proxy,
    pub snapshot: Snapshot,
    pub book: Book,
    pub wire: Wire,
    pub now: Time,
    slots: Slots,
}

impl World {
    pub fn new() -> Self {
        Self::with(config(), &Setup::default())
    }

    pub fn with(config: Config, setup: &Setup) -> Self {
        let mut world = Self {
            wire: Wire { worker: config.worker, ..Wire::default() },
            proxy: Proxy::new(config),
            snapshot: Snapshot::default(),
            book: Book::default(),
            now: Time::from_secs(1000),
            slots: Slots::new(64, 8),
        };
        world.apply(setup);
        world
    }

    /// Swaps the snapshot.
    pub fn apply(&mut self, setup: &Setup) {
        self.apply_json(&setup.json());
    }

    pub fn apply_json(&mut self, json: &str) {
        let generation = self.snapshot.generation + 1;
        self.snapshot = Snapshot::from_json(json.as_bytes(), &mut self.slots.at(self.now)).unwrap();
        self.snapshot.generation = generation;
    }

    /// Another process takes over: nothing is remembered but the configuration.
    pub fn restart(&mut self, config: Config) {
        self.wire = Wire { worker: config.worker, ..Wire::default() };
        self.proxy = Proxy::new(config);
    }

    pub fn slot(&self, node: &str) -> NodeSlot {
        self.snapshot.node_at(address(node)).unwrap()
    }

    pub fn ledger(&self, node: &str) -> Ledger {
        self.book.of(self.slot(node))
    }

    pub fn receive_at(&mut self, local: Local, source: &str, text: impl AsRef<[u8]>) {
        self.receive_on(local, None, source, text);
    }

    /// With the address that the datagram was sent to, as a socket bound to every address tells.
    pub fn receive_on(&mut self, local: Local, local_ip: Option<&str>, source: &str, text: impl AsRef<[u8]>) {
        let local_ip = local_ip.map(|ip| ip.parse().unwrap());
        self.receive_over(&Flow::udp(local, local_ip, address(source)), text);
    }

    pub fn receive_over(&mut self, flow: &Flow, text: impl AsRef<[u8]>) {
        let packet = Packet { bytes: text.as_ref(), flow: *flow };
        self.proxy.receive(self.now, &packet, &self.snapshot, &self.book, &mut self.wire);
        self.check();
    }

    /// From the caller to the public listener.
    pub fn caller_sends(&mut self, text: impl AsRef<[u8]>) {
        self.receive_at(PUBLIC, CALLER, text);
    }

    /// From a node to the worker's own socket, or over the connection that the request came by: where responses go.
    pub fn respond(&mut self, request: &Sent, text: impl AsRef<[u8]>) {
        let opened = || (request.flow.transport == Transport::Tcp).then_some(OPENED);
        let connection = request.flow.connection.or_else(opened);
        self.receive_over(&Flow { connection, ..request.flow }, text);
    }

    pub fn handed_over(&mut self, local: Local, source: &str, text: impl AsRef<[u8]>) {
        let packet = Packet { bytes: text.as_ref(), flow: Flow::udp(local, None, address(source)) };
        self.proxy.handed_over(self.now, &packet, &self.snapshot, &self.book, &mut self.wire);
        self.check();
    }

    pub fn fail(&mut self, kind: FailureKind, destination: &str, quoted: impl AsRef<[u8]>) {
        self.fail_over(kind, &Flow::udp(Local::Worker, None, address(destination)), quoted);
    }

    pub fn fail_over(&mut self, kind: FailureKind, flow: &Flow, quoted: impl AsRef<[u8]>) {
        let flow = *flow;
        let failure = TransportFailure { kind, flow, quoted: quoted.as_ref() };
        self.proxy.transport_error(self.now, &failure, &self.snapshot, &self.book, &mut self.wire);
        self.check();
    }

    /// The way of `sent` is no more.
    pub fn close(&mut self, flow: &Flow) {
        self.proxy.connection_closed(self.now, flow, &self.snapshot, &self.book, &mut self.wire);
        self.check();
    }

    /// Lets time pass, firing every timer at its moment.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.proxy.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.proxy.expire(self.now, &self.snapshot, &self.book, &mut self.wire);
            self.check();
        }
        self.now = end;
    }

    pub fn pass_ms(&mut self, millis: u64) {
        self.pass(Duration::from_millis(millis));
    }

    fn check(&self) {
        assert_eq!(self.proxy.check_invariants(), Ok(()));
    }

    /// The next datagram sent.
    pub fn sent(&mut self) -> Sent {
        self.wire.sent.pop_front().expect("something was sent")
    }

    /// The next datagram sent, which is a request of this method.
    pub fn sent_request(&mut self, method: &str) -> Sent {
        let sent = self.sent();
        assert_eq!(sent.text.method(), Some(method), "{}", sent.text);
        sent
    }

    /// The next datagram sent, which is a response with this status.
    pub fn sent_response(&mut self, status: u16) -> Sent {
        let sent = self.sent();
        assert_eq!(sent.text.status(), Some(status), "{}", sent.text);
        sent
    }

    /// Nothing more was sent.
    pub fn silent(&self) {
        assert!(self.wire.sent.is_empty(), "{:?}", self.wire.sent);
    }

    /// Everything sent since the last look.
    pub fn drain(&mut self) -> Vec<Sent> {
        self.wire.sent.drain(..).collect()
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.proxy.counters().get(counter)
    }

    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.proxy.counters().outcome(GroupSlot(0), outcome)
    }

    /// Of the one group: how many observations, and their sum in milliseconds.
    pub fn delay(&self, delay: Delay) -> (u64, u64) {
        let delays = self.proxy.counters().delay(GroupSlot(0), delay);
        (delays.len(), delays.sum_nanos / 1_000_000)
    }

    /// Lets every timer run out: nothing may be left, and nothing in flight.
    pub fn settle_down(&mut self) {
        self.pass(Duration::from_secs(600));
        assert_eq!(self.proxy.transactions(), 0, "every transaction ends");
        assert_eq!(self.proxy.open_transactions(), 0);
        assert_eq!(self.proxy.next_deadline(), None, "no timer is left behind");
        assert!(self.wire.table.is_empty(), "{:?}", self.wire.table);
        for (slot, ledger) in self.book.nodes.borrow().iter() {
            assert_eq!(ledger.in_flight, 0, "node {slot}");
        }
    }
}
