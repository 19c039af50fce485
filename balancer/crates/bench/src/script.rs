//! What the ends say and expect: every message of a call as a template that is copied and has its numbers patched. All
//! numbers have a fixed width, so a call's messages are as long as any other's of its group.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::reading::number;

/// The length of every INVITE, as far as names and addresses allow: what the SDP is filled up to.
const INVITE_BYTES: usize = 800;
const SERIAL_DIGITS: usize = 16;
const SLOT_DIGITS: usize = 8;
const NODE_DIGITS: usize = 4;

/// Which call: its place in the table, and its number, which no other call of a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// The place in the table of calls.
    pub slot: u32,
    /// Counts the calls of a run.
    pub serial: u64,
    /// Both as templates write them, which they do several times for each message.
    slot_digits: [u8; SLOT_DIGITS],
    serial_digits: [u8; SERIAL_DIGITS],
}

impl Name {
    /// Of the call with this place and number.
    pub fn new(slot: u32, serial: u64) -> Self {
        Self { slot, serial, slot_digits: digits(slot.into()), serial_digits: digits(serial) }
    }
}

/// A number that a template leaves open.
#[derive(Clone, Copy, Debug)]
enum Gap {
    Serial,
    Slot,
    Node,
}

/// Text with gaps for numbers.
#[derive(Clone, Debug, Default)]
pub struct Template {
    text: Vec<u8>,
    gaps: Vec<(usize, Gap)>,
}

impl Template {
    /// From text in which `#` stands for a serial, `$` for a slot and `%` for a node.
    fn new(pattern: &str) -> Self {
        let mut template = Self::default();
        for byte in pattern.bytes() {
            let (gap, digits) = match byte {
                b'#' => (Gap::Serial, SERIAL_DIGITS),
                b'$' => (Gap::Slot, SLOT_DIGITS),
                b'%' => (Gap::Node, NODE_DIGITS),
                _ => {
                    template.text.push(byte);
                    continue;
                }
            };
            template.gaps.push((template.text.len(), gap));
            template.text.resize(template.text.len() + digits, b'0');
        }
        template
    }

    /// How long what it writes is.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Append it with these numbers.
    pub fn write(&self, name: Name, node: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.text);
        for (at, gap) in &self.gaps {
            let Some(place) = out.get_mut(start + at..) else { continue };
            match gap {
                Gap::Serial => put(place, &name.serial_digits),
                Gap::Slot => put(place, &name.slot_digits),
                Gap::Node => put(place, &digits::<NODE_DIGITS>(node.into())),
            }
        }
    }

    /// Whether this is what it would write. `room` is for its own use.
    pub fn matches(&self, name: Name, node: u16, text: &[u8], room: &mut Vec<u8>) -> bool {
        room.clear();
        self.write(name, node, room);
        room == text
    }
}

fn digits<const N: usize>(mut value: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        #[allow(clippy::cast_possible_truncation, reason = "below 10")]
        let last = (value % 10) as u8;
        *digit = b'0' + last;
        value /= 10;
    }
    digits
}

fn put(place: &mut [u8], digits: &[u8]) {
    if let Some(place) = place.get_mut(..digits.len()) {
        place.copy_from_slice(digits);
    }
}

/// What calls to one user are made of.
#[derive(Debug)]
pub struct Lines {
    /// The whole INVITE.
    pub invite: Template,
    /// Its body.
    pub offer: Template,
    /// The To of the INVITE, without a tag.
    pub to: Template,
    /// The To of everything in the dialog.
    pub to_with_tag: Template,
    /// What stands in ACK behind Via, Max-Forwards and the routes.
    pub ack: Template,
    /// What stands in BYE there.
    pub bye: Template,
}

/// What a node's answers are made of.
#[derive(Debug)]
pub struct Answers {
    /// The URI of its Contact.
    pub contact: Template,
    /// What stands in 180 behind what is copied from the INVITE.
    pub ringing: Template,
    /// What stands in 200 there, with the body.
    pub ok: Template,
    /// The body of 200.
    pub answer: Template,
}

/// See the module.
#[derive(Debug)]
pub struct Script {
    call_id: Template,
    /// By group.
    pub lines: Vec<Lines>,
    /// By node.
    pub answers: Vec<Answers>,
    /// The value of From in all messages.
    pub from: Template,
    /// The value of the caller's Via, by what it sends.
    pub via_invite: Template,
    /// As above.
    pub via_ack: Template,
    /// As above.
    pub via_bye: Template,
    /// What a response has behind what is copied from its request, when it has nothing else.
    pub tag: Template,
}

/// Who speaks with whom.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Where callers send to.
    pub proxy: SocketAddr,
    /// Where the caller is.
    pub caller: SocketAddr,
    /// Where the nodes are.
    pub nodes: Vec<SocketAddr>,
    /// The user part that is called, by group.
    pub users: Vec<String>,
}

impl Script {
    /// Everything that `cast` will say. `run` sets this run's calls off from those of others.
    pub fn new(cast: &Cast, run: u32) -> Self {
        let Cast { proxy, caller, .. } = cast;
        let run = run % 100_000_000;
        let call_id = format!("{run:08}$#@sipload");
        let from = format!("<sip:caller@{caller}>;tag=c#");
        let via = |kind: char| format!("SIP/2.0/UDP {caller};branch=z9hG4bK{kind}{run:08}#");
        let ends = |method: &str, cseq: &str, to: &str| {
            Template::new(&format!(
                "From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nUser-Agent: sipload\r\n\
                 Content-Length: 0\r\n\r\n"
            ))
        };
        let lines = cast.users.iter().map(|user| {
            let to = format!("<sip:{user}@{proxy}>");
            let to_with_tag = format!("{to};tag=n%#");
            let (invite, offer) = invite(&format!("sip:{user}@{proxy}"), &via('i'), &from, &to, &call_id, *caller);
            Lines {
                invite: Template::new(&invite),
                offer: Template::new(&offer),
                to: Template::new(&to),
                ack: ends("ACK", "1", &to_with_tag),
                bye: ends("BYE", "2", &to_with_tag),
                to_with_tag: Template::new(&to_with_tag),
            }
        });
        let lines = lines.collect();
        let answers = cast.nodes.iter().map(|node| {
            let contact = format!("sip:node%@{node}");
            let head = format!("Contact: <{contact}>\r\n");
            let answer = sdp("node", *node, "");
            Answers {
                contact: Template::new(&contact),
                ringing: Template::new(&format!("{head}Content-Length: 0\r\n\r\n")),
                ok: Template::new(&format!(
                    "{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{answer}",
                    Template::new(&answer).len()
                )),
                answer: Template::new(&answer),
            }
        });
        Self {
            call_id: Template::new(&call_id),
            lines,
            answers: answers.collect(),
            from: Template::new(&from),
            via_invite: Template::new(&via('i')),
            via_ack: Template::new(&via('a')),
            via_bye: Template::new(&via('b')),
            tag: Template::new(";tag=n%#"),
        }
    }

    /// Which call of this run a Call-ID is; `None` for any other.
    pub fn name(&self, call_id: &[u8], room: &mut Vec<u8>) -> Option<Name> {
        let numbers = call_id.get(8..)?;
        let slot = u32::try_from(number(numbers.get(..SLOT_DIGITS)?)?).ok()?;
        let serial = number(numbers.get(SLOT_DIGITS..SLOT_DIGITS + SERIAL_DIGITS)?)?;
        let name = Name::new(slot, serial);
        self.call_id.matches(name, 0, call_id, room).then_some(name)
    }
}

/// The INVITE as a pattern, and its body: filled up to the length that all have.
fn invite(uri: &str, via: &str, from: &str, to: &str, call_id: &str, caller: SocketAddr) -> (String, String) {
    let head = format!(
        "INVITE {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:caller@{caller}>\r\nUser-Agent: sipload\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContent-Type: application/sdp\r\nContent-Length: "
    );
    let length = |text: &str| Template::new(text).len();
    let bare = length(&head) + "nnn\r\n\r\n".len() + length(&sdp("caller", caller, ""));
    let body = sdp("caller", caller, &"-".repeat(INVITE_BYTES.saturating_sub(bare)));
    (format!("{head}{:03}\r\n\r\n{body}", length(&body)), body)
}

/// A session description as a pattern (RFC 8866): the session's number is the call's.
fn sdp(user: &str, address: SocketAddr, filling: &str) -> String {
    let version = if address.is_ipv4() { 4 } else { 6 };
    let ip = address.ip();
    let mut text =
        format!("v=0\r\no={user} # 1 IN IP{version} {ip}\r\ns=-{filling}\r\nc=IN IP{version} {ip}\r\nt=0 0\r\n");
    // A String takes everything that is written to it.
    let _ = write!(
        text,
        "m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Reading;

    fn script() -> Script {
        let cast = Cast {
            proxy: "127.0.0.1:5060".parse().unwrap(),
            caller: "127.0.0.1:6060".parse().unwrap(),
            nodes: vec!["127.0.0.3:5060".parse().unwrap()],
            users: vec!["echo".into(), "a-longer-name-of-a-group".into()],
        };
        Script::new(&cast, 1_234_567_890)
    }

    #[test]
    fn an_invite_is_a_whole_message_of_the_agreed_length() {
        let script = script();
        let name = Name::new(7, 42);
        for lines in &script.lines {
            let (mut bytes, mut room) = (Vec::new(), Vec::new());
            lines.invite.write(name, 0, &mut bytes);
            assert_eq!(bytes.len(), INVITE_BYTES);
            let reading = Reading::of(&bytes).unwrap();
            assert_eq!(script.name(reading.call_id, &mut room), Some(name));
            assert!(lines.offer.matches(name, 0, reading.body, &mut room));
            assert!(script.from.matches(name, 0, reading.from, &mut room));
            assert!(lines.to.matches(name, 0, reading.to, &mut room));
            assert!(script.via_invite.matches(name, 0, reading.vias.as_slice()[0], &mut room));
            assert!(!script.via_invite.matches(Name::new(7, 43), 0, reading.vias.as_slice()[0], &mut room));
        }
    }

    #[test]
    fn a_call_of_another_run_is_not_ours() {
        let (script, mut room) = (script(), Vec::new());
        assert_eq!(script.name(b"34567890000000070000000000000042@sipload", &mut room), Some(Name::new(7, 42)));
        for other in
            [&b"34567891000000070000000000000042@sipload"[..], b"34567890000000070000000000000042@else", b"", b"3"]
        {
            assert_eq!(script.name(other, &mut room), None);
        }
    }
}
