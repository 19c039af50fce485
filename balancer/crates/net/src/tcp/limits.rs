//! What connections may cost one worker, and how many of them there are. Knows no socket.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use super::connection::Origin;
use crate::counts::Traffic;

/// What connections may cost one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpLimits {
    /// Nothing came or went for so long: closed.
    pub(crate) idle_timeout: Duration,
    /// A connection that we open comes about within this time or not at all.
    pub(crate) connect_timeout: Duration,
    /// Those of callers at most, as many of nodes, and as many that we open.
    pub(crate) connections: usize,
    /// Of those, with one address at most; see [`source_of`].
    pub(crate) per_source: usize,
}

/// How many connections there are: in all and of each source, whose they are apart.
#[derive(Debug, Default)]
pub(super) struct Census {
    by_origin: HashMap<Origin, usize>,
    by_source: HashMap<(Origin, IpAddr), usize>,
}

impl Census {
    /// What a further connection would be refused for; `None` = there is room.
    pub(super) fn limit_reached(&self, limits: &TcpLimits, origin: Origin, peer: IpAddr) -> Option<Traffic> {
        if self.by_origin.get(&origin).is_some_and(|count| *count >= limits.connections) {
            return Some(Traffic::TcpRefusedLimit);
        }
        let of_source = self.by_source.get(&(origin, source_of(peer))).copied().unwrap_or(0);
        (of_source >= limits.per_source).then_some(Traffic::TcpRefusedSourceLimit)
    }

    /// One more.
    pub(super) fn came(&mut self, origin: Origin, peer: IpAddr) {
        *self.by_origin.entry(origin).or_default() += 1;
        *self.by_source.entry((origin, source_of(peer))).or_default() += 1;
    }

    /// One less.
    pub(super) fn went(&mut self, origin: Origin, peer: IpAddr) {
        take_one(&mut self.by_origin, &origin);
        take_one(&mut self.by_source, &(origin, source_of(peer)));
    }
}

/// What counts as one source: an IPv4 address, or a /64 of IPv6, which is what one host has for itself.
pub(super) fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) >> 64 << 64).to_be_bytes()),
        ip @ IpAddr::V4(_) => ip,
    }
}

fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
