"""How far the drain of a node is: from its set, what balancers report, and what the status last said of it.

A drain that was seen to be done stays so until a fresh report says otherwise: a node that shuts down goes silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from switchtender_api.v1alpha1 import GroupPolicy
from switchtender_operator.domain.drains import OWN_WILL, Countdown, countdown, read_countdown, span
from switchtender_operator.domain.members import Member
from switchtender_operator.domain.world import NodeReport

_LEAST_FRESH = timedelta(seconds=3)
_POLLS = 3


def progress(
    member: Member,
    report: NodeReport | None,
    before: Mapping[str, Any],
    policy: GroupPolicy | None,
    now: datetime,
    *,
    heard: bool,
) -> Countdown | None:
    """Return how far the drain of a node is, None if it does not drain.

    `heard` tells whether any balancer answers, `report` is what they say of the node, and `before` its summary in the
    last status, empty without one. A node that drains of its own will does so since a balancer first saw that, or since
    the status said so: balancers that have been restarted do not set it back. One that did so before a set drained it
    is shown as balancers show it: the earliest start and the earliest deadline count.
    """
    remembered = read_countdown(before.get("drain"), now)
    if member.state == "Draining":
        own = remembered.since if remembered is not None and not heard else None
        found = _earlier(span(member.body), own if report is None else report.drain_since, policy)
    else:
        former = remembered.since if remembered is not None and before.get("reason") in OWN_WILL else None
        found = _own_will(member, report, former, policy, heard=heard)
    if found is None:
        return None
    since, deadline = found
    empty = is_empty(report, policy)
    if empty is None:
        empty = remembered is not None and remembered.since == since and remembered.drained
    return countdown(since, deadline, drained=empty, now=now)


def is_empty(report: NodeReport | None, policy: GroupPolicy | None) -> bool | None:
    """Return whether no call is left on a node and none on its way there, for no balancer has one for it any more; None
    where no fresh report says.

    A report is fresh up to health.staleAfter; for Auto up to three questions on the Event Socket, at least 3 s.
    """
    if report is None or report.sessions is None or report.age is None or policy is None:
        return None
    stale_after = policy.health.stale_after
    learned = max(_LEAST_FRESH, _POLLS * policy.health.poll_interval)
    longest = stale_after if isinstance(stale_after, timedelta) else learned
    if report.age > longest.total_seconds():
        return None
    return report.empty


def _earlier(
    drain: tuple[datetime, datetime | None] | None, own: datetime | None, policy: GroupPolicy | None
) -> tuple[datetime, datetime | None] | None:
    """Return the drain of a set with the start of one that was there before. Balancers tell whole seconds."""
    if drain is None or own is None or policy is None or own >= drain[0].replace(microsecond=0):
        return drain
    deadlines = [time for time in (drain[1], own + policy.drain.timeout) if time is not None]
    return own, min(deadlines)


def _own_will(
    member: Member, report: NodeReport | None, former: datetime | None, policy: GroupPolicy | None, *, heard: bool
) -> tuple[datetime, datetime | None] | None:
    """Return since and until when a node drains that no set drains; one that we paused is about to be resumed."""
    if member.state != "Ready":
        return None
    if report is None:
        since = None if heard else former
    elif report.state == "draining" and report.reason in OWN_WILL and not report.paused_by_us:
        since = min((time for time in (report.drain_since, former) if time is not None), default=None)
    else:
        since = None
    if since is None:
        return None
    return since, None if policy is None else since + policy.drain.timeout
