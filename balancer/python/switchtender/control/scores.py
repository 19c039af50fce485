"""Which scorer scores which node: the groups' wishes, the threads that fulfill them, and the scores' way back."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from switchtender.config import scorers
from switchtender.config.scorers import Scorer
from switchtender.config.snapshot import GroupMembers
from switchtender.control.scoring import FAULTS, Key, ScorerThread
from switchtender.drivers.reports import Report
from switchtender_api.v1alpha1 import SetMember


@dataclass(frozen=True, slots=True)
class Wish:
    """A group wants a node scored: by which scorer, and with which attributes."""

    scorer: str
    attributes: Mapping[str, Any]


class Scores:
    """The scorers at work. ``tell`` gets each score: node uid, group key, score."""

    def __init__(self, tell: Callable[[str, str, float], None], load: Callable[[str], Scorer] = scorers.load) -> None:
        self._tell = tell
        self._load = load
        self._threads: dict[str, ScorerThread] = {}
        self._wishes: dict[str, dict[str, Wish]] = {}

    def take_up(self, members: Iterable[tuple[str, GroupMembers, SetMember]]) -> None:
        """Score these from now on: node uid, group and member of each. That their scorers can be had was checked."""
        self._wishes = {}
        for uid, entry, member in members:
            wanted = wish(entry, member)
            if wanted is not None:
                self._wishes.setdefault(uid, {})[entry.group.key] = wanted
        names = {wanted.scorer for groups in self._wishes.values() for wanted in groups.values()}
        for name in self._threads.keys() - names:
            self._threads.pop(name).close()
        for name in names - self._threads.keys():
            self._threads[name] = ScorerThread(name, self._load(name), self._scored)
        for thread in self._threads.values():
            thread.forget(lambda key: key[1] in self._wishes.get(key[0], {}))

    def wanted(self, uid: str) -> Container[str]:
        """The keys of the groups that want the node scored."""
        return self._wishes.get(uid, {})

    def reported(self, uid: str, report: Report) -> None:
        """A node has reported: have it scored."""
        groups = self._wishes.get(uid)
        if groups:
            said = report_fields(report)
            for group, wanted in groups.items():
                self._threads[wanted.scorer].ask((uid, group), said, wanted.attributes)

    def faults(self) -> dict[tuple[str, str], int]:
        """How often each scorer failed in each way."""
        return {(name, fault): thread.faults[fault] for name, thread in self._threads.items() for fault in FAULTS}

    def close(self) -> None:
        """Score nothing any more."""
        for thread in self._threads.values():
            thread.close()
        self._threads.clear()
        self._wishes.clear()

    def _scored(self, key: Key, score: float) -> None:
        uid, group = key
        if group in self._wishes.get(uid, {}):
            self._tell(uid, group, score)


def wish(entry: GroupMembers, member: SetMember) -> Wish | None:
    """What a group wants of a member's score; None for nothing."""
    name = entry.group.spec.routing.score
    if name is None:
        return None
    return Wish(
        name,
        {
            "namespace": entry.group.namespace,
            "group": entry.group.name,
            "name": member.name,
            "node": member.node,
            "zone": member.zone,
            "weight": member.weight,
            "priority": member.priority,
            "backup": member.backup,
        },
    )


def report_fields(report: Report) -> dict[str, Any]:
    """A report as scorers are shown it (docs/scoring.md); None for what the node did not say."""
    return {
        "source": report.source,
        "sessions": report.sessions,
        "maxSessions": report.max_sessions,
        "sessionsSinceStartup": report.sessions_since_startup,
        "sessionsPerSecondLimit": report.sessions_per_second_limit,
        "sessionsPerSecondLast": report.sessions_per_second_last,
        "idleCPU": report.idle_cpu,
        "uptimeSeconds": None if report.uptime_ms is None else report.uptime_ms / 1000,
        "coreUUID": report.core_uuid,
    }
