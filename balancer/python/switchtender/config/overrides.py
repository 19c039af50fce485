"""What an operator overrides at run time, standalone: of a node's state, of a member's weight and resources. Pure.

An override belongs to a member, by its uid; so a node of the same name at another address begins without any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from switchtender.config.snapshot import GroupMembers
from switchtender_api.v1alpha1 import SetMember
from switchtender_api.v1alpha1.members import Resource

Wanted = Literal["Drained", "Disabled"]
"""Drained: no new calls. Disabled: neither calls nor questions."""


@dataclass(frozen=True, slots=True)
class Override:
    """One member's. None, and a resource that is not named: as configured. ``since``: when the state was ordered,
    seconds of the epoch.
    """

    state: Wanted | None = None
    weight: int | None = None
    resources: Mapping[str, int] = field(default_factory=dict)
    since: float | None = None

    def __bool__(self) -> bool:
        """Whether it overrides anything."""
        return self.state is not None or self.weight is not None or bool(self.resources)

    def as_json(self) -> dict[str, Any]:
        """As shown, and as kept."""
        return {"state": self.state, "since": self.since, "weight": self.weight, "resources": dict(self.resources)}


def overridden(groups: Iterable[GroupMembers], overrides: Mapping[str, Override]) -> tuple[GroupMembers, ...]:
    """The groups with the weights and resources that stand; what nobody overrides stays the same object."""
    return tuple(
        GroupMembers(entry.group, tuple(_member(member, overrides.get(member.uid)) for member in entry.members))
        if any(member.uid in overrides for member in entry.members)
        else entry
        for entry in groups
    )


def _member(member: SetMember, override: Override | None) -> SetMember:
    if override is None or (override.weight is None and not override.resources):
        return member
    resized = {name: Resource(name=name, limit=limit) for name, limit in override.resources.items()}
    kept = [resized.pop(resource.name, resource) for resource in member.resources]
    weight = member.weight if override.weight is None else override.weight
    return member.model_copy(update={"weight": weight, "resources": (*kept, *resized.values())})


def drained_since(overrides: Iterable[Override | None]) -> float | None:
    """Since when a node is ordered to be drained, whichever of its members the order was about; None: it is not."""
    return min(
        (one.since for one in overrides if one is not None and one.state == "Drained" and one.since is not None),
        default=None,
    )


def strictest(overrides: Iterable[Override | None]) -> Wanted | None:
    """What is wanted of a node, whose members may say different things."""
    wanted = {override.state for override in overrides if override is not None}
    return "Disabled" if "Disabled" in wanted else "Drained" if "Drained" in wanted else None
