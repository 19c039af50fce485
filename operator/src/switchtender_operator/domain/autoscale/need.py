"""How many nodes the calls need: the arithmetic of docs/autoscaling.md and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from switchtender_api.v1alpha1.autoscale import Autoscale, Buffer
from switchtender_operator.domain.autoscale.fleet import Fleet, reported
from switchtender_operator.domain.autoscale.history import ScaleHistory
from switchtender_operator.domain.autoscale.world import ScaleNode, ScaleWorld

_ROUNDING = 1e-9
"""A need that is above a whole number of nodes by less than this is that number: floats, not calls."""


@dataclass(frozen=True, slots=True)
class Need:
    """Nodes that the calls need, bounds not applied.

    `now`: for the sessions of the nodes that take calls, as they will be after the lead time. `settled`: for the
    sessions of all nodes, those that drain too, whose callers will call again on the others; what is taken away is
    measured by the higher of the two.
    """

    now: int
    settled: int

    @property
    def keep(self) -> int:
        """Nodes that are not to be taken away."""
        return max(self.now, self.settled)


def per_node(fleet: Fleet, last: float | None) -> float | None:
    """Return the sessions a node takes: the median of those that say so, else as it was last, else None."""
    for nodes in (fleet.fresh, (*fleet.ours, *fleet.others)):
        known = [node.capacity for node in nodes if node.capacity is not None and node.capacity > 0]
        if known:
            return float(median(known))
    return last


def sessions_of(nodes: tuple[ScaleNode, ...], stale_after: float) -> int:
    """Return the sessions of those nodes whose report is not stale."""
    return sum(node.sessions or 0 for node in nodes if reported(node, stale_after))


def buffer_sessions(buffer: Buffer, sessions: float, legs_per_call: int) -> float:
    """Return the room to keep free, in sessions: so many calls, or a part of `sessions` but one call at the least."""
    if buffer.calls is not None:
        return float(buffer.calls * legs_per_call)
    percent = buffer.percent or 0
    return max(sessions * percent / 100, float(legs_per_call)) if percent else 0.0


def growth(rise: float, lead: timedelta, sessions: int, per: float) -> float:
    """Return the sessions that a rise of `rise` a second adds within the lead time.

    No more than as many as there are, or than a node takes: a trend of two minutes says no more than that.
    """
    return min(rise * lead.total_seconds(), max(float(sessions), per))


def nodes_for(sessions: float, per: float) -> int:
    """Return how many nodes of `per` sessions each take `sessions`."""
    return max(0, math.ceil(sessions / per - _ROUNDING))


def need_of(world: ScaleWorld, fleet: Fleet, history: ScaleHistory, per: float) -> Need:
    """Return what the calls need. A node whose load is not known counts as one that is full."""
    kept = sessions_of((*fleet.fresh, *fleet.pending, *fleet.starting, *fleet.failing), world.stale_after)
    everything = all_sessions(world, fleet)
    spec = world.spec
    ahead = kept + growth(history.rise(world.now, everything), spec.scale_out.lead_time, kept, per)
    return Need(
        now=_with_buffer(ahead, spec, world.legs_per_call, per) + len(fleet.unknown),
        settled=_with_buffer(everything, spec, world.legs_per_call, per) + len(fleet.unknown),
    )


def all_sessions(world: ScaleWorld, fleet: Fleet) -> int:
    """Return the sessions of all nodes, whether they take new calls or not."""
    return sessions_of((*fleet.alive, *fleet.terminating), world.stale_after)


def _with_buffer(sessions: float, spec: Autoscale, legs_per_call: int, per: float) -> int:
    return nodes_for(sessions + buffer_sessions(spec.buffer, sessions, legs_per_call), per)
