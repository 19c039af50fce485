"""Who else is at an Event Socket: members of all sets by endpoint, so that one node in two groups is noticed.

Kept up set by set, for a change of one slice must not cost a pass over all of them. Knows no group's meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from switchtender_api.v1alpha1.endpoints import format_endpoint


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A member of some group: `group` is `namespace/name`."""

    group: str
    uid: str
    name: str


class Neighbors:
    """The members of all known DestinationSets by Event Socket."""

    def __init__(self) -> None:
        self._at: dict[str, dict[tuple[str, str], Neighbor]] = {}
        self._of: dict[str, tuple[str, ...]] = {}

    def put(self, set_uid: str, namespace: str, spec: Mapping[str, Any]) -> None:
        """Take up a set's spec, in place of what was known of the set before."""
        self.drop(set_uid)
        group = f"{namespace}/{_name(spec)}"
        endpoints = []
        for endpoint, uid, name in _sockets(spec):
            self._at.setdefault(endpoint, {})[set_uid, uid] = Neighbor(group, uid, name)
            endpoints.append(endpoint)
        self._of[set_uid] = tuple(endpoints)

    def drop(self, set_uid: str) -> None:
        """Forget a set; nothing happens if it is not known."""
        for endpoint in self._of.pop(set_uid, ()):
            members = self._at.get(endpoint, {})
            for key in [key for key in members if key[0] == set_uid]:
                del members[key]
            if not members:
                self._at.pop(endpoint, None)

    def at(self, endpoint: str, *, besides: str) -> list[Neighbor]:
        """Return the members at "host:port" of all groups but `besides`, in order of group and name."""
        members = self._at.get(endpoint)
        if not members:
            return []
        others = {member for member in members.values() if member.group != besides}
        return sorted(others, key=lambda member: (member.group, member.name, member.uid))


def _name(spec: Mapping[str, Any]) -> str:
    group = spec.get("group")
    name = group.get("name") if isinstance(group, Mapping) else None
    return name if isinstance(name, str) else ""


def _sockets(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield endpoint, uid and name of each member with an Event Socket; whatever is malformed is passed over."""
    members = spec.get("members")
    for member in members if isinstance(members, list) else ():
        esl = member.get("esl") if isinstance(member, Mapping) else None
        if not isinstance(esl, Mapping):
            continue
        host, port, uid, name = esl.get("host"), esl.get("port"), member.get("uid"), member.get("name")
        if isinstance(host, str) and isinstance(port, int) and isinstance(uid, str) and isinstance(name, str):
            yield format_endpoint(host, port), uid, name
