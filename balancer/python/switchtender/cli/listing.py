"""``switchtender nodes`` and ``groups``: what there is, and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from switchtender.cli.forms import emit, for_machines
from switchtender.cli.options import balancer_option, examples, group_option, output_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchtender.cli.client import BalancerApi

STATES = ("down", "stale", "unknown", "full", "draining", "ready")
"""Of a node, what wants a look first."""

Entry = dict[str, Any]

_ORDERS: dict[str, Callable[[Entry], Any]] = {
    "node": lambda node: (node["node"], node["namespace"], node["group"]),
    "state": lambda node: STATES.index(node["state"]) if node["state"] in STATES else -1,
    "load": lambda node: -node["utilization"],
    "sessions": lambda node: -(node["sessions"] or 0),
    "calls": lambda node: -node.get("callsPerSecond", 0.0),
    "age": lambda node: float("-inf") if node["reportAge"] is None else -node["reportAge"],
}
"""What nodes may be sorted by: the most of it first."""


@click.command(
    epilog=examples(
        "switchtender nodes --watch",
        "switchtender nodes --state down --state stale",
        "switchtender nodes --group default/ivr --sort load -o wide",
    )
)
@balancer_option
@output_option
@group_option
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only nodes in it. May be repeated.")
@click.option("--sort", type=click.Choice(list(_ORDERS)), help="Most of it first. By group and node if omitted.")
@click.option("--watch", is_flag=True, help="Show the table live, until interrupted.")
def nodes(
    api: BalancerApi,
    output: str,
    group: str | None,
    states: tuple[str, ...],
    sort: str | None,
    watch: bool,  # noqa: FBT001 - a flag of the command line
) -> None:
    """Show every node: state and reason, load, calls, age of its last report."""
    if watch and for_machines(output):
        raise click.UsageError("--watch shows a table; for JSON or YAML, ask again and again")

    def read() -> list[Entry]:
        found = [
            node for node in api.nodes() if group in {None, _group(node)} and (not states or node["state"] in states)
        ]
        return sorted(found, key=_ORDERS[sort]) if sort else found

    if for_machines(output):
        emit(read(), output)
        return
    from switchtender.cli import tables

    if watch:
        tables.live(lambda: tables.nodes(read(), wide=output == "wide"))
    else:
        tables.show(tables.nodes(read(), wide=output == "wide"))
        _tell_unresolved(api, group)


@click.command(epilog=examples("switchtender groups", "switchtender groups -o wide", "switchtender groups -o json"))
@balancer_option
@output_option
@group_option
def groups(api: BalancerApi, output: str, group: str | None) -> None:
    """Show every group: load, nodes by state, calls, rejections, failovers."""
    found = [entry for entry in api.groups() if group in {None, _group(entry)}]
    if for_machines(output):
        emit(found, output)
        return
    from switchtender.cli import tables

    tables.show(tables.groups(found, wide=output == "wide"))


def _group(entry: Entry) -> str:
    return f"{entry['namespace']}/{entry['group']}"


def _tell_unresolved(api: BalancerApi, wanted: str | None) -> None:
    """Say whom the table lacks: a member whose name is not known to be anywhere is no node yet."""
    from switchtender.cli.client import ApiError

    try:
        known = api.groups()
    except ApiError:
        return  # the table stands, and it was what was asked for
    for entry in known:
        hosts = entry.get("unresolved")
        if hosts and wanted in {None, _group(entry)}:
            click.echo(f"{_group(entry)}: no address is known of {', '.join(hosts)}", err=True)
