"""Families that somebody else holds the numbers of: each with a function that is asked at every scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from switchtender.metrics.series import Labels, Series
from switchtender_api.metrics import Family

Read = Callable[[], Iterable[tuple[Sequence[str], float]]]
"""Gives label values, in the order of the family's labels, each with its value. Called in the event loop."""


class Readings(Collector):
    """Exports these families (no histograms), and those that are added later, in this order."""

    def __init__(self, *families: tuple[Family, Read]) -> None:
        self._read = list(families)

    def add(self, family: Family, read: Read) -> None:
        """Export the family from now on."""
        self._read.append((family, read))

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        for family, read in self._read:
            yield Series.of(
                family, [(Labels(dict(zip(family.labels, values, strict=True))), value) for values, value in read()]
            )
