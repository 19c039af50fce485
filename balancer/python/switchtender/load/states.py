"""The states of a node and what each means for new calls: one decision, from one place.

Four kinds of evidence, strongest first (docs/health.md):

1. what an operator or the configuration wants: ``down Disabled``, ``draining``;
2. what the Event Socket tells: ``down`` (nobody there), ``draining`` (the node's own will), ``unknown`` (never
   reported), ``stale`` (reported, but not lately), ``full`` (no room by its own numbers);
3. what OPTIONS tell: ``down SipUnanswered``;
4. what calls tell: the packet core's ejection, ``down Ejected``;

and ``ready`` where none of them speaks. Full is not down: a full node is left alone and comes back by itself. None of
them touches calls that stand: those follow their token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from switchtender.load.model import (
    Login,
    NodeModel,
    Policy,
    headroom,
    interval,
    share,
    turn_taking,
    usable,
    weight_factor,
)
from switchtender.load.probing import unreachable

StateName = Literal["unknown", "ready", "full", "draining", "stale", "down"]
STATES: tuple[StateName, ...] = ("unknown", "ready", "full", "draining", "stale", "down")

Reason = Literal[
    "AccessDenied",
    "AuthenticationFailed",
    "ConnectionClosed",
    "ConnectionRefused",
    "ConnectionReset",
    "Disabled",
    "DrainExpired",
    "Drained",
    "Draining",
    "Ejected",
    "NoPassword",
    "NoReportYet",
    "NoRoom",
    "NotReady",
    "PasswordAwaited",
    "Paused",
    "PodNotReady",
    "PollsUnanswered",
    "ProtocolError",
    "Reporting",
    "ReportsOverdue",
    "ShutdownRequested",
    "ShuttingDown",
    "SipUnanswered",
    "Unmeasured",
]
REASONS: dict[Reason, str] = {
    "AccessDenied": "The node's apply-inbound-acl refuses this balancer's address.",
    "AuthenticationFailed": "The node refuses the Event Socket password or user.",
    "ConnectionClosed": "The node ended the Event Socket connection and has not reported since.",
    "ConnectionRefused": "The Event Socket cannot be reached: refused, no route, or no answer.",
    "ConnectionReset": "The Event Socket connection broke; no report since.",
    "Disabled": "An operator disabled the node (switchtender disable): it is neither logged in to nor probed.",
    "DrainExpired": "The deadline of the drain (drain.timeout) has passed, and the node is not known to be empty.",
    "Drained": "An operator drained the node (switchtender drain).",
    "Draining": "The configuration drains the node.",
    "Ejected": "Calls failed on the node several times in a row (health.ejection); it is tried again after a while.",
    "NoPassword": "The Secret with the Event Socket password, or its key, is not there or cannot be read.",
    "NoReportYet": "The node has not reported since this balancer started.",
    "NoRoom": "The reported sessions leave no room for one more call.",
    "NotReady": "The node says that it is not ready (fsctl ready_check).",
    "PasswordAwaited": "Served from the last good snapshot while the API server cannot be asked for the Event Socket "
    "password: own counts against its configured capacity.",
    "Paused": "Inbound calls are paused on the node (fsctl pause).",
    "PodNotReady": "Kubernetes says that the pod is not ready.",
    "PollsUnanswered": "Two polls in a row went unanswered on an open connection; no report since.",
    "ProtocolError": "What came over the Event Socket was not its protocol; no report since.",
    "Reporting": "The node reports and has room.",
    "ReportsOverdue": "The last report is older than health.staleAfter.",
    "ShutdownRequested": "The node ends when its last call has ended (fsctl shutdown elegant or asap).",
    "ShuttingDown": "The node is shutting down.",
    "SipUnanswered": "OPTIONS to the node's SIP address go unanswered (health.options), and no call was answered "
    "since; with an Event Socket that reports: a wrong profile, port or access list.",
    "Unmeasured": "The member names no Event Socket: own counts against its configured capacity.",
}

Admission = Literal["unknown", "open", "unmeasured", "closed", "unreachable"]

SMALLEST_STALE_AFTER = 3.0
DEFAULT_INTERVAL = 20.0
"""FreeSWITCH's event-heartbeat-interval: what one report alone lets expect."""
LAST_VALUE_FOR = 60.0
"""Seconds for which whenStale Auto goes by the last value once half the group is stale."""
_ENOUGH_FRESH = 0.5


@dataclass(frozen=True, slots=True)
class State:
    """A node's state with its reason."""

    name: StateName
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the packet core is told of a node: the arguments of ``Core.report``, all in sessions."""

    admission: Admission
    sessions: float = 0.0
    max_sessions: float = 0.0
    cap: float | None = None
    headroom: float = 0.0
    share: float = 1.0
    sessions_per_second: float | None = None
    idle_cpu: float | None = None
    baseline_assigned: int = 0
    baseline_ended: int = 0
    weight_factor: float = 1.0
    score: float = 1.0


def stale_after(model: NodeModel, policy: Policy) -> float:
    """Seconds without a report until the node is stale: as configured, or three learned intervals, at least 3 s."""
    if policy.stale_after is not None:
        return policy.stale_after
    learned = interval(model)
    return max(SMALLEST_STALE_AFTER, 3.0 * (DEFAULT_INTERVAL if learned is None else learned))


def state(model: NodeModel, policy: Policy, now: float) -> State:
    """The node's state at ``now`` (our monotonic seconds), by all evidence but ejection: the packet core keeps that."""
    wanted = _wanted(policy)
    if wanted is not None:
        return wanted
    found = _told(model, policy, now)
    return State("down", "SipUnanswered") if found.name == "ready" and _unanswered(model, policy) else found


def heard(model: NodeModel, policy: Policy, now: float) -> bool:
    """Whether the node is heard of in time, whatever is wanted of it: what whenStale Auto counts."""
    return policy.admin != "Disabled" and _told(model, policy, now).name in ("ready", "full", "draining")


def current(model: NodeModel, policy: Policy, now: float) -> bool:
    """Whether what is known of the node's load is of now, whatever its state: it reports in time, or has no Event
    Socket, and our own counts are all there is.
    """
    if not policy.measured:
        return True
    late = model.report is None or now - model.report.received > stale_after(model, policy)
    return not late and model.silence is None and _connection(model) is None


def will(model: NodeModel) -> Reason | None:
    """By what the node itself wants no more calls, for good: what counts down as a drain. That it is not ready is no
    such will: it may not have booted yet.
    """
    found = _will(model)
    return None if found is None or found.reason == "NotReady" else found.reason


def _wanted(policy: Policy) -> State | None:
    if policy.admin == "Disabled":
        return State("down", "Disabled")
    if policy.admin == "Drained":
        return State("draining", "Drained")
    return State("draining", "Draining") if policy.drained else None


def _told(model: NodeModel, policy: Policy, now: float) -> State:
    """By the Event Socket, and by Kubernetes."""
    if not policy.measured:
        return _pod(policy) or State("ready", "Unmeasured")
    return _pod(policy) or _connection(model) or _will(model) or _numbers(model, policy, now)


def _unanswered(model: NodeModel, policy: Policy) -> bool:
    return policy.probing is not None and unreachable(model.probes)


def _pod(policy: Policy) -> State | None:
    """Kubernetes looks at the node from another place than we do: its word stands before ours."""
    return State("down", "PodNotReady") if policy.not_ready and not policy.drained else None


def _connection(model: NodeModel) -> State | None:
    match model.link:
        case "acl_rejected":
            return State("down", "AccessDenied")
        case "auth_failed":
            return State("down", "AuthenticationFailed")
        case "unreachable":
            return State("down", "ConnectionRefused")
        case "reset":
            return State("down", "ConnectionReset")
        case _:
            return None


def _will(model: NodeModel) -> State | None:
    if model.shutting_down:
        return State("draining", "ShuttingDown")
    if model.shutdown_requested:
        return State("draining", "ShutdownRequested")
    if model.readiness is not None and model.readiness.paused_inbound:
        return State("draining", "Paused")
    if model.readiness is not None and not model.readiness.ready:
        return State("draining", "NotReady")
    return None


_UNHEARD: dict[Login, State] = {
    "Known": State("unknown", "NoReportYet"),
    "Awaited": State("ready", "PasswordAwaited"),
    "Missing": State("unknown", "NoPassword"),
}


def _numbers(model: NodeModel, policy: Policy, now: float) -> State:
    if model.report is None:
        heard_of = policy.login == "Awaited" and model.silence is not None
        return _UNHEARD["Known" if heard_of else policy.login]
    if model.silence is not None:
        return State("stale", model.silence)
    if now - model.report.received > stale_after(model, policy):
        return State("stale", "ReportsOverdue")
    if usable(model.report, policy) - headroom(model, policy) - model.report.sessions < policy.legs_per_call:
        return State("full", "NoRoom")
    return State("ready", "Reporting")


def admission(model: NodeModel, policy: Policy, current: State, *, fresh_share: float, now: float) -> Admission:
    """What the state means for new calls.

    ``fresh_share`` is the part of the group's measured nodes that report in time. A node that was paused or draining
    when it became unreachable stays closed: that it cannot be reached may be our own fault, its will is not.
    """
    if _wanted(policy) is not None or (policy.measured and _will(model) is not None):
        return "closed"
    found = _by_report(model, policy, current, fresh_share=fresh_share, now=now)
    # Whatever the Event Socket or our own counts make of it: nobody answers where calls are to go.
    return "unreachable" if found in ("open", "unmeasured") and _unanswered(model, policy) else found


def _by_report(model: NodeModel, policy: Policy, current: State, *, fresh_share: float, now: float) -> Admission:
    if not policy.measured and not policy.not_ready:
        return "unmeasured"
    if current.reason == "PasswordAwaited":
        return "unmeasured"
    if current.name == "stale":
        return _when_stale(model, policy, fresh_share=fresh_share, now=now)
    return _ADMISSIONS[current.name]


_ADMISSIONS: dict[StateName, Admission] = {
    "unknown": "unknown",
    "ready": "open",
    "full": "open",
    "draining": "closed",
    "stale": "unreachable",
    "down": "unreachable",
}


def _when_stale(model: NodeModel, policy: Policy, *, fresh_share: float, now: float) -> Admission:
    match policy.when_stale:
        case "Exclude":
            return "unreachable"
        case "LastValue":
            return "open"
        case "StaticWeight":
            return "unmeasured"
        case "Auto":
            if fresh_share >= _ENOUGH_FRESH or model.report is None:
                return "unreachable"
            return "open" if now - model.report.received <= LAST_VALUE_FOR else "unmeasured"


def publish(
    model: NodeModel, policy: Policy, *, replicas: int, fresh_share: float, now: float
) -> tuple[State, Published]:
    """The node's state and what the packet core is told of it."""
    current = state(model, policy, now)
    report = model.report
    return current, Published(
        admission=admission(model, policy, current, fresh_share=fresh_share, now=now),
        sessions=0.0 if report is None else float(report.sessions),
        max_sessions=0.0 if report is None else float(report.max_sessions),
        cap=policy.cap,
        headroom=headroom(model, policy) + turn_taking(model, policy, replicas),
        share=share(model, replicas),
        sessions_per_second=None if model.sessions_per_second is None else float(model.sessions_per_second),
        idle_cpu=model.idle_cpu,
        baseline_assigned=model.baseline_assigned,
        baseline_ended=model.baseline_ended,
        weight_factor=weight_factor(model, policy, now),
    )


def unchanging_until(model: NodeModel, policy: Policy, now: float) -> float:
    """Until when ``publish`` gives the same of the same facts: overdue reports, last values that count no longer and
    slow start are all that time alone brings about.
    """
    if model.restarted_at is not None and now - model.restarted_at < policy.slow_start:
        return now
    if model.report is None:
        return math.inf
    received = model.report.received
    ahead = [age for age in (stale_after(model, policy), LAST_VALUE_FOR) if now - received <= age]
    return received + min(ahead, default=math.inf)
