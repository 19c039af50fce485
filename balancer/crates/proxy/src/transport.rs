//! Messages that could not be sent or delivered, and connections that ended (RFC 3261 §16.9, §17.1.4, §18.4).

use std::net::SocketAddr;
use std::time::Duration;

use switchtender_select::{Nodes, Transport, canonical_socket};
use switchtender_sip::Via;

use crate::branch::Owner;
use crate::core::{Core, Step};
use crate::counters::Counter;
use crate::output::{FailureKind, Flow, Output, TransportFailure};
use crate::slab::Handle;
use crate::transaction::{Client, ClientState};

/// An error without a quoted branch costs a look at every client transaction; so not more often than this.
const SCAN_INTERVAL: Duration = Duration::from_millis(10);

impl Core {
    pub(crate) fn on_transport_error<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        failure: &TransportFailure<'_>,
    ) {
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
            // A response, an ACK for a 2xx, or something of a sibling: nothing to be done about it.
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
        let found = self.calling(|client| match client.flow.connection {
            Some(connection) => flow.connection == Some(connection),
            None => client.flow.transport == Transport::Tcp && canonical_socket(client.flow.peer) == peer,
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
        self.on_undeliverable(step, handle);
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
