"""Writes what is generated: JSON schemas for editors, the references of the configuration and of node states.

``--check`` writes nothing and fails when a file is stale (``make verify``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchtender.load.states import REASONS, STATES
from switchtender_api.schema import KINDS, Kind, json_schema

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "docs" / "reference" / "schemas"
STATE_PAGE = ROOT / "docs" / "reference" / "states.md"
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"
IN_FILES: tuple[Kind, ...] = ("BalancerConfig", "BalancerGroup")

_INTRODUCTION = """\
# Configuration reference

Generated from the models (`make generate`); do not edit. A file holds one `BalancerConfig` and any number of
`BalancerGroup` documents, separated by `---`. Unknown fields are errors. `switchtender check FILE` says all that is
wrong with a file at once. Durations are written `500ms`, `2s`, `3m`, `1h`. Editors can use the JSON schemas in
[schemas/](schemas/).
"""


@dataclass(frozen=True)
class Row:
    """One field of a document."""

    path: str
    accepted: str
    default: str
    description: str


def main() -> int:
    """Generate or check; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a generated file is stale, write nothing")
    check = parser.parse_args().check
    stale = [path for path, text in generated() if not path.exists() or path.read_text() != text]
    if check:
        for path in stale:
            sys.stderr.write(f"stale: {path.relative_to(ROOT)}; run: make generate\n")
        return 1 if stale else 0
    for path, text in generated():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file with its text."""
    for kind in KINDS:
        yield SCHEMAS / f"{kind}.json", json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"
    yield STATE_PAGE, _states()
    yield REFERENCE, "\n".join([_INTRODUCTION, *(_section(kind) for kind in IN_FILES)])


def _states() -> str:
    lines = ["# States and reasons of a node", "", "Generated (`make generate`); do not edit.", ""]
    lines += ["States: " + ", ".join(f"`{state}`" for state in STATES) + ".", "", "| reason | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{reason}` | {text} |" for reason, text in REASONS.items()), ""])


def _section(kind: Kind) -> str:
    schema = json_schema(kind)
    lines = [
        f"## {kind}",
        "",
        schema.get("description", ""),
        "",
        "| field | accepted | default | meaning |",
        "|---|---|---|---|",
    ]
    rows = _rows(schema["properties"]["spec"], schema["$defs"], "spec")
    lines += [f"| `{row.path}` | {row.accepted} | {row.default} | {row.description} |" for row in rows]
    return "\n".join([*lines, ""])


def _rows(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[Row]:
    target, suffix = _object(schema, definitions)
    if target is None:
        return
    required = set(target.get("required", ()))
    for name, field in target["properties"].items():
        field_path = f"{path}{suffix}.{name}"
        default = "required" if name in required else f"`{_default(field)}`"
        description = field.get("description") or _referred(field, definitions).get("description", "")
        yield Row(field_path, _accepted(field, definitions), default, description.replace("|", "\\|"))
        yield from _rows(field, definitions, field_path)


def _object(schema: dict[str, Any], definitions: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The object that a field holds, and [] where it holds a list of them."""
    for variant in schema.get("anyOf", [schema]):
        resolved = _referred(variant, definitions)
        if resolved.get("type") == "array":
            inner, _ = _object(resolved["items"], definitions)
            return inner, "[]"
        if "properties" in resolved:
            return resolved, ""
    return None, ""


def _referred(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    found: dict[str, Any] = definitions[reference.removeprefix("#/$defs/")] if reference else schema
    return found


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "{…}" if isinstance(value, dict) and value else json.dumps(value)


def _accepted(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    variants = [_one(variant, definitions) for variant in field.get("anyOf", [field])]
    return " or ".join(dict.fromkeys(variants))


def _one(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    schema = _referred(schema, definitions)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_one(schema['items'], definitions)}"
    bounds = [str(schema[bound]) for bound in ("minimum", "maximum") if bound in schema]
    return f"{kind} {' to '.join(bounds)}" if bounds else str(kind)


if __name__ == "__main__":
    sys.exit(main())
