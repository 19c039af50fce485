"""The ways to scale that are compared, but for the operator's own: HPAs on CPU and on sessions. Each acts on a clock.

The HPA on CPU is given the best CPU there could be: it follows the sessions exactly but for some noise, and a pod asks
for precisely what it uses when it is full. In a cluster it is worse.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from tests.autoscaling.cluster import Cluster, Pod
from tests.autoscaling.controllers import Target
from tests.autoscaling.hpa import PERIOD, Behavior, PodUse, Step, by_average, by_cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """minReplicas and maxReplicas, or autoscale.min and max."""

    least: int = 2
    most: int = 40


class CpuHpa:
    """autoscaling/v2 on the CPU of the pods, with the behavior that it has by default."""

    #: Share of the request that a pod without calls uses, the noise of a sample, what a start costs and for how long.
    idle, noise, spike, spike_seconds = 0.04, 0.05, 0.6, 60.0

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        bounds: Bounds,
        seed: int,
        *,
        utilization: float = 0.75,
        hurry: float = 1.0,
    ) -> None:
        self._cluster, self._target, self._utilization = cluster, target, utilization
        self._behavior = Behavior(least=bounds.least, most=bounds.most, down_window=300.0 / hurry)
        self._chance = random.Random(f"cpu {seed}")
        self._samples: dict[str, tuple[float, float]] = {}
        cluster.every(PERIOD, self._sample, first=PERIOD / 2)
        cluster.every(PERIOD, self._sync, first=PERIOD)

    def _sample(self) -> None:
        """What metrics-server takes every 15 s."""
        now = self._cluster.now
        self._samples = {pod.uid: (now, self._use(pod, now)) for pod in self._cluster.active if pod.running_at <= now}

    def _use(self, pod: Pod, now: float) -> float:
        site = self._cluster.site
        load = self.idle + (1 - self.idle) * pod.calls * site.legs / site.capacity
        starting = self.spike if now - pod.running_at < self.spike_seconds and pod.created > 0 else 0.0
        return max(0.0, load * self._chance.gauss(1, self.noise) + starting)

    def _sync(self) -> None:
        now = self._cluster.now
        pods = []
        for pod in self._cluster.active:
            sampled, use = self._samples.get(pod.uid, (None, 0.0))
            pods.append(PodUse(name=pod.uid, started=pod.created, ready_at=pod.ready_at, sampled=sampled, use=use))
        current = self._target.replicas
        wanted = by_cpu(pods, current, self._utilization, now)
        _set(self._target, self._behavior.replicas(wanted, current, now))


class SessionsHpa:
    """autoscaling/v2 as deploy/samples/autoscaling has it: wanted nodes recorded by Prometheus, AverageValue 1."""

    def __init__(
        self, cluster: Cluster, target: Target, bounds: Bounds, *, buffer_percent: int = 20, hurry: float = 1.0
    ) -> None:
        self._cluster, self._target, self._buffer = cluster, target, buffer_percent
        self._behavior = Behavior(
            least=bounds.least, most=bounds.most, up=Step(60.0, pods=10), down=Step(300.0 / hurry, pods=1),
            down_window=1800.0 / hurry,
        )  # fmt: skip
        self._recorded: int | None = None
        cluster.every(PERIOD, self._record, first=PERIOD / 2)
        cluster.every(PERIOD, self._sync, first=PERIOD)

    def _record(self) -> None:
        """The rule namespace_group:switchtender_wanted_nodes:ceil, as of the last scrape."""
        cluster, site = self._cluster, self._cluster.site
        pods = cluster.eligible
        if not pods:
            self._recorded = None  # no series: nothing is scaled by it
            return
        sessions = site.legs * sum(pod.report(cluster.now, site.report_interval) for pod in pods)
        self._recorded = math.ceil(sessions * (100 + self._buffer) / 100 / site.capacity)

    def _sync(self) -> None:
        if self._recorded is None:
            return
        current = self._target.replicas
        wanted = by_average(self._recorded, self._target.status_replicas, 1)
        _set(self._target, self._behavior.replicas(wanted, current, self._cluster.now))


def _set(target: Target, replicas: int) -> None:
    if replicas != target.replicas:
        target.scale(replicas)
