"""Nodes that fail calls in a row are left alone for a while, and come back by an answer."""

import json

import pytest
from core_calls import Call, Peer, eventually, open_node, running, snapshot, stats

from switchtender._core import Core

POLICY = {"failures": 2, "duration_ms": 60000, "max_ms": 60000}
QUICK = {
    "attempts": 3,
    "retry_on": {"own_refusal": True, "timeout": True, "transport": True, "codes": []},
    "first_response_timeout_ms": 5000,
    "progress_timeout_ms": 10000,
    "cool_down_ms": [0, 0],
}


def entry(core: Core, uid: str) -> dict:
    return {node["uid"]: node for node in json.loads(core.nodes())["nodes"]}[uid]


def ejecting(*nodes: tuple[str, str], policy: dict | None = POLICY) -> bytes:
    document = json.loads(snapshot(*nodes, algorithm="RoundRobin", failover=QUICK))
    for node in document["nodes"]:
        node["ejection"] = policy
    return json.dumps(document).encode()


def test_a_node_that_nobody_answers_at_is_ejected_and_a_restart_brings_it_back():
    with Peer("127.0.0.2") as gone, Peer("127.0.0.3") as node, Peer() as caller:
        nodes = (("fs1", gone.endpoint), ("fs2", node.endpoint))
        gone.socket.close()
        with running(*nodes) as core:
            core.apply(ejecting(*nodes))
            while not entry(core, "fs1")["ejected_for_ms"]:
                call = Call(caller, core)
                call.invite()
                invite = node.receive()
                assert entry(core, "fs1")["failures"] < POLICY["failures"]
                node.answer(invite, "486 Busy Here")
                caller.expect(486)
                # Its ACK.
                assert node.receive().method == "ACK"
            left = entry(core, "fs1")
            assert 0 < left["ejected_for_ms"] <= 60000
            assert (left["failures"], left["answered_ago"]) == (0, None)
            assert left["groups"][0]["verdict"] == "Ejected"
            assert 0 <= entry(core, "fs2")["answered_ago"] < 10
            eventually(lambda: stats(core)["failovers_total", "transport", "ivr", "voice"], 2)
            told = [event for event in core.events(100) if event[0] == "node_ejected"]
            assert [(event[3], event[5]) for event in told] == [("fs1", "for 60 s after calls that failed in a row")]

            core.restarted("fs1")
            assert entry(core, "fs1")["ejected_for_ms"] == 0


def test_the_only_node_is_never_ejected_from_its_group():
    with Peer("127.0.0.2") as gone, Peer() as caller:
        gone.socket.close()
        with running(("fs1", gone.endpoint)) as core:
            core.apply(ejecting(("fs1", gone.endpoint)))
            for _ in range(3):
                Call(caller, core).invite()
                assert caller.receive().status == 100
                assert caller.receive().status >= 500
            assert entry(core, "fs1")["groups"][0]["verdict"] != "Ejected"


def test_an_unknown_node_cannot_restart():
    with running() as core, pytest.raises(KeyError):
        core.restarted("nobody")


def test_a_score_multiplies_the_weight():
    with running(("fs1", "127.0.0.2:5060")) as core:
        now = core.baseline("fs1", 0)
        core.report(
            "fs1", admission="open", max_sessions=100, score=0.5, idle_cpu=70.0, baseline_assigned=now.assigned_now
        )
        shown = entry(core, "fs1")
        assert (shown["score"], shown["idle_cpu"], shown["groups"][0]["weight_now"]) == (0.5, 70.0, 0.5)
        with pytest.raises(ValueError, match="score is negative"):
            core.report("fs1", admission="open", score=-1.0)
        open_node(core, "fs1")
        assert entry(core, "fs1")["score"] == 1.0
