"""Calls follow the pods: SIPp calls a balancer, simulated FreeSWITCH nodes answer at the addresses of their pods.

Operator and balancers run under their own ServiceAccounts, with the chart's configuration and rights.
"""

import collections
import time

import pytest

from tests.e2e.callers import SERVICE, VALUES, StandingCall, call, create_group, flawless, offered, until_routable
from tests.e2e.installation import FULLNAME, Installation
from tests.e2e.requirements import require_calls
from tests.e2e.switches import Switches
from tests.stand import sipp

pytestmark = pytest.mark.calls


@pytest.fixture(scope="module")
def deployed(cluster, definitions, tmp_path_factory):
    """The chart's rights, configuration and Services with an operator; balancers are started by the scenarios."""
    require_calls(cluster)
    with cluster.namespace("system") as name:
        found = Installation(cluster, name, tmp_path_factory.mktemp(name), VALUES)
        with found.operator():
            yield found
        found.remove()


@pytest.fixture
def switches(voice, tmp_path):
    voice.set_password("ClueCon")
    found = Switches(voice, tmp_path)
    yield found
    # A group that outlives its scenario would claim calls of the next.
    for each in voice.cluster.items(voice.path("balancergroups")):
        voice.cluster.delete(voice.path("balancergroups", each["metadata"]["name"]))
    sipp.end_all()
    found.close()


@pytest.fixture
def user(voice):
    """The user part by which calls of this scenario find its group."""
    return f"u{voice.namespace.rpartition('-')[2]}"


def test_calls_follow_the_pods(deployed, voice, switches, user, tmp_path, cluster):
    create_group(voice, user)
    switches.start("fs-0", "fs-1", hold=True)
    with deployed.balancer("balancer-a") as balancer:
        until_routable([balancer], {"fs-0", "fs-1"})
        flawless(call(cluster, tmp_path, user, calls=60, rate=30).result(60), 60)
        answered = switches.counted("answered")
        assert all(answered.values()), answered

        switches.start("fs-2")
        until_routable([balancer], {"fs-0", "fs-1", "fs-2"})
        voice.delete_pod("fs-0")
        voice.until_states("ivr", {"fs-0": "Draining", "fs-1": "Ready", "fs-2": "Ready"})
        cluster.until(lambda: balancer.nodes()["fs-0"]["state"] == "draining", "fs-0 draining at the balancer")
        before = switches.counted("answered")
        flawless(call(cluster, tmp_path, user, calls=60, rate=30).result(60), 60)
        after = switches.counted("answered")
        assert after["fs-0"] == before["fs-0"], "a pod on its way out gets no new call"
        assert after["fs-2"] > before["fs-2"], "a new pod does"

        voice.set_ready("fs-1", ready=False)
        voice.until_states("ivr", {"fs-0": "Draining", "fs-1": "NotReady", "fs-2": "Ready"})
        cluster.until(lambda: balancer.nodes()["fs-1"]["state"] != "ready", "fs-1 out of the choice")
        flawless(call(cluster, tmp_path, user, calls=30, rate=30).result(60), 30)
        last = switches.counted("answered")
        assert last["fs-1"] == after["fs-1"], "a pod that is not ready gets no new call"
        assert last["fs-2"] == after["fs-2"] + 30

        voice.let_go("fs-0")
        cluster.until(lambda: "fs-0" not in balancer.nodes(), "the end of fs-0 at the balancer")


def test_the_group_shows_what_the_nodes_report(deployed, voice, switches, user, tmp_path, cluster):
    create_group(voice, user)
    switches.start("fs-0", "fs-1", max_sessions=100)
    with deployed.balancer("balancer-a") as balancer:
        until_routable([balancer], {"fs-0", "fs-1"})
        for kind in ("Accepted", "Programmed", "Ready", "StatsFresh", "CapacityAvailable"):
            cluster.until(
                lambda kind=kind: voice.conditions("ivr").get(kind, ("", ""))[0] == "True", f"{kind} of the group", 45
            )
        call(cluster, tmp_path, user, calls=40, rate=40, pause_ms=60_000)
        cluster.until(lambda: switches.live_calls() == 40, "forty calls")
        path = voice.path("balancergroups", "ivr")
        cluster.until(lambda: cluster.get(path)["status"].get("sessions") == 40, "forty sessions in the status", 45)
        status = cluster.get(path)["status"]
        assert (status["nodes"], status["ready"]) == (2, 2), status
        # A node takes one less than it reports; the headroom is learned.
        assert 150 < status["capacity"] <= 198, status
        summaries = status["nodeSummaries"]
        assert {each["name"]: each["reason"] for each in summaries} == {"fs-0": "Reporting", "fs-1": "Reporting"}
        assert sum(each["sessions"] for each in summaries) == 40
        row = cluster.kubectl("get", "bg", "ivr", "-n", voice.namespace).splitlines()
        shown = dict(zip(row[0].split(), row[1].split(), strict=False))
        assert (shown["NODES"], shown["READY"], shown["SESSIONS"]) == ("2", "2", "40")
        assert 0 < int(shown["UTIL"]) < 50


def test_a_node_that_goes_down_is_one_event(deployed, voice, switches, user, cluster, record_property):
    create_group(voice, user)
    switches.start("fs-0", "fs-1")
    path = voice.path("balancergroups", "ivr")

    def states():
        return {each["name"]: each["state"] for each in cluster.get(path).get("status", {}).get("nodeSummaries", [])}

    def told(reason):
        return [each for each in voice.events("ivr") if each["reason"] == reason]

    with deployed.balancer("balancer-a"):
        cluster.until(lambda: states() == {"fs-0": "ready", "fs-1": "ready"}, "both nodes ready in the status", 45)
        before = time.monotonic()
        switches.do("crash", ["fs-0"])
        (event,) = cluster.until(lambda: told("NodeDown"), "an Event about fs-0", 45)
        record_property("node_down_event_seconds", round(time.monotonic() - before, 1))
        assert (event["type"], event["regarding"]["name"]) == ("Warning", "ivr")
        assert "fs-0 (" in event["note"]
        assert "fs-1" not in event["note"]
        # As the page on Events tells people to look.
        assert "NodeDown" in cluster.kubectl("events", "--for", "balancergroup/ivr", "-n", voice.namespace)


def test_a_password_is_rotated_while_calls_flow(deployed, voice, switches, user, tmp_path, cluster):
    create_group(voice, user)
    switches.start("fs-0", "fs-1")
    with deployed.balancer("balancer-a") as balancer:
        until_routable([balancer], {"fs-0", "fs-1"})
        run = call(cluster, tmp_path, user, calls=120, rate=20)
        voice.set_password("rotated")
        time.sleep(2)
        states = {name: node["state"] for name, node in balancer.nodes().items()}
        assert states == {"fs-0": "ready", "fs-1": "ready"}, "connections that stand do not mind"
        # One node after the other, as one does: the second has the new password before it has to ask for it.
        switches.change(password="rotated")
        switches.do("esl-close", ["fs-0"])
        until_routable([balancer], {"fs-0", "fs-1"})
        switches.do("esl-close", ["fs-1"])
        until_routable([balancer], {"fs-0", "fs-1"})
        flawless(run.result(60), 120)
        assert "rotated" not in balancer.program.log.read_text(), "no secret in the log"


@pytest.mark.full
def test_calls_flow_while_the_api_server_is_away(deployed, voice, switches, user, tmp_path, cluster):
    away = 60
    create_group(voice, user)
    switches.start("fs-0", "fs-1")
    with deployed.balancer("balancer-a") as balancer:
        until_routable([balancer], {"fs-0", "fs-1"})
        calls = 20 * (away + 6)
        run = call(cluster, tmp_path, user, calls=calls, rate=20)
        time.sleep(2)
        with cluster.control_plane.away(), cluster.inside():
            time.sleep(away)
            assert balancer.program.healthy()
            assert balancer.program.ready(), "what it routes by is still good"
        flawless(run.result(away + 60), calls)
        switches.start("fs-2")
        until_routable([balancer], {"fs-0", "fs-1", "fs-2"})


@pytest.fixture
def standing(cluster, user):
    """Sets up so many calls; they are forgotten with the scenario."""
    calls = []

    def set_up(count, **options):
        fresh = [StandingCall(cluster, user, **options) for _ in range(count)]
        calls.extend(fresh)
        return fresh

    yield set_up
    for each in calls:
        each.close()


def test_a_balancer_is_replaced_while_calls_stand(deployed, voice, switches, user, tmp_path, cluster, standing):
    """What a roll-out of the chart does: a new pod first, then the old one is told to go; peers take its calls over."""
    create_group(voice, user)
    switches.start("fs-0", "fs-1")
    with deployed.balancer("balancer-a") as old, deployed.balancer("balancer-b") as other:
        until_routable([old, other], {"fs-0", "fs-1"})
        calls = standing(40)
        assert switches.live_calls() == 40
        cluster.until(lambda: all(offered(old)), "calls of the one that goes")
        with deployed.balancer("balancer-c") as new:
            until_routable([other, new], {"fs-0", "fs-1"})
            fresh = [call(cluster, tmp_path, user, calls=60, rate=10) for _ in range(2)]
            old.stop()
            cluster.until(lambda: old.program.process.poll() is not None, "the end of the old one", 60)
            assert old.program.process.returncode == 0
            old.remove()
            for run in fresh:
                flawless(run.result(60), 60)
            # The old one is gone, its calls are not: one node's are hung up by their callers, the other's by the node.
            first = voice.members("ivr")["fs-0"]["addresses"][0]
            by_caller = [each for each in calls if each.node == first]
            by_node = [each for each in calls if each.node != first]
            assert by_caller
            assert by_node
            assert {each.hang_up() for each in by_caller} == {200}
            switches.do("hupall", ["fs-1"])
            assert None not in [each.hung_up() for each in by_node]
            cluster.until(lambda: switches.live_calls() == 0, "the end of all calls")
            assert sum(switches.counted("byes_unanswered").values()) == 0


def test_where_the_nodes_bye_comes_from(deployed, voice, switches, user, cluster, standing, record_property):
    """Measured, not judged: the node's Service gives its BYE to any replica, and the caller's flow is one replica's.

    In this network nothing stands between replica and caller that would drop it, so every BYE must arrive; one that
    does not come from the Service's address is what a NAT or firewall before the caller would swallow.
    """
    create_group(voice, user)
    switches.start("fs-0", "fs-1")
    with deployed.balancer("balancer-a") as one, deployed.balancer("balancer-b") as two:
        until_routable([one, two], {"fs-0", "fs-1"})
        calls = standing(40)
        # A worker writes its counters down now and then, not with every call.
        cluster.until(lambda: sum(offered(one, two)) == 40, "forty calls counted")
        placed = offered(one, two)
        assert all(placed), f"the Service shares flows out: {placed}"
        switches.do("hupall")
        names = {SERVICE: "the Service", None: "nowhere"}
        seen = collections.Counter(names.get(each.hung_up(), "another replica") for each in calls)
        record_property("bye_came_from", {"placed": placed, **seen})
        assert seen["nowhere"] == 0
        cluster.until(lambda: switches.live_calls() == 0, "the end of all calls")
        assert sum(switches.counted("byes_unanswered").values()) == 0


def test_a_pod_that_is_replaced_by_one_at_its_address(deployed, voice, switches, user, tmp_path, cluster):
    """Same name, same address, another uid: another node, which gets calls as one."""
    create_group(voice, user)
    switches.start("fs-0", "fs-1")
    with deployed.balancer("balancer-a") as balancer:
        until_routable([balancer], {"fs-0", "fs-1"})
        address = voice.members("ivr")["fs-0"]["addresses"][0]
        voice.delete_pod("fs-0", grace=0)
        voice.until_states("ivr", {"fs-1": "Ready"})
        uid = voice.create_pod("fs-0", address=address)["metadata"]["uid"]
        voice.until_running("fs-0", "fs-1")
        cluster.until(lambda: voice.members("ivr").get("fs-0", {}).get("uid") == uid, "the new member")
        until_routable([balancer], {"fs-0", "fs-1"})
        before = switches.counted("answered")["fs-0"]
        flawless(call(cluster, tmp_path, user, calls=60, rate=30).result(60), 60)
        assert switches.counted("answered")["fs-0"] > before


def test_one_balancer_understands_the_calls_of_the_other(deployed, voice, switches, user, cluster, standing):
    """The keys are one Secret's, which the operator made; the state of a balancer is told to the operator alone."""
    create_group(voice, user)
    switches.start("fs-0")
    with deployed.balancer("balancer-a") as one, deployed.balancer("balancer-b") as two:
        until_routable([one, two], {"fs-0"})
        for placing, other in ((one, two), (two, one)):
            (placed,) = standing(1, through=placing.address)
            assert placed.hang_up(through=other.address) == 200
        assert switches.live_calls() == 0
        secret = cluster.get(f"/api/v1/namespaces/{deployed.namespace}/secrets/{FULLNAME}-config-keys")
        assert secret["data"]["keys.json"]
        for balancer in (one, two):
            with cluster.inside(), pytest.raises(OSError, match="401"):
                balancer.program.ask("/api/v1/state")
