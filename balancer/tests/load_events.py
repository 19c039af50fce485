"""Short names for what a driver reports, for the load model's tests. Times are seconds, as the driver gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from switchtender.drivers.reports import Event, Link, LinkState, PollTimeout, Readiness, Report, Shutdown
from switchtender.load.age import report_age
from switchtender.load.model import NodeModel, Policy, observe, observe_report
from switchtender.load.states import Published, State, publish


@dataclass
class Totals:
    """What the packet core says of a node's calls at a report."""

    assigned: int = 0
    ended: int = 0
    exact: bool = True


def heartbeat(
    at: float,
    sessions: int = 0,
    most: int = 100,
    *,
    delay: float = 0.0,
    offset: float = 0.0,
    uuid: str | None = "a",
    uptime: float | None = None,
    since: int | None = None,
) -> Report:
    """A HEARTBEAT measured at ``at``, ``delay`` on its way, its clock ``offset`` ahead of ours."""
    return Report(
        source="heartbeat",
        sessions=sessions,
        max_sessions=most,
        core_uuid=uuid,
        uptime_ms=None if uptime is None else round(uptime * 1000),
        sessions_since_startup=since,
        stamp=at + offset,
        received=at + delay,
    )


def poll(
    at: float,
    sessions: int = 0,
    most: int = 100,
    *,
    asked: float = 0.005,
    uptime: float | None = None,
    since: int | None = None,
    rate: int | None = 30,
) -> Report:
    """An answered `status`, asked ``asked`` seconds before it came."""
    return Report(
        source="poll",
        sessions=sessions,
        max_sessions=most,
        uptime_ms=None if uptime is None else round(uptime * 1000),
        sessions_since_startup=since,
        sessions_per_second_limit=rate,
        sent=at - asked,
        received=at,
    )


class Subject:
    """A node's model with what surrounds it; each step replaces the model."""

    def __init__(self, policy: Policy | None = None, replicas: int = 1, restarted_at: float | None = None) -> None:
        self.model = NodeModel(restarted_at=restarted_at)
        self.policy = policy or Policy()
        self.replicas = replicas
        self.totals = Totals()
        self.age: float | None = None

    def sees(self, *events: Event) -> Subject:
        """Take the events in, each report with the totals of the moment."""
        for event in events:
            if isinstance(event, Report):
                clock, self.age = report_age(self.model.clock, event)
                self.model = observe_report(
                    self.model, event, clock=clock, age=self.age, totals=replace(self.totals), policy=self.policy
                )
            else:
                self.model = observe(self.model, event, self.policy)
        return self

    def at(self, now: float, fresh_share: float = 1.0) -> tuple[str, str, str]:
        """Name and reason of the state, and the admission."""
        state, published = self.publish(now, fresh_share)
        return state.name, state.reason, published.admission

    def publish(self, now: float, fresh_share: float = 1.0) -> tuple[State, Published]:
        """The state and what the packet core is told."""
        return publish(self.model, self.policy, replicas=self.replicas, fresh_share=fresh_share, now=now)


def link(state: LinkState, at: float = 0.0) -> Link:
    """The connection's new state."""
    return Link(state=state, detail="", since=at)


def ready(
    at: float = 0.0, *, is_ready: bool = True, paused: bool | None = False, ending: bool | None = False
) -> Readiness:
    """The answers of ready_check, pause_check and shutdown_check."""
    return Readiness(ready=is_ready, received=at, paused_inbound=paused, shutdown_requested=ending)


def shutdown(at: float = 0.0, *, requested: bool = False) -> Shutdown:
    """The node's own announcement."""
    return Shutdown(requested=requested, received=at)


def poll_timeout(at: float = 0.0) -> PollTimeout:
    """Two polls went unanswered."""
    return PollTimeout(received=at)
