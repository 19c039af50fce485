"""Once a minute a line in the log for each group that had calls: what became of them since the line before, and how
full the group is. Who keeps logs but no metrics can still tell what happened when.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

log = logging.getLogger(__name__)

Json = dict[str, Any]

EVERY = 60.0
"""Seconds between two lines."""


async def run(look: Callable[[], Awaitable[Json]]) -> None:
    """Write the lines until canceled; ``look`` gives all groups under ``groups``."""
    totals: dict[str, Json] = {}
    while True:
        try:
            groups = (await look())["groups"]
            for line in lines(totals, groups):
                log.info("calls of the group", extra=line)
            totals = {_key(group): _totals(group) for group in groups}
        except Exception:
            # No fault of ours in a line of the log may end a process that serves calls.
            log.exception("how calls went could not be told")
        await asyncio.sleep(EVERY)


def lines(before: dict[str, Json], groups: Iterable[Json]) -> Iterator[Json]:
    """The fields of each line: of groups that were there ``before`` (totals by key) and where something happened."""
    for group in groups:
        known = before.get(_key(group))
        if known is None:
            continue
        now = _totals(group)
        grown = {name: now[name] - known[name] if now[name] >= known[name] else now[name] for name in now}
        if any(grown.values()):
            full = {name: group[name] for name in ("sessions", "effective", "capacity", "eligible", "nodes")}
            yield {"groups": [_key(group)], "seconds": EVERY, **grown, **full}


def _key(group: Json) -> str:
    return f"{group['namespace']}/{group['group']}"


def _totals(group: Json) -> dict[str, int]:
    return {
        "offered": group["offered"],
        "answered": group["calls"].get("answered", 0),
        "ended": sum(group["calls"].values()),
        "rejected": sum(group["rejected"].values()),
        "failovers": sum(group["failovers"].values()),
    }
