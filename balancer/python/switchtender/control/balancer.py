"""The running balancer: a plan comes in, drivers watch its nodes, the packet core follows.

All of it runs in one event loop. The packet path goes on by itself whatever happens here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import operator
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from switchtender._core import ConfigError, Core
from switchtender.config.limits import WHOLE, Part, counted, own_cap
from switchtender.config.names import Resolved
from switchtender.config.overrides import Override, Wanted, drained_since, overridden, strictest
from switchtender.config.plan import EslTarget, Plan, nodes_behind
from switchtender.config.snapshot import GroupMembers, snapshot
from switchtender.config.state_dir import TokenKey
from switchtender.control import core_events
from switchtender.control.admin import Admin
from switchtender.control.flow import Flow
from switchtender.control.naming import Naming
from switchtender.control.probing import Prober, target_of, thresholds
from switchtender.control.scores import Scores
from switchtender.control.watch import Watch
from switchtender.drivers.reports import Probe
from switchtender.load import drains
from switchtender.load.drains import Drain, Terms
from switchtender.load.model import Policy, WhenStale
from switchtender.telemetry.journal import Journal, Place
from switchtender.telemetry.traces import Traces
from switchtender_api.v1alpha1 import BalancerGroup, SetMember

log = logging.getLogger(__name__)

_TICK = 0.25
"""Seconds between two looks at what changes with time alone: reports grown old, slow start, peers gone."""

_CALLS_EVERY = 4
"""Ticks between two looks at totals, and at what calls showed while something hangs on it."""
_PATIENCE = 2.0
"""Seconds for which a plan waits for the addresses of names that are new in it."""
_EVENTS_AT_ONCE = 256
_EJECTIONS = {"node_ejected": True, "node_returned": False}


@dataclass(frozen=True, slots=True)
class _Said:
    """What a plan says of a node: its groups and members, which never change in place, its Event Socket, and what an
    operator wants of it, to be drained since then.
    """

    objects: tuple[BalancerGroup | SetMember, ...]
    esl: EslTarget | None
    wanted: Wanted | None
    drained_since: float | None

    def same_as(self, other: _Said) -> bool:
        """Whether it is known without a look into the objects, which may be large, that nothing changed."""
        same = len(self.objects) == len(other.objects) and all(map(operator.is_, self.objects, other.objects))
        ours, theirs = ((said.esl, said.wanted, said.drained_since) for said in (self, other))
        return same and ours == theirs


class Balancer:
    """Serves ``Plan`` after ``Plan`` on one packet core. ``replicas`` tells how many balancers share the nodes, and
    ``part`` which part of limits is this one's.

    ``keys`` of the token go along with each plan: the first signs, all verify. ``prober`` may be set before the first
    plan; it tells ``probed``. Without one OPTIONS are not sent. Without ``naming``, likewise, members that are given by
    name are left out. ``admin`` holds what operators override, ``journal`` what happens.
    """

    def __init__(
        self,
        core: Core,
        keys: tuple[TokenKey, ...],
        *,
        clock: Callable[[], float],
        replicas: Callable[[], int],
        part: Callable[[], Part] = lambda: WHOLE,
        admin: Admin | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.core = core
        self.journal = journal or Journal()
        self.flow = Flow(core, clock)
        self.traces = Traces(core, self.journal, name_of=self._name_of, clock=clock)
        self.plan: Plan | None = None
        self.generation = 0
        self.watches: dict[str, Watch] = {}
        self.prober: Prober | None = None
        self.naming: Naming | None = None
        self.scores = Scores(self._scored)
        self.part = WHOLE
        self.admin = admin or Admin()
        self._node_of: Mapping[str, str] = {}
        self._groups_of: Mapping[str, list[GroupMembers]] = {}
        self._members_of: Mapping[str, list[SetMember]] = {}
        self._nodes_of: Mapping[str, frozenset[str]] = {}
        self._members: Mapping[tuple[str, str], SetMember] = {}
        self._fresh: Mapping[str, float] = {}
        self._taken_up: dict[str, _Said] = {}
        self.keys = keys
        self._clock = clock
        self._replicas = replicas
        self._part = part
        self._turn = asyncio.Lock()
        self._moved = False
        self._limited = False
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="look at calls")

    async def apply(self, plan: Plan) -> None:
        """Put ``plan`` in force, the packet core first. Raises ConfigError; the plan before then stays in force whole.

        New names are asked for before; from then on nothing is awaited until all of it is in force, so no event of a
        driver meets half a plan.
        """
        async with self._turn:
            if self.naming is not None:
                self.naming.permit(plan.documents.config.spec.destinations.allow)
                await self.naming.follow(plan.groups, _PATIENCE)
            try:
                gone = self._put_in_force(plan)
            except ConfigError:
                await self._names_as_before()
                raise
        await asyncio.gather(*(watch.stop() for watch in gone))

    async def _names_as_before(self) -> None:
        """The plan in force stays: its names and networks stand, and no others."""
        if self.naming is not None and self.plan is not None:
            self.naming.permit(self.plan.documents.config.spec.destinations.allow)
            await self.naming.follow(self.plan.groups, 0)
            self.naming.keep(self.plan.groups)

    async def reapply(self) -> None:
        """Put the plan in force anew: something that it stands on has changed. Raises ConfigError."""
        async with self._turn:
            gone = [] if self.plan is None else self._put_in_force(self.plan)
        await asyncio.gather(*(watch.stop() for watch in gone))

    def _put_in_force(self, plan: Plan) -> list[Watch]:
        """All of it, or nothing; the watches of nodes that left."""
        uids = {member.uid for entry in plan.groups for member in entry.members}
        node_of = nodes_behind(uids, plan.esl, self._node_of)
        served = overridden(plan.groups, self.admin.overrides)
        resolved = {} if self.naming is None else self.naming.resolved
        part = self._part()
        document = snapshot(
            served,
            keys=self.keys,
            node_of=node_of,
            listeners=[listener.name for listener in plan.documents.config.spec.listeners],
            resolved=resolved,
            part=part,
        )
        self.generation = self.core.apply(json.dumps(document).encode())
        located = {node["uid"] for node in document["nodes"]}
        joined = None if self.plan is None else self._clock()
        self.plan, self._node_of, self.part = plan, node_of, part
        self.admin.present(uids)
        if self.naming is not None:
            self.naming.keep(plan.groups)
        self._index(served, node_of, located)
        gone = [self.watches.pop(uid) for uid in list(self.watches) if uid not in self._groups_of]
        affected = self._take_up(_logins(plan, node_of), joined)
        self.scores.take_up(self._members_of_groups())
        for uid, watch in self.watches.items():
            watch.keep_scores(self.scores.wanted(uid))
        self._probe(resolved)
        self._publish(affected)  # of thousands of nodes a change is about a few: the others follow within a tick
        return gone

    def _take_up(self, esl: Mapping[str, EslTarget], joined: float | None) -> list[Watch]:
        """Give each node's watch what is said of the node; those for which that is news."""
        before, self._taken_up = self._taken_up, {}
        affected: list[Watch] = []
        for uid, groups in self._groups_of.items():
            members, target = self._members_of[uid], esl.get(uid)
            overrides = [self.admin.overrides.get(member.uid) for member in members]
            wanted, since = strictest(overrides), drained_since(overrides)
            said = _Said((*(entry.group for entry in groups), *members), target, wanted, since)
            self._taken_up[uid] = said
            if uid not in self.watches:
                self.watches[uid] = self._watch(uid, joined)
            elif uid in before and said.same_as(before[uid]):
                continue
            self.watches[uid].places = tuple(map(_place, groups, members))
            policy = replace(_policy(groups, members, target, since), admin=wanted)
            self.watches[uid].take_up(policy, target, _poll_interval(groups))
            affected.append(self.watches[uid])
        return affected

    def _watch(self, uid: str, joined: float | None) -> Watch:
        name = self._members_of[uid][0].name
        reported = self.scores.reported
        return Watch(
            uid,
            name,
            self.core,
            clock=self._clock,
            journal=self.journal,
            changed=self._changed,
            reported=reported,
            claimed=self._claimed,
            joined=joined,
            paused=self.admin.paused(self._same_node(uid)),
        )

    def _same_node(self, uid: str) -> list[str]:
        """The uids of all members that are this node."""
        return [member for member, behind in self._node_of.items() if behind == uid]

    def _claimed(self, uid: str, ours: bool) -> None:  # noqa: FBT001 - a callback's
        self.admin.remember_paused(self._same_node(uid), paused=ours)

    async def override(self, changed: Mapping[str, Override]) -> None:
        """Go by these overrides of members from now on, and keep them. Raises ConfigError; nothing has changed then."""
        before = {uid: self.admin.overrides.get(uid, Override()) for uid in changed}
        self.admin.set(changed)
        try:
            await self.reapply()
        except ConfigError:
            self.admin.set(before)
            raise

    def same_node(self, member: str) -> list[str]:
        """The uids of all members that are the same node as this one, whether or not an address is known of it."""
        return self._same_node(self._node_of[member])

    def probed(self, uid: str, probe: Probe) -> None:
        """An OPTIONS to a node has come to its end."""
        watch = self.watches.get(uid)
        if watch is not None:
            watch.saw(probe)

    def moved(self) -> None:
        """A name is at another address: what stands on it is put in force within a tick."""
        self._moved = True

    def _scored(self, uid: str, group: str, score: float) -> None:
        watch = self.watches.get(uid)
        if watch is not None:
            watch.scored(group, score)

    def node_of(self, member: str) -> str | None:
        """The uid of the node behind a member's uid; None where there is no such member."""
        return self._node_of.get(member)

    def member(self, uid: str, namespace: str, group: str) -> SetMember | None:
        """What a group says of the node of this uid; None where it is no member of it."""
        return self._members.get((uid, f"{namespace}/{group}"))

    async def run(self) -> None:
        """Keep what depends on time up to date, and note what the packet core tells, until canceled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.core.event_fd, self._on_core_events)
        try:
            for turn in itertools.count():
                await asyncio.sleep(_TICK)
                await self._follow_circumstances()
                if turn % _CALLS_EVERY == 0:
                    await self._look_at_calls()
                    self.flow.sample(self.watches)
                    self.journal.settle()
                self.traces.settle()
                self._publish(self.watches.values())
                for watch in self.watches.values():
                    watch.follow_drain()
        finally:
            loop.remove_reader(self.core.event_fd)

    async def close(self) -> None:
        """Say goodbye to every node."""
        if self.prober is not None:
            await self.prober.close()
        if self.naming is not None:
            await self.naming.close()
        self.scores.close()
        self._looking.shutdown(wait=False)
        await asyncio.gather(*(watch.stop() for watch in self.watches.values()))

    async def _follow_circumstances(self) -> None:
        """Put the plan in force anew where a name moved, or where our part of limits is another one."""
        if not self._moved and (self._part() == self.part or not self._limited):
            return
        self._moved = False
        try:
            await self.reapply()
        except ConfigError as error:
            log.error("the packet core refuses what has changed: at %s: %s", *error.args)

    async def _look_at_calls(self) -> None:
        """Hear of nodes for which it matters whether they answer calls, or soon may. Of thousands of nodes the packet
        core takes a while to tell, so it does beside the event loop, and is not asked where nothing hangs on it. The
        thread is our own: those of everybody may all wait for DNS.
        """
        probes = (watch.model.probes for watch in self.watches.values())
        if not any(watch.ejected for watch in self.watches.values()) and not any(
            each.unanswered or each.failures for each in probes
        ):
            return
        seen = await asyncio.get_running_loop().run_in_executor(self._looking, self.core.nodes)
        now = self._clock()
        for node in json.loads(seen)["nodes"]:
            watch = self.watches.get(node["uid"])
            if watch is not None:
                ago = node["answered_ago"]
                answered_at = None if ago is None else now - ago
                watch.saw_calls(ejected=node["ejected_for_ms"] > 0, answered_at=answered_at)

    def _members_of_groups(self) -> Iterator[tuple[str, GroupMembers, SetMember]]:
        """Node uid, group and member, for each member in force."""
        for uid, groups in self._groups_of.items():
            for entry, member in zip(groups, self._members_of[uid], strict=True):
                yield uid, entry, member

    def _index(self, served: Sequence[GroupMembers], node_of: Mapping[str, str], located: Container[str]) -> None:
        """Remember who is a member of what. A member whose name nobody knows is in no index."""
        groups_of: dict[str, list[GroupMembers]] = {}
        members_of: dict[str, list[SetMember]] = {}
        members: dict[tuple[str, str], SetMember] = {}
        for entry in served:
            for member in entry.members:
                if node_of[member.uid] not in located:
                    continue
                groups_of.setdefault(node_of[member.uid], []).append(entry)
                members_of.setdefault(node_of[member.uid], []).append(member)
                members[node_of[member.uid], entry.group.key] = member
        self._groups_of, self._members_of, self._members = groups_of, members_of, members
        self._nodes_of = {
            entry.group.key: frozenset(node_of[member.uid] for member in entry.members) & self._groups_of.keys()
            for entry in served
        }
        self._limited = any(counted(entry.group) for entry in served)

    def _probe(self, resolved: Resolved) -> None:
        if self.prober is None:
            return
        targets = {
            uid: target
            for uid, groups in self._groups_of.items()
            if self.watches[uid].policy.admin != "Disabled"
            and (target := target_of(groups, self._members_of[uid], resolved)) is not None
        }
        self.prober.set_targets(targets)

    def _changed(self, watch: Watch) -> None:
        if self.watches.get(watch.uid) is watch:
            watch.publish(replicas=self._replicas(), fresh_share=self._fresh.get(watch.uid, 1.0))

    def _publish(self, watches: Iterable[Watch]) -> None:
        self._fresh = self._fresh_shares()
        replicas = self._replicas()
        for watch in watches:
            watch.publish(replicas=replicas, fresh_share=self._fresh[watch.uid])

    def _fresh_shares(self) -> dict[str, float]:
        """For each node the part of the measured nodes heard of in time, over the groups it is a member of."""
        counts: dict[str, tuple[int, int]] = {}
        for key, uids in self._nodes_of.items():
            measured = [watch for uid in uids if (watch := self.watches[uid]).policy.measured]
            counts[key] = (sum(watch.fresh for watch in measured), len(measured))
        shares: dict[str, float] = {}
        known: dict[tuple[int, ...], float] = {}  # thousands of nodes are in the same few groups
        for uid, groups in self._groups_of.items():
            which = tuple(map(id, groups))
            if which not in known:
                fresh, measured_nodes = (sum(counts[entry.group.key][index] for entry in groups) for index in (0, 1))
                known[which] = fresh / measured_nodes if measured_nodes else 1.0
            shares[uid] = known[which]
        return shares

    def _on_core_events(self) -> None:
        for kind, _, worker, uid, code, detail in self.core.events(_EVENTS_AT_ONCE):
            if kind == "log":
                log.log(code, "%s", detail, extra={"worker": worker})
                continue
            watch = self.watches.get(uid)
            if watch is not None and kind in _EJECTIONS:
                watch.saw_calls(ejected=_EJECTIONS[kind], answered_at=watch.model.probes.calls_answered_at)
            told = core_events.told(kind, worker, code, detail)
            if told is not None:
                places = watch.places if watch is not None else ()
                details = told.details if watch is not None or not uid else {**told.details, "uid": uid}
                self.journal.record(
                    told.type, told.reason, told.message, severity=told.severity, places=places, details=details
                )
        self.traces.take()

    def _name_of(self, uid: str) -> str | None:
        watch = self.watches.get(uid)
        return None if watch is None else watch.name


_STRICTEST_FIRST: tuple[WhenStale, ...] = ("Exclude", "Auto", "LastValue", "StaticWeight")


def _logins(plan: Plan, node_of: Mapping[str, str]) -> dict[str, EslTarget]:
    """The Event Socket of each node: the first that its members name, before it one whose password is known."""
    logins: dict[str, EslTarget] = {}
    for entry in plan.groups:
        for member in entry.members:
            target, node = plan.esl.get(member.uid), node_of[member.uid]
            if target is not None and (node not in logins or logins[node].password is None):
                logins[node] = target
    return logins


def _policy(
    groups: Sequence[GroupMembers],
    members: Sequence[SetMember],
    esl: EslTarget | None,
    drained_since: float | None = None,
) -> Policy:
    """What the groups of a node, and its entries in them, say of it together, the strictest where they differ.

    Two are not a matter of degree: headroom is learned unless every group fixes one, and a ``staleAfter`` that a
    group gives stands before Auto. The node is drained when every group drains it; one group alone keeps its own
    calls away, which is the packet core's business. ``drained_since``: when an operator ordered it to be drained.
    """
    specs = [entry.group.spec for entry in groups]
    caps = [spec.capacity.max_sessions for spec in specs if spec.capacity.max_sessions is not None]
    own = (own_cap(entry.group, member) for entry, member in zip(groups, members, strict=True))
    caps += (cap for cap in own if cap is not None)
    fixed = [float(spec.capacity.headroom) for spec in specs if spec.capacity.headroom != "Auto"]
    stale = [spec.health.stale_after.total_seconds() for spec in specs if spec.health.stale_after != "Auto"]
    terms = _terms(groups)
    return Policy(
        legs_per_call=max(spec.capacity.legs_per_call for spec in specs),
        cap=float(min(caps)) if caps else None,
        headroom=max(fixed) if len(fixed) == len(specs) else None,
        stale_after=min(stale) if stale else None,
        when_stale=min((spec.health.when_stale for spec in specs), key=_STRICTEST_FIRST.index),
        measured=any(member.esl is not None for member in members),
        drained=all(member.state == "Draining" or member.drain is not None for member in members),
        not_ready=any(member.state == "NotReady" for member in members),
        probing=thresholds(groups),
        slow_start=max(spec.health.slow_start.total_seconds() for spec in specs),
        login="Known" if esl is None or esl.password is not None else "Awaited" if esl.awaited else "Missing",
        drain=_wanted_drain(members, terms, drained_since),
        terms=terms,
    )


def _terms(groups: Iterable[GroupMembers]) -> Terms:
    """The shortest deadline, and Hold where one group holds: all of them give the node free with its calls, or none."""
    said = [entry.group.spec.drain for entry in groups]
    return Terms(
        timeout=min(drain.timeout.total_seconds() for drain in said),
        on_timeout="Hold" if any(drain.on_timeout == "Hold" for drain in said) else "Release",
        pause=any(drain.pause_node for drain in said),
    )


def _wanted_drain(members: Sequence[SetMember], terms: Terms, drained_since: float | None) -> drains.Wanted | None:
    """What is wanted of the whole node. One that a group still sends calls to is not paused for another's sake."""
    configured = [member.drain for member in members if member.drain is not None]
    ordered = None if drained_since is None else terms.begun(drained_since, drains.ORDERED)
    causes = [drain_of(member) for member in members] if len(configured) == len(members) else []
    drain = drains.together((*causes, ordered))
    if drain is None:
        return None
    return drains.Wanted(
        drain,
        pause=(bool(causes) and any(one.pause for one in configured)) or (ordered is not None and terms.pause),
        paused_by_us=any(one.paused_by_us for one in configured),
    )


def drain_of(member: SetMember) -> Drain | None:
    """The drain that the configuration wants of a member, or its life in Kubernetes."""
    drain = member.drain
    return None if drain is None else Drain(drain.since.timestamp(), drain.deadline.timestamp(), drain.reason)


def _place(entry: GroupMembers, member: SetMember) -> Place:
    return Place(entry.group.namespace, entry.group.name, member.name)


def _poll_interval(groups: Iterable[GroupMembers]) -> float:
    return min(entry.group.spec.health.poll_interval.total_seconds() for entry in groups)
