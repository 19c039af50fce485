//! Which of our addresses the kernel would use towards a peer: what stands in headers where a listener is bound to a
//! wildcard and nothing is advertised. Never `0.0.0.0`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use switchtender_select::Time;

use crate::sys;

/// Routes change; an answer is asked again after so long.
const TRUSTED_FOR: Duration = Duration::from_secs(30);
/// Nodes and carriers, not subscribers, are asked for most; past this many peers all is forgotten.
const REMEMBERED: usize = 4096;

/// A worker's memory of the kernel's answers.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    known: HashMap<IpAddr, (IpAddr, Time)>,
}

impl Sources {
    /// The local address towards `peer`; `None` where there is no route.
    pub(crate) fn towards(&mut self, peer: IpAddr, now: Time) -> Option<IpAddr> {
        if let Some(&(source, asked)) = self.known.get(&peer)
            && now.since(asked) < TRUSTED_FOR
        {
            return Some(source);
        }
        let source = sys::source_towards(peer).ok().filter(|source| !source.is_unspecified())?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(peer, (source, now));
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_and_again_when_the_answer_is_old() {
        let (mut sources, peer) = (Sources::default(), "127.0.0.7".parse().unwrap());
        let loopback = Some("127.0.0.1".parse().unwrap());
        assert_eq!(sources.towards(peer, Time::from_secs(1)), loopback);
        let planted = "192.0.2.1".parse().unwrap();
        sources.known.insert(peer, (planted, Time::from_secs(1)));
        assert_eq!(sources.towards(peer, Time::from_secs(30)), Some(planted));
        assert_eq!(sources.towards(peer, Time::from_secs(31)), loopback);
    }

    #[test]
    fn memory_is_bounded() {
        let mut sources = Sources::default();
        for n in 0..5000_u32 {
            let peer = std::net::Ipv4Addr::from(0x7f00_0001 + n);
            assert!(sources.towards(peer.into(), Time::ZERO).is_some());
            assert!(sources.known.len() <= REMEMBERED);
        }
    }
}
