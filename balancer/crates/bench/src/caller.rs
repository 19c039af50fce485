//! The caller's end of a call (UAC): judges what it hears, and says ACK and BYE along the route set
//! (RFC 3261 §12.1.2, §12.2.1.1, §13.2.2.4).

use crate::call::{Call, Stage};
use crate::reading::{Fault, Reading, address_of, bracketed, number};
use crate::script::{Name, Script};

/// What a response means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It goes on.
    Progress,
    /// The call is answered: ACK is due.
    Answered,
    /// The same answer once more: ACK is due again.
    AnsweredAgain,
    /// BYE is answered.
    Over,
    /// Something once more that was heard before.
    Again,
}

/// Take a response to a call of ours.
///
/// # Errors
/// It is not what the call may be told now.
pub fn hear(
    script: &Script,
    name: Name,
    call: &mut Call,
    reading: &Reading<'_>,
    room: &mut Vec<u8>,
) -> Result<Heard, Fault> {
    let status = reading.status().ok_or("a response without a status")?;
    let to_bye = match reading.cseq {
        b"1 INVITE" => false,
        b"2 BYE" => true,
        _ => return Err("a response with another CSeq".into()),
    };
    let via = if to_bye { &script.via_bye } else { &script.via_invite };
    let [top] = reading.vias.as_slice() else { return Err("a response without exactly our Via".into()) };
    if !is_ours(via.matches(name, 0, top.get(..via.len()).unwrap_or_default(), room), top.get(via.len()..)) {
        return Err("a response with another Via".into());
    }
    if !script.from.matches(name, 0, reading.from, room) {
        return Err("a response with another From".into());
    }
    let node = tag_of(script, name, call.group, reading.to, room);
    match (status, to_bye) {
        (100, _) => {
            if call.caller.stage == Stage::Calling && !to_bye {
                call.caller.stage = Stage::Proceeding;
            }
            return Ok(Heard::Progress);
        }
        (180, false) | (200, _) => {}
        _ => return Err(format!("a status {status} to {}", if to_bye { "BYE" } else { "INVITE" }).into()),
    }
    let node = node.ok_or("a response without the called end's tag")?;
    if *call.caller.node.get_or_insert(node) != node {
        return Err("a response with the tag of another node".into());
    }
    match (status, to_bye, call.caller.stage) {
        (180, ..) => {
            let again = std::mem::replace(&mut call.caller.rung, true);
            if call.caller.stage == Stage::Calling {
                call.caller.stage = Stage::Proceeding;
            }
            Ok(if again { Heard::Again } else { Heard::Progress })
        }
        (_, false, Stage::Calling | Stage::Proceeding) => {
            let answers = script.answers.get(usize::from(node)).ok_or("a tag of no node")?;
            if !answers.answer.matches(name, node, reading.body, room) {
                return Err("an answer with another body".into());
            }
            establish(call, reading)?;
            Ok(Heard::Answered)
        }
        (_, false, _) => Ok(Heard::AnsweredAgain),
        (_, true, Stage::Leaving) => {
            call.caller.stage = Stage::Over;
            Ok(Heard::Over)
        }
        (_, true, Stage::Over) => Ok(Heard::Again),
        (_, true, _) => Err("a response to a BYE that was not sent".into()),
    }
}

/// A value that begins with ours and has nothing behind it but parameters, which a proxy may add (RFC 3261 §18.2.1).
pub fn is_ours(begins: bool, behind: Option<&[u8]>) -> bool {
    begins && behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(b";"))
}

/// Which node's tag a To has, if it is the call's To.
pub fn tag_of(script: &Script, name: Name, group: u32, to: &[u8], room: &mut Vec<u8>) -> Option<u16> {
    let lines = script.lines.get(usize::try_from(group).ok()?)?;
    let tag = to.get(lines.to.len() + ";tag=n".len()..)?;
    let node = u16::try_from(number(tag.get(..4)?)?).ok()?;
    lines.to_with_tag.matches(name, node, to, room).then_some(node)
}

/// Remember the remote target and the route set (RFC 3261 §12.1.2).
fn establish(call: &mut Call, reading: &Reading<'_>) -> Result<(), Fault> {
    let caller = &mut call.caller;
    let target = bracketed(reading.contact).ok_or("an answer without a Contact")?;
    caller.target.extend_from_slice(target);
    let hops = reading.record_routes.as_slice();
    if hops.is_empty() == call.callee.routed {
        return Err("an answer with more or less Record-Route than the called end gave".into());
    }
    for hop in hops.iter().rev() {
        caller.routes.extend_from_slice(b"Route: ");
        caller.routes.extend_from_slice(hop);
        caller.routes.extend_from_slice(b"\r\n");
    }
    // Without a route set, requests go where the INVITE went: the proxy is the outbound one, too.
    if let Some(first) = hops.last() {
        let uri = bracketed(first).ok_or("a Record-Route without angle brackets")?;
        if !uri.split(|byte| *byte == b';').skip(1).any(|parameter| parameter.starts_with(b"lr")) {
            return Err("a Record-Route without lr".into());
        }
        caller.next_hop = address_of(uri).ok_or("a Record-Route without an IP address")?;
    }
    caller.stage = Stage::Up;
    Ok(())
}

/// Say INVITE.
pub fn write_invite(script: &Script, name: Name, call: &Call, out: &mut Vec<u8>) {
    if let Some(lines) = script.lines.get(call.group as usize) {
        lines.invite.write(name, 0, out);
    }
}

/// Say ACK to the 200 of INVITE.
pub fn write_ack(script: &Script, name: Name, call: &Call, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ACK ");
    write_behind_method(script, name, call, true, out);
}

/// Say ACK to a failure, which ends what the proxy repeats (RFC 3261 §17.1.1.3).
pub fn write_ack_to_failure(script: &Script, name: Name, reading: &Reading<'_>, out: &mut Vec<u8>) {
    let uri = reading.to.split(|byte| matches!(byte, b'<' | b'>')).nth(1).unwrap_or_default();
    for piece in [b"ACK ", uri, b" SIP/2.0\r\nVia: "] {
        out.extend_from_slice(piece);
    }
    script.via_invite.write(name, 0, out);
    let headers: [(&[u8], &[u8]); 3] = [(b"From", reading.from), (b"To", reading.to), (b"Call-ID", reading.call_id)];
    for (header, value) in headers {
        for piece in [b"\r\n", header, b": ", value] {
            out.extend_from_slice(piece);
        }
    }
    out.extend_from_slice(b"\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n");
}

/// Say BYE.
pub fn write_bye(script: &Script, name: Name, call: &Call, out: &mut Vec<u8>) {
    out.extend_from_slice(b"BYE ");
    write_behind_method(script, name, call, false, out);
}

fn write_behind_method(script: &Script, name: Name, call: &Call, is_ack: bool, out: &mut Vec<u8>) {
    let Some(lines) = script.lines.get(call.group as usize) else { return };
    let (via, ends) = if is_ack { (&script.via_ack, &lines.ack) } else { (&script.via_bye, &lines.bye) };
    let caller = &call.caller;
    out.extend_from_slice(&caller.target);
    out.extend_from_slice(b" SIP/2.0\r\nVia: ");
    via.write(name, 0, out);
    out.extend_from_slice(b"\r\nMax-Forwards: 70\r\n");
    out.extend_from_slice(&caller.routes);
    ends.write(name, caller.node.unwrap_or(0), out);
}
