"""Marks the pods of every group by their load: which are cheap to lose, which must not be moved.

What a pod carries is the truth, so a new leader begins where the last one stopped; remembered is only when each was
written, for Kubernetes wants few such writes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from switchtender_api.v1alpha1 import GroupPolicy
from switchtender_kube import ApiError, Unreachable
from switchtender_operator.domain.autoscale import ScaleNode
from switchtender_operator.domain.marks import Marks, forsaken, wanted
from switchtender_operator.domain.pods import Pod
from switchtender_operator.domain.scale_nodes import current_marks

log = logging.getLogger(__name__)

_REFUSED_FOR = 300.0
"""Seconds for which nothing is tried once the API server said that we may not: rights come by hand."""
_FAILED_FOR = 10.0


class MarksPods(Protocol):
    """Where marks go."""

    async def mark(self, pod: Pod, marks: Marks) -> bool:
        """Write the marks of a pod; whether it was still there."""


class Marker:
    """Marks pods, at most `budget` in a round. `enabled` False: none but those that scaling asks for, and those that
    are no longer for it to remove.
    """

    def __init__(self, writer: MarksPods, *, enabled: bool, budget: int) -> None:
        self._writer = writer
        self._enabled = enabled
        self._budget = budget
        self._left = 0
        self._written: dict[str, datetime] = {}
        self._seen: set[str] = set()
        self._not_before = 0.0

    def begin(self) -> None:
        """Begin a round: what was written of pods that the last one did not see is forgotten."""
        self._written = {uid: at for uid, at in self._written.items() if uid in self._seen}
        self._seen = set()
        self._left = self._budget

    def clear(self) -> None:
        """Forget everything, as who does not lead any more."""
        self._written.clear()
        self._seen.clear()
        self._not_before = 0.0

    async def lowest(self, pod: Pod, cost: int, now: datetime) -> bool:
        """Write the cost by which a pod goes first, at once. Raises NotLeader, ApiError, Unreachable."""
        self._written[pod.uid] = now
        self._seen.add(pod.uid)
        return await self._writer.mark(pod, Marks(cost, True if self._enabled else None))

    async def mark(
        self,
        pods: Mapping[str, Pod],
        nodes: Sequence[ScaleNode],
        policy: GroupPolicy,
        *,
        stale_after: float,
        now: datetime,
        clock: float,
    ) -> None:
        """Mark a group's pods; one of several groups by the first of them. Raises NotLeader alone."""
        mine = [node for node in nodes if node.uid not in self._seen]
        self._seen.update(node.uid for node in mine)
        if clock < self._not_before:
            return
        if self._enabled:
            writes = wanted(
                mine,
                current_marks(pods[node.uid] for node in mine),
                self._written,
                now,
                on_timeout=policy.drain.on_timeout,
                stale_after=stale_after,
                budget=self._left,
            )
        else:
            writes = forsaken(mine, self._written, now, budget=self._left)
        for write in writes:
            self._left -= 1
            self._written[write.uid] = now
            try:
                await self._writer.mark(pods[write.uid], write.marks)
            except (ApiError, Unreachable) as error:
                refused = isinstance(error, ApiError) and error.status == 403
                self._not_before = clock + (_REFUSED_FOR if refused else _FAILED_FOR)
                log.warning("pods cannot be marked", extra={"pod": write.name, "error": str(error)})
                return
