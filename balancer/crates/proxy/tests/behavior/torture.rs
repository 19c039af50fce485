//! The cases of RFC 4475 and RFC 5118 through the whole proxy: what leaves it for each. What the parser sees in them is
//! in the tests of crate `sip`, where the messages are.

// Clippy's leave for tests does not reach the functions that tests share.
#![allow(clippy::panic)]

use std::net::IpAddr;

use switchtender_proxy::{Event, Flow, Local, Output, Packet};
use switchtender_select::NodeSlot;

use crate::world::{CALLER, NODES, PUBLIC, World, address};

/// What becomes of a case.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// The request goes on to a node, or the response to the caller, and holds these pieces as they came.
    Passed(&'static [&'static str]),
    /// It is answered with this status line, and goes nowhere.
    Answered(&'static str),
    /// Nothing leaves.
    Dropped,
}

use Verdict::{Answered, Dropped, Passed};

/// Every case and what it is about.
const CASES: [(&str, Verdict); 61] = [
    // RFC 4475 section 3.1.1: valid, however odd.
    (
        "rfc4475/wsinv",
        Passed(&["TO :\r\n sip:desk@sip.example.com\r\n", "FieldOfStrangeValue: ;;,,;;,;\r\n", "\r\ns :\r\n"]),
    ),
    (
        "rfc4475/intmeth",
        Passed(&["!x.-_*%+`'~9 sip:1_odd.URI~", "NUL:\\\0 DEL:\\\x7f\"", "CSeq: 139122385 !x.-_*%+`'~9\r\n"]),
    ),
    (
        "rfc4475/esc01",
        Passed(&["sip:sips%3Auser%40example.net@sip.example.com SIP/2.0", "<sip:%75se%72@sip.example.com>"]),
    ),
    (
        "rfc4475/escnull",
        Passed(&["<sip:null-%00-null@sip.example.com>", "Contact: <sip:%00%00@host5.example.net>\r\n"]),
    ),
    ("rfc4475/esc02", Passed(&["RE%47IST%45R sip:registrar@", "C%6Fntact: <sip:alias2@host2.example.net>\r\n"])),
    ("rfc4475/lwsdisp", Passed(&["From: caller<sip:caller@example.net>;tag=lwsdisp\r\n"])),
    ("rfc4475/longreq", Passed(&["V: SIP/2.0/TCP sip2.example.net\r\n", "Unknown-LongLong"])),
    ("rfc4475/dblreq", Passed(&["REGISTER sip:sip.example.com SIP/2.0\r\n", "Content-Length: 0\r\n\r\n"])),
    ("rfc4475/semiuri", Passed(&["OPTIONS sip:user;par=u%40example.net@sip.example.com SIP/2.0\r\n"])),
    ("rfc4475/transports", Passed(&["SIP/2.0/SCTP t2", "SIP/2.0/TLS t3", "SIP/2.0/UNKNOWN t4", "SIP/2.0/TCP t5"])),
    ("rfc4475/mpart01", Passed(&["\x00\x01\x02\x03", "--edge 7--"])),
    ("rfc4475/unreason", Passed(&["SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e} "])),
    ("rfc4475/noreason", Passed(&["SIP/2.0 183 \r\n"])),
    // Section 3.1.2: invalid.
    ("rfc4475/badinv01", Answered("400 Malformed Via")),
    ("rfc4475/clerr", Answered("400 Content-Length Exceeds Datagram")),
    ("rfc4475/ncl", Answered("400 Malformed Content-Length")),
    ("rfc4475/scalar02", Answered("400 Malformed CSeq")),
    ("rfc4475/scalarlg", Dropped),
    ("rfc4475/quotbal", Answered("400 Malformed To")),
    ("rfc4475/ltgtruri", Answered("400 Malformed Request-URI")),
    ("rfc4475/lwsruri", Answered("400 Malformed Request-Line")),
    ("rfc4475/lwsstart", Answered("400 Malformed Request-Line")),
    ("rfc4475/trws", Answered("400 Malformed Request-Line")),
    // Of a Request-URI that is tolerated, the header part goes no further.
    ("rfc4475/escruri", Passed(&["INVITE sip:user@sip.example.com SIP/2.0\r\n"])),
    // The concern of the ends alone (RFC 3261 §16.3 step 1).
    ("rfc4475/baddate", Passed(&["Date: Fri, 01 Jan 2010 16:00:00 EST\r\n"])),
    ("rfc4475/regbadct", Passed(&["Contact: sip:user@example.net?Route=%3Csip:elsewhere.example.org%3E\r\n"])),
    ("rfc4475/badaspec", Passed(&["To: \"Watson, Thomas\" < sip:t.watson@sip.example.com >\r\n"])),
    ("rfc4475/baddn", Passed(&["From: Bell, Alexander <sip:a.g.bell@example.net>;tag=baddn\r\n"])),
    ("rfc4475/badvers", Answered("505 Version Not Supported")),
    ("rfc4475/mismatch01", Answered("400 CSeq Method Mismatch")),
    ("rfc4475/mismatch02", Answered("400 CSeq Method Mismatch")),
    ("rfc4475/bigcode", Dropped),
    // Sections 3.2 to 3.4.
    ("rfc4475/badbranch", Passed(&["Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bK;received=192.0.2.10\r\n"])),
    ("rfc4475/insuf", Answered("400 Missing From")),
    ("rfc4475/unkscm", Answered("416 Unsupported URI Scheme")),
    ("rfc4475/novelsc", Answered("416 Unsupported URI Scheme")),
    ("rfc4475/unksm2", Passed(&["To: isbn:2983792873\r\n", "Contact: <name:John_Smith>\r\n"])),
    ("rfc4475/bext01", Answered("420 Bad Extension")),
    ("rfc4475/invut", Passed(&["Content-Type: application/unknownformat\r\n", "<audio>"])),
    ("rfc4475/regaut01", Passed(&["Authorization: NoOneKnowsThisScheme opaque-data=here\r\n"])),
    ("rfc4475/multi01", Answered("400 Repeated From")),
    ("rfc4475/mcl01", Answered("400 Repeated Content-Length")),
    ("rfc4475/bcast", Passed(&["Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\r\n"])),
    ("rfc4475/zeromf", Answered("200 OK")),
    ("rfc4475/cparam01", Passed(&["Contact: sip:+19725552222@gw1.example.net;unknownparam\r\n"])),
    ("rfc4475/cparam02", Passed(&["Contact: <sip:+19725552222@gw1.example.net;unknownparam>\r\n"])),
    ("rfc4475/regescrt", Passed(&["Contact: <sip:user@example.net?Route=%3Csip:sip.example.com%3E>\r\n"])),
    ("rfc4475/sdp01", Passed(&["Accept: text/nobodyKnowsThis\r\n"])),
    (
        "rfc4475/inv2543",
        Passed(&["Via: SIP/2.0/UDP iftgw.example.net;received=192.0.2.10\r\n", "Max-Forwards: 70\r\n"]),
    ),
    // RFC 5118.
    ("rfc5118/ipv6-good", Passed(&["REGISTER sip:[2001:db8::10] SIP/2.0\r\n"])),
    ("rfc5118/ipv6-bad", Answered("400 Malformed Request-URI")),
    ("rfc5118/port-ambiguous", Passed(&["REGISTER sip:[2001:db8::10:5070] SIP/2.0\r\n"])),
    ("rfc5118/port-unambiguous", Passed(&["REGISTER sip:[2001:db8::10]:5070 SIP/2.0\r\n"])),
    // What a sender says of its own source does not count: we saw another (RFC 3261 §18.2.1).
    (
        "rfc5118/via-received-param-with-delim",
        Passed(&["SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK-via-received-param-with-delim;received=192.0.2.10\r\n"]),
    ),
    (
        "rfc5118/via-received-param-no-delim",
        Passed(&["SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK-via-received-param-no-delim;received=192.0.2.10\r\n"]),
    ),
    ("rfc5118/ipv6-in-sdp", Passed(&["c=IN IP6 2001:db8::20\r\n"])),
    (
        "rfc5118/mult-ip-in-header",
        Passed(&[
            "SIP/2.0/TCP [2001:db8::9:255]:5062;branch=z9hG4bK-b,\r\n SIP/2.0/UDP 192.0.2.1",
            "[2001:db8::10]:5080;received=[2001:db8::a]",
        ]),
    ),
    ("rfc5118/mult-ip-in-sdp", Passed(&["c=IN IP4 192.0.2.1\r\n", "c=IN IP6 2001:db8::1\r\n"])),
    (
        "rfc5118/ipv4-mapped-ipv6",
        Passed(&["Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bK-ipv4-mapped-ipv6"]),
    ),
    ("rfc5118/ipv6-bug-abnf-3-colons", Passed(&["OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0\r\n"])),
    ("rfc5118/ipv6-correct-abnf-2-colons", Passed(&["OPTIONS sip:user@[2001:db8::192.0.2.1] SIP/2.0\r\n"])),
];

fn case(name: &str) -> Vec<u8> {
    let path = format!("{}/../sip/tests/torture/{name}.sip", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Keeps what is sent as it is: not all of it is text.
#[derive(Default)]
struct Wire(Vec<(Flow, Vec<u8>)>);

impl Output for Wire {
    fn send(&mut self, flow: &Flow, bytes: &[u8]) {
        self.0.push((*flow, bytes.to_vec()));
    }

    fn local_ip(&mut self, _from: Local, _to: std::net::SocketAddr) -> IpAddr {
        IpAddr::from([198, 51, 100, 99])
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

/// What leaves because of `bytes` from `source`, our 100 aside.
fn leaves(world: &mut World, wire: &mut Wire, local: Local, source: &str, bytes: &[u8]) -> Vec<(Flow, Vec<u8>)> {
    let packet = Packet { bytes, flow: Flow::udp(local, None, address(source)) };
    world.proxy.receive(world.now, &packet, &world.snapshot, &world.book, wire);
    assert_eq!(world.proxy.check_invariants(), Ok(()));
    wire.0.drain(..).filter(|(_, bytes)| !bytes.starts_with(b"SIP/2.0 100 ")).collect()
}

/// The request that this response could answer, and the response as the node would give it to the request we sent on.
fn answered(world: &mut World, wire: &mut Wire, response: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(response.to_vec()).unwrap();
    let (start, rest) = text.split_once("\r\n").unwrap();
    let fields: String = rest
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Contact") && !line.starts_with("Retry-After") && !line.starts_with("Warning"))
        .map(|line| {
            line.split_once(";tag=")
                .filter(|(to, _)| to.starts_with("To"))
                .map_or(line.to_owned(), |(to, _)| format!("{to}\r\n"))
        })
        // An overlarge number is no number that we ever sent.
        .map(|line| if line.starts_with("CSeq: 9292") { "CSeq: 1 INVITE\r\n".to_owned() } else { line })
        .collect();
    let sent =
        leaves(world, wire, PUBLIC, CALLER, format!("INVITE sip:user@sip.example.com SIP/2.0\r\n{fields}").as_bytes());
    let [(_, invite)] = &sent[..] else { panic!("{sent:?}") };
    let invite = String::from_utf8(invite.clone()).unwrap();
    let own = invite.lines().find(|line| line.starts_with("Via: ")).unwrap();
    format!("{start}\r\n{own}\r\n{rest}").into_bytes()
}

#[track_caller]
fn holds(bytes: &[u8], piece: &str) {
    let found = bytes.windows(piece.len()).any(|window| window == piece.as_bytes());
    assert!(found, "{piece:?} in\n{}", String::from_utf8_lossy(bytes));
}

fn check(name: &str, verdict: Verdict) {
    let (mut world, mut wire) = (World::new(), Wire::default());
    let bytes = case(name);
    let is_response = bytes.starts_with(b"SIP/");
    if is_response {
        // Out of the blue it is nobody's.
        let left = leaves(&mut world, &mut wire, Local::Worker, NODES[0], &bytes);
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    let (local, source, bytes) = if is_response {
        (Local::Worker, NODES[0], answered(&mut world, &mut wire, &bytes))
    } else {
        (PUBLIC, CALLER, bytes)
    };
    let left = leaves(&mut world, &mut wire, local, source, &bytes);
    match (verdict, &left[..]) {
        (Passed(pieces), [(flow, bytes)]) => {
            let to = flow.peer.to_string();
            let expected = if is_response { to == CALLER } else { NODES.contains(&&to[..]) };
            assert!(expected, "{name} went to {to}");
            for piece in pieces {
                holds(bytes, piece);
            }
        }
        (Answered(status), [(flow, bytes)]) => {
            assert_eq!(flow.peer.ip(), address(CALLER).ip(), "{name}");
            assert!(
                bytes.starts_with(format!("SIP/2.0 {status}\r\n").as_bytes()),
                "{name}: {}",
                String::from_utf8_lossy(bytes)
            );
            assert_eq!(world.proxy.transactions(), 0, "{name}: refusals need no transaction");
        }
        (Dropped, []) => {}
        (verdict, left) => {
            let left: Vec<_> = left.iter().map(|(flow, bytes)| (flow.peer, String::from_utf8_lossy(bytes))).collect();
            panic!("{name}: {verdict:?}, but {left:#?}");
        }
    }
}

#[test]
fn rfc_4475_every_case_leaves_the_proxy_as_its_verdict_says() {
    for (name, verdict) in CASES.into_iter().filter(|(name, _)| name.starts_with("rfc4475/")) {
        check(name, verdict);
    }
}

#[test]
fn rfc_5118_every_case_leaves_the_proxy_as_its_verdict_says() {
    for (name, verdict) in CASES.into_iter().filter(|(name, _)| name.starts_with("rfc5118/")) {
        check(name, verdict);
    }
}

#[test]
fn every_torture_case_has_a_verdict() {
    for folder in ["rfc4475", "rfc5118"] {
        let files = std::fs::read_dir(format!("{}/../sip/tests/torture/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for file in files {
            let name = file.unwrap().file_name().into_string().unwrap().replace(".sip", "");
            assert!(CASES.iter().any(|(case, _)| *case == format!("{folder}/{name}")), "{name}");
        }
    }
}

#[test]
fn rfc_4475_dblreq_only_the_first_request_of_a_datagram_counts() {
    let (mut world, mut wire) = (World::new(), Wire::default());
    let left = leaves(&mut world, &mut wire, PUBLIC, CALLER, &case("rfc4475/dblreq"));
    let [(_, bytes)] = &left[..] else { panic!("{left:?}") };
    assert!(!String::from_utf8_lossy(bytes).contains("INVITE"));
}

#[test]
fn rfc_4475_badbranch_two_requests_without_a_transaction_id_stay_two() {
    let (mut world, mut wire) = (World::new(), Wire::default());
    let first = case("rfc4475/badbranch");
    let second = String::from_utf8(first.clone()).unwrap().replace("Call-ID: ", "Call-ID: other.");
    assert_eq!(leaves(&mut world, &mut wire, PUBLIC, CALLER, &first).len(), 1);
    assert_eq!(
        leaves(&mut world, &mut wire, PUBLIC, CALLER, second.as_bytes()).len(),
        1,
        "sent on, not taken for the first"
    );
    assert_eq!(leaves(&mut world, &mut wire, PUBLIC, CALLER, &first).len(), 0, "a retransmission");
}
