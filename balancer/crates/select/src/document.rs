//! The JSON document (format 1) → [`Snapshot`]: everything checked before the registry is asked for anything.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::HashSet;

use regex::bytes::{Regex, RegexBuilder};

use crate::algorithm::Algorithm;
use crate::json::{ConfigError, Field, parse};
use crate::matching::{Matcher, Rule};
use crate::network::{Network, canonical_socket};
use crate::snapshot::{
    Failover, Group, GroupSlot, Key, Member, Node, NodeSlot, OverLimit, OverLimitAction, Registry, RetryOn, Snapshot,
};
use crate::transport::Transport;

/// The document's version that this reader knows.
const FORMAT: u64 = 1;

const MOST_KEYS: usize = 16;
const MOST_NODES: usize = 20_000;
const MOST_GROUPS: usize = 2_000;
const MOST_RULES: usize = 256;
const MOST_SOURCES: usize = 4_096;
const MOST_CODES: usize = 64;
/// Bytes of a compiled pattern: enough for any dialplan, far from a burden.
const PATTERN_SIZE: usize = 256 * 1024;
const LONGEST_PATTERN: usize = 1_024;
const LONGEST_MILLIS: u32 = 24 * 3600 * 1000;
const LONGEST_COOL_DOWN: u32 = 300 * 1000;

pub(crate) fn read(bytes: &[u8], registry: &mut dyn Registry) -> Result<Snapshot, ConfigError> {
    let value = parse(bytes)?;
    let mut document = Field::root(&value).object()?;
    let format = document.required("format")?;
    if format.integer(0..=u64::MAX)? != FORMAT {
        return Err(format.error(format!("this balancer reads format {FORMAT}")));
    }
    let keys = keys(&document.required("keys")?)?;
    let nodes = nodes(&document.required("nodes")?)?;
    let groups = groups(&document.required("groups")?, nodes.len())?;
    document.finish()?;
    place(keys, nodes, groups, registry)
}

/// Gives everything its slot. Until here `slot` of a node or member is its index in the document, of a group 0.
fn place(
    keys: Vec<Key>,
    mut nodes: Vec<Node>,
    mut groups: Vec<Group>,
    registry: &mut dyn Registry,
) -> Result<Snapshot, ConfigError> {
    let full = |what: &str| ConfigError { pointer: format!("/{what}"), message: "no slot is free for more".to_owned() };
    for node in &mut nodes {
        node.slot = registry.node_slot(&node.uid).ok_or_else(|| full("nodes"))?;
    }
    for group in &mut groups {
        group.slot = registry.group_slot(&group.namespace, &group.name).ok_or_else(|| full("groups"))?;
        for member in &mut group.members {
            let index = usize::try_from(member.slot.0).unwrap_or(usize::MAX);
            member.slot = nodes.get(index).ok_or_else(|| full("nodes"))?.slot;
        }
    }
    let group_slots: Vec<GroupSlot> = groups.iter().map(|group| group.slot).collect();
    let removed = registry.settle(&nodes, &group_slots);
    nodes.extend(removed);
    Ok(Snapshot::assemble(keys, nodes, groups))
}

fn keys(field: &Field<'_>) -> Result<Vec<Key>, ConfigError> {
    let mut ids = HashSet::new();
    let mut keys = Vec::new();
    for item in field.list(MOST_KEYS)? {
        let mut object = item.object()?;
        let id_field = object.required("id")?;
        let id = id_field.integer(0..=u8::MAX)?;
        if !ids.insert(id) {
            return Err(id_field.error(format!("key id {id} occurs twice")));
        }
        // The message never shows what was found: it may be most of a secret.
        let secret = object.required("secret")?.parsed(|text| {
            let bytes = base64(text).ok_or("expected base64")?;
            <[u8; 64]>::try_from(bytes).map_err(|_| "expected 64 bytes in base64")
        })?;
        object.finish()?;
        keys.push(Key { id, secret });
    }
    if keys.is_empty() { Err(field.error("at least one key is needed")) } else { Ok(keys) }
}

fn nodes(field: &Field<'_>) -> Result<Vec<Node>, ConfigError> {
    let mut uids = HashSet::new();
    let mut nodes = Vec::new();
    for (index, item) in (0..).zip(field.list(MOST_NODES)?) {
        let mut object = item.object()?;
        let uid_field = object.required("uid")?;
        let uid = uid_field.name()?;
        if !uids.insert(uid) {
            return Err(uid_field.error(format!("node uid {uid:?} occurs twice")));
        }
        let name = object.required("name")?.name()?;
        let sip_field = object.required("sip")?;
        let sip = sip_field.parsed(|text| text.parse::<SocketAddr>().map_err(|_| "expected IP-address:port"))?;
        if sip.port() == 0 || sip.ip().is_unspecified() || sip.ip().is_multicast() {
            return Err(sip_field.error("expected the address and port of one host"));
        }
        object.finish()?;
        nodes.push(Node {
            slot: NodeSlot(index),
            uid: uid.into(),
            name: name.into(),
            sip: canonical_socket(sip),
            transport: Transport::default(),
            removed: false,
        });
    }
    Ok(nodes)
}

fn groups(field: &Field<'_>, nodes: usize) -> Result<Vec<Group>, ConfigError> {
    let mut names = HashSet::new();
    let mut groups = Vec::new();
    for (index, item) in field.list(MOST_GROUPS)?.into_iter().enumerate() {
        let group = group(&item, index, nodes)?;
        if !names.insert((group.namespace.clone(), group.name.clone())) {
            return Err(item.error(format!("group {}/{} occurs twice", group.namespace, group.name)));
        }
        groups.push(group);
    }
    Ok(groups)
}

fn group(field: &Field<'_>, index: usize, nodes: usize) -> Result<Group, ConfigError> {
    let mut object = field.object()?;
    let group = Group {
        index,
        slot: GroupSlot(0),
        namespace: object.required("namespace")?.name()?.into(),
        name: object.required("name")?.name()?.into(),
        uid: object.required("uid")?.string()?.into(),
        generation: object.required("generation")?.integer(0..=u64::MAX)?,
        matcher: matcher(&object.required("match")?)?,
        algorithm: object
            .required("algorithm")?
            .parsed(|name| Algorithm::from_name(name).ok_or("accepted are LeastLoad, RoundRobin"))?,
        legs_per_call: object.required("legs_per_call")?.integer(1..=100)?,
        failover: failover(&object.required("failover")?)?,
        timer_c: object.required("timer_c_ms")?.millis(1_000..=LONGEST_MILLIS)?,
        over_limit: over_limit(&object.required("over_limit")?)?,
        panic_threshold: object.required("panic_threshold")?.number(0.0..=1.0)?,
        members: members(&object.required("members")?, nodes)?,
    };
    // Order of matching is the document's; the number is for people.
    if let Some(priority) = object.optional("priority") {
        priority.integer(i32::MIN..=i32::MAX)?;
    }
    object.finish()?;
    Ok(group)
}

fn matcher(field: &Field<'_>) -> Result<Matcher, ConfigError> {
    let rules = field.list(MOST_RULES)?.iter().map(rule).collect::<Result<_, _>>()?;
    Ok(Matcher { rules })
}

fn rule(field: &Field<'_>) -> Result<Rule, ConfigError> {
    let mut rule = Rule::default();
    let mut object = field.object()?;
    if let Some(request_uri) = object.optional("request_uri") {
        let mut uri = request_uri.object()?;
        rule.user = uri.optional("user").map(|user| user.name()).transpose()?.map(Into::into);
        rule.host = uri.optional("host").map(|host| host.name()).transpose()?.map(Into::into);
        rule.user_pattern = uri.optional("user_pattern").map(|field| field.parsed(pattern)).transpose()?;
        uri.finish()?;
    }
    if let Some(sources) = object.optional("sources") {
        rule.sources = sources
            .list(MOST_SOURCES)?
            .iter()
            .map(|item| item.parsed(str::parse::<Network>))
            .collect::<Result<_, _>>()?;
    }
    object.finish()?;
    Ok(rule)
}

fn pattern(text: &str) -> Result<Regex, String> {
    if text.is_empty() || text.len() > LONGEST_PATTERN {
        return Err(format!("expected a regular expression of 1 to {LONGEST_PATTERN} bytes"));
    }
    RegexBuilder::new(text)
        .unicode(false) // as the loader checked it: ASCII classes, which stay small
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_SIZE)
        .nest_limit(64)
        .build()
        .map_err(|error| format!("not a usable regular expression: {error}"))
}

fn failover(field: &Field<'_>) -> Result<Failover, ConfigError> {
    let mut object = field.object()?;
    let retry_field = object.required("retry_on")?;
    let mut retry = retry_field.object()?;
    let retry_on = RetryOn {
        own_refusal: retry.required("own_refusal")?.boolean()?,
        timeout: retry.required("timeout")?.boolean()?,
        transport: retry.required("transport")?.boolean()?,
        codes: retry
            .required("codes")?
            .list(MOST_CODES)?
            .iter()
            .map(|code| code.integer(300..=699))
            .collect::<Result<_, _>>()?,
    };
    retry.finish()?;
    let failover = Failover {
        attempts: object.required("attempts")?.integer(1..=16)?,
        retry_on,
        first_response_timeout: object.required("first_response_timeout_ms")?.millis(10..=LONGEST_MILLIS)?,
        progress_timeout: object.required("progress_timeout_ms")?.millis(10..=LONGEST_MILLIS)?,
        cool_down: cool_down(&object.required("cool_down_ms")?)?,
    };
    object.finish()?;
    Ok(failover)
}

fn cool_down(field: &Field<'_>) -> Result<(Duration, Duration), ConfigError> {
    let (least, most) = match field.list(2)?.as_slice() {
        [least, most] => (least.millis(0..=LONGEST_COOL_DOWN)?, most.millis(0..=LONGEST_COOL_DOWN)?),
        _ => return Err(field.error("expected two numbers: the least and the most")),
    };
    if least > most { Err(field.error("the least is above the most")) } else { Ok((least, most)) }
}

fn over_limit(field: &Field<'_>) -> Result<OverLimit, ConfigError> {
    let mut object = field.object()?;
    let action = object.required("action")?.parsed(|name| match name {
        "Reject" => Ok(OverLimitAction::Reject),
        "Allow" => Ok(OverLimitAction::Allow),
        _ => Err("accepted are Reject, Allow"),
    })?;
    let status = object.required("status")?.integer(400..=699)?;
    let range = object.required("retry_after_s")?;
    let retry_after_s = match range.list(2)?.as_slice() {
        [low, high] => (low.integer(0..=3600)?, high.integer(0..=3600)?),
        _ => return Err(range.error("expected two numbers: the least and the most")),
    };
    if retry_after_s.0 > retry_after_s.1 {
        return Err(range.error("the least is above the most"));
    }
    object.finish()?;
    Ok(OverLimit { action, status, retry_after_s })
}

fn members(field: &Field<'_>, nodes: usize) -> Result<Vec<Member>, ConfigError> {
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    let most = u32::try_from(nodes).unwrap_or(u32::MAX);
    for item in field.list(MOST_NODES)? {
        let mut object = item.object()?;
        let node_field = object.required("node")?;
        let node = node_field.integer(0..=u32::MAX)?;
        if node >= most {
            return Err(node_field.error(format!("there is no node {node}, there are {most}")));
        }
        if !seen.insert(node) {
            return Err(node_field.error(format!("node {node} is a member already")));
        }
        members.push(Member {
            slot: NodeSlot(node),
            weight: object.required("weight")?.number(0.0..=1e6)?,
            priority: object.required("priority")?.integer(i32::MIN..=i32::MAX)?,
            draining: object.required("draining")?.boolean()?,
        });
        object.finish()?;
    }
    members.sort_by_key(|member| core::cmp::Reverse(member.priority));
    Ok(members)
}

/// RFC 4648 §4, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    // What is left over must be fewer than six bits, all zero.
    (held < 6 && bits & ((1 << held) - 1) == 0).then_some(bytes)
}
