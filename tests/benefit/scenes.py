"""The scenes: which nodes there are, which calls come, what happens to the nodes; and how many calls could be carried.

Pure: no process, no socket, no clock.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.stand.nodes import Node

Arrivals = Literal["even", "poisson"]

_ROUNDING = 1e-9
"""Seconds: a call that ends as the next one comes makes room for it."""


@dataclass(frozen=True)
class Turn:
    """Something that happens to a node, ``at`` seconds after the first call: a POST action or a fault switch."""

    at: float
    node: str
    action: Literal["crash", "silent"]


@dataclass(frozen=True)
class Scene:
    """A pool of nodes and the calls that come to it. Times are seconds, ``rate`` calls a second."""

    name: str
    words: str
    nodes: tuple[Node, ...]
    rate: float
    seconds: float
    hold: float
    setup: float = 0.0
    """From the node's 180 to its 200, during which the session is held as well."""
    turns: tuple[Turn, ...] = ()

    def arrivals(self, kind: Arrivals = "even") -> list[float]:
        """When each call comes, from 0 on; the same for every run of the scene."""
        if kind == "even":
            return [number / self.rate for number in range(round(self.rate * self.seconds))]
        draw = random.Random(self.name)
        times: list[float] = []
        now = draw.expovariate(self.rate)
        while now < self.seconds:
            times.append(now)
            now += draw.expovariate(self.rate)
        return times


def room(node: Node) -> int:
    """Sessions that calls can get on a node: FreeSWITCH admits Max-Sessions − 1, those from elsewhere included."""
    return int(node.settings["max-sessions"]) - 1 - int(node.settings.get("background-sessions", 0))


def ideal(scene: Scene, arrivals: Sequence[float]) -> int:
    """How many of the calls one could set up who knows at each moment what every node carries.

    A call goes to any node that has room and works then, one of those that stay first; with a single kind of call it
    does not matter which. Calls on a node that dies are set up all the same: nobody could foresee that.
    """
    ends = {turn.node: turn.at for turn in scene.turns}
    order = sorted(scene.nodes, key=lambda node: -ends.get(node.name, float("inf")))
    busy: dict[str, list[float]] = {node.name: [] for node in scene.nodes}
    carried = 0
    for now in arrivals:
        for node in order:
            calls = busy[node.name]
            while calls and calls[0] <= now + _ROUNDING:
                heapq.heappop(calls)
            if now < ends.get(node.name, float("inf")) and len(calls) < room(node):
                heapq.heappush(calls, now + scene.setup + scene.hold)
                carried += 1
                break
    return carried


def _small(idle_cpu: float) -> tuple[Node, ...]:
    free = {"sessions-per-second": 1000, "idle-cpu": idle_cpu}
    return (
        Node("two", 12, {"max-sessions": 100, "background-sessions": 60, **free}),
        Node("three", 13, {"max-sessions": 20, **free}),
    )


SMALL_RATES = (2.0, 3.0, 4.0, 5.0, 6.0, 12.0)

SMALL = tuple(
    Scene(
        f"small-{rate:g}",
        f"two unlike nodes, one mostly taken by calls from elsewhere; {rate:g} calls/s of 10 s for 60 s",
        _small(85.0),
        rate=rate,
        seconds=60.0,
        hold=10.0,
    )
    for rate in SMALL_RATES
)

NOISY = tuple(
    Scene(
        f"noisy-{rate:g}",
        f"the same two nodes beside a program that keeps the CPU busy (Idle-CPU 0.5 %); {rate:g} calls/s",
        _small(0.5),
        rate=rate,
        seconds=60.0,
        hold=10.0,
    )
    for rate in (6.0, 12.0)
)

EIGHT = Scene(
    "eight",
    "eight unlike nodes with slow call set-up near their limit; one has a noisy neighbor, one is killed, one goes "
    "silent",
    (
        *(Node(f"n{size}", 10 + number, {"max-sessions": size}) for number, size in enumerate((20, 30, 50, 100, 120))),
        Node("noisy", 15, {"max-sessions": 80, "idle-cpu": 1.0}),
        Node("killed", 16, {"max-sessions": 60}),
        Node("silent", 17, {"max-sessions": 40}),
    ),
    rate=19.0,
    seconds=70.0,
    hold=18.0,
    setup=2.0,
    turns=(Turn(25.0, "killed", "crash"), Turn(40.0, "silent", "silent")),
)

LARGE = Scene(
    "large",
    "four nodes of hundreds of sessions, a tenth more calls than fit",
    (
        Node("a", 11, {"max-sessions": 300, "background-sessions": 100}),
        Node("b", 12, {"max-sessions": 400}),
        Node("c", 13, {"max-sessions": 200}),
        Node("d", 14, {"max-sessions": 250}),
    ),
    rate=38.0,
    seconds=90.0,
    hold=30.0,
)

SCENES: tuple[Scene, ...] = (*SMALL, *NOISY, EIGHT, LARGE)
