"""The HTTP interface as an OpenAPI 3.1 document, served by itself: every route, what it takes, what it answers and with
which status. Knows no balancer.
"""

from __future__ import annotations

from typing import Any, Final

from switchtender.http.schemas import SCHEMAS, record, reference, several
from switchtender.telemetry.journal import TYPES
from switchtender.telemetry.traces import MOST_PER_SECOND, MOST_SECONDS, PER_SECOND, SECONDS

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
_NAMED_GROUP: Final[Json] = {
    "group": {"type": "string", "description": "namespace/name; needed where the node's name is that of several."}
}
_DETAILS: Final[dict[str, Json]] = {
    "weight": {"weight": {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000, "examples": [5]}},
    "resize": {
        "resource": {"type": "string", "examples": ["channels"]},
        "limit": {"type": ["integer", "null"], "minimum": 0, "maximum": 1_000_000, "examples": [8]},
    },
}

QUESTION: Final[Json] = {
    "message": {**_NULLABLE_TEXT, "description": "A whole SIP request as text, in place of everything below."},
    "requestUri": {**_NULLABLE_TEXT, "examples": ["sip:1000@example.com"]},
    "method": {"type": "string", "default": "INVITE"},
    "from": {**_NULLABLE_TEXT, "description": "A URI."},
    "to": {**_NULLABLE_TEXT, "description": "A URI."},
    "callId": _NULLABLE_TEXT,
    "source": {**_NULLABLE_TEXT, "description": "IP address that the request comes from."},
    "listener": {**_NULLABLE_TEXT, "description": "Name of the listener that it comes to."},
    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
    "group": {**_NULLABLE_TEXT, "description": "namespace/name: ask this group, whichever would match."},
}
"""What a question to explain may hold: a message, or at least a requestUri."""

_JSON: Final = "application/json"
_STREAM: Final = "text/event-stream"
_BODY: Final = ("400", "413")
"""Refusals of what was sent."""
_ADMIN: Final = ("401", "403", "503")
"""Refusals of whoever asks for an admin verb."""

_REFUSALS: Final = {
    "400": "What was asked cannot be answered; the text names the field.",
    "401": "A bearer token is needed, and this is none that is known; the text says where it stands.",
    "403": "Whoever asks may not, or nobody may; the text says why.",
    "404": "What was named is not there.",
    "409": "Not here, or not now; the text says how.",
    "413": "The body is longer than 64 KiB.",
    "500": "A fault of the balancer; its log says more.",
    "503": "Not now; the text says why.",
}


def document() -> Json:
    """The document, whole."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Switchtender balancer",
            "version": "v1",
            "description": "Whoever reaches it may read. Orders to nodes and traces of calls need a bearer token.",
        },
        "paths": {**_reads(), **_live(), **_traces(), **_orders(), **_page()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _reads() -> Json:
    unready = _answer(record({"status": {"const": "not ready"}, "reason": "string"}))
    metrics: Json = {"text/plain": {}, "application/openmetrics-text": {}}
    state = _get("For the operator, with its own token: what is acted on.", reference("State"), "401", "404")
    question: Json = {
        "type": "object",
        "properties": QUESTION,
        "additionalProperties": False,
        "anyOf": [{"required": ["message"]}, {"required": ["requestUri"]}],
    }
    return {
        "/healthz": _get(
            "Whether the process lives; peers tell replicas apart by its id.",
            record({"status": {"const": "ok"}, "instance": "string"}),
        ),
        "/readyz": _operation(
            "get",
            "Whether it may be sent calls.",
            {"200": _answer(record({"status": {"const": "ready"}})), "503": {**unready, "description": "Not yet."}},
        ),
        "/metrics": _operation(
            "get", "Metrics for Prometheus.", {"200": {"description": "As text or as OpenMetrics.", "content": metrics}}
        ),
        "/api/v1/nodes": _get("Every node of every group, evaluated now.", record({"nodes": several("Node")})),
        "/api/v1/groups": _get("Every group with its sums.", record({"groups": several("Group")})),
        "/api/v1/balancer": _get("This process: who it is, and how much it carries.", reference("Balancer")),
        "/api/v1/state": {"get": {**state["get"], **_guarded()}},
        "/api/v1/openapi.json": _get("This document.", record({"openapi": "string", "paths": "object"})),
        "/api/v1/explain": _operation(
            "post",
            "Where a call would go now, and why. Nothing is sent and nothing counted.",
            {"200": _answer(reference("Explanation")), **_refused(*_BODY)},
            requestBody=_body(question, required=True),
        ),
    }


def _live() -> Json:
    wanted: dict[str, Json] = {
        "after": {"type": "integer", "minimum": 0, "description": "Those with a greater id, the oldest of them first."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 200},
        "namespace": {"type": "string"},
        "group": {"type": "string"},
        "node": {"type": "string"},
        "type": {"enum": list(TYPES)},
    }
    events = record(
        {
            "events": several("Event"),
            "first": {"type": "integer", "description": "The oldest id that is kept."},
            "last": {"type": "integer", "description": "What to ask after next."},
            "instance": {"type": "string", "description": "Ids of another process are others."},
        }
    )
    return {
        "/api/v1/events": _operation(
            "get",
            "What happened, oldest first; asked for as text/event-stream, what happens from now on (or after an id).",
            {"200": _streamed(_answer(events)), **_refused("400", "503")},
            parameters=[{"name": name, "in": "query", "schema": schema} for name, schema in wanted.items()],
        ),
        "/api/v1/live": _operation(
            "get",
            "The whole each second (event: view), and events as they happen (event: event). At most 64 at once.",
            {"200": _streamed({"description": "A stream without an end."}), **_refused("503")},
        ),
    }


def _traces() -> Json:
    wanted: Json = {
        "type": "object",
        "required": ["callId"],
        "properties": {
            "callId": {"type": "string", "minLength": 1, "maxLength": 1024, "examples": ["a84b4c76e66710@pc33"]},
            "seconds": {"type": "integer", "minimum": 1, "maximum": MOST_SECONDS, "default": SECONDS},
            "messagesPerSecond": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_PER_SECOND,
                "default": PER_SECOND,
            },
        },
        "additionalProperties": False,
    }
    one = record({"trace": reference("Trace"), "entries": several("Entry"), "leftOut": "integer"})
    trace = _answer(reference("Trace"))
    return {
        "/api/v1/traces": {
            **_operation(
                "get",
                "Traces that run, and the last that ended.",
                {"200": _answer(record({"traces": several("Trace")})), **_refused(*_ADMIN)},
                **_guarded(),
            ),
            **_operation(
                "post",
                "Follow the call of this Call-ID for a while. At most 8 at once.",
                {"201": {**trace, "description": "It runs."}, **_refused(*_BODY, "409", *_ADMIN)},
                requestBody=_body(wanted, required=True),
                **_guarded(),
            ),
        },
        "/api/v1/traces/{id}": {
            "parameters": [_in_path("id", {"type": "integer", "examples": [1]})],
            **_operation(
                "get",
                "What a trace holds; asked for as text/event-stream, to its end (event: entry, then event: end).",
                {"200": _streamed(_answer(one)), **_refused("404", *_ADMIN)},
                **_guarded(),
            ),
            **_operation(
                "delete", "End a trace before its time.", {"200": trace, **_refused("404", *_ADMIN)}, **_guarded()
            ),
        },
    }


def _orders() -> Json:
    return {f"/api/v1/nodes/{{node}}/{verb}": _order(verb, summary) for verb, summary in VERBS.items()}


def _order(verb: str, summary: str) -> Json:
    details = _DETAILS.get(verb, {})
    wanted = {
        "type": "object",
        "required": list(details),
        "properties": _NAMED_GROUP | details,
        "additionalProperties": False,
    }
    return {
        "parameters": [_in_path("node", {"type": "string", "examples": ["fs1"]})],
        **_operation(
            "post",
            f"{summary} In Kubernetes 409 says the kubectl command that does it.",
            {"200": _answer(reference("Order")), **_refused(*_BODY, "404", "409", *_ADMIN)},
            requestBody=_body(wanted, required=bool(details)),
            **_guarded(),
        ),
    }


def _page() -> Json:
    unchanged = {"304": {"description": "The file is still what If-None-Match says."}}
    kinds = ("text/html", "text/css", "text/javascript", "image/svg+xml")
    return {
        "/": _operation("get", "The live page.", {"200": _text("text/html"), **unchanged}),
        "/static/{name}": {
            "parameters": [_in_path("name", {"type": "string", "examples": ["index.html"]})],
            **_operation("get", "A file of the page.", {"200": _text(*kinds), **unchanged, **_refused("404")}),
        },
    }


def _get(summary: str, schema: Json, *refusals: str) -> Json:
    return _operation("get", summary, {"200": _answer(schema), **_refused(*refusals)})


def _operation(method: str, summary: str, responses: Json, **more: Any) -> Json:
    return {method: {"summary": summary, **more, "responses": {**responses, **_refused("500")}}}


def _guarded() -> Json:
    return {"security": [{"bearer": []}]}


def _answer(schema: Json) -> Json:
    return {"description": "OK", "content": {_JSON: {"schema": schema}}}


def _text(*kinds: str) -> Json:
    return {"description": "OK", "content": {kind: {} for kind in kinds}}


def _streamed(answer: Json) -> Json:
    stream = {_STREAM: {"schema": {"type": "string", "description": "Server-sent events; data is JSON."}}}
    return {**answer, "content": {**answer.get("content", {}), **stream}}


def _refused(*statuses: str) -> Json:
    content = {_JSON: {"schema": reference("Error")}}
    return {status: {"description": _REFUSALS[status], "content": content} for status in statuses}


def _body(schema: Json, *, required: bool) -> Json:
    return {"required": required, "content": {_JSON: {"schema": schema}}}


def _in_path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}
