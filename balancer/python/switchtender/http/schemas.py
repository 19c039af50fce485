"""The shapes of what the HTTP interface answers, as JSON schemas (2020-12). Knows no route.

Every field that stands here is in every answer; later versions may add others, so none is forbidden.
"""

from __future__ import annotations

from typing import Any, Final

from switchtender.telemetry.journal import TYPES

Json = dict[str, Any]


def record(fields: dict[str, str | Json], **more: Any) -> Json:
    """An object with these fields: a JSON type, with "?" one that may be null, or a schema."""
    properties = {name: _schema(kind) for name, kind in fields.items()}
    return {"type": "object", "required": list(properties), "properties": properties, **more}


def reference(name: str) -> Json:
    """One of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


def several(name: str) -> Json:
    """A list of one of ``SCHEMAS``."""
    return {"type": "array", "items": reference(name)}


def _schema(kind: str | Json) -> Json:
    if isinstance(kind, dict):
        return kind
    return {"type": [kind[:-1], "null"]} if kind.endswith("?") else {"type": kind}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _by_name(value: str | Json) -> Json:
    return {"type": "object", "additionalProperties": _schema(value)}


_SECONDS: Final[Json] = {"type": "number", "description": "Seconds of the epoch."}
_STATE: Final[Json] = {"enum": ["unknown", "ready", "full", "draining", "stale", "down"]}
_GROUP_NAME: Final = record({"namespace": "string", "name": "string"})
_DETAILS: Final[Json] = {"type": "object", "description": "Depends on what it is."}

_NODE: Final = record(
    {
        "namespace": "string",
        "group": "string",
        "node": "string",
        "uid": "string",
        "sip": "string",
        "transport": "string",
        "esl": "string?",
        "state": _STATE,
        "reason": "string",
        "stateSeconds": "number",
        "admin": reference("Override"),
        "probe": _or_null(reference("Probe")),
        "link": "string?",
        "linkDetail": "string?",
        "heard": "boolean",
        "eslLogins": reference("Logins"),
        "eslErrors": _by_name("integer"),
        "sessions": "integer?",
        "maxSessions": "integer?",
        "reportAge": "number?",
        "effective": "number",
        "capacity": "number",
        "free": "number",
        "utilization": "number",
        "eligible": "boolean",
        "verdict": "string",
        "headroom": "number",
        "share": "number",
        "weight": "number",
        "priority": "integer",
        "assigned": "integer",
        "ended": "integer",
        "inFlight": "integer",
        "legsPerSecond": "number",
        "requestsPerSecond": "number",
        "sessionRate": "number?",
        "sessionsPerSecondLimit": "number?",
        "cooling": "number",
        "failures": "integer",
        "ejectedSeconds": "number",
        "score": "number?",
        "resources": _by_name(record({"inUse": "integer", "limit": "integer?"})),
        "drain": _or_null(reference("Drain")),
        "idleCPU": "number?",
        "coreUUID": "string?",
        "callsPerSecond": "number",
        "callShare": "number?",
    },
    description="One member of one group, evaluated now. Sessions are what the node reported, effective what it is "
    "taken to carry: null where it has not reported.",
)

_GROUP: Final = record(
    {
        "namespace": "string",
        "group": "string",
        "algorithm": "string",
        "nodes": "integer",
        "states": _by_name("integer"),
        "sessions": "integer",
        "drainingSessions": "integer",
        "expiredDrains": "integer",
        "effective": "number",
        "capacity": "number",
        "eligible": "integer",
        "utilization": "number",
        "assigned": "integer",
        "resources": _by_name(record({"inUse": "integer"})),
        "generation": "integer",
        "callsPerSecond": "number",
        "rejectedPerSecond": "number",
        "offered": "integer",
        "calls": _by_name("integer"),
        "rejected": _by_name("integer"),
        "failovers": _by_name("integer"),
        "resourceLimitsSplitOver": "integer?",
        "unresolved": {"type": "array", "items": {"type": "string"}},
    },
    description="A group with its sums; draining, stale and down nodes add nothing to capacity.",
)

_BALANCER: Final = record(
    {
        "instance": "string",
        "version": "string",
        "balancer": "string?",
        "ready": "boolean",
        "notReady": "string?",
        "orders": {"enum": ["token", "kubectl"], "description": "How orders to nodes are given here."},
        "process": record(
            {
                "workers": "integer",
                "transactionsOpen": "integer",
                "dialogs": "integer?",
                "callsPerSecond": "number",
                "overloaded": "boolean",
                "eventsLost": "integer",
                "datagramsDropped": "integer",
                "startedAt": _SECONDS,
            }
        ),
    }
)

_EVENT: Final = record(
    {
        "id": {"type": "integer", "minimum": 1},
        "time": _SECONDS,
        "since": _SECONDS,
        "type": {"enum": list(TYPES)},
        "severity": {"enum": ["info", "warning", "error"]},
        "namespace": "string?",
        "group": "string?",
        "node": "string?",
        "reason": "string",
        "message": "string",
        "count": {"type": "integer", "minimum": 1, "description": "Repeats that came to this one event."},
        "details": _DETAILS,
    }
)

_CANDIDATE: Final = record(
    {
        "uid": "string",
        "name": "string",
        "sip": "string",
        "transport": "string",
        "verdict": "string",
        "why": "string",
        "taken": "boolean",
        "eligible": "boolean",
        "last_resort": "boolean",
        "admission": "string",
        "draining": "boolean",
        "backup": "boolean",
        "priority": "integer",
        "weight": "number",
        "weight_now": "number",
        "score": "number?",
        "idle_cpu": "number?",
        "sessions": "number?",
        "assigned_since": "number",
        "ended_since": "number",
        "in_flight": "integer",
        "effective": "number",
        "capacity": "number",
        "free": "number",
        "utilization": "number",
        "resources": _by_name(record({"in_use": "integer", "limit": "integer?"})),
    },
    description="A member of the group as the choice of a node sees it; state and reason are added where it is known.",
)

_NAMED_NODE: Final = record(
    {"uid": "string", "name": "string", "sip": "string", "transport": "string", "group": _GROUP_NAME}
)

_EXPLANATION: Final = record(
    {
        "generation": "integer",
        "group": _or_null(_GROUP_NAME),
        "matches": "boolean",
        "rule": "integer?",
        "candidates": several("Candidate"),
        "choice": _or_null(_NAMED_NODE),
        "reason": {"type": ["string", "null"], "description": "Why no node was chosen."},
    },
    description="Where the call would go; the rest is there where a group takes it.",
)
_EXPLANATION["properties"] |= {
    "mode": {"type": "string"},
    "algorithm": {"type": "string"},
    "hash": {"type": ["string", "null"]},
    "wanted": record({"legs": "integer", "resources": {"type": "array"}, "emergency": "boolean"}),
    "spill": _or_null(record({"group": _GROUP_NAME, "candidates": several("Candidate")})),
    "eligible": {"type": "integer"},
}

_TRACE: Final = record(
    {
        "id": "integer",
        "callId": "string",
        "started": _SECONDS,
        "until": _SECONDS,
        "ended": _or_null(_SECONDS),
        "messagesPerSecond": "integer",
        "by": "string",
        "entries": {"type": "integer", "description": "How many there were."},
        "leftOut": {"type": "integer", "description": "How many more there would have been."},
    }
)

_ENTRY: Final[Json] = {
    **record({"time": _SECONDS, "worker": "integer"}),
    "description": "A message that was received or sent (direction, transport, local, peer, text with its secrets "
    "masked), or where the call was placed (decision, group, uid, node, address, details).",
}

_STATE_OF_ALL: Final = record(
    {
        "format": {"const": 1},
        "instance": "string",
        "version": "string",
        "balancer": "string",
        "sets": {"type": "array", "items": {"type": "object"}},
        "groups": {"type": "array", "items": {"type": "object"}},
        "nodes": {"type": "array", "items": {"type": "object"}},
        "unknownFields": "integer",
    },
    description="What the operator asks for: the versions acted on, and each node.",
)

SCHEMAS: Final[dict[str, Json]] = {
    "Balancer": _BALANCER,
    "Candidate": _CANDIDATE,
    "Entry": _ENTRY,
    "Error": record({"error": "string"}),
    "Event": _EVENT,
    "Explanation": _EXPLANATION,
    "Group": _GROUP,
    "Node": _NODE,
    "Order": record(
        {
            "verb": "string",
            "node": "string",
            "members": {
                "type": "array",
                "items": record({"member": "string", "before": reference("Override"), "after": reference("Override")}),
            },
        }
    ),
    "Override": record(
        {"state": "string?", "since": "number?", "weight": "integer?", "resources": _by_name("integer")},
        description="What an operator wants of a member; null and nothing where it is as configured.",
    ),
    "Drain": record(
        {
            "since": "number",
            "deadline": "number",
            "reason": "string",
            "expired": "boolean",
            "sessions": "integer?",
            "onTimeout": {"enum": ["Hold", "Release"]},
        },
        description="The drain of a node: since when (seconds of the epoch) it takes no new calls, until when its "
        "calls are waited for and what then, and why. sessions: what remains, 0 once it is empty, null where nobody "
        "knows; expired: the deadline has passed and it is not known to be empty.",
    ),
    "Logins": record({"up": "boolean", "connects": "integer", "disconnects": "integer"}),
    "Probe": record(
        {
            "answered": "boolean",
            "failures": "integer",
            "successes": "integer",
            "status": "integer?",
            "detail": "string",
            "roundTrip": "number?",
            "age": "number",
            "results": _by_name("integer"),
        }
    ),
    "State": _STATE_OF_ALL,
    "Trace": _TRACE,
}
"""By the name that the document refers to them by."""
