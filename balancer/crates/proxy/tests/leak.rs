//! After a hundred thousand calls, each with one thing gone wrong or none, nothing is left: no transaction, no timer, no
//! record, no place in a queue, no count at a node, no published fingerprint.
//!
//! Two workers share the tables that a process shares; time is a number. What goes wrong is chosen by the call's number,
//! in equal parts.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test a surprise is a failure

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use switchtender_proxy::{
    Config, ConnectionId, Event, FailureKind, Flow, Listener, Local, NodeSide, Output, Packet, Proxy, Snapshot, Time,
    TransportFailure,
};
use switchtender_select::{Admission, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Slots, Transport};

/// Without optimization a twentieth has to do: each kind of trouble still befalls hundreds of calls.
const CALLS: usize = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
/// Calls that go on at the same time, and the time between two steps of theirs.
const WAVE: usize = 200;
const STEP: Duration = Duration::from_millis(300);
const NODES: [&str; 4] = ["10.1.0.1:5060", "10.1.0.2:5060", "10.1.0.3:5060", "10.1.0.4:5060"];
const TRUNK: &str = "192.0.2.200:5060";

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Nothing,
    RefusedByItsNode,
    RefusedByTheFarEnd,
    Challenged,
    FirstNodeSilent,
    EveryNodeSilent,
    StuckAfter100,
    Unreachable,
    SendFails,
    CancelledAtOnce,
    CancelledWhileRinging,
    CancelledTooLate,
    AckLost,
    ByeLost,
    ByeUnanswered,
    ByeThroughTheSibling,
    ByeOfTheNode,
    RetransmittedToTheSibling,
    ConnectionLost,
    Outward,
}

const FATES: [Fate; 20] = [
    Fate::Nothing,
    Fate::RefusedByItsNode,
    Fate::RefusedByTheFarEnd,
    Fate::Challenged,
    Fate::FirstNodeSilent,
    Fate::EveryNodeSilent,
    Fate::StuckAfter100,
    Fate::Unreachable,
    Fate::SendFails,
    Fate::CancelledAtOnce,
    Fate::CancelledWhileRinging,
    Fate::CancelledTooLate,
    Fate::AckLost,
    Fate::ByeLost,
    Fate::ByeUnanswered,
    Fate::ByeThroughTheSibling,
    Fate::ByeOfTheNode,
    Fate::RetransmittedToTheSibling,
    Fate::ConnectionLost,
    Fate::Outward,
];

fn fate(call: usize) -> Fate {
    // Not by the number itself: neighbors are to fare differently over the waves.
    FATES[(call / 3 + call * 7) % FATES.len()]
}

#[derive(Clone, Debug, Default)]
struct Count {
    in_flight: i64,
    assigned: u64,
    ended: u64,
    epoch: u32,
    taken: BTreeMap<u8, u32>,
}

/// The counts of the nodes. None of them reports, so that all of it is ours to give back.
#[derive(Default)]
struct Book {
    nodes: RefCell<BTreeMap<u32, Count>>,
    /// Nodes that admit nobody for the moment.
    busy: RefCell<bool>,
}

impl Book {
    fn edit<R>(&self, slot: NodeSlot, change: impl FnOnce(&mut Count) -> R) -> R {
        change(self.nodes.borrow_mut().entry(slot.0).or_default())
    }
}

impl Nodes for Book {
    fn load(&self, slot: NodeSlot, _now: Time) -> NodeLoad {
        let legs_last_second = if *self.busy.borrow() { 1_000_000 } else { 0 };
        self.edit(slot, |count| NodeLoad {
            admission: Admission::Unmeasured,
            assigned: count.assigned,
            ended: count.ended,
            sessions_per_second: Some(1e6),
            legs_last_second,
            in_flight: u64::try_from(count.in_flight).expect("never below zero"),
            ..NodeLoad::default()
        })
    }
    fn assign(&self, slot: NodeSlot, _legs: u32, _now: Time) {
        self.edit(slot, |count| (count.assigned, count.in_flight) = (count.assigned + 1, count.in_flight + 1));
    }
    fn settle(&self, slot: NodeSlot) {
        self.edit(slot, |count| count.in_flight -= 1);
    }
    fn ended(&self, slot: NodeSlot) {
        self.edit(slot, |count| count.ended += 1);
    }
    fn request(&self, _slot: NodeSlot, _now: Time) {}
    // With so many troubles nodes would be avoided nearly all the time, and few calls would come about.
    fn cool(&self, _slot: NodeSlot, _until: Time) {}
    fn suspect(&self, _slot: NodeSlot) {}
    fn answered(&self, _slot: NodeSlot) {}
    fn reserve(&self, node: NodeSlot, wanted: ResourceSet, limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        let fits = wanted.iter().all(|one| limit(one).is_none_or(|limit| self.in_use(node, one) < limit));
        if fits {
            self.edit(node, |count| wanted.iter().for_each(|one| *count.taken.entry(one.0).or_default() += 1));
        }
        fits
    }
    fn release(&self, node: NodeSlot, taken: ResourceSet, epoch: u32) {
        self.edit(node, |count| {
            for one in taken.iter().filter(|_| count.epoch == epoch) {
                let left = count.taken.get_mut(&one.0).and_then(|taken| taken.checked_sub(1));
                count.taken.insert(one.0, left.expect("given back more than was taken"));
            }
        });
    }
    fn epoch(&self, node: NodeSlot) -> u32 {
        self.edit(node, |count| count.epoch)
    }
    fn in_use(&self, node: NodeSlot, resource: ResourceSlot) -> u32 {
        self.edit(node, |count| count.taken.get(&resource.0).copied().unwrap_or(0))
    }
}

/// What a worker does to the world.
enum Act {
    Sent(Flow, Vec<u8>),
    Handed(u8, Flow, Vec<u8>),
    Over(u64),
}

#[derive(Default)]
struct Tables {
    fingerprints: BTreeMap<u64, u8>,
    standing: BTreeMap<u64, NodeSlot>,
}

struct Shell<'a> {
    worker: u8,
    tables: &'a mut Tables,
    acts: &'a mut VecDeque<(u8, Act)>,
}

impl Output for Shell<'_> {
    fn send(&mut self, flow: &Flow, bytes: &[u8]) {
        self.acts.push_back((self.worker, Act::Sent(*flow, bytes.to_vec())));
    }
    fn local_ip(&mut self, _from: Local, _to: SocketAddr) -> IpAddr {
        unreachable!("every socket is bound to an address")
    }
    fn event(&mut self, _event: Event) {}
    fn hand_over(&mut self, worker: u8, packet: &Packet<'_>) -> bool {
        self.acts.push_back((self.worker, Act::Handed(worker, packet.flow, packet.bytes.to_vec())));
        true
    }
    fn call_over(&mut self, call: u64) {
        self.acts.push_back((self.worker, Act::Over(call)));
    }
    fn remember_call(&mut self, call: u64, node: NodeSlot) {
        self.tables.standing.insert(call, node);
    }
    fn forget_call(&mut self, call: u64) {
        self.tables.standing.remove(&call);
    }
    fn node_of_call(&mut self, call: u64) -> Option<NodeSlot> {
        self.tables.standing.get(&call).copied()
    }
    fn publish(&mut self, fingerprint: u64) {
        self.tables.fingerprints.insert(fingerprint, self.worker);
    }
    fn retract(&mut self, fingerprint: u64) {
        self.tables.fingerprints.remove(&fingerprint);
    }
    fn owner(&mut self, fingerprint: u64) -> Option<u8> {
        self.tables.fingerprints.get(&fingerprint).copied()
    }
}

/// What the two ends of one call know.
#[derive(Clone, Default)]
struct Call {
    /// INVITEs as they left us, with the worker.
    offers: Vec<(u8, Flow, String)>,
    /// The 2xx as the caller got it.
    answer: Option<String>,
    /// The caller got a final failure.
    failed: bool,
    /// Somebody sent a BYE.
    hung_up: bool,
}

struct World {
    workers: [Proxy; 2],
    snapshot: Snapshot,
    slots: Slots,
    book: Book,
    tables: Tables,
    acts: VecDeque<(u8, Act)>,
    now: Time,
    calls: Vec<Call>,
    generation: u64,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn worker(number: u8) -> Proxy {
    Proxy::new(Config {
        worker: number,
        workers: 2,
        run_id: 1,
        replica: 1,
        secret: [1; 16],
        listeners: vec![Listener { address: address("198.51.100.1:5060"), advertise: None, nat: false, allow: vec![] }],
        node_side: Some(NodeSide { address: address("10.0.0.9:5070"), advertise: vec![], sources: vec![] }),
        worker_address: address(if number == 0 { "10.0.0.9:5071" } else { "10.0.0.9:5072" }),
        max_transactions: 1_000_000,
        seed: number.into(),
    })
}

fn document() -> String {
    let secret = "A".repeat(85) + "A=";
    let nodes: Vec<String> =
        NODES.iter().map(|sip| format!(r#"{{"uid": "{sip}", "name": "{sip}", "sip": "{sip}"}}"#)).collect();
    let members: Vec<String> = (0..NODES.len())
        .map(|node| {
            format!(
                r#"{{"node": {node}, "weight": 1.0, "priority": 0, "draining": false, "limits": {{"conf": 100000}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"format": 2, "keys": [{{"id": 1, "secret": "{secret}"}}], "nodes": [{}], "groups": [{{
            "namespace": "voice", "name": "ivr", "uid": "g", "generation": 1, "priority": 0,
            "match": [{{"request_uri": {{"user": "1000", "host": null, "user_pattern": null}}, "resources": ["conf"]}}],
            "algorithm": "RoundRobin", "legs_per_call": 1, "queue_ms": 900, "call_expiry_ms": 60000,
            "resources": [{{"name": "conf", "limited": true}}],
            "egress": {{"listener": 0, "next_hops": [{{"address": "{TRUNK}"}}]}},
            "failover": {{"attempts": 3,
                "retry_on": {{"own_refusal": true, "timeout": true, "transport": true, "codes": []}},
                "first_response_timeout_ms": 1000, "progress_timeout_ms": 2000, "cool_down_ms": [10, 20]}},
            "timer_c_ms": 180000, "over_limit": {{"action": "Reject", "status": 503, "retry_after_s": [5, 15]}},
            "panic_threshold": 0.5, "members": [{}]}}]}}"#,
        nodes.join(", "),
        members.join(", ")
    )
}

/// The value of the first field of that name.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text
        .lines()
        .find(|line| line.len() > name.len() && line.starts_with(name) && line.as_bytes()[name.len()] == b':');
    line.map_or("", |line| line[name.len() + 1..].trim())
}

fn number_of(text: &str) -> usize {
    field(text, "Call-ID").split('@').next().unwrap().parse().unwrap()
}

fn caller(call: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 10], 10_000 + u16::try_from(call % 50_000).unwrap()))
}

/// A response as the far end of a request writes it.
fn response(request: &str, status: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let copied = ["Via:", "Record-Route:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
        if copied {
            let _ = write!(text, "{line}\r\n");
        } else if line.starts_with("To:") {
            let tag = if line.contains("tag=") || status.starts_with("100") { "" } else { ";tag=n" };
            let _ = write!(text, "{line}{tag}\r\n");
        }
    }
    text + "Contact: <sip:n@10.1.0.1>\r\nContent-Length: 0\r\n\r\n"
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            workers: [worker(0), worker(1)],
            snapshot: Snapshot::default(),
            slots: Slots::new(16, 4),
            book: Book::default(),
            tables: Tables::default(),
            acts: VecDeque::new(),
            now: Time::from_secs(1000),
            calls: vec![Call::default(); CALLS],
            generation: 0,
        };
        world.push_snapshot();
        world
    }

    fn push_snapshot(&mut self) {
        self.generation += 1;
        self.snapshot = Snapshot::from_json(document().as_bytes(), &mut self.slots.at(self.now)).unwrap();
        self.snapshot.generation = self.generation;
    }

    fn on<R>(&mut self, worker: u8, act: impl FnOnce(&mut Proxy, Time, &Snapshot, &Book, &mut Shell<'_>) -> R) -> R {
        let mut shell = Shell { worker, tables: &mut self.tables, acts: &mut self.acts };
        act(&mut self.workers[usize::from(worker)], self.now, &self.snapshot, &self.book, &mut shell)
    }

    fn receive(&mut self, worker: u8, flow: Flow, text: &str) {
        let packet = Packet { bytes: text.as_bytes(), flow };
        self.on(worker, |proxy, now, snapshot, book, shell| proxy.receive(now, &packet, snapshot, book, shell));
        self.settle();
    }

    /// Lets everything that the workers did reach whom it is for, and those answer.
    fn settle(&mut self) {
        while let Some((from, act)) = self.acts.pop_front() {
            match act {
                Act::Handed(to, flow, bytes) => {
                    let packet = Packet { bytes: &bytes, flow };
                    self.on(to, |proxy, now, snapshot, book, shell| {
                        proxy.handed_over(now, &packet, snapshot, book, shell);
                    });
                }
                Act::Over(call) => {
                    self.on(1 - from, |proxy, now, snapshot, book, shell| {
                        proxy.call_over(now, call, snapshot, book, shell);
                    });
                }
                Act::Sent(flow, bytes) => {
                    let text = String::from_utf8(bytes).unwrap();
                    if text.starts_with("SIP/2.0 ") {
                        self.hear_response(&text);
                    } else {
                        self.hear_request(from, flow, text);
                    }
                }
            }
        }
    }

    /// The caller hears a response, or the node one to its own request.
    fn hear_response(&mut self, text: &str) {
        let call = number_of(text);
        let status: u16 = text[8..11].parse().unwrap();
        if !field(text, "CSeq").ends_with("INVITE") || status < 200 {
            return;
        }
        let lost = fate(call) == Fate::AckLost && self.calls[call].answer.is_none() && !self.calls[call].failed;
        if status < 300 {
            self.calls[call].answer = Some(text.to_owned());
            if !lost {
                let ack = Self::in_dialog(call, "ACK", text);
                self.caller_sends(call, &ack);
            }
        } else {
            self.calls[call].failed = true;
            if !lost {
                let ack = Self::invite(call).replacen("INVITE ", "ACK ", 1).replace("1 INVITE", "1 ACK");
                self.caller_sends(call, &ack);
            }
        }
    }

    /// A node, or the one outside, hears a request.
    fn hear_request(&mut self, worker: u8, flow: Flow, text: String) {
        let call = number_of(&text);
        let fate = fate(call);
        let method = text.split(' ').next().unwrap();
        match method {
            "INVITE" => {
                let known =
                    self.calls[call].offers.iter().any(|(_, _, offer)| field(offer, "Via") == field(&text, "Via"));
                if known {
                    return;
                }
                self.calls[call].offers.push((worker, flow, text));
                self.on_offer(call, fate);
            }
            "CANCEL" => {
                let ok = response(&text, "200 OK");
                self.receive(worker, flow, &ok);
                if fate != Fate::CancelledTooLate {
                    self.answer(call, "487 Request Terminated");
                }
            }
            "BYE" if fate == Fate::ByeUnanswered => {}
            "BYE" | "INFO" => {
                let ok = response(&text, "200 OK");
                self.receive(worker, flow, &ok);
            }
            _ => {}
        }
    }

    /// What the node does at once with an INVITE.
    fn on_offer(&mut self, call: usize, fate: Fate) {
        let (worker, flow, offer) = self.calls[call].offers.last().cloned().unwrap();
        let attempt = self.calls[call].offers.len();
        match fate {
            Fate::RefusedByItsNode if attempt == 1 => self.answer(call, "503 Maximum Calls In Progress"),
            Fate::RefusedByTheFarEnd => {
                self.answer(call, "100 Trying");
                self.answer(call, "486 Busy Here");
            }
            Fate::Challenged if attempt == 1 => self.answer(call, "407 Proxy Authentication Required"),
            Fate::FirstNodeSilent if attempt == 1 => {}
            Fate::EveryNodeSilent | Fate::CancelledAtOnce => {}
            Fate::StuckAfter100 => self.answer(call, "100 Trying"),
            Fate::Unreachable if attempt == 1 => self.fail(worker, FailureKind::Icmp, flow, &offer),
            Fate::SendFails if attempt == 1 => {
                self.fail(worker, FailureKind::Send, flow, &offer);
                self.fail(worker, FailureKind::Send, flow, &offer);
            }
            Fate::CancelledWhileRinging | Fate::CancelledTooLate => self.answer(call, "180 Ringing"),
            _ => {
                self.answer(call, "180 Ringing");
                self.answer(call, "200 OK");
            }
        }
    }

    fn fail(&mut self, worker: u8, kind: FailureKind, flow: Flow, quoted: &str) {
        let failure = TransportFailure { kind, flow, quoted: quoted.as_bytes() };
        self.on(worker, |proxy, now, snapshot, book, shell| {
            proxy.transport_error(now, &failure, snapshot, book, shell);
        });
    }

    /// The node answers the INVITE that it got last.
    fn answer(&mut self, call: usize, status: &str) {
        let Some((worker, flow, offer)) = self.calls[call].offers.last().cloned() else { return };
        self.receive(worker, flow, &response(&offer, status));
    }

    fn invite(call: usize) -> String {
        let source = caller(call);
        format!(
            "INVITE sip:1000@198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bKinv{call};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:c@192.0.2.10>;tag=c\r\nTo: <sip:1000@198.51.100.1>\r\n\
             Call-ID: {call}@192.0.2.10\r\nCSeq: 1 INVITE\r\nContact: <sip:c@{source}>\r\nContent-Length: 0\r\n\r\n"
        )
    }

    /// In the dialog that `answer` made, from the caller.
    fn in_dialog(call: usize, method: &str, answer: &str) -> String {
        let mut routes: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).collect();
        routes.reverse();
        let number = if method == "ACK" { 1 } else { 2 };
        let (from, to) = (field(answer, "From"), field(answer, "To"));
        let source = Self::caller_of(call);
        format!(
            "{method} sip:n@10.1.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bK{method}{call};rport\r\n\
             Route: {}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call}@192.0.2.10\r\n\
             CSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n",
            routes.join(", ")
        )
    }

    /// Who began the call: a caller, or with `Outward` the first node.
    fn caller_of(call: usize) -> SocketAddr {
        if fate(call) == Fate::Outward { address(NODES[0]) } else { caller(call) }
    }

    /// The way that the caller's requests come.
    fn way(call: usize) -> Flow {
        match fate(call) {
            Fate::Outward => Flow::udp(Local::NodeSide, None, address(NODES[0])),
            Fate::ConnectionLost => Flow {
                transport: Transport::Tcp,
                connection: Some(ConnectionId::new(Self::worker_of(call), u32::try_from(call).unwrap())),
                ..Flow::udp(Local::Listener(0), None, caller(call))
            },
            _ => Flow::udp(Local::Listener(0), None, caller(call)),
        }
    }

    fn worker_of(call: usize) -> u8 {
        u8::from(call % 2 == 1)
    }

    fn caller_sends(&mut self, call: usize, text: &str) {
        let way = Self::way(call);
        self.receive(Self::worker_of(call), way, text);
    }

    /// One step of a call.
    fn step(&mut self, call: usize, step: usize) {
        let (fate, worker, way) = (fate(call), Self::worker_of(call), Self::way(call));
        let invite = Self::invite(call);
        match (step, fate) {
            (0, Fate::Outward) => {
                let invite = invite.replace("INVITE sip:1000@198.51.100.1", "INVITE sip:out@trunk.example.net");
                self.receive(worker, way, &invite.replace(&caller(call).to_string(), NODES[0]));
            }
            (0, Fate::ConnectionLost) => self.receive(worker, way, &invite.replace("SIP/2.0/UDP", "SIP/2.0/TCP")),
            (0, _) => self.receive(worker, way, &invite),
            (1, Fate::RetransmittedToTheSibling) => {
                let elsewhere = Flow { peer: address("192.0.2.10:9999"), ..way };
                self.receive(1 - worker, elsewhere, &invite);
            }
            (1, Fate::CancelledAtOnce | Fate::CancelledWhileRinging) => {
                self.receive(worker, way, &invite.replacen("INVITE ", "CANCEL ", 1).replace("1 INVITE", "1 CANCEL"));
            }
            (1, Fate::CancelledTooLate) => {
                self.answer(call, "200 OK");
                self.receive(worker, way, &invite.replacen("INVITE ", "CANCEL ", 1).replace("1 INVITE", "1 CANCEL"));
            }
            (1, Fate::ConnectionLost) => {
                self.on(worker, |proxy, now, snapshot, book, shell| {
                    proxy.connection_closed(now, &way, snapshot, book, shell);
                });
                self.settle();
            }
            (2, Fate::Challenged) => {
                let again = invite
                    .replace("bKinv", "bKagain")
                    .replace("1 INVITE", "2 INVITE")
                    .replace("Content-Length", "Proxy-Authorization: Digest username=\"u\"\r\nContent-Length");
                self.receive(worker, way, &again);
            }
            (5, _) => self.hang_up(call, fate, worker, way),
            _ => {}
        }
    }

    fn hang_up(&mut self, call: usize, fate: Fate, worker: u8, way: Flow) {
        let Some(answer) = self.calls[call].answer.clone() else { return };
        self.calls[call].hung_up = fate != Fate::ByeLost;
        let bye = Self::in_dialog(call, "BYE", &answer);
        match fate {
            Fate::ByeLost => {}
            Fate::ByeThroughTheSibling => self.receive(1 - worker, way, &bye),
            Fate::ByeOfTheNode | Fate::ConnectionLost => {
                let (_, flow, offer) = self.calls[call].offers.last().cloned().unwrap();
                let routes: Vec<&str> = offer.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).collect();
                let bye = format!(
                    "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKnode{call};rport\r\nRoute: {}\r\n\
                     Max-Forwards: 70\r\nFrom: {};tag=n\r\nTo: {}\r\nCall-ID: {call}@192.0.2.10\r\nCSeq: 7 BYE\r\n\
                     Content-Length: 0\r\n\r\n",
                    field(&offer, "Contact").trim_matches(['<', '>']),
                    flow.peer,
                    routes.join(", "),
                    field(&offer, "To"),
                    field(&offer, "From"),
                );
                // The side of the nodes is one socket for both workers.
                let node_side = Flow::udp(Local::NodeSide, None, flow.peer);
                self.receive(u8::from(call % 3 == 0), node_side, &bye);
            }
            _ => self.receive(worker, way, &bye),
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due = self.workers.iter().filter_map(Proxy::next_deadline).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            for worker in 0..2 {
                self.on(worker, |proxy, now, snapshot, book, shell| proxy.expire(now, snapshot, book, shell));
            }
            self.settle();
        }
        self.now = end;
    }
}

#[test]
fn nothing_is_left_of_all_those_calls() {
    let mut world = World::new();
    let mut restarts = 0;
    for (wave, first) in (0..CALLS).step_by(WAVE).enumerate() {
        // Now and then the rates are used up, so that calls wait; some in vain.
        *world.book.busy.borrow_mut() = wave % 10 == 3;
        let calls = first..(first + WAVE).min(CALLS);
        for step in 0..=5 {
            for call in calls.clone() {
                world.step(call, step);
            }
            if step == 2 && wave % 20 != 3 {
                *world.book.busy.borrow_mut() = false;
            }
            world.pass(STEP);
        }
        if wave % 4 == 1 {
            world.push_snapshot();
        }
        if wave % 25 == 7 {
            // A node restarts: what it carried is gone, and its counts begin anew.
            restarts += 1;
            let slot = world.snapshot.node_at(address(NODES[wave % NODES.len()])).unwrap();
            world.book.edit(slot, |count| {
                count.epoch += 1;
                count.taken.clear();
            });
        }
    }
    assert!(restarts > 0);
    let (answered, failed) = world.calls.iter().fold((0, 0), |(answered, failed), call| {
        (answered + usize::from(call.answer.is_some()), failed + usize::from(call.failed))
    });
    assert!(answered > CALLS / 2 && failed > CALLS / 5, "{answered} answered, {failed} failed");

    world.pass(Duration::from_secs(600));
    assert_eq!(world.tables.fingerprints.len(), 0, "published fingerprints");
    for (number, worker) in world.workers.iter().enumerate() {
        assert_eq!(worker.check_invariants(), Ok(()));
        assert_eq!(worker.transactions(), 0, "transactions of worker {number}");
        assert_eq!(worker.open_transactions(), 0, "open transactions of worker {number}");
        assert_eq!(worker.next_deadline(), None, "timers of worker {number}");
        assert_eq!(worker.call_records(), 0, "records of worker {number}");
        assert_eq!(worker.waiting_calls(), 0, "waiting calls of worker {number}");
    }
    // Without a BYE nobody knows that a call is over; all else is given back.
    let lost = world.calls.iter().filter(|call| call.answer.is_some() && !call.hung_up).count();
    assert!(lost >= CALLS / 50, "{lost}");
    let mut standing = 0;
    for (slot, count) in world.book.nodes.borrow().iter() {
        assert_eq!(count.in_flight, 0, "in flight at node {slot}");
        assert!(count.taken.values().all(|taken| *taken == 0), "in use at node {slot}: {:?}", count.taken);
        standing += usize::try_from(count.assigned - count.ended).unwrap();
    }
    assert_eq!(standing, lost, "calls without a BYE");
    assert_eq!(world.tables.standing.len(), lost, "remembered calls");
}
