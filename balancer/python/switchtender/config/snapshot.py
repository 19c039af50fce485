"""The core's snapshot: groups, their policy and members, and the nodes behind them, whole. Pure.

The document is format 2. What a group asks for by name stands in it by index: other groups, listeners, nodes. Hosts
given by name stand by their addresses, and one that is not known to be anywhere does not stand in it at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from switchtender.config.limits import WHOLE, Part, counted, limits_of, parts_of
from switchtender.config.names import Resolved, Target, hop_targets, member_target
from switchtender.config.state_dir import TokenKey
from switchtender_api.v1alpha1 import BalancerGroup, SetMember, precedence
from switchtender_api.v1alpha1.capacity import OverLimit
from switchtender_api.v1alpha1.egress import Egress
from switchtender_api.v1alpha1.endpoints import format_endpoint
from switchtender_api.v1alpha1.health import Ejection
from switchtender_api.v1alpha1.match import MatchRule, UriMatch
from switchtender_api.v1alpha1.routing import DEFAULT_HIGH_WATER, Failover, HashOn

FORMAT = 2

Json = dict[str, Any]

_SPECIAL_RETRIES = ("OwnRefusal", "Timeout", "Transport")


@dataclass(frozen=True)
class GroupMembers:
    """A group and its members, as the balancer takes them up."""

    group: BalancerGroup
    members: tuple[SetMember, ...]


@dataclass(frozen=True, slots=True)
class _Indexes:
    """What the document says by number: listeners by name, groups by key, and the part of limits that is ours."""

    listeners: Mapping[str, int]
    groups: Mapping[str, int]
    resolved: Resolved
    part: Part


def snapshot(
    groups: Iterable[GroupMembers],
    *,
    keys: Sequence[TokenKey],
    node_of: Mapping[str, str],
    listeners: Sequence[str],
    resolved: Resolved | None = None,
    part: Part = WHOLE,
) -> Json:
    """The snapshot document, as ``Core.apply`` takes it.

    ``node_of`` maps a member's uid to the uid of the node behind it: members that share an Event Socket are one node.
    ``listeners`` are the names of the balancer's, in its order, ``resolved`` says where names are, and ``part`` which
    part of limits is this replica's. A rule for a listener that the balancer does not have takes no calls.
    """
    in_order = sorted(groups, key=lambda entry: precedence(entry.group))
    indexes = _Indexes(
        {name: index for index, name in enumerate(listeners)},
        {entry.group.key: index for index, entry in enumerate(in_order)},
        resolved or {},
        part,
    )
    nodes = _nodes(in_order, node_of, indexes.resolved)
    numbers = {uid: index for index, uid in enumerate(nodes)}
    return {
        "format": FORMAT,
        "keys": [key.as_json() for key in keys],
        "nodes": list(nodes.values()),
        "groups": [
            _group(entry, {member.uid: numbers.get(node_of[member.uid]) for member in entry.members}, indexes)
            for entry in in_order
        ],
    }


def _nodes(groups: Iterable[GroupMembers], node_of: Mapping[str, str], resolved: Resolved) -> dict[str, Json]:
    """The nodes by uid, each as the first of its members says; when it is ejected, all its groups say together."""
    nodes: dict[str, Json] = {}
    ejections: dict[str, list[Ejection]] = {}
    for entry in groups:
        for member in entry.members:
            uid = node_of[member.uid]
            ejections.setdefault(uid, []).append(entry.group.spec.health.ejection)
            target = member_target(member, resolved) if uid not in nodes else None
            if target is not None:
                endpoint = format_endpoint(target.address, target.port)
                nodes[uid] = {"uid": uid, "name": member.name, "sip": endpoint, "transport": target.transport}
    return {uid: {**node, "ejection": _ejection(ejections[uid])} for uid, node in nodes.items()}


def _ejection(said: Iterable[Ejection]) -> Json | None:
    """The strictest of what groups say: the fewest failures, the longest times; None where none ejects."""
    ejections = [ejection for ejection in said if ejection.failures]
    if not ejections:
        return None
    return {
        "failures": min(ejection.failures for ejection in ejections),
        "duration_ms": max(_ms(ejection.duration) for ejection in ejections),
        "max_ms": max(_ms(ejection.max_duration) for ejection in ejections),
    }


def _group(entry: GroupMembers, node_index: Mapping[str, int | None], indexes: _Indexes) -> Json:
    group, spec = entry.group, entry.group.spec
    stateless = spec.routing.mode == "Stateless"
    names = counted(group)
    return {
        "namespace": group.namespace,
        "name": group.name,
        "uid": group.metadata.uid or group.key,
        "generation": group.metadata.generation or 0,
        "priority": spec.match.priority,
        "match": [_rule(rule, indexes.listeners) for rule in spec.match.rules],
        "mode": spec.routing.mode,
        "algorithm": spec.routing.algorithm,
        "hash_on": _hash_on(spec.routing.key),
        "weights_from": spec.routing.weights_from or "Reported",
        "high_water": (spec.routing.high_water or DEFAULT_HIGH_WATER) / 100,
        "legs_per_call": spec.capacity.legs_per_call,
        "resources": [
            {"name": resource.name, "limited": resource.name in names} for resource in spec.capacity.resources
        ],
        "emergency_reserve": spec.capacity.emergency_reserve,
        "queue_ms": 0 if stateless else _ms(spec.capacity.queue.max_wait),
        "call_expiry_ms": _ms(spec.capacity.call_expiry),
        "failover": _failover(spec.routing.failover),
        "timer_c_ms": _ms(spec.routing.timer_c),
        "over_limit": _over_limit(group, spec.capacity.over_limit, indexes.groups),
        "panic_threshold": spec.health.panic_threshold / 100,
        "max_ejected": spec.health.ejection.max_percent / 100,
        "large_requests": spec.sip.large_requests,
        "egress": None if spec.egress is None else _egress(group, spec.egress, indexes),
        "members": [
            _member(group, member, index, indexes.part)
            for member in entry.members
            if (index := node_index[member.uid]) is not None
        ],
    }


def _member(group: BalancerGroup, member: SetMember, node: int, part: Part) -> Json:
    return {
        "node": node,
        "weight": float(member.weight),
        "priority": member.priority,
        "backup": member.backup,
        "draining": member.state == "Draining" or member.drain is not None,
        "limits": parts_of(limits_of(group, member), part),
    }


def _rule(rule: MatchRule, listeners: Mapping[str, int]) -> Json:
    return {
        "request_uri": _uri(rule.request_uri),
        "to": _uri(rule.to),
        "from": _uri(rule.from_),
        "methods": list(rule.methods),
        "sources": [str(network) for network in rule.sources],
        "headers": [{"name": each.name, "value": each.value, "pattern": each.pattern} for each in rule.headers],
        "listeners": [listeners.get(name, _NO_LISTENER) for name in rule.listeners],
        "resources": list(rule.resources),
        "emergency": rule.emergency,
    }


_NO_LISTENER = 65_535
"""A number that no listener has: an empty list would mean every listener."""


def _uri(condition: UriMatch | None) -> Json | None:
    if condition is None:
        return None
    return {"user": condition.user, "host": condition.host, "user_pattern": condition.user_pattern}


def _hash_on(key: HashOn) -> Json:
    return {"type": key.type, "name": key.name, "user_only": key.user_only}


def _over_limit(group: BalancerGroup, over_limit: OverLimit, groups: Mapping[str, int]) -> Json:
    """A group that spills into one that is not served here refuses what is over its limit instead."""
    other = groups.get(f"{group.namespace}/{over_limit.group}")
    return {
        "action": "Reject" if over_limit.action == "Spill" and other is None else over_limit.action,
        "group": other if over_limit.action == "Spill" else None,
        "status": over_limit.status,
        "retry_after_s": [
            math.ceil(over_limit.retry_after.min.total_seconds()),
            math.ceil(over_limit.retry_after.max.total_seconds()),
        ],
    }


def _egress(group: BalancerGroup, egress: Egress, indexes: _Indexes) -> Json | None:
    """None where nothing of it is there: calls from nodes are refused then, as without egress."""
    hops = sorted(_hops(egress, indexes.resolved), key=lambda hop: -int(hop["priority"]))[:_MOST_HOPS]
    other = indexes.groups.get(f"{group.namespace}/{egress.group}")
    listener = 0 if egress.listener is None else indexes.listeners.get(egress.listener)
    if listener is None or (not hops and other is None and egress.request_uri is None):
        return None
    return {
        "listener": listener,
        "next_hops": hops,
        "group": other,
        "request_uri": None
        if egress.request_uri is None
        else [str(network) for network in egress.request_uri.networks],
    }


_MOST_HOPS = 64
"""As many as are tried for one call; names may have any number of addresses."""
_RANKS = 64
"""Ranks of targets within one priority of ours, which may be 0 to 1000."""


def _hops(egress: Egress, resolved: Resolved) -> Iterator[Json]:
    """Each place of each next hop. A hop of several has its weight divided among those of one rank; those of a higher
    rank come after all first ones of its priority, and before the next priority.
    """
    for hop in egress.next_hops:
        targets = hop_targets(hop, resolved)
        for target in targets:
            rank = min(target.rank, _RANKS - 1)
            peers = sum(min(other.rank, _RANKS - 1) == rank for other in targets)
            yield _hop(target, (hop.priority + 1) * _RANKS - 1 - rank, hop.weight / peers)


def _hop(target: Target, priority: int, weight: float) -> Json:
    address = format_endpoint(target.address, target.port)
    return {"address": address, "transport": target.transport, "priority": priority, "weight": weight}


def _failover(failover: Failover) -> Json:
    return {
        "attempts": failover.attempts,
        "retry_on": {
            "own_refusal": "OwnRefusal" in failover.retry_on,
            "timeout": "Timeout" in failover.retry_on,
            "transport": "Transport" in failover.retry_on,
            "codes": [int(code) for code in failover.retry_on if code not in _SPECIAL_RETRIES],
        },
        "first_response_timeout_ms": _ms(failover.first_response_timeout),
        "progress_timeout_ms": _ms(failover.progress_timeout),
        "cool_down_ms": [_ms(failover.cool_down.min), _ms(failover.cool_down.max)],
    }


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
