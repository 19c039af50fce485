"""How the members of a group are spread over its DestinationSets.

A member never changes slice while it is a member, so a pod's change rewrites one slice. Where members stand is read
from the sets themselves; there is no other memory. Knows members by name and uid alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar


class Placed(Protocol):
    """A member, as far as its place goes."""

    @property
    def uid(self) -> str:
        """Identity over its life."""

    @property
    def name(self) -> str:
        """Name of the node."""


_Member = TypeVar("_Member", bound=Placed)


def number_of(group: str, name: str) -> int | None:
    """Return which slice of the group a set of this name is, from 1 for the head; None if it is none."""
    if name == group:
        return 1
    base, dot, digits = name.rpartition(".")
    if base != group or not dot or not digits.isascii() or not digits.isdigit() or digits.startswith("0"):
        return None
    return int(digits) if digits != "1" else None


def name_of(group: str, number: int) -> str:
    """Return the name of a slice."""
    return group if number == 1 else f"{group}.{number}"


def spread(present: Mapping[int, Sequence[str]], members: Iterable[_Member], most: int) -> dict[int, list[_Member]]:
    """Return the members of each slice by number, in order of name and uid; slices without members but the head fall.

    `present` holds the uids that each slice has now. A uid in several slices stays in the first of them; of a slice
    with more than `most` the last are placed anew. New members go, in order, to the first slice with room.
    """
    wanted = {member.uid: member for member in members}
    slices: dict[int, list[_Member]] = {1: []}
    for number in sorted(present):
        kept = (wanted.pop(uid, None) for uid in present[number])
        slices[number] = sorted((member for member in kept if member is not None), key=_order)
    for slice_ in list(slices.values()):
        wanted.update((member.uid, member) for member in slice_[most:])
        del slice_[most:]
    rooms = _rooms(slices, most)
    for member in sorted(wanted.values(), key=_order):
        slices.setdefault(next(rooms), []).append(member)
    return {number: sorted(slice_, key=_order) for number, slice_ in sorted(slices.items()) if slice_ or number == 1}


def _rooms(slices: Mapping[int, Sequence[object]], most: int) -> Iterator[int]:
    """Yield the number of a slice once for each free place in it, slices that exist first, then new ones."""
    for number in sorted(slices):
        yield from itertools.repeat(number, most - len(slices[number]))
    known = frozenset(slices)
    for number in itertools.count(1):
        if number not in known:
            yield from itertools.repeat(number, most)


def _order(member: Placed) -> tuple[str, str]:
    return member.name, member.uid
