"""Scales the targets of groups with spec.autoscale, and marks the pods of all groups: the leader's rounds.

Each round looks at the target, its pods and their load, asks the plan, and writes: drains, revivals, costs, replicas.
Nothing is believed for longer than a round but what the plan remembers (`ScaleHistory`), and a target is told to have
fewer replicas only after its pods were listed anew and the plan still says so.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from switchtender_api.status import (
    AUTOSCALE_FAILED,
    AUTOSCALE_HPA_PRESENT,
    AUTOSCALE_TARGET_MISMATCH,
    AUTOSCALE_TARGET_NOT_ALLOWED,
    AUTOSCALE_TARGET_TAKEN,
)
from switchtender_api.v1alpha1 import BalancerConfigSpec, BalancerGroupSpec, GroupPolicy
from switchtender_api.v1alpha1.autoscale import Autoscale
from switchtender_kube import ApiError, NotLeader, Unreachable, boottime
from switchtender_operator.domain.acceptance import Acceptance, judge
from switchtender_operator.domain.autoscale import (
    LOWEST_COST,
    ScaleDecision,
    ScaleHistory,
    ScaleNode,
    ScaleWorld,
    decide,
)
from switchtender_operator.domain.events import SCALED_IN, SCALED_OUT, EventNote
from switchtender_operator.domain.force import in_force, own_sets
from switchtender_operator.domain.members import written_bodies
from switchtender_operator.domain.pods import Pod, project
from switchtender_operator.domain.scale_nodes import Bodies, drained_by_us, scale_nodes, stale_after
from switchtender_operator.domain.selectors import Matches
from switchtender_operator.domain.world import GroupObject, GroupWorld, Observation, Scaling, ScalingFigures, Settings
from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.marker import Marker
from switchtender_operator.reconcile.targets import TARGETS_VALUE, Target, Targets, UnfitError, rival

log = logging.getLogger(__name__)

_AT_ONCE = 4
_LEARNED_STALE = 10.0
"""Seconds past which a report is stale where health.staleAfter is Auto: ten polls of a balancer."""
_FAILURES_TOLD = 3
"""So many failures in a row are told in the condition: one alone is the API server's daily life."""
_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 30.0


class ReadsPods(Protocol):
    """The pods that a group follows."""

    def pods(self, key: str) -> Mapping[str, Pod] | None:
        """Return the group's pods by uid, None while they are not known."""


class ReadsLoad(Protocol):
    """What balancers say of a group."""

    def of(self, key: str) -> Observation | None:
        """Return what is known of the group, None while its balancers have not been asked."""


class ScalesPods(Protocol):
    """Where the writes go; each gives False where it came too late."""

    async def drain(self, pod: Pod, since: datetime) -> bool:
        """Ask for a drain."""

    async def revive(self, pod: Pod) -> bool:
        """Take a drain of ours back."""

    async def scale(self, path: str, replicas: int, version: str, direction: str) -> bool:
        """Set the replicas."""


Tell = Callable[[GroupObject, EventNote], Awaitable[None]]


@dataclass(slots=True)
class _Known:
    """What one leader remembers of one group; `matches` tells the pods of the target, None while that was not read."""

    target: tuple[str, str, str]
    history: ScaleHistory = field(default_factory=ScaleHistory)
    scaling: Scaling | None = None
    matches: Matches | None = None
    failures: int = 0
    not_before: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """A group in one round: `spec` is that of its present generation, None unless it is accepted."""

    group: GroupObject
    spec: BalancerGroupSpec | None
    policy: GroupPolicy
    labels: Mapping[str, str] | None
    bodies: Bodies
    pods: Mapping[str, Pod]
    observation: Observation

    def nodes(self, pods: Iterable[Pod], now: datetime) -> list[ScaleNode]:
        """Return the pods as the plan sees them."""
        return scale_nodes(pods, self.bodies, self.observation, self.policy.drain, now)

    @property
    def stale_after(self) -> float:
        """Seconds past which a report is stale."""
        return stale_after(self.policy.health.stale_after, _LEARNED_STALE)


@dataclass(frozen=True, slots=True)
class _Claim:
    """That a group wants to scale a target. The oldest claim on one counts."""

    group: GroupObject
    autoscale: Autoscale

    @property
    def target(self) -> tuple[str, str, str]:
        """What is claimed: namespace, kind and name."""
        return self.group.namespace, self.autoscale.target.kind, self.autoscale.target.name

    @property
    def age(self) -> tuple[bool, float, str]:
        """By what claims are ordered, the oldest first."""
        created = self.group.created
        return created is None, created.timestamp() if created else 0.0, self.group.key


@dataclass(frozen=True, slots=True)
class _Job:
    """One group to scale, in one round."""

    one: _Group
    spec: BalancerGroupSpec
    autoscale: Autoscale
    first: _Claim
    known: _Known

    def said(self, reason: str, message: str) -> Scaling:
        """Return that nothing is scaled, and why."""
        last = None if self.known.scaling is None else self.known.scaling.last_scale
        return Scaling(generation=self.one.group.generation, reason=reason, message=message, last_scale=last)

    def world(self, target: Target, pods: Iterable[Pod], now: datetime) -> ScaleWorld:
        """Return what the plan starts from. A kind of whoever's making may have a StatefulSet make its pods."""
        pods = list(pods)
        ordinal = target.seen.ordinal or any(pod.numbered for pod in pods)
        return ScaleWorld(
            now=now,
            spec=self.autoscale,
            legs_per_call=self.spec.capacity.legs_per_call,
            on_timeout=self.spec.drain.on_timeout,
            target=replace(target.seen, ordinal=ordinal),
            nodes=self.one.nodes(pods, now),
            stale_after=self.one.stale_after,
        )


class Autoscaler:
    """Rounds over all groups, `interval` seconds apart; `changed` is called with the key of a group with news."""

    def __init__(
        self,
        cluster: Cluster,
        pods: ReadsPods,
        observations: ReadsLoad,
        targets: Targets,
        writer: ScalesPods,
        marker: Marker,
        *,
        settings: Settings,
        changed: Callable[[str], None],
        tell: Tell,
        wall: Callable[[], datetime],
        clock: Callable[[], float] = boottime,
        interval: float = 2.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._pods = pods
        self._observations = observations
        self._targets = targets
        self._writer = writer
        self._marker = marker
        self._settings = settings
        self._changed = changed
        self._tell = tell
        self._wall = wall
        self._clock = clock
        self._interval = interval
        self._sleep = sleep
        self._known: dict[str, _Known] = {}

    def scaling(self, key: str) -> Scaling | None:
        """Return what was last made of the group's spec.autoscale, None while nothing was."""
        known = self._known.get(key)
        return None if known is None else known.scaling

    def clear(self) -> None:
        """Forget everything: the next leader is somebody else, or waits as long as somebody else would."""
        self._known.clear()
        self._marker.clear()

    async def run(self) -> None:
        """Look until cancelled, or until this process does not lead any more."""
        while True:
            try:
                await self.round()
            except NotLeader:
                return
            except Exception:  # one round that fails ends neither the next nor the operator
                log.exception("a round of scaling and marking failed")
            await self._sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load

    async def round(self) -> None:
        """Look at every group once. Raises NotLeader alone."""
        keys = sorted(self._cluster.group_keys())
        self._known = {key: self._known[key] for key in keys if key in self._known}
        balancers = self._cluster.balancers()
        judged: list[tuple[GroupWorld, Acceptance]] = []
        for key in keys:
            await asyncio.sleep(0)
            if (found := self._judged(key, balancers)) is not None:
                judged.append(found)
        claims = [
            _Claim(world.group, accepted.spec.autoscale)
            for world, accepted in ((world, acceptance.group) for world, acceptance in judged)
            if accepted is not None and accepted.spec.autoscale is not None
        ]
        seen: list[_Group] = []
        for world, acceptance in judged:
            await asyncio.sleep(0)
            if (one := self._seen(world, acceptance)) is not None:
                seen.append(one)
        self._marker.begin()
        slots = asyncio.Semaphore(_AT_ONCE)
        outcomes = await asyncio.gather(
            *(self._guarded(job, slots) for one in seen if (job := self._job(one, claims)) is not None),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for one in seen:
            await asyncio.sleep(0)  # others have their turn: hundreds of groups take a while
            try:
                await self._release(one, claims)
                await self._mark(one)
            except NotLeader:
                raise
            except Exception:
                log.exception("a group's pods could not be marked; the others go on", extra={"group": one.group.key})

    async def _mark(self, one: _Group) -> None:
        now = self._wall()
        nodes = one.nodes(one.pods.values(), now)
        await self._marker.mark(one.pods, nodes, one.policy, stale_after=one.stale_after, now=now, clock=self._clock())

    def _judged(
        self, key: str, balancers: Mapping[str, BalancerConfigSpec | str]
    ) -> tuple[GroupWorld, Acceptance] | None:
        group = self._cluster.group(key)
        if group is None or group.deleting:
            return None
        world = GroupWorld(
            group=group, pods=None, sets=self._cluster.sets(key), balancers=balancers, settings=self._settings
        )
        return world, judge(world)

    def _seen(self, world: GroupWorld, acceptance: Acceptance) -> _Group | None:
        """Return the group if its pods and their load are known, else None."""
        key = world.group.key
        pods, observation, force = self._pods.pods(key), self._observations.of(key), in_force(world, acceptance)
        if pods is None or observation is None or force is None or force.policy is None:
            return None
        return _Group(
            group=world.group,
            spec=None if acceptance.group is None else acceptance.group.spec,
            policy=force.policy,
            labels=force.head.selector,
            bodies={body["uid"]: body for one in own_sets(world).values() for body in written_bodies(one.spec)},
            pods=dict(pods),
            observation=observation,
        )

    def _job(self, one: _Group, claims: Sequence[_Claim]) -> _Job | None:
        """Return what is to be done for the group, None if it is not scaled, or it is too soon after a failure."""
        if one.spec is None or one.spec.autoscale is None:
            return None
        mine = _Claim(one.group, one.spec.autoscale)
        known = self._known.setdefault(one.group.key, _Known(mine.target))
        if known.target != mine.target:  # what was learned of the one before says nothing of another
            known.target, known.history, known.matches, known.not_before = mine.target, ScaleHistory(), None, 0.0
        if self._clock() < known.not_before:
            return None
        first = min((claim for claim in claims if claim.target == mine.target), key=lambda claim: claim.age)
        return _Job(one, one.spec, one.spec.autoscale, first, known)

    async def _guarded(self, job: _Job, slots: asyncio.Semaphore) -> None:
        """Scale one group; what goes wrong with it is its own affair. Raises NotLeader alone."""
        key, known = job.one.group.key, job.known
        scaling: Scaling | None = None
        try:
            async with slots:
                scaling = await self._scale(job)
        except UnfitError as error:
            scaling = job.said(error.reason, str(error))
            known.failures, known.matches = 0, _no_pod
        except ApiError as error:
            scaling = self._refused(job, error)
        except Unreachable as error:
            self._failed(known)
            log.warning("a target could not be looked at", extra={"group": key, "error": str(error)})
        except NotLeader:
            raise
        except Exception:
            self._failed(known)
            log.exception("a group could not be scaled; the others go on", extra={"group": key})
            scaling = job.said(AUTOSCALE_FAILED, "a fault of the operator; its log says which")
        else:
            known.failures = 0
        if scaling is not None and scaling != known.scaling:
            known.scaling = scaling
            self._changed(key)

    def _failed(self, known: _Known) -> None:
        known.failures += 1
        delay = min(_BACKOFF_MOST, _BACKOFF_FIRST * 2.0 ** min(known.failures - 1, 16))
        known.not_before = self._clock() + delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load

    def _refused(self, job: _Job, error: ApiError) -> Scaling | None:
        """Return what is to be said of an answer that is no success, None for one that may be chance."""
        self._failed(job.known)
        log.warning("a target could not be scaled", extra={"group": job.one.group.key, "error": str(error)})
        if error.status == 403:
            return job.said(AUTOSCALE_TARGET_NOT_ALLOWED, f"set {TARGETS_VALUE} of the chart: {error.message}")
        if job.known.failures < _FAILURES_TOLD:
            return None
        return job.said(AUTOSCALE_FAILED, f"the API server said {error}")

    async def _scale(self, job: _Job) -> Scaling:
        """Look at the target and do what the plan says. Raises UnfitError, ApiError, Unreachable, NotLeader."""
        namespace, wanted, known = job.one.group.namespace, job.autoscale.target, job.known
        if job.first.group.uid != job.one.group.uid:
            message = f"group {job.first.group.name} scales the same target, and is older"
            raise UnfitError(AUTOSCALE_TARGET_TAKEN, message)
        target = await self._targets.read(namespace, wanted)
        known.matches = target.matches
        _check_pods(job.one, target)
        pods = {uid: pod for uid, pod in job.one.pods.items() if target.matches(dict(pod.labels))}
        name = rival(await self._targets.rivals(namespace), wanted)
        if name is not None:
            await self._leave(job, pods)
            raise UnfitError(AUTOSCALE_HPA_PRESENT, f"HorizontalPodAutoscaler {name} scales the same target")
        world = job.world(target, pods.values(), self._wall())
        decision, history = decide(world, known.history)
        replicas, late = await self._carry_out(job, world, decision, target, pods)
        history = history.without(late, world.now)
        if replicas is None:  # nothing was added, or came too late: then it is no step that others wait for
            history = replace(history, added=known.history.added)
        known.history = history  # not before all is written: a drain that failed is not to count as begun
        figures = ScalingFigures(
            replicas=target.seen.replicas if replicas is None else replicas,
            desired=decision.desired,
            draining=sum(node.drained_by_us and not node.terminating for node in world.nodes),
        )
        said = job.said(decision.reason, decision.message)
        return replace(said, figures=figures, last_scale=said.last_scale if replicas is None else world.now)

    async def _leave(self, job: _Job, pods: Mapping[str, Pod]) -> None:
        """Take every drain of ours back: from now on somebody else scales, who knows of none."""
        job.known.history = ScaleHistory()
        for pod in pods.values():
            if drained_by_us(pod) and pod.deletion is None:
                await self._writer.revive(pod)

    async def _carry_out(
        self, job: _Job, world: ScaleWorld, decision: ScaleDecision, target: Target, pods: Mapping[str, Pod]
    ) -> tuple[int | None, frozenset[str]]:
        """Write what was decided; the replicas that the target was told to have, None if it was not, and the pods whose
        drain or revival came too late.
        """
        taken = {uid: await self._writer.revive(pods[uid]) for uid in decision.revive}
        taken |= {uid: await self._writer.drain(pods[uid], world.now) for uid in decision.drain}
        for uid in decision.lowest:
            await self._marker.lowest(pods[uid], LOWEST_COST, world.now)
        replicas = await self._replicas(job, decision, target)
        return replicas, frozenset(uid for uid, done in taken.items() if not done)

    async def _replicas(self, job: _Job, decision: ScaleDecision, target: Target) -> int | None:
        """Set the replicas that were decided; None if there was nothing to set, or it came too late."""
        replicas, present = decision.replicas, target.seen.replicas
        if replicas is None or replicas == present:
            return None
        if replicas < present and not await self._confirmed(job, decision, target):
            return None
        direction, reason = ("out", SCALED_OUT) if replicas > present else ("in", SCALED_IN)
        wanted = job.autoscale.target
        path = target.resource.path(job.one.group.namespace, wanted.name, "scale")
        if not await self._writer.scale(path, replicas, target.seen.resource_version, direction):
            return None
        text = f"{wanted.kind} {wanted.name} from {present} to {replicas} replicas: {decision.message}"
        await self._tell(job.one.group, EventNote("Normal", reason, text))
        return replicas

    async def _confirmed(self, job: _Job, decision: ScaleDecision, target: Target) -> bool:
        """Whether the plan says the same of the pods as the API server has them now, costs and all.

        A watch may have been silent for a while, and who is removed is decided by what stands on the server.
        """
        listed = await self._targets.pods(job.one.group.namespace, target.selector)
        pods = [pod for raw in listed if (pod := project(raw)) is not None]
        again, _ = decide(job.world(target, pods, self._wall()), job.known.history)
        return again.replicas == decision.replicas

    async def _release(self, one: _Group, claims: Sequence[_Claim]) -> None:
        """Take back what was drained by autoscaling, once the pod is of no target that is scaled.

        By nobody: spec.autoscale is gone, or names another target, or is refused, or its target is not to be scaled.
        """
        held = [pod for pod in one.pods.values() if drained_by_us(pod) and pod.deletion is None]
        for pod in held:
            if any(self._may_scale(claim, pod) for claim in claims):
                continue
            try:
                await self._writer.revive(pod)
            except (ApiError, Unreachable) as error:
                log.warning("a drain could not be taken back", extra={"pod": pod.name, "error": str(error)})
                return

    def _may_scale(self, claim: _Claim, pod: Pod) -> bool:
        """Return whether the pod is of the target that is claimed; as long as that is not known, it may be."""
        if claim.group.namespace != pod.namespace:
            return False
        pods, known = self._pods.pods(claim.group.key), self._known.get(claim.group.key)
        if pods is None or known is None:
            return True
        return pod.uid in pods and (known.matches is None or known.matches(dict(pod.labels)))


def _no_pod(_: Mapping[str, str]) -> bool:
    """Of a target that is not scaled."""
    return False


def _check_pods(one: _Group, target: Target) -> None:
    """Raises UnfitError unless the pods that the target makes are nodes of the group."""
    if one.labels is None:
        raise UnfitError(AUTOSCALE_TARGET_MISMATCH, "the group has no members.selector, so it has no pods")
    if target.template is not None:
        missing = [f"{key}={value}" for key, value in sorted(one.labels.items()) if target.template.get(key) != value]
        if missing:
            message = f"the target's pods lack labels that members.selector asks for: {', '.join(missing)}"
            raise UnfitError(AUTOSCALE_TARGET_MISMATCH, message)
