"""Orders, which change what is served: for whoever shows the balancer's token."""

from __future__ import annotations

import functools

from aiohttp import web

from switchtender.http.admin import admitted_to_order
from switchtender.http.answers import answer, body
from switchtender.http.openapi import VERBS
from switchtender.http.views import VIEW


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [web.post(f"/api/v1/nodes/{{node}}/{verb}", functools.partial(_order, verb)) for verb in VERBS]


async def _order(verb: str, request: web.Request) -> web.Response:
    by = await admitted_to_order(request)
    details = await body(request)
    return answer(await request.app[VIEW].order(verb, request.match_info["node"], details, by))
