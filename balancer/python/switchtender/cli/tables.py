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
    table = columns(
        ("GROUP", "NODE", "STATE", "REASON"),
        ("SESSIONS", "MAX", "EFFECTIVE", "ROOM", "UTIL", "SHARE", "CALLS", "AGE"),
        ("ADMIN", "SIP", "RESOURCES"),
    )
    for entry in entries:
        table.add_row(
            f"{entry['namespace']}/{entry['group']}",
            entry["node"],
            state(entry["state"]),
            entry["reason"],
            _whole(entry["sessions"]),
            _whole(entry["maxSessions"]),
            f"{entry['effective']:.1f}",
            f"{entry['free']:.1f}",
            f"{entry['utilization']:.0%}",
            f"{entry['share']:.2f}",
            str(entry["assigned"]),
            "-" if entry["reportAge"] is None else f"{entry['reportAge']:.1f}s",
            _admin(entry.get("admin")),
            _probe(entry.get("probe"), entry.get("transport")),
            resources(entry.get("resources")),
        )
    return table


def columns(left: tuple[str, ...], right: tuple[str, ...], further: tuple[str, ...] = ()) -> Table:
    """An empty table: words to the left, numbers to the right, words again."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for names, justify in ((left, "left"), (right, "right"), (further, "left")):
        for name in names:
            table.add_column(name, justify="right" if justify == "right" else "left")
    return table


def state(name: str) -> Text:
    """A node's state in its color."""
    return Text(name, style=_COLORS.get(name, ""))


def resources(entry: dict[str, Any] | None) -> str:
    """What is in use of each limited resource, of how many; keys as HTTP or as the packet core writes them."""
    parts = []
    for name, numbers in (entry or {}).items():
        used, limit = numbers.get("inUse", numbers.get("in_use")), numbers["limit"]
        parts.append(f"{name} {used}/{'-' if limit is None else limit}")
    return ", ".join(parts) or "-"


def _admin(override: dict[str, Any] | None) -> str:
    """What an operator overrides; see ``switchtender drain --help`` and its like."""
    if override is None:
        return "-"
    words = [override["state"].lower()] if override["state"] else []
    words += [f"weight {override['weight']}"] if override["weight"] is not None else []
    words += [f"{name} {limit}" for name, limit in override["resources"].items()]
    return ", ".join(words) or "-"


def _probe(probe: dict[str, Any] | None, transport: str | None) -> str:
    """What OPTIONS came to lately, and over which transport."""
    if probe is None:
        return transport or "-"
    said = "no answer" if probe["status"] is None else str(probe["status"])
    return f"{transport or ''} {said}".strip()


def _whole(value: float | None) -> str:
    return "-" if value is None else str(value)
