//! Somebody outside who listens in and means no good: replays tokens with Request-URIs and Routes of its own, floods
//! garbage, forges branches.

use crate::message::{Message, bare};
use crate::network::Network;
use std::net::SocketAddr;

/// A host that is nobody's node and nobody's caller; nothing may ever be sent there.
pub(crate) const VICTIM: &str = "198.18.66.66:5060";

pub(crate) struct Attacker {
    pub(crate) address: SocketAddr,
    overheard: Vec<Vec<u8>>,
    tokens: Vec<(String, Message)>,
    minted: usize,
}

const MEMORY: usize = 64;

impl Attacker {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, overheard: Vec::new(), tokens: Vec::new(), minted: 0 }
    }

    /// Reads a datagram on the wire.
    pub(crate) fn overhear(&mut self, network: &mut Network, bytes: &[u8]) {
        if !network.chance(0.05) {
            return;
        }
        if let Ok(message) = Message::parse(bytes) {
            for name in ["Record-Route", "Route"] {
                let found = message.list(name).into_iter().map(|route| (bare(&route), message.clone()));
                self.tokens.extend(found.filter(|(uri, _)| uri.contains('@')));
            }
        }
        self.overheard.push(bytes.to_vec());
        let surplus = self.overheard.len().saturating_sub(MEMORY);
        self.overheard.drain(..surplus);
        let surplus = self.tokens.len().saturating_sub(MEMORY);
        self.tokens.drain(..surplus);
    }

    /// One datagram for `target`.
    pub(crate) fn strike(&mut self, network: &mut Network, target: SocketAddr) {
        let bytes = match network.rng.below(5) {
            0 => (0..network.rng.below(400)).map(|_| network.rng.next_u64().to_be_bytes()[0]).collect(),
            1 => self.spoiled(network),
            2 => self.relay_by_token(network).map_or_else(Vec::new, |message| message.bytes()),
            3 => self.relay_without_token(network).bytes(),
            _ => self.forged_response(network).map_or_else(Vec::new, |message| message.bytes()),
        };
        network.send(self.address, target, bytes);
    }

    fn mint(&mut self) -> String {
        self.minted += 1;
        format!("evil{}", self.minted)
    }

    /// Something overheard, under another Call-ID, with some bytes changed, cut or repeated.
    fn spoiled(&mut self, network: &mut Network) -> Vec<u8> {
        let Some(bytes) = network.pick(&self.overheard).cloned() else { return Vec::new() };
        let text = String::from_utf8_lossy(&bytes).replace("call-c", "evil-c");
        let mut bytes = text.into_bytes();
        for _ in 0..=network.rng.below(4) {
            let at = usize::try_from(network.rng.below(u64::try_from(bytes.len()).unwrap_or(0))).unwrap_or(0);
            match network.rng.below(4) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = network.rng.next_u64().to_be_bytes()[0],
                2 => bytes.insert(at, b"\r\n:;,<>@=\" \0"[usize::try_from(network.rng.below(12)).unwrap_or(0)]),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }

    /// A request with somebody else's token and a target of its own, in the dialog or out of it, either way round.
    fn relay_by_token(&mut self, network: &mut Network) -> Option<Message> {
        let (token, seen) = network.pick(&self.tokens).cloned()?;
        let mint = self.mint();
        let method = *network.pick(&["OPTIONS", "INFO", "MESSAGE", "SUBSCRIBE", "ACK"])?;
        let mut route = vec![format!("<{token}>"), format!("<sip:{VICTIM};lr>")];
        if network.chance(0.5) {
            route.truncate(1);
        }
        let (mut from, mut to) = (seen.header("From")?.to_owned(), seen.header("To")?.to_owned());
        if network.chance(0.5) {
            std::mem::swap(&mut from, &mut to);
        }
        let call_id = if network.chance(0.8) { seen.call_id().to_owned() } else { format!("evil-{mint}") };
        let uri = if network.chance(0.2) { token } else { format!("sip:victim@{VICTIM}") };
        Some(self.request(network, method, &uri, &from, &to, &call_id, &route))
    }

    /// A request that asks to be relayed without any token, or with one of its own making.
    fn relay_without_token(&mut self, network: &mut Network) -> Message {
        let mint = self.mint();
        let balancer = crate::replica::PUBLIC;
        let made_up = format!("<sip:AQE{}@{balancer};lr>", "A".repeat(60));
        let route = match network.rng.below(3) {
            0 => vec![format!("<sip:{VICTIM};lr>")],
            1 => vec![made_up, format!("<sip:{VICTIM};lr>")],
            _ => Vec::new(),
        };
        let method = ["INVITE", "BYE", "OPTIONS", "REGISTER", "CANCEL", "ACK", "SUBSCRIBE"];
        let method = network.pick(&method).copied().unwrap_or("BYE");
        let uri = match network.rng.below(3) {
            0 => format!("sip:busy-20-20-caller-none@{VICTIM}"),
            1 => format!("sip:busy-20-20-caller-none@{balancer};maddr=198.18.66.66"),
            _ => format!("sip:busy-20-20-caller-none@{balancer}"),
        };
        let tag = if network.chance(0.5) { ";tag=there" } else { "" };
        let to = format!("<sip:someone@example.com>{tag}");
        let from = format!("<sip:evil@example.com>;tag={mint}");
        self.request(network, method, &uri, &from, &to, &format!("evil-{mint}"), &route)
    }

    #[allow(clippy::too_many_arguments)] // the parts of a request
    fn request(
        &mut self,
        network: &mut Network,
        method: &str,
        uri: &str,
        from: &str,
        to: &str,
        call_id: &str,
        route: &[String],
    ) -> Message {
        let mint = self.mint();
        let sent_by = match network.rng.below(3) {
            0 => format!("{VICTIM};rport"),
            1 => format!("{VICTIM};maddr=198.18.66.66"),
            _ => format!("{};rport", self.address),
        };
        Message::request(method, uri)
            .with("Via", format!("SIP/2.0/UDP {sent_by};branch=z9hG4bK{mint}"))
            .with_all("Route", route)
            .with("Max-Forwards", 70)
            .with("From", from)
            .with("To", to)
            .with("Call-ID", call_id)
            .with("CSeq", format!("{} {method}", 1 + network.rng.below(1000)))
            .with("Contact", format!("<sip:evil@{VICTIM}>"))
    }

    /// A response that nobody waits for, or that somebody waits for from another.
    fn forged_response(&mut self, network: &mut Network) -> Option<Message> {
        let bytes = network.pick(&self.overheard).cloned()?;
        let seen = Message::parse(&bytes).ok()?;
        let code = *network.pick(&[180, 200, 302, 486, 503, 603])?;
        let mut response = Message::response(&seen, code, "Forged", "forged");
        response.remove("Call-ID");
        let mint = self.mint();
        let mut response = response.with("Call-ID", format!("evil-{mint}"));
        let below = format!("SIP/2.0/UDP {VICTIM};branch=z9hG4bKx");
        response.headers.push(("Via".into(), below));
        Some(response)
    }
}
