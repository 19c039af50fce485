//! URIs (RFC 3261 §19.1, RFC 3966), parsed on demand into slices.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
pub(crate) mod model;

use crate::Params;
use crate::scan::find;
use crate::text::{host_len, is_token, is_uri_text, is_word, trim_start, user_len};

/// The scheme of a URI; case does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel` (RFC 3966)
    Tel,
    /// Any other; a proxy that is asked for it answers 416 (RFC 3261 §16.3).
    Other,
}

/// A host as it stands in a URI or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A domain name, never empty in a `sip` or `sips` URI.
    Name(&'a [u8]),
    /// An IPv4 address or an IPv6 reference.
    Ip(IpAddr),
}

impl<'a> Host<'a> {
    /// The address when the host is a literal.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(ip),
            Self::Name(_) => None,
        }
    }

    /// Equality without case (RFC 3261 §19.1.4); no name is resolved.
    #[must_use]
    pub fn matches(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Self::Ip(one), Host::Ip(other)) => one == other,
            (Self::Name(one), Host::Name(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        }
    }

    /// Parses a whole host: a name, an IPv4 address or an IPv6 reference in brackets.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        Self::split(text).filter(|(_, rest)| rest.is_empty()).map(|(host, _)| host)
    }

    /// Splits a host off the front of `text`.
    fn split(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if text.first() == Some(&b'[') {
            let (reference, rest) = text.split_at_checked(find(b']', text)? + 1)?;
            return Some((Self::Ip(literal(reference)?), rest));
        }
        if let Some((ip, rest)) = leading_ipv4(text)
            && host_len(rest) == 0
        {
            return Some((Self::Ip(ip.into()), rest));
        }
        let (name, rest) = text.split_at_checked(host_len(text))?;
        (!name.is_empty()).then_some((Self::Name(name), rest))
    }
}

/// An IP address literal; IPv6 with or without brackets, as both are found in `received` (RFC 5118 §4.5).
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

/// A whole IPv4 address.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    leading_ipv4(text).filter(|(_, rest)| rest.is_empty()).map(|(ip, _)| ip)
}

/// Splits an IPv4 address off the front of `text`: four decimal octets without leading zeros, which some readers take
/// for octal.
fn leading_ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (first, rest) = octet(text)?;
    let (second, rest) = octet(rest.strip_prefix(b".")?)?;
    let (third, rest) = octet(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = octet(rest.strip_prefix(b".")?)?;
    Some((Ipv4Addr::new(first, second, third, fourth), rest))
}

fn octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let (value, rest) = match text {
        [b'0', b'0'..=b'9', ..] => return None,
        [one @ b'0'..=b'9', two @ b'0'..=b'9', three @ b'0'..=b'9', rest @ ..] => {
            (u16::from(one - b'0') * 100 + u16::from(two - b'0') * 10 + u16::from(three - b'0'), rest)
        }
        [one @ b'0'..=b'9', two @ b'0'..=b'9', rest @ ..] => (u16::from(one - b'0') * 10 + u16::from(two - b'0'), rest),
        [one @ b'0'..=b'9', rest @ ..] => (u16::from(one - b'0'), rest),
        _ => return None,
    };
    Some((u8::try_from(value).ok()?, rest))
}

/// The grammar of RFC 3261 led to `[2001:db8:::192.0.2.1]`, which is to be tolerated (RFC 5118 §4.10).
fn without_third_colon(text: &str) -> Option<Ipv6Addr> {
    let (head, tail) = text.split_once(":::")?;
    let mut buffer = [0; 48];
    let mut output = crate::Output::new(&mut buffer);
    output.bytes(head.as_bytes()).ok()?;
    output.bytes(b"::").ok()?;
    output.bytes(tail.as_bytes()).ok()?;
    std::str::from_utf8(output.written()).ok()?.parse().ok()
}

/// Splits `host [":" port]` off the front of `text`: the host, the port, and what follows.
pub(crate) fn host_port(text: &[u8]) -> Option<(Host<'_>, Option<u16>, &[u8])> {
    let (host, rest) = Host::split(text)?;
    let Some(after) = trim_start(rest).strip_prefix(b":") else {
        return Some((host, None, rest));
    };
    let (port, rest) = port(trim_start(after))?;
    Some((host, Some(port), rest))
}

/// Splits a port off the front of `text`.
fn port(text: &[u8]) -> Option<(u16, &[u8])> {
    let mut rest = text;
    let mut port = 0;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        // What is past the largest port stays so.
        port = (port * 10 + u32::from(digit - b'0')).min(1 << 16);
        rest = after;
    }
    if rest.len() == text.len() { None } else { Some((u16::try_from(port).ok()?, rest)) }
}

/// A URI, in slices of its text.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    /// The whole URI.
    pub text: &'a [u8],
    /// The scheme.
    pub scheme: Scheme,
    /// The user part (`tel`: the number), escapes left in; never empty.
    pub user: Option<&'a [u8]>,
    /// What follows the colon in the user information.
    pub password: Option<&'a [u8]>,
    /// An empty name when the scheme is neither `sip` nor `sips`.
    pub host: Host<'a>,
    /// The port, when one stands there.
    pub port: Option<u16>,
    /// The parameters of the URI.
    pub params: Params<'a>,
    /// What follows `?`.
    pub headers: Option<&'a [u8]>,
}

impl<'a> Uri<'a> {
    /// Parses a whole URI; `None` when it is none. Strict where leniency would let two readers see two hosts: no
    /// white space, control character, quote or angle bracket, and at most one `@`.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let colon = match text {
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', ..] => 3,
            _ => find(b':', text)?,
        };
        let name = text.get(..colon)?;
        let rest = text.get(colon + 1..)?;
        let scheme = match name.len() {
            3 if is_word(name, b"sip") => Scheme::Sip,
            4 if is_word(name, b"sips") => Scheme::Sips,
            3 if is_word(name, b"tel") => Scheme::Tel,
            _ => Scheme::Other,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::sip(text, scheme, rest),
            Scheme::Tel | Scheme::Other => {
                let alphabetic = name.first().is_some_and(u8::is_ascii_alphabetic);
                if !alphabetic || !is_token(name) || rest.is_empty() || !is_uri_text(rest) {
                    return None;
                }
                let end = find(b';', rest).unwrap_or(rest.len());
                let user = (scheme == Scheme::Tel).then_some(rest.get(..end)?);
                if user.is_some_and(<[u8]>::is_empty) {
                    return None;
                }
                Some(Self {
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

    fn sip(text: &'a [u8], scheme: Scheme, rest: &'a [u8]) -> Option<Self> {
        let UserInfo { user, password, rest } = UserInfo::split(rest)?;
        // Strict where a Via is not: no white space around the colon.
        let (host, rest) = Host::split(rest)?;
        let (port, tail) = match rest {
            [b':', after @ ..] => port(after).map(|(port, tail)| (Some(port), tail))?,
            _ => (None, rest),
        };
        if !tail.is_empty() && (!matches!(tail, [b';' | b'?', ..]) || !is_uri_text(tail) || find(b'@', tail).is_some())
        {
            return None;
        }
        let (before, headers) = match find(b'?', tail) {
            Some(mark) => (text.len() - tail.len() + mark, tail.get(mark + 1..)),
            None => (text.len(), None),
        };
        let params = Params::new(text.get(..before)?, text.len() - tail.len());
        Some(Self { text, scheme, user, password, host, port, params, headers })
    }

    /// Whether the URI carries `lr`, which makes its host a loose router (RFC 3261 §19.1.1).
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.params.get(b"lr").is_some()
    }

    /// The port to send to: the one that stands there, else 5060, or 5061 for `sips` (RFC 3261 §19.1.2).
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if self.scheme == Scheme::Sips { 5061 } else { 5060 })
    }

    /// Whether both mean the same resource (RFC 3261 §19.1.4): `sip` and `sips` differ; user and password with case,
    /// all else without; a port that is absent differs from one that stands there; a parameter on both sides must be
    /// equal, `user`, `ttl`, `method`, `maddr` and `transport` must not stand on one side only; headers must be the
    /// same on both sides. Other schemes are compared byte by byte.
    ///
    /// With more than 16 parameters or headers on a side, which no one sends in good faith, the texts must be the same;
    /// so the time stays bounded.
    #[must_use]
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        if matches!(self.scheme, Scheme::Tel | Scheme::Other) || !self.is_comparable() || !other.is_comparable() {
            return self.text == other.text;
        }
        let same_text = |one: Option<&[u8]>, other: Option<&[u8]>| match (one, other) {
            (Some(one), Some(other)) => same_unescaped(one, other, false),
            (None, None) => true,
            _ => false,
        };
        same_text(self.user, other.user)
            && same_text(self.password, other.password)
            && self.host.matches(other.host)
            && self.port == other.port
            && agree(self.params, other.params)
            && agree(other.params, self.params)
            && same_headers(self.headers, other.headers)
    }

    fn is_comparable(&self) -> bool {
        const PARTS: usize = 16;
        self.params.into_iter().take(PARTS + 1).count() <= PARTS
            && ampersands(self.headers.unwrap_or_default()).take(PARTS + 1).count() <= PARTS
    }
}

/// What a `sip` or `sips` URI has behind its scheme.
struct UserInfo<'a> {
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    /// From the host on.
    rest: &'a [u8],
}

impl<'a> UserInfo<'a> {
    /// `None` when what stands before the `@` is no URI text, or the user is empty.
    #[inline]
    fn split(text: &'a [u8]) -> Option<Self> {
        let (user, follows) = text.split_at_checked(user_len(text))?;
        let at = match follows {
            [b'@', ..] => Some(0),
            // A password, or a port.
            [b':', after @ ..] => find(b'@', after).map(|at| at + 1),
            // To the end without either, or to what no URI holds, which the host or what follows it is refused for.
            _ => None,
        };
        let Some(at) = at else {
            return Some(Self { user: None, password: None, rest: text });
        };
        let password = follows.get(..at).filter(|password| is_uri_text(password))?.get(1..);
        (!user.is_empty()).then_some(Self { user: Some(user), password, rest: follows.get(at + 1..)? })
    }
}

/// Every parameter of `one` is equal in `other`, or absent there and of those that may be. Of a repeated one the first
/// counts, as wherever parameters are read.
fn agree(one: Params<'_>, other: Params<'_>) -> bool {
    const DECISIVE: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    one.into_iter().all(|param| match (one.get(param.name), other.get(param.name)) {
        (Some(first), Some(found)) => {
            same_unescaped(first.value.unwrap_or_default(), found.value.unwrap_or_default(), true)
        }
        _ => !DECISIVE.iter().any(|name| param.name.eq_ignore_ascii_case(name)),
    })
}

/// The same headers on both sides, in whatever order.
fn same_headers(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
    let within = |part: &[u8], all: &[u8]| ampersands(all).any(|found| same_unescaped(part, found, true));
    ampersands(one).count() == ampersands(other).count()
        && ampersands(one).all(|part| within(part, other))
        && ampersands(other).all(|part| within(part, one))
}

fn ampersands(headers: &[u8]) -> impl Iterator<Item = &[u8]> {
    headers.split(|byte| *byte == b'&')
}

/// Compares with `%HH` resolved, except where it stands for a reserved character, which it then differs from.
fn same_unescaped(one: &[u8], other: &[u8], ignore_case: bool) -> bool {
    let fold = move |unit: (u8, bool)| if ignore_case { (unit.0.to_ascii_lowercase(), unit.1) } else { unit };
    Unescaped(one).map(fold).eq(Unescaped(other).map(fold))
}

/// Yields each character and whether it is an escaped reserved one.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        if let [b'%', high, low, rest @ ..] = self.0
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = rest;
            let character = high << 4 | low;
            let reserved = matches!(character, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',');
            return Some((character, reserved));
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some((*first, false))
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
