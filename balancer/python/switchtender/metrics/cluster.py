"""What a balancer in Kubernetes counts beyond what any balancer does: its watches, and what it goes by."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from switchtender.control.cluster import Cluster
from switchtender.metrics.collector import PREFIX
from switchtender.sources.kubernetes import Watches


class WatchCollector(Collector):
    """The watches on the API server. ``watch`` is what is watched: a resource, with namespace and name of a Secret."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    def collect(self) -> Iterator[Metric]:
        """Every family, at each scrape."""
        label = ["watch"]
        healthy = GaugeMetricFamily(
            f"{PREFIX}watch_healthy",
            "1 while the API server serves the watch, 0 while it refuses or is away.",
            labels=label,
        )
        idle = GaugeMetricFamily(
            f"{PREFIX}watch_idle_seconds", "Seconds since the API server last said anything on the watch.", labels=label
        )
        objects = GaugeMetricFamily(f"{PREFIX}watch_objects", "Objects known through the watch.", labels=label)
        events = CounterMetricFamily(f"{PREFIX}watch_events", "Events that came on the watch.", labels=label)
        lists = CounterMetricFamily(f"{PREFIX}watch_lists", "Full lists taken.", labels=label)
        restarts = CounterMetricFamily(
            f"{PREFIX}watch_restarts", "Times the watch was interrupted, by reason.", labels=["watch", "reason"]
        )
        for name, reflector in self._watches.reflectors.items():
            healthy.add_metric([name], float(reflector.synced.is_set() and reflector.health.error is None))
            idle.add_metric([name], reflector.idle)
            objects.add_metric([name], len(reflector.store))
            events.add_metric([name], reflector.stats.events)
            lists.add_metric([name], reflector.stats.lists)
            for reason, count in reflector.stats.restarts.items():
                restarts.add_metric([name, reason], count)
        yield from (healthy, idle, objects, events, lists, restarts)


class ClusterCollector(Collector):
    """What the sets that are known come to."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """Every family, at each scrape."""
        known, assembly = self._cluster.known(), self._cluster.assembly
        yield GaugeMetricFamily(
            f"{PREFIX}sets_known", "DestinationSets that are known, all balancers'.", value=len(known)
        )
        yield GaugeMetricFamily(
            f"{PREFIX}sets_acted_on", "DestinationSets that this balancer acts on.", value=len(assembly.acts_on)
        )
        yield GaugeMetricFamily(
            f"{PREFIX}unknown_fields",
            "Fields in the known DestinationSets that this version does not know and leaves out.",
            value=sum(len(seen.unknown) for seen in known),
        )
        yield GaugeMetricFamily(
            f"{PREFIX}snapshot_age_seconds",
            "Seconds since the DestinationSets in force were last known to be the newest ones.",
            value=self._cluster.age,
        )
        rejected = GaugeMetricFamily(
            f"{PREFIX}group_rejected",
            "1 for a group that is not served as its newest version says; the log and the group's status say why.",
            labels=["namespace", "group"],
        )
        for namespace, name in assembly.rejected:
            rejected.add_metric([namespace, name], 1.0)
        yield rejected
