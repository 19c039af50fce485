//! The table over real loopback sockets, at times that the tests make up.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use switchtender_proxy::{ConnectionId, FailureKind, Flow, Local};
use switchtender_select::{Time, Transport};

use super::*;
use crate::counts::Traffic;
use crate::sys::{Epoll, TcpAcceptor};

const LISTENER: Local = Local::Listener(0);

fn message(text: &str) -> Vec<u8> {
    format!("MESSAGE sip:a@b SIP/2.0\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

const fn limits() -> TcpLimits {
    TcpLimits {
        idle_timeout: Duration::from_secs(600),
        connect_timeout: Duration::from_secs(2),
        connections: 100,
        per_source: 100,
    }
}

/// What came in, in words.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Message(Vec<u8>),
    Ping,
    Bad(String),
}

/// A table with a listener and a node side, and what it let in.
struct Stand {
    connections: Connections,
    epoll: Arc<Epoll>,
    listener: SocketAddr,
    node_side: SocketAddr,
    now: Time,
    came: Vec<(Flow, Came)>,
}

impl Stand {
    fn new(limits: TcpLimits) -> Self {
        let epoll = Arc::new(Epoll::new().unwrap());
        let acceptor = || TcpAcceptor::bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let (listener, node_side) = (acceptor(), acceptor());
        let (at, node_side_at) = (listener.local(), node_side.local());
        let listening = vec![
            Listening { acceptor: listener, local: LISTENER },
            Listening { acceptor: node_side, local: Local::NodeSide },
        ];
        let connections = Connections::new(3, limits, listening, Arc::clone(&epoll)).unwrap();
        let now = Time::from_secs(1000);
        Self { connections, epoll, listener: at, node_side: node_side_at, now, came: Vec::new() }
    }

    /// One turn, woken at most 10 ms later; 127.0.0.9 is a node.
    fn turn(&mut self) {
        let mut ready = Vec::new();
        self.connections.flush(self.now);
        self.epoll.wait(Some(Duration::from_millis(10)), &mut ready).unwrap();
        let node: IpAddr = [127, 0, 0, 9].into();
        for event in ready {
            if let Worked::Received(mut input, flow) = self.connections.on_ready(self.now, event, |ip| ip == node) {
                self.handle(&mut input, flow);
                let handled = self.came.len() as u64;
                self.connections.put_back(self.now, flow.connection.unwrap(), input, handled);
            }
        }
        self.connections.flush(self.now);
    }

    fn handle(&mut self, input: &mut Input, flow: Flow) {
        while let Some(framed) = input.next() {
            self.came.push(match framed {
                Framed::Message(bytes) => (flow, Came::Message(bytes.to_vec())),
                Framed::Ping => {
                    self.connections.pong(flow.connection.unwrap());
                    (flow, Came::Ping)
                }
                Framed::Bad(error, _) => {
                    self.connections.send(self.now, &flow, None, b"bad", 3);
                    self.connections.give_up(self.now, flow.connection.unwrap());
                    (flow, Came::Bad(format!("{error:?}")))
                }
            });
        }
    }

    /// Turns until it holds.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..1000 {
            if holds(self) {
                return;
            }
            self.turn();
        }
        panic!("never came: {what}");
    }

    fn next_message(&mut self) -> (Flow, Came) {
        self.until("a message", |stand| !stand.came.is_empty());
        self.came.remove(0)
    }

    fn count(&self, what: Traffic) -> u64 {
        self.connections.tally.get(what)
    }

    fn flow_to(peer: SocketAddr) -> Flow {
        Flow { local: Local::Worker, local_ip: None, peer, transport: Transport::Tcp, connection: None }
    }

    /// Pass time, and let what is due happen.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.connections.expire(self.now);
    }

    fn connect(&mut self) -> TcpStream {
        let client = client(self.listener);
        let before = self.count(Traffic::TcpAccepted);
        self.until("accepted", |stand| stand.count(Traffic::TcpAccepted) > before);
        client
    }
}

fn client(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(to).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// From an address of its own.
fn client_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let stream = crate::sys::TcpStream::connect(Some(from.into()), to).unwrap();
    for _ in 0..1000 {
        if let Ok(Some(_)) = stream.write(b"\r\n") {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let client: TcpStream = stream.into_std();
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

fn read_all(mut client: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    // A reset is an end as well.
    let _ = client.read_to_end(&mut got);
    got
}

#[test]
fn many_messages_in_one_segment_and_one_in_many_come_in_order() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    let many: Vec<_> = (0..50).map(|n| message(&n.to_string())).collect();
    client.write_all(&many.concat()).unwrap();
    for expected in many {
        let (flow, came) = stand.next_message();
        assert_eq!(came, Came::Message(expected));
        assert_eq!((flow.local, flow.peer), (LISTENER, client.local_addr().unwrap()));
        assert_eq!(flow.connection, Some(ConnectionId::new(3, 0)));
        assert_eq!(flow.local_ip, Some([127, 0, 0, 1].into()));
    }
    for byte in message("slowly") {
        client.write_all(&[byte]).unwrap();
        stand.turn();
    }
    assert_eq!(stand.next_message().1, Came::Message(message("slowly")));
    let large = message(&"x".repeat(60_000));
    client.write_all(&large).unwrap();
    assert_eq!(stand.next_message().1, Came::Message(large));
}

#[test]
fn a_ping_is_answered_however_it_is_cut_and_a_lone_line_end_is_not() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    client.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(stand.next_message().1, Came::Ping);
    for byte in b"\r\n\r\n" {
        client.write_all(&[*byte]).unwrap();
        stand.turn();
    }
    assert_eq!(stand.next_message().1, Came::Ping);
    client.write_all(&[b"\r\n", &*message("x")].concat()).unwrap();
    assert_eq!(stand.next_message().1, Came::Message(message("x")));
    stand.until("both pongs", |stand| stand.count(Traffic::TcpBytesSent) == 4);
    assert_eq!(stand.count(Traffic::TcpSent), 0, "a pong is no message");
    client.set_nonblocking(true).unwrap();
    let mut got = [0; 16];
    assert_eq!(client.read(&mut got).unwrap(), 4);
    assert_eq!(&got[..4], b"\r\n\r\n");
}

#[test]
fn what_is_no_sip_is_told_and_closed_after_what_was_queued() {
    for (stream, error) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], "NotSip"),
        (b"MESSAGE sip:a@b SIP/2.0\r\nContent-Length: 999999\r\n\r\n", "BodyTooLong"),
        (b"MESSAGE sip:a@b SIP/2.0\r\nVia: x\r\n\r\n", "Missing(ContentLength)"),
        (b"MESSAGE sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n", "Malformed(ContentLength)"),
    ] {
        let mut stand = Stand::new(limits());
        let mut client = stand.connect();
        client.write_all(stream).unwrap();
        client.write_all(&message("never read")).unwrap();
        assert_eq!(stand.next_message().1, Came::Bad(error.to_owned()));
        let reader = std::thread::spawn(move || read_all(client));
        stand.until("closed", |stand| stand.connections.count() == 0);
        assert_eq!(reader.join().unwrap(), b"bad", "the answer arrives although more had come");
        assert!(stand.came.is_empty());
        assert_eq!((stand.count(Traffic::TcpFramingErrors), stand.count(Traffic::TcpClosedFraming)), (1, 1));
    }
}

#[test]
fn a_peer_that_was_given_up_and_stays_is_closed_in_time() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    client.write_all(b"no sip\r\n\r\n").unwrap();
    stand.next_message();
    stand.pass(Duration::from_secs(1));
    assert_eq!(stand.connections.count(), 1);
    stand.pass(Duration::from_secs(2));
    assert_eq!((stand.connections.count(), stand.count(Traffic::TcpClosedFraming)), (0, 1));
}

#[test]
fn a_message_that_does_not_become_whole_closes_and_line_ends_do_not() {
    let mut stand = Stand::new(limits());
    let (mut slow, mut calm) = (stand.connect(), stand.connect());
    slow.write_all(b"INVITE sip:a@b SIP/2.0\r\n").unwrap();
    calm.write_all(&[&*message("x"), b"\r\n"].concat()).unwrap();
    stand.next_message();
    stand.until("the beginning", |stand| stand.count(Traffic::TcpBytesReceived) > 60);
    // Byte by byte does not help.
    for _ in 0..9 {
        stand.pass(Duration::from_secs(1));
        slow.write_all(b"v").unwrap();
        let before = stand.count(Traffic::TcpBytesReceived);
        stand.until("a byte", |stand| stand.count(Traffic::TcpBytesReceived) > before);
    }
    assert_eq!(stand.connections.count(), 2);
    assert!(stand.connections.next_deadline().unwrap() <= stand.now + Duration::from_secs(2));
    stand.pass(Duration::from_secs(2));
    assert_eq!((stand.connections.count(), stand.count(Traffic::TcpClosedSlow)), (1, 1));
    assert_eq!(read_all(slow), b"");
    stand.pass(Duration::from_secs(500));
    assert_eq!(stand.connections.count(), 1);
}

#[test]
fn silence_closes_sooner_before_the_first_word() {
    let mut stand = Stand::new(limits());
    let (_silent, mut spoken) = (stand.connect(), stand.connect());
    spoken.write_all(b"\r\n\r\n").unwrap();
    stand.next_message();
    stand.pass(Duration::from_secs(31));
    assert_eq!((stand.connections.count(), stand.count(Traffic::TcpClosedIdle)), (1, 1));
    stand.pass(Duration::from_secs(500));
    spoken.write_all(b"\r\n\r\n").unwrap();
    stand.next_message();
    stand.pass(Duration::from_secs(599));
    assert_eq!(stand.connections.count(), 1, "a ping is a sign of life");
    stand.pass(Duration::from_secs(2));
    assert_eq!((stand.connections.count(), stand.count(Traffic::TcpClosedIdle)), (0, 2));
    assert_eq!(stand.connections.next_deadline(), None);
}

#[test]
fn limits_in_all_and_by_source_and_strangers_on_the_node_side() {
    let mut stand = Stand::new(TcpLimits { connections: 3, per_source: 2, ..limits() });
    let (first, _second) = (stand.connect(), stand.connect());
    let third = client(stand.listener);
    stand.until("refused", |stand| stand.count(Traffic::TcpRefusedSourceLimit) == 1);
    assert_eq!(read_all(third), b"");
    let stranger = client(stand.node_side);
    stand.until("refused", |stand| stand.count(Traffic::TcpRefusedStranger) == 1);
    assert_eq!(read_all(stranger), b"");
    let _node = client_from([127, 0, 0, 9], stand.node_side);
    stand.until("accepted", |stand| stand.count(Traffic::TcpAccepted) == 3);
    let _other = client_from([127, 0, 0, 8], stand.listener);
    stand.until("accepted", |stand| stand.count(Traffic::TcpAccepted) == 4);
    let _last = client_from([127, 0, 0, 7], stand.listener);
    stand.until("refused", |stand| stand.count(Traffic::TcpRefusedLimit) == 1);
    drop(first);
    stand.until("closed", |stand| stand.count(Traffic::TcpClosedPeer) == 1);
    let _again = stand.connect();
    assert_eq!(stand.connections.count(), 4);
}

#[test]
fn what_is_opened_is_used_again_and_answers_come_back_on_it() {
    let mut stand = Stand::new(limits());
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let flow = Stand::flow_to(peer.local_addr().unwrap());
    let from = Some([127, 0, 0, 7].into());
    let now = stand.now;
    stand.connections.send(now, &flow, from, b"one", 3);
    stand.connections.send(now, &flow, from, b"two", 3);
    let (mut accepted, source) = peer.accept().unwrap();
    assert_eq!(source.ip(), IpAddr::from([127, 0, 0, 7]));
    stand.until("sent", |stand| stand.count(Traffic::TcpSent) == 2);
    stand.connections.send(now, &flow, from, b"three", 3);
    stand.until("sent", |stand| stand.count(Traffic::TcpSent) == 3);
    let mut got = [0; 11];
    accepted.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"onetwothree");
    assert_eq!((stand.connections.count(), stand.count(Traffic::TcpOpened)), (1, 1));

    accepted.write_all(&message("answer")).unwrap();
    let (back, came) = stand.next_message();
    assert_eq!(came, Came::Message(message("answer")));
    let id = ConnectionId::new(3, 0);
    assert_eq!(back, Flow { local_ip: from, connection: Some(id), ..flow });
    drop(accepted);
    stand.until("closed", |stand| stand.connections.count() == 0);
    assert_eq!(stand.connections.take_troubles().1, [Ended { flow: back, workers: 1 << 3 }]);

    stand.connections.send(now, &back, from, b"late", 3);
    let (undelivered, _) = stand.connections.take_troubles();
    assert_eq!((undelivered[0].kind, undelivered[0].flow), (FailureKind::Closed, back));
    stand.connections.send(now, &flow, from, b"anew", 3);
    peer.accept().unwrap();
}

#[test]
fn an_accepted_connection_is_the_way_to_its_peer_and_no_other_may_use_its_number() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    client.write_all(&message("hello")).unwrap();
    let (flow, _) = stand.next_message();
    let now = stand.now;
    stand.connections.send(now, &Flow { connection: None, ..flow }, None, b"by way", 3);
    stand.connections.send(now, &flow, None, b"by number", 7);
    stand.connections.send(now, &Flow { peer: "127.0.0.1:9".parse().unwrap(), ..flow }, None, b"elsewhere", 3);
    stand.until("sent", |stand| stand.count(Traffic::TcpSent) == 2);
    let (undelivered, _) = stand.connections.take_troubles();
    assert_eq!(undelivered.len(), 1);
    assert_eq!((undelivered[0].bytes.as_slice(), undelivered[0].kind), (&b"elsewhere"[..], FailureKind::Closed));
    drop(client);
    stand.until("closed", |stand| stand.connections.count() == 0);
    let (_, ended) = stand.connections.take_troubles();
    assert_eq!(ended, [Ended { flow, workers: 1 << 7 | 1 << 3 }], "those who asked something over it are told");
}

#[test]
fn refused_and_silent_peers_fail_each_message() {
    let mut stand = Stand::new(limits());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let flow = Stand::flow_to(closed);
    let now = stand.now;
    stand.connections.send(now, &flow, None, b"one", 3);
    stand.connections.send(now, &flow, None, b"two", 5);
    let mut failed = Vec::new();
    stand.until("failed", |stand| {
        failed.extend(stand.connections.take_troubles().0);
        failed.len() == 2
    });
    for (failure, (bytes, worker)) in failed.iter().zip([(b"one", 3), (b"two", 5)]) {
        assert_eq!((failure.kind, failure.flow.peer, failure.worker), (FailureKind::Connect, closed, worker));
        assert_eq!((failure.bytes.as_slice(), failure.error.raw_os_error()), (&bytes[..], Some(libc::ECONNREFUSED)));
    }
    assert!(stand.count(Traffic::TcpConnectRefused) >= 1 && stand.count(Traffic::TcpUndelivered) == 2);

    // A listening socket whose queue is full answers nobody.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let at = full.local_addr().unwrap().as_socket().unwrap();
    let _queued = TcpStream::connect(at).unwrap();
    stand.connections.send(now, &Stand::flow_to(at), None, b"three", 3);
    stand.turn();
    stand.pass(Duration::from_millis(1900));
    assert!(stand.connections.take_troubles().0.is_empty());
    stand.pass(Duration::from_millis(200));
    let (undelivered, ended) = stand.connections.take_troubles();
    assert_eq!((undelivered[0].kind, undelivered[0].bytes.as_slice()), (FailureKind::Connect, &b"three"[..]));
    assert_eq!((ended.len(), stand.count(Traffic::TcpConnectTimeout)), (0, 1));
}

#[test]
fn a_peer_that_reads_nothing_is_closed_and_what_waited_fails() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    client.write_all(&message("hello")).unwrap();
    let (flow, _) = stand.next_message();
    let bytes = vec![b'x'; 60_000];
    stand.until("full", |stand| {
        stand.connections.send(stand.now, &flow, None, &bytes, 3);
        stand.connections.flush(stand.now);
        stand.count(Traffic::TcpClosedFull) == 1
    });
    let (undelivered, ended) = stand.connections.take_troubles();
    assert!(undelivered.len() >= 5 && undelivered.iter().all(|failure| failure.kind == FailureKind::Closed));
    assert!(undelivered.iter().all(|failure| failure.bytes == bytes && failure.flow == flow));
    assert_eq!(ended.len(), 1);
}

#[test]
fn a_slow_reader_gets_everything_in_the_end() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    client.write_all(&message("hello")).unwrap();
    let (flow, _) = stand.next_message();
    let bytes = vec![b'x'; 60_000];
    // More than the kernel takes at once, less than we close for.
    let mut sent = 0_u64;
    while stand.count(Traffic::TcpSent) == sent {
        stand.connections.send(stand.now, &flow, None, &bytes, 3);
        sent += 1;
        stand.connections.flush(stand.now);
    }
    let total = usize::try_from(sent).unwrap() * bytes.len();
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; total];
        client.read_exact(&mut got).map(|()| client)
    });
    stand.until("everything is out", |stand| stand.count(Traffic::TcpSent) == sent);
    let _client = reader.join().unwrap().unwrap();
    assert_eq!(stand.connections.count(), 1);
}

#[test]
fn out_of_descriptors_nobody_is_accepted_for_a_while_and_nothing_spins() {
    let mut stand = Stand::new(limits());
    let _waiting = client(stand.listener);
    stand.connections.exhaust(stand.now);
    let mut ready = Vec::new();
    stand.epoll.wait(Some(Duration::from_millis(5)), &mut ready).unwrap();
    assert_eq!(ready, [], "not woken for what cannot be accepted");
    assert_eq!(stand.connections.next_deadline(), Some(stand.now + Duration::from_millis(250)));
    stand.pass(Duration::from_millis(250));
    stand.until("accepted", |stand| stand.count(Traffic::TcpAccepted) == 1);
}

#[test]
fn a_stop_writes_what_it_can_and_closes() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    client.write_all(&message("hello")).unwrap();
    let (flow, _) = stand.next_message();
    stand.connections.send(stand.now, &flow, None, b"last", 3);
    stand.connections.close_all(stand.now);
    assert_eq!(read_all(client), b"last");
    assert_eq!((stand.connections.count(), stand.count(Traffic::TcpClosedStop)), (0, 1));
    assert_eq!(TcpStream::connect(stand.listener).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn in_steady_state_nothing_is_held_for_a_quiet_connection() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    for _ in 0..3 {
        client.write_all(&message("hello")).unwrap();
        let (flow, _) = stand.next_message();
        stand.connections.send(stand.now, &flow, None, b"answer", 3);
        stand.turn();
        assert_eq!(stand.connections.buffered(), 0);
    }
    // With a mapped address or without, a peer is the same peer.
    assert_eq!(stand.count(Traffic::TcpReceived), 3);
}

#[test]
fn nobody_is_told_of_the_end_of_a_connection_that_carried_no_request_of_ours() {
    let mut stand = Stand::new(limits());
    let (client, mut answered) = (stand.connect(), stand.connect());
    answered.write_all(&message("hello")).unwrap();
    let (flow, _) = stand.next_message();
    stand.connections.send(stand.now, &flow, None, b"SIP/2.0 200 OK\r\n\r\n", 3);
    stand.until("sent", |stand| stand.count(Traffic::TcpSent) == 1);
    drop((client, answered));
    stand.until("closed", |stand| stand.connections.count() == 0);
    assert!(stand.connections.take_troubles().1.is_empty(), "who comes and goes costs nobody a look");
}

#[test]
fn pings_without_end_leave_one_pong_to_be_written() {
    let mut stand = Stand::new(limits());
    let mut client = stand.connect();
    client.write_all(&b"\r\n\r\n".repeat(1000)).unwrap();
    stand.until("all of them", |stand| stand.came.len() == 1000);
    stand.turn();
    let sent = stand.count(Traffic::TcpBytesSent);
    assert!((2..1000).contains(&sent), "one for each read at most: {sent}");
}

#[test]
fn callers_nodes_and_those_we_call_have_limits_of_their_own() {
    let mut stand = Stand::new(TcpLimits { connections: 2, per_source: 1, ..limits() });
    let _caller = stand.connect();
    let _other = client_from([127, 0, 0, 8], stand.listener);
    stand.until("accepted", |stand| stand.count(Traffic::TcpAccepted) == 2);
    let _late = client_from([127, 0, 0, 7], stand.listener);
    stand.until("refused", |stand| stand.count(Traffic::TcpRefusedLimit) == 1);
    let _node = client_from([127, 0, 0, 9], stand.node_side);
    stand.until("a node comes in all the same", |stand| stand.count(Traffic::TcpAccepted) == 3);

    let peers: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).collect();
    for peer in peers {
        stand.connections.send(stand.now, &Stand::flow_to(peer), None, b"hello", 3);
    }
    let (undelivered, _) = stand.connections.take_troubles();
    assert_eq!(undelivered.len(), 1, "no more than one to one address: callers name ports");
    assert_eq!(undelivered[0].kind, FailureKind::Connect);
}

#[test]
fn a_network_of_ipv6_is_one_source() {
    for (one, other, same) in [
        ("2001:db8::1", "2001:db8::ffff:2", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
    ] {
        let source = |text: &str| super::limits::source_of(text.parse().unwrap());
        assert_eq!(source(one) == source(other), same, "{one} {other}");
    }
}
