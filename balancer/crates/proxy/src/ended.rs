//! When a call no longer takes a place at its node.
//!
//! A node that reports tells by itself what it carries: there only a BYE that succeeds counts, and all else waits for
//! the next report. Where none reports, our own count is all there is, and it must come back to nothing: a call that was
//! refused, cancelled or never answered is given back at once, and a BYE ends its call however it is answered
//! (RFC 3261 §15: who sent it takes the session for ended), once, though both sides hang up at the same moment.

use switchtender_select::{Admission, NodeSlot, Nodes};

use crate::core::{Core, Step};
use crate::output::Output;

/// The call that a BYE ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Where it was.
    pub(crate) node: NodeSlot,
    /// Hash of its Call-ID.
    pub(crate) call: u64,
    /// Its end counts at the node.
    pub(crate) counts: bool,
    /// It holds limited resources, here or in a sibling worker.
    pub(crate) holds: bool,
}

/// Stands for the node of a call that a sibling saw end.
const ELSEWHERE: NodeSlot = NodeSlot(u32::MAX);

impl Core {
    /// A call ended in a sibling worker: it holds nothing any more, and a BYE of the other side, should it come here, ends
    /// nothing more.
    pub(crate) fn on_call_over<N: Nodes, O>(&mut self, step: &Step<'_, N, O>, call: u64) {
        self.ended_calls.note(call, ELSEWHERE, step.now);
        self.release_call(step, call);
    }

    /// A BYE came to an end: with this final response, or with none at all.
    pub(crate) fn on_bye_over<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        ending: Ending,
        code: Option<u16>,
    ) {
        let Ending { node, call, .. } = ending;
        if matches!(code, Some(401 | 407)) {
            // It comes again.
            return;
        }
        step.output.forget_call(call);
        let mut siblings_wait = ending.holds && !self.release_call(step, call);
        if is_unmeasured(step, node) {
            let known = self.ended_calls.node(call, step.now).is_some_and(|(at, _)| at == node || at == ELSEWHERE);
            if !known && ending.counts {
                self.ended_calls.note(call, node, step.now);
                siblings_wait = true;
                give_back(step, node);
            }
        } else if ending.counts && code.is_some_and(|code| (200..300).contains(&code)) {
            step.nodes.ended(node);
        }
        if siblings_wait {
            step.output.call_over(call);
        }
    }
}

/// An attempt to place a call there came to nothing.
pub(crate) fn on_no_call<N: Nodes, O>(step: &Step<'_, N, O>, node: NodeSlot) {
    if is_unmeasured(step, node) {
        give_back(step, node);
    }
}

fn is_unmeasured<N: Nodes, O>(step: &Step<'_, N, O>, node: NodeSlot) -> bool {
    step.nodes.load(node, step.now).admission == Admission::Unmeasured
}

/// Never more than was taken: a BYE may be of a call from before a restart.
fn give_back<N: Nodes, O>(step: &Step<'_, N, O>, node: NodeSlot) {
    let load = step.nodes.load(node, step.now);
    if load.ended < load.assigned {
        step.nodes.ended(node);
    }
}
