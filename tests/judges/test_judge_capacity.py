"""What a call uses, when there is no more of it, and where calls go then: limits, spill, emergencies, rates, orders.

The nodes are played by the tests, so that each call stands as long as it should. One node has a simulated Event Socket,
since only that tells of its restarts.
"""

import contextlib
import json
import os
import subprocess

import pytest

from tests.stand import sipp
from tests.stand.agent import Agent, ack_of_failure, cancel_of, first_of, request
from tests.stand.balancer import Layout
from tests.stand.nodes import Node as Simulated
from tests.stand.nodes import simulated
from tests.stand.process import ask as http
from tests.stand.process import command, until
from tests.stand.scripted import establish, group, scripted

LAYOUT = Layout(address="127.0.0.122", http=18222)
TARGET = (LAYOUT.address, LAYOUT.sip)
CLOSED = (LAYOUT.address, 5065)
NODE = "127.0.0.123"
CALLER = "127.0.0.110"
REPORTING = Simulated("reborn", 32, {"max-sessions": 100, "sessions-per-second": 100}, net=1)
GROUPS = {
    "seats": [(NODE, 5900)],
    "spilling": [(NODE, 5901)],
    "spare": [(NODE, 5902)],
    "reborn": [(NODE, 5903)],
    "urgent": [(NODE, 5904)],
    "waiting": [(NODE, 5905)],
    "hasty": [(NODE, 5906)],
    "hashed": [(NODE, 5910 + number) for number in range(4)],
    "ordered": [(NODE, 5920 + number) for number in range(3)],
    "failing": [(NODE, 5930 + number) for number in range(2)],
    "probed": [(NODE, 5935)],
    "stateless": [(NODE, 5940 + number) for number in range(3)],
}


def seats(name, limit, **capacity):
    """A group whose calls take a seat of a conference."""
    return {
        "match": {"rules": [{"requestUri": {"userPattern": f"^{name}-"}, "resources": ["conf"]}]},
        "capacity": {"resources": [{"name": "conf", "limit": limit}], **capacity},
    }


DIFFERENT = {
    "seats": seats("seats", 2),
    "spilling": seats("spilling", 1, overLimit={"action": "Spill", "group": "spare"}),
    "reborn": seats("reborn", 1),
    "urgent": {
        "match": {
            "priority": 1,
            "rules": [
                {"requestUri": {"user": "urgent-112"}, "emergency": True},
                {"requestUri": {"userPattern": "^urgent-"}},
            ],
        },
        "capacity": {"maxSessions": 4, "headroom": 0, "emergencyReserve": 1},
    },
    "waiting": {"capacity": {"queue": {"maxWait": "3s"}}},
    "hasty": {"capacity": {"queue": {"maxWait": "0s"}}},
    "failing": {"health": {"options": None, "ejection": {"failures": 2, "duration": "1s"}, "panicThreshold": 0}},
    "probed": {
        "health": {
            "options": {"interval": "1s", "timeout": "100ms", "failures": 1, "successes": 1},
            "panicThreshold": 0,
        }
    },
}
ROUTING = {
    "hashed": {"algorithm": "Hash", "hashOn": {"type": "From", "userOnly": True}},
    "ordered": {"algorithm": "First"},
    "stateless": {"mode": "Stateless", "algorithm": "Hash", "hashOn": {"type": "CallID"}},
}


def document(name):
    made = group(name, GROUPS[name], **DIFFERENT.get(name, {}))
    made.spec["routing"].update(ROUTING.get(name, {}))
    if name == "stateless":
        del made.spec["routing"]["failover"]
    if name == "ordered":
        for number, member in enumerate(made.spec["members"]["static"]):
            member["priority"] = 10 - number
    if name == "reborn":
        made.spec["members"]["static"][0]["load"] = f"fs://:ClueCon@{REPORTING.address}"
    return made


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capacity")
    listeners = [
        {"name": "public", "address": LAYOUT.address, "port": LAYOUT.sip},
        {"name": "closed", "address": LAYOUT.address, "port": CLOSED[1], "allow": ["192.0.2.0/24"]},
    ]
    documents = [document(name) for name in GROUPS]
    with (
        simulated([REPORTING], folder, "--heartbeat-interval", "1", "--boot-time", "0.3") as reporting,
        scripted(folder, LAYOUT, GROUPS, documents, listeners=listeners) as running,
    ):
        until(lambda: running.balancer.states()["reborn-0"] == "ready", "a node that reports")
        running.reporting = reporting
        yield running
        sipp.end_all()


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


@pytest.fixture
def ask(stand, tmp_path):
    """Ask the running balancer on the command line."""

    def run(*arguments, message=None):
        if message is not None:
            (file := tmp_path / "message.sip").write_bytes(message)
            arguments = (*arguments, str(file))
        done = subprocess.run(
            [command("switchtender"), *arguments, "--url", stand.balancer.layout.url, "-o", "json"],
            env={**os.environ, "SWITCHTENDER_TOKEN_FILE": str(stand.balancer.token_file)},
            capture_output=True,
            check=False,
            text=True,
            timeout=20,
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def explain(stand):
    """Where the running balancer says that a call with this message would go."""
    return lambda message: http(f"{stand.balancer.layout.url}/api/v1/explain", "POST", {"message": message.decode()})


def refused(caller, uri, code=503):
    sent = caller.send(request("INVITE", uri, caller), TARGET)
    answer = caller.receive()
    if answer.status == 100:
        answer = caller.receive()
    assert answer.status == code, answer.text
    caller.send(ack_of_failure(sent, answer), TARGET)
    return answer


def in_use(stand, node):
    return stand.balancer.nodes()[node]["resources"]["conf"]["inUse"]


def hang_up(call):
    call.up.send("BYE")
    call.node.reply(call.node.expect("BYE"), 200, "OK")
    call.caller.expect(200)


def node_hangs_up(call):
    call.down.send("BYE")
    call.caller.reply(call.caller.expect("BYE"), 200, "OK")
    call.node.expect(200)


def ringing(caller, node):
    sent = caller.send(request("INVITE", node.uri, caller), TARGET)
    caller.expect(100)
    offered = node.expect("INVITE")
    node.reply(offered, 180, "Ringing", tag="n")
    caller.expect(180)
    return sent, offered


def test_a_limit_is_kept_and_whatever_ends_a_call_gives_its_place_back(stand, caller):
    with stand.nodes("seats") as [node]:
        first, second = (establish(stand, caller, [node]) for _ in range(2))
        assert in_use(stand, "seats-0") == 2
        assert int(refused(caller, node.uri)["Retry-After"]) > 0
        hang_up(first)
        third = establish(stand, caller, [node])
        refused(caller, node.uri)
        node_hangs_up(second)

        sent, offered = ringing(caller, node)
        refused(caller, node.uri)
        caller.send(cancel_of(sent), TARGET)
        caller.expect(200)
        node.reply(node.expect("CANCEL"), 200, "OK", tag="n")
        node.reply(offered, 487, "Request Terminated", tag="n")
        node.expect("ACK")
        caller.send(ack_of_failure(sent, caller.expect(487)), TARGET)

        sent, offered = ringing(caller, node)
        refused(caller, node.uri)
        node.reply(offered, 486, "Busy Here", tag="n")
        node.expect("ACK")
        caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)

        assert in_use(stand, "seats-0") == 1
        hang_up(third)
        assert in_use(stand, "seats-0") == 0
        node.nothing()


def test_a_node_that_was_restarted_has_all_of_its_places(stand, caller):
    with stand.nodes("reborn") as [node]:
        establish(stand, caller, [node])
        refused(caller, node.uri)
        process = until(lambda: stand.balancer.nodes()["reborn-0"]["coreUUID"], "the identity of the node's process")
        stand.reporting.do("reborn", "crash")
        stand.reporting.do("reborn", "start?wait=1")
        until(lambda: stand.balancer.nodes()["reborn-0"]["coreUUID"] != process, "another process")
        assert in_use(stand, "reborn-0") == 0
        hang_up(establish(stand, caller, [node]))
        assert in_use(stand, "reborn-0") == 0


def test_what_does_not_fit_spills_into_the_other_group(stand, caller, ask):
    with stand.nodes("spilling") as [node], stand.nodes("spare") as [spare]:
        first = establish(stand, caller, [node])
        message = request("INVITE", node.uri, caller)
        assert ask("explain", message=message)["choice"]["name"] == "spare-0"
        spilled = establish(stand, caller, [node, spare], invite=message)
        assert spilled.node is spare
        hang_up(first)
        again = establish(stand, caller, [node, spare])
        assert again.node is node
        hang_up(again)
        hang_up(spilled)


def test_an_emergency_call_finds_room_when_no_other_does(stand, caller):
    with stand.nodes("urgent") as [node]:
        calls = [establish(stand, caller, [node]) for _ in range(4)]
        refused(caller, node.uri)
        calls.append(establish(stand, caller, [node], invite=request("INVITE", "sip:urgent-112@example.com", caller)))
        for call in calls:
            hang_up(call)


@pytest.mark.usefixtures("sipp_installed")
@pytest.mark.parametrize("name", ["waiting", "hasty"])
def test_a_burst_waits_for_the_next_second_where_it_may(stand, folder, name):
    """A node without reports takes 30 calls a second at most; 40 come within half a second."""
    node = sipp.answer("answer", *GROUPS[name][0], folder, calls=40)
    caller = sipp.start(
        "call-or-refused", f"{TARGET[0]}:{TARGET[1]}", folder, calls=40, rate=80, pause_ms=10, service=f"{name}-1"
    ).result(8)
    assert (caller.successful, caller.failed) == (40, 0), caller.output
    taken = node.stop()
    assert taken.failed == 0
    assert taken.successful == 40 if name == "waiting" else 20 < taken.successful < 40


def test_explain_tells_where_a_pasted_call_goes(stand, caller, explain):
    with stand.nodes("hashed") as nodes:
        chosen = set()
        for number in range(12):
            message = request("INVITE", nodes[0].uri, caller).replace(b"sip:alice@", b"sip:user%d@" % number)
            answer = explain(message)
            assert (answer["group"]["name"], answer["algorithm"]) == ("hashed", "Hash")
            caller.send(message, TARGET)
            caller.expect(100)
            node, offered = first_of(nodes)
            assert f"hashed-{nodes.index(node)}" == answer["choice"]["name"]
            chosen.add(node)
            node.reply(offered, 486, "Busy Here", tag="n")
            node.expect("ACK")
            caller.send(ack_of_failure(message, caller.expect(486)), TARGET)
        assert len(chosen) > 1


def test_orders_on_the_command_line_move_calls(stand, caller, ask):
    with stand.nodes("ordered") as nodes:

        def goes_to(number):
            call = establish(stand, caller, nodes)
            assert call.node is nodes[number]
            return call

        standing = goes_to(0)
        ask("drain", "ordered-0")
        hang_up(goes_to(1))
        ask("disable", "ordered-1")
        hang_up(goes_to(2))
        hang_up(standing)
        for node, verb in (("ordered-0", "undrain"), ("ordered-1", "enable")):
            stand.balancer.order(node, verb)
        hang_up(goes_to(0))


def test_a_listener_for_others_refuses(stand, caller):
    with stand.nodes("seats") as [node]:
        sent = caller.send(request("INVITE", node.uri, caller), CLOSED)
        answer = caller.expect(403)
        caller.send(ack_of_failure(sent, answer), CLOSED)
        node.nothing()


def test_a_node_that_nobody_answers_at_is_ejected_and_comes_back(stand, caller):
    with stand.nodes("failing") as (dead, alive):
        dead.close()
        for _ in range(6):
            hang_up(establish(stand, caller, [alive]))
        shown = stand.balancer.nodes()["failing-0"]
        assert shown["verdict"] == "Ejected", shown
    with stand.nodes("failing") as nodes:
        until(lambda: stand.balancer.nodes()["failing-0"]["verdict"] != "Ejected", "a node that has sat out its time")
        calls = [establish(stand, caller, nodes) for _ in range(4)]
        assert {call.node for call in calls} == set(nodes)
        for call in calls:
            hang_up(call)


def test_a_node_that_answers_no_options_gets_no_calls_until_it_does(stand, caller):
    """It has no Event Socket: what SIP says is all there is to know of it."""

    def becomes(state):
        until(lambda: stand.balancer.states()["probed-0"] == state, f"a node that is {state}")

    with stand.nodes("probed") as [node]:
        becomes("down")
        refused(caller, node.uri)
        node.drain()
        node.reply(node.expect("OPTIONS"), 200, "OK", tag="n")
        becomes("ready")
        sent = caller.send(request("INVITE", node.uri, caller), TARGET)
        caller.expect(100)
        node.reply(node.next("INVITE"), 486, "Busy Here", tag="n")
        caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)


@pytest.mark.usefixtures("sipp_installed")
def test_calls_without_state(stand, folder):
    places = GROUPS["stateless"]
    nodes = [sipp.answer("answer", *place, folder, calls=1000) for place in places]
    result = sipp.start(
        "call", f"{TARGET[0]}:{TARGET[1]}", folder, calls=60, rate=60, pause_ms=10, service="stateless-1"
    ).result(8)
    assert (result.successful, result.failed, result.unexpected) == (60, 0, 0), result.output
    counted = [node.stop() for node in nodes]
    assert sum(node.successful for node in counted) == 60
    assert all(node.successful and not node.failed for node in counted)


def test_what_comes_again_goes_to_the_same_node_without_state(stand):
    with stand.nodes("stateless") as nodes, contextlib.ExitStack() as stack:
        sources = [stack.enter_context(Agent(CALLER)) for _ in range(4)]
        sent = request("INVITE", nodes[0].uri, sources[0])
        for source in sources:
            source.send(sent, TARGET)
        node, offered = first_of(nodes)
        again = [node.expect("INVITE") for _ in sources[1:]]
        assert {message.branch for message in again} == {offered.branch}
        sources[2].send(cancel_of(sent), TARGET)
        assert node.expect("CANCEL").branch == offered.branch
        node.reply(offered, 487, "Request Terminated", tag="n")
        sources[0].send(ack_of_failure(sent, sources[0].expect(487)), TARGET)
        assert node.expect("ACK").branch == offered.branch
        for other in nodes:
            other.nothing(0.01)
