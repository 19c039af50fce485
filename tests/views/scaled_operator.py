"""What an operator exports of groups that it scales, served over HTTP: its own page of metrics over chosen numbers.

The operator of `pod_world` has pods that are nowhere, so its groups are never scaled; this one says that it scales one.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from switchtender_api.metrics import Family
from switchtender_operator.telemetry import metrics
from switchtender_operator.telemetry.metrics import Metrics, Sample

GROUP = ("voice", "scaled")
_TOLD = {
    metrics.DRAINING_NODES: 1.0,
    metrics.DRAINING_SESSIONS: 12.0,
    metrics.AUTOSCALE_REPLICAS: 4.0,
    metrics.AUTOSCALE_DESIRED: 3.0,
    metrics.AUTOSCALE_DRAINING: 1.0,
    metrics.AUTOSCALE_MIN: 2.0,
    metrics.AUTOSCALE_MAX: 20.0,
}


def _read() -> Iterator[tuple[Family, list[Sample]]]:
    for family, value in _TOLD.items():
        yield family, [(GROUP, value)]
    yield metrics.CONDITION, [((*GROUP, "AutoscaleActive"), 1.0)]


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Serve the page while the block lasts; yields host:port. With each scrape it has scaled and marked once more."""
    exported = Metrics()
    exported.read_from(_read)
    directions = itertools.cycle(("out", "in"))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            exported.scaled(next(directions), "applied")
            exported.marked("applied")
            body, content_type = exported.page(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of each scrape."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="scaled operator")
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
