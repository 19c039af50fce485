"""``switchtender trace``: the messages of one call as they come, and where it was placed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from switchtender.cli.forms import printable
from switchtender.cli.options import Duration, admin_option, examples, no_color_option

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi

Json = dict[str, Any]

MOST_SECONDS = 600
MOST_PER_SECOND = 100
_PAUSE = 1.0
"""Seconds before a lost connection is sought again."""
_ARROWS = {"received": "<-", "sent": "->"}


class _Span(Duration):
    """As long as a trace may last."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        seconds = super().convert(value, param, ctx)
        if not 1 <= seconds <= MOST_SECONDS:
            self.fail(f"{value!r}: accepted: 1s to {MOST_SECONDS // 60}m", param, ctx)
        return seconds


@click.command(
    epilog=examples(
        "switchtender trace 843817637684230@998sdasdh09",
        "switchtender trace a84b4c76e66710 --for 5m --output json > call.jsonl",
    )
)
@click.argument("call_id", metavar="CALL-ID")
@click.option("--for", "span", type=_Span(), default="60s", show_default=True, help="How long: 1s to 10m.")
@click.option(
    "--messages-per-second",
    type=click.IntRange(1, MOST_PER_SECOND),
    default=20,
    show_default=True,
    help="At most so many; what is left out is counted.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or each entry as the balancer tells it, a line of JSON.",
)
@admin_option
@no_color_option
def trace(call_id: str, span: float, messages_per_second: int, output: str, api: BalancerApi) -> None:
    """Follow the call CALL-ID: every message that comes and goes, and where it is placed.

    The balancer traces for the time given and ends by itself; Ctrl-C ends it at once. Credentials in the messages are
    masked. Needs the balancer's token. The same goes to the balancer's log.
    """
    begun = api.start_trace(call_id, round(span), messages_per_second)
    click.echo(f"switchtender: trace {begun['id']} of {call_id} for {span:.0f} s; Ctrl-C ends it", err=True)
    show = _teller(output)
    over: Json | None = None
    try:
        for name, document in _told(api, begun):
            if name == "entry":
                show(document)
            elif name == "end":
                over = document
    finally:
        if over is None:
            over = _ended(api, begun)
        if over is not None:
            click.echo(f"switchtender: {over['entries']} entries, {over['leftOut']} left out", err=True)


def _told(api: BalancerApi, begun: Json, pause: Callable[[float], None] = time.sleep) -> Iterator[tuple[str, Json]]:
    """What the balancer tells of the trace until it is over; a lost connection is sought again while it runs.

    Raises ApiError.
    """
    from switchtender.cli.client import ApiError

    seen = 0
    while True:
        try:
            for name, document in api.follow_trace(begun["id"], seen):
                seen = document["id"] if name == "entry" else seen
                yield name, document
                if name == "end":
                    return
            reason = "the balancer ended the stream"
        except ApiError as error:
            if time.time() > begun["until"]:
                raise
            reason = error.message
        click.echo(f"switchtender: {reason}; trying again", err=True)
        pause(_PAUSE)


def _ended(api: BalancerApi, begun: Json) -> Json | None:
    """The trace, ended now; None where nobody could be told to."""
    from switchtender.cli.client import ApiError

    with contextlib.suppress(ApiError):
        return api.end_trace(begun["id"])
    return None


def _teller(output: str) -> Callable[[Json], None]:
    if output == "json":
        return lambda entry: click.echo(json.dumps(entry))
    from switchtender.cli import tables

    out = tables.console()

    def tell(entry: Json) -> None:
        out.print(_head(entry), style="bold", soft_wrap=True)
        if "text" in entry:
            out.print(printable(entry["text"].replace("\r", "").rstrip(), keep="\n"), soft_wrap=True)
            out.print()

    return tell


def _head(entry: Json) -> str:
    when = datetime.fromtimestamp(entry["time"]).astimezone().strftime("%H:%M:%S.%f")
    if "text" in entry:
        arrow = _ARROWS.get(entry["direction"], "--")
        return f"{when} {entry['direction']} {entry['transport']} {entry['local']} {arrow} {entry['peer']}"
    where = entry.get("node") or entry.get("uid") or "no node"
    address = f" ({entry['address']})" if entry.get("address") else ""
    details = " ".join(f"{name}={value}" for name, value in (entry.get("details") or {}).items())
    return printable(f"{when} {entry['decision']} {entry.get('group') or '-'} to {where}{address} {details}".rstrip())
