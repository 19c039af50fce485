//! The server transaction: responses on their way to the caller (RFC 3261 §16.7, §17.2, RFC 6026 §7.1).

use std::time::Duration;

use switchtender_select::Nodes;
use switchtender_sip::{HeaderName, Index, Message, Output as Writer};

use crate::core::{Core, Step};
use crate::counters::{Counter, Delay, Outcome};
use crate::ended::on_no_call;
use crate::forward::{Side, remove_internal, write_length};
use crate::output::Output;
use crate::record_route;
use crate::reply::Reply;
use crate::slab::Handle;
use crate::transaction::{Record, Server, ServerState, ServerTimer, T1, T1_64, T4};

impl Core {
    /// Writes a response as it goes upstream into the scratch room: without our Via, with another status if given, and
    /// then without Retry-After, which belonged to the old one. Its length; `None`: it does not fit.
    fn compose_upstream(
        &mut self,
        handle: Handle,
        message: &Message<'_>,
        status: Option<(u16, &[u8])>,
    ) -> Option<usize> {
        let Self { config, edits, scratch, counters, servers, keys, .. } = self;
        let server = servers.get(handle)?;
        let (transport, record, origin) = (server.origin.reply_to.transport, server.record, server.origin);
        edits.clear();
        edits.remove_first(message, HeaderName::Via, 1);
        match record {
            Record::FromCaller(_) => record_route::hide_nearer(edits, message),
            Record::FromNode(..) | Record::Outward => {
                if let Some(far) = Side::of_origin(config, origin.flow, record.is_of_a_connection()) {
                    record_route::add_farther(edits, message, keys, far);
                }
            }
            Record::Path(_) => record_route::hide_path(edits, message, keys),
            Record::Nothing => {}
        }
        remove_internal(edits, message);
        if let Some((code, reason)) = status {
            edits.set_status(message, code, reason);
            edits.remove_all(message, HeaderName::RetryAfter);
        }
        write_length(edits, message, transport);
        let mut writer = Writer::new(scratch);
        if edits.splice(message, &mut writer).is_err() {
            counters.count(Counter::Oversized);
            return None;
        }
        Some(writer.len())
    }

    /// Keeps what stands in the scratch room as the answer to retransmissions.
    fn store_response(&mut self, handle: Handle, len: usize) {
        if let Some(server) = self.servers.get_mut(handle)
            && let Some(written) = self.scratch.get(..len)
        {
            server.response.clear();
            server.response.extend_from_slice(written);
        }
    }

    /// Sends a provisional response of our own to `request`, the request of this transaction.
    pub(crate) fn respond_provisionally<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        request: &Message<'_>,
        reply: Reply,
    ) {
        let Some(source) = self.servers.get(handle).map(|server| server.origin.flow.peer) else { return };
        let mut writer = Writer::new(&mut self.scratch);
        if reply.write(&self.config.secret, request, source, &mut writer).is_ok() {
            let len = writer.len();
            self.store_response(handle, len);
            self.transmit_response(step, handle);
        }
    }

    /// Passes a provisional response above 100 upstream (RFC 3261 §16.7 step 5).
    pub(crate) fn pass_provisional<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        message: &Message<'_>,
    ) {
        if !self.servers.get(handle).is_some_and(Server::is_pending) {
            return;
        }
        let Some(len) = self.compose_upstream(handle, message, None) else { return };
        self.store_response(handle, len);
        self.transmit_response(step, handle);
        self.note_post_dial_delay(step.now, handle);
        if let Some(server) = self.servers.get_mut(handle) {
            server.progressed = true;
        }
    }

    /// From the INVITE of a new call to what the caller hears first. How long the outside takes says nothing of a group.
    fn note_post_dial_delay(&mut self, now: switchtender_select::Time, handle: Handle) {
        if let Some(server) = self.servers.get_mut(handle)
            && let Some(group) = server.group
            && server.is_invite()
            && server.record != Record::Outward
            && !std::mem::replace(&mut server.delay_noted, true)
        {
            self.counters.note_delay(group, Delay::PostDial, now.since(server.started));
        }
    }

    /// Passes a 2xx to an INVITE upstream: always and at once, whatever was sent before (RFC 3261 §16.7 step 5,
    /// RFC 6026 §7.1). It is not kept: the node repeats it until it has the ACK.
    pub(crate) fn pass_2xx<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        message: &Message<'_>,
    ) {
        let Some(len) = self.compose_upstream(handle, message, None) else { return };
        let Some(server) = self.servers.get(handle) else { return };
        let (origin, pending) = (server.origin, server.is_pending());
        if let Some(written) = self.scratch.get(..len) {
            step.output.send(&origin.reply_to, written);
            self.count(Counter::ResponsesSent);
        }
        if !pending {
            self.count(Counter::Further2xx);
            return;
        }
        self.note_post_dial_delay(step.now, handle);
        if let Some(server) = self.servers.get_mut(handle) {
            self.buffers.release(&mut server.response);
        }
        self.set_server_state(handle, ServerState::Accepted);
        self.count_final(handle, 200);
        self.set_server_timer(step.now, handle, ServerTimer::End, T1_64);
        self.wind_up(step, handle);
    }

    /// Keeps a final response as the best so far if it is better than the one kept (RFC 3261 §16.7 step 6). A 503
    /// becomes a 500 on the way: it spoke for one node and not for us.
    pub(crate) fn keep_if_best(&mut self, handle: Handle, code: u16, message: &Message<'_>) {
        let status = (code == 503).then_some((500, Reply::SERVER_ERROR.reason.as_bytes()));
        let code = status.map_or(code, |(code, _)| code);
        let Some(kept) = self.servers.get(handle).map(|server| server.tries.best) else { return };
        if kept != 0 && rank(kept) <= rank(code) {
            return;
        }
        let Some(len) = self.compose_upstream(handle, message, status) else { return };
        if let Some(server) = self.servers.get_mut(handle)
            && let Some(written) = self.scratch.get(..len)
        {
            if server.best.capacity() == 0 {
                server.best = self.buffers.take();
            }
            server.best.clear();
            server.best.extend_from_slice(written);
            server.tries.best = code;
        }
    }

    /// Sends the best response kept.
    pub(crate) fn finish_with_best<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(server) = self.servers.get_mut(handle) else { return };
        std::mem::swap(&mut server.best, &mut server.response);
        let code = server.tries.best;
        self.finish(step, handle, code);
    }

    /// Sends a final response of our own.
    pub(crate) fn finish_with<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle, reply: Reply) {
        let Some(server) = self.servers.get_mut(handle) else { return };
        let source = server.origin.flow.peer;
        let request = std::mem::take(&mut server.request);
        let mut index = Index::new();
        // It was parsed when it came in.
        let _ = index.parse(&request);
        let mut writer = Writer::new(&mut self.scratch);
        let written = reply.write(&self.config.secret, &index.message(&request), source, &mut writer);
        let len = writer.len();
        self.buffers.give(request);
        if written.is_ok() {
            self.store_response(handle, len);
        }
        self.finish(step, handle, reply.code);
    }

    /// Sends the stored final response and waits for what is to come: the ACK with INVITE, retransmissions without.
    fn finish<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle, code: u16) {
        let Some(server) = self.servers.get_mut(handle) else { return };
        debug_assert!(server.is_pending(), "one final response is stored for a transaction");
        server.interval = T1;
        let (invite, reliable) = (server.is_invite(), server.is_reliable());
        let (ends, outward) = (server.ends.take(), server.outward);
        let (begins, call) = (server.record != Record::Nothing, server.call);
        if let Some(ending) = ends {
            self.on_bye_over(step, ending, Some(code));
        }
        if invite && code >= 300 {
            if begins {
                step.output.forget_call(call.key);
            }
            self.release_attempt(step, handle);
            if let Some(node) = outward {
                on_no_call(step, node);
            }
        }
        self.set_server_state(handle, ServerState::Completed);
        self.transmit_response(step, handle);
        self.count_final(handle, code);
        if invite && !reliable {
            self.set_server_timer(step.now, handle, ServerTimer::Retransmit, T1);
        }
        // Timer H, or J.
        let wait = if reliable && !invite { Duration::ZERO } else { T1_64 };
        self.set_server_timer(step.now, handle, ServerTimer::End, wait);
        self.wind_up(step, handle);
    }

    /// Ends a transaction without INVITE that nobody answered: without a 408 (RFC 4320 §4.2), but still absorbing
    /// retransmissions.
    pub(crate) fn finish_silently<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(server) = self.servers.get_mut(handle) else { return };
        self.buffers.release(&mut server.response);
        let wait = if server.is_reliable() { Duration::ZERO } else { T1_64 };
        if let Some(ending) = server.ends.take() {
            self.on_bye_over(step, ending, None);
        }
        self.set_server_state(handle, ServerState::Completed);
        self.set_server_timer(step.now, handle, ServerTimer::End, wait);
        self.wind_up(step, handle);
    }

    /// After the final response: nothing else is awaited, so what is pending is cancelled (RFC 3261 §16.7 step 10), and
    /// what only another attempt would need is given back.
    fn wind_up<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(server) = self.servers.get_mut(handle) else { return };
        self.buffers.release(&mut server.request);
        self.buffers.release(&mut server.best);
        server.current = None;
        for client in server.clients.into_iter().flatten() {
            self.abandon(client);
            self.cancel_client(step, client);
        }
    }

    fn count_final(&mut self, handle: Handle, code: u16) {
        let Some(server) = self.servers.get(handle) else { return };
        let Some(group) = server.group.filter(|_| server.is_invite() && !server.tries.unplaced) else { return };
        if server.record == Record::Outward {
            let outcome = if code < 300 { Outcome::OutwardAnswered } else { Outcome::OutwardFailed };
            self.counters.count_outcome(group, outcome);
            return;
        }
        let outcome = match code {
            200..=299 => Outcome::Answered,
            300..=399 => Outcome::Redirected,
            401 | 407 => Outcome::Challenged,
            _ if server.cancelled => Outcome::Cancelled,
            408 => Outcome::TimedOut,
            400..=499 => Outcome::ClientError,
            _ if server.tries.is_all_refused() => Outcome::RejectedRefused,
            500..=599 => Outcome::ServerError,
            _ => Outcome::Declined,
        };
        self.counters.count_outcome(group, outcome);
    }

    /// An ACK for a final response other than 2xx: Completed becomes Confirmed.
    pub(crate) fn confirm(&mut self, now: switchtender_select::Time, handle: Handle) {
        let Some(server) = self.servers.get_mut(handle) else { return };
        if server.state != ServerState::Completed || !server.is_invite() {
            return;
        }
        server.deadlines = [None; ServerTimer::ALL.len()];
        self.buffers.release(&mut server.response);
        // Timer I.
        let wait = if server.is_reliable() { Duration::ZERO } else { T4 };
        self.set_server_state(handle, ServerState::Confirmed);
        self.set_server_timer(now, handle, ServerTimer::End, wait);
    }
}

/// The order of preference among final responses, lowest first (RFC 3261 §16.7 step 6): 6xx, then the lowest class, and
/// within 4xx those that say how to go on.
fn rank(code: u16) -> u16 {
    match code {
        600.. => 0,
        401 | 407 | 415 | 420 | 484 => 40,
        _ => code / 100 * 10 + 5,
    }
}
