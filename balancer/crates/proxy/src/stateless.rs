//! Forwarding without transactions (RFC 3261 §16.11), for groups whose mode is `Stateless`: each message by itself, and
//! whatever belongs together to the same node under the same branch.
//!
//! There is no 100, nothing is sent again and no other node is tried: all that is the caller's. Requests leave by the
//! socket that all workers share, so that any of them can pass the responses on. Dialogs that a request begins here go by
//! their token, as all others do.

use std::net::SocketAddr;

use switchtender_select::{Group, Mode, NoNode, Nodes, Snapshot, Transport, Wanted, place_stateless};
use switchtender_sip::{HeaderName, Message, Method, Output as Writer, Rport};

use crate::core::{Core, Step, count_request};
use crate::counters::Counter;
use crate::fingerprint;
use crate::forward::{self, Hop, Side, push_own_uri, push_via, remove_internal, write_changes, write_length};
use crate::output::{Decision, Flow, Local, Output, Packet};
use crate::plan::{Refusal, begins_dialog};
use crate::record_route;
use crate::relay::{self, Relay};
use crate::reply::{self, Reply};
use crate::route::{self, Found, Preprocessed};
use crate::token::{Held, MAX_TOKEN_LEN};
use crate::transaction::{Record, TIMER_C};
use crate::view::View;

/// The group without transactions that takes this request, and the key of its node. A CANCEL and an ACK are matched as
/// the INVITE that they belong to.
pub(crate) fn stateless_group<'s>(
    snapshot: &'s Snapshot,
    packet: &Packet<'_>,
    message: &Message<'_>,
    request: &Preprocessed<'_>,
) -> Option<(&'s Group, u64)> {
    if !snapshot.has_stateless() {
        return None;
    }
    let mut view = View::new(message, &request.uri, &packet.flow);
    if matches!(message.method(), Some(Method::Cancel | Method::Ack)) {
        view = view.of_invite();
    }
    let group = snapshot.classify(&view)?.group;
    let hash = group.hash_key(&view).filter(|_| group.mode == Mode::Stateless)?;
    Some((group, hash))
}

impl Core {
    /// Forwards the CANCEL of an INVITE that was forwarded without a transaction, or the ACK for its failure. Whether it
    /// is one.
    pub(crate) fn relay_with_invite<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
    ) -> bool {
        if !step.snapshot.has_stateless() || message.max_forwards() == Some(0) {
            return false;
        }
        let Some(request) = self.preprocess(step.snapshot, packet, message) else { return false };
        if matches!(request.token, Found::Token(_)) {
            return false;
        }
        let Some((group, hash)) = stateless_group(step.snapshot, packet, message, &request) else { return false };
        self.relay_request(step, packet, message, &request, group, hash).is_ok()
    }

    /// Forwards a request without a transaction.
    ///
    /// # Errors
    /// The group has no node to send it to.
    pub(crate) fn relay_request<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        request: &Preprocessed<'_>,
        group: &Group,
        hash: u64,
    ) -> Result<(), Refusal> {
        let slot = place_stateless(group, hash);
        let Some(node) = slot.and_then(|slot| step.snapshot.node(slot)) else {
            return Err((self.no_room(group, false, NoNode::NotReady), Counter::RejectedOverLimit));
        };
        let hop = Hop {
            flow: Flow { transport: node.transport, ..Flow::udp(Local::NodeSide, None, node.sip) },
            otherwise: None,
            large: Transport::Udp,
            node: Some(node.slot),
            chosen_of: Some(group.slot),
            legs: None,
            patience: None,
            timer_c: TIMER_C,
        };
        let reach = route::reach(&self.config, packet, message);
        let record = match message.method() {
            Some(Method::Register) => Record::Path(reach),
            Some(method) if begins_dialog(method, message) => Record::FromCaller(reach),
            _ => Record::Nothing,
        };
        match self.compose_relayed(step, packet, message, request, record, &hop) {
            Some(len) => {
                let wanted = Wanted { hash: Some(hash), ..Wanted::default() };
                let decision = Decision::Placed { group: group.slot, node: node.slot, wanted: &wanted, tried: &[] };
                step.output.decided(packet.bytes, &decision);
                step.output.send(&hop.flow, self.scratch.get(..len).unwrap_or_default());
                count_request(step, &mut self.counters, hop.node);
                self.count(Counter::RelayedRequests);
                Ok(())
            }
            None => Err((Reply::TOO_LARGE, Counter::Oversized)),
        }
    }

    /// Writes the forwarded request into the scratch room. Its length; `None`: it does not fit, or there is no key.
    fn compose_relayed<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        request: &Preprocessed<'_>,
        record: Record,
        hop: &Hop,
    ) -> Option<usize> {
        let origin = reply::origin(&self.config, packet, message)?;
        let via = message.top_via()?;
        let nat = self.config.listener(route::listener_of(packet.flow.local)).is_some_and(|listener| listener.nat);
        let told = via.rport.is_some() || origin.reply_to.peer.port() == via.port_or_default();
        let connection = packet.flow.connection;
        let relay = Relay {
            // Not keyed: the same in every run and replica. The seal is what nobody can make.
            #[allow(clippy::cast_possible_truncation)]
            request: fingerprint::of_request(&[0; 16], message)? as u64,
            local: packet.flow.local,
            local_ip: packet.flow.local_ip,
            port: (!told && (nat || connection.is_some())).then(|| origin.reply_to.peer.port()),
            connection: connection.map(|connection| Held { replica: self.config.replica, connection }),
        };
        self.refresh_keys(step.snapshot);
        let mut branch = [0; relay::MAX_LEN];
        let branch_len = relay.seal(&mut self.keys, &mut branch)?;
        let branch = branch.get(..branch_len)?;
        let mut text = [0; MAX_TOKEN_LEN];
        // Without a group: its calls are not counted, so their ends are not, either.
        let token = match forward::token(step.snapshot, message, &origin, record, (None, &Wanted::default()), hop) {
            Some(token) => {
                let len = self.keys.seal(&token, &mut text)?;
                text.get(..len)?
            }
            None => &[],
        };
        let Self { config, edits, scratch, counters, .. } = self;
        edits.clear();
        push_via(edits, message, hop.flow.transport, Core::sent_by(config, step.output, &hop.flow), branch);
        let own_only = record.is_of_a_connection();
        let near = Side::of(config, step.output, hop.flow, own_only);
        match record {
            Record::Path(_) => push_own_uri(edits, message, HeaderName::Path, token, near),
            Record::FromCaller(_) => {
                let far = Side::of(config, step.output, origin.flow, own_only);
                push_own_uri(edits, message, HeaderName::RecordRoute, token, near);
                if far != near {
                    push_own_uri(edits, message, HeaderName::RecordRoute, token, far);
                }
            }
            _ => {}
        }
        write_changes(edits, message, request.shape, &origin);
        write_length(edits, message, hop.flow.transport);
        let mut writer = Writer::new(scratch);
        if edits.splice(message, &mut writer).is_err() {
            counters.count(Counter::Oversized);
            return None;
        }
        Some(writer.len())
    }

    /// Passes a response on to where its next Via says, if its branch is one that we made for a request without a
    /// transaction. Whether it is.
    pub(crate) fn relay_response<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        branch: &[u8],
    ) -> bool {
        self.refresh_keys(step.snapshot);
        let Some(relay) = Relay::open(&mut self.keys, branch) else { return false };
        if !route::is_known_node(&self.config, step.snapshot, packet.flow.peer.ip()) {
            return false;
        }
        if let Some(node) = step.snapshot.node_at(route::endpoint(&packet.flow, message)) {
            step.nodes.answered(node);
        }
        let Some(flow) = way_back(message, &relay) else {
            self.count(Counter::ResponsesWithoutVia);
            return true;
        };
        if relay.connection.is_some_and(|held| held.replica != self.config.replica) {
            self.count(Counter::ResponsesLost);
            return true;
        }
        let Self { edits, scratch, counters, keys, .. } = self;
        edits.clear();
        edits.remove_first(message, HeaderName::Via, 1);
        record_route::hide_nearer(edits, message);
        record_route::hide_path(edits, message, keys);
        remove_internal(edits, message);
        write_length(edits, message, flow.transport);
        let mut writer = Writer::new(scratch);
        if edits.splice(message, &mut writer).is_err() {
            counters.count(Counter::Oversized);
            return true;
        }
        step.output.send(&flow, writer.written());
        self.count(Counter::ResponsesSent);
        self.count(Counter::RelayedResponses);
        true
    }
}

/// The way that a response takes (RFC 3261 §18.2.2, RFC 3581 §4), as [`reply::origin`] has it: `received` and `rport`
/// are what we wrote into the Via of the request.
fn way_back(message: &Message<'_>, relay: &Relay) -> Option<Flow> {
    let below = message.values(HeaderName::Via).nth(1)?;
    let via = switchtender_sip::Via::parse(below.span.of(message.bytes()))?;
    let ip = via.received.or(via.host.ip())?;
    let port = match (relay.port, via.rport) {
        (Some(port), _) | (None, Some(Rport::Port(port))) => port,
        (None, _) => via.port_or_default(),
    };
    let flow = Flow::udp(relay.local, relay.local_ip, SocketAddr::new(ip, port));
    Some(match relay.connection {
        Some(held) => Flow { transport: Transport::Tcp, connection: Some(held.connection), ..flow },
        None => flow,
    })
}
