"""The program ``switchtender``: which commands there are, and where. Knows nothing of what they do."""

from __future__ import annotations

import click

from switchtender.cli.exits import Program

_HERE = "switchtender.cli"


@click.group(
    cls=Program,
    lazily={
        "check": f"{_HERE}.check:check",
        "completion": f"{_HERE}.completion:completion",
        "disable": f"{_HERE}.orders:disable",
        "drain": f"{_HERE}.drain:drain",
        "enable": f"{_HERE}.orders:enable",
        "events": f"{_HERE}.events:events",
        "explain": f"{_HERE}.explanation:explain",
        "groups": f"{_HERE}.listing:groups",
        "import": f"{_HERE}.migration:imports",
        "nodes": f"{_HERE}.listing:nodes",
        "resize": f"{_HERE}.orders:resize",
        "serve": f"{_HERE}.serving:serve",
        "top": f"{_HERE}.top.command:top",
        "trace": f"{_HERE}.trace:trace",
        "undrain": f"{_HERE}.drain:undrain",
        "weight": f"{_HERE}.orders:weight",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit status and environment: docs/reference/commands.md.",
)
@click.version_option(package_name="switchtender", message="%(prog)s %(version)s")
def main() -> None:
    """Route SIP calls over FreeSWITCH nodes by the load they report."""
