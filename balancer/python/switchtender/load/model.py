"""The load model of one node: facts from its driver, and what is learned from them.

Sessions are counted in legs, calls in calls; ``legs_per_call`` converts. ``Totals`` are the packet core's own
counts of calls, which only grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from switchtender.drivers.reports import (
    Event,
    Link,
    LinkState,
    PauseAnswer,
    PollTimeout,
    Probe,
    Readiness,
    Report,
    Shutdown,
)
from switchtender.load import learning
from switchtender.load.age import OLDEST, Rhythm, StampClock, beat, interrupted
from switchtender.load.drains import Terms, Wanted
from switchtender.load.learning import Learned, Step, learn
from switchtender.load.probing import Probes, Thresholds, probed

WhenStale = Literal["Auto", "Exclude", "LastValue", "StaticWeight"]

Login = Literal["Known", "Awaited", "Missing"]
"""Whether we can log in to the node's Event Socket; Awaited: nobody could be asked for the password yet."""

Admin = Literal["Drained", "Disabled"]
"""What an operator asked for at run time: no new calls; Disabled: and left alone, neither logged in to nor probed."""

Silence = Literal["ConnectionClosed", "ConnectionReset", "PollsUnanswered", "ProtocolError"]
"""Why a report must come before the last one may be trusted again."""

SLOW_START = 30.0
"""Seconds in which a restarted node's share grows to its full weight, where no group says otherwise."""

_SMALLEST_WEIGHT = 0.1

_UPTIME_JITTER_MS = 1000
"""A report measured before, but arriving after another shows an uptime that fell by less than this."""

_SILENCES: dict[LinkState, Silence] = {
    "closed": "ConnectionClosed",
    "reset": "ConnectionReset",
    "unreachable": "ConnectionReset",
    "silent": "PollsUnanswered",
    "protocol_error": "ProtocolError",
}


class Totals(Protocol):
    """Calls placed on the node by this balancer, as the packet core counts them."""

    @property
    def assigned(self) -> int:
        """Assigned up to the moment of the report."""

    @property
    def ended(self) -> int:
        """Ended up to now."""

    @property
    def exact(self) -> bool:
        """False where the report is older than what is remembered: it clears nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the groups of a node say about it. ``headroom`` None = learned; ``stale_after`` (seconds) None = learned.

    ``not_ready``: Kubernetes says that the pod is not; evidence of being unreachable, not a will of the node.
    ``admin``: what an operator asked for. ``probing`` None: OPTIONS say nothing of the node. ``slow_start``: seconds.
    ``drain``: of the whole node, as configured and ordered. ``terms``: of every drain, the node's own will too.
    """

    legs_per_call: int = 2
    cap: float | None = None
    headroom: float | None = None
    stale_after: float | None = None
    when_stale: WhenStale = "Auto"
    measured: bool = True
    drained: bool = False
    not_ready: bool = False
    login: Login = "Known"
    admin: Admin | None = None
    probing: Thresholds | None = None
    slow_start: float = SLOW_START
    drain: Wanted | None = None
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeModel:
    """All that is known of one node; the default is a node nobody has heard of.

    ``link`` is the last state of the connection that was an outcome (``connecting`` is none). ``silence`` stands from
    the loss of the connection, or two unanswered polls, until a report: neither a new connection nor a login ends it.
    ``restarted_at`` may be given at once, for a node that joins a running pool: it starts slowly, too. ``restarts``
    counts the new processes that were seen.
    """

    clock: StampClock = field(default_factory=StampClock)
    heartbeats: Rhythm = field(default_factory=Rhythm)
    polls: Rhythm = field(default_factory=Rhythm)
    link: LinkState | None = None
    link_detail: str = ""
    silence: Silence | None = None
    report: Report | None = None
    measured_at: float | None = None
    sessions_since_startup: int | None = None
    sessions_per_second: int | None = None
    idle_cpu: float | None = None
    core_uuid: str | None = None
    uptime_ms: int | None = None
    restarted_at: float | None = None
    restarts: int = 0
    readiness: Readiness | None = None
    shutdown_requested: bool = False
    shutting_down: bool = False
    baseline_assigned: int = 0
    baseline_ended: int = 0
    learned: Learned = field(default_factory=Learned)
    probes: Probes = field(default_factory=Probes)


def observe(model: NodeModel, event: Event, policy: Policy) -> NodeModel:
    """The model after an event that carries no numbers. Reports go through ``observe_report``."""
    match event:
        case Link():
            return _linked(model, event)
        case Readiness():
            # `shutdown cancel` is seen here; once SHUTDOWN itself came, nothing takes it back but a new process.
            requested = model.shutdown_requested if event.shutdown_requested is None else event.shutdown_requested
            return replace(model, readiness=event, shutdown_requested=requested)
        case Shutdown():
            requested, at_once = event.requested, not event.requested
            return replace(
                model,
                shutdown_requested=model.shutdown_requested or requested,
                shutting_down=model.shutting_down or at_once,
            )
        case PauseAnswer():
            return model  # the check that follows tells whether it is paused
        case PollTimeout():
            return replace(model, silence="PollsUnanswered")
        case Probe():
            return replace(model, probes=probed(model.probes, event, policy.probing or Thresholds()))
        case Report():
            raise TypeError("a report needs the totals of its moment: observe_report")


def observe_report(
    model: NodeModel, report: Report, *, clock: StampClock, age: float | None, totals: Totals, policy: Policy
) -> NodeModel:
    """The model after a report of ``age`` seconds (None: unknown), measured when ``totals.assigned`` calls had been
    assigned.

    A report whose age is unknown or too great still tells that the node lives and how it is configured, but clears
    nothing: the count, share and headroom of the last good one stay. So does one that was measured before the one
    that already stands.
    """
    restarted = _restarted(model, report)
    if restarted:
        model = _reborn(model, report)
    model = replace(_heard(model, report), clock=clock)
    measured_at = report.received - (age or 0.0)
    if model.report is not None:
        unusable = age is None or age > OLDEST or not totals.exact
        overtaken = model.measured_at is not None and measured_at < model.measured_at
        if unusable or overtaken:
            alive = replace(model.report, received=report.received, max_sessions=report.max_sessions)
            return replace(model, report=alive)
    return replace(
        model,
        learned=_learned(model, report, measured_at, totals, policy),
        report=report,
        measured_at=measured_at,
        baseline_assigned=totals.assigned,
        baseline_ended=totals.ended,
        sessions_since_startup=report.sessions_since_startup
        if report.sessions_since_startup is not None
        else model.sessions_since_startup,
    )


def interval(model: NodeModel) -> float | None:
    """Seconds between two reports of the more frequent kind, as learned; None until two of a kind came."""
    known = [rhythm.interval for rhythm in (model.heartbeats, model.polls) if rhythm.interval is not None]
    return min(known, default=None)


def share(model: NodeModel, replicas: int) -> float:
    """This balancer's part of the node's new sessions, within [1/(2R), 1]; 1/R until calls were seen."""
    return learning.share(model.learned, max(1, replicas))


def headroom(model: NodeModel, policy: Policy) -> float:
    """Sessions kept free: as configured, or as learned, at most a tenth of the node's limit."""
    if policy.headroom is not None:
        return policy.headroom
    limit = 0.0 if model.report is None else float(model.report.max_sessions)
    return learning.headroom(model.learned, limit=limit, legs=policy.legs_per_call)


def turn_taking(model: NodeModel, policy: Policy, replicas: int) -> float:
    """Sessions kept free on top of ``headroom`` until the next report, so that replicas take turns at the last slots;
    none where the headroom is configured.
    """
    if policy.headroom is not None or model.measured_at is None or model.report is None:
        return 0.0
    return learning.turn_taking(
        share(model, replicas),
        replicas=max(1, replicas),
        legs=policy.legs_per_call,
        moment=model.measured_at,
    )


def usable(report: Report, policy: Policy) -> float:
    """Sessions that the node admits, or that it is capped at: FreeSWITCH admits ``Max-Sessions - 1``."""
    limit = float(report.max_sessions - 1)
    return limit if policy.cap is None else min(limit, policy.cap)


def weight_factor(model: NodeModel, policy: Policy, now: float) -> float:
    """Slow start: grows from a tenth to 1 in the ``slow_start`` seconds after a restart that was seen."""
    if model.restarted_at is None or now - model.restarted_at >= policy.slow_start:
        return 1.0
    return max(_SMALLEST_WEIGHT, (now - model.restarted_at) / policy.slow_start)


def _linked(model: NodeModel, link: Link) -> NodeModel:
    if link.state == "connecting":
        return model  # says nothing yet: the state before stands, and so do its words
    model = replace(model, link_detail=link.detail)
    silence = _SILENCES.get(link.state)
    if silence is None:
        return replace(model, link=link.state)
    # The first cause stands: what follows it (refused while reconnecting) adds nothing.
    return replace(
        model,
        link=link.state,
        silence=model.silence or silence,
        heartbeats=interrupted(model.heartbeats),
        polls=interrupted(model.polls),
    )


def _heard(model: NodeModel, report: Report) -> NodeModel:
    """What any report tells, however old."""
    heartbeat = report.source == "heartbeat"
    return replace(
        model,
        heartbeats=beat(model.heartbeats, report.received) if heartbeat else model.heartbeats,
        polls=model.polls if heartbeat else beat(model.polls, report.received),
        silence=None,
        core_uuid=report.core_uuid or model.core_uuid,
        uptime_ms=report.uptime_ms if report.uptime_ms is not None else model.uptime_ms,
        sessions_per_second=report.sessions_per_second_limit or model.sessions_per_second,
        idle_cpu=report.idle_cpu if report.idle_cpu is not None else model.idle_cpu,
    )


def _restarted(model: NodeModel, report: Report) -> bool:
    """A new Core-UUID or a falling uptime."""
    if report.core_uuid is not None and model.core_uuid is not None and report.core_uuid != model.core_uuid:
        return True
    if report.uptime_ms is None or model.uptime_ms is None:
        return False
    return report.uptime_ms < model.uptime_ms - _UPTIME_JITTER_MS


def _reborn(model: NodeModel, report: Report) -> NodeModel:
    """A new process: what was learned of the old one's counts, its will and its end is void; the link is not."""
    return NodeModel(
        link=model.link,
        link_detail=model.link_detail,
        heartbeats=model.heartbeats,
        polls=model.polls,
        core_uuid=report.core_uuid,
        restarted_at=report.received,
        restarts=model.restarts + 1,
        probes=model.probes,
    )


def _learned(model: NodeModel, report: Report, measured_at: float, totals: Totals, policy: Policy) -> Learned:
    if model.report is None or model.measured_at is None:
        return model.learned
    legs = float(policy.legs_per_call)
    created = None
    if report.sessions_since_startup is not None and model.sessions_since_startup is not None:
        created = float(report.sessions_since_startup - model.sessions_since_startup)
    step = Step(
        seconds=measured_at - model.measured_at,
        growth=float(report.sessions - model.report.sessions),
        created=created,
        assigned=legs * (totals.assigned - model.baseline_assigned),
        ended=legs * (totals.ended - model.baseline_ended),
        excess=report.sessions - (usable(report, policy) - headroom(model, policy)),
        limit=float(report.max_sessions),
    )
    return learn(model.learned, step, legs=legs)
