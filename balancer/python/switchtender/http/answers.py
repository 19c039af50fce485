"""How the HTTP interface answers: JSON documents, errors as objects with the one field ``error``, and what it reads of
a body. Knows no route and no balancer.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from switchtender.http.admin import NotAdmittedError
from switchtender.http.views import BadQuestionError, Json, NotFoundError, NotHereError

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

dumps = functools.partial(json.dumps, allow_nan=False)
"""JSON as the interface writes it: a number that JSON has no word for is a mistake of ours, not an answer."""

_AT_ONCE = 50
"""Entries that are written before other threads have their turn."""

_STATUS = ((BadQuestionError, 400), (NotFoundError, 404), (NotHereError, 409))


def answer(document: dict[str, Any], status: int = 200) -> web.Response:
    """The document as JSON."""
    return web.json_response(document, status=status, dumps=dumps)


async def answer_of_many(name: str, entries: list[Json]) -> web.Response:
    """An object with these entries in its one field, written beside the event loop."""
    text = await asyncio.to_thread(lambda: f'{{"{name}": {dumps_many(entries)}}}')
    return web.Response(text=text, content_type="application/json")


def dumps_many(entries: list[Json]) -> str:
    """The entries as JSON. Of thousands that is a long text: other threads have their turn before it is whole."""
    parts = (dumps(entries[start : start + _AT_ONCE])[1:-1] for start in range(0, len(entries), _AT_ONCE))
    return f"[{', '.join(parts)}]"


def error(status: int, text: str) -> web.Response:
    """The error as JSON."""
    return answer({"error": text}, status)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is an object with the one field ``error``; what we did not foresee is logged and says no more."""
    try:
        return await handler(request)
    except (BadQuestionError, NotFoundError, NotHereError) as refused:
        return error(next(status for kind, status in _STATUS if isinstance(refused, kind)), str(refused))
    except NotAdmittedError as refused:
        document = error(refused.status, str(refused))
        document.headers.update(refused.headers)
        return document
    except web.HTTPException as refused:
        if refused.status < 400:
            raise
        document = error(refused.status, refused.reason)
        if isinstance(refused, web.HTTPMethodNotAllowed):
            document.headers["Allow"] = ", ".join(sorted(refused.allowed_methods))
        return document
    except Exception:
        log.exception("a request could not be answered", extra={"method": request.method, "path": request.path})
        return error(500, "internal error; the log says more")


async def body(request: web.Request) -> Json:
    """The JSON object that was sent; an empty body is an empty object. Raises BadQuestionError."""
    return json_object(await request.read() or b"{}")


def json_object(text: bytes) -> Json:
    """The JSON object that the text holds. Raises BadQuestionError."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise BadQuestionError("the body is nested too deeply") from None
    except ValueError as fault:  # no JSON, or not even text
        raise BadQuestionError(f"the body is not JSON: {fault}") from None
    if not isinstance(found, dict):
        raise BadQuestionError("the body must be a JSON object")
    return found
