//! What one message costs in the pure parts: index, token, choice. Times are of this machine and this run; compare
//! within a run only.

#![allow(missing_docs, clippy::unwrap_used)]

use divan::{Bencher, black_box};
use switchtender_proxy::Transport;
use switchtender_proxy::token::{Binding, Caller, Keys, Kind, MAX_TOKEN_LEN, Reach, Token};
use switchtender_select::{
    Admission, Memory, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Rng, Slots, Snapshot, Time, Wanted,
    evaluate, place,
};
use switchtender_sip::Index;

fn main() {
    divan::main();
}

/// An INVITE with SDP as a carrier sends it.
fn invite() -> Vec<u8> {
    let sdp = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\nm=audio 54400 RTP/AVP 0 \
               8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";
    format!(
        "INVITE sip:+12125551212@198.51.100.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK776asdhds8a7sd6f;rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:+13035551234@203.0.113.1>;tag=1928301774\r\n\
         To: <sip:+12125551212@198.51.100.1>\r\nCall-ID: a84b4c76e66710@203.0.113.1\r\nCSeq: 314159 INVITE\r\n\
         Contact: <sip:+13035551234@203.0.113.1:5060>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n\
         User-Agent: carrier\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into_bytes()
}

#[divan::bench]
fn index_an_invite(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    let mut index = Index::new();
    bencher.bench_local(|| index.parse(black_box(&bytes)).is_ok());
}

#[divan::bench]
fn index_and_validate_an_invite(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    let mut index = Index::new();
    bencher.bench_local(|| {
        index.parse(black_box(&bytes)).unwrap();
        index.message(&bytes).validate().is_ok()
    });
}

/// 64 nodes of unlike size and load.
struct Pool(Vec<NodeLoad>);

impl Pool {
    fn new(nodes: u32) -> Self {
        Self(
            (0..nodes)
                .map(|node| NodeLoad {
                    admission: Admission::Open,
                    sessions: f64::from(node % 7) * 10.0,
                    max_sessions: 100.0 + f64::from(node % 5) * 100.0,
                    sessions_per_second: Some(1000.0),
                    ..NodeLoad::default()
                })
                .collect(),
        )
    }
}

impl Nodes for Pool {
    fn load(&self, slot: NodeSlot, _now: Time) -> NodeLoad {
        self.0[slot.0 as usize]
    }
    fn assign(&self, _slot: NodeSlot, _legs: u32, _now: Time) {}
    fn settle(&self, _slot: NodeSlot) {}
    fn ended(&self, _slot: NodeSlot) {}
    fn request(&self, _slot: NodeSlot, _now: Time) {}
    fn cool(&self, _slot: NodeSlot, _until: Time) {}
    fn suspect(&self, _slot: NodeSlot) {}
    fn answered(&self, _slot: NodeSlot) {}
    fn reserve(&self, _node: NodeSlot, _wanted: ResourceSet, _limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        true
    }
    fn release(&self, _node: NodeSlot, _taken: ResourceSet, _epoch: u32) {}
    fn epoch(&self, _node: NodeSlot) -> u32 {
        0
    }
    fn in_use(&self, _node: NodeSlot, _resource: ResourceSlot) -> u32 {
        0
    }
}

fn snapshot(nodes: u32, algorithm: &str) -> Snapshot {
    let secret = "A".repeat(85) + "A=";
    let list = |entry: &dyn Fn(u32) -> String| (0..nodes).map(entry).collect::<Vec<_>>().join(",");
    let json = format!(
        r#"{{"format": 1, "keys": [{{"id": 1, "secret": "{secret}"}}], "nodes": [{}],
            "groups": [{{"namespace": "n", "name": "g", "uid": "u", "generation": 1, "priority": 0, "match": [],
                "algorithm": "{algorithm}", "legs_per_call": 2,
                "failover": {{"attempts": 3,
                    "retry_on": {{"own_refusal": true, "timeout": true, "transport": true, "codes": [410]}},
                    "first_response_timeout_ms": 2000, "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000]}},
                "timer_c_ms": 181000,
                "over_limit": {{"action": "Reject", "status": 503, "retry_after_s": [5, 15]}},
                "panic_threshold": 0.5, "members": [{}]}}]}}"#,
        list(&|node| format!(r#"{{"uid": "u{node}", "name": "fs{node}", "sip": "10.0.0.{node}:5060"}}"#)),
        list(&|node| format!(r#"{{"node": {node}, "weight": 1.0, "priority": 0, "draining": false}}"#)),
    );
    Snapshot::from_json(json.as_bytes(), &mut Slots::new(256, 4).at(Time::ZERO)).unwrap()
}

#[divan::bench(args = ["LeastLoad", "RoundRobin"])]
fn choose_of_64(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (snapshot, pool) = (snapshot(64, algorithm), Pool::new(64));
    let (mut rng, mut memory) = (Rng::new(7), Memory::new());
    let (group, wanted) = (&snapshot.groups[0], Wanted::default());
    let now = Time::from_secs(1);
    bencher.bench_local(|| place(&snapshot, group, &wanted, &pool, black_box(&[]), now, &mut rng, &mut memory).is_ok());
}

#[divan::bench]
fn evaluate_one_node(bencher: Bencher<'_, '_>) {
    let load = Pool::new(1).0[0];
    bencher.bench_local(|| evaluate(black_box(&load), 2));
}

fn keys() -> Keys {
    Keys::new([(1, &[7; 64])])
}

fn token() -> Token {
    Token {
        kind: Kind::Dialog(Binding::new(b"a84b4c76e66710@203.0.113.1", b"1928301774")),
        node: "10.0.0.1:5060".parse().unwrap(),
        transport: Transport::Udp,
        listener: 0,
        caller: Caller {
            address: "203.0.113.1:5060".parse().unwrap(),
            transport: Transport::Udp,
            reach: Reach::Direct { held: None },
        },
        group: 1,
        resources: 0,
    }
}

#[divan::bench]
fn seal_a_token(bencher: Bencher<'_, '_>) {
    let (mut keys, token, mut text) = (keys(), token(), [0; MAX_TOKEN_LEN]);
    bencher.bench_local(|| keys.seal(black_box(&token), &mut text));
}

#[divan::bench]
fn open_a_token(bencher: Bencher<'_, '_>) {
    let (mut keys, mut text) = (keys(), [0; MAX_TOKEN_LEN]);
    let length = keys.seal(&token(), &mut text).unwrap();
    bencher.bench_local(|| keys.open(black_box(&text[..length])).is_ok());
}
