//! Texts for the tests that hold a reader against the one it took the place of: pieces of real messages, in and out of
//! order, and bytes without any.

use proptest::prelude::*;

/// An INVITE with what a proxy reads and much of what it does not.
const INVITE: &str = "INVITE sip:+12125551212@198.51.100.1:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK776asdhds8a7sd6f;rport, SIP / 2.0 / TCP a.example\r\n \
    :5061;maddr=[2001:db8::1];ttl=16 ; received=\"x;y\"\r\nv: SIP/2.0/tls [2001:db8::9:1];branch=\"a\\\"b\"\r\n\
    Max-Forwards: 70\r\nFrom: \"Call\\\"er\" <sip:+13035551234:pw@203.0.113.1>;tag=1928301774\r\n\
    t : <sips:ann@host.example?subject=a&x=y>\r\nCall-ID: a84b4c76e66710@203.0.113.1\r\nCSeq: 314159 INVITE\n\
    X-Escaped: \"\\\0\"\r\nContact: <tel:+13035551234;phone-context=x>\r\nContent-Length:\r\n 4\r\n\r\nv=0\n";

const PIECES: [&str; 62] = [
    "INVITE ",
    "ACK ",
    "sip:",
    "SIPS:",
    "tel:",
    "a:b@",
    "sip:a@b",
    " SIP/2.0\r\n",
    " sip/2.1\r\n",
    "SIP/2.0 200 OK\r\n",
    "Via: ",
    "v:",
    "v\t :",
    "SIP/2.0/UDP ",
    "SIP/2.0/UDP",
    "SIP/2.0/",
    "SIP / 3.0 / tls ",
    "wss\t",
    "ws ",
    "sctp ",
    "From: ",
    "To:",
    "Call-ID: x\r\n",
    "CSeq: 1 INVITE\r\n",
    "Content-Length: 3\r\n",
    "X-Other:",
    ";branch=",
    ";rport",
    ";rport=5060",
    "; RECEIVED = ",
    ";maddr=",
    ";ttl=255",
    ";ttl=256",
    ";tag=",
    "\"",
    "\\",
    "<",
    ">",
    ",",
    ";",
    ":",
    "=",
    "@",
    "[",
    "]",
    "[::1]",
    "[::::1.2.3.4]",
    "192.0.2.1",
    "192.0.2.",
    "256.01.0.1",
    ":5060",
    ":65536",
    "\r\n",
    "\n",
    "\r",
    "\r\n ",
    "\r\n\r\n",
    " ",
    "\0",
    "\\\0",
    "?",
    "\u{7f}\u{e9}",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(PIECES.as_slice()).prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![8 => known, 1 => prop::collection::vec(any::<u8>(), 0..6), 1 => "[0-9a-zA-Z.]{1,12}".prop_map(String::into_bytes)]
}

/// A text of pieces, or a stretch of a message, whole or with one thing put into it or cut out of it.
pub(crate) fn text() -> impl Strategy<Value = Vec<u8>> {
    use prop::sample::Index;
    let cut = (any::<Index>(), any::<Index>(), any::<Index>(), 0..4usize, piece());
    let damaged = cut.prop_map(|(from, to, at, removed, piece)| {
        let bytes = INVITE.as_bytes();
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let mut bytes = bytes[from.min(to)..=from.max(to)].to_vec();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + removed).min(bytes.len()), piece);
        bytes
    });
    prop_oneof![prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat()), damaged]
}

/// A message: the one above with up to three things put into it or cut out of it.
pub(crate) fn message() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..4usize, piece()), 0..4).prop_map(|changes| {
        let mut bytes = INVITE.as_bytes().to_vec();
        for (at, removed, piece) in changes {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + removed).min(bytes.len()), piece);
        }
        bytes
    })
}
