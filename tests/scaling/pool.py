"""Several balancers before one pool of nodes, on reports that are old: event by event, in virtual time.

Knows how nodes count and refuse and when reports come, and nothing of how a balancer chooses (`replicas.py`).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from statistics import fmean, pstdev
from typing import Literal, Protocol

ZOMBIE = 10.06
"""Seconds that FreeSWITCH keeps the session of the INVITE that it refuses at its limit."""

ATTEMPTS = 3
"""Nodes that a call is offered to before its caller is refused."""

TICK = 1.0
"""Seconds between two recalculations of OpenSIPS (`event_heartbeat_interval`)."""

LOGNORMAL_SIGMA = 1.2
"""Of the logarithm of a call's length: most are short, some very long."""

Lengths = Literal["exponential", "lognormal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated. ``load``: offered, as a part of what all nodes can carry; ``limit``: Max-Sessions of each
    node, of which FreeSWITCH admits one less; times in seconds. ``surge``: from when, how long, times how many calls.
    """

    replicas: int
    heartbeat: float
    nodes: int = 16
    limit: int = 101
    load: float = 0.9
    hold: float = 60.0
    lengths: Lengths = "lognormal"
    warm_up: float = 60.0
    seconds: float = 180.0
    surge: tuple[float, float, float] | None = None
    seed: int = 1


def surged(scenario: Scenario) -> Scenario:
    """The same pool at 60 %, and for 20 s three times the calls: 94 % of all sessions would be in use at the end."""
    return replace(scenario, load=0.6, surge=(scenario.warm_up + 20.0, 20.0, 3.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a node says of itself, and when it said so."""

    sessions: int
    limit: int
    since_startup: int
    measured: float
    received: float


class Replica(Protocol):
    """One balancer. Times are seconds of the simulation, nodes are indices."""

    def choose(self, now: float, tried: set[int]) -> int | None:
        """The node for a call, not one of ``tried``; None: the caller is refused."""

    def placed(self, now: float, node: int) -> None:
        """A call was sent there."""

    def refused(self, now: float, node: int) -> None:
        """The node refused it."""

    def ended(self, now: float, node: int) -> None:
        """A call that we placed there ended."""

    def heard(self, now: float, node: int, heartbeat: Heartbeat) -> None:
        """A heartbeat arrived."""

    def tick(self, now: float) -> None:
        """A second has passed."""


@dataclass(slots=True)
class Outcome:
    """What became of the calls after the warm-up, and how evenly nodes were used, in means over its seconds.

    ``overshoot``: INVITEs that came to a node without a free session. ``lost``: calls that no node took.
    ``max_over_mean``, ``variation``: of the utilization of nodes (the latter is standard deviation over mean).
    """

    offered: int = 0
    answered: int = 0
    overshoot: int = 0
    lost: int = 0
    max_over_mean: float = 0.0
    variation: float = 0.0


@dataclass(slots=True)
class Node:
    """FreeSWITCH's account of sessions; ``calls`` are those of them that are no zombies."""

    limit: int
    sessions: int = 0
    since_startup: int = 0
    calls: int = 0

    def invite(self) -> Literal["answered", "refused", "zombie"]:
        """Take one more call, or refuse it, perhaps with a session that stays for a while."""
        if self.sessions >= self.limit:
            return "refused"
        self.sessions += 1
        self.since_startup += 1
        if self.sessions >= self.limit:
            return "zombie"
        self.calls += 1
        return "answered"


class Simulation:
    """The world: a heap of what happens next. The calls are the same whatever the replicas do."""

    def __init__(self, scenario: Scenario, make: Callable[[Scenario, int], Replica]) -> None:
        self.scenario = scenario
        self.nodes = [Node(scenario.limit) for _ in range(scenario.nodes)]
        self.replicas = [make(scenario, number) for number in range(scenario.replicas)]
        self.outcome = Outcome()
        self.whole = Outcome()
        self.begun = self.ended = 0
        """Calls answered or there from the start, and those of them that are over."""
        self._calls = random.Random(f"calls {scenario.seed}")
        self._ways = random.Random(f"ways {scenario.seed}")
        self._seen: list[tuple[float, float]] = []
        self._queue: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = count()

    def run(self) -> Outcome:
        """Run it to its end."""
        scenario = self.scenario
        self._stand()
        for node in range(scenario.nodes):
            # All of them are heard once at the start, and then each in its own time.
            self._beat(0.0, node, scenario.heartbeat * (node + self._ways.random()) / scenario.nodes)
        for number in range(scenario.replicas):
            self._at(TICK * self._ways.random(), self._tick, number)
        self._at(0.1 + self._gap(0.0), self._call)
        self._at(scenario.warm_up, self._look)
        end = scenario.warm_up + scenario.seconds
        while self._queue and self._queue[0][0] <= end:
            now, _, happen, arguments = heapq.heappop(self._queue)
            happen(now, *arguments)
        self.outcome.max_over_mean = fmean(seen[0] for seen in self._seen)
        self.outcome.variation = fmean(seen[1] for seen in self._seen)
        return self.outcome

    def standing(self) -> int:
        """Calls up now."""
        return sum(node.calls for node in self.nodes)

    def _stand(self) -> None:
        """The calls that are there from the start, evenly spread; the rest of each is drawn as exponential."""
        scenario = self.scenario
        for node in range(scenario.nodes):
            for _ in range(int(min(1.0, scenario.load) * (scenario.limit - 1))):
                self.nodes[node].invite()
                self.begun += 1
                number = self._calls.randrange(scenario.replicas)
                self.replicas[number].placed(-scenario.hold, node)
                self._at(self._calls.expovariate(1 / scenario.hold), self._end, number, node)

    def _at(self, moment: float, happen: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._queue, (moment, next(self._order), happen, arguments))

    def _gap(self, now: float) -> float:
        scenario = self.scenario
        rate = scenario.load * scenario.nodes * (scenario.limit - 1) / scenario.hold
        if scenario.surge is not None and scenario.surge[0] <= now < scenario.surge[0] + scenario.surge[1]:
            rate *= scenario.surge[2]
        return self._calls.expovariate(rate)

    def _length(self) -> float:
        hold = self.scenario.hold
        if self.scenario.lengths == "exponential":
            return self._calls.expovariate(1 / hold)
        return self._calls.lognormvariate(math.log(hold) - LOGNORMAL_SIGMA**2 / 2, LOGNORMAL_SIGMA)

    def _counted(self, now: float) -> tuple[Outcome, ...]:
        return (self.whole, self.outcome) if now >= self.scenario.warm_up else (self.whole,)

    def _call(self, now: float) -> None:
        number, length = self._calls.randrange(self.scenario.replicas), self._length()
        self._at(now + self._gap(now), self._call)
        for counted in self._counted(now):
            counted.offered += 1
        replica, tried = self.replicas[number], set[int]()
        while len(tried) < ATTEMPTS and (node := replica.choose(now, tried)) is not None:
            tried.add(node)
            replica.placed(now, node)
            answer = self.nodes[node].invite()
            if answer == "answered":
                self.begun += 1
                for counted in self._counted(now):
                    counted.answered += 1
                self._at(now + length, self._end, number, node)
                return
            for counted in self._counted(now):
                counted.overshoot += 1
            if answer == "zombie":
                self._at(now + ZOMBIE, self._forget, node)
            replica.refused(now, node)
        for counted in self._counted(now):
            counted.lost += 1

    def _end(self, now: float, number: int, node: int) -> None:
        self.ended += 1
        self.nodes[node].sessions -= 1
        self.nodes[node].calls -= 1
        self.replicas[number].ended(now, node)

    def _forget(self, now: float, node: int) -> None:
        self.nodes[node].sessions -= 1

    def _beat(self, now: float, node: int, after: float | None = None) -> None:
        one = self.nodes[node]
        for number in range(self.scenario.replicas):
            received = now + self._ways.uniform(0.001, 0.01)
            heartbeat = Heartbeat(
                sessions=one.sessions,
                limit=one.limit,
                since_startup=one.since_startup,
                measured=now,
                received=received,
            )
            self._at(received, self._hear, number, node, heartbeat)
        self._at(now + (self.scenario.heartbeat if after is None else after), self._beat, node)

    def _hear(self, now: float, number: int, node: int, heartbeat: Heartbeat) -> None:
        self.replicas[number].heard(now, node, heartbeat)

    def _tick(self, now: float, number: int) -> None:
        self.replicas[number].tick(now)
        self._at(now + TICK, self._tick, number)

    def _look(self, now: float) -> None:
        used = [node.calls / (node.limit - 1) for node in self.nodes]
        mean = fmean(used)
        if mean > 0:
            self._seen.append((max(used) / mean, pstdev(used) / mean))
        self._at(now + 1.0, self._look)
