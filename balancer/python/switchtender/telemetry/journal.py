"""What happened, for people: the last few thousand events in memory, each with an id, and a line in the log.

This is the one place where such facts are recorded, and where they are logged. Whoever reads asks for what came after
an id and is woken by ``Journal.news``: the ring is everybody's queue, so a slow reader costs nothing but what it
misses. All of it is for the event loop's thread. Knows neither nodes nor the packet core, nor who reads.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

from switchtender.telemetry.bell import Bell

log = logging.getLogger(__name__)

KEPT = 2000
"""Events in memory."""
TOGETHER = 10.0
"""Seconds within which a repeat makes no event of its own, nor a line in the log."""
_ANEW = 1.0
"""Seconds between two ids of an event that goes on: who follows hears of it as often."""

Severity = Literal["info", "warning", "error"]

EventType = Literal[
    "NodeState",
    "NodeRestarted",
    "NodeDrained",
    "NodeDrainExpired",
    "NodePause",
    "NodeRefused",
    "NodeTimedOut",
    "NodeTransportError",
    "NodeShutdownSeen",
    "NodeEjected",
    "NodeReturned",
    "EventSocket",
    "Order",
    "Configuration",
    "Worker",
    "Trace",
]
TYPES: tuple[EventType, ...] = get_args(EventType)

_ALOUD = frozenset[EventType]({"NodeState", "NodeRestarted", "NodeEjected", "NodeReturned", "EventSocket", "Worker"})
"""Types whose repeats are told and logged at once, though they are one event."""
_QUIET = frozenset[EventType]({"NodeRefused", "NodeTimedOut", "NodeTransportError", "NodeShutdownSeen"})
"""Types that come with calls, thousands a second if it must be: their repeats are told of now and then. No repeat joins
an event of any other type.
"""

_LEVELS: dict[Severity, int] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Place(NamedTuple):
    """A node as a group calls it; ``node`` None: the group itself."""

    namespace: str
    group: str
    node: str | None = None

    @property
    def key(self) -> str:
        """The group as namespace/name."""
        return f"{self.namespace}/{self.group}"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``time`` (seconds of the epoch) is that of its last repeat, ``since`` that of the first, ``count``
    says how many there were. ``places``: whom it is about; a node may be in several groups, each with a name for it.
    """

    id: int
    type: EventType
    severity: Severity
    reason: str
    message: str
    time: float
    since: float
    count: int = 1
    places: tuple[Place, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As ``/api/v1/events`` shows it; all groups of a node that is in several stand in ``details``."""
        first = self.places[0] if self.places else None
        more = {"groups": [place.key for place in self.places]} if len(self.places) > 1 else {}
        return {
            "id": self.id,
            "time": round(self.time, 3),
            "since": round(self.since, 3),
            "type": self.type,
            "severity": self.severity,
            "namespace": None if first is None else first.namespace,
            "group": None if first is None else first.group,
            "node": None if first is None else first.node,
            "reason": self.reason,
            "message": self.message,
            "count": self.count,
            "details": {**self.details, **more},
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a reader wants; None: all of them."""

    namespace: str | None = None
    group: str | None = None
    node: str | None = None
    type: str | None = None

    def holds(self, event: Event) -> bool:
        """Whether this is one of them: one of its places has all that is asked for."""
        if self.type is not None and event.type != self.type:
            return False
        if self.namespace is None and self.group is None and self.node is None:
            return True
        return any(
            self.namespace in {None, place.namespace}
            and self.group in {None, place.group}
            and self.node in {None, place.node}
            for place in event.places
        )


EVERYTHING = Wanted()

_Key = tuple[EventType, tuple[Place, ...], str]


@dataclass(slots=True)
class _Open:
    """An event that repeats may still join: ``joined`` of them since it got its id, the last at ``last`` with what it
    ``said``; ``unlogged``: how many since its last line in the log.
    """

    event: Event
    last: float
    shown_at: float
    logged_at: float
    joined: int = 0
    said: tuple[Severity, str, Mapping[str, Any]] = ("info", "", {})
    unlogged: int = 0


class Journal:
    """The ring. ``clock`` gives seconds of the epoch. ``settle`` is to be called about once a second."""

    def __init__(self, clock: Callable[[], float] = time.time, kept: int = KEPT) -> None:
        self.news = Bell()
        self.last = 0
        self._clock = clock
        self._kept = kept
        self._ring: OrderedDict[int, Event] = OrderedDict()
        self._open: dict[_Key, _Open] = {}

    @property
    def first(self) -> int:
        """The oldest id that is kept; one more than ``last`` where none is."""
        return next(iter(self._ring), self.last + 1)

    def record(
        self,
        event_type: EventType,
        reason: str,
        message: str,
        *,
        severity: Severity = "info",
        places: Sequence[Place] = (),
        details: Mapping[str, Any] | None = None,
        logged: bool = True,
    ) -> None:
        """Something happened. A repeat of the same type, places and reason within ``TOGETHER`` seconds of the last
        one joins that; it takes the place of what was said before. ``logged`` False: its log line is written where it
        happened, with more than is known here.
        """
        now = self._clock()
        key = (event_type, tuple(places), reason)
        known = self._open.get(key)
        if known is not None and not 0 <= now - known.last < TOGETHER:
            self._close(key, known, now)
            known = None
        if known is None:
            event = Event(self._next(), event_type, severity, reason, message, now, now, 1, key[1], details or {})
            self._keep(event)
            if event_type in _ALOUD or event_type in _QUIET:
                self._open[key] = _Open(event, last=now, shown_at=now, logged_at=now)
        else:
            known.last, known.said = now, (severity, message, details or {})
            known.joined += 1
            if event_type in _QUIET:
                known.unlogged += 1
                self._tell(known, now)
                return
            event = self._show_anew(known, now)
        if logged:
            _log(event, 1)

    def settle(self) -> None:
        """Tell of what repeats joined since, and forget which events no repeat can join any more."""
        now = self._clock()
        for key, known in list(self._open.items()):
            if 0 <= now - known.last < TOGETHER:
                self._tell(known, now)
            else:
                self._close(key, known, now)

    def after(self, event_id: int, wanted: Wanted = EVERYTHING) -> list[Event]:
        """The events with a greater id, oldest first."""
        found: list[Event] = []
        for event in reversed(self._ring.values()):
            if event.id <= event_id:
                break
            if wanted.holds(event):
                found.append(event)
        return found[::-1]

    def _next(self) -> int:
        self.last += 1
        return self.last

    def _keep(self, event: Event) -> None:
        self._ring[event.id] = event
        if len(self._ring) > self._kept:
            self._ring.popitem(last=False)
        self.news.ring()

    def _tell(self, known: _Open, now: float) -> None:
        """Of an event that goes on, where it is time."""
        if known.joined and now - known.shown_at >= _ANEW:
            self._show_anew(known, now)
        if known.unlogged and now - known.logged_at >= TOGETHER:
            self._log_repeats(known, now)

    def _show_anew(self, known: _Open, now: float) -> Event:
        """Give the event that repeats joined a new id."""
        before = known.event
        severity, message, details = known.said
        self._ring.pop(before.id, None)
        known.event = replace(
            before,
            id=self._next(),
            severity=severity,
            message=message,
            details=details,
            time=known.last,
            count=before.count + known.joined,
        )
        known.shown_at, known.joined = now, 0
        self._keep(known.event)
        return known.event

    def _log_repeats(self, known: _Open, now: float) -> None:
        _log(known.event, known.unlogged)
        known.logged_at, known.unlogged = now, 0

    def _close(self, key: _Key, known: _Open, now: float) -> None:
        del self._open[key]
        if known.joined:
            self._show_anew(known, now)
        if known.unlogged:
            self._log_repeats(known, now)


def _log(event: Event, count: int) -> None:
    """One line for so many of the event; the names of its fields are those of the API."""
    extra: dict[str, Any] = {"event": event.type, "reason": event.reason}
    if event.places:
        extra["groups"] = [place.key for place in event.places]
        if event.places[0].node is not None:
            extra["node"] = event.places[0].node
    if count > 1:
        extra["count"] = count
    log.log(_LEVELS[event.severity], "%s", event.message, extra={**extra, **event.details})
