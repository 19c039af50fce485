//! A request in plain values.

use core::cell::Cell;
use core::net::IpAddr;

use switchtender_select::{Request, UriParts};

#[derive(Clone, Debug, Default)]
pub(crate) struct Address {
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) host: Vec<u8>,
    pub(crate) port: Option<u16>,
}

impl Address {
    /// `user@host:port`, with what is there.
    pub(crate) fn of(text: &str) -> Self {
        let (user, rest) = text.split_once('@').map_or((None, text), |(user, rest)| (Some(user.into()), rest));
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !rest.ends_with(']') => (host, Some(port.parse().unwrap())),
            _ => (rest, None),
        };
        Self { user, host: host.into(), port }
    }

    fn parts(&self) -> UriParts<'_> {
        UriParts { user: self.user.as_deref(), host: &self.host, port: self.port }
    }
}

/// What a request shows, and how often it was asked for what costs something.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) uri: Address,
    pub(crate) to: Option<Address>,
    pub(crate) from: Option<Address>,
    pub(crate) call_id: Option<&'static str>,
    pub(crate) auth_user: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) source: IpAddr,
    pub(crate) listener: Option<u16>,
    pub(crate) parsed: Cell<usize>,
}

/// An INVITE for `user@host` from `source`.
pub(crate) fn call(user: Option<&str>, host: &str, source: &str) -> Ask {
    Ask {
        method: "INVITE",
        uri: Address { user: user.map(Into::into), host: host.into(), port: None },
        to: Some(Address::of("bob@biloxi.example")),
        from: Some(Address::of("alice@atlanta.example")),
        call_id: Some("a84b4c76e66710"),
        auth_user: None,
        headers: vec![],
        source: source.parse().unwrap(),
        listener: Some(0),
        parsed: Cell::new(0),
    }
}

impl Ask {
    fn parse(&self) {
        self.parsed.set(self.parsed.get() + 1);
    }
}

impl Request for Ask {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }
    fn request_uri(&self) -> UriParts<'_> {
        self.uri.parts()
    }
    fn to(&self) -> Option<UriParts<'_>> {
        self.parse();
        self.to.as_ref().map(Address::parts)
    }
    fn from(&self) -> Option<UriParts<'_>> {
        self.parse();
        self.from.as_ref().map(Address::parts)
    }
    fn call_id(&self) -> Option<&[u8]> {
        self.call_id.map(str::as_bytes)
    }
    fn auth_user(&self) -> Option<&[u8]> {
        self.auth_user.map(str::as_bytes)
    }
    fn header(&self, name: &[u8]) -> Option<&[u8]> {
        let field = self.headers.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_bytes())
    }
    fn source(&self) -> IpAddr {
        self.source
    }
    fn listener(&self) -> Option<u16> {
        self.listener
    }
}
