"""How old a report is when it arrives.

A heartbeat carries the wall clock of its node, which need not agree with ours. The smallest difference between
arrival and stamp seen lately stands for "no delay"; what a report's difference exceeds it by is its age. A poll
needs no clock: it was measured after the question left.
"""

from __future__ import annotations

from dataclasses import dataclass

from switchtender.drivers.reports import Report

WINDOW = 120
"""Differences remembered; with a heartbeat each second two minutes, longer than any burst of network delay."""

OLDEST = 2.0
"""Seconds past which a report clears nothing."""


@dataclass(frozen=True, slots=True)
class StampClock:
    """The differences (our arrival time less the node's stamp, in seconds) of the last ``WINDOW`` stamped reports,
    oldest first.
    """

    differences: tuple[float, ...] = ()


def report_age(clock: StampClock, report: Report) -> tuple[StampClock, float | None]:
    """The clock with this report in it, and the report's age at its arrival in seconds; None where it cannot be known.

    A step of the node's clock forward shows as a new smallest difference and costs nothing. A step back would make
    every later report look old: a report that seems older than ``OLDEST`` restarts the clock, and its own age is
    not known.
    """
    if report.sent is not None:
        return clock, max(0.0, report.received - report.sent)
    if report.stamp is None:
        return clock, None
    difference = report.received - report.stamp
    smallest = min((difference, *clock.differences))
    if difference - smallest > OLDEST:
        return StampClock((difference,)), None
    return StampClock((*clock.differences, difference)[-WINDOW:]), difference - smallest
