"""An event loop whose clock jumps to the next deadline when no socket is ready: real loopback sockets, virtual time.

Loopback delivery is synchronous within one process, so "nothing is readable" means that nothing is under way.
"""

import asyncio
import selectors
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from switchtender_simulator.node import Node
from switchtender_simulator.settings import NodeSettings, make_node

T = TypeVar("T")


class _WarpSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 5000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("everything waits and nothing will happen")
        self.now += timeout
        return []


class WarpLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._warp = _WarpSelector()
        super().__init__(self._warp)

    def time(self) -> float:
        return self._warp.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        return runner.run(main)


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Decorator: an async test in virtual time."""

    def wrapper(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    wrapper.__name__ = test.__name__
    wrapper.__doc__ = test.__doc__
    wrapper.__dict__["__wrapped__"] = test  # pytest reads the parameters from it
    return wrapper


@asynccontextmanager
async def running(**values: Any):
    """A running node on free ports of loopback; named fs2 as the captured one."""
    settings: NodeSettings = make_node({"name": "fs2", "sip": "127.0.0.1:0", "esl": "127.0.0.1:0", **values})
    node = Node(settings)
    await node.start(at_once=True)
    try:
        yield node
    finally:
        await node.close()


class Client:
    """An ESL client that only collects bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, node: Node) -> "Client":
        host, port = node.esl_host_port.rsplit(":", 1)
        return cls(*await asyncio.open_connection(host, int(port), limit=1 << 24))

    async def say(self, data: bytes, seconds: float = 0.1) -> bytes:
        """Send, then collect what comes within so many (virtual) seconds."""
        self.writer.write(data)
        return await self.hear(seconds)

    async def hear(self, seconds: float = 0.1) -> bytes:
        """Collect what comes within so many seconds, or until the end."""
        out = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while data := await self.reader.read(1 << 16):
                    out += data
        except TimeoutError:
            pass
        return bytes(out)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(node: Node, *commands: bytes):
    """A client, logged in when commands are given; what the node said so far is thrown away."""
    client = await Client.connect(node)
    try:
        if commands:
            await client.say(b"auth ClueCon\n\n" + b"".join(command + b"\n\n" for command in commands))
        yield client
    finally:
        await client.close()


class Phone:
    """A UDP socket connected to a node: sees answers, and ICMP port unreachable as ConnectionRefusedError."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        host, port = node.sip_host_port.rsplit(":", 1)
        self.socket.connect((host, int(port)))
        self.port = self.socket.getsockname()[1]

    def send(self, text: str) -> None:
        here = f"127.0.0.1:{self.port}"
        self.socket.send(text.replace("127.0.0.1:5090", here).replace("127.0.0.1:5999", here).encode())

    async def say(self, text: str, seconds: float = 0.05) -> list[str]:
        self.send(text)
        return await self.hear(seconds)

    async def hear(self, seconds: float = 0.05) -> list[str]:
        await asyncio.sleep(seconds)
        out = []
        while True:
            try:
                out.append(self.socket.recv(65535).decode())
            except BlockingIOError:
                return out

    def __enter__(self) -> "Phone":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
