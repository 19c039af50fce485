"""Orders, which change what is served: taken from this host alone, and from nothing that a browser would send on
behalf of another site.
"""

from __future__ import annotations

import functools
import ipaddress

from aiohttp import web

from switchtender.http.answers import answer, body, error
from switchtender.http.openapi import VERBS
from switchtender.http.views import VIEW


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [web.post(f"/api/v1/nodes/{{node}}/{verb}", functools.partial(_order, verb)) for verb in VERBS]


async def _order(verb: str, request: web.Request) -> web.Response:
    if (refusal := refused(request, f"run switchtender {verb} where the balancer runs")) is not None:
        return refusal
    details = await body(request)
    by = request.remote or "unknown"
    return answer(await request.app[VIEW].order(verb, request.match_info["node"], details, by))


def refused(request: web.Request, instead: str) -> web.Response | None:
    """Why whoever asks may give no orders here, told with what to do instead; None where they may."""
    if not _from_this_host(request):
        return error(403, f"orders are taken from this host alone: {instead}")
    if request.content_type != "application/json" or "Origin" in request.headers:
        return error(403, "orders are sent as application/json, and not by a page in a browser")
    return None


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
