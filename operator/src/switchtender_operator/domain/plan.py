"""From the observed world of a group to what is to be written: its sets, its status, its events. One pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from switchtender_api.constants import CONDITION_PROGRAMMED
from switchtender_api.status import PROGRAMMED_NOT_ACCEPTED
from switchtender_operator.domain import conditions, events, scaling, status
from switchtender_operator.domain.acceptance import Acceptance, judge
from switchtender_operator.domain.addresses import kept_annotations
from switchtender_operator.domain.bodies import render, same
from switchtender_operator.domain.conditions import Condition
from switchtender_operator.domain.events import EventNote
from switchtender_operator.domain.force import InForce, in_force, own_sets
from switchtender_operator.domain.members import Roster, strictest, written_bodies
from switchtender_operator.domain.programmed import InWriting, Programmed, not_accepted, programmed
from switchtender_operator.domain.roster import roster_of
from switchtender_operator.domain.slices import number_of, spread
from switchtender_operator.domain.world import GroupObject, GroupWorld, SetObject


@dataclass(frozen=True, slots=True)
class DesiredSet:
    """A DestinationSet to apply: the whole body for server-side apply."""

    name: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be written, in this order: `apply`, `delete`, `status` (None: leave it), then `events`.

    `wake_at` is when to plan again though nothing changes; None: no need.
    """

    apply: tuple[DesiredSet, ...] = ()
    delete: tuple[SetObject, ...] = ()
    status: dict[str, Any] | None = None
    events: tuple[EventNote, ...] = ()
    wake_at: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.apply or self.delete or self.status is not None or self.events)


@dataclass(frozen=True, slots=True)
class Watched:
    """The pods that a group follows: those with all `labels`; `annotations` are what `pods.project` must keep."""

    labels: Mapping[str, str]
    annotations: frozenset[str] = frozenset()


def watched_selector(world: GroupWorld) -> Watched | None:
    """Return which pods `plan` needs in `world.pods`, None if none; reads neither the pods nor the observation.

    That is not always what the spec says now: a refused edit leaves the selector that was last accepted.
    """
    force = None if world.group.deleting else in_force(world, judge(world))
    if force is None or force.policy is None or not force.follow or force.head.selector is None:
        return None
    return Watched(force.head.selector, kept_annotations(force.policy.sip))


def plan(world: GroupWorld, now: datetime) -> Plan:
    """Return what is to be written for the group; nothing for a world that is as it should be."""
    if world.group.deleting:
        return Plan()
    acceptance = judge(world)
    force = in_force(world, acceptance)
    present = own_sets(world)
    written = strictest(body for number in sorted(present) for body in written_bodies(present[number].spec))
    roster = roster_of(world, force, written, now) if force else Roster()
    apply: tuple[DesiredSet, ...] = ()
    delete: tuple[SetObject, ...] = ()
    if force is None:
        delete = _former(world)
    elif present or not _waiting_for_pods(world, force):
        apply, delete = _sets(world, force, present, roster)
    drains = events.of_drains(roster.members, written) if apply else ()
    reported = _status(world, acceptance, force, roster, writing=bool(apply or delete), now=now)
    wakes = [time for time in (roster.wake_at, reported.wake_at) if time is not None]
    return Plan(
        apply=apply,
        delete=delete,
        status=reported.status,
        events=(*drains, *reported.events),
        wake_at=min(wakes, default=None),
    )


def _waiting_for_pods(world: GroupWorld, force: InForce) -> bool:
    return force.follow and world.pods is None


def _former(world: GroupWorld) -> tuple[SetObject, ...]:
    """Return the sets of a former group of the same name: it is gone, and nothing of this one stands in their place."""
    group = world.group
    return tuple(
        each
        for each in world.sets
        if each.namespace == group.namespace
        and number_of(group.name, each.name) is not None
        and each.group_uid != group.uid
    )


def _sets(
    world: GroupWorld, force: InForce, present: Mapping[int, SetObject], roster: Roster
) -> tuple[tuple[DesiredSet, ...], tuple[SetObject, ...]]:
    """Return the slices to write, head first, and those to delete."""
    group = world.group
    places = {number: [body["uid"] for body in written_bodies(each.spec)] for number, each in present.items()}
    slices = spread(places, roster.members, world.settings.members_per_slice)
    apply = []
    for number, members in slices.items():
        body = render(group, number, members, force.head)
        existing = present.get(number)
        if existing is None or not same(existing, body):
            apply.append(DesiredSet(body["metadata"]["name"], body))
    wanted = {desired.name for desired in apply}
    emptied = [each for number, each in sorted(present.items()) if number not in slices]
    former = [each for each in _former(world) if each.name not in wanted]
    return tuple(apply), (*emptied, *former)


def _status(
    world: GroupWorld, acceptance: Acceptance, force: InForce | None, roster: Roster, *, writing: bool, now: datetime
) -> Plan:
    """Return the part of the plan that is status: what to write now, its events, and when to look again."""
    group, observation = world.group, world.observation
    before = group.status
    policy = force.policy if force else None
    nodes = status.nodes_of(roster.members, observation, before, policy, now)
    figures = status.figures_of(nodes, roster.members, observation, before)
    told = _programmed(world, acceptance, force, writing=writing, now=now)
    wakes = status.deadlines(nodes, now) + ([told.wake_at] if told.wake_at else [])
    wake_at = min(wakes, default=None)
    judged = [
        conditions.accepted(acceptance),
        told.condition,
        conditions.ready(figures.nodes, figures.ready, roster.notes, pods_known=not _waiting_for_pods(world, force))
        if force
        else conditions.ready_without_policy(),
        conditions.stats_fresh(roster.members, policy, observation),
        conditions.capacity_available(roster.members, observation),
        conditions.node_side_unreachable(roster.members, world.balancers.get(policy.balancer) if policy else None),
        scaling.autoscale_active(world, acceptance),
    ]
    wanted = [each if observation else _as_last_told(each, group) for each in judged if each is not None]
    after = status.render(figures, nodes, wanted, group.generation, before, now) | scaling.figures(world, acceptance)
    if not status.differs(before, after, world.settings.status_step):
        return Plan(wake_at=wake_at)
    due = _due(world, now)
    if now < due and before.get("observedGeneration") == group.generation:
        return Plan(wake_at=min(due, wake_at or due))
    notes = events.of_notes(roster.notes, before) if force else ()
    countdowns = events.of_countdowns(nodes, before, policy.drain if policy else None)
    told_of = (*events.of_conditions(wanted, before), *events.of_nodes(nodes, before), *countdowns, *notes)
    return Plan(status=after, events=told_of, wake_at=wake_at)


def _due(world: GroupWorld, now: datetime) -> datetime:
    """Return when the status may be written again: now, if the clock was set back since it last was."""
    last = world.status_written
    return now if last is None or now < last else last + world.settings.status_min_interval


def _programmed(
    world: GroupWorld, acceptance: Acceptance, force: InForce | None, *, writing: bool, now: datetime
) -> Programmed:
    group, observation = world.group, world.observation
    if acceptance.group is None or force is None:
        return Programmed(not_accepted(force.head.generation if force else None))
    was = conditions.by_type(group.status).get(CONDITION_PROGRAMMED, {})
    wanted = InWriting(
        group_uid=group.uid,
        generation=force.head.generation,
        sets=list(own_sets(world).values()),
        writing=writing,
        was_programmed=was.get("status") == "True" and was.get("observedGeneration") == group.generation,
        grace=world.settings.programmed_grace,
    )
    return programmed(wanted, observation.balancers if observation else None, now)


def _as_last_told(condition: Condition, group: GroupObject) -> Condition:
    """Return what balancers alone can tell as they last did, while they have not been asked.

    Else each start of the operator would flip it. Not for another generation than it was said of.
    """
    was = conditions.by_type(group.status).get(condition.type, {})
    if (
        condition.type not in conditions.FROM_BALANCERS
        or PROGRAMMED_NOT_ACCEPTED in (condition.reason, was.get("reason"))
        or was.get("observedGeneration") != group.generation
    ):
        return condition
    return Condition(condition.type, was["status"], was["reason"], str(was.get("message", "")))
