"""What the packet core tells of nodes and itself, as events of the journal. Pure: names and words, no node."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from switchtender.telemetry.journal import EventType, Severity


@dataclass(frozen=True, slots=True)
class Told:
    """The arguments of ``Journal.record`` but for whom it is about."""

    type: EventType
    severity: Severity
    reason: str
    message: str
    details: dict[str, Any]


class _Kind(NamedTuple):
    """How an event of one kind is told; ``reason`` None: what the packet core says, in one word."""

    type: EventType
    severity: Severity
    reason: str | None
    words: str


_KINDS = {
    "node_refused": _Kind("NodeRefused", "warning", None, "node refused a call: {code} {detail}"),
    "node_timed_out": _Kind("NodeTimedOut", "warning", None, "node did not answer a call: {detail}"),
    "node_transport_error": _Kind("NodeTransportError", "warning", "TransportError", "node could not be sent a call"),
    "shutdown_seen": _Kind("NodeShutdownSeen", "warning", "ShuttingDown", "node answers calls as one that shuts down"),
    "node_ejected": _Kind("NodeEjected", "warning", "CallsFailed", "node is ejected {detail}"),
    "node_returned": _Kind("NodeReturned", "info", "Answered", "node answers calls again: its ejection is over"),
    "worker_panicked": _Kind("Worker", "error", "Panicked", "packet core: worker {worker} panicked: {detail}"),
}
_WORD = re.compile(r"[A-Za-z0-9]+")


def told(kind: str, worker: int, code: int, detail: str) -> Told | None:
    """The event that ``Core.events`` gave in these words; None where it is none for people."""
    found = _KINDS.get(kind)
    if found is None:
        return None
    message = found.words.format(worker=worker, code=code, detail=detail)
    details = {"worker": worker, **({"code": code} if code else {}), **({"detail": detail} if detail else {})}
    return Told(found.type, found.severity, found.reason or in_one_word(detail) or "Unknown", message, details)


def in_one_word(words: str) -> str:
    """A few words in CamelCase: "no response" is NoResponse."""
    return "".join(word[0].upper() + word[1:] for word in _WORD.findall(words.replace("'", "")))
