"""Options that commands share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from switchtender.cli.client import ApiError, BalancerApi
from switchtender.cli.token import NO_TOKEN, TokenError, find_token, token_option

DEFAULT_URL = "http://127.0.0.1:8080"

output_option = click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the answer.",
)
_url_option = click.option(
    "--url", envvar="SWITCHTENDER_URL", default=DEFAULT_URL, show_default=True, help="HTTP address of the balancer."
)
_ca_option = click.option(
    "--ca-file",
    envvar="SWITCHTENDER_CA_FILE",
    type=click.Path(path_type=Path),
    help="Certificates (PEM) that vouch for the balancer at an https address; those of the system if omitted.",
)

Command = Callable[..., None]


def balancer_option(command: Command) -> Command:
    """Options that say where the balancer is; the command is given it as ``api``, for questions that need no token."""

    @_url_option
    @_ca_option
    @functools.wraps(command)
    def asking(*arguments: Any, url: str, ca_file: Path | None, **rest: Any) -> None:
        command(*arguments, api=_api(url, ca_file), **rest)

    return asking


def admin_option(command: Command) -> Command:
    """Options that say where the balancer is and what its token is; the command is given it as ``api``."""

    @_url_option
    @_ca_option
    @token_option
    @functools.wraps(command)
    def asking(*arguments: Any, url: str, ca_file: Path | None, token_file: Path | None, **rest: Any) -> None:
        command(*arguments, api=_api(url, ca_file, (token_file,)), **rest)

    return asking


def _api(url: str, ca_file: Path | None, token_file: tuple[Path | None] | None = None) -> BalancerApi:
    try:
        token = NO_TOKEN if token_file is None else find_token(token_file[0], url)
        return BalancerApi(url, ca_file=ca_file, token=token)
    except (ApiError, TokenError) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Say in one line why the command could not be carried out, and end with exit status 2."""
    click.echo(f"switchtender: {message}", err=True)
    sys.exit(2)
