//! The immutable configuration that workers act on, swapped whole.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::document;
use crate::group::{Group, GroupSlot, Mode};
use crate::json::ConfigError;
use crate::matching::{self, Matched};
use crate::network::{canonical, canonical_socket};
use crate::request::Request;
use crate::resources::ResourceSlot;
use crate::transport::Transport;

/// Where a node's counters live: stable for a uid while this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeSlot(pub u32);

/// Hands out slots and remembers nodes that left. [`crate::Slots`] is the one for production.
pub trait Registry {
    /// The slot of this uid: the one it has, else a free one; `None` when all are taken.
    fn node_slot(&mut self, uid: &str) -> Option<NodeSlot>;
    /// The slot of this group: the one it has, else a free one; `None` when all are taken.
    fn group_slot(&mut self, namespace: &str, name: &str) -> Option<GroupSlot>;
    /// The slot of this resource name: the one it has, else a free one; `None` when all are taken.
    fn resource_slot(&mut self, name: &str) -> Option<ResourceSlot>;
    /// Takes note that these nodes and groups are the present ones. Returns the nodes that left and are still to be
    /// known as source addresses and token targets, each with `removed` set.
    fn settle(&mut self, present: &[Node], groups: &[GroupSlot]) -> Vec<Node>;
}

/// A key of the route token: AES-256-SIV. Its `Debug` form never shows the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Names the key inside a token.
    pub id: u8,
    /// 64 bytes: both halves of AES-256-SIV (RFC 5297).
    pub secret: [u8; 64],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One `FreeSWITCH` node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where its counters live.
    pub slot: NodeSlot,
    /// Its identity.
    pub uid: Arc<str>,
    /// Its name for people.
    pub name: Arc<str>,
    /// Its SIP endpoint.
    pub sip: SocketAddr,
    /// How it is spoken to.
    pub transport: Transport,
    /// When failures of calls take it out for a while; `None` = never.
    pub ejection: Option<Ejection>,
    /// It left the set; only its dialogs still go there.
    pub removed: bool,
}

/// When a node is taken out for a while, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// So many failures in a row.
    pub failures: u32,
    /// The first time for so long, each further time for as much longer …
    pub duration: Duration,
    /// … up to this.
    pub max: Duration,
}

/// Everything that workers act on.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts the snapshots of this process; 0 until its owner sets it.
    pub generation: u64,
    /// The first signs, all verify. May be empty before the first configuration only.
    pub keys: Vec<Key>,
    /// Present nodes in the order of the document, then the recently removed ones.
    pub nodes: Vec<Node>,
    /// In order of matching: the first that matches takes the call.
    pub groups: Vec<Group>,
    by_slot: HashMap<NodeSlot, usize>,
    by_endpoint: HashMap<SocketAddr, NodeSlot>,
    addresses: HashSet<IpAddr>,
    has_stateless: bool,
}

impl Snapshot {
    /// Reads and checks the JSON document (format 2). The registry is asked only once the whole document holds, so a
    /// refused one changes nothing.
    ///
    /// # Errors
    /// [`ConfigError`] with the JSON pointer of the first thing that is wrong.
    pub fn from_json(bytes: &[u8], registry: &mut dyn Registry) -> Result<Self, ConfigError> {
        document::read(bytes, registry)
    }

    /// Puts the tables together; `nodes` hold the present ones before the removed ones.
    pub(crate) fn assemble(keys: Vec<Key>, nodes: Vec<Node>, groups: Vec<Group>) -> Self {
        let mut by_slot = HashMap::with_capacity(nodes.len());
        let mut by_endpoint = HashMap::with_capacity(nodes.len());
        let mut addresses = HashSet::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            // A present node comes before a removed one at the same address, so the first one stays.
            by_slot.entry(node.slot).or_insert(index);
            by_endpoint.entry(canonical_socket(node.sip)).or_insert(node.slot);
            addresses.insert(canonical(node.sip.ip()));
        }
        let has_stateless = groups.iter().any(|group| group.mode == Mode::Stateless);
        Self { generation: 0, keys, nodes, groups, by_slot, by_endpoint, addresses, has_stateless }
    }

    /// The first group that takes this request, with the rule that held.
    pub fn classify(&self, request: &impl Request) -> Option<Matched<'_>> {
        matching::classify(&self.groups, request)
    }

    /// Whether any group forwards without transactions.
    pub fn has_stateless(&self) -> bool {
        self.has_stateless
    }

    /// The node at exactly this endpoint, present or recently removed.
    pub fn node_at(&self, endpoint: SocketAddr) -> Option<NodeSlot> {
        self.by_endpoint.get(&canonical_socket(endpoint)).copied()
    }

    /// Whether a node (present or recently removed) lives at this address, whatever the port.
    pub fn node_by_ip(&self, address: IpAddr) -> bool {
        self.addresses.contains(&canonical(address))
    }

    /// The node of a slot, present or recently removed.
    pub fn node(&self, slot: NodeSlot) -> Option<&Node> {
        self.nodes.get(*self.by_slot.get(&slot)?)
    }

    /// The group of a slot.
    pub fn group(&self, slot: GroupSlot) -> Option<&Group> {
        self.groups.iter().find(|group| group.slot == slot)
    }
}
