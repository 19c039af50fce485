"""Traces of calls: begun, listed, read or followed, and ended over HTTP. What they show is for those alone who may use
the admin verbs.
"""

from __future__ import annotations

from aiohttp import web

from switchtender.http.admin import admitted
from switchtender.http.answers import answer, body, dumps, error
from switchtender.http.sse import Stream, frame, last_seen, wants_stream
from switchtender.http.views import VIEW, BadQuestionError, Json, NotFoundError
from switchtender.telemetry.traces import (
    MOST_PER_SECOND,
    MOST_SECONDS,
    PER_SECOND,
    SECONDS,
    NoSuchTraceError,
    TooManyTracesError,
    Trace,
    Traces,
)

_FIELDS = ("callId", "seconds", "messagesPerSecond")


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.post("/api/v1/traces", _start),
        web.get("/api/v1/traces", _list, allow_head=False),
        web.get("/api/v1/traces/{id}", _read, allow_head=False),
        web.delete("/api/v1/traces/{id}", _end),
    ]


async def _start(request: web.Request) -> web.Response:
    by = await admitted(request)
    asked = await body(request)
    unknown = sorted(set(asked) - set(_FIELDS))
    if unknown:
        raise BadQuestionError(f"{unknown[0]}: unknown field; accepted: {', '.join(_FIELDS)}")
    call_id = asked.get("callId")
    if not isinstance(call_id, str) or not call_id:
        raise BadQuestionError("callId: required; accepted: the Call-ID of a call, as its messages have it")
    seconds = _whole(asked, "seconds", MOST_SECONDS, SECONDS)
    per_second = _whole(asked, "messagesPerSecond", MOST_PER_SECOND, PER_SECOND)
    traces = _traces(request)
    try:
        trace = traces.start(call_id, seconds, per_second, by)
    except ValueError as fault:
        raise BadQuestionError(f"callId: {fault}") from None
    except TooManyTracesError as fault:
        return error(409, str(fault))
    return answer(traces.as_json(trace), 201)


async def _list(request: web.Request) -> web.Response:
    await admitted(request)
    traces = _traces(request)
    return answer({"traces": [traces.as_json(trace) for trace in traces.all()]})


async def _read(request: web.Request) -> web.StreamResponse:
    await admitted(request)
    traces = _traces(request)
    trace = _trace(request, traces)
    if wants_stream(request):
        return await _follow(request, traces, trace)
    shown = traces.as_json(trace)
    return answer({"trace": shown, "entries": list(trace.entries), "leftOut": shown["leftOut"]})


async def _end(request: web.Request) -> web.Response:
    await admitted(request)
    traces = _traces(request)
    return answer(traces.as_json(traces.end(_trace(request, traces).id)))


async def _follow(request: web.Request, traces: Traces, trace: Trace) -> web.StreamResponse:
    """Every entry, those before first; then ``event: end`` with the trace as it is then, and the stream ends."""
    stream, seen = Stream(request), last_seen(request) or 0
    async with stream.open(trace.news):
        while await stream.more():
            entries = trace.after(seen)
            seen, over = trace.last, trace.ended is not None
            frames = b"".join(frame("entry", dumps(entry), entry["id"]) for entry in entries)
            if over:
                frames += frame("end", dumps(traces.as_json(trace)))
            if not await stream.send(frames) or over:
                break
    return stream.response


def _traces(request: web.Request) -> Traces:
    traces = request.app[VIEW].traces
    if traces is None:
        raise web.HTTPServiceUnavailable(reason=f"no call is served yet: {request.app[VIEW].not_ready()}")
    return traces


def _trace(request: web.Request, traces: Traces) -> Trace:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(2**53))):
        raise NotFoundError(f"no trace has the id {text!r}: ids are whole numbers")
    try:
        return traces.trace(int(text))
    except NoSuchTraceError as fault:
        raise NotFoundError(str(fault)) from None


def _whole(asked: Json, field: str, most: int, otherwise: int) -> int:
    value = asked.get(field, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise BadQuestionError(f"{field}: {value!r}: accepted: a whole number from 1 to {most}")
    return value
