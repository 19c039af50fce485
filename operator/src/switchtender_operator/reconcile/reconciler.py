"""Observe, plan, publish: takes groups in their turn and makes the cluster what the plan says.

Level-triggered: whatever woke a group, the whole of it is planned from what is known now. Replicas that do not lead do
the same up to the point of planning, so that their caches hold what a leader needs when one of them becomes it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from switchtender_kube import Json, NotLeader, boottime
from switchtender_operator.config.timing import Timing
from switchtender_operator.domain.plan import Plan, Watched, plan, watched_selector
from switchtender_operator.domain.pods import Pod
from switchtender_operator.domain.world import GroupObject, GroupWorld, Observation, Scaling, SetObject, Settings
from switchtender_operator.publish.publisher import PublishError
from switchtender_operator.reconcile.balancers import Observations
from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.objects import group_object
from switchtender_operator.reconcile.turns import Turns
from switchtender_operator.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_AT_ONCE = 4
"""Groups whose writes may be under way at a time; planning itself is one after the other."""


Wall = Callable[[], datetime]
"""Gives the time of day, aware; it may jump."""


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


class Pods(Protocol):
    """Which pods a group follows."""

    def follow(self, key: str, namespace: str, watched: Watched | None) -> None:
        """Let the group follow these pods."""

    def pending(self, key: str) -> float:
        """Return for how many seconds more the group's pods are worth waiting for; 0 if they are known."""

    def pods(self, key: str) -> Mapping[str, Pod] | None:
        """Return the group's pods, None while they are not known."""


class Publishes(Protocol):
    """Where plans go."""

    async def publish(
        self, group: GroupObject, plan: Plan, known: dict[str, SetObject], wanted: Callable[[], bool]
    ) -> None:
        """Write what the plan says."""


@dataclass(slots=True)
class Written:
    """Takes the API server's answers to our writes into what is known."""

    cluster: Cluster
    clock: Callable[[], float] = boottime
    at: dict[str, float] = field(default_factory=dict)
    """When each group's status was last written, by the clock that does not jump."""

    def status_at(self, key: str, wall: datetime) -> datetime | None:
        """Return when the group's status was last written, as seen from the time of day that is now."""
        at = self.at.get(key)
        return None if at is None else wall - timedelta(seconds=self.clock() - at)

    def set_written(self, raw: Json) -> None:
        """Take up a set that was applied."""
        self.cluster.wrote_set(raw)

    def set_deleted(self, uid: str) -> None:
        """Take up that a set is gone."""
        self.cluster.deleted(uid)

    def status_written(self, key: str, raw: Json) -> None:
        """Take up a group whose status was applied."""
        self.at[key] = self.clock()
        answer = group_object(raw)
        if answer is not None:
            self.cluster.wrote(answer.value.uid, answer)


class Reconciler:
    """Takes groups in their turn; `leading` says whether plans are made and published."""

    def __init__(
        self,
        turns: Turns,
        cluster: Cluster,
        pods: Pods,
        observations: Observations,
        publisher: Publishes,
        written: Written,
        metrics: Metrics,
        *,
        leading: Callable[[], bool],
        settings: Settings,
        timing: Timing,
        cordoned: Callable[[], Mapping[str, datetime | None]],
        scaling: Callable[[str], Scaling | None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Wall = utc_now,
    ) -> None:
        self._turns = turns
        self._cluster = cluster
        self._pods = pods
        self._observations = observations
        self._publisher = publisher
        self._written = written
        self._metrics = metrics
        self._leading = leading
        self._settings = settings
        self._timing = timing
        self._cordoned = cordoned
        self._scaling = scaling
        self._sleep = sleep
        self._wall = wall

    def all_changed(self) -> None:
        """Note that something changed that concerns every group."""
        for key in self._cluster.group_keys():
            self._turns.changed(key)

    async def run(self) -> None:
        """Take groups in their turn, until cancelled."""
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await slots.acquire()
                key = await self._turns.next()
                tasks.create_task(self._turn(key)).add_done_callback(lambda _: slots.release())

    async def resync(self) -> None:
        """Look at every group again every few minutes, whatever events say, until cancelled."""
        while True:
            await self._sleep(self._timing.resync * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
            self.all_changed()

    async def _turn(self, key: str) -> None:
        began = time.perf_counter()
        result = "ok"
        try:
            await self.reconcile(key)
        except NotLeader:
            result = "not_leader"
            self._turns.done(key)
        except PublishError as error:
            result = "error"
            delay = self._turns.failed(key, at_least=error.retry_after)
            log.warning(
                "a group could not be published in full",
                extra={"group": key, "error": str(error), "again_in_seconds": round(delay, 2)},
            )
        except Exception:
            result = "error"
            delay = self._turns.failed(key)
            log.exception(
                "a group could not be planned; the others go on",
                extra={"group": key, "again_in_seconds": round(delay, 2)},
            )
        else:
            self._turns.done(key)
        self._metrics.reconciles.labels(result).inc()
        self._metrics.reconcile_seconds.observe(time.perf_counter() - began)

    async def reconcile(self, key: str) -> None:
        """Plan the group and publish what differs; on a replica that does not lead, only see to its caches.

        Raises NotLeader, PublishError.
        """
        group = self._cluster.group(key)
        if group is None:
            self._pods.follow(key, key.partition("/")[0], None)
            self._observations.forget(key)
            self._turns.queue.forget(key)
            self._written.at.pop(key, None)
            return
        now = self._wall()
        sets = self._cluster.sets(key, now)
        world = GroupWorld(
            group=group,
            pods=None,
            sets=sets,
            balancers=self._cluster.balancers(),
            observation=self._observation(key),
            neighbors=self._cluster.neighbors,
            settings=self._settings,
            status_written=self._written.status_at(key, now),
            cordoned=self._cordoned(),
            autoscale=self._scaling(key),
        )
        self._pods.follow(key, group.namespace, watched_selector(world))
        if not self._leading():
            return
        wait = self._pods.pending(key)
        if wait > 0.0:
            self._turns.wake(key, wait)
            return
        decided = self._plan(key, world, now)
        await self._publisher.publish(group, decided, {one.name: one for one in sets}, lambda: self._wanted(group))

    def _observation(self, key: str) -> Observation | None:
        """Return what balancers say of the group; of a new one, what they said before it was there."""
        known = self._observations.of(key)
        if known is None and self._observations.asked:
            self._observations.observe(key, self._cluster.balancer_of(key), boottime(), self._wall())
            known = self._observations.of(key)
        return known

    def _plan(self, key: str, world: GroupWorld, now: datetime) -> Plan:
        with self._metrics.plan_seconds.time():
            decided = plan(replace(world, pods=self._pods.pods(key)), now)
        if decided.wake_at is not None:
            delay = (decided.wake_at - now).total_seconds()
            self._turns.wake(key, min(max(delay, self._timing.soonest_wake), self._timing.resync))
        return decided

    def _wanted(self, group: GroupObject) -> bool:
        """Whether the group is there now, under the uid that was planned for."""
        known = self._cluster.group(group.key)
        return known is not None and known.uid == group.uid and not known.deleting
