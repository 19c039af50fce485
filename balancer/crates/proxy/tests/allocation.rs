//! Once traffic has settled, a call costs no allocation: slabs, buffers and timers go round.

#![allow(unsafe_code)] // counting allocations needs an allocator
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use switchtender_proxy::{
    Config, ConnectionId, Event, Flow, Listener, Local, NodeSide, Output, Packet, Proxy, Snapshot, Time, Transport,
};
use switchtender_select::{Admission, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Slots};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A node with room for everything.
struct Roomy;

impl Nodes for Roomy {
    fn load(&self, _slot: NodeSlot, _now: Time) -> NodeLoad {
        NodeLoad {
            admission: Admission::Open,
            max_sessions: 1e6,
            sessions_per_second: Some(1e6),
            ..NodeLoad::default()
        }
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

/// Keeps the last message.
struct Last {
    bytes: Vec<u8>,
    flow: Flow,
}

impl Output for Last {
    fn send(&mut self, flow: &Flow, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.flow = *flow;
    }
    fn local_ip(&mut self, _from: Local, _to: std::net::SocketAddr) -> IpAddr {
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

const NODE: &str = "10.1.0.1:5060";
const CALLER: &str = "192.0.2.10:5060";

fn snapshot() -> Snapshot {
    let secret = "A".repeat(85) + "A=";
    let json = format!(
        r#"{{"format": 2, "keys": [{{"id": 1, "secret": "{secret}"}}],
            "nodes": [{{"uid": "a", "name": "a", "sip": "{NODE}"}}],
            "groups": [{{"namespace": "voice", "name": "ivr", "uid": "g", "generation": 1, "priority": 0,
                "match": [{{"request_uri": {{"user": null, "host": null, "user_pattern": "^1"}}, "sources": []}}],
                "algorithm": "LeastLoad", "legs_per_call": 2,
                "failover": {{"attempts": 3,
                    "retry_on": {{"own_refusal": true, "timeout": true, "transport": true, "codes": [410]}},
                    "first_response_timeout_ms": 2000, "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000]}},
                "timer_c_ms": 180000,
                "over_limit": {{"action": "Reject", "status": 503, "retry_after_s": [5, 15]}},
                "panic_threshold": 0.5,
                "members": [{{"node": 0, "weight": 1.0, "priority": 0, "draining": false}}]}}]}}"#
    );
    Snapshot::from_json(json.as_bytes(), &mut Slots::new(4, 4).at(Time::ZERO)).unwrap()
}

fn proxy() -> Proxy {
    Proxy::new(Config {
        worker: 0,
        workers: 1,
        run_id: 1,
        replica: 1,
        secret: [1; 16],
        listeners: vec![Listener {
            address: "198.51.100.1:5060".parse().unwrap(),
            advertise: None,
            nat: false,
            allow: vec![],
        }],
        node_side: Some(NodeSide { address: "10.0.0.9:5070".parse().unwrap(), advertise: vec![], sources: vec![] }),
        worker_address: "10.0.0.9:5071".parse().unwrap(),
        max_transactions: 100_000,
        seed: 1,
    })
}

struct Bench {
    proxy: Proxy,
    snapshot: Snapshot,
    last: Last,
    now: Time,
    /// Allocations inside the proxy.
    allocations: u64,
    /// Of the caller and of the node.
    transport: Transport,
}

impl Bench {
    fn put(&mut self, flow: Flow, bytes: &[u8]) {
        let packet = Packet { bytes, flow };
        let before = ALLOCATIONS.get();
        self.proxy.receive(self.now, &packet, &self.snapshot, &Roomy, &mut self.last);
        self.allocations += ALLOCATIONS.get() - before;
    }

    fn expire(&mut self) {
        let before = ALLOCATIONS.get();
        self.proxy.expire(self.now, &self.snapshot, &Roomy, &mut self.last);
        self.allocations += ALLOCATIONS.get() - before;
    }

    /// The node's response to the request it got last.
    fn respond(&mut self, status: &str, request: &str) {
        let mut response = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            if ["Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name))
            {
                response += line;
                response += if line.starts_with("To:") && !line.contains("tag") { ";tag=n\r\n" } else { "\r\n" };
            }
        }
        response += "Contact: <sip:n@10.1.0.1>\r\nContent-Length: 0\r\n\r\n";
        let connection = (self.transport == Transport::Tcp).then_some(ConnectionId::new(0, 2));
        let flow =
            Flow { transport: self.transport, connection, ..Flow::udp(Local::Worker, None, NODE.parse().unwrap()) };
        self.put(flow, response.as_bytes());
    }

    fn sent(&self) -> String {
        String::from_utf8(self.last.bytes.clone()).unwrap()
    }

    fn call(&mut self, number: u32) {
        let transport = self.transport.name();
        let head = |method: &str, uri: &str, tag: &str, routes: &str, cseq: &str| {
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {CALLER};branch=z9hG4bK{method}{number};rport\r\n{routes}\
                 Max-Forwards: 70\r\nFrom: <sip:c@192.0.2.10>;tag=c\r\nTo: <sip:1000@198.51.100.1>{tag}\r\n\
                 Call-ID: {number}@192.0.2.10\r\nCSeq: {cseq}\r\nContact: <sip:c@{CALLER}>\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let connection = (self.transport == Transport::Tcp).then_some(ConnectionId::new(0, 1));
        let caller = Flow::udp(Local::Listener(0), None, CALLER.parse().unwrap());
        let caller = Flow { transport: self.transport, connection, ..caller };
        let invite = head("INVITE", "sip:1000@198.51.100.1", "", "", "1 INVITE");
        self.put(caller, invite.as_bytes());
        let forwarded = self.sent();
        assert!(forwarded.starts_with("INVITE ") && self.last.flow.peer.to_string() == NODE);
        self.respond("100 Trying", &forwarded);
        self.respond("180 Ringing", &forwarded);
        self.respond("200 OK", &forwarded);
        assert!(self.sent().starts_with("SIP/2.0 200"));
        let mut records: Vec<&str> = forwarded.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).collect();
        records.reverse();
        let routes = format!("Route: {}\r\n", records.join(","));
        let ack = head("ACK", "sip:n@10.1.0.1", ";tag=n", &routes, "1 ACK");
        self.put(caller, ack.as_bytes());
        assert!(self.sent().starts_with("ACK "));
        let bye = head("BYE", "sip:n@10.1.0.1", ";tag=n", &routes, "2 BYE");
        self.put(caller, bye.as_bytes());
        let forwarded = self.sent();
        assert!(forwarded.starts_with("BYE "));
        self.respond("200 OK", &forwarded);
        assert!(self.sent().starts_with("SIP/2.0 200"));
    }
}

#[test]
fn a_call_allocates_nothing_in_steady_state() {
    calls_allocate_nothing(Transport::Udp);
}

#[test]
fn a_call_over_connections_allocates_nothing_in_steady_state() {
    calls_allocate_nothing(Transport::Tcp);
}

fn calls_allocate_nothing(transport: Transport) {
    let mut snapshot = snapshot();
    snapshot.nodes[0].transport = transport;
    let last =
        Last { bytes: Vec::with_capacity(4096), flow: Flow::udp(Local::Listener(0), None, CALLER.parse().unwrap()) };
    let mut bench = Bench { proxy: proxy(), snapshot, last, transport, now: Time::from_secs(1), allocations: 0 };
    // Longer than any timer, so that everything that goes round has gone round.
    let calls_per_second = 2;
    for number in 0..calls_per_second * 420 {
        if number == calls_per_second * 400 {
            assert!(bench.allocations > 0, "the counter counts");
            bench.allocations = 0;
        }
        bench.call(number);
        bench.now += Duration::from_millis(1000 / u64::from(calls_per_second));
        bench.expire();
    }
    assert_eq!(bench.allocations, 0);
}
