"""Which pools are simulated for the page, and the means over their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import Any

from tests.scaling.pool import Scenario, Simulation, surged
from tests.scaling.replicas import CHOICES

SEEDS = (1, 2)
REPLICAS = (1, 2, 4, 8, 16, 32)
HEARTBEATS = (1, 2, 5, 10, 20)
BETWEEN = Scenario(replicas=8, heartbeat=5.0)
"""What the other tables vary around."""

_Play = tuple[str, Scenario]


def grid(quick: bool) -> Iterator[_Play]:
    """Replicas and heartbeats, at 90 % and in a surge; then nodes, load and lengths for one size between."""
    replicas, heartbeats = ((1, 8), (5,)) if quick else (REPLICAS, HEARTBEATS)
    for count, seconds in product(replicas, heartbeats):
        yield "steady", Scenario(replicas=count, heartbeat=seconds)
    for count, seconds in product((8,) if quick else (1, 8, 32), (5,) if quick else (1, 5, 20)):
        yield "surge", surged(Scenario(replicas=count, heartbeat=seconds))
    for nodes, load in product((16,) if quick else (16, 64), (0.7, 0.9)):
        for lengths in ("exponential", "lognormal"):
            yield "pool", replace(BETWEEN, nodes=nodes, load=load, lengths=lengths)


def played(*, quick: bool, jobs: int) -> list[dict[str, Any]]:
    """A row a pool and choice, in the order of `grid`: means of all seeds, the rest per 1,000 calls offered."""
    plays = [(kind, scenario, name) for kind, scenario in grid(quick) for name in CHOICES]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(_row, plays, [SEEDS[:1] if quick else SEEDS] * len(plays)))


def _row(play: tuple[str, Scenario, str], seeds: Sequence[int]) -> dict[str, Any]:
    kind, scenario, name = play
    outcomes = [Simulation(replace(scenario, seed=seed), CHOICES[name]).run() for seed in seeds]
    return {
        "kind": kind,
        "choice": name,
        "replicas": scenario.replicas,
        "heartbeat": scenario.heartbeat,
        "nodes": scenario.nodes,
        "load": scenario.load,
        "lengths": scenario.lengths,
        "max_over_mean": round(fmean(one.max_over_mean for one in outcomes), 3),
        "variation": round(fmean(one.variation for one in outcomes), 4),
        "overshoot": round(fmean(1000 * one.overshoot / one.offered for one in outcomes), 2),
        "lost": round(fmean(1000 * one.lost / one.offered for one in outcomes), 2),
    }
