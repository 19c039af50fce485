"""Nobody can use the balancer as a relay: every try to make it send something to a victim, and callers behind NAT.

An outsider that knows all of a dialog (its token, Call-ID and tags) can reach that dialog's two ends and nobody else.
"""

import itertools
import random
import re

import pytest

from tests.stand.agent import Agent, Dialog, Message, ack_of_failure, joined, request, unique, uri_of
from tests.stand.balancer import Layout
from tests.stand.process import until
from tests.stand.scripted import establish, group, scripted, token_of

LAYOUT = Layout(address="127.0.0.107", http=18204)
TARGET = (LAYOUT.address, LAYOUT.sip)
NAT_TARGET = (LAYOUT.address, 5062)
NODE = "127.0.0.108"
CALLER = "127.0.0.110"
OUTSIDER = "127.0.0.111"
VICTIM = "127.0.0.112"
PLAIN = [f"plain{number}" for number in range(90)]
TURNS = itertools.cycle(PLAIN)
"""A node for each test: one that goes away amid a transaction is left alone by the balancer for a while."""
GROUPS = {name: [(NODE, 6000 + number)] for number, name in enumerate(PLAIN)}


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    listeners = [
        {"name": "public", "address": LAYOUT.address, "port": LAYOUT.sip},
        {"name": "nat", "address": LAYOUT.address, "port": NAT_TARGET[1], "nat": True},
    ]
    with scripted(tmp_path_factory.mktemp("abuse"), LAYOUT, GROUPS, groups, listeners=listeners) as running:
        yield running


@pytest.fixture
def node(stand):
    with stand.nodes(next(TURNS)) as [agent]:
        yield agent


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


@pytest.fixture
def outsider():
    with Agent(OUTSIDER) as agent:
        yield agent


@pytest.fixture
def victim(stand):
    """Whoever it is: after every test it has received nothing."""
    with Agent(VICTIM) as agent, Agent(CALLER) as probe:
        yield agent
        stand.alive(probe)
        agent.nothing()


@pytest.fixture
def call(stand, caller, node):
    return establish(stand, caller, [node])


def route_of(token, port=LAYOUT.sip):
    return f"<sip:{token}@{LAYOUT.address}:{port};lr>"


def replayed(dialog, agent):
    """The same dialog spoken by somebody else."""
    return Dialog(agent, dialog.call_id, dialog.local, dialog.remote, dialog.target, dialog.routes, 700, TARGET)


def registered(stand, caller, node, **parts):
    """The Path of a registration."""
    caller.send(request("REGISTER", node.uri, caller, **parts), TARGET)
    register = node.expect("REGISTER")
    node.reply(register, 200, "OK", tag="n")
    caller.expect(200)
    [path] = register.list("Path")
    return path


# The token, replayed by an outsider that knows the whole dialog.


@pytest.mark.parametrize("method", ["BYE", "INVITE", "ACK", "INFO", "FROBNICATE"])
def test_a_replayed_token_leads_to_its_node_whatever_the_request_uri_says(call, node, outsider, victim, method):
    attack = replayed(call.up, outsider)
    attack.send(method, uri=f"sip:victim@{victim.host_port}")
    received = node.expect(method)
    assert received.list("Route") == []


def test_a_replayed_token_leads_to_its_node_whatever_route_says(call, node, outsider, victim):
    evil = f"<sip:{victim.host_port};lr>"
    strict = f"<sip:{victim.host_port}>"
    ours = call.offered.list("Record-Route")[::-1]
    ways = [
        [*ours, evil],
        [*ours, strict],
        [ours[0], evil, ours[1]],
        [ours[0], ours[0], ours[0], evil],
        [ours[1], evil],
        [f"{ours[0]},{evil}"],
        [*ours, evil, *ours],
        [f"<sip:{token_of(call.offered)}@{victim.host_port};lr>", evil],
        [f"<sip:{token_of(call.offered)}@{LAYOUT.address}:{LAYOUT.sip};lr;maddr={VICTIM};transport=tcp>", evil],
    ]
    attack = replayed(call.up, outsider)
    for routes in ways:
        attack.send("INFO", routes=routes, uri=f"sip:{victim.host_port}")
        node.reply(node.expect("INFO"), 200, "OK")
        assert outsider.expect(200)


def test_a_route_in_front_of_ours_hides_the_token(stand, call, node, outsider, victim):
    """The first Route is not ours, so there is no token: refused."""
    attack = replayed(call.up, outsider)
    routes = [f"<sip:{victim.host_port};lr>", *call.up.routes]
    attack.send("INFO", routes=routes, uri=f"sip:{victim.host_port}")
    outsider.expect(481)
    stand.alive(outsider)
    node.nothing()


def test_the_token_as_request_uri_of_a_strict_router_leads_to_its_node(call, node, outsider, victim):
    """RFC 3261 §16.4 would take the last Route as the Request-URI, and send it there."""
    attack = replayed(call.up, outsider)
    for last in (f"<sip:{victim.host_port}>", f"<sip:{victim.host_port};lr>"):
        attack.send("INFO", uri=uri_of(call.up.routes[0]), routes=[last])
        node.reply(node.expect("INFO"), 200, "OK")
        outsider.expect(200)


@pytest.mark.parametrize("method", ["BYE", "INVITE", "ACK", "INFO"])
def test_an_outsider_that_plays_the_node_reaches_the_callers_own_flow_alone(call, node, outsider, victim, method):
    """In the direction from the node, Route and Request-URI count only when a node sends."""
    attack = replayed(call.down, outsider)
    for uri, routes in [
        (f"sip:victim@{victim.host_port}", call.down.routes),
        (call.down.target, [*call.down.routes, f"<sip:{victim.host_port};lr>"]),
        (call.down.target, [*call.down.routes, f"<sip:{victim.host_port}>"]),
        (f"{call.down.target};maddr={VICTIM}", call.down.routes),
    ]:
        attack.send(method, uri=uri, routes=routes)
        call.caller.expect(method)
    node.nothing(0)


def test_the_token_of_another_dialog_is_refused(stand, call, node, outsider, victim):
    for change in ("call_id", "local", "both tags"):
        attack = replayed(call.up, outsider)
        if change == "call_id":
            attack.call_id = unique("other")
        elif change == "local":
            attack.local = "<sip:x@example.com>;tag=other"
        else:
            attack.local, attack.remote = "<sip:x@example.com>;tag=one", "<sip:y@example.com>;tag=two"
        for method in ("INVITE", "BYE", "MESSAGE"):
            attack.send(method, uri=f"sip:victim@{victim.host_port}")
            outsider.expect(481)
        attack.send("ACK", uri=f"sip:victim@{victim.host_port}")
    stand.alive(outsider)
    node.nothing()
    call.caller.nothing(0)


def test_a_token_with_any_character_changed_is_refused(stand, call, node, outsider, victim):
    token = token_of(call.offered)
    attack = replayed(call.up, outsider)
    for place, old in enumerate(token):
        forged = token[:place] + ("A" if old != "A" else "B") + token[place + 1 :]
        attack.send("INFO", routes=[route_of(forged)], uri=f"sip:victim@{victim.host_port}")
        answer = outsider.receive()
        assert answer.status == 481, f"character {place}: {answer.start}"
    for forged in (token[:-1], token + "A", token[1:], token.lower(), "", "A" * 400, token + token):
        attack.send("INFO", routes=[route_of(forged)], uri=f"sip:victim@{victim.host_port}")
        assert outsider.receive().status in (400, 481)
    node.nothing()


@pytest.mark.parametrize("source", ["outsider", "node"])
@pytest.mark.parametrize("method", ["INVITE", "INFO", "UPDATE", "MESSAGE"])
def test_no_token_in_a_dialog_is_481(call, node, outsider, victim, method, source):
    """RFC 3261 §12.2.2. A node's BYE alone goes on, so that no call is left standing."""
    agent = outsider if source == "outsider" else node
    attack = replayed(call.down, agent)
    for routes in (
        [],
        [f"<sip:{victim.host_port};lr>"],
        [f"<sip:{LAYOUT.address};lr>", f"<sip:{victim.host_port};lr>"],
    ):
        attack.send(method, routes=routes, uri=f"sip:victim@{victim.host_port}")
        agent.expect(481)


def test_an_outsiders_bye_without_token_is_481(call, outsider, victim):
    for side in (call.up, call.down):
        attack = replayed(side, outsider)
        attack.send("BYE", routes=[], uri=f"sip:victim@{victim.host_port}")
        outsider.expect(481)
        attack.send("BYE", routes=[route_of("x" * 80)], uri=f"sip:victim@{victim.host_port}")
        outsider.expect(481)
    call.caller.nothing(0)


def test_a_request_to_a_node_as_it_is_reaches_that_node(call, node, outsider, victim):
    """Without a token the Request-URI counts where it is exactly a node; maddr is part of where a URI leads."""
    attack = replayed(call.up, outsider)
    attack.send("INFO", routes=[], uri=f"sip:x@{node.host_port}")
    node.expect("INFO")
    for uri in (
        f"sip:x@{node.host_port};maddr={VICTIM}",
        f"sip:x@{NODE}:{node.address[1] + 500}",
        f"sip:x@{NODE}",
        f"sips:x@{node.host_port}",
        f"sip:{NODE}:{node.address[1]}@{victim.host_port}",
    ):
        attack.send("INFO", routes=[], uri=uri)
        outsider.expect(481)
    attack.send("INFO", routes=[], uri=f"sip:x@{node.host_port};transport=tcp")
    outsider.expect(500)  # the node, and nobody listens there


# Requests outside of dialogs.


@pytest.mark.parametrize("source", ["outsider", "node"])
@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "MESSAGE", "OPTIONS", "ACK"])
def test_a_foreign_request_uri_is_not_found(stand, node, outsider, victim, method, source):
    """Whoever asks: what no group takes is 404, and goes nowhere."""
    agent = outsider if source == "outsider" else node
    for uri, routes in [
        (f"sip:victim@{victim.host_port}", []),
        (f"sip:{victim.host_port}", []),
        (f"sip:victim@{victim.host_port};lr", [f"<sip:{victim.host_port};lr>"]),
        (f"sip:victim@{victim.host_port}", [f"<sip:{LAYOUT.address};lr>", f"<sip:{victim.host_port};lr>"]),
        (f"sip:{LAYOUT.address};lr", [f"<sip:victim@{victim.host_port};lr>"]),
        (f"sip:victim@{LAYOUT.address};maddr={VICTIM}", []),
    ]:
        agent.send(request(method, uri, agent, routes=routes), TARGET)
        if method != "ACK":
            answer = agent.next(404)
            assert answer.method == method


def test_a_foreign_route_does_not_lead_a_call_away(stand, node, outsider, victim):
    """A call that a group takes goes to its node, by whatever Route it came."""
    evil = f"<sip:{victim.host_port};lr>"
    for routes in ([evil], [f"<sip:{LAYOUT.address};lr>", evil], [f"<sip:{victim.host_port}>"]):
        outsider.send(request("INVITE", node.uri, outsider, routes=routes), TARGET)
        offered = node.expect("INVITE")
        node.reply(offered, 486, "Busy Here", tag="n")
        node.expect("ACK")
        outsider.next(486)


def test_a_token_preloaded_into_a_new_call_gives_nothing(stand, call, node, outsider, victim):
    """No To tag, no dialog: the call is matched as any other."""
    attack = request("INVITE", f"sip:victim@{victim.host_port}", outsider, routes=[*call.up.routes])
    outsider.send(attack, TARGET)
    outsider.expect(404)
    node.nothing()


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "BYE", "ACK"])
def test_a_path_is_for_nodes_alone(stand, caller, node, outsider, victim, method):
    path = registered(stand, caller, node)
    for target in (f"sip:alice@{caller.host_port}", f"sip:victim@{victim.host_port}"):
        outsider.send(request(method, target, outsider, routes=[path]), TARGET)
        outsider.send(request(method, target, outsider, routes=[path]), stand.node_side)
        if method != "ACK":
            assert {outsider.expect(403).status, outsider.expect(403).status} == {403}
        outsider.send(request(method, target, outsider, routes=[path], to="<sip:x@example.com>;tag=x"), TARGET)
        if method != "ACK":
            outsider.expect(481)
    stand.alive(outsider)
    caller.nothing()
    node.nothing()


# Where responses and the node's requests go.


def test_responses_go_back_to_the_source_whatever_via_says(stand, node, outsider, victim):
    """maddr and received of a Via that came in lead nowhere."""
    host = victim.host_port
    for via in (
        f"SIP/2.0/UDP {host};branch={{}};rport",
        f"SIP/2.0/UDP {outsider.host_port};branch={{}};maddr={VICTIM};ttl=1;rport",
        f"SIP/2.0/UDP {outsider.host_port};branch={{}};received={VICTIM};rport={victim.address[1]}",
        f"SIP/2.0/UDP {OUTSIDER}:{victim.address[1]};branch={{}};maddr={VICTIM};rport",
    ):
        for uri in (node.uri, "sip:nobody@example.com", f"sip:{LAYOUT.address}"):
            method = "OPTIONS"
            outsider.send(request(method, uri, outsider, via=via.format(unique("z9hG4bK"))), TARGET)
            if uri == node.uri:
                node.reply(node.expect(method), 200, "OK", tag="n")
            if "received=" not in via:
                assert outsider.receive().status in (200, 404)


def test_a_contact_elsewhere_does_not_draw_the_nodes_requests_there(stand, node, outsider, victim):
    """The Contact of a caller names another address than it sends from, by its host or by maddr: its flow counts."""
    for contact in (
        f"<sip:a@{victim.host_port}>",
        f"<sip:a@{outsider.host_port};maddr={VICTIM}>",
        f"<sip:a@{OUTSIDER}:{victim.address[1]};maddr={VICTIM}>",
    ):
        call = establish(stand, outsider, [node], invite=request("INVITE", node.uri, outsider, contact=contact))
        call.down.send("BYE")
        bye = outsider.expect("BYE")
        assert bye.uri == uri_of(contact)
        outsider.reply(bye, 200, "OK")
        node.expect(200)


# Responses that nobody asked for.


def ringing(caller, node):
    sent = caller.send(request("INVITE", node.uri, caller), TARGET)
    caller.expect(100)
    offered = node.expect("INVITE")
    node.reply(offered, 180, "Ringing", tag="n")
    caller.expect(180)
    return sent, offered


def forged(offered, code=200, branch=None, vias=None, **changes):
    """A response as the node would give it, with something changed."""
    vias = vias or [offered.list("Via")[0].replace(offered.branch, branch or offered.branch), *offered.list("Via")[1:]]
    fields = {"From": offered["From"], "To": offered["To"] + ";tag=forged", "Call-ID": offered["Call-ID"]}
    fields |= {"CSeq": offered["CSeq"], "Contact": f"<sip:{VICTIM}>", **changes}
    lines = [f"Via: {via}" for via in vias] + [f"{name}: {value}" for name, value in fields.items()]
    return joined(f"SIP/2.0 {code} Forged", [*lines, "Content-Length: 0"], b"")


def test_responses_with_guessed_branches_match_nothing(stand, caller, node, outsider, victim):
    """Every part of the branch is keyed: neighbors of a branch that one knows are of no use."""
    sent, offered = ringing(caller, node)
    places = range(len("z9hG4bK"), len(offered.branch))
    dice = random.Random(1)
    tries = [
        offered.branch[:place] + letter + offered.branch[place + 1 :]
        for place in places
        for letter in "01fvz"
        if letter != offered.branch[place]
    ]
    tries += ["z9hG4bK", "z9hG4bK" + "0" * 40, offered.branch[:-1], offered.branch + "0", offered.branch * 3]
    tries += ["z9hG4bK" + "".join(dice.choices("0123456789abcdefghijklmnopqrstuv", k=41)) for _ in range(200)]
    for port in (LAYOUT.sip, LAYOUT.node_side, 5071):
        for branch in tries:
            outsider.send(forged(offered, branch=branch), (LAYOUT.address, port))
    stand.alive(outsider)
    caller.nothing()
    node.reply(offered, 486, "Busy Here", tag="n")
    node.next("ACK")
    caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)


def test_responses_of_another_call_or_transaction_match_nothing(stand, caller, node, victim):
    """The branch alone is not enough: Call-ID and CSeq have to be those of the request."""
    sent, offered = ringing(caller, node)
    before = stand.metric("switchtender_sip_mismatched_responses_total")
    for changes in (
        {"Call-ID": "other"},
        {"CSeq": "2 INVITE"},
        {"CSeq": "1 BYE"},
        {"CSeq": "1 invite"},
        {"CSeq": "1 OPTIONS", "Call-ID": offered["Call-ID"]},
    ):
        node.send(forged(offered, **changes), offered.source)
    until(lambda: stand.metric("switchtender_sip_mismatched_responses_total") == before + 5, "five mismatches")
    caller.nothing()
    node.reply(offered, 486, "Busy Here", tag="n")
    node.next("ACK")
    caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)


def test_a_response_without_a_via_below_ours_goes_nowhere(stand, caller, node, victim):
    """RFC 3261 §16.7 step 3."""
    sent, offered = ringing(caller, node)
    node.send(forged(offered, vias=offered.list("Via")[:1]), offered.source)
    stand.alive(caller)
    caller.nothing()
    node.reply(offered, 486, "Busy Here", tag="n")
    node.next("ACK")
    caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)


def test_the_vias_below_ours_do_not_say_where_a_response_goes(stand, caller, node, victim):
    """A node that changes them, or a forger of its answer, cannot send the response elsewhere."""
    _, offered = ringing(caller, node)
    evil = f"SIP/2.0/UDP {victim.host_port};branch=z9hG4bKx;received={VICTIM};rport={victim.address[1]}"
    node.send(forged(offered, vias=[offered.list("Via")[0], evil]), offered.source)
    assert caller.expect(200).list("Via") == [evil]


def test_responses_of_a_transaction_that_is_over_match_nothing(stand, caller, node, outsider, victim):
    """Replayed by node or outsider, to any of our ports."""
    caller.send(request("MESSAGE", node.uri, caller), TARGET)
    message = node.expect("MESSAGE")
    answer = node.reply(message, 200, "OK", tag="n")
    caller.expect(200)
    for agent in (node, outsider):
        for port in (LAYOUT.sip, LAYOUT.node_side, 5071):
            agent.send(answer, (LAYOUT.address, port))
    stand.alive(outsider)
    caller.nothing()


def test_responses_without_our_via_go_nowhere(stand, caller, node, outsider, victim):
    """RFC 3261 §16.7, §18.1.2: a stateful proxy drops what matches nothing."""
    via = f"SIP/2.0/UDP {victim.host_port};branch=z9hG4bKx"
    mine = f"SIP/2.0/UDP {LAYOUT.address}:{LAYOUT.sip};branch=z9hG4bKmine"
    asked = Message(request("INVITE", node.uri, caller))
    for vias in ([via], [mine, via], [f"SIP/2.0/UDP {LAYOUT.address}", via], [via, via]):
        for agent in (outsider, node):
            for port in (LAYOUT.sip, LAYOUT.node_side, 5071):
                agent.send(forged(asked, vias=vias), (LAYOUT.address, port))
    stand.alive(outsider)
    caller.nothing()


# Callers behind NAT (RFC 3581; flows as in RFC 5626 §5.3).


def private(caller, node, via="10.0.0.9:5060;rport", contact="<sip:alice@10.0.0.9:5060>", **parts):
    return request(
        "INVITE", node.uri, caller, via=f"SIP/2.0/UDP {via};branch={unique('z9hG4bK')}", contact=contact, **parts
    )


@pytest.mark.parametrize(
    ("via", "contact"),
    [
        ("10.0.0.9:5060;rport", "<sip:alice@10.0.0.9:5060>"),
        ("10.0.0.9:5060;rport", f"<sip:alice@{CALLER}:9>"),
        (f"{CALLER}:9;rport", "<sip:alice@10.0.0.9:5060>"),
        ("[2001:db8::9]:5060;rport", "<sip:alice@[2001:db8::9]:5060>"),
        ("softphone.invalid;rport", "<sip:x7f@softphone.invalid;ob>"),
    ],
    ids=["both private", "Via private", "Contact private", "other family", "names"],
)
def test_a_caller_behind_nat_is_reached_over_its_flow(stand, caller, node, via, contact):
    """Nothing can be sent to the address it names; the node's requests go where its own came from."""
    call = establish(stand, caller, [node], invite=private(caller, node, via, contact))
    assert call.answer.source == TARGET
    for method in ("INFO", "INVITE", "BYE"):
        call.down.send(method)
        received = caller.expect(method)
        assert received.uri == uri_of(contact), "the name by which it knows itself"
        assert received.source == TARGET, "through the same hole"
        caller.reply(received, 200, "OK")
        node.next(200)
        if method == "INVITE":
            call.down.send("ACK")
            caller.expect("ACK")


def test_a_nat_listener_needs_neither_rport_nor_evidence(stand, node):
    """`nat: true`: responses and requests go to the source, whatever port Via and Contact name."""
    with Agent(CALLER) as caller, Agent(CALLER) as named:
        via, contact = named.host_port, f"<sip:alice@{named.host_port}>"
        call = establish(stand, caller, [node], invite=private(caller, node, via, contact), to=NAT_TARGET)
        assert call.answer.source == NAT_TARGET
        call.down.send("BYE")
        bye = caller.expect("BYE")
        assert bye.source == NAT_TARGET
        caller.reply(bye, 200, "OK")
        node.expect(200)
        named.nothing()


def test_a_caller_without_nat_is_reached_at_its_contact(stand, caller, node):
    """RFC 3261 §12.2.1.1: the remote target counts, here another port of the same host."""
    with Agent(CALLER) as contact:
        invite = request("INVITE", node.uri, caller, contact=f"<sip:alice@{contact.host_port}>")
        call = establish(stand, caller, [node], invite=invite)
        call.down.send("BYE")
        contact.reply(contact.expect("BYE"), 200, "OK")
        node.expect(200)
        caller.nothing()


def test_one_behind_nat_that_registered_is_called_over_its_flow(stand, caller, node):
    contact = "<sip:alice@10.0.0.9:5060>"
    via = f"SIP/2.0/UDP 10.0.0.9:5060;rport;branch={unique('z9hG4bK')}"
    path = registered(stand, caller, node, via=via, contact=contact)
    node.send(request("INVITE", uri_of(contact), node, routes=[path]), stand.node_side)
    offered = caller.expect("INVITE")
    assert offered.uri == uri_of(contact)
    caller.reply(offered, 200, "OK", tag="c", contact=contact)
    down = Dialog.of_caller(node, node.next(200))
    down.send("ACK")
    caller.expect("ACK")
    down.send("BYE")
    caller.reply(caller.expect("BYE"), 200, "OK")
    node.expect(200)


def test_tokens_do_not_tell_who_calls(stand, caller, node):
    """They are encrypted: equal addresses do not show, and two calls have nothing in common."""
    tokens = [token_of(establish(stand, caller, [node]).offered) for _ in range(2)]
    shared = max(len(a) for a in itertools.accumulate(tokens[0]) if tokens[1].startswith(a))
    assert shared <= 4, "version and key id alone"
    for token in tokens:
        assert not re.search(r"7f00|127\.0", token)
