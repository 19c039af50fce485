"""``switchtender events``: what happened, and what happens.

Events are chosen here and not by the balancer: only who sees each of them knows, after a lost connection, how far it
had read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from switchtender.cli import completion
from switchtender.cli.forms import emit, emit_one, for_machines, printable
from switchtender.cli.options import Duration, balancer_option, examples, group_option, output_option

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi

Event = dict[str, Any]

SEVERITIES = ("info", "warning", "error")
_PAUSE = 1.0
"""Seconds before a lost connection is sought again."""
_COLORS = {"warning": "yellow", "error": "red"}


class Start(NamedTuple):
    """Where to begin: after an id, or so many seconds ago."""

    after: int = 0
    ago: float | None = None


class Since(click.ParamType[Start]):
    """The id of an event, or a span of time."""

    name = "id|duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Start:
        """The id or the seconds."""
        if isinstance(value, Start):
            return value
        if re.fullmatch(r"\d{1,18}", value, re.ASCII):
            return Start(after=int(value))
        return Start(ago=Duration().convert(value, param, ctx))


class EventType(click.ParamType[str]):
    """A type of events."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """One that there is; a mistyped one would choose nothing in silence."""
        from switchtender.telemetry.journal import TYPES

        found = {known.lower(): known for known in TYPES}.get(str(value).lower())
        if found is None:
            self.fail(f"{value!r}: accepted: {', '.join(TYPES)}", param, ctx)
        return found

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The types that begin so."""
        from switchtender.telemetry.journal import TYPES

        return [click.shell_completion.CompletionItem(name) for name in TYPES if name.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events are wanted; what is None or empty chooses nothing out. ``since``: seconds of the epoch."""

    group: str | None = None
    node: str | None = None
    types: tuple[str, ...] = ()
    severity: str | None = None
    since: float = 0.0

    def holds(self, event: Event) -> bool:
        """Whether this is one of them."""
        groups = event["details"].get("groups") or [f"{event['namespace']}/{event['group']}"]
        return (
            (self.group is None or self.group in groups)
            and self.node in {None, event["node"]}
            and (not self.types or event["type"] in self.types)
            and (self.severity is None or _rank(event["severity"]) >= _rank(self.severity))
            and event["time"] >= self.since
        )


@click.command(
    epilog=examples(
        "switchtender events --since 15m",
        "switchtender events --follow --severity warning",
        "switchtender events --node fs1 --type NodeState -o json",
    )
)
@balancer_option
@output_option
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until interrupted.")
@click.option(
    "--since", type=Since(), default=Start(), help="Only what came after this id, or in this span of time (15m)."
)
@group_option
@click.option("--node", shell_complete=completion.nodes, help="Only of this node.")
@click.option("--type", "types", type=EventType(), multiple=True, help="Only of this type. May be repeated.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Only from this severity on.")
def events(
    api: BalancerApi,
    output: str,
    follow: bool,  # noqa: FBT001 - a flag of the command line
    since: Start,
    group: str | None,
    node: str | None,
    types: tuple[str, ...],
    severity: str | None,
) -> None:
    """Show what happened: states of nodes, refusals, orders, configurations. The balancer keeps the last 2,000 events.

    An event that repeats is one event with a count; --follow shows it again as the count grows.
    """
    chosen = Choice(group, node, types, severity, 0.0 if since.ago is None else time.time() - since.ago)
    known = History(api)
    found = [event for event in known.after(since.after) if chosen.holds(event)]
    if not follow:
        if for_machines(output):
            emit(found, output)
        else:
            _show(found, wide=output == "wide")
        return
    show = _teller(output)
    for event in found:
        show(event)
    for event in known.coming(lambda text: click.echo(f"switchtender: {text}", err=True)):
        if chosen.holds(event):
            show(event)


class History:
    """What a balancer tells of, read in order; ``seen`` is the last id that was read."""

    def __init__(self, api: BalancerApi, pause: Callable[[float], None] = time.sleep) -> None:
        self.seen = 0
        self._api = api
        self._pause = pause
        self._instance: str | None = None

    def after(self, event_id: int) -> list[Event]:
        """Everything that is kept after this id. Raises ApiError."""
        self.seen = event_id
        found: list[Event] = []
        while True:
            page = self._api.events(self.seen)
            self._instance = page["instance"]
            if not page["events"]:
                return found
            found += page["events"]
            self.seen = page["events"][-1]["id"]

    def coming(self, tell: Callable[[str], None]) -> Iterator[Event]:
        """What comes from now on, without end: a lost connection is sought again, and what happened meanwhile is read
        then. ``tell`` is given, for people, what cannot be made good.
        """
        from switchtender.cli.client import ApiError

        away = False
        while True:
            try:
                if away:
                    self._find_again(tell)
                    tell(f"the balancer answers again; reading on after event {self.seen}")
                    away = False
                for event in self._api.follow_events(self.seen):
                    self.seen = event["id"]
                    yield event
            except ApiError as error:
                if not away:
                    tell(f"{error.message}; trying again")
            else:
                tell("the balancer ended the stream; trying again")
            away = True
            self._pause(_PAUSE)

    def _find_again(self, tell: Callable[[str], None]) -> None:
        """Learn what is left of what was not read. Raises ApiError."""
        from switchtender.telemetry.journal import KEPT

        page = self._api.events(self.seen, limit=1)
        if page["instance"] != self._instance:
            tell("the balancer was restarted: events between the last one above and its end are lost")
            self._instance, self.seen = page["instance"], 0
        # Before the ids are past what is kept, none can have been forgotten.
        elif page["first"] > self.seen + 1 and page["last"] > KEPT:
            tell(f"events are lost: {self.seen} was the last one read, {page['first']} is the first one kept")


def _teller(output: str) -> Callable[[Event], None]:
    """What shows one event after the other."""
    if for_machines(output):
        return lambda event: emit_one(event, output)
    from switchtender.cli import tables

    out = tables.console()
    return lambda event: out.print(_line(event, wide=output == "wide"), soft_wrap=True)


def _show(found: list[Event], *, wide: bool) -> None:
    from switchtender.cli import tables

    out = tables.console()
    for event in found:
        out.print(_line(event, wide=wide), soft_wrap=True)


def _line(event: Event, *, wide: bool) -> Any:
    """An event on one line, whoever's words are in it."""
    from rich.text import Text

    when = datetime.fromtimestamp(event["time"]).astimezone()
    time_of_day = when.isoformat(sep=" ", timespec="milliseconds") if wide else when.strftime("%H:%M:%S")
    place = "/".join(part for part in (event["namespace"], event["group"], event["node"]) if part) or "-"
    line = Text(f"{event['id']:>6} " if wide else "")
    line.append(f"{time_of_day} ")
    line.append(f"{event['severity']:<7} ", style=_COLORS.get(event["severity"], ""))
    line.append(f"{place}  ", style="bold")
    line.append(f"{event['type']} {event['reason']}: {printable(event['message'])}")
    if event["count"] > 1:
        line.append(f" ({event['count']} times)")
    if wide and event["details"]:
        line.append("  " + printable(" ".join(f"{name}={value}" for name, value in event["details"].items())))
    return line


def _rank(severity: str) -> int:
    """Of a severity that a later version knows: above all."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
