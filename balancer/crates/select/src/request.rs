//! What a new request shows to matching and hashing.

use core::net::IpAddr;

/// The parts of a URI that rules and keys look at. Bytes as they stood on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UriParts<'a> {
    /// User part without password; `None` when there is none.
    pub user: Option<&'a [u8]>,
    /// Host without port, with or without the brackets of an IPv6 reference; for `tel` URIs empty.
    pub host: &'a [u8],
    /// Port, where one is written.
    pub port: Option<u16>,
}

/// A request outside of any dialog. `proxy` implements it over a message, `net` over what `explain` was asked.
///
/// Each part is asked for at most once while a request is classified, and only if a rule needs it, so nothing need be
/// parsed that nobody asks for.
pub trait Request {
    /// The method token.
    fn method(&self) -> &[u8];
    /// The Request-URI.
    fn request_uri(&self) -> UriParts<'_>;
    /// The URI in To; `None` where there is none that can be read.
    fn to(&self) -> Option<UriParts<'_>>;
    /// The URI in From; `None` where there is none that can be read.
    fn from(&self) -> Option<UriParts<'_>>;
    /// The Call-ID.
    fn call_id(&self) -> Option<&[u8]>;
    /// `username` of Proxy-Authorization, else of Authorization; `None` without credentials.
    fn auth_user(&self) -> Option<&[u8]>;
    /// The first header field of that name (any case, compact forms known), without the space around its value.
    fn header(&self, name: &[u8]) -> Option<&[u8]>;
    /// Where it came from.
    fn source(&self) -> IpAddr;
    /// Index of the listener that it came in on; `None` on the node side.
    fn listener(&self) -> Option<u16>;
}
