//! One worker's proxy: the way in for packets, time and transport errors.

use std::collections::HashSet;

use switchtender_select::{Nodes, Snapshot, Time, Transport};
use switchtender_sip::{Answer, Error, HeaderName, Index, Kind, Message};

use crate::config::Config;
use crate::core::{Core, Step};
use crate::counters::{Counter, Counters};
use crate::output::{Flow, Output, Packet, TransportFailure};
use crate::reply::Reply;
use crate::request::Arrival;
use crate::transaction::{Client, Counted, Due, Server};

/// Below this many transactions a debug build checks all invariants after every input.
#[cfg(debug_assertions)]
const CHECKED_UP_TO: usize = 32;

/// The stateful proxy of one worker (RFC 3261 §16). Shares nothing with its siblings but what [`Output`] offers.
#[derive(Debug)]
pub struct Proxy {
    /// Of the packet at hand; kept because it is large.
    index: Box<Index>,
    core: Core,
}

impl Proxy {
    /// A proxy without transactions.
    pub fn new(config: Config) -> Self {
        Self { index: Box::default(), core: Core::new(config) }
    }

    /// Handles one packet from the network.
    pub fn receive<N: Nodes, O: Output>(
        &mut self,
        now: Time,
        packet: &Packet<'_>,
        snapshot: &Snapshot,
        nodes: &N,
        output: &mut O,
    ) {
        self.handle(&mut Step { now, snapshot, nodes, output }, packet, Arrival::First);
    }

    /// Handles a packet that a sibling worker received and believes to be ours; it is never handed over again.
    pub fn handed_over<N: Nodes, O: Output>(
        &mut self,
        now: Time,
        packet: &Packet<'_>,
        snapshot: &Snapshot,
        nodes: &N,
        output: &mut O,
    ) {
        self.handle(&mut Step { now, snapshot, nodes, output }, packet, Arrival::HandedOver);
    }

    fn handle<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, packet: &Packet<'_>, arrival: Arrival) {
        let Self { index, core } = self;
        core.count(Counter::Received);
        let parsed = index.parse(packet.bytes);
        let message = index.message(packet.bytes);
        match parsed.and_then(|()| message.validate()).and_then(|()| check_length(packet, &message)) {
            Err(error) => core.on_malformed(step, packet, &message, error),
            Ok(()) => match message.kind() {
                Kind::Request { .. } => core.on_request(step, packet, &message, arrival),
                Kind::Response { .. } => core.on_response(step, packet, &message, arrival),
                Kind::Unknown => core.count(Counter::MalformedDropped),
            },
        }
        self.finish();
    }

    /// Answers, where that is possible, a message of a stream whose end cannot be found (RFC 3261 §18.3): `packet` holds
    /// its head, `error` says why. What follows it in the stream is lost.
    pub fn unframed<N: Nodes, O: Output>(
        &mut self,
        now: Time,
        packet: &Packet<'_>,
        error: Error,
        snapshot: &Snapshot,
        nodes: &N,
        output: &mut O,
    ) {
        let Self { index, core } = self;
        core.count(Counter::Received);
        // Faults of the head matter less than why the stream ends: all that an answer needs is indexed even so.
        let _ = index.parse(packet.bytes);
        let message = index.message(packet.bytes);
        core.on_malformed(&mut Step { now, snapshot, nodes, output }, packet, &message, error);
        self.finish();
    }

    /// Handles a message that could not be sent or delivered (RFC 3261 §16.9, §18.4).
    pub fn transport_error<N: Nodes, O: Output>(
        &mut self,
        now: Time,
        failure: &TransportFailure<'_>,
        snapshot: &Snapshot,
        nodes: &N,
        output: &mut O,
    ) {
        self.core.on_transport_error(&mut Step { now, snapshot, nodes, output }, failure);
        self.finish();
    }

    /// Takes note that a connection is no more; `flow` names it. What still waits for a first response over it will not
    /// get one (RFC 3261 §17.1.4).
    pub fn connection_closed<N: Nodes, O: Output>(
        &mut self,
        now: Time,
        flow: &Flow,
        snapshot: &Snapshot,
        nodes: &N,
        output: &mut O,
    ) {
        self.core.on_connection_closed(&mut Step { now, snapshot, nodes, output }, flow);
        self.finish();
    }

    /// Takes note that a call ended in a sibling worker; see [`Output::call_over`].
    pub fn call_over<N: Nodes, O: Output>(
        &mut self,
        now: Time,
        call: u64,
        snapshot: &Snapshot,
        nodes: &N,
        output: &mut O,
    ) {
        self.core.on_call_over(&Step { now, snapshot, nodes, output }, call);
        self.finish();
    }

    /// Fires every timer that is due at `now`.
    pub fn expire<N: Nodes, O: Output>(&mut self, now: Time, snapshot: &Snapshot, nodes: &N, output: &mut O) {
        self.core.expire(&mut Step { now, snapshot, nodes, output });
        self.finish();
    }

    /// Takes over what calls hold of limited resources from a proxy that is to be made anew: the calls stand.
    pub fn keep_records(&mut self, former: &mut Self, now: Time) {
        self.core.keep_records(&mut former.core, now);
    }

    /// Calls that hold limited resources.
    pub fn call_records(&self) -> usize {
        self.core.records.len()
    }

    /// New calls that wait for a node.
    pub fn waiting_calls(&self) -> usize {
        self.core.waiting.len()
    }

    /// When to call [`Proxy::expire`] next; `None`: nothing is pending.
    pub fn next_deadline(&self) -> Option<Time> {
        self.core.timers.next_deadline()
    }

    /// Transactions without a final outcome: what a graceful stop waits for. Those that linger only to absorb
    /// retransmissions do not count.
    pub fn open_transactions(&self) -> usize {
        self.core.open
    }

    /// All transactions held, lingering ones included.
    pub fn transactions(&self) -> usize {
        self.core.transactions()
    }

    /// Whether new INVITEs are refused because the worker lags behind.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        self.core.overloaded = overloaded;
    }

    /// Whether an input is being handled that has begun to change transactions. Asked after a panic: `false` says that
    /// parsing or deciding panicked, so the packet is lost and nothing else; `true` that the proxy must be made anew.
    pub fn changing(&self) -> bool {
        self.core.changing
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// The input is handled.
    fn finish(&mut self) {
        self.core.changing = false;
        #[cfg(debug_assertions)]
        if self.transactions() <= CHECKED_UP_TO {
            let checked = self.check_invariants();
            debug_assert!(checked.is_ok(), "{checked:?}");
        }
    }

    /// Checks all that must hold between any two calls. For tests and simulation: takes time in proportion to the
    /// transactions held.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        let core = &self.core;
        let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        let timers: HashSet<(Time, Due)> = core.timers.iter().collect();

        let servers = core.servers.iter().filter(|(_, server)| server.is_open()).count();
        let clients = core.clients.iter().filter(|(_, client)| client.is_pending()).count();
        ensure(core.open == servers + clients, "open transactions are counted")?;
        ensure(core.by_fingerprint.len() == core.servers.len(), "every server transaction has its fingerprint")?;
        for (handle, server) in core.servers.iter() {
            let found = core.by_fingerprint.get(&server.fingerprint) == Some(&handle);
            ensure(found, "a fingerprint leads to its server transaction")?;
            ensure(Core::waits_for_something(server), "every server transaction comes to an end")?;
            let spent = server.request.is_empty() && server.best.is_empty();
            ensure(server.is_pending() || spent, "what only another attempt would need is given back")?;
            let clients = server.clients.iter().flatten();
            let mut owned = clients.map(|client| core.clients.get(*client));
            ensure(
                owned.all(|client| client.is_some_and(|client| client.server == handle)),
                "a server transaction knows only client transactions of its own",
            )?;
            ensure(
                server.current.is_none_or(|current| core.clients.get(current).is_some_and(Client::is_pending)),
                "what is awaited is pending",
            )?;
            for (timer, due) in crate::transaction::ServerTimer::ALL.into_iter().zip(server.deadlines) {
                let queued = due.is_none_or(|due| timers.contains(&(due, Due::Server(handle, timer))));
                ensure(queued, "a timer of a server transaction is queued")?;
            }
        }
        let waiting = core.servers.iter().filter(|(_, server)| server.waiting && server.is_pending()).count();
        ensure(waiting <= core.waiting.len(), "who waits stands in the queue")?;
        ensure(
            core.waiting.len() == 0 || timers.iter().any(|(_, due)| *due == Due::Waiting),
            "the queue is looked at",
        )?;
        ensure(core.records.len() == 0 || timers.iter().any(|(_, due)| *due == Due::Records), "records are looked at")?;
        for (handle, client) in core.clients.iter() {
            let owner = core.servers.get(client.server);
            let known = owner.is_some_and(|server: &Server| server.clients.contains(&Some(handle)));
            ensure(known, "a client transaction is known to its server transaction")?;
            ensure(Core::end_of(client).is_some(), "every client transaction comes to an end")?;
            ensure(client.counted == Counted::No || client.is_pending(), "what is counted is pending")?;
            ensure(
                client.abandoned || !client.is_pending() || owner.is_some_and(|server| server.current == Some(handle)),
                "only one client transaction is awaited",
            )?;
            for (timer, due) in crate::transaction::ClientTimer::ALL.into_iter().zip(client.deadlines) {
                let queued = due.is_none_or(|due| timers.contains(&(due, Due::Client(handle, timer))));
                ensure(queued, "a timer of a client transaction is queued")?;
            }
        }
        Ok(())
    }
}

/// A stream tells the end of a message by Content-Length alone (RFC 3261 §18.3).
fn check_length(packet: &Packet<'_>, message: &Message<'_>) -> Result<(), Error> {
    let missing = packet.flow.transport == Transport::Tcp && message.first(HeaderName::ContentLength).is_none();
    if missing { Err(Error::Missing(HeaderName::ContentLength)) } else { Ok(()) }
}

impl Core {
    /// A message that cannot be handled: answered if it is a request that tells where to, else dropped.
    fn on_malformed<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        error: Error,
    ) {
        match message.answer(error) {
            Answer::Respond { code, reason } => {
                self.count(Counter::MalformedAnswered);
                self.answer(step, packet, message, Reply::new(code, reason));
            }
            Answer::Drop => self.count(Counter::MalformedDropped),
            Answer::Ignore => self.count(Counter::KeepAlives),
        }
    }
}
