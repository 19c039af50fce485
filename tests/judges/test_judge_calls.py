"""SIPp through the balancer to simulated nodes: calls, hang-ups from both sides, CANCEL, digest, a node killed.

The balancer listens on an address of its own, so that a capture of what that address sends holds its datagrams and
no others.
"""

import time

import pytest

from tests.stand import sipp
from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.capture import captured
from tests.stand.nodes import Node, simulated

pytestmark = pytest.mark.usefixtures("sipp_installed")

ADDRESS = "127.0.0.50"
LAYOUT = Layout(address=ADDRESS, http=18080)
TARGET = f"{ADDRESS}:{LAYOUT.sip}"
PORTS = [(LAYOUT.sip, LAYOUT.sip), (LAYOUT.node_side, LAYOUT.worker_ports[1])]
BIG = {"max-sessions": 2000, "sessions-per-second": 1000}
NODES = [Node(f"fs{number}", 20 + number, BIG) for number in range(1, 5)]
OPTIONS = ("--heartbeat-interval", "1")


@pytest.fixture
def stand(folder):
    """Four roomy nodes and a balancer with two workers in front of them."""
    layout = Layout(address=ADDRESS, http=18080, workers=2)
    write_config(folder / "judge.yaml", layout, [Group("judged", NODES)], folder / "state")
    with simulated(NODES, folder, *OPTIONS) as nodes, serving(folder / "judge.yaml", layout) as balancer:
        yield nodes, balancer


def totals(nodes, counter):
    return sum(node["counters"][counter] for node in nodes.all().values())


def quiet(nodes):
    """Wait until no call stands."""
    deadline = time.monotonic() + 60
    while any(node["live_calls"] for node in nodes.all().values()) and time.monotonic() < deadline:
        time.sleep(0.1)


def flawless(result, calls):
    assert (result.successful, result.failed, result.unexpected) == (calls, 0, 0), result.output


@pytest.mark.slow
@pytest.mark.load
def test_ten_thousand_calls_at_five_hundred_a_second(stand, folder, capture_allowed):
    nodes, balancer = stand
    calls = 10_000
    with captured(ADDRESS, PORTS, folder) as capture:
        flawless(sipp.start("call", TARGET, folder, calls=calls, rate=500).result(120), calls)
    quiet(nodes)

    seen = balancer.nodes()
    counted = {name: node["counters"]["answered"] for name, node in nodes.all().items()}
    assert sum(counted.values()) == calls
    assert {name: seen[name]["assigned"] for name in counted} == counted, "the node's counters and the balancer's"
    assert {name: seen[name]["ended"] for name in counted} == counted
    assert all(not node["counters"]["refused"] for node in nodes.all().values())
    emitted = capture.dissected()
    assert emitted.packets >= 7 * calls, "100, 180, 200, 200 to the caller, INVITE, ACK, BYE to the node"
    assert (emitted.sip, emitted.malformed) == (emitted.packets, 0)


def test_the_node_hangs_up(stand, folder):
    nodes, balancer = stand
    for node in NODES:
        nodes.change(node.name, call_duration=0.4)
    flawless(sipp.start("node-hangs-up", TARGET, folder, calls=1000, rate=200).result(60), 1000)
    assert totals(nodes, "byes_sent") == 1000
    assert totals(nodes, "byes_unanswered") == 0
    assert sum(node["ended"] for node in balancer.nodes().values()) == 1000


def test_cancel_before_the_answer(stand, folder):
    nodes, _ = stand
    flawless(sipp.start("cancel", TARGET, folder, calls=500, rate=100, service="ring").result(60), 500)
    quiet(nodes)
    assert totals(nodes, "cancels") == 500
    assert sum(node["ringing_calls"] for node in nodes.all().values()) == 0


def test_credentials_return_to_the_node_that_challenged(stand, folder):
    nodes, _ = stand
    for node in NODES:
        nodes.change(node.name, auth="alice:secret")
    flawless(sipp.start("digest", TARGET, folder, calls=500, rate=100).result(60), 500)
    assert totals(nodes, "challenged") == 500
    assert totals(nodes, "foreign_credentials") == 0
    assert all(node["counters"]["challenged"] for node in nodes.all().values()), "every node challenged some"


@pytest.mark.slow
def test_a_node_killed_in_mid_run_fails_no_new_call(stand, folder):
    """Calls in set-up fail over; calls that stand are short, so that next to none is cut by the dead node."""
    nodes, balancer = stand
    calls = 3000
    run = sipp.start("set-up", TARGET, folder, calls=calls, rate=200)
    time.sleep(5)
    nodes.do("fs2", "crash")
    flawless(run.result(120), calls)
    assert balancer.states()["fs2"] == "down"
    answered = sum(node["counters"]["answered"] for name, node in nodes.all().items() if name != "fs2")
    assert answered >= calls // 2


def test_four_hundred_eighty_six_and_far_503_are_passed_on_and_not_dialled_twice(stand, folder):
    nodes, _ = stand
    for service, status in (("486", 486), ("503-far", 500)):
        before = totals(nodes, "invites")
        result = sipp.start(f"refused-{status}", TARGET, folder, calls=100, rate=50, service=service).result(30)
        flawless(result, 100)
        assert totals(nodes, "invites") - before == 100, "each dialled once"


@pytest.mark.slow
def test_calls_come_to_their_ends_though_callers_lose_one_datagram_in_ten(stand, folder):
    """Every message of a call is lost sometimes; its repetition is answered, and no call is dialled twice."""
    nodes, _ = stand
    calls = 200
    result = sipp.start("call", TARGET, folder, calls=calls, rate=100, pause_ms=100, lost=10).result(30)
    flawless(result, calls)
    assert result.retransmissions > 0
    assert totals(nodes, "invites") == calls
