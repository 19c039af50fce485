"""What is known of the cluster, indexed as planning needs it, and whom a change concerns.

Fed by the reflectors' callbacks and by the answers to our own writes; an answer stands in for the watch event about it
until that comes, so that nothing is planned, and written, twice meanwhile. Does no I/O and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from switchtender_api.v1alpha1 import BalancerConfigSpec
from switchtender_api.v1alpha1.endpoints import format_endpoint
from switchtender_operator.domain.neighbors import Neighbors
from switchtender_operator.domain.world import GroupObject, SetObject
from switchtender_operator.reconcile.objects import Configuration, Endpoint, Endpoints, Seen, set_group, set_object


class Cluster:
    """The groups, sets, configurations and balancers; `dirty` is called with the key of each group that a change
    concerns. `trust` is for how many seconds the answer to a write stands in for the watch.
    """

    def __init__(self, dirty: Callable[[str], None], *, clock: Callable[[], float], trust: float = 10.0) -> None:
        self.neighbors = Neighbors()
        self.config_changed: Callable[[], None] = lambda: None
        self._dirty = dirty
        self._clock = clock
        self._trust = trust
        self._groups: dict[str, Seen[GroupObject]] = {}
        self._sets: dict[str, dict[str, Seen[SetObject]]] = {}
        self._configs: dict[str, Configuration] = {}
        self._slices: dict[str, Endpoints] = {}
        self._written: dict[str, tuple[Seen[Any], float]] = {}
        self._changed: dict[tuple[str, str], float] = {}
        self._deleted: dict[str, float] = {}

    # --- what the reflectors say ---------------------------------------------------------------------------------

    def group_changed(self, _: str, old: Seen[GroupObject] | None, new: Seen[GroupObject] | None) -> None:
        """Take up a BalancerGroup that came, changed or went."""
        known = new or old
        if known is None:
            return
        key = known.value.key
        if new is not None:
            self._groups[key] = new
            self._settle(new.value.uid, new)
        elif key in self._groups and self._groups[key].value.uid == known.value.uid:
            del self._groups[key]  # not if a group of the same name came meanwhile
            self._written.pop(known.value.uid, None)
        if old is None or new is None or old.value != new.value:
            self._dirty(key)

    def set_changed(self, uid: str, old: Seen[SetObject] | None, new: Seen[SetObject] | None) -> None:
        """Take up a DestinationSet that came, changed or went."""
        if old is not None:
            self._sets.get(set_group(old.value), {}).pop(uid, None)
        if new is None:
            self._deleted.pop(uid, None)
            self._written.pop(uid, None)
            self.neighbors.drop(uid)
            self._forget_changes(uid, None)
        else:
            self._sets.setdefault(set_group(new.value), {})[uid] = new
            if old is not None and old.version != new.version:
                self._changed.setdefault((uid, new.version), self._clock())
            self._settle(uid, new)
            self._forget_changes(uid, new.version)
            self.neighbors.put(uid, new.value.namespace, new.value.spec)
        for concerned in self._concerned(old, new):
            self._dirty(concerned)

    def configuration_changed(self, uid: str, _: Configuration | None, new: Configuration | None) -> None:
        """Take up a balancer's ConfigMap; every group may depend on it."""
        if new is None:
            self._configs.pop(uid, None)
        else:
            self._configs[uid] = new
        self.config_changed()
        for key in self._groups:
            self._dirty(key)

    def endpoints_changed(self, uid: str, _: Endpoints | None, new: Endpoints | None) -> None:
        """Take up an EndpointSlice of balancers; asking them tells what that means for groups."""
        if new is None:
            self._slices.pop(uid, None)
        else:
            self._slices[uid] = new

    # --- what the API server answered us -------------------------------------------------------------------------

    def wrote(self, uid: str, answer: Seen[Any]) -> None:
        """Let the answer to a write stand for the object until the watch has it."""
        now = self._clock()
        for old in [old for old, (_, until) in self._written.items() if until <= now]:
            del self._written[old]
        self._written[uid] = (answer, now + self._trust)

    def wrote_set(self, raw: Mapping[str, Any]) -> None:
        """Take up the answer to the apply of a DestinationSet."""
        answer = set_object(raw)
        if answer is not None:
            self._changed[answer.value.uid, answer.version] = self._clock()
            self.wrote(answer.value.uid, answer)

    def deleted(self, uid: str) -> None:
        """Take an object as gone until the watch says so."""
        now = self._clock()
        for old in [old for old, until in self._deleted.items() if until <= now]:
            del self._deleted[old]
        self._deleted[uid] = now + self._trust

    # --- what planning asks --------------------------------------------------------------------------------------

    def group_keys(self) -> list[str]:
        """Return the keys of all groups."""
        return list(self._groups)

    def group(self, key: str) -> GroupObject | None:
        """Return the group of the key, None if there is none."""
        seen = self._groups.get(key)
        return None if seen is None else self._latest(seen.value.uid, seen).value

    def sets(self, key: str, wall: datetime | None = None) -> tuple[SetObject, ...]:
        """Return the group's sets in order of their names, those that we just wrote as the API server answered.

        With `wall`, the time of day, those that changed lately say when: by how long ago it was, for the time of day
        may have jumped since.
        """
        now = self._clock()
        known = {uid: self._latest(uid, seen) for uid, seen in self._sets.get(key, {}).items()}
        for uid, (answer, until) in self._written.items():
            value = answer.value
            if uid not in known and until > now and isinstance(value, SetObject) and set_group(value) == key:
                known[uid] = answer
        found = [seen.value for uid, seen in known.items() if self._deleted.get(uid, 0.0) <= now]
        if wall is not None:
            found = [self._dated(value, now, wall) for value in found]
        return tuple(sorted(found, key=lambda value: (value.name, value.uid)))

    def balancers(self) -> Mapping[str, BalancerConfigSpec | str]:
        """Return the configurations by the balancer's name, a text where one cannot be used."""
        found: dict[str, BalancerConfigSpec | str] = {}
        holders: dict[str, str] = {}
        for config in self.configurations():
            if config.balancer in found:
                first = holders[config.balancer]
                found[config.balancer] = f"ConfigMaps {first} and {config.config_map} are both labelled for it"
            else:
                found[config.balancer] = config.config
                holders[config.balancer] = config.config_map
        return found

    def configurations(self) -> list[Configuration]:
        """Return the balancers' ConfigMaps in order of their names."""
        return sorted(self._configs.values(), key=lambda config: config.config_map)

    def endpoints(self) -> dict[str, list[Endpoint]]:
        """Return the balancers to be asked by BalancerConfig, each pod once though it has several addresses."""
        found: dict[str, dict[str, Endpoint]] = {}
        for listed in self._slices.values():
            for endpoint in listed.endpoints:
                pods = found.setdefault(listed.balancer, {})
                pods[endpoint.instance] = min(
                    endpoint, pods.get(endpoint.instance, endpoint), key=lambda one: (":" in one.address, one.address)
                )
        return {name: sorted(pods.values(), key=lambda one: one.instance) for name, pods in found.items()}

    def balancer_of(self, key: str) -> str | None:
        """Return the name of the balancer that serves the group: by its spec, else by what was accepted last."""
        group = self.group(key)
        if group is None:
            return None
        if group.read.group is not None:
            return group.read.group.spec.balancer
        policies = (one.spec.get("policy") for one in self.sets(key) if one.name == group.name)
        return next((policy.get("balancer") for policy in policies if isinstance(policy, Mapping)), None)

    # -----------------------------------------------------------------------------------------------------------

    def _dated(self, value: SetObject, now: float, wall: datetime) -> SetObject:
        at = self._changed.get((value.uid, value.resource_version))
        return value if at is None else replace(value, changed=wall - timedelta(seconds=now - at))

    def _forget_changes(self, uid: str, version: str | None) -> None:
        """Drop when a set changed to the versions before `version`; those of writes that are on their way stay."""
        written = self._written.get(uid)
        kept = {version, None if written is None else written[0].version}
        for known in [known for known in self._changed if known[0] == uid and known[1] not in kept]:
            del self._changed[known]

    def _latest(self, uid: str, seen: Seen[Any]) -> Seen[Any]:
        written = self._written.get(uid)
        if written is None:
            return seen
        answer, until = written
        if until > self._clock() and answer.newer_than(seen):
            return answer
        del self._written[uid]
        return seen

    def _settle(self, uid: str, seen: Seen[Any]) -> None:
        """Drop the answer to a write once the watch is as far."""
        written = self._written.get(uid)
        if written is not None and not written[0].newer_than(seen):
            del self._written[uid]

    def _concerned(self, old: Seen[SetObject] | None, new: Seen[SetObject] | None) -> Iterator[str]:
        """Yield the groups of the set, and those with a node at the same Event Socket as one of its nodes."""
        sides = [side.value for side in (old, new) if side is not None]
        sockets = {socket for value in sides for socket in _sockets(value.spec)}
        key = set_group(sides[0])
        yield key
        others = (neighbor.group for socket in sockets for neighbor in self.neighbors.at(socket, besides=key))
        yield from dict.fromkeys(others)


def _sockets(spec: Mapping[str, Any]) -> Iterator[str]:
    members = spec.get("members")
    for member in members if isinstance(members, list) else ():
        esl = member.get("esl")
        if isinstance(esl, dict) and isinstance(esl.get("host"), str) and isinstance(esl.get("port"), int):
            yield format_endpoint(esl["host"], esl["port"])
