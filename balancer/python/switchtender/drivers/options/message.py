"""An OPTIONS request as text, and as much of a response as tells which request it answers.

Strict and small: a probe needs to know the status and whose answer it is, nothing else; what does not read as a
response is none. Pure; knows neither sockets nor time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from switchtender.drivers.reports import Transport

MAGIC: Final = "z9hG4bK"
"""Begins every branch (RFC 3261 §8.1.1.7)."""

LONGEST: Final = 65_535
"""Bytes of a response that are read."""

_STATUS_LINE: Final = re.compile(rb"SIP/2\.0 ([1-6][0-9][0-9])(?: ([^\r\n]*))?", re.IGNORECASE)
_HEADER: Final = re.compile(rb"([A-Za-z0-9.!%*_+`'~-]+)[ \t]*:[ \t]*(.*)", re.DOTALL)
_BRANCH: Final = re.compile(rb";[ \t]*branch[ \t]*=[ \t]*([A-Za-z0-9.!%*_+`'~-]+)", re.IGNORECASE)
_FOLD: Final = re.compile(rb"\r\n[ \t]+")
_NAMES: Final = {b"via": "via", b"v": "via", b"call-id": "call-id", b"i": "call-id", b"cseq": "cseq"}
_QUOTE: Final = 80


@dataclass(frozen=True, slots=True)
class Question:
    """What makes one OPTIONS: ``branch`` and ``call_id`` are unique to it, ``sender`` is its From URI.

    ``sent_by`` and ``target`` are endpoints as text, IPv6 in brackets.
    """

    branch: str
    call_id: str
    tag: str
    sent_by: str
    target: str
    transport: Transport
    sender: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: ``status`` 100 to 699, ``phrase`` printable and short; whose it is by the topmost Via and Call-ID."""

    status: int
    phrase: str
    branch: str
    call_id: str


def request(question: Question) -> bytes:
    """The OPTIONS outside of dialogs (RFC 3261 §11.1), with ``rport`` (RFC 3581) so that the answer finds us."""
    parameter = ";transport=tcp" if question.transport == "TCP" else ""
    host = question.sent_by
    return (
        f"OPTIONS sip:{question.target}{parameter} SIP/2.0\r\n"
        f"Via: SIP/2.0/{question.transport} {host};rport;branch={question.branch}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <{question.sender}>;tag={question.tag}\r\n"
        f"To: <sip:{question.target}>\r\n"
        f"Call-ID: {question.call_id}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        f"Contact: <sip:switchtender@{host}{parameter}>\r\n"
        "Accept: application/sdp\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def response(data: bytes) -> Answer | None:
    """The response in ``data``, which holds all of its header; None for anything that is no answer to OPTIONS."""
    if len(data) > LONGEST:
        return None
    head, end, _ = data.partition(b"\r\n\r\n")
    lines = _FOLD.sub(b" ", head).split(b"\r\n")
    status = _STATUS_LINE.fullmatch(lines[0])
    if not end or status is None:
        return None
    found: dict[str, bytes] = {}
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        name = _NAMES.get(header[1].lower())
        if name is not None:
            found.setdefault(name, header[2].strip())  # of several Via the topmost is ours
    branch = _BRANCH.search(found.get("via", b"").partition(b",")[0])
    method = found.get("cseq", b"").split()
    if branch is None or "call-id" not in found or len(method) != 2 or method[1] != b"OPTIONS":
        return None
    return Answer(int(status[1]), _printable(status[2] or b""), branch[1].decode(), _text(found["call-id"]))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _printable(value: bytes) -> str:
    return "".join(character if character.isprintable() else "?" for character in _text(value)[:_QUOTE]).strip()


def accepts(codes: tuple[str, ...], status: int) -> bool:
    """Whether a final status is one of ``codes``, written "200" or "4xx"; none given: every one is an answer."""
    return not codes or any(code in {str(status), f"{status // 100}xx"} for code in codes)
