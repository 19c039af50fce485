"""What the figures are held against: what must be, and what is aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.performance.legs import FORWARDER, KAMAILIO_STATEFUL, LEAST_LOAD, STATELESS
from tests.performance.rounds import Results

Known = dict[str, Any]
"""The results of all scenes, as the file holds them."""


@dataclass(frozen=True)
class Goal:
    """``figure`` gives the values of the rounds: none where its scene was not played."""

    words: str
    must: float
    aim: float
    figure: Callable[[Known], Sequence[float]]
    digits: int = 2
    at_least: bool = False

    def reached(self, values: Sequence[float], bar: float) -> bool:
        """Whether the median of the rounds keeps to the bar."""
        middle = statistics.median(values)
        return middle >= bar if self.at_least else middle <= bar


def _ratio(scene: str, leg: str, other: str, figure: str = "cpu") -> Callable[[Known], Sequence[float]]:
    def values(known: Known) -> Sequence[float]:
        return Results.from_json(known[scene]).ratios(leg, other, figure) if scene in known else ()

    return values


def _per_core(known: Known) -> Sequence[float]:
    """Calls a second and core of ours over Kamailio's: the inverse of the processor time of a call."""
    if "saturated" not in known:
        return ()
    return Results.from_json(known["saturated"]).ratios(KAMAILIO_STATEFUL.key, LEAST_LOAD.key)


def _added(known: Known) -> Sequence[float]:
    if "compare" not in known:
        return ()
    runs = Results.from_json(known["compare"]).runs
    mine, its = runs.get(LEAST_LOAD.key, ()), runs.get(FORWARDER.key, ())
    return [ours.oneway_p99 - bare.oneway_p99 for ours, bare in zip(mine, its, strict=bool(mine and its))]


GOALS = (
    Goal("CPU of a call, LeastLoad over Kamailio stateful, 1,500 calls/s", 0.60, 0.50,
         _ratio("compare", LEAST_LOAD.key, KAMAILIO_STATEFUL.key)),
    Goal("CPU of a call, LeastLoad over the bare forwarder, 1,500 calls/s", 1.35, 1.20,
         _ratio("compare", LEAST_LOAD.key, FORWARDER.key)),
    Goal("CPU of a call, stateless over the bare forwarder, 1,500 calls/s", 1.15, 1.05,
         _ratio("compare", STATELESS.key, FORWARDER.key)),
    Goal("saturated calls/s per core, LeastLoad over Kamailio stateful", 2.0, 2.5, _per_core, at_least=True),
    Goal("p99 of an INVITE's way, LeastLoad less the bare forwarder, microseconds", 100, 50, _added, digits=0),
)  # fmt: skip
