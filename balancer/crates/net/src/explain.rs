//! "Why would a call like this go where?": the packet path's own questions asked about a request that nobody sent.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use switchtender_select::json::{ConfigError, Field, parse};
use switchtender_select::{
    Call, Candidate, Group, NoNode, NodeSlot, RoundRobinCursor, Snapshot, Time, Verdict, candidates, choose,
};
use switchtender_sip::{Host, Uri};

use crate::shared::Shared;
use crate::views::{bytes, candidate_json};

/// The request asked about. Beyond these, any request is like any other to today's rules.
struct Question<'a> {
    method: &'a [u8],
    uri: Uri<'a>,
    source: IpAddr,
}

pub(crate) fn explain(request: &[u8], shared: &Shared, now: Time) -> Result<Vec<u8>, ConfigError> {
    let value = parse(request)?;
    let question = question(&value)?;
    let snapshot = shared.snapshot.load_full();
    let host = match question.uri.host {
        Host::Name(name) => Cow::Borrowed(name),
        Host::Ip(ip) => Cow::Owned(ip.to_string().into_bytes()),
    };
    let call = Call { method: question.method, user: question.uri.user, host: &host, source: question.source };
    let Some(group) = snapshot.group_for(&call) else {
        return Ok(bytes(&json!({
            "generation": snapshot.generation, "group": null, "rule": null, "candidates": [], "choice": null,
            "reason": "NoGroup",
        })));
    };
    let view = shared.nodes.of_worker(0);
    // The seed is the moment: asked again, the draw may differ, as the next call's may.
    let (mut rng, mut cursor) = (switchtender_select::Rng::new(now.as_nanos()), RoundRobinCursor::new());
    let choice = choose(group, &view, &[], now, &mut rng, &mut cursor);
    let shown = candidates(group, &view, &[], now);
    Ok(bytes(&json!({
        "generation": snapshot.generation,
        "group": {"namespace": &*group.namespace, "name": &*group.name},
        "rule": group.matcher.matches(&call).flatten(),
        "algorithm": group.algorithm.name(),
        "candidates": shown.iter().map(|candidate| candidate_entry(&snapshot, group, candidate)).collect::<Vec<_>>(),
        "choice": choice.ok().map(|choice| named(&snapshot, choice.slot)),
        "reason": choice.err().map(NoNode::name),
        "eligible": shown.iter().filter(|candidate| candidate.verdict == Verdict::Eligible).count(),
    })))
}

fn question(value: &Value) -> Result<Question<'_>, ConfigError> {
    let mut object = Field::root(value).object()?;
    let uri_field = object.required("request_uri")?;
    let uri = Uri::parse(uri_field.name()?.as_bytes()).ok_or_else(|| uri_field.error("not a URI"))?;
    let method = object.optional("method").map_or(Ok("INVITE"), |field| field.name())?;
    let source = object
        .optional("source")
        .map_or(Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |field| field.parsed(str::parse::<IpAddr>))?;
    for header in ["from", "to", "call_id"] {
        object.optional(header).map_or(Ok(""), |field| field.string())?;
    }
    if let Some(headers) = object.optional("headers") {
        headers.object()?;
    }
    object.finish()?;
    Ok(Question { method: method.as_bytes(), uri, source })
}

fn candidate_entry(snapshot: &Snapshot, group: &Group, candidate: &Candidate) -> Value {
    let mut entry = candidate_json(group, candidate);
    if let Value::Object(name) = named(snapshot, candidate.slot) {
        entry.extend(name);
    }
    Value::Object(entry)
}

fn named(snapshot: &Snapshot, slot: NodeSlot) -> Value {
    snapshot
        .node(slot)
        .map_or(Value::Null, |node| json!({"uid": &*node.uid, "name": &*node.name, "sip": node.sip.to_string()}))
}
