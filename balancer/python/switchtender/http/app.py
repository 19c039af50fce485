"""Routes of the HTTP interface."""

from __future__ import annotations

import functools
import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from switchtender.http.views import BadQuestionError, View

log = logging.getLogger(__name__)

_VIEW: web.AppKey[View] = web.AppKey("view", View)

MAX_BODY = 64 * 1024

_dumps = functools.partial(json.dumps, allow_nan=False)


def application(view: View) -> web.Application:
    """The application that serves ``view``."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors_as_json])
    app[_VIEW] = view
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz),
            web.get("/metrics", _metrics),
            web.get("/api/v1/nodes", _nodes),
            web.get("/api/v1/groups", _groups),
            web.get("/api/v1/state", _state),
            web.post("/api/v1/explain", _explain),
        ]
    )
    return app


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(document, status=status, dumps=_dumps)


def _error(status: int, text: str) -> web.Response:
    return _json({"error": text}, status)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is an object with the one field ``error``; what we did not foresee is logged and says no more."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = _error(error.status, error.reason)
        if isinstance(error, web.HTTPMethodNotAllowed):
            answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return answer
    except Exception:
        log.exception("a request could not be answered", extra={"method": request.method, "path": request.path})
        return _error(500, "internal error; the log says more")


async def _healthz(request: web.Request) -> web.Response:
    return _json({"status": "ok", "instance": request.app[_VIEW].instance})


async def _readyz(request: web.Request) -> web.Response:
    reason = request.app[_VIEW].not_ready()
    if reason is None:
        return _json({"status": "ready"})
    return _json({"status": "not ready", "reason": reason}, 503)


async def _metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[_VIEW].registry), headers={"Content-Type": content_type})


async def _nodes(request: web.Request) -> web.Response:
    return _json({"nodes": request.app[_VIEW].nodes()})


async def _groups(request: web.Request) -> web.Response:
    return _json({"groups": request.app[_VIEW].groups()})


async def _state(request: web.Request) -> web.Response:
    """For the operator alone: 404 where no token is configured, as if it were not there."""
    token = request.app[_VIEW].token()
    if token is None:
        return _error(404, "Not Found")
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    genuine = hmac.compare_digest(presented.strip().encode("utf-8", "surrogateescape"), token)
    if scheme.lower() != "bearer" or not token or not genuine:
        answer = _error(401, "a bearer token is needed, and this is not it")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    return _json(await request.app[_VIEW].state())


async def _explain(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        call = json.loads(body)
    except RecursionError:
        return _error(400, "the body is nested too deeply")
    except ValueError as error:  # no JSON, or not even text
        return _error(400, f"the body is not JSON: {error}")
    if not isinstance(call, dict):
        return _error(400, "the body must be a JSON object with requestUri and optionally method, source and more")
    try:
        return _json(request.app[_VIEW].explain(call))
    except BadQuestionError as error:
        return _error(400, str(error))
