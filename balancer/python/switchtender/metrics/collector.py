"""What the packet core and the load model know, as metrics, at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import cast

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from switchtender._core import __version__ as core_version
from switchtender.control.balancer import Balancer
from switchtender.control.views import BalancerView, Seen
from switchtender.control.watch import ESL_ERRORS, PROBE_RESULTS
from switchtender.http.views import Json
from switchtender.load.states import STATES
from switchtender.metrics import families
from switchtender.metrics.core_families import BY_CORE_NAME
from switchtender.metrics.exposition import Exposition
from switchtender.metrics.reloads import Reloads
from switchtender.metrics.series import NONE, Bucketed, Kept, Labels, Series
from switchtender_api.metrics import Family

_SILENT = {"stale", "down", "unknown"}
"""States in which the other replicas may know more of a node than we do."""

Read = Callable[[Json], float | None]
ReadEach = Callable[[Json], Mapping[str, float]]
Labeled = tuple[list[Labels], list[Json]]
"""Nodes (groups, workers) as the view shows them, and the labels of each."""

_LOAD: dict[Family, Read] = {
    families.NODE_SESSIONS: itemgetter("sessions"),
    families.NODE_MAX_SESSIONS: itemgetter("maxSessions"),
    families.NODE_EFFECTIVE: itemgetter("effective"),
    families.NODE_CAPACITY: itemgetter("capacity"),
    families.NODE_UTILIZATION: itemgetter("utilization"),
    families.NODE_HEADROOM: itemgetter("headroom"),
    families.NODE_SHARE: itemgetter("share"),
    families.NODE_SESSION_RATE: itemgetter("sessionRate"),
    families.NODE_SESSION_RATE_LIMIT: itemgetter("sessionsPerSecondLimit"),
    families.NODE_DRAIN_SESSIONS: lambda node: node["sessions"] if node["state"] == "draining" else None,
    families.NODE_IDLE_CPU: lambda node: None if node["idleCPU"] is None else node["idleCPU"] / 100,
}
_NODE: dict[Family, Read] = {
    families.NODE_HEARTBEAT_AGE: itemgetter("reportAge"),
    families.NODE_REQUESTS: itemgetter("requestsPerSecond"),
    families.NODE_LEGS: itemgetter("legsPerSecond"),
    families.NODE_SCORE: itemgetter("score"),
    families.NODE_EJECTED: itemgetter("ejectedSeconds"),
    families.NODE_IN_FLIGHT: itemgetter("inFlight"),
    families.NODE_WEIGHT: itemgetter("weight"),
    families.NODE_ASSIGNED: itemgetter("assigned"),
    families.NODE_ENDED: itemgetter("ended"),
    families.NODE_DRAIN_DEADLINE: lambda node: None if node["drain"] is None else node["drain"]["deadline"],
    families.NODE_DRAIN_SINCE: lambda node: None if node["drain"] is None else node["drain"]["since"],
    families.NODE_DISABLED: lambda node: 1.0 if node["reason"] == "Disabled" else None,
}
_PROBE: dict[Family, Read] = {
    families.NODE_PROBE_ANSWERED: itemgetter("answered"),
    families.NODE_PROBE_TRIP: itemgetter("roundTrip"),
}
_LOGINS: dict[Family, Read] = {
    families.ESL_CONNECTED: itemgetter("up"),
    families.ESL_CONNECTS: itemgetter("connects"),
    families.ESL_DISCONNECTS: itemgetter("disconnects"),
}
_RESOURCES: dict[Family, ReadEach] = {
    families.NODE_RESOURCE_IN_USE: lambda node: {name: each["inUse"] for name, each in node["resources"].items()},
    families.NODE_RESOURCE_LIMIT: lambda node: {
        name: each["limit"] for name, each in node["resources"].items() if each["limit"] is not None
    },
}
_GROUP: dict[Family, Read] = {
    families.GROUP_SESSIONS: itemgetter("sessions"),
    families.GROUP_EFFECTIVE: itemgetter("effective"),
    families.GROUP_CAPACITY: itemgetter("capacity"),
    families.GROUP_UTILIZATION: itemgetter("utilization"),
    families.GROUP_ELIGIBLE: itemgetter("eligible"),
    families.GROUP_GENERATION: itemgetter("generation"),
}
_WORKER: dict[Family, Read] = {
    families.WORKER_RUNNING: itemgetter("running"),
    families.WORKER_LAG: itemgetter("loop_lag"),
    families.WORKER_OVERLOADED: itemgetter("overloaded"),
}
_IN_STATE: dict[str, Mapping[str, float]] = {
    state: {other: float(other == state) for other in STATES} for state in STATES
}


class BalancerCollector(Collector):
    """Collects at scrape time; holds no numbers of its own, only label texts."""

    def __init__(self, balancer: Balancer, view: BalancerView, reloads: Reloads) -> None:
        self._balancer = balancer
        self._view = view
        self._reloads = reloads
        self._kept = Kept()

    def collect(self) -> Iterator[Metric]:
        """Every family, all numbers of the same moment."""
        return self._families(self._view.seen())

    async def gather(self) -> Iterator[Metric]:
        """The same; of many nodes the numbers are put together beside the event loop, and a few nodes at a time."""
        return self._families(await self._view.gather())

    def _families(self, seen: Seen) -> Iterator[Metric]:
        self._kept.turn()
        yield Series.of(families.BUILD, [(Labels({"version": core_version}), 1.0)])
        yield from _reloads(self._reloads)
        yield _plain(families.GENERATION, self._balancer.generation)
        yield from self._nodes(seen.nodes)
        yield from self._groups(seen.groups)
        yield self._score_faults()
        yield from self._workers(seen.stats["workers"])
        yield from self._core(seen.stats)

    def _nodes(self, nodes: list[Json]) -> Iterator[Metric]:
        known = self._labeled(families.NODE, nodes)
        yield from _each(_LOAD, _only(known, lambda node: node["heard"] and node["state"] not in _SILENT))
        yield from _each(_NODE, known)
        yield _by_key(families.NODE_STATE, STATES, known, lambda node: _IN_STATE[node["state"]])
        yield from (_by_any(family, known, read) for family, read in _RESOURCES.items())
        labels, probed = _only(known, lambda node: node["probe"] is not None)
        probes = labels, [node["probe"] for node in probed]
        yield from _each(_PROBE, probes)
        yield _by_key(families.NODE_PROBES, PROBE_RESULTS, probes, itemgetter("results"))
        labels, measured = _only(known, lambda node: node["esl"] is not None)
        yield from _each(_LOGINS, (labels, [node["eslLogins"] for node in measured]))
        yield _by_key(families.ESL_ERRORS, ESL_ERRORS, (labels, measured), itemgetter("eslErrors"))

    def _groups(self, groups: list[Json]) -> Iterator[Metric]:
        known = self._labeled(families.GROUP, groups)
        yield from _each(_GROUP, known)
        yield _by_key(families.GROUP_NODES, STATES, known, itemgetter("states"))

    def _score_faults(self) -> Series:
        names, faults = families.SCORE_FAULTS.labels, self._balancer.scores.faults()
        return Series.of(families.SCORE_FAULTS, ((self._kept.labels(names, each), n) for each, n in faults.items()))

    def _workers(self, workers: list[Json]) -> Iterator[Metric]:
        yield _plain(families.WORKERS, len(workers))
        labels = [self._kept.labels(("worker",), (str(worker["worker"]),)) for worker in workers]
        yield from _each(_WORKER, (labels, workers))

    def _labeled(self, names: tuple[str, ...], entries: list[Json]) -> Labeled:
        values = map(itemgetter(*names), entries)
        return [self._kept.labels(names, each) for each in values], entries

    def _core(self, stats: Json) -> Iterator[Metric]:
        """What the packet core counts, under the names that it gives it."""
        single: dict[Family, tuple[list[Labels], list[float]]] = {}
        for entry in (*stats["counters"], *stats["gauges"]):
            family = BY_CORE_NAME[entry["name"]]
            labels, values = single.setdefault(family, ([], []))
            labels.append(self._named(family, entry["labels"]))
            values.append(entry["value"])
        yield from (Series(family, *samples) for family, samples in single.items())
        histograms: dict[Family, list[Bucketed]] = {}
        for entry in stats["histograms"]:
            family, count = BY_CORE_NAME[entry["name"]], entry["count"]
            buckets = [(repr(float(bound)), below) for bound, below in entry["buckets"]]
            row = self._named(family, entry["labels"]), [*buckets, ("+Inf", count)], count, entry["sum"]
            histograms.setdefault(family, []).append(row)
        yield from (Series.histogram(family, bucketed) for family, bucketed in histograms.items())

    def _named(self, family: Family, labels: Mapping[str, str]) -> Labels:
        return self._kept.labels(family.labels, tuple([labels[name] for name in family.labels]))


def expose(exposition: Exposition, balancer: Balancer, view: BalancerView, reloads: Reloads) -> None:
    """Show this balancer's metrics, and those of its process."""
    exposition.add(ProcessCollector(registry=None))
    exposition.add(BalancerCollector(balancer, view, reloads))


def _reloads(reloads: Reloads) -> Iterator[Metric]:
    results = {"success": reloads.successes, "failure": reloads.failures}
    yield Series.of(families.RELOADS, ((Labels({"result": result}), count) for result, count in results.items()))
    yield _plain(families.RELOAD_OK, reloads.last_ok)
    yield _plain(families.RELOAD_TIME, reloads.last_success_at)


def _plain(family: Family, value: float) -> Series:
    return Series(family, [NONE], [value])


def _only(known: Labeled, wanted: Callable[[Json], bool]) -> Labeled:
    chosen = [(labels, entry) for labels, entry in zip(*known, strict=True) if wanted(entry)]
    return [labels for labels, _ in chosen], [entry for _, entry in chosen]


def _each(reads: dict[Family, Read], known: Labeled) -> Iterator[Series]:
    """Of each entry one value for each family; None: no sample."""
    labels, entries = known
    for family, read in reads.items():
        values = list(map(read, entries))
        if None in values:
            yield Series.of(
                family, [(each, value) for each, value in zip(labels, values, strict=True) if value is not None]
            )
        else:
            yield Series(family, labels, cast("list[float]", values))


def _by_key(family: Family, keys: Iterable[str], known: Labeled, read: ReadEach) -> Series:
    """Of each entry a value for each of ``keys``, which is the family's last label."""
    labels, entries = known
    name = family.labels[-1]
    values = list(map(read, entries))
    return Series(
        family,
        [each.also(name, key) for key in keys for each in labels],
        [value[key] for key in keys for value in values],
    )


def _by_any(family: Family, known: Labeled, read: ReadEach) -> Series:
    """Of each entry as many values as it has, by the family's last label."""
    name = family.labels[-1]
    rows = ((each.also(name, key), n) for each, entry in zip(*known, strict=True) for key, n in read(entry).items())
    return Series.of(family, rows)
