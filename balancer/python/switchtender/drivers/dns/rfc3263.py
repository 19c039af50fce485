"""Where a SIP host is that is given by name: RFC 3263 over DNS.

NAPTR says the transport, SRV host and port, A and AAAA the addresses; each is asked only where the URI leaves it open,
and a literal address never is. Answers come with how long they hold. Knows neither members nor plans.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from switchtender.drivers.dns.names import LONGEST, SHORTEST, Found, Name, NotFoundError, Target
from switchtender_api.v1alpha1.endpoints import Transport

HOSTS_HOLD: Final = 30.0
"""Seconds for which an address out of the system's own table of hosts holds."""
_TIMEOUT: Final = 5.0
_SERVICES: Final[dict[str, Transport]] = {"SIP+D2U": "UDP", "SIP+D2T": "TCP"}
_HOSTS_AT_ONCE: Final = 2
"""Questions to the system at once: each keeps a thread waiting, of which everybody shares a few."""
_MOST: Final = 64
"""Records of one answer that are followed, and targets of a name."""

Hosts = Callable[[str], Awaitable[list[str]]]
"""The addresses that the system itself knows of a host, without DNS, such as those of /etc/hosts."""


class Names:
    """Asks DNS. ``nameservers`` None: those of the system. ``family`` is tried first of a host that has both."""

    def __init__(
        self,
        nameservers: Iterable[tuple[str, int]] | None = None,
        *,
        family: Literal["IPv4", "IPv6"] = "IPv4",
        rng: random.Random | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self._resolver = _resolver(nameservers)
        self._families = ("A", "AAAA") if family == "IPv4" else ("AAAA", "A")
        self._rng = rng or random.Random()  # noqa: S311 (spreads load, keeps no secret)
        self._hosts = hosts or system_hosts
        self._turns = asyncio.Semaphore(_HOSTS_AT_ONCE)

    async def find(self, name: Name) -> Found:
        """The targets of a name. Raises NotFoundError."""
        asked = _Asked(self._resolver, self._families, self._rng)
        targets = await _targets(asked, name)
        if not targets and name.lookup == "Address":
            async with self._turns:
                addresses = await self._hosts(name.host)
            targets = [Target(address, name.port, name.transport) for address in addresses]
            asked.holds = HOSTS_HOLD if targets else asked.holds
        holds = min(LONGEST, max(SHORTEST, asked.holds))
        if not targets:
            raise NotFoundError(asked.failure or f"DNS names no address of {name.host}", holds)
        return Found(tuple(dict.fromkeys(targets))[:_MOST], holds)


async def _targets(asked: _Asked, name: Name) -> list[Target]:
    if name.lookup == "Address":
        return await asked.addresses(name.host, name.port, name.transport, 0)
    services = await _services(asked, name)
    targets: list[Target] = []
    for transport, service in services:
        targets += await asked.service(service, transport, rank=1 + max((each.rank for each in targets), default=-1))
    if targets or asked.declared or asked.failure is not None:
        return targets
    # RFC 3263 §4.2: no SRV at all: the host itself, at the default port, over the transport of the URI, else UDP.
    return await asked.addresses(name.host, name.port, name.transport, 0)


async def _services(asked: _Asked, name: Name) -> list[tuple[Transport, str]]:
    """The services to ask for, best first, each with its transport (RFC 3263 §4.1)."""
    if name.lookup == "Service":
        return [(name.transport, f"_sip._{name.transport.lower()}.{name.host}")]
    pointed = await asked.naptr(name.host)
    if pointed:
        return pointed
    return [("UDP", f"_sip._udp.{name.host}"), ("TCP", f"_sip._tcp.{name.host}")]


class _Asked:
    """One resolution under way: ``holds`` is the shortest life of the answers, ``failure`` why one is missing;
    ``declared``: the domain has SRV records, be it to say that the service is not there (RFC 2782).
    """

    def __init__(self, resolver: dns.asyncresolver.Resolver, families: tuple[str, ...], rng: random.Random) -> None:
        self.holds = LONGEST
        self.failure: str | None = None
        self.declared = False
        self._resolver = resolver
        self._families = families
        self._rng = rng

    async def naptr(self, host: str) -> list[tuple[Transport, str]]:
        """The SRV names for the transports that we speak, in the order that the domain wants (RFC 3403).

        There are servers that know no NAPTR and fail: that is no worse than there being none.
        """
        failure, holds = self.failure, self.holds
        records = await self._ask(host, "NAPTR")
        if self.failure is not failure:
            self.failure, self.holds = failure, holds
        records.sort(key=lambda record: (record.order, record.preference))
        found: list[tuple[Transport, str]] = []
        for record in records:
            service = record.service.decode("ascii", "replace").upper()
            if record.flags.lower() == b"s" and service in _SERVICES:
                found.append((_SERVICES[service], _text(record.replacement)))
        return found

    async def service(self, name: str, transport: Transport, rank: int) -> list[Target]:
        """The targets of an SRV name, by priority, within one by weight (RFC 2782). At port 0 is nobody."""
        found = await self._ask(name, "SRV")
        self.declared = self.declared or bool(found)
        records = [record for record in found if _text(record.target) and record.port]
        targets: list[Target] = []
        for step, priority in enumerate(sorted({record.priority for record in records})):
            for record in self._shuffled([record for record in records if record.priority == priority]):
                targets += await self.addresses(_text(record.target), record.port, transport, rank + step)
        return targets

    async def addresses(self, host: str, port: int, transport: Transport, rank: int) -> list[Target]:
        """The addresses of a host, those of the preferred family first."""
        answers = await asyncio.gather(*(self._ask(host, family) for family in self._families))
        return [Target(record.address, port, transport, rank) for answer in answers for record in answer]

    def _shuffled(self, records: list[Any]) -> list[Any]:
        """RFC 2782's order: each next one by chance, in proportion to its weight; those of weight 0 nearly never."""
        left, ordered = list(records), []
        while left:
            weights = [record.weight or 0.01 for record in left]
            chosen = self._rng.choices(range(len(left)), weights)[0]
            ordered.append(left.pop(chosen))
        return ordered

    async def _ask(self, name: str, kind: str) -> list[Any]:
        """The records of a name; none where there are none, or where nobody answers, which is noted."""
        try:
            answer = await self._resolver.resolve(
                name, kind, raise_on_no_answer=False, lifetime=_TIMEOUT, search=kind in {"A", "AAAA"}
            )
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError) as error:
            self.failure = f"DNS does not say where {name} is: {str(error) or type(error).__name__}"
            self.holds = SHORTEST
            return []
        self.holds = min(self.holds, float(answer.chaining_result.minimum_ttl))
        return list(answer)[:_MOST] if answer.rrset is not None else []


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _resolver(nameservers: Iterable[tuple[str, int]] | None) -> dns.asyncresolver.Resolver:
    if nameservers is None:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            return dns.asyncresolver.Resolver(configure=False)  # every question fails, and says so
    resolver = dns.asyncresolver.Resolver(configure=False)
    servers = list(nameservers)
    resolver.nameservers = [address for address, _ in servers]
    resolver.nameserver_ports = dict(servers)
    return resolver


async def system_hosts(host: str) -> list[str]:
    """What the system says of a host, by its table of hosts and whatever else it asks; no address with a scope, which
    means something on one of our interfaces alone.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(address for entry in found if "%" not in (address := str(entry[4][0]))))
