//! "Why would a call like this go where?": the packet path's own questions asked about a request that nobody sent.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use switchtender_select::json::{ConfigError, Field, parse};
use switchtender_select::{
    Candidate, Group, Memory, NoNode, NodeSlot, Request, Snapshot, Time, UriParts, Verdict, Wanted, candidates, place,
};
use switchtender_sip::{Host, Uri};

use crate::shared::Shared;
use crate::views::{bytes, candidate_json};

/// The request asked about.
struct Question<'a> {
    method: &'a [u8],
    uri: Uri<'a>,
    /// The host of the URI, an address in its usual spelling.
    host: Vec<u8>,
    source: IpAddr,
}

impl Request for Question<'_> {
    fn method(&self) -> &[u8] {
        self.method
    }
    fn request_uri(&self) -> UriParts<'_> {
        UriParts { user: self.uri.user, host: &self.host, port: self.uri.port }
    }
    fn to(&self) -> Option<UriParts<'_>> {
        None
    }
    fn from(&self) -> Option<UriParts<'_>> {
        None
    }
    fn call_id(&self) -> Option<&[u8]> {
        None
    }
    fn auth_user(&self) -> Option<&[u8]> {
        None
    }
    fn header(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }
    fn source(&self) -> IpAddr {
        self.source
    }
    fn listener(&self) -> Option<u16> {
        None
    }
}

pub(crate) fn explain(request: &[u8], shared: &Shared, now: Time) -> Result<Vec<u8>, ConfigError> {
    let value = parse(request)?;
    let question = question(&value)?;
    let snapshot = shared.snapshot.load_full();
    let Some(matched) = snapshot.classify(&question) else {
        return Ok(bytes(&json!({
            "generation": snapshot.generation, "group": null, "rule": null, "candidates": [], "choice": null,
            "reason": "NoGroup",
        })));
    };
    let group = matched.group;
    let wanted = Wanted { hash: group.hash_key(&question), resources: matched.resources, emergency: matched.emergency };
    let view = shared.nodes.of_worker(0);
    // The seed is the moment: asked again, the draw may differ, as the next call's may.
    let (mut rng, mut memory) = (switchtender_select::Rng::new(now.as_nanos()), Memory::new());
    let choice = place(&snapshot, group, &wanted, &view, &[], now, &mut rng, &mut memory);
    let shown = candidates(group, &wanted, &view, &[], now);
    Ok(bytes(&json!({
        "generation": snapshot.generation,
        "group": {"namespace": &*group.namespace, "name": &*group.name},
        "rule": matched.rule,
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
    let host = match uri.host {
        Host::Name(name) => name.to_vec(),
        Host::Ip(ip) => ip.to_string().into_bytes(),
    };
    Ok(Question { method: method.as_bytes(), uri, host, source })
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
