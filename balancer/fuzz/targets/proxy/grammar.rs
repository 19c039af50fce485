//! Messages made of the fuzzer's bytes: mostly sound, so that they get far, then damaged.

use crate::text::Text;

/// Someone who is neither the caller nor a node; nothing ever comes from the address above it, which some requests name.
pub const STRANGER: &str = "203.0.113.66:5060";

const METHODS: [&str; 12] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "MESSAGE",
    "SUBSCRIBE",
    "PRACK",
    "REFER",
    "UPDATE",
    "NEW",
];
const URIS: [&str; 12] = [
    "sip:1000@sip.example.com",
    "sip:sip.example.com",
    "sip:node@10.1.0.1:5060",
    "sip:caller@192.0.2.10:5060",
    "sip:x@203.0.113.67",
    "sip:10.96.7.7:5070;lr",
    "sips:1000@sip.example.com",
    "tel:+15551234",
    "urn:service:sos",
    "sip:a@[2001:db8::1]:5060;transport=tcp",
    "sip:u@elsewhere.example.org;maddr=198.51.100.1;lr",
    "sip:u@h?Route=%3Csip:x%3E",
];
const EXTRAS: [&str; 14] = [
    "",
    "Require: 100rel\r\n",
    "Proxy-Require: foo\r\n",
    "Replaces: call0;to-tag=node;from-tag=caller\r\n",
    "Authorization: Digest username=\"u\"\r\n",
    "Proxy-Authorization: Digest username=\"u\", realm=\"r\"\r\n",
    "Contact: <sip:caller@192.0.2.10:5060>\r\n",
    "Contact: <sip:caller@10.9.9.9:5060;transport=tcp>;expires=0\r\n",
    "Contact: *\r\n",
    "Path: <sip:edge.example.net;lr>\r\n",
    "Record-Route: <sip:edge.example.net;lr>\r\n",
    "Route: <sip:edge.example.net>, <sip:10.96.7.7:5070;lr>\r\n",
    "Reason: SIP;cause=503;text=\"SYSTEM_SHUTDOWN\"\r\n",
    "X-Switchtender-Node: 1\r\n",
];
const STATUSES: [&str; 16] = [
    "100 Trying",
    "180 Ringing",
    "183 ",
    "200 OK",
    "202 Accepted",
    "302 Moved",
    "401 Unauthorized",
    "407 Proxy Authentication Required",
    "408 Request Timeout",
    "410 Gone",
    "480 Temporarily Unavailable",
    "486 Busy Here",
    "487 Request Terminated",
    "500 Server Error",
    "503 Maximum Calls In Progress",
    "603 Decline",
];
/// What damage may put in.
const PIECES: [&[u8]; 20] = [
    b"\r\n",
    b"\n",
    b"\r\n ",
    b"\0",
    b",",
    b";",
    b"\"",
    b"<",
    b">",
    b":",
    b"@",
    b"\\",
    b";lr",
    b"\r\n\r\n",
    b"Via: ",
    b"Route: <sip:",
    b";tag=",
    b"Content-Length: 4\r\n",
    b"z9hG4bK",
    b"\xff",
];

/// Who sends something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Caller,
    Node(usize),
    Stranger,
}

/// The fuzzer's bytes, used up one by one; zeros when they are.
pub struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `sides`.
    pub fn of(&mut self, sides: usize) -> usize {
        let wide = if sides > 256 { usize::from(self.byte()) << 8 } else { 0 };
        (wide | usize::from(self.byte())) % sides
    }

    fn one<'b>(&mut self, choices: &[&'b str]) -> &'b str {
        choices[self.of(choices.len())]
    }

    pub fn peer(&mut self) -> Peer {
        match self.of(8) {
            0..=3 => Peer::Caller,
            4 | 5 => Peer::Node(0),
            6 => Peer::Node(1),
            _ => Peer::Stranger,
        }
    }

    /// Changes, inserts or removes a few bytes; mostly nothing.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.of(8).saturating_sub(4) {
            let at = self.of(2000) % (bytes.len() + 1);
            match self.of(4) {
                0 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.byte();
                    }
                }
                1 => {
                    let piece = PIECES[self.of(PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
                2 => {
                    let end = bytes.len().min(at + self.of(40));
                    bytes.drain(at..end);
                }
                _ => bytes.truncate(at),
            }
        }
    }
}

/// A request of one of a few calls; `sent` lends it its dialog, token and all.
pub fn request(dice: &mut Dice<'_>, peer: Peer, sent: Option<&crate::world::Sent>) -> Vec<u8> {
    let method = dice.one(&METHODS);
    let (call, branch) = (dice.of(3), dice.of(4));
    let class = if matches!(method, "ACK" | "CANCEL") { "INVITE" } else { method };
    let (address, caller, callee) = match peer {
        Peer::Caller => ("192.0.2.10:5060", "caller", "node"),
        Peer::Node(_) => ("10.1.0.1:5060", "node", "caller"),
        Peer::Stranger => ("203.0.113.66:5060", "caller", "node"),
    };
    let transport = if dice.of(4) == 0 { "TCP" } else { "UDP" };
    let cookie = if dice.of(16) == 0 { "" } else { "z9hG4bK" };
    let rport = if dice.of(2) == 0 { ";rport" } else { "" };
    let mut text = format!("{method} {} SIP/2.0\r\n", dice.one(&URIS)).into_bytes();
    let mut line = |line: &[u8]| {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    };
    line(format!("Via: SIP/2.0/{transport} {address};branch={cookie}{class}{call}{branch}{rport}").as_bytes());
    if let Some(sent) = sent.filter(|_| dice.of(2) == 0) {
        for route in sent.text.lines("Record-Route").chain(sent.text.lines("Path")) {
            let colon = route.iter().position(|byte| *byte == b':').unwrap_or(0);
            line(&[b"Route", &route[colon..]].concat());
        }
    }
    if dice.of(8) != 0 {
        line(format!("Max-Forwards: {}", [70, 70, 1, 0][dice.of(4)]).as_bytes());
    }
    line(format!("From: <sip:{caller}@192.0.2.10>;tag={caller}").as_bytes());
    let in_dialog = if dice.of(2) == 0 { format!(";tag={callee}") } else { String::new() };
    line(format!("To: <sip:{callee}@sip.example.com>{in_dialog}").as_bytes());
    line(format!("Call-ID: call{call}").as_bytes());
    line(format!("CSeq: {} {method}", 1 + dice.of(2)).as_bytes());
    text.extend_from_slice(dice.one(&EXTRAS).as_bytes());
    let body = if dice.of(16) == 0 { "v".repeat(1400) } else { String::new() };
    text.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    dice.damage(&mut text);
    text
}

/// A response to a request of ours.
pub fn response(dice: &mut Dice<'_>, request: &Text) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {}\r\n", dice.one(&STATUSES)).into_bytes();
    for name in ["Via", "Record-Route", "From"] {
        for line in request.lines(name) {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
        }
    }
    for line in request.lines("To") {
        text.extend_from_slice(line);
        if !line.windows(5).any(|part| part == b";tag=") {
            text.extend_from_slice([&b";tag=node"[..], b";tag=other", b""][dice.of(3)]);
        }
        text.extend_from_slice(b"\r\n");
    }
    for name in ["Call-ID", "CSeq"] {
        for line in request.lines(name) {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
        }
    }
    text.extend_from_slice(dice.one(&EXTRAS).as_bytes());
    text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    dice.damage(&mut text);
    text
}
