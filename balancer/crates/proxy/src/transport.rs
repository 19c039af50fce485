//! Messages that could not be sent or delivered, and connections that ended (RFC 3261 §16.9, §17.1.4, §18.4).

use std::net::SocketAddr;
use std::time::Duration;

use switchtender_select::{Nodes, Transport, canonical_socket};
use switchtender_sip::{Index, Via};

use crate::branch::Owner;
use crate::core::{Core, Step};
use crate::counters::Counter;
use crate::fingerprint;
use crate::forward::Hop;
use crate::output::{ConnectionId, FailureKind, Flow, Output, TransportFailure};
use crate::route::listener_of;
use crate::slab::Handle;
use crate::transaction::{Client, ClientState, Counted};

/// An error without a quoted branch costs a look at every client transaction; so not more often than this.
const SCAN_INTERVAL: Duration = Duration::from_millis(10);
/// How responses begin.
const RESPONSE: &[u8] = b"SIP/2.0 ";

impl Core {
    pub(crate) fn on_transport_error<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        failure: &TransportFailure<'_>,
    ) {
        if failure.quoted.starts_with(RESPONSE) {
            self.on_response_failed(step, failure);
            return;
        }
        let destination = canonical_socket(failure.flow.peer);
        match quoted_branch(failure.quoted).map(|branch| self.branches.owner(branch)) {
            Some(Owner::Mine(transaction)) => {
                let handle = Handle::from(transaction);
                let meant =
                    self.clients.get(handle).is_some_and(|client| canonical_socket(client.flow.peer) == destination);
                if meant {
                    self.on_failed(step, handle, failure.kind);
                } else {
                    self.count(Counter::StrayTransportErrors);
                }
            }
            // An ACK for a 2xx, or something of a sibling: nothing to be done about it.
            Some(Owner::OtherWorker(_) | Owner::Foreign) => self.count(Counter::StrayTransportErrors),
            None => self.on_failed_destination(step, destination, failure.kind),
        }
    }

    /// Nothing was quoted: whatever waits for a first response from there will not get one.
    fn on_failed_destination<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        destination: SocketAddr,
        kind: FailureKind,
    ) {
        let just_looked = self.last_scan.is_some_and(|last| step.now.since(last) < SCAN_INTERVAL);
        if just_looked {
            self.count(Counter::StrayTransportErrors);
            return;
        }
        self.last_scan = Some(step.now);
        let found = self.calling(|client| canonical_socket(client.flow.peer) == destination);
        if found.is_empty() {
            self.count(Counter::StrayTransportErrors);
        }
        for handle in found {
            self.on_failed(step, handle, kind);
        }
    }

    /// A connection ended, or was given up. What went over it and got no response may never have arrived.
    pub(crate) fn on_connection_closed<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, flow: &Flow) {
        let peer = canonical_socket(flow.peer);
        let is_own = flow.connection.and_then(ConnectionId::worker) == Some(self.config.worker);
        let is_of = |sent: &Flow| {
            let same_way = sent.local == flow.local && canonical_socket(sent.peer) == peer;
            sent.transport == Transport::Tcp && is_own && same_way
        };
        let found = self.calling(|client| match client.flow.connection {
            Some(connection) => flow.connection == Some(connection),
            None => is_of(&client.flow),
        });
        for handle in found {
            self.on_failed(step, handle, FailureKind::Closed);
        }
    }

    /// Client transactions without a response. Allocates, but for failures only.
    fn calling(&self, on: impl Fn(&Client) -> bool) -> Vec<Handle> {
        let calling = |client: &Client| client.state == ClientState::Calling;
        self.clients.iter().filter(|(_, client)| calling(client) && on(client)).map(|(handle, _)| handle).collect()
    }

    fn on_failed<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle, kind: FailureKind) {
        self.count(Counter::TransportErrors);
        self.changing = true;
        let Some(client) = self.clients.get_mut(handle) else { return };
        if client.state != ClientState::Calling {
            // It answered before: what was lost, an ACK, a CANCEL, is sent again by its timer.
            return;
        }
        if kind == FailureKind::Send && !std::mem::replace(&mut client.sent_again, true) {
            self.count(Counter::Retransmitted);
            self.transmit(step, handle);
            return;
        }
        if self.go_otherwise(step, handle) {
            return;
        }
        if let Some(client) = self.clients.get(handle)
            && client.flow.connection.is_some()
            && let Some(server) = self.servers.get_mut(client.server)
        {
            server.tries.gone += 1;
        }
        self.on_undeliverable(step, handle);
    }

    /// Sends the request by its other way, if it has one: not another attempt, but the same one. Its Via may change with
    /// the transport, so it is a client transaction of its own.
    fn go_otherwise<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) -> bool {
        if !self.is_current(handle) {
            return false;
        }
        let Some(client) = self.clients.get(handle) else { return false };
        let Some(flow) = client.otherwise else { return false };
        let (server, counted) = (client.server, client.counted);
        let hop = Hop {
            flow,
            otherwise: None,
            large: Transport::Udp,
            node: client.node,
            chosen_of: None,
            legs: None,
            patience: client.patience,
            timer_c: client.timer_c,
        };
        let Some(attempts) = self.servers.get(server).map(|server| server.attempts) else { return false };
        if !self.launch_again(step, server, &hop) {
            return false;
        }
        // What was taken for the first way is held for this one.
        if let Some(first) = self.clients.get_mut(handle) {
            first.counted = Counted::No;
        }
        let current = self.servers.get_mut(server).and_then(|server| {
            server.attempts = attempts;
            server.current
        });
        if let Some(client) = current.and_then(|current| self.clients.get_mut(current)) {
            client.counted = counted;
        }
        self.free_client(step, handle);
        true
    }

    /// A response whose connection is no more goes over a new one, to the address that its request came from, at the port
    /// of sent-by (RFC 3261 §18.2.2). Not where that cannot be the client: sent-by is another address, as behind NAT.
    fn on_response_failed<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, failure: &TransportFailure<'_>) {
        let mut index = Index::new();
        let parsed = index.parse(failure.quoted).is_ok();
        let message = index.message(failure.quoted);
        let was_given = failure.kind == FailureKind::Closed && failure.flow.connection.is_some();
        let nat = self.config.listener(listener_of(failure.flow.local)).is_some_and(|listener| listener.nat);
        let source = failure.flow.peer.ip().to_canonical();
        let via = message.top_via().filter(|_| parsed && was_given && !nat);
        let Some(via) = via.filter(|via| via.host.ip().is_none_or(|ip| ip.to_canonical() == source)) else {
            self.count(if was_given { Counter::ResponsesLost } else { Counter::StrayTransportErrors });
            return;
        };
        let peer = SocketAddr::new(source, via.port_or_default());
        let flow = Flow { peer, connection: None, ..failure.flow };
        self.count(Counter::ResponsesRerouted);
        let known = fingerprint::of_request(&self.config.secret, &message)
            .and_then(|fingerprint| self.by_fingerprint.get(&fingerprint).copied());
        if let Some(server) = known.and_then(|handle| self.servers.get_mut(handle)) {
            // What comes after it goes the same way.
            server.origin.reply_to = flow;
        }
        step.output.send(&flow, failure.quoted);
        self.count(Counter::ResponsesSent);
    }
}

/// The branch in the top Via of a message of ours that may be cut off anywhere. `None`: it does not reach that far.
fn quoted_branch(quoted: &[u8]) -> Option<&[u8]> {
    // We write our Via first and in this one spelling, whole lines only.
    let start = position_after(quoted, b"\r\nVia: ")?;
    let rest = quoted.get(start..)?;
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | b','))?;
    Via::parse(rest.get(..end)?)?.branch
}

fn position_after(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle).map(|at| at + needle.len())
}
