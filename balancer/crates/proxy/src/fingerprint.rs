//! How a request finds its server transaction (RFC 3261 §17.2.3), and a response proves that it is of its client
//! transaction.
//!
//! Nobody who does not know the key can make two that are equal: `SipHash` with one round a word and three at the end, as
//! in Rust's own tables. What is compared with figures of other replicas has two and four.

use std::hash::Hasher;

use siphasher::sip::{SipHasher13, SipHasher24};
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher128};
use switchtender_sip::{CSeq, Host, Message, Method};

use crate::branch::MAGIC_COOKIE;

/// Keyed hash over all that tells one server transaction from another: 128 bits, so that equal means the same.
///
/// Branch, sent-by and method class as RFC 3261 §17.2.3 says, plus Call-ID and `CSeq` number, which are equal in all
/// requests of a transaction: two clients that choose equal branches behind equal private addresses stay apart. Without
/// the magic cookie (RFC 2543): Request-URI, From tag, Call-ID, `CSeq` number and the whole top Via. ACK and CANCEL have
/// the fingerprint of their INVITE. `None` without a top Via.
pub(crate) fn of_request(secret: &[u8; 16], message: &Message<'_>) -> Option<u128> {
    let via = message.top_via()?;
    let cseq = message.cseq()?;
    let mut hasher = SipHasher128::new_with_key(secret);
    hasher.write_u8(b'S');
    match via.branch {
        Some(branch) if starts_with_cookie(branch) => {
            part(&mut hasher, branch);
            match via.host {
                Host::Name(name) => part(&mut hasher, name),
                Host::Ip(std::net::IpAddr::V4(ip)) => part(&mut hasher, &ip.octets()),
                Host::Ip(std::net::IpAddr::V6(ip)) => part(&mut hasher, &ip.octets()),
            }
            hasher.write_u16(via.port_or_default());
        }
        _ => {
            part(&mut hasher, via.text);
            part(&mut hasher, message.uri_text().unwrap_or_default());
            part(&mut hasher, message.from_tag().unwrap_or_default());
        }
    }
    part(&mut hasher, message.call_id().unwrap_or_default());
    hasher.write_u32(cseq.number);
    part(&mut hasher, method_class(&cseq));
    Some(hasher.finish128().as_u128())
}

/// Keyed hash over Call-ID and `CSeq`. The response to a CANCEL has that of its INVITE.
pub(crate) fn of_call(secret: &[u8; 16], message: &Message<'_>) -> Option<u64> {
    let cseq = message.cseq()?;
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write_u8(b'C');
    part(&mut hasher, message.call_id()?);
    hasher.write_u32(cseq.number);
    part(&mut hasher, method_class(&cseq));
    Some(hasher.finish())
}

/// Keyed hash over the Call-ID alone.
pub(crate) fn of_call_id(secret: &[u8; 16], message: &Message<'_>) -> u64 {
    of_named_call(secret, message.call_id().unwrap_or_default())
}

/// Keyed hash over the Call-ID alone, of the dialog that a header field names.
pub(crate) fn of_named_call(secret: &[u8; 16], call_id: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write_u8(b'I');
    part(&mut hasher, call_id);
    hasher.finish()
}

/// Hash over the Call-ID alone that is the same on every replica and in every run: nothing secret is in it.
pub(crate) fn of_call_everywhere(message: &Message<'_>) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(0, 0);
    hasher.write_u8(b'R');
    part(&mut hasher, message.call_id().unwrap_or_default());
    hasher.finish()
}

/// A group's name as it stands in tokens: not keyed, so the same on every replica and in every run.
pub(crate) fn of_group(namespace: &str, name: &str) -> u32 {
    let mut hasher = SipHasher24::new_with_keys(0, 0);
    part(&mut hasher, namespace.as_bytes());
    part(&mut hasher, name.as_bytes());
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// A To tag for responses of our own to a request: the same for every retransmission, without a memory of it.
pub(crate) fn to_tag(secret: &[u8; 16], message: &Message<'_>) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write_u8(b'T');
    for text in [message.call_id(), message.from_tag(), message.top_via().and_then(|via| via.branch)] {
        part(&mut hasher, text.unwrap_or_default());
    }
    hasher.write_u32(message.cseq().map_or(0, |cseq| cseq.number));
    let mut bits = hasher.finish();
    [0; 16].map(|_: u8| {
        let digit = DIGITS[usize::try_from(bits & 15).unwrap_or(0)];
        bits >>= 4;
        digit
    })
}

fn starts_with_cookie(branch: &[u8]) -> bool {
    branch.get(..MAGIC_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
}

fn method_class<'a>(cseq: &CSeq<'a>) -> &'a [u8] {
    match cseq.method {
        Method::Invite | Method::Ack | Method::Cancel => b"INVITE",
        _ => cseq.method_text,
    }
}

fn part(hasher: &mut impl Hasher, bytes: &[u8]) {
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

/// Takes a key that is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }

    #[allow(clippy::cast_possible_truncation)] // both halves are uniform
    fn write_u128(&mut self, word: u128) {
        self.0 ^= word as u64 ^ (word >> 64) as u64;
    }
}
