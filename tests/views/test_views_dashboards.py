"""Every question of the dashboards, put to a real Prometheus over what runs: none is refused, none comes back empty.

Two balancers see the same nodes, and everything is scraped with labels of its own that are called like ours.
"""

import asyncio
import contextlib
import json
import re
import shutil
import threading
import time
from dataclasses import dataclass

import pytest

from tests.demo import monitoring, scene
from tests.e2e.providers.pki import Authority
from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.caller import Caller
from tests.stand.needed import needed
from tests.stand.nodes import simulated
from tests.stand.process import free_port, until
from tests.stand.prometheus import Job, Prometheus, scraping
from tests.views import marking_operator, pod_world

DASHBOARDS = sorted((monitoring.SHIPPED / "dashboards").glob("*.json"))
FOREIGN = {"namespace": "monitoring", "pod": "some-pod", "node": "worker-7"}
"""What discovery in a cluster puts on everything that it finds."""
WINDOW = 10
"""Seconds that a rate looks back; long enough for several scrapes."""


def panels(dashboard):
    """The panels of a dashboard that ask something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def questions():
    """Dashboard, panel and expression of every query there is."""
    for path in DASHBOARDS:
        for panel in panels(json.loads(path.read_text())):
            for target in panel["targets"]:
                yield pytest.param(target["expr"], id=f"{path.stem}/{panel['title']}/{target['refId']}")


def variables():
    """Every query by which a dashboard's variable finds its values."""
    for path in DASHBOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                yield pytest.param(variable["query"]["query"], id=f"{path.stem}/{variable['name']}")


def filled(text):
    """The expression as Grafana sends it, with everything chosen."""
    return re.sub(r"\$(namespace|group|node|instance)\b", ".*", text.replace("$__rate_interval", f"{WINDOW}s"))


class Calls:
    """Calls that go on and on, from a thread of their own."""

    def __init__(self, target):
        self._loop = asyncio.new_event_loop()
        self._target = target
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), name="calls")
        self._enough = threading.Event()

    async def _run(self):
        transport, caller = await self._loop.create_datagram_endpoint(
            lambda: Caller(self._target, hold=2.0), local_addr=("127.0.0.2", 0)
        )
        while not self._enough.is_set():
            caller.place()
            await asyncio.sleep(0.1)
        await caller.finish()
        transport.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._enough.set()
        self._thread.join()
        self._loop.close()


@dataclass
class Observed:
    prometheus: Prometheus


def groups():
    """The demonstration's group, and one with a limited resource and a node that drains until some time."""
    limited = [
        {"name": node.name, "sip": f"sip:{node.address}", "load": f"fs://:ClueCon@{node.address}"}
        for node in scene.NODES[:2]
    ]
    limited[1]["drain"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    spec = {
        "members": {"static": limited},
        "match": {"priority": 5, "rules": [{"requestUri": {"userPattern": "^conf"}, "resources": ["conf"]}]},
        "capacity": {"resources": [{"name": "ch", "source": "Reported"}, {"name": "conf", "limit": 10}]},
        "drain": {"timeout": "2h"},
    }
    return [Group("demo", scene.NODES), Group("conference", scene.NODES[:2], spec)]


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """Everything that there is to see runs, and a Prometheus has looked at it for a while."""
    needed(shutil.which("prometheus"), "Prometheus is not installed (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("observed")
    (folder / "cluster").mkdir()
    authority = Authority.create(folder / "pki")
    authority.issue("balancer", "balancer")
    pair = (folder / "pki" / "balancer.crt", folder / "pki" / "balancer.key")
    layouts = [
        Layout(
            address=f"127.0.0.{90 + number}",
            sip=15060,
            node_side=15070,
            worker_ports=(15071, 15074),
            http=free_port(),
            tls=tls,
        )
        for number, tls in enumerate((None, pair))
    ]
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(simulated(scene.NODES, folder, "--heartbeat-interval", "1"))
        for number, layout in enumerate(layouts):
            config = folder / f"balancer-{number}.yaml"
            write_config(config, layout, groups(), folder / f"state-{number}")
            stack.enter_context(serving(config, layout))
        world = stack.enter_context(pod_world.running(folder / "cluster"))
        marking = stack.enter_context(marking_operator.running())
        jobs = [
            *(
                Job(f"balancer-{number}", [f"{layout.address}:{layout.http}"], FOREIGN, layout.scheme)
                for number, layout in enumerate(layouts)
            ),
            Job("cluster", [world.operator, world.balancer, marking], FOREIGN),
        ]
        prometheus = stack.enter_context(scraping(monitoring.write(folder / "files", jobs), folder))
        stack.enter_context(Calls((layouts[0].address, layouts[0].sip)))
        until(lambda: len(prometheus.now("up == 1")) == 5, "everything scraped")
        nodes.do("medium", "crash")
        # Rates need two scrapes, and rules that stand on rules an evaluation each.
        until(lambda: prometheus.now("increase(switchtender_calls_offered_total[10s]) > 30"), "calls in a rate")
        # The operator writes the status of a group that is new when it has had time to settle.
        until(lambda: prometheus.now("switchtender_operator_autoscale_desired"), "a status that tells of scaling")
        yield Observed(prometheus)


@pytest.mark.parametrize("expr", list(questions()))
def test_every_panel_shows_something(observed, expr):
    assert observed.prometheus.lately(filled(expr), WINDOW), "no series"


@pytest.mark.parametrize("query", list(variables()))
def test_every_variable_has_values(observed, query):
    found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
    assert found, "a query of Grafana's that is not known here"
    values = {series["metric"].get(found[2]) for series in observed.prometheus.now(filled(found[1]))}
    assert values, "no series"
    assert None not in values


def test_labels_of_ours_stand_whatever_discovery_says(observed):
    nodes = {series["metric"]["node"] for series in observed.prometheus.now("switchtender_node_state")}
    assert nodes == {*(node.name for node in scene.NODES), *(f"fs-{number}" for number in range(pod_world.PODS))}
    namespaces = {series["metric"]["namespace"] for series in observed.prometheus.now("switchtender_group_nodes")}
    assert namespaces == {"default", pod_world.NAMESPACE}


def test_a_node_counts_once_however_many_balancers_see_it(observed):
    counted = observed.prometheus.now('sum(namespace_group:switchtender_nodes:count{group="demo"})')
    assert [series["value"][1] for series in counted] == [str(len(scene.NODES))]
    seen = observed.prometheus.now('count(switchtender_node_state{group="demo", state="ready"})')
    assert [series["value"][1] for series in seen] == [str(2 * len(scene.NODES))]


def test_no_rule_fails(observed):
    loaded = observed.prometheus.get("rules")["groups"]
    rules = [rule for group in loaded for rule in group["rules"]]
    assert len(rules) > 10
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] == "err"} == {}


def test_dashboards_are_what_grafana_takes():
    uids = set()
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        uids.add(dashboard["uid"])
        assert dashboard["uid"] == path.stem, "a fixed identity: a second import replaces the first"
        assert dashboard["templating"]["list"][0]["name"] == "datasource"
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        for panel in panels(dashboard):
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert panel["description"], f"{panel['title']}: what it shows"
    assert len(uids) == len(DASHBOARDS) == 4
