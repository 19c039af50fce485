"""How nodes are taken away: they drain, and once one is empty and first in line the replicas go down by one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from switchtender_operator.domain.autoscale.fleet import SETTLED, Fleet, reported
from switchtender_operator.domain.autoscale.history import ScaleHistory
from switchtender_operator.domain.autoscale.ordinals import from_the_top
from switchtender_operator.domain.autoscale.world import LOWEST_COST, ScaleNode, ScaleWorld

MARK_KNOWN = timedelta(seconds=3)
"""After so long the target's controller knows a deletion cost that was read back: it reads pods by a watch of its own,
which may lag behind that of the replicas.
"""


def may_go(node: ScaleNode, world: ScaleWorld) -> bool:
    """Return whether the node may be removed: autoscaling drains it, and nothing is lost with it.

    It never was Ready; or a report from after every balancer knew of the drain says that it is empty; or its
    deadline passed and the group says Release.
    """
    if node.terminating or not node.drained_by_us or node.since is None:
        return False
    if node.pending or released(node, world.on_timeout):
        return True
    return reported(node, world.stale_after) and settled_empty(node, world.now)


def released(node: ScaleNode, on_timeout: Literal["Hold", "Release"]) -> bool:
    """Return whether nobody waits for the node's calls any more."""
    return node.draining and node.expired and on_timeout == "Release"


def settled_empty(node: ScaleNode, now: datetime) -> bool:
    """Return whether the last report is from after every balancer knew of the drain, and says that there are none.

    Ten seconds are what balancers need; one that says it still sends calls there is believed however long that takes.
    """
    if node.open or node.sessions != 0 or node.since is None or node.age is None:
        return False
    return now - timedelta(seconds=node.age) >= node.since + SETTLED


def to_drain(world: ScaleWorld, fleet: Fleet, history: ScaleHistory, keep: int) -> tuple[str, ...]:
    """Return the uids of the nodes that begin to drain, such that `keep` nodes go on taking calls.

    Those that were never Ready go first, then the emptiest, of these the youngest; by ordinal the highest. No more
    than `scaleIn.maxStep` begin within one `scaleIn.stabilizationWindow`.
    """
    most = min(fleet.capable - keep, world.spec.scale_in.max_step - len(begun(world, fleet, history)))
    line = _highest(fleet) if world.target.ordinal else _emptiest(fleet)
    chosen: list[str] = []
    serving = len(fleet.fresh)
    for node in line[: max(0, most)]:
        if not node.pending:
            if serving <= keep:
                break
            serving -= 1
        chosen.append(node.uid)
    return tuple(chosen)


def begun(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> dict[str, datetime]:
    """Return when the drains began that count against `scaleIn.maxStep`: this leader's, and those it found."""
    start = world.now - world.spec.scale_in.stabilization_window
    found = {node.uid: node.since for node in (*fleet.ours, *fleet.terminating) if node.drained_by_us and node.since}
    return {uid: since for uid, since in {**found, **dict(history.begun)}.items() if since > start}


def to_mark(world: ScaleWorld, fleet: Fleet) -> tuple[str, ...]:
    """Return the uids of those that may go and have not the lowest deletion cost. Nothing asks a StatefulSet's."""
    if world.target.ordinal:
        return ()
    return tuple(node.uid for node in fleet.ours if node.cost != LOWEST_COST and may_go(node, world))


def blocked(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> str | None:
    """Return why the replicas cannot go down by one now, None where whichever pod is hit may go."""
    target = world.target
    if not target.replicas == target.status_replicas == len(fleet.alive):
        return "the target's controller is still making or removing pods"
    hit = first_in_line(world, fleet)
    if not hit:
        return "the pods of the target are not numbered without a gap"
    staying = next((node for node in hit if not may_go(node, world)), None)
    if staying is not None:
        return f"pod {staying.name} would be removed first"
    known = {uid for uid, since in history.marked if world.now - since >= MARK_KNOWN}
    unmarked = next((node for node in hit if node.uid not in known), None)
    if unmarked is not None and not target.ordinal:
        return f"the deletion cost of pod {unmarked.name} is too new for the target's controller to know"
    return None


def first_in_line(world: ScaleWorld, fleet: Fleet) -> tuple[ScaleNode, ...]:
    """Return the pods of which the target's controller would remove one.

    By ordinal the highest. Else by the ranking of the ReplicaSet controller: not scheduled, Pending, not Ready, the
    lowest deletion cost (none counts as 0). Not scheduled and Pending are one here, and what it goes by after the
    cost is left open, so more pods may be named than it would really choose from.
    """
    if world.target.ordinal:
        line = from_the_top(fleet.alive)
        return line[:1] if line else ()
    if not fleet.alive:
        return ()
    first = min(_rank(node) for node in fleet.alive)
    return tuple(node for node in fleet.alive if _rank(node) == first)


def _rank(node: ScaleNode) -> tuple[int, int]:
    if node.pending:
        return (0, 0)
    return (2 if node.ready else 1, node.cost or 0)


def _emptiest(fleet: Fleet) -> list[ScaleNode]:
    return sorted(
        (*fleet.pending, *fleet.fresh), key=lambda node: (not node.pending, node.sessions or 0, *_youngest(node))
    )


def _youngest(node: ScaleNode) -> tuple[float, str]:
    return (-node.created.timestamp() if node.created else 0.0, node.uid)


def _highest(fleet: Fleet) -> list[ScaleNode]:
    """Return those that may begin to drain, from the highest ordinal down to the first that has to stay."""
    ours = {node.uid for node in fleet.ours}
    able = {node.uid for node in (*fleet.fresh, *fleet.pending)}
    line: list[ScaleNode] = []
    for node in from_the_top(fleet.alive) or ():
        if node.uid in able:
            line.append(node)
        elif node.uid not in ours:
            break
    return line
