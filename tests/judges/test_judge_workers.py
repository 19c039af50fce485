"""Three workers behind one address, and a client that changes its port: the worker that knows the transaction has it.

The kernel gives a datagram to a worker by its source and destination. Behind a NAT that rebinds, or a client that sends
each message from another socket, INVITE, retransmission, CANCEL and ACK come to different workers.
"""

import contextlib

import pytest

from tests.stand.agent import Agent, Dialog, ack_of_failure, cancel_of, request, response, unique
from tests.stand.balancer import Layout
from tests.stand.process import until
from tests.stand.scripted import establish, group, scripted

LAYOUT = Layout(address="127.0.0.116", http=18207, workers=3)
TARGET = (LAYOUT.address, LAYOUT.sip)
WORKER_PORTS = range(5071, 5074)
NODE = "127.0.0.117"
CALLER = "127.0.0.110"
GROUPS = {f"plain{number}": [(NODE, 6000 + number)] for number in range(20)}
SOCKETS = 12
"""Sources of one client; that they all go to one of three workers has odds of 1 to 177,147."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    with scripted(tmp_path_factory.mktemp("workers"), LAYOUT, GROUPS, groups) as running:
        yield running


_names = iter(GROUPS)


@pytest.fixture
def node(stand):
    with stand.nodes(next(_names)) as [agent]:
        yield agent


@pytest.fixture
def sources():
    """One client, many ports."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Agent(CALLER)) for _ in range(SOCKETS)]


def invited(first, node):
    sent = first.send(request("INVITE", node.uri, first), TARGET)
    first.expect(100)
    return sent, node.expect("INVITE")


def handed_over(stand):
    return stand.metric("switchtender_sip_handed_over_total")


def settled(stand, sources):
    """Every worker has handled what came before."""
    for source in sources:
        stand.alive(source)


def test_retransmissions_from_other_ports_are_absorbed(stand, node, sources):
    """RFC 3261 §17.2.3: the transaction is found by branch, sent-by and method, not by the port it came from."""
    sent, offered = invited(sources[0], node)
    node.reply(offered, 180, "Ringing", tag="n")
    sources[0].expect(180)
    before = handed_over(stand)
    for source in sources[1:]:
        source.send(sent, TARGET)
    for _ in sources[1:]:
        sources[0].expect(180)
    settled(stand, sources[1:])
    node.nothing()
    until(lambda: handed_over(stand) > before, "a retransmission that came to another worker")
    node.reply(offered, 486, "Busy Here", tag="n")
    node.expect("ACK")
    sources[0].send(ack_of_failure(sent, sources[0].expect(486)), TARGET)


def test_a_cancel_from_another_port_finds_its_invite(stand, node, sources):
    for source in sources[1:5]:
        sent, offered = invited(sources[0], node)
        node.reply(offered, 180, "Ringing", tag="n")
        sources[0].expect(180)
        source.send(cancel_of(sent), TARGET)
        assert source.expect(200)["CSeq"] == "1 CANCEL"
        cancel = node.expect("CANCEL")
        assert cancel.branch == offered.branch
        node.reply(cancel, 200, "OK", tag="n")
        node.reply(offered, 487, "Request Terminated", tag="n")
        node.expect("ACK")
        source.send(ack_of_failure(sent, sources[0].expect(487)), TARGET)


def test_an_ack_from_another_port_ends_the_retransmissions(stand, node, sources):
    """RFC 3261 §17.2.1: Timer G stops with the ACK, whichever worker received it; and it is not forwarded."""
    sent, offered = invited(sources[0], node)
    node.reply(offered, 486, "Busy Here", tag="n")
    node.expect("ACK")
    busy = sources[0].expect(486)
    for source in sources[1:]:
        source.send(ack_of_failure(sent, busy), TARGET)
    sources[0].nothing(0.7)
    node.nothing()


def test_the_rest_of_a_call_may_come_from_anywhere(stand, node, sources):
    """The token routes it: no worker has to know the dialog."""
    call = establish(stand, sources[0], [node])
    for number, source in enumerate(sources[1:], start=2):
        call.up.agent = source
        call.up.send("INFO", cseq=number)
        node.reply(node.expect("INFO"), 200, "OK")
        source.expect(200)
        call.up.send("ACK", cseq=1)
        node.expect("ACK")
    call.up.send("BYE", cseq=100)
    node.reply(node.expect("BYE"), 200, "OK")
    call.up.agent.expect(200)


def test_a_request_without_invite_repeated_from_another_port(stand, node, sources):
    """RFC 3261 §17.2.2: the final response is given again, the node asked once."""
    call = establish(stand, sources[0], [node])
    bye = call.up.send("BYE")
    received = node.expect("BYE")
    for source in sources[1:]:
        source.send(bye, TARGET)
    settled(stand, sources[1:])
    node.nothing(0)
    node.reply(received, 200, "OK")
    sources[0].expect(200)
    for source in sources[1:]:
        source.send(bye, TARGET)
        assert sources[0].expect(200)["CSeq"] == received["CSeq"]
    node.nothing()


def test_a_response_at_a_siblings_port_finds_its_transaction(stand, node, sources):
    """The branch names the worker; a node that answers to the wrong port, or to the shared one, is understood."""
    sent, offered = invited(sources[0], node)
    ports = [(LAYOUT.address, port) for port in (*WORKER_PORTS, LAYOUT.node_side)]
    for code, port in zip((180, 181, 182, 183), ports, strict=True):
        node.send(response(node, offered, code, "Progress", tag="n"), port)
        sources[0].expect(code)
    node.reply(offered, 486, "Busy Here", tag="n")
    node.expect("ACK")
    sources[0].send(ack_of_failure(sent, sources[0].expect(486)), TARGET)


def test_responses_from_the_caller_reach_the_worker_that_asked(stand, node, sources):
    """A BYE of the node went out of the shared listener; its 200 may come to any worker."""
    for source in sources:
        call = establish(stand, source, [node])
        call.down.send("BYE")
        bye = source.expect("BYE")
        for other in sources[:3]:
            other.send(response(source, bye, 200, "OK"), TARGET)
        assert node.expect(200)["CSeq"] == bye["CSeq"]
        node.nothing(0.01)


def test_one_hundred_calls_over_three_workers_reach_an_end(stand, sources):
    """Every message of every call from a port of its own."""
    names = list(GROUPS)[-5:]

    def counted(what):
        return sum(stand.metric(f"switchtender_node_{what}", group=name) for name in names)

    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(stand.nodes(name))[0] for name in names]
        for number in range(100):
            node = nodes[number % len(nodes)]
            invite_from, ack_from, bye_from = (sources[(number + step) % SOCKETS] for step in (0, 5, 9))
            call_id = unique("hundred")
            invite_from.send(request("INVITE", node.uri, invite_from, call_id=call_id), TARGET)
            invite_from.expect(100)
            offered = node.expect("INVITE")
            node.reply(offered, 200, "OK", tag="n")
            up = Dialog.of_caller(ack_from, invite_from.expect(200))
            up.first_hop = TARGET
            up.send("ACK")
            node.expect("ACK")
            up.agent = bye_from
            up.send("BYE")
            node.reply(node.expect("BYE"), 200, "OK")
            bye_from.expect(200)
        for node in nodes:
            node.nothing(0.01)
    until(lambda: counted("calls_ended_total") == 100, "one hundred calls counted as ended")
    assert counted("calls_assigned_total") == 100
    assert counted("invites_in_flight") == 0
    assert stand.metric("switchtender_worker_panics_total") == 0
    assert stand.metric("switchtender_sip_hand_overs_lost_total") == 0
