"""The Event Socket's TCP side: connections, delivery of events, and the faults that show on the wire.

The conversation is `esl_session`'s, the bytes are `esl_wire`'s; here is what needs a socket or a timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections import deque
from typing import Protocol

from switchtender_simulator.api_output import Delay
from switchtender_simulator.esl_session import EslSession, Switch
from switchtender_simulator.esl_wire import (
    GOODBYE,
    GREETING,
    KILLED_NOTICE,
    RUDE_REJECTION,
    SHUTDOWN_NOTICE,
    Command,
    CommandReader,
    api_response,
    event_head,
)
from switchtender_simulator.events import Event
from switchtender_simulator.settings import Faults, NodeSettings

_POLL_SECONDS = 0.02  # a listener looks at its event queue this often
_QUEUE_LIMIT = 100_000
_SPLIT_EVERY = 4  # one event frame in four goes out as two segments: head, then body


class Host(Switch, Protocol):
    """What the server needs from its node besides the API."""

    async def until_idle(self) -> None:
        """Returns when no session is left, or the requested shutdown was cancelled."""


class EslServer:
    """All connections of one node."""

    def __init__(self, *, settings: NodeSettings, faults: Faults, host: Host) -> None:
        self.settings = settings
        self.faults = faults
        self.host = host
        self.connections: set[EslConnection] = set()
        self.accepted = 0
        self._server: asyncio.Server | None = None

    async def open(self, address: tuple[str, int]) -> tuple[str, int]:
        """Start listening; returns the bound address. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: EslConnection(self), *address, backlog=5)
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def admits(self, peer: str) -> bool:
        """The inbound ACL."""
        networks = self.settings.acl
        return not networks or any(ipaddress.ip_address(peer) in ipaddress.ip_network(network) for network in networks)

    def publish(self, event: Event) -> None:
        """Queue an event for every connection that wants it."""
        for connection in self.connections:
            connection.deliver(event)

    def resume(self) -> None:
        """A fault switch changed: let connections go on where they were held."""
        for connection in list(self.connections):
            connection.resume()

    def say_and_close(self, last_words: bytes) -> None:
        """Write `last_words` on every connection and close it."""
        for connection in list(self.connections):
            connection.finish(last_words)

    def cut_in_mid_frame(self, event: Event) -> None:
        """Half an event frame, then a notice right behind it, then the end, as when another thread kills a listener."""
        for connection in list(self.connections):
            body = event.encode(connection.session.form)
            half = event_head(connection.session.form, len(body)) + body[: len(body) // 2]
            connection.finish(half + KILLED_NOTICE)

    def drop_all(self, *, reset: bool = False) -> None:
        """Every connection ends without a word; new ones are welcome."""
        for connection in list(self.connections):
            connection.abort(reset=reset)

    def write_raw(self, data: bytes) -> None:
        """Bytes that are no frame, on every connection."""
        for connection in list(self.connections):
            connection.write(data)

    def close(self, *, abrupt: bool = False) -> None:
        """Stop listening; `abrupt` is what SIGKILL does: a bare FIN, nothing said. Otherwise the 31-byte notice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            if abrupt:
                connection.abort()
            else:
                connection.finish(SHUTDOWN_NOTICE)


class EslConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: EslServer) -> None:
        self._server = server
        self.session = EslSession(server.host, server.settings.password, server.settings.users)
        self._reader = CommandReader()
        self._commands: deque[Command] = deque()
        self._events: deque[Event] = deque()
        self._held = bytearray()  # written while slow or half-open
        self._sent_events = 0
        self._blocked = False  # an api command runs: no command is read, no event delivered
        self._closing = False
        self._flush: asyncio.TimerHandle | None = None
        self._drip: asyncio.TimerHandle | None = None
        self._login: asyncio.TimerHandle | None = None
        self._job: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    # --- asyncio.Protocol --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or reject rudely."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("ESL needs a stream")
        self._transport = transport
        self._server.accepted += 1
        self._server.connections.add(self)
        if not self._server.admits(transport.get_extra_info("peername")[0]):
            self.finish(RUDE_REJECTION)
            return
        if self._server.faults.esl_half_open:
            transport.pause_reading()
        self._login = self._loop.call_later(self._server.settings.esl_auth_timeout, self._login_over)
        self.write(GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        del exc
        self._server.connections.discard(self)
        self._closing = True
        for handle in (self._flush, self._drip, self._login):
            if handle is not None:
                handle.cancel()
        if self._job is not None:
            self._job.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client; commands run at once unless one is already running."""
        if self._closing:
            return
        self._commands.extend(self._reader.feed(data))
        self._work()

    # --- commands ----------------------------------------------------------------------------------

    def _login_over(self) -> None:
        if not self.session.greeted:
            self.finish(GOODBYE)

    def _work(self) -> None:
        while self._commands and not self._blocked and not self._closing and not self._server.faults.frozen:
            reply = self.session.handle(self._commands.popleft())
            if reply.close:
                self.finish(reply.data)
                return
            if reply.data:
                self.write(reply.data)
            if reply.job is not None:
                self._server.host.run_job(*reply.job)
            if reply.wait is not None:
                self._blocked = True
                wait = self._sleep(reply.wait) if isinstance(reply.wait, Delay) else self._idle(reply.wait.output)
                self._job = self._loop.create_task(wait)
        if self._events and not self._blocked:
            self._flush_events()

    async def _sleep(self, delay: Delay) -> None:
        await asyncio.sleep(delay.seconds)
        self._unblock(delay.output)

    async def _idle(self, output: str) -> None:
        await self._server.host.until_idle()
        self._unblock(output)

    def _unblock(self, output: str) -> None:
        self._blocked = False
        self._job = None
        self.write(api_response(output))
        self._work()

    # --- events ------------------------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        """Queue an event; it goes out with the listener's next look at its queue."""
        if self._closing or not self.session.authenticated or not self.session.wants(event):
            return
        if len(self._events) < _QUEUE_LIMIT:
            self._events.append(event)
        if self._flush is None:
            until_poll = _POLL_SECONDS - self._loop.time() % _POLL_SECONDS
            self._flush = self._loop.call_later(until_poll, self._flush_events)

    def _flush_events(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._blocked or self._reader.pending or self._commands or self._server.faults.frozen:
            return  # goes on when the command is through
        while self._events:
            event = self._events.popleft()
            body = event.encode(self.session.form)
            head = event_head(self.session.form, len(body))
            self._sent_events += 1
            if self._sent_events % _SPLIT_EVERY == 0:
                self.write(head)
                self.write(body)
            else:
                self.write(head + body)

    # --- bytes -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, as far as the faults let it."""
        faults = self._server.faults
        if self._transport is None or self._closing or faults.esl_silent:
            return
        if faults.esl_half_open or faults.esl_drip > 0 or self._held:
            self._held += data
            self._schedule_drip()
            return
        self._transport.write(data)

    def _schedule_drip(self) -> None:
        if self._drip is None and not self._server.faults.esl_half_open:
            self._drip = self._loop.call_later(self._server.faults.esl_drip, self._drip_one)

    def _drip_one(self) -> None:
        self._drip = None
        if self._transport is None or self._server.faults.esl_half_open:
            return
        size = 1 if self._server.faults.esl_drip > 0 else len(self._held)
        self._transport.write(bytes(self._held[:size]))
        del self._held[:size]
        if self._held:
            self._schedule_drip()
        elif self._closing:
            self._transport.close()

    def resume(self) -> None:
        """The faults changed."""
        if self._transport is None or self._closing:
            return
        if self._server.faults.esl_half_open:
            self._transport.pause_reading()
            return
        self._transport.resume_reading()
        if self._held:
            self._schedule_drip()
        self._work()

    def finish(self, last_words: bytes) -> None:
        """Write and close."""
        self.write(last_words)
        self._closing = True
        if self._transport is not None and not self._held:
            self._transport.close()

    def abort(self, *, reset: bool = False) -> None:
        """Close without a word, nothing held back is sent; `reset` ends with RST instead of FIN."""
        self._closing = True
        self._held.clear()
        if self._transport is not None:
            wire = self._transport.get_extra_info("socket")
            if reset:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                # A question that came and was not read yet would make the kernel send an RST alone.
                with contextlib.suppress(OSError):
                    wire.shutdown(socket.SHUT_WR)
            self._transport.abort()
