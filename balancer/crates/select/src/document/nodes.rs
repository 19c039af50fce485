//! Keys and nodes.

use core::net::SocketAddr;
use std::collections::HashSet;

use super::MOST_NODES;
use super::policy::LONGEST_MILLIS;
use crate::json::{ConfigError, Field};
use crate::network::canonical_socket;
use crate::snapshot::{Ejection, Key, Node, NodeSlot};
use crate::transport::Transport;

const MOST_KEYS: usize = 16;

pub(super) fn keys(field: &Field<'_>) -> Result<Vec<Key>, ConfigError> {
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

pub(super) fn nodes(field: &Field<'_>) -> Result<Vec<Node>, ConfigError> {
    let mut uids = HashSet::new();
    let mut nodes = Vec::new();
    for (index, item) in (0..).zip(field.list(MOST_NODES)?) {
        let mut object = item.object()?;
        let uid_field = object.required("uid")?;
        let uid = uid_field.name()?;
        if !uids.insert(uid) {
            return Err(uid_field.error(format!("node uid {uid:?} occurs twice")));
        }
        nodes.push(Node {
            slot: NodeSlot(index),
            uid: uid.into(),
            name: object.required("name")?.name()?.into(),
            sip: endpoint(&object.required("sip")?)?,
            transport: object.optional("transport").map_or(Ok(Transport::Udp), |field| transport(&field))?,
            ejection: object.optional("ejection").map(|field| ejection(&field)).transpose()?,
            removed: false,
        });
        object.finish()?;
    }
    Ok(nodes)
}

/// The address and port of one host.
pub(super) fn endpoint(field: &Field<'_>) -> Result<SocketAddr, ConfigError> {
    let sip = field.parsed(|text| text.parse::<SocketAddr>().map_err(|_| "expected IP-address:port"))?;
    if sip.port() == 0 || sip.ip().is_unspecified() || sip.ip().is_multicast() {
        return Err(field.error("expected the address and port of one host"));
    }
    Ok(canonical_socket(sip))
}

pub(super) fn transport(field: &Field<'_>) -> Result<Transport, ConfigError> {
    field.parsed(|name| match name {
        "UDP" => Ok(Transport::Udp),
        "TCP" => Ok(Transport::Tcp),
        _ => Err("accepted are UDP, TCP"),
    })
}

fn ejection(field: &Field<'_>) -> Result<Ejection, ConfigError> {
    let mut object = field.object()?;
    let ejection = Ejection {
        failures: object.required("failures")?.integer(1..=1_000_000)?,
        duration: object.required("duration_ms")?.millis(1..=LONGEST_MILLIS)?,
        max: object.required("max_ms")?.millis(1..=LONGEST_MILLIS)?,
    };
    object.finish()?;
    if ejection.max < ejection.duration { Err(field.error("max_ms is below duration_ms")) } else { Ok(ejection) }
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
