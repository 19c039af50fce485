"""The page of metrics: gathered from all collectors, written, compressed, and all of it a little at a time.

The event loop also listens to the nodes, so nothing here holds it up for longer than a few milliseconds, however many
nodes there are. Packets know nothing of it: the packet core only reads counters for it.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, runtime_checkable

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from switchtender.http.views import Page
from switchtender.metrics.series import Series

_TURN = 0.002
"""Seconds of work after which the event loop goes on with all else."""
_LEVEL = 1
"""Of compression: twenty times smaller in a few milliseconds; the best takes ten times as long to be twice as good."""
_END = b"# EOF\n"

Encode = Callable[[Collector], bytes]


@runtime_checkable
class Gathering(Protocol):
    """A collector that can also gather its numbers beside the event loop."""

    async def gather(self) -> Iterator[Metric]:
        """What ``collect`` gives."""


class Exposition(Collector):
    """All metrics of a process; to prometheus_client, a collector as any other. One page is made at a time."""

    def __init__(self) -> None:
        self._collectors: list[Collector] = []
        self._heads: dict[tuple[str, str], str] = {}
        self._turn = asyncio.Lock()

    def add(self, collector: Collector) -> None:
        """Show its metrics, too."""
        self._collectors.append(collector)

    def collect(self) -> Iterator[Metric]:
        """Every family of every collector, at once."""
        for collector in self._collectors:
            yield from collector.collect()

    async def page(self, accept: str, accept_encoding: str) -> Page:
        """The page in the format that the scraper prefers (the headers ``Accept`` and ``Accept-Encoding``): Prometheus'
        text, or OpenMetrics, and compressed where it takes that.
        """
        encode, content_type = _encoder(accept)
        async with self._turn:
            body = await self._written(encode, content_type)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if _takes_gzip(accept_encoding):
            headers["Content-Encoding"] = "gzip"
            body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
        return Page(body, headers)

    async def _written(self, encode: Encode, content_type: str) -> bytes:
        parts: list[str] = []
        since = time.perf_counter()
        async for metric in self._gathered():
            for part in self._text(metric, encode, content_type):
                parts.append(part)
                if time.perf_counter() - since > _TURN:
                    await asyncio.sleep(0)
                    since = time.perf_counter()
        end = _END if encode(_One(None)) == _END else b""
        return "".join(parts).encode() + end

    async def _gathered(self) -> AsyncIterator[Metric]:
        for collector in self._collectors:
            for metric in await collector.gather() if isinstance(collector, Gathering) else collector.collect():
                yield metric

    def _text(self, metric: Metric, encode: Encode, content_type: str) -> Iterator[str]:
        """As ``encode`` writes it, which is asked only for what it alone knows, and where names are to be changed."""
        if not isinstance(metric, Series) or _renames(content_type):
            yield _encoded(metric, encode)
            return
        head = self._heads.get((content_type, metric.name))
        if head is None:
            empty = Metric(metric.name, metric.documentation, metric.type)
            head = self._heads[content_type, metric.name] = _encoded(empty, encode)
        yield head
        yield from metric.lines()


class _One(Collector):
    def __init__(self, metric: Metric | None) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """The one, if there is one."""
        if self._metric is not None:
            yield self._metric


def _encoded(metric: Metric, encode: Encode) -> str:
    return encode(_One(metric)).removesuffix(_END).decode()


def _encoder(accept: str) -> tuple[Encode, str]:
    try:
        return choose_encoder(accept)
    except TypeError:  # a version that is no number
        return choose_encoder("")


def _renames(content_type: str) -> bool:
    """Whether the scraper wants names in an escaping that changes even those without special characters."""
    return content_type.endswith(("escaping=dots", "escaping=values"))


def _takes_gzip(accept_encoding: str) -> bool:
    offered = (coding.partition(";") for coding in accept_encoding.split(","))
    return any(name.strip().lower() == "gzip" and _weight(rest) > 0 for name, _, rest in offered)


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 1.0
