//! What a new request shows to rules and keys: [`switchtender_select::Request`] over a message.
//!
//! Lazy: a header field is read when a rule asks for it and not before. Knows no group.

use std::net::IpAddr;

use switchtender_select::{HashOn, HashSource, Request, UriParts};
use switchtender_sip::{HeaderName, Host, Message, NameAddr, Uri};

use crate::output::{Flow, Local};

/// A request as matching sees it.
#[derive(Debug)]
pub struct View<'a> {
    message: &'a Message<'a>,
    /// The Request-URI after Route preprocessing (RFC 3261 §16.4).
    uri: &'a Uri<'a>,
    flow: &'a Flow,
    method: &'a [u8],
}

impl<'a> View<'a> {
    /// `uri`: the Request-URI that counts.
    pub fn new(message: &'a Message<'a>, uri: &'a Uri<'a>, flow: &'a Flow) -> Self {
        Self { message, uri, flow, method: message.method_text().unwrap_or_default() }
    }

    /// The key that a registration goes by: its address of record (RFC 3261 §10.2), the same on every replica.
    pub fn address_of_record(&self) -> u64 {
        HashOn { source: HashSource::To, user_only: false }.key(self)
    }

    /// As the INVITE that a CANCEL or an ACK belongs to.
    pub(crate) fn of_invite(self) -> Self {
        Self { method: b"INVITE", ..self }
    }
}

impl Request for View<'_> {
    fn method(&self) -> &[u8] {
        self.method
    }

    fn request_uri(&self) -> UriParts<'_> {
        parts(self.uri)
    }

    fn to(&self) -> Option<UriParts<'_>> {
        uri_of(self.message.to())
    }

    fn from(&self) -> Option<UriParts<'_>> {
        uri_of(self.message.from())
    }

    fn call_id(&self) -> Option<&[u8]> {
        self.message.call_id()
    }

    fn auth_user(&self) -> Option<&[u8]> {
        [HeaderName::ProxyAuthorization, HeaderName::Authorization]
            .into_iter()
            .find_map(|name| username(self.message.value(name)?))
    }

    fn header(&self, name: &[u8]) -> Option<&[u8]> {
        field(self.message, name)
    }

    fn source(&self) -> IpAddr {
        self.flow.peer.ip()
    }

    fn listener(&self) -> Option<u16> {
        match self.flow.local {
            Local::Listener(index) => Some(index),
            Local::NodeSide | Local::Worker => None,
        }
    }
}

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

fn uri_of(address: Option<NameAddr<'_>>) -> Option<UriParts<'_>> {
    let uri = address?.uri()?;
    let user = uri.user;
    Some(UriParts { user, host: host_text(&uri), port: uri.port })
}

fn parts<'a>(uri: &Uri<'a>) -> UriParts<'a> {
    UriParts { user: uri.user, host: host_text(uri), port: uri.port }
}

/// The host as it stands in the URI.
fn host_text<'a>(uri: &Uri<'a>) -> &'a [u8] {
    let Host::Ip(_) = uri.host else {
        return match uri.host {
            Host::Name(name) => name,
            Host::Ip(_) => b"",
        };
    };
    // A URI has one `@` at most, and its scheme ends at the first colon.
    let text = uri.text;
    let start = text.iter().position(|byte| *byte == b'@').or_else(|| text.iter().position(|byte| *byte == b':'));
    let host = start.and_then(|start| text.get(start + 1..)).unwrap_or_default();
    let end = if host.first() == Some(&b'[') {
        host.iter().position(|byte| *byte == b']').map_or(host.len(), |end| end + 1)
    } else {
        host.iter().position(|byte| b":;?> ".contains(byte)).unwrap_or(host.len())
    };
    host.get(..end).unwrap_or_default()
}

/// `username` of digest credentials (RFC 3261 §25.1, RFC 7616), without its quotes.
fn username(credentials: &[u8]) -> Option<&[u8]> {
    let at = credentials.iter().position(u8::is_ascii_whitespace)?;
    let mut rest = credentials.get(at..)?;
    loop {
        rest = trim(rest);
        let end = rest.iter().position(|byte| *byte == b'=')?;
        let name = rest.get(..end)?.trim_ascii();
        rest = rest.get(end + 1..)?.trim_ascii_start();
        let (value, after) = if let Some(quoted) = rest.strip_prefix(b"\"") {
            let end = closing_quote(quoted)?;
            (quoted.get(..end)?, quoted.get(end + 1..)?)
        } else {
            let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            (rest.get(..end)?.trim_ascii(), rest.get(end..)?)
        };
        if name.eq_ignore_ascii_case(b"username") {
            return Some(value);
        }
        rest = after;
    }
}

/// Without the space and the commas in front.
fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !(byte.is_ascii_whitespace() || *byte == b','));
    start.and_then(|start| text.get(start..)).unwrap_or_default()
}

/// Where the quote ends that `text` stands in; a backslash takes the meaning from what follows it.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_digest_credentials() {
        for (credentials, user) in [
            ("Digest username=\"bob\", realm=\"a\"", Some("bob")),
            ("Digest realm=\"a, username=\\\"eve\\\"\" ,\r\n USERNAME = \"bob\"", Some("bob")),
            ("Digest username=bob,realm=a", Some("bob")),
            ("Digest uri=\"sip:x\",username=\"b\\\"b\"", Some("b\\\"b")),
            ("Digest realm=\"a\"", None),
            ("Digest username=\"open", None),
            ("Digest", None),
            ("", None),
        ] {
            let found = username(credentials.as_bytes()).map(|user| std::str::from_utf8(user).unwrap());
            assert_eq!(found, user, "{credentials}");
        }
    }

    #[test]
    fn hosts_are_shown_as_they_stand() {
        for (uri, host) in [
            ("sip:a@192.0.2.1:5062;lr", "192.0.2.1"),
            ("sip:192.0.2.1", "192.0.2.1"),
            ("sip:a@[2001:db8::1]:5060", "[2001:db8::1]"),
            ("sips:[::1]?x=y", "[::1]"),
            ("sip:a:b@Example.COM;x", "Example.COM"),
            ("tel:+1555", ""),
        ] {
            let parsed = Uri::parse(uri.as_bytes()).unwrap();
            assert_eq!(host_text(&parsed), host.as_bytes(), "{uri}");
        }
    }
}
