"""Server-sent events (HTML Standard §9.2): how a stream is written, how many there may be, and how they end.

A stream is written as fast as its reader takes it and no faster: whoever takes nothing for a while is let go, and
nobody waits for it meanwhile. Knows no balancer, and nothing of what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from aiohttp import web

from switchtender.telemetry.bell import Bell

CONTENT_TYPE: Final = "text/event-stream"
HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent: proxies in between would take the stream for dead."""
PATIENCE = 10.0
"""Seconds within which a reader must have taken what was sent."""
CLIENTS = 64
"""Streams at once, over all of them."""

_HEADERS = {
    "Content-Type": CONTENT_TYPE,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
_OPENING = b"retry: 2000\n\n"
"""Milliseconds after which a browser connects again."""
_COMMENT = b":\n\n"


class Streams:
    """The streams of one process: how many are open, and whether they are to end."""

    def __init__(self, most: int = CLIENTS) -> None:
        self.most = most
        self.clients = 0
        self.closing = False
        self.bell = Bell()

    @contextlib.contextmanager
    def client(self) -> Iterator[None]:
        """One more, while the block lasts. Raises HTTPServiceUnavailable where there are as many as may be."""
        if self.closing:
            raise web.HTTPServiceUnavailable(reason="the balancer is stopping")
        if self.clients >= self.most:
            raise web.HTTPServiceUnavailable(reason=f"{self.most} streams are open, and there may be no more")
        self.clients += 1
        try:
            yield
        finally:
            self.clients -= 1

    async def close(self, _: web.Application) -> None:
        """Let every stream come to its end: the process stops."""
        self.closing = True
        self.bell.ring()


STREAMS: Final = web.AppKey("streams", Streams)
"""Where the application keeps them."""


class Stream:
    """One stream to the client that sent ``request``; ``woken`` is to be set when there may be more to send."""

    def __init__(self, request: web.Request) -> None:
        self.woken = asyncio.Event()
        self.woken.set()
        self.response = web.StreamResponse(headers=_HEADERS)
        self._request = request
        self._streams = request.app[STREAMS]

    @contextlib.asynccontextmanager
    async def open(self, *bells: Bell) -> AsyncIterator[None]:
        """Open while the block lasts; it is woken by any of ``bells``."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._streams.client())
            for bell in (self._streams.bell, *bells):
                stack.enter_context(bell.heard_by(self.woken))
            await self.response.prepare(self._request)
            await self.send(_OPENING)
            yield

    async def send(self, frames: bytes) -> bool:
        """Send these; False where the client is gone, or takes nothing and was let go."""
        if not frames:
            return True
        try:
            async with asyncio.timeout(PATIENCE):
                await self.response.write(frames)
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            return False
        except ConnectionError:
            return False
        return True

    async def more(self) -> bool:
        """Wait until woken (at first not at all), with a heartbeat in every long silence; False where it is to end."""
        while not self._streams.closing:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self.woken.wait()
            except TimeoutError:
                if not await self.send(_COMMENT):
                    return False
            else:
                self.woken.clear()
                return not self._streams.closing
        return False


def wants_stream(request: web.Request) -> bool:
    """Whether the client asks for a stream where there is a document, too."""
    return CONTENT_TYPE in request.headers.get("Accept", "").lower()


def frame(event: str, text: str, event_id: int | None = None) -> bytes:
    """One event with this data, which is on one line, as JSON is."""
    known = "" if event_id is None else f"id: {event_id}\n"
    return f"{known}event: {event}\ndata: {text}\n\n".encode()


def last_seen(request: web.Request) -> int | None:
    """The id that a browser saw last, as it connects again; None where it says none."""
    text = request.headers.get("Last-Event-ID", "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None


MOST_DIGITS = 18
"""Of an id; a number without end would keep us reading it."""
