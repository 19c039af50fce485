"""The last good snapshot: what a balancer in Kubernetes acted on, kept in ``stateDir`` for a start while the API server
is away. DestinationSets hold no password, so neither does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from switchtender.config.destination_sets import Json, SeenSet, seen_set

FILE = "sets.json"
_FORMAT = 1


class LastGoodUnreadableError(ValueError):
    """A text that is no snapshot of this format."""


@dataclass(frozen=True, slots=True)
class LastGood:
    """``sets`` as acted on, ``services``: the ClusterIPs of the Services that the node side advertises, by name, and
    ``saved_at``: when, in seconds since the epoch.
    """

    sets: tuple[SeenSet, ...] = ()
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    saved_at: float = 0.0


def dump(documents: Iterable[Json], services: Mapping[str, tuple[str, ...]], saved_at: float) -> str:
    """The text of a snapshot."""
    content = {"format": _FORMAT, "savedAt": saved_at, "services": dict(services), "sets": list(documents)}
    return json.dumps(content, separators=(",", ":"))


def parse(text: bytes) -> LastGood:
    """The snapshot in a text. Raises LastGoodUnreadableError."""
    try:
        content = json.loads(text)
        if content["format"] == _FORMAT:
            sets = tuple(seen for raw in content["sets"] if (seen := seen_set(raw)) is not None)
            services = {str(name): tuple(map(str, addresses)) for name, addresses in content["services"].items()}
            return LastGood(sets, services, float(content["savedAt"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise LastGoodUnreadableError("not a snapshot") from None
    raise LastGoodUnreadableError(f"format {content['format']!r}, this version reads {_FORMAT}")
