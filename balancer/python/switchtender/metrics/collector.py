"""Turns what the packet core and the load model know into metric families, at each scrape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from switchtender._core import Core
from switchtender._core import __version__ as core_version
from switchtender.control.balancer import Balancer
from switchtender.control.scores import Scores
from switchtender.control.views import BalancerView
from switchtender.load.states import STATES
from switchtender.metrics.core_families import BY_CORE_NAME
from switchtender.metrics.reloads import Reloads

PREFIX = "switchtender_"

_NODE_LABELS = ("namespace", "group", "node")
_GROUP_LABELS = ("namespace", "group")

_NODE_GAUGES = {
    "node_sessions": ("sessions", "Sessions (legs) as the node last reported them."),
    "node_max_sessions": ("maxSessions", "Max-Sessions as the node last reported it."),
    "node_effective_sessions": ("effective", "Sessions the node is taken to carry now: report and own calls since."),
    "node_capacity_sessions": ("capacity", "Sessions the node may carry: its usable limit less headroom."),
    "node_utilization": ("utilization", "Effective sessions over capacity, 0 to 1."),
    "node_headroom_sessions": ("headroom", "Sessions kept free on the node."),
    "node_share": ("share", "This balancer's part of the node's new sessions, 0 to 1."),
    "node_heartbeat_age_seconds": ("reportAge", "Seconds since the node's last report."),
    "node_requests_per_second": ("requestsPerSecond", "SIP requests sent to the node in the last second."),
    "node_legs_per_second": ("legsPerSecond", "Legs of new calls sent to the node in the last second."),
    "node_score": ("score", "What the scorers of the node's groups make of it; 1 where there is none."),
    "node_ejected_seconds": ("ejectedSeconds", "Seconds for which the node gets no calls because calls failed there."),
    "node_invites_in_flight": ("inFlight", "Calls offered to the node that have no final response yet."),
}
_NODE_COUNTERS = {
    "node_calls_assigned": ("assigned", "Calls offered to the node."),
    "node_calls_ended": ("ended", "Calls on the node that ended with a BYE through this balancer."),
}
_GROUP_GAUGES = {
    "group_sessions": ("sessions", "Reported sessions over the group's nodes."),
    "group_effective_sessions": ("effective", "Effective sessions over the nodes that take calls."),
    "group_capacity_sessions": ("capacity", "Capacity over the nodes that take calls."),
    "group_utilization": ("utilization", "Effective sessions over capacity of the group, 0 to 1."),
}


class BalancerCollector(Collector):
    """Collects at scrape time; holds no numbers of its own."""

    def __init__(self, balancer: Balancer, view: BalancerView, reloads: Reloads) -> None:
        self._balancer = balancer
        self._view = view
        self._reloads = reloads

    def collect(self) -> Iterator[Metric]:
        """Every family, all numbers of the same moment."""
        yield InfoMetricFamily(f"{PREFIX}build", "Version of the balancer.", value={"version": core_version})
        yield from _reloads(self._reloads, self._balancer.generation)
        nodes = self._view.nodes()
        yield from _gauges(_NODE_GAUGES, _NODE_LABELS, nodes)
        yield from _counters(_NODE_COUNTERS, _NODE_LABELS, nodes)
        yield _states(nodes)
        yield _idle_cpu(nodes)
        yield _esl_errors(nodes)
        yield from _probes(nodes)
        yield from _resources(nodes)
        yield _score_faults(self._balancer.scores)
        yield from _gauges(_GROUP_GAUGES, _GROUP_LABELS, self._view.groups_of(nodes))
        yield from _core(self._balancer.core)


def register(registry: CollectorRegistry, balancer: Balancer, view: BalancerView, reloads: Reloads) -> None:
    """Add this balancer's metrics, and those of its process, to ``registry``."""
    ProcessCollector(registry=registry)
    registry.register(BalancerCollector(balancer, view, reloads))


def _reloads(reloads: Reloads, generation: int) -> Iterator[Metric]:
    total = CounterMetricFamily(f"{PREFIX}config_reloads", "Attempts to take up the configuration.", labels=["result"])
    total.add_metric(["success"], reloads.successes)
    total.add_metric(["failure"], reloads.failures)
    yield total
    yield GaugeMetricFamily(
        f"{PREFIX}config_last_reload_successful", "Whether the last attempt succeeded.", value=float(reloads.last_ok)
    )
    yield GaugeMetricFamily(
        f"{PREFIX}config_last_reload_success_timestamp_seconds", "When the last one did.", value=reloads.last_success_at
    )
    yield GaugeMetricFamily(f"{PREFIX}config_generation", "Snapshot the packet core was given.", value=generation)


def _gauges(
    declared: dict[str, tuple[str, str]], labels: tuple[str, ...], entries: list[dict[str, Any]]
) -> Iterator[Metric]:
    for name, (field, text) in declared.items():
        family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
        for entry in entries:
            if entry[field] is not None:
                family.add_metric([entry[label] for label in labels], entry[field])
        yield family


def _counters(
    declared: dict[str, tuple[str, str]], labels: tuple[str, ...], entries: list[dict[str, Any]]
) -> Iterator[Metric]:
    for name, (field, text) in declared.items():
        family = CounterMetricFamily(PREFIX + name, text, labels=labels)
        for entry in entries:
            family.add_metric([entry[label] for label in labels], entry[field])
        yield family


def _states(nodes: list[dict[str, Any]]) -> Metric:
    family = GaugeMetricFamily(
        f"{PREFIX}node_state", "1 for the state the node is in, 0 for every other.", labels=[*_NODE_LABELS, "state"]
    )
    for node in nodes:
        for state in STATES:
            family.add_metric([*(node[label] for label in _NODE_LABELS), state], float(node["state"] == state))
    return family


def _idle_cpu(nodes: list[dict[str, Any]]) -> Metric:
    text = "Idle CPU of the node's host as it last reported it, 0 to 1."
    family = GaugeMetricFamily(f"{PREFIX}node_idle_cpu_ratio", text, labels=_NODE_LABELS)
    for node in nodes:
        if node["idleCPU"] is not None:
            family.add_metric([node[label] for label in _NODE_LABELS], node["idleCPU"] / 100)
    return family


def _esl_errors(nodes: list[dict[str, Any]]) -> Metric:
    text = "Event Socket connections that failed or ended, by reason."
    family = CounterMetricFamily(f"{PREFIX}esl_errors", text, labels=[*_NODE_LABELS, "reason"])
    for node in nodes:
        for reason, count in node["eslErrors"].items():
            family.add_metric([*(node[label] for label in _NODE_LABELS), reason], count)
    return family


def _probes(nodes: list[dict[str, Any]]) -> Iterator[Metric]:
    results = CounterMetricFamily(
        f"{PREFIX}node_probe_results",
        "OPTIONS sent to the node by what became of them; refused: by a status that does not count.",
        labels=[*_NODE_LABELS, "result"],
    )
    answering = GaugeMetricFamily(
        f"{PREFIX}node_probe_answered",
        "1 while the node counts as answering OPTIONS, 0 while it does not.",
        labels=_NODE_LABELS,
    )
    trip = GaugeMetricFamily(
        f"{PREFIX}node_probe_round_trip_seconds",
        "Seconds from the last OPTIONS to its answer; absent while none came.",
        labels=_NODE_LABELS,
    )
    for node in nodes:
        probe, labels = node["probe"], [node[label] for label in _NODE_LABELS]
        if probe is None:
            continue
        answering.add_metric(labels, float(probe["answered"]))
        if probe["roundTrip"] is not None:
            trip.add_metric(labels, probe["roundTrip"])
        for result, count in probe["results"].items():
            results.add_metric([*labels, result], count)
    yield from (results, answering, trip)


def _resources(nodes: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = [*_NODE_LABELS, "resource"]
    used = GaugeMetricFamily(f"{PREFIX}node_resource_in_use", "Calls that use the resource on the node.", labels=labels)
    limit = GaugeMetricFamily(
        f"{PREFIX}node_resource_limit",
        "Calls that may use it at once, by this balancer's part.",
        labels=labels,
    )
    for node in nodes:
        for name, numbers in node["resources"].items():
            values = [*(node[label] for label in _NODE_LABELS), name]
            used.add_metric(values, numbers["inUse"])
            if numbers["limit"] is not None:
                limit.add_metric(values, numbers["limit"])
    yield from (used, limit)


def _score_faults(scores: Scores) -> Metric:
    text = "Times that a scorer gave no score, by how it failed; the last good score stayed."
    family = CounterMetricFamily(f"{PREFIX}score_faults", text, labels=["scorer", "fault"])
    for labels, count in scores.faults().items():
        family.add_metric(labels, count)
    return family


def _core(core: Core) -> Iterator[Metric]:
    """The packet core declares its own names and labels; what it counts comes up as it is."""
    stats = json.loads(core.stats())
    for family_type, entries in ((CounterMetricFamily, stats["counters"]), (GaugeMetricFamily, stats["gauges"])):
        families: dict[str, tuple[list[str], CounterMetricFamily | GaugeMetricFamily]] = {}
        for entry in entries:
            name = entry["name"].removesuffix("_total")
            if name not in families:
                labels = list(entry["labels"])
                families[name] = labels, family_type(PREFIX + name, BY_CORE_NAME[entry["name"]].help, labels=labels)
            labels, family = families[name]
            family.add_metric([entry["labels"][label] for label in labels], entry["value"])
        yield from (family for _, family in families.values())
    histograms: dict[str, HistogramMetricFamily] = {}
    for entry in stats["histograms"]:
        name, labels = entry["name"], list(entry["labels"])
        if name not in histograms:
            histograms[name] = HistogramMetricFamily(PREFIX + name, BY_CORE_NAME[name].help, labels=labels)
        buckets = [(repr(float(bound)), count) for bound, count in entry["buckets"]]
        buckets.append(("+Inf", entry["count"]))
        histograms[name].add_metric([entry["labels"][label] for label in labels], buckets, sum_value=entry["sum"])
    yield from histograms.values()
