"""Label and field selectors as the API server reads them: equality, ``in``, ``notin``, existence; metadata fields."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Matches = Callable[[Mapping[str, Any]], bool]
_SET = re.compile(r"^\s*(?P<key>[\w./-]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)\s*$")


class BadSelector(ValueError):  # noqa: N818 - what it is
    """A selector that the server would refuse."""


def parse(labels: str | None, fields: str | None) -> Matches:
    """A predicate over whole objects."""
    tests = [_label(part) for part in _split(labels or "")] + [_field(part) for part in _split(fields or "")]
    return lambda raw: all(test(raw) for test in tests)


def _split(text: str) -> list[str]:
    """At commas outside of parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _label(part: str) -> Matches:
    def labels(raw: Mapping[str, Any]) -> Mapping[str, str]:
        return raw["metadata"].get("labels") or {}

    if found := _SET.match(part):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda raw: labels(raw).get(key) in values
        return lambda raw: labels(raw).get(key) not in values
    if "!=" in part:
        key, value = (side.strip() for side in part.split("!=", 1))
        return lambda raw: labels(raw).get(key) != value
    if "=" in part:
        key, value = (side.strip() for side in part.replace("==", "=").split("=", 1))
        return lambda raw: labels(raw).get(key) == value
    if part.startswith("!"):
        key = part[1:].strip()
        return lambda raw: key not in labels(raw)
    if not re.fullmatch(r"[\w./-]+", part):
        raise BadSelector(f"unable to parse requirement: {part}")
    return lambda raw: part in labels(raw)


# What every type has, and the few more of pods, secrets and events that are asked for in practice.
_FIELDS = {"metadata.name", "metadata.namespace", "spec.nodeName", "status.phase", "type", "involvedObject.name"}


def _field(part: str) -> Matches:
    negated = "!=" in part
    key, _, value = part.replace("!=", "=").replace("==", "=").partition("=")
    if key not in _FIELDS:
        raise BadSelector(f'field label not supported: "{key}"')

    def found(raw: Mapping[str, Any]) -> bool:
        at: Any = raw
        for name in key.split("."):
            at = (at or {}).get(name)
        return ((at or "") == value) is not negated

    return found
