"""One node under watch: the one place where all that is known of it comes together, one event after the other.

What its drivers tell (Event Socket, OPTIONS), what calls showed and what is wanted of it go into one model; the state
that follows goes into the journal when it changes, and to the packet core.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass, replace
from typing import get_args

from switchtender._core import Core, evaluate
from switchtender.config.plan import EslTarget
from switchtender.drivers.esl.driver import EslDriver, Timing
from switchtender.drivers.esl.session import Pace
from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.reports import Event, Link, LinkState, PauseAnswer, Probe, Readiness, Report
from switchtender.load import drains, pausing
from switchtender.load.age import report_age
from switchtender.load.drains import Drain, Phase
from switchtender.load.model import NodeModel, Policy, observe, observe_report
from switchtender.load.pausing import Intent, Pausing
from switchtender.load.probing import Probes
from switchtender.load.states import Published, State, current, heard, publish, unchanging_until, will
from switchtender.telemetry.journal import Journal, Place, Severity

log = logging.getLogger(__name__)

_RESTART = 1.0
"""Seconds until a driver that failed is started again."""

_UNHEARD = State("unknown", "NoReportYet")

ESL_ERRORS = tuple(state for state in get_args(LinkState) if state not in ("connecting", "authenticated"))
"""The ways in which an Event Socket fails: ``reason`` of the error count."""

_UNWELL = frozenset({"full", "stale", "down"})

_ESL_REASONS: dict[LinkState, str] = {
    "acl_rejected": "AccessDenied",
    "auth_failed": "AuthenticationFailed",
    "unreachable": "ConnectionRefused",
    "silent": "PollsUnanswered",
    "protocol_error": "ProtocolError",
    "closed": "ConnectionClosed",
    "reset": "ConnectionReset",
}
"""The same in the words of the states that follow from them."""

_WHO_WAITS: dict[drains.OnTimeout, str] = {
    "Hold": "whoever waits for it goes on waiting (onTimeout: Hold)",
    "Release": "whoever waits for it may go on without (onTimeout: Release)",
}
_ALLOW = "allow the user the api command fsctl (esl-allowed-api), for drain.pauseNode needs it"

PROBE_RESULTS = ("answered", "refused", "unanswered")
"""What an OPTIONS may come to; refused: by a status that does not count as an answer."""


@dataclass(slots=True)
class Logins:
    """Logins to one Event Socket: whether one stands, how many there were, how many ended, whoever ended them."""

    up: bool = False
    connects: int = 0
    disconnects: int = 0

    def succeeded(self) -> None:
        """The node let us in."""
        self.up = True
        self.connects += 1

    def ended(self) -> None:
        """The connection is over, if there was one."""
        self.disconnects += self.up
        self.up = False

    def as_json(self) -> dict[str, bool | int]:
        """As the API shows them."""
        return {"up": self.up, "connects": self.connects, "disconnects": self.disconnects}


class Watch:
    """The watch over one node. ``changed`` is called after each of its drivers' events, ``reported`` with each of its
    reports, ``claimed`` when the node was paused from here or is no longer, in the event loop.

    ``joined``: since when the node is a new one in a running pool, which starts slowly; None in a pool that is new
    itself. ``paused``: it was paused from here in an earlier life. ``calendar`` gives seconds of the epoch.
    """

    def __init__(
        self,
        uid: str,
        name: str,
        core: Core,
        *,
        clock: Callable[[], float],
        journal: Journal,
        changed: Callable[[Watch], None],
        reported: Callable[[str, Report], None],
        claimed: Callable[[str, bool], None] = lambda _uid, _ours: None,
        joined: float | None = None,
        paused: bool = False,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        self.uid = uid
        self.name = name
        self.places: tuple[Place, ...] = ()
        self.esl: EslTarget | None = None
        self.policy = Policy()
        self.poll_interval = 1.0
        self.model = NodeModel(restarted_at=joined)
        self.state = _UNHEARD
        self.since = clock()
        self.fresh = False
        self.ejected = False
        self.scores: dict[str, float] = {}
        self.errors: Counter[str] = Counter()
        self.logins = Logins()
        self.probe_results: Counter[str] = Counter()
        self.pausing = Pausing(ours=paused)
        self._will_since: float | None = None
        self._told: frozenset[Phase] = frozenset()
        self._told_unpausable = False
        self._published: Published | None = None
        self._derived_from: object = None
        self._unchanging_until = -math.inf
        self._core = core
        self._clock = clock
        self._journal = journal
        self._changed = changed
        self._reported = reported
        self._claimed = claimed
        self._calendar = calendar
        self._driver: EslDriver | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopped = False

    def take_up(self, policy: Policy, esl: EslTarget | None, poll_interval: float) -> None:
        """Go by this from now on; a driver that runs with another login or at another interval is replaced.

        What is known of the node stays, as long as its Event Socket is where it was. A login that stands is not given
        up for a password that rotates, nor for one that is no longer known.
        """
        if _endpoint(esl) == _endpoint(self.esl):
            esl = _with_known_password(esl, self.esl)
        elif self.esl is not None:
            self.model = self._identity()
        if policy.probing is None:
            self.model = replace(self.model, probes=Probes())  # who is probed again later is found out anew
        self.policy = self._still_awaited(policy)
        if policy.drain is not None and policy.drain.paused_by_us:
            self._set_pausing(pausing.told(self.pausing))
        if self.model.readiness is not None and self.model.readiness.paused_inbound is None:
            self._advise()  # who may not ask hears of readiness when it changes, which may be never
        if policy.admin == "Disabled":
            self._leave_alone(esl, poll_interval)
            return
        if (esl, poll_interval) == (self.esl, self.poll_interval) and (self._driver is not None or not _known(esl)):
            return
        if self._renewed(esl) and poll_interval == self.poll_interval:
            self.esl = esl
            return
        self.esl, self.poll_interval = esl, poll_interval
        self._dismiss()
        self._drive()

    def _leave_alone(self, esl: EslTarget | None, poll_interval: float) -> None:
        """Say goodbye to the node; what was known of it is void until it is asked again."""
        self.esl, self.poll_interval = esl, poll_interval
        self.model = replace(self._identity(), probes=Probes())
        self._dismiss()

    def _identity(self) -> NodeModel:
        """A model that knows no more than which process the node was: its next report tells whether it still is."""
        known = self.model
        return NodeModel(
            restarted_at=known.restarted_at,
            restarts=known.restarts,
            core_uuid=known.core_uuid,
            uptime_ms=known.uptime_ms,
            probes=known.probes,
        )

    async def stop(self) -> None:
        """End the driver; it says goodbye to the node."""
        self._stopped = True
        self._dismiss()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def publish(self, *, replicas: int, fresh_share: float) -> None:
        """Derive the state anew, where facts or time may have changed it, and tell the packet core of what is new; a
        change of state goes into the journal.
        """
        now = self._clock()
        facts = (self.model, self.policy, replicas, fresh_share, self.score if self.scores else None, self.ejected)
        if now < self._unchanging_until and facts == self._derived_from:
            return  # most moments change nothing, and there may be thousands of nodes
        self._derived_from, self._unchanging_until = facts, unchanging_until(self.model, self.policy, now)
        state, published = publish(self.model, self.policy, replicas=replicas, fresh_share=fresh_share, now=now)
        if self.scores:
            published = replace(published, score=self.score)
        self.fresh = heard(self.model, self.policy, now)
        if self.ejected and state.name == "ready":
            state = State("down", "Ejected")
        if published != self._published:
            self._published = published
            self._core.report(self.uid, **asdict(published))
        if state == self.state:
            return
        if state.name != self.state.name:
            self.since = now
        before, self.state = self.state, state
        self._journal.record(
            "NodeState",
            state.reason,
            f"node is {state.name}: {state.reason}",
            severity=_severity(state),
            places=self.places,
            details={"state": state.name, "before": before.name, **self._load(published)},
        )

    @property
    def drain(self) -> Drain | None:
        """What drains the node in all of its groups: what is wanted of it, and its own will."""
        wanted = self.policy.drain
        reason = will(self.model) if self.policy.measured else None
        own = None if reason is None or self._will_since is None else (self._will_since, reason)
        if reason == "Paused" and self.pausing.ours:
            own = None  # ours: it ends with the drain that it is part of
        return drains.together(
            (None if wanted is None else wanted.drain, None if own is None else self.policy.terms.begun(*own))
        )

    def follow_drain(self) -> None:
        """Tell, once in a drain each, that the node is empty, and that the deadline passed before it was."""
        drain = self.drain
        if drain is None or self._published is None:
            self._told = frozenset()
            return
        left = drains.remaining(
            fresh=current(self.model, self.policy, self._clock()),
            reported=None if self.model.report is None else self.model.report.sessions,
            effective=self._load(self._published)["effective"] or 0.0,
        )
        phase = drains.phase(drain, left, self._calendar())
        if left is None or phase == "draining" or phase in self._told:
            return
        self._told |= {phase}
        deadline, on_timeout = round(drain.deadline, 3), self.policy.terms.on_timeout
        details = {"drain": drain.reason, "drainSince": round(drain.since, 3), "deadline": deadline, "sessions": left}
        if phase == "drained":
            self._journal.record(
                "NodeDrained", "Drained", "node is drained: no session remains", places=self.places, details=details
            )
            return
        self._journal.record(
            "NodeDrainExpired",
            on_timeout,
            f"node still has {left} sessions at the deadline of its drain: they go on, and {_WHO_WAITS[on_timeout]}",
            severity="warning",
            places=self.places,
            details={**details, "onTimeout": on_timeout},
        )

    def _load(self, published: Published) -> dict[str, float | None]:
        """The numbers that stand behind a state: as reported, as the packet core reckons, and calls in total."""
        totals, report = self._core.baseline(self.uid, 0.0), self.model.report
        reckoned = evaluate(
            sessions=published.sessions,
            max_sessions=published.max_sessions,
            cap=published.cap,
            headroom=published.headroom,
            share=published.share,
            legs_per_call=self.policy.legs_per_call,
            assigned=max(0, totals.assigned_now - published.baseline_assigned),
            ended=max(0, totals.ended - published.baseline_ended),
        )
        return {
            "sessions": None if report is None else report.sessions,
            "maxSessions": None if report is None else report.max_sessions,
            "effective": reckoned.effective,
            "capacity": reckoned.capacity,
            "assigned": totals.assigned_now,
            "ended": totals.ended,
        }

    def saw(self, event: Event) -> None:
        """Take in what a driver tells of the node."""
        if isinstance(event, Report):
            self._on_report(event)
        else:
            if isinstance(event, Link) and event.state == "authenticated":
                self.logins.succeeded()
            elif isinstance(event, Link) and event.state in ESL_ERRORS:
                self.errors[event.state] += 1
                self.logins.ended()
                self._on_trouble(event)
                self._set_pausing(pausing.unanswered(self.pausing))
            elif isinstance(event, Probe):
                self.probe_results["answered" if event.answered else "refused" if event.status else "unanswered"] += 1
            self.model = observe(self.model, event, self.policy)
        self._note_will()
        if isinstance(event, PauseAnswer):
            self._on_pause_answer(event)
        elif isinstance(event, Readiness):
            self._see_to_pause(event)
        self._changed(self)

    def _note_will(self) -> None:
        """Since when the node wants no more calls: since when it was first heard to."""
        if will(self.model) is None:
            self._will_since = None
        elif self._will_since is None:
            self._will_since = self._calendar()

    # Inbound calls paused on the node itself

    @property
    def _intent(self) -> Intent:
        wanted = self.policy.drain
        if self.policy.admin == "Disabled":
            return "Keep"
        return "Resume" if wanted is None else "Pause" if wanted.pause else "Keep"

    def _see_to_pause(self, readiness: Readiness) -> None:
        """Pause the node, or resume it, where it is not as it should be. What a check says is of after our last wish:
        the driver asks in that order. One that boots or ends says that it is not paused, whatever it is; and one that
        is to end when its calls have ended is not opened to new ones.
        """
        intent = self._intent
        if readiness.paused_inbound is None:
            self._advise()
            return
        self._told_unpausable = False
        if self.model.shutting_down or not (readiness.ready or readiness.paused_inbound):
            return
        if intent == "Resume" and self.model.shutdown_requested:
            return
        known, wish = pausing.seen(self.pausing, intent, self._clock(), paused=readiness.paused_inbound)
        self._set_pausing(known)
        if wish is not None and (self._driver is None or not self._driver.set_paused(paused=wish)):
            self._set_pausing(pausing.unanswered(known))

    def _advise(self) -> None:
        """Say once what keeps the node from being paused where that is wanted: nobody may ask."""
        if self._intent == "Pause" and not self._told_unpausable:
            self._told_unpausable = True
            self._tell_of_pause("Unknown", f"whether the node is paused cannot be asked, so it is not: {_ALLOW}")

    def _on_pause_answer(self, answer: PauseAnswer) -> None:
        before = self.pausing
        if before.asked is None:
            return  # of a wish that a connection took with it
        self._set_pausing(pausing.answered(before, accepted=answer.accepted))
        verb = "paused" if before.asked else "resumed"
        if answer.accepted:
            self._tell_of_pause(verb.capitalize(), f"inbound calls {verb} on the node")
        elif before.attempts <= 1:  # it is asked again, ever more seldom, and what it says is not worth an event each
            self._tell_of_pause(
                "Refused", f"inbound calls cannot be {verb}, the node says {answer.detail}: {_ALLOW}", "warning"
            )

    def _tell_of_pause(self, reason: str, message: str, severity: Severity = "info") -> None:
        self._journal.record("NodePause", reason, message, severity=severity, places=self.places)

    def _set_pausing(self, known: Pausing) -> None:
        before, self.pausing = self.pausing, known
        if before.ours != known.ours:
            self._claimed(self.uid, known.ours)

    def _on_trouble(self, link: Link) -> None:
        """The Event Socket failed. The driver logs that, and its every attempt is not worth an event."""
        if link.state != self.model.link:
            self._journal.record(
                "EventSocket",
                _ESL_REASONS[link.state],
                f"Event Socket: {link.detail}",
                severity="warning",
                places=self.places,
                details={"link": link.state},
                logged=False,
            )

    def saw_calls(self, *, ejected: bool, answered_at: float | None) -> None:
        """Take in what calls showed: whether the packet core leaves the node alone for a while, and when it answered
        the last request of a call.
        """
        probes = replace(self.model.probes, calls_answered_at=answered_at)
        if (ejected, probes) != (self.ejected, self.model.probes):
            self.ejected, self.model = ejected, replace(self.model, probes=probes)
            self._changed(self)

    @property
    def score(self) -> float:
        """The smallest that a group's scorer gave the node; 1 where none did."""
        return min(self.scores.values(), default=1.0)

    def scored(self, group: str, score: float) -> None:
        """A group's scorer gave the node this score."""
        if self.scores.get(group) != score:
            self.scores[group] = score
            self._changed(self)

    def keep_scores(self, groups: Container[str]) -> None:
        """Forget what other groups' scorers gave the node: they have none any more."""
        self.scores = {group: score for group, score in self.scores.items() if group in groups}

    def _still_awaited(self, policy: Policy) -> Policy:
        """Calls to a node whose password was awaited go on until the login that is possible now tells more."""
        awaited = self.policy.login == "Awaited" and policy.login == "Known"
        return replace(policy, login="Awaited") if awaited and self.model.report is None else policy

    def _renewed(self, esl: EslTarget | None) -> bool:
        """Whether the driver that is logged in could be given a rotated password for its next login."""
        if self._driver is None or self.esl is None or esl is None or not esl.rotates:
            return False
        if replace(esl, password=self.esl.password) != self.esl or self.model.link != "authenticated":
            return False
        self._driver.renew(_credentials(esl))
        return True

    def _drive(self) -> None:
        if self._stopped or self.policy.admin == "Disabled" or self._driver is not None:
            return
        if self.esl is None or not _known(self.esl):
            return
        self._driver = EslDriver(
            self.esl.host,
            self.esl.port,
            _credentials(self.esl),
            self.saw,
            node=self.name,
            timing=Timing(pace=Pace(poll=self.poll_interval)),
        )
        self._task = asyncio.get_running_loop().create_task(self._driver.run(), name=f"esl {self.name}")
        self._task.add_done_callback(self._on_driver_ended)

    def _dismiss(self) -> None:
        """Let the driver say goodbye beside whatever comes after it: it tells us nothing any more."""
        if self._task is None:
            return
        leaving, self._task, self._driver = self._task, None, None
        self.logins.ended()
        self._set_pausing(pausing.unanswered(self.pausing))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        leaving.cancel()

    def _on_driver_ended(self, driver: asyncio.Task[None]) -> None:
        """A driver ends only when canceled; anything else is a fault of ours, and the node is watched again."""
        if driver.cancelled() or driver is not self._task:
            return
        log.error("the driver failed and starts anew", exc_info=driver.exception(), extra={"node": self.name})
        self._task = self._driver = None
        self.logins.ended()
        self._set_pausing(pausing.unanswered(self.pausing))
        asyncio.get_running_loop().call_later(_RESTART, self._drive)

    def _on_report(self, report: Report) -> None:
        clock, age = report_age(self.model.clock, report)
        elapsed = max(0.0, self._clock() - report.received)
        totals = self._core.baseline(self.uid, (age or 0.0) + elapsed)
        restarts = self.model.restarts
        self.model = observe_report(self.model, report, clock=clock, age=age, totals=totals, policy=self.policy)
        if self.model.restarts != restarts:
            self._set_pausing(pausing.restarted(self.pausing))
            self._journal.record(
                "NodeRestarted",
                "Restarted",
                "node restarted: it starts slowly",
                severity="warning",
                places=self.places,
                details={"coreUUID": report.core_uuid},
            )
            self._core.restarted(self.uid)
        self._reported(self.uid, report)


def _severity(state: State) -> Severity:
    """Worth waking somebody for, or not: what operators ordered is not."""
    return "warning" if state.name in _UNWELL and state.reason != "Disabled" else "info"


def _known(esl: EslTarget | None) -> bool:
    return esl is not None and esl.password is not None


def _credentials(esl: EslTarget) -> Credentials:
    return Credentials(user=esl.user, password="" if esl.password is None else esl.password.get_secret_value())


def _with_known_password(esl: EslTarget | None, before: EslTarget | None) -> EslTarget | None:
    if esl is None or before is None or esl.password is not None:
        return esl
    return replace(esl, password=before.password)


def _endpoint(esl: EslTarget | None) -> tuple[str, int] | None:
    return None if esl is None else (esl.host, esl.port)
