"""All members of a group at a time: pods and static nodes as observed, or as written where that is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from switchtender_api.v1alpha1 import BalancerConfigSpec
from switchtender_api.v1alpha1.config import Destinations as AnyDestination
from switchtender_operator.domain.drains import Cordons
from switchtender_operator.domain.force import InForce
from switchtender_operator.domain.members import (
    Destinations,
    Roster,
    distinct,
    shared,
    static_members,
    within,
    written_member,
)
from switchtender_operator.domain.pod_members import Terms, pod_members
from switchtender_operator.domain.world import GroupWorld

Written = Mapping[str, Mapping[str, Any]]
"""The bodies of members as they stand in the sets, by uid."""


def roster_of(world: GroupWorld, force: InForce, written: Written, now: datetime) -> Roster:
    """Return the group's members, each endpoint once, with what there is to remark."""
    parts = list(_parts(world, force, written, now))
    one_each = distinct((member for part in parts for member in part.members), written.keys())
    notes = [note for part in (*parts, one_each) for note in part.notes]
    notes += shared(one_each.members, world.neighbors, world.group.key)
    wakes = [part.wake_at for part in parts if part.wake_at is not None]
    return Roster(one_each.members, tuple(notes), min(wakes, default=None))


def _parts(world: GroupWorld, force: InForce, written: Written, now: datetime) -> Iterator[Roster]:
    policy = force.policy
    if policy is None:
        yield _kept(written, pods=True)
        yield _kept(written, pods=False)
        return
    paused = _paused(world, written)
    destinations = _destinations(world, policy.balancer)
    if force.follow and world.pods is not None:
        resources = frozenset(resource.name for resource in policy.capacity.resources)
        terms = Terms(policy.sip, policy.esl, destinations, resources)
        cordons = Cordons(world.cordoned, written)
        yield pod_members(world.pods.values(), terms, policy.drain, paused, cordons, now)
    elif force.follow or force.keep:
        yield _kept(written, pods=True)
    if force.static is not None:
        yield static_members(force.static, paused, now)
    else:
        yield within(_kept(written, pods=False).members, destinations)


def _kept(written: Written, *, pods: bool) -> Roster:
    members = map(written_member, written.values())
    return Roster(tuple(member for member in members if member.is_pod is pods))


def _paused(world: GroupWorld, written: Written) -> frozenset[str]:
    """Return the uids of nodes that a balancer paused: by its own word, or by what the sets keep of it."""
    reports = world.observation.nodes if world.observation else {}
    told = [uid for uid, report in reports.items() if report.paused_by_us]
    drains = ((uid, body.get("drain")) for uid, body in written.items())
    return frozenset(told + [uid for uid, drain in drains if isinstance(drain, Mapping) and drain.get("pausedByUs")])


def _destinations(world: GroupWorld, balancer: str) -> Destinations:
    """Return where nodes may be; anywhere a cluster allows while the balancer's configuration cannot be used."""
    config = world.balancers.get(balancer)
    allow = config.destinations.allow if isinstance(config, BalancerConfigSpec) else AnyDestination().allow
    return Destinations(allow, world.settings.forbidden)
