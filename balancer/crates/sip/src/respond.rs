//! Messages that a proxy makes from one it received: responses, the ACK for a failure, CANCEL.

use std::net::SocketAddr;

use crate::{Header, HeaderName, Message, NameAddr, Output, Overflow, Via};

/// What a response says beyond what it copies.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// Status code.
    pub code: u16,
    /// Reason phrase.
    pub reason: &'a [u8],
    /// Added to To when that parses and has no tag; leave it out for 100 only (RFC 3261 §8.2.6.2).
    pub to_tag: Option<&'a [u8]>,
    /// Where the request came from, for the top Via; `None` when it already stands there.
    pub source: Option<SocketAddr>,
    /// Further header fields, each with its CRLF.
    pub fields: &'a [u8],
}

/// Builds the response to a request (RFC 3261 §8.2.6): Via, From, To, Call-ID and `CSeq` are copied as far as they are
/// there, Timestamp for 100 (§8.2.6.1); there is no body.
///
/// # Errors
/// [`Overflow`] when it does not fit.
pub fn respond(request: &Message<'_>, response: &Response<'_>, output: &mut Output<'_>) -> Result<(), Overflow> {
    output.bytes(b"SIP/2.0 ")?;
    output.decimal(response.code.into())?;
    output.bytes(b" ")?;
    output.bytes(response.reason)?;
    output.bytes(b"\r\n")?;
    for (rank, header) in request.all(HeaderName::Via).enumerate() {
        match response.source {
            Some(source) if rank == 0 => via_with_source(request, header, source, output)?,
            _ => copy(request, header, output)?,
        }
    }
    copy_first(request, HeaderName::From, output)?;
    if let Some(header) = request.first(HeaderName::To) {
        to(request, header, response.to_tag, output)?;
    }
    copy_first(request, HeaderName::CallId, output)?;
    copy_first(request, HeaderName::CSeq, output)?;
    if response.code == 100 {
        copy_first(request, HeaderName::Timestamp, output)?;
    }
    output.bytes(response.fields)?;
    output.bytes(b"Content-Length: 0\r\n\r\n")
}

/// Builds the ACK for a final response other than 2xx from the INVITE as it was sent (RFC 3261 §17.1.1.3): its
/// Request-URI, top Via and Routes, and the To of the response.
///
/// # Errors
/// [`Overflow`] when it does not fit.
pub fn ack(invite: &Message<'_>, response: &Message<'_>, output: &mut Output<'_>) -> Result<(), Overflow> {
    let to = match response.first(HeaderName::To) {
        Some(header) => Some((response, header)),
        None => invite.first(HeaderName::To).map(|header| (invite, header)),
    };
    hop(invite, b"ACK", to, b"", output)
}

/// Builds the CANCEL of an INVITE from the INVITE as it was sent (RFC 3261 §9.1). `fields` are further header fields,
/// each with its CRLF: Reason (RFC 3326).
///
/// # Errors
/// [`Overflow`] when it does not fit.
pub fn cancel(invite: &Message<'_>, fields: &[u8], output: &mut Output<'_>) -> Result<(), Overflow> {
    hop(invite, b"CANCEL", invite.first(HeaderName::To).map(|header| (invite, header)), fields, output)
}

/// A request of the same transaction as `invite`, for the next hop only.
fn hop(
    invite: &Message<'_>,
    method: &[u8],
    to: Option<(&Message<'_>, &Header)>,
    fields: &[u8],
    output: &mut Output<'_>,
) -> Result<(), Overflow> {
    output.bytes(method)?;
    output.bytes(b" ")?;
    output.bytes(invite.uri_text().unwrap_or_default())?;
    output.bytes(b" SIP/2.0\r\n")?;
    if let Some(via) = invite.values(HeaderName::Via).next() {
        output.bytes(b"Via: ")?;
        output.bytes(via.span.of(invite.bytes()))?;
        output.bytes(b"\r\n")?;
    }
    for header in invite.all(HeaderName::Route) {
        copy(invite, header, output)?;
    }
    output.bytes(b"Max-Forwards: 70\r\n")?;
    copy_first(invite, HeaderName::From, output)?;
    if let Some((message, header)) = to {
        copy(message, header, output)?;
    }
    copy_first(invite, HeaderName::CallId, output)?;
    if let Some(cseq) = invite.cseq() {
        output.bytes(b"CSeq: ")?;
        output.decimal(cseq.number.into())?;
        output.bytes(b" ")?;
        output.bytes(method)?;
        output.bytes(b"\r\n")?;
    }
    output.bytes(fields)?;
    output.bytes(b"Content-Length: 0\r\n\r\n")
}

fn copy(message: &Message<'_>, header: &Header, output: &mut Output<'_>) -> Result<(), Overflow> {
    output.bytes(header.field.of(message.bytes()))
}

fn copy_first(message: &Message<'_>, name: HeaderName, output: &mut Output<'_>) -> Result<(), Overflow> {
    message.first(name).map_or(Ok(()), |header| copy(message, header, output))
}

/// The first Via field with the source noted in its first element.
fn via_with_source(
    request: &Message<'_>,
    header: &Header,
    source: SocketAddr,
    output: &mut Output<'_>,
) -> Result<(), Overflow> {
    let bytes = request.bytes();
    let top = request.values(HeaderName::Via).next().map(|value| value.span);
    let Some((span, via)) = top.and_then(|span| Some((span, Via::parse(span.of(bytes))?))) else {
        return copy(request, header, output);
    };
    output.bytes(bytes.get(header.field.start.into()..span.start.into()).unwrap_or_default())?;
    via.write_with_source(source, output)?;
    output.bytes(bytes.get(span.end.into()..header.field.end.into()).unwrap_or_default())
}

/// To, with our tag when it has none; a `tag` without a value is none, and gives way.
fn to(request: &Message<'_>, header: &Header, tag: Option<&[u8]>, output: &mut Output<'_>) -> Result<(), Overflow> {
    let bytes = request.bytes();
    let value = header.value.of(bytes);
    let untagged = NameAddr::parse(value).filter(|to| to.tag().is_none());
    let (Some(to), Some(tag)) = (untagged, tag) else {
        return copy(request, header, output);
    };
    let empty = to.params.get(b"tag").map_or(value.len()..value.len(), |param| param.start..param.end);
    output.bytes(bytes.get(header.field.start.into()..header.value.start.into()).unwrap_or_default())?;
    output.bytes(value.get(..empty.start).unwrap_or_default())?;
    output.bytes(value.get(empty.end..).unwrap_or_default())?;
    output.bytes(b";tag=")?;
    output.bytes(tag)?;
    output.bytes(bytes.get(header.value.end.into()..header.field.end.into()).unwrap_or_default())
}
