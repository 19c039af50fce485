//! The called end of a call (UAS): a node. Judges what it is asked, and answers as RFC 3261 §12.1.1, §13.3.1.4 and
//! §18.2.2 say. It sends no 100.

use std::net::SocketAddr;

use crate::call::Call;
use crate::caller::{is_ours, tag_of};
use crate::reading::{Fault, Reading, sent_by};
use crate::script::{Name, Script};

/// What a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A call: 180 and 200 are due.
    Invited,
    /// The same INVITE once more.
    InvitedAgain,
    /// The ACK of 200.
    Acked,
    /// The same ACK once more.
    AckedAgain,
    /// The call ends: 200 is due.
    Bye,
    /// The same BYE once more: 200 is due again.
    ByeAgain,
}

/// Take a request for a call at a node.
///
/// # Errors
/// It is not what the caller sent, or came another way than the route set says.
pub fn hear(
    script: &Script,
    name: Name,
    call: &mut Call,
    (node, source): (u16, SocketAddr),
    reading: &Reading<'_>,
    room: &mut Vec<u8>,
) -> Result<Asked, Fault> {
    let (method, uri) = reading.request().ok_or("neither a request nor a response")?;
    let (via, cseq): (_, &[u8]) = match method {
        b"INVITE" => (&script.via_invite, b"1 INVITE"),
        b"ACK" => (&script.via_ack, b"1 ACK"),
        b"BYE" => (&script.via_bye, b"2 BYE"),
        _ => return Err(format!("a request {} in a call", method.escape_ascii()).into()),
    };
    let bottom = reading.vias.as_slice().last().copied().unwrap_or_default();
    if !is_ours(via.matches(name, 0, bottom.get(..via.len()).unwrap_or_default(), room), bottom.get(via.len()..)) {
        return Err("a request whose last Via is not the caller's".into());
    }
    if reading.cseq != cseq {
        return Err("a request with another CSeq".into());
    }
    if !script.from.matches(name, 0, reading.from, room) {
        return Err("a request with another From".into());
    }
    if !reading.routes.as_slice().is_empty() {
        return Err("a request with a Route that nobody took out".into());
    }
    if reading.max_forwards.is_none_or(|hops| hops == 0 || hops > 70) {
        return Err("a request without a sensible Max-Forwards".into());
    }
    if method == b"INVITE" {
        return hear_invite(script, name, call, (node, source), reading, room);
    }
    let Some(invited) = call.callee.node else { return Err("a request in a dialog before its INVITE".into()) };
    // With a route set the proxy knows where the call is; without, nobody asked to know.
    if call.callee.routed && invited != node {
        return Err("a request of a call at another node than its INVITE".into());
    }
    if tag_of(script, name, call.group, reading.to, room) != Some(invited) {
        return Err("a request with another To".into());
    }
    let answers = script.answers.get(usize::from(invited)).ok_or("no such node")?;
    if !answers.contact.matches(name, invited, uri, room) {
        return Err("a request whose Request-URI is not the node's Contact".into());
    }
    if !reading.body.is_empty() {
        return Err("a body where none was sent".into());
    }
    let (seen, fresh, again) = if method == b"ACK" {
        (&mut call.callee.acked, Asked::Acked, Asked::AckedAgain)
    } else {
        (&mut call.callee.left, Asked::Bye, Asked::ByeAgain)
    };
    Ok(if std::mem::replace(seen, true) { again } else { fresh })
}

fn hear_invite(
    script: &Script,
    name: Name,
    call: &mut Call,
    (node, source): (u16, SocketAddr),
    reading: &Reading<'_>,
    room: &mut Vec<u8>,
) -> Result<Asked, Fault> {
    let lines = script.lines.get(call.group as usize).ok_or("no such group")?;
    if !lines.to.matches(name, 0, reading.to, room) {
        return Err("an INVITE with another To".into());
    }
    if !lines.offer.matches(name, 0, reading.body, room) {
        return Err("an INVITE with another body".into());
    }
    match call.callee.node {
        Some(known) if known == node => Ok(Asked::InvitedAgain),
        Some(_) => Err("an INVITE at two nodes".into()),
        None => {
            call.callee.node = Some(node);
            call.callee.routed = !reading.record_routes.as_slice().is_empty();
            call.callee.reply_to = reply_to(reading, source);
            Ok(Asked::Invited)
        }
    }
}

/// Where a response goes: where its top Via says, or back where the request came from if that asks for it (RFC 3581 §4)
/// or is the caller's own, when what is between passes responses on without a Via.
pub fn reply_to(reading: &Reading<'_>, source: SocketAddr) -> SocketAddr {
    let [top, _, ..] = reading.vias.as_slice() else { return source };
    let asks = top.split(|byte| *byte == b';').skip(1).any(|parameter| parameter.starts_with(b"rport"));
    if asks { source } else { sent_by(top).unwrap_or(source) }
}

/// Answer 180.
pub fn write_ringing(script: &Script, name: Name, node: u16, reading: &Reading<'_>, out: &mut Vec<u8>) {
    write_copied(b"SIP/2.0 180 Ringing\r\n", script, (name, Some(node)), reading, out);
    if let Some(answers) = script.answers.get(usize::from(node)) {
        answers.ringing.write(name, node, out);
    }
}

/// Answer 200 to INVITE.
pub fn write_answer(script: &Script, name: Name, node: u16, reading: &Reading<'_>, out: &mut Vec<u8>) {
    write_copied(b"SIP/2.0 200 OK\r\n", script, (name, Some(node)), reading, out);
    if let Some(answers) = script.answers.get(usize::from(node)) {
        answers.ok.write(name, node, out);
    }
}

/// Answer 200 to something in a dialog, or outside any.
pub fn write_ok(script: &Script, reading: &Reading<'_>, out: &mut Vec<u8>) {
    write_copied(b"SIP/2.0 200 OK\r\n", script, (Name::new(0, 0), None), reading, out);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// What each response takes from its request (RFC 3261 §8.2.6.2, §12.1.1), with a node's tag if there is to be one.
fn write_copied(
    status: &[u8],
    script: &Script,
    (name, node): (Name, Option<u16>),
    reading: &Reading<'_>,
    out: &mut Vec<u8>,
) {
    let mut line = |header: &[u8], value: &[u8]| {
        out.extend_from_slice(header);
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    line(status.strip_suffix(b"\r\n").unwrap_or(status), b"");
    reading.vias.as_slice().iter().for_each(|via| line(b"Via: ", via));
    if node.is_some() {
        reading.record_routes.as_slice().iter().for_each(|hop| line(b"Record-Route: ", hop));
    }
    line(b"From: ", reading.from);
    line(b"Call-ID: ", reading.call_id);
    line(b"CSeq: ", reading.cseq);
    out.extend_from_slice(b"To: ");
    out.extend_from_slice(reading.to);
    if let Some(node) = node {
        script.tag.write(name, node, out);
    }
    out.extend_from_slice(b"\r\n");
}
