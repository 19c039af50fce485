"""How old a report is when it arrives, and how often reports come.

A heartbeat carries the wall clock of its node, which need not agree with ours. The smallest difference between
arrival and stamp seen lately stands for "no delay"; what a report's difference exceeds it by is its age. A poll
needs no clock: it was measured after the question left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from switchtender.drivers.reports import Report

WINDOW = 30
"""Differences remembered: enough to have seen a quick one, few enough to forget a clock that was set."""

OLDEST = 2.0
"""Seconds past which a report clears nothing."""

_STEP = 0.25
"""Seconds by which a wall clock may run away from the same node's uptime between two reports before it was set."""


@dataclass(frozen=True, slots=True)
class StampClock:
    """A node's wall clock as seen from here.

    ``differences``: our arrival time less the node's stamp, in seconds, of the last ``WINDOW`` stamped reports,
    oldest first. ``last``: stamp and uptime (seconds) of the last one that told both.
    """

    differences: tuple[float, ...] = ()
    last: tuple[float, float] | None = None


def report_age(clock: StampClock, report: Report) -> tuple[StampClock, float | None]:
    """The clock with this report in it, and the report's age at its arrival in seconds; None where it cannot be known.

    The node's clock may be set while we look. Where reports tell the uptime, which only grows, the step is known and
    taken out. Without it a step forward shows as a new smallest difference, which costs nothing; after a step back
    every report would look old: one that seems older than ``OLDEST`` starts the clock anew, its own age unknown, and
    a smaller step is forgotten after ``WINDOW`` reports that count as older than they are, which is the safe side.
    """
    if report.sent is not None:
        return clock, max(0.0, report.received - report.sent)
    if report.stamp is None:
        return clock, None
    clock = _without_step(clock, report.stamp, report.uptime_ms)
    difference = report.received - report.stamp
    smallest = min((difference, *clock.differences))
    if difference - smallest > OLDEST:
        return replace(clock, differences=(difference,)), None
    return replace(clock, differences=(*clock.differences, difference)[-WINDOW:]), difference - smallest


def _without_step(clock: StampClock, stamp: float, uptime_ms: int | None) -> StampClock:
    if uptime_ms is None:
        return clock
    now = (stamp, uptime_ms / 1000)
    step = 0.0
    if clock.last is not None and now[1] >= clock.last[1]:
        step = (now[0] - clock.last[0]) - (now[1] - clock.last[1])
    if abs(step) <= _STEP:
        return replace(clock, last=now)
    return StampClock(tuple(difference - step for difference in clock.differences), now)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often one kind of report comes: seconds between two of them, None until two came in a row."""

    interval: float | None = None
    last: float | None = None


def beat(rhythm: Rhythm, received: float) -> Rhythm:
    """The rhythm after a report at ``received``.

    A longer gap than usual counts as twice the usual one at most and half of it at once: a single outage teaches
    little, a changed ``event-heartbeat-interval`` is learned in a few beats.
    """
    if rhythm.last is None or received <= rhythm.last:
        return replace(rhythm, last=received)
    gap, interval = received - rhythm.last, rhythm.interval
    if interval is None:
        return Rhythm(gap, received)
    if gap > interval:
        return Rhythm(interval + 0.5 * (min(gap, 2 * interval) - interval), received)
    return Rhythm(0.8 * interval + 0.2 * gap, received)


def interrupted(rhythm: Rhythm) -> Rhythm:
    """The same rhythm after the connection broke: the gap until the next report says nothing."""
    return replace(rhythm, last=None)
