"""How balancers choose: ours, with the product's own load model and choice, and OpenSIPS' by its formulas.

OpenSIPS 4.1: every second, whether a heartbeat came or not, both of its modules make their numbers anew of the last
one. The host's idle CPU, which both multiply by, stands at 100 % here: the best that can happen to them.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from switchtender._core import Chooser, Evaluation, evaluate
from switchtender.drivers.reports import Report
from switchtender.load.age import report_age
from switchtender.load.model import NodeModel, Policy, observe_report
from switchtender.load.states import Published, publish
from tests.scaling.pool import Heartbeat, Replica, Scenario

BUCKET = 0.02
"""What the packet core remembers of the past has this resolution, and one INVITE's way is taken as the same."""

COOL_DOWN = (1.0, 2.0)
"""Seconds between which a node that refused is left alone by us."""

IDLE = 1.0
MOST_WEIGHT = 100
"""OpenSIPS' `max_freeswitch_weight`."""

_UNSIGNED = 1 << 32


@dataclass(frozen=True, slots=True)
class _Totals:
    """What the packet core answers to ``baseline``."""

    assigned: int
    ended: int
    exact: bool


class _View:
    """One node as one of our balancers sees it."""

    __slots__ = ("assigned", "cooling", "ended", "model", "now_open", "placed", "published")

    def __init__(self) -> None:
        self.model = NodeModel()
        self.published: Published | None = None
        self.assigned = 0
        self.placed: list[float] = []
        """When the calls since the last report and shortly before it were placed."""
        self.ended = 0
        self.cooling = -math.inf
        self.now_open: Evaluation | None = None

    def report(self, report: Report, policy: Policy, replicas: int) -> None:
        clock, age = report_age(self.model.clock, report)
        moment = int((report.received - (age or 0.0) - BUCKET) / BUCKET) * BUCKET
        before = bisect_left(self.placed, moment)
        totals = _Totals(self.assigned - len(self.placed) + before, self.ended, exact=(age or 0.0) <= 2.0)
        del self.placed[:before]
        self.model = observe_report(self.model, report, clock=clock, age=age, totals=totals, policy=policy)
        _, self.published = publish(self.model, policy, replicas=replicas, fresh_share=1.0, now=report.received)
        self.evaluate()

    def evaluate(self) -> None:
        known = self.published
        if known is None or known.admission != "open":
            self.now_open = None
            return
        self.now_open = evaluate(
            sessions=known.sessions,
            max_sessions=known.max_sessions,
            cap=known.cap,
            headroom=known.headroom,
            share=known.share,
            legs_per_call=1,
            assigned=self.assigned - known.baseline_assigned,
            ended=self.ended - known.baseline_ended,
        )


class LeastLoad:
    """Our own: the load model on each heartbeat, the packet core's arithmetic and choice on each call."""

    def __init__(self, scenario: Scenario, number: int) -> None:
        self._policy = Policy(legs_per_call=1)
        self._replicas = scenario.replicas
        self._views = [_View() for _ in range(scenario.nodes)]
        self._chooser = Chooser("LeastLoad", scenario.seed * 1000 + number)
        self._random = random.Random(f"cool-down {scenario.seed} {number}")
        self._cooling: set[int] = set()
        self._nodes: list[tuple[Evaluation, float]] = []
        self._shut: set[int] = set()
        self._none = evaluate(
            sessions=0, max_sessions=0, cap=None, headroom=0, share=1, legs_per_call=1, assigned=0, ended=0
        )
        self._nodes = [(self._none, 1.0)] * scenario.nodes
        self._shut = set(range(scenario.nodes))

    def choose(self, now: float, tried: set[int]) -> int | None:
        self._cooling = {node for node in self._cooling if self._views[node].cooling > now}
        return self._chooser.choose(self._nodes, tried | self._shut | self._cooling)

    def placed(self, now: float, node: int) -> None:
        view = self._views[node]
        view.assigned += 1
        view.placed.append(now)
        self._anew(node)

    def refused(self, now: float, node: int) -> None:
        self._views[node].cooling = now + self._random.uniform(*COOL_DOWN)
        self._cooling.add(node)

    def ended(self, now: float, node: int) -> None:
        self._views[node].ended += 1
        self._anew(node)

    def heard(self, now: float, node: int, heartbeat: Heartbeat) -> None:
        report = Report(
            source="heartbeat",
            sessions=heartbeat.sessions,
            max_sessions=heartbeat.limit,
            sessions_since_startup=heartbeat.since_startup,
            sessions_per_second_limit=1000,
            uptime_ms=int(1000 * (heartbeat.measured + 1e6)),
            stamp=heartbeat.measured,
            received=heartbeat.received,
        )
        self._views[node].report(report, self._policy, self._replicas)
        self._anew(node)

    def tick(self, now: float) -> None:
        pass

    def _anew(self, node: int) -> None:
        self._views[node].evaluate()
        evaluation = self._views[node].now_open
        self._nodes[node] = (evaluation or self._none, 1.0)
        if evaluation is None:
            self._shut.add(node)
        else:
            self._shut.discard(node)


class LoadBalancer:
    """OpenSIPS' load_balancer with `fetch_freeswitch_stats`: the largest `max_load - local` wins, equals by lot (`s`).

    ``relative`` (flag `r`): the largest part of `max_load` that is free.
    """

    def __init__(self, scenario: Scenario, number: int, *, relative: bool = False) -> None:
        self._local = [0] * scenario.nodes
        self._told: list[Heartbeat | None] = [None] * scenario.nodes
        self._most = [0] * scenario.nodes
        self._relative = relative
        self._random = random.Random(f"ties {scenario.seed} {number}")

    def choose(self, now: float, tried: set[int]) -> int | None:
        free = {node: found for node in range(len(self._most)) if node not in tried and (found := self.free(node)) > 0}
        if not free:
            return None
        best = max(free.values())
        return self._random.choice([node for node, found in free.items() if found == best])

    def free(self, node: int) -> int:
        """What the formula makes of the node now."""
        most, local = self._most[node], self._local[node]
        if self._relative:
            return 100 - 100 * local // most if most else 0
        difference = (most - local) % _UNSIGNED
        return difference - _UNSIGNED if difference >= _UNSIGNED // 2 else difference

    def placed(self, now: float, node: int) -> None:
        self._local[node] += 1

    def refused(self, now: float, node: int) -> None:
        self._local[node] -= 1

    def ended(self, now: float, node: int) -> None:
        self._local[node] -= 1

    def heard(self, now: float, node: int, heartbeat: Heartbeat) -> None:
        first = self._told[node] is None
        self._told[node] = heartbeat
        if first:
            self._recalculate(node)

    def tick(self, now: float) -> None:
        for node in range(len(self._most)):
            self._recalculate(node)

    def _recalculate(self, node: int) -> None:
        told, local = self._told[node], self._local[node]
        if told is None:
            return
        room = told.limit - (told.sessions - local) if local < told.limit else told.limit
        self._most[node] = math.trunc(IDLE * room) % _UNSIGNED


class Dispatcher:
    """OpenSIPS' dispatcher with weights from FreeSWITCH, by its weighted round robin (algorithm 4): it stays on a node
    for as many calls as the node's weight says, and then goes to the next; refused calls go to the next in the list.

    ``drawn`` (algorithm 6): by lot, in proportion to the weights.
    """

    def __init__(self, scenario: Scenario, number: int, *, drawn: bool = False) -> None:
        self.weights = [MOST_WEIGHT] * scenario.nodes
        self._told: list[Heartbeat | None] = [None] * scenario.nodes
        self._drawn = drawn
        self._random = random.Random(f"drawn {scenario.seed} {number}")
        self._last = self._random.randrange(scenario.nodes)
        self._counts = [0] * scenario.nodes
        self._chosen = 0

    def choose(self, now: float, tried: set[int]) -> int | None:
        if tried:
            self._chosen = (self._chosen + 1) % len(self.weights)
        elif self._drawn:
            weights = self.weights if any(self.weights) else [1] * len(self.weights)
            self._chosen = self._random.choices(range(len(weights)), weights)[0]
        else:
            if self._counts[self._last] >= self.weights[self._last]:
                self._counts[self._last] = 0
                self._last = (self._last + 1) % len(self.weights)
            self._counts[self._last] += 1
            self._chosen = self._last
        return self._chosen if self._chosen not in tried else None

    def placed(self, now: float, node: int) -> None:
        pass

    def refused(self, now: float, node: int) -> None:
        pass

    def ended(self, now: float, node: int) -> None:
        pass

    def heard(self, now: float, node: int, heartbeat: Heartbeat) -> None:
        self._told[node] = heartbeat

    def tick(self, now: float) -> None:
        for node, told in enumerate(self._told):
            if told is not None:
                self.weights[node] = weight(told.sessions, told.limit)


def weight(sessions: int, limit: int) -> int:
    """OpenSIPS' weight of a node: rounded half away from zero, into 16 bits without a sign (it wraps below 0)."""
    exact = MOST_WEIGHT * (1 - sessions / limit) * IDLE
    return int(math.copysign(math.floor(abs(exact) + 0.5), exact)) % (1 << 16)


CHOICES: Mapping[str, Callable[[Scenario, int], Replica]] = {
    "LeastLoad": LeastLoad,
    "load_balancer": LoadBalancer,
    "load_balancer, relative": lambda scenario, number: LoadBalancer(scenario, number, relative=True),
    "dispatcher, in turn": Dispatcher,
    "dispatcher, drawn": lambda scenario, number: Dispatcher(scenario, number, drawn=True),
}
"""By the name in the page."""
