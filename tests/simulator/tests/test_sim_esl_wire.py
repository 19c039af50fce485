"""The Event Socket byte for byte against captures of a real node (1.11.1), over real sockets in virtual time."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_frames import client_side, commands, frames, is_event, mask, node_side
from sim_warp import Client, connected, running, virtual

from switchtender_simulator.esl_wire import Command, CommandReader
from switchtender_simulator.settings import EslUser

SUBSCRIBE = b"event json HEARTBEAT SHUTDOWN SHUTDOWN_REQUESTED STARTUP"
USERS = [
    EslUser(
        "lb@127.0.0.2",
        "lbpass",
        ["HEARTBEAT", "SHUTDOWN", "SHUTDOWN_REQUESTED", "STARTUP"],
        ["status", "uptime", "version", "show"],
    ),
    EslUser(
        "long@127.0.0.2",
        "lbpass",
        re.search(rb"Allowed-Events: (.*)", node_side("userauth-cut"))[1].decode().split(),
        ["status"],
    ),
]


async def converse(name: str, **settings) -> bytes:
    """What our node says to the client of a capture; one command at a time as the captures were made."""
    async with running(max_sessions=100, **settings) as node:
        node.settings.users.extend(USERS)
        client = await Client.connect(node)
        heard = await client.hear()
        for command in commands(client_side(name)) or [b""]:
            heard += await client.say(command, 0.05)
        await client.close()
        return heard


@pytest.mark.parametrize(
    "name",
    [
        "login",
        "wrong-password",
        "crlf",
        "before-login",
        "userauth-wrong",
        "upper-case",
        "negative-length",
        "userauth-cut",
    ],
)
@virtual
async def test_a_conversation_without_events_is_byte_for_byte_the_same(name: str) -> None:
    assert mask(await converse(name)) == mask(node_side(name))


@pytest.mark.parametrize("name", ["commands", "userauth"])
@virtual
async def test_command_replies_are_byte_for_byte_the_same(name: str) -> None:
    def replies(stream: bytes) -> list[bytes]:
        # The captured node had had calls, so the counts in its status differ.
        return [
            re.sub(rb"\d+( session|, | \n)", rb"N\1", mask(frame)) for frame in frames(stream) if not is_event(frame)
        ]

    assert replies(await converse(name)) == replies(node_side(name))


NOT_PLAYED = (
    b"sofia status", b"sofia jsonstatus", b"sofia xmlstatus", b"limit_usage", b"global_getvar", b"strftime",
    b"reloadxml",
    b"sofia.status", b"uptime", b"strepoch", b"hostname",
)  # fmt: skip


def _pairs(name: str) -> list[tuple[bytes, bytes]]:
    replies = frames(node_side(name))[1:]
    return list(zip(commands(client_side(name)), replies, strict=False))


@virtual
async def test_api_outputs_are_byte_for_byte_the_same() -> None:
    compared = 0
    async with running(max_sessions=100) as node:
        client = await Client.connect(node)
        await client.hear()
        for command, reply in _pairs("api"):
            heard = await client.say(command, 0.05)
            if not any(skip in command for skip in NOT_PLAYED):
                assert mask(heard.partition(b"Content-Type: text/disc")[0]) == mask(reply), command
                compared += 1
        await client.close()
    assert compared > 45


@virtual
async def test_sofia_status_and_clock_commands() -> None:
    pairs = dict(_pairs("api"))
    async with running(sip="127.0.0.2:0") as node, connected(node, b"noevents") as client:
        port = node.sip_host_port.rpartition(":")[2].encode()
        heard = await client.say(b"api sofia status\n\n")
        expected = pairs[b"api sofia status\n\n"].replace(b":5060", b":" + port)
        assert heard.split() == [word if word != b"388" else heard.split()[3] for word in expected.split()]
        assert re.fullmatch(
            rb"Content-Type: api/response\nContent-Length: \d\n\n\d+\n", await client.say(b"api uptime\n\n")
        )
        assert re.fullmatch(
            rb"Content-Type: api/response\nContent-Length: 10\n\n\d{10}", await client.say(b"api strepoch\n\n")
        )


@virtual
async def test_everything_in_one_packet_before_the_greeting_is_read() -> None:
    async with running() as node:
        client = await Client.connect(node)
        assert await client.say(client_side("pipelined"), 1.0) == node_side("pipelined")
        assert client.reader.at_eof()
        await client.close()


@virtual
async def test_a_rude_rejection_comes_without_a_greeting() -> None:
    async with running(acl=["192.0.2.0/24"]) as node:
        client = await Client.connect(node)
        assert await client.hear() == node_side("acl")
        assert client.reader.at_eof()
        await client.close()
    async with running(acl=["192.0.2.0/24", "127.0.0.0/8"]) as node:
        client = await Client.connect(node)
        assert await client.hear() == b"Content-Type: auth/request\n\n"
        await client.close()


@pytest.mark.parametrize("name", ["login-timeout", "half-login"])
@virtual
async def test_a_client_that_never_finishes_a_command_is_shown_out(name: str) -> None:
    async with running() as node:
        client = await Client.connect(node)
        greeting, notice = frames(node_side(name))
        assert await client.say(client_side(name), 24.2) == greeting
        assert await client.hear(1.0) == notice
        assert client.reader.at_eof()
        await client.close()


@virtual
async def test_an_unknown_command_lifts_the_login_limit() -> None:
    async with running() as node:
        client = await Client.connect(node)
        await client.say(b"foo\n\n", 60.0)
        assert await client.say(b"auth ClueCon\n\n") == b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
        await client.close()


@virtual
async def test_a_body_that_comes_late_holds_the_command_back() -> None:
    first, second = client_side("late-body").split(b"abc", 1)
    expected = frames(node_side("late-body"))
    async with running() as node:
        client = await Client.connect(node)
        heard = await client.say(first + b"abc", 3.0)
        assert frames(heard) == expected[:2]
        assert await client.say(second, 0.5) == b"".join(expected[2:])
        await client.close()


def _first_heartbeat(stream: bytes) -> bytes:
    return next(frame for frame in frames(stream) if b"HEARTBEAT" in frame)


@pytest.mark.parametrize(
    ("form", "capture"), [("json", "shutdown-json"), ("plain", "shutdown-plain"), ("xml", "xml"), ("json", "elegant")]
)
@virtual
async def test_a_heartbeat_is_the_captured_one(form: str, capture: str) -> None:
    async with running(heartbeat_interval=1) as node, connected(node, b"event %s HEARTBEAT" % form.encode()) as client:
        ours = _first_heartbeat(await client.hear(1.2))
    assert mask(ours) == mask(_first_heartbeat(node_side(capture)))


@virtual
async def test_a_heartbeat_has_27_headers_and_strings_only() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        event = json.loads(frames(await client.hear(1.2))[0].partition(b"\n\n")[2])
    assert len(event) == 27
    assert {type(value) for value in event.values()} == {str}


@virtual
async def test_beats_keep_their_interval_and_come_within_a_listener_poll() -> None:
    async with running(heartbeat_interval=20) as node, connected(node, SUBSCRIBE) as client:
        assert await client.hear(19.8) == b""  # never sent on connect
        assert len(frames(await client.hear(0.2))) == 1
        assert len(frames(await client.hear(200.0))) == 10


@virtual
async def test_a_frame_now_and_then_comes_as_two_segments() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        writes: list[bytes] = []
        [connection] = node.esl.connections
        write = connection._transport.write
        connection._transport.write = lambda data: (writes.append(bytes(data)), write(data))[1]
        heard = await client.hear(8.5)
    assert b"".join(writes) == heard
    assert len(writes) == 10  # eight frames, two of them cut
    assert sum(data.startswith(b"{") for data in writes) == 2


@virtual
async def test_half_a_command_holds_events_back() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        assert await client.say(b"api fsctl ready_check\n", 5.0) == b""
        heard = frames(await client.say(b"\n", 0.01))
    assert heard[0] == b"Content-Type: api/response\nContent-Length: 4\n\ntrue"
    assert len(heard) == 6
    assert all(is_event(frame) for frame in heard[1:])
    captured = frames(node_side("half-command"))
    assert [is_event(frame) for frame in captured][5:11] == [False, True, True, True, True, True]


@virtual
async def test_an_api_command_holds_events_and_commands_back() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, SUBSCRIBE) as client:
        assert await client.say(b"api msleep 5000\n\napi fsctl ready_check\n\n", 4.9) == b""
        heard = frames(await client.hear(0.15))
    assert heard[:2] == [
        b"Content-Type: api/response\nContent-Length: 3\n\n+OK",
        b"Content-Type: api/response\nContent-Length: 4\n\ntrue",
    ]
    assert len(heard) == 7


@virtual
async def test_sendevent_keeps_bytes_and_repeats_in_json_and_plain() -> None:
    parts = re.split(rb"(?=sendevent|event )", client_side("encodings"))[1:]
    async with running() as node:
        client = await Client.connect(node)
        heard = await client.say(b"auth ClueCon\n\n")
        for part in parts:
            heard += await client.say(part.partition(b"exit")[0], 0.1)
        await client.close()
    captured = node_side("encodings").partition(b"Content-Type: command/reply\nReply-Text: +OK bye")[0]
    # The subscription "plain" comes between: replies and events are the same, in the same order.
    assert [mask(frame) for frame in frames(heard)] == [mask(frame) for frame in frames(captured)]


@virtual
async def test_filters_pass_and_block_as_measured() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, b"event json HEARTBEAT API") as client:

        async def heard(command: bytes, seconds: float = 2.0) -> tuple[bytes, list[str]]:
            reply, *events = frames(await client.say(command + b"\n\n", seconds))
            return reply, [json.loads(event.partition(b"\n\n")[2])["Event-Name"] for event in events]

        captured = [frame for frame in frames(node_side("filters")) if b"+OK filter" in frame]
        reply, events = await heard(b"filter Unique-ID x")
        assert (reply, events) == (captured[0], [])  # an event without that header never matches
        reply, events = await heard(b"filter Event-Name HEARTBEAT")
        assert (reply, events) == (captured[1], ["HEARTBEAT"] * 2)
        _, events = await heard(b"api fsctl ready_check", 0.1)
        assert events == []
        reply, events = await heard(b"filter delete all", 0.1)
        assert reply == captured[2]
        _, events = await heard(b"api fsctl ready_check", 0.1)
        assert events == ["API"]
        reply, events = await heard(b"filter Event-Name -API")
        assert (reply, events) == (captured[3], [])  # only-negative filters block everything


@virtual
async def test_an_api_event_is_the_captured_one() -> None:
    captured = next(frame for frame in frames(node_side("filters")) if b'"API"' in frame)
    async with running() as node, connected(node, b"event json API") as client:
        _, event = frames(await client.say(b"api fsctl ready_check\n\n"))
    assert mask(event) == mask(captured)


@virtual
async def test_event_forms() -> None:
    async with running(heartbeat_interval=1) as node, connected(node, b"nolog") as client:
        assert b"enabled json" in await client.say(b"event json CUSTOM x::y HEARTBEAT\n\n")
        assert await client.hear(3.0) == b""  # names behind CUSTOM are subclasses
        assert b"no longer" in await client.say(b"noevents\n\n")
        assert b"enabled json" in await client.say(b"event json SWITCH_EVENT_HEARTBEAT\n\n", 0.001)
        assert b"text/event-json" in await client.hear(1.0)
        assert b"-ERR no keywords" in await client.say(b"event plain\n\n", 0.001)
        assert b"enabled plain" in await client.say(b"event API\n\n", 0.001)  # the last format holds for everything
        assert b"text/event-plain" in await client.hear(1.0)
        assert b"events nixed" in await client.say(b"nixevent HEARTBEAT API\n\n", 0.001)
        assert await client.hear(2.0) == b""


@virtual
async def test_bgapi_answers_first_and_its_event_follows() -> None:
    async with running() as node, connected(node, b"event plain BACKGROUND_JOB") as client:
        reply, event = frames(await client.say(b"bgapi fsctl ready_check\nJob-UUID: mine\n\n"))
    assert reply == b"Content-Type: command/reply\nReply-Text: +OK Job-UUID: mine\nJob-UUID: mine\n\n"
    captured = next(frame for frame in frames(node_side("commands")) if b"BACKGROUND_JOB" in frame)
    assert mask(event.replace(b"mine", b"6cd2b8bf-2f91-459d-9167-df2ed27a4c1d")) == mask(captured)


@virtual
async def test_a_long_command_is_echoed_whole() -> None:
    async with running() as node, connected(node, b"nolog") as client:
        heard = await client.say(b"api echo " + b"A" * 20000 + b"\n\n", 1.0)
    assert heard == b"Content-Type: api/response\nContent-Length: 20000\n\n" + b"A" * 20000


STREAM = b"\r\n\nauth x\r\n\r\napi a b\nContent-Length: 5\n\nhello\n\nexit\n\nhalf\n"


@given(st.lists(st.integers(1, 12), max_size=60))
def test_commands_are_cut_the_same_however_the_bytes_are_split(sizes: list[int]) -> None:
    reader, found, at = CommandReader(), [], 0
    for size in [*sizes, len(STREAM)]:
        found += reader.feed(STREAM[at : at + size])
        at += size
    assert found == [Command("auth x"), Command("api a b", [("Content-Length", "5")], "hello"), Command("exit")]
    assert reader.pending
