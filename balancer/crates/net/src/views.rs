//! What Python reads, as JSON: addresses, nodes, statistics. The shapes stand in the Python stub.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};
use switchtender_proxy::{Counter, Histogram, Outcome};
use switchtender_select::{Candidate, Group, Node, NodeSlot, Nodes, ResourceSlot, Snapshot, Time, Wanted, candidates};

use crate::bind::Sockets;
use crate::counts::{Page, Traffic};
use crate::nodes::Account;
use crate::settings::Settings;
use crate::shared::Shared;

/// The addresses as bound.
#[derive(Debug)]
pub(crate) struct Addresses(Value);

impl Addresses {
    pub(crate) fn of(settings: &Settings, sockets: &[Sockets]) -> Self {
        let first = sockets.first();
        let bound = |address: SocketAddr| json!({"address": address.ip().to_string(), "port": address.port()});
        let with = |name: &str, value: Value, address: SocketAddr| {
            let mut object = bound(address);
            object[name] = value;
            object
        };
        let listeners: Vec<Value> = settings
            .listeners
            .iter()
            .zip(first.map_or(&[][..], |sockets| &sockets.listeners))
            .map(|(listener, socket)| with("name", json!(listener.name), socket.address))
            .collect();
        let worker_ports: Vec<Value> = sockets
            .iter()
            .zip(0_u32..)
            .map(|(sockets, worker)| with("worker", json!(worker), sockets.worker.address))
            .collect();
        let node_side = first.and_then(|sockets| sockets.node_side.as_ref()).map(|socket| bound(socket.address));
        Self(json!({"listeners": listeners, "node_side": node_side, "worker_ports": worker_ports}))
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        bytes(&self.0)
    }
}

/// Every node, present or recently removed, with what each of its groups makes of it now.
/// `names`: of resources, by slot.
pub(crate) fn nodes(shared: &Shared, names: &[String], now: Time) -> Vec<u8> {
    let snapshot = shared.snapshot.load_full();
    let view = shared.nodes.of_worker(0, now);
    let mut memberships: HashMap<NodeSlot, Vec<Value>> = HashMap::new();
    for group in &snapshot.groups {
        for candidate in candidates(group, &Wanted::default(), &view, &[], now) {
            let mut entry = candidate_json(group, &candidate);
            entry.insert("namespace".to_owned(), json!(&*group.namespace));
            entry.insert("name".to_owned(), json!(&*group.name));
            memberships.entry(candidate.slot).or_default().push(Value::Object(entry));
        }
    }
    let entry = |node: &Node| {
        let account = shared.nodes.account(node.slot, now)?;
        let mut entry = node_json(node, &account, memberships.get(&node.slot), now);
        entry["resources"] = resources_json(&snapshot, names, &view, node.slot);
        Some(entry)
    };
    let nodes: Vec<Value> = snapshot.nodes.iter().filter_map(entry).collect();
    bytes(&json!({"generation": snapshot.generation, "nodes": nodes}))
}

fn node_json(node: &Node, account: &Account, groups: Option<&Vec<Value>>, now: Time) -> Value {
    let Account { report, reported, load, assigned, ended, failures, answered } = account;
    json!({
        "uid": &*node.uid,
        "name": &*node.name,
        "sip": node.sip.to_string(),
        "transport": node.transport.name(),
        "removed": node.removed,
        "admission": report.admission.name(),
        "reported": reported.map(|at| now.since(at).as_secs_f64()),
        "sessions": report.sessions,
        "max_sessions": report.max_sessions,
        "cap": report.cap,
        "headroom": report.headroom,
        "share": report.share,
        "weight_factor": report.weight_factor,
        "sessions_per_second_limit": report.sessions_per_second,
        "score": report.score,
        "idle_cpu": report.idle_cpu,
        "assigned": assigned,
        "ended": ended,
        "assigned_since": load.assigned,
        "ended_since": load.ended,
        "in_flight": load.in_flight,
        "cooling": load.cooling_until.since(now).as_secs_f64(),
        "suspect": load.suspect,
        "failures": failures,
        "ejected_for_ms": millis(load.ejected_until.since(now)),
        "answered_ago": answered.map(|at| now.since(at).as_secs_f64()),
        "legs_per_second": load.legs_last_second,
        "requests_per_second": load.requests_last_second,
        "groups": groups.map_or(&[][..], Vec::as_slice),
    })
}

/// What calls use of a node's limited resources, and the strictest limit that a group sets there.
fn resources_json(snapshot: &Snapshot, names: &[String], view: &impl Nodes, node: NodeSlot) -> Value {
    let mut resources = Map::new();
    for (name, slot) in names.iter().zip((0..).map(ResourceSlot)) {
        let members = snapshot.groups.iter().filter_map(|group| group.member(node));
        let limit = members.filter_map(|member| member.limit(slot, 0)).min();
        let in_use = view.in_use(node, slot);
        if limit.is_some() || in_use > 0 {
            resources.insert(name.clone(), json!({"in_use": in_use, "limit": limit}));
        }
    }
    Value::Object(resources)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A member's numbers for calls of its group.
pub(crate) fn candidate_json(group: &Group, candidate: &Candidate) -> Map<String, Value> {
    let member = group.members.get(candidate.member);
    let evaluation = candidate.evaluation;
    let fields = [
        ("weight", json!(member.map(|member| member.weight))),
        ("weight_now", json!(candidate.weight)),
        ("priority", json!(member.map(|member| member.priority))),
        ("backup", json!(member.map(|member| member.backup))),
        ("draining", json!(member.map(|member| member.draining))),
        ("effective", json!(evaluation.effective)),
        ("capacity", json!(evaluation.capacity)),
        ("free", json!(evaluation.free)),
        ("utilization", json!(evaluation.utilization)),
        ("eligible", json!(candidate.verdict == switchtender_select::Verdict::Eligible)),
        ("verdict", json!(candidate.verdict.name())),
        ("last_resort", json!(candidate.last_resort)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Everything counted, summed over the workers.
pub(crate) fn stats(shared: &Shared) -> Vec<u8> {
    let snapshot = shared.snapshot.load_full();
    let pages = &shared.pages;
    let sum = |count: &dyn Fn(&Page) -> u64| pages.iter().map(count).fold(0, u64::wrapping_add);
    let mut counters = Vec::new();
    for &what in Traffic::ALL {
        let labels = what.label().map_or_else(|| json!({}), |(name, value)| json!({name: value}));
        counters.push(sample(what.name(), &labels, sum(&|page| page.traffic(what))));
    }
    for &counter in Counter::ALL {
        counters.push(sample(&format!("sip_{}", counter.name()), &json!({}), sum(&|page| page.total(counter))));
    }
    for group in &snapshot.groups {
        for &outcome in Outcome::ALL {
            let value = sum(&|page| page.outcome(group.slot.0, outcome));
            counters.push(group_sample(group, outcome, value));
        }
    }
    let gauge = |name: &str, value: u64| json!({"name": name, "labels": {}, "value": value});
    let gauges = [
        gauge("transactions_open", sum(&|page| page.open_transactions.load(Ordering::Relaxed))),
        gauge("transactions", sum(&|page| page.transactions.load(Ordering::Relaxed))),
        gauge("tcp_connections", sum(&|page| page.connections.load(Ordering::Relaxed))),
        gauge("snapshot_generation", snapshot.generation),
    ];
    let document = json!({
        "counters": counters,
        "gauges": gauges,
        "histograms": [delays(pages)],
        "workers": pages.iter().zip(0_u32..).map(|(page, worker)| worker_json(page, worker)).collect::<Vec<_>>(),
        "groups": versions(&snapshot),
    });
    bytes(&document)
}

fn sample(name: &str, labels: &Value, value: u64) -> Value {
    json!({"name": format!("{name}_total"), "labels": labels, "value": value})
}

/// One count of a group's calls. What the proxy counts in one table are several families to their readers.
fn group_sample(group: &Group, outcome: Outcome, value: u64) -> Value {
    let name = outcome.name();
    let part = |prefix: &str| name.strip_prefix(prefix);
    let (family, label) = if let Some(cause) = part("failover_") {
        ("failovers", Some(("cause", cause)))
    } else if let Some(cause) = part("rejected_") {
        ("calls_rejected", Some(("cause", cause)))
    } else if let Some(end) = part("held_") {
        ("calls_held_over", Some(("outcome", end)))
    } else if let Some(end) = part("outward_") {
        ("calls_outward_over", Some(("outcome", end)))
    } else {
        match outcome {
            Outcome::Offered => ("calls_offered", None),
            Outcome::Held => ("calls_held", None),
            Outcome::Spilled => ("calls_spilled", None),
            Outcome::Outward => ("calls_outward", None),
            _ => ("calls", Some(("outcome", name))),
        }
    };
    let mut labels = json!({"namespace": &*group.namespace, "group": &*group.name});
    if let Some((name, value)) = label {
        labels[name] = json!(value);
    }
    sample(family, &labels, value)
}

/// The post-dial delay. Two steps for each power of two are enough for a reader; the finer ones stay inside.
fn delays(pages: &[Page]) -> Value {
    let mut counts = vec![0_u64; Histogram::BUCKETS];
    let mut sum_micros = 0_u64;
    for page in pages {
        let (buckets, micros) = page.delays();
        counts.iter_mut().zip(buckets).for_each(|(count, more)| *count = count.wrapping_add(more));
        sum_micros = sum_micros.wrapping_add(micros);
    }
    let mut buckets = Vec::new();
    let mut below = 0_u64;
    for (bucket, count) in counts.iter().enumerate() {
        below = below.wrapping_add(*count);
        let upper = Histogram::upper_micros(bucket);
        let is_step = upper.is_power_of_two() || (upper % 3 == 0 && (upper / 3).is_power_of_two());
        if is_step && (LEAST_MICROS..=MOST_MICROS).contains(&upper) {
            buckets.push(json!([seconds(upper), below]));
        }
    }
    json!({
        "name": "post_dial_delay_seconds", "labels": {}, "buckets": buckets, "sum": seconds(sum_micros), "count": below,
    })
}

/// Bounds of the buckets shown: 0.26 ms to 67 s.
const LEAST_MICROS: u64 = 1 << 8;
const MOST_MICROS: u64 = 1 << 26;

#[allow(clippy::cast_precision_loss, reason = "exact for 285 years of microseconds")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn worker_json(page: &Page, worker: u32) -> Value {
    json!({
        "worker": worker,
        "running": page.running.load(Ordering::Acquire),
        "generation": page.generation.load(Ordering::Relaxed),
        "open_transactions": page.open_transactions.load(Ordering::Relaxed),
        "transactions": page.transactions.load(Ordering::Relaxed),
        "loop_lag": seconds(page.loop_lag_nanos.load(Ordering::Relaxed) / 1000),
        "overloaded": page.overloaded.load(Ordering::Relaxed),
        "received": page.traffic(Traffic::Received),
        "sent": page.traffic(Traffic::Sent),
        "tcp_connections": page.connections.load(Ordering::Relaxed),
        "panics": page.traffic(Traffic::Panics),
    })
}

/// The version of each group that is in force.
fn versions(snapshot: &Snapshot) -> Vec<Value> {
    let version = |group: &Group| json!({"namespace": &*group.namespace, "name": &*group.name, "uid": &*group.uid, "generation": group.generation});
    snapshot.groups.iter().map(version).collect()
}

pub(crate) fn bytes(document: &Value) -> Vec<u8> {
    // A `Value` has string keys and finite numbers only, so it always is JSON.
    serde_json::to_vec(document).unwrap_or_default()
}
