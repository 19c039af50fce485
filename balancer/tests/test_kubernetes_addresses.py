"""What stands in messages when a pod is reached through Services: nothing of the pod outside, and inside only what a
reply needs.
"""

import asyncio
import re

import pytest
from kubernetes_island import BALANCER, CALLER, OWN, SIP, Node, island, town
from kubernetes_stand import head, member
from tests.stand.agent import Agent, Dialog, request, unique, uri_of

NODE = "10.77.0.40"
CLUSTER_IP = "10.77.7.7"
OUTSIDE = "sip.example.com"
CONFIG = {
    "listeners": [
        {"name": "public", "address": "$(POD_IP)", "port": 5060, "advertise": {"host": OUTSIDE, "port": 5060}}
    ],
    "nodeSide": {"address": "$(POD_IP)", "port": 5070, "workerPorts": "5071-5074", "advertise": [{"service": "nodes"}]},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "nodes", "namespace": OWN},
    "spec": {"clusterIP": CLUSTER_IP},
}


@pytest.fixture(autouse=True)
def own_network():
    with island():
        yield


def addresses(text):
    """Every IPv4 address in a message, and every name of ours."""
    return set(re.findall(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b", text)) | set(re.findall(re.escape(OUTSIDE), text))


def place_a_call():
    """All that each side receives, from the INVITE to the BYE of the node."""
    to_caller, to_node = [], []
    with Agent(CALLER) as caller, Agent(NODE, 6060) as node:
        caller.send(request("INVITE", f"sip:1000@{OUTSIDE}", caller), SIP)
        to_caller.append(caller.expect(100))
        offered = node.expect("INVITE")
        tag = unique("n")
        node.reply(offered, 180, "Ringing", tag=tag, contact="<sip:node@media.example.net>")
        to_caller.append(caller.expect(180))
        node.reply(offered, 200, "OK", tag=tag, contact="<sip:node@media.example.net>")
        answer = caller.expect(200)
        up, down = Dialog.of_caller(caller, answer), Dialog.of_node(node, offered, tag)
        up.first_hop = SIP
        up.send("ACK")
        to_node += [offered, node.expect("ACK")]
        up.send("INFO")
        to_node.append(node.expect("INFO"))
        node.reply(to_node[-1], 200, "OK")
        to_caller += [answer, caller.expect(200)]
        down.first_hop = (BALANCER, 5070)  # where the ClusterIP leads
        down.send("BYE")
        to_caller.append(caller.expect("BYE"))
        caller.reply(to_caller[-1], 200, "OK")
        to_node.append(node.expect(200))
    return to_caller, to_node


async def test_nothing_of_the_pod_stands_in_what_callers_get(tmp_path):
    async with town(tmp_path, Node("unused", 50, sip="10.77.0.50:5999"), **CONFIG) as place:
        place.api.put(SERVICE)
        place.api.put(head("ivr", member("fs-0", NODE, sip={"port": 6060})))
        async with place.serving():
            to_caller, to_node = await asyncio.to_thread(place_a_call)
        for message in to_caller:
            # What a node says of itself, in its own Via and Contact, is the node's business.
            ours = [(name, value) for name, value in message.fields if name not in ("record-route", "via")]
            found = addresses(
                message.start + "".join(f"{name}: {value}\n" for name, value in ours) + message.list("Via")[0]
            )
            assert found <= {CALLER, OUTSIDE}, message.text
            assert BALANCER not in message.text
            # RFC 5658: both of our addresses are in the route set of either side, and none but the advertised ones.
            hosts = {uri_of(route).rpartition("@")[2] for route in message.list("Record-Route")}
            assert hosts <= {f"{OUTSIDE}:5060;lr", f"{CLUSTER_IP}:5070;lr"}, message.text
        assert to_caller[-1].list("Via")[0].startswith(f"SIP/2.0/UDP {OUTSIDE}:5060;")
        for message in to_node:
            own, *others = message.list("Via")
            rest = "".join(f"{name}: {value}\n" for name, value in message.fields if name != "via")
            assert BALANCER not in message.start + rest + "".join(others), message.text
            assert "0.0.0.0" not in message.text
            if message.method != "BYE":
                assert own.startswith(f"SIP/2.0/UDP {BALANCER}:507"), "replies come back to the worker itself"
