"""Members and next hops that are given by name: which address each of them is at now.

Resolved in the background, again when an answer has had its time; a present address is left only when it is no longer
among the answers. Whatever DNS fails to say, the last known address stays. A member is the same one at whatever
address, so its calls go on by their tokens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from switchtender.config.snapshot import GroupMembers
from switchtender.sources.names import Found, Name, NotFoundError, Target
from switchtender_api.v1alpha1 import SetMember
from switchtender_api.v1alpha1.endpoints import Transport, host_address

log = logging.getLogger(__name__)

_AGAIN: Final = 5.0
_AGAIN_AT_MOST: Final = 60.0
"""Seconds until a failed question is asked again: at first, and at most; doubling."""
_MOST_HOPS: Final = 8
"""Addresses of one next hop that are used."""


class Finder(Protocol):
    """Asks DNS."""

    async def find(self, name: Name) -> Found:
        """The targets of a name. Raises NotFoundError."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a name: the target that stands, and all that it could be."""

    present: Target
    targets: tuple[Target, ...]


class Naming:
    """The names of a plan. ``changed()`` when an address did; ``refusal`` tells why nothing may be at an address."""

    def __init__(
        self,
        finder: Callable[[], Finder],
        changed: Callable[[], None],
        refusal: Callable[[str], str | None] = lambda address: None,
    ) -> None:
        self.refusal = refusal
        self._make_finder = finder
        self._finder: Finder | None = None
        self._changed = changed
        self._known: dict[Name, _Known] = {}
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._asked: dict[Name, asyncio.Event] = {}

    async def follow(self, groups: Iterable[GroupMembers], patience: float) -> None:
        """Resolve the names of these groups from now on, and no others; wait so many seconds at most for new ones."""
        wanted = {name for entry in groups for name in names_of(entry)}
        for name in self._tasks.keys() - wanted:
            self._tasks.pop(name).cancel()
            self._asked.pop(name)
            self._known.pop(name, None)
        fresh = wanted - self._tasks.keys()
        for name in fresh:
            self._asked[name] = asyncio.Event()
            self._tasks[name] = asyncio.get_running_loop().create_task(self._follow(name), name=f"dns {name.host}")
        waits = [asyncio.ensure_future(self._asked[name].wait()) for name in fresh]
        if waits:
            await asyncio.wait(waits, timeout=patience)
            for wait in waits:
                wait.cancel()

    def resolved(self, groups: Sequence[GroupMembers]) -> tuple[GroupMembers, ...]:
        """The groups with addresses in the place of names; a member without one is left out until there is."""
        return tuple(self._resolved(entry) if names_of(entry) else entry for entry in groups)

    def unresolved(self, groups: Iterable[GroupMembers]) -> list[str]:
        """The hosts that no address is known of."""
        return sorted({name.host for entry in groups for name in names_of(entry) if name not in self._known})

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _resolved(self, entry: GroupMembers) -> GroupMembers:
        members = []
        for member in entry.members:
            name = _member_name(member)
            known = None if name is None else self._known.get(name)
            if name is None:
                members.append(member)
            elif known is not None:
                members.append(_at(member, known.present))
        return GroupMembers(entry.group, tuple(members))

    async def _follow(self, name: Name) -> None:
        failures = 0
        while True:
            try:
                found = await self._find(name)
                failures, wait = 0, found.holds
                self._learn(name, found)
            except NotFoundError as error:
                wait = max(error.holds, min(_AGAIN * 2.0**failures, _AGAIN_AT_MOST))
                if failures == 0:
                    stands = "its last known address stands" if name in self._known else "it is left out until then"
                    log.warning("%s; %s", error, stands, extra={"host": name.host})
                failures += 1
            self._asked[name].set()
            await asyncio.sleep(wait)

    async def _find(self, name: Name) -> Found:
        if self._finder is None:
            self._finder = self._make_finder()
        found = await self._finder.find(name)
        refused = {target: why for target in found.targets if (why := self.refusal(target.address)) is not None}
        if len(refused) < len(found.targets):
            return replace(found, targets=tuple(target for target in found.targets if target not in refused))
        target, why = next(iter(refused.items()))
        raise NotFoundError(f"{name.host} is at {target.address}: {why}", found.holds)

    def _learn(self, name: Name, found: Found) -> None:
        before = self._known.get(name)
        places = {(target.address, target.port, target.transport): target for target in found.targets}
        stays = None if before is None else places.get(_place(before.present))
        known = _Known(stays or found.targets[0], found.targets)
        self._known[name] = known
        if before is None or _place(before.present) != _place(known.present) or before.targets != known.targets:
            place = f"{known.present.address} port {known.present.port} over {known.present.transport}"
            log.info("%s is at %s", name.host, place, extra={"host": name.host, "targets": len(found.targets)})
            self._changed()


def _place(target: Target) -> tuple[str, int, Transport]:
    return target.address, target.port, target.transport


def names_of(entry: GroupMembers) -> list[Name]:
    """The names that stand in a group."""
    return [name for member in entry.members if (name := _member_name(member)) is not None]


def _member_name(member: SetMember) -> Name | None:
    host = member.addresses[0]
    if host_address(host) is not None:
        return None
    return Name(host, member.sip.port, member.sip.transport)


def _at(member: SetMember, target: Target) -> SetMember:
    sip = member.sip.model_copy(update={"port": target.port, "transport": target.transport})
    return member.model_copy(update={"addresses": (target.address,), "sip": sip})
