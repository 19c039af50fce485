//! The token in the user part of our Record-Route and Path URIs: all that an in-dialog request needs to be routed, by any
//! worker of any replica, with no table.
//!
//! It is encrypted and authenticated with AES-SIV (RFC 5297), so whoever carries it can neither read nor change it.
//! Sealing is deterministic (no nonce, no randomness): one token has one text under one key, on every replica. The text is
//! base64url without padding, but for `.` and `~` in place of `Q` and `q`: an alphabet that needs no escaping in a user part
//! (RFC 3261 §25.1 *unreserved*) and cannot spell `CSeq`, which some user agents look for anywhere in a message.
//!
//! This module knows no message: it is handed the few fields it binds, and says nothing on where to send what.

use aes_siv::siv::Aes256Siv;
use aes_siv::{KeyInit, Tag};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use switchtender_select::Transport;

use crate::output::ConnectionId;

/// The longest token text, in bytes: what a buffer for [`Keys::seal`] must hold.
pub const MAX_TOKEN_LEN: usize = (MAX_RAW_LEN * 4).div_ceil(3);

const FORMAT: u8 = 1;
const CLEAR_LEN: usize = 2;
const SIV_LEN: usize = 16;
/// Bytes in front of what is sealed.
pub(crate) const SEAL_LEN: usize = CLEAR_LEN + SIV_LEN;
const MIN_SEALED_LEN: usize = 1 + 6 + 2 + 6 + 4 + 2;
const MAX_SEALED_LEN: usize = 1 + 8 + 18 + 2 + 18 + 4 + 8 + 4 + 2;
const MIN_RAW_LEN: usize = SEAL_LEN + MIN_SEALED_LEN;
const MAX_RAW_LEN: usize = SEAL_LEN + MAX_SEALED_LEN;

/// All that is needed to route the requests of a dialog, or those that come along a Path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What the token may be used for.
    pub kind: Kind,
    /// The node's SIP endpoint. From the caller the token leads there and nowhere else.
    pub node: SocketAddr,
    /// How the node is spoken to.
    pub transport: Transport,
    /// Index of the listener the caller came in on.
    pub listener: u16,
    /// Where the caller is.
    pub caller: Caller,
    /// Hash of the group's identity, the same on every replica.
    pub group: u32,
    /// Bits of the resources the call takes.
    pub resources: u16,
}

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In one dialog, in both directions (Record-Route).
    Dialog(Binding),
    /// From nodes to the caller only, in any dialog (Path, RFC 3327).
    Path,
}

/// A hash that ties a token to one dialog: its Call-ID and the tag of the one who called.
///
/// It stands inside the seal, so it needs no key: nobody can choose it without holding a token key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(u64);

impl Binding {
    /// Of a dialog's Call-ID and the caller's From tag, both as received. The tag may be empty (RFC 2543).
    pub fn new(call_id: &[u8], caller_tag: &[u8]) -> Self {
        let mut hasher = SipHasher24::new_with_keys(0, 0);
        hasher.write(&u64::try_from(call_id.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.write(call_id);
        hasher.write(caller_tag);
        Self(hasher.finish())
    }
}

/// The caller as the network knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Source address of the request that created the dialog.
    pub address: SocketAddr,
    /// Its transport.
    pub transport: Transport,
    /// Whether the caller's Contact can be believed.
    pub reach: Reach,
}

/// How a caller can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At the address it names: Route and Request-URI of a node's request hold. The connection that it came over, if it
    /// did, saves opening another one.
    Direct {
        /// Where that connection is.
        held: Option<Held>,
    },
    /// Over its own flow only, because it came through NAT.
    Flow {
        /// Identity of the replica that has the flow.
        replica: u32,
        /// The connection, in that replica, where the flow is one.
        connection: Option<ConnectionId>,
    },
}

/// A connection of some replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Identity of the replica, in that run of it.
    pub replica: u32,
    /// The connection in that replica.
    pub connection: ConnectionId,
}

impl Reach {
    /// The caller's connection, if `replica` had it.
    pub fn connection_in(self, replica: u32) -> Option<ConnectionId> {
        match self {
            Self::Direct { held: Some(Held { replica: holder, connection }) }
            | Self::Flow { replica: holder, connection: Some(connection) }
                if holder == replica =>
            {
                Some(connection)
            }
            _ => None,
        }
    }
}

/// Which way a request of the dialog goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Sent by the caller: to the token's node.
    FromCaller,
    /// Sent by the node: to the caller.
    FromNode,
}

/// Why a user part is not a token that we can trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not the text of a token of any format.
    Malformed,
    /// Of a format that this version does not know.
    UnknownFormat,
    /// Sealed under a key we do not have.
    UnknownKey,
    /// Sealed by nobody who holds that key, or changed since.
    Forged,
}

impl Token {
    /// Which way a request with these values goes: the caller's tag stands in From when the caller sends, in To when the
    /// node does. `None` when the token is of another dialog, when both tags claim to be the caller's, and always for a
    /// path token, which is bound to no dialog.
    pub fn direction(&self, call_id: &[u8], from_tag: &[u8], to_tag: &[u8]) -> Option<Direction> {
        let Kind::Dialog(binding) = self.kind else { return None };
        let from_caller = Binding::new(call_id, from_tag) == binding;
        let to_caller = Binding::new(call_id, to_tag) == binding;
        match (from_caller, to_caller) {
            (true, false) => Some(Direction::FromCaller),
            (false, true) => Some(Direction::FromNode),
            _ => None,
        }
    }
}

/// The token keys: the first one seals, all of them open.
pub struct Keys {
    ciphers: Vec<(u8, Aes256Siv)>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ciphers.iter().map(|(id, _)| id)).finish()
    }
}

impl Keys {
    /// Prepares the keys, in order of preference: id and 64-byte secret (AES-256-SIV). Of two keys with one id the first
    /// one counts.
    pub fn new<'a>(keys: impl IntoIterator<Item = (u8, &'a [u8; 64])>) -> Self {
        let mut ciphers: Vec<(u8, Aes256Siv)> = Vec::new();
        for (id, secret) in keys {
            if ciphers.iter().all(|(known, _)| *known != id) {
                ciphers.push((id, Aes256Siv::new(&(*secret).into())));
            }
        }
        Self { ciphers }
    }

    /// Writes the text of `token` under the first key to the front of `text` and returns its length; `None` without a
    /// key. Exclusive access only because the cipher keeps its MAC state in place; nothing is changed and nothing is
    /// allocated.
    pub fn seal(&mut self, token: &Token, text: &mut [u8; MAX_TOKEN_LEN]) -> Option<usize> {
        let mut raw = [0; MAX_RAW_LEN];
        let len = SEAL_LEN + write(token, &mut raw[SEAL_LEN..]);
        self.seal_in_place(FORMAT, &mut raw[..len])?;
        Some(encode(&raw[..len], text))
    }

    /// Seals what stands in `raw` behind room for [`SEAL_LEN`] bytes, which take format, key and authentication tag.
    /// `None` without a key, or without that room.
    pub(crate) fn seal_in_place(&mut self, format: u8, raw: &mut [u8]) -> Option<()> {
        let (id, cipher) = self.ciphers.first_mut()?;
        let (clear, rest) = raw.split_at_mut_checked(CLEAR_LEN)?;
        clear.copy_from_slice(&[format, *id]);
        let (siv, sealed) = rest.split_at_mut_checked(SIV_LEN)?;
        let tag = cipher.encrypt_inout_detached([&*clear], sealed.into()).ok()?;
        siv.copy_from_slice(&tag);
        Some(())
    }

    /// The reverse of [`Keys::seal_in_place`]: what was sealed stands behind [`SEAL_LEN`] bytes.
    ///
    /// # Errors
    /// Says why `raw` cannot be trusted.
    pub(crate) fn open_in_place(&mut self, format: u8, raw: &mut [u8]) -> Result<(), TokenError> {
        let (clear, rest) = raw.split_at_mut_checked(CLEAR_LEN).ok_or(TokenError::Malformed)?;
        let (siv, sealed) = rest.split_at_mut_checked(SIV_LEN).ok_or(TokenError::Malformed)?;
        if clear[0] != format {
            return Err(TokenError::UnknownFormat);
        }
        let (_, cipher) = self.ciphers.iter_mut().find(|(id, _)| *id == clear[1]).ok_or(TokenError::UnknownKey)?;
        let tag = Tag::try_from(&*siv).map_err(|_| TokenError::Malformed)?;
        cipher.decrypt_inout_detached([&*clear], sealed.into(), &tag).map_err(|_| TokenError::Forged)
    }

    /// The token whose text is the user part `text`.
    ///
    /// # Errors
    /// Says why `text` cannot be trusted; never panics, whatever it is.
    pub fn open(&mut self, text: &[u8]) -> Result<Token, TokenError> {
        let mut raw = [0; MAX_RAW_LEN];
        let raw_len = decode(text, &mut raw).ok_or(TokenError::Malformed)?;
        if raw_len < MIN_RAW_LEN {
            return Err(TokenError::Malformed);
        }
        self.open_in_place(FORMAT, &mut raw[..raw_len])?;
        read(&raw[SEAL_LEN..raw_len]).ok_or(TokenError::Forged)
    }
}

// First sealed byte: kind, transport and what follows.
const DIALOG: u8 = 0x80;
const NODE_IPV6: u8 = 0x40;
const CALLER_IPV6: u8 = 0x20;
const OWN_FLOW: u8 = 0x10;
// From here on, bits that tokens of former versions do not have: nothing was spoken but UDP.
/// A connection and the replica that has it.
const CONNECTION: u8 = 0x08;
const NODE_TCP: u8 = 0x04;
const TRANSPORT: u8 = 0x03;

/// Writes the fields to the front of `out` and returns their length.
fn write(token: &Token, out: &mut [u8]) -> usize {
    let mut writer = Writer { out, len: 1 };
    let mut flags = match token.caller.transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
    };
    if let Kind::Dialog(binding) = token.kind {
        flags |= DIALOG;
        writer.put(&binding.0.to_be_bytes());
    }
    if writer.put_address(token.node) {
        flags |= NODE_IPV6;
    }
    if token.transport == Transport::Tcp {
        flags |= NODE_TCP;
    }
    writer.put(&token.listener.to_be_bytes());
    if writer.put_address(token.caller.address) {
        flags |= CALLER_IPV6;
    }
    let (replica, connection) = match token.caller.reach {
        Reach::Direct { held } => (held.map(|held| held.replica), held.map(|held| held.connection)),
        Reach::Flow { replica, connection } => {
            flags |= OWN_FLOW;
            (Some(replica), connection)
        }
    };
    if let Some(replica) = replica {
        writer.put(&replica.to_be_bytes());
    }
    if let Some(connection) = connection {
        flags |= CONNECTION;
        writer.put(&connection.0.to_be_bytes());
    }
    writer.put(&token.group.to_be_bytes());
    writer.put(&token.resources.to_be_bytes());
    let len = writer.len;
    out[0] = flags;
    len
}

/// What [`write`] wrote, and not a byte more.
fn read(sealed: &[u8]) -> Option<Token> {
    let mut reader = Reader { rest: sealed };
    let [flags] = reader.take()?;
    let kind = if flags & DIALOG == 0 { Kind::Path } else { Kind::Dialog(Binding(u64::from_be_bytes(reader.take()?))) };
    let node = reader.take_address(flags & NODE_IPV6 != 0)?;
    let listener = u16::from_be_bytes(reader.take()?);
    let address = reader.take_address(flags & CALLER_IPV6 != 0)?;
    let node_transport = if flags & NODE_TCP == 0 { Transport::Udp } else { Transport::Tcp };
    let transport = match flags & TRANSPORT {
        0 => Transport::Udp,
        1 => Transport::Tcp,
        _ => return None,
    };
    let mut replica = 0;
    if flags & (OWN_FLOW | CONNECTION) != 0 {
        replica = u32::from_be_bytes(reader.take()?);
    }
    let mut connection = None;
    if flags & CONNECTION != 0 {
        connection = Some(ConnectionId(u64::from_be_bytes(reader.take()?)));
    }
    let reach = if flags & OWN_FLOW == 0 {
        Reach::Direct { held: connection.map(|connection| Held { replica, connection }) }
    } else {
        Reach::Flow { replica, connection }
    };
    let group = u32::from_be_bytes(reader.take()?);
    let resources = u16::from_be_bytes(reader.take()?);
    let caller = Caller { address, transport, reach };
    reader.rest.is_empty().then_some(Token {
        kind,
        node,
        transport: node_transport,
        listener,
        caller,
        group,
        resources,
    })
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Whether it is an IPv6 address. Flow label and scope are not kept: they mean nothing on another host.
    fn put_address(&mut self, address: SocketAddr) -> bool {
        match address.ip() {
            IpAddr::V4(ip) => self.put(&ip.octets()),
            IpAddr::V6(ip) => self.put(&ip.octets()),
        }
        self.put(&address.port().to_be_bytes());
        address.is_ipv6()
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn take_address(&mut self, ipv6: bool) -> Option<SocketAddr> {
        let ip = if ipv6 {
            IpAddr::V6(Ipv6Addr::from(self.take::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.take::<4>()?))
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(self.take()?)))
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOP.RSTUVWXYZabcdefghijklmnop~rstuvwxyz0123456789-_";

/// Base64url without padding (RFC 4648 §5), `Q` and `q` written `.` and `~`, of `raw` to the front of `text`; the length of the text.
fn encode(raw: &[u8], text: &mut [u8; MAX_TOKEN_LEN]) -> usize {
    let mut len = 0;
    for group in raw.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for position in 0..=group.len() {
            text[len] = DIGITS[(bits >> (18 - 6 * position) & 63) as usize];
            len += 1;
        }
    }
    len
}

/// What [`encode`] encoded, to the front of `raw`; its length. `None` for any text that `encode` does not make, so that
/// one token has one text.
fn decode(text: &[u8], raw: &mut [u8; MAX_RAW_LEN]) -> Option<usize> {
    if text.len() > MAX_TOKEN_LEN || text.len() % 4 == 1 {
        return None;
    }
    let mut len = 0;
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &digit in group {
            let value = match digit {
                b'Q' | b'q' => return None,
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'.' => b'Q' - b'A',
                b'~' => b'q' - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        let (whole, spare) = bytes[1..].split_at(group.len() - 1);
        if spare.iter().any(|&byte| byte != 0) {
            return None;
        }
        raw.get_mut(len..len + whole.len())?.copy_from_slice(whole);
        len += whole.len();
    }
    Some(len)
}

#[cfg(test)]
mod tests;
