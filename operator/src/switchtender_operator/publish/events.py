"""Kubernetes Events about groups: on transitions only, each said once, a bounded number. Builds them; sends none.

An Event is for a person who runs `kubectl describe`; the status says the same for machines. So one that is left out is
no loss, and none is ever sent twice to make sure.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from switchtender_api.constants import API_VERSION
from switchtender_kube import Resource

EVENTS = Resource("events.k8s.io", "v1", "events")
CONTROLLER = "switchtender.dev/operator"

_NOTE_LENGTH = 1024
"""events.k8s.io/v1: note has at most 1 kB, in bytes."""


@dataclass(slots=True)
class EventGate:
    """Which Events go out: the same about one object not again within `repeat` seconds, few of each object at once.

    An object has `burst` Events, and gets a new one each `refill` seconds. At most `remembered` objects and texts are
    kept in mind. Times are seconds of a monotonic clock.
    """

    repeat: float = 600.0
    burst: int = 10
    refill: float = 60.0
    remembered: int = 4096
    _said: OrderedDict[tuple[str, str, str], float] = field(default_factory=OrderedDict)
    _budget: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def admits(self, uid: str, reason: str, note: str, now: float) -> bool:
        """Return whether the Event goes out, and count it if so."""
        said = self._said.get((uid, reason, note))
        if said is not None and now - said < self.repeat:
            return False
        left, at = self._budget.pop(uid, (float(self.burst), now))
        left = min(float(self.burst), left + (now - at) / self.refill)
        admitted = left >= 1.0
        self._budget[uid] = (left - 1.0 if admitted else left, now)
        if admitted:
            self._said.pop((uid, reason, note), None)
            self._said[uid, reason, note] = now
        while len(self._said) > self.remembered:
            self._said.popitem(last=False)
        while len(self._budget) > self.remembered:
            self._budget.popitem(last=False)
        return admitted


def event(
    *, namespace: str, name: str, uid: str, kind: str, reason: str, note: str, instance: str, at: datetime
) -> dict[str, Any]:
    """Return an events.k8s.io/v1 Event about the BalancerGroup; `kind` is Normal or Warning, `at` is aware."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name[:200]}-", "namespace": namespace},
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "type": kind,
        "reason": reason,
        "note": _cut(note),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": "BalancerGroup",
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
    }


def _cut(note: str) -> str:
    """Return as much of the note as an Event holds."""
    raw = note.encode()
    return note if len(raw) <= _NOTE_LENGTH else raw[: _NOTE_LENGTH - 3].decode(errors="ignore") + "…"
