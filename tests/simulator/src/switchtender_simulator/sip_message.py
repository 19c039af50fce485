"""Reading SIP requests and responses: just enough of RFC 3261 for a user agent server that must be cheap.

Text is handled as Latin-1, so every byte survives. Knows no transactions and no policy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Address = tuple[str, int]

_COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
    "s": "subject",
    "k": "supported",
    "e": "content-encoding",
    "o": "event",
    "r": "refer-to",
    "u": "allow-events",
}
# Spelling -> name in lower case; filled as spellings are met, so that the common case costs one look-up.
_NAMES: dict[str, str] = {}
_MAX_SPELLINGS = 1024
_FOLD = re.compile(r"\r\n[ \t]+")
_URI = re.compile(r"sips?:(?:[^@>]*@)?(\[[0-9A-Fa-f:.]+\]|[^:;>?\s,]+)(?::(\d+))?", re.IGNORECASE)
_REQUIRED = ("via", "from", "to", "call-id", "cseq")


@dataclass(slots=True)
class Message:
    """What requests and responses share; `headers` maps lower-case long names to values in order of appearance."""

    headers: dict[str, list[str]]
    lines: list[str]
    body: str
    call_id: str
    from_: str
    to: str
    cseq: int
    method: str  # of the CSeq header

    def first(self, name: str, default: str = "") -> str:
        """The first value of a header, by its lower-case long name."""
        values = self.headers.get(name)
        return values[0] if values else default


@dataclass(slots=True)
class Request(Message):
    """A request; `vias` are whole header values, `vias[0]` already holds `received` and a filled-in `rport`."""

    uri: str = ""
    source: Address = ("", 0)
    vias: list[str] = field(default_factory=list)
    branch: str = ""
    reply_to: Address = ("", 0)

    @property
    def user(self) -> str:
        """User part of the Request-URI, empty without one."""
        uri = self.uri
        at = uri.find("@")
        if at < 0:
            return ""
        return uri[uri.find(":") + 1 : at].partition(":")[0].partition(";")[0]

    @property
    def to_tag(self) -> str:
        """The To tag: empty means outside of a dialog."""
        return tag_of(self.to)


@dataclass(slots=True)
class Response(Message):
    """A response to one of our own requests."""

    status: int = 0
    branch: str = ""


def tag_of(value: str) -> str:
    """The `tag` parameter of a From or To header value, empty without one."""
    parameters = value[value.rfind(">") + 1 :] if ">" in value else value
    at = parameters.find(";tag=")
    if at < 0:
        return ""
    return parameters[at + 5 :].partition(";")[0].strip()


def uri_of(value: str) -> str:
    """The URI of a Contact, Route, From or To header value, without angle brackets."""
    start = value.find("<")
    if start >= 0:
        end = value.find(">", start)
        return value[start + 1 : end] if end >= 0 else value[start + 1 :]
    return value.partition(";")[0].strip()


def host_port(uri: str) -> Address | None:
    """Host and port (5060 without one) of a SIP URI; None when it is not one."""
    match = _URI.match(uri.strip())
    if match is None:
        return None
    return match[1], int(match[2] or 5060)


def split_list(values: list[str]) -> list[str]:
    """Header values with comma lists taken apart; commas within angle brackets or quotes stay."""
    out: list[str] = []
    for value in values:
        if "," not in value:
            out.append(value)
            continue
        start, in_angle, in_quote = 0, False, False
        for at, char in enumerate(value):
            if char == '"':
                in_quote = not in_quote
            elif char in "<>" and not in_quote:
                in_angle = char == "<"
            elif char == "," and not in_quote and not in_angle:
                out.append(value[start:at].strip())
                start = at + 1
        out.append(value[start:].strip())
    return out


def parse(data: bytes, source: Address) -> Request | Response | None:
    """Parse one datagram; None for anything that is not SIP (keep-alives and garbage, too)."""
    head, _, body = data.decode("latin-1").partition("\r\n\r\n")
    if "\r\n " in head or "\r\n\t" in head:
        head = _FOLD.sub(" ", head)
    lines = head.split("\r\n")
    headers: dict[str, list[str]] = {}
    names = _NAMES
    for line in lines[1:]:
        spelling, colon, value = line.partition(":")
        if not colon:
            return None
        name = names.get(spelling) or _long_name(spelling)
        known = headers.get(name)
        if known is None:
            headers[name] = [value.strip()]
        else:
            known.append(value.strip())
    if any(name not in headers for name in _REQUIRED):
        return None
    number, _, method = headers["cseq"][0].partition(" ")
    if not number.isdigit():
        return None
    shared = (
        headers,
        lines,
        body,
        headers["call-id"][0],
        headers["from"][0],
        headers["to"][0],
        int(number),
        method.strip(),
    )
    return _response(lines[0], shared) if data.startswith(b"SIP/2.0 ") else _request(lines[0], shared, source)


_Shared = tuple[dict[str, list[str]], list[str], str, str, str, str, int, str]


def _request(start: str, shared: _Shared, source: Address) -> Request | None:
    words = start.split(" ")
    if len(words) != 3 or words[2] != "SIP/2.0" or words[0] != shared[7]:
        return None
    vias = shared[0]["via"]
    top, branch, reply_to = receive_via(vias[0], source)
    return Request(*shared, uri=words[1], source=source, vias=[top, *vias[1:]], branch=branch, reply_to=reply_to)


def _response(start: str, shared: _Shared) -> Response | None:
    status = start[8:11]
    if not status.isdigit():
        return None
    return Response(*shared, status=int(status), branch=parameter(shared[0]["via"][0].partition(",")[0], "branch"))


def _long_name(spelling: str) -> str:
    name = spelling.strip().lower()
    name = _COMPACT.get(name, name)
    if len(_NAMES) < _MAX_SPELLINGS:
        _NAMES[spelling] = name
    return name


def parameter(value: str, name: str) -> str:
    """A `;name=value` parameter of one header value, empty without it."""
    at = value.find(f";{name}=")
    if at < 0:
        return ""
    return value[at + len(name) + 2 :].partition(";")[0].strip()


def receive_via(value: str, source: Address) -> tuple[str, str, Address]:
    """Do to a topmost Via what a server does on receipt (RFC 3261 §18.2.1, RFC 3581 §4).

    Returns the value with `rport` and `received` filled in, the branch, and where responses go.
    """
    top, comma, rest = value.partition(",")
    sent_by = top.partition(" ")[2].partition(";")[0].strip()
    if sent_by.startswith("["):
        host, _, port = sent_by.partition("]")
        host, port = host[1:], port[1:]
    else:
        host, _, port = sent_by.partition(":")
    reply_to = (source[0], int(port) if port.isdigit() else 5060)
    if ";rport" in top and ";rport=" not in top:
        top = top.replace(";rport", f";rport={source[1]}", 1)
        reply_to = source
    if host != source[0]:
        top = f"{top};received={source[0]}"
    # The branch alone is not unique over clients that break RFC 3261; with the sent-by it is what §17.2.3 asks for.
    branch = f"{parameter(top, 'branch')}|{sent_by}"
    return f"{top}{comma}{rest}", branch, reply_to
