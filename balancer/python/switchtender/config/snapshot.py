"""The core's snapshot: groups, their policy and members, and the nodes behind them, whole. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from switchtender.config.state_dir import TokenKey
from switchtender_api.v1alpha1 import BalancerGroup, SetMember, precedence
from switchtender_api.v1alpha1.endpoints import format_endpoint
from switchtender_api.v1alpha1.routing import Failover

FORMAT = 1

Json = dict[str, Any]

_SPECIAL_RETRIES = ("OwnRefusal", "Timeout", "Transport")


@dataclass(frozen=True)
class GroupMembers:
    """A group and its members, as the balancer takes them up."""

    group: BalancerGroup
    members: tuple[SetMember, ...]


def snapshot(groups: Iterable[GroupMembers], *, keys: Sequence[TokenKey], node_of: Mapping[str, str]) -> Json:
    """The snapshot document, as ``Core.apply`` takes it.

    ``node_of`` maps a member's uid to the uid of the node behind it: members that share an Event Socket are one node.
    """
    in_order = sorted(groups, key=lambda entry: precedence(entry.group))
    indexes: dict[str, int] = {}
    nodes: list[Json] = []
    for entry in in_order:
        for member in entry.members:
            uid = node_of[member.uid]
            if uid not in indexes:
                indexes[uid] = len(nodes)
                nodes.append(
                    {"uid": uid, "name": member.name, "sip": format_endpoint(member.addresses[0], member.sip.port)}
                )
    return {
        "format": FORMAT,
        "keys": [key.as_json() for key in keys],
        "nodes": nodes,
        "groups": [
            _group(entry, {member.uid: indexes[node_of[member.uid]] for member in entry.members}) for entry in in_order
        ],
    }


def _group(entry: GroupMembers, node_index: Mapping[str, int]) -> Json:
    group, spec = entry.group, entry.group.spec
    over_limit = spec.capacity.over_limit
    return {
        "namespace": group.namespace,
        "name": group.name,
        "uid": group.metadata.uid or group.key,
        "generation": group.metadata.generation or 0,
        "priority": spec.match.priority,
        "match": [
            {
                "request_uri": None
                if rule.request_uri is None
                else {"user": None, "host": None, "user_pattern": str(rule.request_uri.user_pattern)},
                "sources": [str(network) for network in rule.sources],
            }
            for rule in spec.match.rules
        ],
        "algorithm": spec.routing.algorithm,
        "legs_per_call": spec.capacity.legs_per_call,
        "failover": _failover(spec.routing.failover),
        "timer_c_ms": _ms(spec.routing.timer_c),
        "over_limit": {
            "action": over_limit.action,
            "status": over_limit.status,
            "retry_after_s": [
                math.ceil(over_limit.retry_after.min.total_seconds()),
                math.ceil(over_limit.retry_after.max.total_seconds()),
            ],
        },
        "panic_threshold": spec.health.panic_threshold / 100,
        "members": [
            {
                "node": node_index[member.uid],
                "weight": float(member.weight),
                "priority": member.priority,
                "draining": member.state == "Draining" or member.drain is not None,
            }
            for member in entry.members
        ],
    }


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
