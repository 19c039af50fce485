"""The whole thing: Helm installs images on real nodes, and calls from outside go to FreeSWITCH pods and beside them.

Two real nodes, no Docker, no registry (provider `node`). Callers reach the balancers' Service by its node port, with
`externalTrafficPolicy: Local`, and in the end balancers on their hosts' network. FreeSWITCH runs as pods, as a pod on
its host's network, and on a machine outside of the cluster. Not verified, because nothing here does it: that network
policies are enforced, and that a Service of type LoadBalancer gets its address.
"""

import collections
import contextlib
import os
import re
import shutil
import time

import pytest
import yaml

from tests.e2e import fleet
from tests.e2e.conftest import unavailable
from tests.e2e.images import build
from tests.e2e.installation import CHART, FULLNAME, RELEASE
from tests.e2e.providers import node
from tests.e2e.voice import Voice, group
from tests.stand import sipp
from tests.stand.agent import Agent, Dialog, SilenceError, request, unique, via_parameter

# Images, two real nodes and all: minutes that the smoke level does not have.
pytestmark = pytest.mark.full

SYSTEM = "telephony"
PASSWORD = "not-ClueCon"
SIP_PORT = 30060
"""Node port of the callers' side."""
NODES_PORT = 30070
"""Node port of the nodes' side, for the node that cannot reach ClusterIPs."""
CALLERS = 60


# --- the place ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(binaries, tmp_path_factory):
    """Two nodes: the balancers' and one for what needs a second host."""
    if (wanted := os.environ.get("E2E_PROVIDER", "node")) != "node":
        pytest.skip(f"needs provider node, not {wanted}")
    if reason := node.missing():
        unavailable(f"provider node: {reason}")
    if shutil.which("sipp") is None:
        unavailable("SIPp is not installed (Debian: apt-get install sip-tester)")
    images = list(build.archives().values())
    with node.cluster(binaries, tmp_path_factory.mktemp("node"), images, images) as found:
        yield found


@pytest.fixture(scope="module")
def caller(cluster):
    """A machine outside of the cluster: (machine, address)."""
    return cluster.add_machine("caller")


@pytest.fixture(scope="module")
def outside(cluster, tmp_path_factory):
    """A FreeSWITCH node outside of the cluster."""
    machine, address = cluster.add_machine("outside")
    with fleet.outside("outside", machine, address, tmp_path_factory.mktemp("outside"), PASSWORD) as switch:
        yield switch


@pytest.fixture(scope="module")
def values(cluster, outside):
    """Values of the chart for this place."""
    here = {"image": {"tag": build.TAG}, "nodeSelector": {"kubernetes.io/hostname": "node-1"}}
    return {
        "operator": here,
        "balancer": {
            **here,
            "advertise": {"host": cluster.address, "port": SIP_PORT},
            "service": {"type": "NodePort", "nodePorts": {"udp": SIP_PORT, "tcp": SIP_PORT}},
            "nodeSide": {
                "networks": ["10.244.0.0/16", "10.77.0.0/28"],
                "advertise": [{"networks": [f"{outside.address}/32"], "host": cluster.address, "port": NODES_PORT}],
            },
            "stop": {"deadline": "20s"},
        },
    }


def helm(cluster, verb, folder, values):
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return cluster.helm(
        verb, RELEASE, str(CHART), "-n", SYSTEM, "-f", str(file), "--wait", "--timeout=150s", patience=180
    )


@pytest.fixture(scope="module")
def release(cluster, values, tmp_path_factory):
    """The chart, installed; and the Service that a node outside needs, which is the user's own."""
    cluster.create_namespace(SYSTEM)
    helm(cluster, "install", tmp_path_factory.mktemp("helm"), values)
    selector = cluster.get(f"/api/v1/namespaces/{SYSTEM}/services/{FULLNAME}-nodes")["spec"]["selector"]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "nodes-outside"},
            "spec": {
                "type": "NodePort",
                "externalTrafficPolicy": "Local",
                "selector": selector,
                "ports": [{"protocol": "UDP", "port": 5070, "nodePort": NODES_PORT}],
            },
        },
        namespace=SYSTEM,
    )


@pytest.fixture(scope="module")
def voice(cluster, release, outside):
    """FreeSWITCH of every kind, and the group over them, ready at every balancer."""
    cluster.create_namespace("voice")
    found = Voice(cluster, "voice")
    found.set_password(PASSWORD)
    pods, host = fleet.deployment("freeswitch", 2), fleet.deployment("freeswitch-host", 1, host="node-2")
    static = {"name": outside.name, "sip": f"sip:{outside.address}", "load": f"fs://{outside.address}"}
    members = {"selector": {"matchLabels": {"app": "freeswitch"}}, "static": [static]}
    cluster.apply(fleet.scripts(), pods, host, group("ivr", members=members), namespace="voice")
    until_in_service(found, 4)
    return found


def until_in_service(voice, nodes):
    """Wait until so many nodes take calls and every balancer acts on it."""

    def there():
        status = (voice.cluster.get(voice.path("balancergroups", "ivr")) or {}).get("status", {})
        conditions = voice.conditions("ivr")
        good = all(conditions.get(kind, ("", ""))[0] == "True" for kind in ("Accepted", "Programmed", "Ready"))
        return good and (status["nodes"], status["ready"]) == (nodes, nodes)

    voice.cluster.until(there, f"{nodes} nodes in service", 90, pause=0.3)


@pytest.fixture
def calls(cluster, caller, tmp_path):
    """Starts SIPp on the callers' machine: ``calls(scenario, calls=…, rate=…, pause_ms=…)``."""
    machine, address = caller

    def start(scenario="call", target=None, **options):
        with machine.inside():
            return sipp.start(scenario, target or f"{cluster.address}:{SIP_PORT}", tmp_path, local=address, **options)

    yield start
    sipp.end_all()


@contextlib.contextmanager
def guarded(caller):
    """As behind a firewall or a phone's own NAT: nothing comes in but from where something was sent to."""
    machine, _ = caller
    rules = "type filter hook input priority 0; ct state established,related accept; iif lo accept; drop;"
    machine.run("nft", "-f", "-", stdin=f"table inet guard {{\n chain in {{ {rules} }}\n}}\n")
    try:
        yield
    finally:
        machine.run("nft", "delete table inet guard")


def flawless(result, number):
    assert (result.successful, result.failed, result.unexpected) == (number, 0, 0), result.output


def answered(switches):
    return {switch.name: switch.counted("answered") for switch in switches}


# --- what must hold -----------------------------------------------------------------------------------------------


def test_helm_finds_the_release_well(cluster, release):
    """`helm test` sends an OPTIONS to the Service and takes 200 alone for an answer."""
    said = cluster.helm("test", RELEASE, "-n", SYSTEM, "--timeout=60s")
    assert "Phase:          Succeeded" in said


def test_calls_reach_every_kind_of_node(cluster, voice, outside, calls):
    switches = [*fleet.switches(cluster, "voice").values(), outside]
    assert len(switches) == 4
    run = calls(calls=100, rate=25, pause_ms=15_000)
    path = voice.path("balancergroups", "ivr")
    cluster.until(lambda: (cluster.get(path) or {})["status"]["sessions"] == 100, "100 sessions in the status", 30)
    row = cluster.kubectl("get", "bg", "ivr", "-n", "voice").splitlines()
    shown = dict(zip(row[0].split(), row[1].split(), strict=False))
    assert (shown["NODES"], shown["READY"], shown["SESSIONS"]) == ("4", "4", "100"), row
    flawless(run.result(60), 100)
    taken = answered(switches)
    assert all(taken.values()), taken
    assert sum(taken.values()) == 100, taken


def test_the_node_ends_the_call(cluster, voice, outside, calls):
    """BYE from every kind of node reaches the caller: by ClusterIP, from a host's network, and from outside."""
    switches = [*fleet.switches(cluster, "voice").values(), outside]
    run = calls("node-hangs-up", calls=80, rate=40)
    cluster.until(lambda: sum(one.shown()["live_calls"] for one in switches) == 80, "80 calls", 30)
    before = {one.name: one.shown()["live_calls"] for one in switches}
    assert all(before.values()), before
    for one in switches:
        one.do("hupall")
    flawless(run.result(60), 80)


def test_a_pod_goes_and_another_comes(cluster, voice, outside, calls):
    """Deleted with the time to finish its calls: no call fails, it gets no new one, its successor gets some.

    Its preStop is the samples' own: it pauses the node, says so in the pod's log, and ends with the last call.
    """
    before = fleet.switches(cluster, "voice")
    victim = next(one for name, one in before.items() if not name.startswith("freeswitch-host"))
    run = calls(calls=500, rate=20, pause_ms=1500)
    time.sleep(4)
    cluster.kubectl("delete", "pod", victim.name, "-n", "voice", "--wait=false")
    cluster.until(lambda: voice.states("ivr").get(victim.name) == "Draining", "the pod draining in the set")
    time.sleep(0.5)  # what is under way to it at this moment
    placed = victim.counted("answered")
    assert victim.shown()["paused_inbound"] is True
    log = cluster.kubectl("logs", victim.name, "-n", "voice")
    assert "switchtender-drain: paused, no new calls come in" in log
    assert re.search(r"switchtender-drain: sessions: \d+, seconds left: ", log), log

    def successor():
        return [one for name, one in fleet.switches(cluster, "voice").items() if name not in before]

    (new,) = cluster.until(successor, "its successor", 30)
    assert victim.counted("answered") == placed, "a pod on its way out gets no new call"
    flawless(run.result(90), 500)
    assert new.counted("answered") > 0
    assert victim.name not in voice.members("ivr")
    until_in_service(voice, 4)


def test_only_the_calls_of_a_pod_that_is_killed_end(cluster, voice, outside, calls):
    victim = next(one for name, one in fleet.switches(cluster, "voice").items() if "host" not in name)
    others = [one for name, one in fleet.switches(cluster, "voice").items() if name != victim.name] + [outside]
    before = sum(answered(others).values())
    # Every call outlives the kill, so whatever the victim answered is lost, and nothing else may be.
    run = calls(calls=120, rate=15, pause_ms=12_000)
    time.sleep(5)
    cluster.kubectl("delete", "pod", victim.name, "-n", "voice", "--grace-period=1", "--wait=false")
    result = run.result(150)
    known = {one.name for one in others}
    new = [one for name, one in fleet.switches(cluster, "voice").items() if name not in known]
    elsewhere = sum(answered(others).values()) - before + sum(answered(new).values())
    assert result.successful == elsewhere, result.output
    assert 0 < result.failed == 120 - elsewhere
    until_in_service(voice, 4)


def test_balancers_are_rolled_out_under_calls(cluster, voice, values, caller, calls, tmp_path):
    """A change of the release replaces every balancer: calls that stand stay, calls that come are served.

    The callers' firewall is closed to all but the address they call, as a NAT before them would be.
    """
    old = balancers(cluster)
    with guarded(caller):
        # A Service shares out flows; each of these is one.
        standing = [calls(calls=20, rate=20, pause_ms=60_000) for _ in range(3)]
        fresh = [calls(calls=250, rate=5) for _ in range(3)]
        time.sleep(3)
        started = time.monotonic()
        helm(cluster, "upgrade", tmp_path, {**values, "balancer": {**values["balancer"], "logLevel": "debug"}})
        print(f"\nroll-out of two balancers under calls: {time.monotonic() - started:.1f} s")
        cluster.until(lambda: not old & balancers(cluster), "the end of the old balancers", 60)
        for run in fresh:
            flawless(run.result(120), 250)
        for run in standing:
            flawless(run.result(120), 20)


def balancers(cluster):
    pods = cluster.items(f"/api/v1/namespaces/{SYSTEM}/pods", "app.kubernetes.io/component=balancer")
    return {pod["metadata"]["name"] for pod in pods}


# --- what is measured ---------------------------------------------------------------------------------------------


class Caller:
    """A user agent with a flow of its own that calls through the Service and waits to be hung up on."""

    def __init__(self, address, target):
        self.agent = Agent(address)
        self.target = target

    def call(self):
        host, port = self.target
        contact = f"<sip:alice@{self.agent.host_port}>"
        invite = request("INVITE", f"sip:ivr@{host}:{port}", self.agent, call_id=unique("bye"), contact=contact)
        self.agent.send(invite, self.target)
        dialog = Dialog.of_caller(self.agent, self.agent.next(200, 10))
        dialog.first_hop = self.target
        dialog.send("ACK")

    def hung_up(self):
        """The BYE; None when it did not come."""
        try:
            bye = self.agent.next("BYE", 8)
        except SilenceError:
            return None
        self.agent.reply(bye, 200, "OK")
        return bye


def byes(caller, targets, switches, meanwhile=lambda: None):
    """Where the nodes' BYEs come from, and whether their Via asks for the answer there (RFC 3581), over many calls."""
    machine, address = caller
    with machine.inside():
        callers = [Caller(address, targets[number % len(targets)]) for number in range(CALLERS)]
        for each in callers:
            each.call()
    meanwhile()
    for switch in switches:
        switch.do("hupall")
    came = collections.Counter()
    for each in callers:
        bye = each.hung_up()
        if bye is None:
            came["lost"] += 1
        elif bye.source == each.target:
            came["from the address called"] += 1
        else:
            elsewhere = "another port" if bye.source[0] == each.target[0] else "another host"
            asks = "with" if via_parameter(bye.list("Via")[0], "rport") is not None else "without"
            came[f"from {elsewhere}, {asks} rport"] += 1
        each.agent.close()
    assert came.total() == CALLERS
    return came


def test_what_a_service_loses(cluster, voice, outside, caller, record_property):
    """Measured, not judged. Nothing filters here, so every BYE must arrive.

    One that does not come from the address that was called, a NAT or a firewall before the caller would swallow.
    """
    switches = [*fleet.switches(cluster, "voice").values(), outside]
    unanswered = sum(switch.counted("byes_unanswered") for switch in switches)
    target = [(cluster.address, SIP_PORT)]
    at_once = byes(caller, target, switches)
    first = cluster.nodes[1].machine

    def forget():
        first.run("conntrack", "-D", "-p", "udp", "--orig-src", caller[1])

    after_silence = byes(caller, target, switches, forget)
    timeouts = {
        name: first.run("sysctl", "-n", f"net.netfilter.nf_conntrack_{name}").strip()
        for name in ("udp_timeout", "udp_timeout_stream")
    }
    found = {"at once": dict(at_once), "conntrack entry gone": dict(after_silence), "timeouts (s)": timeouts}
    record_property("byes", found)
    print(f"\nBYE from the node towards {CALLERS} callers, two replicas behind a node port: {found}")
    assert at_once["lost"] == after_silence["lost"] == 0
    assert after_silence["from the address called"] == 0, "the Service's address is the entry's, so it is gone, too"
    assert sum(switch.counted("byes_unanswered") for switch in switches) == unanswered


def test_balancers_on_their_hosts_network(cluster, voice, values, outside, caller, calls, tmp_path, record_property):
    """The shape for trunks: one balancer a host, no Service before it. Port 5060 of a host is one program's."""
    cluster.kubectl("delete", "deployment", "freeswitch-host", "-n", "voice", "--wait")
    until_in_service(voice, 3)
    side = values["balancer"]["nodeSide"]
    balancer = {
        "image": {"tag": build.TAG},
        "hostNetwork": True,
        "nodeSide": {**side, "advertise": [{**side["advertise"][0], "port": 5070}]},
        "stop": {"deadline": "5s"},
    }
    helm(cluster, "upgrade", tmp_path, {"operator": values["operator"], "balancer": balancer})
    until_in_service(voice, 3)
    switches = [*fleet.switches(cluster, "voice").values(), outside]
    before = answered(switches)
    hosts = [(each.address, 5060) for each in cluster.nodes.values()]
    with guarded(caller):
        for run in [calls(target=f"{host}:{port}", calls=60, rate=20) for host, port in hosts]:
            flawless(run.result(60), 60)
    after = answered(switches)
    assert sum(after.values()) - sum(before.values()) == 120
    assert all(after[name] > before[name] for name in after), (before, after)
    assert "Phase:          Succeeded" in cluster.helm("test", RELEASE, "-n", SYSTEM, "--timeout=60s")
    found = byes(caller, hosts, switches)
    record_property("byes, host network", dict(found))
    assert found["lost"] == 0
