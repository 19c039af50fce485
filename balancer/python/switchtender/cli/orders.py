"""``switchtender disable`` and its like: orders to a running standalone balancer, with its token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from switchtender.cli.completion import groups, resources
from switchtender.cli.forms import emit, for_machines
from switchtender.cli.options import admin_option, examples, node_argument, output_option

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi

_group = click.option(
    "--group",
    default=None,
    metavar="NAMESPACE/NAME",
    shell_complete=groups,
    help="Group of the node, where its name is that of several.",
)
_reset = click.option("--reset", is_flag=True, help="Go by the configuration again.")


def _state(verb: str, text: str) -> click.Command:
    @click.command(verb, help=text, epilog=examples(f"switchtender {verb} fs1"))
    @node_argument
    @_group
    @admin_option
    @output_option
    def command(node: str, group: str | None, api: BalancerApi, output: str) -> None:
        _order(api, output, node, verb, {"group": group})

    return command


disable = _state("disable", "Leave NODE alone: no new calls, no login to its Event Socket, no OPTIONS.")
enable = _state("enable", "End what disable began.")


@click.command(epilog=examples("switchtender weight fs1 50", "switchtender weight fs1 --reset"))
@node_argument
@click.argument("weight", type=click.IntRange(1, 10_000), required=False)
@_reset
@_group
@admin_option
@output_option
def weight(node: str, weight: int | None, reset: bool, group: str | None, api: BalancerApi, output: str) -> None:  # noqa: FBT001
    """Give NODE another WEIGHT in its group."""
    _one_of("WEIGHT", weight, reset=reset)
    _order(api, output, node, "weight", {"group": group}, weight=weight)


@click.command(epilog=examples("switchtender resize fs1 conference 20", "switchtender resize fs1 conference --reset"))
@node_argument
@click.argument("resource", shell_complete=resources)
@click.argument("limit", type=click.IntRange(0, 1_000_000), required=False)
@_reset
@_group
@admin_option
@output_option
def resize(
    node: str,
    resource: str,
    limit: int | None,
    reset: bool,  # noqa: FBT001
    group: str | None,
    api: BalancerApi,
    output: str,
) -> None:
    """Give NODE another LIMIT of a RESOURCE in its group. What is in use above it ends by itself."""
    _one_of("LIMIT", limit, reset=reset)
    _order(api, output, node, "resize", {"group": group}, resource=resource, limit=limit)


def _one_of(name: str, value: int | None, *, reset: bool) -> None:
    if (value is None) != reset:
        raise click.UsageError(f"give {name}, or --reset")


def _order(api: BalancerApi, output: str, node: str, verb: str, given: dict[str, str | None], **details: Any) -> None:
    order = {name: value for name, value in given.items() if value is not None} | details
    answer = api.order(node, verb, order)
    if for_machines(output):
        emit(answer, output)
        return
    for line in told(answer, node, verb, wide=output == "wide"):
        click.echo(line)


def told(answer: dict[str, Any], node: str, verb: str, *, wide: bool) -> list[str]:
    """What an order came to, a line for each member that it was about."""
    lines = [f"{each['member']}: {_words(each['before'])} -> {_words(each['after'])}" for each in answer["members"]]
    return [f"{verb} {node}: {line}" for line in lines] if wide else lines


def _words(override: dict[str, Any]) -> str:
    words = [override["state"].lower()] if override["state"] else []
    words += [f"weight {override['weight']}"] if override["weight"] is not None else []
    words += [f"{name} {limit}" for name, limit in override["resources"].items()]
    return ", ".join(words) or "as configured"
