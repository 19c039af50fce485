"""What a proxy may change in a message, and what it must not: every message byte for byte, in both directions.

The test plays caller and node; between them runs `switchtender serve`. RFC 3261 §16.6 says what is added to a request,
§16.7 what is taken from a response; all else has to arrive as it was sent.
"""

import itertools
import re

import pytest

from tests.stand.agent import Agent, Dialog, Message, joined, request, response, unique, uri_of, via_parameter
from tests.stand.balancer import Layout
from tests.stand.scripted import establish, group, scripted, token_of

LAYOUT = Layout(address="127.0.0.100", http=18200)
ONE_SIDED = Layout(address="127.0.0.101", http=18201)
PLAIN = [f"plain{number}" for number in range(90)]
TURNS = itertools.cycle(PLAIN)
"""A node for each test: one that goes away amid a transaction is left alone by the balancer for a while."""
GROUPS = {name: [("127.0.0.104", 6000 + number)] for number, name in enumerate(PLAIN)}
TARGET = (LAYOUT.address, LAYOUT.sip)
CALLER = "127.0.0.110"

ODD_INVITE = (
    "INVITE sip:{group}-%C3%A4;phone-context=x@example.com:5060;user=phone;x=%20?Subject=a%20b SIP/2.0\r\n"
    "Subject:   two  blanks, a comma, and \xe4\xff\r\n"
    "v:SIP/2.0/UDP {caller} ;rport;branch=z9hG4bK{branch};x-mine=\"a,b\" ,SIP/2.0/TCP 192.0.2.9:5080;branch=z9hG4bK\r\n"
    "Via: SIP / 2.0 / UDP 192.0.2.10\r\n"
    "\t;branch=z9hG4bKolder;received=192.0.2.11\r\n"
    "mAx-FoRwArDs  : 17\r\n"
    "Record-Route: <sip:192.0.2.9;lr;a=b>, \"Edge, one\" <sip:192.0.2.10;lr>\r\n"
    "RECORD-ROUTE: <sip:192.0.2.12:5080>\r\n"
    "f: \"A. \\\"G.\\\" <Bell>\" <sip:a@192.0.2.1>\r\n"
    " ;tag=tag{branch};Q=1\r\n"
    "t : sip:plain@example.com\r\n"
    "i: {branch}@odd\r\n"
    "CSeq:\r\n"
    "  0009\t INVITE\r\n"
    "m: \"Bell\" <sip:a@{caller};ob;q=\"x,y\">;expires=3600 , <sip:other@192.0.2.1>\r\n"
    "k: 100rel,timer ,  replaces\r\n"
    "X-Empty:\r\n"
    "X-Odd-!%*_+`'~.: \x7f tail  \r\n"
    "P-Asserted-Identity: \"A\" <sip:a@192.0.2.1>, tel:+1\r\n"
    "x-switch: not ours\r\n"
    "c: application/sdp\r\n"
    "l: {length}\r\n"
    "\r\n"
)  # fmt: skip
BODY = b"v=0\r\n\r\nVia: in the body\r\n\x00\x01\xff\r\n"


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    with scripted(tmp_path_factory.mktemp("conformance"), LAYOUT, GROUPS, groups) as running:
        yield running


@pytest.fixture
def node(stand):
    with stand.nodes(next(TURNS)) as [agent]:
        yield agent


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


def own_lines(message, name):
    """The whole lines of that field that name the balancer."""
    return re.findall(rf"(?m)^{name}: [^\r\n]*\b127\.0\.0\.10[01]:[^\r\n]*\r\n", message.text)


def without(message, *lines):
    """The bytes of a message without these lines, each taken away once."""
    text = message.text
    for line in lines:
        assert line in text
        text = text.replace(line, "", 1)
    return text.encode("latin-1")


def with_source(sent, agent):
    """Bytes as the next hop is to see them: Max-Forwards one less, the source noted in the top Via (RFC 3581 §4)."""
    text = sent.decode("latin-1")
    via = re.search(r"(?m)^Via: ([^\r\n]*)\r\n", text)
    noted = via[1].replace(";rport;", f";rport={agent.address[1]};") + f";received={agent.address[0]}"
    return text.replace(via[1], noted, 1).replace("Max-Forwards: 70", "Max-Forwards: 69", 1).encode("latin-1")


def only_via_added(message, sent, agent):
    """One Via was added, above the others, and nothing else was touched."""
    [via, *_] = own_lines(message, "Via")
    assert message.list("Via")[0] in via
    assert without(message, via) == with_source(sent, agent)
    return message.list("Via")[0]


def test_an_invite_takes_one_via_two_record_routes_and_one_hop_and_nothing_else(stand, caller, node):
    """RFC 3261 §16.6 steps 3, 4, 8; compact forms (§7.3.3), folds (§7.3.1), comma lists pass as they stand.

    Header fields in the Request-URI, which §19.1.1 forbids there, are taken off.
    """
    sent = (
        ODD_INVITE.format(
            group=node.uri[4:].split("-")[0], caller=caller.host_port, branch=unique("odd"), length=len(BODY)
        ).encode("latin-1")
        + BODY
    )
    caller.send(sent, TARGET)
    caller.expect(100)
    offered = node.expect("INVITE")
    [via] = own_lines(offered, "Via")
    routes = own_lines(offered, "Record-Route")
    assert len(routes) == 2
    port, host = caller.address[1], caller.address[0]
    expected = sent.decode("latin-1").replace(";rport;", f";rport={port};").replace("FoRwArDs  : 17", "FoRwArDs  : 16")
    expected = expected.replace('x-mine="a,b"', f'x-mine="a,b";received={host}')
    expected = expected.replace("?Subject=a%20b SIP/2.0", " SIP/2.0", 1)
    assert without(offered, via, *routes).replace(b" ;received=", b";received=") == expected.encode("latin-1")
    assert offered.list("Via")[0] in via, "ours is the topmost"
    assert [line[14:-2] for line in routes] == offered.list("Record-Route")[:2], "ours stand above the others"
    assert offered.body == BODY
    node.reply(offered, 486, "Busy Here", tag="n")
    node.expect("ACK")
    assert caller.expect(486)


def test_our_via_says_how_to_come_back_to_the_worker(stand, caller, node):
    """RFC 3261 §16.6 step 8, RFC 3581 §3: the worker's own port, a branch with the cookie, rport."""
    branches = set()
    for _ in range(3):
        caller.send(request("OPTIONS", node.uri, caller), TARGET)
        received = node.expect("OPTIONS")
        via = received.list("Via")[0]
        assert via.startswith(f"SIP/2.0/UDP {LAYOUT.address}:5071;")
        assert received.source == (LAYOUT.address, 5071)
        assert received.branch.startswith("z9hG4bK")
        assert via_parameter(via, "rport") == ""
        branches.add(received.branch)
        node.reply(received, 200, "OK", tag="n")
        caller.expect(200)
    assert len(branches) == 3


def test_record_routes_name_both_sides_and_carry_the_token_in_the_user_part(stand, caller, node):
    """RFC 5658 §5: two, each side's own on its side; `lr` is the only parameter."""
    caller.send(request("INVITE", node.uri, caller), TARGET)
    offered = node.expect("INVITE")
    near, far = offered.list("Record-Route")
    token = token_of(offered)
    assert near == f"<sip:{token}@{LAYOUT.address}:{LAYOUT.node_side};lr>"
    assert far == f"<sip:{token}@{LAYOUT.address}:{LAYOUT.sip};lr>"
    assert re.fullmatch(r"[A-Za-z0-9_.!~*'()-]{20,}", token), "unreserved: no stack escapes or unescapes it"
    assert CALLER not in token
    node.reply(offered, 603, "Decline", tag="n")
    node.expect("ACK")


def test_one_record_route_where_one_listener_serves_both_sides(tmp_path_factory):
    with (
        scripted(
            tmp_path_factory.mktemp("one"), ONE_SIDED, GROUPS, [group(PLAIN[0], GROUPS[PLAIN[0]])], nodeSide=None
        ) as stand,
        stand.nodes(PLAIN[0]) as [node],
        Agent(CALLER) as caller,
    ):
        call = establish(stand, caller, [node])
        [only] = call.offered.list("Record-Route")
        assert only == f"<sip:{token_of(call.offered)}@{ONE_SIDED.address}:{ONE_SIDED.sip};lr>"
        assert call.offered.source == (ONE_SIDED.address, 5071)
        call.down.send("INFO")
        caller.reply(caller.expect("INFO"), 200, "OK")
        node.expect(200)
        call.up.send("BYE")
        node.reply(node.expect("BYE"), 200, "OK")
        caller.expect(200)


@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "PUBLISH", "FROBNICATE"])
def test_requests_that_begin_no_dialog_take_no_record_route(stand, caller, node, method):
    """RFC 3261 §16.6 step 4; methods that we do not know are forwarded like any other (§16.2)."""
    sent = caller.send(request(method, node.uri, caller, body=b"hello"), TARGET)
    received = node.expect(method)
    only_via_added(received, sent, caller)
    answer = node.reply(received, 202, "Accepted", tag="n", fields=["X-Note: 1"], body=b"world")
    came = caller.expect(202)
    assert came.raw == without(Message(answer), f"Via: {received.list('Via')[0]}\r\n")


@pytest.mark.parametrize("method", ["SUBSCRIBE", "REFER"])
def test_other_requests_that_begin_a_dialog_take_record_routes(stand, caller, node, method):
    caller.send(request(method, node.uri, caller, fields=["Event: dialog"]), TARGET)
    received = node.expect(method)
    assert len(own_lines(received, "Record-Route")) == 2
    node.reply(received, 202, "Accepted", tag="n")
    _, far = received.list("Record-Route")
    assert caller.expect(202).list("Record-Route") == [far], "the nodes' side is none of the caller's business"


@pytest.mark.parametrize(("given", "seen"), [(None, "70"), (1, "0"), (70, "69"), (255, "254")])
def test_max_forwards_is_one_less_or_seventy(stand, caller, node, given, seen):
    """RFC 3261 §16.6 step 3."""
    caller.send(request("MESSAGE", node.uri, caller, max_forwards=given), TARGET)
    received = node.expect("MESSAGE")
    assert received.all("Max-Forwards") == [seen]
    node.reply(received, 200, "OK", tag="n")
    caller.expect(200)


@pytest.mark.parametrize("code", [180, 183, 199])
def test_provisional_responses_lose_our_via_and_nothing_else(stand, caller, node, code):
    """RFC 3261 §16.7 steps 3 and 5; but for the Record-Route that is for the nodes (step 8)."""
    caller.send(request("INVITE", node.uri, caller), TARGET)
    caller.expect(100)
    offered = node.expect("INVITE")
    odd = ["Require: 100rel", "RSeq: 1", "subject:  x ,y", "X-Fold: a\r\n\tb", "Retry-After: 300", "Server: a (b)"]
    sent = node.reply(offered, code, "Odd \xe4 reason", tag="n;x=y", fields=odd, body=BODY)
    came = caller.expect(code)
    for line in (f"Via: {offered.list('Via')[0]}\r\n", f"Record-Route: {offered.list('Record-Route')[0]}\r\n"):
        sent = without(Message(sent), line)
    assert came.raw == sent
    node.reply(offered, 404, "Not Found", tag="n")
    node.expect("ACK")


@pytest.mark.parametrize(
    "shape",
    ["v: {0}, {1}\r\n", "Via:{0},{1}\r\n", "VIA :\r\n {0}\r\n ,\r\n\t{1}\r\n", "v: {0}\r\nVia: {1}\r\n"],
    ids=["compact list", "tight list", "folded list", "mixed names"],
)
def test_our_via_is_removed_however_the_node_spells_it(stand, caller, node, shape):
    """RFC 3261 §7.3.1: lists and repeated fields mean the same."""
    caller.send(request("INVITE", node.uri, caller), TARGET)
    caller.expect(100)
    offered = node.expect("INVITE")
    ours, theirs = offered.list("Via")
    plain = "".join(f"Via: {via}\r\n" for via in (ours, theirs))
    answer = response(node, offered, 200, "OK", tag="n").decode("latin-1").replace(plain, shape.format(ours, theirs))
    node.send(answer, offered.source)
    came = caller.expect(200)
    assert came.list("Via") == [theirs]
    near = f"Record-Route: {offered.list('Record-Route')[0]}\r\n"
    rest = answer.replace(shape.format(ours, theirs), "").replace(near, "")
    assert re.sub(r"(?mis)^(v|via) ?:.*?\r\n(?![ \t])", "", came.text, count=1) == rest


def test_ack_bye_and_requests_from_the_caller_arrive_as_sent(stand, caller, node):
    """RFC 3261 §16.4, §16.6: our Routes are removed, one Via is added, one hop taken."""
    call = establish(stand, caller, [node])
    for method, body in [("ACK", b""), ("INVITE", BODY), ("UPDATE", BODY), ("INFO", b"x"), ("BYE", b"")]:
        sent = caller.send(call.up.request(method, fields=["X-Odd:  a , b"], body=body), TARGET)
        received = node.next(method)
        routes = "".join(f"Route: {route}\r\n" for route in call.up.routes)
        assert own_lines(received, "Record-Route") == []
        assert received.get("Route") is None
        only_via_added(received, sent.replace(routes.encode("latin-1"), b""), caller)
        if method != "ACK":
            answer = node.reply(received, 200, "OK", fields=["X-Odd:  c , d"], body=body)
            came = caller.next(200)
            assert came.raw == without(Message(answer), f"Via: {received.list('Via')[0]}\r\n")
        if method == "INVITE":
            call.up.send("ACK")
            node.expect("ACK")


def test_bye_and_requests_from_the_node_arrive_as_sent(stand, caller, node):
    call = establish(stand, caller, [node])
    for method, body in [("INVITE", BODY), ("UPDATE", BODY), ("NOTIFY", b"x"), ("BYE", b"")]:
        sent = node.send(call.down.request(method, fields=["X-Odd:  a , b"], body=body), stand.node_side)
        received = caller.next(method)
        assert received.source == TARGET, "from the address that the caller knows"
        routes = "".join(f"Route: {route}\r\n" for route in call.down.routes)
        via = only_via_added(received, sent.replace(routes.encode("latin-1"), b""), node)
        assert via.startswith(f"SIP/2.0/UDP {LAYOUT.address}:{LAYOUT.sip};")
        answer = caller.reply(received, 200, "OK", fields=["X-Odd:  c , d"], body=body)
        came = node.next(200)
        assert came.raw == without(Message(answer), f"Via: {received.list('Via')[0]}\r\n")
        if method == "INVITE":
            sent = call.down.send("ACK")
            only_via_added(caller.expect("ACK"), sent.replace(routes.encode("latin-1"), b""), node)


def test_routes_that_are_not_ours_stay(stand, caller, node):
    """RFC 3261 §16.4: only what is ours is removed, from a list in one field too."""
    call = establish(stand, caller, [node])
    theirs = "<sip:192.0.2.77;lr;x=y>"
    sent = call.up.request("INFO", routes=[", ".join([*call.up.routes, theirs])])
    caller.send(sent, TARGET)
    received = node.expect("INFO")
    assert received.list("Route") == [theirs]
    node.reply(received, 200, "OK")
    caller.expect(200)


def test_a_strict_router_upstream_is_undone(stand, caller, node):
    """RFC 3261 §16.4: our Record-Route stands in the Request-URI, the Request-URI in the last Route."""
    call = establish(stand, caller, [node])
    [ours] = call.up.routes
    sent = call.up.request("INFO", uri=uri_of(ours), routes=[f"<{call.up.target}>"])
    caller.send(sent, TARGET)
    received = node.expect("INFO")
    assert received.uri == call.up.target
    assert received.list("Route") == []
    node.reply(received, 200, "OK")
    caller.expect(200)


def through(edge, caller):
    """The Vias of a request that came by the caller's edge proxy."""
    return f"SIP/2.0/UDP {edge.host_port};branch={unique('z9hG4bK')}, SIP/2.0/UDP {caller.host_port};branch=z9hG4bKc"


def test_a_strict_router_downstream_gets_its_uri(stand, caller, node):
    """RFC 3261 §16.6 step 6: a Route without lr becomes the Request-URI, which becomes the last Route."""
    with Agent("127.0.0.113") as edge:
        strict = f"<sip:edge@{edge.host_port}>"
        invite = request("INVITE", node.uri, caller, via=through(edge, caller), fields=[f"Record-Route: {strict}"])
        call = establish(stand, edge, [node], invite=invite)
        assert call.down.routes[2] == strict
        call.down.send("INFO")
        received = edge.expect("INFO")
        assert received.uri == f"sip:edge@{edge.host_port}"
        assert received.list("Route") == [f"<{call.down.target}>"]
        edge.reply(received, 200, "OK")
        node.expect(200)


def test_requests_of_the_node_follow_the_callers_own_proxies(stand, caller, node):
    """RFC 3261 §12.2.1.1: the caller's edge proxy recorded itself; the node's BYE goes by it."""
    with Agent("127.0.0.113") as edge:
        route = f"<sip:{edge.host_port};lr>"
        invite = request("INVITE", node.uri, caller, via=through(edge, caller), fields=[f"Record-Route: {route}"])
        call = establish(stand, edge, [node], invite=invite)
        sent = call.down.send("BYE")
        received = edge.expect("BYE")
        ours = "".join(f"Route: {own}\r\n" for own in call.down.routes[:2])
        only_via_added(received, sent.replace(ours.encode("latin-1"), b""), node)
        assert received.list("Route") == [route]
        edge.reply(received, 200, "OK")
        node.expect(200)


def test_maddr_that_names_us_is_removed(stand, caller, node):
    """RFC 3261 §16.4."""
    caller.send(request("MESSAGE", f"{node.uri};maddr={LAYOUT.address};x=1", caller), TARGET)
    received = node.expect("MESSAGE")
    assert received.uri == f"{node.uri};x=1"
    node.reply(received, 200, "OK", tag="n")
    caller.expect(200)


def test_responses_go_where_rport_says(stand, node):
    """RFC 3581 §4: to the port the request came from, with received and rport filled in."""
    with Agent(CALLER) as caller:
        via = f"SIP/2.0/UDP 10.1.1.1:5099;branch={unique('z9hG4bK')};rport"
        caller.send(request("MESSAGE", node.uri, caller, via=via), TARGET)
        received = node.expect("MESSAGE")
        [_, theirs] = received.list("Via")
        assert via_parameter(theirs, "received") == CALLER
        assert via_parameter(theirs, "rport") == str(caller.address[1])
        node.reply(received, 200, "OK", tag="n")
        caller.expect(200)


def test_responses_go_to_the_port_of_sent_by_without_rport(stand, caller, node):
    """RFC 3261 §18.2.2: the address it came from, the port that Via names."""
    with Agent(CALLER) as elsewhere:
        via = f"SIP/2.0/UDP somewhere.example.com:{elsewhere.address[1]};branch={unique('z9hG4bK')}"
        caller.send(request("MESSAGE", node.uri, caller, via=via), TARGET)
        received = node.expect("MESSAGE")
        assert received.list("Via")[1] == f"{via};received={CALLER}"
        node.reply(received, 200, "OK", tag="n")
        elsewhere.expect(200)
        caller.nothing()


def test_a_forged_received_is_overwritten(stand, caller, node):
    """RFC 3261 §18.2.1: received is what the receiver saw."""
    via = f"SIP/2.0/UDP {caller.host_port};received=192.0.2.66;rport=1;branch={unique('z9hG4bK')}"
    caller.send(request("MESSAGE", node.uri, caller, via=via), TARGET)
    received = node.expect("MESSAGE")
    theirs = received.list("Via")[1]
    assert "192.0.2.66" not in theirs
    assert via_parameter(theirs, "received") == CALLER
    node.reply(received, 200, "OK", tag="n")
    caller.expect(200)


def test_what_follows_the_body_is_cut_off(stand, caller, node):
    """RFC 3261 §18.3: over UDP, bytes past Content-Length are discarded."""
    sent = request("MESSAGE", node.uri, caller, body=b"hello")
    caller.send(sent + b"INVITE sip:smuggled@example.com SIP/2.0\r\n\r\n", TARGET)
    received = node.expect("MESSAGE")
    only_via_added(received, sent, caller)
    node.reply(received, 200, "OK", tag="n")
    caller.expect(200)


def test_no_content_length_means_the_rest_of_the_datagram(stand, caller, node):
    """RFC 3261 §18.3."""
    sent = request("MESSAGE", node.uri, caller, body=BODY)
    sent = sent.replace(f"Content-Length: {len(BODY)}\r\n".encode(), b"")
    caller.send(sent, TARGET)
    received = node.expect("MESSAGE")
    only_via_added(received, sent, caller)
    node.reply(received, 200, "OK", tag="n")
    caller.expect(200)


def test_bare_line_feeds_and_lines_before_the_start_pass(stand, caller, node):
    """RFC 3261 §7.5: lines before the start line are ignored."""
    sent = request("MESSAGE", node.uri, caller)
    caller.send(b"\r\n\r\n" + sent, TARGET)
    received = node.expect("MESSAGE")
    only_via_added(received, sent, caller)
    node.reply(received, 200, "OK", tag="n")
    caller.expect(200)


def test_a_refusal_of_our_own_is_well_formed(stand, caller):
    """RFC 3261 §8.2.6: Via, From, To with a tag, Call-ID and CSeq of the request; the same tag again (§8.2.7)."""
    sent = request("INVITE", "sip:nobody@example.com", caller, fields=["X-Private: secret"])
    caller.send(sent, TARGET)
    first = caller.expect(404)
    asked = Message(sent)
    assert via_parameter(first["Via"], "received") == CALLER
    assert via_parameter(first["Via"], "branch") == asked.branch
    assert first["From"] == asked["From"]
    assert first["To"] == asked["To"] + f";tag={first.tag('To')}"
    assert (first["Call-ID"], first["CSeq"], first["Content-Length"]) == (asked["Call-ID"], asked["CSeq"], "0")
    assert "secret" not in first.text
    caller.send(sent, TARGET)
    assert caller.expect(404).raw == first.raw
    with Agent(CALLER) as other:
        other.send(request("INVITE", "sip:nobody@example.com", other), TARGET)
        assert other.expect(404).tag("To") != first.tag("To")


def test_options_to_us_are_answered(stand, caller):
    """RFC 3261 §11.2: Allow and Accept at least; a proxy answers with Max-Forwards 0, too (§16.3 step 3)."""
    for uri, hops in [(f"sip:{LAYOUT.address}", 70), (f"sip:{LAYOUT.address}:5060;transport=udp", 0)]:
        caller.send(request("OPTIONS", uri, caller, max_forwards=hops), TARGET)
        answer = caller.expect(200)
        assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"} <= set(answer.list("Allow"))
        assert answer.get("Accept")
        assert answer.tag("To")


def test_internal_fields_reach_neither_node_nor_caller(stand, caller, node):
    """Nodes copy an INVITE's X- fields into their own requests: what is ours must not be there to be copied."""
    forged = ["X-Switchtender-Node: evil", "x-SWITCHTENDER-anything:\r\n folded", "X-Switchtende: not ours"]
    invite = request("INVITE", node.uri, caller, fields=forged)
    call = establish(stand, caller, [node], invite=invite)
    assert "x-switchtender-" not in call.offered.text.lower()
    assert "folded" not in call.offered.text
    assert call.offered["X-Switchtende"] == "not ours"
    for side, other, hop in [(call.up, node, TARGET), (call.down, caller, stand.node_side)]:
        side.agent.send(side.request("INFO", fields=forged), hop)
        received = other.expect("INFO")
        assert "x-switchtender-" not in received.text.lower()
        other.reply(received, 200, "OK", fields=forged)
        assert "x-switchtender-" not in side.agent.expect(200).text.lower()


def test_a_long_way_through_many_proxies_fits(stand, caller, node):
    """Forty Vias, forty Record-Routes and a body of 30 KiB pass whole."""
    vias = [f"Via: SIP/2.0/UDP 192.0.2.{i}:5060;branch=z9hG4bK{i}" for i in range(1, 40)]
    routes = [f"Record-Route: <sip:192.0.2.{i};lr;ftag=abcdef;did=1{i}.2>" for i in range(1, 41)]
    lines = [f"Via: SIP/2.0/UDP {caller.host_port};rport;branch={unique('z9hG4bK')}", *vias, *routes]
    lines += ["Max-Forwards: 70", "From: <sip:a@example.com>;tag=a", "To: <sip:b@example.com>"]
    lines += [f"Call-ID: {unique('long')}", "CSeq: 1 INVITE", f"Contact: <sip:a@{caller.host_port}>"]
    body = bytes(range(256)) * 120
    sent = joined(f"INVITE {node.uri} SIP/2.0", [*lines, f"Content-Length: {len(body)}"], body)
    caller.send(sent, TARGET)
    offered = node.expect("INVITE")
    assert offered.body == body
    assert len(offered.list("Via")) == 41
    assert len(offered.list("Record-Route")) == 42
    node.reply(offered, 200, "OK", tag="n", body=body)
    answer = caller.next(200)
    assert answer.body == body
    up = Dialog.of_caller(caller, answer)
    up.first_hop = TARGET
    up.routes = up.routes[-1:]
    up.send("ACK")
    assert node.expect("ACK")
