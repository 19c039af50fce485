"""The Event Socket's framing: commands in, frames out, byte for byte as mod_event_socket has it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

GREETING = b"Content-Type: auth/request\n\n"
_GOODBYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
_SHUTDOWN = b"The system is being shut down.\n"
_DENIED = b"Access Denied, go away.\n"
_KILLED = b"killed listener because of lost events\n"
_BODY_LIMIT = 16 * 1024 * 1024


def _notice(kind: bytes, body: bytes) -> bytes:
    return b"Content-Type: %s\nContent-Length: %d\n\n%s" % (kind, len(body), body)


GOODBYE = _notice(b"text/disconnect-notice", _GOODBYE)
SHUTDOWN_NOTICE = _notice(b"text/disconnect-notice", _SHUTDOWN)
KILLED_NOTICE = _notice(b"text/disconnect-notice", _KILLED)
RUDE_REJECTION = _notice(b"text/rude-rejection", _DENIED) + GOODBYE


def command_reply(text: str, *lines: str) -> bytes:
    """`command/reply`; `lines` are further header lines."""
    more = "".join(f"{line}\n" for line in lines)
    return f"Content-Type: command/reply\nReply-Text: {text}\n{more}\n".encode("latin-1")


def api_response(output: str) -> bytes:
    """`api/response`; empty output becomes `-ERR no reply`."""
    body = (output or "-ERR no reply\n").encode("latin-1")
    return _notice(b"api/response", body)


def event_head(form: str, length: int) -> bytes:
    """Head of an event frame; unlike everywhere else Content-Length comes first."""
    return f"Content-Length: {length}\nContent-Type: text/event-{form}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its line, its header lines (names as sent) and its body."""

    line: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""


class CommandReader:
    """Cuts a byte stream into commands, however it is split; LF and CRLF, leading blank lines swallowed."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._body_missing = 0

    @property
    def pending(self) -> bool:
        """Half a command has arrived: a real listener delivers no events now."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> Iterator[Command]:
        """Add bytes; yields every command that is complete now."""
        self._buffer += data
        while True:
            if self._body_missing:
                if len(self._buffer) < self._body_missing:
                    return
                body = bytes(self._buffer[: self._body_missing])
                del self._buffer[: self._body_missing]
                self._body_missing = 0
                yield self._finish(body.decode("latin-1"))
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                return
            line = bytes(self._buffer[:end]).rstrip(b"\r").decode("latin-1")
            del self._buffer[: end + 1]
            if line:
                self._lines.append(line)
            elif self._lines:
                self._body_missing = self._content_length()
                if not self._body_missing:
                    yield self._finish("")

    def _content_length(self) -> int:
        for line in self._lines[1:]:
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-length" and value.strip().isdigit():
                return min(int(value), _BODY_LIMIT)
        return 0

    def _finish(self, body: str) -> Command:
        headers = []
        for line in self._lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
        command = Command(self._lines[0], headers, body)
        self._lines = []
        return command
