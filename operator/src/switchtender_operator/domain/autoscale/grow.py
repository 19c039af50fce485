"""How nodes are added: first those that autoscaling drains are taken back, then the replicas are raised."""

from __future__ import annotations

from dataclasses import dataclass

from switchtender_operator.domain.autoscale.fleet import Fleet
from switchtender_operator.domain.autoscale.history import ScaleHistory
from switchtender_operator.domain.autoscale.ordinals import ordinal_of
from switchtender_operator.domain.autoscale.world import LOWEST_COST, ScaleNode, ScaleWorld


@dataclass(frozen=True, slots=True)
class Growth:
    """Nodes to take back (uids), nodes to add, and whether `max` forbids more."""

    revive: tuple[str, ...]
    add: int
    limited: bool


def grow(world: ScaleWorld, fleet: Fleet, history: ScaleHistory, short: int) -> Growth:
    """Return how `short` nodes more come to take calls.

    The kept nodes, failed ones among them, never become more than `max`. Nodes added within the last lead time, or
    that are still to come, count against `scaleOut.maxStep`.
    """
    room = max(0, world.spec.max - fleet.kept)
    revived = _revive(world, fleet, min(short, room))
    back = sum(1 for node in revived if node.state != "down")
    left = min(short - back, room - len(revived))
    return Growth(
        revive=tuple(node.uid for node in revived),
        add=max(0, min(left, _step(world, fleet, history))),
        limited=short > room,
    )


def _revive(world: ScaleWorld, fleet: Fleet, wanted: int) -> tuple[ScaleNode, ...]:
    """Return those to take back: the fullest first, by ordinal the lowest, so that the highest go on draining."""
    if world.target.ordinal:
        return tuple(sorted(fleet.ours, key=lambda node: (ordinal_of(node.name) or 0, node.uid))[:wanted])
    removing = not fleet.rolling and world.target.replicas < max(world.target.status_replicas, len(fleet.alive))
    able = [
        node
        for node in fleet.ours
        # While the target's controller removes pods, those it chooses from are as good as gone.
        if node.state != "down" and not (removing and node.cost is not None and node.cost <= LOWEST_COST)
    ]
    return tuple(sorted(able, key=lambda node: (-(node.sessions or 0), node.uid))[:wanted])


def _step(world: ScaleWorld, fleet: Fleet, history: ScaleHistory) -> int:
    """Return how many nodes may be added now. Those that a roll-out starts are none that were added."""
    added = sum(count for _, count in history.added)
    coming = 0 if fleet.rolling else len(fleet.pending) + len(fleet.starting) + fleet.unseen
    return world.spec.scale_out.max_step - max(added, coming)
