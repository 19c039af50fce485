//! Keys for `Hash`: the part of a request that decides, as 64 bits.
//!
//! All workers, all replicas and all runs must come to the same key, so there is no secret in it and the function never
//! changes: FNV-1a over the bytes, mixed at the end. Who picks his Call-ID to hit one node meets the bound on its load.

use core::net::IpAddr;

use crate::network::canonical;
use crate::request::{Request, UriParts};
use crate::text::{canonical_host, unescaped};

/// Which part of a request decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashSource {
    /// The Call-ID: calls are spread, and what belongs to a call stays together.
    #[default]
    CallId,
    /// The URI in From.
    From,
    /// The URI in To.
    To,
    /// The Request-URI.
    RequestUri,
    /// The user name of the credentials; without any, the Call-ID.
    AuthUser,
    /// The address that the request came from, without port.
    SourceAddress,
    /// The first header field of that name; without it, the Call-ID.
    Header(Box<[u8]>),
}

/// What `Hash` keys on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashOn {
    /// The part of the request.
    pub source: HashSource,
    /// Of a URI only the user part (of the host where there is no user).
    pub user_only: bool,
}

impl HashOn {
    /// The key of a request. A request without the part that decides goes by its Call-ID, so that such requests are
    /// spread over all nodes instead of meeting at one.
    pub fn key(&self, request: &impl Request) -> u64 {
        let part = match &self.source {
            HashSource::CallId => None,
            HashSource::From => request.from().map(|uri| self.uri(uri)),
            HashSource::To => request.to().map(|uri| self.uri(uri)),
            HashSource::RequestUri => Some(self.uri(request.request_uri())),
            HashSource::AuthUser => request.auth_user().map(|user| Digest::new().plain(user)),
            HashSource::SourceAddress => Some(Digest::new().address(request.source())),
            HashSource::Header(name) => request.header(name).map(|value| {
                let value = if self.user_only { user_of(value) } else { value };
                Digest::new().plain(value)
            }),
        };
        let digest = part.unwrap_or_else(|| match request.call_id() {
            Some(call_id) => Digest::new().plain(call_id),
            None => Digest::new().address(request.source()),
        });
        digest.finish()
    }

    /// User, host and port; no port is the default one (5060), since both lead to the same place.
    fn uri(&self, uri: UriParts<'_>) -> Digest {
        match uri.user {
            Some(user) if self.user_only => Digest::new().bytes(unescaped(user)),
            user => {
                let user_digest = user.map_or(Digest::new(), |user| Digest::new().bytes(unescaped(user)).bytes([0]));
                let host = user_digest.bytes(canonical_host(uri.host)).bytes([0]);
                if self.user_only { host } else { host.bytes(uri.port.unwrap_or(5060).to_be_bytes()) }
            }
        }
    }
}

/// The user part of the URI in a header field's value; the whole value where there is none.
fn user_of(value: &[u8]) -> &[u8] {
    let Some(before) = value.iter().position(|&byte| byte == b'@').and_then(|at| value.get(..at)) else { return value };
    let start = before.iter().rposition(|byte| b":<\" ".contains(byte)).map_or(0, |at| at + 1);
    before.get(start..).unwrap_or(value)
}

/// The lasting identity of a node or member, from its uid.
pub(crate) fn identity(uid: &str) -> u64 {
    Digest::new().plain(uid.as_bytes()).finish()
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
#[derive(Clone, Copy)]
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(self, bytes: impl IntoIterator<Item = u8>) -> Self {
        Self(bytes.into_iter().fold(self.0, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn plain(self, bytes: &[u8]) -> Self {
        self.bytes(bytes.iter().copied())
    }

    fn address(self, address: IpAddr) -> Self {
        match canonical(address) {
            IpAddr::V4(v4) => self.plain(&v4.octets()),
            IpAddr::V6(v6) => self.plain(&v6.octets()),
        }
    }

    fn finish(self) -> u64 {
        mixed(self.0)
    }
}

/// Every bit of the argument in every bit of the result (the finalizer of `SplitMix64`).
pub(crate) const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
