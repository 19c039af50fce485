"""`switchtender import`: other balancers' tables to our documents. Reads files and prints; `migrate` does the rest."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchtender.cli.exits import fail, unwell
from switchtender.cli.options import examples

if TYPE_CHECKING:
    from switchtender.migrate.opensips import Source

_file = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.group("import")
def imports() -> None:
    """Write the documents that another balancer's tables mean."""


@imports.command(epilog=examples("switchtender import opensips --dispatcher dispatcher.sql > balancer.yaml"))
@click.option("--dispatcher", "dispatchers", multiple=True, type=_file, metavar="FILE", help="Table dispatcher.")
@click.option(
    "--load-balancer", "load_balancers", multiple=True, type=_file, metavar="FILE", help="Table load_balancer."
)
@click.option(
    "--balancer-config/--no-balancer-config",
    "config",
    default=True,
    show_default=True,
    help="Also write a BalancerConfig, so that the output can be served as it stands.",
)
@click.option("--namespace", help="Namespace of the groups.")
@click.option(
    "--kubernetes", is_flag=True, help="Groups for kubectl apply: no BalancerConfig, passwords from a Secret."
)
@click.option(
    "--keep-algorithms", is_flag=True, help="Place calls by OpenSIPS' weights instead of by the room there is."
)
@click.option(
    "--algorithm",
    type=click.IntRange(0, 10),
    help="The algorithm that the script gave to ds_select_dst, for all sets.",
)
@click.option(
    "--max-freeswitch-weight",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="The parameter of that name, where a set mixes fs:// and plain weights.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the report on standard error.",
)
def opensips(
    dispatchers: tuple[Path, ...],
    load_balancers: tuple[Path, ...],
    config: bool,  # noqa: FBT001 - a flag of the command line
    namespace: str | None,
    kubernetes: bool,  # noqa: FBT001
    keep_algorithms: bool,  # noqa: FBT001
    algorithm: int | None,
    max_freeswitch_weight: int,
    output: str,
) -> None:
    """Convert OpenSIPS' tables dispatcher and load_balancer.

    FILE is an SQL dump, what `mysql -B` prints, the box that `mysql` draws, or a db_text file; - is standard input. The
    documents go to standard output, passwords in them; standard error says what became of every row.

    Exit status 1 when rows were left out, 2 when a file cannot be read.
    """
    from switchtender.migrate.dispatcher import Choices
    from switchtender.migrate.documents import Form
    from switchtender.migrate.opensips import convert
    from switchtender.migrate.tables import UnreadableError

    files = (*dispatchers, *load_balancers)
    if not files:
        raise click.UsageError("give --dispatcher FILE, --load-balancer FILE, or both")
    if sum(str(file) == "-" for file in files) > 1:
        raise click.UsageError("standard input can be one file only")
    try:
        imported = convert(
            [_source(file) for file in dispatchers],
            [_source(file) for file in load_balancers],
            form=Form(config, namespace, kubernetes),
            choices=Choices(algorithm, keep_algorithms, max_freeswitch_weight),
            now=datetime.now(UTC),
        )
    except UnreadableError as error:
        fail(str(error))
    click.echo(imported.documents, nl=False)
    report = imported.report
    if output == "json":
        click.echo(json.dumps(report.as_dict(), indent=2), err=True)
    else:
        for line in report.lines():
            click.echo(line, err=True)
    if report.left_out:
        unwell()


def _source(file: Path) -> Source:
    """The file's content. Raises UnreadableError."""
    from switchtender.migrate.opensips import Source
    from switchtender.migrate.tables import UnreadableError

    if str(file) == "-":
        return Source("standard input", sys.stdin.buffer.read())
    try:
        return Source(str(file), file.read_bytes())
    except OSError as error:
        raise UnreadableError(f"{file}: {error.strerror or error}") from None
