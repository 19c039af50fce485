//! What goes in and out of the core besides time: datagrams, events, and the table shared with sibling workers.

use std::net::{IpAddr, SocketAddr};

use switchtender_select::NodeSlot;

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

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its payload.
    pub bytes: &'a [u8],
    /// Where it came from.
    pub source: SocketAddr,
    /// The socket it came in on.
    pub local: Local,
    /// The address it was sent to, where the system tells (`IP_PKTINFO`).
    pub local_ip: Option<IpAddr>,
}

/// A datagram that could not be sent or delivered.
#[derive(Clone, Copy, Debug)]
pub struct TransportFailure<'a> {
    /// Who says so.
    pub kind: FailureKind,
    /// Where the datagram was to go.
    pub destination: SocketAddr,
    /// The datagram, or as much of it as is known; possibly nothing.
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
}

/// What the world around a [`crate::Proxy`] does for it.
pub trait Output {
    /// Puts a datagram on the wire. `local_ip`: the source address it must carry, where the socket is bound to every
    /// address and it matters. An error is told by [`crate::Proxy::transport_error`], later.
    fn send(&mut self, from: Local, local_ip: Option<IpAddr>, to: SocketAddr, bytes: &[u8]);

    /// The source address that a datagram from this socket to `to` would carry; never an unspecified one. Asked only
    /// where the socket is bound to every address and no address is advertised.
    fn local_ip(&mut self, from: Local, to: SocketAddr) -> IpAddr;

    /// Tells the control side. Never waits; may be lost.
    fn event(&mut self, event: Event);

    /// Passes a datagram to a sibling worker, which gives it to [`crate::Proxy::handed_over`]. `false`: there is no such
    /// worker or no room, the datagram is lost.
    fn hand_over(&mut self, worker: u8, datagram: &Datagram<'_>) -> bool;

    /// Lets siblings know that this worker has the server transaction with this fingerprint.
    fn publish(&mut self, fingerprint: u64);

    /// The reverse of [`Output::publish`].
    fn retract(&mut self, fingerprint: u64);

    /// The worker that published this fingerprint, if any; it may be this one.
    fn owner(&mut self, fingerprint: u64) -> Option<u8>;
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
