"""Traces of calls over a packet core that tells what the test wants: bounds, ends, and what the interface shows."""

import json
import logging

import pytest
from aiohttp.test_utils import TestClient, TestServer

from switchtender.http.admin import OneToken
from switchtender.http.app import application
from switchtender.telemetry import traces as traces_module
from switchtender.telemetry.journal import Journal
from switchtender.telemetry.traces import AT_ONCE, KEPT, NoSuchTraceError, TooManyTracesError, Traces

CALL = "a84b4c76e66710@pc33.example.com"
INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\nCall-ID: a84b4c76e66710@pc33.example.com\r\n"
    b'Authorization: Digest nonce="n0nce", response="r3sponse"\r\n\r\n\xff'
)
PLACED = {"attempt": 1, "algorithm": "LeastLoad", "candidates": 3, "effective": 3.0, "capacity": 49.0, "free": 46.0}
MESSAGE = ("received", "UDP", "127.0.0.1:5060", "127.0.0.2:5060", INVITE)
DECISION = ("placed", "voice/ivr", "uid1", "127.0.0.11:5060", json.dumps(PLACED).encode())
TOKEN = {"Authorization": "Bearer s3cret"}


class Core:
    """Follows what it is told to, as the packet core does."""

    def __init__(self):
        self.following = {}
        self.waiting = []
        self.lost = 0

    def trace(self, trace_id, call_id, *, until, per_second):
        if call_id == "refused":
            raise ValueError("not a Call-ID")
        self.following[trace_id] = (call_id, until, per_second)

    def end_trace(self, trace_id):
        del self.following[trace_id]
        return self.lost

    def trace_left_out(self, trace_id):
        return self.lost

    def traced(self, limit):
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def tell(self, trace_id, told, at=100.0, worker=1):
        self.waiting.append((trace_id, at, worker, *told))


class Time:
    now = 100.0

    def clock(self):
        return self.now

    def wall(self):
        return self.now + 1_700_000_000


@pytest.fixture
def core():
    return Core()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def journal(time, caplog):
    caplog.set_level(logging.INFO)
    return Journal(time.wall)


@pytest.fixture
def traces(core, time, journal):
    return Traces(core, journal, name_of={"uid1": "fs1"}.get, clock=time.clock, wall=time.wall)


@pytest.fixture
async def client(traces, journal):
    class View:
        instance = "0123"

        def not_ready(self):
            return "starting"

    view = View()
    view.traces, view.journal = traces, journal
    async with TestClient(TestServer(application(view, OneToken(lambda: "s3cret", "a file")))) as running:
        running.view = view
        yield running


async def asked(client, method, path, status, body=None, **headers):
    response = await client.request(method, f"/api/v1/traces{path}", json=body, headers=TOKEN | headers)
    assert response.status == status, await response.text()
    return await response.json()


def test_what_is_told_is_kept_and_logged_without_secrets(traces, core, caplog):
    trace = traces.start(CALL, 60, 20, "me")
    assert core.following == {1: (CALL, 160.0, 20)}
    core.tell(1, MESSAGE)
    core.tell(1, DECISION, at=100.5)
    traces.take()
    message, decision = trace.entries
    text = message.pop("text")
    assert message == {
        "id": 1,
        "time": 1_700_000_100,
        "worker": 1,
        "direction": "received",
        "transport": "UDP",
        "local": "127.0.0.1:5060",
        "peer": "127.0.0.2:5060",
    }
    assert "nonce=***, response=***" in text
    assert decision == {
        "id": 2,
        "time": 1_700_000_100.5,
        "worker": 1,
        "decision": "placed",
        "group": "voice/ivr",
        "uid": "uid1",
        "node": "fs1",
        "address": "127.0.0.11:5060",
        "details": PLACED,
    }
    said = [record for record in caplog.records if record.getMessage() == "trace"]
    assert (said[0].callId, said[0].direction, said[0].startLine) == (
        CALL,
        "received",
        "INVITE sip:bob@example.com SIP/2.0",
    )
    assert (said[1].decision, said[1].node, said[1].capacity) == ("placed", "fs1", 49.0)
    assert not any("n0nce" in str(vars(record)) or "r3sponse" in str(vars(record)) for record in caplog.records)


def test_a_trace_ends_by_itself_and_its_last_messages_are_not_lost(traces, core, time, journal):
    trace = traces.start(CALL, 60, 20, "me")
    time.now += 59.9
    traces.settle()
    assert trace.ended is None
    core.tell(1, MESSAGE)
    core.lost = 7
    time.now += 0.1
    traces.settle()
    assert trace.ended == time.wall()
    assert core.following == {}
    assert (len(trace.entries), traces.left_out(trace), traces.running) == (1, 7, [])
    assert [(event.type, event.reason) for event in journal.after(0)] == [("Trace", "Started"), ("Trace", "Ended")]
    assert journal.after(1)[0].details == {"trace": 1, "callId": CALL, "by": "me", "entries": 1, "leftOut": 7}


def test_only_so_many_at_once(traces, time):
    for _ in range(AT_ONCE):
        traces.start(CALL, 60, 20, "me")
    with pytest.raises(TooManyTracesError, match="end one of 1, 2, 3, 4, 5, 6, 7, 8"):
        traces.start(CALL, 60, 20, "me")
    traces.end(3)
    traces.start(CALL, 60, 20, "me")
    time.now += 60
    assert traces.start(CALL, 60, 20, "me").id == AT_ONCE + 2


def test_the_last_that_ended_may_be_looked_at(traces):
    for _ in range(KEPT + 3):
        traces.end(traces.start(CALL, 60, 20, "me").id)
    assert [trace.id for trace in traces.all()] == list(range(4, KEPT + 4))
    with pytest.raises(NoSuchTraceError):
        traces.trace(3)


def test_what_is_kept_is_bounded_and_what_is_left_out_is_counted(traces, core, monkeypatch):
    monkeypatch.setattr(traces_module, "KEPT_BYTES", 1000)
    trace = traces.start(CALL, 60, 20, "me")
    for _ in range(1500):  # more than are taken at once
        core.tell(1, MESSAGE)
    traces.take()
    assert trace.last == 1500
    assert sum(len(entry["text"]) for entry in trace.entries) <= 1000
    assert traces.left_out(trace) == 1500 - len(trace.entries)
    assert [entry["id"] for entry in trace.after(1498)] == [1499, 1500]


def test_what_is_of_no_trace_is_left_aside_and_nobody_is_asked_for_nothing(traces, core):
    core.tell(9, MESSAGE)
    traces.take()
    assert core.waiting, "nothing is taken while no trace runs"
    trace = traces.start(CALL, 60, 20, "me")
    traces.take()
    assert (core.waiting, list(trace.entries)) == ([], [])


@pytest.mark.parametrize("call_id", ["", "x" * 1025, "refused"])
def test_a_call_id_that_is_none(traces, call_id):
    with pytest.raises(ValueError, match="Call-ID"):
        traces.start(call_id, 60, 20, "me")
    assert traces.all() == []


async def test_a_trace_over_http(client, core):
    made = await asked(client, "POST", "", 201, {"callId": CALL})
    assert (made["id"], made["callId"], made["messagesPerSecond"], made["ended"]) == (1, CALL, 20, None)
    assert made["until"] - made["started"] == 60
    assert made["by"] == "127.0.0.1"
    core.tell(1, MESSAGE)
    core.lost = 2
    found = await asked(client, "GET", "/1", 200)
    assert [entry["direction"] for entry in found["entries"]] == ["received"]
    assert (found["leftOut"], found["trace"]["entries"]) == (2, 1)
    assert [trace["id"] for trace in (await asked(client, "GET", "", 200))["traces"]] == [1]
    assert (await asked(client, "DELETE", "/1", 200))["ended"] is not None
    assert (await asked(client, "DELETE", "/1", 200))["ended"] is not None, "over is over"
    for method, path in (("GET", "/2"), ("DELETE", "/2"), ("GET", "/x"), ("GET", "/" + "9" * 30)):
        assert "no trace has the id" in (await asked(client, method, path, 404))["error"]


async def test_a_trace_is_followed_to_its_end(client, core, traces):
    await asked(client, "POST", "", 201, {"callId": CALL, "seconds": 600, "messagesPerSecond": 100})
    core.tell(1, MESSAGE)
    traces.take()
    headers = TOKEN | {"Accept": "text/event-stream"}
    response = await client.get("/api/v1/traces/1", headers=headers)
    core.tell(1, DECISION)
    traces.take()
    traces.end(1)
    text = (await response.content.read()).decode()
    names = [line for line in text.splitlines() if line.startswith(("id:", "event:"))]
    assert names == ["id: 1", "event: entry", "id: 2", "event: entry", "event: end"]
    resumed = await client.get("/api/v1/traces/1", headers=headers | {"Last-Event-ID": "1"})
    assert (await resumed.text()).count("event: entry") == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "callId: required"),
        ({"callId": 7}, "callId: required"),
        ({"callId": "refused"}, "callId: not a Call-ID"),
        ({"callId": CALL, "seconds": 601}, "seconds: 601: accepted: a whole number from 1 to 600"),
        ({"callId": CALL, "seconds": True}, "seconds: True"),
        ({"callId": CALL, "messagesPerSecond": 0}, "messagesPerSecond: 0: accepted: a whole number from 1 to 100"),
        ({"callId": CALL, "messagesPerSecond": 1.5}, "messagesPerSecond: 1.5"),
        ({"callId": CALL, "for": "ever"}, "for: unknown field; accepted: callId, seconds, messagesPerSecond"),
    ],
)
async def test_a_bad_question_names_the_field(client, body, said):
    assert said in (await asked(client, "POST", "", 400, body))["error"]


async def test_one_too_many_is_a_conflict_that_says_what_to_end(client):
    for _ in range(AT_ONCE):
        await asked(client, "POST", "", 201, {"callId": CALL})
    assert "end one of 1, " in (await asked(client, "POST", "", 409, {"callId": CALL}))["error"]


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("GET", ""), ("GET", "/1"), ("DELETE", "/1")])
async def test_nobody_sees_a_trace_without_the_token(client, traces, method, path):
    traces.start(CALL, 60, 20, "me")
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}):
        assert CALL not in str(await asked(client, method, path, 401, **headers))
    assert [trace.ended for trace in traces.all()] == [None]


async def test_there_is_nothing_to_trace_before_calls_are_served(client):
    client.view.traces = None
    assert "no call is served yet: starting" in (await asked(client, "GET", "", 503))["error"]
