"""`switchtender serve` with probes and orders: what OPTIONS show, what an operator wants, and what a restart keeps."""

import asyncio
import json
import socket
import stat

import aiohttp
import pytest
from serve_stand import Node, config_of, eventually, group_of, served, simulated, write

FS1, FS2 = "127.0.0.171", "127.0.0.172"
HEALTH = {"options": {"interval": "1s", "timeout": "100ms", "failures": 1, "successes": 1}}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with simulated([Node("fs1", 171, {"max-sessions": 50})], tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def deaf():
    """A SIP port that takes everything and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((FS2, 0))
        yield bound.getsockname()[1]


def configuration(tmp_path, deaf):
    fs1 = {"name": "fs1", "sip": f"sip:{FS1}", "load": f"fs://:ClueCon@{FS1}"}
    fs2 = {"name": "fs2", "sip": f"sip:{FS2}:{deaf}"}
    path = tmp_path / "balancer.yaml"
    group = group_of("ivr", fs1, fs2, health={**HEALTH, "panicThreshold": 0})
    return write(path, config_of(tmp_path / "state", address="127.0.0.83"), group)


async def post(serving, path, body, token=None):
    url = f"http://{serving._serving().http}{path}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def state_of(serving, node, wanted):
    async with asyncio.timeout(60):
        while (found := (await serving.states()).get(node)) != wanted:
            await asyncio.sleep(0.01)
    return found


async def test_probes_orders_and_a_restart(nodes, tmp_path, deaf):
    path = configuration(tmp_path, deaf)
    async with served(path) as serving:
        await state_of(serving, "fs1", ("ready", "Reporting"))
        await state_of(serving, "fs2", ("down", "SipUnanswered"))
        shown = {node["node"]: node for node in (await serving.get("/api/v1/nodes"))["nodes"]}
        assert shown["fs2"]["probe"]["detail"] == "no answer within 0.1 s"
        status, answer = await post(serving, "/api/v1/explain", {"requestUri": "sip:1@example.com"})
        assert (status, answer["choice"]["name"]) == (200, "fs1")
        assert {one["name"]: one["verdict"] for one in answer["candidates"]}["fs2"] == "Unreachable"
        await eventually_probed(serving, "fs1")
        file = tmp_path / "state" / "admin-token"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        token = file.read_text().strip()
        status, answer = await post(serving, "/api/v1/nodes/fs1/drain", {})
        assert (status, str(file) in answer["error"]) == (401, True)
        status, answer = await post(serving, "/api/v1/nodes/fs1/drain", {}, token)
        assert (status, answer["members"][0]["after"]["state"]) == (200, "Drained")
        assert (await serving.states())["fs1"] == ("draining", "Drained")
        _, answer = await post(serving, "/api/v1/explain", {"requestUri": "sip:1@example.com"})
        assert answer["choice"] is None
    async with served(path) as again:
        await state_of(again, "fs1", ("draining", "Drained"))
        assert json.loads((tmp_path / "state" / "admin.json").read_text())["members"][0]["state"] == "Drained"
        status, _ = await post(again, "/api/v1/nodes/fs1/undrain", {}, token)
        assert status == 200
        await state_of(again, "fs1", ("ready", "Reporting"))
        assert (await post(again, "/api/v1/nodes/fs9/drain", {}, token))[0] == 404
        await eventually(lambda: "order: undrain" in again.messages())
        assert not [record for record in again.records + serving.records if token in str(vars(record))]
        file.write_text("another-token-by-hand\n")
        assert (await post(again, "/api/v1/nodes/fs1/enable", {}, token))[0] == 401
        assert (await post(again, "/api/v1/nodes/fs1/enable", {}, "another-token-by-hand"))[0] == 200
        file.unlink()
        status, answer = await post(again, "/api/v1/nodes/fs1/enable", {}, "another-token-by-hand")
        assert (status, "No such file" in answer["error"]) == (403, True)


async def eventually_probed(serving, node):
    """A real node answers OPTIONS, and it shows."""
    async with asyncio.timeout(60):
        while True:
            shown = {one["node"]: one["probe"] for one in (await serving.get("/api/v1/nodes"))["nodes"]}
            if shown[node] is not None:
                break
            await asyncio.sleep(0.01)
    assert (shown[node]["answered"], shown[node]["status"]) == (True, 200)
