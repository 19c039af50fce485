//! The branch of a request that is forwarded without a transaction (RFC 3261 §16.11).
//!
//! All that a response needs besides its Vias stands in it, sealed under the token keys: any worker of any replica can
//! read it, and nobody else can make one, so that no response is passed on to a request that we did not forward. The
//! same request gives the same branch, on every worker and replica, and its CANCEL and the ACK for its failure do, too.
//! Bytes in, bytes out: this module knows no message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::branch::{self, MAGIC_COOKIE};
use crate::output::{ConnectionId, Local};
use crate::token::{Held, Keys, SEAL_LEN};

/// The longest branch, in bytes.
pub(crate) const MAX_LEN: usize = MAGIC_COOKIE.len() + MAX_RAW_LEN / 5 * 8;

const FORMAT: u8 = 0x81;
const MAX_RAW_LEN: usize = (SEAL_LEN + 1 + 8 + 2 + 2 + 16 + 12).next_multiple_of(5);

// First sealed byte: what follows.
const PORT: u8 = 0x01;
const LOCAL_IPV4: u8 = 0x02;
const LOCAL_IPV6: u8 = 0x04;
const CONNECTION: u8 = 0x08;

/// What a branch tells of the request that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    /// Hash over what tells one transaction from another.
    pub(crate) request: u64,
    /// The socket that the request came in on …
    pub(crate) local: Local,
    /// … and our address there.
    pub(crate) local_ip: Option<IpAddr>,
    /// The port to answer to, where the Via does not tell it.
    pub(crate) port: Option<u16>,
    /// The connection that the request came over.
    pub(crate) connection: Option<Held>,
}

impl Relay {
    /// Writes the branch to the front of `text` and returns its length; `None` without a key.
    pub(crate) fn seal(&self, keys: &mut Keys, text: &mut [u8; MAX_LEN]) -> Option<usize> {
        let mut raw = [0; MAX_RAW_LEN];
        let mut len = SEAL_LEN + 1;
        let mut flags = 0;
        let mut put = |bytes: &[u8], flag: u8| {
            if let Some(room) = raw.get_mut(len..len + bytes.len()) {
                room.copy_from_slice(bytes);
            }
            len += bytes.len();
            flags |= flag;
        };
        put(&self.request.to_be_bytes(), 0);
        put(&code_of(self.local).to_be_bytes(), 0);
        if let Some(port) = self.port {
            put(&port.to_be_bytes(), PORT);
        }
        match self.local_ip {
            Some(IpAddr::V4(ip)) => put(&ip.octets(), LOCAL_IPV4),
            Some(IpAddr::V6(ip)) => put(&ip.octets(), LOCAL_IPV6),
            None => {}
        }
        if let Some(Held { replica, connection }) = self.connection {
            put(&replica.to_be_bytes(), CONNECTION);
            put(&connection.0.to_be_bytes(), CONNECTION);
        }
        *raw.get_mut(SEAL_LEN)? = flags;
        let raw = raw.get_mut(..len.next_multiple_of(5))?;
        keys.seal_in_place(FORMAT, raw)?;
        let text_len = MAGIC_COOKIE.len() + raw.len() / 5 * 8;
        branch::encode(raw, text.get_mut(..text_len)?);
        Some(text_len)
    }

    /// What the branch `text` tells; `None` for any that was not sealed under our keys.
    pub(crate) fn open(keys: &mut Keys, text: &[u8]) -> Option<Self> {
        let (cookie, digits) = text.split_at_checked(MAGIC_COOKIE.len())?;
        let mut raw = [0; MAX_RAW_LEN];
        let raw = raw.get_mut(..digits.len() / 8 * 5)?;
        let readable =
            cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && digits.len() % 8 == 0 && branch::decode(digits, raw);
        if !readable || raw.len() <= SEAL_LEN {
            return None;
        }
        keys.open_in_place(FORMAT, raw).ok()?;
        let mut rest = raw.get(SEAL_LEN..)?;
        let [flags] = take(&mut rest)?;
        let request = u64::from_be_bytes(take(&mut rest)?);
        let local = local_of(u16::from_be_bytes(take(&mut rest)?));
        let mut port = None;
        if flags & PORT != 0 {
            port = Some(u16::from_be_bytes(take(&mut rest)?));
        }
        let mut local_ip = None;
        if flags & LOCAL_IPV4 != 0 {
            local_ip = Some(Ipv4Addr::from(take::<4>(&mut rest)?).into());
        } else if flags & LOCAL_IPV6 != 0 {
            local_ip = Some(Ipv6Addr::from(take::<16>(&mut rest)?).into());
        }
        let mut connection = None;
        if flags & CONNECTION != 0 {
            let replica = u32::from_be_bytes(take(&mut rest)?);
            connection = Some(Held { replica, connection: ConnectionId(u64::from_be_bytes(take(&mut rest)?)) });
        }
        Some(Self { request, local, local_ip, port, connection })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

const NODE_SIDE: u16 = u16::MAX;
const WORKER: u16 = u16::MAX - 1;

fn code_of(local: Local) -> u16 {
    match local {
        Local::Listener(index) => index,
        Local::NodeSide => NODE_SIDE,
        Local::Worker => WORKER,
    }
}

fn local_of(code: u16) -> Local {
    match code {
        NODE_SIDE => Local::NodeSide,
        WORKER => Local::Worker,
        index => Local::Listener(index),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::new([(7, &[1; 64])])
    }

    prop_compose! {
        fn any_relay()(
            request in any::<u64>(),
            local in prop_oneof![
                Just(Local::NodeSide), Just(Local::Worker), (0..1000u16).prop_map(Local::Listener)
            ],
            local_ip in any::<Option<IpAddr>>(),
            port in any::<Option<u16>>(),
            connection in any::<Option<(u32, u64)>>(),
        ) -> Relay {
            let connection = connection.map(|(replica, id)| Held { replica, connection: ConnectionId(id) });
            Relay { request, local, local_ip, port, connection }
        }
    }

    proptest! {
        #[test]
        fn a_branch_is_read_back_in_either_case(relay in any_relay()) {
            let mut text = [0; MAX_LEN];
            let len = relay.seal(&mut keys(), &mut text).unwrap();
            prop_assert_eq!(Relay::open(&mut keys(), &text[..len]), Some(relay));
            prop_assert_eq!(Relay::open(&mut keys(), &text[..len].to_ascii_uppercase()), Some(relay));
            prop_assert_eq!(Relay::open(&mut Keys::new([(7, &[2; 64])]), &text[..len]), None);
            let mut again = [0; MAX_LEN];
            prop_assert_eq!(relay.seal(&mut keys(), &mut again), Some(len));
            prop_assert_eq!(again, text);
        }

        #[test]
        fn any_other_branch_is_refused(relay in any_relay(), at in any::<prop::sample::Index>(), other in "[0-9a-v]", garbage in "z9hG4bK[0-9a-v]{0,120}") {
            let mut text = [0; MAX_LEN];
            let len = relay.seal(&mut keys(), &mut text).unwrap();
            let digits = MAGIC_COOKIE.len() + at.index(len - MAGIC_COOKIE.len());
            prop_assume!(text[digits] != other.as_bytes()[0]);
            text[digits] = other.as_bytes()[0];
            prop_assert_eq!(Relay::open(&mut keys(), &text[..len]), None);
            prop_assert_eq!(Relay::open(&mut keys(), garbage.as_bytes()), None);
        }
    }

    #[test]
    fn the_longest_branch_fills_the_room_and_none_is_sealed_without_a_key() {
        let relay = Relay {
            request: 1,
            local: Local::Listener(0),
            local_ip: Some(Ipv6Addr::LOCALHOST.into()),
            port: Some(5060),
            connection: Some(Held { replica: 1, connection: ConnectionId(1) }),
        };
        assert_eq!(relay.seal(&mut keys(), &mut [0; MAX_LEN]), Some(MAX_LEN));
        assert_eq!(relay.seal(&mut Keys::new([]), &mut [0; MAX_LEN]), None);
    }
}
