"""Several balancers before a pool of FreeSWITCH nodes, event by event in virtual time.

The nodes keep real accounts: `Max-Sessions - 1` are admitted, an INVITE at that limit is refused and leaves a session
for 10.06 s (a zombie), `sessions-per-second - 1` are admitted in each second, callers that no balancer sent come and
go. The balancers are the real thing as far as load goes: `switchtender.load` on reports that arrive late, and the
packet core's own arithmetic and choice. Run as a program it prints the table of docs/load.md.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import mean

from switchtender._core import Chooser, Evaluation, evaluate
from switchtender.drivers.reports import Report
from switchtender.load.age import report_age
from switchtender.load.model import NodeModel, Policy, observe_report
from switchtender.load.states import Published, publish

ZOMBIE = 10.06
WAY = 0.002
"""Seconds of a SIP message from balancer to node."""

BUCKET = 0.02
"""What the packet core remembers of the past has this resolution, and one INVITE's way is taken as the same."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is simulated. ``nodes``: (Max-Sessions, sessions held from elsewhere all the time)."""

    nodes: tuple[tuple[int, int], ...]
    rate: float
    replicas: int = 1
    seconds: float = 300.0
    hold: float = 10.0
    legs: int = 1
    outside_rate: float = 0.0
    sessions_per_second: int = 1_000_000
    poll: float = 1.0
    headroom: float | None = None
    believed: float = 1.0
    """Times its limit that each node claims to admit: above 1 shows what trying full nodes does to them."""
    cool_down: tuple[float, float] = (1.0, 2.0)
    regular: bool = False
    """Calls come evenly spaced instead of at random."""
    seed: int = 1


@dataclass
class Outcome:
    """What became of the calls."""

    offered: int = 0
    answered: int = 0
    rejected: int = 0
    refused: int = 0
    """Own 503s of nodes, those of zombies and of the rate limit included."""
    zombies: int = 0
    rate_limited: int = 0
    halves: int = 0
    """Calls whose second leg found no room."""
    in_use: list[float] = field(default_factory=list)
    """Part of the pool's usable sessions that carry calls, once a second."""


def ideal(scenario: Scenario) -> float:
    """Calls that could be answered if every session could be used all the time and every node admitted all that its
    rate allows; callers from elsewhere are left out.
    """
    room = sum(most - 1 - held for most, held in scenario.nodes) / scenario.legs
    turnover = room / scenario.hold * (scenario.seconds - scenario.hold - 0.5)
    offered = scenario.rate * (scenario.seconds - 0.5)
    admitted = len(scenario.nodes) * (scenario.sessions_per_second - 1) / scenario.legs * (scenario.seconds - 0.5)
    return min(offered, room + turnover, admitted)


class Node:
    """FreeSWITCH's account of sessions."""

    def __init__(self, most: int, held: int, sessions_per_second: int) -> None:
        self.most = most
        self.sessions = held
        self.since_startup = held
        self.calls = held
        self.sessions_per_second = sessions_per_second
        self._second = -1
        self._admitted = 0

    def throttled(self, now: float) -> bool:
        """Whether this second's sessions are used up; takes one if not."""
        if int(now) != self._second:
            self._second, self._admitted = int(now), 0
        if self._admitted >= self.sessions_per_second - 1:
            return True
        self._admitted += 1
        return False

    def begin(self) -> None:
        self.sessions += 1
        self.since_startup += 1


@dataclass
class Totals:
    """What the packet core answers to ``baseline``."""

    assigned: int
    ended: int
    exact: bool


class View:
    """One balancer's view of one node: the model, what it published, and the packet core's counts."""

    def __init__(self, replicas: int, policy: Policy) -> None:
        self.model = NodeModel()
        self.policy = policy
        self.replicas = replicas
        self.published: Published | None = None
        self.assigned: list[float] = []
        self.ended = 0
        self.cooling = 0.0
        self.legs: deque[float] = deque()

    def report(self, report: Report) -> None:
        clock, age = report_age(self.model.clock, report)
        moment = report.received - (age or 0.0) - BUCKET
        bucket = int(moment / BUCKET) * BUCKET
        totals = Totals(bisect_left(self.assigned, bucket), self.ended, exact=(age or 0.0) <= 2.0)
        self.model = observe_report(self.model, report, clock=clock, age=age, totals=totals, policy=self.policy)
        _, self.published = publish(
            self.model, self.policy, replicas=self.replicas, fresh_share=1.0, now=report.received
        )

    def evaluation(self, legs: int) -> Evaluation | None:
        published = self.published
        if published is None or published.admission != "open":
            return None
        return evaluate(
            sessions=published.sessions,
            max_sessions=published.max_sessions,
            cap=published.cap,
            headroom=published.headroom,
            share=published.share,
            legs_per_call=legs,
            assigned=len(self.assigned) - published.baseline_assigned,
            ended=self.ended - published.baseline_ended,
        )

    def may(self, now: float, legs: int) -> bool:
        """Cool-down and sessions per second, as the packet core has them."""
        if now < self.cooling or self.published is None:
            return False
        while self.legs and self.legs[0] < now - 1.0 - BUCKET / 2:
            self.legs.popleft()
        limit = (self.published.sessions_per_second or 30.0) - 1.0
        return not self.legs or len(self.legs) + legs <= limit * self.published.share


class Balancer:
    """One replica."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        policy = Policy(legs_per_call=scenario.legs, headroom=scenario.headroom)
        self.views = [View(scenario.replicas, policy) for _ in scenario.nodes]
        self.chooser = Chooser("LeastLoad", seed)
        self.legs = scenario.legs

    def choose(self, now: float, tried: set[int]) -> int | None:
        open_nodes = []
        evaluations = []
        for index, view in enumerate(self.views):
            if index in tried or not view.may(now, self.legs):
                continue
            evaluation = view.evaluation(self.legs)
            if evaluation is not None:
                open_nodes.append(index)
                evaluations.append((evaluation, 1.0))
        choice = self.chooser.choose(evaluations, set())
        return None if choice is None else open_nodes[choice]


class Simulation:
    """The world: a heap of what happens next."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.random = random.Random(scenario.seed)
        self.nodes = [Node(most, held, scenario.sessions_per_second) for most, held in scenario.nodes]
        self.balancers = [Balancer(scenario, scenario.seed * 1000 + number) for number in range(scenario.replicas)]
        self.outcome = Outcome()
        self._queue: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = count()

    def run(self) -> Outcome:
        scenario = self.scenario
        for balancer in self.balancers:
            for index in range(len(self.nodes)):
                self._at(self.random.uniform(0, scenario.poll), self._ask, balancer, index)
        if scenario.outside_rate:
            for index in range(len(self.nodes)):
                self._at(self.random.expovariate(scenario.outside_rate), self._outside, index)
        self._at(0.5, self._call)
        self._at(1.0, self._look)
        while self._queue and self._queue[0][0] <= scenario.seconds:
            now, _, happen, arguments = heapq.heappop(self._queue)
            happen(now, *arguments)
        return self.outcome

    def _at(self, moment: float, happen: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._queue, (moment, next(self._order), happen, arguments))

    def _look(self, now: float) -> None:
        room = sum(node.most - 1 for node in self.nodes)
        self.outcome.in_use.append(sum(node.calls for node in self.nodes) / room)
        self._at(now + 1.0, self._look)

    def _call(self, now: float) -> None:
        self.outcome.offered += 1
        self._attempt(now, self.random.choice(self.balancers), set())
        rate = self.scenario.rate
        self._at(now + (1 / rate if self.scenario.regular else self.random.expovariate(rate)), self._call)

    def _attempt(self, now: float, balancer: Balancer, tried: set[int]) -> None:
        index = balancer.choose(now, tried) if len(tried) < 3 else None
        if index is None:
            self.outcome.rejected += 1
            return
        view = balancer.views[index]
        view.assigned.append(now)
        view.legs.extend([now] * self.scenario.legs)
        self._at(now + WAY, self._invite, balancer, index, tried | {index})

    def _invite(self, now: float, balancer: Balancer, index: int, tried: set[int]) -> None:
        node = self.nodes[index]
        if node.sessions >= node.most:
            self._refuse(now, balancer, index, tried)
        elif node.throttled(now):
            self.outcome.rate_limited += 1
            self._refuse(now, balancer, index, tried)
        else:
            node.begin()
            if node.sessions >= node.most:
                self.outcome.zombies += 1
                self._at(now + ZOMBIE, self._gone, index, 1, False)
                self._refuse(now, balancer, index, tried)
            elif self.scenario.legs == 2:
                self._at(now + 0.005, self._bridge, balancer, index)
            else:
                self._answer(now, balancer, index)

    def _bridge(self, now: float, balancer: Balancer, index: int) -> None:
        """The second leg may take the last session; without one the call ends."""
        node = self.nodes[index]
        if node.sessions < node.most and not node.throttled(now):
            node.begin()
            self._answer(now, balancer, index)
        else:
            self.outcome.halves += 1
            node.sessions -= 1

    def _answer(self, now: float, balancer: Balancer, index: int) -> None:
        self.outcome.answered += 1
        self.nodes[index].calls += self.scenario.legs
        self._at(now + self.scenario.hold, self._gone, index, self.scenario.legs, True)
        self._at(now + self.scenario.hold + WAY, self._ended, balancer, index)

    def _refuse(self, now: float, balancer: Balancer, index: int, tried: set[int]) -> None:
        self.outcome.refused += 1
        balancer.views[index].cooling = now + WAY + self.random.uniform(*self.scenario.cool_down)
        self._at(now + WAY, self._attempt, balancer, tried)

    def _gone(self, now: float, index: int, legs: int, call: bool) -> None:
        self.nodes[index].sessions -= legs
        if call:
            self.nodes[index].calls -= legs

    def _ended(self, now: float, balancer: Balancer, index: int) -> None:
        balancer.views[index].ended += 1

    def _outside(self, now: float, index: int) -> None:
        node = self.nodes[index]
        if node.sessions < node.most:
            node.begin()
            node.calls += 1
            self._at(now + self.scenario.hold, self._gone, index, 1, True)
        self._at(now + self.random.expovariate(self.scenario.outside_rate), self._outside, index)

    def _ask(self, now: float, balancer: Balancer, index: int) -> None:
        self._at(now + self.random.uniform(0.001, 0.02), self._measure, balancer, index, now)
        self._at(now + self.scenario.poll * self.random.uniform(0.95, 1.05), self._ask, balancer, index)

    def _measure(self, now: float, balancer: Balancer, index: int, sent: float) -> None:
        node = self.nodes[index]
        received = now + self.random.uniform(0.004, 0.02)
        report = Report(
            source="poll",
            sessions=node.sessions,
            max_sessions=round(node.most * self.scenario.believed),
            sessions_since_startup=node.since_startup,
            sessions_per_second_limit=node.sessions_per_second,
            sent=sent,
            received=received,
        )
        self._at(received, self._report, balancer, index, report)

    def _report(self, now: float, balancer: Balancer, index: int, report: Report) -> None:
        balancer.views[index].report(report)


def simulate(scenario: Scenario) -> Outcome:
    """Run it to its end."""
    return Simulation(scenario).run()


SMALL = Scenario(nodes=((100, 60), (20, 0)), rate=12)
"""Twice the room of two small nodes; every session counts."""

LARGE = Scenario(nodes=((1000, 300), (1000, 0), (500, 100), (200, 0)), rate=400, seconds=120)
"""Nearly twice the room of four nodes of unlike size."""

SMALL_AT_1_3 = replace(SMALL, rate=7.5)
LARGE_AT_1_3 = replace(LARGE, rate=300, seconds=60)
"""The same pools at 1.3 times what they can carry."""

THROTTLED = Scenario(nodes=((1000, 0),) * 3, rate=113, seconds=60, sessions_per_second=30)
"""1.3 times what the default sessions-per-second of three nodes lets in; sessions are plenty."""


@dataclass(frozen=True)
class Average:
    """Means over several seeds: answered calls against the ideal, zombies, own refusals, rate limits hit."""

    answered: float
    zombies: float
    refused: float
    rate_limited: float


def average(scenario: Scenario, seeds: int) -> Average:
    """Run the scenario with seeds 1, 2, … and take the means."""
    outcomes = [simulate(replace(scenario, seed=seed)) for seed in range(1, seeds + 1)]
    return Average(
        answered=mean(outcome.answered for outcome in outcomes) / ideal(scenario),
        zombies=mean(outcome.zombies for outcome in outcomes),
        refused=mean(outcome.refused for outcome in outcomes),
        rate_limited=mean(outcome.rate_limited for outcome in outcomes),
    )


def main() -> None:
    """Print the tables of docs/load.md (some minutes)."""
    print("| pool | from elsewhere | balancers | 0 kept | 2 kept | learned |\n|---|---|---|---|---|---|")
    pools: tuple[tuple[str, Scenario, int, tuple[float, ...]], ...] = (
        ("small × 1.3", SMALL_AT_1_3, 6, (0.0,)),
        ("large × 1.3", LARGE_AT_1_3, 2, (0.0,)),
        ("small × 2", SMALL, 6, (0.0, 1.0)),
        ("large × 1.7", LARGE, 2, (0.0, 1.0)),
    )
    for name, base, seeds, outsides in pools:
        for outside in outsides:
            for replicas in (1, 2, 4, 8):
                cells = []
                for headroom in (0.0, 2.0, None):
                    scenario = replace(base, replicas=replicas, outside_rate=outside, headroom=headroom)
                    seen = average(scenario, seeds)
                    cells.append(f"{seen.answered:.3f}, {seen.zombies:.1f}")
                print(f"| {name} | {outside:g}/s a node | {replicas} | {' | '.join(cells)} |", flush=True)
    print("\n| balancers | answered | rate limits hit |\n|---|---|---|")
    for replicas in (1, 2, 4, 8):
        seen = average(replace(THROTTLED, replicas=replicas), 3)
        print(f"| {replicas} | {seen.answered:.3f} | {seen.rate_limited:.1f} |", flush=True)


if __name__ == "__main__":
    main()
