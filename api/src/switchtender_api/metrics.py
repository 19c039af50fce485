"""How a metric is declared, by every component alike. Knows neither the numbers nor how they get onto a page.

A component declares each of its families once, and everything else goes by the declarations: what it exports, the
reference page, and the names and labels that rules and dashboards may use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]

_SUFFIX: dict[Kind, str] = {"counter": "_total", "info": "_info"}
_SAMPLES: dict[Kind, tuple[str, ...]] = {"histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family.

    * ``name``: whole, with the component's prefix and the unit, without ``_total`` (counter) and ``_info`` (info).
    * ``labels``: every sample has exactly these, in this order (a bucket has ``le`` besides).
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def exposed(self) -> str:
        """The name as it stands on the page of metrics."""
        return self.name + _SUFFIX.get(self.kind, "")

    @property
    def samples(self) -> tuple[str, ...]:
        """The names that its samples have on the page, and in a query: of a histogram, three."""
        return tuple(self.name + suffix for suffix in _SAMPLES.get(self.kind, (_SUFFIX.get(self.kind, ""),)))
