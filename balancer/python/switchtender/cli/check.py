"""``switchtender check``: what is wrong with a file, or with the settings of FreeSWITCH nodes."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchtender.cli.exits import unwell
from switchtender.cli.forms import emit, for_machines
from switchtender.cli.options import examples, output_option

if TYPE_CHECKING:
    from switchtender.cli.connect import Node
    from switchtender.config.plan import Plan


@click.command(
    epilog=examples(
        "switchtender check balancer.yaml",
        "switchtender check --connect balancer.yaml",
        "ESL_PASSWORD=secret switchtender check --node fs://192.0.2.11 --wait 25",
    )
)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@output_option
@click.option("--connect", is_flag=True, help="Also log in to every node of the file and say what to change there.")
@click.option(
    "--node",
    "urls",
    multiple=True,
    metavar="FS_URL",
    help="A node to log in to, instead of a file: fs://[user]:password@host[:port]. The password may stand in "
    "ESL_PASSWORD instead. May be repeated.",
)
@click.option(
    "--kubernetes",
    is_flag=True,
    help="The file is a balancer's in a pod: a BalancerConfig alone, in which $(POD_IP) and the like may stand.",
)
@click.option(
    "--wait",
    type=click.FloatRange(1, 120),
    metavar="SECONDS",
    default=5.0,
    show_default=True,
    help="Seconds to watch each node.",
)
def check(
    file: Path | None,
    output: str,
    connect: bool,  # noqa: FBT001
    urls: tuple[str, ...],
    kubernetes: bool,  # noqa: FBT001
    wait: float,
) -> None:
    """Check a configuration FILE: everything `serve` would refuse, in one go.

    With --connect or --node, check nodes: whether their Event Socket lets us in, what it reports, and which settings
    of FreeSWITCH to change. Exit status 1 when something is wrong.
    """
    if (file is None) == (not urls):
        raise click.UsageError("give a FILE, or nodes by --node fs://…")
    if kubernetes and (file is None or connect):
        raise click.UsageError("--kubernetes checks a FILE, which names no node to log in to")
    if file is None:
        _check_nodes([_node_at(url) for url in urls], wait, output)
        return
    from switchtender.cli.connect import nodes_of
    from switchtender.config.exposure import http_exposure
    from switchtender_api.problems import DocumentErrors

    try:
        plan = _plan_in_a_pod(file) if kubernetes else _plan_here(file)
    except DocumentErrors as errors:
        if for_machines(output):
            emit({"valid": False, "problems": [problem.as_dict() for problem in errors.problems]}, output)
            unwell()
        for problem in errors.problems:
            click.echo(problem.render(), err=True)
        count = len(errors.problems)
        click.echo(f"{file}: {count} problem{'s' if count != 1 else ''}", err=True)
        unwell()
    if not kubernetes and (exposure := http_exposure(plan.documents.config.spec.http)) is not None:
        click.echo(f"{file}: warning: {exposure}", err=True)
    if connect:
        _check_nodes(nodes_of(plan), wait, output)
        return
    groups = [{"group": entry.group.key, "members": len(entry.members)} for entry in plan.groups]
    if for_machines(output):
        emit({"valid": True, "groups": groups}, output)
        return
    members = sum(len(entry.members) for entry in plan.groups)
    click.echo(f"{file}: valid; {len(groups)} group{'s' if len(groups) != 1 else ''}, {members} members")
    if output == "wide":
        for entry in plan.groups:
            names = ", ".join(member.name for member in entry.members) or "no member"
            click.echo(f"{entry.group.key}: {entry.group.spec.routing.algorithm}: {names}")


def _plan_here(file: Path) -> Plan:
    """The file as `serve` reads it when it starts. Raises DocumentErrors."""
    from switchtender.config import hep, http_files
    from switchtender.config.plan import read_plan

    plan = read_plan(file)
    http_files.require(plan.documents, os.environ, now=datetime.now(UTC))
    hep.password(plan.documents, os.environ)
    return plan


def _plan_in_a_pod(file: Path) -> Plan:
    """The file as `serve --kubernetes` reads it, with stand-ins for what only a pod knows. Raises DocumentErrors."""
    from switchtender.config.plan import Plan
    from switchtender.config.pod_config import PLACEHOLDERS, read_config

    return Plan(read_config(file, environ={**PLACEHOLDERS, **os.environ}), (), {})


def _node_at(url: str) -> Node:
    from switchtender.cli.connect import NoPasswordError, Refusal, node_at

    try:
        return node_at(url, os.environ)
    except Refusal as refusal:
        raise click.BadParameter(f"{refusal.message}; write {refusal.accepted}", param_hint="--node") from None
    except NoPasswordError as error:
        raise click.BadParameter(str(error), param_hint="--node") from None


def _check_nodes(nodes: list[Node], wait: float, output: str) -> None:
    """Ask the nodes, print what they should change; exit 1 where one cannot be used."""
    import asyncio

    from switchtender.cli import tables
    from switchtender.cli.connect import findings, verdicts

    # The findings say what the driver would log.
    logging.getLogger("switchtender").addHandler(logging.NullHandler())
    found = asyncio.run(verdicts(nodes, wait))
    if for_machines(output):
        emit({"nodes": [verdict.as_dict() for verdict in found]}, output)
    else:
        tables.show(findings(found, wide=output == "wide"))
    if any(verdict.problem for verdict in found):
        unwell()
