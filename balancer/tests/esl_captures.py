"""The bytes of a real FreeSWITCH in `data/esl`, for the Event Socket tests."""

from __future__ import annotations

from pathlib import Path

from switchtender.drivers.esl.wire import Frame, Framer

_DATA = Path(__file__).parent / "data" / "esl"

NAMES = sorted(path.name.removesuffix(".s2c.raw") for path in _DATA.glob("*.s2c.raw"))
CUT_OFF = "47-userauth-long"  # the one capture in which FreeSWITCH itself breaks the framing


def from_node(name: str) -> bytes:
    """What the node sent, whole."""
    return (_DATA / f"{name}.s2c.raw").read_bytes()


def from_client(name: str) -> bytes:
    """What its client sent, whole."""
    return (_DATA / f"{name}.c2s.raw").read_bytes()


def frames(data: bytes) -> list[Frame]:
    """The frames of bytes that came in one piece."""
    return list(Framer().feed(data))


def raw_frames(name: str) -> list[bytes]:
    """The bytes of each frame of a capture, found by feeding it one byte at a time."""
    data, framer = from_node(name), Framer()
    pieces, start = [], 0
    for at in range(len(data)):
        if list(framer.feed(data[at : at + 1])):
            pieces.append(data[start : at + 1])
            start = at + 1
    return pieces
