"""Since when and until when a node is drained, from the objects alone: any leader says the same.

Knows neither sets nor status, only what stands in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from switchtender_api.constants import ANNOTATION_DRAINED_BY, DRAINED_BY_AUTOSCALE
from switchtender_api.problems import Refusal
from switchtender_api.static_members import DRAIN_REASON
from switchtender_api.v1alpha1 import MemberDrain
from switchtender_api.v1alpha1.group import Drain
from switchtender_api.v1alpha1.units import format_time, parse_time
from switchtender_operator.domain.pods import Pod

TERMINATING = "Terminating"
"""Reason of the drain of a pod that is being deleted; one on request has `static_members.DRAIN_REASON`."""

SCALE_IN = "ScaleIn"
"""Reason of one that the operator asked for, so that the target of `spec.autoscale` can shrink."""

NODE_CORDONED = "NodeCordoned"
"""Reason of one whose Kubernetes node takes no more pods."""

BY_OBJECTS = frozenset({TERMINATING, DRAIN_REASON, SCALE_IN, NODE_CORDONED})
"""Reasons that come from objects of the cluster, so that they hold no longer than these say so."""

OWN_WILL = frozenset({"Paused", "ShutdownRequested", "ShuttingDown"})
"""Reasons that a balancer gives for a node that drains of itself: no set says so."""


@dataclass(frozen=True, slots=True)
class Request:
    """The drain that a pod's annotation asks for, from a time on."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Cordons:
    """Kubernetes nodes that take no more pods, by name: since when, None where they do not say.

    `written` are the bodies of members as they stand in the sets, by uid: who drained there already goes on since then.
    """

    nodes: Mapping[str, datetime | None] = field(default_factory=dict)
    written: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def since(self, pod: Pod, now: datetime) -> datetime | None:
        """Return since when the pod's node is cordoned, None if it is not. To the second, as it will be read back."""
        if pod.node is None or pod.node not in self.nodes:
            return None
        return self.nodes[pod.node] or _written_since(self.written.get(pod.uid)) or now.replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Draining:
    """The drain of a node, None where there is none now; `begins` is when one asked for will begin."""

    drain: MemberDrain | None = None
    begins: datetime | None = None


def request_of(pod: Pod, since: datetime | None) -> Request | None:
    """Return what a pod's annotations ask for; `since` is the time that the one for drains holds."""
    if since is None:
        return None
    by_us = pod.annotation(ANNOTATION_DRAINED_BY) == DRAINED_BY_AUTOSCALE
    return Request(since, SCALE_IN if by_us else DRAIN_REASON)


def pod_drain(pod: Pod, request: Request | None, cordoned: datetime | None, policy: Drain, now: datetime) -> Draining:
    """Return the drain of a pod: by its deletion, by the time its annotation asks for, by its node's cordon.

    The earliest start counts, and the reason is the first of these that applies. A deletion began its grace before the
    time it is due. Waiting ends `drain.timeout` after the start, for a pod that is being deleted at the latest when it
    is killed.
    """
    begins = request.since if request is not None and request.since > now and pod.deletion is None else None
    sources: list[tuple[datetime, str]] = []
    if pod.deletion is not None:
        sources.append((pod.deletion - pod.grace, TERMINATING))
    if request is not None and request.since <= now:
        sources.append((request.since, request.reason))
    if cordoned is not None:
        sources.append((cordoned, NODE_CORDONED))
    if not sources:
        return Draining(begins=begins)
    since, reason = min(start for start, _ in sources), sources[0][1]
    deadline = since + policy.timeout
    if pod.deletion is not None:
        deadline = min(deadline, pod.deletion)
    drain = MemberDrain(
        since=since.astimezone(UTC), deadline=deadline.astimezone(UTC), reason=reason, pause=policy.pause_node
    )
    return Draining(drain, begins)


def static_drain(drain: MemberDrain | None, now: datetime) -> Draining:
    """Return the drain of a static member: its own, from its start on."""
    if drain is not None and drain.since > now:
        return Draining(begins=drain.since)
    return Draining(drain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """How far a drain is: `drained` once nothing is left, `expired` once waiting ended before that."""

    since: datetime
    deadline: datetime | None
    drained: bool = False
    expired: bool = False

    def summary(self) -> dict[str, Any]:
        """Return it as it stands in status.nodeSummaries[].drain."""
        deadline = {} if self.deadline is None else {"deadline": format_time(self.deadline)}
        return {"since": format_time(self.since), **deadline, "drained": self.drained, "expired": self.expired}


def countdown(since: datetime, deadline: datetime | None, *, drained: bool, now: datetime) -> Countdown:
    """Return how far a drain is at `now`. One that nobody knows to be empty expires: null is not zero."""
    expired = deadline is not None and deadline <= now and not drained
    return Countdown(since=since, deadline=deadline, drained=drained, expired=expired)


def read_countdown(raw: object, now: datetime) -> Countdown | None:
    """Return what a status tells of a drain, as it is at `now`; None where that cannot be read."""
    since = _written_time(raw, "since")
    if since is None or not isinstance(raw, Mapping):
        return None
    return countdown(since, _written_time(raw, "deadline"), drained=raw.get("drained") is True, now=now)


def span(body: Mapping[str, Any]) -> tuple[datetime, datetime | None] | None:
    """Return since and until when a member is drained as its body in a set says, None where it is not."""
    since = _written_since(body)
    return None if since is None else (since, _written_time(body.get("drain"), "deadline"))


def _written_since(body: Mapping[str, Any] | None) -> datetime | None:
    return None if body is None else _written_time(body.get("drain"), "since")


def _written_time(raw: object, name: str) -> datetime | None:
    value = raw.get(name) if isinstance(raw, Mapping) else None
    try:
        return parse_time(value) if isinstance(value, str) else None
    except Refusal:
        return None
