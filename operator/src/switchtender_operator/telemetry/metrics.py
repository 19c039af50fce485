"""Every metric of the operator, declared once. Knows numbers and labels, not where they come from.

Labels never hold a pod's or node's name, an address or a message: their number is bounded by groups and by this page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from switchtender_api.metrics import Family, Kind

PREFIX = "switchtender_operator_"

Sample = tuple[Sequence[str], float]
"""Label values in the order of the family's labels, and the value."""


def _family(name: str, kind: Kind, text: str, labels: tuple[str, ...] = ()) -> Family:
    return Family(PREFIX + name, kind, text, labels)


RECONCILES = _family(
    "reconciles", "counter", "Groups planned and published, by result: ok, error, not_leader.", ("result",)
)
RECONCILE_SECONDS = _family("reconcile_seconds", "histogram", "Time to plan a group and publish what differs.")
PLAN_SECONDS = _family("plan_seconds", "histogram", "Time to plan a group; nothing else runs meanwhile.")
WRITES = _family(
    "writes",
    "counter",
    "Writes to the API server by kind of object (set, set_delete, status, event, secret, crd) and result: applied; "
    "suppressed, as nothing differed or it was said before; conflict, as the object was no longer what was planned "
    "from; refused by the API server; failed, as it did not answer or was overloaded.",
    ("kind", "result"),
)
REQUESTS = _family(
    "api_requests",
    "counter",
    "Requests to the API server by verb and status code; code none where there was no answer.",
    ("verb", "code"),
)
REQUEST_SECONDS = _family(
    "api_request_seconds",
    "histogram",
    "Time to the answer of the API server, by verb; for a watch, to its start.",
    ("verb",),
)
POLLS = _family(
    "balancer_polls",
    "counter",
    "Questions to balancers for what they act on, by result: ok, refused, failed.",
    ("result",),
)

SCALES = _family(
    "scales",
    "counter",
    "Changes of the replicas of targets by spec.autoscale, by direction (out, in) and result: applied, conflict, "
    "refused, failed.",
    ("direction", "result"),
)
MARKS = _family(
    "marks",
    "counter",
    "Writes of marks to pods (deletion cost, safe-to-evict, drain) by result: applied, conflict, refused, failed.",
    ("result",),
)

BUILD = _family("build", "info", "Version of the operator.", ("version",))
QUEUE_DEPTH = _family("queue_depth", "gauge", "Changed groups that wait for their turn.")
QUEUE_OLDEST = _family("queue_oldest_seconds", "gauge", "How long the longest waiting changed group has waited.")
COALESCED = _family("events_coalesced", "counter", "Changes that were handled together with an earlier one.")
EVENTS = _family("events", "counter", "Changes of watched objects, by resource.", ("resource",))
WAKES = _family("kopf_wakes", "counter", "Wake-ups by kopf.")
KOPF_RESTARTS = _family("kopf_restarts", "counter", "Times kopf ended and was started again.")
WATCH_RESTARTS = _family(
    "watch_restarts",
    "counter",
    "Watches begun again, by resource and reason.",
    (
        "resource",
        "reason",
    ),
)
WATCH_SILENCE = _family(
    "watch_last_activity_seconds",
    "gauge",
    "Time since the API server last said anything on a watch, by resource; the longest where there are several.",
    ("resource",),
)
CACHED = _family("cached_objects", "gauge", "Objects in the caches, by resource.", ("resource",))
DRIFT = _family(
    "cache_drift",
    "counter",
    "Objects that a full list found different from the cache though the watch was unbroken, by resource. Stays 0.",
    ("resource",),
)
SYNCED = _family("caches_synced", "gauge", "1 once every cache has been filled.")
LEADER = _family("is_leader", "gauge", "1 while this process may write.")
MEMBERS = _family(
    "members", "gauge", "Nodes in the DestinationSets of a group, by state.", ("namespace", "group", "state")
)
PUBLISHED = _family(
    "published_generation", "gauge", "Generation of the group's head DestinationSet.", ("namespace", "group")
)
GENERATION = _family(
    "group_generation", "gauge", "metadata.generation of the group: its newest edit.", ("namespace", "group")
)
IN_FORCE = _family(
    "group_generation_in_force",
    "gauge",
    "metadata.generation of the group whose spec the head DestinationSet carries, for balancers to act on; nothing is "
    "in force: not shown.",
    ("namespace", "group"),
)
CONDITION = _family(
    "group_condition",
    "gauge",
    "Conditions in the status of the group, by type: 1 True, 0 False, -1 Unknown; one that the status has not: not "
    "shown.",
    ("namespace", "group", "type"),
)
DRAINING_NODES = _family(
    "group_draining_nodes", "gauge", "Nodes of the group that drain, as its status has them.", ("namespace", "group")
)
DRAINING_SESSIONS = _family(
    "group_draining_sessions",
    "gauge",
    "Sessions that remain on nodes that drain, as the status of the group has them.",
    ("namespace", "group"),
)
AUTOSCALE_REPLICAS = _family(
    "autoscale_replicas",
    "gauge",
    "Replicas that the target of spec.autoscale is told to have, draining ones among them.",
    ("namespace", "group"),
)
AUTOSCALE_DESIRED = _family(
    "autoscale_desired", "gauge", "Nodes that the calls need, within min and max.", ("namespace", "group")
)
AUTOSCALE_DRAINING = _family(
    "autoscale_draining", "gauge", "Nodes that drain so that the target can shrink.", ("namespace", "group")
)
AUTOSCALE_MIN = _family("autoscale_min", "gauge", "spec.autoscale.min of the group.", ("namespace", "group"))
AUTOSCALE_MAX = _family("autoscale_max", "gauge", "spec.autoscale.max of the group.", ("namespace", "group"))
ACKED = _family(
    "acked_generation",
    "gauge",
    "Least generation of the head that a reachable balancer acts on; none are reachable: not shown.",
    ("namespace", "group"),
)
BALANCERS = _family("balancers", "gauge", "Balancers found and reached, by BalancerConfig.", ("balancer", "state"))
CRD_REVISION = _family("crd_revision", "gauge", "Revision of the CRDs that this operator brings.")
CRD_SERVED = _family("crd_served_revision", "gauge", "Revision of a CRD on the API server.", ("crd",))

DIRECT = (RECONCILES, RECONCILE_SECONDS, PLAN_SECONDS, WRITES, REQUESTS, REQUEST_SECONDS, POLLS, SCALES, MARKS)
"""Counted where it happens."""

SCRAPED = (
    QUEUE_DEPTH, QUEUE_OLDEST, COALESCED, EVENTS, WAKES, KOPF_RESTARTS, WATCH_RESTARTS, WATCH_SILENCE, CACHED, DRIFT,
    SYNCED, LEADER, MEMBERS, PUBLISHED, ACKED, GENERATION, IN_FORCE, CONDITION, DRAINING_NODES, DRAINING_SESSIONS,
    AUTOSCALE_REPLICAS, AUTOSCALE_DESIRED, AUTOSCALE_DRAINING, AUTOSCALE_MIN, AUTOSCALE_MAX, BALANCERS, CRD_REVISION,
    CRD_SERVED, BUILD,
)  # fmt: skip
"""Read when the page is asked for."""

FAMILIES = (*DIRECT, *SCRAPED)
"""All of them."""

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Read = Callable[[], Iterable[tuple[Family, Iterable[Sample]]]]


class Metrics:
    """The operator's metrics, and those of its process, on a registry of their own; `read` gives the scraped families
    when it is set.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = self._counter(RECONCILES)
        self.reconcile_seconds = self._histogram(RECONCILE_SECONDS)
        self.plan_seconds = self._histogram(PLAN_SECONDS)
        self.writes = self._counter(WRITES)
        self.requests = self._counter(REQUESTS)
        self.request_seconds = self._histogram(REQUEST_SECONDS)
        self.polls = self._counter(POLLS)
        self.scales = self._counter(SCALES)
        self.marks = self._counter(MARKS)
        self._scraped = _Scraped()
        self.registry.register(self._scraped)

    def read_from(self, read: Read) -> None:
        """Take the scraped families from `read` from now on."""
        self._scraped.read = read

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page of metrics and its content type: OpenMetrics where the header Accept asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def request(self, verb: str, code: int | None, seconds: float) -> None:
        """Count a request to the API server; `code` None where there was no answer."""
        self.requests.labels(verb, "none" if code is None else str(code)).inc()
        self.request_seconds.labels(verb).observe(seconds)

    def write(self, kind: str, result: str) -> None:
        """Count a write, or one that was not needed."""
        self.writes.labels(kind, result).inc()

    def scaled(self, direction: str, result: str) -> None:
        """Count a change of a target's replicas: `direction` out or in."""
        self.scales.labels(direction, result).inc()

    def marked(self, result: str) -> None:
        """Count a write of marks to a pod."""
        self.marks.labels(result).inc()

    def _counter(self, family: Family) -> Counter:
        return Counter(family.name, family.help, family.labels, registry=self.registry)

    def _histogram(self, family: Family) -> Histogram:
        return Histogram(family.name, family.help, family.labels, registry=self.registry, buckets=_FAST)


class _Scraped(Collector):
    def __init__(self) -> None:
        self.read: Read | None = None

    def collect(self) -> Iterator[Metric]:
        for family, samples in self.read() if self.read is not None else ():
            yield _metric(family, samples)


def _metric(family: Family, samples: Iterable[Sample]) -> Metric:
    if family.kind == "info":
        info = InfoMetricFamily(family.name, family.help)
        for labels, _ in samples:
            info.add_metric((), dict(zip(family.labels, labels, strict=True)))
        return info
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric


def totals(counts: Mapping[tuple[str, ...], float]) -> list[Sample]:
    """Return samples of a mapping from label values to numbers, in order."""
    return [(labels, counts[labels]) for labels in sorted(counts)]
