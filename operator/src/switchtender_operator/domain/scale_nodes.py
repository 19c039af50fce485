"""Pods as autoscaling and marks see them: with what drains them, what balancers report, and the marks that they carry.

Pure; decides nothing. Nothing here is remembered: a new leader sees the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from switchtender_api.constants import (
    ANNOTATION_DELETION_COST,
    ANNOTATION_DRAIN,
    ANNOTATION_DRAINED_BY,
    ANNOTATION_SAFE_TO_EVICT,
    DRAINED_BY_AUTOSCALE,
)
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.group import Drain
from switchtender_api.v1alpha1.units import parse_time
from switchtender_operator.domain.autoscale import ScaleNode
from switchtender_operator.domain.drains import NODE_CORDONED, OWN_WILL, pod_drain, request_of, span
from switchtender_operator.domain.marks import Marks
from switchtender_operator.domain.pods import Pod
from switchtender_operator.domain.world import NodeReport, Observation

Bodies = Mapping[str, Mapping[str, Any]]
"""Members as they stand in the sets, by uid."""

_NO_REPORT = NodeReport(name="", state="unknown")
_SAFE = {"true": True, "false": False}


def scale_nodes(
    pods: Iterable[Pod], bodies: Bodies, observation: Observation, drain: Drain, now: datetime
) -> list[ScaleNode]:
    """Return the pods that have not ended. Of the sets only the cordon of a pod's host is taken, which no pod tells."""
    elapsed = max(0.0, (now - observation.at).total_seconds())
    return [
        _node(pod, bodies.get(pod.uid), observation.nodes.get(pod.uid, _NO_REPORT), elapsed, drain, now)
        for pod in pods
        if not pod.gone
    ]


def drained_by_us(pod: Pod) -> bool:
    """Whether autoscaling asked for a drain of the pod, and for nobody else's reason."""
    return pod.annotation(ANNOTATION_DRAINED_BY) == DRAINED_BY_AUTOSCALE and _requested(pod) is not None


def current_marks(pods: Iterable[Pod]) -> dict[str, Marks]:
    """Return the marks that the pods carry, by uid."""
    return {pod.uid: Marks(_cost(pod), _SAFE.get(pod.mark(ANNOTATION_SAFE_TO_EVICT) or "")) for pod in pods}


def _node(
    pod: Pod, body: Mapping[str, Any] | None, report: NodeReport, elapsed: float, policy: Drain, now: datetime
) -> ScaleNode:
    drain = pod_drain(pod, request_of(pod, _requested(pod)), _cordoned(body), policy, now).drain
    starts = [start for start in (drain.since if drain else None, _own_will(report, now)) if start is not None]
    since = min(starts, default=None)
    deadlines = [since + policy.timeout] if since is not None else []
    if drain is not None and drain.deadline is not None:
        deadlines.append(drain.deadline)
    deadline = min(deadlines, default=None)
    sessions = None if report.sessions is None else report.sessions + math.floor(report.pending + 0.5)
    return ScaleNode(
        uid=pod.uid,
        name=pod.name,
        ready=pod.ready and pod.node is not None,
        pending=pod.phase == "Pending",
        terminating=pod.deletion is not None,
        drained_by_us=drained_by_us(pod),
        draining=since is not None,
        since=since,
        expired=deadline is not None and deadline <= now and sessions != 0,
        state=report.state,
        sessions=sessions,
        capacity=report.capacity,
        age=None if report.age is None else report.age + elapsed,
        cost=_cost(pod),
        created=pod.created,
        open=report.open,
    )


def _own_will(report: NodeReport, now: datetime) -> datetime | None:
    """Return since when the node drains of itself; a pause that a balancer put there on our behalf is none."""
    if report.state != "draining" or report.reason not in OWN_WILL or report.paused_by_us:
        return None
    return report.drain_since or now


def _cordoned(body: Mapping[str, Any] | None) -> datetime | None:
    if body is None:
        return None
    drain = body.get("drain")
    found = span(body) if isinstance(drain, Mapping) and drain.get("reason") == NODE_CORDONED else None
    return None if found is None else found[0]


def _requested(pod: Pod) -> datetime | None:
    text = pod.annotation(ANNOTATION_DRAIN)
    try:
        return None if text is None else parse_time(text)
    except Refusal:
        return None


def _cost(pod: Pod) -> int | None:
    try:
        return int(pod.mark(ANNOTATION_DELETION_COST) or "")
    except ValueError:
        return None


def stale_after(setting: timedelta | str, learned: float) -> float:
    """Return the age in seconds past which a report is stale; `learned` where the group leaves that to the balancers,
    which say so by the node's state.
    """
    return setting.total_seconds() if isinstance(setting, timedelta) else learned
