//! HEP version 3, the Homer Encapsulation Protocol: one captured message as a packet for a collector.
//!
//! A packet is `HEP3`, its length, and chunks: vendor (0: the generic ones), type, length with this head, value; all
//! numbers are big-endian. Knows no socket and no clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use switchtender_select::Transport;

use crate::observer::Way;
use crate::settings::Hep;

/// What a datagram holds over IPv4, and so over both.
const LARGEST: usize = 65_507;
const MAGIC: &[u8] = b"HEP3";
/// Vendor, type and length of a chunk.
const HEAD: u16 = 6;

/// Chunk types of vendor 0.
mod chunk {
    pub(super) const FAMILY: u16 = 0x01;
    pub(super) const PROTOCOL: u16 = 0x02;
    pub(super) const SOURCE_V4: u16 = 0x03;
    pub(super) const DESTINATION_V4: u16 = 0x04;
    pub(super) const SOURCE_V6: u16 = 0x05;
    pub(super) const DESTINATION_V6: u16 = 0x06;
    pub(super) const SOURCE_PORT: u16 = 0x07;
    pub(super) const DESTINATION_PORT: u16 = 0x08;
    pub(super) const SECONDS: u16 = 0x09;
    pub(super) const MICROSECONDS: u16 = 0x0a;
    pub(super) const CAPTURED: u16 = 0x0b;
    pub(super) const CAPTURE_ID: u16 = 0x0c;
    pub(super) const KEY: u16 = 0x0e;
    pub(super) const PAYLOAD: u16 = 0x0f;
}

/// Values of the family chunk: `AF_INET` and `AF_INET6` as Linux has them.
const V4: u8 = 2;
const V6: u8 = 10;
/// Value of the captured chunk.
const SIP: u8 = 1;

/// Appends the packet for one message. `taken`: since the epoch. False: it is longer than a datagram, nothing was
/// appended.
pub(crate) fn encode(hep: &Hep, way: &Way, taken: Duration, message: &[u8], packet: &mut Vec<u8>) -> bool {
    let start = packet.len();
    let Way { sent, transport, local, peer } = *way;
    let (from, to) = if sent { (local, peer) } else { (peer, local) };
    packet.extend_from_slice(MAGIC);
    packet.extend_from_slice(&[0, 0]);
    put(packet, chunk::FAMILY, &[if peer.is_ipv4() { V4 } else { V6 }]);
    put(packet, chunk::PROTOCOL, &[protocol(transport)]);
    put_addresses(packet, from, to, peer.is_ipv4());
    put(packet, chunk::SOURCE_PORT, &from.port().to_be_bytes());
    put(packet, chunk::DESTINATION_PORT, &to.port().to_be_bytes());
    #[allow(clippy::cast_possible_truncation, reason = "the format has 32 bits, to 2106")]
    put(packet, chunk::SECONDS, &(taken.as_secs() as u32).to_be_bytes());
    put(packet, chunk::MICROSECONDS, &taken.subsec_micros().to_be_bytes());
    put(packet, chunk::CAPTURED, &[SIP]);
    put(packet, chunk::CAPTURE_ID, &hep.capture_id.to_be_bytes());
    if let Some(password) = &hep.password {
        put(packet, chunk::KEY, password.as_bytes());
    }
    put(packet, chunk::PAYLOAD, message);
    let length = packet.len() - start;
    let Some(length) = u16::try_from(length).ok().filter(|length| usize::from(*length) <= LARGEST) else {
        packet.truncate(start);
        return false;
    };
    if let Some(place) = packet.get_mut(start + MAGIC.len()..start + MAGIC.len() + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    true
}

/// IANA's protocol numbers.
const fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 17,
        Transport::Tcp => 6,
    }
}

/// Both in one family: an address that is not of it is one that nobody could tell, and is told as unspecified.
fn put_addresses(packet: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, is_v4: bool) {
    let v4 = |ip| if let IpAddr::V4(ip) = ip { ip } else { Ipv4Addr::UNSPECIFIED };
    let v6 = |ip| if let IpAddr::V6(ip) = ip { ip } else { Ipv6Addr::UNSPECIFIED };
    if is_v4 {
        put(packet, chunk::SOURCE_V4, &v4(from.ip()).octets());
        put(packet, chunk::DESTINATION_V4, &v4(to.ip()).octets());
    } else {
        put(packet, chunk::SOURCE_V6, &v6(from.ip()).octets());
        put(packet, chunk::DESTINATION_V6, &v6(to.ip()).octets());
    }
}

/// A value too long for its head makes the packet too long, which is seen at its end.
fn put(packet: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).saturating_add(HEAD);
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The chunks of one packet by type; written from the format, and with none of what writes it.
    fn decoded(packet: &[u8]) -> BTreeMap<u16, Vec<u8>> {
        let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        assert_eq!((&packet[..4], usize::from(number(4))), (&b"HEP3"[..], packet.len()));
        let (mut chunks, mut at) = (BTreeMap::new(), 6);
        while at < packet.len() {
            let (vendor, kind, length) = (number(at), number(at + 2), usize::from(number(at + 4)));
            assert_eq!((vendor, chunks.insert(kind, packet[at + 6..at + length].to_vec())), (0, None));
            at += length;
        }
        chunks
    }

    fn collector(password: Option<&str>) -> Hep {
        Hep { collector: "192.0.2.9:9060".parse().unwrap(), capture_id: 2001, password: password.map(Into::into) }
    }

    fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let ports = any::<(u16, u16)>();
        prop_oneof![
            (any::<[u8; 4]>(), any::<[u8; 4]>(), ports)
                .prop_map(|(one, other, (a, b))| ((one, a).into(), (other, b).into())),
            (any::<[u8; 16]>(), any::<[u8; 16]>(), ports)
                .prop_map(|(one, other, (a, b))| ((one, a).into(), (other, b).into())),
        ]
    }

    fn octets(ip: IpAddr) -> Vec<u8> {
        match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            (local, peer) in addresses(),
            sent: bool,
            tcp: bool,
            seconds: u32,
            micros in 0..1_000_000_u32,
            password in proptest::option::of("[!-~]{1,64}"),
            message in proptest::collection::vec(any::<u8>(), 0..3000),
            before in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let transport = if tcp { Transport::Tcp } else { Transport::Udp };
            let way = Way { sent, transport, local, peer };
            let taken = Duration::from_secs(seconds.into()) + Duration::from_micros(micros.into());
            let hep = collector(password.as_deref());
            let mut packet = before.clone();
            prop_assert!(encode(&hep, &way, taken, &message, &mut packet));
            prop_assert_eq!(&packet[..before.len()], &before[..]);
            let mut chunks = decoded(&packet[before.len()..]);
            let (from, to) = if sent { (local, peer) } else { (peer, local) };
            let (family, source, destination) = if local.is_ipv4() { (2, 3, 4) } else { (10, 5, 6) };
            for (kind, value) in [
                (1, vec![family]),
                (2, vec![if tcp { 6 } else { 17 }]),
                (source, octets(from.ip())),
                (destination, octets(to.ip())),
                (7, from.port().to_be_bytes().to_vec()),
                (8, to.port().to_be_bytes().to_vec()),
                (9, seconds.to_be_bytes().to_vec()),
                (10, micros.to_be_bytes().to_vec()),
                (11, vec![1]),
                (12, 2001_u32.to_be_bytes().to_vec()),
                (15, message),
            ] {
                prop_assert_eq!(chunks.remove(&kind), Some(value), "chunk {}", kind);
            }
            prop_assert_eq!(chunks.remove(&14), password.map(String::into_bytes));
            prop_assert!(chunks.is_empty(), "{:?}", chunks);
        }
    }

    const WAY: Way = Way {
        sent: false,
        transport: Transport::Udp,
        local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060),
        peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5080),
    };

    #[test]
    fn what_does_not_fit_a_datagram_leaves_nothing() {
        let (hep, mut packet) = (collector(None), b"before".to_vec());
        assert!(encode(&hep, &WAY, Duration::ZERO, b"", &mut packet));
        let room = LARGEST - (packet.len() - 6);
        for (length, fits) in [(room, true), (room + 1, false), (65_535, false), (70_000, false)] {
            packet.truncate(6);
            assert_eq!(encode(&hep, &WAY, Duration::ZERO, &vec![b'x'; length], &mut packet), fits, "{length}");
            assert_eq!(packet.len(), if fits { 6 + LARGEST } else { 6 });
        }
    }

    #[test]
    fn an_address_that_could_not_be_told_is_unspecified() {
        let way = Way { local: "[::]:5060".parse().unwrap(), ..WAY };
        let mut packet = Vec::new();
        assert!(encode(&collector(None), &way, Duration::ZERO, b"x", &mut packet));
        let chunks = decoded(&packet);
        assert_eq!((&chunks[&3], &chunks[&4]), (&vec![127, 0, 0, 1], &vec![0; 4]));
    }
}
