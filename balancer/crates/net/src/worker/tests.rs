//! The loop around an engine that does as the datagrams say.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread::JoinHandle;

use switchtender_proxy::{ConnectionId, Counters, Delay, Event, Local, Output};
use switchtender_select::{GroupSlot, NodeSlot, Nodes, Transport};
use switchtender_sip::Error;

use super::*;
use crate::bind;
use crate::engine::World;
use crate::events::Record;
use crate::observer::Observer;
use crate::ring::ring;
use crate::settings::{Listener, Settings, Tcp, Transports};
use crate::tcp::TcpLimits;
use crate::tracer::Tracer;

const LIMITS: TcpLimits = TcpLimits {
    idle_timeout: Duration::from_secs(600),
    connect_timeout: Duration::from_secs(2),
    connections: 100,
    per_source: 100,
};
const WAIT: Duration = Duration::from_secs(10);

/// Answers a datagram by its first word.
struct Scripted {
    config: Config,
    counters: Counters,
    changing: bool,
    deadline: Option<(Time, SocketAddr)>,
    /// Where to tell of failures.
    witness: Option<SocketAddr>,
    open: usize,
}

impl Scripted {
    fn obey(&mut self, packet: &Packet<'_>, world: &mut World<'_>, handed: bool) {
        let text = std::str::from_utf8(packet.bytes).unwrap();
        // Over a connection the words stand in a message's body.
        let text = text.split_once("\r\n\r\n").map_or(text, |(_, body)| body);
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let answer = |world: &mut World<'_>, text: &str| match packet.flow.transport {
            Transport::Udp => world.outbox.send(&packet.flow, text.as_bytes()),
            Transport::Tcp => world.outbox.send(&packet.flow, &framed(text)),
        };
        self.counters.note_delay(GROUP, Delay::FirstResponse, Duration::from_micros(5));
        match verb {
            "echo" => answer(world, &format!("{} {rest} {:?} {handed}", self.config.worker, packet.flow.local)),
            "generation" => answer(world, &world.snapshot.generation.to_string()),
            "panic" => {
                self.changing = rest == "changing";
                world.nodes.assign(NodeSlot(0), 1, world.now);
                world.outbox.publish(7 << 8);
                panic!("told to: {rest}");
            }
            "life" => answer(world, &format!("{:?}", self.witness)),
            "open" => self.open = rest.parse().unwrap(),
            "later" => self.deadline = Some((world.now + Duration::from_millis(20), packet.flow.peer)),
            "to" => {
                self.witness = Some(packet.flow.peer);
                world.outbox.send(&Flow::udp(Local::Worker, None, rest.parse().unwrap()), b"out");
            }
            "big" => {
                self.witness = Some(packet.flow.peer);
                world.outbox.send(&Flow::udp(Local::Worker, None, packet.flow.peer), &vec![0; 65_508]);
            }
            "hand" if !handed => {
                let taken = world.outbox.hand_over(rest.parse().unwrap(), packet);
                if !taken {
                    answer(world, "refused");
                }
            }
            "over" => {
                world.outbox.call_over(rest.parse().unwrap());
                answer(world, "told");
            }
            "connection" => answer(world, &format!("{:?}", packet.flow.connection.unwrap().0)),
            // To the connection of this number, which ends at this address.
            "tell" => {
                self.witness = Some(packet.flow.peer);
                let (number, peer) = rest.split_once(' ').unwrap();
                let id = ConnectionId(number.parse().unwrap());
                let peer = peer.parse().unwrap();
                let flow = Flow { connection: Some(id), transport: Transport::Tcp, peer, ..packet.flow };
                world.outbox.send(&flow, &framed("told"));
            }
            "connect" => {
                self.witness = Some(packet.flow.peer);
                let peer = rest.parse().unwrap();
                let flow =
                    Flow { local: Local::Worker, local_ip: None, transport: Transport::Tcp, peer, connection: None };
                world.outbox.send(&flow, &framed("echo from the worker"));
            }
            "witness" => self.witness = Some(packet.flow.peer),
            "hand" => answer(world, &format!("worker {} has it", self.config.worker)),
            "events" => {
                for _ in 0..rest.parse().unwrap() {
                    world.outbox.event(Event::ShutdownSeen { node: NodeSlot(0) });
                }
                answer(world, "told");
            }
            "node" => {
                let flow = Flow::udp(Local::Worker, None, rest.parse().unwrap());
                world.outbox.send(&flow, b"from the worker's port");
            }
            _ => panic!("unknown word"),
        }
    }
}

impl Engine for Scripted {
    fn new(config: Config) -> Self {
        Self { config, counters: Counters::default(), changing: false, deadline: None, witness: None, open: 0 }
    }
    fn receive(&mut self, packet: &Packet<'_>, world: &mut World<'_>) {
        self.obey(packet, world, false);
    }
    fn handed_over(&mut self, packet: &Packet<'_>, world: &mut World<'_>) {
        self.obey(packet, world, true);
    }
    fn transport_error(&mut self, failure: &TransportFailure<'_>, world: &mut World<'_>) {
        let Some(witness) = self.witness else { return };
        let Flow { local, peer, .. } = failure.flow;
        let text = format!("{:?} {local:?} {peer} {}", failure.kind, failure.quoted.len());
        world.outbox.send(&Flow::udp(Local::Listener(0), None, witness), text.as_bytes());
    }
    fn unframed(&mut self, packet: &Packet<'_>, error: Error, world: &mut World<'_>) {
        world.outbox.send(&packet.flow, &framed(&format!("unframed: {error:?} {}", packet.bytes.len())));
    }
    fn connection_closed(&mut self, flow: &Flow, world: &mut World<'_>) {
        let Some(witness) = self.witness else { return };
        let text = format!("worker {} hears that {} closed", self.config.worker, flow.peer);
        world.outbox.send(&Flow::udp(Local::Listener(0), None, witness), text.as_bytes());
    }
    fn keep(&mut self, _former: &mut Self, _now: Time) {}
    fn call_over(&mut self, call: u64, world: &mut World<'_>) {
        let Some(witness) = self.witness else { return };
        let text = format!("call {call} is over, hears worker {}", self.config.worker);
        world.outbox.send(&Flow::udp(Local::Listener(0), None, witness), text.as_bytes());
    }
    fn expire(&mut self, world: &mut World<'_>) {
        let (due, to) = self.deadline.take().unwrap();
        assert!(due <= world.now);
        world.outbox.send(&Flow::udp(Local::Listener(0), None, to), b"expired");
    }
    fn next_deadline(&self) -> Option<Time> {
        self.deadline.map(|(due, _)| due)
    }
    fn open_transactions(&self) -> usize {
        self.open
    }
    fn transactions(&self) -> usize {
        self.open
    }
    fn set_overloaded(&mut self, _overloaded: bool) {}
    fn counters(&self) -> &Counters {
        &self.counters
    }
    fn is_changing(&self) -> bool {
        self.changing
    }
}

const GROUP: GroupSlot = GroupSlot(2);

/// How many there were, and the sum of their nanoseconds.
fn first_responses(shared: &Shared) -> (u64, u64) {
    let counted = shared.pages.iter().filter_map(|page| page.group(GROUP));
    let delays = counted.map(|counts| counts.delays[Delay::FirstResponse as usize].clone());
    delays.fold((0, 0), |(count, sum), delay| (count + delay.len(), sum + delay.sum_nanos))
}

fn framed(text: &str) -> Vec<u8> {
    format!("MESSAGE sip:a@b SIP/2.0\r\nl: {}\r\n\r\n{text}", text.len()).into_bytes()
}

/// The body of the next message of a connection.
fn body(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("l: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

fn connected(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

/// Running workers and a peer that talks to them.
struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    events: Vec<Receiver<Record>>,
    listener: SocketAddr,
    worker_ports: Vec<SocketAddr>,
    peer: UdpSocket,
}

impl Workers {
    fn new(workers: u8) -> Self {
        let settings = Settings {
            listeners: vec![Listener {
                name: "public".into(),
                address: (Ipv4Addr::LOCALHOST, 0).into(),
                advertise: None,
                nat: false,
                transports: Transports::BOTH,
                allow: Vec::new(),
            }],
            node_side: None,
            worker_address: Ipv4Addr::LOCALHOST.into(),
            worker_ports: 0..=0,
            workers,
            max_transactions: 100,
            tcp: Tcp::default(),
            hep: None,
            stop_deadline: Duration::ZERO,
            run_id: None,
        };
        let shared = Arc::new(Shared::new(workers.into(), 100).unwrap());
        shared.nodes.open(NodeSlot(0));
        let sockets = bind::bind(&settings).unwrap();
        let listener = sockets[0].listeners[0].address;
        let worker_ports = sockets.iter().map(|sockets| sockets.worker.address).collect();
        let (producers, inboxes): (Vec<_>, Vec<_>) = shared.wakes.iter().map(|wake| ring(8, Arc::clone(wake))).unzip();
        let (mut threads, mut events) = (Vec::new(), Vec::new());
        for ((worker, sockets), inbox) in (0..workers).zip(sockets).zip(inboxes) {
            let config = Config {
                worker,
                workers,
                run_id: 0,
                replica: 0,
                secret: [0; 16],
                listeners: Vec::new(),
                node_side: None,
                worker_address: sockets.worker.address,
                max_transactions: 100,
                seed: 0,
            };
            let (records, taken) = ring(64, Arc::clone(&shared.events_wake));
            let epoll = Arc::new(Epoll::new().unwrap());
            let tcp = (LIMITS, Arc::clone(&epoll));
            let tracer = Tracer::new(ring(64, Arc::clone(&shared.events_wake)).0);
            let up = (records, Observer::new(tracer, None));
            let outbox = Outbox::new(worker, sockets, tcp, up, producers.clone(), Arc::clone(&shared)).unwrap();
            let worker = Worker::<Scripted>::new(config, outbox, epoll, inbox, Arc::clone(&shared)).unwrap();
            threads.push(std::thread::spawn(move || worker.run()));
            events.push(taken);
        }
        Self { shared, threads, events, listener, worker_ports, peer: peer() }
    }

    fn ask(&self, text: &str) -> String {
        self.say(text);
        hear(&self.peer)
    }

    fn say(&self, text: &str) {
        self.peer.send_to(text.as_bytes(), self.listener).unwrap();
    }

    /// Wait until a page shows it; every page is rewritten in time while its worker runs.
    fn until(&self, what: impl Fn(&Shared) -> bool) {
        for _ in 0..WAIT.as_millis() {
            if what(&self.shared) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("never came");
    }

    fn sum(&self, what: Traffic) -> u64 {
        self.shared.pages.iter().map(|page| page.traffic(what)).sum()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.stop.begin(Time::ZERO, Time::ZERO);
        self.shared.wake_workers();
        for thread in self.threads.drain(..) {
            let ended = thread.join().is_ok();
            assert!(ended || std::thread::panicking());
        }
    }
}

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    socket
}

fn hear(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 1 << 16];
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn datagrams_go_through_the_engine_and_are_counted() {
    let world = Workers::new(1);
    assert_eq!(world.ask("echo one"), "0 one Listener(0) false");
    assert_eq!(world.ask("echo two"), "0 two Listener(0) false");
    world.until(|_| world.sum(Traffic::Received) == 2 && world.sum(Traffic::Sent) == 2);
    // A page is written count by count.
    world.until(|shared| first_responses(shared) == (2, 10_000));
}

#[test]
fn nodes_are_spoken_to_from_the_workers_own_port() {
    let (world, node) = (Workers::new(1), peer());
    world.say(&format!("node {}", node.local_addr().unwrap()));
    let (_, source) = node.recv_from(&mut [0; 64]).unwrap();
    assert_eq!(source, world.worker_ports[0]);
    node.send_to(b"echo back", source).unwrap();
    assert_eq!(hear(&node), "0 back Worker false");
}

#[test]
fn timers_fire_without_traffic() {
    assert_eq!(Workers::new(1).ask("later"), "expired");
}

#[test]
fn a_new_snapshot_is_acted_on_with_the_next_batch() {
    let world = Workers::new(1);
    assert_eq!(world.ask("generation"), "0");
    let mut snapshot = Snapshot::default();
    snapshot.generation = 7;
    world.shared.snapshot.store(Arc::new(snapshot));
    assert_eq!(world.ask("generation"), "7");
    world.until(|shared| shared.pages[0].generation.load(Ordering::Relaxed) == 7);
}

#[test]
fn icmp_refused_reaches_the_engine_with_the_quoted_datagram() {
    let world = Workers::new(1);
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(world.ask(&format!("to {closed}")), format!("Icmp Worker {closed} 3"));
    world.until(|_| world.sum(Traffic::Unreachable) == 1);
    assert!(matches!(world.events[0].try_recv().unwrap().what, What::Log(Level::Warning, _)));
}

#[test]
fn a_datagram_that_cannot_be_sent_reaches_the_engine() {
    let world = Workers::new(1);
    let own = world.peer.local_addr().unwrap();
    assert_eq!(world.ask("big"), format!("Send Worker {own} 65508"));
    world.until(|_| world.sum(Traffic::SendFailed) == 1);
}

#[test]
fn a_panic_while_deciding_costs_one_datagram() {
    let world = Workers::new(1);
    let other = peer();
    world.say(&format!("to {}", other.local_addr().unwrap()));
    world.say("panic deciding");
    let witness = format!("Some({})", world.peer.local_addr().unwrap());
    assert_eq!(world.ask("life"), witness, "its state went on");
    world.until(|_| world.sum(Traffic::Panics) == 1);
    let messages = world.events[0].try_iter().filter_map(|record| match record.what {
        What::Panicked(message) => Some(message),
        _ => None,
    });
    assert_eq!(messages.collect::<Vec<_>>(), ["told to: deciding".into()]);
    assert_eq!(world.shared.nodes.of_worker(0, Time::ZERO).load(NodeSlot(0), monotonic()).in_flight, 1);
}

#[test]
fn a_panic_in_a_change_rebuilds_the_worker_and_is_counted() {
    let world = Workers::new(2);
    let before = world.ask("echo x");
    world.say("panic changing");
    assert_eq!(world.ask("life"), "None", "nothing of the former engine is left");
    assert_eq!(world.ask("echo x"), before, "the same worker, serving");
    world.until(|_| world.sum(Traffic::Panics) == 1);
    let view = world.shared.nodes.of_worker(0, Time::ZERO).load(NodeSlot(0), monotonic());
    assert_eq!((view.assigned, view.in_flight), (1, 0), "counts are kept, what was in flight is nowhere");
    assert_eq!(world.shared.fingerprints.owner(7 << 8, 9), None);
    // 5 µs per datagram, those before the panic included.
    world.until(|shared| first_responses(shared) == (4, 20_000));
}

#[test]
fn siblings_take_over_what_is_theirs() {
    let world = Workers::new(2);
    let here: u8 = world.ask("echo x").split(' ').next().unwrap().parse().unwrap();
    let sibling = 1 - here;
    assert_eq!(world.ask(&format!("hand {sibling}")), format!("worker {sibling} has it"));
    assert_eq!(world.ask(&format!("hand {here}")), "refused");
    assert_eq!(world.ask("hand 9"), "refused");
    world.until(|_| world.sum(Traffic::TakenOver) == 1);
}

#[test]
fn siblings_are_told_that_a_call_is_over() {
    let world = Workers::new(2);
    let here: u8 = world.ask("echo x").split(' ').next().unwrap().parse().unwrap();
    // The kernel picks a worker by the sender's port: one that the other worker hears.
    let witness = (0..WAIT.as_millis()).map(|_| peer()).find(|peer| {
        peer.send_to(b"echo x", world.listener).unwrap();
        !hear(peer).starts_with(&here.to_string())
    });
    let witness = witness.unwrap();
    witness.send_to(b"witness", world.listener).unwrap();
    witness.send_to(b"echo x", world.listener).unwrap();
    hear(&witness);
    assert_eq!(world.ask("over 77"), "told");
    assert_eq!(hear(&witness), format!("call 77 is over, hears worker {}", 1 - here));
}

#[test]
fn events_that_nobody_takes_are_counted_and_waited_for_by_nobody() {
    let world = Workers::new(1);
    assert_eq!(world.ask("events 100"), "told");
    world.until(|_| world.sum(Traffic::EventsLost) == 36);
    assert_eq!(world.events[0].try_iter().count(), 64);
    assert_eq!(world.ask("events 10"), "told");
    assert_eq!(world.events[0].try_iter().count(), 10);
}

#[test]
fn a_stop_waits_for_open_transactions_until_the_deadline_and_counts_the_lost() {
    let world = Workers::new(1);
    world.say("open 3");
    world.until(|shared| shared.pages[0].open_transactions.load(Ordering::Relaxed) == 3);
    let now = monotonic();
    world.shared.stop.begin(now, now + Duration::from_millis(300));
    world.shared.wake_workers();
    assert_eq!(world.ask("echo still"), "0 still Listener(0) false", "new ones are served meanwhile");
    world.until(|_| world.threads[0].is_finished());
    assert_eq!(world.sum(Traffic::LostAtStop), 3);
    assert!(!world.shared.pages[0].running.load(Ordering::Relaxed));
}

#[test]
fn one_log_record_a_second_from_one_place() {
    let mut logs = LogRate::default();
    assert!(logs.permits(Site::Send, Time::from_secs(5)));
    assert!(!logs.permits(Site::Send, Time::from_millis(5999)));
    assert!(logs.permits(Site::Receive, Time::from_millis(5999)));
    assert!(logs.permits(Site::Send, Time::from_secs(6)));
}

#[test]
fn messages_of_a_connection_go_through_the_engine_in_order() {
    let world = Workers::new(1);
    let mut stream = connected(world.listener);
    stream.write_all(&[framed("echo one"), framed("echo two")].concat()).unwrap();
    assert_eq!(body(&mut stream), "0 one Listener(0) false");
    assert_eq!(body(&mut stream), "0 two Listener(0) false");
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    world.until(|shared| {
        world.sum(Traffic::TcpReceived) == 3
            && world.sum(Traffic::TcpSent) == 2
            && shared.pages[0].connections.load(Ordering::Relaxed) == 1
    });
    drop(stream);
    world.until(|shared| shared.pages[0].connections.load(Ordering::Relaxed) == 0);
    world.until(|_| world.sum(Traffic::TcpAccepted) == 1 && world.sum(Traffic::TcpClosedPeer) == 1);
}

#[test]
fn a_stream_that_is_none_is_answered_and_closed() {
    let world = Workers::new(1);
    let mut stream = connected(world.listener);
    let head = b"MESSAGE sip:a@b SIP/2.0\r\nv: x\r\n\r\n";
    stream.write_all(head).unwrap();
    assert_eq!(body(&mut stream), format!("unframed: Missing(ContentLength) {}", head.len()));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    world.until(|_| world.sum(Traffic::TcpFramingErrors) == 1);
    assert!(matches!(world.events[0].try_recv().unwrap().what, What::Log(Level::Warning, _)));
}

#[test]
fn a_panic_while_handling_a_stream_costs_one_message() {
    let world = Workers::new(1);
    let mut stream = connected(world.listener);
    stream.write_all(&[framed("panic changing"), framed("echo after")].concat()).unwrap();
    assert_eq!(body(&mut stream), "0 after Listener(0) false");
    world.until(|_| world.sum(Traffic::Panics) == 1);
}

#[test]
fn a_sibling_sends_over_a_connection_that_is_not_its_own() {
    let world = Workers::new(2);
    let mut stream = connected(world.listener);
    stream.write_all(&framed("connection")).unwrap();
    let number: u64 = body(&mut stream).parse().unwrap();
    let owner = number >> 32;
    // A peer whose datagrams the other worker hears.
    let sibling = (0..1000).map(|_| peer()).find(|peer| {
        peer.send_to(b"echo x", world.listener).unwrap();
        !hear(peer).starts_with(&owner.to_string())
    });
    let sibling = sibling.unwrap();
    let own = stream.local_addr().unwrap();
    let tell = |address: SocketAddr| sibling.send_to(format!("tell {number} {address}").as_bytes(), world.listener);
    tell(own).unwrap();
    assert_eq!(body(&mut stream), "told");
    // Another peer's address is not to be reached by this number: the failure comes back to who sent it.
    let elsewhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    tell(elsewhere).unwrap();
    assert_eq!(hear(&sibling), format!("Closed Listener(0) {elsewhere} {}", framed("told").len()));
    drop(stream);
    assert_eq!(hear(&sibling), format!("worker {} hears that {own} closed", 1 - owner));
}

#[test]
fn a_worker_connects_from_its_own_address_and_hears_of_refusals() {
    let world = Workers::new(1);
    let node = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.say(&format!("connect {}", node.local_addr().unwrap()));
    let (mut stream, from) = node.accept().unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    assert_eq!((from.ip(), body(&mut stream)), (Ipv4Addr::LOCALHOST.into(), "echo from the worker".into()));
    stream.write_all(&framed("echo back")).unwrap();
    assert_eq!(body(&mut stream), "0 back Worker false");
    drop((stream, node.local_addr()));
    let gone = node.local_addr().unwrap();
    drop(node);
    assert!(hear(&world.peer).ends_with("closed"));
    world.say(&format!("connect {gone}"));
    assert_eq!(hear(&world.peer), format!("Connect Worker {gone} {}", framed("echo from the worker").len()));
}
