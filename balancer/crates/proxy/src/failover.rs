//! What an attempt's end leads to: the next node, or the caller's final response (RFC 3261 §16.7 step 6; the rules on
//! which failures are a node's own are this project's, from measurements of `FreeSWITCH`).

use std::time::Duration;

use switchtender_select::{EgressTo, Group, NodeSlot, Nodes, Time};
use switchtender_sip::{HeaderName, Message};

use crate::core::{Core, Step};
use crate::counters::Outcome;
use crate::fingerprint;
use crate::forward::Hop;
use crate::output::{Decision, Event, Output, Refusal, Silence};
use crate::plan::hop_to_node;
use crate::reply::Reply;
use crate::slab::Handle;
use crate::transaction::{ClientTimer, MAX_ATTEMPTS, Search, Tries};

/// Where the group that could say is gone: Retry-After, in seconds …
const RETRY_AFTER: (u16, u16) = (5, 15);
/// … and how long a node that could not be reached gets no new calls.
const COOL_DOWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// Why the next node is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The node refused by itself.
    Refusal,
    /// 410, the node's way to refuse while it tears its profile down.
    Gone,
    /// A status code that the group retries on.
    Code,
    /// The node ended the call because it shuts down.
    Shutdown,
    /// No response at all.
    Silence,
    /// Nothing after its 100.
    Progress,
    /// It cannot be reached.
    Transport,
}

impl Tries {
    pub(crate) fn is_all_refused(self) -> bool {
        self.refused > 0 && self.timed_out == 0 && self.failed == 0 && self.best == 0
    }
}

impl Core {
    /// A final response other than a 2xx to an INVITE came. `first`: nothing came before it.
    pub(crate) fn on_final<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        code: u16,
        first: bool,
        message: &Message<'_>,
    ) {
        let Some(client) = self.clients.get(handle) else { return };
        let (server, node) = (client.server, client.node);
        let Some((group, search)) = self.servers.get(server).map(|server| (server.group, server.search)) else {
            return;
        };
        let cause = group.and_then(|group| {
            let codes = step.snapshot.group(group).map(|group| &group.failover.retry_on.codes[..]).unwrap_or_default();
            cause(code, first, message, codes)
        });
        let cause = match search {
            // RFC 3263 §4.3: another one may do what this one cannot.
            Search::NextHops(_) => (code == 503).then_some(Cause::Code),
            Search::Nowhere | Search::Nodes | Search::Home(_) => cause,
        };
        if cause.is_some() {
            self.note_next_hop(step.now, handle);
        }
        if let (Some(cause), Some(node)) = (cause, node) {
            self.note(step, server, node, code, cause, message);
        }
        if let (Some(node), Some(_), 401 | 407) = (node, group, code) {
            self.challenges.note(fingerprint::of_call_id(&self.config.secret, message), node, step.now);
        }
        let awaited = self.is_current(handle);
        // What was abandoned decides nothing any more, unless it succeeded after all.
        if !(awaited || (200..300).contains(&code) && self.is_pending(server)) {
            return;
        }
        match cause {
            Some(cause @ (Cause::Refusal | Cause::Gone)) => {
                self.try_of(server, |tries| tries.refused += 1);
                if !self.try_next(step, server, cause) {
                    self.conclude(step, server);
                }
            }
            Some(cause) => {
                // RFC 3261 §16.7 step 6: kept in case that nothing better comes.
                self.keep_if_best(server, code, message);
                if !self.try_next(step, server, cause) {
                    self.conclude(step, server);
                }
            }
            None => {
                self.keep_if_best(server, code, message);
                self.conclude(step, server);
            }
        }
    }

    /// The next hop outside that this attempt went to failed.
    fn note_next_hop(&mut self, now: Time, handle: Handle) {
        let Some(client) = self.clients.get(handle) else { return };
        let search = self.servers.get(client.server).map(|server| server.search);
        if let (None, Some(Search::NextHops(_))) = (client.node, search) {
            self.note_trouble(now, client.flow.peer);
        }
    }

    fn is_pending(&self, server: Handle) -> bool {
        self.servers.get(server).is_some_and(crate::transaction::Server::is_pending)
    }

    fn try_of(&mut self, server: Handle, note: impl FnOnce(&mut Tries)) {
        if let Some(server) = self.servers.get_mut(server) {
            note(&mut server.tries);
        }
    }

    /// What everyone is to know about the node at once.
    fn note<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        server: Handle,
        node: NodeSlot,
        code: u16,
        cause: Cause,
        message: &Message<'_>,
    ) {
        match cause {
            Cause::Refusal | Cause::Gone => {
                let why = own_refusal(message).unwrap_or(Refusal::Code);
                self.cool(step, server, node);
                step.output.event(Event::Refused { node, status: code, why });
            }
            Cause::Shutdown => {
                // The longest cool-down and no more: a far end's Reason may have come through a healthy node.
                let (_, most) = self.cool_down(step, server);
                step.nodes.cool(node, step.now + most);
                step.output.event(Event::ShutdownSeen { node });
            }
            Cause::Code | Cause::Silence | Cause::Progress | Cause::Transport => {}
        }
    }

    /// Bounds of the time in which a node that failed the request of `server` gets no new calls.
    fn cool_down<N, O>(&self, step: &Step<'_, N, O>, server: Handle) -> (Duration, Duration) {
        let group = self.servers.get(server).and_then(|server| step.snapshot.group(server.group?));
        group.map_or(COOL_DOWN, |group| group.failover.cool_down)
    }

    /// Keeps new calls from a node that refused or could not be reached, for a random time. Its own `Retry-After: 300` is
    /// not obeyed: the next report knows better.
    fn cool<N: Nodes, O>(&mut self, step: &Step<'_, N, O>, server: Handle, node: NodeSlot) {
        let (least, most) = self.cool_down(step, server);
        let span = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(0);
        step.nodes.cool(node, step.now + least + Duration::from_millis(self.rng.below(span + 1)));
    }

    /// `firstResponseTimeout` or `progressTimeout` passed: try the next node beside this one, if there is one; else
    /// there is nothing better to do than to go on waiting.
    pub(crate) fn on_patience_lost<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        if !self.is_current(handle) {
            return;
        }
        let Some(client) = self.clients.get(handle) else { return };
        let (server, node) = (client.server, client.node);
        let silent = client.state == crate::transaction::ClientState::Calling;
        let (what, cause) =
            if silent { (Silence::FirstResponse, Cause::Silence) } else { (Silence::Progress, Cause::Progress) };
        if let Some(node) = node {
            if silent {
                step.nodes.suspect(node);
            }
            step.output.event(Event::TimedOut { node, what });
        }
        self.note_next_hop(step.now, handle);
        // It had its time: a suspect node is free for the next call to find out whether it answers.
        self.settle(step, handle);
        if self.try_next(step, server, cause) {
            self.try_of(server, |tries| tries.timed_out += 1);
            self.abandon(handle);
            self.cancel_client(step, handle);
        }
    }

    /// A client transaction ended without a final response: Timer B or F, or the wait after a CANCEL.
    pub(crate) fn on_silence<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let awaited = self.is_current(handle);
        let Some(client) = self.clients.get(handle) else { return };
        let server = client.server;
        // One that was abandoned was held against the node then.
        if client.state == crate::transaction::ClientState::Calling
            && !client.abandoned
            && let Some(node) = client.node
        {
            step.nodes.suspect(node);
            step.output.event(Event::TimedOut { node, what: Silence::Transaction });
        }
        if awaited {
            self.try_of(server, |tries| tries.timed_out += 1);
            self.conclude(step, server);
        }
        self.free_client(step, handle);
    }

    /// The request could not be delivered (RFC 3261 §16.9): as if the next hop had answered 503.
    pub(crate) fn on_undeliverable<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let awaited = self.is_current(handle);
        let Some(client) = self.clients.get(handle) else { return };
        let server = client.server;
        if let Some(node) = client.node {
            self.cool(step, server, node);
            step.nodes.suspect(node);
            step.output.event(Event::TransportError { node });
        }
        self.note_next_hop(step.now, handle);
        if awaited {
            self.try_of(server, |tries| tries.failed += 1);
            if !self.try_next(step, server, Cause::Transport) {
                self.conclude(step, server);
            }
        }
        self.free_client(step, handle);
    }

    /// Sends the request to a node that it was not sent to yet. `false`: it stays as it is, because the caller gave up or
    /// heard something already, the group does not want it, tries are used up, or no node can take it.
    fn try_next<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle, cause: Cause) -> bool {
        let snapshot = step.snapshot;
        let Some(server) = self.servers.get(handle) else { return false };
        let Some(group) = server.group.and_then(|group| snapshot.group(group)) else { return false };
        let failover = &group.failover;
        let (wanted, outcome) = match cause {
            Cause::Refusal => (failover.retry_on.own_refusal, Outcome::FailoverRefusal),
            Cause::Gone | Cause::Code => (true, Outcome::FailoverCode),
            Cause::Shutdown => (true, Outcome::FailoverShutdown),
            Cause::Silence => (failover.retry_on.timeout, Outcome::FailoverSilence),
            Cause::Progress => (failover.retry_on.timeout, Outcome::FailoverProgress),
            Cause::Transport => (failover.retry_on.transport, Outcome::FailoverTransport),
        };
        let most = usize::from(failover.attempts).min(MAX_ATTEMPTS);
        let may = wanted && server.is_pending() && !(server.cancelled || server.progressed) && server.attempts < most;
        let (call, is_call) = (server.call.key, server.is_invite() && server.search == Search::Nodes);
        let hop = if may { self.next(step, handle, group) } else { None };
        self.tell_failed(step, handle, group, outcome, hop.is_some());
        let Some(hop) = hop else { return false };
        let launched = self.launch_again(step, handle, &hop);
        if launched && is_call {
            self.counters.count_outcome(group.slot, outcome);
        }
        if !launched && is_call {
            // What was taken moved there with the choice. Should the former node answer after all, it is taken anew.
            self.release_call(step, call);
        }
        launched
    }

    /// Tells whoever follows the call that its last attempt failed.
    fn tell_failed<N, O: Output>(
        &self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        group: &Group,
        cause: Outcome,
        goes_on: bool,
    ) {
        let Some(server) = self.servers.get(handle) else { return };
        let client = server.current.and_then(|client| self.clients.get(client));
        let cause = cause.name().strip_prefix("failover_").unwrap_or_default();
        let node = client.and_then(|client| client.node);
        let decision = Decision::Failed { group: group.slot, node, cause, attempts: server.attempts, goes_on };
        step.output.decided(&server.request, &decision);
    }

    /// The next place to try, by the way the request is searching.
    fn next<N: Nodes, O: Output>(&mut self, step: &Step<'_, N, O>, handle: Handle, group: &Group) -> Option<Hop> {
        let server = self.servers.get(handle)?;
        let (tried, attempts, is_call) = (server.tried, server.attempts, server.is_invite());
        let (wanted, call) = (server.wanted, server.call);
        let tried = tried.get(..attempts).unwrap_or_default();
        match server.search {
            Search::Nowhere => None,
            Search::Nodes => {
                let placed = self.place(step, group, &wanted, call, tried).ok()?;
                hop_to_node(step.snapshot, step.snapshot.groups.get(placed.group)?, placed.node, is_call)
            }
            Search::Home(key) => {
                let node = Self::home(step, group, key, tried).ok()?;
                hop_to_node(step.snapshot, group, node, is_call)
            }
            Search::NextHops(tried) => {
                let egress = group.egress.as_ref()?;
                let EgressTo::NextHops(hops) = &egress.to else { return None };
                let (hop, search) = self.next_hop(step.now, group, egress.listener, hops, tried)?;
                self.servers.get_mut(handle)?.search = search;
                Some(hop)
            }
        }
    }

    /// Nothing more is tried: the caller gets the best there is (RFC 3261 §16.7 step 6).
    fn conclude<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(server) = self.servers.get(handle) else { return };
        if !server.is_pending() {
            return;
        }
        let (tries, invite) = (server.tries, server.is_invite());
        if server.cancelled && !matches!(tries.best, 200..=499 | 600..) {
            self.finish_with(step, handle, Reply::TERMINATED);
        } else if tries.best != 0 && (tries.best < 500 || tries.best >= 600 || tries.timed_out == 0) {
            self.finish_with_best(step, handle);
        } else if tries.timed_out > 0 {
            if invite {
                self.finish_with(step, handle, Reply::REQUEST_TIMEOUT);
            } else {
                self.finish_silently(step, handle);
            }
        } else if tries.failed > 0 {
            let reply = if tries.gone > 0 { Reply::FLOW_FAILED } else { Reply::SERVER_ERROR };
            self.finish_with(step, handle, reply);
        } else {
            // Every node that may take it refused by itself: so would we, but not for five minutes.
            let group = server.group.and_then(|group| step.snapshot.group(group));
            let (code, bounds) =
                group.map_or((503, RETRY_AFTER), |group| (group.over_limit.status, group.over_limit.retry_after_s));
            let seconds = self.random_seconds(bounds);
            self.finish_with(step, handle, Reply::unavailable(code, seconds));
        }
    }

    /// Timer C (RFC 3261 §16.8): the callee rang for too long.
    pub(crate) fn on_timer_c<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        client.stop(ClientTimer::Patience);
        self.cancel_client(step, handle);
    }
}

/// Why a final response leads to the next node, if it does. A far end's answers never do: they come after a 100, or with
/// a Reason, and nobody is to be dialled twice.
fn cause(code: u16, first: bool, message: &Message<'_>, codes: &[u16]) -> Option<Cause> {
    if code == 503 && first && own_refusal(message).is_some() {
        Some(Cause::Refusal)
    } else if code == 480 && is_shutdown(message) {
        Some(Cause::Shutdown)
    } else if code == 410 && first && codes.contains(&410) {
        Some(Cause::Gone)
    } else if first && codes.contains(&code) && !matches!(code, 401 | 407) {
        // A challenge is for the caller to answer, and one of several nodes is of no use to the others (RFC 3261 §16.7
        // step 7 would have them collected).
        Some(Cause::Code)
    } else {
        None
    }
}

/// The words in which `FreeSWITCH` itself refuses, as opposed to a far end behind it.
fn own_refusal(message: &Message<'_>) -> Option<Refusal> {
    if message.first(HeaderName::Reason).is_some() {
        return None;
    }
    let reason = message.reason()?;
    [
        (&b"Maximum Calls In Progress"[..], Refusal::MaximumCalls),
        (b"System Paused", Refusal::Paused),
        (b"System Busy", Refusal::Busy),
    ]
    .into_iter()
    .find(|(phrase, _)| reason.eq_ignore_ascii_case(phrase))
    .map(|(_, refusal)| refusal)
}

/// Whether Reason says that the node shuts down.
pub(crate) fn is_shutdown(message: &Message<'_>) -> bool {
    const TEXT: &[u8] = b"SYSTEM_SHUTDOWN";
    message.all(HeaderName::Reason).any(|header| {
        header.value.of(message.bytes()).windows(TEXT.len()).any(|window| window.eq_ignore_ascii_case(TEXT))
    })
}
