"""A real Prometheus: its configuration for what is to be scraped, the process, its answers.

Knows nothing of what is scraped, but that the labels it gives itself are to be kept (``honor_labels``).
"""

from __future__ import annotations

import contextlib
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.stand.process import StandError, ask, child, command, free_port, until


@dataclass(frozen=True)
class Job:
    """Processes of one kind, as host:port; ``labels`` stand at each, as discovery in a cluster gives them."""

    name: str
    targets: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"

    def document(self) -> dict[str, Any]:
        """The scrape configuration."""
        return {
            "job_name": self.name,
            "honor_labels": True,
            "scheme": self.scheme,
            "tls_config": {"insecure_skip_verify": True},
            "static_configs": [{"targets": list(self.targets), "labels": dict(self.labels)}],
        }


def configuration(jobs: Sequence[Job], rules: Sequence[str], interval: str = "1s") -> str:
    """The file that Prometheus reads; ``rules`` are rule files, from where the file stands."""
    document = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": list(rules),
        "scrape_configs": [job.document() for job in jobs],
    }
    return yaml.safe_dump(document, sort_keys=False)


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """What its API answers; raises urllib's HTTPError for a query that it refuses."""
        return ask(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")["data"]

    def now(self, expr: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def lately(self, expr: str, seconds: float) -> list[dict[str, Any]]:
        """The series that it had in the last seconds."""
        end = time.time()
        found: list[dict[str, Any]] = self.get(
            "query_range", query=expr, start=str(end - seconds), end=str(end), step="1"
        )["result"]
        return found


@contextlib.contextmanager
def scraping(config: Path, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus on this configuration until the block ends; its data lie in ``folder``."""
    port = free_port()
    arguments = [
        command("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with child(arguments, folder / "prometheus.log") as process:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")

        def healthy() -> bool:
            if process.poll() is not None:
                raise StandError(f"Prometheus ended: {(folder / 'prometheus.log').read_text()[-3000:]}")
            return prometheus.get("status/runtimeinfo") is not None

        until(healthy, "a Prometheus that answers")
        yield prometheus
