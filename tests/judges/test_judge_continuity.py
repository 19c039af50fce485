"""Nothing is lost: calls that stand survive a reload, a refused file, the loss of the Event Socket and a restart."""

import os
import signal
import time

import pytest

from tests.stand import sipp
from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.nodes import Node, simulated
from tests.stand.process import until

pytestmark = [pytest.mark.usefixtures("sipp_installed"), pytest.mark.slow]

LAYOUT = Layout(address="127.0.0.70", http=18082, workers=3)
FEWER = Layout(address="127.0.0.70", http=18082, workers=1)
TARGET = f"{LAYOUT.address}:{LAYOUT.sip}"
NODES = [Node(f"fs{number}", 50 + number, {"max-sessions": 500, "sessions-per-second": 500}) for number in (1, 2)]
OPTIONS = ("--heartbeat-interval", "1")
CALLS = 300


def standing(nodes, count):
    """Wait until so many calls stand."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(node["live_calls"] for node in nodes.all().values()) == count:
            return
        time.sleep(0.05)
    pytest.fail(f"{count} calls did not stand: {nodes.all()}")


@pytest.fixture
def nodes(folder):
    with simulated(NODES, folder, *OPTIONS) as up:
        yield up


def test_calls_survive_reload_a_refused_file_and_the_loss_of_the_event_socket(nodes, folder):
    config = folder / "balancer.yaml"
    write_config(config, LAYOUT, [Group("judged", NODES)], folder / "state")
    with serving(config, LAYOUT) as balancer:
        run = sipp.start("call", TARGET, folder, calls=CALLS, rate=200, pause_ms=7000)
        standing(nodes, CALLS)
        os.kill(balancer.process.pid, signal.SIGHUP)
        config.write_text("kind: Nonsense\n")
        until(lambda: "configuration refused" in balancer.log.read_text(), "a refusal of nonsense")
        write_config(config, LAYOUT, [Group("judged", NODES[:1])], folder / "state")
        until(lambda: set(balancer.nodes()) == {"fs1"}, "a set with one member")
        for node in NODES:
            nodes.do(node.name, "esl-close")
        result = run.result(60)
        assert (result.successful, result.failed, result.unexpected) == (CALLS, 0, 0), result.output


def test_calls_survive_a_restart_with_fewer_workers(nodes, folder):
    config = folder / "balancer.yaml"
    write_config(config, LAYOUT, [Group("judged", NODES)], folder / "state")
    with serving(config, LAYOUT):
        caller = sipp.start("call", TARGET, folder, calls=CALLS, rate=200, pause_ms=8000)
        for node in NODES:
            nodes.change(node.name, call_duration=0)
        standing(nodes, CALLS)
    write_config(config, FEWER, [Group("judged", NODES)], folder / "state")
    with serving(config, FEWER):
        result = caller.result(60)
        assert (result.successful, result.failed, result.unexpected) == (CALLS, 0, 0), result.output


def test_the_nodes_bye_arrives_after_a_restart(nodes, folder):
    config = folder / "balancer.yaml"
    write_config(config, LAYOUT, [Group("judged", NODES)], folder / "state")
    with serving(config, LAYOUT):
        for node in NODES:
            nodes.change(node.name, call_duration=8)
        caller = sipp.start("node-hangs-up", TARGET, folder, calls=CALLS, rate=200)
        standing(nodes, CALLS)
    write_config(config, FEWER, [Group("judged", NODES)], folder / "state")
    with serving(config, FEWER):
        result = caller.result(60)
        assert (result.successful, result.failed, result.unexpected) == (CALLS, 0, 0), result.output
    assert sum(node["counters"]["byes_unanswered"] for node in nodes.all().values()) == 0
