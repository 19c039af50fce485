"""What both tables have in common: the notes on a row's addresses, and its remark. Pure; knows neither table."""

from __future__ import annotations

import re
from collections.abc import Iterator

from switchtender.migrate.addresses import Destination, EventSocket, Pool
from switchtender.migrate.report import Note
from switchtender.migrate.tables import Record
from switchtender_api.problems import Refusal

MEASURED = Note(
    "maps",
    "fs:// is load: sessions and limit are read from the node's Event Socket, and a report that is too old takes the "
    "node out instead of counting for ever",
)
NO_LOGIN = Note(
    "cannot",
    "no row knows the password of its fs:// URL: the node is balanced by our own calls. "
    "Write load: fs://:PASSWORD@host",
)
ANOTHER_ADDRESS = Note(
    "changes",
    "its Event Socket belongs to another SIP address already: one FreeSWITCH is one node here. This address is "
    "balanced by our own calls; give each call one of the two",
)
KNOWN_ELSEWHERE = Note("changes", "another row knows the box's Event Socket: it is measured here, too, as one node")


def is_whole(text: str) -> bool:
    """Whether the text is a whole number without a sign, and not longer than any that a table may hold."""
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


def whole(record: Record, column: str) -> int | None:
    """The number in a column; None where it is NULL, empty or missing. Raises Refusal."""
    text = record.text(column)
    if text is None:
        return None
    if not is_whole(text.removeprefix("-")):
        raise Refusal(f"{column} is no whole number")
    return int(text)


def number_of_group(record: Record, column: str, absent: int | None = None) -> int:
    """The set or group of a row, ``absent`` where the cell is empty. Raises Refusal."""
    number = whole(record, column)
    number = absent if number is None else number
    if number is None or number < 0:
        raise Refusal(f"{column} is no whole number from 0 on: no script could select it")
    return number


def needed(record: Record, column: str) -> str:
    """The text of a column that cannot be empty. Raises Refusal."""
    text = record.text(column)
    if text is None:
        raise Refusal(f"it has no {column}")
    return text


def remark(record: Record) -> str:
    """What only people read: the row's id, description and attrs on one line."""
    parts = [f"{name} {text}" for name in ("id", "description", "attrs") if (text := record.text(name)) is not None]
    return ", ".join(parts)


def on_addresses(where: Destination, socket: EventSocket | None) -> Iterator[Note]:
    """What of the two addresses was left away."""
    if where.dropped:
        yield Note("maps", f"{' and '.join(where.dropped)} of the destination left away, as OpenSIPS does for routing")
    if socket is not None and socket.dropped:
        yield Note("maps", f"{' and '.join(socket.dropped)} of the fs:// URL left away, as OpenSIPS does")


def on_attrs(record: Record) -> Iterator[Note]:
    """That a row's attrs have nobody to read them."""
    if record.text("attrs") is not None:
        yield Note("cannot", "attrs were for the script: kept as a comment beside the node")


def on_load(where: Destination, socket: EventSocket | None, pool: Pool) -> Note | None:
    """What there is to say of how the node of a row is measured; ``socket`` is what the row itself names."""
    known = pool.load(where.endpoint) is not None
    if socket is None:
        return KNOWN_ELSEWHERE if known else None
    if pool.sockets.get(where.endpoint) != socket.endpoint:
        return ANOTHER_ADDRESS
    return MEASURED if known else NO_LOGIN
