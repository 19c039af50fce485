"""The Event Socket on the wire: bytes to frames, frames to events, commands to bytes.

Sans-IO and ignorant of what the frames mean: no sockets, no clock, no dialogue, no load figures.

A frame is header lines `Name: value`, a blank line, and as many bytes of body as `Content-Length` says. The stream
has no marks to find one's place again, so the first thing that cannot be right ends it: see `FramingError`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_HEADER_BLOCK: Final = 64 * 1024
MAX_BODY: Final = 16 * 1024 * 1024  # the cap of FreeSWITCH's own client library

AUTH_REQUEST: Final = "auth/request"
COMMAND_REPLY: Final = "command/reply"
API_RESPONSE: Final = "api/response"
DISCONNECT_NOTICE: Final = "text/disconnect-notice"
RUDE_REJECTION: Final = "text/rude-rejection"
EVENT_JSON: Final = "text/event-json"
EVENT_PLAIN: Final = "text/event-plain"

_NOTICE_INSIDE: Final = f"Content-Type: {DISCONNECT_NOTICE}".encode()
_LF: Final = 0x0A


class FramingError(Exception):
    """The bytes are not, or no longer, a stream of frames. The connection is to be closed; there is no way back."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: `content_type` in lower case, header names in lower case, the body as it came."""

    content_type: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def reply_text(self) -> str:
        """What a `command/reply` says: `+OK …` or `-ERR …`; empty where the header is missing."""
        return self.headers.get("reply-text", "")

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 come out as U+FFFD."""
        return self.body.decode("utf-8", "replace")


class Framer:
    """Cuts a byte stream into frames. The frames do not depend on how the stream was cut into pieces."""

    __slots__ = ("_broken", "_buffer", "_head", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # no blank line ends before this offset
        self._head: tuple[dict[str, str], int] | None = None  # headers and body length of the frame under way
        self._broken: FramingError | None = None

    @property
    def inside_frame(self) -> bool:
        """Whether a frame has begun and not ended; an end of the stream here is not an orderly one."""
        return self._head is not None or bool(self._buffer)

    @property
    def pending(self) -> bytes:
        """The bytes of the frame under way, for a diagnosis."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take the next bytes and yield the frames that are complete, in order.

        Raises FramingError, after the frames before the fault, then and ever after.
        """
        self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        if self._broken is not None:
            raise self._broken
        try:
            while (frame := self._next()) is not None:
                yield frame
        except FramingError as error:
            self._broken = error
            self._buffer.clear()
            raise

    def _next(self) -> Frame | None:
        if self._head is None:
            block = self._header_block()
            if block is None:
                return None
            headers = _parse_headers(block)
            self._head = headers, _content_length(headers)
        headers, length = self._head
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        # FreeSWITCH kills a slow client from another thread, which may write its notice into the middle of a frame.
        if _NOTICE_INSIDE in body:
            raise FramingError("a disconnect notice inside a frame")
        return Frame(headers["content-type"].lower(), headers, body)

    def _header_block(self) -> bytes | None:
        """The header lines up to the blank line, taken off the buffer; None while it is not there yet."""
        buffer = self._buffer
        self._drop_leading_blank_lines()
        while (at := buffer.find(_LF, self._scanned)) >= 0 and at < MAX_HEADER_BLOCK:
            line_start = self._scanned
            self._scanned = at + 1
            if not buffer[line_start:at].strip(b"\r"):
                block = bytes(buffer[:line_start])
                del buffer[: self._scanned]
                self._scanned = 0
                return block
        if len(buffer) > MAX_HEADER_BLOCK:
            raise FramingError(f"a header block of more than {MAX_HEADER_BLOCK} bytes")
        return None

    def _drop_leading_blank_lines(self) -> None:
        if self._scanned == 0 and self._buffer.startswith((b"\r", b"\n")):
            del self._buffer[: len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))]


def _parse_headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in block.split(b"\n"):
        if not line.strip(b"\r"):
            continue
        raw_name, colon, raw_value = line.partition(b":")
        name = raw_name.decode("utf-8", "replace").strip().lower()
        if not colon or not name:
            raise FramingError("a header line without a name and a colon")
        if name in headers:
            raise FramingError("two frames run together: a header twice in one block")
        headers[name] = raw_value.decode("utf-8", "replace").strip()
    content_type = headers.get("content-type", "")
    if not content_type or ":" in content_type:
        raise FramingError("a frame without a content type")
    # A reply is all headers. userauth's is built in a buffer of 512 bytes and loses its end when the user's lists of
    # allowed events and commands are long; then the next frame's headers read as its own.
    if content_type.lower() == COMMAND_REPLY and "content-length" in headers:
        raise FramingError("two frames run together: a command reply with a body")
    return headers


def _content_length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise FramingError("a content length that is not a number")
    length = int(text) if len(text) < 20 else MAX_BODY + 1
    if length > MAX_BODY:
        raise FramingError(f"a body of more than {MAX_BODY} bytes")
    return length


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name in upper case, and its headers, names in lower case; of repeated ones the last."""

    name: str
    headers: Mapping[str, str]


def decode_event(frame: Frame) -> Event | None:
    """The event in a json or plain event frame; None for any other frame, or a body that holds none."""
    if frame.content_type == EVENT_JSON:
        headers = _json_headers(frame.text)
    elif frame.content_type == EVENT_PLAIN:
        headers = _plain_headers(frame.body)
    else:
        return None
    name = headers.get("event-name", "")
    return Event(name.upper(), headers) if name else None


def _json_headers(text: str) -> dict[str, str]:
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(pairs, _Pairs):
        return {}
    # A header with several values is an array, and so not one of those we read.
    return {_encodable(name).lower(): _encodable(value) for name, value in pairs if isinstance(value, str)}


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its repeated names kept, and told from a JSON array."""


def _encodable(text: str) -> str:
    """Without the lone surrogates that a JSON escape can smuggle in and that no output encodes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain_headers(body: bytes) -> dict[str, str]:
    block, blank_line, _own_body = body.partition(b"\n\n")
    return dict(_plain_header(line) for line in block.split(b"\n")) if blank_line else {}


def _plain_header(line: bytes) -> tuple[str, str]:
    name, _, value = line.partition(b":")
    text = unquote_to_bytes(value.strip()).decode("utf-8", "replace")  # never unquote_plus: "+" is itself encoded
    return name.decode("utf-8", "replace").strip().lower(), "" if text == "_undef_" else text


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in: with the module's password, or as a directory user (`user` is `name@domain`).

    Raises ValueError naming the field, never its value, where it would break out of its command line.
    """

    password: str = field(repr=False)
    user: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("user", self.user or ""), ("password", self.password)):
            if any(character in value for character in "\r\n\0"):
                raise ValueError(f"the Event Socket {name} must not hold a line break or NUL")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError(f"the Event Socket {name} is not valid text") from None
        if ":" in (self.user or ""):
            raise ValueError("the Event Socket user must not hold a colon")


def login_command(credentials: Credentials) -> bytes:
    """`auth` or, with a user, `userauth`. Holds the password: not for any log."""
    if credentials.user:
        return _line(f"userauth {credentials.user}:{credentials.password}")
    return _line(f"auth {credentials.password}")


def command(text: str) -> bytes:
    """One command line. Raises ValueError for text that would be more than one."""
    if any(character in text for character in "\r\n\0"):
        raise ValueError("a command must be one line")
    return _line(text)


def _line(text: str) -> bytes:
    return text.encode() + b"\n\n"
