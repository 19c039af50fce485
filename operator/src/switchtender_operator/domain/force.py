"""What of a group is in force: its spec if that is accepted, else what the head of its sets was last written with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switchtender_api.constants import API_VERSION
from switchtender_api.objects import dump_policy, read_set
from switchtender_api.static_members import set_members
from switchtender_api.v1alpha1 import GroupPolicy, SetMember
from switchtender_operator.domain.acceptance import Acceptance
from switchtender_operator.domain.bodies import Head, selector_of
from switchtender_operator.domain.slices import number_of
from switchtender_operator.domain.world import GroupWorld, SetObject


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The policy in force, as values and as the head carries it.

    `policy` None: written by another version and not to be read; then every member stays as it is. `static` None:
    the static members stay as they are in the sets. `follow` tells whether pods are followed; if not, those in the
    sets stay (`keep`) or go.
    """

    head: Head
    policy: GroupPolicy | None
    static: tuple[SetMember, ...] | None = None
    follow: bool = False
    keep: bool = True


def own_sets(world: GroupWorld) -> dict[int, SetObject]:
    """Return the slices of this very group by number: not those of a former one of its name."""
    group = world.group
    numbered = ((number_of(group.name, each.name), each) for each in world.sets if each.namespace == group.namespace)
    return {number: each for number, each in numbered if number is not None and each.group_uid == group.uid}


def in_force(world: GroupWorld, acceptance: Acceptance) -> InForce | None:
    """Return what is in force, None if nothing ever was or no set tells it any more."""
    group = acceptance.group
    if group is None:
        head = own_sets(world).get(1)
        return None if head is None else _as_written(head)
    selector = group.spec.members.selector
    return InForce(
        head=Head(dump_policy(group.spec), world.group.generation, selector.match_labels if selector else None),
        policy=group.spec,
        static=set_members(group),
        follow=selector is not None,
        keep=False,
    )


def _as_written(head: SetObject) -> InForce | None:
    raw, reference = head.spec.get("policy"), head.spec.get("group")
    if not isinstance(raw, Mapping) or not isinstance(reference, Mapping):
        return None
    generation = reference.get("generation", 0)
    selector = selector_of(head)
    spec = {"group": reference, "policy": raw}
    read = read_set(
        {"apiVersion": API_VERSION, "kind": "DestinationSet", "metadata": {"name": head.name}, "spec": spec}
    )
    policy = read.set.spec.policy if read.set else None
    return InForce(
        head=Head(raw, generation if isinstance(generation, int) else 0, selector),
        policy=policy,
        follow=policy is not None and selector is not None,
    )
