"""Everything is replaced while calls stand and come: FreeSWITCH pods by their Deployment, the operator, the balancers.

Pods are a real Deployment's, made and deleted by the real controllers; a switchboard runs a simulated node for each.
"""

import json
import time

import pytest

from tests.e2e.callers import SERVICE, VALUES, call, create_group, flawless, until_routable
from tests.e2e.installation import Installation
from tests.e2e.requirements import require_calls
from tests.e2e.switchboard import Switchboard, workload
from tests.e2e.switches import Switches
from tests.e2e.voice import APP
from tests.stand import sipp

pytestmark = pytest.mark.calls

DEADLINE = 5.0
"""Seconds that a stopping balancer waits for calls in set-up at most."""


@pytest.fixture(scope="module")
def installed(cluster, definitions, tmp_path_factory):
    """The chart's rights, configuration and Services; the scenarios start operators and balancers."""
    require_calls(cluster)
    balancer = {**VALUES["balancer"], "stop": {"deadline": f"{DEADLINE:g}s"}}
    with cluster.namespace("system") as name:
        found = Installation(cluster, name, tmp_path_factory.mktemp(name), {"balancer": balancer})
        yield found
        found.remove()


@pytest.fixture
def user(voice):
    """The user part by which calls of this scenario find its group; it goes with the scenario."""
    voice.set_password("ClueCon")
    yield f"u{voice.namespace.rpartition('-')[2]}"
    voice.cluster.delete(voice.path("balancergroups", "ivr"))
    sipp.end_all()


@pytest.fixture
def switches(voice, tmp_path):
    """Nodes of pods that no controller makes."""
    found = Switches(voice, tmp_path)
    yield found
    found.close()


@pytest.fixture
def switchboard(voice, tmp_path):
    """Runs the pods of the app; nothing of it may go wrong."""
    with Switchboard(voice, tmp_path) as found:
        yield found
        # Whoever would make new ones goes first.
        voice.cluster.delete(f"/apis/apps/v1/namespaces/{voice.namespace}/deployments/{APP}")
    assert not found.troubles


def until_running(switchboard, count):
    """Wait for so many pods with a node; their names."""

    def there():
        running = switchboard.running()
        return set(running) if len(running) == count else None

    return switchboard.voice.cluster.until(there, f"{count} running nodes", 60)


def test_nodes_operator_and_balancers_are_rolled_out_under_calls(
    installed, voice, switchboard, user, tmp_path, cluster, record_property
):
    cluster.apply(workload("Deployment", 2), namespace=voice.namespace)
    create_group(voice, user)
    with (
        installed.operator(name="operator-1") as leader,
        installed.balancer("balancer-a") as leaving,
        installed.balancer("balancer-b") as staying,
    ):
        old = until_running(switchboard, 2)
        until_routable([leaving, staying], old)
        # A flow of its own for each call: that is what a Service shares out.
        standing = call(cluster, tmp_path, user, calls=30, rate=30, pause_ms=10_000, transport="un")
        fresh = call(cluster, tmp_path, user, calls=200, rate=10, transport="un")
        cluster.until(lambda: sum(switchboard.live_calls().values()) >= 30, "thirty calls")

        def replaced():
            running = set(switchboard.running())
            return running if len(running) == 2 and not running & old else None

        with installed.operator(name="operator-2"), installed.balancer("balancer-c") as new:
            began = time.monotonic()
            leader.terminate()
            cluster.apply(workload("Deployment", 2, version="2"), namespace=voice.namespace)
            assert stop(leaving) == 0
            successors = cluster.until(replaced, "the end of the old nodes", 60)
            record_property("roll_out_seconds", round(time.monotonic() - began, 1))
            until_routable([staying, new], successors)
            flawless(standing.result(60), 30)
            flawless(fresh.result(60), 200)
    assert switchboard.cut() == 0
    answered = switchboard.counted("answered")
    assert len(answered) == 4
    assert all(answered.values()), answered
    assert (sum(answered.values()), switchboard.total("byes_received")) == (230, 230)
    assert switchboard.total("byes_sent") == 0, "no node hung up on anybody"


def stop(balancer):
    """Tell a balancer to go, wait until it did, and return how many transactions it says it left open."""
    balancer.stop()
    balancer.cluster.until(lambda: balancer.program.process.poll() is not None, "the end of the old one", 2 * DEADLINE)
    assert balancer.program.process.returncode == 0
    balancer.remove()
    lines = [json.loads(line) for line in balancer.program.log.read_text().splitlines()]
    return sum(line.get("openTransactions", 0) for line in lines if line["message"].startswith("stopped with"))


@pytest.fixture
def ringing(installed, voice, switches, user):
    """A node, an operator, and a group for them; gives what changes how long calls ring, in seconds."""
    create_group(voice, user)
    switches.start("fs-0")
    with installed.operator():
        yield lambda seconds: switches.change(answer_delay=seconds)


@pytest.mark.full
def test_calls_in_set_up_when_their_balancer_is_told_to_go(
    installed, switches, ringing, user, tmp_path, cluster, record_property
):
    """Lost are only those that still ring at its deadline, and it says so; calls that stood or come are not."""

    def ring(count, target, **options):
        """Start so many calls, and wait until the node knows them all."""
        before = switches.counted("invites")["fs-0"]
        run = call(cluster, tmp_path, user, target=target, calls=count, rate=40, transport="un", **options)
        cluster.until(lambda: switches.counted("invites")["fs-0"] == before + count, f"{count} calls in set-up")
        return run

    service = f"{SERVICE}:5060"
    with installed.balancer("balancer-a") as first, installed.balancer("balancer-b") as second:
        until_routable([first, second], {"fs-0"})
        standing = call(cluster, tmp_path, user, calls=20, rate=40, pause_ms=20_000, transport="un")
        cluster.until(lambda: switches.live_calls() == 20, "twenty calls that stand")
        ringing(DEADLINE - 2)
        # By its own address, as on the host's network, and through the Service.
        runs = [ring(20, f"{first.address}:5060"), ring(20, service)]
        assert stop(first) == 0
        for run in runs:
            flawless(run.result(30), 20)

        with installed.balancer("balancer-c") as third:
            until_routable([second, third], {"fs-0"})
            ringing(DEADLINE + 6)
            run = ring(40, service, patience_ms=int(1000 * (DEADLINE + 9)))
            lost = stop(second)
            ringing(0)
            fresh = call(cluster, tmp_path, user, calls=20, rate=20, transport="un")
            result = run.result(60)
            # The caller's side of a call in set-up and the node's are a transaction each.
            record_property("lost_of_those_counted", f"{result.failed} of {lost / 2:g}")
            assert lost > 0
            assert 2 * result.failed <= lost, result.output
            assert result.successful == 40 - result.failed
            flawless(fresh.result(60), 20)
            flawless(standing.result(60), 20)
    assert switches.counted("byes_sent") == {"fs-0": 0}
