"""The status of a group: figures, nodes in short, conditions; and whether it differs enough to be written.

What was written before, as read back, is the only memory: figures that cannot be known now are kept from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from switchtender_api.v1alpha1 import GroupPolicy
from switchtender_api.v1alpha1.units import format_time
from switchtender_operator.domain.conditions import SERVING, Condition, by_type
from switchtender_operator.domain.drains import BY_OBJECTS, Countdown
from switchtender_operator.domain.members import Member
from switchtender_operator.domain.progress import progress
from switchtender_operator.domain.world import NodeReport, Observation

Json = dict[str, Any]
Written = Mapping[str, Any]
"""A status as it was read back."""

MOST_SUMMARIES = 50
_LONGEST_STATE, _LONGEST_REASON = 63, 100
_MOST_SESSIONS = 10**9
"""Of one node: a balancer of another version may say anything, and the API server holds a status to its schema."""
_LONGEST_MESSAGE = 32_768
"""Of a condition, in characters, as the API server takes it: one that is longer would keep the whole status out."""

_FIGURES = ("sessions", "capacity", "utilization")
_DRAINING_SESSIONS = "drainingSessions"
_POD_NOT_READY = "PodNotReady"
_BY_THE_POD = BY_OBJECTS | {_POD_NOT_READY}
"""Reasons that come from the pod or the spec, so that they hold no longer than these say so."""

_COUNTS = ("observedGeneration", "nodes", "ready", "draining", "truncated", "autoscale")


@dataclass(frozen=True, slots=True)
class Node:
    """A node in short: its state for people, and its load where it is known."""

    name: str
    state: str
    reason: str
    sessions: int | None = None
    capacity: int | None = None
    drain: Countdown | None = None

    def summary(self) -> Json:
        """Return it as it stands in status.nodeSummaries."""
        load = {"sessions": self.sessions, "capacity": self.capacity}
        known = {field: value for field, value in load.items() if value is not None}
        drain = {"drain": self.drain.summary()} if self.drain else {}
        return {"name": self.name, "state": self.state, "reason": self.reason, **known, **drain}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts of a group. `ready` are in service, full ones too; sessions and capacity are theirs alone.

    `draining_sessions` are those on nodes that drain, as far as they are known.
    """

    nodes: int = 0
    ready: int = 0
    draining: int = 0
    sessions: int = 0
    capacity: int = 0
    utilization: int = 0
    draining_sessions: int = 0


def nodes_of(
    members: Iterable[Member],
    observation: Observation | None,
    before: Written,
    policy: GroupPolicy | None,
    now: datetime,
) -> list[Node]:
    """Return the nodes with their states, those that drain first, then others out of service, then by name.

    While no balancer answers, a node that should be in service is shown as it last was.
    """
    reports = observation.nodes if _heard(observation) and observation else None
    remembered = summaries(before)
    nodes = []
    for member in members:
        report, was = (reports or {}).get(member.uid), remembered.get(member.name)
        node = _node(member, report, was if reports is None else None)
        if node.state == "draining":
            node = replace(node, drain=progress(member, report, was or {}, policy, now, heard=reports is not None))
        nodes.append(node)
    return sorted(nodes, key=lambda node: (_rank(node), node.name, node.state, node.reason))


def _rank(node: Node) -> int:
    return 0 if node.state == "draining" else 2 if node.state in SERVING else 1


def figures_of(
    nodes: Sequence[Node], members: Iterable[Member], observation: Observation | None, before: Written
) -> Figures:
    """Return the counts; while no balancer answers, the load is the one last known, and no more nodes are ready."""
    draining = sum(node.state == "draining" for node in nodes)
    if not _heard(observation):
        should = sum(member.state == "Ready" for member in members)
        known = {field: _count(before, field) for field in _FIGURES} if nodes else {}
        if draining:
            known["draining_sessions"] = _count(before, _DRAINING_SESSIONS)
        return Figures(nodes=len(nodes), ready=min(_count(before, "ready"), should), draining=draining, **known)
    serving = [node for node in nodes if node.state in SERVING]
    sessions = sum(node.sessions or 0 for node in serving)
    capacity = sum(node.capacity or 0 for node in serving)
    return Figures(
        nodes=len(nodes),
        ready=len(serving),
        draining=draining,
        sessions=sessions,
        capacity=capacity,
        utilization=min(100, sessions * 100 // capacity) if capacity else 0,
        draining_sessions=sum(node.sessions or 0 for node in nodes if node.state == "draining"),
    )


def render(
    figures: Figures,
    nodes: Sequence[Node],
    conditions: Iterable[Condition],
    generation: int,
    before: Written,
    now: datetime,
) -> Json:
    """Return the whole status. A condition keeps the time of its last transition while its status stays."""
    old = by_type(before)
    return {
        "observedGeneration": generation,
        "conditions": [_condition(each, generation, old.get(each.type, {}), now) for each in conditions],
        "nodes": figures.nodes,
        "ready": figures.ready,
        "draining": figures.draining,
        "sessions": figures.sessions,
        "capacity": figures.capacity,
        "utilization": figures.utilization,
        _DRAINING_SESSIONS: figures.draining_sessions,
        "nodeSummaries": [node.summary() for node in nodes[:MOST_SUMMARIES]],
        "truncated": len(nodes) > MOST_SUMMARIES,
    }


def differs(before: Written, after: Written, step: float) -> bool:
    """Tell whether a status is worth writing: another state, or a figure that moved by the fraction `step`.

    Sessions move by that part of the capacity, the others of themselves; to and from 0 always counts. The load of
    single nodes is shown as of the last write; that a drain began, is done or expired always counts.
    """
    figures = (*_FIGURES, _DRAINING_SESSIONS)
    return _state(before) != _state(after) or any(_moved(before, after, field, step) for field in figures)


def deadlines(nodes: Iterable[Node], now: datetime) -> list[datetime]:
    """Return when drains that are not done will expire."""
    drains = (node.drain for node in nodes if node.drain is not None and not node.drain.drained)
    return [drain.deadline for drain in drains if drain.deadline is not None and drain.deadline > now]


def _moved(before: Written, after: Written, field: str, step: float) -> bool:
    old, new = _count(before, field), _count(after, field)
    if old == new:
        return False
    if not old or not new or field not in before:
        return True
    whole = {"sessions": _count(after, "capacity") or old, "utilization": 100}.get(field, old)
    return abs(new - old) >= step * whole


def _state(status: Written) -> tuple[Any, ...]:
    conditions = tuple(
        tuple(condition.get(field) for field in ("type", "status", "reason", "message", "observedGeneration"))
        for _, condition in sorted(by_type(status).items())
    )
    summaries = status.get("nodeSummaries")
    nodes = tuple(
        (node.get("name"), node.get("state"), node.get("reason"), node.get("drain"))
        for node in (summaries if isinstance(summaries, list) else ())
        if isinstance(node, Mapping)
    )
    return (*(status.get(field) for field in _COUNTS), conditions, nodes)


def _condition(condition: Condition, generation: int, before: Written, now: datetime) -> Json:
    since = before.get("lastTransitionTime") if before.get("status") == condition.status else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:_LONGEST_MESSAGE],
        "lastTransitionTime": since or format_time(now.astimezone(UTC).replace(microsecond=0)),
        "observedGeneration": generation,
    }


def _node(member: Member, report: NodeReport | None, remembered: Json | None) -> Node:
    if member.state == "Draining":
        state, reason = "draining", member.drain_reason
    elif member.state == "NotReady":
        state, reason = "down", _POD_NOT_READY
    elif report is not None:
        state, reason = report.state, report.reason
    elif remembered is not None and remembered["reason"] not in _BY_THE_POD:
        state, reason = remembered["state"], remembered["reason"]
    else:
        state, reason = "unknown", "NoReportYet"
    sessions = capacity = None
    if report is not None:
        sessions = _figure(report.sessions if report.sessions is not None else report.effective)
        capacity = _figure(report.capacity)
    return Node(member.name, state[:_LONGEST_STATE], reason[:_LONGEST_REASON], sessions, capacity)


def _figure(value: float | None) -> int | None:
    """Return a number of sessions as a status holds it, None where a balancer said something that is none."""
    if value is None or math.isnan(value):
        return None
    return int(min(max(value, 0), _MOST_SESSIONS))


def _heard(observation: Observation | None) -> bool:
    return observation is not None and observation.balancers.reachable > 0


def summaries(status: Written) -> dict[str, Json]:
    """Return the nodes that a status tells of, by name; those that are not as they should be are left out."""
    listed = status.get("nodeSummaries")
    return {
        node["name"]: node
        for node in (listed if isinstance(listed, list) else ())
        if isinstance(node, dict) and all(isinstance(node.get(field), str) for field in ("name", "state", "reason"))
    }


def _count(status: Written, field: str) -> int:
    value = status.get(field)
    return value if isinstance(value, int) and value >= 0 else 0
