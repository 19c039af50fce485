"""What OPTIONS probes say of a node together: out after so many failures in a row, back after so many answers in a row.

Pure. An answer is an answer: a 503 tells of a full node, and full is not down. Calls that the node answered meanwhile
outweigh the probes, which may go astray where calls do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from switchtender.drivers.reports import Probe


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probes in a row that take a node out and that bring it back, each at least 1."""

    failures: int = 3
    successes: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The run of probes so far. ``unanswered`` stands from the last of ``failures`` in a row to the last of
    ``successes`` in a row; ``failed_at`` is when the last failed probe left; ``calls_answered_at`` when the node last
    answered a request of a call, as far as we were told.
    """

    failures: int = 0
    successes: int = 0
    unanswered: bool = False
    last: Probe | None = None
    failed_at: float | None = None
    calls_answered_at: float | None = None


def probed(probes: Probes, probe: Probe, thresholds: Thresholds) -> Probes:
    """The run with one more probe in it."""
    if probe.answered:
        successes = probes.successes + 1
        unanswered = probes.unanswered and successes < thresholds.successes
        return replace(probes, failures=0, successes=successes, unanswered=unanswered, last=probe)
    failures = probes.failures + 1
    return replace(
        probes,
        failures=failures,
        successes=0,
        unanswered=probes.unanswered or failures >= thresholds.failures,
        last=probe,
        failed_at=probe.sent,
    )


def unreachable(probes: Probes) -> bool:
    """Whether the probes are evidence that calls do not reach the node: unanswered, and no call answered since the last
    failed one left.
    """
    if not probes.unanswered:
        return False
    answered, failed = probes.calls_answered_at, probes.failed_at
    return answered is None or failed is None or answered < failed
