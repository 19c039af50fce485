"""What an operator exports that marks pods and takes nodes away, served over HTTP: its own page over counts of our own.

The operator of `pod_world` adds nodes; but its pods are nowhere, so they carry nothing that it could mark them by.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from switchtender_operator.telemetry.metrics import Metrics


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Serve the page while the block lasts; yields host:port. By each scrape it has marked and scaled in once more."""
    exported = Metrics()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            exported.scaled("in", "applied")
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
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="marking operator")
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
