//! The readers that [`Uri::parse`] and [`super::host_port`] took the place of: what they must agree with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;
use proptest::prelude::*;

use super::{Host, Scheme, Uri, without_third_colon};
use crate::text::{decimal, host_len, is_token, is_uri_text, is_word, trim_start};
use crate::{Params, samples};

fn host(text: &[u8]) -> Option<Host<'_>> {
    if text.first() == Some(&b'[') {
        return literal(text).map(Host::Ip);
    }
    if let Some(ip) = ipv4(text) {
        return Some(Host::Ip(ip.into()));
    }
    (!text.is_empty() && host_len(text) == text.len()).then_some(Host::Name(text))
}

/// As [`super::literal`] was.
pub(crate) fn literal(text: &[u8]) -> Option<IpAddr> {
    let inner = text.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    if inner.is_none()
        && let Some(ip) = ipv4(text)
    {
        return Some(ip.into());
    }
    let text = std::str::from_utf8(inner.unwrap_or(text)).ok()?;
    text.parse::<Ipv6Addr>().ok().or_else(|| without_third_colon(text)).map(IpAddr::V6)
}

/// An IPv4 address: four decimal octets without leading zeros, which some readers take for octal.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (position, octet) in octets.iter_mut().enumerate() {
        if position > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let mut value = 0;
        let mut digits = 0;
        while let [digit @ b'0'..=b'9', after @ ..] = rest
            && digits < 3
        {
            value = value * 10 + u16::from(digit - b'0');
            digits += 1;
            rest = after;
        }
        if digits == 0 || (digits > 1 && value < if digits == 2 { 10 } else { 100 }) {
            return None;
        }
        *octet = u8::try_from(value).ok()?;
    }
    rest.is_empty().then(|| octets.into())
}

/// Splits `host [":" port]` off the front of `text`: the host, the port, and what follows.
pub(crate) fn host_port(text: &[u8]) -> Option<(Host<'_>, Option<u16>, &[u8])> {
    let host_end = if text.first() == Some(&b'[') { memchr(b']', text)? + 1 } else { host_len(text) };
    let host = host(text.get(..host_end)?)?;
    let rest = text.get(host_end..)?;
    let Some(after) = trim_start(rest).strip_prefix(b":") else {
        return Some((host, None, rest));
    };
    let after = trim_start(after);
    let digits = after.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
    let port = u16::try_from(decimal(after.get(..digits)?)?).ok()?;
    Some((host, Some(port), after.get(digits..)?))
}

fn parse(text: &[u8]) -> Option<Uri<'_>> {
    if !is_uri_text(text) {
        return None;
    }
    let colon = memchr(b':', text)?;
    let name = text.get(..colon)?;
    let rest = text.get(colon + 1..)?;
    let scheme = match name.len() {
        3 if is_word(name, b"sip") => Scheme::Sip,
        4 if is_word(name, b"sips") => Scheme::Sips,
        3 if is_word(name, b"tel") => Scheme::Tel,
        _ => Scheme::Other,
    };
    match scheme {
        Scheme::Sip | Scheme::Sips => sip(text, scheme, rest),
        Scheme::Tel | Scheme::Other => {
            let alphabetic = name.first().is_some_and(u8::is_ascii_alphabetic);
            if !alphabetic || !is_token(name) || rest.is_empty() {
                return None;
            }
            let end = memchr(b';', rest).unwrap_or(rest.len());
            let user = (scheme == Scheme::Tel).then_some(rest.get(..end)?);
            if user.is_some_and(<[u8]>::is_empty) {
                return None;
            }
            Some(Uri {
                text,
                scheme,
                user,
                password: None,
                host: Host::Name(b""),
                port: None,
                params: Params::new(text, colon + 1 + end),
                headers: None,
            })
        }
    }
}

fn sip<'a>(text: &'a [u8], scheme: Scheme, rest: &'a [u8]) -> Option<Uri<'a>> {
    let (userinfo, rest) = match memchr(b'@', rest) {
        Some(at) => (Some(rest.get(..at)?), rest.get(at + 1..)?),
        None => (None, rest),
    };
    let (user, password) = match userinfo {
        Some(info) => match memchr(b':', info) {
            Some(colon) => (info.get(..colon), info.get(colon + 1..)),
            None => (Some(info), None),
        },
        None => (None, None),
    };
    if user.is_some_and(<[u8]>::is_empty) || memchr(b'@', rest).is_some() {
        return None;
    }
    let (host, port, tail) = host_port(rest)?;
    if !matches!(tail.first(), None | Some(b';' | b'?')) {
        return None;
    }
    let (before, headers) = match memchr(b'?', tail) {
        Some(mark) => (text.len() - tail.len() + mark, tail.get(mark + 1..)),
        None => (text.len(), None),
    };
    let params = Params::new(text.get(..before)?, text.len() - tail.len());
    Some(Uri { text, scheme, user, password, host, port, params, headers })
}

proptest! {
    #[test]
    fn uris_and_hosts_are_read_as_before(text in samples::text(), part in samples::text()) {
        let whole = [&b"sip:"[..], &text].concat();
        let parted = [&b"sips:"[..], &text, b"@", &part].concat();
        let password = [&b"sip:"[..], &text, b":", &part, b"@192.0.2.1:5060;lr"].concat();
        let only_uri = |text: &[u8]| -> Vec<u8> { text.iter().copied().filter(|byte| is_uri_text(&[*byte])).collect() };
        for text in [&text, &whole, &parted, &password, &only_uri(&whole), &only_uri(&parted), &only_uri(&password)] {
            prop_assert_eq!(format!("{:?}", Uri::parse(text)), format!("{:?}", parse(text)));
        }
        let text = text.strip_prefix(b"SIP/2.0/UDP ").unwrap_or(&text);
        prop_assert_eq!(super::host_port(text), host_port(text));
        prop_assert_eq!(Host::parse(text), host(text));
        prop_assert_eq!(super::literal(text), literal(text));
    }

    #[test]
    fn addresses_are_read_as_before(text in "[0-9]{1,4}(\\.[0-9]{1,3}){2,4}[a-z]?( ?: ?[0-9]{0,6})?[;? @]?") {
        let text = text.as_bytes();
        prop_assert_eq!(super::host_port(text), host_port(text));
        prop_assert_eq!(Host::parse(text), host(text));
        prop_assert_eq!(super::literal(text), literal(text));
    }
}
