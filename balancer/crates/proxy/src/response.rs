//! A response comes in: the client transaction it belongs to, and what becomes of it (RFC 3261 §16.7, §17.1,
//! RFC 6026 §7.2).

use std::time::Duration;

use switchtender_select::{Nodes, Time};
use switchtender_sip::{HeaderName, Index, Message, Method, Output as Writer, ack};

use crate::branch::Owner;
use crate::core::{Core, Step};
use crate::counters::{Counter, Delay};
use crate::fingerprint;
use crate::output::{Output, Packet};
use crate::request::Arrival;
use crate::slab::Handle;
use crate::transaction::{Cancel, Client, ClientState, ClientTimer, T1_64, T2, T4, TIMER_C_STEP};

impl Core {
    pub(crate) fn on_response<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        arrival: Arrival,
    ) {
        self.count(Counter::ResponsesReceived);
        let Some(branch) = message.top_via().and_then(|via| via.branch) else {
            self.count(Counter::StrayResponses);
            return;
        };
        match self.branches.owner(branch) {
            Owner::Mine(transaction) => self.on_response_to(step, transaction.into(), message),
            Owner::OtherWorker(worker) if arrival == Arrival::First => {
                let passed = step.output.hand_over(worker, packet);
                self.count(if passed { Counter::HandedOver } else { Counter::HandOversLost });
            }
            Owner::Foreign if self.relay_response(step, packet, message, branch) => {}
            Owner::OtherWorker(_) | Owner::Foreign => self.count(Counter::StrayResponses),
        }
    }

    fn on_response_to<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        message: &Message<'_>,
    ) {
        let (Some(client), Some(code), Some(cseq)) = (self.clients.get(handle), message.code(), message.cseq()) else {
            self.count(Counter::StrayResponses);
            return;
        };
        let invite = client.is_invite();
        let to_cancel = invite && cseq.method == Method::Cancel;
        let same_call = fingerprint::of_call(&self.config.secret, message) == Some(client.call);
        if !same_call || !(to_cancel || cseq.method == client.method) {
            self.count(Counter::MismatchedResponses);
            return;
        }
        self.changing = true;
        if let Some(node) = client.node {
            step.nodes.answered(node);
        }
        // RFC 3261 §16.7 step 3: a response with no Via but ours is for nobody else. A 100 goes no further anyway, and
        // FreeSWITCH puts only the topmost Via into it.
        let for_us_alone = message.values(HeaderName::Via).nth(1).is_none();
        if to_cancel {
            self.on_cancel_answered(handle, code);
        } else if for_us_alone && code != 100 {
            self.count(Counter::ResponsesWithoutVia);
        } else if invite {
            self.note_first_response(step.now, handle);
            self.on_invite_response(step, handle, code, message);
        } else {
            self.on_other_response(step, handle, code, message);
        }
    }

    /// From the INVITE of a new call sent to a node to what that node says first.
    fn note_first_response(&mut self, now: Time, handle: Handle) {
        let Some(client) = self.clients.get(handle) else { return };
        let group = self.servers.get(client.server).and_then(|server| server.group);
        if let Some(group) = group
            && client.state == ClientState::Calling
            && client.node.is_some()
        {
            self.counters.note_delay(group, Delay::FirstResponse, now.since(client.launched));
        }
    }

    /// RFC 3261 §17.1.1.2 with RFC 6026 §7.2.
    fn on_invite_response<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        code: u16,
        message: &Message<'_>,
    ) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        match (client.state, code) {
            (ClientState::Calling | ClientState::Proceeding, 100..=199) => {
                self.on_provisional(step, handle, code, message);
            }
            (ClientState::Calling | ClientState::Proceeding, 200..=299) => {
                client.deadlines = [None; ClientTimer::ALL.len()];
                self.buffers.release(&mut client.request);
                let server = client.server;
                self.set_client_state(handle, ClientState::Accepted);
                self.set_client_timer(step.now, handle, ClientTimer::End, T1_64);
                self.settle(step, handle);
                self.comes_about(handle);
                self.remember_call(step, handle, message);
                self.settle_claim(step, handle);
                self.pass_2xx(step, server, message);
            }
            (ClientState::Accepted, 200..=299) => {
                let server = client.server;
                self.pass_2xx(step, server, message);
            }
            (ClientState::Calling | ClientState::Proceeding, 300..) => {
                let first = client.state == ClientState::Calling;
                self.acknowledge(step, handle, message);
                self.no_call(step, handle);
                self.on_final(step, handle, code, first, message);
            }
            // Our ACK was lost.
            (ClientState::Completed, 300..) => {
                self.count(Counter::Retransmissions);
                self.transmit(step, handle);
            }
            _ => self.count(Counter::StrayResponses),
        }
    }

    /// The ACK for a final response other than 2xx is ours to make, hop by hop (RFC 3261 §17.1.1.3). It takes the place
    /// of the INVITE, since it has to be repeated with every retransmission of the response.
    fn acknowledge<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle, message: &Message<'_>) {
        self.set_client_state(handle, ClientState::Completed);
        let Some(client) = self.clients.get_mut(handle) else { return };
        client.deadlines = [None; ClientTimer::ALL.len()];
        let mut index = Index::new();
        let _ = index.parse(&client.request);
        let mut writer = Writer::new(&mut self.scratch);
        let written = ack(&index.message(&client.request), message, &mut writer).is_ok();
        client.request.clear();
        if written {
            client.request.extend_from_slice(writer.written());
            self.transmit(step, handle);
        }
        // Timer D: what is not sent again needs no second ACK.
        let reliable = self.clients.get(handle).is_some_and(Client::is_reliable);
        let wait = if reliable { Duration::ZERO } else { T1_64 };
        self.set_client_timer(step.now, handle, ClientTimer::End, wait);
    }

    fn on_provisional<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        code: u16,
        message: &Message<'_>,
    ) {
        let now = step.now;
        let Some(client) = self.clients.get_mut(handle) else { return };
        let first = client.state == ClientState::Calling;
        client.state = ClientState::Proceeding;
        let (server, abandoned, patience) = (client.server, client.abandoned, client.patience);
        if first {
            client.stop(ClientTimer::Retransmit);
            client.stop(ClientTimer::Timeout);
            client.stop(ClientTimer::Patience);
            if client.cancel == Cancel::Wanted {
                self.send_cancel(step, handle);
            }
        }
        if code == 100 {
            if first
                && !abandoned
                && let Some((_, progress)) = patience
            {
                self.set_client_timer(now, handle, ClientTimer::Patience, progress);
            }
            return;
        }
        if let Some(client) = self.clients.get_mut(handle) {
            client.stop(ClientTimer::Patience);
            let timer_c = client.timer_c;
            // RFC 3261 §16.7 step 2: every 101 to 199 starts Timer C again.
            let started = client.deadline(ClientTimer::C).map(|due| due - timer_c);
            if started.is_some_and(|started| now.since(started) >= TIMER_C_STEP) {
                self.set_client_timer(now, handle, ClientTimer::C, timer_c);
            }
        }
        self.remember_call(step, handle, message);
        // From here on there is no failover, so the attempt says nothing any more about whether the node answers.
        self.settle(step, handle);
        if !abandoned {
            self.pass_provisional(step, server, message);
        }
    }

    /// RFC 3261 §17.1.2.2.
    fn on_other_response<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        code: u16,
        message: &Message<'_>,
    ) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        if !client.is_pending() {
            self.count(Counter::Retransmissions);
            return;
        }
        let first = client.state == ClientState::Calling;
        let (server, abandoned) = (client.server, client.abandoned);
        if code < 200 {
            client.state = ClientState::Proceeding;
            client.stop(ClientTimer::Patience);
            client.interval = T2;
            if code > 100 && !abandoned {
                self.pass_provisional(step, server, message);
            }
            return;
        }
        client.deadlines = [None; ClientTimer::ALL.len()];
        self.buffers.release(&mut client.request);
        // Timer K.
        let wait = if client.is_reliable() { Duration::ZERO } else { T4 };
        self.set_client_state(handle, ClientState::Completed);
        self.set_client_timer(step.now, handle, ClientTimer::End, wait);
        self.on_final(step, handle, code, first, message);
    }

    /// Whether the outcome of this client transaction is the one awaited.
    pub(crate) fn is_current(&self, handle: Handle) -> bool {
        let server = self.clients.get(handle).and_then(|client: &Client| self.servers.get(client.server));
        server.is_some_and(|server| server.current == Some(handle) && server.is_pending())
    }
}
