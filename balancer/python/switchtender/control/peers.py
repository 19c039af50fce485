"""How many balancers share the nodes: the other replicas are asked once a second, and those that answered lately count.

R = those of ``peers.static`` that answered within ``ALIVE`` seconds, and this process. A peer that turns out to be
this process itself is not counted twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

log = logging.getLogger(__name__)

INTERVAL = 1.0
ALIVE = 5.0
_TIMEOUT = aiohttp.ClientTimeout(total=1.0)


@dataclass
class Peers:
    """Asks each of ``addresses`` ("host:port" of a replica's HTTP) every second;

    ``instance`` is this process's own id.
    """

    addresses: tuple[str, ...]
    instance: str
    clock: Callable[[], float]
    _answered: dict[str, tuple[str, float]] = field(default_factory=dict)

    def replicas(self) -> int:
        """Balancers alive, this one included: R of the load model."""
        now = self.clock()
        alive = {instance for instance, at in self._answered.values() if now - at <= ALIVE}
        return 1 + len(alive - {self.instance})

    async def run(self) -> None:
        """Ask for ever; returns at once when there is nobody to ask."""
        if not self.addresses:
            return
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                await asyncio.gather(*(self._ask(session, address) for address in self.addresses))
                await asyncio.sleep(INTERVAL)

    async def _ask(self, session: aiohttp.ClientSession, address: str) -> None:
        known = self._answered.get(address)
        try:
            async with session.get(f"http://{address}/healthz") as answer:
                document = await answer.json()
                instance = str(document["instance"])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
            return
        if known is None or self.clock() - known[1] > ALIVE:
            log.info("a peer answers", extra={"peer": address, "instance": instance})
        self._answered[address] = (instance, self.clock())
