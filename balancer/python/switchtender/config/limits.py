"""Limits of resources: which one holds for a node, and which part of it is this replica's. Pure.

Replicas do not tell each other of calls yet, so each is held to a part of its own: together they stay within the
limit, and where one has used up its part a call may be refused though another one had room. ``SPLIT`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switchtender_api.v1alpha1 import BalancerGroup, SetMember

SPLIT = "limits of resources are split over replicas: each holds to its part of them"


@dataclass(frozen=True, slots=True)
class Part:
    """This replica among those that share the nodes: its ``rank`` counts from 0, in an order that all agree on."""

    replicas: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.replicas:
            raise ValueError(f"no rank {self.rank} among {self.replicas} replicas")


WHOLE = Part()
"""The part of a balancer that is alone."""


def part_of(limit: int, part: Part) -> int:
    """This replica's part of a limit. All parts sum up to it, and none differs from another by more than one."""
    share, rest = divmod(limit, part.replicas)
    return share + (part.rank < rest)


def counted(group: BalancerGroup) -> tuple[str, ...]:
    """The resources of the group that balancers count themselves, in its order; the others are reported."""
    return tuple(resource.name for resource in group.spec.capacity.resources if resource.limit is not None)


def limits_of(group: BalancerGroup, member: SetMember) -> dict[str, int]:
    """How many calls may use each counted resource of the member at once: its own limit, else the group's.

    A resource of the member that the group does not have, or does not count, limits nothing here.
    """
    own = {resource.name: resource.limit for resource in member.resources}
    limits: dict[str, int] = {}
    for resource in group.spec.capacity.resources:
        if resource.limit is not None:
            limit = own.get(resource.name)
            limits[resource.name] = resource.limit if limit is None else limit
    return limits


def parts_of(limits: Mapping[str, int], part: Part) -> dict[str, int]:
    """This replica's parts of the limits."""
    return {name: part_of(limit, part) for name, limit in limits.items()}


def own_cap(group: BalancerGroup, member: SetMember) -> int | None:
    """Sessions that a member may carry by a limit of its own where the group goes by reports; None without.

    A node without an Event Socket reports nothing: its number of channels is written down instead, and it is measured
    by our own counts.
    """
    reported = {resource.name for resource in group.spec.capacity.resources if resource.limit is None}
    own = [
        resource.limit * group.spec.capacity.legs_per_call
        for resource in member.resources
        if resource.limit is not None and resource.name in reported
    ]
    return min(own, default=None)
