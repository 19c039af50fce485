"""Copies of messages for Homer: what a collector on a real socket gets of a call, decoded by hand."""

import ipaddress
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from core_calls import WAIT, Call, Peer, eventually, peers, running, settings, stats
from core_streams import stream_node

from switchtender.config import hep
from switchtender.config.settings import fixed_fields_changed
from switchtender.config.settings import settings as core_settings_of
from switchtender_api.loader import load
from switchtender_api.problems import DocumentErrors

PASSWORD = "not-for-logs"


class Copy(NamedTuple):
    """One packet, taken apart."""

    protocol: int
    source: str
    destination: str
    time: float
    capture_id: int
    password: bytes | None
    payload: bytes

    @property
    def start(self) -> str:
        words = self.payload.decode().split("\r\n")[0].split()
        return words[1] if words[0] == "SIP/2.0" else words[0]


def decoded(packet: bytes) -> Copy:
    """HEP version 3 from its description: `HEP3`, the length, chunks of vendor, type, length and value."""
    assert (packet[:4], struct.unpack("!H", packet[4:6])[0]) == (b"HEP3", len(packet))
    chunks: dict[int, bytes] = {}
    rest = packet[6:]
    while rest:
        vendor, kind, length = struct.unpack("!HHH", rest[:6])
        assert (vendor, kind in chunks) == (0, False)
        chunks[kind], rest = rest[6:length], rest[length:]
    number = {kind: int.from_bytes(value) for kind, value in chunks.items()}
    source, destination = {2: (3, 4), 10: (5, 6)}[number[1]]
    assert number[11] == 1, "SIP"

    def endpoint(address: int, port: int) -> str:
        ip = ipaddress.ip_address(chunks[address])
        return f"[{ip}]:{number[port]}" if ip.version == 6 else f"{ip}:{number[port]}"

    when = number[9] + number[10] / 1e6
    return Copy(number[2], endpoint(source, 7), endpoint(destination, 8), when, number[12], chunks.get(14), chunks[15])


class Collector:
    """A UDP socket where Homer would be."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(WAIT)
        self.address, self.port = self.socket.getsockname()[:2]

    def settings(self, **changes: Any) -> dict[str, Any]:
        document = {"host": self.address, "port": self.port, "capture_id": 2001, "password": PASSWORD}
        return settings(hep=document, **changes)

    def take(self, count: int) -> list[Copy]:
        copies = [decoded(self.socket.recv(65536)) for _ in range(count)]
        return sorted(copies, key=lambda copy: copy.time)


@contextmanager
def collecting(address: str = "127.0.0.1") -> Iterator[Collector]:
    collector = Collector(address)
    with collector.socket:
        yield collector


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_collector_gets_every_message_of_a_call_both_ways(address):
    began = time.time()
    with collecting(address) as collector, Peer("127.0.0.1") as caller, Peer("127.0.0.2") as node:
        own_settings = collector.settings(workers=2)
        with running(("fs1", node.endpoint), core_settings=own_settings) as core:
            call = Call(caller, core)
            call.invite()
            invite = node.receive()
            node.answer(invite, "180 Ringing")
            node.answer(invite, "200 OK")
            caller.expect(180)
            call.answered(caller.expect(200))
            node.receive()
            call.bye()
            node.answer(node.receive(), "200 OK")
            caller.expect(200)
            copies = collector.take(13)
            eventually(lambda: stats(core)["hep_packets_total",], 13)
            counted = {key[1:]: value for key, value in stats(core).items() if key[0] == "hep_dropped_total"}
            assert counted == {("send_buffer_full",): 0, ("send_failed",): 0, ("too_large",): 0}
            assert core.traced(10) == []
    public = "{}:{}".format(*call.to)
    assert {(copy.protocol, copy.capture_id, copy.password) for copy in copies} == {(17, 2001, PASSWORD.encode())}
    assert all(began - 1 < copy.time < time.time() + 1 for copy in copies)

    def between(one: str, other: str) -> list[str]:
        return [copy.start for copy in copies if (copy.source, copy.destination) == (one, other)]

    assert between(caller.endpoint, public) == ["INVITE", "ACK", "BYE"]
    assert between(public, caller.endpoint) == ["100", "180", "200", "200"]
    ours = next(copy.source for copy in copies if copy.destination == node.endpoint)
    assert between(ours, node.endpoint) == ["INVITE", "ACK", "BYE"]
    assert between(node.endpoint, ours) == ["180", "200", "200"]
    (received,) = (copy for copy in copies if copy.source == caller.endpoint and copy.start == "INVITE")
    assert f"\r\nCall-ID: {call.call_id}\r\n".encode() in received.payload
    assert received.payload.endswith(b"\r\n\r\n")


def test_calls_over_ipv6_and_over_connections_show_their_addresses_and_protocol():
    own_listener = {
        "name": "six", "address": "::1", "port": 0, "transports": ["UDP", "TCP"], "advertise": None, "nat": False,
        "allow": [],
    }  # fmt: skip
    with collecting() as collector, stream_node() as node:
        own_settings = collector.settings(listeners=[own_listener])
        with running(("fs1", node.endpoint, "TCP"), core_settings=own_settings) as core, Peer("::1") as caller:
            call = Call(caller, core)
            call.request("MESSAGE", 1, call.uri)
            carrier = node.accept()
            with carrier.socket:
                carrier.answer(carrier.receive(), "200 OK")
                caller.expect(200)
                copies = collector.take(4)
    public, ours = f"[::1]:{call.to[1]}", "{}:{}".format(*carrier.remote)
    assert [(copy.protocol, copy.source, copy.destination, copy.start) for copy in copies] == [
        (17, caller.endpoint, public, "MESSAGE"),
        (6, ours, node.endpoint, "MESSAGE"),
        (6, node.endpoint, ours, "200"),
        (17, public, caller.endpoint, "200"),
    ]


def test_without_a_password_none_is_sent_and_a_collector_that_is_gone_stops_no_call():
    with collecting() as collector, peers(2) as (caller, node):
        document = collector.settings()["hep"] | {"password": None}
        with running(("fs1", node.endpoint), core_settings=settings(hep=document)) as core:
            for _ in range(2):
                call = Call(caller, core)
                call.request("MESSAGE", 1, call.uri)
                node.answer(node.receive(), "200 OK")
                caller.expect(200)
                if collector.socket.fileno() >= 0:
                    assert {copy.password for copy in collector.take(4)} == {None}
                    collector.socket.close()
            eventually(lambda: stats(core)["hep_packets_total",], 8)


CONFIG = """
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {name: default}
spec:
  listeners: [{address: 127.0.0.1, port: 0}]
  hep: %s
"""


def document_of(text: str, environ: dict[str, str]) -> Any:
    documents = load(CONFIG % text, "file.yaml")
    return core_settings_of(documents.config.spec, hep.password(documents, environ))["hep"]


def test_the_configuration_says_where_copies_go(tmp_path: Path):
    (tmp_path / "password").write_text(PASSWORD + "\n")
    assert document_of("null", {}) is None
    assert document_of("{collector: {host: '2001:db8::9'}}", {}) == {
        "host": "2001:db8::9",
        "port": 9060,
        "capture_id": 1,
        "password": None,
    }
    for source, environ in ((f"file: {tmp_path / 'password'}", {}), ("env: HOMER", {"HOMER": PASSWORD})):
        text = f"{{collector: {{host: 192.0.2.9, port: 9061}}, captureId: 7, passwordFrom: {{{source}}}}}"
        found = document_of(text, environ)
        assert (found["port"], found["capture_id"], found["password"]) == (9061, 7, PASSWORD)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{collector: {host: homer.example.com}}", "spec.hep.collector.host"),
        ("{collector: {host: 0.0.0.0}}", "spec.hep.collector"),
        ("{collector: {host: 192.0.2.9, port: 0}}", "spec.hep.collector.port"),
        ("{collector: {host: 192.0.2.9}, captureId: 4294967296}", "spec.hep.captureId"),
        ("{collector: {host: 192.0.2.9}, passwordFrom: {}}", "spec.hep.passwordFrom"),
        ("{collector: {host: 192.0.2.9}, passwordFrom: {env: A, file: /b}}", "spec.hep.passwordFrom"),
        ("{collector: {host: 192.0.2.9}, passwordFrom: {env: MISSING}}", "spec.hep.passwordFrom.env"),
        ("{collector: {host: 192.0.2.9}, passwordFrom: {file: /nowhere/at/all}}", "spec.hep.passwordFrom.file"),
        ("{captureId: 1}", "spec.hep.collector"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(text, path):
    with pytest.raises(DocumentErrors) as caught:
        document_of(text, {})
    assert [problem.path for problem in caught.value.problems] == [path]


def test_a_password_in_the_place_of_a_name_is_not_shown():
    with pytest.raises(DocumentErrors) as caught:
        document_of(f"{{collector: {{host: 192.0.2.9}}, passwordFrom: {{env: {PASSWORD}!}}}}", {})
    assert PASSWORD not in str(caught.value)


def test_another_collector_needs_a_restart():
    def spec(host: str) -> Any:
        return load(CONFIG % f"{{collector: {{host: {host}}}}}", "file.yaml").config.spec

    assert fixed_fields_changed(spec("192.0.2.1"), spec("192.0.2.2")) == ["spec.hep"]
    assert fixed_fields_changed(spec("192.0.2.1"), spec("192.0.2.1")) == []
