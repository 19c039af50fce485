"""Tables written a row a line: `mysql -B`, the box that `mysql` draws, and the text files of db_text. Pure.

Knows no column. A NULL is the word NULL or \\N in the first two; in db_text it is an empty field of a column that may
be null, which nobody needs to tell from an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from switchtender.migrate.tables import Row, Table, UnreadableError

DB_TEXT_HEADER = re.compile(r"\s*(\w+\((?:int|double|string|str|blob|date|bigint)\b[^)]*\)\s*)+$", re.IGNORECASE)
_DB_TEXT_COLUMN = re.compile(r"(\w+)\([^)]*\)")
_CHATTER = re.compile(r"\d+ rows? in set|Empty set|\w+>|\w+ \[[^\]]*\]>|-> ", re.IGNORECASE)
_BORDER = re.compile(r"\+[-+]*$")
_TAB_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", "\\": "\\"}
_DB_TEXT_ESCAPES = {**_TAB_ESCAPES, ":": ":"}


def tab_separated(text: str) -> Table:
    """What `mysql -B` prints: cells between tabs, with \\t, \\n, \\\\ and \\0 for what would break the line."""
    lines = text.split("\n")
    return Table(
        tuple(
            Row(number, tuple(_tab_cell(cell) for cell in line.removesuffix("\r").split("\t")))
            for number, line in enumerate(lines, 1)
            if line.strip()
        )
    )


def _tab_cell(cell: str) -> str | None:
    return None if cell in {"NULL", r"\N"} else _unescaped(cell, _TAB_ESCAPES)


def boxed(text: str) -> Table:
    """What `mysql` draws on a terminal: cells between bars; borders, prompts and the count of rows say nothing.

    Raises UnreadableError for a line that is none of these, as a cell with a line break leaves behind.
    """
    rows = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or _BORDER.match(line) or _CHATTER.match(line):
            continue
        if not line.startswith("|") or "|" not in line[1:]:
            raise UnreadableError(
                f"line {number}: neither a row between bars nor a border; use mysql -B for such cells"
            )
        cells = line[1 : line.rindex("|")].split("|")
        rows.append(Row(number, tuple(_boxed_cell(cell) for cell in cells)))
    return Table(tuple(rows))


def _boxed_cell(cell: str) -> str | None:
    cell = cell.strip()
    return None if cell == "NULL" else cell


def db_text(text: str) -> Table:
    """A file of db_text: names and types of the columns in the first line, then fields between colons, \\: for one."""
    lines = [(number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), 1)]
    written = [(number, line) for number, line in lines if line.strip()]
    columns = tuple(match[1] for match in _DB_TEXT_COLUMN.finditer(written[0][1]))
    rows = tuple(Row(number, tuple(_fields(line))) for number, line in written[1:])
    return Table(rows, columns=columns)


def _fields(line: str) -> list[str]:
    """The fields between colons that no backslash precedes."""
    fields = re.findall(r"((?:[^:\\]|\\.|\\$)*)(?::|$)", line)
    # The expression also finds the empty text at the very end, which is a field only after a colon.
    if not _ends_with_colon(line):
        fields = fields[:-1]
    return [_unescaped(field, _DB_TEXT_ESCAPES) for field in fields]


def _ends_with_colon(line: str) -> bool:
    return re.search(r"(?<!\\)(?:\\\\)*:$", line) is not None


def _unescaped(text: str, escapes: Mapping[str, str]) -> str:
    return re.sub(r"\\(.)", lambda match: escapes.get(match[1], match[0]), text, flags=re.DOTALL)
