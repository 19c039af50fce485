//! Via: the way back (RFC 3261 §20.42, RFC 3581).

use std::net::{IpAddr, SocketAddr};

#[cfg(test)]
mod model;

use crate::scan::find;
use crate::text::{decimal, is_lws, is_token, is_word, quotes_are_closed, trim, trim_start};
use crate::uri::{host_port, literal};
use crate::{Host, Output, Overflow, Params};

/// The transport in a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `UDP`
    Udp,
    /// `TCP`
    Tcp,
    /// `TLS`
    Tls,
    /// `SCTP`
    Sctp,
    /// `WS` (RFC 7118)
    Ws,
    /// `WSS` (RFC 7118)
    Wss,
    /// Any other token.
    Other,
}

impl Transport {
    /// The name on the wire; empty for `Other`.
    #[must_use]
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Udp => b"UDP",
            Self::Tcp => b"TCP",
            Self::Tls => b"TLS",
            Self::Sctp => b"SCTP",
            Self::Ws => b"WS",
            Self::Wss => b"WSS",
            Self::Other => b"",
        }
    }

    /// Transports are case-insensitive (RFC 3261 §7.3.1).
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        match name.len() {
            3 if is_word(name, b"udp") => Self::Udp,
            3 if is_word(name, b"tcp") => Self::Tcp,
            3 if is_word(name, b"tls") => Self::Tls,
            4 if is_word(name, b"sctp") => Self::Sctp,
            2 if is_word(name, b"ws") => Self::Ws,
            3 if is_word(name, b"wss") => Self::Wss,
            _ => Self::Other,
        }
    }
}

/// The `rport` parameter (RFC 3581).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rport {
    /// Without a value: a request for one.
    Flag,
    /// The port the request came from.
    Port(u16),
}

/// One Via element.
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    /// The whole element.
    pub text: &'a [u8],
    /// The SIP version: `2.0`, or the request is answered 505 and no response is ours.
    pub version: &'a [u8],
    /// The transport the request was sent over.
    pub transport: Transport,
    /// Host of sent-by.
    pub host: Host<'a>,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// Never empty.
    pub branch: Option<&'a [u8]>,
    /// Where the request came from, as its receiver saw it.
    pub received: Option<IpAddr>,
    /// RFC 3581.
    pub rport: Option<Rport>,
    /// Where the response is wanted, for multicast.
    pub maddr: Option<Host<'a>>,
    /// Multicast time to live.
    pub ttl: Option<u8>,
    /// All parameters, those above included.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one element, `SIP/2.0/UDP host:port;params`, with white space wherever the grammar allows it. `None`
    /// when it is malformed or of another protocol than SIP. Of a repeated parameter the first counts; one whose
    /// value cannot be read counts as absent.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (version, rest) = match text.strip_prefix(b"SIP/2.0/") {
            Some(rest) => (&b"2.0"[..], rest),
            None => protocol(text)?,
        };
        let rest = trim_start(rest);
        let (transport, rest) = match rest {
            [b'U', b'D', b'P', b' ', rest @ ..] => (Transport::Udp, rest),
            _ => transport(rest)?,
        };
        let (host, port, tail) = host_port(trim_start(rest))?;
        let tail = trim_start(tail);
        if !matches!(tail.first(), None | Some(b';')) || !quotes_are_closed(tail) {
            return None;
        }
        let params = Params::new(text, text.len() - tail.len());
        let mut via = Self {
            text,
            version,
            transport,
            host,
            port,
            branch: None,
            received: None,
            rport: None,
            maddr: None,
            ttl: None,
            params,
        };
        for param in params {
            via.note(param.name, param.value);
        }
        Some(via)
    }

    fn note(&mut self, name: &[u8], value: Option<&'a [u8]>) {
        match name.len() {
            6 if is_word(name, b"branch") => {
                self.branch = self.branch.or(value.filter(|branch| !branch.is_empty()));
            }
            5 if is_word(name, b"rport") => {
                let rport = match value {
                    None | Some(b"") => Some(Rport::Flag),
                    Some(port) => decimal(port).and_then(|port| u16::try_from(port).ok()).map(Rport::Port),
                };
                self.rport = self.rport.or(rport);
            }
            8 if is_word(name, b"received") => self.received = self.received.or(value.and_then(literal)),
            5 if is_word(name, b"maddr") => self.maddr = self.maddr.or(value.and_then(maddr)),
            3 if is_word(name, b"ttl") => {
                self.ttl = self.ttl.or(value.and_then(decimal).and_then(|ttl| u8::try_from(ttl).ok()));
            }
            _ => {}
        }
    }

    /// The port of sent-by, or the default of its transport (RFC 3261 §18.2.2).
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if matches!(self.transport, Transport::Tls | Transport::Wss) { 5061 } else { 5060 })
    }

    /// Where a response goes over an unreliable transport (RFC 3261 §18.2.2, RFC 3581 §4): `maddr`, else `received`
    /// with `rport` or the port of sent-by, else sent-by. `None` when that is a name.
    #[must_use]
    pub fn response_address(&self) -> Option<SocketAddr> {
        if let Some(maddr) = self.maddr {
            return Some(SocketAddr::new(maddr.ip()?, self.port_or_default()));
        }
        let port = match self.rport {
            Some(Rport::Port(port)) if self.received.is_some() => port,
            _ => self.port_or_default(),
        };
        Some(SocketAddr::new(self.received.or(self.host.ip())?, port))
    }

    /// Writes the element with the source of the packet in it: `rport` is filled in when it was asked for, and
    /// `received` set when it was, or when sent-by is another address than the source (RFC 3261 §18.2.1, RFC 3581 §4).
    /// A `received` that came with the request is dropped: only the receiver can know it.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit.
    pub fn write_with_source(&self, source: SocketAddr, output: &mut Output<'_>) -> Result<(), Overflow> {
        let mut cursor = 0;
        let mut asked = false;
        for param in self.params {
            let rport = is_word(param.name, b"rport");
            if !rport && !is_word(param.name, b"received") {
                continue;
            }
            output.bytes(self.text.get(cursor..param.start).unwrap_or_default())?;
            if rport {
                asked = true;
                output.bytes(b";rport=")?;
                output.decimal(source.port().into())?;
            }
            cursor = param.end;
        }
        output.bytes(self.text.get(cursor..).unwrap_or_default())?;
        let source_ip = source.ip().to_canonical();
        if asked || self.host.ip() != Some(source_ip) {
            output.bytes(b";received=")?;
            output.plain_ip(source_ip)?;
        }
        Ok(())
    }
}

/// The version, and what follows it, of a protocol that is written in another way or of another version.
fn protocol(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = split_slash(text)?;
    let (version, rest) = split_slash(rest)?;
    (is_word(name, b"sip") && is_token(version)).then_some((version, rest))
}

/// The transport, and what follows it.
fn transport(text: &[u8]) -> Option<(Transport, &[u8])> {
    let (name, rest) = text.split_at_checked(text.iter().position(|byte| is_lws(*byte))?)?;
    is_token(name).then(|| (Transport::from_bytes(name), rest))
}

fn split_slash(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = find(b'/', text)?;
    Some((trim(text.get(..slash)?), text.get(slash + 1..)?))
}

/// `maddr` may hold an IPv6 address without brackets in the wild.
fn maddr(text: &[u8]) -> Option<Host<'_>> {
    literal(text).map(Host::Ip).or_else(|| Host::parse(text))
}
