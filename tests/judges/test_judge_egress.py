"""Calls that nodes make to the outside, on real sockets: where they leave to, and that nothing else leaves."""

import contextlib

import pytest

from tests.stand.agent import Agent, Dialog, request, unique
from tests.stand.balancer import Layout
from tests.stand.process import until
from tests.stand.scripted import group, scripted

LAYOUT = Layout(address="127.0.0.121", http=18221)
NODES = {"out": [("127.0.0.122", 6000)], "in": [("127.0.0.122", 6001)]}
TRUNKS = [("127.0.0.123", 6010), ("127.0.0.124", 6010)]
STRANGER = "127.0.0.125"


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    hops = [{"sip": f"sip:{host}:{port}", "priority": 10 - number} for number, (host, port) in enumerate(TRUNKS)]
    groups = [
        group("out", NODES["out"], egress={"listener": "default", "nextHops": hops}),
        group("in", NODES["in"]),
    ]
    listeners = [{"name": "default", "address": LAYOUT.address, "port": LAYOUT.sip}]
    with scripted(tmp_path_factory.mktemp("egress"), LAYOUT, NODES, groups, listeners=listeners) as running:
        yield running


@pytest.fixture
def trunks():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Agent(*address)) for address in TRUNKS]


def test_a_nodes_call_leaves_and_fails_over_and_its_dialog_runs_through_us(stand, trunks):
    first, second = trunks
    with stand.nodes("out") as [node]:
        node.send(request("INVITE", "sip:+15550100@carrier.example.net", node), stand.node_side)
        node.expect(100)
        offered = first.expect("INVITE")
        assert offered.uri == "sip:+15550100@carrier.example.net"
        first.reply(offered, 503, "Service Unavailable", tag=unique("t"))
        first.expect("ACK")
        offered = second.expect("INVITE")
        tag = unique("t")
        second.reply(offered, 200, "OK", tag=tag)
        near = Dialog.of_caller(node, node.next(200))
        near.send("ACK")
        second.expect("ACK")
        far = Dialog.of_node(second, offered, tag)
        far.send("BYE")
        node.reply(node.expect("BYE"), 200, "OK")
        second.expect(200)
        near.send("INFO")
        second.reply(second.expect("INFO"), 481, "Call/Transaction Does Not Exist")
        node.expect(481)


def test_nothing_else_leaves(stand, trunks):
    uri = "sip:+15550100@carrier.example.net"
    with stand.nodes("in") as [plain], Agent(STRANGER) as stranger:
        for agent in (plain, stranger):
            agent.send(request("INVITE", uri, agent), stand.node_side)
            assert agent.next(403).method == "INVITE"
    until(lambda: stand.metric("switchtender_sip_rejected_outward_total") == 2, "both refusals counted")
    for trunk in trunks:
        trunk.nothing(0)
