"""Which format a text is in, and the tables in it. Pure. The formats themselves are in `sql` and `line_formats`."""

from __future__ import annotations

from switchtender.migrate import line_formats, sql
from switchtender.migrate.tables import Table, UnreadableError

_KNOWN = (
    "an SQL dump (mysqldump, pg_dump, sqlite3 .dump), what mysql -B prints, the box that mysql draws, or a db_text file"
)


def read(data: bytes) -> tuple[str, tuple[Table, ...]]:
    """The name of the format, for people, and the tables. Raises UnreadableError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"line {line}: not UTF-8; dump this table alone") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise UnreadableError("it is empty")
    if line_formats.DB_TEXT_HEADER.match(first):
        return "db_text", (line_formats.db_text(text),)
    if any(line.lstrip().startswith(("|", "+-")) for line in text.splitlines()) and not sql.STATEMENT.search(text):
        return "box of mysql", (line_formats.boxed(text),)
    if sql.STATEMENT.search(text):
        return "SQL dump", sql.sql(text)
    if "\t" in first:
        return "tab-separated", (line_formats.tab_separated(text),)
    raise UnreadableError(f"its format is not known: {_KNOWN}")
