//! What a server and a client transaction hold (RFC 3261 §17, RFC 6026). The rules that move them stand in the modules
//! beside this one.

use std::time::Duration;

use switchtender_select::{GroupSlot, NodeSlot, Time, Wanted};
use switchtender_sip::Method;

use crate::branch::LoopHash;
use crate::ended::Ending;
use crate::output::Flow;
use crate::placing::CallKey;
use crate::slab::Handle;
use crate::token::{Caller, Reach};

/// Round-trip time estimate (RFC 3261 §17.1.1.1).
pub(crate) const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of anything but INVITE.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network.
pub(crate) const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H, L, M, and over UDP D and J.
pub(crate) const T1_64: Duration = Duration::from_secs(32);
/// Timer C of requests in dialogs: more than three minutes (RFC 3261 §16.6 step 11).
pub(crate) const TIMER_C: Duration = Duration::from_secs(181);
/// A provisional response restarts Timer C only if it was last started at least this long ago, so that a stream of
/// them leaves no trail of cancelled timers; Timer C is longer by as much.
pub(crate) const TIMER_C_STEP: Duration = Duration::from_secs(1);

/// Nodes that one request is tried on at most: the bound of `failover.attempts`.
pub(crate) const MAX_ATTEMPTS: usize = 16;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Due {
    Server(Handle, ServerTimer),
    Client(Handle, ClientTimer),
    /// A look at the calls that wait.
    Waiting,
    /// A look at what calls hold.
    Records,
}

/// Timers of a server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ServerTimer {
    /// Timer G.
    Retransmit,
    /// Timer H, I, J or L, as the state says.
    End,
}

impl ServerTimer {
    pub(crate) const ALL: [Self; 2] = [Self::Retransmit, Self::End];
}

/// Timers of a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientTimer {
    /// Timer A or E; Timer E of the CANCEL once that is sent.
    Retransmit,
    /// Timer B or F.
    Timeout,
    /// `firstResponseTimeout`, then `progressTimeout`.
    Patience,
    /// Timer C.
    C,
    /// Timer D, K or M, as the state says; before a final response, the end of waiting after a CANCEL (RFC 3261 §9.1).
    End,
}

impl ClientTimer {
    pub(crate) const ALL: [Self; 5] = [Self::Retransmit, Self::Timeout, Self::Patience, Self::C, Self::End];
}

/// States of a server transaction. Those without INVITE have no Confirmed and no Accepted; their Trying is Proceeding
/// without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// No final response was sent.
    Proceeding,
    /// A final response was sent, with INVITE one other than 2xx.
    Completed,
    /// It was acknowledged.
    Confirmed,
    /// A 2xx to an INVITE was sent (RFC 6026 §7.1).
    Accepted,
    /// Over; held while client transactions may still bring responses to pass on.
    Terminated,
}

/// Where a request came from, and so where its responses go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The way it came.
    pub(crate) flow: Flow,
    /// The way its responses go.
    pub(crate) reply_to: Flow,
}

/// What does not stay in the Request-URI of a forwarded request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Removal {
    #[default]
    Nothing,
    /// `method` and headers, which must not stand there (RFC 3261 §16.6 step 2, §19.1.1).
    NoTarget,
    /// Those, and `maddr`, which names us, with the port and transport that belong to it (§16.4).
    Maddr,
}

/// How the Request-URI and the Routes of a request change on the way through (RFC 3261 §16.4, §16.6 step 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Values of ours at the top of Route.
    pub(crate) own_routes: usize,
    /// The upstream hop is a strict router: the last Route is the Request-URI.
    pub(crate) uri_from_last_route: bool,
    /// What is removed from the Request-URI.
    pub(crate) removal: Removal,
    /// The next hop is a strict router: its URI becomes the Request-URI, and that the last Route.
    pub(crate) strict_next_hop: bool,
}

/// Where another attempt at a request may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Search {
    /// Nowhere: in dialogs, or where only one node will do.
    #[default]
    Nowhere,
    /// To another node of the group.
    Nodes,
    /// To the next home of this key in the group: the request takes no room.
    Home(u64),
    /// To another next hop of the group's egress; one bit for each that was tried.
    NextHops(u64),
}

/// What is written into a forwarded request so that later ones come through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Nothing,
    /// Record-Route of a dialog that a caller begins; how to reach that caller.
    FromCaller(Reach),
    /// Record-Route of a dialog that a node begins along a Path: the one it calls, the listener of that one, and the
    /// group that it registered with, as in the token.
    FromNode(Caller, u16, u32),
    /// Record-Route of a dialog that a node begins with whoever is at the next hop.
    Outward,
    /// Path of a registration; how to reach the one that registers.
    Path(Reach),
}

impl Record {
    /// Whether it is of a caller that can only be reached over a connection of this replica: later requests of the node
    /// must come here, whatever address all replicas share.
    pub(crate) fn is_of_a_connection(self) -> bool {
        let (Self::FromCaller(reach) | Self::Path(reach) | Self::FromNode(Caller { reach, .. }, ..)) = self else {
            return false;
        };
        matches!(reach, Reach::Flow { connection: Some(_), .. })
    }
}

/// What the final responses of the tries so far come to (RFC 3261 §16.7 step 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Attempts that ended in the node's own refusal.
    pub(crate) refused: u8,
    /// Attempts that no node answered in time.
    pub(crate) timed_out: u8,
    /// Attempts that ended in a transport error.
    pub(crate) failed: u8,
    /// Those of them over a connection that is no more.
    pub(crate) gone: u8,
    /// Status of the response kept as the best so far; 0: none.
    pub(crate) best: u16,
    /// It waited for a node in vain, which was counted.
    pub(crate) unplaced: bool,
}

/// The server transaction of a request and its response context (RFC 3261 §16.2).
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(crate) struct Server {
    pub(crate) state: ServerState,
    pub(crate) method: Method,
    pub(crate) fingerprint: u128,
    pub(crate) origin: Origin,
    /// The request as received; given back once nothing can need it any more.
    pub(crate) request: Vec<u8>,
    /// What a retransmission of the request is answered with; empty: nothing.
    pub(crate) response: Vec<u8>,
    /// The response kept as the best so far, ready to be sent.
    pub(crate) best: Vec<u8>,
    pub(crate) tries: Tries,
    pub(crate) shape: Shape,
    pub(crate) record: Record,
    pub(crate) loop_hash: LoopHash,
    /// The group that a new request was matched to; `None` in dialogs: there is one place to go, and no next one.
    pub(crate) group: Option<GroupSlot>,
    /// Where another attempt may go.
    pub(crate) search: Search,
    /// What the request wants of its group's nodes.
    pub(crate) wanted: Wanted,
    /// Its call.
    pub(crate) call: CallKey,
    /// It waits for a node; there is no attempt yet.
    pub(crate) waiting: bool,
    /// The node that makes this call to the outside and that it is counted at.
    pub(crate) outward: Option<NodeSlot>,
    /// The call that a BYE ends; taken when that is counted.
    pub(crate) ends: Option<Ending>,
    /// The attempt whose outcome is awaited.
    pub(crate) current: Option<Handle>,
    /// Client transactions, abandoned and lingering ones included; room for one that takes the place of another.
    pub(crate) clients: [Option<Handle>; MAX_ATTEMPTS + 1],
    /// Nodes tried, in order.
    pub(crate) tried: [NodeSlot; MAX_ATTEMPTS],
    pub(crate) attempts: usize,
    /// A provisional response above 100 was passed upstream: no more failover.
    pub(crate) progressed: bool,
    /// The caller sent CANCEL.
    pub(crate) cancelled: bool,
    pub(crate) started: Time,
    /// Its post-dial delay was recorded.
    pub(crate) delay_noted: bool,
    pub(crate) interval: Duration,
    pub(crate) deadlines: [Option<Time>; ServerTimer::ALL.len()],
}

impl Server {
    pub(crate) fn is_invite(&self) -> bool {
        self.method == Method::Invite
    }

    /// Whether something is still to come: the final response, or the ACK for a failure.
    pub(crate) fn is_open(&self) -> bool {
        self.is_pending() || self.state == ServerState::Completed && self.is_invite()
    }

    /// Whether a final response is still owed.
    pub(crate) fn is_pending(&self) -> bool {
        self.state == ServerState::Proceeding
    }

    /// Whether nothing comes again and nothing is to be sent again (RFC 3261 §17.2.1, §17.2.2).
    pub(crate) fn is_reliable(&self) -> bool {
        self.origin.flow.transport.is_reliable()
    }

    pub(crate) fn has_clients(&self) -> bool {
        self.clients.iter().any(Option::is_some)
    }
}

/// States of a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientState {
    /// Calling, or Trying without INVITE: nothing came back.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A final response came, with INVITE one other than 2xx.
    Completed,
    /// A 2xx to an INVITE came (RFC 6026 §7.2).
    Accepted,
}

/// How far the CANCEL of an INVITE got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    No,
    /// To be sent on the first provisional response (RFC 3261 §9.1).
    Wanted,
    /// Sent, and retransmitted until answered.
    Sent,
    /// Answered.
    Answered,
}

/// As what an attempt is counted at its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Not, or not any more: nothing is to be given back.
    No,
    /// A new call in flight, to be settled, once; see [`crate::core::Core::settle`].
    InFlight,
    /// A new call of which it is not known yet whether it comes about; see [`crate::core::Core::no_call`].
    Assigned,
}

/// One attempt to forward a request.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) state: ClientState,
    pub(crate) method: Method,
    pub(crate) server: Handle,
    pub(crate) flow: Flow,
    /// The way to take if that one turns out to be none.
    pub(crate) otherwise: Option<Flow>,
    /// The node that it goes to.
    pub(crate) node: Option<NodeSlot>,
    /// As what it is counted there.
    pub(crate) counted: Counted,
    /// The request as sent; in Completed the ACK.
    pub(crate) request: Vec<u8>,
    /// Hash of Call-ID and `CSeq`: what responses must carry besides the branch.
    pub(crate) call: u64,
    /// Its outcome is not awaited any more, except a 2xx.
    pub(crate) abandoned: bool,
    pub(crate) cancel: Cancel,
    /// A send error was answered with a second try.
    pub(crate) sent_again: bool,
    pub(crate) launched: Time,
    pub(crate) interval: Duration,
    pub(crate) timer_c: Duration,
    /// `firstResponseTimeout` and `progressTimeout`, where there may be a next node.
    pub(crate) patience: Option<(Duration, Duration)>,
    pub(crate) deadlines: [Option<Time>; ClientTimer::ALL.len()],
}

impl Client {
    pub(crate) fn is_invite(&self) -> bool {
        self.method == Method::Invite
    }

    /// Whether nothing is to be sent again (RFC 3261 §17.1.1.2, §17.1.2.2).
    pub(crate) fn is_reliable(&self) -> bool {
        self.flow.transport.is_reliable()
    }

    /// Whether a final response is still awaited.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, ClientState::Calling | ClientState::Proceeding)
    }

    pub(crate) fn deadline(&self, timer: ClientTimer) -> Option<Time> {
        self.deadlines[timer as usize]
    }

    pub(crate) fn stop(&mut self, timer: ClientTimer) {
        self.deadlines[timer as usize] = None;
    }
}
