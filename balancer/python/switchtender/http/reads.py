"""What anybody who reaches the HTTP interface may read: probes, metrics, nodes, groups, the process and where a call
would go; and the state that is the operator's alone.
"""

from __future__ import annotations

import hmac

from aiohttp import web

from switchtender.http.answers import answer, answer_of_many, error, json_object
from switchtender.http.openapi import document
from switchtender.http.views import VIEW


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get("/healthz", _healthz),
        web.get("/readyz", _readyz),
        web.get("/metrics", _metrics),
        web.get("/api/v1/nodes", _nodes),
        web.get("/api/v1/groups", _groups),
        web.get("/api/v1/balancer", _balancer),
        web.get("/api/v1/state", _state),
        web.get("/api/v1/openapi.json", _openapi),
        web.post("/api/v1/explain", _explain),
    ]


async def _healthz(request: web.Request) -> web.Response:
    return answer({"status": "ok", "instance": request.app[VIEW].instance})


async def _readyz(request: web.Request) -> web.Response:
    reason = request.app[VIEW].not_ready()
    if reason is None:
        return answer({"status": "ready"})
    return answer({"status": "not ready", "reason": reason}, 503)


async def _metrics(request: web.Request) -> web.Response:
    accepted = (request.headers.get(name, "") for name in ("Accept", "Accept-Encoding"))
    page = await request.app[VIEW].metrics.page(*accepted)
    return web.Response(body=page.body, headers=page.headers)


async def _nodes(request: web.Request) -> web.Response:
    nodes = (await request.app[VIEW].look())["nodes"]
    return await answer_of_many("nodes", nodes)


async def _groups(request: web.Request) -> web.Response:
    groups = (await request.app[VIEW].look())["groups"]
    return await answer_of_many("groups", groups)


async def _balancer(request: web.Request) -> web.Response:
    return answer(request.app[VIEW].balancer())


async def _state(request: web.Request) -> web.Response:
    """For the operator alone: 404 where no token is configured, as if it were not there."""
    token = request.app[VIEW].token()
    if token is None:
        return error(404, "Not Found")
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    genuine = hmac.compare_digest(presented.strip().encode("utf-8", "surrogateescape"), token)
    if scheme.lower() != "bearer" or not token or not genuine:
        refusal = error(401, "a bearer token is needed, and this is not it")
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal
    return answer(await request.app[VIEW].state())


async def _openapi(request: web.Request) -> web.Response:
    return answer(document())


async def _explain(request: web.Request) -> web.Response:
    call = json_object(await request.read())
    return answer(request.app[VIEW].explain(call))
