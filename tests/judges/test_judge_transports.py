"""UDP and TCP, IPv4 and IPv6, outside and inside: SIPp calls across every border, and tshark reads what we emit.

Each listener and the node side are advertised under names that stand nowhere else. So what a message holds of our
addresses tells who was meant to read it.
"""

import re
from dataclasses import dataclass

import pytest

from tests.stand import sipp
from tests.stand.balancer import Layout
from tests.stand.capture import captured_where
from tests.stand.nodes import Node as Simulated
from tests.stand.nodes import simulated
from tests.stand.process import until
from tests.stand.scripted import group, scripted

pytestmark = pytest.mark.usefixtures("sipp_installed", "capture_allowed")

LAYOUT = Layout(address="127.0.1.10", node_side=5570, http=18221, workers=2)
WORKER_PORTS = (5571, 5572)
OUTSIDE, INSIDE, SIX = "127.0.1.10:5060", "127.0.1.12:5060", "[::1]:5580"
LISTENERS = [
    {"name": "outside", "address": "127.0.1.10", "port": 5060, "advertise": {"host": "out.example.com"}},
    {"name": "inside", "address": "127.0.1.12", "port": 5060, "advertise": {"host": "in.example.com"}},
    {"name": "six", "address": "::1", "port": 5580, "advertise": {"host": "six.example.com"}},
]
NODE_SIDE = {
    "address": "::",
    "port": LAYOUT.node_side,
    "workerPorts": "5571-5572",
    "advertise": [{"host": "nodes.example.com", "port": 5777}],
}
OURS = [(5060, 5060), (5570, 5580)]
NAMES = {OUTSIDE: "out.example.com", INSIDE: "in.example.com", SIX: "six.example.com"}
CALLS = 10


@dataclass(frozen=True)
class Node:
    """A node that SIPp plays, and which side hangs up there."""

    name: str
    address: str
    port: int
    transport: str
    scenario: str = "answer"

    @property
    def uri(self):
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"sip:{host}:{self.port}" + (";transport=tcp" if self.transport == "t1" else "")


NODES = [
    Node("udp", "127.0.1.21", 5060, "u1"),
    Node("tcp", "127.0.1.22", 5060, "t1"),
    Node("udphup", "127.0.1.23", 5060, "u1", "answer-and-hang-up"),
    Node("tcphup", "127.0.1.24", 5060, "t1", "answer-and-hang-up"),
    Node("six", "::1", 5590, "u1"),
    Node("sixtcp", "::1", 5591, "t1"),
    Node("sixhup", "::1", 5592, "u1", "answer-and-hang-up"),
    Node("phones", "127.0.1.25", 5060, "u1", "register-and-be-called-node"),
]
CARRIERS = [Node("carrier", "127.0.1.28", 5060, "u1"), Node("carriertcp", "127.0.1.29", 5060, "t1")]
DIALERS = {"carrier": "127.0.1.26", "carriertcp": "127.0.1.27"}
"""Nodes that call out, by the carrier that their calls leave to."""
NODES_DOOR = f"127.0.1.10:{LAYOUT.node_side}"


@dataclass(frozen=True)
class Route:
    """Callers over a transport, where they call, and the node or carrier that is to answer."""

    transport: str
    target: str
    node: str
    local: str = ""


ROUTES = [
    Route("u1", OUTSIDE, "udp"),
    Route("t1", OUTSIDE, "udp"),
    Route("tn", OUTSIDE, "udp"),
    Route("u1", OUTSIDE, "tcp"),
    Route("t1", OUTSIDE, "tcp"),
    Route("tn", OUTSIDE, "tcp"),
    Route("u1", OUTSIDE, "udphup"),
    Route("t1", OUTSIDE, "udphup"),
    Route("tn", OUTSIDE, "udphup"),
    Route("u1", OUTSIDE, "tcphup"),
    Route("tn", OUTSIDE, "tcphup"),
    Route("u1", INSIDE, "udp"),
    Route("t1", INSIDE, "udphup"),
    Route("u1", SIX, "udp"),
    Route("t1", SIX, "tcp"),
    Route("u1", SIX, "udphup"),
    Route("tn", SIX, "tcphup"),
    Route("u1", OUTSIDE, "six"),
    Route("t1", OUTSIDE, "sixtcp"),
    Route("tn", OUTSIDE, "sixhup"),
    Route("u1", SIX, "six"),
    Route("t1", SIX, "sixhup"),
    Route("u1", OUTSIDE, "phones"),
    Route("t1", OUTSIDE, "phones"),
    Route("t1", SIX, "phones"),
    Route("u1", NODES_DOOR, "carrier", "127.0.1.26"),
    Route("t1", NODES_DOOR, "carrier", "127.0.1.26"),
    Route("u1", NODES_DOOR, "carriertcp", "127.0.1.27"),
]
CALLERS = {
    "answer": "call",
    "answer-and-hang-up": "node-hangs-up",
    "register-and-be-called-node": "register-and-be-called-caller",
}
"""What the other side plays."""
_FOUR = sorted({node.address for node in [*NODES, *CARRIERS] if ":" not in node.address})
EMITTED = " or ".join(
    [
        "src host 127.0.1.10 or src host 127.0.1.12 or src portrange 5570-5580",
        *(f"dst host {address}" for address in _FOUR),
        "(ip6 and dst portrange 5590-5592)",
    ]
)
"""What the balancer sends: from its listeners and its node side, and to the nodes also over connections it opened."""


REPORTING = [
    Simulated(node.name, 31 + number, {"max-sessions": 5000, "sessions-per-second": 2000}, net=1)
    for number, node in enumerate(NODES)
]
"""The Event Sockets of the nodes: without a report, each would be held to the default of 30 sessions a second."""


def document(node, reporting):
    user = {"userPattern": f"^{node.name}-"}
    made = group(node.name, [], match={"rules": [{"requestUri": user}, {"to": user}]})
    load = f"fs://:ClueCon@{reporting.address}"
    made.spec["members"] = {"static": [{"name": node.name, "sip": node.uri, "load": load}]}
    return made


def dialer(carrier):
    """A group of a node that calls out over a carrier."""
    egress = {"listener": "outside", "nextHops": [{"sip": carrier.uri}]}
    match = {"rules": [{"requestUri": {"user": "nobody"}}]}
    return group(carrier.name, [(DIALERS[carrier.name], 5060)], match=match, egress=egress)


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """A balancer with one group for each node."""
    folder = tmp_path_factory.mktemp("transports")
    listeners = [{**listener, "transports": ["UDP", "TCP"]} for listener in LISTENERS]
    http = {"address": LAYOUT.address, "port": LAYOUT.http}
    spec = {"listeners": listeners, "nodeSide": NODE_SIDE, "http": http}
    documents = [document(node, reporting) for node, reporting in zip(NODES, REPORTING, strict=True)]
    documents += [dialer(carrier) for carrier in CARRIERS]
    with simulated(REPORTING, folder), scripted(folder, LAYOUT, {}, documents, **spec) as stand:
        stand.settled()
        yield stand, folder
        sipp.end_all()


def play(folder, routes, calls, rate):
    """Calls on every route at once; what SIPp counted of each, and of each node."""
    played = {node: calls * sum(route.node == node.name for route in routes) for node in [*NODES, *CARRIERS]}
    wanted = {node: count for node, count in played.items() if count}
    nodes = [
        sipp.answer(node.scenario, node.address, node.port, folder, calls=count, transport=node.transport)
        for node, count in wanted.items()
    ]
    scenarios = {node.name: CALLERS[node.scenario] for node in wanted}
    callers = [
        sipp.start(
            scenarios[route.node],
            route.target,
            folder,
            calls=calls,
            rate=rate,
            pause_ms=50,
            local=route.local or ("::1" if route.target == SIX else "127.0.1.2"),
            service=f"{route.node}-1",
            transport=route.transport,
        )
        for route in routes
    ]
    return [run.result(20) for run in callers], [run.result(20) for run in nodes], list(wanted.values())


@pytest.fixture(scope="module")
def played(serve):
    _, folder = serve
    with captured_where(f"(tcp or udp) and ({EMITTED})", OURS, folder) as capture:
        results = play(folder, ROUTES, CALLS, rate=10)
    return *results, capture.packets()


def test_every_call_crosses(played):
    callers, nodes, wanted, _ = played
    for route, result in zip(ROUTES, callers, strict=True):
        assert (result.successful, result.failed, result.unexpected) == (CALLS, 0, 0), (route, result.output)
    for count, result in zip(wanted, nodes, strict=True):
        assert (result.successful, result.failed, result.unexpected) == (count, 0, 0), result.output


def test_every_packet_dissects_clean(played):
    *_, packets = played
    assert len(packets) > 6 * CALLS * len(ROUTES)
    assert not [packet for packet in packets if packet.malformed]
    # On a busy machine the capture shows a few messages of a stream in two pieces, and the first is none by itself.
    assert sum(not packet.sip for packet in packets) <= len(packets) // 50


def written(head):
    """The header fields that a proxy writes, and nothing of what the ends write."""
    return [line for line in head.split("\r\n") if re.match(r"(Via|Record-Route|Route|Path|Warning|Server):", line)]


def lines_to(packets, wanted):
    return [line for packet in packets if wanted(packet) for line in written(packet.head)]


@pytest.mark.parametrize("listener", NAMES, ids=["outside", "inside", "IPv6"])
def test_who_calls_in_sees_the_name_of_its_listener_and_no_other_address_of_ours(played, listener):
    *_, packets = played
    source = listener.replace("[", "").replace("]", "")
    lines = lines_to(packets, lambda packet: packet.source == source)
    own = [line for line in lines if NAMES[listener] in line]
    assert any(line.startswith("Via:") for line in own), "requests of the node"
    assert any(line.startswith("Record-Route:") for line in own), "answers of the node"
    assert not [line for line in lines if hidden(NAMES[listener]).search(line)]


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: carrier.name)
def test_a_carrier_sees_the_name_of_its_listener_and_no_other_address_of_ours(played, carrier):
    *_, packets = played
    lines = lines_to(packets, lambda packet: packet.destination == f"{carrier.address}:{carrier.port}")
    own = [line for line in lines if NAMES[OUTSIDE] in line]
    assert {line.split(":")[0] for line in own} >= {"Via", "Record-Route"}
    assert not [line for line in lines if hidden(NAMES[OUTSIDE]).search(line)]


def hidden(name):
    """What of ours may not be seen by those to whom we are ``name``, and the addresses of nodes."""
    others = [other for other in NAMES.values() if other != name]
    words = [*others, "nodes.example.com", "127.0.1.10", "127.0.1.12", "127.0.1.21"]
    # A port of ours and no more digits: a caller's own port, or a branch, may begin like it.
    return re.compile("|".join(map(re.escape, words)) + r"|:(557\d|5777)(?!\d)")


def test_a_node_sees_its_own_side_first(played):
    *_, packets = played
    places = {f"{node.address}:{node.port}" for node in NODES}
    heads = [packet.head for packet in packets if packet.destination in places and packet.head.startswith("INVITE ")]
    assert len(heads) > CALLS
    wrong = []
    for head in heads:
        routes = [line for line in head.split("\r\n") if line.startswith("Record-Route:")]
        near = all("@nodes.example.com:5777" in route for route in routes[::2])
        far = all(any(f"@{name}" in route for name in NAMES.values()) for route in routes[1::2])
        if not (near and far):
            wrong.append(head)
    # As above: what is cut or joined by the capture begins elsewhere.
    assert len(wrong) <= len(heads) // 50, wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    "routes",
    [
        [Route("t1", OUTSIDE, "udp"), Route("u1", OUTSIDE, "tcp")],
        [Route("t1", OUTSIDE, "tcp"), Route("tn", OUTSIDE, "tcphup")],
    ],
    ids=["between UDP and TCP", "TCP and TCP"],
)
def test_hundreds_of_calls_a_second(serve, routes):
    stand, folder = serve
    calls = 600
    stand.rested()
    callers, nodes, wanted = play(folder, routes, calls, rate=150)
    for result in callers:
        assert (result.successful, result.failed, result.unexpected) == (calls, 0, 0), result.output
    for count, result in zip(wanted, nodes, strict=True):
        assert (result.successful, result.failed, result.unexpected) == (count, 0, 0), result.output
    opened = "switchtender_tcp_connections"
    until(lambda: stand.metric(opened) <= len(NODES) * LAYOUT.workers, "connections closed with their callers")
