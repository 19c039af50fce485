"""What the core's tests share: settings, snapshots, and SIP over real sockets, message by message."""

import base64
import itertools
import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from switchtender._core import Core

WAIT = 30.0
"""Seconds until a test gives up; nothing that goes well takes them."""

_numbers = itertools.count(1)


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "format": 2,
        "listeners": [
            {
                "name": "public",
                "address": "127.0.0.1",
                "port": 0,
                "transports": ["UDP"],
                "advertise": None,
                "nat": False,
                "allow": [],
            }
        ],
        "node_side": {"address": "127.0.0.1", "port": 0, "worker_ports": [0, 0], "advertise": [], "sources": []},
        "workers": 1,
        "limits": {"max_transactions": 1000},
        "tcp": {
            "idle_timeout_ms": 60000,
            "connect_timeout_ms": 1000,
            "max_connections": 100,
            "max_per_source": 100,
        },
        "stop_deadline_ms": 1000,
        "run_id": None,
        **changes,
    }


def group(size: int, **changes: Any) -> dict[str, Any]:
    return {
        "namespace": "voice",
        "name": "ivr",
        "uid": "group-1",
        "generation": 1,
        "priority": 0,
        "match": [],
        "algorithm": "LeastLoad",
        "legs_per_call": 1,
        "failover": {
            "attempts": 3,
            "retry_on": {"own_refusal": True, "timeout": True, "transport": True, "codes": [410]},
            "first_response_timeout_ms": 5000,
            "progress_timeout_ms": 10000,
            "cool_down_ms": [1000, 2000],
        },
        "timer_c_ms": 180000,
        "over_limit": {"action": "Reject", "status": 503, "retry_after_s": [5, 15]},
        "panic_threshold": 0.5,
        "members": [{"node": index, "weight": 1.0, "priority": 0, "draining": False} for index in range(size)],
        **changes,
    }


Node = tuple[str, str] | tuple[str, str, str]
"""Uid, "address:port", and a transport where that is not UDP."""


def snapshot(*nodes: Node, **changes: Any) -> bytes:
    """Of nodes, all in one group."""
    return json.dumps(
        {
            "format": 2,
            "keys": [{"id": 1, "secret": base64.b64encode(bytes(range(64))).decode()}],
            "nodes": [
                {"uid": uid, "name": uid.upper(), "sip": sip, "transport": transport[0] if transport else "UDP"}
                for uid, sip, *transport in nodes
            ],
            "groups": [group(len(nodes), **changes)],
        }
    ).encode()


@contextmanager
def running(*nodes: Node, core_settings: dict[str, Any] | None = None, **changes: Any) -> Iterator[Core]:
    """A started core with these nodes open for calls, 100 sessions each."""
    core = Core(json.dumps(core_settings or settings()).encode())
    core.apply(snapshot(*nodes, **changes))
    for uid, *_ in nodes:
        open_node(core, uid)
    core.start()
    try:
        yield core
    finally:
        core.stop(0)
        core.join()


def open_node(core: Core, uid: str, sessions: float = 0, max_sessions: float = 100) -> None:
    now = core.baseline(uid, 0)
    core.report(
        uid,
        admission="open",
        sessions=sessions,
        max_sessions=max_sessions,
        baseline_assigned=now.assigned_now,
        baseline_ended=now.ended,
    )


def stats(core: Core) -> dict[tuple[str, ...], float]:
    """The counters by name and label values (in the order of the labels' names)."""
    counters = {}
    for entry in json.loads(core.stats())["counters"]:
        labels = entry["labels"]
        counters[entry["name"], *(labels[key] for key in sorted(labels))] = entry["value"]
    return counters


def gauge(core: Core, name: str) -> float:
    """A gauge without labels."""
    (value,) = [entry["value"] for entry in json.loads(core.stats())["gauges"] if entry["name"] == name]
    return value


def histogram(core: Core, name: str, **labels: str) -> dict[str, Any]:
    """The one histogram of this name with exactly these labels."""
    entries = json.loads(core.stats())["histograms"]
    (found,) = [entry for entry in entries if (entry["name"], entry["labels"]) == (name, labels)]
    return found


def eventually(value: Callable[[], object], expected: object) -> None:
    """Wait for a statistic: pages are a few milliseconds behind what was sent."""
    for _ in range(int(WAIT * 1000)):
        if value() == expected:
            break
        select.select([], [], [], 0.001)
    assert value() == expected


class Message:
    """A received SIP message, taken apart just as far as the tests look."""

    def __init__(self, raw: bytes, source: tuple[str, int]) -> None:
        head, _, self.body = raw.decode().partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self.source = source
        pairs = (line.partition(":") for line in lines)
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def get(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    @property
    def status(self) -> int:
        return int(self.start.split()[1])

    @property
    def method(self) -> str:
        return self.start.split()[0]


class Peer:
    """A UDP socket that speaks SIP: a caller or a node, as the test makes it."""

    transport = "UDP"

    def __init__(self, address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(WAIT)
        self.host, self.port = self.socket.getsockname()[:2]

    @property
    def endpoint(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def contact(self) -> str:
        """Host, port and parameters of its Contact."""
        return self.endpoint

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, to: tuple[str, int], *lines: str, body: str = "") -> None:
        self.socket.sendto("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode(), to)

    def receive(self) -> Message:
        raw, source = self.socket.recvfrom(65536)
        return Message(raw, source[:2])

    def is_silent(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]

    def answer(self, request: Message, status: str, *extra: str) -> None:
        """Answer where the topmost Via leads (received and rport as they stand)."""
        to = request.get("To")
        tag = "" if ";tag=" in to or status.startswith("100") else f";tag=node{self.port}"
        lines = [f"SIP/2.0 {status}", *(f"Via: {via}" for via in request.all("Via"))]
        if status[0] in "12" and not status.startswith("100"):
            lines += [*(f"Record-Route: {route}" for route in request.all("Record-Route"))]
            lines += [f"Contact: <sip:node@{self.contact}>"]
        lines += [f"From: {request.get('From')}", f"To: {to}{tag}", f"Call-ID: {request.get('Call-ID')}"]
        self.send(request.source, *lines, f"CSeq: {request.get('CSeq')}", *extra)

    def expect(self, status: int, *, passing: tuple[int, ...] = (100,)) -> Message:
        """The next response but those passed by."""
        while (message := self.receive()).status in passing and message.status != status:
            pass
        assert message.status == status, message.start
        return message


@contextmanager
def peers(count: int) -> Iterator[list[Peer]]:
    """So many of them, each with a port of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(Peer()) for _ in range(count)]


class Call:
    """The caller's side of one call."""

    def __init__(self, caller: Peer, core: Core, uri: str = "sip:100@example.com") -> None:
        listener = json.loads(core.addresses())["listeners"][0]
        self.caller, self.uri = caller, uri
        self.to = (listener["address"], listener["port"])
        self.call_id = f"call-{next(_numbers)}@test"
        self.branch = f"z9hG4bKcaller{next(_numbers)}"
        self.remote = "<sip:100@example.com>"
        self.route: list[str] = []
        self.target = uri

    def request(
        self, method: str, cseq: int, uri: str, *extra: str, branch: str | None = None, sender: Peer | None = None
    ) -> None:
        """`sender`: the socket it really leaves from, where that is not the caller's own."""
        (sender or self.caller).send(
            self.to,
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.caller.transport} {self.caller.endpoint};"
            f"branch={branch or f'z9hG4bKcaller{next(_numbers)}'};rport",
            "Max-Forwards: 70",
            *(f"Route: {route}" for route in self.route),
            f"From: <sip:caller@example.org>;tag=from{self.call_id}",
            f"To: {self.remote}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:caller@{self.caller.contact}>",
            *extra,
        )

    def invite(self, sender: Peer | None = None) -> None:
        """The INVITE; called again, its retransmission."""
        self.request("INVITE", 1, self.uri, branch=self.branch, sender=sender)

    def answered(self, response: Message) -> None:
        """Take the dialog from the 2xx (RFC 3261 §12.1.2) and acknowledge it."""
        self.remote = response.get("To")
        self.route = list(reversed(response.all("Record-Route")))
        self.target = response.get("Contact").strip("<>")
        self.request("ACK", 1, self.target)

    def bye(self) -> None:
        self.request("BYE", 2, self.target)
