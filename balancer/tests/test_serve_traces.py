"""A call through a balancer that serves, followed by its Call-ID over HTTP."""

import asyncio
import json

import aiohttp
import pytest
from core_calls import Peer
from serve_stand import config_of, group_of, served, write

HERE = "127.0.0.119"
CALL = "traced@test"


@pytest.fixture
def node():
    with Peer("127.0.0.120") as up:
        yield up


@pytest.fixture
def caller():
    with Peer("127.0.0.121") as up:
        yield up


@pytest.fixture
def file(tmp_path, node):
    member = {"name": "fs1", "sip": f"sip:{node.host}:{node.port}"}
    return write(tmp_path / "switchtender.yaml", config_of(tmp_path / "state", address=HERE), group_of("ivr", member))


def send(caller, to, method, remote="<sip:100@example.com>", *headers):
    caller.send(
        to,
        f"{method} sip:100@example.com SIP/2.0",
        f"Via: SIP/2.0/UDP {caller.endpoint};branch=z9hG4bKtraced;rport",
        "Max-Forwards: 70",
        "From: <sip:caller@example.org>;tag=from",
        f"To: {remote}",
        f"Call-ID: {CALL}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:caller@{caller.endpoint}>",
        *headers,
    )


async def test_a_call_is_followed_and_its_credentials_are_not_shown(tmp_path, file, node, caller):
    async with served(file) as serving:
        [record] = [record for record in serving.records if record.getMessage() == "serving"]
        token = (tmp_path / "state" / "admin-token").read_text().strip()
        url, headers = f"http://{record.http}/api/v1/traces", {"Authorization": f"Bearer {token}"}
        async with asyncio.timeout(60), aiohttp.ClientSession(headers=headers) as session:
            async with session.get(url, headers={"Authorization": ""}) as refused:
                assert refused.status == 401
            async with session.post(url, json={"callId": CALL, "seconds": 30}) as made:
                assert made.status == 201, await made.text()
                trace = await made.json()
            following = asyncio.create_task(followed(session, f"{url}/{trace['id']}"))
            credentials = 'Proxy-Authorization: Digest username="bob", nonce="n0nce", response="r3sponse"'
            send(caller, serving.listener, "INVITE", "<sip:100@example.com>", credentials)
            request = await asyncio.to_thread(node.receive)
            assert "r3sponse" in request.get("Proxy-Authorization"), "what is hidden from people goes on to the node"
            node.answer(request, "486 Busy Here")
            refusal = await asyncio.to_thread(caller.expect, 486, passing=(100,))
            send(caller, serving.listener, "ACK", refusal.get("To"))
            async with session.get(f"{url}/{trace['id']}") as shown:
                found = await shown.json()
            async with session.delete(f"{url}/{trace['id']}") as ended:
                assert (await ended.json())["ended"] is not None
            told = await following
    told_in_time = [(entry.get("direction") or entry["decision"], start(entry)) for entry in found["entries"]]
    for step in (("received", "INVITE"), ("placed", None), ("sent", "INVITE"), ("received", "486"), ("sent", "486")):
        assert step in told_in_time
    assert told_in_time.index(("received", "INVITE")) < told_in_time.index(("sent", "INVITE"))
    [placed] = [entry for entry in found["entries"] if "decision" in entry]
    assert (placed["group"], placed["node"], placed["address"]) == ("default/ivr", "fs1", node.endpoint)
    assert placed["details"]["algorithm"] == "LeastLoad"
    assert told[: len(found["entries"])] == found["entries"], "followed is what is read"
    logged = [vars(record) for record in serving.records if record.getMessage() == "trace"]
    assert [record["callId"] for record in logged] == [CALL] * len(told)
    everything = json.dumps(found) + str(told) + str(logged)
    assert "username=" in everything
    assert "n0nce" not in everything
    assert "r3sponse" not in everything


def start(entry):
    """Method or status of a message."""
    if "text" not in entry:
        return None
    words = entry["text"].split()
    return words[1] if words[0] == "SIP/2.0" else words[0]


async def followed(session, url):
    """All entries that the stream tells until the trace ends."""
    async with session.get(url, headers={"Accept": "text/event-stream"}) as response:
        blocks = (await response.text()).split("\n\n")
    fields = [dict(line.partition(": ")[::2] for line in block.splitlines()) for block in blocks]
    assert [field["event"] for field in fields if "event" in field][-1] == "end"
    return [json.loads(field["data"]) for field in fields if field.get("event") == "entry"]
