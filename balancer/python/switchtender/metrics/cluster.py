"""What a balancer in Kubernetes counts beyond what any balancer does: its watches, and what it goes by."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from switchtender.control.cluster import Cluster
from switchtender.metrics import families
from switchtender.metrics.series import NONE, Labels, Series
from switchtender.sources.kubernetes import Watches


class WatchCollector(Collector):
    """The watches on the API server. ``watch`` is what is watched: a resource, with namespace and name of a Secret."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    def collect(self) -> Iterator[Metric]:
        """Every family, at each scrape."""
        watched = [(Labels({"watch": name}), reflector) for name, reflector in self._watches.reflectors.items()]
        healthy = [(labels, each.synced.is_set() and each.health.error is None) for labels, each in watched]
        yield Series.of(families.WATCH_HEALTHY, healthy)
        yield Series.of(families.WATCH_IDLE, [(labels, each.idle) for labels, each in watched])
        yield Series.of(families.WATCH_OBJECTS, [(labels, len(each.store)) for labels, each in watched])
        yield Series.of(families.WATCH_EVENTS, [(labels, each.stats.events) for labels, each in watched])
        yield Series.of(families.WATCH_LISTS, [(labels, each.stats.lists) for labels, each in watched])
        restarts = (
            (labels.also("reason", reason), count)
            for labels, each in watched
            for reason, count in each.stats.restarts.items()
        )
        yield Series.of(families.WATCH_RESTARTS, restarts)


class ClusterCollector(Collector):
    """What the sets that are known come to."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """Every family, at each scrape."""
        known, assembly = self._cluster.known(), self._cluster.assembly
        yield Series.of(families.SETS_KNOWN, [(NONE, len(known))])
        yield Series.of(families.SETS_ACTED_ON, [(NONE, len(assembly.acts_on))])
        yield Series.of(families.UNKNOWN_FIELDS, [(NONE, sum(len(seen.unknown) for seen in known))])
        yield Series.of(families.SNAPSHOT_AGE, [(NONE, self._cluster.age)])
        rejected = [Labels({"namespace": namespace, "group": name}) for namespace, name in assembly.rejected]
        yield Series.of(families.GROUP_REJECTED, [(labels, 1.0) for labels in rejected])
