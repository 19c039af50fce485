"""Bad input: whatever comes in is answered or dropped and counted, calls that stand go on, and the process stays whole.

After every kind of bad input the balancer answers OPTIONS, the call that stood before still works both ways, no worker
has panicked, and the memory held has not grown without bound.
"""

import contextlib
import random

import pytest

from tests.stand.agent import Agent, ack_of_failure, joined, request, unique
from tests.stand.balancer import Layout
from tests.stand.process import until
from tests.stand.scripted import establish, group, scripted

LAYOUT = Layout(address="127.0.0.109", http=18205)
TARGET = (LAYOUT.address, LAYOUT.sip)
NODE = "127.0.0.114"
CALLER = "127.0.0.110"
ATTACKER = "127.0.0.111"
GROUPS = {"plain": [(NODE, 6000)], "other": [(NODE, 6001)], "large": [(NODE, 6002)], "loop": [(NODE, 6003)]}
DATAGRAM = 65_507
"""The most that UDP over IPv4 carries."""
ROOM = 24 << 20
"""Bytes that the balancer may come to hold more by all of this: buffers grow once, up to what one message needs."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    groups = [group(name, nodes) for name, nodes in GROUPS.items()]
    with scripted(tmp_path_factory.mktemp("malformed"), LAYOUT, GROUPS, groups) as running:
        yield running


@pytest.fixture(scope="module")
def nodes(stand):
    """One socket each for as long as the balancer runs."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(stand.nodes(name))[0] for name in GROUPS}


@pytest.fixture
def caller():
    with Agent(CALLER) as agent:
        yield agent


@pytest.fixture
def attacker(stand):
    stand.rested()
    with Agent(ATTACKER) as agent:
        yield agent


@pytest.fixture(scope="module")
def standing(stand, nodes):
    """A call that stands before all tests of this module and after them."""
    with Agent(CALLER) as caller:
        call = establish(stand, caller, [nodes["other"]])
        yield call
        call.up.send("BYE")
        call.node.reply(call.node.expect("BYE"), 200, "OK")
        caller.expect(200)


@pytest.fixture(autouse=True)
def whole(stand, standing):
    """Around every test: alive, no panic, memory within bounds, the call works in both directions."""
    before = stand.resident()
    yield
    stand.alive(standing.caller)
    for near, far in ((standing.up, standing.node), (standing.down, standing.caller)):
        near.send("INFO")
        far.reply(far.expect("INFO"), 200, "OK")
        near.agent.expect(200)
    assert stand.balancer.process.poll() is None
    assert stand.metric("switchtender_worker_panics_total") == 0
    assert stand.metric("switchtender_datagrams_dropped_total", cause="panic") == 0
    assert stand.resident() - before < ROOM


def sound(agent, node, **parts):
    """An INVITE that is in order."""
    return request("INVITE", node.uri, agent, body=b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n", **parts)


def answers(attacker):
    """The codes of all answers that are there."""
    return [message.status for message in attacker.drain()]


def test_an_invite_cut_off_at_every_byte(stand, attacker, nodes):
    """RFC 3261 §18.3: answered 400 once there is a Via to answer to, and never forwarded."""
    whole = sound(attacker, nodes["plain"])
    for length in range(len(whole)):
        attacker.send(whole[:length], TARGET)
    codes = answers(attacker)
    assert set(codes) == {400}
    assert len(codes) > len(whole) / 2
    nodes["plain"].nothing()


def test_an_invite_cut_off_at_every_byte_from_its_front(stand, attacker, nodes):
    whole = sound(attacker, nodes["plain"])
    for length in range(1, len(whole)):
        attacker.send(whole[length:], TARGET)
    assert set(answers(attacker)) <= {400}
    nodes["plain"].nothing()


@pytest.mark.parametrize("step", [1, 37])
def test_an_invite_with_every_byte_changed(stand, attacker, nodes, step):
    """Whatever comes of it, an answer or a forwarded request, it is SIP, and the balancer lives."""
    whole = sound(attacker, nodes["plain"])
    whole = whole.replace(f"SIP/2.0/UDP {attacker.host_port}".encode(), b"SIP/2.0/UDP 10.0.0.1", 1)
    for place in range(whole.index(b"\r\n\r\n")):
        changed = bytearray(whole)
        changed[place] = (changed[place] + step) % 256
        attacker.send(bytes(changed).replace(b"branch=", b"branch=z9hG4bK" + unique("").encode(), 1), TARGET)
    codes = set(answers(attacker))
    assert codes <= {100, 400, 404, 405, 414, 416, 420, 481, 482, 483, 503, 505, 513}
    while forwarded := nodes["plain"].drain(0.1):
        for message in forwarded:
            assert message.text.count("\r\n\r\n") >= 1
            if message.method != "ACK":
                nodes["plain"].reply(message, 486, "Busy Here", tag="n")
    attacker.drain()


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_every_mandatory_field_missing_in_turn(stand, attacker, nodes, name):
    """RFC 3261 §8.1.1, §16.3 step 1: 400, or nothing where there is no Via to answer to."""
    lines = sound(attacker, nodes["plain"]).decode().split("\r\n")
    attacker.send("\r\n".join(line for line in lines if not line.startswith(f"{name}:")), TARGET)
    if name == "Via":
        stand.alive(attacker)
    else:
        refusal = attacker.expect(400)
        assert name in refusal.start
        assert refusal.get(name) is None
    nodes["plain"].nothing()


@pytest.mark.parametrize("name", ["Max-Forwards", "Contact", "Content-Length"])
def test_fields_that_may_be_missing(stand, attacker, nodes, name):
    lines = sound(attacker, nodes["plain"]).decode().split("\r\n")
    sent = attacker.send("\r\n".join(line for line in lines if not line.startswith(f"{name}:")), TARGET)
    offered = nodes["plain"].next("INVITE")
    nodes["plain"].reply(offered, 486, "Busy Here", tag="n")
    nodes["plain"].expect("ACK")
    attacker.send(ack_of_failure(sent, attacker.next(486)), TARGET)


@pytest.mark.parametrize("name", ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length"])
def test_fields_that_stand_twice(stand, attacker, nodes, name):
    """Another reader might take the other one: refused."""
    lines = sound(attacker, nodes["plain"]).decode().split("\r\n")
    [at] = [number for number, line in enumerate(lines) if line.startswith(f"{name}:")]
    for twin in (lines[at], f"{name}: 1", {"Call-ID": "i", "From": "f", "To": "t"}.get(name, name) + ": <sip:x@y>"):
        attacker.send("\r\n".join([*lines[: at + 1], twin, *lines[at + 1 :]]), TARGET)
        attacker.expect(400)
    nodes["plain"].nothing()


@pytest.mark.parametrize(
    "value", ["-1", "99999999999999999999", "4294967296", "abc", "", "1e3", "0x10", "34 34", "70000"]
)
def test_an_absurd_content_length(stand, attacker, nodes, value):
    """RFC 3261 §18.3: more than the datagram holds, or no number, is 400."""
    sent = sound(attacker, nodes["plain"]).decode()
    head, _, body = sent.partition("\r\n\r\n")
    head = head.rpartition(":")[0] + ": " + value
    attacker.send(f"{head}\r\n\r\n{body}", TARGET)
    attacker.expect(400)
    nodes["plain"].nothing()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400),
        ("CSeq: 1 INVITE", "CSeq: 4294967296 INVITE", 400),
        ("CSeq: 1 INVITE", "CSeq: INVITE", 400),
        ("CSeq: 1 INVITE", "CSeq: -1 INVITE", 400),
        ("Max-Forwards: 70", "Max-Forwards: 256", 400),
        ("Max-Forwards: 70", "Max-Forwards: x", 400),
        ("SIP/2.0\r\n", "SIP/3.0\r\n", 505),
        ("SIP/2.0\r\n", "SIP/2.0 \r\n", 400),
        ("INVITE sip:", "INVITE  sip:", 400),
        ("INVITE sip:", "INVITE <sip:", 400),
        ("INVITE sip:", "INVITE sip:" + "a" * 9000, 414),
        ("INVITE sip:", "INVITE mailto:", 416),
        ("INVITE sip:", "INVITE urn:service:sos?", 416),
        ('"Alice A." <', '"Alice A. <', 400),
        (">;tag=", ";tag=", 400),
        ("Max-Forwards: 70", "Max-Forwards: 0", 483),
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nProxy-Require: x, y\r\nProxy-Require: z", 420),
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nno colon here", 400),
        ("Max-Forwards: 70", "Max-Forwards: 70\r\n: no name", 400),
        ("CSeq: 1 INVITE", "CSeq: 1 INVITE\r\nX-Long: " + "x" * 9000, 513),
        ("CSeq: 1 INVITE", "CSeq: 1 INVITE" + "\r\nX: y" * 200, 513),
        ("CSeq: 1 INVITE", "CSeq: 1 INVITE\r\nX-Folds:" + "\r\n " * 5000, 513),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_own_code(stand, attacker, nodes, old, new, code):
    """RFC 3261 §16.3 and the limits of our own; the refusal says what it refuses."""
    sent = sound(attacker, nodes["plain"]).decode()
    assert old in sent
    sent = attacker.send(sent.replace(old, new, 1), TARGET)
    refusal = attacker.expect(code)
    assert refusal.list("Via")[0].endswith(f";received={ATTACKER}")
    if code == 420:
        assert refusal.list("Unsupported") == ["x", "y", "z"]
    if code not in (400, 505):
        attacker.send(ack_of_failure(sent, refusal), TARGET)
    stand.alive(attacker)
    nodes["plain"].nothing()


def test_the_limits_of_proxy_require_do_not_hold_for_ack_and_cancel(stand, caller, nodes):
    """RFC 3261 §20.29, §8.2.2.3: Proxy-Require is not for them."""
    node = nodes["plain"]
    sent = caller.send(sound(caller, node), TARGET)
    caller.expect(100)
    offered = node.next("INVITE")
    node.reply(offered, 486, "Busy Here", tag="n")
    node.expect("ACK")
    ack = ack_of_failure(sent, caller.expect(486)).replace(b"Max-Forwards", b"Proxy-Require: x\r\nMax-Forwards")
    caller.send(ack, TARGET)
    caller.nothing(0.7)


def test_a_request_that_comes_back_unchanged_is_a_loop(stand, caller, nodes):
    """RFC 3261 §16.3 step 4: 482; changed, it is a spiral and goes on."""
    node = nodes["loop"]
    caller.send(sound(caller, node), TARGET)
    offered = node.expect("INVITE")
    via = f"Via: SIP/2.0/UDP {node.host_port};rport;branch={unique('z9hG4bK')}\r\n"
    first_line, _, rest = offered.text.partition("\r\n")
    node.send(f"{first_line}\r\n{via}{rest}", TARGET)
    looped = node.next(482)
    assert looped.list("Via")[1] == offered.list("Via")[0]
    node.send(f"{first_line.replace('-1@', '-2@')}\r\n{via.replace('branch=', 'branch=z9hG4bK2')}{rest}", TARGET)
    spiral = node.next("INVITE")
    assert spiral.uri != offered.uri
    for message in (spiral, offered):
        node.reply(message, 486, "Busy Here", tag="n")
        node.next("ACK")
    caller.next(486)


def test_datagrams_of_sixty_four_kibibytes(stand, attacker, nodes):
    """As much as UDP carries: binary, one line, one field, and a request with a body of that size."""
    for filler in (b"\x00", b"A", b"\r\n", b"\xff", b"INVITE ", b"a:\r\n", b" \t", b",", b"<sip:", b";"):
        attacker.send((filler * DATAGRAM)[:DATAGRAM], TARGET)
        start = b"INVITE sip:plain-1@example.com SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK"
        attacker.send((start + filler * DATAGRAM)[:DATAGRAM], TARGET)
    stand.alive(attacker)
    nodes["plain"].nothing()


@pytest.mark.parametrize("spare", [0, 40, 300])
def test_a_request_too_large_to_go_on_is_513_and_no_fault_of_the_node(stand, attacker, caller, nodes, spare):
    """With what we add it passes what UDP carries. The node did nothing wrong: the next call goes there at once."""
    node = nodes["large"]
    fixed = {"call_id": unique("large"), "branch": unique("z9hG4bK"), "from_tag": "large"}
    head = len(request("INVITE", node.uri, attacker, body=b"X" * 60_000, **fixed)) - 60_000
    sent = request("INVITE", node.uri, attacker, body=b"X" * (DATAGRAM - spare - head), **fixed)
    assert len(sent) == DATAGRAM - spare
    attacker.send(sent, TARGET)
    attacker.next(513)
    call = establish(stand, caller, [node])
    call.up.send("BYE")
    node.reply(node.next("BYE"), 200, "OK")
    caller.expect(200)


def test_a_large_request_that_fits_is_forwarded(stand, caller, nodes):
    node = nodes["large"]
    caller.send(request("MESSAGE", node.uri, caller, body=bytes(range(256)) * 240), TARGET)
    message = node.expect("MESSAGE")
    assert message.body == bytes(range(256)) * 240
    node.reply(message, 200, "OK", tag="n", body=message.body)
    assert caller.expect(200).body == message.body


def test_binary_garbage(stand, attacker, nodes):
    dice = random.Random(4475)
    for _ in range(3000):
        attacker.send(dice.randbytes(dice.choice((1, 2, 7, 40, 300, 1400))), TARGET)
    stand.alive(attacker)
    attacker.nothing()
    nodes["plain"].nothing()


def test_garbage_made_of_sip(stand, attacker, nodes):
    """Lines of real messages in any order, some doubled, some cut."""
    dice = random.Random(3261)
    lines = sound(attacker, nodes["plain"]).split(b"\r\n")
    lines += [
        b"SIP/2.0 200 OK",
        b"BYE sip:a SIP/2.0",
        b"",
        b"",
        b"\t",
        b"Via:",
        b"v: ,,,",
        b"Route: <",
        b'To: "',
        b"CSeq: 1",
    ]
    for _ in range(3000):
        parts = dice.choices(lines, k=dice.randrange(1, 16))
        parts = [part[: dice.randrange(len(part) + 1)] if dice.random() < 0.1 else part for part in parts]
        attacker.send(b"\r\n".join(parts), TARGET)
        if dice.random() < 0.1:
            attacker.drain(0)
    assert set(answers(attacker)) <= {100, 200, 400, 404, 405, 414, 416, 420, 481, 482, 483, 503, 505, 513}
    for message in nodes["plain"].drain():
        if message.method != "ACK":
            nodes["plain"].reply(message, 486, "Busy Here", tag="n")
    nodes["plain"].drain()


def test_nul_and_lone_carriage_returns_are_dropped(stand, attacker, nodes):
    """Other stacks would see a line end, and with it a field, where we see none."""
    whole = sound(attacker, nodes["plain"]).decode()
    for odd in ("\x00", "\r", "\rRoute: <sip:evil@example.com>\r"):
        attacker.send(whole.replace("Alice", f"Al{odd}ice"), TARGET)
        attacker.send(whole.replace("Max-Forwards", f"X: a{odd}b\r\nMax-Forwards"), TARGET)
    stand.alive(attacker)
    attacker.nothing()
    nodes["plain"].nothing()


@pytest.mark.parametrize("ping", [b"\r\n\r\n", b"\r\n", b"", b"\x00\x00\x00\x00", b"\0", b"   "], ids=repr)
def test_keep_alives_are_ignored(stand, attacker, ping):
    """RFC 5626 §3.5.1 and what phones send instead."""
    before = stand.metric("switchtender_sip_keep_alives_total")
    for _ in range(50):
        attacker.send(ping, TARGET)
    stand.alive(attacker)
    attacker.nothing()
    until(lambda: stand.metric("switchtender_sip_keep_alives_total") == before + 50, "fifty keep-alives")


def test_a_stun_request_is_dropped(stand, attacker):
    attacker.send(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), TARGET)
    stand.alive(attacker)
    attacker.nothing()


def test_malformed_responses_are_dropped(stand, caller, nodes):
    """RFC 3261 §8.1.3.1: nobody answers a response; the transaction goes on as if nothing had come."""
    node = nodes["plain"]
    sent = caller.send(sound(caller, node), TARGET)
    caller.expect(100)
    offered = node.next("INVITE")
    via = "".join(f"Via: {via}\r\n" for via in offered.list("Via"))
    good = f"{via}From: {offered['From']}\r\nTo: {offered['To']};tag=x\r\nCall-ID: {offered['Call-ID']}\r\n"
    good += f"CSeq: {offered['CSeq']}\r\n"
    whole = f"SIP/2.0 200 OK\r\n{good}Content-Length: 0\r\n\r\n"
    bad = [whole[:length] for length in range(0, len(whole), 3)]
    bad += [
        whole.replace("SIP/2.0 200", f"SIP/2.0 {code}", 1) for code in ("99", "700", "0", "2000", "-1", "abc", "20 0")
    ]
    bad += [whole.replace("Content-Length: 0", "Content-Length: 5"), whole.replace("CSeq", "CSeq: 1 INVITE\r\nCSeq")]
    bad += [f"SIP/2.0 180 Ringing\r\n{good}" + "X: y\r\n" * 200 + "\r\n", whole.replace("SIP/2.0 ", "SIP/7.0 ", 1)]
    for message in bad:
        node.send(message, offered.source)
    stand.alive(caller)
    caller.nothing()
    assert all(message.method == "INVITE" for message in node.drain(0))
    node.reply(offered, 486, "Busy Here", tag="n")
    node.next("ACK")
    caller.send(ack_of_failure(sent, caller.expect(486)), TARGET)


def test_a_malformed_ack_is_never_answered(stand, attacker, nodes):
    """RFC 3261 §17: nothing answers an ACK."""
    ack = request("ACK", nodes["plain"].uri, attacker)
    for old, new in (
        (b"CSeq: 1 ACK", b"CSeq: 1 INVITE"),
        (b"From:", b"X:"),
        (b"SIP/2.0\r", b"SIP/3.0\r"),
        (b"70", b"999"),
    ):
        attacker.send(ack.replace(old, new, 1), TARGET)
    for uri in ("tel:+1", "sip:nobody@example.com", f"sip:{LAYOUT.address}"):
        attacker.send(request("ACK", uri, attacker, max_forwards=0, fields=["Proxy-Require: x"]), TARGET)
    stand.alive(attacker)
    attacker.nothing()
    nodes["plain"].nothing()


def test_memory_stays_within_bounds_in_a_flood(stand, attacker, nodes):
    """Tens of thousands of refusals, dialogs that do not exist and keep-alives leave nothing behind."""
    kinds = [
        lambda: request("INVITE", "sip:nobody@example.com", attacker),
        lambda: request("BYE", "sip:nobody@example.com", attacker, to="<sip:x@example.com>;tag=x"),
        lambda: request("INVITE", "sip:nobody@example.com", attacker, max_forwards=0),
        lambda: joined("SIP/2.0 200 OK", ["Via: SIP/2.0/UDP x;branch=z9hG4bKx"], b""),
        lambda: b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\n\r\n",
    ]
    before = stand.resident()
    for number in range(20_000):
        attacker.send(kinds[number % len(kinds)](), TARGET)
        if number % 100 == 0:
            attacker.drain(0)
    attacker.drain(0.1)
    assert stand.resident() - before < 8 << 20
    nodes["plain"].nothing()
