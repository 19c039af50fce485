"""The calls of a day: when they begin and how long they last. Knows no node and no cluster.

Arrivals are a Poisson process whose rate follows the hours: a quiet night, a rush in the morning and one in the
afternoon, and a campaign that starts from one moment to the next. Lengths have a lognormal body and a Pareto tail: most
calls are short, some last for hours.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

HOUR = 3600.0

#: Relative rate of calls by hour of the day, with straight lines in between.
RUSH_HOURS = (
    (0.0, 0.08), (5.0, 0.05), (7.0, 0.15), (8.0, 0.55), (9.0, 0.95), (10.0, 1.0), (11.0, 0.95), (12.0, 0.75),
    (13.0, 0.7), (14.0, 0.9), (15.0, 1.0), (16.0, 0.95), (17.0, 0.8), (18.0, 0.55), (19.0, 0.4), (20.0, 0.3),
    (22.0, 0.15), (24.0, 0.08),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Campaign:
    """A flash crowd: from `start` on, for `seconds`, so many calls a second more."""

    start: float
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a day looks like. Times in seconds; `pace` hours of the curve, from `begin` on, pass in one hour."""

    seconds: float = 24 * HOUR
    begin: float = 0.0
    pace: float = 1.0
    busiest: float = 2.9
    """Calls a second where the curve stands at 1."""
    campaign: Campaign | None = Campaign(start=13 * HOUR, seconds=900.0, rate=2.5)
    tail: float = 0.08
    """Share of the calls whose length is of the tail."""
    median: float = 115.0
    spread: float = 1.0
    """Of the lognormal body."""
    tail_from: float = 300.0
    tail_exponent: float = 1.5
    longest: float = 2 * HOUR
    hurry: float = 1.0
    """By how much shorter all stabilization windows are, where the day is."""

    def rate(self, at: float) -> float:
        """Calls a second at a time of the day."""
        hour = self.begin + at * self.pace / HOUR
        index = min(bisect_right(RUSH_HOURS, (hour, math.inf)), len(RUSH_HOURS) - 1)
        (before, low), (after, high) = RUSH_HOURS[index - 1], RUSH_HOURS[index]
        rate = self.busiest * (low + (high - low) * (hour - before) / (after - before))
        crowd = self.campaign
        return rate + (crowd.rate if crowd and crowd.start <= at < crowd.start + crowd.seconds else 0.0)


#: A day of about 120,000 calls, and one of two hours with the same ups and downs for the tests.
WHOLE_DAY = Shape()
SHORT_DAY = Shape(
    seconds=2 * HOUR,
    pace=12.0,
    campaign=Campaign(start=13 * HOUR / 12, seconds=300.0, rate=2.5),
    longest=HOUR / 2,
    hurry=5.0,
)


@dataclass(frozen=True, slots=True)
class Day:
    """The calls of one day: begins in order, and the length of each, in seconds."""

    shape: Shape
    begins: Sequence[float]
    lengths: Sequence[float]

    def __len__(self) -> int:
        return len(self.begins)


def day(shape: Shape, seed: int) -> Day:
    """The same calls for the same shape and seed, whoever serves them."""
    # Two streams, so that another length model leaves the arrivals as they are.
    arrivals, lengths = random.Random(f"arrivals {seed}"), random.Random(f"lengths {seed}")
    begins: list[float] = []
    # The rate is constant over a step; an exponential gap forgets, so each step may begin anew.
    step, at = 10.0, 0.0
    while at < shape.seconds:
        rate, end = shape.rate(at), min(at + step, shape.seconds)
        moment = at + arrivals.expovariate(rate) if rate > 0 else end
        while moment < end:
            begins.append(moment)
            moment += arrivals.expovariate(rate)
        at = end
    return Day(shape, begins, [_length(shape, lengths) for _ in begins])


def concurrent_by_minute(calls: Day) -> list[int]:
    """The most calls that stand at once in each minute of the day, were none ever refused or cut."""
    changes = [(begin, 1) for begin in calls.begins]
    changes += [(begin + length, -1) for begin, length in zip(calls.begins, calls.lengths, strict=True)]
    changes.sort()
    most = [0] * math.ceil(calls.shape.seconds / 60)
    standing = minute = 0
    for at, change in changes:
        while minute + 1 < len(most) and at >= (minute + 1) * 60:
            minute += 1
            most[minute] = standing
        if at >= calls.shape.seconds:
            break
        standing += change
        most[minute] = max(most[minute], standing)
    for later in range(minute + 1, len(most)):
        most[later] = standing
    return most


def _length(shape: Shape, chance: random.Random) -> float:
    if chance.random() < shape.tail:
        length = shape.tail_from * chance.paretovariate(shape.tail_exponent)
    else:
        length = chance.lognormvariate(math.log(shape.median), shape.spread)
    return min(max(length, 1.0), shape.longest)
