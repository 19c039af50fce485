"""As many nodes as the calls need: a Deployment grows and shrinks under SIPp's load, and no call is cut.

The Deployment and its pods are real, and so are the controllers that make and delete them; a switchboard runs a
simulated node for each pod. Scaled once by the operator, once by a HorizontalPodAutoscaler.
"""

import collections
import dataclasses
import threading
import time

import pytest

from tests.e2e import external_metrics
from tests.e2e.callers import VALUES, call, create_group, flawless, until_routable, until_served
from tests.e2e.installation import Installation
from tests.e2e.requirements import require_calls
from tests.e2e.switchboard import Switchboard, workload
from tests.e2e.tools import binaries as tools
from tests.e2e.voice import APP
from tests.stand import sipp

pytestmark = pytest.mark.calls

PLACES = 20
"""Sessions that a node takes, less one."""
DRAIN = "switchtender.dev/drain"
AUTOSCALE = {
    "target": {"name": APP},
    "min": 2,
    "max": 5,
    "buffer": {"calls": 15},
    "scaleOut": {"leadTime": "5s"},
    "scaleIn": {"stabilizationWindow": "6s", "maxStep": 3},
}


@pytest.fixture(scope="module")
def installed(cluster, definitions, tmp_path_factory):
    """The chart's rights, configuration and Services; the scenarios start operators and balancers."""
    require_calls(cluster)
    with cluster.namespace("system") as name:
        found = Installation(cluster, name, tmp_path_factory.mktemp(name), VALUES)
        yield found
        found.remove()


@pytest.fixture
def user(voice):
    """The user part by which calls of this scenario find its group; it goes with the scenario."""
    voice.set_password("ClueCon")
    yield f"u{voice.namespace.rpartition('-')[2]}"
    voice.cluster.delete(voice.path("balancergroups", "ivr"))
    sipp.end_all()


def target(voice):
    """The API path of the Deployment."""
    return f"/apis/apps/v1/namespaces/{voice.namespace}/deployments/{APP}"


@pytest.fixture
def switchboard(voice, tmp_path):
    """Runs the pods of a Deployment of two small nodes; nothing of it may go wrong."""
    voice.cluster.apply(workload("Deployment", 2), namespace=voice.namespace)
    with Switchboard(voice, tmp_path, max_sessions=PLACES) as found:
        yield found
        # Whoever would make new ones goes first.
        voice.cluster.delete(f"/apis/autoscaling/v2/namespaces/{voice.namespace}/horizontalpodautoscalers/{APP}")
        voice.cluster.delete(target(voice))
    assert not found.troubles


KNOWN_LATE = 6
"""Seconds that what a node carries may be on its way to the operator: to a heartbeat, to a status, to a round."""


@dataclasses.dataclass
class Departure:
    """A pod that is about to go, and what was on the nodes in the seconds before that was seen."""

    name: str
    sessions: int
    """The fewest that it had."""
    others: dict[str, int]
    """The most that each of those had that stay."""


class Watcher:
    """Looks at the pods until the block ends: how many there are, and who is chosen to go."""

    def __init__(self, voice, switchboard):
        self.departures = []
        self.most = 0
        self._voice, self._switchboard = voice, switchboard
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(10)

    def _watch(self):
        seen, lately = set(), collections.deque()
        while not self._over.wait(0.2):
            now = time.monotonic()
            lately.append((now, {name: int(node["sessions"]) for name, node in self._switchboard.nodes().items()}))
            while lately[0][0] < now - KNOWN_LATE:
                lately.popleft()
            pods = self._voice.pods()
            gone = {
                name
                for name, pod in pods.items()
                if "deletionTimestamp" in pod["metadata"] or DRAIN in pod["metadata"]["annotations"]
            }
            self.most = max(self.most, len(pods) - len(gone))
            if gone - seen:
                fewest, most = (
                    {name: pick(each[name] for _, each in lately if name in each) for name in lately[-1][1]}
                    for pick in (min, max)
                )
                others = {name: each for name, each in most.items() if name not in gone}
                self.departures += [Departure(name, fewest.get(name, 0), others) for name in sorted(gone - seen)]
            seen |= gone


def until_nodes(switchboard, count, patience=60):
    """Wait until so many nodes stay, all others being gone; their names."""

    def there():
        running = switchboard.running()
        return set(running) if len(running) == count and not any(each.deleted for each in running.values()) else None

    return switchboard.voice.cluster.until(there, f"{count} nodes", patience)


def until_calls(switchboard, count):
    switchboard.voice.cluster.until(
        lambda: sum(switchboard.live_calls().values()) == count, f"{count} calls that stand", 40
    )


def scales(operator):
    """How often this operator has changed the number of replicas."""
    return operator.metric("switchtender_operator_scales_total", result="applied")


def burden_the_youngest(switchboard, sessions):
    """Let the youngest node have sessions that no balancer sent; its name."""
    youngest = max(switchboard.running().values(), key=lambda life: life.ready).name
    switchboard.change(youngest, background_sessions=sessions)
    return youngest


def nothing_was_cut(switchboard, calls):
    """Every call was hung up by its caller at the node that answered it, on nodes that are there and that are gone."""
    assert switchboard.cut() == 0
    answered = switchboard.counted("answered")
    assert sum(1 for each in answered.values() if each) > 3, f"calls spread onto new nodes: {answered}"
    assert (sum(answered.values()), switchboard.total("byes_received")) == (calls, calls)
    assert (switchboard.total("byes_sent"), switchboard.total("unknown_dialog")) == (0, 0)


def test_the_operator_scales_by_calls(installed, voice, switchboard, user, tmp_path, cluster, record_property):
    """Up and down; on the way the leading operator and a balancer are killed."""
    create_group(voice, user, autoscale=AUTOSCALE)
    short_lease = "--lease-duration=4"

    def place(calls, rate, seconds):
        # A flow of its own for each call: that is what a Service shares out.
        return call(cluster, tmp_path, user, calls=calls, rate=rate, pause_ms=1000 * seconds, transport="un")

    with (
        installed.operator(short_lease, name="operator-1") as leader,
        installed.balancer("balancer-a") as staying,
        installed.balancer("balancer-b") as leaving,
        Watcher(voice, switchboard) as watcher,
    ):
        until_routable([staying, leaving], until_nodes(switchboard, 2))
        cluster.until(lambda: voice.conditions("ivr").get("AutoscaleActive", ("",))[0] == "True", "AutoscaleActive")
        with installed.operator(short_lease, name="operator-2") as successor:
            long = place(8, 8, 60)
            rise = place(44, 2, 26)
            until_calls(switchboard, 52)
            assert watcher.most >= 4, "the Deployment grows before its nodes are full"
            # Every call stands, and none is in set-up.
            leader.kill()
            leaving.program.kill()
            leaving.remove()
            until_served([staying])
            youngest = burden_the_youngest(switchboard, 6)
            late = place(4, 4, 20)
            flawless(rise.result(60), 44)
            # The calls that are left stand for a while, and two nodes are enough for them.
            kept = until_nodes(switchboard, 2, 60)
            assert youngest in kept, "not the youngest goes, but the emptiest"
            flawless(late.result(60), 4)
            flawless(long.result(60), 8)
            assert cluster.get(target(voice))["spec"]["replicas"] == 2
            with cluster.inside():
                assert scales(successor) > 0
            assert {each["reason"] for each in voice.events("ivr")} >= {"ScaledOut", "ScaledIn"}
    record_property("nodes", {"most": watcher.most, "ever": len(switchboard.lives)})
    assert watcher.departures
    for each in watcher.departures:
        assert each.sessions <= min(each.others.values()), f"the emptiest first: {each}"
    nothing_was_cut(switchboard, 56)


@pytest.fixture(scope="session")
def adapter():
    """The binary of prometheus-adapter, built when it is not there."""
    return tools.find(tools.ADAPTER) / "adapter"


def autoscaler(namespace):
    """The sample's HPA, with windows that a test has time for."""
    found = external_metrics.sample("hpa.yaml", "HorizontalPodAutoscaler")
    found["metadata"]["namespace"] = namespace
    found["spec"]["maxReplicas"] = 5
    found["spec"]["behavior"] = {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 15}]},
        # A mark may be a minute old.
        "scaleDown": {"stabilizationWindowSeconds": 65, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]},
    }
    return found


@pytest.mark.full
def test_a_horizontal_pod_autoscaler_scales_by_the_recorded_number(
    installed, voice, switchboard, user, tmp_path, cluster, adapter, record_property
):
    """Prometheus scrapes the balancers, the adapter serves what it records; the operator's marks say who goes."""
    create_group(voice, user)

    def place(calls, rate, seconds):
        return call(cluster, tmp_path, user, calls=calls, rate=rate, pause_ms=1000 * seconds, transport="un")

    with (
        installed.operator() as operator,
        installed.balancer("balancer-a") as one,
        installed.balancer("balancer-b") as two,
        external_metrics.collected(cluster, tmp_path, [one, two], (voice.namespace, "ivr"), buffer=24) as prometheus,
        external_metrics.adapted(cluster, adapter, tmp_path, prometheus),
        Watcher(voice, switchboard) as watcher,
    ):
        until_routable([one, two], until_nodes(switchboard, 2))
        cluster.apply(autoscaler(voice.namespace))
        path = f"/apis/autoscaling/v2/namespaces/{voice.namespace}/horizontalpodautoscalers/{APP}"

        def reads():
            conditions = cluster.get(path).get("status", {}).get("conditions", [])
            return any(each["type"] == "ScalingActive" and each["status"] == "True" for each in conditions)

        cluster.until(reads, "an HPA that reads its metric", 90)
        # Two that scale one target would undo each other's work; the operator keeps still from here on.
        cluster.merge(voice.path("balancergroups", "ivr"), {"spec": {"autoscale": AUTOSCALE}})
        inactive = ("False", "HPAPresent")
        cluster.until(lambda: voice.conditions("ivr").get("AutoscaleActive") == inactive, "HPAPresent")
        long = place(6, 6, 145)
        rise = place(46, 2, 32)
        until_calls(switchboard, 52)
        assert watcher.most >= 4, "the Deployment grows before its nodes are full"
        youngest = burden_the_youngest(switchboard, 6)
        flawless(rise.result(120), 46)
        kept = until_nodes(switchboard, 2, 150)
        assert youngest in kept, "not the youngest goes, but the emptiest"
        flawless(long.result(150), 6)
        with cluster.inside():
            assert scales(operator) == 0
    record_property("nodes", {"most": watcher.most, "ever": len(switchboard.lives)})
    assert watcher.departures
    for each in watcher.departures:
        assert each.sessions <= min(each.others.values()), f"the emptiest first: {each}"
    nothing_was_cut(switchboard, 52)
