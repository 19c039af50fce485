"""A local copy of one resource type, kept true by list and watch. Knows no resource; what is kept of an object is
``project``'s.

The order of things, on which callers may build:

* ``store`` maps UIDs to projected values. It always is the server's state at one moment: a list goes in as a whole once
  all of its pages were read, and an event when it arrives. Objects are known by UID, so one that was deleted and made
  anew under its name is two objects: the old one goes, the new one comes.
* ``changed(uid, old, new)`` is called after the store holds the new state, synchronously and without yielding to the
  event loop in between; for a list, first all that went (``new`` is None), then all that came or changed, in the list's
  order. Values that compare equal are no change. ``synced`` is set after the calls for the first list.
* Nothing but a believed list or a DELETED event ever takes an object out. While the server is away, refuses (401, 403),
  does not know the resource (404) or says nonsense, the store stays as it was.
* ``run`` ends by cancellation only. ``project`` and ``changed`` must not block.
"""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from switchtender_kube.backoff import Backoff
from switchtender_kube.client import PAGE, Query
from switchtender_kube.clock import boottime
from switchtender_kube.errors import ApiError, Silence, Unreachable, error_of
from switchtender_kube.resources import Json, Resource

T = TypeVar("T")
log = logging.getLogger(__name__)

# Longer than every wait in here together with a request's time: a run without a turn for so long is stuck.
_WEDGED_AFTER = 300.0
# A custom resource is served a moment after its definition was made; nobody wants to wait half a minute for that.
_NOT_SERVED_CAP = 10.0
# An outage does not last longer for us than for the server: who does not answer, or is out of breath, is asked soon.
_AWAY_CAP = 5.0
# Who is refused that often in a row, and not with 410, perhaps is refused for the version that he resumes from.
_RESUMPTIONS = 4
# When to try a periodic list again that failed: it is a check, and the watch serves without it.
_CHECK_AGAIN = 60.0
# A watch that ends sooner failed, whatever it said before: at once again would be a loop as fast as the network.
_SHORT_WATCH = 1.0


class Reads(Protocol):
    """What the reflector needs of a client; see ``Client`` for what each raises."""

    async def get(self, path: str, query: Query | None = None) -> Json:
        """One page of a list."""

    def watch(self, path: str, query: Query | None = None, *, silence: float) -> AsyncGenerator[bytes, None]:
        """The lines of a watch."""


@dataclass(slots=True)
class Stats:
    """Counters since the start, for metrics. ``restarts``: by reason (expired, silence …), each an interruption of the
    watch.
    """

    lists: int = 0
    pages: int = 0
    events: int = 0
    bookmarks: int = 0
    restarts: Counter[str] = field(default_factory=Counter)
    projection_errors: int = 0
    callback_errors: int = 0
    drift: int = 0
    """Objects that a periodic list found to be other than what the watch had told: has to stay 0."""
    doubted: int = 0
    """Lists that were not believed at once."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the reflector is about, and what the server last refused; ``error`` is None while all is well."""

    state: str = "starting"
    """starting | listing | confirming | watching | waiting"""
    error: str | None = None


class _Restart(Exception):  # noqa: N818 - control flow within this module
    """The watch cannot go on as it is. ``reason`` counts in the statistics."""

    def __init__(self, reason: str, text: str, *, relist: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.relist = relist


class Reflector(Generic[T]):
    """Lists, watches and keeps what ``project`` makes of each object; see the module's text for order and atomicity.

    ``namespace`` None: all of them. ``project(raw)`` gives the value to keep, or None to leave the object out; it keeps
    nothing of ``raw`` itself. If it raises, the object keeps its former value. ``resync``: seconds between full lists,
    jittered ±50 %. ``silence``: seconds without a byte before a watch is given up. ``confirm``: at least so many
    seconds lie between a list that looks wrong and the one that decides. ``clock``, ``sleep`` and ``rng`` are for
    virtual time.
    ``confidential``: the objects are Secrets, so no exception of ``project`` or ``changed`` is quoted in the log.
    """

    def __init__(
        self,
        client: Reads,
        resource: Resource,
        *,
        namespace: str | None,
        project: Callable[[Json], T | None],
        changed: Callable[[str, T | None, T | None], None],
        label_selector: str | None = None,
        field_selector: str | None = None,
        name: str | None = None,
        confidential: bool = False,
        page: int = PAGE,
        resync: float = 1200.0,
        silence: float = 70.0,
        confirm: float = 5.0,
        backoff: float = 0.5,
        backoff_cap: float = 30.0,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._path = resource.path(namespace)
        self._selectors: dict[str, str | int | bool | None] = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        self._project = project
        self._changed = changed
        self._confidential = confidential
        self._page = page
        self._resync = resync
        self._silence = silence
        self._confirm = confirm
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._backoff = Backoff(self._rng, backoff, backoff_cap)
        self.name = name or (f"{namespace}/{resource.plural}" if namespace else resource.plural)
        self._log = logging.LoggerAdapter(log, {"watch": self.name})
        self._objects: dict[str, T] = {}
        self.store: Mapping[str, T] = MappingProxyType(self._objects)
        self.synced = asyncio.Event()
        self.stats = Stats()
        self.health = Health()
        self._version: str | None = None
        self._resync_at = 0.0
        self._unreadable: set[str] = set()
        self._complained_of: str | None = None
        self._failing: str | None = None
        self._heard_at = self._turned_at = clock()

    @property
    def idle(self) -> float:
        """Seconds since the server last said anything; since it was made, if it never did."""
        return self._clock() - self._heard_at

    @property
    def wedged(self) -> bool:
        """Whether ``run`` itself is stuck (or was never started): for liveness, whatever the server does."""
        return self._clock() - self._turned_at > _WEDGED_AFTER

    async def run(self) -> None:
        """List and watch until cancelled; nothing the server or the callbacks do makes it raise."""
        while True:
            self._turned_at = self._clock()
            try:
                if self._version is None or self._clock() >= self._resync_at:
                    await self._synchronize()
                await self._watch()
            except ApiError as error:
                self._count(_reason_of(error))
                if error.expired or self._backoff.failures >= _RESUMPTIONS:
                    self._version = None
                await self._wait(error, self._backoff.next(retry_after=error.retry_after, cap=_cap(error)))
            except (Unreachable, _Restart) as error:
                self._count(_reason_of(error))
                # A server that was restored from a backup is silent on a watch from what is now the future.
                silent_again = isinstance(error, Silence) and self._backoff.failures > 0
                if silent_again or (isinstance(error, _Restart) and error.relist):
                    self._version = None
                await self._wait(error, self._backoff.next(cap=_AWAY_CAP if isinstance(error, Unreachable) else None))
            except Exception as error:  # noqa: BLE001 - logged, and gone on from
                # A fault of ours: say where, and begin from a list, whatever state it left.
                self._count("internal")
                self._version = None
                self._log.error(
                    "%s: unexpected %s, starting over with a list",
                    self.name, type(error).__name__, exc_info=not self._confidential,
                )  # fmt: skip
                await self._wait(error, self._backoff.next())

    def _count(self, reason: str) -> None:
        """Count an interruption. One of another kind than the last is a first one: a server that comes back refuses
        everybody for a moment (403, 429), and how long it was away says nothing of how long that lasts.
        """
        self.stats.restarts[reason] += 1
        if reason != self._failing:
            self._failing = reason
            self._backoff.reset()

    async def _wait(self, error: Exception, seconds: float) -> None:
        text = str(error) or type(error).__name__
        self.health = Health("waiting", text)
        kind = f"{type(error).__name__} {getattr(error, 'status', '')}{getattr(error, 'reason', '')}"
        if kind != self._complained_of and not (isinstance(error, ApiError) and error.expired):
            self._complained_of = kind
            # A watch of one object on a quiet server may get its bookmark a little late: no news for a person yet.
            level = logging.INFO if isinstance(error, Silence) else logging.WARNING
            self._log.log(level, "%s: %s; what is known stays (%d objects)", self.name, text, len(self._objects))
        await self._sleep(seconds)

    def _well(self) -> None:
        """The server serves us: the next failure is a first one again."""
        self._backoff.reset()
        if self._complained_of is not None:
            self._complained_of = None
            self._log.info("%s: going on", self.name)
        if self.health.error is not None:
            self.health = Health(self.health.state)

    # --- list -------------------------------------------------------------------------------------------------

    async def _synchronize(self) -> None:
        """Take the server's state, whole. A periodic list is read as of the watch's own version, so a difference is a
        fault.
        """
        known = self._version
        self.health = Health("listing", self.health.error)
        if known is None:
            listed, version = await self._list(None)
        else:
            self._resync_at = self._clock() + _CHECK_AGAIN
            try:
                listed, version = await self._list(known)
            except ApiError as error:
                if error.status in {401, 403, 404} or error.throttled:
                    raise
                known = None  # that version is not to be had any more
                listed, version = await self._list(None)
        if self._doubtful(len(listed)):
            self.stats.doubted += 1
            self._log.warning(
                "%s: a list of %d against %d known objects; what is missing in it stays until a second list",
                self.name, len(listed), len(self._objects),
            )  # fmt: skip
            self._take({**self._objects, **listed})
            self.health = Health("confirming", self.health.error)
            await self._sleep(self._confirm * self._rng.uniform(1.0, 2.0))
            known = None
            listed, version = await self._list(None)
        difference = self._take(listed)
        if known is not None and difference:
            self.stats.drift += difference
            self._log.error("%s: %d objects were other than the watch had told", self.name, difference)
        self._version = version
        self._resync_at = self._clock() + self._resync * self._rng.uniform(0.5, 1.5)
        self.stats.lists += 1
        self.health = Health("listing")
        self.synced.set()

    def _doubtful(self, listed: int) -> bool:
        """Whether a list is too short to be believed at once: empty, or less than half of what is known (≥ 10)."""
        known = len(self._objects)
        return known > 0 and (listed == 0 or (known >= 10 and listed < known / 2))

    async def _list(self, at: str | None) -> tuple[dict[str, T], str]:
        """Read all pages; each is projected and dropped before the next. The values by UID, and the list's version.

        ``at``: exactly that version. A continue token that expired (410) raises as any 410 does: the list starts over.
        """
        listed: dict[str, T] = {}
        token: str | None = None
        exact = {} if at is None else {"resourceVersion": at, "resourceVersionMatch": "Exact"}
        while True:
            query: dict[str, str | int | bool | None] = {**self._selectors, "limit": self._page, "continue": token}
            page = await self._client.get(self._path, query if token else {**query, **exact})
            self.stats.pages += 1
            self._heard_at = self._turned_at = self._clock()
            metadata = page.get("metadata") or {}
            for raw in page.get("items") or ():
                uid = raw["metadata"]["uid"]
                value = self._projected(uid, raw)
                if value is not None:
                    # The value that is known already, if it is the same: a list then costs no second copy of the store.
                    known = self._objects.get(uid)
                    listed[uid] = known if known is not None and known == value else value
            token = metadata.get("continue")
            if not token:
                return listed, str(metadata["resourceVersion"])

    def _take(self, listed: dict[str, T]) -> int:
        """Make the store what was listed, then tell of each difference. How many there were."""
        gone = [(uid, old) for uid, old in self._objects.items() if uid not in listed]
        came = [(uid, old, new) for uid, new in listed.items() if (old := self._objects.get(uid)) is None or old != new]
        for uid, _ in gone:
            del self._objects[uid]
        self._unreadable.difference_update(uid for uid, _ in gone)
        self._objects.update(listed)
        for uid, old in gone:
            self._tell(uid, old, None)
        for uid, before, new in came:
            self._tell(uid, before, new)
        return len(gone) + len(came)

    # --- watch ------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow one watch to its end; returns when the server ended it in order."""
        began = self._clock()
        query: dict[str, str | int | bool | None] = {
            **self._selectors,
            "resourceVersion": self._version,
            "allowWatchBookmarks": True,
            # Spread, or every watch of every replica ends at the same time, ever after.
            "timeoutSeconds": self._rng.randint(240, 360),
        }
        self.health = Health("watching", self.health.error)
        async with aclosing(self._client.watch(self._path, query, silence=self._silence)) as lines:
            async for line in lines:
                self._heard_at = self._turned_at = self._clock()
                self._event(line)
                self._well()
        self._turned_at = self._clock()
        if self._clock() - began < _SHORT_WATCH:
            raise _Restart("short", "the watch ended at once")
        self._well()

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, raw = event["type"], event["object"]
            if kind == "ERROR":
                raise error_of(int(raw.get("code") or 500), raw)
            uid, version = raw["metadata"].get("uid"), raw["metadata"]["resourceVersion"]
        except (ValueError, KeyError, TypeError, AttributeError):
            # What stood in that line is lost, so the version behind it must not be resumed from.
            raise _Restart("garbled", "an event that cannot be read", relist=True) from None
        if kind == "BOOKMARK":
            self.stats.bookmarks += 1
        elif kind in {"ADDED", "MODIFIED", "DELETED"} and uid:
            self.stats.events += 1
            self._keep(uid, None if kind == "DELETED" else self._projected(uid, raw), gone=kind == "DELETED")
        else:
            raise _Restart("garbled", f"an event of unknown type {kind!r}", relist=True)
        self._version = str(version)

    def _keep(self, uid: str, new: T | None, *, gone: bool) -> None:
        old = self._objects.get(uid)
        if new is None:
            self._objects.pop(uid, None)
        else:
            self._objects[uid] = new
        if gone:
            self._unreadable.discard(uid)
        if old is not None or new is not None:
            if old is not None and old == new:
                return
            self._tell(uid, old, new)

    # --- what is the caller's ---------------------------------------------------------------------------------

    def _projected(self, uid: str, raw: Json) -> T | None:
        try:
            value = self._project(raw)
        except Exception:  # noqa: BLE001 - it is the caller's code
            # One object that nobody foresaw must not blind us for all others.
            self.stats.projection_errors += 1
            if uid not in self._unreadable:
                self._unreadable.add(uid)
                self._fault("%s: object %s cannot be read; its former value stays", _label(raw))
            return self._objects.get(uid)
        self._unreadable.discard(uid)
        return value

    def _tell(self, uid: str, old: T | None, new: T | None) -> None:
        try:
            self._changed(uid, old, new)
        except Exception:  # noqa: BLE001 - it is the caller's code
            self.stats.callback_errors += 1
            self._fault("%s: telling of %s failed", uid)

    def _fault(self, text: str, what: str) -> None:
        """Log the exception that is being handled, unless it may quote what nobody must read."""
        self._log.error(text, self.name, what, exc_info=not self._confidential)


def _reason_of(error: ApiError | Unreachable | _Restart) -> str:
    """A short name for statistics, one of few."""
    if isinstance(error, _Restart):
        return error.reason
    if isinstance(error, Unreachable):
        return "silence" if isinstance(error, Silence) else "unreachable"
    return "expired" if error.expired else "throttled" if error.throttled else f"http-{error.status}"


def _cap(error: ApiError) -> float | None:
    """The longest wait after an answer that is no success, None for the reflector's own."""
    if error.status == 404:
        return _NOT_SERVED_CAP
    return _AWAY_CAP if error.throttled or error.status >= 500 else None


def _label(raw: Mapping[str, Any]) -> str:
    metadata = raw.get("metadata") or {}
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
