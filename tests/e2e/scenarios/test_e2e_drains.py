"""A pod is drained and taken back by kubectl while calls stand and come, past its deadline and over a change of leader.

Operator and balancers run under their own ServiceAccounts; simulated nodes answer at the addresses of their pods.
"""

import time

import pytest

from tests.e2e.callers import VALUES, call, create_group, flawless, until_routable
from tests.e2e.installation import Installation
from tests.e2e.requirements import require_calls
from tests.e2e.switches import Switches
from tests.stand import sipp

pytestmark = pytest.mark.calls

DRAIN = "switchtender.dev/drain"


@pytest.fixture(scope="module")
def installed(cluster, definitions, tmp_path_factory):
    """The chart's rights, configuration and Services."""
    require_calls(cluster)
    with cluster.namespace("system") as name:
        found = Installation(cluster, name, tmp_path_factory.mktemp(name), VALUES)
        yield found
        found.remove()


@pytest.fixture
def switches(voice, tmp_path):
    voice.set_password("ClueCon")
    found = Switches(voice, tmp_path)
    yield found
    voice.cluster.delete(voice.path("balancergroups", "ivr"))
    sipp.end_all()
    found.close()


def summary(voice, name):
    """What the group's status says of a node."""
    status = voice.cluster.get(voice.path("balancergroups", "ivr")).get("status", {})
    return next((each for each in status.get("nodeSummaries", []) if each["name"] == name), {})


def told(voice, reason):
    return [each for each in voice.events("ivr") if each["reason"] == reason]


def test_a_pod_is_drained_past_its_deadline_and_taken_back(installed, voice, switches, tmp_path, cluster):
    user = f"u{voice.namespace.rpartition('-')[2]}"
    create_group(voice, user, drain={"timeout": "6s", "onTimeout": "Hold", "pauseNode": True})
    switches.start("fs-0", "fs-1")

    def paused():
        return switches.all()["fs-0"]["paused_inbound"]

    short_lease = "--lease-duration=4"
    with (
        installed.operator(short_lease, name="operator-1") as leader,
        installed.balancer("balancer-a") as one,
        installed.balancer("balancer-b") as two,
    ):
        until_routable([one, two], {"fs-0", "fs-1"})
        standing = call(cluster, tmp_path, user, calls=20, rate=20, pause_ms=22_000, transport="un")
        cluster.until(lambda: switches.live_calls() == 20, "twenty calls")
        calls = {name: int(node["live_calls"]) for name, node in switches.all().items()}
        assert all(calls.values()), calls

        start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        cluster.kubectl("annotate", "pod", "fs-0", f"{DRAIN}={start}", "-n", voice.namespace)
        voice.until_states("ivr", {"fs-0": "Draining", "fs-1": "Ready"})
        cluster.until(
            lambda: all(each.nodes()["fs-0"]["state"] == "draining" for each in (one, two)), "fs-0 draining everywhere"
        )
        cluster.until(paused, "fs-0 paused")
        with installed.operator(short_lease, name="operator-2"):
            before = voice.members("ivr")["fs-0"]["drain"]
            leader.kill()
            answered = switches.counted("answered")
            flawless(call(cluster, tmp_path, user, calls=30, rate=30, transport="un").result(60), 30)
            assert switches.counted("answered")["fs-0"] == answered["fs-0"], "it gets no new call"
            (expired,) = cluster.until(lambda: told(voice, "DrainExpired"), "an Event about the deadline", 30)
            assert expired["type"] == "Warning"
            assert "fs-0" in expired["note"]
            after = voice.members("ivr")["fs-0"]["drain"]
            assert {**after, "pausedByUs": None} == {**before, "pausedByUs": None}, "every leader computes the same"
            assert (after["since"], after["reason"]) == (start, "Requested")
            cluster.until(lambda: summary(voice, "fs-0").get("drain", {}).get("expired"), "its status", 30)
            assert switches.all()["fs-0"]["live_calls"] == calls["fs-0"], "Hold: nothing happens to its calls"

            cluster.kubectl("annotate", "pod", "fs-0", f"{DRAIN}-", "-n", voice.namespace)
            until_routable([one, two], {"fs-0", "fs-1"})
            assert not paused(), "who paused it resumes it"
            cluster.until(lambda: told(voice, "DrainCancelled"), "an Event about the end of the drain")
            flawless(call(cluster, tmp_path, user, calls=30, rate=30, transport="un").result(60), 30)
            assert switches.counted("answered")["fs-0"] > answered["fs-0"], "it gets calls again"
            flawless(standing.result(60), 20)
    assert sum(switches.counted("byes_sent").values()) == 0
    assert sum(switches.counted("byes_received").values()) == 80
