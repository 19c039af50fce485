//! New calls that wait a moment, because nothing but the per-second limits of their group's nodes are used up
//! (`capacity.queue.maxWait`).
//!
//! Such a call has its 100 and no client transaction. Those of a group are tried again in order of arrival; who comes
//! while others wait goes behind them.

use std::collections::VecDeque;
use std::time::Duration;

use switchtender_select::{Group, GroupSlot, NoNode, Nodes, Time};

use crate::core::{Core, Step};
use crate::counters::Outcome;
use crate::output::{Decision, Output};
use crate::plan::hop_to_node;
use crate::slab::Handle;
use crate::transaction::Due;

/// Calls that wait in one worker at most.
const MOST: usize = 10_000;
/// The time between two looks at those that wait.
const LOOK: Duration = Duration::from_millis(50);

/// One call that waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    server: Handle,
    /// When it gives up.
    until: Time,
}

/// Those that wait, by group. Handles only: whose call was cancelled in the meantime is seen when its turn comes.
#[derive(Debug, Default)]
pub(crate) struct WaitingRoom {
    /// By slot of the group.
    queues: Vec<VecDeque<Waiter>>,
    len: usize,
}

impl WaitingRoom {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn queue(&self, group: GroupSlot) -> usize {
        self.queues.get(group.0 as usize).map_or(0, VecDeque::len)
    }

    fn push(&mut self, group: GroupSlot, waiter: Waiter) {
        let index = group.0 as usize;
        if self.queues.len() <= index {
            // Slots are handed out densely, so this grows with the number of groups and not with traffic.
            self.queues.resize_with(index + 1, VecDeque::new);
        }
        if let Some(queue) = self.queues.get_mut(index) {
            queue.push_back(waiter);
            self.len += 1;
        }
    }

    fn pop(&mut self, group: GroupSlot) -> Option<Waiter> {
        let waiter = self.queues.get_mut(group.0 as usize)?.pop_front()?;
        self.len -= 1;
        Some(waiter)
    }
}

/// What became of a call that waited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It waits no more.
    Over,
    /// Nobody of its group can go now.
    Waits,
}

impl Core {
    /// Whether a call that found no node may wait for one.
    pub(crate) fn may_wait(&self, group: &Group, why: NoNode) -> bool {
        why == NoNode::RateLimited
            && !group.queue.is_zero()
            && self.waiting.len() < MOST.min(self.config.max_transactions)
    }

    /// Whether somebody waits for this group: who comes now is not to overtake.
    pub(crate) fn is_queued(&self, group: &Group) -> bool {
        self.waiting.queue(group.slot) > 0
    }

    /// The call of this server transaction waits from now on.
    pub(crate) fn wait<N, O>(&mut self, step: &Step<'_, N, O>, server: Handle, group: GroupSlot, until: Time) {
        if let Some(server) = self.servers.get_mut(server) {
            server.waiting = true;
        }
        if self.waiting.len() == 0 {
            self.timers.set(step.now, LOOK, Due::Waiting);
        }
        self.waiting.push(group, Waiter { server, until });
        self.counters.count_outcome(group, Outcome::Held);
    }

    /// Tries those that wait again, in order of arrival.
    pub(crate) fn look_at_waiting<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>) {
        let groups = u32::try_from(self.waiting.queues.len()).unwrap_or(u32::MAX);
        for group in (0..groups).map(GroupSlot) {
            let mut turn = Turn::Over;
            // Each is taken out once, and goes back to the end if it waits on: the order stays.
            for _ in 0..self.waiting.queue(group) {
                let Some(waiter) = self.waiting.pop(group) else { break };
                let is_blocked = turn == Turn::Waits;
                if self.turn(step, group, waiter, is_blocked) == Turn::Waits {
                    turn = Turn::Waits;
                    self.waiting.push(group, waiter);
                }
            }
        }
        if self.waiting.len() > 0 {
            self.timers.set(step.now, LOOK, Due::Waiting);
        }
    }

    /// The turn of one call. `is_blocked`: one before it could not go, so it cannot either.
    fn turn<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        slot: GroupSlot,
        waiter: Waiter,
        is_blocked: bool,
    ) -> Turn {
        let Some(server) = self.servers.get(waiter.server).filter(|server| server.waiting && server.is_pending())
        else {
            return Turn::Over;
        };
        let is_late = waiter.until <= step.now;
        if is_blocked && !is_late {
            return Turn::Waits;
        }
        let (wanted, call) = (server.wanted, server.call);
        let snapshot = step.snapshot;
        let group = snapshot.group(slot);
        let placed = match group {
            Some(_) if is_blocked => Err(NoNode::RateLimited),
            Some(group) => self.place(step, group, &wanted, call, &[]),
            None => Err(NoNode::Empty),
        };
        match placed {
            Err(NoNode::RateLimited) if !is_late => Turn::Waits,
            Ok(placed) => {
                let hop =
                    snapshot.groups.get(placed.group).and_then(|group| hop_to_node(snapshot, group, placed.node, true));
                if let Some(server) = self.servers.get_mut(waiter.server) {
                    server.waiting = false;
                }
                self.counters.count_outcome(slot, Outcome::HeldPlaced);
                if !hop.is_some_and(|hop| self.launch_again(step, waiter.server, &hop)) {
                    self.release_attempt(step, waiter.server);
                    self.finish_with(step, waiter.server, crate::reply::Reply::TOO_LARGE);
                }
                Turn::Over
            }
            Err(why) => {
                self.counters.count_outcome(slot, Outcome::HeldExpired);
                if let Some(server) = self.servers.get(waiter.server) {
                    step.output.decided(&server.request, &Decision::Refused { group: slot, why });
                }
                let reply = match group {
                    Some(group) => self.no_room(group, true, why),
                    None => crate::reply::Reply::unavailable(503, self.random_seconds((5, 15))),
                };
                if let Some(server) = self.servers.get_mut(waiter.server) {
                    server.waiting = false;
                    server.tries.unplaced = group.is_some();
                }
                self.finish_with(step, waiter.server, reply);
                Turn::Over
            }
        }
    }
}
