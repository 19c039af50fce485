"""How many balancers share the nodes: the other replicas are asked once a second, and those that answered lately count.

R = those of ``peers.static`` or ``peers.service`` that answered within ``ALIVE`` seconds, and this process. Two
addresses of one peer count once; a peer that turns out to be this process itself does not count.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from switchtender.config.limits import Part

log = logging.getLogger(__name__)

INTERVAL = 1.0
ALIVE = 5.0
_TIMEOUT = aiohttp.ClientTimeout(total=1.0)
_LONGEST = 4096
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class _Answer:
    instance: str
    at: float


@dataclass
class Peers:
    """Asks each of ``addresses`` ("host:port" of a replica's HTTP) every second.

    ``instance`` is this process's own id. ``changing``: ``ask`` may name others later. ``trust`` gives what they must
    show over https; None: they are asked over http.
    """

    addresses: tuple[str, ...]
    instance: str
    clock: Callable[[], float]
    changing: bool = False
    trust: Callable[[], ssl.SSLContext] | None = None
    _alive: dict[str, _Answer] = field(default_factory=dict)
    _named: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, addresses: tuple[str, ...]) -> None:
        """Ask these from now on."""
        self.addresses = addresses
        self._named.set()

    def replicas(self) -> int:
        """Balancers alive, this one included: R of the load model."""
        return len(self._instances())

    def part(self) -> Part:
        """This one among them, in the order of their ids, which all of them see alike."""
        instances = sorted(self._instances())
        return Part(len(instances), instances.index(self.instance))

    def _instances(self) -> set[str]:
        now = self.clock()
        return {self.instance, *(answer.instance for answer in self._alive.values() if now - answer.at <= ALIVE)}

    async def run(self) -> None:
        """Ask for ever; returns at once when there is nobody to ask, and nobody will be named."""
        if not self.addresses and not self.changing:
            return
        asked: dict[str, asyncio.Task[None]] = {}
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as tasks:
            while True:
                self._named.clear()
                for address in asked.keys() - set(self.addresses):
                    asked.pop(address).cancel()
                    self._alive.pop(address, None)
                for address in sorted(set(self.addresses) - asked.keys()):
                    asked[address] = tasks.create_task(self._follow(session, address))
                await self._named.wait()

    async def _follow(self, session: aiohttp.ClientSession, address: str) -> None:
        """Each peer at its own pace, so that a dead one does not make the others look late."""
        while True:
            self._heard(address, await self._instance(session, address))
            await asyncio.sleep(INTERVAL)

    def _heard(self, address: str, instance: str | None) -> None:
        known = self._alive.get(address)
        if instance is not None:
            if known is None or known.instance != instance:
                what = "a peer is this process itself" if instance == self.instance else "a peer answers"
                log.info(what, extra={"peer": address, "instance": instance})
            self._alive[address] = _Answer(instance, self.clock())
        elif known is not None and self.clock() - known.at > ALIVE:
            del self._alive[address]
            log.warning("a peer no longer answers", extra={"peer": address, "instance": known.instance})

    async def _instance(self, session: aiohttp.ClientSession, address: str) -> str | None:
        """The id of the process behind ``address``; None where no balancer answers."""
        scheme, tls = ("http", True) if self.trust is None else ("https", self.trust())
        try:
            async with session.get(f"{scheme}://{address}/healthz", allow_redirects=False, ssl=tls) as answer:
                document = json.loads(await answer.content.read(_LONGEST))
            return str(document["instance"]) if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, RecursionError):
            return None
