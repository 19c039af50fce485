"""Connections that come and go: calls outlive them, and what comes over another one finds its transaction.

Three workers stand behind the address. The kernel gives each connection to one of them, so a message that comes over
another connection comes to another worker as often as not.
"""

import contextlib
import random
import select
import socket

import pytest

from tests.stand.agent import Agent, Dialog, ack_of_failure, cancel_of, request
from tests.stand.balancer import Layout
from tests.stand.scripted import group, scripted
from tests.stand.stream import Stream

LAYOUT = Layout(address="127.0.0.126", http=18224, workers=3)
TARGET = (LAYOUT.address, LAYOUT.sip)
NODE = "127.0.0.125"
CALLER = "127.0.0.110"
GROUPS = {f"plain{number}": [(NODE, 6500 + number)] for number in range(8)}
BOTH = {"address": LAYOUT.address, "port": LAYOUT.sip, "transports": ["UDP", "TCP"]}
CONNECTIONS = 8


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    with scripted(tmp_path_factory.mktemp("streams"), LAYOUT, GROUPS, groups, listeners=[BOTH]) as running:
        yield running
        assert running.metric("switchtender_worker_panics_total") == 0


_names = iter(GROUPS)


@pytest.fixture
def node(stand):
    with stand.nodes(next(_names)) as [agent]:
        yield agent


@pytest.fixture
def connections():
    """One client, many connections."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Stream.connect(TARGET, CALLER)) for _ in range(CONNECTIONS)]


def ringing(caller, node, **parts):
    sent = caller.send(request("INVITE", node.uri, caller, via=caller.via(), **parts))
    caller.expect(100)
    offered = node.expect("INVITE")
    node.reply(offered, 180, "Ringing", tag="n")
    caller.expect(180)
    return sent, offered


def answered(caller, node, **parts):
    _, offered = ringing(caller, node, **parts)
    node.reply(offered, 200, "OK", tag="n")
    up = Dialog.of_caller(caller, caller.expect(200))
    up.first_hop = TARGET
    up.send("ACK")
    node.expect("ACK")
    return up, Dialog.of_node(node, offered, "n")


def test_an_invite_over_other_connections_is_no_other_call(node, connections):
    """RFC 3261 §17.2.3 knows no connections."""
    sent, offered = ringing(connections[0], node)
    for connection in connections[1:]:
        connection.send(sent)
    connections[-1].send(request("OPTIONS", f"sip:{TARGET[0]}:{TARGET[1]}", connections[-1], via=connections[-1].via()))
    connections[-1].next(200)
    node.nothing()
    node.reply(offered, 486, "Busy Here", tag="n")
    node.expect("ACK")
    connections[0].send(ack_of_failure(sent, connections[0].next(486)))


def test_a_cancel_over_another_connection_finds_its_invite(node, connections):
    for other in connections[1:]:
        sent, offered = ringing(connections[0], node)
        other.send(cancel_of(sent))
        assert other.expect(200)["CSeq"] == "1 CANCEL"
        node.reply(node.expect("CANCEL"), 200, "OK", tag="n")
        node.reply(offered, 487, "Request Terminated", tag="n")
        node.expect("ACK")
        other.send(ack_of_failure(sent, connections[0].expect(487)))


def test_a_call_goes_on_over_another_connection_when_its_own_is_lost(node, connections):
    up, _ = answered(connections[0], node)
    connections[0].reset()
    for number, other in enumerate(connections[1:], start=2):
        up.agent = other
        other.send(up.request("INFO", cseq=number))
        node.reply(node.expect("INFO"), 200, "OK")
        other.expect(200)
    other.send(up.request("BYE", cseq=100))
    node.reply(node.expect("BYE"), 200, "OK")
    other.expect(200)


def test_an_answer_finds_the_caller_that_listens_when_the_connection_is_lost(node):
    """RFC 3261 §18.2.2: over a new connection to the source address at the port of sent-by."""
    with socket.create_server((CALLER, 0)) as listening, Stream.connect(TARGET, CALLER) as first:
        listening.settimeout(3)
        port = listening.getsockname()[1]
        via = f"SIP/2.0/TCP {CALLER}:{port};branch=z9hG4bKlost{port}"
        first.send(request("INVITE", node.uri, first, via=via, contact=f"<sip:a@{CALLER}:{port};transport=tcp>"))
        first.expect(100)
        offered = node.expect("INVITE")
        first.reset()
        node.reply(offered, 200, "OK", tag="n")
        with Stream(listening.accept()[0]) as second:
            up = Dialog.of_caller(second, second.expect(200))
            second.send(up.request("ACK"))
            node.expect("ACK")
            down = Dialog.of_node(node, offered, "n")
            down.send("BYE")
            # Each worker has connections of its own, and any of them may have got the BYE.
            if second in select.select([second, listening], [], [], 3)[0]:
                second.reply(second.expect("BYE"), 200, "OK")
            else:
                with Stream(listening.accept()[0]) as third:
                    third.reply(third.expect("BYE"), 200, "OK")
            node.expect(200)


def test_noise_ends_its_own_connection_and_nothing_else(stand, node, connections):
    chance = random.Random(5060)
    noise = [
        chance.randbytes(3000),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),
        b"INVITE sip:a@b SIP/2.0\r\n" + b"X: " + b"y" * 200_000,
        request("INVITE", node.uri, connections[0]).replace(b"Content-Length: 0", b"Content-Length: 4294967297"),
        request("INVITE", node.uri, connections[0]).replace(b"Content-Length: 0", b"Content-Length: -1"),
    ]
    for words in noise:
        with Stream.connect(TARGET, CALLER) as noisy:
            with contextlib.suppress(ConnectionError):
                noisy.send(words)
            assert noisy.ended(), words[:60]
    up, _ = answered(connections[0], node)
    up.send("BYE")
    node.reply(node.next("BYE"), 200, "OK")
    connections[0].expect(200)
    node.nothing()
    with Agent(CALLER) as other:
        stand.alive(other)
