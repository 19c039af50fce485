"""What the runs have to show, each goal with the runs it is judged on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.benefit.run import Result


@dataclass(frozen=True)
class Goal:
    """A claim about every run of the scenes and peers that it names."""

    words: str
    scenes: tuple[str, ...]
    peers: tuple[str, ...]
    holds: Callable[[Result], bool]


@dataclass(frozen=True)
class Verdict:
    """A goal, and the runs that miss it."""

    goal: Goal
    judged: int
    missed: tuple[Result, ...]


_ONE = ("LeastLoad",)
_SEVERAL = ("LeastLoad x 2", "LeastLoad x 4", "LeastLoad x 8")
_TIGHT = ("small-6", "small-12", "noisy-6", "noisy-12")

GOALS = (
    Goal("small nodes, 6 and 12 calls/s: at least 95 % of the ideal", _TIGHT, _ONE, lambda run: run.share >= 0.95),
    Goal("small nodes: at most 1 zombie", _TIGHT, _ONE, lambda run: run.zombies <= 1),
    Goal("small nodes: less than 1 % 503s by nodes", _TIGHT, _ONE, lambda run: run.refused < 0.01 * run.offered),
    Goal("5 calls/s: nothing refused", ("small-5",), _ONE, lambda run: run.succeeded == run.offered),
    Goal("hundreds of sessions: at least 98 % of the ideal", ("large",), _ONE, lambda run: run.share >= 0.98),
    Goal("the same on 2 to 8 replicas: at least 96 %", ("large",), _SEVERAL, lambda run: run.share >= 0.96),
    Goal(
        "zombies below 0.1 % of the calls", ("large",), _ONE + _SEVERAL, lambda run: run.zombies < 0.001 * run.offered
    ),
)


def judge(results: Iterable[Result]) -> list[Verdict]:
    """Each goal that one of the results is about."""
    known = list(results)
    verdicts = []
    for goal in GOALS:
        about = [run for run in known if run.scene in goal.scenes and run.peer in goal.peers]
        if about:
            verdicts.append(Verdict(goal, len(about), tuple(run for run in about if not goal.holds(run))))
    return verdicts
