"""One node under watch: its driver's events go into the load model, what follows goes to the packet core."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

from switchtender._core import Core
from switchtender.config.plan import EslTarget
from switchtender.drivers.esl.driver import EslDriver, Timing
from switchtender.drivers.esl.session import Pace
from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.reports import Event, Link, Report
from switchtender.load.age import report_age
from switchtender.load.model import NodeModel, Policy, observe, observe_report
from switchtender.load.states import Published, State, publish

log = logging.getLogger(__name__)

_RESTART = 1.0
"""Seconds until a driver that failed is started again."""

_UNHEARD = State("unknown", "NoReportYet")


class Watch:
    """The watch over one node. ``changed`` is called after each of its driver's events, in the event loop."""

    def __init__(
        self,
        uid: str,
        name: str,
        esl: EslTarget | None,
        core: Core,
        *,
        clock: Callable[[], float],
        changed: Callable[[Watch], None],
    ) -> None:
        self.uid = uid
        self.name = name
        self.esl = esl
        self.policy = Policy()
        self.poll_interval = 1.0
        self.model = NodeModel()
        self.state = _UNHEARD
        self.published: Published | None = None
        self.since = clock()
        self.links: Counter[str] = Counter()
        self._core = core
        self._clock = clock
        self._changed = changed
        self._driver: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self, policy: Policy, poll_interval: float) -> None:
        """Take up ``policy``; start the driver where there is an Event Socket and none runs at this interval."""
        self.policy = policy
        if self._stopped or self.esl is None or (self._driver is not None and poll_interval == self.poll_interval):
            return
        self.poll_interval = poll_interval
        if self._driver is not None:
            self._driver.cancel()
        driver = EslDriver(
            self.esl.host,
            self.esl.port,
            Credentials(user=self.esl.user, password=self.esl.password.get_secret_value()),
            self._on_event,
            node=self.name,
            timing=Timing(pace=Pace(poll=poll_interval)),
        )
        self._driver = asyncio.get_running_loop().create_task(driver.run(), name=f"esl {self.name}")
        self._driver.add_done_callback(self._on_driver_ended)

    async def stop(self) -> None:
        """End the driver; it says goodbye to the node."""
        self._stopped = True
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)

    @property
    def fresh(self) -> bool:
        """Whether the node is heard of in time: what whenStale Auto counts."""
        return self.state.name in ("ready", "full", "draining")

    def publish(self, *, replicas: int, fresh_share: float) -> None:
        """Derive the state anew and tell the packet core; a change of state is logged."""
        now = self._clock()
        state, self.published = publish(self.model, self.policy, replicas=replicas, fresh_share=fresh_share, now=now)
        self._core.report(self.uid, **asdict(self.published))
        if state == self.state:
            return
        if state.name != self.state.name:
            self.since = now
        before, self.state = self.state, state
        log.info(
            "node is %s: %s",
            state.name,
            state.reason,
            extra={"node": self.name, "state": state.name, "reason": state.reason, "before": before.name},
        )

    def _on_driver_ended(self, driver: asyncio.Task[None]) -> None:
        """A driver ends only when canceled; anything else is a fault of ours, and the node is watched again."""
        if driver.cancelled() or driver is not self._driver:
            return
        log.error("the driver failed and starts anew", exc_info=driver.exception(), extra={"node": self.name})
        self._driver = None
        asyncio.get_running_loop().call_later(_RESTART, self.start, self.policy, self.poll_interval)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Report):
            self._on_report(event)
        else:
            if isinstance(event, Link):
                self.links[event.state] += 1
            self.model = observe(self.model, event)
        self._changed(self)

    def _on_report(self, report: Report) -> None:
        clock, age = report_age(self.model.clock, report)
        elapsed = max(0.0, self._clock() - report.received)
        totals = self._core.baseline(self.uid, (age or 0.0) + elapsed)
        self.model = observe_report(self.model, report, clock=clock, age=age, totals=totals, policy=self.policy)
