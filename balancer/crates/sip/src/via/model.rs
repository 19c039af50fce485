//! The reader that [`Via::parse`] took the place of: what it must agree with.

use memchr::memchr;
use proptest::prelude::*;

use super::{Rport, Transport, Via};
use crate::params::model::{all, quotes_are_closed};
use crate::text::{decimal, is_lws, is_token, is_word, trim, trim_start};
use crate::uri::model::{host_port, literal};
use crate::{Host, Params, samples};

fn from_bytes(name: &[u8]) -> Transport {
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Sctp, Transport::Ws, Transport::Wss]
        .into_iter()
        .find(|transport| name.eq_ignore_ascii_case(transport.as_bytes()))
        .unwrap_or(Transport::Other)
}

fn parse(text: &[u8]) -> Option<Via<'_>> {
    let (version, rest) = match text.strip_prefix(b"SIP/2.0/") {
        Some(rest) => (&b"2.0"[..], rest),
        None => protocol(text)?,
    };
    let rest = trim_start(rest);
    let transport_len = rest.iter().position(|byte| is_lws(*byte))?;
    let transport = rest.get(..transport_len)?;
    if !is_token(transport) {
        return None;
    }
    let (host, port, tail) = host_port(trim_start(rest.get(transport_len..)?))?;
    let tail = trim_start(tail);
    if !matches!(tail.first(), None | Some(b';')) || !quotes_are_closed(tail) {
        return None;
    }
    let params = Params::new(text, text.len() - tail.len());
    let mut via = Via {
        text,
        version,
        transport: from_bytes(transport),
        host,
        port,
        branch: None,
        received: None,
        rport: None,
        maddr: None,
        ttl: None,
        params,
    };
    for param in all(text, text.len() - tail.len()) {
        note(&mut via, param.name, param.value);
    }
    Some(via)
}

fn note<'a>(via: &mut Via<'a>, name: &[u8], value: Option<&'a [u8]>) {
    if is_word(name, b"branch") {
        via.branch = via.branch.or(value.filter(|branch| !branch.is_empty()));
    } else if is_word(name, b"rport") {
        let rport = match value {
            None | Some(b"") => Some(Rport::Flag),
            Some(port) => decimal(port).and_then(|port| u16::try_from(port).ok()).map(Rport::Port),
        };
        via.rport = via.rport.or(rport);
    } else if is_word(name, b"received") {
        via.received = via.received.or(value.and_then(literal));
    } else if is_word(name, b"maddr") {
        via.maddr = via.maddr.or(value.and_then(maddr));
    } else if is_word(name, b"ttl") {
        via.ttl = via.ttl.or(value.and_then(decimal).and_then(|ttl| u8::try_from(ttl).ok()));
    }
}

/// The version, and what follows it, of a protocol that is written in another way or of another version.
fn protocol(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = split_slash(text)?;
    let (version, rest) = split_slash(rest)?;
    (is_word(name, b"sip") && is_token(version)).then_some((version, rest))
}

fn split_slash(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = memchr(b'/', text)?;
    Some((trim(text.get(..slash)?), text.get(slash + 1..)?))
}

/// `maddr` may hold an IPv6 address without brackets in the wild.
fn maddr(text: &[u8]) -> Option<Host<'_>> {
    literal(text).map(Host::Ip).or_else(|| Host::parse(text))
}

proptest! {
    #[test]
    fn vias_are_read_as_before(text in samples::text(), via in "SIP/2.0/(UDP|tcp|TLS|wsS|WS|Sctp|x) ", host in samples::text()) {
        let address = [via.as_bytes(), b"192.0.2.1:5060", &text].concat();
        let other = [via.as_bytes(), &host, b";rport;branch=z9hG4bK", &text].concat();
        for text in [&text, &address, &other] {
            prop_assert_eq!(format!("{:?}", Via::parse(text)), format!("{:?}", parse(text)));
        }
        prop_assert_eq!(Transport::from_bytes(&text), from_bytes(&text));
    }
}
