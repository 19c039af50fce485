"""What an expression of Prometheus speaks of: metrics, their matchers, labels that it groups by. Reads nothing else.

Prometheus itself says whether an expression is well formed; this tells a metric or label that nobody exports, which
Prometheus would take for one that merely has no series now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<variable>\$\w+|\$\{\w+\})|(?P<number>\d[\w.]*)"""
    r"""|(?P<name>[A-Za-z_:][\w:]*)|(?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^<>=])|(?P<mark>[(){}\[\],@])|(?P<space>\s+)"""
)
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_CALLED = ("(", "by", "without")
"""What follows a name that is a function's or an aggregation's."""
_WORDS = _GROUPING | {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: ``state=~"ready|full"``."""

    label: str
    operator: str
    value: str

    @property
    def values(self) -> tuple[str, ...]:
        """The values that it names; none where it is a pattern that does more than list them, or a variable."""
        if "$" in self.value or (self.operator.endswith("~") and not re.fullmatch(r"[\w|]*", self.value)):
            return ()
        return tuple(self.value.split("|")) if self.operator.endswith("~") else (self.value,)


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric, as it stands in an expression, and its matchers."""

    metric: str
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Mentions:
    """What an expression speaks of."""

    selectors: tuple[Selector, ...]
    labels: frozenset[str]
    """Labels that it groups or joins by."""


def mentions(expression: str) -> Mentions:
    """Read an expression. Raises ValueError at a character that belongs to none."""
    tokens = list(_tokens(expression))
    selectors: list[Selector] = []
    labels: set[str] = set()
    place = 0
    while place < len(tokens):
        kind, text = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "name" and text.lower() in _GROUPING and following == "(":
            end = _closing(tokens, place + 1, ")")
            labels.update(name for kind, name in tokens[place + 2 : end] if kind == "name")
            place = end
        elif kind == "name" and following == "{":
            end = _closing(tokens, place + 1, "}")
            selectors.append(Selector(text, tuple(_matchers(tokens[place + 2 : end]))))
            place = end
        elif kind == "name" and following not in _CALLED and text.lower() not in _WORDS:
            selectors.append(Selector(text, ()))
        place += 1
    return Mentions(tuple(selectors), frozenset(labels))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(expression):
        found = _TOKEN.match(expression, place)
        if found is None or found.lastgroup is None:
            raise ValueError(f"{expression!r}: what is {expression[place]!r} at {place}?")
        place = found.end()
        if found.lastgroup != "space":
            yield found.lastgroup, found.group()


def _closing(tokens: list[tuple[str, str]], start: int, mark: str) -> int:
    for place in range(start, len(tokens)):
        if tokens[place][1] == mark:
            return place
    raise ValueError(f"{mark} is missing")


def _matchers(tokens: list[tuple[str, str]]) -> Iterator[Matcher]:
    for place in range(0, len(tokens), 4):
        (_, label), (_, operator), (_, text) = tokens[place : place + 3]
        yield Matcher(label, operator, text[1:-1])
