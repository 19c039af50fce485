"""What Kubernetes makes of a number of replicas: which pods it creates, and above all which it removes.

The rules of kube-controller-manager as its source has them, for pods that run: the order in which a ReplicaSet removes
pods, a Deployment's roll-out within maxSurge and maxUnavailable, a StatefulSet with podManagementPolicy Parallel. Left
out: the proportional split of a Deployment that is scaled in the middle of a roll-out (the old pods go first here).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from tests.autoscaling.cluster import Cluster, Pod


class Target(Protocol):
    """What a policy sees of a scale subresource, and may do to it."""

    replicas: int
    ordinal: bool

    @property
    def status_replicas(self) -> int:
        """Pods that are there, as the target's status has it."""
        ...

    @property
    def rolling(self) -> bool:
        """Whether a roll-out is in progress."""
        ...

    def scale(self, replicas: int) -> None:
        """Set the number of replicas."""
        ...

    def roll(self) -> None:
        """Change the pod template."""
        ...


def removal_order(pods: Iterable[Pod], active: Sequence[Pod], now: float) -> list[Pod]:
    """Pods of a ReplicaSet, the one that it removes first at the head (ActivePodsWithRanks of the controller).

    Pending before running; not ready before ready; then the lower deletion cost; then the one whose host has more of
    them; then the shorter time since it became ready (or, not ready, since it was made) by powers of two; then the UID.
    """
    beside = Counter(pod.host for pod in active)
    return sorted(
        pods,
        key=lambda pod: (
            pod.running_at <= now,
            pod.ready,
            pod.cost or 0,
            -beside[pod.host],
            _power(now - (pod.created if pod.ready_at is None else pod.ready_at)),
            pod.uid,
        ),
    )


def _power(seconds: float) -> int:
    """LogarithmicScaleDown: times within a power of two nanoseconds are alike."""
    return int(math.log2(seconds * 1e9)) if seconds > 0 else -1


class _Workload:
    """What has pods by a template: told to have so many, or of a new template, it acts at once."""

    def __init__(self, cluster: Cluster, replicas: int) -> None:
        self.replicas = replicas
        self._cluster = cluster
        self._revision = 1

    def scale(self, replicas: int) -> None:
        self._cluster.note_scale(self.replicas, replicas)
        self.replicas = replicas
        self._reconcile()

    def roll(self) -> None:
        self._revision += 1
        self._reconcile()

    def _reconcile(self) -> None:
        raise NotImplementedError


class Deployment(_Workload):
    """A Deployment with its ReplicaSets: one for each revision of the template."""

    ordinal = False

    def __init__(self, cluster: Cluster, replicas: int, *, surge: int = 1, unavailable: int = 0) -> None:
        super().__init__(cluster, replicas)
        self._surge, self._unavailable = surge, unavailable
        for _ in range(replicas):
            cluster.start(revision=1, running=True)
        cluster.changed = self._reconcile

    @property
    def status_replicas(self) -> int:
        return len(self._cluster.active)

    @property
    def rolling(self) -> bool:
        return any(pod.revision != self._revision for pod in self._cluster.active)

    def _reconcile(self) -> None:
        active = self._cluster.active
        new = [pod for pod in active if pod.revision == self._revision]
        old = [pod for pod in active if pod.revision != self._revision]
        room = self.replicas + self._surge - len(active) if old else self.replicas - len(new)
        for _ in range(max(0, min(room, self.replicas - len(new)))):
            self._cluster.start(revision=self._revision)
        self._remove(new, len(new) - self.replicas)
        if old:
            spare = sum(pod.ready for pod in active) - (self.replicas - self._unavailable)
            # Pods of the old template that never became ready go whatever is available.
            self._remove(old, max(spare, sum(not pod.ready for pod in old)))

    def _remove(self, pods: Sequence[Pod], number: int) -> None:
        if number > 0:
            for pod in removal_order(pods, self._cluster.active, self._cluster.now)[:number]:
                self._cluster.terminate(pod)


class StatefulSet(_Workload):
    """A StatefulSet whose pods start and go at once (podManagementPolicy Parallel), the highest ordinal first."""

    ordinal = True

    def __init__(self, cluster: Cluster, replicas: int) -> None:
        super().__init__(cluster, replicas)
        for ordinal in range(replicas):
            cluster.start(name=f"fs-{ordinal}", ordinal=ordinal, revision=1, running=True)
        cluster.changed = self._reconcile

    @property
    def status_replicas(self) -> int:
        return len(self._cluster.pods)

    @property
    def rolling(self) -> bool:
        return any(pod.revision != self._revision for pod in self._cluster.pods)

    def _reconcile(self) -> None:
        there = {pod.ordinal: pod for pod in self._cluster.pods}
        for ordinal in range(self.replicas):
            # One that still ends holds its name.
            if ordinal not in there:
                self._cluster.start(name=f"fs-{ordinal}", ordinal=ordinal, revision=self._revision)
        for ordinal in sorted(there, reverse=True):
            if ordinal >= self.replicas:
                self._cluster.terminate(there[ordinal])
        self._update([pod for pod in self._cluster.pods if pod.ordinal < self.replicas])

    def _update(self, pods: Sequence[Pod]) -> None:
        """A rolling update: the highest ordinal of an old template, once all above it are ready again."""
        for pod in sorted(pods, key=lambda pod: -pod.ordinal):
            if pod.revision != self._revision and pod.active:
                self._cluster.terminate(pod)
                return
            if not pod.ready or not pod.active:
                return
