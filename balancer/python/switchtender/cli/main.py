"""The commands.

Exit status: 0 done; 1 what was asked about is not well, or ``serve`` failed while serving; 2 the command could not be
carried out, or ``serve`` could not start as configured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from switchtender.cli import logs, tables
from switchtender.cli.client import ApiError, BalancerApi
from switchtender.config.plan import read_plan
from switchtender_api.problems import DocumentErrors

DEFAULT_URL = "http://127.0.0.1:8080"

_output = click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the answer.",
)
_url = click.option(
    "--url", envvar="SWITCHTENDER_URL", default=DEFAULT_URL, show_default=True, help="HTTP address of the balancer."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="switchtender", message="%(prog)s %(version)s")
def main() -> None:
    """Route SIP calls over FreeSWITCH nodes by the load they report."""


@main.command()
@click.option(
    "--config",
    "config",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with one BalancerConfig and its BalancerGroups. Read again when it changes, and on SIGHUP.",
)
@click.option(
    "--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True, help="Form of logs."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level logged.",
)
def serve(config: Path, log_format: str, log_level: str) -> None:
    """Run the balancer on a configuration file.

    SIGTERM and SIGINT stop it gracefully: calls in set-up are finished, established calls go on without it. A second
    signal ends it at once.
    """
    from switchtender._core import BindError, ConfigError, CoreStopped
    from switchtender.cli.failures import bind_failure, core_refusal, http_bind_failure
    from switchtender.config.state_dir import StateDirCorruptError, StateDirInUseError
    from switchtender.http.listen import HttpBindError
    from switchtender.serve.server import ServeError, Server

    logs.configure(log_format, log_level)
    try:
        asyncio.run(Server(config).run())
    except DocumentErrors as errors:
        _refuse(errors)
    except BindError as error:
        _fail(bind_failure(error))
    except HttpBindError as error:
        _fail(http_bind_failure(error))
    except ConfigError as error:
        _fail(core_refusal(error))
    except (StateDirInUseError, StateDirCorruptError, CoreStopped, OSError) as error:
        _fail(str(error))
    except ServeError:
        sys.exit(1)  # the log says why


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_output
def check(file: Path, output: str) -> None:
    """Check a configuration FILE: everything `serve` would refuse, in one go."""
    try:
        plan = read_plan(file)
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
    groups = [{"group": entry.group.key, "members": len(entry.members)} for entry in plan.groups]
    if output == "json":
        click.echo(json.dumps({"valid": True, "groups": groups}, indent=2))
    else:
        members = sum(len(entry.members) for entry in plan.groups)
        click.echo(f"{file}: valid; {len(groups)} group{'s' if len(groups) != 1 else ''}, {members} members")


@main.command()
@_url
@_output
@click.option("--watch", is_flag=True, help="Show the table live, until interrupted.")
@click.option("--group", default=None, metavar="NAMESPACE/NAME", help="Only the nodes of this group.")
def nodes(url: str, output: str, watch: bool, group: str | None) -> None:  # noqa: FBT001 - a flag of the command line
    """Show every node: state, sessions, room, share."""
    if watch and output == "json":
        raise click.UsageError("--watch shows a table; for JSON, ask again and again")

    def read(api: BalancerApi) -> list[dict[str, Any]]:
        return [node for node in api.nodes() if group in {None, f"{node['namespace']}/{node['group']}"}]

    try:
        api = BalancerApi(url)
        if output == "json":
            click.echo(json.dumps(read(api), indent=2))
        elif watch:
            tables.live(lambda: tables.nodes(read(api)))
        else:
            tables.show(tables.nodes(read(api)))
    except ApiError as error:
        _fail(str(error))


@main.command()
@_url
@_output
@click.option("--request-uri", required=True, help="Request-URI of the call, such as sip:1000@example.com.")
@click.option("--method", default="INVITE", show_default=True, help="Method of the request.")
@click.option("--source", default=None, help="IP address the request comes from.")
@click.option("--from", "from_", default=None, help="From header.")
@click.option("--to", default=None, help="To header.")
@click.option("--call-id", default=None, help="Call-ID header.")
def explain(
    url: str,
    output: str,
    request_uri: str,
    method: str,
    source: str | None,
    from_: str | None,
    to: str | None,
    call_id: str | None,
) -> None:
    """Say where a call with these headers would go now, and why. Nothing is sent, nothing is counted."""
    question = {
        "requestUri": request_uri,
        "method": method,
        "source": source,
        "from": from_,
        "to": to,
        "callId": call_id,
    }
    try:
        answer = BalancerApi(url).explain({name: value for name, value in question.items() if value is not None})
    except ApiError as error:
        _fail(str(error))
    if output == "json":
        click.echo(json.dumps(answer, indent=2))
    else:
        tables.explanation(answer)
    if answer.get("choice") is None:
        sys.exit(1)


def _refuse(errors: DocumentErrors) -> NoReturn:
    for problem in errors.problems:
        click.echo(problem.render(), err=True)
    sys.exit(2)


def _fail(message: str) -> NoReturn:
    click.echo(f"switchtender: {message}", err=True)
    sys.exit(2)
