"""A cluster in virtual time for tests of autoscaling: its controller removes pods as Kubernetes does, callers call."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from scale_worlds import NOW, autoscale

from switchtender_operator.domain.autoscale import (
    LOWEST_COST,
    ScaleDecision,
    ScaleHistory,
    ScaleNode,
    ScaleTargetSeen,
    ScaleWorld,
    decide,
)

CAPACITY = 20


@dataclass
class RunningPod:
    """A pod with calls: the seconds each of them goes on."""

    name: str
    made: datetime
    boots: float
    calls: list[float] = field(default_factory=list)
    drained: datetime | None = None
    ours: bool = False
    cost: int | None = None

    def seen(self, now: datetime) -> ScaleNode:
        """The pod as the operator sees it."""
        up = (now - self.made).total_seconds() >= self.boots
        return ScaleNode(
            uid=f"uid-{self.name}",
            name=self.name,
            ready=up,
            pending=not up,
            terminating=False,
            drained_by_us=self.ours,
            draining=self.drained is not None,
            since=self.drained,
            expired=False,
            state="unknown" if not up else "draining" if self.drained else "ready",
            sessions=len(self.calls) if up else None,
            capacity=float(CAPACITY) if up else None,
            age=0.5 if up else None,
            cost=self.cost,
            created=self.made,
        )


@dataclass
class Cluster:
    """Pods, callers and one leader. `cut` counts calls on pods that were removed, `lost` those no node took.

    With `chance` calls come and end by it; without, they come evenly and all last equally long.
    """

    dice: random.Random
    ordinal: bool = False
    chance: bool = True
    boots: float = 30.0
    spec: dict[str, Any] = field(default_factory=dict)
    step: float = 5.0
    now: datetime = NOW
    replicas: int = 1
    pods: list[RunningPod] = field(default_factory=list)
    history: ScaleHistory = field(default_factory=ScaleHistory)
    made: int = 0
    due: float = 0.0
    cut: int = 0
    lost: int = 0
    drains: int = 0
    revivals: int = 0

    def world(self) -> ScaleWorld:
        """What the leader sees."""
        return ScaleWorld(
            now=self.now,
            spec=autoscale(**self.spec),
            legs_per_call=1,
            on_timeout="Hold",
            target=ScaleTargetSeen(
                replicas=self.replicas,
                status_replicas=len(self.pods),
                rolling=False,
                resource_version="1",
                ordinal=self.ordinal,
            ),
            nodes=self.dice.sample([pod.seen(self.now) for pod in self.pods], len(self.pods)),
            stale_after=10.0,
        )

    def run(self, seconds: float, offered: Callable[[float], float], length: float = 120.0) -> list[ScaleDecision]:
        """Let `seconds` pass with `offered(seconds since the start)` calls at a time on the average."""
        decisions = []
        passed = 0.0
        while passed < seconds:
            self._control()
            self._callers(offered(passed) * self.step / length, length)
            decisions.append(self._lead())
            passed += self.step
            self.now += timedelta(seconds=self.step)
        return decisions

    def _control(self) -> None:
        while len(self.pods) < self.replicas:
            number = min(set(range(len(self.pods) + 1)) - {int(pod.name[3:]) for pod in self.pods})
            if not self.ordinal:
                number, self.made = self.made, self.made + 1
            self.pods.append(RunningPod(f"fs-{number}", self.now, self.boots * self.dice.uniform(0.5, 1.5)))
        while len(self.pods) > self.replicas:
            gone = max(self.pods, key=lambda pod: int(pod.name[3:])) if self.ordinal else min(self.pods, key=self._rank)
            self.pods.remove(gone)
            self.cut += len(gone.calls)

    def _rank(self, pod: RunningPod) -> tuple[bool, bool, int, float]:
        """The order in which a ReplicaSet removes pods; chance stands for what it goes by last."""
        seen = pod.seen(self.now)
        return (not seen.pending, seen.ready, pod.cost or 0, self.dice.random())

    def _callers(self, arrivals: float, length: float) -> None:
        for pod in self.pods:
            pod.calls = [left - self.step for left in pod.calls if left > self.step]
        self.due += self.dice.uniform(0, 2 * arrivals) if self.chance else arrivals
        while self.due >= 1:
            self.due -= 1
            able = [p for p in self.pods if p.seen(self.now).state == "ready" and len(p.calls) < CAPACITY]
            if able:
                min(able, key=lambda pod: len(pod.calls)).calls.append(
                    self.dice.expovariate(1 / length) if self.chance else length
                )
            else:
                self.lost += 1

    def _lead(self) -> ScaleDecision:
        decision, self.history = decide(self.world(), self.history)
        by_uid = {f"uid-{pod.name}": pod for pod in self.pods}
        for uid in decision.drain:
            by_uid[uid].drained, by_uid[uid].ours = self.now, True
        for uid in decision.revive:
            by_uid[uid].drained, by_uid[uid].ours, by_uid[uid].cost = None, False, None
        for uid in decision.lowest:
            by_uid[uid].cost = LOWEST_COST
        self.replicas = self.replicas if decision.replicas is None else decision.replicas
        self.drains += len(decision.drain)
        self.revivals += len(decision.revive)
        return decision
