//! One group, put together.

use core::time::Duration;

use super::members::members;
use super::names::Names;
use super::nodes::transport;
use super::policy::{LONGEST_MILLIS, egress, failover, hash_on, over_limit};
use super::rules::matcher;
use crate::algorithm::Algorithm;
use crate::group::{Group, GroupSlot, Mode, Resource, WeightsFrom};
use crate::hash::{HashOn, HashSource};
use crate::json::{ConfigError, Field};
use crate::resources::RESOURCES;
use crate::snapshot::Node;
use crate::transport::Transport;

/// `capacity.callExpiry` where a document does not say.
const CALL_EXPIRY: Duration = Duration::from_secs(4 * 3600);

/// `index`: which group this is; `groups`: how many there are.
pub(super) fn group(
    field: &Field<'_>,
    index: usize,
    groups: usize,
    nodes: &[Node],
    names: &mut Names,
) -> Result<Group, ConfigError> {
    let mut object = field.object()?;
    let resources = object.optional("resources").map_or(Ok(Vec::new()), |field| resources(&field, names))?;
    let group = Group {
        index,
        slot: GroupSlot(0),
        namespace: object.required("namespace")?.name()?.into(),
        name: object.required("name")?.name()?.into(),
        uid: object.required("uid")?.string()?.into(),
        generation: object.required("generation")?.integer(0..=u64::MAX)?,
        matcher: matcher(&object.required("match")?, &resources)?,
        mode: object.optional("mode").map_or(Ok(Mode::Stateful), |field| field.parsed(mode))?,
        algorithm: object.required("algorithm")?.parsed(algorithm)?,
        hash_on: object.optional("hash_on").map_or(Ok(HashOn::default()), |field| hash_on(&field))?,
        weights_from: object
            .optional("weights_from")
            .map_or(Ok(WeightsFrom::Reported), |field| field.parsed(weights_from))?,
        high_water: object.optional("high_water").map_or(Ok(0.8), |field| field.number(0.01..=1.0))?,
        legs_per_call: object.required("legs_per_call")?.integer(1..=100)?,
        emergency_reserve: object.optional("emergency_reserve").map_or(Ok(0), |field| field.integer(0..=1_000_000))?,
        queue: object.optional("queue_ms").map_or(Ok(Duration::ZERO), |field| field.millis(0..=60_000))?,
        call_expiry: object
            .optional("call_expiry_ms")
            .map_or(Ok(CALL_EXPIRY), |field| field.millis(1_000..=7 * LONGEST_MILLIS))?,
        failover: failover(&object.required("failover")?)?,
        timer_c: object.required("timer_c_ms")?.millis(1_000..=LONGEST_MILLIS)?,
        over_limit: over_limit(&object.required("over_limit")?, index, groups)?,
        panic_threshold: object.required("panic_threshold")?.number(0.0..=1.0)?,
        max_ejected: object.optional("max_ejected").map_or(Ok(0.5), |field| field.number(0.0..=1.0))?,
        large_requests: object.optional("large_requests").map_or(Ok(Transport::Udp), |field| transport(&field))?,
        egress: object.optional("egress").map(|field| egress(&field, groups)).transpose()?,
        members: members(&object.required("members")?, nodes, &resources)?,
        resources,
    };
    // Order of matching is the document's; the number is for people.
    if let Some(priority) = object.optional("priority") {
        priority.integer(i32::MIN..=i32::MAX)?;
    }
    object.finish()?;
    if group.mode == Mode::Stateless && !is_stateless(&group) {
        return Err(field.error(
            "Stateless needs the algorithm Hash on CallID, From, To, RequestURI or SourceAddress: nothing else gives the \
             same node for a retransmission, CANCEL and ACK",
        ));
    }
    Ok(group)
}

/// Whether all that belongs to a transaction leads to the same node without a memory of it (RFC 3261 §16.11). A request
/// and its CANCEL or ACK may differ in credentials and header fields.
fn is_stateless(group: &Group) -> bool {
    group.algorithm == Algorithm::Hash && !matches!(group.hash_on.source, HashSource::AuthUser | HashSource::Header(_))
}

fn mode(name: &str) -> Result<Mode, &'static str> {
    match name {
        "Stateful" => Ok(Mode::Stateful),
        "Stateless" => Ok(Mode::Stateless),
        _ => Err("accepted are Stateful, Stateless"),
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        format!("accepted are {}", names.join(", "))
    })
}

fn weights_from(name: &str) -> Result<WeightsFrom, &'static str> {
    match name {
        "Reported" => Ok(WeightsFrom::Reported),
        "Static" => Ok(WeightsFrom::Static),
        _ => Err("accepted are Reported, Static"),
    }
}

fn resources(field: &Field<'_>, names: &mut Names) -> Result<Vec<Resource>, ConfigError> {
    let mut resources: Vec<Resource> = Vec::new();
    for item in field.list(RESOURCES.into())? {
        let mut object = item.object()?;
        let name_field = object.required("name")?;
        let name = name_field.name()?;
        if resources.iter().any(|resource| &*resource.name == name) {
            return Err(name_field.error(format!("resource {name:?} occurs twice")));
        }
        let limited = object.required("limited")?.boolean()?;
        object.finish()?;
        resources.push(Resource { slot: names.place(&name_field, name)?, name: name.into(), limited });
    }
    Ok(resources)
}
