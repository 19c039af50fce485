//! A request comes in: what is checked, in which order, and what becomes of it (RFC 3261 §16.3 to §16.5).

use switchtender_select::{Call, Group, NoNode, NodeSlot, Nodes, Snapshot, Verdict, choose, judge, may_send_in_dialog};
use switchtender_sip::{HeaderName, Host, Message, Method, Scheme};

use crate::core::{Core, Step, published};
use crate::counters::{Counter, Outcome};
use crate::failover::is_shutdown;
use crate::fingerprint;
use crate::forward::Hop;
use crate::output::{Datagram, Event, Local, Output};
use crate::reply::{self, Reply};
use crate::route::{self, Found, Preprocessed, Target};
use crate::slab::Handle;
use crate::token::{Kind, Token};
use crate::transaction::{
    MAX_ATTEMPTS, Origin, Record, Server, ServerState, ServerTimer, Shape, T1, TIMER_C, TIMER_C_STEP, Tries,
};

/// Whether a datagram may still be passed to a sibling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// From the network.
    First,
    /// From a sibling, that took it for ours.
    HandedOver,
}

/// What is to be done with a request; everything is decided before anything is changed.
struct Plan {
    hop: Hop,
    shape: Shape,
    record: Record,
    group: Option<switchtender_select::GroupSlot>,
    ends: Option<NodeSlot>,
}

/// A refusal, and under what it is counted.
type Refusal = (Reply, Counter);

impl Core {
    pub(crate) fn on_request<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        arrival: Arrival,
    ) {
        self.count(Counter::RequestsReceived);
        let Some(method) = message.method() else { return };
        let Some(fingerprint) = fingerprint::of_request(&self.config.secret, message) else { return };
        let known = self.by_fingerprint.get(&fingerprint).copied();
        if known.is_none() && arrival == Arrival::First && self.hand_over_to_owner(step, datagram, fingerprint) {
            return;
        }
        match (method, known) {
            (Method::Ack, known) => self.on_ack(step, datagram, message, known),
            (Method::Cancel, known) => self.on_cancel(step, datagram, message, known),
            (_, Some(server)) => {
                self.count(Counter::Retransmissions);
                self.transmit_response(step, server);
            }
            (_, None) => self.on_new(step, datagram, message, method, fingerprint),
        }
    }

    /// Passes a request to the sibling that has its transaction: the client changed its port, so the kernel gave the
    /// datagram to another worker. Whether that was so.
    fn hand_over_to_owner<N, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
        fingerprint: u128,
    ) -> bool {
        if self.config.workers < 2 {
            return false;
        }
        match step.output.owner(published(fingerprint)) {
            Some(worker) if worker != self.config.worker => {
                let passed = step.output.hand_over(worker, datagram);
                self.count(if passed { Counter::HandedOver } else { Counter::HandOversLost });
                true
            }
            _ => false,
        }
    }

    fn on_new<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        method: Method,
        fingerprint: u128,
    ) {
        match self.decide(step, datagram, message, method) {
            Ok(Some(plan)) => self.open(step, datagram, message, method, fingerprint, &plan),
            Ok(None) => self.count(Counter::DroppedOverload),
            Err((reply, counter)) => {
                self.count(counter);
                self.answer(step, datagram, message, reply);
            }
        }
    }

    /// Validation, Route preprocessing and target (RFC 3261 §16.3 to §16.5). Opens no transaction; refusals need none.
    /// `Ok(None)`: dropped.
    fn decide<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
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
        if uri.scheme == Scheme::Other {
            return Err((Reply::UNSUPPORTED_SCHEME, Counter::RejectedTarget));
        }
        if self.is_loop(message) {
            return Err((Reply::LOOP_DETECTED, Counter::RejectedLoop));
        }
        let in_dialog = message.to_tag().is_some();
        self.check_limits(method, in_dialog)?;
        if self.transactions() >= self.config.max_transactions.saturating_mul(2) {
            return Ok(None);
        }

        let request = self
            .preprocess(step.snapshot, datagram, message)
            .ok_or((Reply::BAD_REQUEST, Counter::MalformedAnswered))?;
        if in_dialog {
            return self.plan_in_dialog(step, datagram, message, method, &request).map(Some);
        }
        if let Found::Token(token @ Token { kind: Kind::Path, .. }) = request.token {
            return self.plan_along_path(step, datagram, message, method, &request, &token).map(Some);
        }
        let for_us = request.uri.user.is_none() && self.config.is_own(&request.uri, datagram.local_ip);
        if for_us && method != Method::Register {
            return Err(match method {
                Method::Options => (Reply::OPTIONS, Counter::OptionsAnswered),
                Method::Invite => (Reply::NOT_FOUND, Counter::RejectedTarget),
                _ => (Reply::METHOD_NOT_ALLOWED, Counter::RejectedTarget),
            });
        }
        self.plan_new(step, datagram, message, method, &request).map(Some)
    }

    pub(crate) fn preprocess<'a>(
        &mut self,
        snapshot: &Snapshot,
        datagram: &Datagram<'_>,
        message: &Message<'a>,
    ) -> Option<Preprocessed<'a>> {
        self.refresh_keys(snapshot);
        route::preprocess(&self.config, &mut self.keys, datagram, message)
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

    fn loop_hash(&self, message: &Message<'_>) -> crate::branch::LoopHash {
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

    pub(crate) fn random_seconds(&mut self, (least, most): (u16, u16)) -> u16 {
        let span = u64::from(most.saturating_sub(least)) + 1;
        least.saturating_add(u16::try_from(self.rng.below(span)).unwrap_or(0))
    }

    fn plan_in_dialog<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
    ) -> Result<Plan, Refusal> {
        let target = route::in_dialog(&self.config, step.snapshot, datagram, message, request);
        if self.token_was_refused(message, request) {
            self.count(Counter::TokensRefused);
        }
        let target = target.ok_or((Reply::NO_DIALOG, Counter::RejectedNoDialog))?;
        let (hop, shape) = self.hop_to(target, request.shape);
        if let Some(node) = hop.node {
            let essential = matches!(method, Method::Bye | Method::Prack);
            if !may_send_in_dialog(&step.nodes.load(node, step.now), essential) {
                let seconds = self.random_seconds((1, 3));
                return Err((Reply::unavailable(503, seconds), Counter::RejectedBudget));
            }
        }
        let ends = if method == Method::Bye { dialog_node(step.snapshot, datagram, request, &hop) } else { None };
        Ok(Plan { hop, shape, record: Record::Nothing, group: None, ends })
    }

    fn token_was_refused(&self, message: &Message<'_>, request: &Preprocessed<'_>) -> bool {
        match request.token {
            Found::Nothing => false,
            Found::Refused => true,
            Found::Token(token) => token.kind != Kind::Path && route::direction(&token, message).is_none(),
        }
    }

    /// The next hop to a target, which may change the shape of the request.
    pub(crate) fn hop_to(&mut self, target: Target, shape: Shape) -> (Hop, Shape) {
        let hop = |to, from, node| Hop { to, from, local_ip: None, node, legs: None, patience: None, timer_c: TIMER_C };
        match target {
            Target::Node { address, slot } => (hop(address, Local::Worker, slot), shape),
            Target::Caller { address, listener, strict, forced } => {
                if forced {
                    self.count(Counter::ForcedToFlow);
                }
                let shape = Shape { strict_next_hop: strict, ..shape };
                (hop(address, Local::Listener(listener), None), shape)
            }
        }
    }

    /// A node calls someone who registered through us (RFC 3327): only nodes may do that.
    fn plan_along_path<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
        token: &Token,
    ) -> Result<Plan, Refusal> {
        if !route::is_known_node(&self.config, step.snapshot, datagram.source.ip()) {
            return Err((Reply::FORBIDDEN, Counter::RejectedForeignPath));
        }
        let target = route::to_caller(&self.config, request, token, true);
        let (hop, shape) = self.hop_to(target, request.shape);
        let record = if begins_dialog(method, message) {
            Record::FromNode(token.caller, token.listener)
        } else {
            Record::Nothing
        };
        Ok(Plan { hop, shape, record, group: None, ends: None })
    }

    fn plan_new<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
    ) -> Result<Plan, Refusal> {
        let mut room = [0; 48];
        let call = Call {
            method: message.method_text().unwrap_or_default(),
            user: request.uri.user,
            host: host_text(request.uri.host, &mut room),
            source: datagram.source.ip(),
        };
        let group = step.snapshot.group_for(&call).ok_or((Reply::NOT_FOUND, Counter::RejectedTarget))?;
        let node = match self.challenger(step, group, message) {
            Some(node) => Ok(node),
            None => self.choose(step, group, &[]),
        };
        let is_call = method == Method::Invite;
        if is_call {
            self.counters.count_outcome(group.slot, Outcome::Offered);
        }
        let node = node.map_err(|why| (self.no_room(group, is_call, why), Counter::RejectedOverLimit))?;
        let hop =
            hop_to_node(step.snapshot, group, node, is_call).ok_or((Reply::SERVER_ERROR, Counter::RejectedTarget))?;
        let reach = route::reach(&self.config, datagram, message);
        let record = match method {
            Method::Register => Record::Path(reach),
            _ if begins_dialog(method, message) => Record::FromCaller(reach),
            _ => Record::Nothing,
        };
        Ok(Plan { hop, shape: request.shape, record, group: Some(group.slot), ends: None })
    }

    /// The node that challenged this Call-ID, when the request brings credentials and the node may take it.
    fn challenger<N: Nodes, O>(
        &mut self,
        step: &Step<'_, N, O>,
        group: &Group,
        message: &Message<'_>,
    ) -> Option<NodeSlot> {
        let credentials = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
        if !credentials.into_iter().any(|name| message.first(name).is_some()) {
            return None;
        }
        let node = self.challenges.node(fingerprint::of_call_id(&self.config.secret, message), step.now)?;
        let member = group.members.iter().find(|member| member.slot == node)?;
        let (_, verdict) = judge(group, member, &step.nodes.load(node, step.now), step.now);
        (verdict == Verdict::Eligible).then(|| {
            self.count(Counter::Challenged);
            node
        })
    }

    pub(crate) fn choose<N: Nodes, O>(
        &mut self,
        step: &Step<'_, N, O>,
        group: &Group,
        tried: &[NodeSlot],
    ) -> Result<NodeSlot, NoNode> {
        let cursor = Self::cursor(&mut self.cursors, group.slot);
        choose(group, step.nodes, tried, step.now, &mut self.rng, cursor).map(|choice| choice.slot)
    }

    /// The answer when no node can take it: the configured status with a small random Retry-After (design: never a
    /// node's own).
    pub(crate) fn no_room(&mut self, group: &Group, is_call: bool, why: NoNode) -> Reply {
        let full = matches!(why, NoNode::Full | NoNode::RateLimited | NoNode::Cooling);
        if is_call {
            let outcome = if full { Outcome::RejectedFull } else { Outcome::RejectedNoneReady };
            self.counters.count_outcome(group.slot, outcome);
        }
        let seconds = self.random_seconds(group.over_limit.retry_after_s);
        Reply::unavailable(group.over_limit.status, seconds)
    }

    /// Opens the server transaction and sends the request on.
    fn open<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        method: Method,
        fingerprint: u128,
        plan: &Plan,
    ) {
        let Some(origin) = reply::origin(&self.config, datagram, message) else { return };
        self.changing = true;
        let Some(handle) = self.insert_server(message, method, fingerprint, origin, step.now, plan) else { return };
        self.by_fingerprint.insert(fingerprint, handle);
        step.output.publish(published(fingerprint));
        if let (Some(node), None) = (plan.ends, plan.hop.node)
            && is_shutdown(message)
        {
            step.output.event(Event::ShutdownSeen { node });
        }
        if method == Method::Invite {
            // RFC 3261 §16.2: a stateful proxy answers 100 within 200 ms; at once is within.
            self.respond_provisionally(step, handle, message, Reply::TRYING);
        }
        if !self.launch(step, handle, message, &plan.hop) {
            self.finish_with(step, handle, Reply::TOO_LARGE);
        }
    }

    fn insert_server(
        &mut self,
        message: &Message<'_>,
        method: Method,
        fingerprint: u128,
        origin: Origin,
        now: switchtender_select::Time,
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
            ends: plan.ends,
            current: None,
            clients: [None; MAX_ATTEMPTS],
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

/// Whether a request without a To tag begins a dialog that we must stay on the path of.
fn begins_dialog(method: Method, message: &Message<'_>) -> bool {
    message.to_tag().is_none() && matches!(method, Method::Invite | Method::Subscribe | Method::Refer)
}

/// The next hop of a new request.
pub(crate) fn hop_to_node(snapshot: &Snapshot, group: &Group, slot: NodeSlot, is_call: bool) -> Option<Hop> {
    let failover = &group.failover;
    Some(Hop {
        to: snapshot.node(slot)?.sip,
        from: Local::Worker,
        local_ip: None,
        node: Some(slot),
        legs: is_call.then_some(group.legs_per_call),
        patience: Some((failover.first_response_timeout, failover.progress_timeout)),
        timer_c: group.timer_c + TIMER_C_STEP,
    })
}

/// The node that carries the dialog of a request.
fn dialog_node(
    snapshot: &Snapshot,
    datagram: &Datagram<'_>,
    request: &Preprocessed<'_>,
    hop: &Hop,
) -> Option<NodeSlot> {
    hop.node.or_else(|| match request.token {
        Found::Token(token) => snapshot.node_at(token.node),
        _ => snapshot.node_at(datagram.source),
    })
}

fn host_text<'a>(host: Host<'a>, room: &'a mut [u8; 48]) -> &'a [u8] {
    match host {
        Host::Name(name) => name,
        Host::Ip(ip) => {
            let mut writer = switchtender_sip::Output::new(room);
            // The longest address fits.
            let _ = writer.plain_ip(ip);
            writer.into_written()
        }
    }
}
