//! Responses of our own: what they say, and the ones that need no transaction.

use std::net::SocketAddr;

use switchtender_select::{Nodes, Transport};
use switchtender_sip::{HeaderName, Message, Output as Writer, Overflow, Response, respond};

use crate::config::Config;
use crate::core::{Core, Step};
use crate::counters::Counter;
use crate::fingerprint;
use crate::output::{Flow, Output, Packet};
use crate::transaction::Origin;

/// A response that we make ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) extra: Extra,
}

/// Header fields beyond those that every response copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    /// Unsupported with what Proxy-Require asks for (RFC 3261 §16.3 step 5).
    Unsupported,
    /// What we take for ourselves.
    Allow,
    /// Allow and what else an OPTIONS wants to know (RFC 3261 §11.2).
    Options,
    /// Seconds to stay away.
    RetryAfter(u16),
}

impl Reply {
    pub(crate) const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason, extra: Extra::None }
    }

    pub(crate) const TRYING: Self = Self::new(100, "Trying");
    pub(crate) const OK: Self = Self::new(200, "OK");
    pub(crate) const OPTIONS: Self = Self { code: 200, reason: "OK", extra: Extra::Options };
    pub(crate) const BAD_REQUEST: Self = Self::new(400, "Bad Request");
    pub(crate) const FORBIDDEN: Self = Self::new(403, "Forbidden");
    pub(crate) const NOT_FOUND: Self = Self::new(404, "Not Found");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self { code: 405, reason: "Method Not Allowed", extra: Extra::Allow };
    pub(crate) const REQUEST_TIMEOUT: Self = Self::new(408, "Request Timeout");
    pub(crate) const UNSUPPORTED_SCHEME: Self = Self::new(416, "Unsupported URI Scheme");
    pub(crate) const BAD_EXTENSION: Self = Self { code: 420, reason: "Bad Extension", extra: Extra::Unsupported };
    pub(crate) const FLOW_FAILED: Self = Self::new(430, "Flow Failed");
    pub(crate) const NO_DIALOG: Self = Self::new(481, "Call/Transaction Does Not Exist");
    pub(crate) const LOOP_DETECTED: Self = Self::new(482, "Loop Detected");
    pub(crate) const TOO_MANY_HOPS: Self = Self::new(483, "Too Many Hops");
    pub(crate) const TERMINATED: Self = Self::new(487, "Request Terminated");
    pub(crate) const SERVER_ERROR: Self = Self::new(500, "Server Internal Error");
    pub(crate) const TOO_LARGE: Self = Self::new(513, "Message Too Large");

    /// No room, now: come again after so many seconds.
    pub(crate) const fn unavailable(code: u16, retry_after: u16) -> Self {
        let reason = match code {
            480 => "Temporarily Unavailable",
            486 => "Busy Here",
            600 => "Busy Everywhere",
            603 => "Decline",
            _ => "Service Unavailable",
        };
        Self { code, reason, extra: Extra::RetryAfter(retry_after) }
    }

    fn write_extra(&self, message: &Message<'_>, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        match self.extra {
            Extra::None => Ok(()),
            Extra::Unsupported => {
                for header in message.all(HeaderName::ProxyRequire) {
                    writer.bytes(b"Unsupported: ")?;
                    writer.bytes(header.value.of(message.bytes()))?;
                    writer.bytes(b"\r\n")?;
                }
                Ok(())
            }
            Extra::Allow => writer.bytes(b"Allow: OPTIONS\r\n"),
            Extra::Options => writer.bytes(
                b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, REFER, NOTIFY, SUBSCRIBE, \
                  MESSAGE, PUBLISH\r\nAccept: application/sdp\r\nAccept-Encoding: identity\r\nAccept-Language: en\r\n",
            ),
            Extra::RetryAfter(seconds) => {
                writer.bytes(b"Retry-After: ")?;
                writer.decimal(seconds.into())?;
                writer.bytes(b"\r\n")
            }
        }
    }

    /// Writes the response to `message`, which came from `source`.
    pub(crate) fn write(
        &self,
        secret: &[u8; 16],
        message: &Message<'_>,
        source: SocketAddr,
        writer: &mut Writer<'_>,
    ) -> Result<(), Overflow> {
        let mut room = [0; 1024];
        let mut fields = Writer::new(&mut room);
        // What Proxy-Require asks for may be too much to repeat; the response stands without it.
        let fields = if self.write_extra(message, &mut fields).is_ok() { fields.written() } else { b"" };
        let tag = fingerprint::to_tag(secret, message);
        let response = Response {
            code: self.code,
            reason: self.reason.as_bytes(),
            to_tag: (self.code != 100).then_some(&tag[..]),
            source: Some(source),
            fields,
        };
        respond(message, &response, writer)
    }
}

/// Where a request came from and where its responses go (RFC 3261 §18.2.2, RFC 3581 §4): back to the address it came
/// from, at the port it came from when it asked for that or its listener is for callers behind NAT, else at the port of
/// sent-by. `maddr` is not followed: it would let anyone aim responses at a third party. What came over a connection is
/// answered over it.
pub(crate) fn origin(config: &Config, packet: &Packet<'_>, message: &Message<'_>) -> Option<Origin> {
    let via = message.top_via()?;
    let nat = config.is_nat(packet.flow.local);
    let port = if via.rport.is_some() || nat { packet.flow.peer.port() } else { via.port_or_default() };
    if packet.flow.transport == Transport::Tcp {
        return Some(Origin { flow: packet.flow, reply_to: packet.flow });
    }
    let reply_to = Flow { peer: SocketAddr::new(packet.flow.peer.ip(), port), ..packet.flow };
    Some(Origin { flow: packet.flow, reply_to })
}

impl Core {
    /// Answers a request without keeping anything: a retransmission gets the same answer again.
    pub(crate) fn answer<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        reply: Reply,
    ) {
        let Some(origin) = origin(&self.config, packet, message) else { return };
        let mut writer = Writer::new(&mut self.scratch);
        if reply.write(&self.config.secret, message, origin.flow.peer, &mut writer).is_err() {
            self.counters.count(Counter::Oversized);
            return;
        }
        step.output.send(&origin.reply_to, writer.written());
        self.counters.count(Counter::ResponsesSent);
    }
}
