"""The conditions of a group, each judged from what is known; none of them remembers anything but its last status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from switchtender_api import status as api
from switchtender_api.constants import (
    CONDITION_ACCEPTED,
    CONDITION_CAPACITY_AVAILABLE,
    CONDITION_NODE_SIDE_UNREACHABLE,
    CONDITION_PROGRAMMED,
    CONDITION_READY,
    CONDITION_STATS_FRESH,
)
from switchtender_api.v1alpha1 import BalancerConfigSpec, GroupPolicy
from switchtender_api.v1alpha1.endpoints import host_address
from switchtender_operator.domain.acceptance import Acceptance
from switchtender_operator.domain.members import Member
from switchtender_operator.domain.notes import Note, shown
from switchtender_operator.domain.world import BalancersSeen, NodeReport, Observation

Status = Literal["True", "False", "Unknown"]

SERVING = frozenset({"ready", "full"})
"""States of a node that is in service; a full one takes calls again by itself."""

FROM_BALANCERS = frozenset({CONDITION_PROGRAMMED, CONDITION_STATS_FRESH, CONDITION_CAPACITY_AVAILABLE})
"""Conditions that nobody but the balancers can tell."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it should be; when it became so is added where it is written."""

    type: str
    status: Status
    reason: str
    message: str = ""


def accepted(acceptance: Acceptance) -> Condition:
    """Return whether the spec as it is now came into force."""
    status: Status = "False" if acceptance.group is None else "True"
    return Condition(CONDITION_ACCEPTED, status, acceptance.reason, acceptance.message)


def ready_without_policy() -> Condition:
    """Return the condition of a group of which nothing is in force."""
    return Condition(CONDITION_READY, "False", api.READY_NOT_ACCEPTED, "nothing is in force")


def ready(nodes: int, serving: int, notes: Iterable[Note], *, pods_known: bool) -> Condition:
    """Return whether any node takes calls; the message carries the remarks on single nodes."""
    listed, more = shown(notes)
    remarks = [note.text for note in listed] + ([f"and {more} more"] if more else [])
    if not nodes:
        status: Status = "False" if pods_known else "Unknown"
        first = "no pod matches the selector and no member is static" if pods_known else "pods are not known yet"
        if listed:
            first = "no node"
        return Condition(CONDITION_READY, status, api.READY_NO_MEMBERS, "; ".join([first, *remarks]))
    message = "; ".join([f"{serving} of {nodes} nodes take calls", *remarks])
    if not serving:
        return Condition(CONDITION_READY, "False", api.READY_NO_READY_MEMBERS, message)
    return Condition(CONDITION_READY, "True", api.READY_READY, message)


def stats_fresh(members: Sequence[Member], policy: GroupPolicy | None, observation: Observation | None) -> Condition:
    """Return whether the load of every node that should report is known.

    A node that never reported has nothing that could be stale, and one that drains no longer matters for it.
    """
    if observation is None or not observation.balancers.reachable:
        message = unreachable(observation.balancers) if observation else "balancers have not been asked yet"
        status: Status = "False" if observation else "Unknown"
        return Condition(CONDITION_STATS_FRESH, status, api.STATS_NO_BALANCERS, message)
    watched = [member for member in members if member.esl is not None]
    if not watched:
        return Condition(CONDITION_STATS_FRESH, "Unknown", api.STATS_NO_MEMBERS, "no node has an Event Socket")
    stale_after = policy.health.stale_after if policy else None
    longest = stale_after.total_seconds() if isinstance(stale_after, timedelta) else None
    stale = sorted(
        member.name
        for member in watched
        if member.state != "Draining" and _stale(observation.nodes.get(member.uid), longest)
    )
    if stale:
        message = f"{len(stale)} of {len(watched)} nodes have no fresh report: {named(stale)}"
        return Condition(CONDITION_STATS_FRESH, "False", api.STATS_STALE, message)
    return Condition(CONDITION_STATS_FRESH, "True", api.STATS_FRESH)


def _stale(report: NodeReport | None, longest: float | None) -> bool:
    if report is None:
        return False
    return report.state in ("stale", "down") or (
        longest is not None and report.age is not None and report.age > longest
    )


def capacity_available(members: Iterable[Member], observation: Observation | None) -> Condition:
    """Return whether any node has room for one more call."""
    reports = observation.nodes if observation and observation.balancers.reachable else {}
    states = {
        report.state
        for member in members
        if member.state == "Ready" and (report := reports.get(member.uid)) is not None
    }
    if "ready" in states:
        return Condition(CONDITION_CAPACITY_AVAILABLE, "True", api.CAPACITY_AVAILABLE)
    if "full" in states:
        message = "every node in service is full"
        return Condition(CONDITION_CAPACITY_AVAILABLE, "False", api.CAPACITY_EXHAUSTED, message)
    return Condition(CONDITION_CAPACITY_AVAILABLE, "Unknown", api.CAPACITY_UNKNOWN, "no node in service reports")


def node_side_unreachable(members: Iterable[Member], config: BalancerConfigSpec | str | None) -> Condition | None:
    """Return a condition if static nodes have no address in the cluster's headers that they can reach.

    The first entry of nodeSide.advertise with the node's network counts. The ClusterIP of a Service is no address
    outside the cluster, so an entry with `service` does not serve static nodes. No entries: the bound address stands
    in the headers, as on the host's network.
    """
    entries = config.node_side.advertise if isinstance(config, BalancerConfigSpec) and config.node_side else ()
    if not entries:
        return None
    lost = []
    for member in members:
        addresses = member.body.get("addresses")
        address = host_address(str(addresses[0])) if isinstance(addresses, (list, tuple)) and addresses else None
        if member.is_pod or address is None:
            continue
        entry = next(
            (each for each in entries if not each.networks or any(address in network for network in each.networks)),
            None,
        )
        if entry is None or entry.service is not None:
            lost.append(member.name)
    if not lost:
        return None
    message = (
        f"nodes outside the cluster without an entry of their own in nodeSide.advertise: {named(sorted(lost))}; "
        "give one with their networks and a host that they can reach"
    )
    return Condition(CONDITION_NODE_SIDE_UNREACHABLE, "True", api.NODE_SIDE_NO_ADVERTISED_ADDRESS, message)


def unreachable(balancers: BalancersSeen) -> str:
    """Return why no balancer was heard."""
    return f"none of {balancers.total} balancers answers" if balancers.total else "no balancer runs"


def named(names: Sequence[str], most: int = 10) -> str:
    """Return the first of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the conditions of a status as it was read back, by type; what is malformed is passed over."""
    listed = status.get("conditions")
    return {
        condition["type"]: condition
        for condition in (listed if isinstance(listed, list) else ())
        if isinstance(condition, Mapping)
        and all(isinstance(condition.get(field), str) for field in ("type", "status", "reason"))
        and condition["type"] in api.CONDITIONS
        and condition["status"] in get_args(Status)
    }
