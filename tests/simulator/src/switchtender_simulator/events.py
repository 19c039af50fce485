"""FreeSWITCH events as values, and their three encodings. Pure.

Text is Latin-1 throughout: what a client sent as bytes comes out as the same bytes.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

Format = Literal["plain", "json", "xml"]
# The percent-encoding of plain events: an existing upper-case %XX is left alone, so decoding is ambiguous there.
_ENCODE = re.compile(r"%(?![0-9A-F]{2})|[\x00-\x20\x7f-\xff\"#&+:;<=>?@\[\\\]^`{|}]")


def percent_encode(value: str) -> str:
    """A header value as in `text/event-plain`; an empty one becomes `_undef_`."""
    return _ENCODE.sub(lambda match: f"%{ord(match[0]):02X}", value) if value else "_undef_"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `headers` in the order of the wire, names may repeat."""

    name: str
    headers: list[tuple[str, str]]
    body: str = ""
    _encoded: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def subclass(self) -> str:
        """`Event-Subclass` of a CUSTOM event."""
        return next((value for name, value in self.headers if name == "Event-Subclass"), "")

    def encode(self, form: Format) -> bytes:
        """The event as the body of a `text/event-<form>` frame; encoded once for all listeners."""
        if form not in self._encoded:
            encoder = {"plain": self._plain, "json": self._json, "xml": self._xml}[form]
            self._encoded[form] = encoder().encode("latin-1")
        return self._encoded[form]

    def _plain(self) -> str:
        text = "".join(f"{name}: {percent_encode(value)}\n" for name, value in self.headers)
        return f"{text}Content-Length: {len(self.body)}\n\n{self.body}" if self.body else f"{text}\n"

    def _json(self) -> str:
        pairs = list(self.headers)
        if self.body:
            pairs += [("Content-Length", str(len(self.body))), ("_body", self.body)]
        quoted = (
            f"{json.dumps(name, ensure_ascii=False)}:{json.dumps(value, ensure_ascii=False)}" for name, value in pairs
        )
        return f"{{{','.join(quoted)}}}"  # by hand, for a name may repeat

    def _xml(self) -> str:
        lines = "".join(f"    <{name}>{percent_encode(value)}</{name}>\n" for name, value in self.headers)
        body = f"  <Content-Length>{len(self.body)}</Content-Length>\n  <body>{self.body}</body>\n" if self.body else ""
        return f"<event>\n  <headers>\n{lines}  </headers>\n{body}</event>\n"


@dataclass(slots=True)
class EventSource:
    """Stamps events with the node's identity, the wall clock and the sequence number of all events."""

    core_uuid: str
    hostname: str
    switchname: str
    ipv4: str
    ipv6: str = "::1"
    _sequence: count[int] = field(default_factory=lambda: count(372))

    def make(
        self, name: str, origin: tuple[str, str, int], wall: float, extra: list[tuple[str, str]], *,
        body: str = "", before: list[tuple[str, str]] | None = None,
    ) -> Event:  # fmt: skip
        """An event from `origin` (file, function, line) at `wall` (Unix seconds); `before` goes above all headers."""
        local, gmt = time.localtime(wall), time.gmtime(wall)
        headers = [
            *(before or []),
            ("Event-Name", name),
            ("Core-UUID", self.core_uuid),
            ("FreeSWITCH-Hostname", self.hostname),
            ("FreeSWITCH-Switchname", self.switchname),
            ("FreeSWITCH-IPv4", self.ipv4),
            ("FreeSWITCH-IPv6", self.ipv6),
            ("Event-Date-Local", time.strftime("%Y-%m-%d %H:%M:%S", local)),
            ("Event-Date-GMT", time.strftime("%a, %d %b %Y %H:%M:%S GMT", gmt)),
            ("Event-Date-Timestamp", str(int(wall * 1_000_000))),
            ("Event-Calling-File", origin[0]),
            ("Event-Calling-Function", origin[1]),
            ("Event-Calling-Line-Number", str(origin[2])),
            ("Event-Sequence", str(next(self._sequence))),
            *extra,
        ]
        return Event(name, headers, body)


def duration_parts(seconds: float) -> list[tuple[int, str]]:
    """Up time as FreeSWITCH splits it: years of 365 days, down to microseconds; (number, unit in the singular)."""
    micro = int(seconds * 1_000_000)
    out = []
    for unit, size in (
        ("year", 31_536_000_000_000),
        ("day", 86_400_000_000),
        ("hour", 3_600_000_000),
        ("minute", 60_000_000),
        ("second", 1_000_000),
        ("millisecond", 1000),
        ("microsecond", 1),
    ):
        number, micro = divmod(micro, size)
        out.append((number, unit))
    return out


def duration_text(seconds: float) -> str:
    """`0 years, 0 days, 0 hours, 1 minute, 2 seconds, 3 milliseconds, 4 microseconds`."""
    return ", ".join(f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in duration_parts(seconds))
