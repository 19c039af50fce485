//! What a new request shows to rules and keys.

use switchtender_sip::{HeaderName, Message};

/// Full and compact names of fields that the parser does not tell apart (RFC 3261 §7.3.3, the registry of IANA).
const COMPACT: [(&[u8], &[u8]); 11] = [
    (b"Accept-Contact", b"a"),
    (b"Allow-Events", b"u"),
    (b"Content-Encoding", b"e"),
    (b"Content-Type", b"c"),
    (b"Event", b"o"),
    (b"Identity", b"y"),
    (b"Refer-To", b"r"),
    (b"Referred-By", b"b"),
    (b"Request-Disposition", b"d"),
    (b"Session-Expires", b"x"),
    (b"Subject", b"s"),
];

/// The value of the first field of that name, in its full or its compact form.
pub(crate) fn field<'a>(message: &Message<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let known = HeaderName::from_bytes(name);
    if known != HeaderName::Other {
        return message.value(known);
    }
    let pair =
        COMPACT.iter().find(|(full, compact)| [*full, *compact].iter().any(|one| one.eq_ignore_ascii_case(name)));
    let first = |name: &[u8]| message.named(name).next();
    let found = match pair {
        Some((full, compact)) => match (first(full), first(compact)) {
            (Some(one), Some(other)) => Some(if one.field.start < other.field.start { one } else { other }),
            (one, other) => one.or(other),
        },
        None => first(name),
    };
    found.map(|header| header.value.of(message.bytes()))
}
