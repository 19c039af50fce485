//! One connection: what it holds, and until when it may be as it is.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use switchtender_proxy::{ConnectionId, Flow, Local};
use switchtender_select::{Time, Transport};

use super::input::Input;
use super::queue::Queue;
use crate::counts::Traffic;
use crate::sys::{Interest, TcpStream};

/// A message that is not whole by then was never meant to be.
pub(super) const WHOLE_WITHIN: Duration = Duration::from_secs(10);
/// Who connects says something by then.
pub(super) const FIRST_WORD: Duration = Duration::from_secs(30);
/// What is still to be written to a peer that we give up may take so long.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The peer closed or reset it, or the network gave it up.
    Peer,
    /// Nothing came or went for too long.
    Idle,
    /// A message did not become whole.
    Slow,
    /// What came was no SIP stream.
    Framing,
    /// It took nothing of what was to be sent.
    Full,
    /// It did not come about.
    Refused,
    /// It did not come about in time.
    ConnectTimeout,
    /// We stop.
    Stop,
}

impl Close {
    pub(super) fn counted_as(self) -> Traffic {
        match self {
            Self::Peer => Traffic::TcpClosedPeer,
            Self::Idle => Traffic::TcpClosedIdle,
            Self::Slow => Traffic::TcpClosedSlow,
            Self::Framing => Traffic::TcpClosedFraming,
            Self::Full => Traffic::TcpClosedFull,
            Self::Refused => Traffic::TcpConnectRefused,
            Self::ConnectTimeout => Traffic::TcpConnectTimeout,
            Self::Stop => Traffic::TcpClosedStop,
        }
    }
}

/// Whose it is. Each has limits of its own, so that callers take no room from nodes, nor those we call from either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// Accepted at a listener.
    Caller,
    /// Accepted on the side of the nodes.
    Node,
    /// Opened by us.
    Ours,
}

/// How far along it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Opened by us, not decided until then at the latest.
    Connecting { until: Time },
    /// Messages come and go.
    Open,
    /// What is queued is still written, nothing is read any more.
    Ending { until: Time },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) local: Local,
    pub(super) local_ip: Option<IpAddr>,
    /// Our port, where the system tells.
    pub(super) local_port: Option<u16>,
    pub(super) peer: SocketAddr,
    pub(super) origin: Origin,
    pub(super) state: State,
    pub(super) input: Input,
    pub(super) queue: Queue,
    /// When something last came or went.
    pub(super) active: Time,
    /// Something whole came.
    pub(super) spoke: bool,
    /// When the message that is not whole began.
    pub(super) partial_since: Option<Time>,
    /// When this connection is looked at next.
    pub(super) due: Time,
    pub(super) interest: Interest,
    /// The workers that sent a request over it, one bit each: they are told when it ends.
    pub(super) asked: u64,
    /// It stands in the list of those to be written.
    pub(super) unflushed: bool,
}

impl Connection {
    pub(super) fn flow(&self, id: Option<ConnectionId>) -> Flow {
        Flow { local: self.local, local_ip: self.local_ip, peer: self.peer, transport: Transport::Tcp, connection: id }
    }

    /// Whether more messages may be queued.
    pub(super) fn takes_messages(&self) -> bool {
        !matches!(self.state, State::Ending { .. })
    }

    /// What the socket is to be watched for.
    pub(super) fn wanted(&self) -> Interest {
        match self.state {
            State::Connecting { .. } => Interest { read: false, write: true },
            State::Open | State::Ending { .. } => Interest { read: true, write: !self.queue.is_empty() },
        }
    }

    /// When it is closed if nothing happens until then, and why.
    pub(super) fn deadline(&self, idle_timeout: Duration) -> (Time, Close) {
        match self.state {
            State::Connecting { until } => (until, Close::ConnectTimeout),
            State::Ending { until } => (until, Close::Framing),
            State::Open => {
                let patience =
                    if self.spoke || self.origin == Origin::Ours { idle_timeout } else { idle_timeout.min(FIRST_WORD) };
                let idle = self.active + patience;
                match self.partial_since.map(|since| since + WHOLE_WITHIN) {
                    Some(slow) if slow <= idle => (slow, Close::Slow),
                    _ => (idle, Close::Idle),
                }
            }
        }
    }
}
