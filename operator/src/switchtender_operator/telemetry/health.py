"""The operator's HTTP interface: is it alive, is it ready, its metrics. Never asks the API server anything.

That it answers at all shows that the event loop turns. A check that fails is named, so that a person need not guess.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

log = logging.getLogger(__name__)

Check = Callable[[], Iterable[str]]
"""Returns what is wrong, nothing if all is well."""


def application(alive: Check, ready: Check, metrics: Callable[[str], tuple[bytes, str]]) -> web.Application:
    """Return the routes /healthz, /readyz and /metrics."""

    def probe(check: Check) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            problems = list(check())
            text = "".join(f"{problem}\n" for problem in problems) or "ok\n"
            return web.Response(text=text, status=503 if problems else 200)

        return answer

    async def page(request: web.Request) -> web.Response:
        body, content_type = metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/healthz", probe(alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", probe(ready))  # type: ignore[arg-type]
    app.router.add_get("/metrics", page)
    return app


@asynccontextmanager
async def served(app: web.Application, address: str, port: int) -> AsyncIterator[int]:
    """Serve the application while the context lasts; gives the port, which port 0 leaves to the kernel.

    Raises OSError where the address cannot be bound.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        bound = int(runner.addresses[0][1])
        log.info("answering probes and metrics", extra={"address": address, "port": bound})
        yield bound
    finally:
        await runner.cleanup()
