"""Events as a list and as a stream, and the whole each second, over a stub of the balancer and real sockets."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer

from switchtender.http import live, sse
from switchtender.http.app import application
from switchtender.http.live import BEHOLDER
from switchtender.http.sse import STREAMS
from switchtender.telemetry.journal import Journal, Place

FS1 = [Place("voice", "ivr", "fs1")]


class StubView:
    def __init__(self):
        self.instance = "0123456789abcdef"
        self.journal = Journal()
        self.looks = 0
        self.fault = None
        self.known = [{"node": f"fs{number}"} for number in range(250)]

    def balancer(self):
        return {"instance": self.instance, "ready": True}

    async def look(self):
        self.looks += 1
        if self.fault:
            raise self.fault
        return {"time": 1.5, "look": self.looks, "groups": [], "nodes": self.known}


@pytest.fixture
def view():
    return StubView()


@pytest.fixture
async def client(view, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.02)
    async with TestClient(TestServer(application(view))) as running:
        yield running


def record(view, *reasons, places=FS1):
    for reason in reasons:
        view.journal.record("NodeState", reason, f"node is {reason}", places=places)


async def events(client, query="", status=200):
    answer = await client.get(f"/api/v1/events{query}")
    assert answer.status == status, await answer.text()
    return await answer.json()


def reasons(found):
    return [event["reason"] for event in found["events"]]


class Reader:
    """Reads a stream event by event; `comments` counts its heartbeats."""

    def __init__(self, response):
        self.response = response
        self.comments = 0

    async def next(self, wanted=None):
        """Id, name and data of the next event (of this name)."""
        fields = {}
        async with asyncio.timeout(60):
            async for line in self.response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                self.comments += line == b":\n"
                fields[name] = value
                if line == b"\n":
                    if "data" in fields and wanted in (None, fields["event"]):
                        return fields.get("id"), fields["event"], json.loads(fields["data"])
                    fields = {}
        return None


async def stream(client, path, **headers):
    response = await client.get(path, headers={"Accept": "text/event-stream", **headers})
    assert response.status == 200
    return Reader(response)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def test_events_as_a_list(client, view):
    record(view, "A", "B", "C")
    found = await events(client)
    assert reasons(found) == ["A", "B", "C"]
    assert (found["first"], found["last"], found["instance"]) == (1, 3, view.instance)
    assert reasons(await events(client, "?limit=2")) == ["B", "C"], "the newest, where no id is given"


async def test_a_list_goes_on_page_by_page_and_leaves_none_out(client, view):
    record(view, *"ABCDE")
    after, told = 0, []
    while page := (await events(client, f"?after={after}&limit=2")):
        if not page["events"]:
            break
        told += reasons(page)
        after = page["last"]
    assert told == list("ABCDE")
    assert after == 5


async def test_what_is_asked_for_is_all_that_is_shown(client, view):
    record(view, "A")
    record(view, "B", places=[Place("other", "conf", "x")])
    view.journal.record("Worker", "Panicked", "worker")
    for query, wanted in (
        ("?namespace=voice", ["A"]),
        ("?group=conf", ["B"]),
        ("?node=x", ["B"]),
        ("?type=Worker", ["Panicked"]),
        ("?type=Worker&node=x", []),
    ):
        assert reasons(await events(client, query)) == wanted, query


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?after=x", "after: 'x': accepted: a whole number from 0"),
        ("?after=-1", "after: '-1'"),
        ("?after=" + "9" * 19, "after: "),
        ("?after=%D9%A3", "after: "),
        ("?limit=0", "limit: 0: accepted: a whole number from 1 to 1000"),
        ("?limit=1001", "limit: 1001"),
        ("?type=Nonsense", "type: 'Nonsense': accepted: NodeState, "),
    ],
)
async def test_a_bad_question_names_the_field(client, query, said):
    assert said in (await events(client, query, 400))["error"]


async def test_a_stream_of_events_begins_now_and_tells_each_as_it_happens(client, view):
    record(view, "Before")
    reader = await stream(client, "/api/v1/events?group=ivr")
    for name, value in {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}.items():
        assert reader.response.headers[name] == value
    assert reader.response.content_type == "text/event-stream"
    record(view, "Elsewhere", places=[Place("voice", "conf", "fs1")])
    record(view, "Now")
    assert await reader.next() == ("3", "event", (await events(client))["events"][-1])


@pytest.mark.parametrize(
    ("path", "header"), [("?after=1", {}), ("", {"Last-Event-ID": "1"}), ("?after=0", {"Last-Event-ID": "1"})]
)
async def test_a_stream_goes_on_after_an_id(client, view, path, header):
    record(view, *"ABC")
    reader = await stream(client, f"/api/v1/events{path}", **header)
    assert [(await reader.next())[0] for _ in range(2)] == ["2", "3"]


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/live"])
async def test_an_id_of_another_process_shows_all_there_is(client, view, path):
    record(view, "A")
    reader = await stream(client, path, **{"Last-Event-ID": "4711"})
    assert (await reader.next("event"))[0] == "1"


async def test_a_silent_stream_has_a_heartbeat(client, view, monkeypatch):
    monkeypatch.setattr(sse, "HEARTBEAT", 0.01)
    reader = await stream(client, "/api/v1/events")
    reading = asyncio.create_task(reader.next())
    await until(lambda: reader.comments >= 2)
    record(view, "A")
    assert (await reading)[2]["reason"] == "A"


async def test_the_whole_comes_first_and_again_and_events_between(client, view):
    record(view, "Before")
    reader = await stream(client, "/api/v1/live")
    first = await reader.next()
    assert (first[0], first[1]) == (None, "view"), "an id would hide where events go on"
    assert first[2] == {"time": 1.5, "look": 1, "groups": [], "nodes": view.known}
    record(view, "Now")
    assert (await reader.next("event"))[2]["reason"] == "Now"
    assert (await reader.next("view"))[2]["look"] > 1


async def test_one_look_serves_all_and_nobody_looks_for_nobody(client, view, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 60)
    readers = [await stream(client, "/api/v1/live") for _ in range(4)]
    assert {(await reader.next("view"))[2]["look"] for reader in readers} == {1}
    for reader in readers:
        reader.response.close()
    record(view, "A")  # who is gone is noticed at the next word
    await until(lambda: client.app[STREAMS].clients == 0)
    assert client.app[BEHOLDER].frame == b""
    await asyncio.sleep(0)
    assert view.looks == 1
    assert (await (await stream(client, "/api/v1/live")).next("view"))[2]["look"] == 2


async def test_a_fault_within_a_look_ends_no_stream_and_is_logged(client, view, caplog):
    view.fault = RuntimeError("a fault of ours")
    reader = await stream(client, "/api/v1/live")
    await until(lambda: view.looks > 2)
    assert "a fault of ours" in caplog.text
    view.fault = None
    assert (await reader.next("view"))[1] == "view"


async def test_there_are_only_so_many_streams(client, view):
    client.app[STREAMS].most = 2
    readers = [await stream(client, "/api/v1/live"), await stream(client, "/api/v1/events")]
    refused = await client.get("/api/v1/live")
    assert refused.status == 503
    assert "2 streams are open" in (await refused.json())["error"]
    assert (await events(client))["events"] == [], "a list is no stream"
    readers[1].response.close()
    record(view, "A")
    await until(lambda: client.app[STREAMS].clients == 1)
    await stream(client, "/api/v1/events")


async def test_who_takes_nothing_is_let_go_and_nobody_waits_for_it(view, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.01)
    monkeypatch.setattr(sse, "PATIENCE", 0.05)
    view.known = [{"node": "x" * 100} for _ in range(20_000)]
    async with TestClient(TestServer(application(view))) as client:
        _, writer = await asyncio.open_connection(client.server.host, client.server.port)
        writer.write(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n")  # and reads nothing
        await until(lambda: client.app[STREAMS].clients == 1)
        other = await stream(client, "/api/v1/events")
        record(view, "A")
        assert (await other.next())[2]["reason"] == "A"
        await until(lambda: client.app[STREAMS].clients == 1 and client.app[BEHOLDER].frame == b"")
        writer.close()


async def test_streams_end_with_the_process(view):
    server = TestServer(application(view), shutdown_timeout=30)
    async with TestClient(server) as client:
        readers = [await stream(client, "/api/v1/live"), await stream(client, "/api/v1/events")]
        await readers[0].next("view")
        async with asyncio.timeout(20):  # well before the shutdown's own patience ends
            await asyncio.gather(server.close(), *(reader.response.content.read() for reader in readers))
        assert client.app[STREAMS].clients == 0


async def test_this_process_of_its_own(client, view):
    assert await (await client.get("/api/v1/balancer")).json() == view.balancer()
