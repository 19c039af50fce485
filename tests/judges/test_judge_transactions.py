"""Transactions and dialogs through the running balancer: INVITE, ACK, CANCEL and all else, from both sides.

RFC 3261 §9, §13, §16.7, §16.10, §17 with RFC 6026, RFC 3262 and RFC 3327, as a caller and a node see them that the test
plays.
"""

import itertools

import pytest

from tests.stand.agent import (
    Agent,
    Dialog,
    Message,
    ack_of_failure,
    cancel_of,
    first_of,
    request,
    unique,
    uri_of,
)
from tests.stand.balancer import Layout
from tests.stand.scripted import establish, group, scripted

LAYOUT = Layout(address="127.0.0.102", http=18202)
NODE = "127.0.0.105"
PLAIN = [f"plain{number}" for number in range(90)]
TURNS = itertools.cycle(PLAIN)
"""A node for each test: one that goes away amid a transaction is left alone by the balancer for a while."""
GROUPS = {
    **{name: [(NODE, 6000 + number)] for number, name in enumerate(PLAIN)},
    "patient": [(NODE, 6010), (NODE, 6011)],
}
TARGET = (LAYOUT.address, LAYOUT.sip)
CALLER = "127.0.0.110"


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    with scripted(tmp_path_factory.mktemp("transactions"), LAYOUT, GROUPS, groups) as running:
        yield running


@pytest.fixture
def node(stand):
    with stand.nodes(next(TURNS)) as [agent]:
        yield agent


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


def invited(caller, nodes, **parts):
    """Send an INVITE; the node that has it, the INVITE as sent and as it came."""
    sent = caller.send(request("INVITE", nodes[0].uri, caller, **parts), TARGET)
    caller.expect(100)
    node, offered = first_of(nodes)
    assert offered.method == "INVITE"
    return node, sent, offered


def refused(node, offered, caller, sent, code=486, reason="Busy Here"):
    """End an INVITE that a test has no more use for."""
    node.reply(offered, code, reason, tag="n")
    node.next("ACK")
    caller.send(ack_of_failure(sent, caller.next(code)), TARGET)


def test_100_comes_at_once_and_only_once(stand, caller, node):
    """RFC 3261 §16.2, §16.7 step 5: our 100, without a To tag; the node's is consumed."""
    node, sent, offered = invited(caller, [node])
    node.reply(offered, 100, "Trying", fields=["X-From: node"])
    stand.alive(caller)
    caller.nothing()
    refused(node, offered, caller, sent)


def test_the_100_has_no_to_tag(caller, node):
    """RFC 3261 §8.2.6.1, §16.2: a proxy's 100."""
    sent = caller.send(request("INVITE", node.uri, caller), TARGET)
    trying = caller.expect(100)
    assert trying.tag("To") is None
    assert trying.list("Via")[0].endswith(f";received={CALLER}")
    refused(node, node.expect("INVITE"), caller, sent)


def test_a_100_with_only_our_via_is_understood(stand, caller, node):
    """FreeSWITCH puts only the topmost Via into its 100: the INVITE is not sent again after it."""
    node, sent, offered = invited(caller, [node])
    lines = [f"Via: {offered.list('Via')[0]}", f"From: {offered['From']}", f"To: {offered['To']}"]
    lines += [f"Call-ID: {offered['Call-ID']}", f"CSeq: {offered['CSeq']}", "Content-Length: 0", "", ""]
    node.send("\r\n".join(["SIP/2.0 100 Trying", *lines]), offered.source)
    node.nothing(0.8)
    refused(node, offered, caller, sent)


def test_an_unanswered_invite_is_sent_again(caller, node):
    """RFC 3261 §17.1.1.2 Timer A, byte for byte the same."""
    node, sent, offered = invited(caller, [node])
    assert node.expect("INVITE").raw == offered.raw
    refused(node, offered, caller, sent)


def test_an_invite_retransmission_is_absorbed(stand, caller):
    """RFC 3261 §17.2.1: answered with the last provisional response, and never sent to another node."""
    with stand.nodes("patient") as nodes:
        node, sent, offered = invited(caller, nodes)
        caller.send(sent, TARGET)
        caller.expect(100)
        node.reply(offered, 100, "Trying")
        node.reply(offered, 180, "Ringing", tag="n")
        caller.expect(180)
        caller.send(sent, TARGET)
        caller.expect(180)
        [other] = [agent for agent in nodes if agent is not node]
        other.nothing()
        node.nothing()
        refused(node, offered, caller, sent)


def test_an_invite_retransmission_after_the_200_is_silent(stand, caller, node):
    """RFC 6026 §7.1: in Accepted it is absorbed without an answer; the 200 is the node's to repeat."""
    call = establish(stand, caller, [node])
    caller.send(call.invite, TARGET)
    stand.alive(caller)
    caller.nothing()
    node.nothing()


def test_every_provisional_is_forwarded_and_each_200(stand, caller, node):
    """RFC 3261 §16.7 step 5, §13.3.1.4: the node repeats its 200 until the ACK, and each one is passed on."""
    node, _, offered = invited(caller, [node])
    for code in (180, 183, 180, 181, 182):
        node.reply(offered, code, "Progress", tag="n")
        caller.expect(code)
    for _ in range(4):
        node.reply(offered, 200, "OK", tag="n")
        answer = caller.expect(200)
    up = Dialog.of_caller(caller, answer)
    up.first_hop = TARGET
    for _ in range(2):
        up.send("ACK")
        ack = node.expect("ACK")
        assert ack.uri == up.target
        assert len(ack.list("Via")) == 2
        assert ack.branch != offered.branch, "end to end, a transaction of its own (§17)"


def test_an_ack_repeated_is_forwarded_with_the_same_branch(stand, caller, node):
    """RFC 3261 §16.11: what is forwarded statelessly has a branch that depends on the request alone."""
    call = establish(stand, caller, [node])
    ack = call.up.request("ACK")
    caller.send(ack, TARGET)
    caller.send(ack, TARGET)
    assert node.expect("ACK").raw == node.expect("ACK").raw
    call.up.send("ACK")
    assert node.expect("ACK").branch != Message(ack).branch


def test_a_provisional_after_the_200_is_dropped(stand, caller, node):
    """RFC 6026 §7.2: nothing but a 2xx is passed on once accepted."""
    call = establish(stand, caller, [node])
    node.reply(call.offered, 180, "Ringing", tag="n")
    node.reply(call.offered, 486, "Busy Here", tag="n")
    stand.alive(caller)
    caller.nothing()


def test_the_ack_of_a_failure_is_made_hop_by_hop(stand, caller, node):
    """RFC 3261 §17.1.1.3: our ACK has our Via alone, the INVITE's branch and URI, the To of the response."""
    node, sent, offered = invited(caller, [node], fields=["Route: <sip:192.0.2.99;lr>"])
    node.reply(offered, 486, "Busy Here", tag="nodetag")
    ack = node.expect("ACK")
    assert ack.list("Via") == offered.list("Via")[:1]
    assert ack.uri == offered.uri
    assert ack["To"] == f"{offered['To']};tag=nodetag"
    assert (ack["From"], ack["Call-ID"]) == (offered["From"], offered["Call-ID"])
    assert ack["CSeq"] == "1 ACK"
    assert ack.list("Route") == offered.list("Route")
    assert ack.all("Max-Forwards")
    busy = caller.expect(486)
    caller.send(ack_of_failure(sent, busy), TARGET)
    stand.alive(caller)
    node.nothing()


def test_a_failure_is_repeated_until_the_ack_and_no_longer(stand, caller, node):
    """RFC 3261 §17.2.1 Timer G; §17.1.1.2: the node's own repetition gets the ACK again, the caller nothing."""
    node, sent, offered = invited(caller, [node])
    node.reply(offered, 486, "Busy Here", tag="n")
    first = node.expect("ACK")
    busy = caller.expect(486)
    assert caller.expect(486).raw == busy.raw
    node.reply(offered, 486, "Busy Here", tag="n")
    assert node.expect("ACK").raw == first.raw
    caller.send(sent, TARGET)
    assert caller.expect(486).raw == busy.raw
    caller.send(ack_of_failure(sent, busy), TARGET)
    caller.nothing(1.2)
    caller.send(sent, TARGET)
    stand.alive(caller)
    caller.nothing()
    node.nothing()


def test_a_redirection_is_passed_on(caller, node):
    """RFC 3261 §16.7 step 4: recursion is optional; a caller that is redirected knows by itself."""
    node, sent, offered = invited(caller, [node])
    node.reply(offered, 302, "Moved Temporarily", tag="n", fields=["Contact: <sip:x@192.0.2.1>"])
    node.expect("ACK")
    moved = caller.expect(302)
    assert moved["Contact"] == "<sip:x@192.0.2.1>"
    caller.send(ack_of_failure(sent, moved), TARGET)


@pytest.mark.parametrize("code", [401, 407, 404, 480, 488, 501, 504, 600, 606])
def test_other_final_responses_are_passed_on_as_they_are(caller, node, code):
    node, sent, offered = invited(caller, [node])
    odd = ["Retry-After: 300", 'Proxy-Authenticate: Digest realm="a, b"', 'Reason: Q.850;cause=17;text="x"']
    answer = node.reply(offered, code, "Said so", tag="n", fields=odd, body=b"why")
    node.expect("ACK")
    failure = caller.expect(code)
    assert failure.text == answer.decode().replace(f"Via: {offered.list('Via')[0]}\r\n", "")
    caller.send(ack_of_failure(sent, failure), TARGET)


@pytest.mark.parametrize("side", ["caller", "node"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "MESSAGE", "OPTIONS", "FROBNICATE"])
def test_requests_in_a_dialog_go_both_ways(stand, caller, node, method, side):
    """RFC 3261 §12.2, §14; what is unknown too."""
    call = establish(stand, caller, [node])
    near, far = (call.up, node) if side == "caller" else (call.down, caller)
    sent = near.send(method)
    received = far.expect(method)
    assert received.uri == Message(sent).uri
    far.reply(received, 200, "OK")
    if method == "INVITE":
        near.agent.expect(100)
    near.agent.expect(200)
    if method == "INVITE":
        near.send("ACK")
        far.expect("ACK")


@pytest.mark.parametrize("side", ["caller", "node"])
def test_a_re_invite_that_is_refused_gets_its_ack_hop_by_hop(stand, caller, node, side):
    call = establish(stand, caller, [node])
    near, far = (call.up, node) if side == "caller" else (call.down, caller)
    sent = near.send("INVITE")
    received = far.expect("INVITE")
    far.reply(received, 491, "Request Pending")
    ack = far.expect("ACK")
    assert ack.branch == received.branch
    near.agent.expect(100)
    failure = near.agent.expect(491)
    near.agent.send(ack_of_failure(sent, failure), near.hop)
    near.send("BYE")
    far.reply(far.expect("BYE"), 200, "OK")
    near.agent.expect(200)


@pytest.mark.parametrize("side", ["caller", "node"])
def test_a_re_invite_can_be_cancelled(stand, caller, node, side):
    """RFC 3261 §9: the CANCEL goes to where the re-INVITE went."""
    call = establish(stand, caller, [node])
    near, far = (call.up, node) if side == "caller" else (call.down, caller)
    sent = near.send("INVITE")
    received = far.expect("INVITE")
    far.reply(received, 180, "Ringing")
    near.agent.expect(100)
    near.agent.expect(180)
    near.agent.send(cancel_of(sent), near.hop)
    near.agent.expect(200)
    cancel = far.expect("CANCEL")
    assert cancel.branch == received.branch
    far.reply(cancel, 200, "OK")
    far.reply(received, 487, "Request Terminated")
    far.expect("ACK")
    near.agent.send(ack_of_failure(sent, near.agent.expect(487)), near.hop)


@pytest.mark.parametrize("side", ["caller", "node"])
def test_bye_goes_both_ways_and_its_retransmission_is_absorbed(stand, caller, node, side):
    """RFC 3261 §15, §17.2.2: a repeated request gets the final response again, and the far side hears nothing."""
    call = establish(stand, caller, [node])
    near, far = (call.up, node) if side == "caller" else (call.down, caller)
    bye = near.send("BYE")
    received = far.expect("BYE")
    near.agent.send(bye, near.hop)
    far.reply(received, 200, "OK")
    answer = near.agent.expect(200)
    near.agent.send(bye, near.hop)
    assert near.agent.expect(200).raw == answer.raw
    far.nothing()


def test_an_unanswered_request_is_sent_again_and_a_late_answer_counts(caller, node):
    """RFC 3261 §17.1.2.2 Timer E; RFC 4320: no 100 of ours without INVITE."""
    caller.send(request("MESSAGE", node.uri, caller), TARGET)
    first = node.expect("MESSAGE")
    assert node.expect("MESSAGE").raw == first.raw
    caller.nothing()
    node.reply(first, 200, "OK", tag="n")
    caller.expect(200)


def test_prack_of_a_reliable_provisional(caller, node):
    """RFC 3262 §3, §4: in the early dialog, by the Record-Route of the 183."""
    node, _, offered = invited(caller, [node])
    node.reply(offered, 183, "Session Progress", tag="n", fields=["Require: 100rel", "RSeq: 7"])
    progress = caller.expect(183)
    up = Dialog.of_caller(caller, progress)
    up.first_hop = TARGET
    up.send("PRACK", fields=["RAck: 7 1 INVITE"])
    prack = node.expect("PRACK")
    assert prack["RAck"] == "7 1 INVITE"
    node.reply(prack, 200, "OK")
    caller.expect(200)
    up.send("UPDATE")
    node.reply(node.expect("UPDATE"), 200, "OK")
    caller.expect(200)
    node.reply(offered, 200, "OK", tag="n")
    assert caller.expect(200).tag("To") == "n"
    up.send("ACK", cseq=1)
    node.expect("ACK")


def test_register_takes_a_path_and_calls_come_back_along_it(stand, caller, node):
    """RFC 3327 §5.2: the node stores Path and puts it into Route; only then may it call someone through us."""
    fields = ["Supported: path", "Expires: 60"]
    caller.send(request("REGISTER", node.uri, caller, fields=fields), TARGET)
    register = node.expect("REGISTER")
    assert register.list("Record-Route") == []
    [path] = register.list("Path")
    assert path.endswith(f"@{LAYOUT.address}:{LAYOUT.node_side};lr>")
    node.reply(register, 200, "OK", tag="n", fields=[f"Contact: {register['Contact']};expires=60"])
    caller.expect(200)

    target = f"sip:alice@{caller.host_port}"
    invite = node.send(request("INVITE", target, node, routes=[path], to=f"<{target}>"), stand.node_side)
    node.expect(100)
    offered = caller.expect("INVITE")
    assert offered.uri == target
    assert offered.list("Route") == []
    assert offered.source == TARGET
    assert len(offered.list("Record-Route")) == 1
    caller.reply(offered, 180, "Ringing", tag="c")
    node.expect(180)
    caller.reply(offered, 200, "OK", tag="c", contact=f"<{target}>")
    answer = node.expect(200)
    down = Dialog.of_caller(node, answer)
    up = Dialog.of_node(caller, offered, "c")
    assert up.hop == TARGET
    assert down.hop == stand.node_side
    down.send("ACK")
    caller.expect("ACK")
    up.send("INVITE")
    again = node.expect("INVITE")
    assert again.uri == uri_of(Message(invite)["Contact"])
    node.reply(again, 200, "OK")
    caller.expect(100)
    caller.expect(200)
    up.send("ACK")
    node.expect("ACK")
    down.send("INFO")
    caller.reply(caller.expect("INFO"), 200, "OK")
    node.expect(200)
    up.send("BYE")
    node.reply(node.expect("BYE"), 200, "OK")
    caller.expect(200)


def test_a_call_along_the_path_can_be_cancelled(stand, caller, node):
    caller.send(request("REGISTER", node.uri, caller), TARGET)
    register = node.expect("REGISTER")
    node.reply(register, 200, "OK", tag="n")
    caller.expect(200)
    target = f"sip:alice@{caller.host_port}"
    sent = node.send(request("INVITE", target, node, routes=register.list("Path")), stand.node_side)
    offered = caller.expect("INVITE")
    caller.reply(offered, 180, "Ringing", tag="c")
    node.next(180)
    node.send(cancel_of(sent), stand.node_side)
    node.expect(200)
    caller.reply(caller.expect("CANCEL"), 200, "OK")
    caller.reply(offered, 487, "Request Terminated", tag="c")
    caller.expect("ACK")
    node.send(ack_of_failure(sent, node.expect(487)), stand.node_side)


def test_cancel_before_any_response_waits_for_the_first(stand, caller, node):
    """RFC 3261 §9.1: not before a provisional response; the caller gets its 487 meanwhile or then."""
    node, sent, offered = invited(caller, [node])
    caller.send(cancel_of(sent), TARGET)
    assert Message(caller.expect(200).raw)["CSeq"] == "1 CANCEL"
    assert all(message.method == "INVITE" for message in node.drain(0.2))
    node.reply(offered, 100, "Trying")
    cancel = node.next("CANCEL")
    assert cancel.list("Via") == offered.list("Via")[:1]
    assert (cancel.uri, cancel["To"], cancel["From"]) == (offered.uri, offered["To"], offered["From"])
    assert (cancel["Call-ID"], cancel["CSeq"]) == (offered["Call-ID"], "1 CANCEL")
    node.reply(cancel, 200, "OK", tag="n")
    node.reply(offered, 487, "Request Terminated", tag="n")
    node.next("ACK")
    gone = caller.expect(487)
    caller.send(ack_of_failure(sent, gone), TARGET)


def test_cancel_while_ringing(stand, caller, node):
    """RFC 3261 §16.10: 200 to the CANCEL at once, the pending branch is cancelled, 487 comes from the node."""
    node, sent, offered = invited(caller, [node])
    node.reply(offered, 180, "Ringing", tag="n")
    caller.expect(180)
    caller.send(cancel_of(sent), TARGET)
    ok = caller.expect(200)
    assert ok["CSeq"] == "1 CANCEL"
    cancel = node.expect("CANCEL")
    caller.send(cancel_of(sent), TARGET)
    caller.expect(200)
    node.reply(cancel, 200, "OK", tag="n")
    node.reply(offered, 487, "Request Terminated", tag="n")
    node.expect("ACK")
    caller.send(ack_of_failure(sent, caller.expect(487)), TARGET)
    stand.alive(caller)
    node.nothing()


def test_an_unanswered_cancel_is_sent_again(caller, node):
    """RFC 3261 §9.1: CANCEL is a request without INVITE like others, Timer E."""
    node, sent, offered = invited(caller, [node])
    node.reply(offered, 180, "Ringing", tag="n")
    caller.expect(180)
    caller.send(cancel_of(sent), TARGET)
    assert node.expect("CANCEL").raw == node.expect("CANCEL").raw
    node.reply(offered, 487, "Request Terminated", tag="n")
    node.next("ACK")


def test_cancel_after_the_200_changes_nothing(stand, caller, node):
    """RFC 3261 §9.2: 200 to the CANCEL, and the call stands."""
    call = establish(stand, caller, [node])
    caller.send(cancel_of(call.invite), TARGET)
    caller.expect(200)
    stand.alive(caller)
    node.nothing()
    call.up.send("BYE")
    node.reply(node.expect("BYE"), 200, "OK")
    caller.expect(200)


def test_a_200_that_crosses_the_cancel_wins(caller, node):
    """RFC 3261 §9.1: the call may be answered all the same; the 200 is forwarded (§16.7 step 5)."""
    node, sent, offered = invited(caller, [node])
    node.reply(offered, 180, "Ringing", tag="n")
    caller.expect(180)
    caller.send(cancel_of(sent), TARGET)
    caller.expect(200)
    cancel = node.expect("CANCEL")
    node.reply(offered, 200, "OK", tag="n")
    node.reply(cancel, 481, "Call/Transaction Does Not Exist", tag="n")
    answer = caller.expect(200)
    assert answer["CSeq"] == "1 INVITE"
    up = Dialog.of_caller(caller, answer)
    up.first_hop = TARGET
    up.send("ACK")
    node.expect("ACK")
    up.send("BYE")
    node.reply(node.expect("BYE"), 200, "OK")
    caller.expect(200)


def test_a_200_after_our_487_still_reaches_the_caller(caller, node):
    """RFC 3261 §16.7 step 5: a 2xx is forwarded whatever was sent before."""
    node, sent, offered = invited(caller, [node])
    caller.send(cancel_of(sent), TARGET)
    caller.expect(200)
    caller.send(ack_of_failure(sent, caller.expect(487)), TARGET)
    node.reply(offered, 200, "OK", tag="n")
    answer = caller.expect(200)
    up = Dialog.of_caller(caller, answer)
    up.first_hop = TARGET
    up.send("ACK")
    node.next("ACK")


def test_cancel_of_nothing_is_answered_481(stand, caller, node):
    """RFC 3261 §9.2, §16.10: there is no context, and nothing to forward it to."""
    caller.send(cancel_of(request("INVITE", node.uri, caller)), TARGET)
    caller.expect(481)
    stand.alive(caller)
    node.nothing()


def test_cancel_of_a_request_without_invite_has_no_effect(caller, node):
    """RFC 3261 §9.1: only an INVITE can be cancelled."""
    sent = caller.send(request("MESSAGE", node.uri, caller), TARGET)
    message = node.expect("MESSAGE")
    caller.send(cancel_of(sent), TARGET)
    caller.expect(481)
    node.reply(message, 200, "OK", tag="n")
    caller.expect(200)


def test_the_ack_of_a_refusal_of_ours_goes_no_further(stand, caller, node):
    """RFC 3261 §17.2.1: it is hop by hop, even where its Request-URI is that of a node."""
    sent = request("INVITE", f"sip:nobody@{node.host_port}", caller)
    caller.send(sent, TARGET)
    refusal = caller.expect(404)
    caller.send(ack_of_failure(sent, refusal), TARGET)
    stand.alive(caller)
    node.nothing()


def test_an_unknown_dialog_is_481_and_its_ack_goes_nowhere(stand, caller, node):
    """RFC 3261 §12.2.2; neither reaches a node."""
    call = establish(stand, caller, [node])
    stranger = Dialog(caller, unique("other"), call.up.local, call.up.remote, node.uri, [])
    stranger.first_hop = TARGET
    stranger.send("BYE")
    caller.expect(481)
    stranger.send("ACK")
    stand.alive(caller)
    node.nothing()
    caller.nothing()
