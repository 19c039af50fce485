"""Failover as callers and nodes see it: which failures lead to the next node, which never do, what the caller hears.

The nodes say what a FreeSWITCH says: its own refusals come without a 100 before them and without Reason, a far end's
503 comes after a 100 or with Reason.
"""

import re

import pytest

from tests.stand.agent import (
    Agent,
    Dialog,
    ack_of_failure,
    cancel_of,
    first_of,
    request,
)
from tests.stand.balancer import Layout
from tests.stand.process import until
from tests.stand.scripted import establish, group, scripted, token_of

LAYOUT = Layout(address="127.0.0.103", http=18203)
TARGET = (LAYOUT.address, LAYOUT.sip)
NODE = "127.0.0.106"
CALLER = "127.0.0.110"
COUNTS = {
    "refusing": 2, "gone": 2, "silent": 2, "stuck": 2, "closed": 2, "allclosed": 2, "leaving": 2, "ringing": 2,
    "far": 2, "many": 4, "mixed": 2, "suspect": 2, "cooling": 2, "small": 1, "chosen": 2, "asking": 2, "hasty": 2,
    "quick": 2, "late": 2, "later": 2, "race": 2, "short": 2, "dialog": 1, "quitting": 2,
    "tiny": 1, "pairs": 1,
}  # fmt: skip
GROUPS = {
    name: [(NODE, 6000 + 10 * place + number) for number in range(count)]
    for place, (name, count) in enumerate(COUNTS.items())
}
OWN_REFUSALS = ["Maximum Calls In Progress", "System Paused", "System Busy"]
HASTY = {"firstResponseTimeout": "300ms", "progressTimeout": "500ms"}
FAILOVER = {
    **dict.fromkeys(("stuck", "suspect", "hasty", "late", "later", "race"), HASTY),
    "silent": {"firstResponseTimeout": "2s"},
    "cooling": {"coolDown": {"min": "2s", "max": "2s"}},
    "chosen": {"retryOn": ["OwnRefusal", "404"]},
    "short": {"attempts": 1},
    "quitting": {"coolDown": {"min": "2s", "max": "2s"}},
}
CAPACITY = {
    "many": {"overLimit": {"retryAfter": {"min": "7s", "max": "9s"}}},
    "tiny": {"maxSessions": 1},
    "pairs": {"maxSessions": 2},
    "small": {"maxSessions": 1, "overLimit": {"status": 486, "retryAfter": {"min": "3s", "max": "4s"}}},
}  # fmt: skip


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    rooms = {name: {"legsPerCall": 1, **CAPACITY.get(name, {})} for name in GROUPS}
    groups = [group(name, nodes, FAILOVER.get(name), capacity=rooms[name]) for name, nodes in GROUPS.items()]
    with scripted(tmp_path_factory.mktemp("failover"), LAYOUT, GROUPS, groups) as running:
        yield running


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


def invited(caller, nodes, **parts):
    """Send an INVITE: the node that has it, the other, the INVITE as sent and as it came."""
    sent = caller.send(request("INVITE", nodes[0].uri, caller, **parts), TARGET)
    caller.expect(100)
    node, offered = first_of(nodes)
    assert offered.method == "INVITE"
    [other, *_] = [agent for agent in nodes if agent is not node] or [None]
    return node, other, sent, offered


def refuse(node, offered, code=503, reason="Maximum Calls In Progress", **parts):
    node.reply(offered, code, reason, tag="refused", **parts)
    ack = node.next("ACK")
    assert ack.branch == offered.branch


def answered(stand, caller, node, offered):
    """The node takes the call and the caller hangs up."""
    node.reply(offered, 200, "OK", tag="taken")
    answer = caller.expect(200)
    assert answer.tag("To") == "taken"
    up = Dialog.of_caller(caller, answer)
    up.first_hop = TARGET
    up.send("ACK")
    node.next("ACK")
    up.send("BYE")
    node.reply(node.expect("BYE"), 200, "OK")
    caller.expect(200)
    stand.alive(caller)
    caller.nothing()


@pytest.mark.parametrize("reason", OWN_REFUSALS)
def test_an_own_refusal_leads_to_the_next_node(stand, caller, reason):
    with stand.nodes("refusing") as nodes:
        first, second, _, offered = invited(caller, nodes)
        retry_after = ["Retry-After: 300"] if reason.startswith("Max") else []
        refuse(first, offered, reason=reason, fields=retry_after)
        again = second.expect("INVITE")
        answered(stand, caller, second, again)
        first.nothing()


def test_the_next_node_gets_the_same_request_on_a_branch_and_token_of_its_own(stand, caller):
    """RFC 3261 §16.6: each copy is made from the request as received."""
    with stand.nodes("refusing") as nodes:
        first, second, _, offered = invited(caller, nodes, fields=["X-Odd:  a , b"], body=b"v=0\r\n")
        refuse(first, offered)
        again = second.expect("INVITE")
        assert again.branch != offered.branch
        assert token_of(again) != token_of(offered)
        assert again["Max-Forwards"] == "69"
        ours = rf"branch={re.escape(offered.branch)}|{re.escape(token_of(offered))}"
        theirs = rf"branch={re.escape(again.branch)}|{re.escape(token_of(again))}"
        assert re.sub(ours, "_", offered.text) == re.sub(theirs, "_", again.text)
        answered(stand, caller, second, again)


def test_410_of_a_node_that_tears_down_leads_to_the_next(stand, caller):
    with stand.nodes("gone") as nodes:
        first, second, _, offered = invited(caller, nodes)
        refuse(first, offered, 410, "Gone")
        answered(stand, caller, second, second.expect("INVITE"))


def test_two_seconds_of_silence_lead_to_the_next(stand, caller):
    """The abandoned branch goes on being retransmitted (RFC 3261 §17.1.1.2) and is not cancelled (§9.1)."""
    with stand.nodes("silent") as nodes:
        first, second, _, offered = invited(caller, nodes)
        again = second.expect("INVITE")
        assert [message.raw for message in first.drain(0)] == [offered.raw] * 2, "after 0.5 and 1.5 s"
        answered(stand, caller, second, again)


def test_silence_after_the_100_cancels_and_leads_to_the_next(stand, caller):
    with stand.nodes("stuck") as nodes:
        first, second, _, offered = invited(caller, nodes)
        first.reply(offered, 100, "Trying")
        again = second.expect("INVITE")
        cancel = first.expect("CANCEL")
        assert cancel.branch == offered.branch
        first.reply(cancel, 200, "OK", tag="x")
        first.reply(offered, 487, "Request Terminated", tag="x")
        first.expect("ACK")
        answered(stand, caller, second, again)


def test_a_refused_port_leads_to_the_next_at_once(stand, caller):
    """ICMP port unreachable, found by the quoted branch: no timer has to run out."""
    open_port, closed_port = GROUPS["closed"]
    with Agent(*open_port, "sip:closed-1@example.com") as node:
        for _ in range(2):  # by turns: one of them is offered to the closed port first
            caller.send(request("INVITE", node.uri, caller), TARGET)
            caller.expect(100)
            answered(stand, caller, node, node.expect("INVITE"))
    assert closed_port not in (node.address,)
    assert until(lambda: stand.metric("switchtender_failovers_total", group="closed", cause="transport"), "a count")


def test_no_port_open_is_500_and_never_a_bare_503(stand, caller):
    """RFC 3261 §16.9: a transport error counts as 503, which goes upstream as 500 (§16.7 step 6)."""
    sent = caller.send(request("INVITE", "sip:allclosed-1@example.com", caller), TARGET)
    caller.expect(100)
    caller.send(ack_of_failure(sent, caller.expect(500)), TARGET)


def test_480_of_a_node_that_shuts_down_leads_to_the_next(stand, caller):
    with stand.nodes("leaving") as nodes:
        first, second, _, offered = invited(caller, nodes)
        first.reply(offered, 100, "Trying")
        refuse(first, offered, 480, "Temporarily Unavailable", fields=['Reason: SIP;cause=701;text="SYSTEM_SHUTDOWN"'])
        answered(stand, caller, second, second.expect("INVITE"))


def test_480_of_a_node_that_shuts_down_while_ringing_is_passed_on(stand, caller):
    """The caller has heard a 180: nobody is dialled again behind its back."""
    with stand.nodes("ringing") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        first.reply(offered, 180, "Ringing", tag="refused")
        caller.expect(180)
        refuse(first, offered, 480, "Temporarily Unavailable", fields=['Reason: SIP;cause=701;text="SYSTEM_SHUTDOWN"'])
        gone = caller.expect(480)
        assert "SYSTEM_SHUTDOWN" in gone["Reason"]
        caller.send(ack_of_failure(sent, gone), TARGET)
        second.nothing()


def test_a_node_that_says_it_shuts_down_gets_no_new_calls(stand, caller):
    """At once, whatever else is known of it: by turns every second call would go there."""
    with stand.nodes("quitting") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        first.reply(offered, 180, "Ringing", tag="refused")
        caller.expect(180)
        refuse(first, offered, 480, "Temporarily Unavailable", fields=['Reason: SIP;cause=701;text="SYSTEM_SHUTDOWN"'])
        caller.send(ack_of_failure(sent, caller.expect(480)), TARGET)
        for _ in range(4):
            node, _, _, offered = invited(caller, nodes)
            assert node is second
            answered(stand, caller, node, offered)


@pytest.mark.parametrize("ringing", [False, True])
@pytest.mark.parametrize("code", [486, 480, 404, 408, 500, 502, 504, 600, 603])
def test_what_a_far_end_says_is_passed_on_and_nobody_is_dialled_twice(stand, caller, code, ringing):
    with stand.nodes("far") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        first.reply(offered, 100, "Trying")
        if ringing:
            first.reply(offered, 180, "Ringing", tag="refused")
            caller.expect(180)
        refuse(first, offered, code, "Said", fields=["Reason: Q.850;cause=17"])
        failure = caller.expect(code)
        assert failure["Reason"] == "Q.850;cause=17"
        caller.send(ack_of_failure(sent, failure), TARGET)
        second.nothing()


@pytest.mark.parametrize("sign", ["a 100 before it", "a Reason", "another phrase", "a 180 before it"])
def test_a_far_503_is_500_and_nobody_is_dialled_twice(stand, caller, sign):
    """RFC 3261 §16.7 step 6; without the Retry-After that spoke of another element."""
    with stand.nodes("mixed") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        reason, fields = "Maximum Calls In Progress", ["Retry-After: 300"]
        if sign == "a 100 before it":
            first.reply(offered, 100, "Trying")
        elif sign == "a Reason":
            fields.append('Reason: Q.850;cause=42;text="SWITCH_CONGESTION"')
        elif sign == "another phrase":
            reason = "Service Unavailable"
        else:
            first.reply(offered, 180, "Ringing", tag="refused")
            caller.expect(180)
        refuse(first, offered, reason=reason, fields=fields)
        failure = caller.expect(500)
        assert failure.start == "SIP/2.0 500 Server Internal Error"
        assert failure.get("Retry-After") is None
        caller.send(ack_of_failure(sent, failure), TARGET)
        second.nothing()


def test_all_nodes_refuse_and_the_caller_gets_our_own_retry_after(stand, caller):
    """At most `attempts` nodes are tried; 503 with a random Retry-After within the bounds, never the node's 300."""
    with stand.nodes("many") as nodes:
        sent = caller.send(request("INVITE", nodes[0].uri, caller), TARGET)
        caller.expect(100)
        tried = []
        for _ in range(3):
            node, offered = first_of(nodes)
            tried.append(node)
            refuse(node, offered, fields=["Retry-After: 300"])
        refusal = caller.expect(503)
        assert 7 <= int(refusal["Retry-After"]) <= 9
        assert refusal.all("Retry-After") == [refusal["Retry-After"]]
        assert "Maximum Calls" not in refusal.text
        caller.send(ack_of_failure(sent, refusal), TARGET)
        assert len({node.address for node in tried}) == 3, "each tried once"
        stand.alive(caller)
        for node in nodes:
            node.nothing(0)


def test_a_far_ends_answer_beats_a_refusal(stand, caller):
    """RFC 3261 §16.7 step 6."""
    for code, seen in [(486, 486), (503, 500), (603, 603)]:
        with stand.nodes("refusing") as nodes:
            first, second, sent, offered = invited(caller, nodes)
            refuse(first, offered)
            refuse(second, second.expect("INVITE"), code, "Far", fields=["Reason: Q.850;cause=17"])
            failure = caller.expect(seen)
            caller.send(ack_of_failure(sent, failure), TARGET)


def test_one_attempt_is_one_attempt(stand, caller):
    with stand.nodes("short") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        refuse(first, offered, fields=["Retry-After: 300"])
        refusal = caller.expect(503)
        assert 5 <= int(refusal["Retry-After"]) <= 15
        caller.send(ack_of_failure(sent, refusal), TARGET)
        second.nothing()


def test_codes_that_the_group_retries_on_count_only_before_a_100(stand, caller):
    with stand.nodes("chosen") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        refuse(first, offered, 404, "Not Found")
        answered(stand, caller, second, second.expect("INVITE"))
        first, second, sent, offered = invited(caller, nodes)
        first.reply(offered, 100, "Trying")
        refuse(first, offered, 404, "Not Found")
        caller.send(ack_of_failure(sent, caller.expect(404)), TARGET)
        second.nothing()


def test_silence_that_the_group_does_not_retry_on_is_waited_out(stand, caller):
    with stand.nodes("chosen") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        first.expect("INVITE")
        second.nothing()
        refuse(first, offered, 486, "Busy Here")
        caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)


def test_other_requests_fail_over_too(stand, caller):
    with stand.nodes("refusing") as nodes:
        caller.send(request("REGISTER", nodes[0].uri, caller), TARGET)
        first, offered = first_of(nodes)
        [second] = [node for node in nodes if node is not first]
        first.reply(offered, 503, "Maximum Calls In Progress", tag="x", fields=["Retry-After: 300"])
        second.reply(second.expect("REGISTER"), 200, "OK", tag="y")
        assert caller.expect(200).tag("To") == "y"


def test_a_503_within_a_dialog_is_500(stand, caller):
    """RFC 3261 §16.7 step 6: the caller must not take us for out of service."""
    with stand.nodes("dialog") as nodes:
        call = establish(stand, caller, nodes)
        call.up.send("INFO")
        call.node.reply(call.node.expect("INFO"), 503, "Maximum Calls In Progress", fields=["Retry-After: 300"])
        failure = caller.expect(500)
        assert failure.get("Retry-After") is None


def test_a_node_that_refused_is_left_alone_for_a_while(stand, caller):
    """Its `Retry-After: 300` is not obeyed either: after the cool-down it is asked again."""
    with stand.nodes("cooling") as nodes:
        first, second, _, offered = invited(caller, nodes)
        refuse(first, offered, fields=["Retry-After: 300"])
        answered(stand, caller, second, second.expect("INVITE"))
        for _ in range(4):
            node, _, _, offered = invited(caller, nodes)
            assert node is second
            answered(stand, caller, node, offered)

        def asked_again():
            node, _, _, offered = invited(caller, nodes)
            answered(stand, caller, node, offered)
            return node is first

        until(asked_again, "a call for the node that had refused", patience=5)


def test_a_silent_node_is_tried_by_one_call_at_a_time_until_it_answers(stand, caller):
    with stand.nodes("suspect") as nodes:
        silent, good, _, _ = invited(caller, nodes)
        answered(stand, caller, good, good.expect("INVITE"))
        silent.drain(0)
        standing = []
        for _ in range(8):
            caller.send(request("INVITE", good.uri, caller), TARGET)
            caller.expect(100)
        while len(standing) < 8:
            offered = good.expect("INVITE")
            good.reply(offered, 180, "Ringing", tag="taken")
            standing.append(offered)
        assert len({message["Call-ID"] for message in silent.drain(0)}) <= 2, "one after the other, not eight at once"


def test_a_full_group_refuses_at_once_as_it_was_told_to(stand, caller):
    """`overLimit`: the status and the Retry-After of the group; nothing reaches the node; room comes back with BYE."""
    with stand.nodes("small") as [node]:
        call = establish(stand, caller, [node])
        sent = caller.send(request("INVITE", node.uri, caller), TARGET)
        refusal = caller.expect(486)
        assert 3 <= int(refusal["Retry-After"]) <= 4
        caller.send(ack_of_failure(sent, refusal), TARGET)
        stand.alive(caller)
        node.nothing()
        call.up.send("BYE")
        node.reply(node.expect("BYE"), 200, "OK")
        caller.expect(200)
        call = establish(stand, caller, [node])
        call.down.send("BYE")
        caller.reply(caller.expect("BYE"), 200, "OK")
        node.expect(200)
        establish(stand, caller, [node])


@pytest.mark.parametrize("end", ["refused", "cancelled", "challenged", "a BYE with 481", "the node's BYE with 481"])
def test_a_call_that_is_over_in_whatever_way_leaves_its_place(stand, caller, end):
    """A member without `load` is measured by our own counts alone; what they do not give back is lost for ever."""
    with stand.nodes("tiny") as [node]:
        for _ in range(3):
            if end.startswith("a BYE"):
                call = establish(stand, caller, [node])
                call.up.send("BYE")
                node.reply(node.expect("BYE"), 481, "Call/Transaction Does Not Exist")
                caller.expect(481)
            elif end.startswith("the node's"):
                call = establish(stand, caller, [node])
                call.down.send("BYE")
                caller.reply(caller.expect("BYE"), 481, "Call/Transaction Does Not Exist")
                node.expect(481)
            elif end == "cancelled":
                _, _, sent, offered = invited(caller, [node])
                node.reply(offered, 180, "Ringing", tag="refused")
                caller.expect(180)
                caller.send(cancel_of(sent), TARGET)
                caller.expect(200)
                node.reply(node.expect("CANCEL"), 200, "OK", tag="refused")
                refuse(node, offered, 487, "Request Terminated")
                caller.send(ack_of_failure(sent, caller.expect(487)), TARGET)
            else:
                code = 407 if end == "challenged" else 486
                _, _, sent, offered = invited(caller, [node])
                refuse(node, offered, code, "No")
                caller.send(ack_of_failure(sent, caller.expect(code)), TARGET)
        seen = until(lambda: stand.balancer.nodes()["tiny-0"]["effective"] == 0, "an empty node")
        assert seen


def test_both_sides_hang_up_at_once_and_one_place_is_free(stand, caller):
    """Two BYEs that cross, one call: counted twice, the node would be given one call too many, for ever."""
    with stand.nodes("pairs") as [node]:
        stays = establish(stand, caller, [node])
        for _ in range(3):
            call = establish(stand, caller, [node])
            call.up.send("BYE")
            call.down.send("BYE")
            node.reply(node.next("BYE"), 200, "OK")
            caller.reply(caller.next("BYE"), 200, "OK")
            node.next(200)
            caller.next(200)
        last = establish(stand, caller, [node])
        sent = caller.send(request("INVITE", node.uri, caller), TARGET)
        caller.send(ack_of_failure(sent, caller.expect(503)), TARGET)
        for call in (stays, last):
            call.up.send("BYE")
            node.reply(node.expect("BYE"), 200, "OK")
            caller.expect(200)


@pytest.mark.parametrize(("code", "asks", "says"), [(401, "WWW", ""), (407, "Proxy", "Proxy-")])
def test_credentials_return_to_the_node_that_challenged(stand, caller, code, asks, says):
    """A nonce is known to the node that made it; by turns every second call would go to the other."""
    with stand.nodes("asking") as nodes:
        for _ in range(4):
            node, _, sent, offered = invited(caller, nodes)
            refuse(node, offered, code, "Who", fields=[f'{asks}-Authenticate: Digest realm="r", nonce="n"'])
            caller.send(ack_of_failure(sent, caller.expect(code)), TARGET)
            credentials = [f'{says}Authorization: Digest username="alice", nonce="n"']
            again, _, _, offered = invited(caller, nodes, call_id=offered["Call-ID"], cseq=2, fields=credentials)
            assert again is node
            answered(stand, caller, node, offered)


def test_cancel_while_failing_over_stops_it(stand, caller):
    """RFC 3261 §16.10: no further node is tried, and every branch is cancelled once it may be."""
    with stand.nodes("hasty") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        again = second.expect("INVITE")
        caller.send(cancel_of(sent), TARGET)
        caller.expect(200)
        caller.send(ack_of_failure(sent, caller.expect(487)), TARGET)
        for node, invite in [(first, offered), (second, again)]:
            node.drain(0)
            node.reply(invite, 180, "Ringing", tag="n")
            cancel = node.next("CANCEL")
            assert cancel.branch == invite.branch
            node.reply(cancel, 200, "OK", tag="n")
            node.reply(invite, 487, "Request Terminated", tag="n")
            node.next("ACK")
        stand.alive(caller)
        caller.nothing()


def test_a_refusal_after_the_cancel_is_not_tried_elsewhere(stand, caller):
    with stand.nodes("quick") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        first.reply(offered, 100, "Trying")
        caller.send(cancel_of(sent), TARGET)
        caller.expect(200)
        first.reply(first.expect("CANCEL"), 200, "OK", tag="n")
        first.reply(offered, 503, "Maximum Calls In Progress", tag="n")
        first.expect("ACK")
        assert caller.expect(487)
        second.nothing(0.5)


def test_a_late_200_of_an_abandoned_branch_wins_if_no_other_did(stand, caller):
    """RFC 3261 §16.7 step 5; the other branch is cancelled (step 10)."""
    with stand.nodes("late") as nodes:
        first, second, _, offered = invited(caller, nodes)
        again = second.expect("INVITE")
        second.reply(again, 180, "Ringing", tag="second")
        caller.expect(180)
        first.reply(offered, 200, "OK", tag="first")
        answer = caller.expect(200)
        assert answer.tag("To") == "first"
        cancel = second.next("CANCEL")
        assert cancel.branch == again.branch
        second.reply(cancel, 200, "OK", tag="second")
        second.reply(again, 487, "Request Terminated", tag="second")
        second.expect("ACK")
        up = Dialog.of_caller(caller, answer)
        up.first_hop = TARGET
        up.send("ACK")
        assert first.next("ACK")
        caller.nothing()


def test_two_200s_are_both_forwarded_and_lead_to_their_own_nodes(stand, caller):
    """RFC 3261 §16.7 step 5, §13.2.2.4: the caller ends the call that it does not want."""
    with stand.nodes("race") as nodes:
        first, second, _, offered = invited(caller, nodes)
        again = second.expect("INVITE")
        second.reply(again, 200, "OK", tag="second")
        first.reply(offered, 200, "OK", tag="first")
        answers = {answer.tag("To"): answer for answer in (caller.expect(200), caller.expect(200))}
        assert set(answers) == {"first", "second"}
        for tag, node in (("first", first), ("second", second)):
            up = Dialog.of_caller(caller, answers[tag])
            up.first_hop = TARGET
            up.send("ACK")
            assert node.next("ACK").tag("To") == tag
            up.send("BYE")
            node.reply(node.expect("BYE"), 200, "OK")
            caller.expect(200)


def test_an_abandoned_branch_is_cancelled_on_its_first_provisional(stand, caller):
    with stand.nodes("later") as nodes:
        first, second, sent, offered = invited(caller, nodes)
        again = second.expect("INVITE")
        first.reply(offered, 180, "Ringing", tag="first")
        cancel = first.next("CANCEL")
        first.reply(cancel, 200, "OK", tag="first")
        first.reply(offered, 487, "Request Terminated", tag="first")
        first.next("ACK")
        stand.alive(caller)
        caller.nothing()
        refuse(second, again, 486, "Busy Here")
        caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)
