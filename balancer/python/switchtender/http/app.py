"""The HTTP interface as one application: its routes by topic, and what holds for all of them.

Whoever reaches it may read (`/api/v1/state` apart); admin verbs are for whom the guard admits.
"""

from __future__ import annotations

from aiohttp import web

from switchtender.http import live, orders, reads, static, traces
from switchtender.http.admin import NOBODY, Guard, guarded
from switchtender.http.answers import errors_as_json
from switchtender.http.live import BEHOLDER, Beholder
from switchtender.http.sse import STREAMS, Streams
from switchtender.http.views import VIEW, View

MAX_BODY = 64 * 1024


def application(view: View, guard: Guard = NOBODY, streams: Streams | None = None) -> web.Application:
    """The application that serves ``view``; ``guard`` says who may use the admin verbs, ``streams`` counts those of
    server-sent events.
    """
    app = web.Application(client_max_size=MAX_BODY, middlewares=[errors_as_json])
    app[VIEW] = view
    guarded(app, guard)
    app[STREAMS] = streams or Streams()
    app[BEHOLDER] = Beholder(view)
    app.on_shutdown.append(app[STREAMS].close)
    app.add_routes([*reads.routes(), *live.routes(), *orders.routes(), *traces.routes(), *static.routes()])
    return app
