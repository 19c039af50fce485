//! What one message costs: read, framed, forwarded, and the tokens in it. Times are of this machine and this run;
//! compare within a run only.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod world;

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use criterion::{Criterion, criterion_group, criterion_main};
use switchtender_proxy::token::{Binding, Caller, Keys, Kind, MAX_TOKEN_LEN, Reach, Token};
use switchtender_proxy::{Config, Event, Flow, Listener, Local, NodeSide, Output, Packet, Proxy, Time, Transport};
use switchtender_select::NodeSlot;
use switchtender_sip::Index;
use switchtender_sip::stream::{Frame, Framer};
use world::{Pool, snapshot};

/// An INVITE of 744 bytes with SDP, as a carrier sends it.
fn invite() -> Vec<u8> {
    let sdp = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\nm=audio 54400 RTP/AVP 0 \
               8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";
    let head = |agent: &str| {
        format!(
            "INVITE sip:+12125551212@198.51.100.1:5060 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK776asdhds8a7sd6f;rport\r\n\
             Max-Forwards: 70\r\nFrom: \"Caller\" <sip:+13035551234@203.0.113.1>;tag=1928301774\r\n\
             To: <sip:+12125551212@198.51.100.1>\r\nCall-ID: a84b4c76e66710@203.0.113.1\r\nCSeq: 314159 INVITE\r\n\
             Contact: <sip:+13035551234@203.0.113.1:5060>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n\
             User-Agent: {agent}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    };
    let missing = 744 - head("").len();
    let message = head(&"c".repeat(missing)).into_bytes();
    assert_eq!(message.len(), 744);
    message
}

fn read(criterion: &mut Criterion) {
    let bytes = invite();
    let mut index = Index::new();
    criterion.bench_function("parse", |bencher| bencher.iter(|| index.parse(black_box(&bytes)).is_ok()));
    criterion.bench_function("parse_and_validate", |bencher| {
        bencher.iter(|| {
            index.parse(black_box(&bytes)).unwrap();
            index.message(&bytes).validate().is_ok()
        });
    });
}

/// One message that came whole, and the same one in datagram-sized pieces.
fn frame(criterion: &mut Criterion) {
    let bytes = invite();
    criterion.bench_function("frame", |bencher| {
        bencher.iter(|| assert_eq!(Framer::new().next(black_box(&bytes)), Frame::Message(744)));
    });
    criterion.bench_function("frame_in_pieces_of_100_bytes", |bencher| {
        bencher.iter(|| {
            let mut framer = Framer::new();
            (100..=744).step_by(100).filter(|&end| framer.next(black_box(&bytes[..end])) == Frame::Partial).count()
        });
    });
}

/// Takes what is sent, as the worker's buffers do.
struct Sink(Vec<u8>);

impl Output for Sink {
    fn send(&mut self, _flow: &Flow, bytes: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(bytes);
    }
    fn local_ip(&mut self, _from: Local, _to: SocketAddr) -> IpAddr {
        unreachable!("every socket is bound to an address")
    }
    fn event(&mut self, _event: Event) {}
    fn hand_over(&mut self, _worker: u8, _packet: &Packet<'_>) -> bool {
        false
    }
    fn call_over(&mut self, _call: u64) {}
    fn remember_call(&mut self, _call: u64, _node: NodeSlot) {}
    fn forget_call(&mut self, _call: u64) {}
    fn node_of_call(&mut self, _call: u64) -> Option<NodeSlot> {
        None
    }
    fn publish(&mut self, _fingerprint: u64) {}
    fn retract(&mut self, _fingerprint: u64) {}
    fn owner(&mut self, _fingerprint: u64) -> Option<u8> {
        None
    }
}

/// All of a request but its transaction: read, matched, placed by a key, Via with branch, Record-Route with token.
fn forward(criterion: &mut Criterion) {
    let bytes = invite();
    let snapshot = snapshot(8, "Hash", "Stateless");
    let pool = Pool::new(8);
    let listener =
        Listener { address: "198.51.100.1:5060".parse().unwrap(), advertise: None, nat: false, allow: vec![] };
    let mut proxy = Proxy::new(Config {
        worker: 0,
        workers: 1,
        run_id: 1,
        replica: 1,
        secret: [1; 16],
        listeners: vec![listener],
        node_side: Some(NodeSide { address: "10.255.0.9:5070".parse().unwrap(), advertise: vec![], sources: vec![] }),
        worker_address: "10.255.0.9:5071".parse().unwrap(),
        max_transactions: 1000,
        seed: 1,
    });
    let mut sink = Sink(Vec::with_capacity(4096));
    let flow = Flow::udp(Local::Listener(0), None, "203.0.113.1:5060".parse().unwrap());
    let mut now = Time::from_secs(1);
    criterion.bench_function("forward", |bencher| {
        bencher.iter(|| {
            now = Time::from_nanos(now.as_nanos() + 20_000);
            proxy.receive(now, &Packet { bytes: black_box(&bytes), flow }, &snapshot, &pool, &mut sink);
        });
    });
    let sent = String::from_utf8(sink.0).unwrap();
    assert!(
        sent.starts_with("INVITE ") && sent.contains("Record-Route") && sent.matches("Via:").count() == 2,
        "{sent}"
    );
}

fn token(criterion: &mut Criterion) {
    let caller = Caller {
        address: "203.0.113.1:5060".parse().unwrap(),
        transport: Transport::Udp,
        reach: Reach::Direct { held: None },
    };
    let token = Token {
        kind: Kind::Dialog(Binding::new(b"a84b4c76e66710@203.0.113.1", b"1928301774")),
        node: "10.0.0.1:5060".parse().unwrap(),
        transport: Transport::Udp,
        listener: 0,
        caller,
        group: 1,
        resources: 0,
    };
    let (mut keys, mut text) = (Keys::new([(1, &[7; 64])]), [0; MAX_TOKEN_LEN]);
    criterion.bench_function("seal_a_token", |bencher| bencher.iter(|| keys.seal(black_box(&token), &mut text)));
    let length = keys.seal(&token, &mut text).unwrap();
    criterion.bench_function("open_a_token", |bencher| {
        bencher.iter(|| keys.open(black_box(&text[..length])).is_ok());
    });
}

criterion_group!(benches, read, frame, forward, token);
criterion_main!(benches);
