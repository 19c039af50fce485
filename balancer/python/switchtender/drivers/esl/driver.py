"""The asyncio shell around `Session`: connects, carries bytes and time, reconnects, logs.

Reading never pauses: FreeSWITCH keeps up to 100,000 events for a client that does not read, and may then stop as a
whole. So when our own event loop stood still for long, the connection is closed rather than caught up with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from switchtender.drivers.esl.session import Pace, Remark, Session
from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.reports import Event, Link, LinkState, Listener

_log: Final = logging.getLogger(__name__)

_KEEPALIVE: Final = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}  # s, s, -, ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All of the driver's times, in seconds.

    * `retry_first`, doubling to `retry_cap`: from a failure to the next attempt; drawn from 50 to 100 % of it. A
      connection that lived for `retry_cap` starts anew.
    * `retry_misconfigured`: the same where access list or login refused us, which only people can mend.
    * `lag`: our own event loop's standstill after which a connection is closed.
    * `goodbye`: for the node to close the connection after `exit`.
    """

    pace: Pace = field(default_factory=Pace)
    connect: float = 2.0
    retry_first: float = 0.25
    retry_cap: float = 10.0
    retry_misconfigured: float = 30.0
    lag: float = 10.0
    goodbye: float = 0.5


class EslDriver:
    """A `reports.Driver` for one FreeSWITCH node.

    `host` is a name or a literal address; `node` is what logs call it; `listener` gets every event.
    """

    def __init__(
        self,
        host: str,
        port: int,
        credentials: Credentials,
        listener: Listener,
        *,
        node: str = "",
        timing: Timing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._credentials = credentials
        self._listener = listener
        self._timing = timing or Timing()
        self._backoff = Backoff(self._timing, rng or random.Random())  # noqa: S311 (spreads load, keeps no secret)
        self._node = node or host
        self._failure: tuple[LinkState, str] | None = None
        self._remarked: set[str] = set()
        self._current: _Connection | None = None

    def renew(self, credentials: Credentials) -> None:
        """Log in with these from the next connection on; one that stands is left alone."""
        self._credentials = credentials

    def set_paused(self, *, paused: bool) -> bool:
        """Pause inbound calls on the node, or resume them; False where it is not logged in now."""
        return self._current is not None and self._current.set_paused(paused=paused)

    async def run(self) -> None:
        """Watch the node until canceled; see `reports.Driver`."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._tell(Link(state="connecting", detail="connecting", since=began))
            ending = await self._connection()
            await asyncio.sleep(self._backoff.after(ending.state, lived=loop.time() - began))

    async def _connection(self) -> Link:
        """One connection, from the first packet to the ending."""
        made: list[_Connection] = []

        def new_connection() -> _Connection:
            made.append(_Connection(Session(self._credentials, self._timing.pace, _now()), self._timing, self._tell))
            return made[-1]

        try:
            if (failure := await self._connect(new_connection)) is not None:
                return failure
            self._current = made[-1]
            return await asyncio.shield(made[-1].ended)
        except asyncio.CancelledError:
            for connection in made:
                await connection.say_goodbye()
            raise
        finally:
            self._current = None
            for connection in made:  # also one that the event loop had made but not yet handed over
                connection.abort()

    async def _connect(self, new_connection: Callable[[], _Connection]) -> Link | None:
        """Make the connection; the ending where there is none to be had."""
        try:
            async with asyncio.timeout(self._timing.connect):
                await asyncio.get_running_loop().create_connection(new_connection, self._host, self._port)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name server could know such a name
            timed_out = isinstance(error, TimeoutError) and not error.errno
            detail = f"no connection within {self._timing.connect:g} s" if timed_out else _in_words(error)
            ending = Link(state="unreachable", detail=detail, since=_now())
            self._tell(ending)
            return ending
        return None

    def _tell(self, event: Event | Remark) -> None:
        if isinstance(event, Remark):
            if event.key not in self._remarked:
                self._remarked.add(event.key)
                self._log(logging.WARNING, event.text)
            return
        if isinstance(event, Link):
            self._log_link(event)
        self._listener(event)

    def _log_link(self, link: Link) -> None:
        level = logging.DEBUG
        if link.state == "authenticated":
            level, self._failure = logging.INFO, None
        elif link.state != "connecting" and self._failure != (link.state, link.detail):
            level, self._failure = logging.WARNING, (link.state, link.detail)
        self._log(level, link.detail, link=link.state)

    def _log(self, level: int, message: str, **fields: str) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        extra = {"node": self._node, "endpoint": f"{host}:{self._port}", **fields}
        _log.log(level, "Event Socket: %s", message, extra=extra)


class Backoff:
    """How long to wait before the next connection attempt."""

    def __init__(self, timing: Timing, rng: random.Random) -> None:
        self._timing = timing
        self._rng = rng
        self._failures = 0

    def after(self, state: LinkState, *, lived: float) -> float:
        """Seconds to wait after a connection that ended in `state` and lived that many seconds."""
        timing = self._timing
        if lived >= timing.retry_cap:
            self._failures = 0
        if state in {"acl_rejected", "auth_failed"}:
            wait = timing.retry_misconfigured
        else:
            wait = min(timing.retry_first * 2.0 ** min(self._failures, 64), timing.retry_cap)
        self._failures += 1
        return wait * self._rng.uniform(0.5, 1.0)


class _Connection(asyncio.Protocol):
    """One TCP connection: hands what happens on it to its session, and what the session wants to it."""

    def __init__(self, session: Session, timing: Timing, tell: Callable[[Event | Remark], None]) -> None:
        self.ended: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._session = session
        self._timing = timing
        self._tell: Callable[[Event | Remark], None] | None = tell
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands; the greeting is awaited from now on."""
        self._transport = cast("asyncio.Transport", transport)
        _keep_alive(self._transport)
        self._settle()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._check_lag()
        self._session.receive(data, _now())
        self._settle()

    def eof_received(self) -> None:
        """The node closed its side; so do we."""
        self._session.receive_eof(_now())
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: `exc` says why, None means by our own hand."""
        if isinstance(exc, TimeoutError):  # the kernel's: keepalive or TCP_USER_TIMEOUT
            self._session.end("silent", str(exc), _now())
        elif exc is not None:
            self._session.end("reset", str(exc), _now())
        else:
            self._session.end("closed", "closed", _now())
        self._settle()

    def _tick(self) -> None:
        self._check_lag()
        self._session.tick(_now())
        self._settle()

    # What the driver calls

    def set_paused(self, *, paused: bool) -> bool:
        """Pause inbound calls, or resume them; False where there is no login."""
        asked = self._session.set_paused(_now(), paused=paused)
        self._settle()
        return asked

    async def say_goodbye(self) -> None:
        """End in order: `exit`, then wait a little for the node to close. Nothing is told any more."""
        self._tell = None
        self._session.leave()
        self._settle()
        await asyncio.wait([self.ended], timeout=self._timing.goodbye)

    def abort(self) -> None:
        """End now."""
        self._session.end("closed", "closed", _now())
        self._tell = None
        self._settle()

    # Between the two

    def _check_lag(self) -> None:
        late = _now() - self._timer.when() if self._timer else 0.0
        if late > self._timing.lag:
            self._session.end("closed", f"given up: our own event loop stood still for {late:.0f} s", _now())

    def _settle(self) -> None:
        """Carry out what the session left to do."""
        try:
            for event in self._session.take_events():
                if self._tell is not None:
                    self._tell(event)
        except Exception as error:  # noqa: BLE001 (it goes on to whoever awaits run())
            self._session.end("closed", "closed", _now())
            self._tell = None
            if not self.ended.done():
                self.ended.set_exception(error)
        output = self._session.take_output()
        if output and self._transport is not None:
            self._transport.write(output)
        self._wind_timer(self._session.deadline)
        if self._session.ending is not None:
            if not self.ended.done():
                self.ended.set_result(self._session.ending)
            if self._transport is not None:
                self._transport.abort()

    def _wind_timer(self, deadline: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if deadline is None else asyncio.get_running_loop().call_at(deadline, self._tick)


def _now() -> float:
    """The event loop's clock, which is `time.monotonic`, and virtual in tests."""
    return asyncio.get_running_loop().time()


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let the kernel find a peer that vanished, too; the options that this platform has."""
    peer = transport.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            peer.setsockopt(socket.IPPROTO_TCP, option, value)


def _in_words(error: OSError | UnicodeError) -> str:
    """What the system says of it, without its number and the address."""
    if not isinstance(error, OSError):
        return str(error)
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
