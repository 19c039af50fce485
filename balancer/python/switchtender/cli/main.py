"""The commands.

Exit status: 0 done; 1 what was asked about is not well, or ``serve`` failed while serving; 2 the command could not be
carried out, or ``serve`` could not start as configured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from switchtender.cli import explanation, logs, migration, orders, tables
from switchtender.cli.client import ApiError, BalancerApi
from switchtender.cli.connect import Node, NoPasswordError, Refusal, findings, node_at, nodes_of, verdicts
from switchtender.cli.options import balancer_option, fail, output_option
from switchtender.config.exposure import http_exposure
from switchtender.config.plan import Plan, read_plan
from switchtender.config.pod_config import PLACEHOLDERS, read_config
from switchtender_api.problems import DocumentErrors

POD_CONFIG = "/etc/switchtender/balancer.yaml"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="switchtender", message="%(prog)s %(version)s")
def main() -> None:
    """Route SIP calls over FreeSWITCH nodes by the load they report."""


@main.command()
@click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with one BalancerConfig and its BalancerGroups. Read again when it changes, and on SIGHUP. With "
    f"--kubernetes: with the BalancerConfig alone, {POD_CONFIG} by default.",
)
@click.option("--kubernetes", is_flag=True, help="Groups, nodes and passwords come from the API server.")
@click.option(
    "--watch-namespaces",
    envvar="SWITCHTENDER_WATCH_NAMESPACES",
    default="",
    metavar="NAME,NAME",
    help="Namespaces whose groups are served; all of them if empty.",
)
@click.option(
    "--keys-secret",
    envvar="SWITCHTENDER_KEYS_SECRET",
    help="Secret with the keys of the Record-Route token, shared by all replicas.",
)
@click.option(
    "--token-secret", envvar="SWITCHTENDER_TOKEN_SECRET", help="Secret with the operator's token for /api/v1/state."
)
@click.option("--namespace", envvar="POD_NAMESPACE", help="The balancer's own namespace, where these Secrets are.")
@click.option("--kubeconfig", help="File that says where the API server is, outside a pod.")
@click.option(
    "--log-format", type=click.Choice(["json", "console"]), default="json", show_default=True, help="Form of logs."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level logged.",
)
def serve(
    config: Path | None,
    kubernetes: bool,  # noqa: FBT001 - a flag of the command line
    watch_namespaces: str,
    keys_secret: str | None,
    token_secret: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run the balancer on a configuration file, or in Kubernetes.

    SIGTERM and SIGINT stop it gracefully: calls in set-up are finished, established calls go on without it. A second
    signal ends it at once.
    """
    from switchtender._core import BindError, ConfigError, CoreStopped
    from switchtender.cli.failures import bind_failure, core_refusal, http_bind_failure
    from switchtender.config.state_dir import StateDirCorruptError, StateDirInUseError
    from switchtender.http.listen import HttpBindError
    from switchtender.serve.lifetime import ServeError
    from switchtender.serve.server import Server

    if config is None and not kubernetes:
        raise click.UsageError("give --config FILE, or --kubernetes")
    logs.configure(log_format, log_level)
    try:
        if config is not None and not kubernetes:
            asyncio.run(Server(config).run())
        else:
            _serve_kubernetes(
                config=config or Path(POD_CONFIG),
                watch_namespaces=tuple(name.strip() for name in watch_namespaces.split(",") if name.strip()),
                keys_secret=keys_secret or None,
                token_secret=token_secret or None,
                namespace=namespace or None,
                kubeconfig=kubeconfig,
            )
    except DocumentErrors as errors:
        _refuse(errors)
    except BindError as error:
        fail(bind_failure(error))
    except HttpBindError as error:
        fail(http_bind_failure(error))
    except ConfigError as error:
        fail(core_refusal(error))
    except (StateDirInUseError, StateDirCorruptError, CoreStopped, OSError) as error:
        fail(str(error))
    except ServeError:
        sys.exit(1)  # the log says why


def _serve_kubernetes(**options: Any) -> None:
    from switchtender.serve.kubernetes import KubernetesServer, Options
    from switchtender_kube import ConfigurationError

    try:
        asyncio.run(KubernetesServer(Options(**options)).run())
    except ConfigurationError as error:
        fail(str(error))


@main.command()
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
    "--wait", type=click.FloatRange(1, 120), default=5.0, show_default=True, help="Seconds to watch each node."
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
    try:
        plan = _plan_in_a_pod(file) if kubernetes else read_plan(file)
    except DocumentErrors as errors:
        if output == "json":
            click.echo(
                json.dumps({"valid": False, "problems": [problem.as_dict() for problem in errors.problems]}, indent=2)
            )
            sys.exit(1)
        for problem in errors.problems:
            click.echo(problem.render(), err=True)
        count = len(errors.problems)
        click.echo(f"{file}: {count} problem{'s' if count != 1 else ''}", err=True)
        sys.exit(1)
    if not kubernetes and (exposure := http_exposure(plan.documents.config.spec.http)) is not None:
        click.echo(f"{file}: warning: {exposure}", err=True)
    if connect:
        _check_nodes(nodes_of(plan), wait, output)
        return
    groups = [{"group": entry.group.key, "members": len(entry.members)} for entry in plan.groups]
    if output == "json":
        click.echo(json.dumps({"valid": True, "groups": groups}, indent=2))
    else:
        members = sum(len(entry.members) for entry in plan.groups)
        click.echo(f"{file}: valid; {len(groups)} group{'s' if len(groups) != 1 else ''}, {members} members")


def _plan_in_a_pod(file: Path) -> Plan:
    """The file as `serve --kubernetes` reads it, with stand-ins for what only a pod knows. Raises DocumentErrors."""
    return Plan(read_config(file, environ={**PLACEHOLDERS, **os.environ}), (), {})


def _node_at(url: str) -> Node:
    try:
        return node_at(url, os.environ)
    except Refusal as refusal:
        raise click.BadParameter(f"{refusal.message}; write {refusal.accepted}", param_hint="--node") from None
    except NoPasswordError as error:
        raise click.BadParameter(str(error), param_hint="--node") from None


def _check_nodes(nodes: list[Node], wait: float, output: str) -> None:
    """Ask the nodes, print what they should change; exit 1 where one cannot be used."""
    # The findings say what the driver would log.
    logging.getLogger("switchtender").addHandler(logging.NullHandler())
    found = asyncio.run(verdicts(nodes, wait))
    if output == "json":
        click.echo(json.dumps({"nodes": [verdict.as_dict() for verdict in found]}, indent=2))
    else:
        tables.show(findings(found))
    if any(verdict.problem for verdict in found):
        sys.exit(1)


@main.command()
@balancer_option
@output_option
@click.option("--watch", is_flag=True, help="Show the table live, until interrupted.")
@click.option("--group", default=None, metavar="NAMESPACE/NAME", help="Only the nodes of this group.")
def nodes(api: BalancerApi, output: str, watch: bool, group: str | None) -> None:  # noqa: FBT001 - a flag of the command line
    """Show every node: state, sessions, room, share."""
    if watch and output == "json":
        raise click.UsageError("--watch shows a table; for JSON, ask again and again")

    def read(api: BalancerApi) -> list[dict[str, Any]]:
        return [node for node in api.nodes() if group in {None, f"{node['namespace']}/{node['group']}"}]

    try:
        if output == "json":
            click.echo(json.dumps(read(api), indent=2))
        elif watch:
            tables.live(lambda: tables.nodes(read(api)))
        else:
            tables.show(tables.nodes(read(api)))
            _tell_unresolved(api, group)
    except ApiError as error:
        fail(str(error))


def _tell_unresolved(api: BalancerApi, wanted: str | None) -> None:
    """Say whom the table lacks: a member whose name is not known to be anywhere is no node yet."""
    with contextlib.suppress(ApiError):
        for group, hosts in api.unresolved().items():
            if wanted in {None, group}:
                click.echo(f"{group}: no address is known of {', '.join(hosts)}", err=True)


for _command in (explanation.explain, migration.imports, *orders.COMMANDS):
    main.add_command(_command)


def _refuse(errors: DocumentErrors) -> NoReturn:
    for problem in errors.problems:
        click.echo(problem.render(), err=True)
    sys.exit(2)
