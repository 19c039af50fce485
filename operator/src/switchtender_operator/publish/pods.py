"""Writes to pods and to the scale of their workload: drains, marks, replicas. Decides nothing, remembers nothing.

As all writes: each in its turn, and fenced. A pod is written only under the uid that was meant; a drain is begun or
taken back only in the very version in which it was looked at, and only where nobody else asked for one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

from switchtender_api.constants import (
    ANNOTATION_DELETION_COST,
    ANNOTATION_DRAIN,
    ANNOTATION_DRAINED_BY,
    ANNOTATION_SAFE_TO_EVICT,
    DRAINED_BY_AUTOSCALE,
)
from switchtender_api.v1alpha1.units import format_time
from switchtender_kube import ApiError, Client, Json, NotLeader, Resource, Unreachable, WriteLimiter
from switchtender_operator.domain.autoscale import LOWEST_COST
from switchtender_operator.domain.marks import Marks
from switchtender_operator.domain.pods import Pod
from switchtender_operator.publish.publisher import result_of

PODS = Resource("", "v1", "pods")


class Counts(Protocol):
    """Takes the results of writes."""

    def marked(self, result: str) -> None:
        """Count a write to a pod."""

    def scaled(self, direction: str, result: str) -> None:
        """Count a write of replicas."""


class PodWriter:
    """Writes on behalf of the leader. A write that came too late, for the object changed or went, gives False.

    All methods raise NotLeader, ApiError, Unreachable.
    """

    def __init__(self, client: Client, limiter: WriteLimiter, *, fence: Callable[[], bool], counts: Counts) -> None:
        self._client = client
        self._limiter = limiter
        self._fence = fence
        self._counts = counts

    async def drain(self, pod: Pod, since: datetime) -> bool:
        """Ask for the pod's drain, unless it is being drained or deleted."""
        metadata = await self._present(pod)
        if metadata is None or ANNOTATION_DRAIN in _annotations(metadata) or "deletionTimestamp" in metadata:
            return False
        text = format_time(since.astimezone(UTC).replace(microsecond=0))
        asked: dict[str, str | None] = {ANNOTATION_DRAIN: text, ANNOTATION_DRAINED_BY: DRAINED_BY_AUTOSCALE}
        return await self._annotate(pod, asked, str(metadata["resourceVersion"]))

    async def revive(self, pod: Pod) -> bool:
        """Take back a drain that autoscaling asked for, with the cost that would let the pod go first."""
        metadata = await self._present(pod)
        present = _annotations(metadata or {})
        if metadata is None or present.get(ANNOTATION_DRAINED_BY) != DRAINED_BY_AUTOSCALE:
            return False
        gone: dict[str, str | None] = {ANNOTATION_DRAIN: None, ANNOTATION_DRAINED_BY: None}
        if present.get(ANNOTATION_DELETION_COST) == str(LOWEST_COST):
            gone[ANNOTATION_DELETION_COST] = None
        return await self._annotate(pod, gone, str(metadata["resourceVersion"]))

    async def mark(self, pod: Pod, marks: Marks) -> bool:
        """Write the marks; one that is None stays as it is."""
        values: dict[str, str | None] = {}
        if marks.cost is not None:
            values[ANNOTATION_DELETION_COST] = str(marks.cost)
        if marks.safe_to_evict is not None:
            values[ANNOTATION_SAFE_TO_EVICT] = "true" if marks.safe_to_evict else "false"
        return await self._annotate(pod, values, None)

    async def scale(self, path: str, replicas: int, version: str, direction: str) -> bool:
        """Set the replicas of the scale at `path`, in that version of it and in no other."""
        body: Json = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
        return await self._patch(path, body, lambda result: self._counts.scaled(direction, result))

    async def _present(self, pod: Pod) -> Json | None:
        """Return the pod's metadata as it is now, None if the pod is gone."""
        try:
            found = await self._client.get(PODS.path(pod.namespace, pod.name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        metadata: Json = found["metadata"]
        return metadata if metadata["uid"] == pod.uid else None

    async def _annotate(self, pod: Pod, values: dict[str, str | None], version: str | None) -> bool:
        guard = {"uid": pod.uid} | ({} if version is None else {"resourceVersion": version})
        body: Json = {"metadata": {**guard, "annotations": values}}
        return await self._patch(PODS.path(pod.namespace, pod.name), body, self._counts.marked)

    async def _patch(self, path: str, body: Json, counted: Callable[[str], None]) -> bool:
        if not self._fence():
            raise NotLeader

        def send() -> Awaitable[Json]:
            return self._client.patch(path, body, fence=self._fence)

        try:
            await self._limiter.call(send)
        except (ApiError, Unreachable) as error:
            late = isinstance(error, ApiError) and _too_late(error)
            counted("conflict" if late else result_of(error))
            if late:
                return False
            raise
        counted("applied")
        return True


def _too_late(error: ApiError) -> bool:
    """Whether the object went or changed meanwhile. Another one under its name is "Invalid": a uid never changes."""
    return error.status in {404, 409} or (error.status == 422 and "metadata.uid" in error.message)


def _annotations(metadata: Json) -> Json:
    found: Json = metadata.get("annotations") or {}
    return found
