"""Tables for people, on a terminal or in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

_COLORS = {
    "ready": "green",
    "full": "yellow",
    "draining": "cyan",
    "stale": "magenta",
    "down": "red",
    "unknown": "white",
}
_REFRESH = 0.5


def show(renderable: RenderableType) -> None:
    """Print once."""
    Console().print(renderable)


def live(render: Callable[[], RenderableType]) -> None:
    """Print again and again in place, until interrupted."""
    with Live(render(), console=Console(), auto_refresh=False) as display:
        try:
            while True:
                time.sleep(_REFRESH)
                display.update(render(), refresh=True)
        except KeyboardInterrupt:
            return


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
            f"[{_COLORS[state]}]{state}[/]",
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
    console = Console()
    group, choice = answer.get("group"), answer.get("choice")
    if group is None:
        console.print("no group matches: the call gets 404", highlight=False)
        return
    console.print(f"group {group['namespace']}/{group['name']}", highlight=False)
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
    console.print(table)
    if choice is None:
        console.print(f"no node takes the call: {answer.get('reason')}", highlight=False)
    else:
        console.print(f"goes to {choice['name']} ({choice['sip']}); another draw may differ", highlight=False)


def _whole(value: float | None) -> str:
    return "-" if value is None else str(value)
