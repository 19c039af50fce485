//! The one spelling of the parts of a URI (RFC 3261 §19.1.4): what is equal compares and hashes alike.

use core::net::Ipv6Addr;

/// The bytes with percent-escapes resolved; broken ones stay as they are.
pub(crate) fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        if byte == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        rest = tail;
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A host in its one spelling: the octets of an IPv6 address (RFC 5118 §4.1), else the name or IPv4 address in lower
/// case without the dot of the root.
pub(crate) fn canonical_host(host: &[u8]) -> impl Iterator<Item = u8> {
    let plain = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
    let address = ipv6(plain).map(|address| address.octets());
    let name = if address.is_some() { &[] } else { plain.strip_suffix(b".").unwrap_or(plain) };
    address.into_iter().flatten().chain(name.iter().map(u8::to_ascii_lowercase))
}

fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    text.contains(&b':').then(|| core::str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_what_they_stand_for() {
        for (text, plain) in [("a%41b", "aAb"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%2541", "%41"), ("", "")] {
            assert_eq!(unescaped(text.as_bytes()).collect::<Vec<_>>(), plain.as_bytes(), "{text}");
        }
    }

    #[test]
    fn hosts_have_one_spelling() {
        for host in ["SIP.Example.com", "sip.example.com."] {
            assert!(canonical_host(host.as_bytes()).eq(b"sip.example.com".iter().copied()), "{host}");
        }
        assert!(canonical_host(b"[2001:DB8::1]").eq(canonical_host(b"2001:db8:0:0::1")));
        assert!(!canonical_host(b"2001:db8::1").eq(canonical_host(b"2001:db8::2")));
        assert!(canonical_host(b"[odd:]").eq(b"odd:".iter().copied()));
    }
}
