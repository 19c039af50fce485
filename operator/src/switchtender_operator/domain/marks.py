"""Marks on pods for others: the deletion cost for ReplicaSets, safe-to-evict for those who empty hosts.

Both say how much a pod is needed. Decides what is to be written; knows neither who writes nor a clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from switchtender_operator.domain.autoscale.fleet import reported
from switchtender_operator.domain.autoscale.shrink import released, settled_empty
from switchtender_operator.domain.autoscale.world import LOWEST_COST, ScaleNode

DRAINED_COST: Final = -100
"""Of an empty node that is drained for another reason than autoscaling: before any that takes calls."""

RELEASED_COST: Final = -50
"""Of such a node with calls, past its deadline where the group says Release: after the empty one."""

STEPS: Final = 10
"""A node's cost changes in so many steps from empty to full."""

WRITE_EVERY: Final = timedelta(minutes=1)
"""A pod is written no more often: Kubernetes asks for few updates of the deletion cost."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Marks:
    """Both annotations of a pod; None is one that is not there or not ours to understand."""

    cost: int | None = None
    safe_to_evict: bool | None = None


@dataclass(frozen=True, slots=True)
class MarkWrite:
    """A pod to be written: both annotations as they are to be, in one patch.

    `urgent`: what stands there says that a pod may go which has calls, or takes new ones again.
    """

    uid: str
    name: str
    marks: Marks
    urgent: bool


def wanted(
    nodes: Iterable[ScaleNode],
    current: Mapping[str, Marks],
    written: Mapping[str, datetime],
    now: datetime,
    *,
    on_timeout: Literal["Hold", "Release"],
    stale_after: float,
    budget: int,
) -> list[MarkWrite]:
    """Return the at most `budget` pods to write now, the urgent ones first.

    `current` marks and the time `written` by uid. A pod written less than `WRITE_EVERY` ago waits, and so does one
    whose sessions are not known or that is on its way out.
    """
    nodes = tuple(nodes)
    step = _usual_step(nodes)
    writes = [
        write
        for node in nodes
        if _due(written.get(node.uid), now)
        and (write := _write(node, current.get(node.uid, Marks()), now, on_timeout, stale_after, step))
    ]
    return sorted(writes, key=lambda write: _turn(write, written))[: max(0, budget)]


def forsaken(
    nodes: Iterable[ScaleNode], written: Mapping[str, datetime], now: datetime, *, budget: int
) -> list[MarkWrite]:
    """Return the at most `budget` pods to write where nothing else is marked: those that somebody took out of the hands
    of autoscaling, and that still have the cost by which it lets one go first.
    """
    writes = [
        MarkWrite(node.uid, node.name, Marks(cost=0), urgent=True)
        for node in nodes
        if node.cost == LOWEST_COST
        and not (node.drained_by_us or node.terminating)
        and _due(written.get(node.uid), now)
    ]
    return sorted(writes, key=lambda write: _turn(write, written))[: max(0, budget)]


def _due(written: datetime | None, now: datetime) -> bool:
    """Return whether a pod may be written: a time that is to come is that of a clock which was set back."""
    return written is None or not timedelta(0) <= now - written < WRITE_EVERY


def _turn(write: MarkWrite, written: Mapping[str, datetime]) -> tuple[bool, datetime, str]:
    """Return by what writes are ordered: the urgent first, then those that waited longest."""
    return (not write.urgent, written.get(write.uid, _NEVER), write.uid)


def _write(
    node: ScaleNode,
    current: Marks,
    now: datetime,
    on_timeout: Literal["Hold", "Release"],
    stale_after: float,
    step: int,
) -> MarkWrite | None:
    if node.terminating or not reported(node, stale_after):
        return None
    sessions = node.sessions or 0
    free = released(node, on_timeout)
    marks = Marks(_cost(node, sessions, current.cost, now, free=free, step=step), free or sessions == 0)
    if marks == current:
        return None
    busy = sessions > 0 and not free and (current.safe_to_evict is not False or (current.cost or 0) <= 0)
    spared = not node.draining and current.cost is not None and current.cost < 0
    return MarkWrite(node.uid, node.name, marks, urgent=busy or spared)


def _cost(node: ScaleNode, sessions: int, current: int | None, now: datetime, *, free: bool, step: int) -> int:
    if node.drained_by_us and (free or settled_empty(node, now)):
        return LOWEST_COST
    if node.draining and not node.drained_by_us and (free or sessions == 0):
        return DRAINED_COST if sessions == 0 else RELEASED_COST
    if node.capacity is not None and node.capacity > 0:
        step = _step(node.capacity)
    return _coarse(sessions, current, step)


def _coarse(sessions: int, current: int | None, step: int) -> int:
    """Return the sessions rounded up to a whole step; what stands there stays while it is right to within one more."""
    if sessions <= 0:
        return 0
    if current is not None and sessions <= current < sessions + 2 * step:
        return current
    return math.ceil(sessions / step) * step


def _step(capacity: float) -> int:
    return max(1, round(capacity / STEPS))


def _usual_step(nodes: Sequence[ScaleNode]) -> int:
    """Return the step of nodes that do not say what they take: the largest of the others', at least one session."""
    return max((_step(node.capacity) for node in nodes if node.capacity is not None and node.capacity > 0), default=1)
