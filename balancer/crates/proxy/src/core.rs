//! What one worker's proxy holds between two inputs, and the small steps that all of its rules share.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;
use std::time::Duration;

use switchtender_select::{Key, Memory, NodeSlot, Nodes, Rng, Snapshot, Time};
use switchtender_sip::{Edits, limits};

use crate::branch::Branches;
use crate::buffers::Buffers;
use crate::config::{Config, SentBy};
use crate::counters::{Counter, Counters};
use crate::egress::Troubles;
use crate::ended::on_no_call;
use crate::fingerprint::Hashed;
use crate::hold::WaitingRoom;
use crate::output::{Flow, Output};
use crate::recent::RecentCalls;
use crate::records::CallRecords;
use crate::slab::{Handle, Slab};
use crate::timers::Timers;
use crate::token::Keys;
use crate::transaction::{Client, ClientState, ClientTimer, Counted, Due, Server, ServerState, ServerTimer};

/// The world at one input.
pub(crate) struct Step<'a, N, O> {
    pub(crate) now: Time,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) nodes: &'a N,
    pub(crate) output: &'a mut O,
}

/// Transactions and what belongs to them.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) branches: Branches,
    pub(crate) rng: Rng,
    pub(crate) servers: Slab<Server>,
    pub(crate) clients: Slab<Client>,
    pub(crate) by_fingerprint: HashMap<u128, Handle, BuildHasherDefault<Hashed>>,
    pub(crate) timers: Timers<Due>,
    pub(crate) buffers: Buffers,
    pub(crate) challenges: RecentCalls,
    /// Calls that a BYE ended at nodes that do not report.
    pub(crate) ended_calls: RecentCalls,
    pub(crate) memory: Memory,
    /// What calls hold of limited resources.
    pub(crate) records: CallRecords,
    /// A look at them is pending.
    pub(crate) looks_at_records: bool,
    /// New calls that wait for a node.
    pub(crate) waiting: WaitingRoom,
    /// Next hops outside that failed of late.
    pub(crate) troubles: Troubles,
    pub(crate) counters: Counters,
    /// Choices of a node so far, for sampling.
    pub(crate) choices: u32,
    pub(crate) overloaded: bool,
    /// See [`crate::Proxy::open_transactions`].
    pub(crate) open: usize,
    /// See [`crate::Proxy::changing`].
    pub(crate) changing: bool,
    pub(crate) last_scan: Option<Time>,
    /// Changes to the message at hand.
    pub(crate) edits: Box<Edits>,
    /// The message being written.
    pub(crate) scratch: Box<[u8]>,
    pub(crate) keys: Keys,
    known_keys: Vec<Key>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("worker", &self.config.worker)
            .field("servers", &self.servers.len())
            .field("clients", &self.clients.len())
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            branches: Branches::new(config.worker, config.run_id, config.secret),
            rng: Rng::new(config.seed),
            config,
            servers: Slab::new(),
            clients: Slab::new(),
            by_fingerprint: HashMap::default(),
            timers: Timers::new(),
            buffers: Buffers::default(),
            challenges: RecentCalls::default(),
            ended_calls: RecentCalls::default(),
            memory: Memory::new(),
            records: CallRecords::default(),
            looks_at_records: false,
            waiting: WaitingRoom::default(),
            troubles: Troubles::default(),
            counters: Counters::default(),
            choices: 0,
            overloaded: false,
            open: 0,
            changing: false,
            last_scan: None,
            edits: Box::default(),
            scratch: vec![0; limits::MESSAGE].into_boxed_slice(),
            keys: Keys::new([]),
            known_keys: Vec::new(),
        }
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        self.counters.count(counter);
    }

    /// Prepares the keys of the snapshot, unless they are.
    pub(crate) fn refresh_keys(&mut self, snapshot: &Snapshot) {
        if self.known_keys != snapshot.keys {
            self.keys = Keys::new(snapshot.keys.iter().map(|key| (key.id, &key.secret)));
            self.known_keys.clone_from(&snapshot.keys);
        }
    }

    pub(crate) fn transactions(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Our address in header fields towards the peer of `flow`; never an unspecified one.
    pub(crate) fn sent_by<'a>(config: &'a Config, output: &mut impl Output, flow: &Flow) -> SentBy<'a> {
        config.sent_by(flow).unwrap_or_else(|| {
            let port = config.port_of(flow.local);
            SentBy::Address(SocketAddr::new(output.local_ip(flow.local, flow.peer).to_canonical(), port))
        })
    }

    /// Every change of a server transaction's state goes this way, so that the open ones are counted.
    pub(crate) fn set_server_state(&mut self, handle: Handle, state: ServerState) {
        if let Some(server) = self.servers.get_mut(handle) {
            self.open -= usize::from(server.is_open());
            server.state = state;
            self.open += usize::from(server.is_open());
        }
    }

    /// Every change of a client transaction's state goes this way, so that the open ones are counted.
    pub(crate) fn set_client_state(&mut self, handle: Handle, state: ClientState) {
        if let Some(client) = self.clients.get_mut(handle) {
            self.open -= usize::from(client.is_pending());
            client.state = state;
            self.open += usize::from(client.is_pending());
        }
    }

    pub(crate) fn set_client_timer(&mut self, now: Time, handle: Handle, timer: ClientTimer, after: Duration) {
        if let Some(client) = self.clients.get_mut(handle) {
            let due = self.timers.set(now, after, Due::Client(handle, timer));
            client.deadlines[timer as usize] = Some(due);
        }
    }

    pub(crate) fn set_server_timer(&mut self, now: Time, handle: Handle, timer: ServerTimer, after: Duration) {
        if let Some(server) = self.servers.get_mut(handle) {
            let due = self.timers.set(now, after, Due::Server(handle, timer));
            server.deadlines[timer as usize] = Some(due);
        }
    }

    /// Puts the stored request of a client transaction on the wire: the request itself, or in Completed its ACK.
    pub(crate) fn transmit<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        if let Some(client) = self.clients.get(handle) {
            step.output.send(&client.flow, &client.request);
            count_request(step, &mut self.counters, client.node);
        }
    }

    /// Puts the stored response of a server transaction on the wire.
    pub(crate) fn transmit_response<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        if let Some(server) = self.servers.get(handle)
            && !server.response.is_empty()
        {
            step.output.send(&server.origin.reply_to, &server.response);
            self.counters.count(Counter::ResponsesSent);
        }
    }

    /// Gives back what is counted as in flight: a new call's INVITE, until it is known whether the node takes it up.
    pub(crate) fn settle<N: Nodes, O>(&mut self, step: &Step<'_, N, O>, handle: Handle) {
        if let Some(client) = self.clients.get_mut(handle)
            && client.counted == Counted::InFlight
            && let Some(node) = client.node
        {
            client.counted = Counted::Assigned;
            step.nodes.settle(node);
        }
    }

    /// The node took the call: nothing but its end gives it back.
    pub(crate) fn comes_about(&mut self, handle: Handle) {
        if let Some(client) = self.clients.get_mut(handle) {
            client.counted = Counted::No;
        }
    }

    /// The attempt brought no call to its node, and will bring none.
    pub(crate) fn no_call<N: Nodes, O>(&mut self, step: &Step<'_, N, O>, handle: Handle) {
        self.settle(step, handle);
        if let Some(client) = self.clients.get_mut(handle)
            && std::mem::replace(&mut client.counted, Counted::No) == Counted::Assigned
            && let Some(node) = client.node
        {
            on_no_call(step, node);
        }
    }

    /// Ends a client transaction, and its server transaction if that was only held for it.
    pub(crate) fn free_client<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        self.no_call(step, handle);
        let Some(client) = self.clients.remove(handle) else { return };
        self.open -= usize::from(client.is_pending());
        self.buffers.give(client.request);
        if let Some(server) = self.servers.get_mut(client.server) {
            for slot in &mut server.clients {
                if *slot == Some(handle) {
                    *slot = None;
                }
            }
            if server.current == Some(handle) {
                server.current = None;
            }
        }
        self.free_server_if_over(step, client.server);
    }

    /// Ends a server transaction that is over and has no client transactions left.
    pub(crate) fn free_server_if_over<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let over = |server: &Server| server.state == ServerState::Terminated && !server.has_clients();
        if !self.servers.get(handle).is_some_and(over) {
            return;
        }
        let Some(server) = self.servers.remove(handle) else { return };
        self.by_fingerprint.remove(&server.fingerprint);
        step.output.retract(published(server.fingerprint));
        self.buffers.give(server.request);
        self.buffers.give(server.response);
        self.buffers.give(server.best);
    }
}

/// Counts a request put on the wire, for the node's request budget too.
pub(crate) fn count_request<N: Nodes, O>(step: &Step<'_, N, O>, counters: &mut Counters, node: Option<NodeSlot>) {
    counters.count(Counter::RequestsSent);
    if let Some(node) = node {
        step.nodes.request(node, step.now);
    }
}

/// The part of a fingerprint that siblings are shown.
#[allow(clippy::cast_possible_truncation)] // any 64 bits of it do
pub(crate) fn published(fingerprint: u128) -> u64 {
    fingerprint as u64
}
