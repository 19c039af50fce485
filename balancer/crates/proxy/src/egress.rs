//! Calls that nodes make to the outside (`egress`): who may, where they leave to, and what they count.
//!
//! A request that comes from the side of the nodes and belongs to no dialog and no Path goes out as the first group says
//! that its node is a member of and that has an egress; there is no other way out. What a node may not do is refused with
//! 403, so nobody uses us to reach others, even with a node's address.
//!
//! Such a call is a session of its node already, and stands in the node's next report. Until then it is counted as one
//! assigned call where `legsPerCall` is 1. Where it is more, a call that came in was counted with the legs that leave
//! again, and counting those once more would make the node look fuller than it is.

use std::net::SocketAddr;
use std::time::Duration;

use switchtender_select::{
    EgressTo, Group, Network, NextHop, Node, Nodes, Rng, Snapshot, Time, Transport, Wanted, canonical, canonical_socket,
};
use switchtender_sip::{Message, Method};

use crate::core::{Core, Step};
use crate::counters::{Counter, Outcome};
use crate::forward::Hop;
use crate::output::{Decision, Flow, Local, Output, Packet};
use crate::placing::CallKey;
use crate::plan::{Plan, Refusal, begins_dialog, hop_to_node};
use crate::reply::Reply;
use crate::route::{self, Preprocessed};
use crate::transaction::{Record, Search, TIMER_C_STEP};

const FORBIDDEN: Refusal = (Reply::FORBIDDEN, Counter::RejectedOutward);
/// A next hop that failed is tried after the others for so long.
const AVOIDED: Duration = Duration::from_secs(10);
/// So many are remembered at most.
const MOST_TROUBLES: usize = 64;

/// Next hops that failed of late, in one worker.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    until: Vec<(SocketAddr, Time)>,
}

impl Troubles {
    fn note(&mut self, peer: SocketAddr, now: Time) {
        self.until.retain(|(known, until)| *until > now && *known != peer);
        if self.until.len() == MOST_TROUBLES {
            self.until.remove(0);
        }
        self.until.push((peer, now + AVOIDED));
    }

    fn is_avoided(&self, peer: SocketAddr, now: Time) -> bool {
        self.until.iter().any(|(known, until)| *known == peer && now < *until)
    }
}

/// Whether a request outside of dialogs comes from the side of the nodes.
pub(crate) fn is_outward(has_node_side: bool, snapshot: &Snapshot, flow: &Flow, message: &Message<'_>) -> bool {
    match flow.local {
        Local::NodeSide | Local::Worker => true,
        // Where one socket serves both sides, callers may live beside nodes: only the exact endpoint tells.
        Local::Listener(_) => !has_node_side && snapshot.node_at(route::endpoint(flow, message)).is_some(),
    }
}

/// The first group that the node is a member of and that lets calls out.
fn group_of<'a>(snapshot: &'a Snapshot, node: &Node) -> Option<&'a Group> {
    snapshot.groups.iter().find(|group| group.egress.is_some() && group.member(node.slot).is_some())
}

/// Whether calls that the nodes of this group make to the outside are counted at them.
pub(crate) fn counts_outward(group: &Group) -> bool {
    group.legs_per_call <= 1
}

impl Core {
    /// Where a request of a node outside of dialogs goes.
    pub(crate) fn plan_outward<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
    ) -> Result<Plan, Refusal> {
        let snapshot = step.snapshot;
        let node = route::node_of(snapshot, &packet.flow, message).filter(|node| !node.removed).ok_or(FORBIDDEN)?;
        let group = group_of(snapshot, node).ok_or(FORBIDDEN)?;
        let Some(egress) = &group.egress else { return Err(FORBIDDEN) };
        let is_call = method == Method::Invite;
        let (hop, search) = match &egress.to {
            EgressTo::NextHops(hops) => self.next_hop(step.now, group, egress.listener, hops, 0).ok_or(FORBIDDEN)?,
            EgressTo::RequestUri(networks) => {
                let flow =
                    self.literal_target(snapshot, packet, request, networks, egress.listener).ok_or(FORBIDDEN)?;
                (outward_hop(group, flow, false), Search::Nowhere)
            }
            EgressTo::Group(other) => {
                let other = snapshot.groups.get(*other).ok_or(FORBIDDEN)?;
                return self.plan_to_group(step, packet, message, method, request, other);
            }
        };
        if is_call {
            self.counters.count_outcome(group.slot, Outcome::Outward);
        }
        let record = if begins_dialog(method, message) { Record::Outward } else { Record::Nothing };
        Ok(Plan {
            record,
            group: Some(group.slot),
            search,
            outward: (is_call && counts_outward(group)).then_some(node.slot),
            call: CallKey::of(&self.config.secret, message),
            ..Plan::to(hop, request.shape)
        })
    }

    /// From one group's node to another group's: a call there like any other.
    fn plan_to_group<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        packet: &Packet<'_>,
        message: &Message<'_>,
        method: Method,
        request: &Preprocessed<'_>,
        group: &Group,
    ) -> Result<Plan, Refusal> {
        let view = crate::view::View::new(message, &request.uri, &packet.flow);
        let wanted = Wanted { hash: group.hash_key(&view), ..Wanted::default() };
        let is_call = method == Method::Invite;
        if is_call {
            self.counters.count_outcome(group.slot, Outcome::Offered);
        }
        let call = CallKey::of(&self.config.secret, message);
        let placed = self.place(step, group, &wanted, call, &[]);
        let placed = placed.map_err(|why| {
            step.output.decided(packet.bytes, &Decision::Refused { group: group.slot, why });
            (self.no_room(group, is_call, why), Counter::RejectedOverLimit)
        })?;
        let hop = step.snapshot.groups.get(placed.group);
        let hop = hop.and_then(|there| hop_to_node(step.snapshot, there, placed.node, is_call));
        let hop = hop.ok_or((Reply::SERVER_ERROR, Counter::RejectedTarget))?;
        let reach = route::reach(&self.config, packet, message);
        let record = if begins_dialog(method, message) { Record::FromCaller(reach) } else { Record::Nothing };
        let plan = Plan::to(hop, request.shape);
        Ok(Plan { record, group: Some(group.slot), search: Search::Nodes, wanted, call, ..plan })
    }

    /// The next hop that is to be tried now, and what there is to try after it. `tried`: one bit for each.
    pub(crate) fn next_hop(
        &mut self,
        now: Time,
        group: &Group,
        listener: u16,
        hops: &[NextHop],
        tried: u64,
    ) -> Option<(Hop, Search)> {
        let index = pick(hops, tried, &self.troubles, now, &mut self.rng)?;
        let hop = hops.get(index)?;
        let tried = tried | 1_u64.checked_shl(u32::try_from(index).ok()?)?;
        let flow = Flow {
            local: Local::Listener(listener),
            local_ip: None,
            peer: hop.address,
            transport: hop.transport,
            connection: None,
        };
        Some((outward_hop(group, flow, true), Search::NextHops(tried)))
    }

    /// The literal address in the Request-URI, if nodes may call there: within the networks, not one of ours nor at
    /// another node, and where it ends at our host or link, only if the network does so, too.
    fn literal_target(
        &self,
        snapshot: &Snapshot,
        packet: &Packet<'_>,
        request: &Preprocessed<'_>,
        networks: &[Network],
        listener: u16,
    ) -> Option<Flow> {
        let (peer, transport) = route::address_of(&request.uri)?;
        let is_meant = |network: &&Network| !route::is_confined(peer.ip()) || route::is_confined(network.address());
        let is_allowed = networks.iter().filter(is_meant).any(|network| network.contains(peer.ip()));
        let is_neighbor = snapshot.node_by_ip(peer.ip()) && canonical(packet.flow.peer.ip()) != peer.ip();
        let is_ours = self.config.is_own(&request.uri, packet.flow.local_ip) || snapshot.node_at(peer).is_some();
        (is_allowed && !is_ours && !is_neighbor)
            .then(|| Flow { transport, ..Flow::udp(Local::Listener(listener), None, peer) })
    }

    /// A next hop failed: others first, for a while.
    pub(crate) fn note_trouble(&mut self, now: Time, peer: SocketAddr) {
        self.troubles.note(canonical_socket(peer), now);
    }
}

/// Which next hop: of those that were not tried, one that gave no trouble of late if there is one, highest priority first,
/// by weight among equals.
fn pick(hops: &[NextHop], tried: u64, troubles: &Troubles, now: Time, rng: &mut Rng) -> Option<usize> {
    let untried = |index: usize| {
        let bits = u32::try_from(index).ok().and_then(|index| tried.checked_shr(index));
        bits.is_some_and(|bits| bits & 1 == 0)
    };
    let candidates = |calm: bool| {
        hops.iter().enumerate().filter(move |(index, hop)| {
            untried(*index) && (!calm || !troubles.is_avoided(canonical_socket(hop.address), now))
        })
    };
    let calm = candidates(true).next().is_some();
    let first = candidates(calm).map(|(_, hop)| hop.priority).max()?;
    let tier = || candidates(calm).filter(|(_, hop)| hop.priority == first);
    let total: f64 = tier().map(|(_, hop)| hop.weight.max(0.0)).sum();
    let mut draw = rng.unit_f64() * total;
    let drawn = tier().find(|(_, hop)| {
        draw -= hop.weight.max(0.0);
        draw < 0.0
    });
    // Without any weight, or past the last one by rounding: the first.
    drawn.or_else(|| tier().next()).map(|(index, _)| index)
}

fn outward_hop(group: &Group, flow: Flow, may_go_on: bool) -> Hop {
    let failover = &group.failover;
    Hop {
        flow,
        otherwise: None,
        large: Transport::Udp,
        node: None,
        chosen_of: None,
        legs: None,
        patience: may_go_on.then_some((failover.first_response_timeout, failover.progress_timeout)),
        timer_c: group.timer_c + TIMER_C_STEP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(address: &str, priority: i32, weight: f64) -> NextHop {
        NextHop { address: address.parse().unwrap(), transport: Transport::Udp, priority, weight }
    }

    #[test]
    fn next_hops_go_by_priority_then_weight_and_what_failed_comes_last() {
        let hops = [hop("192.0.2.1:5060", 0, 1.0), hop("192.0.2.2:5060", 10, 3.0), hop("192.0.2.3:5060", 10, 1.0)];
        let mut troubles = Troubles::default();
        let (mut rng, now) = (Rng::new(1), Time::from_secs(100));
        let mut counts = [0; 3];
        for _ in 0..4000 {
            counts[pick(&hops, 0, &troubles, now, &mut rng).unwrap()] += 1;
        }
        assert_eq!(counts[0], 0, "{counts:?}");
        assert!((2850..3150).contains(&counts[1]), "{counts:?}");
        assert_eq!(pick(&hops, 0b010, &troubles, now, &mut rng), Some(2));
        assert_eq!(pick(&hops, 0b110, &troubles, now, &mut rng), Some(0));
        assert_eq!(pick(&hops, 0b111, &troubles, now, &mut rng), None);
        troubles.note(hops[1].address, now);
        troubles.note(hops[2].address, now);
        assert_eq!(pick(&hops, 0, &troubles, now, &mut rng), Some(0));
        assert_eq!(pick(&hops, 0b001, &troubles, now + AVOIDED, &mut rng).map(|index| index > 0), Some(true));
        troubles.note(hops[0].address, now);
        assert!(
            pick(&hops, 0, &troubles, now, &mut rng).is_some_and(|index| index > 0),
            "all failed: by priority again"
        );
    }

    #[test]
    fn weightless_next_hops_are_taken_where_there_is_no_other() {
        let hops = [hop("192.0.2.1:5060", 0, 0.0), hop("192.0.2.2:5060", 0, 0.0)];
        assert_eq!(pick(&hops, 0, &Troubles::default(), Time::ZERO, &mut Rng::new(1)), Some(0));
    }

    #[test]
    fn troubles_are_bounded() {
        let mut troubles = Troubles::default();
        for port in 1..1000 {
            troubles.note(SocketAddr::from(([192, 0, 2, 1], port)), Time::from_secs(1));
        }
        assert_eq!(troubles.until.len(), MOST_TROUBLES);
    }
}
