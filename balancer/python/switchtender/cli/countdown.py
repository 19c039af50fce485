"""Drains as a command sees them: how far they are, and the wait for their end. Knows neither
who tells of them nor in which form they are shown.

Whether a deadline has passed is said by whoever counts it; this host's clock only serves to show how long is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from switchtender.cli.exits import Failure

_POLL: Final = 1.0
"""Seconds between two looks."""


class Phase(StrEnum):
    """How far the drain of a node is; in the order in which they come."""

    AWAITED = "Awaited"
    DRAINING = "Draining"
    CANCELLED = "Cancelled"
    RELEASED = "Released"
    DRAINED = "Drained"
    GONE = "Gone"


OVER: Final = frozenset({Phase.RELEASED, Phase.DRAINED, Phase.GONE})
"""Whoever waits may go on: no calls are left, or its group sets it free with them."""

_MEANT: Final = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Progress:
    """The drain of a node: ``sessions`` that remain, None where nobody knows; when waiting ends."""

    node: str
    phase: Phase
    sessions: int | None = None
    deadline: datetime | None = None
    expired: bool = False

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "node": self.node,
            "phase": str(self.phase),
            "sessions": self.sessions,
            "deadline": None if self.deadline is None else self.deadline.isoformat().replace("+00:00", "Z"),
            "expired": self.expired,
        }


def progress_of(node: str, drain: object, sessions: object, *, drained: bool, releases: bool) -> Progress:
    """How far ``drain`` is, as a status or a balancer tells it (null: nobody sees one yet), with the ``sessions`` that
    remain.

    ``drained``: whoever tells of it knows that nothing is left, which is more than a count of 0 that may be old.
    ``releases``: at the deadline the group sets the node free with its calls (``onTimeout: Release``).
    """
    count = sessions if isinstance(sessions, int) else None
    if not isinstance(drain, Mapping):
        return Progress(node, Phase.AWAITED, count)
    expired = drain.get("expired") is True
    phase = Phase.DRAINED if drained else Phase.RELEASED if expired and releases else Phase.DRAINING
    return Progress(node, phase, count, moment(drain.get("deadline")), expired)


def together(node: str, seen: Sequence[Progress]) -> Progress:
    """One node that several tell of, as of several groups: it is as far as the least of them says."""
    least = min((each.phase for each in seen), key=_MEANT.index)
    counts = [each.sessions for each in seen if each.sessions is not None]
    deadlines = [each.deadline for each in seen if each.deadline is not None]
    expired = any(each.expired for each in seen)
    return Progress(node, least, max(counts, default=None), max(deadlines, default=None), expired)


def moment(value: object) -> datetime | None:
    """A time as a status has it (RFC 3339) or as a balancer does (seconds since 1970), None for what is none."""
    from switchtender_api.problems import Refusal
    from switchtender_api.v1alpha1.units import parse_time

    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        return parse_time(value) if isinstance(value, str) else None
    except (Refusal, ValueError, OverflowError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class Ordered:
    """What came of an order: ``lines`` for people, ``document`` for machines; ``failures`` where it came to nothing."""

    lines: tuple[str, ...]
    document: dict[str, Any]
    failures: tuple[str, ...] = ()


class Drains(Protocol):
    """The nodes that a command is about, wherever it is said what is wanted of them. Raises Failure."""

    def order(self) -> Ordered:
        """Begin their drain, or end it."""

    def look(self) -> Sequence[Progress]:
        """How far each of them is now."""


@dataclass(frozen=True, slots=True)
class Waited:
    """How a wait ended: where every node is, and whether that took too long."""

    nodes: tuple[Progress, ...]
    timed_out: bool

    @property
    def over(self) -> bool:
        """Whether all of them may be taken away."""
        return all(node.phase in OVER for node in self.nodes)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {"timedOut": self.timed_out, "nodes": [node.document() for node in self.nodes]}


def wait(
    look: Callable[[], Sequence[Progress]],
    tell: Callable[[Sequence[Progress], str | None], None],
    timeout: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Waited:
    """Look again and again until every drain is over or cancelled, or ``timeout`` seconds have passed (None: never).

    ``tell`` is given what was seen, and why nothing was where a look failed. The first look raises its Failure; later
    ones go on, for what is asked may be restarted in the hours that a drain takes.
    """
    until = None if timeout is None else clock() + timeout
    seen = _advanced((), look())
    trouble: str | None = None
    while True:
        tell(seen, trouble)
        waiting = [node for node in seen if node.phase in {Phase.AWAITED, Phase.DRAINING}]
        if not waiting:
            return Waited(seen, timed_out=False)
        left = None if until is None else until - clock()
        if left is not None and left <= 0:
            return Waited(seen, timed_out=True)
        sleep(_POLL if left is None else min(_POLL, left))
        try:
            seen, trouble = _advanced(seen, look()), None
        except Failure as failure:
            trouble = failure.message


def _advanced(before: Sequence[Progress], now: Sequence[Progress]) -> tuple[Progress, ...]:
    """What is seen now, in the light of what was: a drain that was there and is no more was cancelled."""
    was = {node.node: node.phase for node in before}
    return tuple(
        replace(node, phase=Phase.CANCELLED)
        if node.phase is Phase.AWAITED and was.get(node.node) in {Phase.DRAINING, Phase.CANCELLED}
        else node
        for node in now
    )


def line(nodes: Sequence[Progress], now: datetime) -> str:
    """The countdown in one line: each of the nodes that are waited for, of many their sum."""
    waiting = [node for node in nodes if node.phase not in OVER]
    if not waiting:
        return "drained"
    if len(waiting) <= 3:
        return "; ".join(f"{node.node}: {_remaining(node, now)}" for node in waiting)
    sessions = sum(node.sessions or 0 for node in waiting)
    last = max((node.deadline for node in waiting if node.deadline is not None), default=None)
    return f"{len(waiting)} nodes drain: {_sessions(sessions)}, the last of them {_left(last, now)}"


def _remaining(node: Progress, now: datetime) -> str:
    if node.phase is Phase.CANCELLED:
        return "takes calls again, somebody ended the drain"
    count = "sessions not known" if node.sessions is None else _sessions(node.sessions)
    return f"{count}, {'not seen to drain yet' if node.phase is Phase.AWAITED else _left(node.deadline, now)}"


def _sessions(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'}"


def _left(deadline: datetime | None, now: datetime) -> str:
    if deadline is None:
        return "no deadline"
    from switchtender_api.v1alpha1.units import format_duration

    seconds = round((deadline - now).total_seconds())
    span = format_duration(timedelta(seconds=abs(seconds)))
    return f"{span} to the deadline" if seconds > 0 else f"{span} past the deadline, waiting on"
