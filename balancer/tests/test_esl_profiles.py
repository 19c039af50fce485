"""What `sofia status` of a real node says, and what it means to callers; and the dialogue that asks for it."""

import asyncio
import contextlib

import pytest

from switchtender.drivers.esl.ask import AskError, ask
from switchtender.drivers.esl.profiles import LIST, Profile, advise, profile_names, profiles, question
from switchtender.drivers.esl.wire import Credentials

RULE = "=" * 97
LISTED = (
    f"                     Name\t   Type\t                                      Data\tState\n{RULE}\n"
    "                 internal\tprofile\t              sip:mod_sofia@10.0.0.2:5060\tRUNNING (0)\n"
    "                   second\tprofile\t              sip:mod_sofia@10.0.0.2:5080\tRUNNING (7) (TLS)\n"
    "                     down\tprofile\t              sip:mod_sofia@10.0.0.2:5090\tDOWN (0)\n"
    "                 10.0.0.2\t  alias\t                                  internal\tALIASED\n"
    f"{RULE}\n3 profiles 1 alias\n"
)
INTERNAL = (
    f"{RULE}\nName             \tinternal\nDomain Name      \tN/A\nAuto-NAT         \tfalse\nPres Hosts       \t\n"
    "RTP-IP           \t10.0.0.2\nSIP-IP           \t10.0.0.2\nURL              \tsip:mod_sofia@10.0.0.2:5060\n"
    "BIND-URL         \tsip:mod_sofia@10.0.0.2:5060;transport=udp,tcp\nCALLS-IN         \t0\n"
)
EXTERNAL = (
    INTERNAL.replace("internal", "second")
    .replace("5060", "5080")
    .replace(
        "SIP-IP           \t10.0.0.2\n",
        "Ext-RTP-IP       \t198.51.100.7\nSIP-IP           \t10.0.0.2\nExt-SIP-IP       \t198.51.100.7\n",
    )
)


def test_profiles_are_read_as_a_node_prints_them():
    assert profile_names(LISTED) == ["internal", "second"]
    assert profiles([LISTED, INTERNAL, EXTERNAL]) == [
        Profile("internal", "sip:mod_sofia@10.0.0.2:5060", "10.0.0.2", "10.0.0.2", None, None),
        Profile("second", "sip:mod_sofia@10.0.0.2:5080", "10.0.0.2", "10.0.0.2", "198.51.100.7", "198.51.100.7"),
    ]


@pytest.mark.parametrize("outputs", [[], [""], ["-ERR no such command\n"], [LISTED, ""], ["\x00\t\n" * 50]])
def test_what_cannot_be_read_is_nothing(outputs):
    assert all(profile.sip is None for profile in profiles(outputs))


def test_the_questions_follow_from_the_answers():
    assert question([]) == LIST
    assert question([LISTED]) == "sofia status profile internal"
    assert question([LISTED, INTERNAL]) == "sofia status profile second"
    assert question([LISTED, INTERNAL, EXTERNAL]) is None
    assert question(["-ERR"]) is None


@pytest.mark.parametrize(
    ("port", "advertised", "level"),
    [
        (5060, ["sip.example.com"], "warning"),
        (5060, ["8.8.8.8", "10.0.0.1"], "warning"),
        (5060, ["10.0.0.1"], "ok"),
        (5080, ["sip.example.com"], "ok"),
    ],
)
def test_inside_addresses_are_told_to_nobody_outside(port, advertised, level):
    [advice] = advise(profiles([LISTED, INTERNAL, EXTERNAL]), ("10.0.0.2", port), advertised)
    assert advice.level == level
    if level == "warning":
        assert advice.setting == "ext-sip-ip, ext-rtp-ip"
        assert "are told 10.0.0.2, an inside address" in advice.found
        assert advice.change


def test_a_profile_that_is_not_the_members_says_nothing():
    assert advise(profiles([LISTED, INTERNAL]), ("10.0.0.2", 5999), ["sip.example.com"]) == []


def node(outputs, *, login="+OK accepted", greeting=b"Content-Type: auth/request\n\n"):
    asked, left = [], asyncio.Event()

    async def talk(reader, writer):
        writer.write(greeting)
        while data := await reader.readuntil(b"\n\n"):
            asked.append(data.decode().strip())
            if data.startswith(b"auth"):
                writer.write(f"Content-Type: command/reply\nReply-Text: {login}\n\n".encode())
            elif data.startswith(b"api "):
                output = outputs.pop(0)
                if output is None:
                    writer.write(b"Content-Type: command/reply\nReply-Text: -ERR permission denied\n\n")
                else:
                    writer.write(f"Content-Type: api/response\nContent-Length: {len(output)}\n\n{output}".encode())

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await talk(reader, writer)
        writer.close()
        left.set()

    return asked, left, serve


async def asked_of(outputs, **rest):
    asked, left, serve = node(outputs, **rest)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        try:
            return asked, await ask(host, port, Credentials("s3cret", None), question, 0.5)
        finally:
            await left.wait()


async def test_the_node_is_asked_in_turn_and_left():
    asked, outputs = await asked_of([LISTED, INTERNAL, EXTERNAL])
    assert outputs == [LISTED, INTERNAL, EXTERNAL]
    assert asked[1:] == ["api sofia status", "api sofia status profile internal", "api sofia status profile second"]


async def test_who_may_not_ask_gets_nothing():
    assert (await asked_of([None]))[1] == [""]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({"login": "-ERR invalid"}, "refused the login"),
        ({"greeting": b"Content-Type: text/rude-rejection\nContent-Length: 0\n\n"}, "hung up"),
        ({"greeting": b""}, "no answer within"),
        ({"greeting": b"\xff" * 70_000}, "header"),
    ],
)
async def test_a_node_that_cannot_be_asked(rest, said):
    with pytest.raises(AskError, match=said) as refused:
        await asked_of([], **rest)
    assert "s3cret" not in str(refused.value)
