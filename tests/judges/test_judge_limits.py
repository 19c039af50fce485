"""Our own limit: past `limits.maxTransactions` new calls are refused without state, and calls that stand go on."""

import contextlib

import pytest

from tests.stand.agent import Agent, ack_of_failure, request
from tests.stand.balancer import Layout
from tests.stand.process import until
from tests.stand.scripted import establish, group, scripted

LAYOUT = Layout(address="127.0.0.115", http=18206)
TARGET = (LAYOUT.address, LAYOUT.sip)
NODE = "127.0.0.118"
CALLER = "127.0.0.110"
GROUPS = {"plain": [(NODE, 6000)]}
LIMIT = 12


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    limits = {"maxTransactions": LIMIT}
    with scripted(tmp_path_factory.mktemp("limits"), LAYOUT, GROUPS, groups, limits=limits) as running:
        yield running


def test_past_the_limit_new_calls_get_503_and_calls_that_stand_go_on(stand):
    """An INVITE and what it becomes at the node are two transactions; what lingers counts, it takes memory."""
    with contextlib.ExitStack() as stack:
        [node] = stack.enter_context(stand.nodes("plain"))
        caller, other = (stack.enter_context(Agent(CALLER)) for _ in range(2))
        call = establish(stand, caller, [node])
        ringing = []
        for _ in range(LIMIT // 2 - 1):
            sent = other.send(request("INVITE", node.uri, other), TARGET)
            other.expect(100)
            offered = node.expect("INVITE")
            node.reply(offered, 180, "Ringing", tag="n")
            other.expect(180)
            ringing.append((sent, offered))

        refused = other.send(request("INVITE", node.uri, other), TARGET)
        first = other.expect(503)
        assert 5 <= int(first["Retry-After"]) <= 15
        other.send(refused, TARGET)
        second = other.expect(503)
        assert second.tag("To") == first.tag("To"), "stateless, and yet the same tag (RFC 3261 §8.2.7)"
        other.send(ack_of_failure(refused, second), TARGET)
        other.nothing(0.7)
        node.nothing(0)
        until(lambda: stand.metric("switchtender_sip_rejected_overload_total") >= 2, "a count of the refusals")

        for near, far in ((call.up, node), (call.down, caller)):
            near.send("INFO")
            far.reply(far.expect("INFO"), 200, "OK")
            near.agent.expect(200)
        for sent, offered in ringing:  # what was taken on is brought to its end
            node.reply(offered, 486, "Busy Here", tag="n")
            assert node.expect("ACK").branch == offered.branch
            other.send(ack_of_failure(sent, other.expect(486)), TARGET)
        call.up.send("BYE")
        node.reply(node.expect("BYE"), 200, "OK")
        caller.expect(200)
    assert stand.metric("switchtender_worker_panics_total") == 0
