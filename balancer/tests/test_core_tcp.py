"""Calls over TCP through the packet core, on real sockets: callers, nodes, or both."""

import json
from typing import Any

import pytest
from core_calls import Call, Message, Peer, eventually, running, settings, stats
from core_streams import Stream, StreamNode, stream_node

from switchtender._core import Core

MANY = 24
"""Connections until both of two workers surely have some: one chance in 2^23 that they don't."""


def tcp_settings(**tcp: int) -> dict[str, Any]:
    """One listener for both transports."""
    base = settings()
    (listener,) = base["listeners"]
    return {**base, "listeners": [{**listener, "transports": ["UDP", "TCP"]}], "tcp": {**base["tcp"], **tcp}}


def listener_of(core: Core) -> tuple[str, int]:
    (listener,) = json.loads(core.addresses())["listeners"]
    return listener["address"], listener["port"]


def node_side_of(core: Core) -> tuple[str, int]:
    side = json.loads(core.addresses())["node_side"]
    return side["address"], side["port"]


def counter(core: Core, name: str, *labels: str) -> float:
    return stats(core)[f"{name}_total", *labels]


def take(node: Peer, call: Call) -> Message:
    """The node takes the call; the INVITE as it came there."""
    call.invite()
    invite = node.receive()
    assert invite.method == "INVITE"
    node.answer(invite, "200 OK")
    call.answered(call.caller.expect(200))
    assert node.receive().method == "ACK"
    return invite


def bye_from(node: Peer, core: Core, call: Call, invite: Message) -> None:
    node.send(
        node_side_of(core),
        f"BYE {invite.get('Contact').strip('<>')} SIP/2.0",
        f"Via: SIP/2.0/{node.transport} {node.endpoint};branch=z9hG4bK{call.call_id}bye;rport",
        "Max-Forwards: 70",
        *(f"Route: {route}" for route in invite.all("Record-Route")),
        f"From: {call.remote}",
        f"To: {invite.get('From')}",
        f"Call-ID: {call.call_id}",
        "CSeq: 1 BYE",
    )


def test_a_caller_over_tcp_reaches_a_node_over_udp_and_back():
    with (
        Peer("127.0.0.2") as node,
        running(("fs1", node.endpoint), core_settings=tcp_settings()) as core,
        Stream.connect(listener_of(core)) as caller,
    ):
        call = Call(caller, core)
        invite = take(node, call)
        assert [via.split()[0] for via in invite.all("Via")] == ["SIP/2.0/UDP", "SIP/2.0/TCP"]
        bye_from(node, core, call, invite)
        bye = caller.receive()
        assert bye.method == "BYE"
        assert bye.all("Via")[0].startswith("SIP/2.0/TCP")
        caller.answer(bye, "200 OK")
        assert node.expect(200).get("CSeq") == "1 BYE"

        second = Call(caller, core)
        take(node, second)
        second.bye()
        bye = node.receive()
        node.answer(bye, "200 OK")
        caller.expect(200)
        eventually(lambda: counter(core, "tcp_connections_accepted"), 1)
        assert counter(core, "tcp_connections_opened") == 0


def tcp_node(core_node: StreamNode) -> tuple[str, str, str]:
    return ("fs1", core_node.endpoint, "TCP")


@pytest.mark.parametrize("caller_transport", ["UDP", "TCP"])
def test_a_node_over_tcp_is_reached_over_one_connection(caller_transport):
    with stream_node() as node, running(tcp_node(node), core_settings=tcp_settings()) as core:
        caller = Peer() if caller_transport == "UDP" else Stream.connect(listener_of(core))
        with caller:
            call = Call(caller, core)
            call.invite()
            with node.accept() as connection:
                assert connection.remote[0] == "127.0.0.1"
                invite = connection.receive()
                transports = [via.split()[0] for via in invite.all("Via")]
                assert transports == ["SIP/2.0/TCP", f"SIP/2.0/{caller_transport}"]
                connection.answer(invite, "200 OK")
                call.answered(caller.expect(200))
                assert connection.receive().method == "ACK"

                second = Call(caller, core)
                second_invite = take(connection, second)
                bye_from(connection, core, second, second_invite)
                bye = caller.receive()
                caller.answer(bye, "200 OK")
                assert connection.expect(200).get("CSeq") == "1 BYE"
                call.bye()
                bye = connection.receive()
                connection.answer(bye, "200 OK")
                caller.expect(200)
            eventually(lambda: counter(core, "tcp_connections_opened"), 1)


def test_a_node_that_cannot_be_connected_to_is_passed_over():
    with stream_node() as gone, Peer("127.0.0.3") as node, Peer() as caller:
        gone.listening.close()
        with running(
            tcp_node(gone), ("fs2", node.endpoint), core_settings=tcp_settings(), algorithm="RoundRobin"
        ) as core:
            for _ in range(2):
                take(node, Call(caller, core))
            eventually(lambda: counter(core, "failovers", "transport", "ivr", "voice"), 1)
            assert counter(core, "tcp_connects_failed", "refused") == 1


def test_a_bye_finds_the_callers_connection_whichever_worker_has_it():
    two = {**tcp_settings(), "workers": 2}
    with Peer("127.0.0.2") as node, running(("fs1", node.endpoint), core_settings=two) as core:
        callers = [Stream.connect(listener_of(core)) for _ in range(MANY)]
        for caller in callers:
            with caller:
                call = Call(caller, core)
                invite = take(node, call)
                bye_from(node, core, call, invite)
                bye = caller.receive()
                assert bye.method == "BYE"
                caller.answer(bye, "200 OK")
                node.expect(200)
        # The node's datagrams all come to one worker, the connections are spread over both.
        eventually(lambda: counter(core, "tcp_connections_closed", "peer"), MANY)
        assert counter(core, "messages_not_handed_over") == 0


def test_a_bye_to_a_caller_behind_nat_whose_connection_is_gone_is_answered_430():
    behind_nat = tcp_settings()
    behind_nat["listeners"][0]["nat"] = True
    with Peer("127.0.0.2") as node, running(("fs1", node.endpoint), core_settings=behind_nat) as core:
        with Stream.connect(listener_of(core)) as caller:
            call = Call(caller, core)
            invite = take(node, call)
        eventually(lambda: counter(core, "tcp_connections_closed", "peer"), 1)
        bye_from(node, core, call, invite)
        node.expect(430)


def test_a_caller_that_can_be_reached_gets_its_bye_over_a_new_connection():
    with (
        Peer("127.0.0.2") as node,
        running(("fs1", node.endpoint), core_settings=tcp_settings()) as core,
        stream_node("127.0.0.1") as listening,
    ):
        with Stream.connect(listener_of(core)) as caller:
            # Its Contact leads to where it listens.
            caller.listens_at = listening.endpoint
            call = Call(caller, core)
            invite = take(node, call)
        eventually(lambda: counter(core, "tcp_connections_closed", "peer"), 1)
        bye_from(node, core, call, invite)
        with listening.accept() as again:
            bye = again.receive()
            assert bye.start == f"BYE sip:caller@{listening.endpoint};transport=tcp SIP/2.0"
            again.answer(bye, "200 OK")
            node.expect(200)


def test_a_ping_is_answered_and_what_is_no_sip_is_not():
    with running(core_settings=tcp_settings()) as core:
        with Stream.connect(listener_of(core)) as caller:
            caller.socket.sendall(b"\r\n\r\n")
            assert caller.socket.recv(16) == b"\r\n"
            call = Call(caller, core)
            call.request("OPTIONS", 1, f"sip:{call.to[0]}:{call.to[1]}")
            caller.expect(200)
            caller.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert caller.is_closed()
        eventually(lambda: counter(core, "tcp_framing_errors"), 1)


def test_a_message_without_a_length_is_answered_400_and_the_connection_closed():
    with running(core_settings=tcp_settings()) as core, Stream.connect(listener_of(core)) as caller:
        lines = [
            "OPTIONS sip:a@example.com SIP/2.0",
            f"Via: SIP/2.0/TCP {caller.endpoint};branch=z9hG4bKnone",
            "Max-Forwards: 70",
            "From: <sip:a@example.com>;tag=1",
            "To: <sip:a@example.com>",
            "Call-ID: none@test",
            "CSeq: 1 OPTIONS",
        ]
        caller.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        caller.expect(400)
        assert caller.is_closed()


def test_only_nodes_connect_to_the_node_side_and_to_workers_ports():
    with Peer("127.0.0.2") as node, running(("fs1", node.endpoint), core_settings=tcp_settings()) as core:
        ports = json.loads(core.addresses())
        for place in (ports["node_side"], ports["worker_ports"][0]):
            to = (place["address"], place["port"])
            with Stream.connect(to) as stranger:
                assert stranger.is_closed()
            with Stream.connect(to, node.host) as known:
                known.socket.sendall(b"\r\n\r\n")
                assert known.socket.recv(16) == b"\r\n"
        eventually(lambda: counter(core, "tcp_connections_refused", "not_a_node"), 2)


def test_more_connections_than_are_allowed_are_closed_at_once():
    few = tcp_settings(max_connections=3, max_per_source=2)
    with running(core_settings=few) as core:
        to = listener_of(core)
        with Stream.connect(to), Stream.connect(to), Stream.connect(to) as third:
            assert third.is_closed()
            with Stream.connect(to, "127.0.0.8"), Stream.connect(to, "127.0.0.9") as fifth:
                assert fifth.is_closed()
        eventually(lambda: counter(core, "tcp_connections_refused", "source_limit"), 1)
        eventually(lambda: counter(core, "tcp_connections_refused", "limit"), 1)


def test_both_families_are_served_at_an_ipv6_wildcard():
    both = tcp_settings()
    both["listeners"][0]["address"] = "::"
    with Peer("127.0.0.2") as node, running(("fs1", node.endpoint), core_settings=both) as core:
        _, port = listener_of(core)
        for address in ("127.0.0.1", "::1"):
            with Stream.connect((address, port), address) as caller:
                call = Call(caller, core)
                invite = take(node, call)
                assert f"{address}]" in invite.all("Via")[1] or f"{address}:" in invite.all("Via")[1]
                assert "::ffff" not in str(invite.headers)
            with Peer(address) as caller:
                call = Call(caller, core)
                call.to = (address, port)
                invite = take(node, call)
                assert "::ffff" not in str(invite.headers)
