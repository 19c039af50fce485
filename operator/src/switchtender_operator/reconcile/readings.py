"""The numbers of the metrics page that are read when it is asked for: from the queue, the caches and what is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from switchtender_api.constants import CRD_REVISION
from switchtender_api.metrics import Family
from switchtender_api.v1alpha1.autoscale import Autoscale
from switchtender_kube import Reflector
from switchtender_operator.domain.conditions import by_type
from switchtender_operator.domain.world import GroupObject, SetObject
from switchtender_operator.reconcile.balancers import Observations
from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.turns import Turns
from switchtender_operator.telemetry import metrics
from switchtender_operator.telemetry.metrics import Sample, totals

_STATES = ("Ready", "NotReady", "Draining")
_CONDITION = {"True": 1.0, "False": 0.0, "Unknown": -1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Where the numbers are."""

    turns: Turns
    cluster: Cluster
    observations: Observations
    reflectors: Callable[[], Iterable[tuple[str, Reflector[Any]]]]
    """Each with its resource's name."""
    events: Mapping[str, int]
    leading: Callable[[], bool]
    synced: Callable[[], bool]
    wakes: Callable[[], int]
    kopf_restarts: Callable[[], int]
    crds: Mapping[str, int]
    """Revision by the CRD's name, as the API server has it."""

    def read(self) -> Iterator[tuple[Family, Iterable[Sample]]]:
        """Yield every scraped family with its samples."""
        yield metrics.BUILD, [((version("switchtender-operator"),), 1)]
        yield metrics.QUEUE_DEPTH, [((), self.turns.queue.depth)]
        yield metrics.QUEUE_OLDEST, [((), self.turns.oldest())]
        yield metrics.COALESCED, [((), self.turns.queue.coalesced)]
        yield metrics.EVENTS, totals({(resource,): count for resource, count in self.events.items()})
        yield metrics.WAKES, [((), self.wakes())]
        yield metrics.KOPF_RESTARTS, [((), self.kopf_restarts())]
        yield metrics.SYNCED, [((), self.synced())]
        yield metrics.LEADER, [((), self.leading())]
        yield metrics.CRD_REVISION, [((), CRD_REVISION)]
        yield metrics.CRD_SERVED, totals({(name,): revision for name, revision in self.crds.items()})
        yield from self._caches()
        yield from self._sets()
        yield from self._groups()
        yield (
            metrics.BALANCERS,
            [
                ((name, state), count)
                for name, (reachable, total) in sorted(self.observations.reachable().items())
                for state, count in (("found", total), ("reached", reachable))
            ],
        )

    def _caches(self) -> Iterator[tuple[Family, Iterable[Sample]]]:
        restarts: Counter[tuple[str, ...]] = Counter()
        cached: Counter[tuple[str, ...]] = Counter()
        drift: Counter[tuple[str, ...]] = Counter()
        silence: dict[tuple[str, ...], float] = {}
        for resource, one in self.reflectors():
            for reason, count in one.stats.restarts.items():
                restarts[resource, reason] += count
            cached[resource,] += len(one.store)
            drift[resource,] += one.stats.drift
            silence[resource,] = max(silence.get((resource,), 0.0), one.idle)
        yield metrics.WATCH_RESTARTS, totals(restarts)
        yield metrics.CACHED, totals(cached)
        yield metrics.DRIFT, totals(drift)
        yield metrics.WATCH_SILENCE, totals(silence)

    def _groups(self) -> Iterator[tuple[Family, Iterable[Sample]]]:
        groups = [group for key in sorted(self.cluster.group_keys()) if (group := self.cluster.group(key)) is not None]
        yield metrics.GENERATION, [((group.namespace, group.name), group.generation) for group in groups]
        yield metrics.CONDITION, [sample for group in groups for sample in _conditions(group)]
        for family, read in _FIGURES.items():
            found = [((group.namespace, group.name), read(group)) for group in groups]
            yield family, [(labels, value) for labels, value in found if value is not None]

    def _sets(self) -> Iterator[tuple[Family, Iterable[Sample]]]:
        members: dict[tuple[str, ...], float] = {}
        published: dict[tuple[str, ...], float] = {}
        acked: dict[tuple[str, ...], float] = {}
        in_force: dict[tuple[str, ...], float] = {}
        for key in self.cluster.group_keys():
            namespace, _, name = key.partition("/")
            members.update({(namespace, name, state): 0.0 for state in _STATES})
            for one in self.cluster.sets(key):
                for member in one.spec.get("members") or ():
                    label = (namespace, name, str(member.get("state", _STATES[0])))
                    members[label] = members.get(label, 0.0) + 1
                if one.name == name:
                    published[namespace, name] = one.generation
                    carried = _carried(one)
                    if carried is not None:
                        in_force[namespace, name] = carried
                    generations = self._acked(key, name, one.uid)
                    if generations:
                        acked[namespace, name] = min(generations)
        yield metrics.MEMBERS, totals(members)
        yield metrics.PUBLISHED, totals(published)
        yield metrics.ACKED, totals(acked)
        yield metrics.IN_FORCE, totals(in_force)

    def _acked(self, key: str, name: str, uid: str) -> list[int]:
        """Return the generation of the head that each reachable balancer acts on; 0 for another head or none."""
        observation = self.observations.of(key)
        if observation is None:
            return []
        heads = (seen.sets.get(name) for seen in observation.balancers.instances.values())
        return [head.generation if head is not None and head.uid == uid else 0 for head in heads]


def _conditions(group: GroupObject) -> Iterator[Sample]:
    """Yield the conditions of the group's status; of the declared types alone, whoever wrote it."""
    for kind, condition in sorted(by_type(group.status).items()):
        yield (group.namespace, group.name, kind), _CONDITION[condition["status"]]


def _said(*path: str) -> Callable[[GroupObject], float | None]:
    """Return what reads a number of the group's status; None where the status has it not, or was never written."""

    def read(group: GroupObject) -> float | None:
        found: Any = group.status
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, int) else None

    return read


def _wanted(bound: Callable[[Autoscale], int]) -> Callable[[GroupObject], float | None]:
    """Return what reads a bound of the group's spec.autoscale; None where it has none."""

    def read(group: GroupObject) -> float | None:
        autoscale = None if group.read.group is None else group.read.group.spec.autoscale
        return None if autoscale is None else bound(autoscale)

    return read


_FIGURES: Mapping[Family, Callable[[GroupObject], float | None]] = {
    metrics.DRAINING_NODES: _said("draining"),
    metrics.DRAINING_SESSIONS: _said("drainingSessions"),
    metrics.AUTOSCALE_REPLICAS: _said("autoscale", "replicas"),
    metrics.AUTOSCALE_DESIRED: _said("autoscale", "desired"),
    metrics.AUTOSCALE_DRAINING: _said("autoscale", "draining"),
    metrics.AUTOSCALE_MIN: _wanted(lambda autoscale: autoscale.min),
    metrics.AUTOSCALE_MAX: _wanted(lambda autoscale: autoscale.max),
}
"""What a group's status and spec say of drains and scaling."""


def _carried(head: SetObject) -> int | None:
    """Return the generation of the group whose spec the head carries, None where it does not tell."""
    reference = head.spec.get("group")
    generation = reference.get("generation") if isinstance(reference, Mapping) else None
    return generation if isinstance(generation, int) else None
