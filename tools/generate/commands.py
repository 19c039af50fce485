"""The reference of both programs' commands, from what click knows of them. Writes nothing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

import click

from switchtender.cli import main as switchtender
from switchtender.cli.options import ENVIRONMENT
from switchtender_api.exit_status import MEANINGS
from switchtender_operator.cli import main as operator

PROGRAMS: Final = {"switchtender": switchtender, "switchtender-operator": operator}

_INTRODUCTION = """\
# Command reference

Generated from the commands (`make generate`); do not edit. `-h` and `--help` say the same of every command. What
machines read goes to standard output, everything else to standard error. Completion of a shell:
`switchtender completion --help`; how it is used: [operations.md](../operations.md#at-the-command-line).

## Exit status

Of every command of both programs:

| status | meaning |
|---|---|
"""


def page() -> str:
    """The page, whole."""
    parts = [_INTRODUCTION + "".join(f"| {status.value} | {meaning} |\n" for status, meaning in MEANINGS.items())]
    parts.append(_environment())
    for name, program in PROGRAMS.items():
        context = click.Context(program, info_name=name)
        parts.append(f"## {name}\n\n{_prose(program)}\n")
        parts += [_section(path, command, context) for path, command in leaves(program, context)]
    return "\n".join(parts)


def leaves(group: click.Group, context: click.Context, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that is no group, with the words by which it is called."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, context, *path, name)
        elif command is not None and not command.hidden:
            yield (*path, name), command


def variables() -> dict[str, str]:
    """What each environment variable is for: those of options, and those that stand for none."""
    found: dict[str, list[str]] = {}
    for name, program in PROGRAMS.items():
        for path, command in leaves(program, click.Context(program, info_name=name)):
            for option in _options(command):
                for variable in _names(option):
                    found.setdefault(variable, []).append(f"`{name} {' '.join(path)}` `{option.opts[-1]}`")
    told = {variable: _of_options(places) for variable, places in found.items()}
    return dict(sorted((told | ENVIRONMENT).items()))


def _of_options(places: list[str]) -> str:
    """Where an option is that of many commands, the option alone."""
    options = sorted({place.rpartition(" ")[2] for place in places})
    return f"{', '.join(options)} of every command that has it." if len(places) > 2 else f"{', '.join(places)}."


def _environment() -> str:
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in variables().items())
    return f"## Environment\n\nAn option that is given counts more.\n\n| variable | for |\n|---|---|\n{rows}"


def _section(path: tuple[str, ...], command: click.Command, program: click.Context) -> str:
    context = click.Context(command, info_name=" ".join(path), parent=program)
    usage = " ".join([program.info_name or "", *path, *command.collect_usage_pieces(context)])
    parts = [f"### {program.info_name} {' '.join(path)}\n\n```\n{usage}\n```\n\n{_prose(command)}\n"]
    options = [option for option in _options(command) if not option.hidden]
    if options:
        rows = "".join(_row(option, context) for option in options)
        parts.append(f"| option | default | meaning |\n|---|---|---|\n{rows}")
    if command.epilog:
        lines = [line.strip() for line in inspect.cleandoc(command.epilog.replace("\b", "")).strip().splitlines()]
        parts.append("```\n" + "\n".join(lines[1:]) + "\n```\n")
    return "\n".join(parts)


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _row(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    takes = "" if option.is_flag or option.count else f" {_escaped(option.make_metavar(context))}"
    again = " May be repeated." if option.multiple and "repeated" not in (option.help or "") else ""
    variable = "".join(f" `{name}`" for name in _names(option))
    meaning = _escaped(f"{option.help or ''}{again}") + (f" Environment:{variable}." if variable else "")
    return f"| {names}{takes} | {_default(option)} | {meaning} |\n"


def _default(option: click.Option) -> str:
    default = option.default
    if isinstance(default, bool):
        return f"`{(option.opts if default else option.secondary_opts)[-1]}`" if option.secondary_opts else ""
    return f"`{default}`" if isinstance(default, str | int | float) and default != "" else ""


def _names(option: click.Option) -> list[str]:
    if option.hidden or option.envvar is None:
        return []
    return [option.envvar] if isinstance(option.envvar, str) else list(option.envvar)


def _prose(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").strip()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
