"""SIP peers over TCP for the core's tests: a caller's connection, a node that listens."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from core_calls import WAIT, Message, Peer


class Stream(Peer):
    """One connection that speaks SIP; used as a :class:`Peer` is, though where to send is settled."""

    transport = "TCP"

    def __init__(self, connected: socket.socket, endpoint: str | None = None) -> None:
        self.socket = connected
        self.socket.settimeout(WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.port = self.socket.getsockname()[:2]
        self.remote = self.socket.getpeername()[:2]
        self.listens_at = endpoint
        self._read = b""

    @classmethod
    def connect(cls, to: tuple[str, int], source: str = "127.0.0.1") -> "Stream":
        return cls(socket.create_connection(to, WAIT, (source, 0)))

    @property
    def contact(self) -> str:
        return f"{self.listens_at or self.endpoint};transport=tcp"

    def send(self, to: tuple[str, int], *lines: str, body: str = "") -> None:
        self.socket.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode())

    def receive(self) -> Message:
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, _ = self._read.partition(b"\r\n\r\n")
        (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        end = len(head) + 4 + length
        while len(self._read) < end:
            self._more()
        raw, self._read = self._read[:end], self._read[end:]
        return Message(raw, self.remote)

    def _more(self) -> None:
        more = self.socket.recv(65536)
        assert more, f"closed after {self._read!r}"
        self._read += more

    def is_silent(self) -> bool:
        return not self._read and not select.select([self.socket], [], [], 0)[0]

    def is_closed(self) -> bool:
        """Whether the other side ends it, and sends nothing before."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


class StreamNode:
    """A node that takes calls over TCP."""

    def __init__(self, address: str = "127.0.0.2") -> None:
        self.listening = socket.create_server((address, 0))
        self.listening.settimeout(WAIT)
        self.host, self.port = self.listening.getsockname()[:2]
        self.endpoint = f"{self.host}:{self.port}"

    def accept(self) -> Stream:
        connected, _ = self.listening.accept()
        return Stream(connected, self.endpoint)


@contextmanager
def stream_node(address: str = "127.0.0.2") -> Iterator[StreamNode]:
    node = StreamNode(address)
    with node.listening:
        yield node
