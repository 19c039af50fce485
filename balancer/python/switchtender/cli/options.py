"""Options that commands share."""

from __future__ import annotations

import click

DEFAULT_URL = "http://127.0.0.1:8080"

output_option = click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the answer.",
)
url_option = click.option(
    "--url", envvar="SWITCHTENDER_URL", default=DEFAULT_URL, show_default=True, help="HTTP address of the balancer."
)
