//! What Python reads, as JSON: addresses, nodes, statistics. The shapes stand in the Python stub.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use switchtender_proxy::{Bounds, Counter, Delay, GroupCounts, Histogram, Outcome};
use switchtender_select::{
    Candidate, Group, GroupSlot, Node, NodeLoad, NodeSlot, Nodes, ResourceSlot, Snapshot, Time, Wanted, candidates,
};

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
    let mut memberships: HashMap<NodeSlot, Vec<Membership<'_>>> = HashMap::new();
    for group in &snapshot.groups {
        for candidate in candidates(group, &Wanted::default(), &view, &[], now) {
            let numbers = Numbers::new(group, &candidate);
            let membership = Membership { namespace: &group.namespace, name: &group.name, numbers };
            memberships.entry(candidate.slot).or_default().push(membership);
        }
    }
    let entries = snapshot.nodes.iter().filter_map(|node| {
        let account = shared.nodes.account(node.slot, now)?;
        let groups = memberships.get(&node.slot).map_or(&[][..], Vec::as_slice);
        let resources = resources_json(&snapshot, names, &view, node.slot);
        Some(NodeEntry::new(node, &account, groups, resources, now))
    });
    let nodes = entries.collect();
    // Numbers and texts under names: always JSON.
    serde_json::to_vec(&NodeEntries { generation: snapshot.generation, nodes }).unwrap_or_default()
}

// Of thousands of nodes this is written each second: as JSON at once, with no tree of values in between.

#[derive(Serialize)]
struct NodeEntries<'a> {
    generation: u64,
    nodes: Vec<NodeEntry<'a>>,
}

#[derive(Serialize)]
struct NodeEntry<'a> {
    uid: &'a str,
    name: &'a str,
    sip: String,
    transport: &'static str,
    removed: bool,
    admission: &'static str,
    reported: Option<f64>,
    sessions: f64,
    max_sessions: f64,
    cap: Option<f64>,
    headroom: f64,
    share: f64,
    weight_factor: f64,
    sessions_per_second_limit: Option<f64>,
    score: f64,
    idle_cpu: Option<f64>,
    assigned: u64,
    ended: u64,
    assigned_since: u64,
    ended_since: u64,
    in_flight: u64,
    cooling: f64,
    suspect: bool,
    failures: u32,
    ejected_for_ms: u64,
    answered_ago: Option<f64>,
    legs_per_second: u64,
    requests_per_second: u64,
    groups: &'a [Membership<'a>],
    resources: Value,
}

impl<'a> NodeEntry<'a> {
    fn new(node: &'a Node, account: &Account, groups: &'a [Membership<'a>], resources: Value, now: Time) -> Self {
        let Account { report, reported, load, assigned, ended, failures, answered } = account;
        Self {
            uid: &node.uid,
            name: &node.name,
            sip: node.sip.to_string(),
            transport: node.transport.name(),
            removed: node.removed,
            admission: report.admission.name(),
            reported: reported.map(|at| now.since(at).as_secs_f64()),
            sessions: report.sessions,
            max_sessions: report.max_sessions,
            cap: report.cap,
            headroom: report.headroom,
            share: report.share,
            weight_factor: report.weight_factor,
            sessions_per_second_limit: report.sessions_per_second,
            score: report.score,
            idle_cpu: report.idle_cpu,
            assigned: *assigned,
            ended: *ended,
            assigned_since: load.assigned,
            ended_since: load.ended,
            in_flight: load.in_flight,
            cooling: load.cooling_until.since(now).as_secs_f64(),
            suspect: load.suspect,
            failures: *failures,
            ejected_for_ms: millis(load.ejected_until.since(now)),
            answered_ago: answered.map(|at| now.since(at).as_secs_f64()),
            legs_per_second: load.legs_last_second,
            requests_per_second: load.requests_last_second,
            groups,
            resources,
        }
    }
}

/// A node's place in a group.
#[derive(Serialize)]
struct Membership<'a> {
    namespace: &'a str,
    name: &'a str,
    #[serde(flatten)]
    numbers: Numbers,
}

/// A member's numbers for calls of its group.
#[derive(Serialize)]
struct Numbers {
    weight: Option<f64>,
    weight_now: f64,
    priority: Option<i32>,
    backup: Option<bool>,
    draining: Option<bool>,
    effective: f64,
    capacity: f64,
    free: f64,
    utilization: f64,
    eligible: bool,
    verdict: &'static str,
    last_resort: bool,
}

impl Numbers {
    fn new(group: &Group, candidate: &Candidate) -> Self {
        let member = group.members.get(candidate.member);
        let evaluation = candidate.evaluation;
        Self {
            weight: member.map(|member| member.weight),
            weight_now: candidate.weight,
            priority: member.map(|member| member.priority),
            backup: member.map(|member| member.backup),
            draining: member.map(|member| member.draining),
            effective: evaluation.effective,
            capacity: evaluation.capacity,
            free: evaluation.free,
            utilization: evaluation.utilization,
            eligible: candidate.verdict == switchtender_select::Verdict::Eligible,
            verdict: candidate.verdict.name(),
            last_resort: candidate.last_resort,
        }
    }
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
    match serde_json::to_value(Numbers::new(group, candidate)) {
        Ok(Value::Object(numbers)) => numbers,
        _ => Map::new(), // cannot be: it is an object
    }
}

/// What groups that had a slot before its present one had counted there.
pub(crate) type FormerGroups = HashMap<GroupSlot, GroupCounts>;

/// All that was ever counted in the slot of a group, over the workers; `None`: nothing.
pub(crate) fn group_counts(pages: &[Page], slot: GroupSlot) -> Option<GroupCounts> {
    pages.iter().filter_map(|page| page.group(slot)).reduce(|mut sum, counts| {
        sum.merge(&counts, u64::wrapping_add);
        sum
    })
}

/// What the group that has the slot now counted itself.
fn counts_since(former: &FormerGroups, pages: &[Page], slot: GroupSlot) -> GroupCounts {
    let mut counts = group_counts(pages, slot).unwrap_or_default();
    if let Some(former) = former.get(&slot) {
        counts.merge(former, u64::wrapping_sub);
    }
    counts
}

/// Everything counted, summed over the workers.
pub(crate) fn stats(shared: &Shared, former: &FormerGroups, now: Time) -> Vec<u8> {
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
    let mut histograms = vec![histogram("selection_seconds", &json!({}), &Bounds::STEPS, &choices(pages))];
    for group in &snapshot.groups {
        let counts = counts_since(former, pages, group.slot);
        for (&outcome, value) in Outcome::ALL.iter().zip(counts.outcomes) {
            counters.push(group_sample(group, outcome, value));
        }
        let labels = json!({"namespace": &*group.namespace, "group": &*group.name});
        for (delay, counts) in Delay::ALL.iter().zip(&counts.delays) {
            histograms.push(histogram(&format!("{}_seconds", delay.name()), &labels, &Delay::BOUNDS, counts));
        }
    }
    let gauge = |name: &str, value: u64| json!({"name": name, "labels": {}, "value": value});
    let gauges = [
        gauge("transactions_open", sum(&|page| page.open_transactions.load(Ordering::Relaxed))),
        gauge("transactions", sum(&|page| page.transactions.load(Ordering::Relaxed))),
        gauge("tcp_connections", sum(&|page| page.connections.load(Ordering::Relaxed))),
        gauge("dialogs", dialogs(shared, now)),
        gauge("snapshot_generation", in_force(pages)),
        gauge("traces_active", shared.traces.active(now) as u64),
    ];
    let document = json!({
        "counters": counters,
        "gauges": gauges,
        "histograms": histograms,
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

/// The snapshot that every worker goes by at least.
fn in_force(pages: &[Page]) -> u64 {
    pages.iter().map(|page| page.generation.load(Ordering::Relaxed)).min().unwrap_or(0)
}

/// Calls that we know to be up: those that a node began to answer and whose end we did not see, at each node no more
/// than it has by its last report and what came and went since. Without that bound a call whose BYE went through
/// another replica, or never came, would count for ever.
fn dialogs(shared: &Shared, now: Time) -> u64 {
    let at_node = |(slot, calls): (NodeSlot, u64)| {
        let load = shared.nodes.account(slot, now).map_or_else(NodeLoad::default, |account| account.load);
        calls.min(sessions(&load))
    };
    shared.standing.by_node().into_iter().map(at_node).sum()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and far from the limit")]
fn sessions(load: &NodeLoad) -> u64 {
    (load.sessions.max(0.0).ceil() as u64).saturating_add(load.assigned).saturating_sub(load.ended)
}

fn choices(pages: &[Page]) -> Histogram {
    let mut sum = Histogram::default();
    for page in pages {
        sum.merge(&page.choices(), u64::wrapping_add);
    }
    sum
}

/// A histogram as Prometheus has it: each bucket counts all observations up to its bound.
fn histogram(name: &str, labels: &Value, bounds: &Bounds, counted: &Histogram) -> Value {
    let up_to = counted.counts.iter().scan(0_u64, |sum, count| {
        *sum = sum.wrapping_add(*count);
        Some(*sum)
    });
    let buckets: Vec<Value> =
        bounds.nanos().iter().zip(up_to).map(|(bound, count)| json!([seconds(*bound), count])).collect();
    json!({
        "name": name,
        "labels": labels,
        "buckets": buckets,
        "sum": seconds(counted.sum_nanos),
        "count": counted.len(),
    })
}

#[allow(clippy::cast_precision_loss, reason = "exact for 104 days, and to the microsecond for millennia")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn worker_json(page: &Page, worker: u32) -> Value {
    json!({
        "worker": worker,
        "running": page.running.load(Ordering::Acquire),
        "generation": page.generation.load(Ordering::Relaxed),
        "open_transactions": page.open_transactions.load(Ordering::Relaxed),
        "transactions": page.transactions.load(Ordering::Relaxed),
        "loop_lag": seconds(page.loop_lag_nanos.load(Ordering::Relaxed)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Tally;
    use switchtender_proxy::Counters;

    const SLOT: GroupSlot = GroupSlot(1);

    fn page(first_responses: u64) -> Page {
        let (page, mut counters) = (Page::new(2), Counters::default());
        for _ in 0..first_responses {
            counters.note_delay(SLOT, Delay::FirstResponse, Duration::from_millis(3));
        }
        page.write(&counters, &Counters::default(), &Tally::default());
        page
    }

    #[test]
    fn a_group_begins_at_nothing_in_a_slot_that_another_one_had() {
        let former = FormerGroups::from([(SLOT, group_counts(&[page(2), page(3)], SLOT).unwrap())]);
        let first_responses =
            |pages: &[Page]| counts_since(&former, pages, SLOT).delays[Delay::FirstResponse as usize].clone();
        assert!(first_responses(&[page(2), page(3)]).is_empty());
        let later = first_responses(&[page(2), page(4)]);
        assert_eq!((later.len(), later.sum_nanos), (1, 3_000_000));
        assert_eq!(counts_since(&former, &[], GroupSlot(0)), GroupCounts::default());
    }

    #[test]
    fn a_bucket_counts_all_up_to_its_bound() {
        let mut counted = Histogram::default();
        for micros in [200, 900, 1_000, 60_000_000] {
            counted.record(&Bounds::ANSWERS, Duration::from_micros(micros));
        }
        let shown = histogram("x_seconds", &json!({"group": "g"}), &Bounds::ANSWERS, &counted);
        assert_eq!((&shown["buckets"][0], &shown["buckets"][1]), (&json!([0.00025, 1]), &json!([0.001, 3])));
        assert_eq!(shown["buckets"][13], json!([30.0, 3]), "one took longer");
        assert_eq!((&shown["count"], &shown["sum"]), (&json!(4), &json!(60.0021)));
    }

    #[test]
    fn sessions_are_those_reported_and_what_came_and_went_since() {
        let load = NodeLoad { sessions: 1.5, assigned: 3, ended: 1, ..NodeLoad::default() };
        assert_eq!(sessions(&load), 4);
        assert_eq!(sessions(&NodeLoad { ended: 9, ..load }), 0, "ends may be told before a report shows them");
    }
}
