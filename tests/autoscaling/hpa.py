"""The arithmetic of a HorizontalPodAutoscaler (autoscaling/v2), as kube-controller-manager has it. Pure.

desired = ceil(replicas × metric / target), nothing within a tolerance of a tenth, pods that start left out or taken for
idle, no more at a time than the behavior allows, and the highest recommendation of the scale-down window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOLERANCE = 0.1
PERIOD = 15.0
#: --horizontal-pod-autoscaler-cpu-initialization-period and …-initial-readiness-delay.
CPU_INITIALIZATION = 300.0
READINESS_DELAY = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUse:
    """A pod that is not being deleted, as the HPA sees it."""

    name: str
    started: float
    ready_at: float | None
    sampled: float | None
    """When its CPU was sampled; None when there is no sample yet."""
    use: float = 0.0
    """CPU as a share of what it requests."""


def by_cpu(pods: Sequence[PodUse], current: int, target: float, now: float, window: float = PERIOD) -> int:
    """Replicas for a target share of the requested CPU (GetResourceReplicas)."""
    unready = {pod.name for pod in pods if _unready(pod, now, window)}
    missing = {pod.name for pod in pods if pod.sampled is None} - unready
    uses = {pod.name: pod.use for pod in pods if pod.name not in unready and pod.name not in missing}
    if not uses:
        return current
    ratio = _ratio(uses, target)
    rising = ratio > 1
    if not missing and not (unready and rising):
        return current if _within(ratio) else math.ceil(ratio * len(uses))
    if ratio < 1:
        uses |= dict.fromkeys(missing, max(1.0, target))
    elif rising:
        uses |= dict.fromkeys(missing, 0.0)
    if unready and rising:
        uses |= dict.fromkeys(unready, 0.0)
    careful = _ratio(uses, target)
    if _within(careful) or (ratio < 1) != (careful < 1):
        return current
    wanted = math.ceil(careful * len(uses))
    if (careful < 1 and wanted > current) or (careful > 1 and wanted < current):
        return current
    return wanted


def by_average(total: float, current: int, target: float) -> int:
    """Replicas for an external metric with an AverageValue (GetExternalPerPodMetricReplicas)."""
    if current and _within(total / (target * current)):
        return current
    return math.ceil(total / target)


def _unready(pod: PodUse, now: float, window: float) -> bool:
    if pod.ready_at is None:
        return True
    if pod.started + CPU_INITIALIZATION > now and pod.sampled is not None:
        return pod.sampled < pod.ready_at + window
    return False


def _ratio(uses: Mapping[str, float], target: float) -> float:
    return sum(uses.values()) / len(uses) / target


def _within(ratio: float) -> bool:
    return abs(1 - ratio) <= TOLERANCE


@dataclass(frozen=True, slots=True)
class Step:
    """A policy of spec.behavior: so many pods, or if that is more so much of them, within so many seconds."""

    seconds: float
    pods: int = 0
    part: float = 0.0


#: What holds where spec.behavior says nothing.
DEFAULT_UP = Step(15.0, pods=4, part=1.0)
DEFAULT_DOWN = Step(15.0, part=1.0)


class Behavior:
    """spec.behavior of one HPA, and what it remembers: recommendations and its own changes."""

    def __init__(
        self, *, least: int, most: int, up: Step = DEFAULT_UP, down: Step = DEFAULT_DOWN, down_window: float = 300.0
    ) -> None:
        self._least, self._most, self._down_window = least, most, down_window
        self._up, self._down = up, down
        self._recommended: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()

    def replicas(self, wanted: int, current: int, now: float) -> int:
        """What to set now for what the metric asks for; taken as set."""
        wanted = max(self._least, min(self._most, wanted))
        self._recommended.append((now, wanted))
        while self._recommended[0][0] < now - self._down_window:
            self._recommended.popleft()
        if wanted < current:
            wanted = min(current, max(recommended for _, recommended in self._recommended))
        while self._changes and self._changes[0][0] <= now - max(self._up.seconds, self._down.seconds):
            self._changes.popleft()
        if wanted > current:
            before = current - self._changed(now, self._up.seconds, 1)
            wanted = min(wanted, max(current, before + max(self._up.pods, math.ceil(before * self._up.part))))
        elif wanted < current:
            before = current + self._changed(now, self._down.seconds, -1)
            wanted = max(wanted, min(current, before - max(self._down.pods, math.ceil(before * self._down.part))))
        if wanted != current:
            self._changes.append((now, wanted - current))
        return wanted

    def _changed(self, now: float, seconds: float, sign: int) -> int:
        """Pods added (or removed) within the last so many seconds."""
        return sum(abs(change) for at, change in self._changes if at > now - seconds and change * sign > 0)
