//! Where a request is to go: in its dialog, along a Path, or to a node of the group that it matches (RFC 3261 §16.5).
//!
//! Decides and changes nothing, but for whose turn it is.

use std::time::Duration;

use switchtender_select::{
    Admission, Group, GroupSlot, NoNode, NodeSlot, Nodes, ResourceSet, Snapshot, Time, Transport, Verdict, Wanted,
    judge, may_send_in_dialog,
};
use switchtender_sip::{HeaderName, Message, Method};

use crate::core::{Core, Step};
use crate::counters::{Counter, Outcome};
use crate::egress;
use crate::ended::Ending;
use crate::fingerprint;
use crate::forward::Hop;
use crate::named;
use crate::output::{Decision, Flow, Local, Output, Packet};
use crate::placing::{CallKey, Placed};
use crate::reply::Reply;
use crate::route::{self, Found, Preprocessed, Target};
use crate::token::{Kind, Token};
use crate::transaction::{Record, Search, Shape, TIMER_C, TIMER_C_STEP};
use crate::view::View;

/// For so long a challenged attempt is taken to count as a session at its node: the next report, after which it does
/// not, is never much further away.
const ATTEMPT_REMEMBERED: Duration = Duration::from_secs(1);

/// What is to be done with a request; everything is decided before anything is changed.
pub(crate) struct Plan {
    pub(crate) way: Way,
    pub(crate) shape: Shape,
    pub(crate) record: Record,
    pub(crate) group: Option<GroupSlot>,
    pub(crate) search: Search,
    pub(crate) wanted: Wanted,
    pub(crate) call: CallKey,
    /// The call that a BYE ends.
    pub(crate) ends: Option<Ending>,
    /// The node that makes this call to the outside and that it is counted at.
    pub(crate) outward: Option<NodeSlot>,
}

/// What becomes of a request at first.
#[allow(clippy::large_enum_variant)] // the large one is what is needed, nearly always
pub(crate) enum Way {
    /// It goes there.
    Send(Hop),
    /// It waits for a node, so long at most.
    Wait(Time),
}

impl Plan {
    /// To one place and no other.
    pub(crate) fn to(hop: Hop, shape: Shape) -> Self {
        Self {
            way: Way::Send(hop),
            shape,
            record: Record::Nothing,
            group: None,
            search: Search::Nowhere,
            wanted: Wanted::default(),
            call: CallKey::default(),
            ends: None,
            outward: None,
        }
    }
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
        if token_was_refused(request) {
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
        let token = request.dialog_token();
        let holds = token.is_some_and(|token| token.resources != 0);
        let node = match method {
            // Calls of a group without transactions were never counted.
            Method::Bye if !is_of_no_group(request) => dialog_node(step.snapshot, packet, message, request, &hop),
            _ => None,
        };
        let ends = node.map(|node| Ending {
            node,
            call: fingerprint::of_call_id(&self.config.secret, message),
            counts: token.is_none_or(|token| counts(step.snapshot, token, message)),
            holds,
        });
        if matches!(method, Method::Invite | Method::Update) {
            // RFC 4028: what refreshes the session shows that it stands.
            self.refresh_call(step.now, message);
        }
        Ok(Plan { ends, ..Plan::to(hop, shape) })
    }

    /// The next hop to a target, which may change the shape of the request. `None`: there is no way to it any more.
    pub(crate) fn hop_to(&mut self, target: Target, shape: Shape) -> Option<(Hop, Shape)> {
        let hop = |flow, otherwise, node| {
            let large = Transport::Udp;
            Hop { flow, otherwise, large, node, chosen_of: None, legs: None, patience: None, timer_c: TIMER_C }
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
        let target = route::to_caller(&self.config, step.snapshot, request, token, true);
        let (hop, shape) =
            self.hop_to(target, request.shape).ok_or((Reply::FLOW_FAILED, Counter::RejectedFlowFailed))?;
        let record = if begins_dialog(method, message) {
            Record::FromNode(token.caller, token.listener, token.group)
        } else {
            Record::Nothing
        };
        let group = group_of(step.snapshot, token.group).filter(|group| egress::counts_outward(group));
        let node = route::node_of(step.snapshot, &packet.flow, message).filter(|_| method == Method::Invite);
        let call = CallKey::of(&self.config.secret, message);
        Ok(Plan { record, call, outward: group.and(node).map(|node| node.slot), ..Plan::to(hop, shape) })
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
        let named = named.and_then(|node| {
            Some((named::group_of(snapshot, matched.as_ref().map(|matched| matched.group), node)?, node))
        });
        let group = match (&named, &matched) {
            (Some((group, _)), _) => *group,
            (None, Some(matched)) => matched.group,
            (None, None) => return Err((Reply::NOT_FOUND, Counter::RejectedTarget)),
        };
        let wanted = Wanted {
            hash: group.hash_key(&view),
            // Only calls hold something for longer than a transaction.
            resources: matched.as_ref().filter(|_| is_call).map_or(ResourceSet::EMPTY, |matched| matched.resources),
            emergency: matched.as_ref().is_some_and(|matched| matched.emergency),
        };
        let call = CallKey::of(&self.config.secret, message);
        let (placed, search) = if let Some((group, node)) = named {
            self.count(Counter::NamedDialog);
            // What it replaces goes as soon as it stands, so it is not held to the limits.
            let may = named::may_take(step, group, node) && self.claim(step, (group, node), &wanted, call, false);
            let placed = if may { Ok(Placed { group: group.index, node }) } else { Err(NoNode::Full) };
            (placed, Search::Nowhere)
        } else if method == Method::Register {
            let key = view.address_of_record();
            let node = Self::home(step, group, key, &[]);
            (node.map(|node| Placed { group: group.index, node }), Search::Home(key))
        } else {
            let challenger = self.challenger(step, group, message);
            let challenger = challenger.filter(|node| self.claim(step, (group, *node), &wanted, call, true));
            let placed = match challenger {
                Some(node) => Ok(Placed { group: group.index, node }),
                // Who comes now is not to overtake those that wait.
                None if is_call && self.is_queued(group) => Err(NoNode::RateLimited),
                None => self.place(step, group, &wanted, call, &[]),
            };
            (placed, Search::Nodes)
        };
        let reach = route::reach(&self.config, packet, message);
        let record = match method {
            Method::Register => Record::Path(reach),
            _ if begins_dialog(method, message) => Record::FromCaller(reach),
            _ => Record::Nothing,
        };
        let plan = |way, group: &Group| Plan {
            way,
            shape: request.shape,
            record,
            group: Some(group.slot),
            search,
            wanted,
            call,
            ends: None,
            outward: None,
        };
        let placed = match placed {
            Err(why) if is_call && search == Search::Nodes && self.may_wait(group, why) => {
                self.counters.count_outcome(group.slot, Outcome::Offered);
                step.output.decided(packet.bytes, &Decision::Held { group: group.slot, why });
                return Ok(plan(Way::Wait(step.now + group.queue), group));
            }
            placed => placed,
        };
        // After a spill, all that follows is the other group's.
        let there = placed.as_ref().ok().and_then(|placed| snapshot.groups.get(placed.group)).unwrap_or(group);
        if is_call {
            if there.index != group.index {
                self.counters.count_outcome(group.slot, Outcome::Spilled);
            }
            self.counters.count_outcome(there.slot, Outcome::Offered);
        }
        let placed = placed.map_err(|why| {
            step.output.decided(packet.bytes, &Decision::Refused { group: group.slot, why });
            (self.no_room(group, is_call, why), Counter::RejectedOverLimit)
        })?;
        let hop = hop_to_node(snapshot, there, placed.node, is_call);
        let mut hop = hop.ok_or((Reply::SERVER_ERROR, Counter::RejectedTarget))?;
        if search == Search::Nowhere {
            hop.patience = None;
        }
        Ok(plan(Way::Send(hop), there))
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
        chosen_of: Some(group.slot),
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

/// Whether the end of this token's dialog counts at its node: if its beginning did.
fn counts(snapshot: &Snapshot, token: &Token, message: &Message<'_>) -> bool {
    !route::is_begun_by_node(token, message) || group_of(snapshot, token.group).is_some_and(egress::counts_outward)
}

/// The group that a token names.
fn group_of(snapshot: &Snapshot, hash: u32) -> Option<&Group> {
    snapshot.groups.iter().find(|group| fingerprint::of_group(&group.namespace, &group.name) == hash)
}

fn token_was_refused(request: &Preprocessed<'_>) -> bool {
    match request.token {
        Found::Nothing => false,
        Found::Refused => true,
        Found::Token(token) => token.kind != Kind::Path && request.direction.is_none(),
    }
}
