"""Label selectors as the API server writes them in `status.selector` of a scale: text to a predicate. Pure.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors: requirements joined by
commas, each by equality (`k=v`, `k==v`, `k!=v`), by set (`k in (a,b)`, `k notin (a,b)`) or by existence (`k`, `!k`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Matches = Callable[[Labels], bool]

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_BY_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<operator>!=|==|=)\s*(?P<value>{_VALUE})")
_EXISTS = re.compile(rf"(?P<absent>!?)\s*(?P<key>{_KEY})")
_COMMA = re.compile(r",(?![^(]*\))")


class SelectorError(ValueError):
    """A text that is no label selector."""


def selector(text: str) -> Matches:
    """Return whether labels match the selector. One without requirements matches nothing: it names no pods.

    Raises SelectorError.
    """
    requirements = [_requirement(part.strip()) for part in _COMMA.split(text)] if text.strip() else []
    return lambda labels: bool(requirements) and all(met(labels) for met in requirements)


def _requirement(part: str) -> Matches:
    if found := _BY_SET.fullmatch(part):
        key, values = found["key"], frozenset(value.strip() for value in found["values"].split(","))
        if found["operator"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: key not in labels or labels[key] not in values
    if found := _EQUAL.fullmatch(part):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.fullmatch(part):
        key, absent = found["key"], bool(found["absent"])
        return lambda labels: (key in labels) is not absent
    raise SelectorError(f"{part!r} is no requirement on labels")
