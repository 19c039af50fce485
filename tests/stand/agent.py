"""A plain SIP agent on a UDP socket: it sends exactly the bytes it is told to and keeps exactly those that come.

Callers and nodes whose every message is scripted by a test. It retransmits nothing, answers nothing by itself and
knows no transaction: what a polite user agent would never send is as easy as what it would.
"""

from __future__ import annotations

import itertools
import re
import selectors
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Address = tuple[str, int]

PATIENCE = 20.0
"""Seconds that an expected message may take."""
GRACE = 0.05
"""Seconds in which nothing may come, once an answer to a later request proved that all before it was handled."""

COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "k": "supported"}
_numbers = itertools.count(1)


class SilenceError(AssertionError):
    """What was expected did not come."""


def unique(prefix: str) -> str:
    """A word that no other message of this run has."""
    return f"{prefix}{next(_numbers)}x{time.monotonic_ns():x}"


def split_list(text: str) -> list[str]:
    """The elements of a comma list; commas in angle brackets and quoted strings do not separate."""
    parts = re.findall(r'(?:"(?:\\.|[^"\\])*"|<[^>]*>|[^,])+', text)
    return [part.strip() for part in parts]


@dataclass(frozen=True)
class Message:
    """A SIP message as it came, and views of it."""

    raw: bytes
    source: Address = ("", 0)

    @property
    def text(self) -> str:
        """All of it, one character a byte."""
        return self.raw.decode("latin-1")

    @property
    def start(self) -> str:
        """The first line."""
        return self.text.split("\r\n", 1)[0]

    @property
    def status(self) -> int:
        """The status code; 0 in a request."""
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method of a request; in a response that of CSeq."""
        return self.start.split(" ")[0] if not self.status else self["CSeq"].split()[1]

    @property
    def uri(self) -> str:
        """The Request-URI."""
        return self.start.split(" ")[1]

    @property
    def head(self) -> str:
        """Start line and header fields, without the empty line."""
        return self.text.split("\r\n\r\n", 1)[0]

    @property
    def body(self) -> bytes:
        """What follows the empty line."""
        return self.raw.split(b"\r\n\r\n", 1)[1]

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Header fields in order: the name in lower case and in full, the value unfolded."""
        unfolded = re.sub(r"\r\n[ \t]+", " ", self.head)
        pairs = [line.partition(":") for line in unfolded.split("\r\n")[1:]]
        return [(COMPACT.get(name.strip().lower(), name.strip().lower()), value.strip()) for name, _, value in pairs]

    def all(self, name: str) -> list[str]:
        """The values of every field of that name."""
        return [value for field_name, value in self.fields if field_name == name.lower()]

    def list(self, name: str) -> list[str]:
        """The elements of every field of that name, commas resolved."""
        return [element for value in self.all(name) for element in split_list(value)]

    def __getitem__(self, name: str) -> str:
        """The value of the first field of that name; KeyError."""
        values = self.all(name)
        if not values:
            raise KeyError(name)
        return values[0]

    def get(self, name: str) -> str | None:
        """The value of the first field of that name."""
        values = self.all(name)
        return values[0] if values else None

    def tag(self, name: str) -> str | None:
        """The tag in From or To."""
        found = re.search(r";\s*tag=([^;,\s>]+)", self[name].rpartition(">")[2])
        return found[1] if found else None

    @property
    def branch(self) -> str:
        """The branch of the top Via."""
        return via_parameter(self.list("Via")[0], "branch") or ""


def via_parameter(via: str, name: str) -> str | None:
    """A parameter of a Via element; empty when it stands without a value, None when it is absent."""
    found = re.search(rf";\s*{name}(?:=([^;\s]*))?(?=[;\s]|$)", via)
    return (found[1] or "") if found else None


def uri_of(name_addr: str) -> str:
    """The URI in a name-addr."""
    found = re.search(r"<([^>]*)>", name_addr)
    return found[1] if found else name_addr.split(";", 1)[0].strip()


def user_of(uri: str) -> str:
    """The user part of a SIP URI; empty when there is none."""
    return uri.removeprefix("sip:").partition("@")[0] if "@" in uri else ""


class Agent:
    """A bound UDP socket that speaks SIP as it is told."""

    def __init__(self, host: str, port: int = 0, uri: str = "") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((host, port))
        self.address: Address = self._socket.getsockname()
        self.uri = uri or f"sip:{self.host_port}"
        """What others dial to reach it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Unbind: from now on the kernel refuses what is sent here."""
        self._socket.close()

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    @property
    def host_port(self) -> str:
        """Its address as it stands in a URI or Via."""
        return f"{self.address[0]}:{self.address[1]}"

    def send(self, message: bytes | str, to: Address) -> bytes:
        """Put one datagram on the wire; returns its bytes."""
        data = message.encode("latin-1") if isinstance(message, str) else message
        self._socket.sendto(data, to)
        return data

    def reply(self, request: Message, code: int, reason: str, **parts: object) -> bytes:
        """Answer a request to where it came from; see `response`."""
        return self.send(response(self, request, code, reason, **parts), request.source)  # type: ignore[arg-type]

    def receive(self, patience: float = PATIENCE) -> Message:
        """The next datagram; raises SilenceError."""
        _, message = first_of([self], patience)
        return message

    def expect(self, what: str | int, patience: float = PATIENCE) -> Message:
        """The next datagram, which must be a request of that method or a response of that code."""
        message = self.receive(patience)
        found: str | int = message.status or message.method
        assert found == what, f"{self.host_port} expected {what}, received:\n{message.text}"
        return message

    def next(self, what: str | int, patience: float = PATIENCE) -> Message:
        """The first datagram that is `what`; others before it are passed over."""
        deadline = time.monotonic() + patience
        while True:
            message = self.receive(max(deadline - time.monotonic(), 0.001))
            if (message.status or message.method) == what:
                return message

    def drain(self, grace: float = GRACE) -> list[Message]:
        """Everything that is there, and that comes within the grace."""
        found = []
        while True:
            try:
                found.append(self.receive(grace))
            except SilenceError:
                return found

    def nothing(self, grace: float = GRACE) -> None:
        """Nothing is there and nothing comes within the grace."""
        found = self.drain(grace)
        assert not found, f"{self.host_port} received what it should not:\n" + "\n".join(m.text for m in found)


def first_of(agents: Sequence[Agent], patience: float = PATIENCE) -> tuple[Agent, Message]:
    """The first datagram that any of them receives; raises SilenceError."""
    with selectors.DefaultSelector() as selector:
        for agent in agents:
            selector.register(agent, selectors.EVENT_READ, agent)
        ready = selector.select(patience)
    if not ready:
        raise SilenceError(f"nothing came to {', '.join(agent.host_port for agent in agents)} within {patience:g} s")
    first: Agent = ready[0][0].data
    data, source = first._socket.recvfrom(65536)
    return first, Message(data, source)


def joined(start: str, fields: Iterable[str], body: bytes) -> bytes:
    """A message of whole header lines."""
    return "\r\n".join([start, *fields, "", ""]).encode("latin-1") + body


def request(
    method: str,
    uri: str,
    agent: Agent,
    *,
    call_id: str | None = None,
    cseq: int = 1,
    from_tag: str | None = None,
    to: str = "<sip:callee@example.com>",
    branch: str | None = None,
    via: str | None = None,
    contact: str | None = None,
    routes: Sequence[str] = (),
    fields: Sequence[str] = (),
    max_forwards: int | None = 70,
    body: bytes = b"",
) -> bytes:
    """A request as a user agent at `agent` would write it; every part can be given."""
    via = via or f"SIP/2.0/UDP {agent.host_port};rport;branch={branch or unique('z9hG4bK')}"
    lines = [f"Via: {via}"]
    lines += [f"Route: {route}" for route in routes]
    lines += [f"Max-Forwards: {max_forwards}"] if max_forwards is not None else []
    lines += [
        f'From: "Alice A." <sip:alice@example.com>;tag={from_tag or unique("a")}',
        f"To: {to}",
        f"Call-ID: {call_id or unique('call') + '@' + agent.address[0]}",
        f"CSeq: {cseq} {method}",
    ]
    if contact != "":
        lines.append(f"Contact: {contact or f'<sip:alice@{agent.host_port}>'}")
    return joined(f"{method} {uri} SIP/2.0", [*lines, *fields, f"Content-Length: {len(body)}"], body)


def response(
    agent: Agent,
    to: Message,
    code: int,
    reason: str,
    *,
    tag: str | None = None,
    contact: str | None = None,
    fields: Sequence[str] = (),
    body: bytes = b"",
) -> bytes:
    """A response to a request, with what RFC 3261 §8.2.6 and §12.1.1 have it copy."""
    lines = [f"Via: {value}" for value in to.list("Via")]
    to_line = to["To"]
    if tag and ";tag=" not in to_line:
        to_line += f";tag={tag}"
    lines += [f"From: {to['From']}", f"To: {to_line}", f"Call-ID: {to['Call-ID']}", f"CSeq: {to['CSeq']}"]
    if 100 < code < 300 and to.method in ("INVITE", "SUBSCRIBE", "UPDATE", "REFER"):
        lines += [f"Record-Route: {value}" for value in to.list("Record-Route")]
        lines.append(f"Contact: {contact or f'<sip:node@{agent.host_port}>'}")
    return joined(f"SIP/2.0 {code} {reason}", [*lines, *fields, f"Content-Length: {len(body)}"], body)


def ack_of_failure(invite: bytes, failure: Message) -> bytes:
    """The ACK for a final response other than 2xx: same branch, hop by hop (RFC 3261 §17.1.1.3)."""
    sent = Message(invite)
    lines = [f"Via: {sent.all('Via')[0]}", *(f"Route: {route}" for route in sent.list("Route"))]
    lines += ["Max-Forwards: 70", f"From: {sent['From']}", f"To: {failure['To']}", f"Call-ID: {sent['Call-ID']}"]
    lines += [f"CSeq: {sent['CSeq'].split()[0]} ACK", "Content-Length: 0"]
    return joined(f"ACK {sent.uri} SIP/2.0", lines, b"")


def cancel_of(invite: bytes) -> bytes:
    """The CANCEL of an INVITE (RFC 3261 §9.1)."""
    sent = Message(invite)
    lines = [f"Via: {sent.all('Via')[0]}", *(f"Route: {route}" for route in sent.list("Route"))]
    lines += ["Max-Forwards: 70", f"From: {sent['From']}", f"To: {sent['To']}", f"Call-ID: {sent['Call-ID']}"]
    lines += [f"CSeq: {sent['CSeq'].split()[0]} CANCEL", "Content-Length: 0"]
    return joined(f"CANCEL {sent.uri} SIP/2.0", lines, b"")


@dataclass
class Dialog:
    """One side of a dialog (RFC 3261 §12): what its requests carry."""

    agent: Agent
    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str]
    cseq: int = 1
    first_hop: Address | None = None
    """Where requests are sent: the first Route, unless given."""
    extra: list[str] = field(default_factory=list)

    @classmethod
    def of_caller(cls, agent: Agent, answer: Message) -> Dialog:
        """The caller's side, from the 2xx or a provisional response with a tag."""
        routes = answer.list("Record-Route")[::-1]
        number = int(answer["CSeq"].split()[0])
        return cls(agent, answer["Call-ID"], answer["From"], answer["To"], uri_of(answer["Contact"]), routes, number)

    @classmethod
    def of_node(cls, agent: Agent, invite: Message, tag: str) -> Dialog:
        """The node's side, from the INVITE and the tag it answered with."""
        to = invite["To"] + f";tag={tag}"
        return cls(
            agent, invite["Call-ID"], to, invite["From"], uri_of(invite["Contact"]), invite.list("Record-Route"), 100
        )

    def request(
        self,
        method: str,
        *,
        branch: str | None = None,
        cseq: int | None = None,
        uri: str | None = None,
        routes: Sequence[str] | None = None,
        fields: Sequence[str] = (),
        max_forwards: int = 70,
        body: bytes = b"",
    ) -> bytes:
        """The next request of this side; ACK and CANCEL keep the number of the last one."""
        if cseq is None:
            self.cseq += method not in ("ACK", "CANCEL")
            cseq = self.cseq
        lines = [f"Via: SIP/2.0/UDP {self.agent.host_port};rport;branch={branch or unique('z9hG4bK')}"]
        lines += [f"Route: {route}" for route in (self.routes if routes is None else routes)]
        lines += [f"Max-Forwards: {max_forwards}", f"From: {self.local}", f"To: {self.remote}"]
        lines += [f"Call-ID: {self.call_id}", f"CSeq: {cseq} {method}"]
        lines += [f"Contact: <sip:{self.agent.host_port}>"] if method in ("INVITE", "UPDATE") else []
        lines += [*self.extra, *fields, f"Content-Length: {len(body)}"]
        return joined(f"{method} {uri or self.target} SIP/2.0", lines, body)

    @property
    def hop(self) -> Address:
        """Where its requests are sent."""
        if self.first_hop:
            return self.first_hop
        host, _, port = uri_of(self.routes[0]).partition("@")[2].partition(";")[0].partition(":")
        return host, int(port)

    def send(self, method: str, **parts: object) -> bytes:
        """Send the next request to the first hop."""
        return self.agent.send(self.request(method, **parts), self.hop)  # type: ignore[arg-type]
