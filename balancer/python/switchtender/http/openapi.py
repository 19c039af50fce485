"""The HTTP interface as an OpenAPI 3.1 document, served by itself. Knows no balancer.

It says which questions there are and what they take; answers are described by their main fields, and may hold more.
"""

from __future__ import annotations

from typing import Any, Final

from switchtender.telemetry.journal import TYPES

Json = dict[str, Any]

VERBS: Final = {
    "drain": "Send the node no new calls; those that stand go on.",
    "undrain": "End what drain began.",
    "disable": "Leave the node alone: no new calls, no login to its Event Socket, no OPTIONS.",
    "enable": "End what disable began.",
    "weight": "Give the node another weight in one group; null for the configured one.",
    "resize": "Give the node more or less of a resource in one group; null for the configured limit.",
}

_NULLABLE_TEXT: Final[Json] = {"type": ["string", "null"]}
_GROUP: Final[Json] = {
    "group": {"type": "string", "description": "namespace/name; needed where the node's name is that of several."}
}
_DETAILS: Final[dict[str, Json]] = {
    "weight": {"weight": {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000}},
    "resize": {
        "resource": {"type": "string"},
        "limit": {"type": ["integer", "null"], "minimum": 0, "maximum": 1_000_000},
    },
}

QUESTION: Final[Json] = {
    "message": {**_NULLABLE_TEXT, "description": "A whole SIP request as text, in place of everything below."},
    "requestUri": _NULLABLE_TEXT,
    "method": {"type": "string", "default": "INVITE"},
    "from": {**_NULLABLE_TEXT, "description": "A URI."},
    "to": {**_NULLABLE_TEXT, "description": "A URI."},
    "callId": _NULLABLE_TEXT,
    "source": {**_NULLABLE_TEXT, "description": "IP address that the request comes from."},
    "listener": {**_NULLABLE_TEXT, "description": "Name of the listener that it comes to."},
    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
    "group": {**_NULLABLE_TEXT, "description": "namespace/name: ask this group, whichever would match."},
}
"""What a question to explain may hold."""


def document() -> Json:
    """The document, whole."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Switchtender balancer", "version": "v1"},
        "paths": {
            "/healthz": _get("Whether the process lives.", {"status": "string", "instance": "string"}),
            "/readyz": _get("Whether it may be sent calls; 503 with a reason until then.", {"status": "string"}),
            "/metrics": {
                "get": {
                    "summary": "Metrics for Prometheus.",
                    "responses": {"200": {"description": "OK", "content": {"text/plain": {}}}},
                }
            },
            "/api/v1/nodes": _get("Every node of every group, evaluated now.", {"nodes": "array"}),
            "/api/v1/groups": _get("Every group with its sums.", {"groups": "array"}),
            "/api/v1/balancer": _get(
                "This process: who it is, whether it is ready, how much it carries.",
                {"instance": "string", "version": "string", "ready": "boolean", "process": "object"},
            ),
            "/api/v1/events": _events(),
            "/api/v1/live": _stream(
                "The whole each second (event: view), and events as they happen (event: event). At most 64 at once."
            ),
            "/api/v1/traces": {"get": _traces(), "post": _new_trace()},
            "/api/v1/traces/{id}": {**_trace_id(), "get": _one_trace(), "delete": _ended_trace()},
            "/api/v1/state": _get(
                "For the operator: the versions acted on, and each node. Needs its bearer token.", {"format": "integer"}
            ),
            "/api/v1/openapi.json": _get("This document.", {"openapi": "string"}),
            "/api/v1/explain": {"post": _post("Where a call would go now, and why. Nothing is counted.", QUESTION)},
            **{f"/api/v1/nodes/{{node}}/{verb}": {**_node(), "post": _order(verb)} for verb in VERBS},
        },
        "components": {"schemas": {"Error": _object({"error": {"type": "string"}})}},
    }


def _events() -> Json:
    kinds: dict[str, Json] = {
        "after": {"type": "integer", "minimum": 0, "description": "Those with a greater id, the oldest of them first."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 200},
        "namespace": {"type": "string"},
        "group": {"type": "string"},
        "node": {"type": "string"},
        "type": {"enum": list(TYPES)},
    }
    summary = "What happened, oldest first; asked for as text/event-stream, what happens from now on (or after an id)."
    fields: Json = {
        "events": {"type": "array"},
        "first": {"type": "integer", "description": "The oldest id that is kept."},
        "last": {"type": "integer", "description": "What to ask after next."},
        "instance": {"type": "string", "description": "Ids of another process are others."},
    }
    responses = _responses(fields, "400", "503")
    responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    parameters = [{"name": name, "in": "query", "schema": schema} for name, schema in kinds.items()]
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


_TRACE: Final[Json] = {
    "id": {"type": "integer"},
    "callId": {"type": "string"},
    "started": {"type": "number", "description": "Seconds of the epoch, as the times that follow."},
    "until": {"type": "number"},
    "ended": {"type": ["number", "null"]},
    "messagesPerSecond": {"type": "integer"},
    "by": {"type": "string"},
    "entries": {"type": "integer"},
    "leftOut": {"type": "integer"},
}
_ADMIN: Final = ("401", "403", "503")


def _traces() -> Json:
    fields: Json = {"traces": {"type": "array", "items": _object(_TRACE)}}
    return {"summary": "Traces that run, and the last that ended.", "responses": _responses(fields, *_ADMIN)}


def _new_trace() -> Json:
    fields: Json = {
        "callId": {"type": "string", "minLength": 1, "maxLength": 1024},
        "seconds": {"type": "integer", "minimum": 1, "maximum": 600, "default": 60},
        "messagesPerSecond": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    }
    schema = {**_object(fields), "required": ["callId"], "additionalProperties": False}
    responses = _responses(_TRACE, "400", "409", *_ADMIN)
    responses["201"] = responses.pop("200")
    return {
        "summary": "Follow the call of this Call-ID for a while. At most 8 at once.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": responses,
    }


def _one_trace() -> Json:
    fields: Json = {
        "trace": _object(_TRACE),
        "entries": {"type": "array", "description": "Messages, their secrets masked, and where the call was placed."},
        "leftOut": {"type": "integer"},
    }
    responses = _responses(fields, "404", *_ADMIN)
    responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return {"summary": "What a trace holds; asked for as text/event-stream, to its end.", "responses": responses}


def _ended_trace() -> Json:
    return {"summary": "End a trace before its time.", "responses": _responses(_TRACE, "404", *_ADMIN)}


def _trace_id() -> Json:
    return {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}]}


def _stream(summary: str) -> Json:
    responses = _responses({}, "503")
    responses["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    return {"get": {"summary": summary, "responses": responses}}


def _get(summary: str, fields: dict[str, str]) -> Json:
    return {
        "get": {"summary": summary, "responses": _responses({name: {"type": kind} for name, kind in fields.items()})}
    }


def _post(summary: str, fields: Json) -> Json:
    body = {"content": {"application/json": {"schema": {**_object(fields), "additionalProperties": False}}}}
    answer: Json = {"candidates": {"type": "array"}, "choice": {"type": ["object", "null"]}}
    return {"summary": summary, "requestBody": body, "responses": _responses(answer, "400")}


def _order(verb: str) -> Json:
    fields = _GROUP | _DETAILS.get(verb, {})
    answer: Json = {"verb": {"type": "string"}, "node": {"type": "string"}, "members": {"type": "array"}}
    body = {"content": {"application/json": {"schema": {**_object(fields), "additionalProperties": False}}}}
    summary = f"{VERBS[verb]} Needs the admin token; in Kubernetes 409 says the kubectl command."
    return {"summary": summary, "requestBody": body, "responses": _responses(answer, "400", "401", "403", "404", "409")}


def _node() -> Json:
    return {"parameters": [{"name": "node", "in": "path", "required": True, "schema": {"type": "string"}}]}


def _responses(fields: Json, *refusals: str) -> Json:
    error = {
        "description": "Why not.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    return {
        "200": {"description": "OK", "content": {"application/json": {"schema": _object(fields)}}},
        **dict.fromkeys((*refusals, "500"), error),
    }


def _object(fields: Json) -> Json:
    return {"type": "object", "properties": fields}
