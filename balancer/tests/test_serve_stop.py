"""Stopping: what is being set up is finished, a deadline ends it, a second signal ends it at once."""

import asyncio
import json
import os
import signal
import sys

import pytest
from core_calls import Peer
from serve_stand import config_of, eventually, group_of, served, write

from switchtender.serve import server

HERE = "127.0.0.87"


@pytest.fixture
def node():
    with Peer("127.0.0.88") as up:
        yield up


@pytest.fixture
def caller():
    with Peer("127.0.0.89") as up:
        yield up


@pytest.fixture
def file(tmp_path, node):
    def file(**spec):
        member = {"name": "fs1", "sip": f"sip:{node.host}:{node.port}"}
        failover = {"firstResponseTimeout": "5s"}
        config = config_of(tmp_path / "state", address=HERE, **spec)
        return write(tmp_path / "switchtender.yaml", config, group_of("ivr", member, routing={"failover": failover}))

    return file


def send(caller, to, method, number, remote="<sip:100@example.com>"):
    """The INVITE of a call, or the ACK to its failure (RFC 3261 §17.1.1.3: the same branch)."""
    caller.send(
        to,
        f"{method} sip:100@example.com SIP/2.0",
        f"Via: SIP/2.0/UDP {caller.endpoint};branch=z9hG4bKstop{number};rport",
        "Max-Forwards: 70",
        f"From: <sip:caller@example.org>;tag=from{number}",
        f"To: {remote}",
        f"Call-ID: stop-{number}@test",
        f"CSeq: 1 {method}",
        f"Contact: <sip:caller@{caller.endpoint}>",
    )


async def ringing(serving, caller, node, number=1):
    """A call that was offered to the node, which rings; gives the INVITE as the node has it."""
    send(caller, serving.listener, "INVITE", number)
    request = await asyncio.to_thread(node.receive)
    node.answer(request, "180 Ringing")
    await asyncio.to_thread(caller.expect, 180)
    return request


async def told_to_stop(serving, number=signal.SIGTERM):
    serving.signal(number)
    await eventually(lambda: "stopping" in serving.messages())


async def test_a_call_in_set_up_and_a_new_one_are_finished_and_then_it_ends(file, node, caller):
    async with served(file()) as serving:
        request = await ringing(serving, caller, node)
        await told_to_stop(serving)
        assert (await serving.get("/readyz"))["status"] == "ready", "responses under way still find their way to us"
        node.answer(request, "200 OK")
        await asyncio.to_thread(caller.expect, 200)
        later = await ringing(serving, caller, node, number=2)
        node.answer(later, "486 Busy Here")
        refusal = await asyncio.to_thread(caller.expect, 486, passing=(100, 200))
        send(caller, serving.listener, "ACK", 2, refusal.get("To"))
        assert not serving.task.done()
        async with asyncio.timeout(60):
            await serving.task
        assert serving.messages()[-1] == "stopped"
        assert "stopped with open transactions" not in serving.messages()


async def test_the_deadline_ends_it_and_what_is_lost_is_said(file, node, caller):
    async with served(file(stop={"deadline": "300ms"})) as serving:
        await ringing(serving, caller, node)
        await told_to_stop(serving)
        async with asyncio.timeout(60):
            await serving.task
        [lost] = [record for record in serving.records if record.getMessage() == "stopped with open transactions"]
        assert lost.openTransactions >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(file, node, caller, number):
    async with served(file()) as serving:
        await ringing(serving, caller, node)
        await told_to_stop(serving, number)
        serving.signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await serving.task
        assert "stopped with open transactions" in serving.messages()


async def test_signals_that_come_while_starting_are_not_lost(file, monkeypatch):
    """SIGHUP would end a process that does not listen yet."""
    asked = []

    def read(path, original=server.read_plan):
        asked.append(path)
        for number in (signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        return original(path)

    monkeypatch.setattr(server, "read_plan", read)
    async with asyncio.timeout(60):
        await server.Server(file(stop={"deadline": "0s"})).run()
    assert len(asked) == 1


async def test_the_command_ends_with_status_0_and_logs_json(file):
    arguments = [sys.executable, "-m", "switchtender", "serve", "--config", str(file(stop={"deadline": "0s"}))]
    process = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.PIPE)
    lines = []
    async with asyncio.timeout(60):
        while not any(line["message"] == "serving" for line in lines):
            lines.append(json.loads(await process.stderr.readline()))
        process.send_signal(signal.SIGINT)
        lines += [json.loads(line) async for line in process.stderr]
        assert await process.wait() == 0
    assert [line["message"] for line in lines if line["logger"].startswith("switchtender.serve.")] == [
        "serving",
        "stopping",
        "stopped",
    ]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
