"""How a command of ours ends: what its failures look like, and which exit status stands for what.

The one place that knows both; commands raise ``Failure`` or leave by ``unwell``.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import IO, Any, NoReturn

import click

from switchtender_api.exit_status import ExitStatus


class Failure(click.ClickException):
    """The command could not be carried out; the text is for a person, and ends as one line on standard error."""

    exit_code = ExitStatus.FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"switchtender: {self.message}", err=file is None, file=file)


def fail(message: str) -> NoReturn:
    """Say in one line why the command could not be carried out."""
    raise Failure(message)


def unwell() -> NoReturn:
    """End: what was asked about is not well, and that was told."""
    sys.exit(ExitStatus.UNWELL)


def timed_out() -> NoReturn:
    """End: what was waited for did not come in the time that was given, and that was told."""
    sys.exit(ExitStatus.TIMED_OUT)


class Program(click.Group):
    """A group whose commands are imported when they are asked for: ``--help`` of one needs nothing of the others.

    ``lazily``: by the name of a command, where it is (``module:attribute``).
    """

    def __init__(self, *arguments: Any, lazily: Mapping[str, str], **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self._lazily = lazily

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the alphabet."""
        return sorted(self._lazily)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        place = self._lazily.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A reader that went away ends it in silence, and so does Ctrl-C."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered would be written once more when the interpreter ends, and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(ExitStatus.DONE)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(ExitStatus.INTERRUPTED)
