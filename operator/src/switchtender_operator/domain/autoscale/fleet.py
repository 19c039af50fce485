"""How each node stands: which take calls, which are coming, which failed, which drain and for whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from switchtender_operator.domain.autoscale.history import ScaleHistory
from switchtender_operator.domain.autoscale.world import ScaleNode, ScaleWorld

START_LEAST = timedelta(minutes=10)
"""A node that has not reported for so long after it was made, or for three lead times, failed."""

SETTLED = timedelta(seconds=10)
"""Within so long every balancer knows of a drain: a report of no sessions counts only after it."""

FAILED_AFTER = timedelta(seconds=30)
"""A node that takes no calls for so long is made up for: a process that ended is mostly back before."""

_TAKES_CALLS = frozenset({"ready", "full"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The nodes of the target by how they stand; every node is in one of the tuples.

    `fresh` take calls and say how many they have; `pending` and `starting` are coming; `failing` take none since a
    moment ago, `failed` for longer, or have never come; of `unknown` the load is not known; `ours` are drained by
    autoscaling, `others` by whomever else; `terminating` are on their way out and already replaced.
    """

    fresh: tuple[ScaleNode, ...]
    pending: tuple[ScaleNode, ...]
    starting: tuple[ScaleNode, ...]
    failing: tuple[ScaleNode, ...]
    failed: tuple[ScaleNode, ...]
    unknown: tuple[ScaleNode, ...]
    ours: tuple[ScaleNode, ...]
    others: tuple[ScaleNode, ...]
    terminating: tuple[ScaleNode, ...]
    replicas: int
    rolling: bool

    @property
    def alive(self) -> tuple[ScaleNode, ...]:
        """The pods that the target's controller counts: all but those on their way out."""
        kept = (*self.fresh, *self.pending, *self.starting, *self.failing, *self.failed, *self.unknown)
        return (*kept, *self.ours, *self.others)

    @property
    def unseen(self) -> int:
        """Pods that are asked for and not there yet."""
        return max(0, self.replicas - len(self.alive))

    @property
    def kept(self) -> int:
        """Nodes that do not drain, those asked for and not there yet among them.

        Counted from the replicas asked for: pods above them are being removed, and those are draining ones. In a
        roll-out pods above them are the new ones instead.
        """
        leaving = 0 if self.rolling else max(0, len(self.alive) - self.replicas)
        return max(0, self.replicas - max(0, len(self.ours) + len(self.others) - leaving))

    @property
    def capable(self) -> int:
        """Nodes that take calls, or will: the kept ones without those that failed.

        Where none takes calls more of the same are no help: then the failed ones are not made up for.
        """
        return max(0, self.kept - (len(self.failed) if self.fresh else 0))


def reported(node: ScaleNode, stale_after: float) -> bool:
    """Return whether the node's sessions are known and not too old."""
    return node.sessions is not None and node.age is not None and node.age <= stale_after


def fleet_of(world: ScaleWorld, history: ScaleHistory) -> Fleet:
    """Return how the nodes stand, with what was asked for a moment ago taken as done."""
    drained = {uid for uid, _ in history.drained}
    revived = {uid for uid, _ in history.revived}
    failing = dict(history.failing)
    groups: dict[str, list[ScaleNode]] = {}
    for node in sorted(world.nodes, key=lambda node: node.uid):
        as_asked = _as_asked(node, drained=node.uid in drained, revived=node.uid in revived)
        standing = _standing(as_asked, world)
        if standing == "failing" and world.now - failing.get(node.uid, world.now) >= FAILED_AFTER:
            standing = "failed"
        groups.setdefault(standing, []).append(as_asked)

    def of(standing: str) -> tuple[ScaleNode, ...]:
        return tuple(groups.get(standing, ()))

    return Fleet(
        fresh=of("fresh"),
        pending=of("pending"),
        starting=of("starting"),
        failing=of("failing"),
        failed=of("failed"),
        unknown=of("unknown"),
        ours=of("ours"),
        others=of("others"),
        terminating=of("terminating"),
        replicas=world.target.replicas,
        rolling=world.target.rolling,
    )


def _as_asked(node: ScaleNode, *, drained: bool, revived: bool) -> ScaleNode:
    """Return the node as it will be seen once the watch has caught up with what was asked of it."""
    if drained and not node.draining:
        # Without a start: what nobody has seen draining yet is never taken for drained.
        return replace(node, draining=True, drained_by_us=True, since=None)
    if revived and node.drained_by_us:
        return replace(node, draining=False, drained_by_us=False, since=None, expired=False)
    return node


def _standing(node: ScaleNode, world: ScaleWorld) -> str:
    if node.terminating:
        return "terminating"
    if node.drained_by_us:
        return "ours"
    if node.draining:
        return "others"
    return "pending" if node.pending else _kept(node, world)


def _kept(node: ScaleNode, world: ScaleWorld) -> str:
    young = node.created is not None and world.now - node.created <= patience(world)
    never = node.age is None
    if never and young:
        return "starting"
    if node.state == "down":
        return "failing"
    if node.state == "stale" or not reported(node, world.stale_after):
        return "failed" if never and not node.ready else "unknown"
    if node.ready and node.state in _TAKES_CALLS:
        return "fresh"
    # A balancer's word lags behind the end of a drain: such a node is on its way back.
    if young or node.state == "draining":
        return "starting"
    return "unknown" if node.ready else "failing"


def patience(world: ScaleWorld) -> timedelta:
    """Return how long a node may take to report for the first time."""
    return max(START_LEAST, 3 * world.spec.scale_out.lead_time)
