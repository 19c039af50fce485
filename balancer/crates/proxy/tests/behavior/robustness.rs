//! Whatever comes in, in whatever order: no panic, no invariant broken, nothing left behind, nobody's relay.

use std::time::Duration;

use proptest::prelude::*;
use switchtender_proxy::{FailureKind, Local};

use crate::text::Request;
use crate::world::{CALLER, NODES, PUBLIC, World, address};

/// What may happen next.
#[derive(Clone, Debug)]
enum Move {
    /// A request of one of a few calls, from the caller, a node or a stranger.
    Request { method: usize, call: u8, branch: u8, source: usize, in_dialog: bool },
    /// A response to something the proxy sent.
    Response { to: usize, status: usize, shutdown: bool },
    /// Something the proxy sent comes back to it, with one byte changed.
    Echo { of: usize, position: usize, byte: u8 },
    /// Noise.
    Noise(Vec<u8>),
    /// Something could not be delivered.
    Failure { of: usize, quoted: usize, send: bool },
    /// Time passes.
    Pass(u32),
}

const METHODS: [&str; 8] = ["INVITE", "ACK", "BYE", "CANCEL", "MESSAGE", "REGISTER", "SUBSCRIBE", "PRACK"];
const SOURCES: [&str; 3] = [CALLER, NODES[0], "203.0.113.66:5060"];
const STATUSES: [(u16, &str); 10] = [
    (100, "Trying"),
    (180, "Ringing"),
    (200, "OK"),
    (302, "Moved"),
    (407, "Proxy Authentication Required"),
    (410, "Gone"),
    (480, "Temporarily Unavailable"),
    (486, "Busy Here"),
    (503, "Maximum Calls In Progress"),
    (603, "Decline"),
];

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..METHODS.len(), 0..3u8, 0..3u8, 0..SOURCES.len(), any::<bool>()).prop_map(
            |(method, call, branch, source, in_dialog)| Move::Request { method, call, branch, source, in_dialog }
        ),
        8 => (0..40usize, 0..STATUSES.len(), any::<bool>())
            .prop_map(|(to, status, shutdown)| Move::Response { to, status, shutdown }),
        1 => (0..40usize, 0..900usize, 0x20..0x7fu8).prop_map(|(of, position, byte)| Move::Echo { of, position, byte }),
        1 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(Move::Noise),
        1 => (0..40usize, 0..900usize, any::<bool>()).prop_map(|(of, quoted, send)| Move::Failure { of, quoted, send }),
        3 => (0..40_000u32).prop_map(Move::Pass),
    ]
}

fn request(method: &'static str, call: u8, branch: u8, in_dialog: bool) -> Request {
    let class = if matches!(method, "ACK" | "CANCEL") { "INVITE" } else { method };
    let mut request = Request::new(method, &format!("{class}{call}{branch}")).call_id(&format!("call{call}"));
    if in_dialog {
        request.to += ";tag=node";
        request.uri = "sip:node@10.1.0.1:5060".into();
    }
    request
}

fn play(moves: &[Move]) {
    let mut world = World::new();
    let mut seen: Vec<crate::world::Sent> = Vec::new();
    for next in moves {
        match next {
            Move::Request { method, call, branch, source, in_dialog } => {
                let mut request = request(METHODS[*method], *call, *branch, *in_dialog);
                if *in_dialog
                    && let Some(sent) = seen.iter().rev().find(|sent| !sent.text.all("Record-Route").is_empty())
                {
                    request.routes = sent.text.all("Record-Route").into_iter().map(String::from).collect();
                }
                let local = if *source == 1 { Local::NodeSide } else { PUBLIC };
                world.receive_at(local, SOURCES[*source], request.text());
            }
            Move::Response { to, status, shutdown } => {
                if let Some(request) = seen.iter().rev().nth(*to).filter(|sent| sent.text.method().is_some()).cloned() {
                    let (code, phrase) = STATUSES[*status];
                    let extra = if *shutdown { "Reason: SIP;cause=701;text=\"SYSTEM_SHUTDOWN\"\r\n" } else { "" };
                    world.respond(&request, request.text.response(code, phrase, extra));
                }
            }
            Move::Echo { of, position, byte } => {
                if let Some(sent) = seen.iter().rev().nth(*of) {
                    let mut bytes = sent.text.as_ref().to_vec();
                    // A bare LF is taken for a line end, and passed on as it is.
                    if let Some(at) = bytes.get_mut(*position).filter(|at| **at != b'\r') {
                        *at = *byte;
                    }
                    world.receive_at(Local::Worker, NODES[0], bytes);
                }
            }
            Move::Noise(bytes) => world.caller_sends(bytes),
            Move::Failure { of, quoted, send } => {
                if let Some(sent) = seen.iter().rev().nth(*of).cloned() {
                    let quoted = sent.text.as_ref().get(..*quoted).unwrap_or(sent.text.as_ref());
                    let kind = if *send { FailureKind::Send } else { FailureKind::Icmp };
                    world.fail(kind, &sent.to.to_string(), quoted);
                }
            }
            Move::Pass(millis) => world.pass(Duration::from_millis(u64::from(*millis))),
        }
        for sent in world.drain() {
            // Responses go to the address that a request came from; requests to nodes and the caller alone.
            let (ip, is_request) = (sent.to.ip(), sent.text.method().is_some());
            let stranger = address(SOURCES[2]).ip();
            let known = SOURCES.iter().chain(&NODES).any(|known| address(known).ip() == ip);
            assert!(known && !(is_request && ip == stranger), "{sent:?}");
            seen.push(sent);
        }
    }
    world.settle_down();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_whatever_comes(moves in proptest::collection::vec(any_move(), 1..60)) {
        play(&moves);
    }
}
