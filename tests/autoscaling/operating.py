"""The operator in the simulated cluster: its real planning and its real marks, closed over pods that are simulated.

What stands between them in a cluster is modelled here and nothing else: what the operator reads of pods and reports,
and that an annotation it writes is there the next time it looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

from switchtender_api.v1alpha1.autoscale import Autoscale
from switchtender_operator.domain import marks
from switchtender_operator.domain.autoscale import (
    LOWEST_COST,
    ScaleDecision,
    ScaleHistory,
    ScaleNode,
    ScaleTargetSeen,
    ScaleWorld,
    decide,
)
from tests.autoscaling.cluster import Cluster, Pod
from tests.autoscaling.controllers import Target

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
PERIOD = 2.0
STALE_AFTER = 10.0
#: Seconds from the write of a deletion cost until whoever watches pods reads it.
WRITTEN = 1.0
Decide = Callable[[ScaleWorld, ScaleHistory], tuple[ScaleDecision, ScaleHistory]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What of a BalancerGroup concerns drains."""

    drain_timeout: float = 7200.0
    on_timeout: Literal["Hold", "Release"] = "Hold"


class Readings:
    """The pods of the target as the operator sees them: pod objects at once, loads as balancers last told them."""

    def __init__(self, cluster: Cluster, group: Group) -> None:
        self._cluster, self._group = cluster, group
        self._read: dict[str, tuple[float, int]] = {}
        self._deaf = False

    def hear(self, *, deaf: bool) -> None:
        """From now on no balancer can be asked, and what was read last gets old; or they can again."""
        self._deaf = deaf

    def nodes(self) -> list[ScaleNode]:
        """All pods that are members of the group, those that end among them."""
        now, interval = self._cluster.now, self._cluster.site.report_interval
        if not self._deaf:
            self._read = {
                pod.uid: (now - now % interval, pod.report(now, interval))
                for pod in self._cluster.pods
                if pod.reported_at is not None
            }
        return [self._node(pod, now) for pod in self._cluster.pods]

    def _node(self, pod: Pod, now: float) -> ScaleNode:
        read = self._read.get(pod.uid)
        site = self._cluster.site
        sessions = None if read is None else read[1] * site.legs
        sinces = [since for since in (pod.drain_since, pod.deleted_at) if since is not None]
        since = min(sinces, default=None)
        return ScaleNode(
            uid=pod.uid,
            name=pod.name,
            ready=pod.ready,
            terminating=not pod.active,
            drained_by_us=pod.drain_since is not None,
            draining=since is not None,
            since=None if since is None else clock(since),
            expired=since is not None and now >= since + self._group.drain_timeout,
            state=_state(pod, sessions, site.capacity),
            sessions=sessions,
            capacity=None if read is None else float(site.capacity),
            age=None if read is None else now - read[0],
            cost=pod.cost,
            created=clock(pod.created),
            pending=now < pod.running_at,
        )


def clock(seconds: float) -> datetime:
    """A time of the simulated day."""
    return MIDNIGHT + timedelta(seconds=seconds)


def _state(pod: Pod, sessions: int | None, capacity: int) -> str:
    if sessions is None:
        return "unknown"
    if pod.drain_since is not None or not pod.active:
        return "draining"
    return "full" if sessions >= capacity else "ready"


def _cost(pod: Pod, cost: int) -> None:
    pod.cost = cost


class Marker:
    """Deletion costs, written as the operator does for whoever scales."""

    def __init__(self, cluster: Cluster, readings: Readings, group: Group) -> None:
        self._cluster, self._readings, self._group = cluster, readings, group
        self._written: dict[str, datetime] = {}
        self._marks: dict[str, marks.Marks] = {}
        self.writes = 0
        cluster.every(PERIOD * 5, self.mark, first=PERIOD)

    def mark(self) -> None:
        """Write what is due."""
        now = clock(self._cluster.now)
        pods = {pod.uid: pod for pod in self._cluster.active}
        due = marks.wanted(
            self._readings.nodes(),
            {uid: replace(self._marks.get(uid, marks.Marks()), cost=pod.cost) for uid, pod in pods.items()},
            self._written,
            now,
            on_timeout=self._group.on_timeout,
            stale_after=STALE_AFTER,
            budget=len(pods),
        )
        for write in due:
            pods[write.uid].cost = write.marks.cost
            self._marks[write.uid] = write.marks
            self._written[write.uid] = now
            self.writes += 1


class Autoscaler:
    """spec.autoscale: a decision every other second, and what it asks for done."""

    def __init__(
        self, cluster: Cluster, target: Target, spec: Autoscale, readings: Readings, group: Group, plan: Decide = decide
    ) -> None:
        self._cluster, self._target, self._spec = cluster, target, spec
        self._readings, self._group, self._plan = readings, group, plan
        self._history = ScaleHistory()
        self.reasons: dict[str, int] = {}
        """How often each reason was given."""
        cluster.every(PERIOD, self._look, first=PERIOD / 2)

    def lose_history(self) -> None:
        """Another replica of the operator leads from now on."""
        self._history = ScaleHistory()

    def _look(self) -> None:
        target, cluster = self._target, self._cluster
        seen = ScaleTargetSeen(
            replicas=target.replicas,
            status_replicas=target.status_replicas,
            rolling=target.rolling,
            resource_version="",
            ordinal=target.ordinal,
        )
        world = ScaleWorld(
            now=clock(cluster.now),
            spec=self._spec,
            legs_per_call=cluster.site.legs,
            on_timeout=self._group.on_timeout,
            target=seen,
            nodes=self._readings.nodes(),
            stale_after=STALE_AFTER,
        )
        decision, self._history = self._plan(world, self._history)
        self.reasons[decision.reason] = self.reasons.get(decision.reason, 0) + 1
        self._act(decision)

    def _act(self, decision: ScaleDecision) -> None:
        pods = {pod.uid: pod for pod in self._cluster.pods}
        for uid in decision.revive:
            self._cluster.revive(pods[uid])
        for uid in decision.drain:
            self._cluster.drain(pods[uid], self._cluster.now)
        for uid in decision.lowest:
            # A ReplicaSet reads it from a watch, as late as the operator reads it back.
            self._cluster.at(self._cluster.now + WRITTEN, partial(_cost, pods[uid], LOWEST_COST))
        if decision.replicas is not None:
            self._target.scale(decision.replicas)
