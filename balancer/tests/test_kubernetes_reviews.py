"""Who may trace calls in Kubernetes, against a scripted API server: asked seldom, believed for ten seconds, never kept
waiting.
"""

import asyncio
import json

import pytest
from kubernetes_stand import KubeApi, eventually
from tests.stand.kube_api import Account

from switchtender.control import reviews as reviews_module
from switchtender.control.reviews import AUDIENCE, PATH, Reviews
from switchtender.http.admin import ForbiddenError, UnauthorizedError, UnavailableError
from switchtender_kube import Client

TRACER = "system:serviceaccount:voice:tracer"
TOKEN = "eyJ0.a-token.of-the-tests"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
async def api():
    async with KubeApi() as server:
        server.reviews.accounts[TOKEN] = Account(TRACER, (AUDIENCE,), uid="u-1")
        server.reviews.allowed.add((TRACER, PATH, "post"))
        yield server


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def reviews(api, clock):
    client = await Client.connect(server=api.url, token="of the balancer")
    yield Reviews(clock, client)
    await client.close()


def asked(api):
    return len(api.calls("create", "tokenreviews")), len(api.calls("create", "subjectaccessreviews"))


async def test_who_has_the_right_is_admitted_by_name(api, reviews):
    assert await reviews.admit(TOKEN, "post") == TRACER
    [about] = api.calls("create", "tokenreviews")
    assert about.body["spec"] == {"token": TOKEN, "audiences": ["switchtender"]}
    [access] = api.calls("create", "subjectaccessreviews")
    assert access.body["spec"] == {
        "user": TRACER,
        "uid": "u-1",
        "groups": ["system:authenticated"],
        "nonResourceAttributes": {"path": "/switchtender.dev/api/v1/traces", "verb": "post"},
    }


def test_no_role_that_everybody_has_opens_the_path():
    """system:discovery lets every account get what is below /api, /apis, /healthz, /openapi and /version."""
    assert PATH.split("/")[1] not in {"api", "apis", "healthz", "livez", "openapi", "readyz", "version"}


async def test_who_has_no_right_is_told_who_they_are_and_what_lacks(reviews):
    with pytest.raises(ForbiddenError, match=f"{TRACER} may not delete {PATH}"):
        await reviews.admit(TOKEN, "delete")


@pytest.mark.parametrize("account", [None, Account(TRACER, ("https://kubernetes.default.svc",))])
async def test_strangers_and_tokens_for_others_are_not_known(api, reviews, account):
    api.reviews.accounts.clear()
    if account is not None:
        api.reviews.accounts[TOKEN] = account
    with pytest.raises(UnauthorizedError, match="--audience switchtender") as refused:
        await reviews.admit(TOKEN, "post")
    assert TOKEN not in str(refused.value)
    assert asked(api) == (1, 0)


async def test_without_a_token_nobody_is_asked(api, reviews):
    with pytest.raises(UnauthorizedError, match="a bearer token is needed"):
        await reviews.admit(None, "get")
    assert api.requests == []


async def test_an_answer_counts_for_ten_seconds_and_for_its_verb_alone(api, reviews, clock):
    for _ in range(3):
        await reviews.admit(TOKEN, "post")
        with pytest.raises(ForbiddenError):
            await reviews.admit(TOKEN, "get")
    assert asked(api) == (2, 2)
    clock.now += 10.0
    assert await reviews.admit(TOKEN, "post") == TRACER
    assert asked(api) == (2, 2)
    api.reviews.allowed.clear()
    clock.now += 0.1
    with pytest.raises(ForbiddenError):
        await reviews.admit(TOKEN, "post")
    assert asked(api) == (3, 3)


async def test_what_is_kept_is_bounded_and_holds_no_token(reviews, monkeypatch):
    monkeypatch.setattr(reviews_module, "_MOST_KEPT", 3)
    for number in range(9):
        with pytest.raises(UnauthorizedError):
            await reviews.admit(f"made-up-{number}", "post")
    await reviews.admit(TOKEN, "post")
    assert len(reviews._known) == 3
    assert TOKEN not in repr(reviews)
    assert "made-up" not in repr(reviews)


@pytest.mark.parametrize(
    ("resource", "status", "said"),
    [
        ("tokenreviews", 403, r"balancer\.http\.admin\.tokenReview of the chart"),
        ("subjectaccessreviews", 403, r"balancer\.http\.admin\.tokenReview of the chart"),
        ("tokenreviews", 500, "it answers 500"),
        ("subjectaccessreviews", 429, "it answers 429"),
    ],
)
async def test_an_api_server_that_does_not_say_is_no_verdict(api, reviews, resource, status, said):
    fault = api.fail(resource, "create", status, message=f"about {TOKEN}")
    with pytest.raises(UnavailableError, match=said) as refused:
        await reviews.admit(TOKEN, "post")
    assert TOKEN not in str(refused.value)
    fault.clear()
    assert await reviews.admit(TOKEN, "post") == TRACER, "nothing was kept of it"


async def test_an_api_server_that_is_away_or_silent_is_not_waited_for(api, reviews, monkeypatch):
    monkeypatch.setattr(reviews_module, "_TIMEOUT", 0.02)
    api.freeze("tokenreviews", "create")
    with pytest.raises(UnavailableError, match="no answer from it"):
        await reviews.admit(TOKEN, "post")
    api.thaw()
    await api.stop()
    with pytest.raises(UnavailableError, match="no answer from it"):
        await reviews.admit(TOKEN, "post")


async def test_a_flood_of_tokens_is_no_flood_for_the_api_server(api, reviews, monkeypatch):
    monkeypatch.setattr(reviews_module, "_TIMEOUT", 30.0)
    api.freeze("tokenreviews", "create")
    flood = [asyncio.create_task(reviews.admit(f"made-up-{number}", "post")) for number in range(20)]
    await eventually(lambda: asked(api) == (8, 0) and sum(task.done() for task in flood) == 12)
    refused = [task.exception() for task in flood if task.done()]
    assert {type(error) for error in refused} == {UnavailableError}
    api.thaw()
    await asyncio.gather(*flood, return_exceptions=True)
    assert await reviews.admit(TOKEN, "post") == TRACER


async def test_before_there_is_a_client_it_is_said_so():
    with pytest.raises(UnavailableError, match="starting"):
        await Reviews().admit(TOKEN, "post")


async def test_an_answer_without_a_status_admits_nobody(api, reviews):
    api.fail("tokenreviews", "create", 201, body=json.dumps({"kind": "TokenReview"}).encode(), times=1)
    with pytest.raises(UnauthorizedError):
        await reviews.admit(TOKEN, "post")
