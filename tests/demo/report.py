"""What the demonstration prints: a live table while it runs, two short tables at the end."""

from __future__ import annotations

from collections import Counter

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tests.demo import scene
from tests.demo.run import Look, Outcomes
from tests.stand.caller import Outcome

_TOTAL = scene.PLACING + scene.HOLD
_COLORS = {
    "ready": "green",
    "full": "yellow",
    "draining": "cyan",
    "stale": "magenta",
    "down": "red",
    "unknown": "white",
}


def live(title: str, look: Look) -> RenderableType:
    """The table of the moment."""
    names = {node.address: node.name for node in scene.NODES}
    answered = Counter(names[call.node] for call in look.calls if call.answered and call.node is not None)
    table = Table(title=f"{title}: {scene.RATE:g} calls/s of {scene.HOLD:g} s", title_justify="left", box=None)
    for name in ("node", "state", "reason"):
        table.add_column(name)
    for name in ("sessions", "effective", "capacity", "calls", "share"):
        table.add_column(name, justify="right")
    table.add_column("load", width=24)
    for node in scene.NODES:
        entry = look.nodes.get(node.name)
        if entry is None:
            continue
        state = entry["state"]
        share = answered[node.name] / max(1, answered.total())
        table.add_row(
            node.name,
            f"[{_COLORS[state]}]{state}[/]",
            entry["reason"],
            "-" if entry["sessions"] is None else str(entry["sessions"]),
            f"{entry['effective']:.0f}",
            f"{entry['capacity']:.0f}",
            str(answered[node.name]),
            f"{share:.0%}",
            ProgressBar(total=1.0, completed=min(1.0, entry["utilization"]), width=24),
        )
    outcomes = Counter(call.outcome for call in look.calls)
    line = (
        f"{min(look.elapsed, _TOTAL):4.0f} of {_TOTAL:.0f} s   placed {len(look.calls)}   "
        f"up {outcomes[Outcome.ANSWERED]}   ended {outcomes[Outcome.ENDED]}   failed {outcomes[Outcome.FAILED]}   "
        f"cut {outcomes[Outcome.CUT]}"
    )
    return Group(table, Text(line), *(Text(words, style="bold") for words in look.said))


def progress(title: str, look: Look) -> str:
    """One line of the moment, where there is no terminal."""
    states = " ".join(f"{name}={entry['state']}/{entry['sessions']}" for name, entry in look.nodes.items())
    return f"{title}: {min(look.elapsed, _TOTAL):3.0f} of {_TOTAL:.0f} s, {len(look.calls)} calls placed; {states}"


def comparison(results: dict[str, Outcomes]) -> Table:
    """The runs side by side."""
    table = Table(title="Result", title_justify="left", box=None)
    table.add_column("")
    for title in results:
        table.add_column(title, justify="right")
    rows: list[tuple[str, list[str]]] = [
        ("calls placed", [str(result.placed) for result in results.values()]),
        ("answered", [str(result.answered) for result in results.values()]),
        ("failed", [str(result.failed) for result in results.values()]),
        ("cut by the killed node", [str(result.cut) for result in results.values()]),
        ("offered to another node (failovers)", [str(result.failovers) for result in results.values()]),
        ("refused by a node", [str(result.refused) for result in results.values()]),
        ("  of these zombie sessions, 10 s each", [str(result.zombies) for result in results.values()]),
        ("post-dial delay, median", [f"{result.pdd_median:.1f} ms" for result in results.values()]),
        ("post-dial delay, p99", [f"{result.pdd_p99:.1f} ms" for result in results.values()]),
    ]
    for name, values in rows:
        table.add_row(name, *values)
    return table


def shares(results: dict[str, Outcomes]) -> Table:
    """Each node's share of the answered calls against its share of the room at the start."""
    table = Table(title="Share of calls against room at the start", title_justify="left", box=None)
    table.add_column("node")
    for name in ("room", "share of room", *results):
        table.add_column(name, justify="right")
    total = sum(scene.room(node) for node in scene.NODES)
    for node in scene.NODES:
        cells = [f"{result.by_node.get(node.name, 0) / max(1, result.answered):.0%}" for result in results.values()]
        table.add_row(node.name, str(scene.room(node)), f"{scene.room(node) / total:.0%}", *cells)
    return table
