"""What the outside may see of the running balancer: the packet core's numbers and the control side's states, joined.

The whole of it is gathered beside the event loop, or in it a few nodes at a time: of thousands it takes a while, and
the nodes are to be listened to meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple

from switchtender._core import ConfigError, Core, __version__
from switchtender.config.limits import counted
from switchtender.config.overrides import Override
from switchtender.config.snapshot import GroupMembers
from switchtender.control.balancer import Balancer, drain_of
from switchtender.control.flow import GroupCalls, group_calls
from switchtender.control.orders import changes, places
from switchtender.control.watch import ESL_ERRORS, PROBE_RESULTS, Watch
from switchtender.http.views import BadQuestionError, Json, Metrics
from switchtender.load import drains
from switchtender.load.states import STATES, StateName, current
from switchtender.telemetry.journal import Journal, Place
from switchtender.telemetry.traces import Traces
from switchtender_api.v1alpha1 import BalancerGroup, SetMember
from switchtender_api.v1alpha1.endpoints import format_endpoint

_QUESTION = {
    "message": "message",
    "requestUri": "request_uri",
    "method": "method",
    "source": "source",
    "from": "from",
    "to": "to",
    "callId": "call_id",
    "headers": "headers",
    "listener": "listener",
    "group": "group",
}
_UNUSED = {"inUse": 0}
_AT_ONCE = 50
"""Nodes that are put together before the event loop goes on with all else."""
_ASKED_AS = {f"/{core}": asked for asked, core in _QUESTION.items()}


class Seen(NamedTuple):
    """What is seen of the balancer at one moment: nodes and groups as the API shows them, and the packet core's counts
    (``Core.stats``).
    """

    nodes: list[Json]
    groups: list[Json]
    stats: Json


class BalancerView:
    """Implements ``http.views.View`` on a ``Balancer``."""

    ORDERS: ClassVar[Literal["token", "kubectl"]] = "token"
    """How orders are given: here, or by kubectl."""

    def __init__(self, balancer: Balancer, instance: str, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._balancer = balancer
        self._instance = instance
        self._metrics = metrics
        self._clock = clock
        self._started_at = time.time()

    @property
    def instance(self) -> str:
        """A random id of this process."""
        return self._instance

    @property
    def metrics(self) -> Metrics:
        """The metrics of this process."""
        return self._metrics

    def not_ready(self) -> str | None:
        """None once the sockets are bound and the first configuration is in force."""
        return None if self._balancer.plan is not None else "no configuration is in force yet"

    @property
    def journal(self) -> Journal:
        """What happened."""
        return self._balancer.journal

    @property
    def traces(self) -> Traces:
        """Traces of calls."""
        return self._balancer.traces

    def nodes(self) -> list[Json]:
        """One entry for each group a node is a member of, evaluated now."""
        known = core_nodes(self._balancer.core)
        return list(self._entries(known, _lately(known, self._balancer.flow.lately)))

    def groups(self) -> list[Json]:
        """Every group with its sums; draining, stale and down nodes add nothing to capacity."""
        return self.groups_of(self.nodes())

    def groups_of(self, nodes: list[Json]) -> list[Json]:
        """Every group with its sums over ``nodes``, which ``nodes()`` gave."""
        return self._groups_of(nodes, core_stats(self._balancer.core))

    def balancer(self) -> Json:
        """This process: who it is, whether it is ready, and how much it carries."""
        return self._process(core_stats(self._balancer.core))

    async def look(self) -> Json:
        """All of it at one moment: ``balancer()`` with its time, ``groups`` and ``nodes``."""
        seen = await self.gather()
        return {"time": round(time.time(), 3), **self._process(seen.stats), "groups": seen.groups, "nodes": seen.nodes}

    def seen(self) -> Seen:
        """All that ``nodes()``, ``groups()`` and the packet core tell, of one moment."""
        nodes, stats = self.nodes(), core_stats(self._balancer.core)
        return Seen(nodes, self._groups_of(nodes, stats), stats)

    async def gather(self) -> Seen:
        """The same, gathered beside the event loop, or in it a few nodes at a time."""
        known, stats = await asyncio.to_thread(
            lambda: (core_nodes(self._balancer.core), core_stats(self._balancer.core))
        )
        lately = _lately(known, self._balancer.flow.lately)
        nodes: list[Json] = []
        for start in range(0, len(known), _AT_ONCE):
            nodes += self._entries(known[start : start + _AT_ONCE], lately)
            await asyncio.sleep(0)
        return Seen(nodes, self._groups_of(nodes, stats), stats)

    def _entries(self, known: Iterable[dict[str, Any]], lately: Counter[tuple[str, str]]) -> Iterator[Json]:
        balancer, now = self._balancer, self._clock()
        for node in known:
            watch = balancer.watches.get(node["uid"])
            for place in node["groups"] if watch is not None else ():
                member = balancer.member(node["uid"], place["namespace"], place["name"])
                if watch is None or member is None:
                    continue
                override = balancer.admin.overrides.get(member.uid, Override())
                calls = lately[place["namespace"], place["name"]]
                flow = {
                    "callsPerSecond": balancer.flow.node(node["uid"]),
                    "callShare": round(balancer.flow.lately(node["uid"]) / calls, 4) if calls else None,
                }
                yield {**_node(node, place, member, override, watch, now), **flow}

    def _groups_of(self, nodes: list[Json], stats: Json) -> list[Json]:
        if self._balancer.plan is None:
            return []
        by_group: dict[tuple[str, str], list[Json]] = {}
        for node in nodes:
            by_group.setdefault((node["namespace"], node["group"]), []).append(node)
        calls = group_calls(stats)
        return [
            {**_group(entry.group, by_group), **self._flow(entry.group, calls), **self._beside(entry)}
            for entry in self._balancer.plan.groups
        ]

    def _flow(self, group: BalancerGroup, known: dict[tuple[str, str], GroupCalls]) -> Json:
        """What became of the group's calls: totals, and how many a second."""
        calls = known.get((group.namespace, group.name), GroupCalls())
        return {
            "generation": group.metadata.generation or 0,
            "callsPerSecond": self._balancer.flow.offered(group.namespace, group.name),
            "rejectedPerSecond": self._balancer.flow.rejected(group.namespace, group.name),
            "offered": calls.offered,
            "calls": calls.outcomes,
            "rejected": calls.rejected,
            "failovers": calls.failovers,
        }

    def _process(self, stats: Json) -> Json:
        plan, reason = self._balancer.plan, self.not_ready()
        totals: Counter[str] = Counter()
        for counter in stats["counters"]:
            totals[counter["name"]] += counter["value"]
        gauges = {gauge["name"]: gauge["value"] for gauge in stats["gauges"] if not gauge["labels"]}
        groups = [] if plan is None else [entry.group for entry in plan.groups]
        offered = sum(self._balancer.flow.offered(group.namespace, group.name) for group in groups)
        return {
            "instance": self._instance,
            "version": __version__,
            "balancer": None if plan is None else plan.documents.config.metadata.name,
            "ready": reason is None,
            "notReady": reason,
            "orders": self.ORDERS,
            "process": {
                "workers": len(stats["workers"]),
                "transactionsOpen": gauges.get("transactions_open", 0),
                "dialogs": gauges.get("dialogs"),
                "callsPerSecond": round(offered, 3),
                "overloaded": any(worker["overloaded"] for worker in stats["workers"]),
                "eventsLost": totals["events_lost_total"],
                "datagramsDropped": totals["datagrams_dropped_total"],
                "startedAt": round(self._started_at, 3),
            },
        }

    def _beside(self, entry: GroupMembers) -> Json:
        """What of a group no node shows: how its limits are split, and which of its names have no address."""
        naming, part = self._balancer.naming, self._balancer.part
        split = bool(counted(entry.group)) and part.replicas > 1
        return {
            "resourceLimitsSplitOver": part.replicas if split else None,
            "unresolved": [] if naming is None else naming.unresolved(entry),
        }

    async def state(self) -> Json:
        """Only a balancer in Kubernetes has one."""
        return {}

    def token(self) -> bytes | None:
        """Nobody asks a standalone balancer."""
        return None

    def explain(self, call: Json) -> Json:
        """Why a call would go where. Raises BadQuestionError."""
        unknown = sorted(set(call) - set(_QUESTION))
        if unknown:
            raise BadQuestionError(f"{unknown[0]}: unknown field; accepted: {', '.join(_QUESTION)}")
        if call.get("message") is None and not isinstance(call.get("requestUri"), str):
            raise BadQuestionError(
                "requestUri: required; accepted: a SIP URI such as sip:1000@example.com, or a message"
            )
        question = {_QUESTION[name]: value for name, value in call.items()}
        try:
            answer: Json = json.loads(self._balancer.core.explain(json.dumps(question).encode()))
        except ConfigError as error:
            pointer, message = error.args
            raise BadQuestionError(f"{_ASKED_AS.get(pointer, pointer)}: {message}") from None
        for part in (answer, answer.get("spill")):
            if part is not None and part["group"] is not None:
                self._tell(part["candidates"], part["group"])
        choice = answer["choice"]
        if choice is not None:
            group = choice.get("group") or answer["group"]
            choice["name"] = self._name(choice, group["namespace"], group["name"])
        return answer

    def _tell(self, candidates: list[Json], group: Json) -> None:
        """Call candidates as their group does, and add what is known of them here."""
        for candidate in candidates:
            candidate["name"] = self._name(candidate, group["namespace"], group["name"])
            watch = self._balancer.watches.get(candidate["uid"])
            if watch is not None:
                candidate["state"], candidate["reason"] = display_state(watch, candidate)

    async def order(self, verb: str, node: str, details: Json, by: str) -> Json:
        """Carry out what an operator wants of a node. Raises BadQuestionError, NotFoundError."""
        balancer = self._balancer
        named = places([] if balancer.plan is None else balancer.plan.groups, node, details.get("group"))
        before = dict(balancer.admin.overrides)
        changed = changes(verb, named, details, before, balancer.same_node, time.time())
        try:
            await balancer.override(changed)
        except ConfigError as error:
            raise BadQuestionError(f"the packet core refuses it: {error.args[1]}") from None
        members = [
            {"member": uid, "before": before.get(uid, Override()).as_json(), "after": after.as_json()}
            for uid, after in changed.items()
        ]
        balancer.journal.record(
            "Order",
            verb.capitalize(),
            f"order: {verb}",
            places=[Place(place.group.namespace, place.group.name, place.member.name) for place in named],
            details={"verb": verb, "by": by, "order": details, "members": members},
        )
        return {"verb": verb, "node": node, "members": members}

    def _name(self, node: dict[str, Any], namespace: str, group: str) -> str:
        """What the group calls the node: groups that share one may have names of their own for it."""
        member = self._balancer.member(node["uid"], namespace, group)
        name: str = node["name"] if member is None else member.name
        return name


def core_nodes(core: Core) -> list[dict[str, Any]]:
    """Every node that the packet core knows, removed ones too, with what each of its groups makes of it now."""
    nodes: list[dict[str, Any]] = json.loads(core.nodes())["nodes"]
    return nodes


def core_stats(core: Core) -> Json:
    """What the packet core counted."""
    stats: Json = json.loads(core.stats())
    return stats


def _lately(known: Iterable[dict[str, Any]], of_node: Callable[[str], int]) -> Counter[tuple[str, str]]:
    """By group, the calls that its nodes were offered in the last minute."""
    calls: Counter[tuple[str, str]] = Counter()
    for node in known:
        for place in node["groups"]:
            calls[place["namespace"], place["name"]] += of_node(node["uid"])
    return calls


def display_state(watch: Watch, place: dict[str, Any]) -> tuple[StateName, str]:
    """State and reason as shown: the watch's, but ``full`` as soon as the packet path sees no room."""
    if place["draining"] and watch.state.name in ("ready", "full", "unknown", "stale"):
        return "draining", "Draining"
    if watch.state.name == "ready" and place["verdict"] == "Full":
        return "full", "NoRoom"
    if watch.state.name == "ready" and place["verdict"] == "Ejected":
        return "down", "Ejected"
    return watch.state.name, watch.state.reason


def _node(
    node: dict[str, Any], place: dict[str, Any], member: SetMember, override: Override, watch: Watch, now: float
) -> Json:
    state, reason = display_state(watch, place)
    report = watch.model.report
    heard, drain = current(watch.model, watch.policy, now), _drain(node, place, member, watch, now)
    if drain is not None and drain["expired"] and reason in {"Drained", "Draining"}:
        reason = "DrainExpired"
    return {
        "namespace": place["namespace"],
        "group": place["name"],
        "node": member.name,
        "uid": node["uid"],
        "sip": node["sip"],
        "transport": node["transport"],
        "esl": None if watch.esl is None else format_endpoint(watch.esl.host, watch.esl.port),
        "state": state,
        "reason": reason,
        "stateSeconds": round(now - watch.since, 3),
        "admin": override.as_json(),
        "probe": _probe(watch, now),
        "link": watch.model.link,
        "linkDetail": watch.model.link_detail,
        "heard": heard,
        "eslLogins": watch.logins.as_json(),
        "eslErrors": {reason: watch.errors[reason] for reason in ESL_ERRORS},
        "sessions": None if report is None else report.sessions,
        "maxSessions": None if report is None else report.max_sessions,
        "reportAge": None if report is None else round(now - report.received, 3),
        "effective": place["effective"],
        "capacity": place["capacity"],
        "free": place["free"],
        "utilization": place["utilization"],
        "eligible": place["eligible"],
        "verdict": place["verdict"],
        "headroom": node["headroom"],
        "share": node["share"],
        "weight": place["weight"],
        "priority": place["priority"],
        "assigned": node["assigned"],
        "ended": node["ended"],
        "inFlight": node["in_flight"],
        "legsPerSecond": node["legs_per_second"],
        "requestsPerSecond": node["requests_per_second"],
        "sessionRate": None if report is None else report.sessions_per_second_last,
        "sessionsPerSecondLimit": watch.model.sessions_per_second,
        "cooling": node["cooling"],
        "failures": node["failures"],
        "ejectedSeconds": node["ejected_for_ms"] / 1000,
        "score": watch.score,
        "resources": {
            name: {"inUse": entry["in_use"], "limit": entry["limit"]} for name, entry in node["resources"].items()
        },
        "drain": drain,
        "idleCPU": watch.model.idle_cpu,
        "coreUUID": watch.model.core_uuid,
    }


def _drain(node: Json, place: Json, member: SetMember, watch: Watch, now: float) -> Json | None:
    """How far the drain of the node is, by this group's word, an order, or its own will; seconds of the epoch."""
    drain = drains.together((drain_of(member), watch.drain))
    if drain is None:
        return None
    report = watch.model.report
    left = drains.remaining(
        fresh=current(watch.model, watch.policy, now),
        reported=None if report is None else report.sessions,
        effective=place["effective"],
        in_setup=node["in_flight"],
    )
    return {
        "since": round(drain.since, 3),
        "deadline": round(drain.deadline, 3),
        "reason": drain.reason,
        "expired": drains.phase(drain, left, time.time()) == "expired",
        "sessions": left,
        "onTimeout": watch.policy.terms.on_timeout,
    }


def _probe(watch: Watch, now: float) -> Json | None:
    """What OPTIONS came to; None where the node is not probed, or has not been."""
    probes = watch.model.probes
    if watch.policy.probing is None or probes.last is None:
        return None
    trip = probes.last.round_trip
    return {
        "answered": not probes.unanswered,
        "failures": probes.failures,
        "successes": probes.successes,
        "status": probes.last.status,
        "detail": probes.last.detail,
        "roundTrip": None if trip is None else round(trip, 6),
        "age": round(now - probes.last.received, 3),
        "results": {result: watch.probe_results[result] for result in PROBE_RESULTS},
    }


def _reported(nodes: Iterable[Json]) -> int:
    return sum(node["sessions"] or 0 for node in nodes if node["heard"])


def _group(group: BalancerGroup, by_group: dict[tuple[str, str], list[Json]]) -> Json:
    nodes = by_group.get((group.namespace, group.name), [])
    serving = [node for node in nodes if node["state"] in ("ready", "full")]
    capacity = sum(node["capacity"] for node in serving)
    effective = sum(node["effective"] for node in serving)
    return {
        "namespace": group.namespace,
        "group": group.name,
        "algorithm": group.spec.routing.algorithm,
        "nodes": len(nodes),
        "states": {state: sum(node["state"] == state for node in nodes) for state in STATES},
        "sessions": _reported(serving),
        "drainingSessions": _reported(node for node in nodes if node["state"] == "draining"),
        "expiredDrains": sum(node["drain"] is not None and node["drain"]["expired"] for node in nodes),
        "effective": effective,
        "capacity": capacity,
        "eligible": sum(node["eligible"] for node in nodes),
        "utilization": min(1.0, effective / capacity) if capacity > 0 else 1.0,
        "assigned": sum(node["assigned"] for node in nodes),
        "resources": {
            name: {"inUse": sum(node["resources"].get(name, _UNUSED)["inUse"] for node in nodes)}
            for name in counted(group)
        },
    }
