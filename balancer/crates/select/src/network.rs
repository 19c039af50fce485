//! IP networks (CIDR, RFC 4632 and RFC 4291 §2.3) and the one spelling of an address.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) is the IPv4 address: a dual-stack socket shows peers that way.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The same for an address with its port; an IPv6 scope or flow label is dropped.
pub fn canonical_socket(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(canonical(address.ip()), address.port())
}

/// A network of one family. Host bits beyond the prefix are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `prefix` leading bits of `address`; `None` when the family has fewer bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        // A mapped network of at least 96 bits is the IPv4 network; a shorter one stays IPv6.
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if (96..=128).contains(&prefix) => {
                Some(Self { address: mapped, prefix: prefix - 96 })
            }
            (IpAddr::V4(_), _) if prefix > 32 => None,
            (IpAddr::V6(_), _) if prefix > 128 => None,
            _ => Some(Self { address, prefix }),
        }
    }

    /// The address as given, host bits included.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether `address` (in either spelling) lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, canonical(address)) {
            (IpAddr::V4(network), IpAddr::V4(host)) => {
                shared_bits(u128::from(u32::from(network)) << 96, u128::from(u32::from(host)) << 96, self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(host)) => shared_bits(network.into(), host.into(), self.prefix),
            // ::/0 and ::ffff:0:0/80 do hold the mapped IPv4 addresses.
            (IpAddr::V6(network), IpAddr::V4(host)) => {
                shared_bits(network.into(), host.to_ipv6_mapped().into(), self.prefix)
                    && network != Ipv6Addr::UNSPECIFIED
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}

fn shared_bits(left: u128, right: u128, prefix: u8) -> bool {
    match prefix {
        0 => true,
        1..=128 => (left ^ right) >> (128 - u32::from(prefix)) == 0,
        _ => false,
    }
}

impl FromStr for Network {
    type Err = String;

    /// `192.0.2.0/24`, `2001:db8::/32`, or a plain address for that host alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("{text:?} is not an IP network"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| format!("{text:?} has no valid prefix length"))?
            }
            Some(_) => return Err(format!("{text:?} has no valid prefix length")),
        };
        Self::new(address, prefix).ok_or_else(|| format!("{text:?}: the prefix length is at most {longest}"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn prefixes_of_both_families() {
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("198.51.100.7", "198.51.100.7"));
        assert!(!holds("198.51.100.7", "198.51.100.8"));
        assert!(holds("0.0.0.0/0", "255.255.255.255"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("10.1.2.3/8", "10.9.9.9"), "host bits are ignored");
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.1"));
        assert!(holds("::ffff:192.0.2.0/120", "192.0.2.1"));
        assert!(!holds("::ffff:192.0.2.0/120", "192.0.3.1"));
        assert!(!holds("::/0", "192.0.2.1"), "each family has its own default network");
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "/", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "a/8", "10.0.0.0/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
