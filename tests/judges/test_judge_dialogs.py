"""Dialogs in every spelling: the token is bound to Call-ID and tags, so what these are must be read right.

A header field that one stack writes folded, compact, in other case or with the name of the tag in quotes must not
cut a call in two; and what user agents do to our Record-Route on its way back must not, either.
"""

import itertools

import pytest

from tests.stand.agent import Agent, Dialog, Message, request, unique
from tests.stand.balancer import Layout
from tests.stand.scripted import establish, group, scripted, token_of

LAYOUT = Layout(address="127.0.0.106", http=18209)
TARGET = (LAYOUT.address, LAYOUT.sip)
NODE = "127.0.0.104"
CALLER = "127.0.0.110"
PLAIN = [f"plain{number}" for number in range(60)]
TURNS = itertools.cycle(PLAIN)
GROUPS = {name: [(NODE, 6200 + number)] for number, name in enumerate(PLAIN)}

FROMS = {
    "no brackets": "sip:alice@example.com;tag={}",
    "upper case": "<sip:alice@example.com>;TAG={}",
    "folded": "<sip:alice@example.com>\r\n ;x=y\r\n\t; tag\r\n = {}",
    "tag in the name": '"a;tag=no" <sip:alice@example.com>;tag={}',
    "a URI in the name": '"a\\" <sip:no>;tag=no" <sip:alice@example.com>;tag={}',
    "tag in the URI": "<sip:alice@example.com;tag=no?tag=no>;tag={}",
    "among others": "<sip:alice@example.com>;a=b;tag={};tags=no",
    "words": "Alice of Wonder-Land <sip:alice@example.com>;tag={}",
    "tel": "<tel:+12025550100;phone-context=x>;tag={}",
    "bytes": '"\xc3\x84\xff" <sip:%C3%A4@example.com>;tag={}',
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    with scripted(tmp_path_factory.mktemp("dialogs"), LAYOUT, GROUPS, groups) as running:
        yield running


@pytest.fixture
def node(stand):
    with stand.nodes(next(TURNS)) as [agent]:
        yield agent


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


def with_from(sent, value):
    """The request with another From."""
    lines = sent.decode("latin-1").split("\r\n")
    return "\r\n".join(f"From: {value}" if line.startswith("From:") else line for line in lines).encode("latin-1")


def both_ways(call):
    """A request of each side reaches the other."""
    for near, far in ((call.up, call.node), (call.down, call.caller)):
        near.send("INFO")
        far.reply(far.expect("INFO"), 200, "OK")
        near.agent.expect(200)


@pytest.mark.parametrize("spelling", FROMS)
def test_the_callers_tag_is_found_in_every_spelling(stand, caller, node, spelling):
    """RFC 3261 §7.3.1, §20.10, §25.1."""
    value = FROMS[spelling].format(unique("t"))
    call = establish(stand, caller, [node], invite=with_from(request("INVITE", node.uri, caller), value))
    both_ways(call)
    call.up.local = value
    call.down.remote = value
    both_ways(call)
    call.down.send("BYE")
    caller.reply(caller.expect("BYE"), 200, "OK")
    node.expect(200)


@pytest.mark.parametrize("spelling", ["no brackets", "folded", "tag in the name", "upper case"])
def test_the_nodes_tag_is_found_in_every_spelling(stand, caller, node, spelling):
    call = establish(stand, caller, [node])
    value = FROMS[spelling].format(Message(call.answer.raw).tag("To"))
    call.up.remote = value
    call.down.local = value
    both_ways(call)


def test_compact_names_and_any_order(stand, caller, node):
    """RFC 3261 §7.3.1, §7.3.3: Route last, everything compact, CSeq with blanks."""
    call = establish(stand, caller, [node])
    routes = "".join(f"rOUTE : {route}\r\n" for route in call.up.routes)
    message = (
        f"BYE {call.up.target} SIP/2.0\r\nt:{call.up.remote}\r\ni:{call.up.call_id}\r\nl:0\r\nCSEQ: 00002   BYE\r\n"
        f"f:{call.up.local}\r\n{routes}v:SIP/2.0/UDP {caller.host_port};BRANCH={unique('z9hG4bK')};RPORT\r\n\r\n"
    )
    caller.send(message, TARGET)
    bye = node.expect("BYE")
    assert bye.list("Route") == []
    node.reply(bye, 200, "OK")
    caller.expect(200)


@pytest.mark.parametrize(
    "change",
    [
        lambda route: route.replace(";lr", ";lr=on"),
        lambda route: route.replace(";lr", ";LR"),
        lambda route: route.replace(";lr", ";lr=true;x=y"),
        lambda route: route.replace(";lr", ";transport=udp;lr"),
        lambda route: route.replace("sip:", "SIP:"),
        lambda route: f"{route};header=param",
        lambda route: f'"Balancer, the" {route}',
        lambda route: route.replace(";lr>", ";lr >").replace(" >", ">").replace("<", " <"),
        lambda route: route.replace(LAYOUT.address, "balancer.example.com"),
    ],
    ids=["lr=on", "LR", "more", "transport", "SIP:", "header parameter", "display name", "blank", "another name"],
)
def test_what_user_agents_make_of_our_route_is_understood(stand, caller, node, change):
    """The token tells that it is ours, not its dress."""
    call = establish(stand, caller, [node])
    for dialog in (call.up, call.down):
        dialog.first_hop = TARGET if dialog is call.up else stand.node_side
        dialog.routes = [change(route) for route in dialog.routes]
    both_ways(call)


@pytest.mark.parametrize("kept", ["first", "second", "twice"])
def test_one_of_our_two_routes_is_enough(stand, caller, node, kept):
    """RFC 5658 §5: some user agents drop or repeat one of two that look alike; a caller has only its own, as a rule."""
    call = establish(stand, caller, [node])
    both = call.offered.list("Record-Route")
    for dialog, routes in ((call.up, both[::-1]), (call.down, both)):
        dialog.first_hop = TARGET if dialog is call.up else stand.node_side
        first, second = routes
        dialog.routes = {"first": [first], "second": [second], "twice": [first, first]}[kept]
    both_ways(call)


def test_a_caller_without_a_tag_is_served(stand, caller, node):
    """RFC 2543 had none; RFC 3261 §12.1.1 asks to be prepared for it: the tag is empty."""
    invite = with_from(request("INVITE", node.uri, caller), "<sip:old@example.com>")
    call = establish(stand, caller, [node], invite=invite)
    both_ways(call)
    call.down.send("BYE")
    caller.reply(caller.expect("BYE"), 200, "OK")
    node.expect(200)


def test_a_subscription_and_its_notifications(stand, caller, node):
    """RFC 6665 §4.1.2.4: the first NOTIFY may come before the answer to SUBSCRIBE; a refresh follows the dialog."""
    caller.send(request("SUBSCRIBE", node.uri, caller, fields=["Event: presence", "Expires: 60"]), TARGET)
    subscribe = node.expect("SUBSCRIBE")
    down = Dialog.of_node(node, subscribe, "s")
    down.send("NOTIFY", fields=["Event: presence", "Subscription-State: active"])
    caller.reply(caller.expect("NOTIFY"), 200, "OK")
    node.expect(200)
    node.reply(subscribe, 202, "Accepted", tag="s")
    up = Dialog.of_caller(caller, caller.expect(202))
    up.send("SUBSCRIBE", fields=["Event: presence", "Expires: 0"])
    refresh = node.expect("SUBSCRIBE")
    assert refresh.list("Record-Route") == []
    node.reply(refresh, 200, "OK")
    caller.expect(200)
    down.send("NOTIFY", fields=["Event: presence", "Subscription-State: terminated"])
    caller.reply(caller.expect("NOTIFY"), 200, "OK")
    node.expect(200)


@pytest.mark.parametrize("method", ["OPTIONS", "NOTIFY", "MESSAGE"])
def test_a_node_reaches_one_that_registered_with_more_than_calls(stand, caller, node, method):
    """RFC 3327: pings and message-waiting notes of the registrar go along the Path."""
    caller.send(request("REGISTER", node.uri, caller), TARGET)
    register = node.expect("REGISTER")
    node.reply(register, 200, "OK", tag="n")
    caller.expect(200)
    target = f"sip:alice@{caller.host_port}"
    node.send(request(method, target, node, routes=register.list("Path"), to=f"<{target}>"), stand.node_side)
    received = caller.expect(method)
    assert received.uri == target
    assert received.list("Route") == []
    caller.reply(received, 200, "OK", tag="c")
    node.expect(200)


def test_a_reason_to_end_of_a_node_that_shuts_down_reaches_the_caller(stand, caller, node):
    """FreeSWITCH on SIGTERM: BYE with Reason; the call ends as it should."""
    call = establish(stand, caller, [node])
    call.down.send("BYE", fields=['Reason: SIP;cause=701;text="SYSTEM_SHUTDOWN"'])
    bye = caller.expect("BYE")
    assert "SYSTEM_SHUTDOWN" in bye["Reason"]
    caller.reply(bye, 200, "OK")
    node.expect(200)


def test_two_calls_with_one_call_id_keep_apart(stand, caller, node):
    """One caller, one Call-ID, two From tags: two tokens, and neither is good for the other."""
    call_id = unique("same")
    one = establish(stand, caller, [node], call_id=call_id, from_tag="one")
    two = establish(stand, caller, [node], call_id=call_id, from_tag="two")
    assert token_of(one.offered) != token_of(two.offered)
    both_ways(one)
    both_ways(two)
    one.up.routes = two.up.routes
    one.up.send("INFO", uri=f"sip:{LAYOUT.address}")
    caller.expect(481)
