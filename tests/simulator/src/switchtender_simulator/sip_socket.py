"""The UDP socket of a node: one non-blocking socket, drained in bursts. Knows addresses and bytes only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from switchtender_simulator.sip_message import Address

_BURST = 64
_BUFFER = 4 * 1024 * 1024


class SipSocket:
    """A bound UDP socket; reading starts with `listen`, so that a booting node can be bound and deaf."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self.address: Address = self._socket.getsockname()
        self.unsent = 0
        self._receive: Callable[[bytes, Address], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, receive: Callable[[bytes, Address], None]) -> None:
        """Hand every datagram to `receive` from now on."""
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        # A burst per wake-up saves trips through the event loop; the bound keeps ESL and timers alive under a flood.
        for _ in range(_BURST):
            try:
                data, source = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                return  # an ICMP error of an earlier send
            if self._receive is not None:
                self._receive(data, source)
            if self._socket.fileno() < 0:
                return

    def send(self, data: bytes, destination: Address) -> None:
        """Send one datagram; lost when the kernel has no room, as on a wire."""
        try:
            self._socket.sendto(data, destination)
        except OSError:
            self.unsent += 1

    def close(self) -> None:
        """Close: from now on the kernel answers with ICMP port unreachable."""
        if self._socket.fileno() >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
