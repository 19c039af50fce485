"""The socket of the HTTP interface."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator

from aiohttp import web

from switchtender.http.admin import NOBODY, Guard
from switchtender.http.app import application
from switchtender.http.sse import Streams
from switchtender.http.views import View
from switchtender_api.v1alpha1.endpoints import format_endpoint

_GOODBYE = 1.0
"""Seconds for requests under way when the interface closes."""


_PARSER = logging.getLogger(f"{__name__}.parser")
_PARSER.setLevel(logging.CRITICAL + 1)
"""Silent. Where aiohttp tells of what is no HTTP, with a traceback and the bytes that came: anybody could fill the log
by it, and a token that came in a broken header would stand there. Whoever sent it is told; what our own handlers get
wrong is logged by ``errors_as_json``.
"""


class HttpBindError(Exception):
    """The address of the HTTP interface could not be bound; ``address``, ``port``, ``reason`` and ``errno`` say it."""

    def __init__(self, address: str, port: int, error: OSError) -> None:
        self.address = address
        self.port = port
        self.errno = error.errno
        self.reason = os.strerror(error.errno) if error.errno else str(error)
        super().__init__(f"HTTP: cannot bind {address} port {port}: {self.reason}")


@contextlib.asynccontextmanager
async def listening(
    view: View,
    address: str,
    port: int,
    *,
    guard: Guard = NOBODY,
    tls: ssl.SSLContext | None = None,
    streams: Streams | None = None,
) -> AsyncIterator[str]:
    """Serve ``view`` while the block lasts; gives "address:port" as bound. ``guard`` says who may use admin verbs;
    with ``tls`` it is served over https; ``streams`` counts those of server-sent events.

    Raises HttpBindError.
    """
    runner = web.AppRunner(
        application(view, guard, streams), access_log=None, logger=_PARSER, shutdown_timeout=_GOODBYE
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address, port, ssl_context=tls).start()
        except OSError as error:
            raise HttpBindError(address, port, error) from None
        host, bound, *_ = runner.addresses[0]
        yield format_endpoint(host, bound)
    finally:
        await runner.cleanup()
