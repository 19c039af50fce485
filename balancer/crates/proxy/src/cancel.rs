//! CANCEL, both ways (RFC 3261 §9, §16.10), and ACK.

use switchtender_select::{Nodes, may_send_in_dialog};
use switchtender_sip::{Index, Message, Output as Writer, cancel};

use crate::core::{Core, Step, count_request};
use crate::counters::Counter;
use crate::fingerprint;
use crate::output::{Output, Packet};
use crate::reply::{self, Reply};
use crate::route;
use crate::slab::Handle;
use crate::transaction::{Cancel, ClientState, ClientTimer, Server, ServerState, T1, T1_64};

impl Core {
    /// The caller gives up. The CANCEL is answered here (RFC 3261 §9.2: hop by hop), as often as it comes.
    pub(crate) fn on_cancel<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        known: Option<Handle>,
    ) {
        let Some(handle) = known.filter(|handle| self.servers.get(*handle).is_some_and(Server::is_invite)) else {
            if self.relay_with_invite(step, packet, message) {
                return;
            }
            self.count(Counter::RejectedNoDialog);
            self.answer(step, packet, message, Reply::NO_DIALOG);
            return;
        };
        self.count(Counter::Cancels);
        self.answer(step, packet, message, Reply::OK);
        self.changing = true;
        let Some(server) = self.servers.get_mut(handle) else { return };
        if !server.is_pending() || std::mem::replace(&mut server.cancelled, true) {
            return;
        }
        let clients = server.clients;
        let mut answer_to_come = false;
        for client in clients.into_iter().flatten() {
            self.cancel_client(step, client);
            answer_to_come |= self.is_current(client)
                && self.clients.get(client).is_some_and(|client| client.state == ClientState::Proceeding);
        }
        if !answer_to_come {
            // Where nothing came back yet nothing may be cancelled yet, but the caller need not wait for that.
            self.finish_with(step, handle, Reply::TERMINATED);
        }
    }

    /// Its outcome is not awaited any more.
    pub(crate) fn abandon(&mut self, handle: Handle) {
        if let Some(client) = self.clients.get_mut(handle)
            && client.is_pending()
        {
            client.abandoned = true;
            client.stop(ClientTimer::Patience);
        }
    }

    /// Cancels a pending INVITE: now if it had a provisional response, else on its first one (RFC 3261 §9.1).
    pub(crate) fn cancel_client<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        if !client.is_invite() || client.cancel != Cancel::No {
            return;
        }
        match client.state {
            ClientState::Calling => client.cancel = Cancel::Wanted,
            ClientState::Proceeding => self.send_cancel(step, handle),
            ClientState::Completed | ClientState::Accepted => {}
        }
    }

    /// Sends the CANCEL and waits 64·T1 for what it brings (RFC 3261 §9.1).
    pub(crate) fn send_cancel<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        client.cancel = Cancel::Sent;
        client.interval = T1;
        client.stop(ClientTimer::Patience);
        client.stop(ClientTimer::C);
        let reliable = client.is_reliable();
        if !reliable {
            self.set_client_timer(step.now, handle, ClientTimer::Retransmit, T1);
        }
        self.set_client_timer(step.now, handle, ClientTimer::End, T1_64);
        self.transmit_cancel(step, handle);
    }

    /// Puts the CANCEL on the wire; it is made from the INVITE each time.
    pub(crate) fn transmit_cancel<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(client) = self.clients.get(handle) else { return };
        let mut index = Index::new();
        let _ = index.parse(&client.request);
        let mut writer = Writer::new(&mut self.scratch);
        if cancel(&index.message(&client.request), b"", &mut writer).is_ok() {
            step.output.send(&client.flow, writer.written());
            count_request(step, &mut self.counters, client.node);
        }
    }

    pub(crate) fn on_cancel_answered(&mut self, handle: Handle, code: u16) {
        if let Some(client) = self.clients.get_mut(handle)
            && client.cancel == Cancel::Sent
            && code >= 200
        {
            client.cancel = Cancel::Answered;
            client.stop(ClientTimer::Retransmit);
        }
    }

    /// An ACK ends an INVITE that we answered with a failure; else it is the one for a 2xx and goes end to end. It is
    /// never answered.
    pub(crate) fn on_ack<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        known: Option<Handle>,
    ) {
        if let Some(handle) = known
            && let Some(server) = self.servers.get(handle)
            && server.state != ServerState::Accepted
        {
            self.changing = true;
            self.confirm(step.now, handle);
            return;
        }
        let refused = message.to_tag() == Some(&fingerprint::to_tag(&self.config.secret, message)[..]);
        if refused {
            // We answered its INVITE without a transaction.
            return;
        }
        if self.relay_with_invite(step, packet, message) {
            return;
        }
        let target = self.preprocess(step.snapshot, packet, message).and_then(|request| {
            let target = route::in_dialog(&self.config, step.snapshot, packet, message, &request)?;
            Some((target, request.shape))
        });
        let origin = reply::origin(&self.config, packet, message);
        let (Some((target, shape)), Some(origin)) = (target, origin) else {
            self.count(Counter::StrayAcks);
            return;
        };
        if message.max_forwards() == Some(0) || message.to_tag().is_none() {
            self.count(Counter::StrayAcks);
            return;
        }
        let Some((hop, shape)) = self.hop_to(target, shape) else {
            self.count(Counter::StrayAcks);
            return;
        };
        if hop.node.is_some_and(|node| !may_send_in_dialog(&step.nodes.load(node, step.now), true)) {
            self.count(Counter::RejectedBudget);
            return;
        }
        self.forward_statelessly(step, &origin, shape, message, &hop);
    }
}
