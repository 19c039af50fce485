"""Probes over real sockets on loopback: UDP, TCP, IPv6, and what a port nobody listens on comes to."""

import asyncio
import contextlib
import socket
from dataclasses import replace

import pytest

from switchtender.drivers.options import prober as prober_module
from switchtender.drivers.options.agenda import Target
from switchtender.drivers.options.prober import Prober


def reply(data, status=b"200 OK"):
    head = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    kept = [line for line in head[1:] if line.lower().startswith((b"via", b"from", b"to", b"call-id", b"cseq"))]
    return b"\r\n".join([b"SIP/2.0 " + status, *kept, b"Content-Length: 0"]) + b"\r\n\r\n"


class Node(asyncio.DatagramProtocol):
    def __init__(self, answers):
        self.answers, self.seen = list(answers), []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.seen.append((data, addr))
        status = self.answers.pop(0) if self.answers else b"200 OK"
        if status is not None:
            self.transport.sendto(reply(data, status), addr)


@contextlib.asynccontextmanager
async def udp_node(*answers, host="127.0.0.61"):
    transport, node = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Node(answers), local_addr=(host, 0)
    )
    try:
        yield node, transport.get_extra_info("sockname")[:2]
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def probing(target, own="127.0.0.60"):
    told = asyncio.Queue()
    prober = Prober(own, lambda uid, probe: told.put_nowait((uid, probe)))
    try:
        prober.set_targets({"n": target})
        yield told, prober
    finally:
        await prober.close()


async def outcome(told):
    async with asyncio.timeout(60):
        return (await told.get())[1]


@pytest.mark.parametrize("own", ["127.0.0.60", "0.0.0.0"])
async def test_over_udp_from_our_own_address(own):
    async with udp_node() as (node, address), probing(Target(address=address, interval=0.02), own) as (told, _):
        probe = await outcome(told)
        assert (probe.answered, probe.status, probe.detail) == (True, 200, "200 OK")
        assert 0 <= probe.round_trip < 5
        data, source = node.seen[0]
        if own != "0.0.0.0":
            assert source[0] == own
        assert f"Via: SIP/2.0/UDP {source[0]}:{source[1]};rport".encode() in data


async def test_a_lost_answer_is_asked_for_again(monkeypatch):
    monkeypatch.setattr("switchtender.drivers.options.agenda._Asked.__init__.__defaults__", (0.02,))
    async with udp_node(None) as (node, address), probing(Target(address=address, interval=0.05)) as (told, _):
        assert (await outcome(told)).answered
        assert node.seen[0][0] == node.seen[1][0]


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_a_port_that_nobody_listens_on_fails(transport):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if transport == "TCP" else socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.61", 0))
        address = closed.getsockname()
    target = Target(address=address, transport=transport, interval=0.02, timeout=0.1)
    async with probing(target) as (told, prober):
        probe = await outcome(told)
        assert (probe.answered, probe.status) == (False, None)
        assert ("refused" in probe.detail) is (transport == "TCP")
    assert prober._connections == set()


async def test_over_ipv6():
    async with udp_node(host="::1") as (node, address), probing(Target(address=address, interval=0.02)) as (told, _):
        assert (await outcome(told)).answered
        assert b"SIP/2.0/UDP [::1]:" in node.seen[0][0]


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        ((b"all",), 200),
        ((b"split",), 200),
        ((b"100",), 503),
        ((b"ping",), 200),
        ((b"close",), None),
        ((b"noise",), None),
    ],
)
async def test_over_tcp_in_whatever_pieces(chunks, status):
    seen = []

    async def serve(reader, writer):
        data = await reader.readuntil(b"\r\n\r\n")
        seen.append((data, writer.get_extra_info("peername")[0]))
        [how] = chunks
        answer = reply(data)
        if how == b"split":
            for index in range(0, len(answer), 50):
                writer.write(answer[index : index + 50])
                await writer.drain()
                await asyncio.sleep(0)
        elif how == b"100":
            writer.write(reply(data, b"100 Trying") + reply(data, b"503 Full"))
        elif how == b"ping":
            writer.write(b"\r\n\r\n" + answer)
        elif how == b"noise":
            writer.write(b"x" * 70_000)
        elif how == b"all":
            writer.write(answer)
        if how != b"close":
            await reader.read()  # until the prober hangs up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.61", 0)
    async with server:
        target = Target(address=server.sockets[0].getsockname(), transport="TCP", interval=0.02, timeout=1.0)
        async with probing(target) as (told, _):
            probe = await outcome(told)
    assert (probe.answered, probe.status) == (status is not None, status)
    assert b"SIP/2.0/TCP 127.0.0.60;" in seen[0][0]
    assert seen[0][1] == "127.0.0.60"


async def test_five_thousand_nodes_share_two_descriptors():
    async with udp_node() as (_, address):
        targets = {str(i): Target(address=address, interval=1.0) for i in range(5000)}
        counted = []
        prober = Prober("127.0.0.60", lambda uid, probe: counted.append(uid))
        prober.set_targets(targets)
        async with asyncio.timeout(60):
            while len(counted) < 200:
                await asyncio.sleep(0.005)
        assert len(prober._udp) == 1
        await prober.close()
        assert prober.open == 0 or prober._udp == {}


async def test_a_way_to_a_node_that_comes_later_is_found(monkeypatch):
    found = prober_module._kernels_choice
    ways = iter([None, None])
    monkeypatch.setattr(prober_module, "_kernels_choice", lambda to: next(ways, found(to)))
    target = Target(address=("127.0.0.61", 0), interval=0.02)
    async with udp_node() as (_, address), probing(replace(target, address=address), "0.0.0.0") as (told, _):
        assert (await outcome(told)).detail == "no way to its address from here"
        assert not (await outcome(told)).answered
        assert (await outcome(told)).answered
