"""A table as it was read, whatever it was written in: rows of cells, and the names of the columns where they are known.

Knows no format and no meaning of a column; how a headerless table is told by its width is a Shape's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class UnreadableError(Exception):
    """The input cannot be read as a table; the message names the line and repeats no cell, which may be a password."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it begins on (from 1), and its cells, None for NULL."""

    line: int
    cells: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in the order of the input. ``name`` and ``columns`` are None where the input does not tell them."""

    rows: tuple[Row, ...]
    name: str | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a table must look like: its usual name, columns that cannot be missing, all columns by number of cells."""

    name: str
    required: tuple[str, ...]
    widths: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Record:
    """One row by column name, in lower case; a column that the table does not have is missing."""

    line: int
    values: Mapping[str, str | None]

    def text(self, column: str) -> str | None:
        """The cell without surrounding blanks; None where it is NULL, empty or missing."""
        value = self.values.get(column)
        return (value.strip() or None) if value is not None else None


def select(tables: tuple[Table, ...], shape: Shape) -> Table:
    """The table of an input that has this shape's name, or its only one that has rows. Raises UnreadableError."""
    named = [table for table in tables if table.name == shape.name]
    candidates = named or [table for table in tables if table.rows]
    if not candidates:
        raise UnreadableError(f"no rows of a table {shape.name} in it")
    if len(candidates) > 1:
        names = ", ".join(sorted(table.name or "?" for table in candidates))
        raise UnreadableError(f"no table named {shape.name} among its tables: {names}")
    return candidates[0]


def records(table: Table, shape: Shape) -> tuple[Record, ...]:
    """The rows by column name: named by the table, by its first row, or by the number of cells.

    Raises UnreadableError where a needed column is missing or a row is longer or shorter than the others.
    """
    rows = table.rows
    columns = table.columns
    if columns is None and rows and _names(rows[0], shape):
        columns, rows = tuple(cell or "" for cell in rows[0].cells), rows[1:]
    if columns is None and rows:
        columns = shape.widths.get(len(rows[0].cells))
        if columns is None:
            known = " or ".join(str(width) for width in shape.widths)
            raise UnreadableError(
                f"line {rows[0].line}: {len(rows[0].cells)} columns and no header; a table {shape.name} without one "
                f"has {known}. Print it with its header"
            )
    names = tuple(name.strip().lower() for name in columns or ())
    missing = [name for name in shape.required if name not in names]
    if missing and (rows or table.columns is not None):
        raise UnreadableError(f"a table {shape.name} has no column {', '.join(missing)}: rename yours in the header")
    for row in rows:
        if len(row.cells) != len(names):
            raise UnreadableError(f"line {row.line}: {len(row.cells)} cells where the table has {len(names)} columns")
    return tuple(Record(row.line, dict(zip(names, row.cells, strict=True))) for row in rows)


def _names(row: Row, shape: Shape) -> bool:
    """Whether the row is a header: it holds every needed column's name."""
    return {(cell or "").strip().lower() for cell in row.cells}.issuperset(shape.required)
