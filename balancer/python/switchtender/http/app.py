"""Routes of the HTTP interface."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from switchtender.http.views import BadQuestionError, Json, View

_VIEW: web.AppKey[View] = web.AppKey("view", View)

MAX_BODY = 64 * 1024


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
            web.post("/api/v1/explain", _explain),
        ]
    )
    return app


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return web.json_response({"error": error.reason}, status=error.status)


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok", "instance": request.app[_VIEW].instance})


async def _readyz(request: web.Request) -> web.Response:
    reason = request.app[_VIEW].not_ready()
    if reason is None:
        return web.json_response({"status": "ready"})
    return web.json_response({"status": "not ready", "reason": reason}, status=503)


async def _metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[_VIEW].registry), headers={"Content-Type": content_type})


async def _nodes(request: web.Request) -> web.Response:
    return web.json_response({"nodes": request.app[_VIEW].nodes()})


async def _groups(request: web.Request) -> web.Response:
    return web.json_response({"groups": request.app[_VIEW].groups()})


async def _explain(request: web.Request) -> web.Response:
    try:
        call = await request.json()
    except json.JSONDecodeError as error:
        return web.json_response({"error": f"the body is not JSON: {error}"}, status=400)
    if not isinstance(call, dict):
        return web.json_response(
            {"error": "the body must be a JSON object with requestUri and optionally method, from, to, callId, source"},
            status=400,
        )
    try:
        answer: Json = request.app[_VIEW].explain(call)
    except BadQuestionError as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response(answer)
