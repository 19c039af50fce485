"""What goes on, as it happens: events as a list and as a stream, and the whole of what the balancer sees, each second.

That whole is put together once a second for all who look, and not at all while nobody does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from switchtender.http.answers import answer, dumps, dumps_many
from switchtender.http.sse import MOST_DIGITS, Stream, frame, last_seen, wants_stream
from switchtender.http.views import VIEW, BadQuestionError, Json, View
from switchtender.telemetry.bell import Bell
from switchtender.telemetry.journal import EVERYTHING, TYPES, Journal, Wanted

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two views."""
SHOWN = 200
"""Events of a list, where no other number is asked for."""
MOST = 1000
"""Events of one list."""


class Beholder:
    """Looks at a ``View`` once a second while somebody wants to see. ``frame`` is the newest as it is sent, empty
    before the first; ``fresh`` rings for each.
    """

    def __init__(self, view: View) -> None:
        self.frame = b""
        self.fresh = Bell()
        self._view = view
        self._lookers = 0
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Beholder:
        self._lookers += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look(), name="live view")
        return self

    def __exit__(self, *error: object) -> None:
        self._lookers -= 1
        if self._lookers == 0 and self._task is not None:
            self._task.cancel()
            self._task, self.frame = None, b""

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                seen = await self._view.look()
                self.frame = await asyncio.to_thread(_view_frame, seen)
            except Exception:
                # A fault of ours ends no stream: whoever looks keeps what was seen before, and the log says why.
                log.exception("what the balancer sees could not be shown")
            else:
                self.fresh.ring()
            await asyncio.sleep(max(0.0, began + EVERY - loop.time()))


BEHOLDER: Final = web.AppKey("beholder", Beholder)
"""Where the application keeps it."""


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get("/api/v1/events", _events, allow_head=False),
        web.get("/api/v1/live", _live, allow_head=False),
    ]


async def _events(request: web.Request) -> web.StreamResponse:
    journal = request.app[VIEW].journal
    wanted, after = _wanted(request), _number(request, "after", 0)
    if wants_stream(request):
        seen = last_seen(request)
        since = journal.last if "after" not in request.query else after
        return await _follow(request, journal, wanted, since if seen is None else seen)
    limit = _number(request, "limit", 1, MOST, SHOWN)
    found = journal.after(after, wanted)
    last = journal.last
    if "after" not in request.query:
        found = found[-limit:]
    elif len(found) > limit:
        found = found[:limit]
        last = found[-1].id
    events = [event.as_json() for event in found]
    return answer({"events": events, "last": last, "first": journal.first, "instance": request.app[VIEW].instance})


async def _follow(request: web.Request, journal: Journal, wanted: Wanted, since: int) -> web.StreamResponse:
    stream = Stream(request)
    news = _News(journal, wanted, since)
    async with stream.open(journal.news):
        while await stream.more() and await stream.send(b"".join(news.frames())):
            pass
    return stream.response


async def _live(request: web.Request) -> web.StreamResponse:
    journal, beholder = request.app[VIEW].journal, request.app[BEHOLDER]
    seen = last_seen(request)
    news = _News(journal, EVERYTHING, journal.last if seen is None else seen)
    stream = Stream(request)
    async with stream.open(journal.news, beholder.fresh):
        with beholder:
            shown = b""
            while await stream.more():
                if not beholder.frame:
                    continue  # the first thing to be seen is the whole
                view = b"" if beholder.frame is shown else beholder.frame
                shown = beholder.frame
                if not await stream.send(view + b"".join(news.frames())):
                    break
    return stream.response


class _News:
    """What one reader has not seen yet of the events it wants. An id that the journal never gave was given by a process
    before this one: all of it is news then.
    """

    def __init__(self, journal: Journal, wanted: Wanted, since: int) -> None:
        self._journal = journal
        self._wanted = wanted
        self._since = since if since <= journal.last else 0

    def frames(self) -> Iterator[bytes]:
        """Each of them once, oldest first."""
        found = self._journal.after(self._since, self._wanted)
        self._since = self._journal.last
        for event in found:
            yield frame("event", dumps(event.as_json()), event.id)


def _wanted(request: web.Request) -> Wanted:
    query = request.query
    if (kind := query.get("type")) is not None and kind not in TYPES:
        raise BadQuestionError(f"type: {kind!r}: accepted: {', '.join(TYPES)}")
    return Wanted(query.get("namespace"), query.get("group"), query.get("node"), kind)


def _number(request: web.Request, name: str, least: int, most: int | None = None, otherwise: int = 0) -> int:
    """A whole number of the query. Raises BadQuestionError."""
    text = request.query.get(name)
    if text is None:
        return otherwise
    accepted = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise BadQuestionError(f"{name}: {text!r}: accepted: {accepted}")
    value = int(text)
    if value < least or (most is not None and value > most):
        raise BadQuestionError(f"{name}: {value}: accepted: {accepted}")
    return value


def _view_frame(seen: Json) -> bytes:
    """The view as it is sent."""
    rest = dumps({name: value for name, value in seen.items() if name != "nodes"})
    return frame("view", f'{rest[:-1]}, "nodes": {dumps_many(seen["nodes"])}}}')
