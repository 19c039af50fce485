//! "Why would a call like this go where?": the packet path's own questions asked about a request that nobody sent.
//!
//! A question of single attributes is written as the message that it stands for; from there on it is read, matched and
//! placed as a received one is. Nothing is counted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Map, Value, json};
use switchtender_proxy::{Flow, Local, View};
use switchtender_select::json::{ConfigError, Field, parse};
use switchtender_select::{
    Candidate, Group, Memory, Mode, NoNode, NodeSlot, Nodes, ResourceSet, Snapshot, Time, Verdict, Wanted, candidates,
    home, place, place_stateless,
};
use switchtender_sip::{Index, Kind, Method};

use crate::settings::Settings;
use crate::shared::Shared;
use crate::views::{bytes, candidate_json};

/// Header fields that a question may hold.
const MOST_HEADERS: usize = 64;

/// What is asked.
struct Question<'a> {
    /// The request as it would come in.
    message: Vec<u8>,
    /// Whom to complain to about it.
    field: Field<'a>,
    source: IpAddr,
    listener: u16,
    /// Ask this group, whichever would match.
    group: Option<(Field<'a>, &'a str)>,
}

/// Where the call would go.
struct Outcome {
    chosen: Option<(usize, NodeSlot)>,
    reason: Option<&'static str>,
}

impl Outcome {
    fn of(found: Result<(usize, NodeSlot), NoNode>) -> Self {
        Self { chosen: found.ok(), reason: found.err().map(NoNode::name) }
    }
}

pub(crate) fn explain(request: &[u8], shared: &Shared, settings: &Settings, now: Time) -> Result<Vec<u8>, ConfigError> {
    let value = parse(request)?;
    let question = question(&value, settings)?;
    let mut index = Index::new();
    let parsed = index.parse(&question.message);
    let message = index.message(&question.message);
    let Kind::Request { method, .. } = message.kind() else {
        let fault = parsed.err().map_or("a response", |error| error.reason());
        return Err(question.field.error(format!("not a SIP request: {fault}")));
    };
    let Some(uri) = message.uri() else { return Err(question.field.error("not a URI")) };
    let flow = Flow::udp(Local::Listener(question.listener), None, SocketAddr::new(question.source, 0));
    let view = View::new(&message, &uri, &flow);

    let snapshot = shared.snapshot.load_full();
    let (group, matched) = match &question.group {
        None => {
            let matched = snapshot.classify(&view);
            (matched.as_ref().map(|matched| matched.group), matched)
        }
        Some((field, name)) => {
            let group = named_group(&snapshot, name).ok_or_else(|| field.error("no such group is in force"))?;
            (Some(group), group.matches(&view))
        }
    };
    let Some(group) = group else {
        return Ok(bytes(&json!({
            "generation": snapshot.generation, "group": null, "matches": false, "rule": null, "candidates": [],
            "choice": null, "reason": "NoGroup",
        })));
    };
    let registers = method == Method::Register && group.mode == Mode::Stateful;
    let wanted = Wanted {
        hash: if registers { Some(view.address_of_record()) } else { group.hash_key(&view) },
        // Only calls hold something for longer than a transaction.
        resources: matched
            .as_ref()
            .filter(|_| method == Method::Invite)
            .map_or(ResourceSet::EMPTY, |matched| matched.resources),
        emergency: matched.as_ref().is_some_and(|matched| matched.emergency),
    };
    let nodes = shared.nodes.of_worker(0, now);
    let outcome = match wanted.hash.filter(|_| registers) {
        Some(key) => Outcome::of(home(group, key, &nodes, &[], now).map(|slot| (group.index, slot))),
        None => outcome(&snapshot, group, &wanted, &nodes, now),
    };
    let asked = Asked { snapshot: &snapshot, wanted: &wanted, nodes: &nodes, now, chosen: outcome.chosen };
    let entries = asked.entries(group);
    let eligible = entries.iter().filter(|entry| entry["verdict"] == Verdict::Eligible.name()).count();
    let other = match group.over_limit.action {
        switchtender_select::OverLimitAction::Spill(other) => snapshot.groups.get(other),
        _ => None,
    };
    let spill = other.map(|other| json!({"group": group_name(other), "candidates": asked.entries(other)}));
    let resources: Vec<&str> = group
        .resources
        .iter()
        .filter(|resource| wanted.resources.contains(resource.slot))
        .map(|resource| &*resource.name)
        .collect();
    let choice = outcome.chosen.map(|(index, slot)| {
        let mut choice = named(&snapshot, slot);
        choice["group"] = snapshot.groups.get(index).map_or(Value::Null, group_name);
        choice
    });
    Ok(bytes(&json!({
        "generation": snapshot.generation,
        "group": group_name(group),
        "matches": matched.is_some(),
        "rule": matched.and_then(|matched| matched.rule),
        "mode": match group.mode { Mode::Stateful => "Stateful", Mode::Stateless => "Stateless" },
        "algorithm": group.algorithm.name(),
        // As text: a number of 64 bits is more than a reader of JSON need hold.
        "hash": wanted.hash.map(|key| format!("{key:016x}")),
        "wanted": {"legs": group.legs_per_call, "resources": resources, "emergency": wanted.emergency},
        "candidates": entries,
        "spill": spill,
        "choice": choice,
        "reason": outcome.reason,
        "eligible": eligible,
    })))
}

fn outcome(snapshot: &Snapshot, group: &Group, wanted: &Wanted, nodes: &impl Nodes, now: Time) -> Outcome {
    if group.mode == Mode::Stateless {
        let slot = wanted.hash.and_then(|hash| place_stateless(group, hash));
        return Outcome::of(slot.map(|slot| (group.index, slot)).ok_or(NoNode::Empty));
    }
    // The seed is the moment: asked again, the draw may differ, as the next call's may.
    let (mut rng, mut memory) = (switchtender_select::Rng::new(now.as_nanos()), Memory::new());
    let placed = place(snapshot, group, wanted, nodes, &[], now, &mut rng, &mut memory);
    Outcome::of(placed.map(|placement| (placement.group, placement.slot)))
}

fn question<'a>(value: &'a Value, settings: &Settings) -> Result<Question<'a>, ConfigError> {
    let mut object = Field::root(value).object()?;
    let source = object
        .optional("source")
        .map_or(Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |field| field.parsed(str::parse::<IpAddr>))?;
    let listener = object.optional("listener").map_or(Ok(0), |field| listener(&field, settings))?;
    let group = object.optional("group").map(|field| field.name().map(|name| (field.clone(), name))).transpose()?;
    let pasted = object.optional("message");
    let (message, field) = if let Some(field) = pasted {
        (whole(field.name()?), field)
    } else {
        let uri = object.required("request_uri")?;
        (written(&mut object, &uri)?, uri)
    };
    object.finish()?;
    Ok(Question { message, field, source, listener, group })
}

/// A pasted message: without its last line ends it is not less clear.
fn whole(text: &str) -> Vec<u8> {
    let mut message = text.trim_start().as_bytes().to_vec();
    if !text.contains("\r\n\r\n") && !text.contains("\n\n") {
        message.extend(b"\r\n\r\n");
    }
    message
}

/// The message that single attributes stand for.
fn written<'a>(object: &mut switchtender_select::json::Object<'a>, uri: &Field<'a>) -> Result<Vec<u8>, ConfigError> {
    let line = |field: &Field<'a>| {
        let text = field.string()?;
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(field.error("control characters are not allowed"));
        }
        Ok(text)
    };
    let method = object.optional("method").map_or(Ok("INVITE"), |field| {
        field.name()?;
        line(&field)
    })?;
    uri.name()?;
    let mut text = format!("{method} {} SIP/2.0\r\n", line(uri)?);
    let mut put =
        |name: &str, value: &str| [name, ": ", value, "\r\n"].into_iter().for_each(|part| text.push_str(part));
    for (name, attribute) in [("From", "from"), ("To", "to")] {
        if let Some(field) = object.optional(attribute) {
            let value = line(&field)?;
            if value.contains('<') { put(name, value) } else { put(name, &format!("<{value}>")) }
        }
    }
    if let Some(field) = object.optional("call_id") {
        put("Call-ID", line(&field)?);
    }
    if let Some(headers) = object.optional("headers") {
        for (name, value) in headers.entries(MOST_HEADERS)? {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
                return Err(value.error("not the name of a header field"));
            }
            put(name, line(&value)?);
        }
    }
    text.push_str("\r\n");
    Ok(text.into_bytes())
}

fn listener(field: &Field<'_>, settings: &Settings) -> Result<u16, ConfigError> {
    let name = field.name()?;
    let found = (0..).zip(&settings.listeners).find(|(_, listener)| listener.name == name);
    found.map(|(index, _)| index).ok_or_else(|| {
        let names: Vec<&str> = settings.listeners.iter().map(|listener| listener.name.as_str()).collect();
        field.error(format!("no such listener; there are {}", names.join(", ")))
    })
}

fn named_group<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Group> {
    let (namespace, name) = name.split_once('/')?;
    snapshot.groups.iter().find(|group| &*group.namespace == namespace && &*group.name == name)
}

fn group_name(group: &Group) -> Value {
    json!({"namespace": &*group.namespace, "name": &*group.name})
}

fn named(snapshot: &Snapshot, slot: NodeSlot) -> Value {
    let entry = |node: &switchtender_select::Node| json!({"uid": &*node.uid, "name": &*node.name, "sip": node.sip.to_string(), "transport": node.transport.name()});
    snapshot.node(slot).map_or_else(|| json!({}), entry)
}

/// One question, asked of any group.
struct Asked<'a, N> {
    snapshot: &'a Snapshot,
    wanted: &'a Wanted,
    nodes: &'a N,
    now: Time,
    chosen: Option<(usize, NodeSlot)>,
}

impl<N: Nodes> Asked<'_, N> {
    fn entries(&self, group: &Group) -> Vec<Value> {
        let shown = candidates(group, self.wanted, self.nodes, &[], self.now);
        shown.iter().map(|candidate| self.entry(group, candidate)).collect()
    }

    fn entry(&self, group: &Group, candidate: &Candidate) -> Value {
        let mut entry = candidate_json(group, candidate);
        if let Value::Object(name) = named(self.snapshot, candidate.slot) {
            entry.extend(name);
        }
        let taken = self.chosen == Some((group.index, candidate.slot));
        let load = &candidate.load;
        let more = json!({
            "admission": load.admission.name(),
            "sessions": load.sessions,
            "assigned_since": load.assigned,
            "ended_since": load.ended,
            "in_flight": load.in_flight,
            "score": load.score,
            "idle_cpu": load.idle_cpu,
            "resources": self.resources(group, candidate),
            "taken": taken,
            "why": why(candidate, taken),
        });
        if let Value::Object(more) = more {
            entry.extend(more);
        }
        Value::Object(entry)
    }

    /// Of the resources that the call wants.
    fn resources(&self, group: &Group, candidate: &Candidate) -> Map<String, Value> {
        let member = group.members.get(candidate.member);
        let wanted = group.resources.iter().filter(|resource| self.wanted.resources.contains(resource.slot));
        let numbers = wanted.map(|resource| {
            let limit = member.and_then(|member| member.limit(resource.slot, 0));
            let in_use = self.nodes.in_use(candidate.slot, resource.slot);
            (resource.name.to_string(), json!({"in_use": in_use, "limit": limit}))
        });
        numbers.collect()
    }
}

/// A verdict in a few words.
fn why(candidate: &Candidate, taken: bool) -> &'static str {
    match candidate.verdict {
        Verdict::Eligible if taken => "takes the call",
        // A registration takes no room: its node keeps it, full or not.
        _ if taken => "is where it belongs",
        Verdict::Eligible if candidate.last_resort => "could take it where nothing better can",
        Verdict::Eligible => "could take it as well",
        Verdict::Excluded => "was tried before",
        Verdict::Draining => "is draining",
        Verdict::ZeroWeight => "has no weight",
        Verdict::Closed => "takes no new calls by its own word or an operator's",
        Verdict::Unknown => "has not reported yet",
        Verdict::Unreachable => "is stale or down",
        Verdict::Ejected => "failed too many calls in a row",
        Verdict::Cooling => "refused or failed a call a moment ago",
        Verdict::Suspect => "did not answer last time, and one call finds out now",
        Verdict::Full => "has no room",
        Verdict::Resource => "has none left of a resource that the call wants",
        Verdict::RateLimited => "has its sessions per second used up",
        Verdict::RequestBudget => "has its requests per second used up",
    }
}
