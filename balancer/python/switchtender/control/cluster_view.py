"""What the outside may see of a balancer in Kubernetes: what any balancer shows, and /api/v1/state for the operator,
with the versions it acts on and what it sees of each node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from switchtender._core import __version__
from switchtender.config.assembly import Rejection
from switchtender.config.destination_sets import Key, SeenSet
from switchtender.control.balancer import drain_of
from switchtender.control.cluster import Cluster
from switchtender.control.kubectl import command, ours
from switchtender.control.orders import places
from switchtender.control.views import BalancerView, core_nodes, display_state
from switchtender.http.views import BadQuestionError, Json, Metrics, NotHereError, View
from switchtender.load.drains import Drain, together
from switchtender.telemetry.journal import Journal, Place
from switchtender.telemetry.traces import Traces

FORMAT = 1

_Places = dict[Key, dict[str, tuple[Json, Json]]]
"""By group and node uid: the packet core's numbers for the node, and for the node in this group."""


class ClusterView(BalancerView):
    """Implements ``http.views.View`` on a ``Cluster``; ``token`` gives the operator's bearer token."""

    ORDERS = "kubectl"

    def __init__(
        self,
        cluster: Cluster,
        instance: str,
        metrics: Metrics,
        clock: Callable[[], float],
        token: Callable[[], bytes | None],
    ) -> None:
        super().__init__(cluster.balancer, instance, metrics, clock)
        self._cluster = cluster
        self._token = token

    def token(self) -> bytes | None:
        """As the Secret has it now."""
        return self._token()

    async def order(self, verb: str, node: str, details: Json, by: str) -> Json:
        """Not here: what is wanted of a node stands in the API server. Raises NotFoundError, NotHereError."""
        place = places(self._cluster.assembly.groups, node, details.get("group"))[0]
        self.journal.record(
            "Order",
            "NotHere",
            f"order refused: {verb}",
            places=[Place(place.group.namespace, place.group.name, place.member.name)],
            details={"verb": verb, "by": by},
        )
        commands = [each for each in (ours(verb, place), command(verb, place, details)) if each is not None]
        raise NotHereError(f"in Kubernetes the API server says what is wanted of a node: {', or '.join(commands)}")

    async def state(self) -> Json:
        """What the operator asks for. The packet core gathers its numbers beside the event loop: of thousands of nodes
        they take a while, the operator asks each second, and the nodes are to be listened to meanwhile.
        """
        nodes = await asyncio.to_thread(core_nodes, self._balancer.core)
        return state(self._cluster, self.instance, nodes, self._clock())


class StartingView:
    """Implements ``http.views.View`` while there is nothing to serve yet; ``reason`` says what is waited for."""

    def __init__(
        self,
        instance: str,
        balancer: str,
        metrics: Metrics,
        token: Callable[[], bytes | None],
        journal: Journal,
    ) -> None:
        self.instance = instance
        self.metrics = metrics
        self.journal = journal
        self.reason = "starting"
        self._balancer = balancer
        self._token = token
        self._started_at = time.time()

    @property
    def traces(self) -> None:
        """No call is served yet."""
        return

    def not_ready(self) -> str | None:
        """What is waited for."""
        return self.reason

    def balancer(self) -> Json:
        """No worker runs yet."""
        return {
            "instance": self.instance,
            "version": __version__,
            "balancer": self._balancer,
            "ready": False,
            "notReady": self.reason,
            "orders": ClusterView.ORDERS,
            "process": {
                "workers": 0,
                "transactionsOpen": 0,
                "dialogs": None,
                "callsPerSecond": 0.0,
                "overloaded": False,
                "eventsLost": 0,
                "datagramsDropped": 0,
                "startedAt": round(self._started_at, 3),
            },
        }

    async def look(self) -> Json:
        """Nothing to see yet."""
        return {"time": round(time.time(), 3), **self.balancer(), "groups": [], "nodes": []}

    async def state(self) -> Json:
        """It acts on nothing yet."""
        return nothing_yet(self.instance, self._balancer)

    def token(self) -> bytes | None:
        """As the Secret has it now."""
        return self._token()

    def explain(self, call: Json) -> Json:
        """Nothing can be explained yet. Raises BadQuestionError."""
        raise BadQuestionError(f"no call is served yet: {self.reason}; asked about: {', '.join(call) or 'nothing'}")

    async def order(self, verb: str, node: str, details: Json, by: str) -> Json:
        """Nothing can be ordered yet. Raises NotHereError."""
        raise NotHereError(
            f"no node is known yet: {self.reason}; ordered by {by}: {verb} {node} {details or ''}".strip()
        )


class Stage:
    """Implements ``http.views.View`` by whichever view is ``shown``: the HTTP interface is up before there is anything
    behind it, since probes come at once.
    """

    def __init__(self, shown: View) -> None:
        self.shown = shown

    @property
    def instance(self) -> str:
        """A random id of this process."""
        return self.shown.instance

    @property
    def metrics(self) -> Metrics:
        """The metrics of this process."""
        return self.shown.metrics

    def not_ready(self) -> str | None:
        """Why the process is not ready to be sent calls; None when it is."""
        return self.shown.not_ready()

    @property
    def journal(self) -> Journal:
        """What happened."""
        return self.shown.journal

    @property
    def traces(self) -> Traces | None:
        """Traces of calls."""
        return self.shown.traces

    def balancer(self) -> Json:
        """This process."""
        return self.shown.balancer()

    async def look(self) -> Json:
        """All of it at one moment."""
        return await self.shown.look()

    async def order(self, verb: str, node: str, details: Json, by: str) -> Json:
        """What an operator wants of a node."""
        return await self.shown.order(verb, node, details, by)

    async def state(self) -> Json:
        """What the operator asks for."""
        return await self.shown.state()

    def token(self) -> bytes | None:
        """The operator's bearer token."""
        return self.shown.token()

    def explain(self, call: Json) -> Json:
        """Why a call would go where. Raises BadQuestionError."""
        return self.shown.explain(call)


def nothing_yet(instance: str, balancer: str) -> Json:
    """The state of a balancer that serves nothing yet."""
    return {
        "format": FORMAT,
        "instance": instance,
        "version": __version__,
        "balancer": balancer,
        "sets": [],
        "groups": [],
        "nodes": [],
        "unknownFields": 0,
    }


def state(cluster: Cluster, instance: str, nodes: list[dict[str, Any]], now: float) -> Json:
    """The state at ``now`` (the balancer's clock); ``nodes`` as the packet core told them."""
    assembly = cluster.assembly
    places = _places(cluster, nodes)
    rejected = dict(assembly.rejected)
    entries: list[Json] = []
    for served in assembly.groups:
        group = served.group
        key = group.namespace, group.name
        rejection = rejected.pop(key, None)
        entries.append(
            {
                "namespace": group.namespace,
                "name": group.name,
                "uid": group.metadata.uid,
                "generation": group.metadata.generation or 0,
                "rejected": None if rejection is None else rejection.text,
                "assigned": sum(node["assigned"] for node, _ in places.get(key, {}).values()),
            }
        )
    entries += (
        {**_place(rejection), "uid": rejection.uid, "generation": 0, "rejected": rejection.text, "assigned": 0}
        for rejection in rejected.values()
    )
    return {
        **nothing_yet(instance, cluster.documents.config.metadata.name),
        "sets": [
            {**_place(slice_.version), "uid": slice_.version.uid, "generation": slice_.version.generation}
            for slice_ in assembly.acts_on
        ],
        "groups": entries,
        "nodes": list(_nodes(cluster, places, now)),
        "unknownFields": sum(len(seen.unknown) for seen in cluster.known()),
    }


def _place(named: SeenSet | Rejection) -> Json:
    return {"namespace": named.namespace, "name": named.name}


def _places(cluster: Cluster, nodes: list[dict[str, Any]]) -> _Places:
    places: _Places = {}
    for node in nodes:
        if node["uid"] in cluster.balancer.watches:
            for place in node["groups"]:
                places.setdefault((place["namespace"], place["name"]), {})[node["uid"]] = node, place
    return places


def _nodes(cluster: Cluster, places: _Places, now: float) -> Iterator[Json]:
    """One entry for each member: several may be one node."""
    for entry in cluster.assembly.groups:
        namespace, group = entry.group.namespace, entry.group.name
        seen = places.get((namespace, group), {})
        for member in entry.members:
            uid = cluster.balancer.node_of(member.uid)
            if uid is None or uid not in seen:
                continue
            watch, place = cluster.balancer.watches[uid], seen[uid][1]
            state_name, reason = display_state(watch, place)
            report = watch.model.report
            drain = together((drain_of(member), watch.drain))
            yield {
                "namespace": namespace,
                "group": group,
                "uid": member.uid,
                "name": member.name,
                "state": state_name,
                "reason": reason,
                "reportAge": None if report is None else round(now - report.received, 3),
                "sessions": None if report is None else report.sessions,
                "maxSessions": None if report is None else report.max_sessions,
                "capacity": place["capacity"],
                "effective": place["effective"],
                "verdict": place["verdict"],
                "pausedByUs": watch.pausing.ours,
                "drain": None if drain is None else _drain(drain),
            }


def _drain(drain: Drain) -> Json:
    return {"since": round(drain.since, 3), "deadline": round(drain.deadline, 3), "reason": drain.reason}
