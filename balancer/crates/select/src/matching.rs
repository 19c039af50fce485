//! Which group takes a call.

use core::net::IpAddr;
use std::borrow::Cow;

use regex::bytes::Regex;

use crate::network::Network;

/// What a request shows to the matcher. Bytes as they stood on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method token.
    pub method: &'a [u8],
    /// User part of the Request-URI, without password; `None` when there is none.
    pub user: Option<&'a [u8]>,
    /// Host of the Request-URI, without port, with or without the brackets of an IPv6 reference.
    pub host: &'a [u8],
    /// Where the request came from.
    pub source: IpAddr,
}

/// One rule: all fields that are given must hold.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Exact user part; percent-escapes are equal to what they stand for (RFC 3261 §19.1.4).
    pub user: Option<Vec<u8>>,
    /// Host, any case.
    pub host: Option<Vec<u8>>,
    /// Searched in the unescaped user part; anchor it to match the whole.
    pub user_pattern: Option<Regex>,
    /// The source lies in one of these; empty = anywhere.
    pub sources: Vec<Network>,
}

/// The rules of a group; no rules = every call.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// Any of them suffices.
    pub rules: Vec<Rule>,
}

impl Matcher {
    /// Whether the call is taken, and by which rule: `Some(None)` = by having no rules at all.
    #[allow(clippy::option_option)] // three answers: no, yes by rule n, yes without rules
    pub fn matches(&self, call: &Call<'_>) -> Option<Option<usize>> {
        if self.rules.is_empty() {
            return Some(None);
        }
        self.rules.iter().position(|rule| rule.holds(call)).map(Some)
    }
}

impl Rule {
    fn holds(&self, call: &Call<'_>) -> bool {
        self.host_holds(call.host) && self.user_holds(call.user) && self.source_holds(call.source)
    }

    fn host_holds(&self, host: &[u8]) -> bool {
        self.host.as_ref().is_none_or(|wanted| unbracketed(wanted).eq_ignore_ascii_case(unbracketed(host)))
    }

    fn user_holds(&self, user: Option<&[u8]>) -> bool {
        if self.user.is_none() && self.user_pattern.is_none() {
            return true;
        }
        let Some(user) = user.map(unescaped) else { return false };
        self.user.as_ref().is_none_or(|wanted| unescaped(wanted) == user)
            && self.user_pattern.as_ref().is_none_or(|pattern| pattern.is_match(&user))
    }

    fn source_holds(&self, source: IpAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|network| network.contains(source))
    }
}

fn unbracketed(host: &[u8]) -> &[u8] {
    host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host)
}

/// Percent-escapes resolved; broken ones stay as they are. Allocates only where there is one.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                plain.push(high << 4 | low);
                rest = after;
            }
            _ => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(plain)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
