//! What one worker's proxy is told once, at construction.

use std::net::{IpAddr, SocketAddr};

use switchtender_select::Network;
use switchtender_sip::{Host, Uri};

use crate::output::{Flow, Local};

/// The settings of one [`crate::Proxy`]. Workers of one process share everything but `worker`, `worker_address` and
/// `seed`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which worker this is, counted from 0.
    pub worker: u8,
    /// How many there are.
    pub workers: u8,
    /// Random per run of the process, the same in all its workers: branches of an earlier life match nothing.
    pub run_id: u64,
    /// Identity of this replica in tokens of callers that only it can reach.
    pub replica: u32,
    /// Random per run of the process, the same in all its workers: keys branch tags and transaction fingerprints.
    pub secret: [u8; 16],
    /// Where callers come in; at least one.
    pub listeners: Vec<Listener>,
    /// Where nodes talk to us; `None`: the first listener serves both sides, with one Record-Route.
    pub node_side: Option<NodeSide>,
    /// This worker's own node-facing socket. Stands in Via only, so that responses come back to this worker.
    pub worker_address: SocketAddr,
    /// Transactions open at once, server and client ones together; past it new calls are refused.
    pub max_transactions: usize,
    /// Seeds the choices among nodes and the random waiting times.
    pub seed: u64,
}

/// A socket where callers come in.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The bound address; the kernel's port where 0 was asked for.
    pub address: SocketAddr,
    /// What stands in Record-Route, Path and Via instead of the bound address.
    pub advertise: Option<Advertised>,
    /// Whether every caller here is to be treated as behind NAT.
    pub nat: bool,
    /// Requests from elsewhere are refused, but for nodes; empty: everyone may call.
    pub allow: Vec<Network>,
}

/// The side of the nodes.
#[derive(Clone, Debug)]
pub struct NodeSide {
    /// The bound address of the socket that all workers share.
    pub address: SocketAddr,
    /// What stands in Record-Route towards a node: the first entry one of whose networks holds the node.
    pub advertise: Vec<NodeAdvertise>,
    /// Further networks that nodes send from, besides the members' own addresses.
    pub sources: Vec<Network>,
}

/// One entry of [`NodeSide::advertise`].
#[derive(Clone, Debug)]
pub struct NodeAdvertise {
    /// The nodes it holds for.
    pub networks: Vec<Network>,
    /// The stable address of the node side as those nodes see it.
    pub address: Advertised,
}

/// A host and port as they stand in a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: Box<str>,
    /// The port; always written out.
    pub port: u16,
}

impl Advertised {
    /// The advertised form of an address.
    pub fn from_address(address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self { host: host.into(), port: address.port() }
    }

    fn is(&self, host: Host<'_>, port: u16) -> bool {
        let same_host = match host {
            Host::Name(name) => self.host.as_bytes().eq_ignore_ascii_case(name),
            Host::Ip(ip) => self.host.trim_matches(['[', ']']).parse() == Ok(ip),
        };
        same_host && self.port == port
    }
}

/// The address in our header fields: configured, or an address that a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentBy<'a> {
    Advertised(&'a Advertised),
    Address(SocketAddr),
}

impl SentBy<'_> {
    /// The address that a socket is bound to; where that is every one, the one that the peer of `flow` sees, if known.
    pub(crate) fn bound(bound: SocketAddr, flow: &Flow) -> Option<Self> {
        if bound.ip().is_unspecified() {
            return Some(Self::Address(SocketAddr::new(flow.local_ip?.to_canonical(), bound.port())));
        }
        Some(Self::Address(bound))
    }

    pub(crate) fn write(self, output: &mut switchtender_sip::Output<'_>) -> Result<(), switchtender_sip::Overflow> {
        match self {
            Self::Advertised(advertised) => {
                output.bytes(advertised.host.as_bytes())?;
                output.bytes(b":")?;
                output.decimal(advertised.port.into())
            }
            Self::Address(address) => output.socket_addr(address),
        }
    }
}

impl Config {
    /// Our address in header fields towards the peer of `flow`; never an unspecified one. `None`: the socket is bound to
    /// every address, none is advertised, and the flow does not tell which one the peer sees.
    pub(crate) fn sent_by(&self, flow: &Flow) -> Option<SentBy<'_>> {
        let (advertised, bound) = match flow.local {
            Local::Worker => (None, self.worker_address),
            Local::Listener(index) => match self.listener(index) {
                Some(listener) => (listener.advertise.as_ref(), listener.address),
                None => (None, self.worker_address),
            },
            Local::NodeSide => match (&self.node_side, self.listeners.first()) {
                (Some(side), _) => (self.advertised_to(flow.peer.ip()), side.address),
                (None, Some(listener)) => (listener.advertise.as_ref(), listener.address),
                (None, None) => (None, self.worker_address),
            },
        };
        advertised.map(SentBy::Advertised).or_else(|| SentBy::bound(bound, flow))
    }

    pub(crate) fn listener(&self, index: u16) -> Option<&Listener> {
        self.listeners.get(usize::from(index)).or_else(|| self.listeners.first())
    }

    /// The port that a socket is bound to.
    pub(crate) fn port_of(&self, local: Local) -> u16 {
        let first = |index| self.listener(index).map_or(self.worker_address, |listener| listener.address);
        match local {
            Local::Worker => self.worker_address,
            Local::Listener(index) => first(index),
            Local::NodeSide => self.node_side.as_ref().map_or_else(|| first(0), |side| side.address),
        }
        .port()
    }

    /// What nodes in `node`'s network are told for the node side; `None` where the bound address has to do.
    pub(crate) fn advertised_to(&self, node: IpAddr) -> Option<&Advertised> {
        let entries = &self.node_side.as_ref()?.advertise;
        let holds = |entry: &&NodeAdvertise| entry.networks.iter().any(|network| network.contains(node));
        entries.iter().find(holds).map(|entry| &entry.address)
    }

    /// Whether every caller on this socket is to be treated as behind NAT.
    pub(crate) fn is_nat(&self, local: Local) -> bool {
        let Local::Listener(index) = local else { return false };
        self.listener(index).is_some_and(|listener| listener.nat)
    }

    /// Whether its socket takes requests from where this flow comes: listeners may be for some networks only.
    pub(crate) fn admits(&self, flow: &Flow) -> bool {
        let Local::Listener(index) = flow.local else { return true };
        let allow = self.listener(index).map_or(&[][..], |listener| &listener.allow);
        allow.is_empty() || allow.iter().any(|network| network.contains(flow.peer.ip()))
    }

    /// Whether host and port of `uri` are ours: advertised, bound, or where a socket is bound to every address, the one
    /// that the packet came in on.
    pub(crate) fn is_own(&self, uri: &Uri<'_>, local_ip: Option<IpAddr>) -> bool {
        self.is_own_host(uri.host, uri.port_or_default(), local_ip)
    }

    pub(crate) fn is_own_host(&self, host: Host<'_>, port: u16, local_ip: Option<IpAddr>) -> bool {
        let bound_to = |address: SocketAddr| {
            let ip = host.ip().map(|ip| ip.to_canonical());
            let same_ip = ip.is_some()
                && if address.ip().is_unspecified() {
                    ip == local_ip.map(|local| local.to_canonical())
                } else {
                    ip == Some(address.ip().to_canonical())
                };
            same_ip && address.port() == port
        };
        let listens = |listener: &Listener| {
            listener.advertise.as_ref().is_some_and(|advertised| advertised.is(host, port))
                || bound_to(listener.address)
        };
        let serves =
            |side: &NodeSide| side.advertise.iter().any(|entry| entry.address.is(host, port)) || bound_to(side.address);
        self.listeners.iter().any(listens) || self.node_side.as_ref().is_some_and(serves)
    }

    /// Whether nodes may send from `source` although no node of the snapshot lives there.
    pub(crate) fn is_node_source(&self, source: IpAddr) -> bool {
        self.node_side.as_ref().is_some_and(|side| side.sources.iter().any(|network| network.contains(source)))
    }
}
