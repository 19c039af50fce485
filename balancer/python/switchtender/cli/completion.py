"""``switchtender completion``: what a shell needs to complete our commands, and the names it completes.

Names of nodes, groups and resources come from the running balancer. Whoever presses Tab wants no error and no wait:
where nobody answers soon there is nothing to complete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi

_PATIENCE = 0.7
"""Seconds."""
_VARIABLE = "_SWITCHTENDER_COMPLETE"

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


@click.command(
    epilog="\b\nExamples:\n"
    "  switchtender completion bash > /etc/bash_completion.d/switchtender\n"
    "  switchtender completion zsh > ~/.zfunc/_switchtender\n"
    "  switchtender completion fish > ~/.config/fish/completions/switchtender.fish",
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes our commands in SHELL.

    Names of nodes and groups are completed, too, from the balancer at --url or SWITCHTENDER_URL.
    """
    click.echo(_SHELLS[shell](ctx.find_root().command, {}, "switchtender", _VARIABLE).source())


def _from_balancer(names: Callable[[BalancerApi], Iterable[str]]) -> Completer:
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        with contextlib.suppress(Exception):  # whatever it is, a shell is no place to tell
            return sorted({name for name in names(_api(ctx.params)) if name.startswith(incomplete)})
        return []

    return complete


def _drainable(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Nodes of the balancer; where the command so far is for Kubernetes, the pods that a group selects."""
    given = ctx.params
    if not (given.get("kubernetes") or any(given.get(name) for name in ("namespace", "context", "kubeconfig"))):
        return nodes(ctx, parameter, incomplete)
    with contextlib.suppress(Exception):
        from switchtender.cli.cluster import Access, Cluster

        access = Access(given.get("namespace"), given.get("context"), given.get("kubeconfig"))
        with Cluster.opened(access, patience=_PATIENCE) as cluster:
            return [name for name in cluster.names(given.get("group")) if name.startswith(incomplete)]
    return []


def _api(given: dict[str, Any]) -> BalancerApi:
    from switchtender.cli.client import BalancerApi
    from switchtender.cli.options import DEFAULT_URL

    url = given.get("url") or os.environ.get("SWITCHTENDER_URL") or DEFAULT_URL
    ca_file = given.get("ca_file") or os.environ.get("SWITCHTENDER_CA_FILE")
    return BalancerApi(url, ca_file=Path(ca_file) if ca_file else None, patience=_PATIENCE)


nodes = _from_balancer(lambda api: (node["node"] for node in api.nodes()))
groups = _from_balancer(lambda api: (f"{group['namespace']}/{group['group']}" for group in api.groups()))
resources = _from_balancer(lambda api: (name for node in api.nodes() for name in node["resources"]))
drainable = _drainable
