"""Tables for people, on a terminal or in a pipe."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from switchtender.cli.client import ApiError

_COLORS = {
    "ready": "green",
    "full": "yellow",
    "draining": "cyan",
    "stale": "magenta",
    "down": "red",
    "unknown": "white",
}
_REFRESH = 0.5
_PIPE_WIDTH = 1000


def console() -> Console:
    """Standard output: as wide as the terminal; in a pipe nothing is cut off or wrapped."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def show(renderable: RenderableType) -> None:
    """Print once."""
    console().print(renderable)


def live(render: Callable[[], RenderableType]) -> None:
    """Print again and again in place, until interrupted.

    Raises ApiError when the first look fails; later ones show it and go on, for a balancer may be restarted.
    """
    with contextlib.suppress(KeyboardInterrupt), Live(render(), console=console(), auto_refresh=False) as display:
        while True:
            time.sleep(_REFRESH)
            try:
                display.update(render(), refresh=True)
            except ApiError as error:
                display.update(Text(str(error), style="red"), refresh=True)


def nodes(entries: list[dict[str, Any]]) -> Table:
    """The table of ``switchtender nodes``."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("GROUP", "NODE", "STATE", "REASON"):
        table.add_column(name)
    for name in ("SESSIONS", "MAX", "EFFECTIVE", "ROOM", "UTIL", "SHARE", "CALLS", "AGE"):
        table.add_column(name, justify="right")
    for entry in entries:
        state = entry["state"]
        table.add_row(
            f"{entry['namespace']}/{entry['group']}",
            entry["node"],
            Text(state, style=_COLORS.get(state, "")),
            entry["reason"],
            _whole(entry["sessions"]),
            _whole(entry["maxSessions"]),
            f"{entry['effective']:.1f}",
            f"{entry['free']:.1f}",
            f"{entry['utilization']:.0%}",
            f"{entry['share']:.2f}",
            str(entry["assigned"]),
            "-" if entry["reportAge"] is None else f"{entry['reportAge']:.1f}s",
        )
    return table


def explanation(answer: dict[str, Any]) -> None:
    """The words and the table of ``switchtender explain``."""
    out = console()
    group, choice = answer.get("group"), answer.get("choice")
    if group is None:
        out.print("no group matches: the call gets 404")
        return
    out.print(f"group {group['namespace']}/{group['name']}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("NODE", "STATE", "VERDICT"):
        table.add_column(name)
    for name in ("EFFECTIVE", "CAPACITY", "ROOM", "UTIL", "WEIGHT", "PRIORITY"):
        table.add_column(name, justify="right")
    for candidate in answer["candidates"]:
        table.add_row(
            candidate["name"],
            candidate.get("state", "-"),
            candidate["verdict"],
            f"{candidate['effective']:.1f}",
            f"{candidate['capacity']:.1f}",
            f"{candidate['free']:.1f}",
            f"{candidate['utilization']:.0%}",
            f"{candidate['weight']:g}",
            str(candidate["priority"]),
        )
    out.print(table)
    if choice is None:
        out.print(f"no node takes the call: {answer.get('reason')}")
    else:
        out.print(f"goes to {choice['name']} ({choice['sip']}); another draw may differ")


def _whole(value: float | None) -> str:
    return "-" if value is None else str(value)
