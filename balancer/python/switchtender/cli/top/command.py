"""The command; it alone loads what draws the screen."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from switchtender.cli.exits import fail
from switchtender.cli.options import balancer_option, examples, group_option, no_color_option

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi


@click.command(epilog=examples("switchtender top", "switchtender top --group default/ivr", "switchtender top --once"))
@balancer_option
@no_color_option
@group_option
@click.option("--once", is_flag=True, help="Print what would be shown now, and end; needs no terminal.")
@click.pass_context
def top(ctx: click.Context, api: BalancerApi, group: str | None, once: bool) -> None:  # noqa: FBT001 - a flag
    """Show groups and nodes on the whole screen, as they change: ? for help, q to leave."""
    if once:
        _print_frame(api, group)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("top needs a terminal; for a pipe there are switchtender nodes, and top --once")
    if ctx.color is False:
        os.environ["NO_COLOR"] = "1"
    api.balancer()  # whoever mistyped the address is told so, and not shown an empty screen
    from switchtender.cli.top.app import TopApp
    from switchtender.cli.top.feed import Feed

    status = TopApp(Feed(api), group=group).run()
    if status:
        ctx.exit(status)


def _print_frame(api: BalancerApi, group: str | None) -> None:
    from switchtender.cli import tables
    from switchtender.cli.top import rows

    view = next((told.document for told in api.live() if told.name == "view"), None)
    if view is None:
        fail("the balancer ended the stream before it said anything; is it stopping?")
    out = tables.console()
    out.print(rows.headline(view))
    for name, table in (("groups", tables.groups), ("nodes", tables.nodes)):
        out.print()
        out.print(table([entry for entry in view[name] if group in {None, rows.group_of(entry)}]))
