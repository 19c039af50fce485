"""How fast totals grow: what is taken once a second, over the last few seconds and the last minute. Pure arithmetic on
given times, which may be any seconds that only grow.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

SHORT = 5.0
"""Seconds that a rate is the mean of."""
LONG = 60.0
"""Seconds that a share is taken over."""
_LATE = 0.5
"""Seconds by which samples may come late without one more or less of them in what is looked at."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What was added from ``began`` to ``ended``; keys that stood still are left out."""

    began: float
    ended: float
    added: Mapping[Hashable, int]


class Rates:
    """Counts over windows of time, for any keys.

    A total that is seen for the first time counts from there on: what came before is nobody's rate. One that fell has
    begun anew at nought. One that is no longer given is forgotten.
    """

    def __init__(self) -> None:
        self._totals: dict[Hashable, int] = {}
        self._taken_at: float | None = None
        self._steps: deque[_Step] = deque()
        self._long: Counter[Hashable] = Counter()
        self._short: Counter[Hashable] = Counter()
        self._short_span = 0.0

    def take(self, now: float, totals: Mapping[Hashable, int]) -> None:
        """Take in the totals of this moment."""
        if self._taken_at is not None:
            self._add(_Step(self._taken_at, now, _growth(self._totals, totals)))
        self._totals, self._taken_at = dict(totals), now
        while self._steps and self._steps[0].began < now - LONG - _LATE:
            self._long.subtract(self._steps.popleft().added)
        self._long = +self._long
        recent = [step for step in self._steps if step.began >= now - SHORT - _LATE]
        self._short = Counter()
        for step in recent:
            self._short.update(step.added)
        self._short_span = now - recent[0].began if recent else 0.0

    def per_second(self, key: Hashable) -> float:
        """The mean over the last ``SHORT`` seconds, or over as many as there were."""
        return self._short[key] / self._short_span if key in self._totals and self._short_span > 0 else 0.0

    def lately(self, key: Hashable) -> int:
        """How much was added in the last ``LONG`` seconds."""
        return self._long[key] if key in self._totals else 0

    def _add(self, step: _Step) -> None:
        self._steps.append(step)
        self._long.update(step.added)


def _growth(before: Mapping[Hashable, int], after: Mapping[Hashable, int]) -> dict[Hashable, int]:
    growth: dict[Hashable, int] = {}
    for key, total in after.items():
        known = before.get(key, total)
        if total != known:
            growth[key] = total - known if total > known else total
    return growth
