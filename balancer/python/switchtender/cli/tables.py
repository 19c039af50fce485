"""Tables for people, on a terminal or in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from switchtender.cli.client import ApiError

COLORS = {
    "ready": "green",
    "full": "yellow",
    "draining": "cyan",
    "stale": "magenta",
    "down": "red",
    "unknown": "white",
}
_REFRESH = 0.5
_PIPE_WIDTH = 1000


class _Output(Console):
    """Standard output; that its reader went away is the program's to know, as from every other print."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls this while it handles the error


def console() -> Console:
    """Standard output: as wide as the terminal, in colors if they are wanted; elsewhere plain, and nothing is cut off
    or wrapped.
    """
    terminal = sys.stdout.isatty()
    context = click.get_current_context(silent=True)
    plain = context is not None and context.color is False
    return _Output(
        highlight=False,
        markup=False,
        force_terminal=terminal,
        no_color=plain or None,
        width=None if terminal else _PIPE_WIDTH,
    )


def show(renderable: RenderableType) -> None:
    """Print once."""
    console().print(renderable)


def live(render: Callable[[], RenderableType]) -> None:
    """Print again and again in place, until interrupted.

    Raises ApiError when the first look fails; later ones show it and go on, for a balancer may be restarted.
    """
    with Live(render(), console=console(), auto_refresh=False) as display:
        while True:
            time.sleep(_REFRESH)
            try:
                display.update(render(), refresh=True)
            except ApiError as error:
                display.update(Text(error.message, style="red"), refresh=True)


class Column(NamedTuple):
    """A column: its title, what of an entry stands in it, and whether that is a number."""

    title: str
    cell: Callable[[dict[str, Any]], str | Text]
    number: bool = False


def table_of(entries: list[dict[str, Any]], columns: Iterable[Column]) -> Table:
    """A line for each entry. Where a terminal is too narrow, words are cut; no line takes two."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = tuple(columns)
    for column in shown:
        table.add_column(column.title, justify="right" if column.number else "left", no_wrap=True, overflow="ellipsis")
    for entry in entries:
        table.add_row(*(column.cell(entry) for column in shown))
    return table


def load(entry: dict[str, Any]) -> str:
    """Effective sessions of the capacity; nothing where there is no capacity to speak of, or nothing is heard."""
    return "-" if entry.get("capacity") == 0 or not entry.get("heard", True) else f"{entry['utilization']:.0%}"


def room(node: dict[str, Any]) -> str:
    """Sessions for which there is room; nothing on a node that takes no calls, however empty it is."""
    return f"{node['free']:.1f}" if node["state"] in {"ready", "full"} else "-"


_NODE = (
    Column("GROUP", lambda node: f"{node['namespace']}/{node['group']}"),
    Column("NODE", lambda node: node["node"]),
    Column("STATE", lambda node: state(node["state"])),
    Column("REASON", lambda node: node["reason"]),
    Column("LOAD", load, number=True),
    Column("SESSIONS", lambda node: f"{_whole(node['sessions'])}/{_whole(node['maxSessions'])}", number=True),
    Column("EFFECTIVE", lambda node: f"{node['effective']:.1f}", number=True),
    Column("ROOM", room, number=True),
    Column("CALLS/S", lambda node: _rate(node.get("callsPerSecond")), number=True),
    Column("CALLS%", lambda node: _percent(node.get("callShare")), number=True),
    Column("AGE", lambda node: _seconds(node["reportAge"]), number=True),
    Column("DRAIN", lambda node: drain(node.get("drain"))),
    Column("ADMIN", lambda node: _admin(node.get("admin"))),
)
_NODE_WIDE = (
    Column("FOR", lambda node: _seconds(node.get("stateSeconds")), number=True),
    Column("WEIGHT", lambda node: _number(node.get("weight")), number=True),
    Column("PRIORITY", lambda node: _number(node.get("priority")), number=True),
    Column("SCORE", lambda node: _number(node.get("score")), number=True),
    Column("SHARE", lambda node: f"{node['share']:.2f}", number=True),
    Column("ASSIGNED", lambda node: str(node["assigned"]), number=True),
    Column("ENDED", lambda node: _number(node.get("ended")), number=True),
    Column("LEGS/S", lambda node: _rate(node.get("legsPerSecond")), number=True),
    Column("LIMIT/S", lambda node: _number(node.get("sessionsPerSecondLimit")), number=True),
    Column("IDLE CPU", lambda node: _percent_of_hundred(node.get("idleCPU")), number=True),
    Column("SIP", lambda node: node.get("sip") or "-"),
    Column("OPTIONS", lambda node: _probe(node.get("probe"), node.get("transport"))),
    Column("EVENT SOCKET", lambda node: node.get("esl") or "-"),
    Column("LINK", lambda node: node.get("link") or "-"),
    Column("RESOURCES", lambda node: resources(node.get("resources"))),
)
_GROUP = (
    Column("GROUP", lambda group: f"{group['namespace']}/{group['group']}"),
    Column("LOAD", load, number=True),
    Column("SESSIONS", lambda group: str(group["sessions"]), number=True),
    Column("EFFECTIVE", lambda group: f"{group['effective']:.1f}", number=True),
    Column("CAPACITY", lambda group: f"{group['capacity']:.1f}", number=True),
    Column("NODES", lambda group: str(group["nodes"]), number=True),
    Column("ELIGIBLE", lambda group: _number(group.get("eligible")), number=True),
    Column("STATES", lambda group: states(group["states"])),
    Column("CALLS/S", lambda group: _rate(group.get("callsPerSecond")), number=True),
    Column("REJECTED/S", lambda group: _rate(group.get("rejectedPerSecond")), number=True),
    Column("REJECTED", lambda group: _sum(group.get("rejected")), number=True),
    Column("FAILOVERS", lambda group: _sum(group.get("failovers")), number=True),
)
_GROUP_WIDE = (
    Column("ALGORITHM", lambda group: group["algorithm"]),
    Column("GENERATION", lambda group: _number(group.get("generation")), number=True),
    Column("ASSIGNED", lambda group: str(group["assigned"]), number=True),
    Column("OUTCOMES", lambda group: _counts(group.get("calls"))),
    Column("REJECTED BY CAUSE", lambda group: _counts(group.get("rejected"))),
    Column("FAILOVERS BY CAUSE", lambda group: _counts(group.get("failovers"))),
    Column("RESOURCES", lambda group: _counts({n: entry["inUse"] for n, entry in group.get("resources", {}).items()})),
    Column("WITHOUT ADDRESS", lambda group: ", ".join(group.get("unresolved") or []) or "-"),
)

_CANDIDATE = (
    Column("NODE", lambda node: node["name"]),
    Column("STATE", lambda node: state(node.get("state", "-"))),
    Column("VERDICT", lambda node: node["verdict"]),
    Column("EFFECTIVE", lambda node: f"{node['effective']:.1f}", number=True),
    Column("CAPACITY", lambda node: f"{node['capacity']:.1f}", number=True),
    Column("ROOM", lambda node: f"{node['free']:.1f}", number=True),
    Column("LOAD", load, number=True),
    Column("WEIGHT", lambda node: f"{node['weight']:g}", number=True),
    Column("SCORE", lambda node: f"{node.get('score', 1.0):g}", number=True),
    Column("PRIORITY", lambda node: str(node["priority"]), number=True),
)
_CANDIDATE_WIDE = (
    Column("REASON", lambda node: node.get("reason") or "-"),
    Column("SIP", lambda node: node.get("sip") or "-"),
    Column("SHARE", lambda node: _number(node.get("share")), number=True),
    Column("UID", lambda node: node.get("uid") or "-"),
)
_CANDIDATE_LAST = (
    Column("RESOURCES", lambda node: resources(node.get("resources"))),
    Column("WHY", lambda node: node.get("why", "")),
)


def candidates(entries: list[dict[str, Any]], *, wide: bool = False) -> Table:
    """The nodes of a group as ``switchtender explain`` shows them; the words why come last."""
    return table_of(entries, _CANDIDATE + (_CANDIDATE_WIDE if wide else ()) + _CANDIDATE_LAST)


def nodes(entries: list[dict[str, Any]], *, wide: bool = False) -> Table:
    """The table of ``switchtender nodes``."""
    return table_of(entries, _NODE + (_NODE_WIDE if wide else ()))


def groups(entries: list[dict[str, Any]], *, wide: bool = False) -> Table:
    """The table of ``switchtender groups``."""
    return table_of(entries, _GROUP + (_GROUP_WIDE if wide else ()))


def states(counts: dict[str, int]) -> Text:
    """How many nodes are in which state."""
    parts = [Text(f"{count} {name}", style=COLORS.get(name, "")) for name, count in counts.items() if count]
    return Text(", ").join(parts) if parts else Text("-")


def state(name: str) -> Text:
    """A node's state in its color."""
    return Text(name, style=COLORS.get(name, ""))


def resources(entry: dict[str, Any] | None) -> str:
    """What is in use of each limited resource, of how many; keys as HTTP or as the packet core writes them."""
    parts = []
    for name, numbers in (entry or {}).items():
        used, limit = numbers.get("inUse", numbers.get("in_use")), numbers["limit"]
        parts.append(f"{name} {used}/{'-' if limit is None else limit}")
    return ", ".join(parts) or "-"


def drain(known: dict[str, Any] | None) -> str:
    """What remains on a node that drains, and for how long it is waited for, by the clock of this host."""
    if not known:
        return "-"
    sessions = known.get("sessions")
    if sessions == 0:
        return "drained"
    remain = "? left" if sessions is None else f"{sessions} left"
    if known.get("expired"):
        return f"{remain}, expired"
    minutes, seconds = divmod(max(0, round(known["deadline"] - time.time())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{remain}, " + (f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s")


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


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}s"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _percent_of_hundred(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.10g}"


def _sum(counts: dict[str, int] | None) -> str:
    return "-" if counts is None else str(sum(counts.values()))


def _counts(counts: dict[str, int] | None) -> str:
    return ", ".join(f"{name} {count}" for name, count in (counts or {}).items() if count) or "-"


def _whole(value: float | None) -> str:
    return "-" if value is None else str(value)
