"""The balancer in Kubernetes: what is seen of the cluster becomes the plan in force, again whenever it changes.

One assembly at a time, in the event loop; what comes meanwhile is for the next one. Losing the API server changes
nothing here: no event comes, and what is in force stays. A start without it goes by the last good snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from switchtender._core import ConfigError
from switchtender.config import assembly as assemblies
from switchtender.config.assembly import Assembly, Memory, Version, assemble, with_refused
from switchtender.config.destination_sets import Key, SeenSet
from switchtender.config.last_good import FILE, LastGood, dump
from switchtender.config.plan import EslTarget, Plan
from switchtender.config.snapshot import GroupMembers
from switchtender.config.state_dir import StateDir, TokenKey
from switchtender.control.balancer import Balancer
from switchtender.control.passwords import Passwords, SecretKey
from switchtender.sources.kubernetes import SecretSource, SetSource
from switchtender.telemetry.journal import Place
from switchtender_api.loader import Documents
from switchtender_api.v1alpha1.units import IpAddress
from switchtender_kube import Reflector

log = logging.getLogger(__name__)

_SETTLE = 0.02
"""Seconds in which events that belong together come in."""
_LOOK = 0.5
"""Seconds between two looks at what no event tells: that nobody can be asked for a password, that a doubt is over."""
_PATIENCE = 2.0
"""Seconds that the API server may take to answer for a Secret before we go without."""
_DOUBT = 10.0
"""Seconds for which a first list is doubted that is empty, or less than half, against the last good snapshot."""
_MANY = 10
"""Sets of the last good snapshot from which on less than half is too little."""
_QUIET = 1.0
"""Seconds between a change and the snapshot that is written of it."""
_SHOWN = 10
"""Unknown fields that a log line names."""

_GROUP_POINTER = re.compile(r"/groups/([0-9]+)(?:/|$)")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a start brings along: the last good snapshot (empty where there is none), the addresses of the Services that
    the node side advertises, the addresses where no node may be, and the balancer's own Secrets.
    """

    last_good: LastGood = field(default_factory=LastGood)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forbidden: Collection[IpAddress] = frozenset()
    reserved: Container[tuple[str, str]] = frozenset()


class Outcomes(Protocol):
    """Keeps count."""

    def succeeded(self, at: float) -> None:
        """All that is known is in force, since ``at`` (seconds since the epoch)."""

    def failed(self) -> None:
        """Some of it, or all, is not."""


class Cluster:
    """Follows the cluster for one ``balancer``. ``changed()`` whenever something was seen; ``run()`` does the rest.

    ``outcomes`` are told of each attempt to put something new in force.
    """

    def __init__(
        self,
        balancer: Balancer,
        documents: Documents,
        facts: Facts,
        state_dir: StateDir,
        *,
        sets: SetSource[SeenSet],
        secrets: SecretSource,
        clock: Callable[[], float],
        outcomes: Outcomes,
    ) -> None:
        self.balancer = balancer
        self.documents = documents
        self.assembly = Assembly((), (), {}, Memory())
        self.sets = sets
        self._facts = facts
        self._place = assemblies.Place(documents.config, facts.forbidden, facts.reserved)
        self._state_dir = state_dir
        self._secrets = secrets
        self._clock = clock
        self._outcomes = outcomes
        self._passwords = Passwords()
        self._restored = frozenset(seen.group_uid for seen in facts.last_good.sets)
        self._asked_at: dict[tuple[str, str], float] = {}
        self._synced_at: dict[str | None, float] = {}
        self._wanted = asyncio.Event()
        self._unsaved = asyncio.Event()
        self._saving = threading.Lock()
        self._saved: tuple[Version, ...] | None = None
        self._applied: tuple[Plan, tuple[TokenKey, ...]] | None = None
        self._told: frozenset[tuple[str, str | None, int | None]] | None = None
        self._unknown: dict[str, tuple[str, ...]] = {}
        sets.listener, secrets.listener = self.saw, self.changed
        for seen in self.known():
            self.saw(seen)

    def changed(self) -> None:
        """Something of what is followed changed."""
        self._wanted.set()

    def saw(self, seen: SeenSet | None) -> None:
        """A set changed; None: it is gone."""
        self.changed()
        if seen is not None and seen.unknown != self._unknown.get(seen.uid, ()):
            self._unknown[seen.uid] = seen.unknown
            extra = {"namespace": seen.namespace, "set": seen.name, "fields": list(seen.unknown[:_SHOWN])}
            log.info("fields that this version does not know are left out", extra=extra)

    def use_keys(self, keys: tuple[TokenKey, ...]) -> None:
        """Sign with the first of these from now on and verify with all."""
        self._state_dir.keep_keys(keys)
        self.balancer.keys = keys
        self.changed()

    def use_config(self, documents: Documents) -> None:
        """Go by this BalancerConfig from now on."""
        self.documents = documents
        self._place = assemblies.Place(documents.config, self._facts.forbidden, self._facts.reserved)
        self.changed()

    @property
    def age(self) -> float:
        """Seconds since the sets in force were last known to be the newest ones."""
        if self._all_believed():
            return max(reflector.idle for reflector in self.sets.scopes.values())
        return max(0.0, time.time() - self._facts.last_good.saved_at)

    def known(self) -> list[SeenSet]:
        """The sets to go by: of each scope those of the API server, until it told of them those of the snapshot."""
        return list(self._known())

    async def run(self) -> None:
        """Put in force what is seen, and keep it for a restart, until canceled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep())
            tasks.create_task(self._follow())

    async def take_up(self) -> None:
        """Put what is known now in force; whatever goes wrong with it, what was in force before stays."""
        try:
            await self._take_up()
        except Exception:
            # Not even a fault of ours, met in an object that nobody foresaw, may end a process that serves calls.
            log.exception("what the cluster says could not be taken up")
            self._outcomes.failed()

    async def _take_up(self) -> None:
        """A group that the packet core refuses stays at its policy before."""
        memory, known = self.assembly.memory, self.known()
        for _ in range(len(known) + 1):
            assembly = assemble(known, self._place, memory)
            plan = Plan(self.documents, assembly.groups, self._esl(assembly.groups))
            try:
                await self._apply(plan)
            except ConfigError as error:
                culprit = _culprit(assembly, error)
                if culprit is None or culprit in memory.refused:
                    pointer, said = error.args
                    message = f"the packet core refuses what the cluster says: at {pointer}: {said}"
                    self.balancer.journal.record("Configuration", "Refused", message, severity="error")
                    break
                memory = with_refused(memory, culprit, f"the packet core refuses the policy: {error.args[1]}")
            else:
                self._in_force(assembly)
                return
        self._outcomes.failed()

    async def _apply(self, plan: Plan) -> None:
        """Put the plan in force, unless it is: much of what changes in a cluster is not ours."""
        offered = plan, self.balancer.keys  # others may come while nodes that leave are said goodbye to
        if offered != self._applied:
            await self.balancer.apply(plan)
            self._applied = offered
            self._tell(plan)

    def _tell(self, plan: Plan) -> None:
        """Note that other groups, or versions of them, are in force; that nodes come and go is no configuration."""
        groups = frozenset(
            (entry.group.key, entry.group.metadata.uid, entry.group.metadata.generation) for entry in plan.groups
        )
        if groups != self._told:
            self._told = groups
            done = {"generation": self.balancer.generation, "groups": len(plan.groups)}
            self.balancer.journal.record("Configuration", "Applied", "configuration in force", details=done)

    async def _follow(self) -> None:
        circumstances = self._circumstances()
        cost = 0.0  # as long again for all else that the event loop has to do: the nodes are to be listened to
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), _LOOK)
            if not self._wanted.is_set() and self._circumstances() == circumstances:
                continue
            await asyncio.sleep(max(_SETTLE, cost))
            self._wanted.clear()
            circumstances = self._circumstances()
            began = time.thread_time()
            await self.take_up()
            cost = time.thread_time() - began

    def _circumstances(self) -> tuple[bool, ...]:
        """What no event tells: which lists are believed, which Secrets nobody can be asked for."""
        believed = [self._believed(*scope) for scope in self.sets.scopes.items()]
        return (*believed, *(self._unanswered(place) for place in self._asked_at))

    def _in_force(self, assembly: Assembly) -> None:
        before, self.assembly = self.assembly, assembly
        for key, rejection in assembly.rejected.items():
            if before.rejected.get(key) != rejection:
                self.balancer.journal.record(
                    "Configuration",
                    "Refused",
                    f"the group is not served as its newest version says: {rejection.text}",
                    severity="error",
                    places=[Place(rejection.namespace, rejection.name)],
                )
        if assembly.rejected:
            self._outcomes.failed()
        else:
            self._outcomes.succeeded(time.time())
        if self._versions() != self._saved:
            self._unsaved.set()

    # What is known of sets

    def _known(self) -> Iterator[SeenSet]:
        for namespace, reflector in self.sets.scopes.items():
            if self._believed(namespace, reflector):
                yield from reflector.store.values()
                continue
            told = {seen.uid: seen for seen in reflector.store.values()} if reflector.synced.is_set() else {}
            yield from ({seen.uid: seen for seen in self._restored_sets(namespace)} | told).values()

    def _all_believed(self) -> bool:
        return all(self._believed(*scope) for scope in self.sets.scopes.items())

    def _believed(self, namespace: str | None, reflector: Reflector[SeenSet]) -> bool:
        """Whether the scope's first list is complete and is not far too short against what was in force before."""
        if not reflector.synced.is_set():
            return False
        synced_at = self._synced_at.setdefault(namespace, self._clock())
        before, now = len(self._restored_sets(namespace)), len(reflector.store)
        doubtful = before > 0 and (now == 0 or (before >= _MANY and now < before / 2))
        return not doubtful or self._clock() - synced_at > _DOUBT

    def _restored_sets(self, namespace: str | None) -> list[SeenSet]:
        return [seen for seen in self._facts.last_good.sets if namespace in {None, seen.namespace}]

    # What is known of passwords

    def _esl(self, groups: Iterable[GroupMembers]) -> dict[str, EslTarget]:
        """The Event Sockets of all members with the passwords that are known; the Secrets they are in are watched."""
        keys = {entry.group.key: _secret_key(entry) for entry in groups}
        places = {key.place for key in keys.values() if key is not None}
        self._secrets.want(places)
        self._asked_at = {place: self._asked_at.get(place, self._clock()) for place in places}
        targets: dict[str, EslTarget] = {}
        for entry in groups:
            key = keys[entry.group.key]
            awaited, password = False, None
            if key is not None:
                data = self._secrets[key.place].data
                password = self._passwords.learn(key, None if data is None else data.data)
                awaited = password is None and self._awaited(key, entry.group.metadata.uid)
            for member in entry.members:
                if member.esl is not None and (member.uid not in targets or targets[member.uid].password is None):
                    esl = member.esl
                    targets[member.uid] = EslTarget(esl.host, esl.port, esl.user, password, awaited, rotates=True)
        return targets

    def _awaited(self, key: SecretKey, group_uid: str | None) -> bool:
        """Whether the group was served before this start, and nobody can be asked for the password."""
        return group_uid in self._restored and self._unanswered(key.place)

    def _unanswered(self, place: tuple[str, str]) -> bool:
        """Whether the API server neither gave the Secret nor said that there is none, and will not at once."""
        watch = self._secrets[place]
        if watch.absent or watch.data is not None:
            return False
        return watch.refused is not None or self._clock() - self._asked_at[place] > _PATIENCE

    # The last good snapshot

    def _versions(self) -> tuple[Version, ...]:
        return tuple(
            version
            for slice_ in self.assembly.acts_on
            for version in ((seen.uid, seen.generation) for seen in (slice_.version, slice_.members))
        )

    async def _keep(self) -> None:
        while True:
            await self._unsaved.wait()
            await asyncio.sleep(_QUIET)
            self._unsaved.clear()
            await asyncio.to_thread(self.save)

    def save(self) -> None:
        """Keep what is acted on, once the API server told of it, for a start without it."""
        with self._saving:  # a thread that was told to at the end of the process goes on beside the last call
            versions = self._versions()
            if versions == self._saved or not self._all_believed():
                return
            documents = [slice_.document() for slice_ in self.assembly.acts_on]
            self._state_dir.write(FILE, dump(documents, self._facts.services, time.time()))
            self._saved = versions


def _secret_key(entry: GroupMembers) -> SecretKey | None:
    source = entry.group.spec.esl.password_from
    if source is None or source.secret_key_ref is None:
        return None
    return SecretKey(entry.group.namespace, source.secret_key_ref.name, source.secret_key_ref.key)


def _culprit(assembly: Assembly, error: ConfigError) -> Version | None:
    """The version of the head whose policy the packet core means; None where it means no group."""
    found = _GROUP_POINTER.match(str(error.args[0]))
    if found is None or int(found[1]) >= len(assembly.groups):
        return None
    group = assembly.groups[int(found[1])].group
    heads: dict[Key, SeenSet] = {seen.version.key: seen.version for seen in assembly.acts_on if seen.version.head}
    head = heads[group.namespace, group.name]
    return head.uid, head.generation
