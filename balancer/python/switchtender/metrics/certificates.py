"""When certificates in use expire."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from switchtender.metrics.families import CERTIFICATE_EXPIRY


class CertificateCollector(Collector):
    """The certificate of the HTTP interface; ``expires`` gives seconds of the epoch."""

    def __init__(self, expires: Callable[[], float]) -> None:
        self._expires = expires

    def collect(self) -> Iterator[Metric]:
        """The family, at each scrape."""
        family = CERTIFICATE_EXPIRY
        gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        gauge.add_metric(["http"], self._expires())
        yield gauge
