//! The world around the proxy: replicas behind virtual addresses, callers, nodes, the network between them, and what goes
//! wrong on the way.

use crate::attacker::Attacker;
use crate::client::{Access, Client};
use crate::ledger::{Ledger, Plan};
use crate::message::Message;
use crate::network::{Alarm, Happening, Network, Weather, Who};
use crate::node::{Around, Mood, Node};
use crate::pool::Pool;
use crate::replica::{NODE_SIDE, PUBLIC, Replica};
use crate::witness::{Book, Directory, Witness};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use switchtender_proxy::{Snapshot, Time};
use switchtender_select::Admission;

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) replicas: usize,
    pub(crate) workers: u8,
    pub(crate) nodes: usize,
    pub(crate) max_sessions: usize,
    pub(crate) clients: usize,
    pub(crate) weather: Weather,
    /// The last node and the first client speak TCP.
    pub(crate) mixed: bool,
    /// Keep every line of the run.
    pub(crate) traced: bool,
}

impl Setup {
    /// Two replicas of two workers each, four nodes with room for everybody, a network without loss.
    pub(crate) fn new(seed: u64) -> Self {
        let weather = Weather::default();
        Self {
            seed,
            replicas: 2,
            workers: 2,
            nodes: 4,
            max_sessions: 200,
            clients: 6,
            weather,
            mixed: false,
            traced: false,
        }
    }
}

/// What happens by plan, not by anybody's doing.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Place {
        client: usize,
        plan: Plan,
    },
    /// A node is asked how it fares; the answer reaches the replica later.
    Poll {
        replica: usize,
        node: usize,
    },
    Publish {
        replica: usize,
        life: u64,
        node: usize,
        admission: Admission,
        sessions: usize,
        stamp: Time,
    },
    /// A new configuration: in force at once for who starts, a little later for who runs.
    Push {
        pool: Pool,
    },
    /// A replica takes over a configuration.
    Apply {
        replica: usize,
        pool: Pool,
    },
    Mood {
        node: usize,
        mood: Mood,
    },
    ShutDown {
        node: usize,
    },
    Stop {
        replica: usize,
    },
    Start {
        replica: usize,
        workers: u8,
    },
    /// The virtual addresses forget their flows.
    Rehash,
    /// A client's datagrams come from another port.
    Move {
        client: usize,
    },
    Jump {
        replica: usize,
        by: Duration,
    },
    /// The next sends of a replica fail.
    FailSends {
        replica: usize,
        count: usize,
    },
    Strike,
}

pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    pub(crate) book: Book,
    directory: Directory,
    pub(crate) clients: Vec<Client>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) replicas: Vec<Replica>,
    /// The configuration last pushed.
    pub(crate) pool: Pool,
    pub(crate) attacker: Attacker,
    pins: BTreeMap<(SocketAddr, SocketAddr), usize>,
    salt: u64,
    deeds: Vec<Deed>,
}

const POLL_EVERY: Duration = Duration::from_secs(1);

impl World {
    pub(crate) fn new(setup: &Setup) -> Self {
        let mut network = Network::new(setup.seed, setup.weather, setup.traced);
        let address = |ip: [u8; 4], port| SocketAddr::new(IpAddr::from(ip), port);
        let small = |index: usize| u8::try_from(index).unwrap_or(u8::MAX);
        let mut nodes: Vec<_> = (0..setup.nodes)
            .map(|index| Node::new(index, address([10, 1, 0, 1 + small(index)], 5060), setup.max_sessions))
            .collect();
        let mut clients: Vec<_> = (0..setup.clients)
            .map(|index| {
                let (access, port) = match index % 4 {
                    0 | 1 => (Access::Direct, 5060),
                    2 => (Access::Nat, 40_000),
                    _ => (Access::Edge, 5080),
                };
                Client::new(index, access, address([198, 51, 100, 1 + small(index)], port), PUBLIC)
            })
            .collect();
        let attacker = Attacker::new(address([198, 18, 6, 6], 6666));
        let directory = Directory {
            nodes: nodes.iter().map(|node| node.address).collect(),
            clients: clients.iter().map(Client::ip).collect(),
            outsiders: vec![attacker.address.ip()],
        };
        let mixed = setup.mixed;
        if let Some(node) = nodes.last_mut() {
            node.stream = mixed;
        }
        let streams: Vec<usize> =
            nodes.iter().map(|node| node.index).filter(|index| mixed && *index + 1 == nodes.len()).collect();
        network.streams.extend(streams.iter().map(|&node| nodes[node].address));
        if let Some(client) = clients.first_mut().filter(|_| mixed) {
            client.stream = true;
            network.streams.insert(client.source);
        }
        let pool = Pool::new(nodes.iter().map(|node| node.address).collect(), streams);
        let share = share(setup.replicas);
        let replicas = (0..setup.replicas).map(|index| Replica::new(index, share)).collect();
        let salt = network.rng.next_u64();
        let mut world = Self {
            network,
            ledger: Ledger::default(),
            book: Book::default(),
            directory,
            clients,
            nodes,
            replicas,
            pool,
            attacker,
            pins: BTreeMap::new(),
            salt,
            deeds: Vec::new(),
        };
        for replica in 0..setup.replicas {
            world.start(replica, setup.workers);
            for node in 0..setup.nodes {
                world.poll(replica, node);
            }
        }
        world
    }

    /// Plans a deed.
    pub(crate) fn plan(&mut self, when: Time, deed: Deed) {
        self.deeds.push(deed);
        self.network.wake(when, Who::World, Alarm::Agenda(self.deeds.len() - 1));
    }

    pub(crate) fn plan_in(&mut self, delay: Duration, deed: Deed) {
        self.plan(self.network.now + delay, deed);
    }

    /// Lets a span of time go by.
    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run_until(self.network.now + span);
    }

    pub(crate) fn run_until(&mut self, end: Time) {
        while let Some(happening) = self.network.next(end) {
            self.happen(happening);
            if let Some(violation) = self.ledger.violations.first() {
                panic!("{violation}");
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival { from, to, bytes } => self.arrive(from, to, &bytes),
            Happening::Unreachable { source, destination, quoted } => {
                self.undeliverable(source, destination, quoted);
            }
            Happening::Alarm { who, alarm } => match (who, alarm) {
                (Who::World, Alarm::Agenda(index)) => self.act(self.deeds[index].clone()),
                (Who::Client(client), alarm) => {
                    self.clients[client].alarm(&mut self.network, &mut self.ledger, &alarm);
                }
                (Who::Node(node), alarm) => {
                    let (node, mut around) = self.node(node);
                    node.alarm(&mut around, &alarm);
                }
                (Who::Worker { replica, worker }, Alarm::Deadline { life }) if self.replicas[replica].life == life => {
                    self.with_replica(replica, |replica, network, witness| {
                        replica.expire(network, witness, worker);
                    });
                }
                _ => {}
            },
        }
    }

    fn node(&mut self, node: usize) -> (&mut Node, Around<'_>) {
        let around = Around { network: &mut self.network, ledger: &mut self.ledger, node_side: NODE_SIDE };
        (&mut self.nodes[node], around)
    }

    fn with_replica(&mut self, replica: usize, act: impl FnOnce(&mut Replica, &mut Network, &mut Witness<'_>)) {
        let mut witness = Witness { ledger: &mut self.ledger, book: &mut self.book, directory: &self.directory };
        act(&mut self.replicas[replica], &mut self.network, &mut witness);
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.directory.outsiders.contains(&to.ip()) {
            return;
        }
        if let Some(node) = self.nodes.iter().position(|node| node.address == to) {
            let mood = self.nodes[node].mood;
            match mood {
                Mood::Dead => return self.network.bounce(from, to, bytes.to_vec()),
                Mood::Silent => return,
                _ => {}
            }
            let (node, mut around) = self.node(node);
            match Message::parse(bytes) {
                Ok(message) => node.receive(&mut around, from, message),
                Err(_) => node.reject(&mut around, from, bytes),
            }
            return;
        }
        if let Some(client) = self.clients.iter().position(|client| client.ip() == to.ip()) {
            self.attacker.overhear(&mut self.network, bytes);
            if let Ok(message) = Message::parse(bytes) {
                self.clients[client].receive(&mut self.network, &mut self.ledger, (from, to), message);
            }
            return;
        }
        if to == PUBLIC {
            self.attacker.overhear(&mut self.network, bytes);
        }
        let replica = match to {
            PUBLIC | NODE_SIDE => self.pin(from, to),
            _ => self.replicas.iter().position(|replica| replica.is_alive() && replica.ip == to.ip()),
        };
        if let Some(replica) = replica {
            self.with_replica(replica, |replica, network, witness| {
                replica.deliver(network, witness, (from, to), bytes);
            });
        }
    }

    /// The replica that a flow through a virtual address leads to, as long as that one lives.
    fn pin(&mut self, from: SocketAddr, to: SocketAddr) -> Option<usize> {
        if let Some(&replica) = self.pins.get(&(from, to))
            && self.replicas[replica].flows.contains(&from)
        {
            return Some(replica);
        }
        let alive: Vec<usize> = self.replicas.iter().filter(|replica| replica.is_alive()).map(|r| r.index).collect();
        let hash =
            from.to_string().bytes().fold(self.salt, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
        let count = u64::try_from(alive.len()).ok().filter(|&count| count > 0)?;
        let replica = alive[usize::try_from((hash >> 7) % count).unwrap_or(0)];
        self.pins.insert((from, to), replica);
        self.replicas[replica].flows.push(from);
        Some(replica)
    }

    fn undeliverable(&mut self, source: SocketAddr, destination: SocketAddr, mut quoted: Vec<u8>) {
        let Some(replica) = self.replicas.iter().position(|replica| replica.is_alive() && replica.ip == source.ip())
        else {
            return;
        };
        // Routers quote as much as they like.
        match self.network.rng.below(4) {
            0 => quoted.truncate(28),
            1 => quoted.truncate(548),
            2 => quoted.clear(),
            _ => {}
        }
        self.with_replica(replica, |replica, network, witness| {
            replica.undeliverable(network, witness, (source, destination), &quoted);
        });
    }

    fn act(&mut self, deed: Deed) {
        self.network.note(|| format!("-- {deed:?}"));
        match deed {
            Deed::Place { client, plan } => {
                self.place(client, plan);
            }
            Deed::Poll { replica, node } => self.poll(replica, node),
            Deed::Publish { replica, life, node, admission, sessions, stamp } => {
                if self.replicas[replica].life == life {
                    self.publish(replica, node, admission, sessions, stamp);
                }
            }
            Deed::Push { pool } => {
                for replica in 0..self.replicas.len() {
                    let later = self.network.between(Duration::ZERO, Duration::from_millis(500));
                    self.plan_in(later, Deed::Apply { replica, pool: pool.clone() });
                }
                self.pool = pool;
            }
            Deed::Apply { replica, pool } => self.apply(replica, &pool),
            Deed::Mood { node, mood: Mood::Dead } => self.nodes[node].reset(Mood::Dead),
            Deed::Mood { node, mood } if self.nodes[node].mood == Mood::Dead => self.nodes[node].reset(mood),
            Deed::Mood { node, mood } => self.nodes[node].mood = mood,
            Deed::ShutDown { node } => {
                let (node, mut around) = self.node(node);
                node.shut_down(&mut around);
            }
            Deed::Stop { replica } => self.replicas[replica].stop(),
            Deed::Start { replica, workers } => self.start(replica, workers),
            Deed::Rehash => self.rehash(),
            Deed::Move { client } => {
                let port = 20_000 + u16::try_from(self.network.rng.below(20_000)).unwrap_or(0);
                if self.clients[client].access != Access::Edge {
                    let before = self.clients[client].source;
                    self.clients[client].source.set_port(port);
                    if self.network.streams.contains(&before) {
                        // Another connection; the former one stays open.
                        self.network.streams.insert(self.clients[client].source);
                    }
                }
            }
            Deed::Jump { replica, by } => self.replicas[replica].jump(&mut self.network, by),
            Deed::FailSends { replica, count } => self.replicas[replica].failing_sends = count,
            Deed::Strike => self.strike(),
        }
    }

    pub(crate) fn place(&mut self, client: usize, plan: Plan) -> String {
        self.clients[client].place(&mut self.network, &mut self.ledger, plan)
    }

    /// The virtual addresses forget their flows, and choose anew.
    pub(crate) fn rehash(&mut self) {
        self.salt = self.network.rng.next_u64();
        self.pins.clear();
        for replica in &mut self.replicas {
            replica.flows.clear();
        }
    }

    fn strike(&mut self) {
        let mut targets = vec![PUBLIC, NODE_SIDE];
        for replica in self.replicas.iter().filter(|replica| replica.is_alive()) {
            targets.push(SocketAddr::new(replica.ip, 5071));
        }
        if let Some(&target) = self.network.pick(&targets) {
            self.attacker.strike(&mut self.network, target);
        }
    }

    pub(crate) fn start(&mut self, replica: usize, workers: u8) {
        let share = share(self.replicas.len());
        self.replicas[replica].start(&mut self.network, workers, share);
        let pool = self.pool.clone();
        self.apply(replica, &pool);
        for node in 0..self.nodes.len() {
            let (admission, sessions) = self.look(node);
            self.publish(replica, node, admission, sessions, self.network.now);
        }
    }

    pub(crate) fn apply(&mut self, replica: usize, pool: &Pool) {
        let document = pool.document();
        let replica = &mut self.replicas[replica];
        if replica.is_alive() {
            let generation = replica.snapshot.generation + 1;
            let snapshot = Snapshot::from_json(document.as_bytes(), &mut replica.registry(&self.network));
            let mut snapshot = snapshot.expect("the pool makes valid documents");
            snapshot.generation = generation;
            replica.snapshot = Rc::new(snapshot);
        }
    }

    /// What a node, or nobody in its place, tells the Event Socket.
    fn look(&self, node: usize) -> (Admission, usize) {
        let node = &self.nodes[node];
        let admission = match node.mood {
            Mood::Serving | Mood::Stuck => Admission::Open,
            Mood::Refusing | Mood::TearingDown => Admission::Closed,
            Mood::Silent | Mood::Dead => Admission::Unreachable,
        };
        (admission, node.session_count())
    }

    fn poll(&mut self, replica: usize, node: usize) {
        let (admission, sessions) = self.look(node);
        let stamp = self.network.now;
        let life = self.replicas[replica].life;
        // Numbers come soon; that there are none is noticed late.
        let delay = match admission {
            Admission::Open => self.network.between(Duration::from_millis(5), Duration::from_millis(40)),
            _ => self.network.between(Duration::from_millis(200), Duration::from_secs(3)),
        };
        self.plan_in(delay, Deed::Publish { replica, life, node, admission, sessions, stamp });
        let spread = self.network.between(Duration::ZERO, Duration::from_millis(20));
        self.plan_in(POLL_EVERY + spread, Deed::Poll { replica, node });
    }

    fn publish(&mut self, replica: usize, node: usize, admission: Admission, sessions: usize, stamp: Time) {
        let (address, max_sessions) = (self.nodes[node].address, self.nodes[node].max_sessions);
        let replica = &mut self.replicas[replica];
        let stamp = replica.time(&self.network) - self.network.now.since(stamp);
        if let Some(slot) = replica.snapshot.node_at(address) {
            replica.load.report(slot, admission, number(sessions), number(max_sessions), stamp);
        }
    }
}

fn share(replicas: usize) -> f64 {
    1.0 / number(replicas)
}

fn number(amount: usize) -> f64 {
    f64::from(u32::try_from(amount).unwrap_or(u32::MAX))
}
