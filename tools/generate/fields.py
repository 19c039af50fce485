"""Tables of fields for reference pages, from JSON schemas. Knows no kind and no file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One field of a document."""

    path: str
    accepted: str
    default: str
    description: str


def table(schema: dict[str, Any], parts: Collection[str], skipped: Collection[str] = ()) -> list[str]:
    """Return the lines of a table of the fields below the named top-level ones; `skipped` paths are told in one row."""
    lines = ["| field | accepted | default | meaning |", "|---|---|---|---|"]
    for part in parts:
        rows = _rows(schema["properties"][part], schema["$defs"], part, skipped)
        lines += [f"| `{row.path}` | {row.accepted} | {row.default} | {row.description} |" for row in rows]
    return [*lines, ""]


def _rows(schema: dict[str, Any], definitions: dict[str, Any], path: str, skipped: Collection[str]) -> Iterator[Row]:
    target, suffix = _object(schema, definitions)
    if target is None:
        return
    required = set(target.get("required", ()))
    for name, field in target["properties"].items():
        field_path = f"{path}{suffix}.{name}"
        default = "required" if name in required else f"`{_default(field)}`"
        description = field.get("description") or _referred(field, definitions).get("description", "")
        yield Row(field_path, _accepted(field, definitions), default, description.replace("|", "\\|"))
        if field_path not in skipped:
            yield from _rows(field, definitions, field_path, skipped)


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
