"""What operators order at run time: drain, undrain, disable, enable, a weight, the size of a resource.

From a node's name as its groups call it to the members that are meant, and to the overrides that follow. Changes
nothing itself. A state is of the node, in every group; a weight and a resource are of the member of one group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from switchtender.config.overrides import Override, Wanted
from switchtender.config.snapshot import GroupMembers
from switchtender.control.admin import without_resource
from switchtender.http.views import BadQuestionError, Json, NotFoundError
from switchtender_api.v1alpha1 import BalancerGroup, SetMember

STATES: Final[Mapping[str, Wanted | None]] = {
    "drain": "Drained",
    "undrain": None,
    "disable": "Disabled",
    "enable": None,
}
"""Verbs that want a state; ``undrain`` and ``enable`` end only what their opposite began."""

_ENDS: Final[Mapping[str, Wanted]] = {"undrain": "Drained", "enable": "Disabled"}
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(STATES, frozenset({"group"})),
    "weight": frozenset({"group", "weight"}),
    "resize": frozenset({"group", "resource", "limit"}),
}
_MOST_WEIGHT: Final = 10_000
_MOST_LIMIT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """A member in its group."""

    group: BalancerGroup
    member: SetMember


def places(groups: Iterable[GroupMembers], name: str, group: object) -> list[Place]:
    """The members of that name; ``group`` ("namespace/name") narrows it. Raises BadQuestionError, NotFoundError."""
    if group is not None and not isinstance(group, str):
        raise BadQuestionError("group: accepted: namespace/name")
    found = [
        Place(entry.group, member)
        for entry in groups
        if group in {None, entry.group.key}
        for member in entry.members
        if member.name == name
    ]
    if not found:
        where = "" if group is None else f" in group {group}"
        raise NotFoundError(f"no node is called {name}{where}; switchtender nodes lists them")
    return found


def changes(
    verb: str,
    named: list[Place],
    order: Json,
    overrides: Mapping[str, Override],
    siblings: Callable[[str], Iterable[str]],
    now: float,
) -> dict[str, Override]:
    """The overrides that follow, by member uid, of an order given ``now`` (seconds of the epoch). ``siblings`` gives
    the uids of all members that are the same node.

    Raises BadQuestionError for an order that cannot be carried out, and for a name that means several nodes.
    """
    unknown = sorted(set(order) - _FIELDS[verb])
    if unknown:
        raise BadQuestionError(f"{unknown[0]}: unknown field; accepted: {', '.join(sorted(_FIELDS[verb]))}")
    if verb in STATES:
        uids = {frozenset(siblings(place.member.uid)) for place in named}
        _unambiguous(named, len(uids))
        return {uid: _with_state(overrides.get(uid, Override()), verb, now) for uid in sorted(frozenset().union(*uids))}
    _unambiguous(named, len(named))
    [place] = named
    before = overrides.get(place.member.uid, Override())
    after = _weighted(before, order) if verb == "weight" else _resized(before, place, order)
    return {place.member.uid: after}


def _unambiguous(named: list[Place], meant: int) -> None:
    if meant > 1:
        groups = ", ".join(sorted(place.group.key for place in named))
        raise BadQuestionError(f"group: needed, for {named[0].member.name} is a node of several: {groups}")


def _with_state(before: Override, verb: str, now: float) -> Override:
    """An order that is given again changes nothing: its deadline is not put off."""
    if verb in _ENDS:
        return replace(before, state=None, since=None) if before.state == _ENDS[verb] else before
    return before if before.state == STATES[verb] else replace(before, state=STATES[verb], since=now)


def _weighted(before: Override, order: Json) -> Override:
    if "weight" not in order:
        raise BadQuestionError(f"weight: required; accepted: 1 to {_MOST_WEIGHT}, or null for the configured one")
    return replace(before, weight=_whole("weight", order["weight"], 1, _MOST_WEIGHT))


def _resized(before: Override, place: Place, order: Json) -> Override:
    limited = {
        resource.name
        for resource in (*place.group.spec.capacity.resources, *place.member.resources)
        if resource.limit is not None
    }
    name = order.get("resource")
    if not isinstance(name, str) or name not in limited:
        known = ", ".join(sorted(limited)) or "none, the group has no resource with a limit"
        raise BadQuestionError(f"resource: not a resource with a limit of {place.group.key}; accepted: {known}")
    if "limit" not in order:
        raise BadQuestionError(f"limit: required; accepted: 0 to {_MOST_LIMIT}, or null for the configured one")
    limit = _whole("limit", order["limit"], 0, _MOST_LIMIT)
    rest = without_resource(before, name)
    return rest if limit is None else replace(rest, resources={**rest.resources, name: limit})


def _whole(field: str, value: object, low: int, high: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadQuestionError(f"{field}: {value!r}: accepted: {low} to {high}, or null for the configured one")
    return value
