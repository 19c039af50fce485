//! Whatever happens to one worker's proxy, in whatever order: requests and responses of every kind, from anywhere, whole
//! or damaged, failures, closed connections, new snapshots, busy nodes, and time. Nothing may panic, no invariant break,
//! nobody relay through it, and in the end nothing may be left.
#![no_main]

// The world of the proxy's own tests, which checks all invariants after every input.
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../../crates/proxy/tests/behavior/world.rs"]
mod world;

mod grammar;
mod text;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use grammar::{Dice, Peer};
use libfuzzer_sys::fuzz_target;
use switchtender_proxy::{ConnectionId, FailureKind, Flow, Local, Packet, TransportFailure};
use switchtender_select::{Admission, Algorithm, HashSource, Mode, Transport};
use world::{CALLER, NODES, PUBLIC, Sent, Setup, World, address};

/// Where calls of nodes may go in some of the groups.
const TRUNK: &str = "192.0.2.40:5060";
/// Groups that hold calls, count resources, let nodes call out; each forgets its calls within the end of a run.
const GROUPS: [&str; 5] = [
    "",
    r#""queue_ms": 500,"#,
    r#""resources": [{"name": "ch", "limited": false}, {"name": "conf", "limited": true}], "call_expiry_ms": 60000,"#,
    r#""egress": {"listener": 0, "next_hops": [{"address": "192.0.2.40:5060", "transport": "UDP", "priority": 0, "weight": 1.0}]},
       "call_expiry_ms": 60000,"#,
    r#""egress": {"listener": 0, "request_uri": ["192.0.2.0/24"]}, "queue_ms": 100,"#,
];
/// Operations of one run; more find nothing that several runs do not.
const MOST_MOVES: usize = 80;

fuzz_target!(|bytes: &[u8]| {
    let mut game = Game::new();
    let mut dice = Dice::new(bytes);
    for _ in 0..MOST_MOVES {
        if dice.is_empty() {
            break;
        }
        game.turn(&mut dice);
    }
    // In between the proxy checks itself, as long as it holds few transactions.
    assert_eq!(game.world.proxy.check_invariants(), Ok(()));
    game.world.settle_down();
    assert_eq!(game.world.proxy.call_records(), 0, "every call is forgotten");
});

struct Game {
    world: World,
    /// What was sent, oldest first.
    seen: Vec<Sent>,
    /// Where packets came from.
    sources: BTreeSet<SocketAddr>,
    /// Where a node, and nobody else, has had a request sent.
    named_by_nodes: BTreeSet<SocketAddr>,
    connections: u32,
}

impl Game {
    fn new() -> Self {
        let world = World::with(world::config(), &Setup::default());
        let (sources, named_by_nodes) = Default::default();
        Self { world, seen: Vec::new(), sources, named_by_nodes, connections: 0 }
    }

    fn turn(&mut self, dice: &mut Dice<'_>) {
        match dice.of(16) {
            0..=4 => {
                let peer = dice.peer();
                let sent = self.pick(dice);
                let bytes = grammar::request(dice, peer, sent.as_ref());
                let flow = self.flow(dice, peer);
                self.deliver(dice, flow, &bytes);
            }
            5..=9 => {
                if let Some(sent) = self.pick(dice).filter(|sent| sent.text.method().is_some()) {
                    let bytes = grammar::response(dice, &sent.text);
                    let mut flow = sent.flow;
                    if dice.of(8) == 0 {
                        flow = self.flow(dice, Peer::Stranger);
                    }
                    self.deliver(dice, flow, &bytes);
                }
            }
            10 => {
                // Something of ours comes back to us: a loop, a spiral, an attack.
                if let Some(sent) = self.pick(dice) {
                    let mut bytes = sent.text.as_ref().to_vec();
                    dice.damage(&mut bytes);
                    let peer = dice.peer();
                    let flow = self.flow(dice, peer);
                    self.deliver(dice, flow, &bytes);
                }
            }
            11 => {
                if let Some(sent) = self.pick(dice) {
                    let kinds = [FailureKind::Send, FailureKind::Icmp, FailureKind::Connect, FailureKind::Closed];
                    let bytes = sent.text.as_ref();
                    let quoted = bytes.get(..dice.of(1000)).unwrap_or(bytes);
                    let failure = TransportFailure { kind: kinds[dice.of(4)], flow: sent.flow, quoted };
                    let world = &mut self.world;
                    world.proxy.transport_error(world.now, &failure, &world.snapshot, &world.book, &mut world.wire);
                }
            }
            12 => {
                if let Some(sent) = self.pick(dice) {
                    let world = &mut self.world;
                    world.proxy.connection_closed(world.now, &sent.flow, &world.snapshot, &world.book, &mut world.wire);
                }
            }
            13 => self.change(dice),
            _ => {
                let scale = [1, 100, 1000, 40_000][dice.of(4)];
                self.world.pass(Duration::from_millis(scale * dice.of(256) as u64 / 16));
            }
        }
        self.look(None);
    }

    /// The world around the proxy changes.
    fn change(&mut self, dice: &mut Dice<'_>) {
        match dice.of(8) {
            0 => {
                let mut setup = Setup {
                    nodes: NODES[dice.of(2)..].to_vec(),
                    keys: [vec![1], vec![1, 2], vec![2, 1], vec![2]][dice.of(4)].clone(),
                    attempts: 1 + dice.of(3) as u8,
                    group: GROUPS[dice.of(GROUPS.len())],
                    ..Setup::default()
                };
                if setup.group == GROUPS[2] {
                    setup.user_pattern = Some("^1");
                    setup.rule = r#", "resources": ["conf"]"#;
                    setup.member = r#", "limits": {"conf": 1}"#;
                }
                self.world.apply(&setup);
                self.vary(dice);
            }
            1 => {
                let admissions = [Admission::Open, Admission::Closed, Admission::Unreachable, Admission::Unmeasured];
                let admission = admissions[dice.of(4)];
                if let Some(slot) = self.world.snapshot.node_at(address(NODES[dice.of(2)])) {
                    self.world.book.edit(slot, |ledger| ledger.admission = Some(admission));
                }
            }
            2 => {
                let sessions = [0.0, 500.0, 998.0][dice.of(3)];
                if let Some(slot) = self.world.snapshot.node_at(address(NODES[dice.of(2)])) {
                    self.world.book.edit(slot, |ledger| ledger.sessions = sessions);
                }
            }
            3 => self.world.proxy.set_overloaded(dice.of(2) == 0),
            4 => {
                let (call, world) = (dice.of(256) as u64, &mut self.world);
                world.proxy.call_over(world.now, call, &world.snapshot, &world.book, &mut world.wire);
            }
            5 => {
                if let Some(slot) = self.world.snapshot.node_at(address(NODES[dice.of(2)])) {
                    let requests = [0, 850, 990][dice.of(3)];
                    self.world.book.edit(slot, |ledger| ledger.requests_last_second = requests);
                }
            }
            6 => {
                let legs = [0, 2000][dice.of(2)];
                for slot in NODES.map(|node| self.world.snapshot.node_at(address(node))).into_iter().flatten() {
                    self.world.book.edit(slot, |ledger| ledger.legs_last_second = legs);
                }
            }
            _ => {
                // A node starts anew: what was in use there is not any more.
                if let Some(slot) = self.world.snapshot.node_at(address(NODES[dice.of(2)])) {
                    self.world.book.edit(slot, |ledger| {
                        ledger.epoch += 1;
                        ledger.taken.clear();
                    });
                }
            }
        }
    }

    /// What the tests set in a snapshot that they have made.
    fn vary(&mut self, dice: &mut Dice<'_>) {
        let transports = [Transport::Udp, Transport::Udp, Transport::Udp, Transport::Tcp];
        for node in &mut self.world.snapshot.nodes {
            node.transport = transports[dice.of(4)];
        }
        let Some(group) = self.world.snapshot.groups.first_mut() else { return };
        group.algorithm = [Algorithm::LeastLoad, Algorithm::RoundRobin, Algorithm::Hash][dice.of(3)];
        group.hash_on.source =
            [HashSource::CallId, HashSource::From, HashSource::To, HashSource::SourceAddress][dice.of(4)].clone();
        if group.algorithm == Algorithm::Hash && dice.of(2) == 0 {
            group.mode = Mode::Stateless;
        }
        group.large_requests = transports[dice.of(4)];
    }

    /// One of the messages sent, the latest most likely.
    fn pick(&self, dice: &mut Dice<'_>) -> Option<Sent> {
        let back = dice.of(12);
        self.seen.iter().rev().nth(back).cloned()
    }

    /// A way from a peer to one of our sockets.
    fn flow(&mut self, dice: &mut Dice<'_>, peer: Peer) -> Flow {
        let (local, source) = match peer {
            Peer::Caller => (PUBLIC, CALLER),
            Peer::Node(index) => (if dice.of(4) == 0 { Local::Worker } else { Local::NodeSide }, NODES[index]),
            Peer::Stranger => ([PUBLIC, Local::NodeSide, Local::Worker][dice.of(3)], grammar::STRANGER),
        };
        let mut flow = Flow::udp(local, None, address(source));
        if dice.of(4) == 0 {
            flow.transport = Transport::Tcp;
            self.connections += u32::from(dice.of(2) == 0);
            flow.connection = Some(ConnectionId::new(0, self.connections));
        }
        flow
    }

    fn deliver(&mut self, dice: &mut Dice<'_>, flow: Flow, bytes: &[u8]) {
        self.sources.insert(flow.peer);
        let packet = Packet { bytes, flow };
        let world = &mut self.world;
        if dice.of(16) == 0 {
            world.proxy.handed_over(world.now, &packet, &world.snapshot, &world.book, &mut world.wire);
        } else {
            world.proxy.receive(world.now, &packet, &world.snapshot, &world.book, &mut world.wire);
        }
        self.look(Some(flow.peer));
    }

    /// Looks at what was sent, because of `cause` if that is known. Responses go where a packet came from. Requests go to
    /// nodes, or over the flow of someone who sent us something: whoever holds the token of a dialog is led to its caller
    /// and nowhere else. To anyone else only a node may have us send.
    fn look(&mut self, cause: Option<SocketAddr>) {
        let by_node = cause.is_some_and(|cause| NODES.iter().any(|node| address(node).ip() == cause.ip()));
        for sent in self.world.drain() {
            if sent.text.method().is_none() {
                let asked = self.sources.iter().any(|source| source.ip() == sent.to.ip());
                assert!(asked, "a response to someone who never asked: {sent:?}");
            } else if !self.sources.contains(&sent.to)
                && !NODES.iter().chain([&TRUNK]).any(|known| address(known) == sent.to)
            {
                if by_node {
                    self.named_by_nodes.insert(sent.to);
                }
                assert!(self.named_by_nodes.contains(&sent.to), "a relay: {sent:?}");
            }
            self.seen.push(sent);
        }
    }
}
