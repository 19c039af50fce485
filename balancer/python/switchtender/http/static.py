"""The live page at ``/`` and its files below ``/static/``: package data, read once, the same for everybody.

The page needs no build step and asks nobody but us; the headers hold a browser to that. Knows nothing of the balancer:
what the page shows it asks for itself.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from aiohttp import web

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Media types of what the page consists of; a file of another kind is no part of it."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""No inline script or style, nothing from elsewhere, no frame around it, no markup made of strings; and every use asks
whether a file is still the same, so that page and balancer are of one version."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page as it is sent; ``tag`` is its entity tag, unquoted."""

    body: bytes
    content_type: str
    tag: str


def files() -> dict[str, File]:
    """The page's files by name."""
    found: dict[str, File] = {}
    for entry in (resources.files("switchtender.http") / "page").iterdir():
        content_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if content_type is not None:
            body = entry.read_bytes()
            found[entry.name] = File(body, content_type, hashlib.sha256(body).hexdigest()[:16])
    return found


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    known = files()
    return [
        web.get("/", functools.partial(_send, known["index.html"])),
        web.get("/static/{name}", functools.partial(_named, known)),
    ]


async def _named(known: dict[str, File], request: web.Request) -> web.Response:
    file = known.get(request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    return await _send(file, request)


async def _send(file: File, request: web.Request) -> web.Response:
    headers = {**HEADERS, "ETag": f'"{file.tag}"'}
    if any(tag.value in {file.tag, "*"} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, headers={**headers, "Content-Type": file.content_type})
