"""How calls flow: the packet core's totals, looked at once a second, as rates of nodes and groups and shares of calls.

One pass over all nodes with one small question each: of a thousand nodes it takes about a millisecond.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from switchtender._core import Core
from switchtender.telemetry.rates import Rates

GroupKey = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class GroupCalls:
    """What became of a group's calls, all totals: by outcome those that came to an end at a node, by cause those that
    no node got and those that another node was tried for.
    """

    offered: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    failovers: dict[str, int] = field(default_factory=dict)


def group_calls(stats: Mapping[str, Any]) -> dict[GroupKey, GroupCalls]:
    """By group, out of ``Core.stats()``."""
    found: defaultdict[GroupKey, GroupCalls] = defaultdict(GroupCalls)
    for counter in stats["counters"]:
        labels, value = counter["labels"], counter["value"]
        if "group" not in labels:
            continue
        calls = found[labels["namespace"], labels["group"]]
        match counter["name"]:
            case "calls_offered_total":
                calls.offered = value
            case "calls_total":
                calls.outcomes[labels["outcome"]] = value
            case "calls_rejected_total":
                calls.rejected[labels["cause"]] = value
            case "failovers_total":
                calls.failovers[labels["cause"]] = value
    return dict(found)


class Flow:
    """The rates of one packet core's nodes and groups. ``sample`` is to be called about once a second."""

    def __init__(self, core: Core, clock: Callable[[], float]) -> None:
        self._core = core
        self._clock = clock
        self._nodes = Rates()
        self._groups = Rates()

    def sample(self, uids: Iterable[str]) -> None:
        """Look at the totals of these nodes, and of every group."""
        now = self._clock()
        self._nodes.take(now, {uid: self._core.baseline(uid, 0.0).assigned_now for uid in uids})
        totals: dict[Hashable, int] = {}
        for key, calls in group_calls(json.loads(self._core.stats())).items():
            totals["offered", *key] = calls.offered
            totals["rejected", *key] = sum(calls.rejected.values())
        self._groups.take(now, totals)

    def node(self, uid: str) -> float:
        """Calls per second that the node was offered."""
        return round(self._nodes.per_second(uid), 3)

    def offered(self, namespace: str, group: str) -> float:
        """Calls per second that came to the group."""
        return round(self._groups.per_second(("offered", namespace, group)), 3)

    def rejected(self, namespace: str, group: str) -> float:
        """Calls per second of the group that no node got."""
        return round(self._groups.per_second(("rejected", namespace, group)), 3)

    def lately(self, uid: str) -> int:
        """Calls that the node was offered in the last minute, whichever group they came by."""
        return self._nodes.lately(uid)
