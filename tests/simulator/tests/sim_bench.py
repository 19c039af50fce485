"""A user agent server on the bench: virtual time, datagrams in and out as text, no sockets."""

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

from switchtender_simulator.accounting import RequestMeter, SessionLedger
from switchtender_simulator.counters import Counters
from switchtender_simulator.dialog.answers import Identity
from switchtender_simulator.dialog.uas import Uas
from switchtender_simulator.lifecycle import Phase, Status
from switchtender_simulator.settings import Faults, NodeSettings
from switchtender_simulator.sip_message import Address
from switchtender_simulator.timers import Timers

CALLER: Address = ("127.0.0.1", 5999)
PROXY: Address = ("127.0.0.1", 5090)


@dataclass
class Bench:
    """`say` delivers a request, `sent` is what the node sent, `run_to` lets time pass."""

    settings: NodeSettings = field(default_factory=NodeSettings)
    host: str = "127.0.0.2"
    now: float = 1000.0
    sent: list[str] = field(default_factory=list)
    to: list[Address] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = Status(phase=Phase.RUNNING, options_respond_503=self.settings.version == "1.10.12")
        self.faults = Faults()
        self.counters = Counters()
        self.timers = Timers()
        self.ledger = SessionLedger(
            max_sessions=self.settings.max_sessions,
            sessions_per_second=self.settings.sessions_per_second,
            now=self.now,
            zombie_seconds=self.settings.zombie_seconds,
        )
        self.uas = Uas(
            settings=self.settings,
            faults=self.faults,
            identity=Identity("fs2", self.host, 5060),
            status=self.status,
            ledger=self.ledger,
            meter=RequestMeter(limit=self.settings.max_requests_per_second, now=self.now),
            timers=self.timers,
            counters=self.counters,
            send=self._send,
            random=Random(7),
        )

    def _send(self, data: bytes, destination: Address) -> None:
        self.sent.append(data.decode("latin-1"))
        self.to.append(destination)

    def say(self, text: str, source: Address = CALLER) -> list[str]:
        """Deliver one datagram and run what is due within the admission lag; returns what was sent."""
        before = len(self.sent)
        self.uas.receive(text.encode("latin-1"), source, self.now)
        self.run_to(self.now + self.settings.admission_lag)
        return self.sent[before:]

    def run_to(self, when: float) -> list[str]:
        """Let time pass up to `when`, stopping at every deadline; returns what was sent."""
        before = len(self.sent)
        while (deadline := self.timers.next_deadline()) is not None and deadline <= when:
            self.now = deadline
            self.ledger.advance(deadline)
            self.timers.run(deadline)
        self.now = when
        self.ledger.advance(when)
        return self.sent[before:]

    def call(self, user: str = "1000", number: int = 1, **headers: Any) -> list[str]:
        """A new INVITE; see `request`."""
        return self.say(request("INVITE", user, number, **headers))


def request(
    method: str,
    user: str = "1000",
    number: int = 1,
    *,
    to_tag: str = "",
    cseq: int = 1,
    branch: str = "",
    extra: str = "",
    body: str = "",
) -> str:
    """A request of call `number` as a proxy in front would send it."""
    tag = f";tag={to_tag}" if to_tag else ""
    branch = branch or f"z9hG4bK{method[0]}{number}.{cseq}"
    return (
        f"{method} sip:{user}@127.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5090;branch={branch}\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:5999;branch=z9hG4bKu{number};rport=5999\r\nMax-Forwards: 69\r\n"
        f'From: "T" <sip:tester@example.test>;tag=f{number}\r\nTo: <sip:{user}@example.test>{tag}\r\n'
        f"Call-ID: call-{number}\r\nCSeq: {cseq} {method}\r\nContact: <sip:tester@127.0.0.1:5999>\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )


def status_of(text: str) -> int:
    """Status of a response, 0 for a request."""
    return int(text[8:11]) if text.startswith("SIP/2.0 ") else 0


def statuses(texts: list[str]) -> list[int]:
    """Statuses of several messages, 0 for requests."""
    return [status_of(text) for text in texts]


def header(text: str, name: str) -> str:
    """First value of a header, '' without it."""
    found = re.search(rf"^{name}: (.*?)\r$", text, re.MULTILINE)
    return found[1] if found else ""


def to_tag(text: str) -> str:
    """The To tag of a response."""
    return header(text, "To").rpartition(";tag=")[2]
