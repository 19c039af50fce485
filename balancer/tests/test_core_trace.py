"""One call followed by its Call-ID, as the core tells it: what came, what went, and why it went there."""

import json
import select
import time
from typing import Any, NamedTuple

import pytest
from core_calls import WAIT, Call, Peer, eventually, peers, running, settings, snapshot, stats
from core_streams import Stream, stream_node

from switchtender._core import Core


class Entry(NamedTuple):
    trace: int
    time: float
    worker: int
    what: str
    by: str
    local: str
    peer: str
    told: bytes

    @property
    def start(self) -> str:
        """A message's start line, shortened: its status, or its method."""
        words = self.told.decode().split("\r\n")[0].split()
        return words[1] if words[0] == "SIP/2.0" else words[0]

    @property
    def detail(self) -> dict[str, Any]:
        return json.loads(self.told)


def follow(core: Core, trace: int, call_id: str, *, seconds: float = WAIT, per_second: int = 100) -> None:
    core.trace(trace, call_id, until=time.monotonic() + seconds, per_second=per_second)


def told(core: Core) -> list[Entry]:
    """All entries there are; those of a message are there before it leaves."""
    return [Entry(*entry) for entry in core.traced(100)]


def worker_of(core: Core, peer: Peer) -> int:
    """The worker that the kernel gives this peer's datagrams to."""
    probe = Call(peer, core)
    probe.uri = "sip:{}:{}".format(*probe.to)
    follow(core, 98, probe.call_id)
    probe.request("OPTIONS", 1, probe.uri)
    peer.receive()
    received, sent = told(core)
    core.end_trace(98)
    assert (received.what, sent.what, received.peer) == ("received", "sent", peer.endpoint)
    return received.worker


def test_a_call_with_a_failover_is_followed_over_two_workers():
    with peers(2) as nodes, peers(12) as callers:
        by_uid = {f"n{node.port}": node for node in nodes}
        own_settings = settings(workers=2)
        pool = [(uid, node.endpoint) for uid, node in by_uid.items()]
        with running(*pool, core_settings=own_settings) as core:
            workers = [worker_of(core, caller) for caller in callers]
            assert set(workers) == {0, 1}
            caller, other = callers[workers.index(0)], callers[workers.index(1)]
            call = Call(caller, core)
            follow(core, 7, call.call_id)
            call.invite()
            ready, _, _ = select.select([node.socket for node in nodes], [], [], WAIT)
            first = next(node for node in nodes if node.socket in ready)
            second = next(node for node in nodes if node is not first)
            first.answer(first.receive(), "503 Maximum Calls In Progress")
            assert first.receive().method == "ACK"
            invite = second.receive()
            second.answer(invite, "180 Ringing")
            second.answer(invite, "200 OK")
            caller.expect(180)
            call.answered(caller.expect(200))
            second.receive()
            call.request("BYE", 2, call.target, sender=other)
            second.answer(second.receive(), "200 OK")
            other.expect(200)
            entries = told(core)
            eventually(lambda: stats(core)["trace_messages_total",], len(entries) + 2 * len(callers))

            listener = json.loads(core.addresses())["listeners"][0]
            public = f"{listener['address']}:{listener['port']}"
            ports = {
                entry["worker"]: f"{entry['address']}:{entry['port']}"
                for entry in json.loads(core.addresses())["worker_ports"]
            }
            messages = [entry for entry in entries if entry.what in ("received", "sent")]
            assert {(entry.trace, entry.by) for entry in messages} == {(7, "UDP")}

            def way(end: Peer, local: str) -> list[tuple[str, str, int]]:
                chosen = [entry for entry in messages if (entry.peer, entry.local) == (end.endpoint, local)]
                return [(entry.what, entry.start, entry.worker) for entry in chosen]

            assert way(caller, public) == [
                ("received", "INVITE", 0),
                ("sent", "100", 0),
                ("sent", "180", 0),
                ("sent", "200", 0),
                ("received", "ACK", 0),
            ]
            assert way(first, ports[0]) == [("sent", "INVITE", 0), ("received", "503", 0), ("sent", "ACK", 0)]
            assert way(second, ports[0]) == [
                ("sent", "INVITE", 0),
                ("received", "180", 0),
                ("received", "200", 0),
                ("sent", "ACK", 0),
            ]
            assert way(other, public) == [("received", "BYE", 1), ("sent", "200", 1)]
            # RFC 3261 §16.7: an answer comes back over the worker that sent the request.
            assert way(second, ports[1]) == [("sent", "BYE", 1), ("received", "200", 1)]
            assert len(messages) == 16
            (received,) = (entry for entry in messages if entry.start == "INVITE" and entry.what == "received")
            assert f"\r\nCall-ID: {call.call_id}\r\n".encode() in received.told
            assert received.told.endswith(b"\r\n\r\n")

            decisions = [entry for entry in entries if entry not in messages]
            assert [(entry.what, entry.by, by_uid[entry.local]) for entry in decisions] == [
                ("placed", "voice/ivr", first),
                ("failed", "voice/ivr", first),
                ("placed", "voice/ivr", second),
            ]
            assert [entry.peer for entry in decisions] == [first.endpoint, first.endpoint, second.endpoint]
            placed, failed, placed_again = (entry.detail for entry in decisions)
            assert failed == {"cause": "refusal", "attempt": 1, "goes_on": True}
            for attempt, detail in ((1, placed), (2, placed_again)):
                assert (detail["attempt"], detail["algorithm"], detail["candidates"]) == (attempt, "LeastLoad", 2)
                assert (detail["effective"], detail["capacity"], detail["free"]) == (0, 99, 99)
            assert (placed["candidates_eligible"], placed_again["candidates_eligible"]) == (2, 1)


def test_other_calls_are_not_told_and_one_that_stands_is():
    with peers(3) as (caller, other, node), running(("fs1", node.endpoint)) as core:
        standing, stranger = Call(caller, core), Call(other, core)
        # Another one's Call-ID that holds it whole.
        stranger.call_id = f"1{standing.call_id}"
        for call in (standing, stranger):
            call.invite()
            node.answer(node.receive(), "200 OK")
            call.answered(call.caller.expect(200))
            node.receive()
        assert core.traced(100) == []
        follow(core, 1, standing.call_id)
        for call in (standing, stranger):
            call.bye()
            node.answer(node.receive(), "200 OK")
            call.caller.expect(200)
        assert [(entry.what, entry.start) for entry in told(core)] == [
            ("received", "BYE"),
            ("sent", "BYE"),
            ("received", "200"),
            ("sent", "200"),
        ]


def test_over_the_limit_messages_are_left_out_and_counted():
    with peers(2) as (caller, node), running(("fs1", node.endpoint)) as core:
        call = Call(caller, core)
        follow(core, 1, call.call_id, per_second=3)
        for _ in range(20):
            call.request("MESSAGE", 1, call.uri, branch="z9hG4bKsame")
        request = node.receive()
        node.answer(request, "200 OK")
        caller.expect(200)
        # 20 received, one sent on, its answer in and out.
        entries: list[Entry] = []

        def whole() -> int:
            entries.extend(told(core))
            return sum(entry.what in ("received", "sent") for entry in entries) + core.trace_left_out(1)

        eventually(whole, 23)
        left_out = core.end_trace(1)
        assert left_out == core.trace_left_out(1) + left_out > 10, "a second or two of three each"
        assert entries[0].start == "MESSAGE"


def test_a_trace_ends_by_itself_and_when_it_is_told_to():
    with peers(2) as (caller, node), running(("fs1", node.endpoint)) as core:
        over, ended = Call(caller, core), Call(caller, core)
        follow(core, 1, over.call_id, seconds=-0.001)
        follow(core, 2, ended.call_id)
        assert core.end_trace(2) == 0
        for call in (over, ended):
            call.request("MESSAGE", 1, call.uri)
            node.answer(node.receive(), "200 OK")
            caller.expect(200)
        assert told(core) == []


def test_a_call_that_no_node_can_take_says_why():
    with peers(2) as (caller, node):
        core = Core(json.dumps(settings()).encode())
        core.apply(snapshot(("fs1", node.endpoint)))
        core.start()
        try:
            call = Call(caller, core)
            follow(core, 1, call.call_id)
            call.invite()
            caller.expect(503)
            received, refused, sent = told(core)
        finally:
            core.stop(0)
            core.join()
    assert (received.start, sent.start) == ("INVITE", "503")
    assert (refused.what, refused.by, refused.local, refused.peer) == ("refused", "voice/ivr", "", "")
    assert refused.detail == {"reason": "NotReady"}


def test_connections_show_both_of_their_ends():
    own_settings = settings()
    own_settings["listeners"][0]["transports"] = ["UDP", "TCP"]
    with stream_node() as node, running(("fs1", node.endpoint, "TCP"), core_settings=own_settings) as core:
        listener = json.loads(core.addresses())["listeners"][0]
        caller = Stream.connect((listener["address"], listener["port"]))
        with caller.socket:
            call = Call(caller, core)
            follow(core, 1, call.call_id)
            call.request("MESSAGE", 1, call.uri)
            carrier = node.accept()
            with carrier.socket:
                carrier.answer(carrier.receive(), "200 OK")
                caller.expect(200)
                entries = [entry for entry in told(core) if entry.what != "placed"]
            public = f"{listener['address']}:{listener['port']}"
            ours = "{}:{}".format(*carrier.remote)
    assert {entry.by for entry in entries} == {"TCP"}
    assert [(entry.what, entry.start, entry.local, entry.peer) for entry in entries] == [
        ("received", "MESSAGE", public, caller.endpoint),
        ("sent", "MESSAGE", ours, node.endpoint),
        ("received", "200", ours, node.endpoint),
        ("sent", "200", public, caller.endpoint),
    ]


def test_there_is_room_for_eight_and_mistakes_are_told():
    core = Core(json.dumps(settings()).encode())
    for trace in range(8):
        follow(core, trace, "same@test")
    with pytest.raises(ValueError, match="8 calls are traced already"):
        follow(core, 8, "same@test")
    core.end_trace(3)
    follow(core, 8, "same@test")
    with pytest.raises(ValueError, match="id stands already"):
        follow(core, 8, "same@test")
    core.end_trace(8)
    for call_id, per_second, seconds, match in (
        ("", 1, 1.0, "Call-ID"),
        ("x" * 1025, 1, 1.0, "Call-ID"),
        ("x", 0, 1.0, "messages per second"),
        ("x", 1, float("inf"), "duration"),
    ):
        with pytest.raises(ValueError, match=match):
            follow(core, 8, call_id, per_second=per_second, seconds=seconds)
