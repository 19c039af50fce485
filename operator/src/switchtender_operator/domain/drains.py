"""Since when and until when a node is drained: absolute times from the objects alone, so any leader says the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from switchtender_api.static_members import DRAIN_REASON
from switchtender_api.v1alpha1 import MemberDrain
from switchtender_api.v1alpha1.group import Drain
from switchtender_operator.domain.pods import Pod

TERMINATING = "Terminating"
"""Reason of the drain of a pod that is being deleted; one on request has `static_members.DRAIN_REASON`."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The drain of a node, None where there is none now; `begins` is when one asked for will begin."""

    drain: MemberDrain | None = None
    begins: datetime | None = None


_NOT = Draining()


def pod_drain(pod: Pod, requested: datetime | None, policy: Drain, now: datetime) -> Draining:
    """Return the drain of a pod, by its deletion and by the time its annotation asks for.

    A deletion began its grace before the time it is due. The earlier of the two starts counts; waiting ends
    `drain.timeout` after it, for a pod that is being deleted at the latest when it is killed.
    """
    due = requested is not None and requested <= now
    if pod.deletion is None:
        if requested is None:
            return _NOT
        if not due:
            return Draining(begins=requested)
        return Draining(_drain(requested, requested + policy.timeout, DRAIN_REASON, policy))
    since = pod.deletion - pod.grace
    if requested is not None and due:
        since = min(since, requested)
    return Draining(_drain(since, min(since + policy.timeout, pod.deletion), TERMINATING, policy))


def static_drain(drain: MemberDrain | None, now: datetime) -> Draining:
    """Return the drain of a static member: its own, from its start on."""
    if drain is not None and drain.since > now:
        return Draining(begins=drain.since)
    return Draining(drain)


def _drain(since: datetime, deadline: datetime, reason: str, policy: Drain) -> MemberDrain:
    return MemberDrain(
        since=since.astimezone(UTC), deadline=deadline.astimezone(UTC), reason=reason, pause=policy.pause_node
    )
