"""What FreeSWITCH's events and command output say about its load.

Pure functions from decoded frames to the values of `reports`. Knows FreeSWITCH's headers and texts, and which of
its numbers lie; knows nothing of the connection they came over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from switchtender.drivers.esl.wire import Event
from switchtender.drivers.reports import Report

_LARGEST: Final = 2**31 - 1  # FreeSWITCH counts in 32 bits; what is above is a negative number printed as unsigned
_WRAP: Final = 2**32
_LONGEST_NUMBER: Final = 20
_LONGEST_UUID: Final = 64


def heartbeat_report(event: Event, received: float) -> Report | None:
    """The report in a HEARTBEAT event; None for one without the two figures that make it one.

    FreeSWITCH before 1.6 leaves headers out; those are None. `Session-Per-Sec` is not read: it is the number of
    call tokens left in this second, neither a rate nor the limit.
    """
    headers = event.headers
    sessions, max_sessions = _count(headers, "session-count"), _count(headers, "max-sessions")
    if sessions is None or max_sessions is None:
        return None
    return Report(
        source="heartbeat",
        sessions=max(sessions, 0),
        max_sessions=max(max_sessions, 0),
        received=received,
        core_uuid=headers.get("core-uuid", "")[:_LONGEST_UUID] or None,
        uptime_ms=_integer(headers.get("uptime-msec", "")),
        sessions_since_startup=_integer(headers.get("session-since-startup", "")),
        sessions_per_second_last=_not_negative(_count(headers, "session-per-sec-last")),
        idle_cpu=_percent(headers.get("idle-cpu", "")),
        stamp=_seconds(headers.get("event-date-timestamp", "")),
    )


@dataclass(frozen=True, slots=True)
class Status:
    """What `api status` says: the load, and whether the node is ready (None: it did not say)."""

    report: Report | None
    ready: bool | None


_READY: Final = re.compile(r"^FreeSWITCH \(.*\) is (not )?ready\s*$", re.MULTILINE | re.ASCII)
_UPTIME: Final = re.compile(r"^UP (.*)$", re.MULTILINE | re.ASCII)
_SINCE_STARTUP: Final = re.compile(r"^(\d{1,20}) session\(s\) since startup", re.MULTILINE | re.ASCII)
_SESSIONS: Final = re.compile(r"^(\d{1,20}) session\(s\) - ", re.MULTILINE | re.ASCII)
_RATE: Final = re.compile(r"^(\d{1,20}) session\(s\) per Sec out of max (\d{1,20})", re.MULTILINE | re.ASCII)
_MAX_SESSIONS: Final = re.compile(r"^(\d{1,20}) session\(s\) max", re.MULTILINE | re.ASCII)
_IDLE_CPU: Final = re.compile(r"^min idle cpu [\d.]+/([\d.]{1,20})", re.MULTILINE | re.ASCII)

_UNITS_MS: Final = {
    "year": 365 * 86_400_000,
    "day": 86_400_000,
    "hour": 3_600_000,
    "minute": 60_000,
    "second": 1_000,
    "millisecond": 1,
}
_SPAN: Final = re.compile(r"(\d{1,12}) ([a-z]+?)s?(?:,|\s|$)", re.ASCII)


def status(text: str, *, sent: float, received: float) -> Status:
    """Read the output of `api status`, which a restricted user may run when nothing else is allowed."""
    ready = _READY.search(text)
    return Status(_status_report(text, sent, received), None if ready is None else not ready[1])


def _status_report(text: str, sent: float, received: float) -> Report | None:
    sessions, max_sessions = _first(_SESSIONS, text), _first(_MAX_SESSIONS, text)
    if sessions is None or max_sessions is None:
        return None
    rate = _RATE.search(text)
    idle = _IDLE_CPU.search(text)
    return Report(
        source="poll",
        sessions=max(sessions, 0),
        max_sessions=max(max_sessions, 0),
        received=received,
        sent=sent,
        uptime_ms=_uptime(text),
        sessions_since_startup=_not_negative(_first(_SINCE_STARTUP, text)),
        sessions_per_second_limit=_not_negative(_signed(rate[2])) if rate else None,
        sessions_per_second_last=_not_negative(_signed(rate[1])) if rate else None,
        idle_cpu=_percent(idle[1]) if idle else None,
    )


def check(text: str) -> bool | None:
    """The answer of `fsctl ready_check` and its kin: bare `true` or `false`; None for anything else."""
    return {"true": True, "false": False}.get(text.strip())


def _uptime(text: str) -> int | None:
    line = _UPTIME.search(text)
    if line is None:
        return None
    spans = [(int(number), unit) for number, unit in _SPAN.findall(line[1])]
    return sum(number * _UNITS_MS.get(unit, 0) for number, unit in spans) if spans else None


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return _signed(found[1]) if found else None


def _count(headers: Mapping[str, str], name: str) -> int | None:
    return _signed(headers.get(name, ""))


def _signed(text: str) -> int | None:
    """A 32-bit number that FreeSWITCH may have printed as unsigned though it was negative."""
    number = _integer(text.removeprefix("-"))
    if number is None:
        return None
    if text.startswith("-"):
        return -min(number, _LARGEST)
    if _LARGEST < number < _WRAP:
        return number - _WRAP
    return min(number, _LARGEST)


def _integer(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER:
        return None
    return int(text)


def _not_negative(number: int | None) -> int | None:
    return None if number is None or number < 0 else number


def _percent(text: str) -> float | None:
    number = _float(text)
    return None if number is None else min(max(number, 0.0), 100.0)


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(microseconds: str) -> float | None:
    number = _integer(microseconds)
    return None if number is None else number / 1_000_000
