//! A request comes in: what is checked, in which order, and what becomes of it (RFC 3261 §16.3 to §16.5).

use switchtender_select::{NodeSlot, Nodes, Snapshot, Time};
use switchtender_sip::{HeaderName, Message, Method, Scheme};

use crate::branch::LoopHash;
use crate::core::{Core, Step, published};
use crate::counters::Counter;
use crate::egress;
use crate::ended::Ending;
use crate::failover::is_shutdown;
use crate::fingerprint;
use crate::forward::Hop;
use crate::output::{Event, Output, Packet};
use crate::plan::{Plan, Refusal, Way};
use crate::reply::{self, Reply};
use crate::route::{self, Found, Preprocessed};
use crate::slab::Handle;
use crate::stateless::stateless_group;
use crate::token::{Direction, Kind, Token};
use crate::transaction::{MAX_ATTEMPTS, Origin, Server, ServerState, ServerTimer, T1, Tries};

/// Whether a packet may still be passed to a sibling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// From the network.
    First,
    /// From a sibling, that took it for ours.
    HandedOver,
}

/// Whether this is a node's request in the dialog of a caller that gave no tag, as RFC 2543 allowed (RFC 3261 §12.1.1).
fn is_to_untagged_caller(request: &Preprocessed<'_>) -> bool {
    request.direction == Some(Direction::FromNode)
}

impl Core {
    pub(crate) fn on_request<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        arrival: Arrival,
    ) {
        self.count(Counter::RequestsReceived);
        let Some(method) = message.method() else { return };
        if !self.config.admits(&packet.flow)
            && !route::is_known_node(&self.config, step.snapshot, packet.flow.peer.ip())
        {
            self.count(Counter::RejectedSource);
            if method != Method::Ack {
                self.answer(step, packet, message, Reply::FORBIDDEN);
            }
            return;
        }
        let Some(fingerprint) = fingerprint::of_request(&self.config.secret, message) else { return };
        let known = self.by_fingerprint.get(&fingerprint).copied();
        if known.is_none() && arrival == Arrival::First && self.hand_over_to_owner(step, packet, fingerprint) {
            return;
        }
        match (method, known) {
            (Method::Ack, known) => self.on_ack(step, packet, message, known),
            (Method::Cancel, known) => self.on_cancel(step, packet, message, known),
            (_, Some(server)) => {
                self.count(Counter::Retransmissions);
                self.transmit_response(step, server);
            }
            (_, None) => self.on_new(step, packet, message, method, fingerprint),
        }
    }

    /// Passes a request to the sibling that has its transaction: the client changed its port, so the kernel gave the
    /// packet to another worker. Whether that was so.
    fn hand_over_to_owner<N, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        fingerprint: u128,
    ) -> bool {
        if self.config.workers < 2 {
            return false;
        }
        match step.output.owner(published(fingerprint)) {
            Some(worker) if worker != self.config.worker => {
                let passed = step.output.hand_over(worker, packet);
                self.count(if passed { Counter::HandedOver } else { Counter::HandOversLost });
                true
            }
            _ => false,
        }
    }

    fn on_new<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
        fingerprint: u128,
    ) {
        match self.decide(step, packet, message, method) {
            Ok(Some(plan)) => self.open(step, packet, message, method, fingerprint, &plan),
            Ok(None) => {}
            Err((reply, counter)) => {
                self.count(counter);
                self.answer(step, packet, message, reply);
            }
        }
    }

    /// Validation, Route preprocessing and target (RFC 3261 §16.3 to §16.5). Opens no transaction; refusals need none.
    /// `Ok(None)`: dropped, or forwarded without a transaction.
    fn decide<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
    ) -> Result<Option<Plan>, Refusal> {
        let uri = message.uri().ok_or((Reply::BAD_REQUEST, Counter::MalformedAnswered))?;

        if message.max_forwards() == Some(0) {
            // RFC 3261 §16.3 step 3: an OPTIONS may be answered by the one that it reached last.
            return Err(match method {
                Method::Options => (Reply::OPTIONS, Counter::OptionsAnswered),
                _ => (Reply::TOO_MANY_HOPS, Counter::RejectedHops),
            });
        }
        if message.values(HeaderName::ProxyRequire).next().is_some() {
            return Err((Reply::BAD_EXTENSION, Counter::RejectedExtension));
        }
        // No hop of ours is secure, so a sips URI (RFC 3261 §26.2.2) is as unknown; but what is in a dialog goes on.
        if uri.scheme == Scheme::Other || uri.scheme == Scheme::Sips && message.to_tag().is_none() {
            return Err((Reply::UNSUPPORTED_SCHEME, Counter::RejectedTarget));
        }
        if self.is_loop(message) {
            return Err((Reply::LOOP_DETECTED, Counter::RejectedLoop));
        }
        let in_dialog = message.to_tag().is_some();
        self.check_limits(method, in_dialog)?;
        if self.transactions() >= self.config.max_transactions.saturating_mul(2) {
            self.count(Counter::DroppedOverload);
            return Ok(None);
        }

        let request =
            self.preprocess(step.snapshot, packet, message).ok_or((Reply::BAD_REQUEST, Counter::MalformedAnswered))?;
        if in_dialog || is_to_untagged_caller(&request) {
            return self.plan_in_dialog(step, packet, message, method, &request).map(Some);
        }
        if let Found::Token(token @ Token { kind: Kind::Path, .. }) = request.token {
            return self.plan_along_path(step, packet, message, method, &request, &token).map(Some);
        }
        let for_us = request.uri.user.is_none() && self.config.is_own(&request.uri, packet.flow.local_ip);
        if for_us && method != Method::Register {
            return Err(match method {
                Method::Options => (Reply::OPTIONS, Counter::OptionsAnswered),
                Method::Invite => (Reply::NOT_FOUND, Counter::RejectedTarget),
                _ => (Reply::METHOD_NOT_ALLOWED, Counter::RejectedTarget),
            });
        }
        if egress::is_outward(self.config.node_side.is_some(), step.snapshot, &packet.flow, message) {
            return self.plan_outward(step, packet, message, method, &request).map(Some);
        }
        if let Some((group, hash)) = stateless_group(step.snapshot, packet, message, &request) {
            return self.relay_request(step, packet, message, &request, group, hash).map(|()| None);
        }
        self.plan_new(step, packet, message, method, &request).map(Some)
    }

    pub(crate) fn preprocess<'a>(
        &mut self,
        snapshot: &Snapshot,
        packet: &Packet<'_>,
        message: &Message<'a>,
    ) -> Option<Preprocessed<'a>> {
        self.refresh_keys(snapshot);
        route::preprocess(&self.config, &mut self.keys, packet, message)
    }

    /// RFC 3261 §16.3 step 4, RFC 5393 §4.2: the request was here before, and nothing that routing depends on changed.
    fn is_loop(&self, message: &Message<'_>) -> bool {
        let mut current = None;
        message.values(HeaderName::Via).any(|value| {
            let via = switchtender_sip::Via::parse(value.span.of(message.bytes()));
            let carried = via.and_then(|via| self.branches.loop_hash_of(via.branch?));
            carried.is_some_and(|carried| *current.get_or_insert_with(|| self.loop_hash(message)) == carried)
        })
    }

    fn loop_hash(&self, message: &Message<'_>) -> LoopHash {
        let bytes = message.bytes();
        let number = message.cseq().map_or(0, |cseq| cseq.number).to_be_bytes();
        let head: [&[u8]; 5] = [
            message.uri_text().unwrap_or_default(),
            message.from_tag().unwrap_or_default(),
            message.to_tag().unwrap_or_default(),
            message.call_id().unwrap_or_default(),
            &number,
        ];
        let routes = message.values(HeaderName::Route).map(|value| value.span.of(bytes));
        let requires = message.all(HeaderName::ProxyRequire).map(|header| header.value.of(bytes));
        let credentials = message.all(HeaderName::ProxyAuthorization).map(|header| header.value.of(bytes));
        self.branches.loop_hash(head.into_iter().chain(routes).chain(requires).chain(credentials))
    }

    /// Our own limits: what they refuse is new; dialogs go on.
    fn check_limits(&mut self, method: Method, in_dialog: bool) -> Result<(), Refusal> {
        let lagging = self.overloaded && method == Method::Invite;
        let crowded = self.transactions() >= self.config.max_transactions;
        if in_dialog || !(lagging || crowded) {
            return Ok(());
        }
        let seconds = self.random_seconds((5, 15));
        Err((Reply::unavailable(503, seconds), Counter::RejectedOverload))
    }

    /// Opens the server transaction and sends the request on.
    fn open<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
        fingerprint: u128,
        plan: &Plan,
    ) {
        let Some(origin) = reply::origin(&self.config, packet, message) else { return };
        self.changing = true;
        let Some(handle) = self.insert_server(message, method, fingerprint, origin, step.now, plan) else {
            self.release_call(step, plan.call.key);
            return;
        };
        self.open += 1;
        self.by_fingerprint.insert(fingerprint, handle);
        step.output.publish(published(fingerprint));
        if let (Some(Ending { node, .. }), Way::Send(Hop { node: None, .. })) = (plan.ends, &plan.way)
            && is_shutdown(message)
        {
            step.output.event(Event::ShutdownSeen { node });
        }
        if method == Method::Invite {
            // RFC 3261 §16.2: a stateful proxy answers 100 within 200 ms; at once is within.
            self.respond_provisionally(step, handle, message, Reply::TRYING);
        }
        match (&plan.way, plan.group) {
            (Way::Send(hop), _) => {
                if !self.launch(step, handle, message, hop) {
                    self.finish_with(step, handle, Reply::TOO_LARGE);
                } else if let Some(node) = plan.outward {
                    // A session that the node has already: in its next report, and in nobody's way until then.
                    step.nodes.assign(node, 1, step.now);
                    step.nodes.settle(node);
                }
            }
            (Way::Wait(until), Some(group)) => self.wait(step, handle, group, *until),
            (Way::Wait(_), None) => self.finish_with(step, handle, Reply::SERVER_ERROR),
        }
    }

    fn insert_server(
        &mut self,
        message: &Message<'_>,
        method: Method,
        fingerprint: u128,
        origin: Origin,
        now: Time,
        plan: &Plan,
    ) -> Option<Handle> {
        let mut request = self.buffers.take();
        request.extend_from_slice(message.index().span().of(message.bytes()));
        self.servers.insert(Server {
            state: ServerState::Proceeding,
            method,
            fingerprint,
            origin,
            request,
            response: self.buffers.take(),
            best: Vec::new(),
            tries: Tries::default(),
            shape: plan.shape,
            record: plan.record,
            loop_hash: self.loop_hash(message),
            group: plan.group,
            search: plan.search,
            wanted: plan.wanted,
            call: plan.call,
            waiting: false,
            outward: plan.outward,
            ends: plan.ends,
            current: None,
            clients: [None; MAX_ATTEMPTS + 1],
            tried: [NodeSlot(0); MAX_ATTEMPTS],
            attempts: 0,
            progressed: false,
            cancelled: false,
            started: now,
            delay_noted: false,
            interval: T1,
            deadlines: [None; ServerTimer::ALL.len()],
        })
    }
}
