"""What became of every row, for people and as plain values. Holds no password: no cell of a table is ever in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["maps", "changes", "cannot"]
"""maps: means the same here; changes: works, and differently; cannot: has no place here, or was left out."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to know."""

    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: its table, its file, the line, and its id column."""

    table: str
    file: str
    line: int
    id: str | None = None

    def __str__(self) -> str:
        return f"{self.table}, {self.file} line {self.line}" + (f" (id {self.id})" if self.id else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row; ``node`` None: it was left out, and the last note says why."""

    place: Place
    group: str | None
    node: str | None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupNotes:
    """What there is to know of a group as a whole."""

    group: str
    origin: str
    nodes: int
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read."""

    table: str
    file: str
    format: str
    rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to tell of an import."""

    inputs: tuple[Input, ...]
    groups: tuple[GroupNotes, ...]
    rows: tuple[Outcome, ...]
    notes: tuple[Note, ...]

    @property
    def left_out(self) -> int:
        """How many rows are in no group."""
        return sum(outcome.node is None for outcome in self.rows)

    def lines(self) -> Iterator[str]:
        """The report as lines of text."""
        for source in self.inputs:
            yield f"{source.table}: {source.file}: {source.format}, {_count(source.rows, 'row')}"
        yield from _noted(self.notes, "")
        for group in self.groups:
            yield f"group {group.group}: {group.origin}, {_count(group.nodes, 'node')}"
            yield from _noted(group.notes, "  ")
        for outcome in self.rows:
            where = "left out" if outcome.node is None else f"{outcome.group}/{outcome.node}"
            yield f"row {outcome.place}: {where}"
            yield from _noted(outcome.notes, "  ")
        done = len(self.rows) - self.left_out
        yield f"{done} of {_count(len(self.rows), 'row')} mapped, {_count(len(self.groups), 'group')}"

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "inputs": [
                {"table": source.table, "file": source.file, "format": source.format, "rows": source.rows}
                for source in self.inputs
            ],
            "notes": _plain(self.notes),
            "groups": [
                {"group": group.group, "origin": group.origin, "nodes": group.nodes, "notes": _plain(group.notes)}
                for group in self.groups
            ],
            "rows": [
                {
                    "table": outcome.place.table,
                    "file": outcome.place.file,
                    "line": outcome.place.line,
                    "id": outcome.place.id,
                    "group": outcome.group,
                    "node": outcome.node,
                    "notes": _plain(outcome.notes),
                }
                for outcome in self.rows
            ],
            "mapped": len(self.rows) - self.left_out,
            "leftOut": self.left_out,
        }


def _noted(notes: Iterable[Note], indent: str) -> Iterator[str]:
    return (f"{indent}{note.verdict}: {note.text}" for note in notes)


def _plain(notes: Iterable[Note]) -> list[dict[str, str]]:
    return [{"verdict": note.verdict, "text": note.text} for note in notes]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
