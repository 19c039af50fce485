"""Addresses in header fields: advertised ones, and those that the kernel picks where a socket is bound to a wildcard.

Callers and nodes come back to what stands there: never to 0.0.0.0, and by an advertised name only to us.
"""

import pytest

from tests.stand.agent import Agent, ack_of_failure, request, uri_of
from tests.stand.balancer import Layout
from tests.stand.scripted import establish, group, scripted, token_of

LAYOUT = Layout(address="0.0.0.0", sip=5090, node_side=5091, worker_ports=(5092, 5093), http=18208)
NEAR = "127.0.0.119"
"""An address of the host, as good as any other for a wildcard listener."""
NAMED = ("127.0.0.119", 5096)
NODE = "127.0.0.118"
CALLER = "127.0.0.110"
GROUPS = {"plain": [(NODE, 6010)], "behind": [("127.0.0.117", 6110)]}


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    listeners = [
        {"name": "wildcard", "address": LAYOUT.address, "port": LAYOUT.sip},
        {
            "name": "named",
            "address": NAMED[0],
            "port": NAMED[1],
            "advertise": {"host": "sip.example.com", "port": 5555},
        },
    ]
    node_side = {
        "address": LAYOUT.address,
        "port": LAYOUT.node_side,
        "workerPorts": "5092-5093",
        "advertise": [{"networks": ["127.0.0.117/32"], "host": "10.96.7.7", "port": 5777}],
    }
    http = {"address": "127.0.0.1", "port": LAYOUT.http}
    folder = tmp_path_factory.mktemp("addresses")
    layout = Layout(address="127.0.0.1", sip=LAYOUT.sip, node_side=LAYOUT.node_side, http=LAYOUT.http)
    with scripted(folder, layout, GROUPS, groups, listeners=listeners, nodeSide=node_side, http=http) as running:
        yield running


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


def test_a_wildcard_names_the_address_that_the_kernel_picks(stand, caller):
    """Towards the caller the address it sent to, towards the node the one that packets to it leave from."""
    with stand.nodes("plain") as [node]:
        target = (NEAR, LAYOUT.sip)
        call = establish(stand, caller, [node], to=target)
        assert call.answer.source == target
        near, far = (uri_of(route).partition("@")[2] for route in call.offered.list("Record-Route"))
        assert far == f"{NEAR}:{LAYOUT.sip};lr"
        assert near == f"{call.offered.source[0]}:{LAYOUT.node_side};lr"
        assert call.offered.list("Via")[0].startswith(f"SIP/2.0/UDP {call.offered.source[0]}:{call.offered.source[1]};")
        assert "0.0.0.0" not in call.offered.text + call.answer.text
        call.up.first_hop = None
        call.up.send("INFO")
        node.reply(node.expect("INFO"), 200, "OK")
        caller.expect(200)
        call.down.send("BYE")
        bye = caller.expect("BYE")
        assert bye.list("Route") == []
        assert "0.0.0.0" not in bye.text
        caller.reply(bye, 200, "OK")
        node.expect(200)


def test_advertised_addresses_stand_in_our_fields_and_are_known_as_ours(stand, caller):
    """RFC 3261 §16.4: the name in our Record-Route is ours when it comes back, and a URI of it is for us."""
    with stand.nodes("behind") as [node]:
        call = establish(stand, caller, [node], to=NAMED)
        near, far = call.offered.list("Record-Route")
        assert near == f"<sip:{token_of(call.offered)}@10.96.7.7:5777;lr>"
        assert far == f"<sip:{token_of(call.offered)}@sip.example.com:5555;lr>"
        assert call.offered.list("Via")[0].startswith(f"SIP/2.0/UDP {call.offered.source[0]}:509"), "where it left from"
        call.up.send("INFO")
        node.reply(node.expect("INFO"), 200, "OK")
        caller.expect(200)
        call.down.first_hop = ("127.0.0.1", LAYOUT.node_side)
        call.down.send("BYE")
        bye = caller.expect("BYE")
        assert bye.source == NAMED
        assert bye.list("Via")[0].startswith("SIP/2.0/UDP sip.example.com:5555;")
        assert bye.list("Route") == []
        caller.reply(bye, 200, "OK")
        node.expect(200)


def test_an_advertised_name_without_user_is_for_us(stand, caller):
    for uri, code in [
        ("sip:sip.example.com:5555", 200),
        ("sip:SIP.Example.COM:5555;transport=udp", 200),
        (f"sip:{NAMED[0]}:{NAMED[1]}", 200),
        ("sip:10.96.7.7:5777", 200),
        ("sip:sip.example.com", 404),
        ("sip:other.example.com:5555", 404),
    ]:
        caller.send(request("OPTIONS", uri, caller), NAMED)
        assert caller.receive().status == code, uri


def test_a_caller_at_a_worker_port_or_at_the_node_side_is_refused(stand, caller):
    """Those ports are for nodes, and what comes there is a node's call to the outside or nothing."""
    with stand.nodes("plain") as [node]:
        for port in (LAYOUT.node_side, 5092):
            target = ("127.0.0.1", port)
            sent = caller.send(request("INVITE", node.uri, caller), target)
            caller.send(ack_of_failure(sent, caller.expect(403)), target)
        node.nothing()
