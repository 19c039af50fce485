//! Where a request is to go: in its dialog, along a Path, or to a node of the group that it matches (RFC 3261 §16.5).
//!
//! Decides and changes nothing, but for whose turn it is.

use std::time::Duration;

use switchtender_select::{
    Admission, Group, GroupSlot, Matched, NoNode, NodeSlot, Nodes, Snapshot, Transport, Verdict, Wanted, judge,
    may_send_in_dialog, place,
};
use switchtender_sip::{HeaderName, Message, Method};

use crate::core::{Core, Step};
use crate::counters::{Counter, Outcome};
use crate::ended::Ending;
use crate::fingerprint;
use crate::forward::Hop;
use crate::named;
use crate::output::{Flow, Local, Output, Packet};
use crate::reply::Reply;
use crate::route::{self, Found, Preprocessed, Target};
use crate::token::{Kind, Token};
use crate::transaction::{Record, Shape, TIMER_C, TIMER_C_STEP};
use crate::view::View;

/// For so long a challenged attempt is taken to count as a session at its node: the next report, after which it does
/// not, is never much further away.
const ATTEMPT_REMEMBERED: Duration = Duration::from_secs(1);

/// What is to be done with a request; everything is decided before anything is changed.
pub(crate) struct Plan {
    pub(crate) hop: Hop,
    pub(crate) shape: Shape,
    pub(crate) record: Record,
    pub(crate) group: Option<GroupSlot>,
    /// The call that a BYE ends.
    pub(crate) ends: Option<Ending>,
    /// No other node will do.
    pub(crate) pinned: bool,
}

/// A refusal, and under what it is counted.
pub(crate) type Refusal = (Reply, Counter);

impl Core {
    pub(crate) fn random_seconds(&mut self, (least, most): (u16, u16)) -> u16 {
        let span = u64::from(most.saturating_sub(least)) + 1;
        least.saturating_add(u16::try_from(self.rng.below(span)).unwrap_or(0))
    }

    pub(crate) fn plan_in_dialog<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
    ) -> Result<Plan, Refusal> {
        let target = route::in_dialog(&self.config, step.snapshot, packet, message, request);
        if token_was_refused(message, request) {
            self.count(Counter::TokensRefused);
        }
        let target = target.ok_or((Reply::NO_DIALOG, Counter::RejectedNoDialog))?;
        let (hop, shape) =
            self.hop_to(target, request.shape).ok_or((Reply::FLOW_FAILED, Counter::RejectedFlowFailed))?;
        if let Some(node) = hop.node {
            let essential = matches!(method, Method::Bye | Method::Prack);
            if !may_send_in_dialog(&step.nodes.load(node, step.now), essential) {
                let seconds = self.random_seconds((1, 3));
                return Err((Reply::unavailable(503, seconds), Counter::RejectedBudget));
            }
        }
        let node = match method {
            // Calls of a group without transactions were never counted.
            Method::Bye if !is_of_no_group(request) => dialog_node(step.snapshot, packet, message, request, &hop),
            _ => None,
        };
        let ends = node.map(|node| Ending { node, call: fingerprint::of_call_id(&self.config.secret, message) });
        Ok(Plan { hop, shape, record: Record::Nothing, group: None, ends, pinned: false })
    }

    /// The next hop to a target, which may change the shape of the request. `None`: there is no way to it any more.
    pub(crate) fn hop_to(&mut self, target: Target, shape: Shape) -> Option<(Hop, Shape)> {
        let hop = |flow, otherwise, node| {
            let large = Transport::Udp;
            Hop { flow, otherwise, large, node, legs: None, patience: None, timer_c: TIMER_C }
        };
        match target {
            Target::Node { address, transport, large, slot } => {
                let flow = Flow { transport, ..Flow::udp(Local::Worker, None, address) };
                Some((Hop { large, ..hop(flow, None, slot) }, shape))
            }
            Target::Caller { flow, otherwise, strict, forced } => {
                if forced {
                    self.count(Counter::ForcedToFlow);
                }
                let shape = Shape { strict_next_hop: strict, ..shape };
                Some((hop(flow, otherwise, None), shape))
            }
            Target::Gone => None,
        }
    }

    /// A node calls someone who registered through us (RFC 3327): only nodes may do that.
    pub(crate) fn plan_along_path<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
        token: &Token,
    ) -> Result<Plan, Refusal> {
        if !route::is_known_node(&self.config, step.snapshot, packet.flow.peer.ip()) {
            return Err((Reply::FORBIDDEN, Counter::RejectedForeignPath));
        }
        let target = route::to_caller(&self.config, request, token, true);
        let (hop, shape) =
            self.hop_to(target, request.shape).ok_or((Reply::FLOW_FAILED, Counter::RejectedFlowFailed))?;
        let record = if begins_dialog(method, message) {
            Record::FromNode(token.caller, token.listener)
        } else {
            Record::Nothing
        };
        Ok(Plan { hop, shape, record, group: None, ends: None, pinned: false })
    }

    pub(crate) fn plan_new<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
    ) -> Result<Plan, Refusal> {
        let view = View::new(message, &request.uri, &packet.flow);
        let snapshot = step.snapshot;
        let matched = snapshot.classify(&view);
        let is_call = method == Method::Invite;
        let named = if is_call { self.named_node(step, message) } else { None };
        let pinned =
            named.and_then(|node| Some((named::group_of(snapshot, matched.map(|matched| matched.group), node)?, node)));
        let (group, node) = if let Some((group, node)) = pinned {
            self.count(Counter::NamedDialog);
            (group, if named::may_take(step, group, node) { Ok(node) } else { Err(NoNode::Full) })
        } else {
            let Matched { group, resources, emergency, .. } =
                matched.ok_or((Reply::NOT_FOUND, Counter::RejectedTarget))?;
            let wanted = Wanted { hash: group.hash_key(&view), resources, emergency };
            let challenger = self.challenger(step, group, message);
            (group, challenger.map_or_else(|| self.place(step, group, &wanted, &[]), Ok))
        };
        if is_call {
            self.counters.count_outcome(group.slot, Outcome::Offered);
        }
        let node = node.map_err(|why| (self.no_room(group, is_call, why), Counter::RejectedOverLimit))?;
        let mut hop =
            hop_to_node(snapshot, group, node, is_call).ok_or((Reply::SERVER_ERROR, Counter::RejectedTarget))?;
        if pinned.is_some() {
            // Nobody is there to go on to.
            hop.patience = None;
        }
        let reach = route::reach(&self.config, packet, message);
        let record = match method {
            Method::Register => Record::Path(reach),
            _ if begins_dialog(method, message) => Record::FromCaller(reach),
            _ => Record::Nothing,
        };
        Ok(Plan { hop, shape: request.shape, record, group: Some(group.slot), ends: None, pinned: pinned.is_some() })
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
        let (node, age) = self.challenges.node(fingerprint::of_call_id(&self.config.secret, message), step.now)?;
        let member = group.members.iter().find(|member| member.slot == node)?;
        let mut load = step.nodes.load(node, step.now);
        if age < ATTEMPT_REMEMBERED {
            // The attempt that was challenged still counts as a session, and this is the same call; where nothing is
            // reported it was given back.
            if load.admission != Admission::Unmeasured {
                load.assigned = load.assigned.saturating_sub(1);
            }
            // Nor is it unreachable, whatever the control side cannot see.
            if load.admission == Admission::Unreachable {
                load.admission = if load.max_sessions > 0.0 { Admission::Open } else { Admission::Unmeasured };
            }
        }
        let (_, verdict) = judge(group, member, &load, step.now);
        (verdict == Verdict::Eligible).then(|| {
            self.count(Counter::Challenged);
            node
        })
    }

    pub(crate) fn place<N: Nodes, O>(
        &mut self,
        step: &Step<'_, N, O>,
        group: &Group,
        wanted: &Wanted,
        tried: &[NodeSlot],
    ) -> Result<NodeSlot, NoNode> {
        let (rng, memory) = (&mut self.rng, &mut self.memory);
        place(step.snapshot, group, wanted, step.nodes, tried, step.now, rng, memory).map(|placement| placement.slot)
    }

    /// The answer when no node can take it: the configured status with a small random Retry-After (design: never a
    /// node's own).
    pub(crate) fn no_room(&mut self, group: &Group, is_call: bool, why: NoNode) -> Reply {
        let full = matches!(why, NoNode::Full | NoNode::Resource | NoNode::RateLimited | NoNode::Cooling);
        if is_call {
            let outcome = if full { Outcome::RejectedFull } else { Outcome::RejectedNoneReady };
            self.counters.count_outcome(group.slot, outcome);
        }
        let seconds = self.random_seconds(group.over_limit.retry_after_s);
        Reply::unavailable(group.over_limit.status, seconds)
    }
}

/// Whether a request without a To tag begins a dialog that we must stay on the path of.
pub(crate) fn begins_dialog(method: Method, message: &Message<'_>) -> bool {
    message.to_tag().is_none() && matches!(method, Method::Invite | Method::Subscribe | Method::Refer)
}

/// The next hop of a new request.
pub(crate) fn hop_to_node(snapshot: &Snapshot, group: &Group, slot: NodeSlot, is_call: bool) -> Option<Hop> {
    let failover = &group.failover;
    let target = snapshot.node(slot)?;
    Some(Hop {
        flow: Flow { transport: target.transport, ..Flow::udp(Local::Worker, None, target.sip) },
        otherwise: None,
        large: group.large_requests,
        node: Some(slot),
        legs: is_call.then_some(group.legs_per_call),
        patience: Some((failover.first_response_timeout, failover.progress_timeout)),
        timer_c: group.timer_c + TIMER_C_STEP,
    })
}

/// The node that carries the dialog of a request.
fn dialog_node(
    snapshot: &Snapshot,
    packet: &Packet<'_>,
    message: &Message<'_>,
    request: &Preprocessed<'_>,
    hop: &Hop,
) -> Option<NodeSlot> {
    hop.node.or_else(|| match request.token {
        Found::Token(token) => snapshot.node_at(token.node),
        _ => snapshot.node_at(route::endpoint(&packet.flow, message)),
    })
}

fn is_of_no_group(request: &Preprocessed<'_>) -> bool {
    matches!(request.token, Found::Token(Token { group: 0, .. }))
}

fn token_was_refused(message: &Message<'_>, request: &Preprocessed<'_>) -> bool {
    match request.token {
        Found::Nothing => false,
        Found::Refused => true,
        Found::Token(token) => token.kind != Kind::Path && route::direction(&token, message).is_none(),
    }
}
