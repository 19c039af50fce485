"""The packet core on real sockets: calls through it to nodes that the tests play."""

import json
import select

import pytest
from core_calls import (
    WAIT,
    Call,
    Peer,
    eventually,
    gauge,
    histogram,
    open_node,
    peers,
    running,
    settings,
    snapshot,
    stats,
)

from switchtender._core import Core

MANY = 24
"""Source ports until both of two workers surely get some: one chance in 2^23 that they don't."""


def node_entry(core: Core, uid: str) -> dict:
    (entry,) = [entry for entry in json.loads(core.nodes())["nodes"] if entry["uid"] == uid]
    return entry


def establish(core: Core, caller: Peer, node: Peer) -> Call:
    call = Call(caller, core)
    call.invite()
    invite = node.receive()
    assert invite.method == "INVITE"
    node.answer(invite, "200 OK")
    call.answered(caller.expect(200))
    assert node.receive().method == "ACK"
    return call


def test_a_call_from_invite_to_bye_is_forwarded_and_counted():
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint)) as core:
        call = Call(caller, core)
        call.invite()
        assert caller.expect(100, passing=()).get("Call-ID") == call.call_id
        invite = node.receive()
        ports = json.loads(core.addresses())
        assert invite.start == "INVITE sip:100@example.com SIP/2.0"
        assert invite.source == ("127.0.0.1", ports["worker_ports"][0]["port"]), "from the worker's own port"
        assert len(invite.all("Via")) == 2
        assert f"127.0.0.1:{ports['worker_ports'][0]['port']}" in invite.all("Via")[0]
        assert len(invite.all("Record-Route")) == 2
        assert f"127.0.0.1:{ports['node_side']['port']}" in invite.all("Record-Route")[0]
        assert node_entry(core, "fs1")["in_flight"] == 1

        node.answer(invite, "180 Ringing")
        ringing = caller.expect(180)
        assert len(ringing.all("Via")) == 1
        node.answer(invite, "200 OK")
        call.answered(caller.expect(200))
        ack = node.receive()
        assert ack.method == "ACK"

        call.bye()
        bye = node.receive()
        assert bye.method == "BYE"
        assert node_entry(core, "fs1")["ended"] == 0
        node.answer(bye, "200 OK")
        caller.expect(200)
        entry = node_entry(core, "fs1")
        assert (entry["assigned"], entry["ended"], entry["in_flight"]) == (1, 1, 0)
        eventually(lambda: stats(core)["calls_total", "ivr", "voice", "answered"], 1)
        ivr = {"namespace": "voice", "group": "ivr"}
        for delay in ("post_dial_delay_seconds", "first_response_seconds"):
            eventually(lambda delay=delay: histogram(core, delay, **ivr)["count"], 1)
            assert 0 < histogram(core, delay, **ivr)["sum"] < 60
        choice = histogram(core, "selection_seconds")
        assert choice["count"] == 1
        assert 0 < choice["sum"] < 1


def test_a_call_is_known_from_its_ringing_to_its_bye():
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint)) as core:
        call = Call(caller, core)
        call.invite()
        invite = node.receive()
        assert gauge(core, "dialogs") == 0
        node.answer(invite, "180 Ringing")
        caller.expect(180)
        assert gauge(core, "dialogs") == 1
        node.answer(invite, "200 OK")
        call.answered(caller.expect(200))
        node.receive()
        assert gauge(core, "dialogs") == 1
        call.bye()
        node.answer(node.receive(), "200 OK")
        caller.expect(200)
        assert gauge(core, "dialogs") == 0


def test_no_more_calls_are_known_at_a_node_than_it_has():
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint)) as core:
        call = Call(caller, core)
        call.invite()
        node.answer(node.receive(), "180 Ringing")
        caller.expect(180)
        open_node(core, "fs1", sessions=1)
        assert gauge(core, "dialogs") == 1
        open_node(core, "fs1", sessions=0)
        assert gauge(core, "dialogs") == 0, "it ended without a BYE through us"


def test_what_a_group_counted_outlasts_another_configuration():
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint)) as core:
        Call(caller, core).invite()
        node.answer(node.receive(), "180 Ringing")
        caller.expect(180)
        ivr = {"namespace": "voice", "group": "ivr"}
        eventually(lambda: histogram(core, "post_dial_delay_seconds", **ivr)["count"], 1)
        core.apply(snapshot(("fs1", node.endpoint), name="conf"))
        assert histogram(core, "post_dial_delay_seconds", namespace="voice", group="conf")["count"] == 0
        core.apply(snapshot(("fs1", node.endpoint)))
        assert histogram(core, "post_dial_delay_seconds", **ivr)["count"] == 1
        assert stats(core)["calls_offered_total", "ivr", "voice"] == 1


def test_a_bye_from_the_node_comes_by_the_node_side():
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint)) as core:
        call = Call(caller, core)
        call.invite()
        invite = node.receive()
        node.answer(invite, "200 OK")
        call.answered(caller.expect(200))
        node.receive()
        side = json.loads(core.addresses())["node_side"]
        node.send(
            (side["address"], side["port"]),
            f"BYE {invite.get('Contact').strip('<>')} SIP/2.0",
            f"Via: SIP/2.0/UDP {node.endpoint};branch=z9hG4bKnode1;rport",
            "Max-Forwards: 70",
            *(f"Route: {route}" for route in invite.all("Record-Route")),
            f"From: {call.remote}",
            f"To: {invite.get('From')}",
            f"Call-ID: {call.call_id}",
            "CSeq: 1 BYE",
        )
        bye = caller.receive()
        assert bye.method == "BYE"
        caller.answer(bye, "200 OK")
        assert node.expect(200).get("CSeq") == "1 BYE"
        eventually(lambda: node_entry(core, "fs1")["ended"], 1)


def test_a_full_pool_answers_503_with_a_retry_after_and_does_not_ask_the_node():
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint)) as core:
        open_node(core, "fs1", sessions=99)
        call = Call(caller, core)
        call.invite()
        refusal = caller.expect(503)
        assert 5 <= int(refusal.get("Retry-After")) <= 15
        assert node.is_silent()
        assert node_entry(core, "fs1")["groups"][0]["verdict"] == "Full"
        eventually(lambda: stats(core)["calls_rejected_total", "full", "ivr", "voice"], 1)

        open_node(core, "fs1", sessions=98)
        establish(core, caller, node)


def test_without_a_group_that_matches_the_answer_is_404():
    rules = [{"request_uri": {"host": "elsewhere.example"}}]
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint), match=rules) as core:
        Call(caller, core).invite()
        caller.expect(404)
        assert node.is_silent()


def test_options_to_ourselves_is_answered():
    with Peer() as caller, running() as core:
        call = Call(caller, core)
        call.request("OPTIONS", 1, f"sip:{call.to[0]}:{call.to[1]}")
        caller.expect(200)


def test_a_malformed_datagram_harms_nobody():
    with Peer() as caller, Peer("127.0.0.2") as node, running(("fs1", node.endpoint)) as core:
        to = Call(caller, core).to
        for junk in (b"", b"\r\n\r\n", b"\0" * 100, b"INVITE sip:x SIP/2.0\r\n\r\n", bytes(range(256)) * 200):
            caller.socket.sendto(junk, to)
        establish(core, caller, node)
        eventually(lambda: stats(core)["worker_panics_total",], 0)


@pytest.mark.parametrize("refusal", ["503 Maximum Calls In Progress", "410 Gone"])
def test_a_refused_call_goes_on_to_the_next_node_and_the_event_tells(refusal):
    with Peer() as caller, Peer("127.0.0.2") as one, Peer("127.0.0.3") as other:
        nodes = {"fs1": one, "fs2": other}
        with running(*((uid, node.endpoint) for uid, node in nodes.items())) as core:
            call = Call(caller, core)
            call.invite()
            ready = select.select([one.socket, other.socket], [], [], WAIT)[0]
            first = one if one.socket in ready else other
            first.answer(first.receive(), refusal, "Retry-After: 300")
            assert first.receive().method == "ACK"
            second = other if first is one else one
            second.answer(second.receive(), "200 OK")
            call.answered(caller.expect(200))

            assert select.select([core.event_fd], [], [], WAIT)[0] == [core.event_fd]
            (event,) = core.events(10)
            kind, _, worker, uid, code, detail = event
            assert (kind, worker, nodes[uid], code) == ("node_refused", 0, first, int(refusal[:3]))
            assert detail
            assert select.select([core.event_fd], [], [], 0)[0] == []
            assert node_entry(core, uid)["cooling"] > 0


def test_icmp_refused_moves_the_call_to_the_next_node():
    with Peer("127.0.0.2") as gone:
        closed = gone.endpoint
    with Peer() as caller, Peer("127.0.0.3") as node:
        members = [{"node": index, "weight": 1.0, "priority": 10 - index, "draining": False} for index in range(2)]
        with running(("gone", closed), ("fs2", node.endpoint), members=members) as core:
            establish(core, caller, node)
            eventually(lambda: stats(core)["failovers_total", "transport", "ivr", "voice"], 1)
            kinds = {(kind, uid) for kind, _, _, uid, _, _ in core.events(10)}
            assert ("node_transport_error", "gone") in kinds


def test_events_come_up_to_the_limit_and_the_rest_stays_announced():
    with Peer("127.0.0.2") as gone:
        closed = gone.endpoint
    with Peer() as caller, running(("gone", closed)) as core:
        Call(caller, core).invite()
        message = caller.receive()
        while message.status == 100:
            message = caller.receive()
        assert message.status >= 400
        eventually(lambda: bool(select.select([core.event_fd], [], [], 0)[0]), expected=True)
        taken = core.events(1)
        assert len(taken) == 1
        assert select.select([core.event_fd], [], [], 0)[0]
        while more := core.events(1):
            taken += more
        assert core.events(100) == []
        assert not select.select([core.event_fd], [], [], 0)[0]
        assert "node_transport_error" in {event[0] for event in taken}


def test_a_wildcard_listener_tells_each_side_the_address_it_is_reached_at():
    """Nothing is advertised: never 0.0.0.0 in a header, but the address the kernel uses towards that peer."""
    wildcard = settings()
    wildcard["listeners"][0]["address"] = "0.0.0.0"
    wildcard["node_side"]["address"] = "0.0.0.0"
    with (
        Peer("127.0.0.5") as caller,
        Peer("127.0.0.2") as node,
        running(("fs1", node.endpoint), core_settings=wildcard) as core,
    ):
        call = Call(caller, core)
        call.to = ("127.0.0.9", call.to[1])
        call.invite()
        trying = caller.expect(100, passing=())
        assert trying.source == call.to, "from the address that was asked"
        invite = node.receive()
        ports = json.loads(core.addresses())
        via, outer, inner = invite.all("Via")[0], invite.all("Record-Route")[0], invite.all("Record-Route")[1]
        assert f" 127.0.0.1:{ports['worker_ports'][0]['port']};" in via
        assert f"@127.0.0.1:{ports['node_side']['port']};" in outer
        assert f":{call.to[1]};" in inner
        assert "0.0.0.0" not in str(invite.headers)
        node.answer(invite, "200 OK")
        answer = caller.expect(200)
        assert answer.source == call.to
        assert "0.0.0.0" not in str(answer.headers)
        call.answered(answer)
        assert node.receive().method == "ACK"


def test_one_listener_for_both_sides_records_one_route():
    with (
        Peer() as caller,
        Peer("127.0.0.2") as node,
        running(("fs1", node.endpoint), core_settings=settings(node_side=None)) as core,
    ):
        call = Call(caller, core)
        call.invite()
        invite = node.receive()
        (route,) = invite.all("Record-Route")
        assert f"@127.0.0.1:{call.to[1]};lr>" in route
        node.answer(invite, "200 OK")
        call.answered(caller.expect(200))
        assert node.receive().method == "ACK"
        call.bye()
        node.answer(node.receive(), "200 OK")
        caller.expect(200)


@pytest.mark.parametrize(("caller_side", "node_side"), [("::1", "::1"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_either_side_may_speak_version_six(caller_side, node_side):
    mixed = settings()
    mixed["listeners"][0]["address"] = caller_side
    mixed["node_side"]["address"] = node_side
    with (
        Peer(caller_side) as caller,
        Peer(node_side) as node,
        running(("fs1", node.endpoint), core_settings=mixed) as core,
    ):
        call = establish(core, caller, node)
        call.bye()
        node.answer(node.receive(), "200 OK")
        caller.expect(200)
        eventually(lambda: node_entry(core, "fs1")["ended"], 1)


def test_calls_of_many_callers_work_whichever_workers_their_packets_reach():
    """Which worker gets a datagram is the kernel's choice by source port; a node's own requests reach any worker."""
    with (
        peers(MANY) as callers,
        Peer("127.0.0.2") as node,
        running(("fs1", node.endpoint), core_settings=settings(workers=2)) as core,
    ):
        for caller in callers:
            call = establish(core, caller, node)
            call.bye()
            bye = node.receive()
            node.answer(bye, "200 OK")
            caller.expect(200)
        eventually(lambda: all(worker["received"] for worker in json.loads(core.stats())["workers"]), expected=True)
        eventually(lambda: node_entry(core, "fs1")["ended"], MANY)


def test_a_retransmission_from_another_port_is_handed_over_and_not_a_new_call():
    """A caller whose NAT changed its port is still the same transaction (RFC 3261 §17.2.3 looks at the Via only)."""
    with (
        peers(MANY) as ports,
        Peer() as caller,
        Peer("127.0.0.2") as node,
        running(("fs1", node.endpoint), core_settings=settings(workers=2)) as core,
    ):
        call = Call(caller, core)
        call.invite()
        caller.expect(100, passing=())
        invite = node.receive()
        for port in ports:
            call.invite(sender=port)
        eventually(lambda: stats(core)["sip_retransmissions_total",], MANY)
        eventually(lambda: stats(core)["datagrams_taken_over_total",] > 0, expected=True)
        assert node.is_silent()
        node.answer(invite, "200 OK")
        call.answered(caller.expect(200))
        assert node.receive().method == "ACK"
        assert node_entry(core, "fs1")["assigned"] == 1
