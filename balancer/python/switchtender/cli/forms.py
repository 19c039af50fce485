"""The forms in which an answer is given: tables for people, JSON and YAML for machines.

What machines get is what the balancer said, unchanged. Knows no question and no table.
"""

from __future__ import annotations

import json
from typing import Any, Final

import click

FORMS: Final = ("table", "wide", "json", "yaml")
MACHINES: Final = frozenset({"json", "yaml"})


def for_machines(output: str) -> bool:
    """Whether this form is read by programs."""
    return output in MACHINES


def emit(document: Any, output: str) -> None:
    """Print the whole document on standard output, as JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(_yaml(document), nl=False)


def emit_one(document: Any, output: str) -> None:
    """Print one of an endless row of documents: a line of JSON, or a document of a YAML stream."""
    if output == "json":
        click.echo(json.dumps(document))
    else:
        click.echo(f"---\n{_yaml(document)}", nl=False)


def _yaml(document: Any) -> str:
    import yaml

    fast = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(document, Dumper=fast, sort_keys=False, allow_unicode=True)
    return text


def printable(text: str, keep: str = "") -> str:
    """The text for a terminal: what would move its cursor is "?", but for the characters to ``keep``."""
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)
