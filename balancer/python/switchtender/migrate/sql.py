"""Tables out of SQL dumps: the INSERT and CREATE TABLE of mysqldump, sqlite3 and pg_dump, and pg_dump's COPY. Pure.

A scanner of what dumps hold, no SQL engine: other statements are passed over, and a value that is not a literal is an
error that names its line. Knows no column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from switchtender.migrate.tables import Row, Table, UnreadableError

STATEMENT = re.compile(
    r"^\s*(INSERT\s|REPLACE\s+INTO\s|CREATE\s+(TEMPORARY\s+)?TABLE\s|COPY\s)", re.IGNORECASE | re.MULTILINE
)
_PLAIN_STRINGS = re.compile(
    r"PostgreSQL database dump|^SET standard_conforming_strings = on|^PRAGMA |^BEGIN TRANSACTION;", re.MULTILINE
)
"""Dumps in which a backslash in a text is a backslash; in MySQL's it escapes."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)
    |(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    |(?P<hex>0[xX][0-9A-Fa-f]+|[xX]'[0-9A-Fa-f]*')
    |(?P<number>[+-]?[0-9]+(?:\.[0-9]+)?)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<name>`(?:[^`]|``)*`|"(?:[^"]|"")*")
    |(?P<mark>::|[^'"`])""",
    re.VERBOSE | re.DOTALL,
)
_MYSQL_STRING = re.compile(r"'((?:[^'\\]|\\.|'')*)'", re.DOTALL)
_PLAIN_STRING = re.compile(r"'((?:[^']|'')*)'", re.DOTALL)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a", "f": "\f", "%": r"\%", "_": r"\_"}
_COPY_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v"}
_NO_COLUMN = frozenset({"primary", "key", "unique", "constraint", "index", "check", "foreign", "fulltext", "spatial"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int
    end: int

    def says(self, *words: str) -> bool:
        return self.kind in {"word", "mark"} and self.text.lower() in words


@dataclass(slots=True)
class _Gathered:
    """What is known of a table so far."""

    columns: tuple[str, ...] | None = None
    rows: list[Row] = field(default_factory=list)


def sql(text: str) -> tuple[Table, ...]:
    """Every table that the dump creates or fills, in the order of their first mention.

    An INSERT that names its columns is brought into the order of CREATE TABLE, or of the first such INSERT. Raises
    UnreadableError.
    """
    found: dict[str, _Gathered] = {}
    position = 0
    while True:
        statement = _statement(text, position)
        if not statement:
            break
        position = statement[-1].end
        verb = statement[0]
        if verb.says("create"):
            _create(statement, found)
        elif verb.says("insert", "replace"):
            _insert(statement, found)
        elif verb.says("copy"):
            position = _copy(text, statement, found)
    return tuple(Table(tuple(table.rows), name, table.columns) for name, table in found.items())


def _statement(text: str, position: int) -> list[_Token]:
    tokens: list[_Token] = []
    for token in _tokens(text, position):
        tokens.append(token)
        if token.says(";"):
            break
    return tokens


def _tokens(text: str, position: int) -> Iterator[_Token]:
    plain = _PLAIN_STRINGS.search(text, 0, 4096) is not None
    string = _PLAIN_STRING if plain else _MYSQL_STRING
    line, counted = text.count("\n", 0, position) + 1, position
    while position < len(text):
        quoted = string.match(text, position)
        match = quoted or _TOKEN.match(text, position)
        line, counted = line + text.count("\n", counted, position), position
        if match is None:
            raise UnreadableError(f"line {line}: not SQL of a dump, or a text that does not end")
        position = match.end()
        if quoted:
            inside = quoted[1].replace("''", "'") if plain else _unescaped(quoted[1])
            yield _Token("text", inside, line, position)
        elif match.lastgroup != "space":
            yield _Token(match.lastgroup or "", match[0], line, position)


def _unescaped(text: str) -> str:
    return re.sub(
        r"''|\\(.)", lambda match: _ESCAPES.get(match[1], match[1]) if match[1] else "'", text, flags=re.DOTALL
    )


def _identifier(token: _Token) -> str | None:
    if token.kind == "word":
        return token.text
    if token.kind == "name":
        return token.text[1:-1].replace(token.text[0] * 2, token.text[0])
    return None


def _table_name(tokens: list[_Token], position: int) -> tuple[str, int]:
    """The name at a position, its schema left away, and where the statement goes on."""
    name = _identifier(tokens[position]) if position < len(tokens) else None
    if name is None:
        raise UnreadableError(f"line {tokens[0].line}: a statement without the name of a table")
    while position + 2 < len(tokens) and tokens[position + 1].says("."):
        position += 2
        name = _identifier(tokens[position]) or name
    return name, position + 1


def _create(tokens: list[_Token], found: dict[str, _Gathered]) -> None:
    position = next((number for number, token in enumerate(tokens[:3]) if token.says("table")), None)
    if position is None:
        return
    position += 1
    while position < len(tokens) and tokens[position].says("if", "not", "exists"):
        position += 1
    name, position = _table_name(tokens, position)
    columns = []
    depth = 0
    begins = False
    for token in tokens[position:]:
        if depth == 1 and begins:
            column = _identifier(token)
            if column is not None and (token.kind == "name" or column.lower() not in _NO_COLUMN):
                columns.append(column)
        depth += token.says("(") - token.says(")")
        begins = depth == 1 and token.says("(", ",")
        if depth == 0:
            break
    found.setdefault(name, _Gathered()).columns = tuple(columns)


def _insert(tokens: list[_Token], found: dict[str, _Gathered]) -> None:
    position = next((number for number, token in enumerate(tokens) if token.says("into")), 0) + 1
    name, position = _table_name(tokens, position)
    table = found.setdefault(name, _Gathered())
    columns: tuple[str, ...] | None = None
    if position < len(tokens) and tokens[position].says("("):
        columns, position = _names(tokens, position)
    if position >= len(tokens) or not tokens[position].says("values", "value"):
        raise UnreadableError(f"line {tokens[0].line}: an INSERT without VALUES")
    position += 1
    while position < len(tokens) and tokens[position].says("("):
        line = tokens[position].line
        cells, position = _values(tokens, position + 1)
        _add(table, Row(line, cells), columns)
        if position < len(tokens) and tokens[position].says(","):
            position += 1


def _names(tokens: list[_Token], position: int) -> tuple[tuple[str, ...], int]:
    """The column names between brackets, and what follows them."""
    names = []
    while position < len(tokens) and not tokens[position].says(")"):
        name = _identifier(tokens[position])
        if name is not None:
            names.append(name)
        position += 1
    return tuple(names), position + 1


def _values(tokens: list[_Token], position: int) -> tuple[tuple[str | None, ...], int]:
    """The literals up to the closing bracket, and what follows it."""
    cells: list[str | None] = []
    while position < len(tokens):
        value, position = _literal(tokens, position)
        cells.append(value)
        closing = position < len(tokens) and tokens[position].says(")")
        if not closing and not (position < len(tokens) and tokens[position].says(",")):
            break
        position += 1
        if closing:
            return tuple(cells), position
    raise UnreadableError(f"line {tokens[min(position, len(tokens) - 1)].line}: a row of values that does not end")


def _literal(tokens: list[_Token], position: int) -> tuple[str | None, int]:
    token = tokens[position]
    if token.kind == "word" and token.text.startswith("_") and position + 1 < len(tokens):
        position += 1  # _binary 'text': the character set says nothing here
        token = tokens[position]
    value: str | None
    if token.kind in {"text", "number"}:
        value = token.text
    elif token.kind == "escaped":
        value = _unescaped(token.text[2:-1])
    elif token.kind == "name" and token.text.startswith('"'):
        value = token.text[1:-1].replace('""', '"')
    elif token.kind == "hex":
        value = _from_hex(token)
    elif token.says("null", "true", "false"):
        value = {"null": None, "true": "1", "false": "0"}[token.text.lower()]
    else:
        raise UnreadableError(f"line {token.line}: a value that is no literal")
    position += 1
    while position + 1 < len(tokens) and tokens[position].says("::"):  # PostgreSQL's type: 'text'::character varying
        position += 2
        while position < len(tokens) and tokens[position].kind == "word":
            position += 1
    return value, position


def _from_hex(token: _Token) -> str:
    digits = token.text[2:].strip("'")
    try:
        return bytes.fromhex(digits).decode()
    except ValueError:
        raise UnreadableError(f"line {token.line}: a hexadecimal value that is no UTF-8 text") from None


def _add(table: _Gathered, row: Row, columns: tuple[str, ...] | None) -> None:
    if columns is None:
        table.rows.append(row)
        return
    if len(row.cells) != len(columns):
        raise UnreadableError(f"line {row.line}: {len(row.cells)} values for {len(columns)} columns")
    if table.columns is None:
        table.columns = columns
    given = dict(zip((name.lower() for name in columns), row.cells, strict=True))
    table.rows.append(Row(row.line, tuple(given.get(name.lower()) for name in table.columns)))


def _copy(text: str, tokens: list[_Token], found: dict[str, _Gathered]) -> int:
    """Read what follows COPY name (columns) FROM stdin; and return where the dump goes on."""
    end = tokens[-1].end
    if not any(token.says("stdin") for token in tokens):
        return end
    name, position = _table_name(tokens, 1)
    columns: tuple[str, ...] | None = None
    if position < len(tokens) and tokens[position].says("("):
        columns, position = _names(tokens, position)
    table = found.setdefault(name, _Gathered())
    line = tokens[-1].line
    begin = text.find("\n", end) + 1
    while begin:
        line += 1
        stop = text.find("\n", begin)
        raw = text[begin:stop] if stop >= 0 else text[begin:]
        begin = stop + 1
        if raw.rstrip("\r") == "\\.":
            return begin or len(text)
        if raw:
            _add(table, Row(line, tuple(_copied(cell) for cell in raw.rstrip("\r").split("\t"))), columns)
    raise UnreadableError(f"line {line}: the rows of COPY do not end in \\.")


def _copied(cell: str) -> str | None:
    if cell == r"\N":
        return None
    return re.sub(r"\\(.)", lambda match: _COPY_ESCAPES.get(match[1], match[1]), cell, flags=re.DOTALL)
