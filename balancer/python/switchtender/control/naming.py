"""Members and next hops that are given by name: which address each of them is at now.

Asked in the background, again when an answer has had its time; a present address is left only when it is no longer
among the answers. Whatever DNS fails to say, the last known address stays. A member is the same one at whatever
address, so its calls go on by their tokens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from switchtender.config.names import Resolved, names_of
from switchtender.config.snapshot import GroupMembers
from switchtender.drivers.dns.names import Found, Name, NotFoundError, Target
from switchtender_api.v1alpha1.units import IpNetwork

log = logging.getLogger(__name__)

_AGAIN: Final = 5.0
_AGAIN_AT_MOST: Final = 60.0
"""Seconds until a failed question is asked again: at first, and at most; doubling."""
_AT_ONCE: Final = 64
"""Names asked for at once: each takes a few descriptors, and there may be thousands."""


class Finder(Protocol):
    """Asks DNS."""

    async def find(self, name: Name) -> Found:
        """The targets of a name. Raises NotFoundError."""


class Naming:
    """The names of a plan. ``finder`` is made when there is the first name to ask for; ``changed()`` is called when an
    address changed. ``refusal`` tells why no call may go to an address, given the networks of ``allow``; None where
    calls may.
    """

    def __init__(
        self,
        finder: Callable[[], Finder],
        changed: Callable[[], None] = lambda: None,
        refusal: Callable[[str, Sequence[IpNetwork]], str | None] = lambda address, allow: None,
    ) -> None:
        self.changed = changed
        self._allow: Sequence[IpNetwork] = ()
        self._refusal = refusal
        self._make_finder = finder
        self._finder: Finder | None = None
        self._known: dict[Name, tuple[Target, ...]] = {}
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._asked: dict[Name, asyncio.Event] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def resolved(self) -> Resolved:
        """Where the names are, the place that stands first."""
        return self._known

    def permit(self, allow: Sequence[IpNetwork]) -> None:
        """From now on a name may be in these networks alone; where one is elsewhere is forgotten, and asked anew."""
        if tuple(allow) == tuple(self._allow):
            return
        self._allow = allow
        for name, targets in list(self._known.items()):
            if any(self._refusal(target.address, allow) is not None for target in targets):
                self._forget(name)

    async def follow(self, groups: Iterable[GroupMembers], patience: float) -> None:
        """Ask for the names of these groups from now on, too; wait so many seconds at most for those that are new."""
        fresh = _names(groups) - self._tasks.keys()
        for name in fresh:
            self._asked[name] = asyncio.Event()
            self._tasks[name] = asyncio.get_running_loop().create_task(self._follow(name), name=f"dns {name.host}")
        waits = [asyncio.ensure_future(self._asked[name].wait()) for name in fresh]
        if waits:
            await asyncio.wait(waits, timeout=patience)
            for wait in waits:
                wait.cancel()

    def keep(self, groups: Iterable[GroupMembers]) -> None:
        """Ask for no other names than those of these groups any more."""
        for name in self._tasks.keys() - _names(groups):
            self._forget(name)

    def _forget(self, name: Name) -> None:
        self._tasks.pop(name).cancel()
        self._asked.pop(name)
        self._known.pop(name, None)

    def unresolved(self, entry: GroupMembers) -> list[str]:
        """The hosts of a group that no address is known of."""
        return sorted({name.host for name in _names([entry]) if name not in self._known})

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, name: Name) -> None:
        failures = 0
        while True:
            try:
                async with self._turns:
                    found = await self._find(name)
                failures, wait = 0, found.holds
                self._learn(name, found.targets)
            except NotFoundError as error:
                wait = max(error.holds, min(_AGAIN * 2.0 ** min(failures, 10), _AGAIN_AT_MOST))
                if failures == 0:
                    stands = "its last known address stands" if name in self._known else "it is left out until then"
                    log.warning("%s; %s", error, stands, extra={"host": name.host})
                failures += 1
            except Exception:  # not even a fault of ours, met in an answer that nobody foresaw, ends the asking
                wait = _AGAIN_AT_MOST
                log.exception("%s could not be asked for", name.host, extra={"host": name.host})
            self._asked[name].set()
            await asyncio.sleep(wait)

    async def _find(self, name: Name) -> Found:
        if self._finder is None:
            self._finder = self._make_finder()
        found = await self._finder.find(name)
        judged = [(target, self._refusal(target.address, self._allow)) for target in found.targets]
        refused = {target: why for target, why in judged if why is not None}
        if len(refused) < len(found.targets):
            return replace(found, targets=tuple(target for target in found.targets if target not in refused))
        target, why = next(iter(refused.items()))
        raise NotFoundError(f"{name.host} is at {target.address}: {why}", found.holds)

    def _learn(self, name: Name, targets: tuple[Target, ...]) -> None:
        """The place that stands goes first, as long as it is one of them."""
        before = self._known.get(name)
        if before is not None:
            stays = next((target for target in targets if _place(target) == _place(before[0])), targets[0])
            targets = (stays, *(target for target in targets if target is not stays))
            if set(targets) == set(before) and targets[0] == before[0]:
                return  # another order among the others, as it is drawn anew each time, changes nothing
        self._known[name] = targets
        place = f"{targets[0].address} port {targets[0].port} over {targets[0].transport}"
        log.info("%s is at %s", name.host, place, extra={"host": name.host, "targets": len(targets)})
        self.changed()


def _names(groups: Iterable[GroupMembers]) -> set[Name]:
    return {name for entry in groups for name in names_of(entry.group, entry.members)}


def _place(target: Target) -> tuple[str, int, str]:
    return target.address, target.port, target.transport
