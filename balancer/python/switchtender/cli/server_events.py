"""Server-sent events as they are read (HTML Standard §9.2.6). Knows neither sockets nor what the events mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class ServerEvent(NamedTuple):
    """One event: its name, its data as text, and the id that stands from it on (None before the first)."""

    name: str
    data: str
    id: str | None


def parsed(lines: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events of these lines, each as soon as the empty line after it came. Comments and unknown fields are left
    out; what breaks off in the middle is no event.
    """
    name, data, last_id = "message", list[str](), None
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield ServerEvent(name, "\n".join(data), last_id)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last_id = value
