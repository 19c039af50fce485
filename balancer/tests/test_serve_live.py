"""The live stream and the events of a balancer that serves, with a simulated node that dies and comes back."""

import asyncio
import contextlib
import json
import signal

import aiohttp
import pytest
from serve_stand import Node, config_of, eventually, group_of, served, simulated, write

HERE = "127.0.0.117"
NODE = Node("fs1", 118, {"max_sessions": 50, "background_sessions": 3})


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with simulated([NODE], tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def file(tmp_path):
    member = {"name": "fs1", "sip": f"sip:{NODE.address}", "load": f"fs://:ClueCon@{NODE.address}"}
    config = config_of(tmp_path / "state", address=HERE)
    return write(tmp_path / "switchtender.yaml", config, group_of("ivr", member, health={"pollInterval": "200ms"}))


@contextlib.asynccontextmanager
async def stream(serving, path, **headers):
    """An iterator over id, name and data of what the stream says."""

    async def told(response):
        fields = {}
        async for line in response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            fields[name] = value
            if line == b"\n":
                if "data" in fields:
                    yield fields.get("id"), fields["event"], json.loads(fields["data"])
                fields = {}

    [record] = [record for record in serving.records if record.getMessage() == "serving"]
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession(headers={"Accept": "text/event-stream", **headers}) as session,
        session.get(f"http://{record.http}{path}") as response,
    ):
        assert response.status == 200, await response.text()
        yield told(response)


async def state(told, wanted):
    """The event that says that fs1 is in this state, with its id."""
    async for event_id, name, data in told:
        if name == "event" and data["type"] == "NodeState" and data["details"]["state"] == wanted:
            assert (data["namespace"], data["group"], data["node"]) == ("default", "ivr", "fs1")
            return int(event_id), data
    raise AssertionError("the stream ended")


async def ready(serving):
    async def look():
        return (await serving.states())["fs1"][0] == "ready"

    async with asyncio.timeout(60):
        while not await look():
            await asyncio.sleep(0.02)


async def test_a_node_that_dies_is_seen_on_the_stream_and_in_the_list_and_the_stream_goes_on_after_an_id(nodes, file):
    async with served(file) as serving:
        await ready(serving)
        async with stream(serving, "/api/v1/live") as told:
            _, name, view = await anext(told)
            assert name == "view"
            [shown] = view["nodes"]
            assert (shown["state"], shown["sessions"], shown["maxSessions"]) == ("ready", 3, 50)
            await asyncio.to_thread(nodes.do, "fs1", "crash")
            event_id, down = await state(told, "down")
        assert (down["severity"], down["details"]["before"]) == ("warning", "stale")
        assert down["reason"] == "ConnectionRefused"
        assert (down["details"]["sessions"], down["details"]["maxSessions"]) == (3, 50)
        listed = (await serving.get("/api/v1/events?type=NodeState&node=fs1"))["events"]
        assert [event for event in listed if event["id"] == event_id] == [down]
        await asyncio.to_thread(nodes.do, "fs1", "start?wait=1")
        async with stream(serving, "/api/v1/events?node=fs1", **{"Last-Event-ID": str(event_id)}) as told:
            again, up = await state(told, "ready")
        assert again > event_id
        assert up["details"]["before"] in {"down", "unknown", "stale"}
        record = [record for record in serving.records if getattr(record, "event", "") == "NodeState"][-1]
        assert (record.node, record.groups, record.state) == ("fs1", ["default/ivr"], "ready")


async def test_the_view_is_what_the_lists_show(nodes, file):
    async with served(file) as serving:
        await ready(serving)
        async with stream(serving, "/api/v1/live") as told:
            _, _, view = await anext(told)
        process = await serving.get("/api/v1/balancer")
        assert {name: view[name] for name in process} | {"process": {}} == process | {"process": {}}
        assert (process["balancer"], process["ready"], process["notReady"]) == ("default", True, None)
        assert view["process"].keys() == process["process"].keys()
        [group] = (await serving.get("/api/v1/groups"))["groups"]
        [node] = (await serving.get("/api/v1/nodes"))["nodes"]
        assert (view["groups"][0].keys(), view["nodes"][0].keys()) == (group.keys(), node.keys())
        assert (group["eligible"], group["offered"], group["callsPerSecond"]) == (1, 0, 0)
        assert group["calls"]["answered"] == group["rejected"]["full"] == group["failovers"]["silence"] == 0
        assert (node["callsPerSecond"], node["callShare"], node["drain"]) == (0, None, None)


async def test_a_configuration_is_taken_up_or_refused_before_everybodys_eyes(nodes, file):
    async with served(file) as serving:
        async with stream(serving, "/api/v1/events?type=Configuration&after=0") as told:
            assert [(await anext(told))[2]["reason"] for _ in range(1)] == ["Applied"]
            good = file.read_text()
            file.write_text(good.replace("legsPerCall: 1", "legsPerCall: 0"))
            _, _, refused = await anext(told)
            assert (refused["reason"], refused["severity"]) == ("Refused", "error")
            assert "legsPerCall" in refused["message"]
            file.write_text(good)
            assert (await anext(told))[2]["reason"] == "Applied"
        assert [text for text in serving.messages() if text == refused["message"]], "logged once, in the same words"


async def test_open_streams_hold_up_no_stop(nodes, file):
    async with served(file) as serving:
        async with stream(serving, "/api/v1/live") as told, stream(serving, "/api/v1/events") as events:
            await anext(told)
            serving.signal(signal.SIGTERM)
            await eventually(lambda: "stopping" in serving.messages())
            serving.signal(signal.SIGTERM)
            assert [name async for _, name, _ in told if name not in {"view", "event"}] == []
            assert [name async for _, name, _ in events if name != "event"] == []
        await eventually(serving.task.done)
