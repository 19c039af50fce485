//! What goes in and out of the core besides time: packets, events, and the table shared with sibling workers.

use std::net::{IpAddr, SocketAddr};

use switchtender_select::{GroupSlot, NoNode, NodeSlot, Time, Transport, Wanted};

/// One of our sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local {
    /// Where callers come in, by its index in the configuration.
    Listener(u16),
    /// The node-facing socket that all workers share.
    NodeSide,
    /// This worker's own node-facing socket.
    Worker,
}

/// A connection of this process, unique while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// The connection with this serial number in this worker.
    pub const fn new(worker: u8, serial: u32) -> Self {
        Self((worker as u64) << 32 | serial as u64)
    }

    /// The worker that has it; `None` for a number that [`ConnectionId::new`] does not make.
    pub fn worker(self) -> Option<u8> {
        u8::try_from(self.0 >> 32).ok()
    }
}

/// The way of a message (RFC 5626 §3.1): which of our sockets, which peer, which transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Our socket; for a connection, the one it was accepted on, or whose address it was opened from.
    pub local: Local,
    /// Our address on it: of what came in, where it was sent to, as far as the system tells (`IP_PKTINFO`); of what goes
    /// out, the source it must have where the socket is bound to every address and it matters.
    pub local_ip: Option<IpAddr>,
    /// The other end.
    pub peer: SocketAddr,
    /// Datagrams or a connection.
    pub transport: Transport,
    /// The connection that a message came in on. Of what goes out: the one that it must go over or not at all; `None`:
    /// over one of this worker's to that peer, opened if there is none.
    pub connection: Option<ConnectionId>,
}

impl Flow {
    /// Datagrams between a socket of ours and a peer.
    pub const fn udp(local: Local, local_ip: Option<IpAddr>, peer: SocketAddr) -> Self {
        Self { local, local_ip, peer, transport: Transport::Udp, connection: None }
    }
}

/// A SIP message as it came in: a datagram, or one message of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The message, with whatever else the datagram held.
    pub bytes: &'a [u8],
    /// The way it came.
    pub flow: Flow,
}

/// A message that could not be sent or delivered.
#[derive(Clone, Copy, Debug)]
pub struct TransportFailure<'a> {
    /// Who says so.
    pub kind: FailureKind,
    /// The way it was to go, as given to [`Output::send`]; what the network quotes says nothing of `local_ip`.
    pub flow: Flow,
    /// The message, or as much of it as is known; possibly nothing.
    pub quoted: &'a [u8],
}

/// Who reports a [`TransportFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The send call failed. May be the late echo of an ICMP error about another destination, so the request is sent once
    /// more before the error counts.
    Send,
    /// The network said that the destination cannot be reached (`IP_RECVERR`).
    Icmp,
    /// No connection could be opened, in time or at all.
    Connect,
    /// The connection is no more, and the message was not written to it, or not known to be.
    Closed,
}

/// What the world around a [`crate::Proxy`] does for it.
pub trait Output {
    /// Puts a message on the wire; [`Flow`] says how. An error is told by [`crate::Proxy::transport_error`], later.
    fn send(&mut self, flow: &Flow, bytes: &[u8]);

    /// The source address that a message from this socket to `to` would carry; never an unspecified one. Asked only
    /// where the socket is bound to every address and no address is advertised.
    fn local_ip(&mut self, from: Local, to: SocketAddr) -> IpAddr;

    /// Tells the control side. Never waits; may be lost.
    fn event(&mut self, event: Event);

    /// Tells what was decided about a request, for whoever follows its call. `request`: the message as received. Called
    /// once for each attempt, not for each packet; must cost next to nothing when nobody listens.
    fn decided(&mut self, request: &[u8], decision: &Decision<'_>) {
        let _ = (request, decision);
    }

    /// Passes a packet to a sibling worker, which gives it to [`crate::Proxy::handed_over`]. `false`: there is no such
    /// worker or no room, the packet is lost.
    fn hand_over(&mut self, worker: u8, packet: &Packet<'_>) -> bool;

    /// Tells every sibling worker that a call is over, which they learn by [`crate::Proxy::call_over`]. `call` is a hash
    /// of its Call-ID, keyed alike in all workers. May be lost.
    fn call_over(&mut self, call: u64);

    /// Remembers that the call with this hash stands at `node`, for all workers. May be forgotten at any time, to make
    /// room.
    fn remember_call(&mut self, call: u64, node: NodeSlot);

    /// The reverse of [`Output::remember_call`].
    fn forget_call(&mut self, call: u64);

    /// The node remembered last for the call with this hash.
    fn node_of_call(&mut self, call: u64) -> Option<NodeSlot>;

    /// Lets siblings know that this worker has the server transaction with this fingerprint.
    fn publish(&mut self, fingerprint: u64);

    /// The reverse of [`Output::publish`].
    fn retract(&mut self, fingerprint: u64);

    /// The worker that published this fingerprint, if any; it may be this one.
    fn owner(&mut self, fingerprint: u64) -> Option<u8>;

    /// A clock for how long our own work takes; nothing else may depend on it. `None`: that is not measured.
    fn clock(&self) -> Option<Time> {
        None
    }
}

/// Something the control side may want to know. No decision of the core depends on its arriving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node refused a call by itself.
    Refused {
        /// The node.
        node: NodeSlot,
        /// The status code.
        status: u16,
        /// In which words.
        why: Refusal,
    },
    /// The node did not answer in time.
    TimedOut {
        /// The node.
        node: NodeSlot,
        /// What was waited for.
        what: Silence,
    },
    /// A request to the node could not be delivered.
    TransportError {
        /// The node.
        node: NodeSlot,
    },
    /// The node ended a call because it is shutting down.
    ShutdownSeen {
        /// The node.
        node: NodeSlot,
    },
}

/// What was decided about a new request.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// It goes to this node, which is not counted yet as having it.
    Placed {
        /// The group whose node it is; another one than it was matched to after a spill.
        group: GroupSlot,
        /// The node.
        node: NodeSlot,
        /// What it wants of a node.
        wanted: &'a Wanted,
        /// Nodes that it went to before, in order.
        tried: &'a [NodeSlot],
    },
    /// What it was sent to failed it.
    Failed {
        /// Its group.
        group: GroupSlot,
        /// The node; `None`: a next hop outside.
        node: Option<NodeSlot>,
        /// The cause, by its label in metrics.
        cause: &'static str,
        /// Attempts so far.
        attempts: usize,
        /// It goes to another one.
        goes_on: bool,
    },
    /// No node may take it now, so it waits.
    Held {
        /// Its group.
        group: GroupSlot,
        /// Why.
        why: NoNode,
    },
    /// No node can take it, so it is refused.
    Refused {
        /// Its group.
        group: GroupSlot,
        /// Why.
        why: NoNode,
    },
}

/// How a node refuses by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `Maximum Calls In Progress`: full, throttled, paused, booting or shutting down.
    MaximumCalls,
    /// `System Paused`: on standby.
    Paused,
    /// `System Busy`: its message queue is full.
    Busy,
    /// A status code that the group retries on, such as 410 in profile teardown.
    Code,
}

/// What a node left us waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Any response (`firstResponseTimeout`).
    FirstResponse,
    /// Anything after its 100 (`progressTimeout`).
    Progress,
    /// Any response, until Timer B or F (RFC 3261 §17.1).
    Transaction,
}
