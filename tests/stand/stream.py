"""The plain SIP agent on a TCP connection: it frames what comes by Content-Length, and does nothing else by itself."""

from __future__ import annotations

import select
import socket
import time
from typing import Self

from tests.stand.agent import PATIENCE, Address, Agent, Message, SilenceError, unique


class Stream(Agent):
    """One connection that speaks SIP as it is told; where to send is settled when it is made."""

    def __init__(self, connected: socket.socket, uri: str = "") -> None:
        self._socket = connected
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""
        self.address: Address = connected.getsockname()[:2]
        self.uri = uri or f"sip:{self.host_port};transport=tcp"

    @classmethod
    def connect(cls, to: Address, host: str) -> Self:
        """A connection from ``host``."""
        return cls(socket.create_connection(to, PATIENCE, (host, 0)))

    def via(self) -> str:
        """A Via for the next request."""
        return f"SIP/2.0/TCP {self.host_port};branch={unique('z9hG4bK')}"

    def send(self, message: bytes | str, to: Address = ("", 0)) -> bytes:
        """Write a message; ``to`` is where the connection leads, whatever is given."""
        data = message.encode("latin-1") if isinstance(message, str) else message
        self._socket.sendall(data)
        return data

    def receive(self, patience: float = PATIENCE) -> Message:
        """The next message; raises SilenceError, also when the other side has ended the connection."""
        deadline = time.monotonic() + patience
        while (message := self._whole()) is None:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self._socket], [], [], left)[0]:
                raise SilenceError(f"nothing came to {self.host_port} within {patience:g} s")
            more = self._socket.recv(65536)
            if not more:
                raise SilenceError(f"the connection of {self.host_port} was closed")
            self._read += more
        return message

    def _whole(self) -> Message | None:
        head, end, rest = self._read.partition(b"\r\n\r\n")
        if not end:
            return None
        length = int(Message(head + end)["Content-Length"])
        if len(rest) < length:
            return None
        self._read = rest[length:]
        return Message(head + end + rest[:length], self._socket.getpeername()[:2])

    def reset(self) -> None:
        """End it with a reset, as a client that crashed does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self._socket.close()

    def ended(self, patience: float = PATIENCE) -> bool:
        """The other side ends the connection in time, whatever it says before."""
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                try:
                    if not self._socket.recv(65536):
                        return True
                except ConnectionResetError:
                    return True
        return False
