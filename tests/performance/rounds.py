"""Rounds: every leg once in each, in random order; what does not count is done again. Ratios are within a round."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.performance.legs import Leg
from tests.performance.measure import Run, VoidError

TRIES = 8
"""Of one leg in one round. A shared machine takes its processors away now and then."""


@dataclass(frozen=True)
class Results:
    """Runs by leg, one a round, and how many runs of each leg did not count."""

    runs: dict[str, list[Run]]
    void: dict[str, int]

    def ratios(self, leg: str, other: str, figure: str = "cpu") -> list[float]:
        """A figure of one leg over that of another, round by round; none where one of them was not played."""
        if not (self.runs.get(leg) and self.runs.get(other)):
            return []
        return [
            getattr(mine, figure) / getattr(its, figure)
            for mine, its in zip(self.runs[leg], self.runs[other], strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        runs = {
            leg: [{k: round(v, 3) for k, v in asdict(run).items()} for run in runs] for leg, runs in self.runs.items()
        }
        return {"runs": runs, "void": self.void}

    @classmethod
    def from_json(cls, known: dict[str, Any]) -> Results:
        """What `as_json` gave."""
        return cls({leg: [Run(**run) for run in runs] for leg, runs in known["runs"].items()}, known["void"])


def played(legs: Sequence[Leg], rounds: int, run: Callable[[Leg, int], Run], order: random.Random) -> Results:
    """Play the rounds with ``run(leg, number of the run)``; raises VoidError where a leg never counts."""
    results = Results({leg.key: [] for leg in legs}, {leg.key: 0 for leg in legs})
    number = 0
    for each in range(rounds):
        for leg in order.sample(list(legs), len(legs)):
            for attempt in range(TRIES):
                number += 1
                try:
                    found = run(leg, number)
                except VoidError as why:
                    results.void[leg.key] += 1
                    print(f"round {each + 1}: {leg.title}: void: {why}", file=sys.stderr, flush=True)
                    if attempt + 1 == TRIES:
                        raise
                    continue
                results.runs[leg.key].append(found)
                print(
                    f"round {each + 1}: {leg.title}: {found.cpu:.1f} us a call at {found.rate:.0f} calls/s, "
                    f"one way p99 {found.oneway_p99:.0f} us",
                    file=sys.stderr,
                    flush=True,
                )
                break
    return results


def told(values: Sequence[float], digits: int = 2) -> str:
    """Median and range, e.g. ``0.55 (0.52 to 0.58)``."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
