"""Routes of the HTTP interface.

Whoever reaches it may read (`/api/v1/state` apart). Orders, which change what is served, are taken from this host
alone, and from nothing that a browser would send on behalf of another site.
"""

from __future__ import annotations

import functools
import hmac
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from switchtender.http.openapi import VERBS, document
from switchtender.http.views import BadQuestionError, Json, NotFoundError, NotHereError, View

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
            web.get("/api/v1/openapi.json", _openapi),
            web.post("/api/v1/explain", _explain),
            *(web.post(f"/api/v1/nodes/{{node}}/{verb}", functools.partial(_order, verb)) for verb in VERBS),
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


async def _openapi(request: web.Request) -> web.Response:
    return _json(document())


async def _explain(request: web.Request) -> web.Response:
    try:
        call = _body(await request.read())
        return _json(request.app[_VIEW].explain(call))
    except BadQuestionError as error:
        return _error(400, str(error))


async def _order(verb: str, request: web.Request) -> web.Response:
    if not _from_this_host(request):
        return _error(403, f"orders are taken from this host alone: run switchtender {verb} where the balancer runs")
    if request.content_type != "application/json" or "Origin" in request.headers:
        return _error(403, "orders are sent as application/json, and not by a page in a browser")
    try:
        details = _body(await request.read() or b"{}")
        by = request.remote or "unknown"
        return _json(await request.app[_VIEW].order(verb, request.match_info["node"], details, by))
    except BadQuestionError as error:
        return _error(400, str(error))
    except NotFoundError as error:
        return _error(404, str(error))
    except NotHereError as error:
        return _error(409, str(error))


def _from_this_host(request: web.Request) -> bool:
    """Whether the peer is on loopback or at the very address it asks, and no proxy speaks for somebody else."""
    if request.remote is None or any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "Via")):
        return False
    asked = None if request.transport is None else request.transport.get_extra_info("sockname")
    if asked is not None and asked[0] == request.remote:
        return True
    try:
        peer = ipaddress.ip_address(request.remote)
    except ValueError:
        return False
    return bool((getattr(peer, "ipv4_mapped", None) or peer).is_loopback)


def _body(body: bytes) -> Json:
    """The JSON object that was sent. Raises BadQuestionError."""
    try:
        found = json.loads(body)
    except RecursionError:
        raise BadQuestionError("the body is nested too deeply") from None
    except ValueError as error:  # no JSON, or not even text
        raise BadQuestionError(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadQuestionError("the body must be a JSON object")
    return found
