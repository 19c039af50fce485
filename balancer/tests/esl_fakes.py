"""Real sockets in virtual time, and a node to talk to, for the Event Socket driver's tests."""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import esl_captures as captures

from switchtender.drivers.esl.driver import EslDriver, Timing
from switchtender.drivers.esl.wire import Credentials
from switchtender.drivers.reports import Event, Link

T = TypeVar("T")


class _VirtualSelector(selectors.DefaultSelector):
    """Never sleeps: where no socket has anything, the clock goes to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout == 0 else 0.001)  # what the kernel has under way may arrive first
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with real sockets and a clock that only waiting moves."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)
        self.transports: list[asyncio.Transport] = []

    def time(self) -> float:
        return self._virtual.now

    def stand_still(self, seconds: float) -> None:
        """Time passes while the loop does nothing, as when something blocks it."""
        self._virtual.now += seconds

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        transport, protocol = await super().create_connection(*args, **kwargs)
        self.transports.append(transport)
        return transport, protocol


def in_virtual_time(test: Coroutine[Any, Any, T]) -> T:
    """Run to the end; raises what any callback raised, too."""
    faults: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        result = runner.run(test)
    assert faults == []
    return result


class SaidExit(Exception):  # noqa: N818 (no error)
    """The driver says goodbye."""


class Peer:
    """The node's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.heard: list[str] = []
        self.came = asyncio.get_running_loop().time()

    async def hears(self) -> str:
        """The next command; raises SaidExit for the last one."""
        command = (await self._reader.readuntil(b"\n\n")).decode().strip()
        self.heard.append(command)
        if command == "exit":
            raise SaidExit
        return command

    def says(self, *pieces: bytes) -> None:
        self.writer.writelines(pieces)

    async def drips(self, data: bytes, interval: float) -> None:
        for at in range(len(data)):
            self.writer.write(data[at : at + 1])
            await asyncio.sleep(interval)

    def resets(self) -> None:
        """Break the connection with RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Conversation = Callable[[Peer], Awaitable[None]]


async def stay_silent(_: Peer) -> None:
    await asyncio.sleep(3600)


class World:
    """A node that holds these conversations, one a connection (the last for all that follow), and a driver on it."""

    def __init__(self, *conversations: Conversation) -> None:
        self._conversations = conversations
        self.peers: list[Peer] = []
        self.events: list[Event] = []
        self.port = 0
        self.driver: asyncio.Task[None] | None = None
        self._faults: list[BaseException] = []
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def watched(
        self, credentials: Credentials | None = None, timing: Timing | None = None
    ) -> AsyncIterator[World]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.driver = asyncio.ensure_future(self.new_driver(credentials, timing).run())
        try:
            yield self
        finally:
            self.driver.cancel()
            await asyncio.wait([self.driver])
            server.close()
            for peer in self.peers:
                peer.writer.transport.abort()
            await asyncio.sleep(0.1)
            for fault in self._faults:
                raise fault

    def new_driver(self, credentials: Credentials | None = None, timing: Timing | None = None) -> EslDriver:
        return EslDriver(
            "127.0.0.1",
            self.port,
            credentials or Credentials("ClueCon"),
            self.listen,
            node="fs1",
            timing=timing,
            rng=random.Random(7),
        )

    def listen(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, wanted: Callable[[Event], bool], *, count: int = 1) -> Event:
        """The count-th such event, once it has come; gives up after ten minutes of virtual time."""
        async with asyncio.timeout(600):
            while True:
                found = [event for event in self.events if wanted(event)]
                if len(found) >= count:
                    return found[count - 1]
                self._news.clear()
                await self._news.wait()

    async def link(self, state: str, *, count: int = 1) -> Link:
        found = await self.until(lambda event: isinstance(event, Link) and event.state == state, count=count)
        assert isinstance(found, Link)
        return found

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, Link)]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        conversation = self._conversations[min(len(self.peers), len(self._conversations)) - 1]
        try:
            await conversation(peer)
        except SaidExit:
            peer.says(*captures.raw_frames("01-auth-ok")[2:])
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the driver left
        except Exception as fault:  # noqa: BLE001 (asserted at the end)
            self._faults.append(fault)
        finally:
            writer.close()
