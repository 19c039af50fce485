//! What a group does with calls: failover, limits, keys, egress.

use core::time::Duration;

use super::nodes::{endpoint, transport};
use crate::group::{Egress, EgressTo, Failover, NextHop, OverLimit, OverLimitAction, RetryOn};
use crate::hash::{HashOn, HashSource};
use crate::json::{ConfigError, Field};
use crate::network::Network;
use crate::transport::Transport;

pub(super) const LONGEST_MILLIS: u32 = 24 * 3600 * 1000;
const LONGEST_COOL_DOWN: u32 = 300 * 1000;
const MOST_CODES: usize = 64;
const MOST_HOPS: usize = 256;
const MOST_NETWORKS: usize = 4_096;

pub(super) fn failover(field: &Field<'_>) -> Result<Failover, ConfigError> {
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

/// `groups`: how many there are; `index`: which one this is.
pub(super) fn over_limit(field: &Field<'_>, index: usize, groups: usize) -> Result<OverLimit, ConfigError> {
    let mut object = field.object()?;
    let target = object.optional("group");
    let action_field = object.required("action")?;
    let action = match (action_field.string()?, &target) {
        ("Reject", None) => OverLimitAction::Reject,
        ("Allow", None) => OverLimitAction::Allow,
        ("Spill", Some(target)) => OverLimitAction::Spill(other_group(target, index, groups)?),
        ("Spill", None) => return Err(action_field.error("Spill needs a group")),
        ("Reject" | "Allow", Some(target)) => return Err(target.error("only Spill has a group")),
        _ => return Err(action_field.error("accepted are Reject, Allow, Spill")),
    };
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

fn other_group(field: &Field<'_>, index: usize, groups: usize) -> Result<usize, ConfigError> {
    let target = usize::try_from(field.integer(0..=u32::MAX)?).unwrap_or(usize::MAX);
    if target >= groups {
        return Err(field.error(format!("there is no group {target}, there are {groups}")));
    }
    if target == index { Err(field.error("a group cannot spill into itself")) } else { Ok(target) }
}

pub(super) fn hash_on(field: &Field<'_>) -> Result<HashOn, ConfigError> {
    let mut object = field.object()?;
    let name = object.optional("name");
    let source_field = object.required("type")?;
    let source = match (source_field.string()?, &name) {
        ("CallID", None) => HashSource::CallId,
        ("From", None) => HashSource::From,
        ("To", None) => HashSource::To,
        ("RequestURI", None) => HashSource::RequestUri,
        ("AuthUser", None) => HashSource::AuthUser,
        ("SourceAddress", None) => HashSource::SourceAddress,
        ("Header", Some(name)) => HashSource::Header(name.name()?.as_bytes().into()),
        ("Header", None) => return Err(source_field.error("Header needs a name")),
        ("CallID" | "From" | "To" | "RequestURI" | "AuthUser" | "SourceAddress", Some(name)) => {
            return Err(name.error("only Header has a name"));
        }
        _ => {
            return Err(
                source_field.error("accepted are CallID, From, To, RequestURI, AuthUser, SourceAddress, Header")
            );
        }
    };
    let user_only = object.optional("user_only").map_or(Ok(false), |field| field.boolean())?;
    object.finish()?;
    Ok(HashOn { source, user_only })
}

pub(super) fn egress(field: &Field<'_>, groups: usize) -> Result<Egress, ConfigError> {
    let mut object = field.object()?;
    let listener = object.required("listener")?.integer(0..=u16::MAX)?;
    let hops = object.optional("next_hops").map_or(Ok(Vec::new()), |field| next_hops(&field))?;
    let group = object.optional("group");
    let networks = object.optional("request_uri");
    object.finish()?;
    let to = match (hops.is_empty(), group, networks) {
        (false, None, None) => EgressTo::NextHops(hops),
        (true, Some(group), None) => {
            let target = usize::try_from(group.integer(0..=u32::MAX)?).unwrap_or(usize::MAX);
            if target >= groups {
                return Err(group.error(format!("there is no group {target}, there are {groups}")));
            }
            EgressTo::Group(target)
        }
        (true, None, Some(networks)) => EgressTo::RequestUri(networks_of(&networks)?),
        _ => return Err(field.error("expected exactly one of next_hops, group, request_uri")),
    };
    Ok(Egress { listener, to })
}

fn next_hops(field: &Field<'_>) -> Result<Vec<NextHop>, ConfigError> {
    let mut hops = Vec::new();
    for item in field.list(MOST_HOPS)? {
        let mut object = item.object()?;
        hops.push(NextHop {
            address: endpoint(&object.required("address")?)?,
            transport: object.optional("transport").map_or(Ok(Transport::Udp), |field| transport(&field))?,
            priority: object.optional("priority").map_or(Ok(0), |field| field.integer(i32::MIN..=i32::MAX))?,
            weight: object.optional("weight").map_or(Ok(1.0), |field| field.number(0.0..=1e6))?,
        });
        object.finish()?;
    }
    hops.sort_by_key(|hop| core::cmp::Reverse(hop.priority));
    Ok(hops)
}

/// IP networks, as rules and egress name them.
pub(super) fn networks_of(field: &Field<'_>) -> Result<Vec<Network>, ConfigError> {
    field.list(MOST_NETWORKS)?.iter().map(|item| item.parsed(str::parse::<Network>)).collect()
}
