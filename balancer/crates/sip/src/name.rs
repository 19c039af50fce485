//! The names a proxy tells apart: methods and header fields. Everything else is `Other` and passes through unread.

/// A request method. Methods are case-sensitive (RFC 3261 §7.1): `invite` is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `INVITE`
    Invite,
    /// `ACK`
    Ack,
    /// `BYE`
    Bye,
    /// `CANCEL`
    Cancel,
    /// `OPTIONS`
    Options,
    /// `REGISTER`
    Register,
    /// `PRACK`
    Prack,
    /// `UPDATE`
    Update,
    /// `INFO`
    Info,
    /// `REFER`
    Refer,
    /// `NOTIFY`
    Notify,
    /// `SUBSCRIBE`
    Subscribe,
    /// `MESSAGE`
    Message,
    /// `PUBLISH`
    Publish,
    /// Any other token; its text is the message's method span.
    Other,
}

impl Method {
    /// The method of that name.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        match name {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"REGISTER" => Self::Register,
            b"PRACK" => Self::Prack,
            b"UPDATE" => Self::Update,
            b"INFO" => Self::Info,
            b"REFER" => Self::Refer,
            b"NOTIFY" => Self::Notify,
            b"SUBSCRIBE" => Self::Subscribe,
            b"MESSAGE" => Self::Message,
            b"PUBLISH" => Self::Publish,
            _ => Self::Other,
        }
    }

    /// The method as it stands on the wire; empty for `Other`.
    #[must_use]
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Invite => b"INVITE",
            Self::Ack => b"ACK",
            Self::Bye => b"BYE",
            Self::Cancel => b"CANCEL",
            Self::Options => b"OPTIONS",
            Self::Register => b"REGISTER",
            Self::Prack => b"PRACK",
            Self::Update => b"UPDATE",
            Self::Info => b"INFO",
            Self::Refer => b"REFER",
            Self::Notify => b"NOTIFY",
            Self::Subscribe => b"SUBSCRIBE",
            Self::Message => b"MESSAGE",
            Self::Publish => b"PUBLISH",
            Self::Other => b"",
        }
    }
}

/// A header field name that the proxy reads, compact form included (RFC 3261 §7.3.3); case does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HeaderName {
    /// `Via`
    Via,
    /// `Route`
    Route,
    /// `Record-Route`
    RecordRoute,
    /// `Path`
    Path,
    /// `From`
    From,
    /// `To`
    To,
    /// `Call-ID`
    CallId,
    /// `CSeq`
    CSeq,
    /// `Max-Forwards`
    MaxForwards,
    /// `Contact`
    Contact,
    /// `Content-Length`
    ContentLength,
    /// `Proxy-Require`
    ProxyRequire,
    /// `Require`
    Require,
    /// `Supported`
    Supported,
    /// `Retry-After`
    RetryAfter,
    /// `Reason`
    Reason,
    /// `Authorization`
    Authorization,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `WWW-Authenticate`
    WwwAuthenticate,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Timestamp`
    Timestamp,
    /// Any other name.
    Other,
}

impl HeaderName {
    /// How many names there are, `Other` included.
    pub(crate) const COUNT: usize = Self::Other as usize + 1;

    /// The field of that name, full or compact.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        use crate::text::is_word;
        let Some(letter) = name.first().map(u8::to_ascii_lowercase) else {
            return Self::Other;
        };
        // Length and first letter leave one candidate, or two, so that a name costs one comparison.
        let (candidate, same) = match (name.len(), letter) {
            (1, b'v') => (Self::Via, true),
            (1, b'f') => (Self::From, true),
            (1, b't') => (Self::To, true),
            (1, b'i') => (Self::CallId, true),
            (1, b'm') => (Self::Contact, true),
            (1, b'l') => (Self::ContentLength, true),
            (1, b'k') => (Self::Supported, true),
            (2, b't') => (Self::To, is_word(name, b"to")),
            (3, b'v') => (Self::Via, is_word(name, b"via")),
            (4, b'f') => (Self::From, is_word(name, b"from")),
            (4, b'c') => (Self::CSeq, is_word(name, b"cseq")),
            (4, b'p') => (Self::Path, is_word(name, b"path")),
            (5, b'r') => (Self::Route, is_word(name, b"route")),
            (6, b'r') => (Self::Reason, is_word(name, b"reason")),
            (7, b'c') if is_word(name, b"call-id") => (Self::CallId, true),
            (7, b'c') => (Self::Contact, is_word(name, b"contact")),
            (7, b'r') => (Self::Require, is_word(name, b"require")),
            (9, b's') => (Self::Supported, is_word(name, b"supported")),
            (9, b't') => (Self::Timestamp, is_word(name, b"timestamp")),
            (11, b'r') => (Self::RetryAfter, is_word(name, b"retry-after")),
            (12, b'm') => (Self::MaxForwards, is_word(name, b"max-forwards")),
            (12, b'r') => (Self::RecordRoute, is_word(name, b"record-route")),
            (13, b'p') => (Self::ProxyRequire, is_word(name, b"proxy-require")),
            (13, b'a') => (Self::Authorization, is_word(name, b"authorization")),
            (14, b'c') => (Self::ContentLength, is_word(name, b"content-length")),
            (16, b'w') => (Self::WwwAuthenticate, is_word(name, b"www-authenticate")),
            (18, b'p') => (Self::ProxyAuthenticate, is_word(name, b"proxy-authenticate")),
            (19, b'p') => (Self::ProxyAuthorization, is_word(name, b"proxy-authorization")),
            _ => return Self::Other,
        };
        if same { candidate } else { Self::Other }
    }

    /// The full name as we write it; empty for `Other`.
    #[must_use]
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Via => b"Via",
            Self::Route => b"Route",
            Self::RecordRoute => b"Record-Route",
            Self::Path => b"Path",
            Self::From => b"From",
            Self::To => b"To",
            Self::CallId => b"Call-ID",
            Self::CSeq => b"CSeq",
            Self::MaxForwards => b"Max-Forwards",
            Self::Contact => b"Contact",
            Self::ContentLength => b"Content-Length",
            Self::ProxyRequire => b"Proxy-Require",
            Self::Require => b"Require",
            Self::Supported => b"Supported",
            Self::RetryAfter => b"Retry-After",
            Self::Reason => b"Reason",
            Self::Authorization => b"Authorization",
            Self::ProxyAuthorization => b"Proxy-Authorization",
            Self::WwwAuthenticate => b"WWW-Authenticate",
            Self::ProxyAuthenticate => b"Proxy-Authenticate",
            Self::Timestamp => b"Timestamp",
            Self::Other => b"",
        }
    }
}

/// Fields that [`HeaderName`] does not list and that have a compact form, by IANA's registry of SIP header fields.
const COMPACT: [(&[u8], &[u8]); 13] = [
    (b"a", b"accept-contact"),
    (b"b", b"referred-by"),
    (b"c", b"content-type"),
    (b"d", b"request-disposition"),
    (b"e", b"content-encoding"),
    (b"j", b"reject-contact"),
    (b"n", b"identity-info"),
    (b"o", b"event"),
    (b"r", b"refer-to"),
    (b"s", b"subject"),
    (b"u", b"allow-events"),
    (b"x", b"session-expires"),
    (b"y", b"identity"),
];

/// The compact form of a full name, or the full name of a compact form; for names that [`HeaderName`] does not list.
pub(crate) fn other_form(name: &[u8]) -> Option<&'static [u8]> {
    COMPACT.iter().find_map(|(compact, full)| {
        if name.eq_ignore_ascii_case(compact) {
            Some(*full)
        } else {
            name.eq_ignore_ascii_case(full).then_some(*compact)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::from_bytes(b"INVITE"), Method::Invite);
        assert_eq!(Method::from_bytes(b"Invite"), Method::Other);
        assert_eq!(Method::from_bytes(b""), Method::Other);
    }

    #[test]
    fn methods_round_trip() {
        for name in [
            "INVITE",
            "ACK",
            "BYE",
            "CANCEL",
            "OPTIONS",
            "REGISTER",
            "PRACK",
            "UPDATE",
            "INFO",
            "REFER",
            "NOTIFY",
            "SUBSCRIBE",
            "MESSAGE",
            "PUBLISH",
        ] {
            let method = Method::from_bytes(name.as_bytes());
            assert_ne!(method, Method::Other, "{name}");
            assert_eq!(method.as_bytes(), name.as_bytes());
        }
    }

    #[test]
    fn header_names_in_any_case_and_compact() {
        for name in [
            "Via",
            "Route",
            "Record-Route",
            "Path",
            "From",
            "To",
            "Call-ID",
            "CSeq",
            "Max-Forwards",
            "Contact",
            "Content-Length",
            "Proxy-Require",
            "Require",
            "Supported",
            "Retry-After",
            "Reason",
            "Authorization",
            "Proxy-Authorization",
            "WWW-Authenticate",
            "Proxy-Authenticate",
            "Timestamp",
        ] {
            let header = HeaderName::from_bytes(name.as_bytes());
            assert_ne!(header, HeaderName::Other, "{name}");
            assert_eq!(header.as_bytes(), name.as_bytes());
            assert_eq!(HeaderName::from_bytes(name.to_uppercase().as_bytes()), header);
            assert_eq!(HeaderName::from_bytes(name.to_lowercase().as_bytes()), header);
        }
        for (compact, header) in [
            (b"v", HeaderName::Via),
            (b"F", HeaderName::From),
            (b"t", HeaderName::To),
            (b"i", HeaderName::CallId),
            (b"M", HeaderName::Contact),
            (b"l", HeaderName::ContentLength),
            (b"k", HeaderName::Supported),
            (b"s", HeaderName::Other),
        ] {
            assert_eq!(HeaderName::from_bytes(compact), header);
        }
        assert_eq!(HeaderName::from_bytes(b"Vie"), HeaderName::Other);
        assert_eq!(HeaderName::from_bytes(b""), HeaderName::Other);
    }
}
