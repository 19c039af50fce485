"""The HTTP interface over a stub of the balancer: every route, every way to ask wrongly."""

import asyncio
import contextlib
import json
import logging
import re

import jsonschema_rs
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from switchtender.http.admin import Closed, ForbiddenError, OneToken, UnauthorizedError, UnavailableError
from switchtender.http.app import MAX_BODY, application
from switchtender.http.listen import HttpBindError, listening
from switchtender.http.openapi import VERBS
from switchtender.http.schemas import SCHEMAS
from switchtender.http.views import BadQuestionError, NotFoundError, NotHereError
from switchtender.load.states import STATES
from switchtender.metrics.exposition import Exposition
from switchtender.telemetry.journal import Journal

NODE = {"namespace": "voice", "group": "ivr", "node": "fs1", "state": "ready", "sessions": 3, "effective": 3.5}
TOKEN = "a-token-of-the-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
GROUP = {"namespace": "voice", "group": "ivr", "nodes": 1}


class StubView:
    def __init__(self):
        self.instance = "0123456789abcdef"
        self.journal = Journal()
        self.metrics = Exposition()
        self.metrics.add(Gauge("switchtender_probe", "A gauge.", registry=None))
        self.reason = None
        self.times = 1
        self.secret = None
        self.asked = []
        self.refusal = None

    def not_ready(self):
        return self.reason

    async def look(self):
        return {"nodes": [NODE] * self.times, "groups": [GROUP] * self.times}

    def token(self):
        return self.secret

    async def state(self):
        return {"format": 1}

    async def order(self, verb, node, details, by):
        if self.refusal:
            raise self.refusal
        self.asked.append((verb, node, details, by))
        return {"verb": verb, "members": []}

    def explain(self, call):
        self.asked.append(call)
        if "requestUri" not in call:
            raise BadQuestionError("requestUri: required")
        return {"group": None, "choice": None, "candidates": []}


@pytest.fixture
def view():
    return StubView()


@pytest.fixture
async def client(view):
    guard = OneToken(lambda: TOKEN, "file /somewhere")
    async with TestClient(TestServer(application(view, guard))) as running:
        yield running


async def answer(response, status):
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def test_nodes_and_groups_are_lists_under_their_name(client):
    assert await answer(await client.get("/api/v1/nodes"), 200) == {"nodes": [NODE]}
    assert await answer(await client.get("/api/v1/groups"), 200) == {"groups": [GROUP]}


@pytest.mark.parametrize("times", [0, 49, 50, 51, 120])
async def test_as_many_as_there_are_are_listed(client, view, times):
    view.times = times
    assert await answer(await client.get("/api/v1/nodes"), 200) == {"nodes": [NODE] * times}
    assert await answer(await client.get("/api/v1/groups"), 200) == {"groups": [GROUP] * times}


async def test_healthz_names_this_process(client, view):
    assert await answer(await client.get("/healthz"), 200) == {"status": "ok", "instance": view.instance}


async def test_readyz_before_and_after(client, view):
    view.reason = "no configuration is in force yet"
    assert await answer(await client.get("/readyz"), 503) == {
        "status": "not ready",
        "reason": "no configuration is in force yet",
    }
    view.reason = None
    assert await answer(await client.get("/readyz"), 200) == {"status": "ready"}


async def test_state_is_not_there_where_no_token_is_configured(client):
    found = await answer(await client.get("/api/v1/state", headers={"Authorization": "Bearer "}), 404)
    assert found == {"error": "Not Found"}


@pytest.mark.parametrize("token", [b"", b"s3cret"])
@pytest.mark.parametrize(
    "presented",
    [None, "", "s3cret", "Basic s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Bearer \xff"],
)
async def test_state_is_for_the_bearer_alone(client, view, token, presented):
    view.secret = token
    headers = {} if presented is None else {"Authorization": presented}
    refused = await client.get("/api/v1/state", headers=headers)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert "s3cret" not in json.dumps(await answer(refused, 401))


@pytest.mark.parametrize("presented", ["Bearer s3cret", "bearer  s3cret "])
async def test_state_is_shown_to_the_bearer(client, view, presented):
    view.secret = b"s3cret"
    assert await answer(await client.get("/api/v1/state", headers={"Authorization": presented}), 200) == {"format": 1}


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_metrics_in_the_form_that_was_asked_for(client, accept):
    response = await client.get("/metrics", headers={"Accept": accept} if accept else {})
    assert response.status == 200
    assert response.content_type == ("application/openmetrics-text" if accept else "text/plain")
    text = await response.text()
    families = {family.name for family in text_string_to_metric_families(text.replace("# EOF\n", ""))}
    assert families == {"switchtender_probe"}


@pytest.mark.parametrize("path", ["/index.html", "/api", "/api/v1/node", "/api/v2/nodes", "/nodes/", "/../etc/passwd"])
async def test_an_unknown_route_is_404_in_json(client, path):
    assert await answer(await client.get(path), 404) == {"error": "Not Found"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/api/v1/nodes", "GET"), ("GET", "/api/v1/explain", "POST"), ("GET", "/api/v1/nodes/a/drain", "POST")],
)
async def test_a_wrong_method_is_405_and_says_which_is_right(client, method, path, allowed):
    response = await client.request(method, path)
    assert await answer(response, 405) == {"error": "Method Not Allowed"}
    assert allowed in response.headers["Allow"].split(", ")


async def test_a_question_reaches_the_view_as_it_was_put(client, view):
    question = {"requestUri": "sip:1@example.com", "source": "192.0.2.1"}
    assert (await answer(await client.post("/api/v1/explain", json=question), 200))["choice"] is None
    assert view.asked == [question]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"requestUri=sip:1@a", "not JSON"),
        (b"\xff\xfe\xfa\x80", "not JSON"),
        (b"\x80abc", "not JSON"),
        (b"[" * 60_000, "nested too deeply"),
        (b"[]", "must be a JSON object"),
        (b'"sip:1@a"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"{}", "requestUri: required"),
    ],
)
async def test_a_bad_body_is_400_and_says_what_is_wrong(client, body, said):
    document = await answer(await client.post("/api/v1/explain", data=body), 400)
    assert set(document) == {"error"}
    assert said in document["error"]


@pytest.mark.parametrize("verb", VERBS)
async def test_an_order_reaches_the_view_with_who_gave_it(client, view, verb):
    response = await client.post(f"/api/v1/nodes/fs1/{verb}", json={"group": "voice/ivr"}, headers=ADMIN)
    assert await answer(response, 200) == {"verb": verb, "members": []}
    assert view.asked == [(verb, "fs1", {"group": "voice/ivr"}, "127.0.0.1")]


async def test_an_order_may_have_no_body(client, view):
    await answer(await client.post("/api/v1/nodes/fs1/drain", headers=ADMIN), 200)
    assert view.asked == [("drain", "fs1", {}, "127.0.0.1")]


async def test_an_order_may_come_from_anywhere_and_by_a_page(client, view, monkeypatch):
    monkeypatch.setattr("aiohttp.web_request.BaseRequest.remote", "192.0.2.7")
    headers = {**ADMIN, "Origin": "https://balancer.example.com", "X-Forwarded-For": "198.51.100.1"}
    await answer(await client.post("/api/v1/nodes/fs1/drain", json={}, headers=headers), 200)
    assert view.asked == [("drain", "fs1", {}, "192.0.2.7")]


@pytest.mark.parametrize(
    "presented",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN} x",
        "Bearer \xff",
    ],
)
async def test_no_order_without_the_token(client, view, caplog, presented):
    headers = {} if presented is None else {"Authorization": presented}
    refused = await client.post("/api/v1/nodes/fs1/drain", data=b"no json", headers=headers)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    document = await answer(refused, 401)
    assert "stands in file /somewhere" in document["error"]
    assert TOKEN not in json.dumps(document) + caplog.text
    assert view.asked == []


async def test_who_is_refused_over_and_over_does_not_fill_the_log(client, caplog):
    for _ in range(5):
        await client.post("/api/v1/nodes/fs1/drain")
    [record] = [record for record in caplog.records if "refused" in record.getMessage()]
    assert (record.by, record.method, record.path) == ("127.0.0.1", "POST", "/api/v1/nodes/fs1/drain")


@pytest.mark.parametrize(
    ("refusal", "status", "header"),
    [
        (ForbiddenError("not you"), 403, None),
        (UnavailableError("who knows"), 503, "Retry-After"),
        (UnauthorizedError("who are you"), 401, "WWW-Authenticate"),
    ],
)
async def test_what_a_guard_says_is_answered(view, refusal, status, header):
    class Guard:
        orders = True

        async def admit(self, token, verb):
            assert (token, verb) == ("abc", "post")
            raise refusal

    async with TestClient(TestServer(application(view, Guard()))) as client:
        response = await client.post("/api/v1/nodes/fs1/drain", headers={"Authorization": "bearer  abc "})
        assert await answer(response, status) == {"error": str(refusal)}
        assert header is None or header in response.headers


async def test_without_a_guard_nobody_is_admitted(view):
    async with TestClient(TestServer(application(view))) as client:
        found = await answer(await client.post("/api/v1/nodes/fs1/drain", headers=ADMIN), 403)
    assert "nobody" in found["error"]
    assert view.asked == []


async def test_where_orders_are_not_given_anybody_is_told_how(view):
    view.refusal = NotHereError("kubectl")
    async with TestClient(TestServer(application(view, Closed("no", orders=False)))) as client:
        assert await answer(await client.post("/api/v1/nodes/fs1/drain"), 409) == {"error": "kubectl"}


async def test_who_a_token_belongs_to_is_told(view):
    class Guard:
        orders = True

        async def admit(self, token, verb):
            return "alice"

    async with TestClient(TestServer(application(view, Guard()))) as client:
        await answer(await client.post("/api/v1/nodes/fs1/drain", headers=ADMIN), 200)
    assert view.asked == [("drain", "fs1", {}, "alice at 127.0.0.1")]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(BadQuestionError("weight: no"), 400), (NotFoundError("no node"), 404), (NotHereError("kubectl"), 409)],
)
async def test_a_refused_order_says_why(client, view, refusal, status):
    view.refusal = refusal
    assert await answer(await client.post("/api/v1/nodes/fs1/drain", json={}, headers=ADMIN), status) == {
        "error": str(refusal)
    }


async def test_the_document_holds_every_route_and_no_other(client):
    document = await answer(await client.get("/api/v1/openapi.json"), 200)
    described = {
        (path, method) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    served = {
        (route.resource.canonical, route.method.lower())
        for route in client.server.app.router.routes()
        if route.method != "HEAD"
    }
    assert described == served


async def test_the_document_tells_parameters_tokens_and_errors_of_every_route(client):
    document = await answer(await client.get("/api/v1/openapi.json"), 200)
    shapes = document["components"]["schemas"]
    for path, item in document["paths"].items():
        named = re.findall(r"{(\w+)}", path)
        assert [entry["name"] for entry in item.get("parameters", [])] == named, path
        for method, operation in item.items():
            if method == "parameters":
                continue
            guarded = "/traces" in path or (method == "post" and "/nodes/" in path) or path.endswith("/state")
            assert ("security" in operation, "401" in operation["responses"]) == (guarded, guarded), path
            assert ("requestBody" in operation) is (method == "post"), path
            refused = {status for status in operation["responses"] if status >= "400" and path != "/readyz"}
            assert {"500"} <= refused or path == "/readyz"
            for status in refused:
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Error"}, path
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert used == set(shapes), "each shape is used, and no other is referred to"
    for name, shape in shapes.items():
        jsonschema_rs.meta.validate(shape)
        assert shape["required"], name


def test_the_states_of_the_document_are_those_of_a_node():
    assert tuple(SCHEMAS["Node"]["properties"]["state"]["enum"]) == STATES


async def test_a_content_type_from_nowhere_does_not_matter(client):
    headers = {"Content-Type": "text/plain; charset=no-such-charset"}
    await answer(await client.post("/api/v1/explain", data=b'{"requestUri": "sip:1@a"}', headers=headers), 200)


async def test_too_much_is_413(client):
    document = await answer(await client.post("/api/v1/explain", data=b" " * (MAX_BODY + 1)), 413)
    assert set(document) == {"error"}


async def test_what_goes_wrong_within_is_500_without_details_and_logged(client, view, monkeypatch, caplog):
    async def fails():
        raise RuntimeError("a detail for the log")

    monkeypatch.setattr(view, "look", fails)
    with caplog.at_level(logging.ERROR):
        assert await answer(await client.get("/api/v1/nodes"), 500) == {"error": "internal error; the log says more"}
    assert "a detail for the log" in caplog.text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_what_is_not_json_never_leaves(client, view, monkeypatch, number):
    async def look():
        return {"nodes": [{**NODE, "effective": number}]}

    monkeypatch.setattr(view, "look", look)
    await answer(await client.get("/api/v1/nodes"), 500)


async def test_listening_tells_what_was_bound_and_lets_it_go(view):
    async with listening(view, "127.0.0.1", 0) as bound:
        host, _, port = bound.rpartition(":")
        assert (host, int(port) > 0) == ("127.0.0.1", True)
    async with listening(view, host, int(port)) as again:
        assert again == bound


@pytest.mark.parametrize("broken", [b"Authorization Bearer s3cret", b"Authorization: Bearer s3cret" + b"A" * 9000])
async def test_what_is_no_http_is_refused_and_does_not_stand_in_the_log(view, broken, caplog):
    async with asyncio.timeout(60), listening(view, "127.0.0.1", 0) as bound:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(bound.rpartition(":")[2]))
        writer.write(b"GET /api/v1/traces HTTP/1.1\r\nHost: x\r\n" + broken + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert caplog.records == []


async def test_listening_on_ipv6_is_written_with_brackets(view):
    async with listening(view, "::1", 0) as bound:
        assert bound.startswith("[::1]:")


@pytest.mark.parametrize(
    ("address", "reason"), [("127.0.0.1", "Address already in use"), ("192.0.2.1", "Cannot assign")]
)
async def test_an_address_that_cannot_be_had_is_named(view, address, reason):
    async with contextlib.AsyncExitStack() as stack:
        port = int((await stack.enter_async_context(listening(view, "127.0.0.1", 0))).rpartition(":")[2])
        with pytest.raises(HttpBindError) as refused:
            await stack.enter_async_context(listening(view, address, port))
    assert (refused.value.address, refused.value.port) == (address, port)
    assert reason in refused.value.reason
