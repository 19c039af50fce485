"""Event Socket captures under data/ as frames, and masks for what differs between two honest nodes."""

import re
from pathlib import Path

DATA = Path(__file__).parent / "data"


def node_side(name: str) -> bytes:
    return (DATA / f"esl-{name}.s2c").read_bytes()


def client_side(name: str) -> bytes:
    return (DATA / f"esl-{name}.c2s").read_bytes()


def frames(stream: bytes) -> list[bytes]:
    """Cut a node's byte stream into frames; the rest that is no whole frame comes last."""
    out = []
    while stream:
        head, separator, rest = stream.partition(b"\n\n")
        if not separator:
            return [*out, stream]
        length = re.search(rb"^Content-Length: (\d+)$", head, re.MULTILINE)
        size = int(length[1]) if length else 0
        out.append(head + separator + rest[:size])
        stream = rest[size:]
    return out


def commands(stream: bytes) -> list[bytes]:
    """Cut a client's byte stream (without bodies) into commands."""
    return [part for part in re.split(rb"(?<=\n\n)", stream) if part.strip()]


def is_event(frame: bytes) -> bool:
    return b"Content-Type: text/event-" in frame[:80]


_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MASKS = [
    (_UUID, b"UUID"),
    (re.compile(rb"\d+ (year|day|hour|minute|second|millisecond|microsecond)s?\b"), rb"N \1s"),
    (re.compile(rb"\d+%20(year|day|hour|minute|second|millisecond|microsecond)s?\b"), rb"N%20\1s"),
    (re.compile(rb'"(year|day|hour|minute|second|millisecond|microsecond)s":\d+'), rb'"\1s":N'),
    (re.compile(rb"min idle cpu 0\.00/[\d.]+"), b"min idle cpu 0.00/N"),
    (re.compile(rb'"allowed":[\d.]+'), b'"allowed":N'),
    (re.compile(rb"^Content-Length: \d{3,}$", re.MULTILINE), b"Content-Length: MANY"),
    (re.compile(rb"(FreeSWITCH-(?:Hostname|IPv4|IPv6)(?:\":\"|: |>))[^\"\n<]*"), rb"\1MASKED"),
    (re.compile(rb"(Event-Date-(?:Local|GMT|Timestamp)(?:\":\"|: |>))[^\"\n<]*"), rb"\1MASKED"),
    (re.compile(rb"((?:Event-Sequence|Uptime-msec|Idle-CPU)(?:\":\"|: |>))[\d.]+"), rb"\1N"),
    (re.compile(rb"((?:Session-[A-Za-z-]+|Max-Sessions)(?:\":\"|: |>))\d+"), rb"\1N"),
]


def mask(data: bytes) -> bytes:
    """`data` with identities, times, lengths above 99 and counters made equal."""
    for pattern, replacement in _MASKS:
        data = pattern.sub(replacement, data)
    return data
