//! The configuration as a document, as the control side would push it.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Timer C of every group, in milliseconds.
pub(crate) const TIMER_C: u64 = 20_000;

/// A node's part in the pool.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) node: usize,
    pub(crate) weight: f64,
    pub(crate) draining: bool,
}

/// Nodes, members of the one group, and token keys.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    addresses: Vec<SocketAddr>,
    pub(crate) members: Vec<Member>,
    /// Ids of the keys; the first one seals.
    pub(crate) keys: Vec<u8>,
    pub(crate) attempts: u8,
    /// Nodes that are spoken to over TCP.
    streams: Vec<usize>,
}

impl Pool {
    /// All nodes, equal, and one key.
    pub(crate) fn new(addresses: Vec<SocketAddr>, streams: Vec<usize>) -> Self {
        let members = (0..addresses.len()).map(|node| Member { node, weight: 1.0, draining: false }).collect();
        Self { addresses, members, keys: vec![1], attempts: 3, streams }
    }

    /// The snapshot document, format 2.
    pub(crate) fn document(&self) -> String {
        let (mut nodes, mut members, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (index, member) in self.members.iter().enumerate() {
            let (name, sip) = (format!("fs{}", member.node), self.addresses[member.node]);
            let transport = if self.streams.contains(&member.node) { "TCP" } else { "UDP" };
            nodes.push(format!(
                r#"{{"uid": "pool/{name}@{sip}", "name": "{name}", "sip": "{sip}", "transport": "{transport}"}}"#
            ));
            let Member { weight, draining, .. } = member;
            members.push(format!(r#"{{"node": {index}, "weight": {weight}, "priority": 0, "draining": {draining}}}"#));
        }
        for &id in &self.keys {
            keys.push(format!(r#"{{"id": {id}, "secret": "{}"}}"#, base64(&[id; 64])));
        }
        format!(
            r#"{{"format": 2, "keys": [{}], "nodes": [{}], "groups": [{{
                "namespace": "voice", "name": "pool", "uid": "1", "generation": 1, "priority": 0, "match": [],
                "algorithm": "LeastLoad", "legs_per_call": 1, "timer_c_ms": {TIMER_C}, "panic_threshold": 0.0,
                "failover": {{
                    "attempts": {}, "first_response_timeout_ms": 2000, "progress_timeout_ms": 5000,
                    "cool_down_ms": [1000, 2000],
                    "retry_on": {{"own_refusal": true, "timeout": true, "transport": true, "codes": [410]}}
                }},
                "over_limit": {{"action": "Reject", "status": 503, "retry_after_s": [5, 15]}},
                "members": [{}]
            }}]}}"#,
            keys.join(", "),
            nodes.join(", "),
            self.attempts,
            members.join(", ")
        )
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for position in 0..=group.len() {
            let digit = usize::try_from(bits >> (18 - 6 * position) & 63).unwrap_or(0);
            let _ = write!(text, "{}", char::from(DIGITS[digit]));
        }
    }
    while text.len() % 4 != 0 {
        text.push('=');
    }
    text
}
