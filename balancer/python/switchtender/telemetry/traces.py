"""Traces of calls, asked for by Call-ID: what of a call was received and sent and where it was placed, for a while.

The packet core picks the messages; here they lose their secrets, are kept for whoever looks, and go to the log. Every
trace ends by itself and is bounded: in time, in messages a second, in what is kept.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from switchtender.telemetry.bell import Bell
from switchtender.telemetry.journal import Journal
from switchtender.telemetry.masking import masked

log = logging.getLogger(__name__)

Json = dict[str, Any]

AT_ONCE = 8
"""Traces that run at the same time."""
KEPT = 8
"""Traces that are over and may still be looked at."""
KEPT_BYTES = 2 * 1024 * 1024
"""Characters of one trace that are kept, the newest."""
SECONDS = 60
MOST_SECONDS = 600
PER_SECOND = 20
MOST_PER_SECOND = 100
_TAKEN_AT_ONCE = 512
_LONGEST = 1024
"""Bytes of a Call-ID."""

Traced = tuple[int, float, int, str, str, str, str, bytes]
"""Trace id, time, worker, what, and by what was told: of messages transport, our address, the peer's, and the message;
of decisions group, node uid, the node's address, and JSON."""


class Tracing(Protocol):
    """What traces ask of the packet core."""

    def trace(self, id: int, call_id: str, *, until: float, per_second: int) -> None:  # noqa: A002
        """Follow the call."""

    def end_trace(self, id: int) -> int:  # noqa: A002
        """End a trace; how much was left out."""

    def trace_left_out(self, id: int) -> int:  # noqa: A002
        """How much was left out so far."""

    def traced(self, limit: int) -> list[Traced]:
        """What was told since."""


class TooManyTracesError(RuntimeError):
    """As many traces run as may; the text says which to end."""


class NoSuchTraceError(LookupError):
    """No trace has this id, or none has any more."""


@dataclass(slots=True)
class Trace:
    """One trace. Times are seconds of the epoch; ``ended`` None: it runs. ``news`` rings for each entry and the end."""

    id: int
    call_id: str
    started: float
    until: float
    per_second: int
    by: str
    ended: float | None = None
    left_out: int = 0
    """By the packet core, once it is over."""
    entries: deque[Json] = field(default_factory=deque)
    news: Bell = field(default_factory=Bell)
    last: int = 0
    """Id of the last entry; ids count from 1."""
    pushed_out: int = 0
    _size: int = 0

    def add(self, entry: Json) -> None:
        """Keep one more entry, and of all the newest."""
        self.last += 1
        self.entries.append({"id": self.last, **entry})
        self._size += _size(entry)
        while self._size > KEPT_BYTES:
            self._size -= _size(self.entries.popleft())
            self.pushed_out += 1
        self.news.ring()

    def after(self, entry_id: int) -> list[Json]:
        """The entries with a greater id."""
        return list(itertools.dropwhile(lambda entry: entry["id"] <= entry_id, self.entries))


class Traces:
    """All traces of one packet core. ``name_of`` tells what a node of this uid is called.

    ``clock`` is the packet core's (``time.monotonic``), ``wall`` gives seconds of the epoch.
    """

    def __init__(
        self,
        core: Tracing,
        journal: Journal,
        *,
        name_of: Callable[[str], str | None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.messages = 0
        self._core = core
        self._journal = journal
        self._name_of = name_of
        self._clock = clock
        self._wall = wall
        self._ids = itertools.count(1)
        self._known: dict[int, Trace] = {}

    @property
    def running(self) -> list[Trace]:
        """Those that are not over."""
        return [trace for trace in self._known.values() if trace.ended is None]

    def start(self, call_id: str, seconds: float, per_second: int, by: str) -> Trace:
        """Follow the call of this Call-ID for so long. Raises ValueError, TooManyTracesError."""
        self.settle()
        running = self.running
        if len(running) >= AT_ONCE:
            ids = ", ".join(str(trace.id) for trace in running)
            raise TooManyTracesError(f"{AT_ONCE} traces run, and there may be no more: end one of {ids}")
        if not call_id or len(call_id.encode("utf-8", "replace")) > _LONGEST:
            raise ValueError(f"a Call-ID has 1 to {_LONGEST} bytes")
        trace_id, now = next(self._ids), self._wall()
        self._core.trace(trace_id, call_id, until=self._clock() + seconds, per_second=per_second)
        trace = self._known[trace_id] = Trace(trace_id, call_id, now, now + seconds, per_second, by)
        self._note(trace, "Started", {"seconds": seconds, "messagesPerSecond": per_second})
        return trace

    def trace(self, trace_id: int) -> Trace:
        """The trace of this id. Raises NoSuchTraceError."""
        self.settle()
        if trace_id not in self._known:
            raise NoSuchTraceError(f"no trace has the id {trace_id}; the last {KEPT} that ended are kept")
        return self._known[trace_id]

    def all(self) -> list[Trace]:
        """Those that run, and the last that ended; by id."""
        self.settle()
        return list(self._known.values())

    def end(self, trace_id: int) -> Trace:
        """End a trace; one that is over stays so. Raises NoSuchTraceError."""
        trace = self.trace(trace_id)
        if trace.ended is None:
            self.take()
            self._end(trace)
        return trace

    def left_out(self, trace: Trace) -> int:
        """How many messages and decisions of the call the trace does not hold (any more)."""
        by_core = self._core.trace_left_out(trace.id) if trace.ended is None else trace.left_out
        return by_core + trace.pushed_out

    def take(self) -> None:
        """Take in what the packet core told since."""
        while self.running:
            told = self._core.traced(_TAKEN_AT_ONCE)
            for entry in told:
                self._take(*entry)
            if len(told) < _TAKEN_AT_ONCE:
                return

    def settle(self) -> None:
        """Take in what there is, and end what has run for as long as it was to."""
        self.take()
        now = self._wall()
        for trace in self.running:
            if now >= trace.until:
                self._end(trace)

    def as_json(self, trace: Trace) -> Json:
        """As the interface shows it."""
        return {
            "id": trace.id,
            "callId": trace.call_id,
            "started": round(trace.started, 3),
            "until": round(trace.until, 3),
            "ended": None if trace.ended is None else round(trace.ended, 3),
            "messagesPerSecond": trace.per_second,
            "by": trace.by,
            "entries": trace.last,
            "leftOut": self.left_out(trace),
        }

    def _take(
        self, trace_id: int, at: float, worker: int, what: str, first: str, second: str, third: str, content: bytes
    ) -> None:
        trace = self._known.get(trace_id)
        if trace is None:
            return
        text = content.decode("utf-8", "replace")
        entry: Json = {"time": round(at + self._wall() - self._clock(), 6), "worker": worker}
        if what in ("received", "sent"):
            self.messages += 1
            text = masked(text)
            entry |= {"direction": what, "transport": first, "local": second, "peer": third}
            logged = {**entry, "startLine": text.partition("\n")[0]}
            entry["text"] = text
        else:
            node = {"uid": second or None, "node": self._name_of(second) if second else None}
            entry |= {"decision": what, "group": first, **node, "address": third or None}
            details = json.loads(text)
            logged = {**details, **entry}
            entry["details"] = details
        trace.add(entry)
        del logged["time"]
        log.info("trace", extra={"trace": trace.id, "callId": trace.call_id, **logged})

    def _end(self, trace: Trace) -> None:
        trace.ended = self._wall()
        trace.left_out = self._core.end_trace(trace.id)
        self._note(trace, "Ended", {"entries": trace.last, "leftOut": self.left_out(trace)})
        trace.news.ring()
        over = [known for known in self._known.values() if known.ended is not None]
        for oldest in sorted(over, key=lambda known: known.ended or 0.0)[:-KEPT]:
            del self._known[oldest.id]

    def _note(self, trace: Trace, reason: str, details: Json) -> None:
        self._journal.record(
            "Trace",
            reason,
            f"trace {trace.id} of a call: {reason.lower()}",
            details={"trace": trace.id, "callId": trace.call_id, "by": trace.by, **details},
        )


def _size(entry: Json) -> int:
    """Roughly, in characters."""
    return len(entry["text"]) + 200 if "text" in entry else 1000
