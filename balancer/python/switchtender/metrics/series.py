"""Metrics of many samples, quick to write: a page of a thousand nodes has tens of thousands of lines.

``Series`` is an ordinary metric of prometheus_client, whose own encoders give the same text; it can write its lines
itself, from label texts that are rendered once and kept as long as what they name. Knows nothing of nodes or calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from switchtender_api.metrics import Family

AT_ONCE = 1000
"""Lines that are written without a break."""


class Labels:
    """Labels with their values, and the text they are on a page: sorted by name, in braces."""

    __slots__ = ("_extended", "named", "text")

    def __init__(self, named: Mapping[str, str]) -> None:
        self.named = dict(named)
        pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(named.items()))
        self.text = f"{{{pairs}}}" if pairs else ""
        self._extended: dict[tuple[str, str], Labels] = {}

    def also(self, name: str, value: str) -> Labels:
        """These and one more; the same object each time."""
        found = self._extended.get((name, value))
        if found is None:
            found = self._extended[name, value] = Labels({**self.named, name: value})
        return found


NONE = Labels({})


class Kept:
    """Labels by their values, kept from page to page: what a page did not ask for is forgotten after it."""

    def __init__(self) -> None:
        self._before: dict[tuple[tuple[str, ...], tuple[str, ...]], Labels] = {}
        self._now: dict[tuple[tuple[str, ...], tuple[str, ...]], Labels] = {}

    def turn(self) -> None:
        """A new page begins."""
        self._before, self._now = self._now, {}

    def labels(self, names: tuple[str, ...], values: tuple[str, ...]) -> Labels:
        """The labels of these names with these values."""
        key = names, values
        found = self._now.get(key)
        if found is None:
            found = self._before.get(key) or Labels(dict(zip(names, values, strict=True)))
            self._now[key] = found
        return found


Bucketed = tuple[Labels, Iterable[tuple[str, float]], float, float]
"""Labels, buckets (upper bound as text, cumulative count; the last is +Inf), count, sum in the family's unit."""


class Series(Metric):
    """A family with its samples: ``values[i]`` is labeled ``labels[i]``. Neither must change afterwards."""

    def __init__(self, family: Family, labels: Sequence[Labels], values: Sequence[float]) -> None:
        super().__init__(family.name, family.help, family.kind)
        del self.samples  # made when somebody asks for them: see __getattr__
        # Plain lists, no object for each sample: of so many new ones the garbage collector would look through
        # everything that the process holds, and stop it meanwhile.
        self._parts = [(family.exposed, labels, values)] if values else []

    @classmethod
    def of(cls, family: Family, rows: Iterable[tuple[Labels, float]]) -> Series:
        """A family with few samples."""
        rows = list(rows)
        return cls(family, [labels for labels, _ in rows], [value for _, value in rows])

    @classmethod
    def histogram(cls, family: Family, rows: Iterable[Bucketed]) -> Series:
        """A family of histograms."""
        made = cls(family, [], [])
        bucket, summed, counted = family.samples
        for labels, buckets, count, total in rows:
            bounds, counts = zip(*buckets, strict=True)
            made._parts += (
                (bucket, [labels.also("le", bound) for bound in bounds], counts),
                (counted, [labels], [count]),
                (summed, [labels], [total]),
            )
        return made

    def __getattr__(self, name: str) -> Any:
        if name != "samples":
            raise AttributeError(name)
        self.samples = [
            Sample(written, each.named, value)
            for written, labels, values in self._parts
            for each, value in zip(labels, values, strict=True)
        ]
        return self.samples

    def lines(self) -> Iterator[str]:
        """Its samples as text, at most a thousand at a time."""
        for name, labels, values in self._parts:
            for start in range(0, len(values), AT_ONCE):
                part = zip(labels[start : start + AT_ONCE], values[start : start + AT_ONCE], strict=True)
                yield "".join([f"{name}{each.text} {_number(value)}\n" for each, value in part])


def _number(value: float) -> str:
    """As prometheus_client writes it: numbers from a million on look different there, and only those take long."""
    if -1e6 < value < 1e6:
        return repr(float(value))
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
