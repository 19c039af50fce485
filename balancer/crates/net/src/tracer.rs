//! A worker's eye on the calls that are followed: which messages and decisions are theirs, and what is told of them.
//!
//! Both directions are looked at as bytes on their way, so that nothing else needs to know of it. A message that holds a
//! followed Call-ID somewhere is parsed once more to see whether it is its own; all others cost a search for a few bytes.
//! What is told goes into a ring of its own, and what finds that full is counted with its trace.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use switchtender_proxy::Decision;
use switchtender_select::{Group, GroupSlot, Node, NodeSlot, Snapshot, Time, Wanted, candidates};
use switchtender_sip::Index;

use crate::nodes::NodeTable;
use crate::observer::Way;
use crate::ring::Producer;
use crate::traces::{Trace, Traces};
use crate::views::{bytes as json_bytes, candidate_json};

/// So much of a message is told; a mark says how much more there was.
const LONGEST_TOLD: usize = 4096;

/// Something that happened to a traced call, as the control side reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRecord {
    /// The trace.
    pub trace: u64,
    /// Seconds of `CLOCK_MONOTONIC`.
    pub time: f64,
    /// The worker that tells.
    pub worker: u8,
    /// `received`, `sent`, or a decision: `placed`, `failed`, `held`, `refused`.
    pub what: &'static str,
    /// Of a message the transport, of a decision the group.
    pub by: String,
    /// Of a message our address, of a decision the node's uid.
    pub local: String,
    /// Of a message the other end, of a decision the node's address.
    pub peer: String,
    /// The message, or a JSON document.
    pub bytes: Vec<u8>,
}

/// One entry of the ring.
#[derive(Debug)]
pub(crate) struct Entry {
    trace: u64,
    at: Time,
    what: What,
}

#[derive(Debug)]
enum What {
    Message { way: Way, bytes: Box<[u8]> },
    Decision { what: &'static str, group: Box<str>, uid: Box<str>, address: Option<SocketAddr>, detail: Box<[u8]> },
}

impl Entry {
    pub(crate) fn told(self, worker: u8) -> TraceRecord {
        let Self { trace, at, what } = self;
        #[allow(
            clippy::cast_precision_loss,
            reason = "nanoseconds of uptime: a double holds microseconds of centuries"
        )]
        let time = at.as_nanos() as f64 / 1e9;
        let (what, by, local, peer, bytes) = match what {
            What::Message { way: Way { sent, transport, local, peer }, bytes } => {
                let what = if sent { "sent" } else { "received" };
                (what, transport.name().to_owned(), local.to_string(), peer.to_string(), bytes.into_vec())
            }
            What::Decision { what, group, uid, address, detail } => {
                let address = address.map_or_else(String::new, |address| address.to_string());
                (what, group.into(), uid.into(), address, detail.into_vec())
            }
        };
        TraceRecord { trace, time, worker, what, by, local, peer, bytes }
    }
}

/// See the module.
pub(crate) struct Tracer {
    entries: Producer<Entry>,
    /// Of the message at hand; kept because it is large.
    index: Box<Index>,
}

impl Tracer {
    pub(crate) fn new(entries: Producer<Entry>) -> Self {
        Self { entries, index: Box::default() }
    }

    /// Wake the control side if something waits for it.
    pub(crate) fn announce(&self) {
        self.entries.announce();
    }

    /// A message came or goes; how many entries were told of it.
    pub(crate) fn on_message(&mut self, now: Time, traces: &Traces, way: Way, bytes: &[u8]) -> u64 {
        let own = self.traces_of(now, traces, bytes);
        let taken = own.iter().filter(|trace| trace.takes_message(now));
        taken.map(|trace| self.tell(now, trace, What::Message { way, bytes: cut(bytes) })).sum()
    }

    /// Something was decided about a request; how many entries were told of it.
    pub(crate) fn on_decision(
        &mut self,
        now: Time,
        traces: &Traces,
        (snapshot, nodes): (&Snapshot, &NodeTable),
        request: &[u8],
        decision: &Decision<'_>,
    ) -> u64 {
        let own = self.traces_of(now, traces, request);
        let taken = own.iter().filter(|trace| trace.takes_decision(now));
        taken.map(|trace| self.tell(now, trace, told(decision, snapshot, nodes, now))).sum()
    }

    fn traces_of(&mut self, now: Time, traces: &Traces, bytes: &[u8]) -> Vec<Arc<Trace>> {
        let list = traces.list();
        let mut found: Vec<_> = list.iter().filter(|trace| trace.may_be_in(bytes, now)).cloned().collect();
        if !found.is_empty() {
            // Of a message with faults as much is indexed as could be read.
            let _ = self.index.parse(bytes);
            let call_id = self.index.message(bytes).call_id().unwrap_or_default();
            found.retain(|trace| trace.is_of(call_id));
        }
        found
    }

    fn tell(&self, at: Time, trace: &Trace, what: What) -> u64 {
        let taken = self.entries.offer(Entry { trace: trace.id, at, what });
        if !taken {
            trace.leave_out();
        }
        u64::from(taken)
    }
}

/// As much of a message as is told, with a mark where there was more.
fn cut(bytes: &[u8]) -> Box<[u8]> {
    match bytes.split_at_checked(LONGEST_TOLD) {
        Some((head, rest)) if !rest.is_empty() => {
            [head, format!("\r\n[{} more bytes]", rest.len()).as_bytes()].concat().into()
        }
        _ => bytes.into(),
    }
}

fn told(decision: &Decision<'_>, snapshot: &Snapshot, nodes: &NodeTable, now: Time) -> What {
    let (what, group, node, detail) = match *decision {
        Decision::Placed { group, node, wanted, tried } => {
            ("placed", group, Some(node), placed(snapshot, group, node, (wanted, tried), nodes, now))
        }
        Decision::Failed { group, node, cause, attempts, goes_on } => {
            let detail = json!({"cause": cause, "attempt": attempts, "goes_on": goes_on});
            ("failed", group, node, detail)
        }
        Decision::Held { group, why } => ("held", group, None, json!({"reason": why.name()})),
        Decision::Refused { group, why } => ("refused", group, None, json!({"reason": why.name()})),
    };
    let node: Option<&Node> = node.and_then(|node| snapshot.node(node));
    What::Decision {
        what,
        group: snapshot.group(group).map_or_else(Box::default, |group| full_name(group).into()),
        uid: node.map_or_else(Box::default, |node| (*node.uid).into()),
        address: node.map(|node| node.sip),
        detail: json_bytes(&detail).into(),
    }
}

/// The choice and the numbers that it went by, as good as they can be told a moment after it.
fn placed(
    snapshot: &Snapshot,
    group: GroupSlot,
    node: NodeSlot,
    (wanted, tried): (&Wanted, &[NodeSlot]),
    nodes: &NodeTable,
    now: Time,
) -> Value {
    let Some(group) = snapshot.group(group) else { return json!({"attempt": tried.len() + 1}) };
    let considered = candidates(group, wanted, &nodes.of_worker(0, now), tried, now);
    let chosen = considered.iter().find(|candidate| candidate.slot == node);
    let mut detail = chosen.map(|candidate| candidate_json(group, candidate)).unwrap_or_default();
    let eligible =
        considered.iter().filter(|candidate| candidate.verdict == switchtender_select::Verdict::Eligible).count();
    detail.insert("attempt".to_owned(), json!(tried.len() + 1));
    detail.insert("algorithm".to_owned(), json!(group.algorithm.name()));
    detail.insert("candidates".to_owned(), json!(considered.len()));
    detail.insert("candidates_eligible".to_owned(), json!(eligible));
    Value::Object(detail)
}

fn full_name(group: &Group) -> String {
    format!("{}/{}", group.namespace, group.name)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use switchtender_select::Transport;

    use super::*;
    use crate::ring::ring;
    use crate::sys::EventFd;

    const WAY: Way = Way {
        sent: true,
        transport: Transport::Tcp,
        local: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5060),
        peer: SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 5080),
    };

    fn tracer(room: usize) -> (Tracer, Receiver<Entry>) {
        let (entries, receiver) = ring(room, Arc::new(EventFd::new().unwrap()));
        (Tracer::new(entries), receiver)
    }

    fn following(call_id: &str) -> Traces {
        let traces = Traces::default();
        traces.begin(7, call_id.as_bytes(), (Time::ZERO, Time::from_secs(10)), 100).unwrap();
        traces
    }

    fn message(call_id: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1@host\r\n\
             To: <sip:a@b>\r\n{call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    #[test]
    fn a_message_is_told_by_its_call_id_and_nothing_else_in_it() {
        let (mut tracer, told) = tracer(8);
        let followed = following("1@host");
        for other in ["Call-ID: 11@host", "i: 2@host", "X-Call-ID: 1@host\r\nCall-ID: 3@host"] {
            tracer.on_message(Time::from_secs(1), &followed, WAY, &message(other, "1@host"));
        }
        for own in ["Call-ID: 1@host", "i : 1@host"] {
            tracer.on_message(Time::from_millis(1500), &followed, WAY, &message(own, ""));
        }
        tracer.on_message(Time::from_secs(10), &followed, WAY, &message("i: 1@host", ""));
        let records: Vec<_> = told.try_iter().map(|entry| entry.told(3)).collect();
        assert_eq!(records.len(), 2);
        let expected = TraceRecord {
            trace: 7,
            time: 1.5,
            worker: 3,
            what: "sent",
            by: "TCP".into(),
            local: "127.0.0.1:5060".into(),
            peer: "[::1]:5080".into(),
            bytes: message("Call-ID: 1@host", ""),
        };
        assert_eq!(records[0], expected);
    }

    #[test]
    fn a_message_that_cannot_be_read_to_its_end_is_told_too() {
        let (mut tracer, told) = tracer(8);
        let mut broken = message("Call-ID: 1@host", "");
        broken.truncate(broken.len() - 2);
        tracer.on_message(Time::ZERO, &following("1@host"), WAY, &broken);
        assert_eq!(told.try_iter().count(), 1);
    }

    #[test]
    fn a_long_message_is_cut_and_says_so() {
        let (mut tracer, told) = tracer(1);
        let (followed, long) = (following("1@host"), message("Call-ID: 1@host", &"x".repeat(5000)));
        tracer.on_message(Time::ZERO, &followed, WAY, &long);
        let record = told.try_iter().next().unwrap().told(0);
        let mark = format!("\r\n[{} more bytes]", long.len() - LONGEST_TOLD);
        assert_eq!(record.bytes, [&long[..LONGEST_TOLD], mark.as_bytes()].concat());
        assert_eq!(&*cut(&long[..LONGEST_TOLD]), &long[..LONGEST_TOLD], "what just fits is whole");
    }

    #[test]
    fn what_finds_the_ring_full_is_counted_with_its_trace() {
        let (mut tracer, told) = tracer(2);
        let followed = following("1@host");
        let own = message("Call-ID: 1@host", "");
        let count: u64 = (0..5).map(|_| tracer.on_message(Time::ZERO, &followed, WAY, &own)).sum();
        assert_eq!((told.try_iter().count(), count, followed.left_out(7)), (2, 2, 3));
    }
}
