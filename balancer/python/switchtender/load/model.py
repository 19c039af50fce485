"""The load model of one node: facts from its driver, and what is learned from them.

Sessions are counted in legs, calls in calls; ``legs_per_call`` converts. ``Totals`` are the packet core's own
counts of calls, which only grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from switchtender.drivers.reports import Event, Link, LinkState, PollTimeout, Readiness, Report, Shutdown
from switchtender.load.age import StampClock

WhenStale = Literal["Auto", "Exclude", "LastValue", "StaticWeight"]

SLOW_START = 30.0
"""Seconds in which a restarted node's share grows to its full weight."""

_SHARE_MEMORY = 0.8
"""What is kept of the counts behind *share* at each report: about five reports."""

_RESIDUAL_DECAY = 0.93
_RESIDUAL_NOISE = 0.4
_HEADROOM_LIMIT = 0.1


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
    """What the groups of a node say about it. ``headroom`` None = learned; ``stale_after`` (seconds) None = learned."""

    legs_per_call: int = 2
    cap: float | None = None
    headroom: float | None = None
    stale_after: float | None = None
    when_stale: WhenStale = "Auto"
    measured: bool = True
    drained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeModel:
    """All that is known of one node; the default is a node nobody has heard of."""

    clock: StampClock = field(default_factory=StampClock)
    link: LinkState | None = None
    link_detail: str = ""
    report: Report | None = None
    measured_at: float | None = None
    interval: float | None = None
    sessions_since_startup: int | None = None
    sessions_per_second: int | None = None
    idle_cpu: float | None = None
    core_uuid: str | None = None
    uptime_ms: int | None = None
    restarted_at: float | None = None
    readiness: Readiness | None = None
    shutdown_requested: bool = False
    shutting_down: bool = False
    poll_timed_out: bool = False
    baseline_assigned: int = 0
    baseline_ended: int = 0
    own: float = 0.0
    grown: float = 0.0
    residual: float | None = None


def observe(model: NodeModel, event: Event) -> NodeModel:
    """The model after an event that carries no numbers. Reports go through ``observe_report``."""
    match event:
        case Link():
            return replace(model, link=event.state, link_detail=event.detail)
        case Readiness():
            # `shutdown cancel` is seen here; once SHUTDOWN itself came, nothing takes it back but a new process.
            requested = model.shutdown_requested if event.shutdown_requested is None else event.shutdown_requested
            return replace(model, readiness=event, shutdown_requested=requested)
        case Shutdown(requested=True):
            return replace(model, shutdown_requested=True)
        case Shutdown():
            return replace(model, shutting_down=True)
        case PollTimeout():
            return replace(model, poll_timed_out=True)
        case Report():
            raise TypeError("a report needs the totals of its moment: observe_report")


def observe_report(
    model: NodeModel, report: Report, *, clock: StampClock, age: float | None, totals: Totals, policy: Policy
) -> NodeModel:
    """The model after a report of ``age`` seconds (None: unknown), measured when ``totals.assigned`` calls had been
    assigned.

    A report whose age is unknown or too great still tells that the node lives and how it is configured, but clears
    nothing: the count, share and headroom of the last good one stay.
    """
    restarted = _restarted(model, report)
    if restarted:
        model = _reborn(model, report)
    gap = None if model.report is None else report.received - model.report.received
    model = replace(
        model,
        clock=clock,
        interval=_smoothed(model.interval, gap),
        core_uuid=report.core_uuid or model.core_uuid,
        uptime_ms=report.uptime_ms if report.uptime_ms is not None else model.uptime_ms,
        sessions_per_second=report.sessions_per_second_limit or model.sessions_per_second,
        idle_cpu=report.idle_cpu if report.idle_cpu is not None else model.idle_cpu,
        poll_timed_out=False,
    )
    if (age is None or not totals.exact) and model.report is not None:
        return replace(model, report=replace(model.report, received=report.received, max_sessions=report.max_sessions))
    measured_at = report.received - (age or 0.0)
    if model.measured_at is not None and measured_at < model.measured_at and not restarted:
        return model
    return replace(
        _learn(model, report, totals, policy),
        report=report,
        measured_at=measured_at,
        baseline_assigned=totals.assigned,
        baseline_ended=totals.ended,
        sessions_since_startup=report.sessions_since_startup
        if report.sessions_since_startup is not None
        else model.sessions_since_startup,
    )


def share(model: NodeModel, replicas: int) -> float:
    """This balancer's part of the node's new sessions, within [1/(2R), 1]; 1/R until calls were seen."""
    if model.grown < 0.5:
        return 1.0 / replicas
    return min(1.0, max(1.0 / (2 * replicas), model.own / model.grown))


def headroom(model: NodeModel, policy: Policy) -> float:
    """Sessions kept free: as configured, or as learned, at most a tenth of the node's limit."""
    if policy.headroom is not None:
        return policy.headroom
    learned = 2.0 * policy.legs_per_call if model.residual is None else model.residual
    limit = _HEADROOM_LIMIT * model.report.max_sessions if model.report else learned
    return min(learned, limit)


def weight_factor(model: NodeModel, now: float) -> float:
    """Slow start: grows from a tenth to 1 in the ``SLOW_START`` seconds after a restart that was seen."""
    if model.restarted_at is None:
        return 1.0
    return min(1.0, max(0.1, (now - model.restarted_at) / SLOW_START))


def _restarted(model: NodeModel, report: Report) -> bool:
    if report.core_uuid is not None and model.core_uuid is not None:
        return report.core_uuid != model.core_uuid
    return report.uptime_ms is not None and model.uptime_ms is not None and report.uptime_ms < model.uptime_ms


def _reborn(model: NodeModel, report: Report) -> NodeModel:
    """A new process: what was learned of the old one's counts and its end is void; the link and the clock are not."""
    return NodeModel(
        link=model.link,
        link_detail=model.link_detail,
        interval=model.interval,
        core_uuid=report.core_uuid,
        restarted_at=report.received,
    )


def _learn(model: NodeModel, report: Report, totals: Totals, policy: Policy) -> NodeModel:
    """*Share* and headroom from what the count grew by, against what our own calls explain."""
    if model.report is None:
        return model
    legs = policy.legs_per_call
    assigned = legs * (totals.assigned - model.baseline_assigned)
    ended = legs * (totals.ended - model.baseline_ended)
    residual = report.sessions - (model.report.sessions + assigned - ended)
    before = 2.0 * legs if model.residual is None else model.residual
    decayed = before * _RESIDUAL_DECAY
    learned = max(float(residual), decayed, 0.0)
    model = replace(model, residual=learned if learned >= _RESIDUAL_NOISE else 0.0)
    if report.sessions_since_startup is None or model.sessions_since_startup is None:
        return model
    growth = max(report.sessions_since_startup - model.sessions_since_startup, assigned)
    return replace(model, own=_SHARE_MEMORY * model.own + assigned, grown=_SHARE_MEMORY * model.grown + growth)


def _smoothed(interval: float | None, gap: float | None) -> float | None:
    if gap is None:
        return interval
    return gap if interval is None else 0.8 * interval + 0.2 * gap
