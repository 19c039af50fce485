"""Leader election on a Lease (coordination.k8s.io/v1), made so that no two ever act. Knows nothing of what a leader
does.

Three clocks' worth of care (``duration`` > ``renew_deadline`` > ``retry``):

* We hold the right until ``renew_deadline`` seconds after the *start* of our last renewal that succeeded, by our own
  clock that neither the wall clock's jumps nor a suspend nor a frozen event loop can fool: ``is_leader`` compares
  clocks when it is asked, it waits for no task to notice.
* Another takes over when the record did not change for the lease's ``duration`` by *its* own clock since it saw it, and
  its update is conditional on the very version it saw. It saw the record after we began to write it, so it is
  ``duration − renew_deadline`` seconds behind us at least: the time that requests already sent have to end in
  (``remaining``).
* The times in the record are for people; nobody decides by them.
"""

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Protocol

from switchtender_kube.client import Query
from switchtender_kube.clock import boottime
from switchtender_kube.errors import ApiError, Conflict, Unreachable
from switchtender_kube.resources import Json, Resource

log = logging.getLogger(__name__)
LEASES = Resource("coordination.k8s.io", "v1", "leases")
# Giving the lease back is a courtesy; who is in a hurry to stop does not wait longer for it.
_RELEASE_TIMEOUT = 3.0
# A record that a person or another program wrote may grant years; no release of ours asks for more than this.
_LONGEST_GRANT = 60.0
# An int32; the API server refuses a record with more.
_MOST_TRANSITIONS = 2**31 - 1


class Records(Protocol):
    """What the elector needs of a client; see ``Client``."""

    async def get(self, path: str, query: Query | None = None, *, timeout: float) -> Json:  # noqa: ASYNC109
        """The Lease."""

    async def create(self, path: str, body: Json, *, timeout: float) -> Json:  # noqa: ASYNC109
        """A new Lease."""

    async def replace(self, path: str, body: Json, *, timeout: float) -> Json:  # noqa: ASYNC109
        """The Lease, if its version is still the body's."""

    def watch(self, path: str, query: Query | None = None, *, silence: float) -> AsyncGenerator[bytes, None]:
        """The lines of a watch."""


class Leadership:
    """The right to write, as a fence for the client's writes: ``leadership()`` now, ``remaining()`` for how long at
    most.
    """

    def __init__(self, clock: Callable[[], float], duration: float, renew_deadline: float) -> None:
        self._clock = clock
        self._duration = duration
        self._renew_deadline = renew_deadline
        self._renewed_at: float | None = None

    def __call__(self) -> bool:
        """Whether we may write now."""
        return self.until_deadline() > 0

    def until_deadline(self) -> float:
        """Seconds until we must have renewed; ≤ 0 when we lead no more."""
        return 0.0 if self._renewed_at is None else self._renewed_at + self._renew_deadline - self._clock()

    def remaining(self) -> float:
        """Seconds until another may lead: what a request of ours may last."""
        return 0.0 if self._renewed_at is None else self._renewed_at + self._duration - self._clock()

    def renewed(self, at: float) -> None:
        """A renewal that began ``at`` succeeded."""
        self._renewed_at = at if self._renewed_at is None else max(at, self._renewed_at)

    def end(self) -> None:
        """We lead no more, as of now."""
        self._renewed_at = None


class Elector:
    """One contender for one Lease. ``identity`` must be unique for each run of each process (pod name + random).

    ``is_leader()`` is false as soon as the renew deadline has passed; it is a ``Fence`` as well:
    ``fence=elector.is_leader``. Times in seconds. ``clock``, ``sleep``, ``rng`` and ``wall`` (for the times people
    read) are for virtual time.
    """

    def __init__(
        self,
        client: Records,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry: float = 2.0,
        silence: float = 70.0,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not _LONGEST_GRANT >= duration > renew_deadline > retry > 0:
            raise ValueError(f"{_LONGEST_GRANT:g} ≥ duration > renew_deadline > retry > 0 has to hold")
        if not identity:
            raise ValueError("an empty identity means that nobody holds the lease")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._log = logging.LoggerAdapter(log, {"lease": f"{namespace}/{name}"})
        self.identity = identity
        self._path = LEASES.path(namespace, name)
        self._collection = LEASES.path(namespace)
        self._duration = duration
        self._renew_deadline = renew_deadline
        self._retry = retry
        self._silence = silence
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._wall = wall
        self.is_leader = Leadership(clock, duration, renew_deadline)
        self._lease: Json | None = None
        self._seen_at = clock()
        self._news = asyncio.Event()
        self._complained_of: str | None = None

    def remaining(self) -> float:
        """Seconds until another may lead; ≤ 0 when we do not."""
        return self.is_leader.remaining()

    @property
    def holder(self) -> str | None:
        """Who held the lease when we last saw it; None if nobody."""
        return (self._spec().get("holderIdentity") or None) if self._lease is not None else None

    async def run(self, on_started: Callable[[], Awaitable[None]], on_stopped: Callable[[], Awaitable[None]]) -> None:
        """Contend until cancelled; after a loss, again.

        ``on_started`` runs as a task of its own while we lead and is cancelled when we do not any more; it may also
        return early. ``on_stopped`` is awaited once after it ended, each time. When ``run`` is cancelled, both come
        first, then the lease is given back. If ``on_started`` raises, the lease is given back and ``run`` raises that.
        No answer of the server does.
        """
        watching = asyncio.create_task(self._follow(), name=f"lease {self._name}")
        try:
            while True:
                await self._acquire()
                await self._lead(on_started, on_stopped)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    # --- not leading ------------------------------------------------------------------------------------------

    async def _acquire(self) -> None:
        """Wait until the lease is ours. A poll every ``retry`` seconds sees what a dead watch does not."""
        while True:
            self._news.clear()
            try:
                self._read(await self._client.get(self._path, timeout=self._renew_deadline / 2))
                if self._free() and await self._write(self._taken()):
                    return
            except ApiError as error:
                # A lease that somebody deleted still binds who held it until its time is over.
                if error.status != 404:
                    self._complain(error)
                elif (self._lease is None or self._free()) and await self._create():
                    return
            except Unreachable as error:
                self._complain(error)
            await self._nap(self._pause())

    def _pause(self) -> float:
        """Until the next look: a jittered ``retry``, or sooner when the record runs out before."""
        pause = self._retry * self._rng.uniform(1.0, 1.2)
        left = (
            self._seen_at + self._granted() - self._clock() if self._lease is not None and not self._free() else pause
        )
        # Contenders that saw the same record must not all come at the same moment.
        return max(0.05, min(pause, left + self._rng.uniform(0.0, 0.2)))

    async def _nap(self, seconds: float) -> None:
        """Sleep, or less when the watch has news of a lease that is free."""
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        waking = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
            await asyncio.gather(sleeping, waking, return_exceptions=True)

    async def _follow(self) -> None:
        """Watch the one Lease, so that a release is seen at once. Without the right to watch the poll has to do."""
        query: dict[str, str | int | bool | None] = {"fieldSelector": f"metadata.name={self._name}"}
        while True:
            try:
                timeout = {"timeoutSeconds": self._rng.randint(240, 360), "allowWatchBookmarks": True}
                stream = self._client.watch(self._collection, {**query, **timeout}, silence=self._silence)
                async with aclosing(stream) as lines:
                    async for line in lines:
                        event = json.loads(line)
                        if event["type"] in {"ADDED", "MODIFIED"}:
                            self._observe(event["object"])
                        elif event["type"] == "DELETED":
                            self._news.set()
                        elif event["type"] == "ERROR":
                            break
            except (ApiError, Unreachable, ValueError, KeyError, TypeError, AttributeError) as error:
                self._log.debug("the watch on the lease ended: %s", error)
            await self._sleep(self._retry * self._rng.uniform(1.0, 2.0))

    def _observe(self, lease: Json) -> None:
        """Take note of a record that may be of any age, from the watch or in an answer; an older one tells nothing."""
        if self._lease is None or _newer(lease, self._lease):
            self._read(lease)

    def _read(self, lease: Json) -> None:
        """Take note of the record as it is now. Only one that *changed* starts the clock anew.

        Its version may be lower than the one we knew, where the server was restored from a backup: who insisted on what
        it knew would write against a version that is not there any more, for ever.
        """
        known = self._lease
        changed = known is None or (lease.get("spec") or {}) != (known.get("spec") or {})
        self._lease = lease
        if changed:
            self._seen_at = self._clock()
            if self._free():
                self._news.set()

    def _free(self) -> bool:
        """Whether we may try: nobody holds it, we do ourselves, or its record did not change for as long as it was
        granted.
        """
        return self.holder in {None, self.identity} or self._clock() >= self._seen_at + self._granted()

    def _granted(self) -> float:
        """What the record grants its holder, in seconds, within reason."""
        granted = self._spec().get("leaseDurationSeconds")
        return min(float(granted), _LONGEST_GRANT) if isinstance(granted, int) and granted > 0 else self._duration

    def _spec(self) -> Json:
        spec = (self._lease or {}).get("spec")
        return spec if isinstance(spec, dict) else {}

    # --- leading ----------------------------------------------------------------------------------------------

    async def _lead(self, on_started: Callable[[], Awaitable[None]], on_stopped: Callable[[], Awaitable[None]]) -> None:
        self._log.info("leading by lease %s/%s as %s", self._namespace, self._name, self.identity)
        acting = asyncio.ensure_future(_as_coroutine(on_started))
        renewing = asyncio.create_task(self._renew())
        release = False
        try:
            await asyncio.wait({acting, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if acting.done() and not acting.cancelled() and acting.exception() is not None:
                release = True
                acting.result()
            await renewing
        except asyncio.CancelledError:
            release = True
            raise
        finally:
            self.is_leader.end()
            renewing.cancel()
            acting.cancel()
            await asyncio.gather(renewing, acting, return_exceptions=True)
            self._log.info("not leading any more by lease %s/%s", self._namespace, self._name)
            try:
                await on_stopped()
            finally:
                if release:
                    await self._release()

    async def _renew(self) -> None:
        """Renew until that fails for too long or another holds the lease."""
        began = self._clock()
        while True:
            # From attempt to attempt, not from answer to attempt: a slow server leaves no time to wait as well.
            pause = began + self._retry * self._rng.uniform(1.0, 1.2) - self._clock()
            await self._sleep(max(0.0, min(pause, self.is_leader.until_deadline())))
            began = self._clock()
            if not self.is_leader():
                self._log.warning("lease %s/%s could not be renewed in time", self._namespace, self._name)
                return
            try:
                # The watch may have told of another holder already: its record must not be renewed by us.
                if self.holder == self.identity and await self._write(self._renewed()):
                    continue
                # Somebody wrote it; perhaps we did, and never got the answer.
                self._read(await self._client.get(self._path, timeout=self._attempt()))
                if self.holder != self.identity:
                    self._log.warning("lease %s/%s is held by %s", self._namespace, self._name, self.holder)
                    return
                await self._write(self._renewed())
            except ApiError as error:
                if error.status == 404 and await self._create():
                    continue
                self._complain(error)
            except Unreachable as error:
                self._complain(error)

    def _attempt(self) -> float:
        """Time for one request: half of the deadline, so that a second attempt fits, and never past the deadline."""
        left = self.is_leader.until_deadline()
        return min(self._renew_deadline / 2, left) if left > 0 else self._renew_deadline / 2

    # --- the record -------------------------------------------------------------------------------------------

    def _now(self) -> str:
        """MicroTime: RFC 3339 with six digits, in UTC."""
        return self._wall().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _renewed(self) -> Json:
        return {**self._spec(), "leaseDurationSeconds": round(self._duration), "renewTime": self._now()}

    def _taken(self) -> Json:
        spec = {**self._renewed(), "holderIdentity": self.identity}
        if self.holder != self.identity:
            spec["acquireTime"] = spec["renewTime"]
            former = spec.get("leaseTransitions")
            spec["leaseTransitions"] = min(former + 1, _MOST_TRANSITIONS) if isinstance(former, int) else 1
        return spec

    async def _write(self, spec: Json) -> bool:
        """Write the record if it still is the one we know. False: it is not. Success makes us the leader from its start
        on.
        """
        lease = {**(self._lease or {}), "spec": spec}
        began = self._clock()
        try:
            answer = await self._client.replace(self._path, lease, timeout=self._attempt())
        except Conflict:
            return False
        self._won(answer, began)
        return True

    async def _create(self) -> bool:
        now = self._now()
        body = {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": round(self._duration),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        began = self._clock()
        try:
            answer = await self._client.create(self._collection, body, timeout=self._attempt())
        except (ApiError, Unreachable) as error:
            if not (isinstance(error, ApiError) and error.reason == "AlreadyExists"):
                self._complain(error)
            return False
        self._lease = None  # the one we knew is gone, and versions of two objects are not compared
        self._won(answer, began)
        return True

    def _won(self, answer: Json, began: float) -> None:
        self._observe(answer)
        self.is_leader.renewed(began)
        self._complained_of = None

    async def _release(self) -> None:
        """Give it back, if it still is ours, so that the next one need not wait."""
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                # A renewal that was under way when we were stopped may have made our version an old one.
                while self.holder == self.identity and not await self._give_back():
                    self._read(await self._client.get(self._path, timeout=_RELEASE_TIMEOUT))
        except (ApiError, Unreachable, TimeoutError) as error:
            self._log.warning("lease %s/%s was not given back: %s", self._namespace, self._name, error)

    async def _give_back(self) -> bool:
        now = self._now()
        times = {"leaseDurationSeconds": 1, "acquireTime": now, "renewTime": now}
        lease = {**(self._lease or {}), "spec": {**self._spec(), "holderIdentity": "", **times}}
        try:
            await self._client.replace(self._path, lease, timeout=_RELEASE_TIMEOUT)
        except Conflict:
            return False
        return True

    def _complain(self, error: Exception) -> None:
        kind = f"{type(error).__name__} {getattr(error, 'status', '')}"
        if kind != self._complained_of:
            self._complained_of = kind
            self._log.warning("lease %s/%s: %s", self._namespace, self._name, error)


def _newer(lease: Json, known: Json) -> bool:
    """Whether a record is of another object or a later version; versions of one resource are ordered numbers."""
    metadata, before = lease.get("metadata") or {}, known.get("metadata") or {}
    if metadata.get("uid") != before.get("uid"):
        return True
    try:
        return int(metadata["resourceVersion"]) > int(before["resourceVersion"])
    except (KeyError, ValueError):
        return bool(metadata.get("resourceVersion") != before.get("resourceVersion"))


async def _as_coroutine(start: Callable[[], Awaitable[None]]) -> None:
    await start()
