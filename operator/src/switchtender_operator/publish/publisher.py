"""Carries out a plan: sets by server-side apply, deletions, status, Events. Decides nothing, remembers nothing of it.

Every write waits for its turn (a bounded rate, and the API server's Retry-After), and is fenced: it does not leave this
process unless the process still leads. A set carries the resourceVersion that it was planned from, so that even a write
that was long under way cannot undo what another leader did since.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from switchtender_api.constants import API_VERSION, GROUP, VERSION
from switchtender_kube import ApiError, Client, Json, NotLeader, Resource, Unreachable, WriteLimiter
from switchtender_operator.domain.events import EventNote
from switchtender_operator.domain.plan import DesiredSet, Plan
from switchtender_operator.domain.world import GroupObject, SetObject
from switchtender_operator.publish.events import EVENTS, EventGate, event

log = logging.getLogger(__name__)

SETS = Resource(GROUP, VERSION, "destinationsets")
GROUPS = Resource(GROUP, VERSION, "balancergroups")
SECRETS = Resource("", "v1", "secrets")

FIELD_MANAGER = "switchtender-operator"
STATUS_FIELD_MANAGER = "switchtender-operator-status"

_REFUSED = frozenset({400, 403, 404, 405, 413, 415, 422})
_LONGEST_ERROR = 300


class Written(Protocol):
    """Told what the API server answered to a write, before any watch tells of it."""

    def set_written(self, raw: Json) -> None:
        """A DestinationSet was applied."""

    def set_deleted(self, uid: str) -> None:
        """A DestinationSet was deleted, or was gone already."""

    def status_written(self, key: str, raw: Json) -> None:
        """A BalancerGroup's status was applied; the answer is the group."""


class PublishError(Exception):
    """Some of a plan could not be written; `retry_after` in seconds is what the API server asked for at least."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(what)
        self.retry_after = retry_after


@dataclass(slots=True)
class _Failures:
    first: str = ""
    count: int = 0
    retry_after: float = 0.0

    def add(self, what: str, error: ApiError | Unreachable) -> None:
        text = str(error)
        self.first = self.first or f"{what}: {text[:_LONGEST_ERROR]}"
        self.count += 1
        if isinstance(error, ApiError) and error.retry_after is not None:
            self.retry_after = max(self.retry_after, error.retry_after)


class Publisher:
    """Writes on behalf of the leader; `fence` is asked right before each write."""

    def __init__(
        self,
        client: Client,
        limiter: WriteLimiter,
        *,
        fence: Callable[[], bool],
        written: Written,
        counted: Callable[[str, str], None],
        instance: str,
        clock: Callable[[], float],
        gate: EventGate | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._limiter = limiter
        self._fence = fence
        self._written = written
        self._counted = counted
        self._instance = instance
        self._clock = clock
        self._gate = gate if gate is not None else EventGate()
        self._wall = wall

    async def publish(
        self, group: GroupObject, plan: Plan, known: dict[str, SetObject], wanted: Callable[[], bool]
    ) -> None:
        """Write what the plan says, as much of it as can be.

        `known` are the sets by name that the plan was made from; `wanted` says whether the group is still there, under
        this uid, right before a set is written; before one is created the API server is asked, too. Raises PublishError
        when something could not be written, NotLeader at once when this process does not lead any more.
        """
        failures = _Failures()
        for desired in plan.apply:
            if not wanted():
                return
            if desired.name not in known:
                try:
                    if not await self._alive(group):
                        return
                except (ApiError, Unreachable) as error:
                    failures.add("group", error)
                    break
            await self._attempt("set", failures, self._apply(group, desired, known.get(desired.name)))
        for old in plan.delete:
            await self._attempt("set_delete", failures, self._delete(old))
        if plan.status is not None:
            await self._attempt("status", failures, self._status(group, plan.status))
        elif plan.empty:
            self._counted("set", "suppressed")
        for note in plan.events:
            await self.tell(group, note)
        if failures.count:
            more = f" (and {failures.count - 1} more)" if failures.count > 1 else ""
            raise PublishError(failures.first + more, failures.retry_after)

    async def create_once(self, namespace: str, body: Json) -> bool:
        """Create a Secret unless there is one of its name; whether it was created.

        Raises ApiError, Unreachable, NotLeader.
        """
        try:
            await self._write(lambda: self._client.create(SECRETS.path(namespace), body, fence=self._fence))
        except ApiError as error:
            if error.reason == "AlreadyExists" or (error.status == 409 and not error.reason):
                self._counted("secret", "suppressed")
                return False
            self._counted("secret", result_of(error))
            raise
        except Unreachable as error:
            self._counted("secret", result_of(error))
            raise
        self._counted("secret", "applied")
        return True

    async def _attempt(self, kind: str, failures: _Failures, write: Awaitable[None]) -> None:
        """Do one write of several: a failure is noted, and the others still have their turn."""
        try:
            await write
        except (ApiError, Unreachable) as error:
            self._counted(kind, result_of(error))
            failures.add(kind, error)
        else:
            self._counted(kind, "applied")

    async def _apply(self, group: GroupObject, desired: DesiredSet, known: SetObject | None) -> None:
        body = desired.body
        if known is not None and known.resource_version:
            metadata = {**body["metadata"], "uid": known.uid, "resourceVersion": known.resource_version}
            body = {**body, "metadata": metadata}
        path = SETS.path(group.namespace, desired.name)
        answer = await self._write(
            lambda: self._client.apply(path, body, field_manager=FIELD_MANAGER, fence=self._fence)
        )
        self._written.set_written(answer)

    async def _alive(self, group: GroupObject) -> bool:
        """Ask whether the group is there, under this uid: a watch that lags may not know yet that it is gone."""
        try:
            found = await self._client.get(GROUPS.path(group.namespace, group.name))
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return bool(found["metadata"]["uid"] == group.uid)

    async def _delete(self, old: SetObject) -> None:
        path = SETS.path(old.namespace, old.name)
        try:
            await self._write(
                lambda: self._client.delete(
                    path, uid=old.uid, resource_version=old.resource_version or None, fence=self._fence
                )
            )
        except ApiError as error:
            if error.status != 404:
                raise
        self._written.set_deleted(old.uid)

    async def _status(self, group: GroupObject, status: dict[str, Any]) -> None:
        body = {
            "apiVersion": API_VERSION,
            "kind": "BalancerGroup",
            "metadata": {"name": group.name, "namespace": group.namespace, "uid": group.uid},
            "status": status,
        }
        path = GROUPS.path(group.namespace, group.name, "status")
        try:
            answer = await self._write(
                lambda: self._client.apply(path, body, field_manager=STATUS_FIELD_MANAGER, fence=self._fence)
            )
        except ApiError as error:
            if error.status == 404:  # the group went meanwhile, and its status with it
                return
            raise
        self._written.status_written(group.key, answer)

    async def tell(self, group: GroupObject, note: EventNote) -> None:
        """Log what changed and send it as an Event, once: one that is lost is no reason to try the plan again."""
        if not self._gate.admits(group.uid, note.reason, note.message, self._clock()):
            self._counted("event", "suppressed")
            return
        body = event(
            namespace=group.namespace,
            name=group.name,
            uid=group.uid,
            kind=note.type,
            reason=note.reason,
            note=note.message,
            instance=self._instance,
            at=self._wall(),
        )
        level = logging.WARNING if note.type == "Warning" else logging.INFO
        log.log(level, "%s", body["note"], extra={"group": group.key, "reason": note.reason})
        try:
            await self._write(lambda: self._client.create(EVENTS.path(group.namespace), body, fence=self._fence))
        except (ApiError, Unreachable) as error:
            self._counted("event", result_of(error))
            log.debug("an Event was not taken", extra={"group": group.key, "error": str(error)[:_LONGEST_ERROR]})
        else:
            self._counted("event", "applied")

    async def _write(self, write: Callable[[], Awaitable[Json]]) -> Json:
        if not self._fence():
            raise NotLeader
        return await self._limiter.call(write)


def result_of(error: ApiError | Unreachable) -> str:
    """Return the result under which a failed write is counted."""
    if isinstance(error, Unreachable):
        return "failed"
    if error.status == 409:
        return "conflict"
    return "refused" if error.status in _REFUSED else "failed"
