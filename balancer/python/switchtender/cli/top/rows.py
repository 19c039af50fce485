"""What stands in the tables of ``switchtender top``, from what the balancer showed. Pure: knows no screen."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from rich.text import Text

from switchtender.cli.forms import printable
from switchtender.cli.tables import COLORS, drain, load, room, state, states

Entry = dict[str, Any]

_BAR = 10
"""Characters of a load bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_WORST_FIRST = ("down", "stale", "unknown", "full", "draining", "ready")
_NEAR = 0.7
_AT_LIMIT = 0.9


class Column(NamedTuple):
    """A column: its title, what stands in it, what it is sorted by (the most first), its least width."""

    title: str
    cell: Callable[[Entry], Text]
    rank: Callable[[Entry], Any]
    width: int
    number: bool = False


def group_of(entry: Entry) -> str:
    """The group of a node or of itself, as namespace/name."""
    return f"{entry['namespace']}/{entry['group']}"


def key_of(node: Entry) -> str:
    """What tells a row from the others."""
    return f"{group_of(node)}/{node['node']}"


def _text(name: str) -> Callable[[Entry], Text]:
    return lambda entry: Text(printable(str(entry.get(name) or "-")))


def _number(name: str, form: str = ".1f") -> Callable[[Entry], Text]:
    def cell(entry: Entry) -> Text:
        value = entry.get(name)
        return Text("-" if value is None else format(value, form), justify="right")

    return cell


def _most(name: str) -> Callable[[Entry], Any]:
    return lambda entry: -(entry.get(name) or 0)


def _seconds(value: float | None) -> Text:
    if value is None:
        return Text("-", justify="right")
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if value >= 2 * size:
            return Text(f"{value / size:.0f}{unit}", justify="right")
    return Text(f"{value:.1f}s", justify="right")


def bar(entry: Entry) -> Text:
    """The load as a bar and a number."""
    if load(entry) == "-":
        return Text("-")
    part = min(1.0, max(0.0, entry["utilization"]))
    whole, rest = divmod(round(part * _BAR * 8), 8)
    drawn = "█" * whole + (_EIGHTHS[rest] if whole < _BAR else "")
    color = "red" if part >= _AT_LIMIT else "yellow" if part >= _NEAR else "green"
    return Text.assemble((f"{drawn:<{_BAR}}", color), f" {load(entry):>4}")


def _state_rank(node: Entry) -> int:
    return _WORST_FIRST.index(node["state"]) if node["state"] in _WORST_FIRST else -1


def _failovers(group: Entry) -> int:
    return sum(group.get("failovers", {}).values())


NODES = (
    Column("NODE", _text("node"), lambda node: node["node"], 8),
    Column("STATE", lambda node: state(node["state"]), _state_rank, 8),
    Column("REASON", _text("reason"), lambda node: node["reason"], 12),
    Column("LOAD", bar, lambda node: 0.0 if load(node) == "-" else -node["utilization"], 15),
    Column(
        "SESSIONS",
        lambda node: Text(f"{_or_dash(node['sessions'])}/{_or_dash(node['maxSessions'])}", justify="right"),
        _most("sessions"),
        9,
        number=True,
    ),
    Column("CALLS/S", _number("callsPerSecond"), _most("callsPerSecond"), 8, number=True),
    Column("AGE", lambda node: _seconds(node["reportAge"]), lambda node: -_age(node), 6, number=True),
    Column("GROUP", lambda node: Text(group_of(node)), group_of, 8),
    Column("EFFECTIVE", _number("effective"), _most("effective"), 10, number=True),
    Column("ROOM", lambda node: Text(room(node), justify="right"), _most("free"), 8, number=True),
    Column("SHARE", _number("callShare", ".0%"), _most("callShare"), 6, number=True),
    Column("FOR", lambda node: _seconds(node.get("stateSeconds")), _most("stateSeconds"), 6, number=True),
)
GROUPS = (
    Column("GROUP", lambda group: Text(group_of(group)), group_of, 12),
    Column("LOAD", bar, _most("utilization"), 15),
    Column("NODES", lambda group: states(group["states"]), _most("nodes"), 24),
    Column("CALLS/S", _number("callsPerSecond"), _most("callsPerSecond"), 8, number=True),
    Column("REJ/S", _number("rejectedPerSecond"), _most("rejectedPerSecond"), 6, number=True),
    Column("SESSIONS", _number("sessions", "d"), _most("sessions"), 9, number=True),
    Column("CAPACITY", _number("capacity"), _most("capacity"), 9, number=True),
    Column("FAILOVERS", lambda group: Text(str(_failovers(group))), lambda group: -_failovers(group), 9),
)


def _age(node: Entry) -> float:
    return math.inf if node["reportAge"] is None else float(node["reportAge"])


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def chosen(nodes: list[Entry], group: str | None, words: str) -> list[Entry]:
    """The nodes of the group that have every one of the words in their name, group, state or reason."""
    wanted = words.lower().split()
    return [
        node
        for node in nodes
        if group in {None, group_of(node)}
        and all(word in f"{key_of(node)} {node['state']} {node['reason']}".lower() for word in wanted)
    ]


def in_order(entries: list[Entry], column: Column, *, backwards: bool) -> list[Entry]:
    """Sorted by the column; what is equal in it by name."""
    named = sorted(entries, key=lambda entry: (entry["group"], entry.get("node", ""), entry["namespace"]))
    return sorted(named, key=column.rank, reverse=backwards)


def headline(view: Entry) -> Text:
    """The balancer in one line."""
    process = view["process"]
    ready = Text("ready", "green") if view["ready"] else Text(f"not ready: {view['notReady']}", "red")
    line = Text.assemble(
        (f"{view['balancer'] or 'switchtender'} {view['version']}", "bold"),
        " · ",
        ready,
        f" · {process['callsPerSecond']:.1f} calls/s",
        "" if process.get("dialogs") is None else f" · {process['dialogs']} calls up",
        f" · {process['transactionsOpen']} transactions",
    )
    for name, value in (("events lost", process["eventsLost"]), ("datagrams dropped", process["datagramsDropped"])):
        if value:
            line.append(f" · {value} {name}", "yellow")
    if process["overloaded"]:
        line.append(" · overloaded", "red")
    return line


def detail(node: Entry, events: list[Entry]) -> Text:
    """A node at length, with the last of its events."""
    text = Text()
    text.append(f"{key_of(node)}  ", "bold")
    text.append(f"{node['state']} {node['reason']}", COLORS.get(node["state"], ""))
    text.append(f" for {_seconds(node.get('stateSeconds')).plain}\n")
    text.append(f"SIP {node.get('sip') or '-'} {node.get('transport') or ''}   {_probe(node.get('probe'))}\n")
    link = printable(f"{node.get('link') or '-'} {node.get('linkDetail') or ''}".strip())
    text.append(f"Event Socket {node.get('esl') or '-'}: {link}{_errors(node.get('eslErrors') or {})}\n")
    rate = _number("sessionRate")(node).plain
    text.append(f"sessions {_or_dash(node['sessions'])}/{_or_dash(node['maxSessions'])} reported, ")
    text.append(f"{node['effective']:.1f} effective of {node.get('capacity', 0):.1f}; ")
    text.append(f"{rate} of {_or_dash(node.get('sessionsPerSecondLimit'))} sessions/s\n")
    if node.get("drain"):
        text.append(f"drain {node['drain'].get('reason') or ''}: {drain(node['drain'])}\n")
    admin = node.get("admin") or {}
    text.append(f"weight {node.get('weight', 1):g}, priority {node.get('priority', 0)}")
    text.append(f", ordered: {admin['state'].lower()}" if admin.get("state") else "")
    text.append(f", ejected for {node['ejectedSeconds']:.0f} s" if node.get("ejectedSeconds") else "")
    for event in events:
        when = datetime.fromtimestamp(event["time"]).astimezone().strftime("%H:%M:%S")
        times = f" ({event['count']} times)" if event["count"] > 1 else ""
        text.append(f"\n{when} {event['type']} {event['reason']}: {printable(event['message'])}{times}")
    return text


def _probe(probe: Entry | None) -> str:
    if probe is None:
        return "not probed"
    trip = "" if probe.get("roundTrip") is None else f" in {1000 * probe['roundTrip']:.1f} ms"
    return f"OPTIONS: {printable(str(probe.get('detail') or probe.get('status') or 'no answer'))}{trip}"


def _errors(errors: dict[str, int]) -> str:
    told = ", ".join(f"{name} {count}" for name, count in errors.items() if count)
    return f"; errors: {told}" if told else ""


def about(event: Entry, node: Entry) -> bool:
    """Whether the event is one of the node, in whichever of its groups."""
    groups = event["details"].get("groups") or [f"{event['namespace']}/{event['group']}"]
    return bool(event["node"] == node["node"] and group_of(node) in groups)
