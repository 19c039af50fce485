"""The asyncio shell around `Agenda`: one UDP socket per address family for all nodes, a connection per probe over TCP.

The sockets are the control side's own, bound to the address that nodes know us by; no packet of a call passes here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final

from switchtender.drivers.options.agenda import Address, Agenda, Sending, Target
from switchtender.drivers.options.message import LONGEST, response
from switchtender.drivers.reports import Probe
from switchtender_api.v1alpha1.endpoints import format_endpoint

_log: Final = logging.getLogger(__name__)

_WILDCARDS: Final[dict[int, str]] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_AT_ONCE: Final = 256
"""Datagrams that are read before everything else has its turn again."""
_CONNECTIONS: Final = 256
"""TCP probes under way at once; further ones wait, within their time."""


class Prober:
    """Probes nodes until it is closed. ``listener`` gets each outcome with the node's uid, in the event loop.

    ``own`` is the address to send from, of the node side; a wildcard: the one that the kernel picks towards each node.
    """

    def __init__(self, own: str, listener: Callable[[str, Probe], None]) -> None:
        self._own = ip_address(own)
        self._agenda = Agenda(self._sent_by, self._send, listener, random.SystemRandom())
        self._udp: dict[int, socket.socket] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    def set_targets(self, targets: Mapping[str, Target], *, at_once: bool = False) -> None:
        """Probe these nodes, by uid, from now on, and no others; the first time within their interval, or at once."""
        self._agenda.set_targets(targets, _now(), at_once=at_once)
        self._wind()

    @property
    def open(self) -> int:
        """Probes that wait for their answer."""
        return self._agenda.open

    async def close(self) -> None:
        """Probe nobody any more."""
        self._agenda.set_targets({}, _now())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for bound in self._udp.values():
            asyncio.get_running_loop().remove_reader(bound)
            bound.close()
        self._udp.clear()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # What the agenda asks for

    def _sent_by(self, target: Target) -> str | None:
        address = self._source(target.address)
        if address is None:
            return None
        if target.transport == "TCP":
            return format_endpoint(address, None)  # answered on the connection that it came on
        bound = self._socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        return None if bound is None else format_endpoint(address, bound.getsockname()[1])

    def _source(self, to: Address) -> str | None:
        """Our address towards a node: the own one, or what the kernel picks; None where there is no route."""
        if not self._own.is_unspecified and (self._own.version == 6) == (":" in to[0]):
            return str(self._own)
        return _kernels_choice(to)  # each time anew: routes and addresses come and go

    def _send(self, sending: Sending) -> None:
        if sending.target.transport == "TCP":
            task = asyncio.get_running_loop().create_task(self._over_tcp(sending), name="options over TCP")
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            return
        bound = self._udp.get(socket.AF_INET6 if ":" in sending.target.address[0] else socket.AF_INET)
        if bound is not None:
            with contextlib.suppress(OSError):  # no route, no buffer: the probe runs into its time
                bound.sendto(sending.data, sending.target.address)

    # Sockets

    def _socket(self, family: int) -> socket.socket | None:
        """The socket of a family, made at its first use; None where it cannot be had."""
        if family in self._udp:
            return self._udp[family]
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)  # noqa: FBT003 - the socket's own signature
            same = (self._own.version == 6) == (family == socket.AF_INET6)
            made.bind((str(self._own) if same else _WILDCARDS[family], 0))
        except OSError as error:
            made.close()
            _log.error("OPTIONS cannot be sent from %s: %s", self._own, error.strerror or error)
            return None
        self._udp[family] = made
        asyncio.get_running_loop().add_reader(made, self._on_readable, made)
        return made

    def _on_readable(self, readable: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, source = readable.recvfrom(LONGEST)
            except OSError:  # nothing more, or an ICMP error of some probe, which runs into its time
                return
            answer = response(data)
            if answer is not None:
                self._agenda.receive(answer, source[:2], _now())

    async def _over_tcp(self, sending: Sending) -> None:
        target, branch = sending.target, sending.question.branch
        source = self._source(target.address)
        try:
            async with self._turns, asyncio.timeout(target.timeout):
                local = None if source is None else (source, 0)
                reader, writer = await asyncio.open_connection(*target.address, local_addr=local, limit=LONGEST)
                try:
                    writer.write(sending.data)
                    final = False
                    while not final:
                        answer = response((await reader.readuntil(b"\r\n\r\n")).lstrip(b"\r\n"))
                        if answer is not None:
                            self._agenda.receive(answer, target.address, _now())
                            final = answer.status >= 200
                finally:
                    writer.transport.abort()
        except TimeoutError:
            return  # the agenda says so itself
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self._agenda.fail(branch, _words(error), _now())

    # Time

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._agenda.deadline
        self._timer = None if deadline is None else asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._agenda.tick(_now())
        finally:
            self._wind()


def _now() -> float:
    """The event loop's clock, which is `time.monotonic`, and virtual in tests."""
    return asyncio.get_running_loop().time()


def _words(error: OSError | asyncio.IncompleteReadError | asyncio.LimitOverrunError) -> str:
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else str(error)
    return "the connection ended without an answer"


def _kernels_choice(to: Address) -> str | None:
    """The source address that the kernel would pick; a connected UDP socket sends nothing."""
    with socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(to)
        except OSError:
            return None
        name: str = asking.getsockname()[0]
        return name
