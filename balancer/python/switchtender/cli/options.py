"""Options that commands share: where the balancer is, in what form it answers; and the environment they stand in."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from switchtender.cli.completion import groups, nodes
from switchtender.cli.exits import fail
from switchtender.cli.forms import FORMS
from switchtender.cli.token import NO_TOKEN, TokenError, find_token, token_option

if TYPE_CHECKING:
    from switchtender.cli.client import BalancerApi

DEFAULT_URL = "http://127.0.0.1:8080"

ENVIRONMENT: Final = {
    "ESL_PASSWORD": "`check --node`: the password of nodes whose URL holds none.",
    "NO_COLOR": "Not empty: no colors, as `--no-color`. Where standard output is no terminal there are none anyway.",
    "SWITCHTENDER_TOKEN": "The balancer's token, for orders and traces.",
    "SWITCHTENDER_TOKEN_FILE": "File with the token, where `SWITCHTENDER_TOKEN` is not set.",
}
"""Variables that commands heed beside those that stand for an option; Markdown."""

_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Command = Callable[..., None]


class Duration(click.ParamType[float]):
    """A span of time such as ``500ms``, ``2s``, ``3m``, ``1h`` or ``1d``; its value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(value)
        if found is None:
            self.fail(f"{value!r}: accepted: a number with its unit, such as 500ms, 2s, 3m, 1h or 1d", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


def examples(*lines: str) -> str:
    """The end of a command's help: lines to try."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _colorless(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click calls it so
    if value:
        ctx.color = False


no_color_option = click.option(
    "--no-color",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_colorless,
    help="No colors. Where the output is no terminal there are none anyway.",
)


def output_option(command: Command) -> Command:
    """Options that say in what form the answer is given; the command is given the form as ``output``."""
    form = click.option(
        "--output",
        "-o",
        type=click.Choice(FORMS),
        default="table",
        show_default=True,
        help="Form of the answer: wide has more columns; json and yaml are what the balancer said, unchanged.",
    )
    return form(no_color_option(command))


group_option = click.option(
    "--group", default=None, metavar="NAMESPACE/NAME", shell_complete=groups, help="Only this group."
)
node_argument = click.argument("node", shell_complete=nodes)

url_option = click.option(
    "--url", envvar="SWITCHTENDER_URL", default=DEFAULT_URL, show_default=True, help="HTTP address of the balancer."
)
ca_option = click.option(
    "--ca-file",
    envvar="SWITCHTENDER_CA_FILE",
    type=click.Path(path_type=Path),
    help="Certificates (PEM) that vouch for the balancer at an https address; those of the system if omitted.",
)


def balancer_option(command: Command) -> Command:
    """Options that say where the balancer is; the command is given it as ``api``, for questions that need no token."""

    @url_option
    @ca_option
    @functools.wraps(command)
    def asking(*arguments: Any, url: str, ca_file: Path | None, **rest: Any) -> None:
        command(*arguments, api=balancer_api(url, ca_file), **rest)

    return asking


def admin_option(command: Command) -> Command:
    """Options that say where the balancer is and what its token is; the command is given it as ``api``."""

    @url_option
    @ca_option
    @token_option
    @functools.wraps(command)
    def asking(*arguments: Any, url: str, ca_file: Path | None, token_file: Path | None, **rest: Any) -> None:
        command(*arguments, api=balancer_api(url, ca_file, (token_file,)), **rest)

    return asking


def balancer_api(url: str, ca_file: Path | None, token_file: tuple[Path | None] | None = None) -> BalancerApi:
    """The balancer at ``url``; with ``token_file``, what --token-file names or None, its token is looked for, too."""
    from switchtender.cli.client import BalancerApi

    try:
        token = NO_TOKEN if token_file is None else find_token(token_file[0], url)
    except TokenError as error:
        fail(str(error))
    return BalancerApi(url, ca_file=ca_file, token=token)
