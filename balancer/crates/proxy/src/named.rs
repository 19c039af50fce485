//! New calls that name another dialog: INVITE with Replaces (RFC 3891) or Join (RFC 3911).
//!
//! Only the node that carries that dialog can do what is asked, so the call goes there, whatever the load of others, and
//! to no other one afterwards. Where nobody remembers the dialog it is a call like any other.

use switchtender_select::{Group, NodeSlot, Nodes, Snapshot, Verdict, judge};
use switchtender_sip::Message;

use crate::core::{Core, Step};
use crate::fingerprint;
use crate::output::Output;
use crate::slab::Handle;
use crate::view::field;

impl Core {
    /// The node that answers a call carries it from now on.
    pub(crate) fn remember_call<N: Nodes, O: Output>(
        &self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        message: &Message<'_>,
    ) {
        let Some(client) = self.clients.get(handle) else { return };
        let caller =
            || self.servers.get(client.server).and_then(|server| step.snapshot.node_at(server.origin.flow.peer));
        if let Some(node) = client.node.or_else(caller) {
            step.output.remember_call(fingerprint::of_call_id(&self.config.secret, message), node);
        }
    }

    /// The node of the dialog that this INVITE names.
    pub(crate) fn named_node<N, O: Output>(
        &self,
        step: &mut Step<'_, N, O>,
        message: &Message<'_>,
    ) -> Option<NodeSlot> {
        let named = field(message, b"Replaces").or_else(|| field(message, b"Join"))?;
        let call_id = named.split(|byte| *byte == b';').next()?.trim_ascii();
        let node = step.output.node_of_call(fingerprint::of_named_call(&self.config.secret, call_id))?;
        step.snapshot.node(node).map(|node| node.slot)
    }
}

/// The group by whose rules the node of a named dialog gets the call: the one that the call matches, if the node is in
/// it, else the first that has the node.
pub(crate) fn group_of<'a>(snapshot: &'a Snapshot, matched: Option<&'a Group>, node: NodeSlot) -> Option<&'a Group> {
    let has = |group: &&Group| group.members.iter().any(|member| member.slot == node);
    matched.filter(has).or_else(|| snapshot.groups.iter().find(has))
}

/// Whether the node of a named dialog may be sent the call. Draining or paused is no reason against it: the call takes
/// the place of one that it has, and the node says so if it will not. But a full node is never tried.
pub(crate) fn may_take<N: Nodes, O>(step: &Step<'_, N, O>, group: &Group, node: NodeSlot) -> bool {
    let Some(member) = group.members.iter().find(|member| member.slot == node) else { return false };
    let (evaluation, verdict) = judge(group, member, &step.nodes.load(node, step.now), step.now);
    evaluation.eligible && !matches!(verdict, Verdict::RateLimited | Verdict::RequestBudget)
}
