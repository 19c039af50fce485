"""The client on real sockets: what is sent, what is raised, and what never gets into a text."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from kube_serving import serving
from tests.stand.kube_api import KubeApi

from switchtender_kube import ApiError, Client, Conflict, NotLeader, Resource, Silence, Unreachable
from switchtender_kube.client import MERGE_PATCH

PODS = Resource("", "v1", "pods")
SETS = Resource("switchtender.dev", "v1alpha1", "destinationsets")
SET = {
    "apiVersion": "switchtender.dev/v1alpha1",
    "kind": "DestinationSet",
    "metadata": {"name": "ivr"},
    "spec": {"x": 1},
}
SECRET = "c2VjcmV0LXRva2Vu"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi() as api:
        yield api


@pytest_asyncio.fixture
async def client(api: KubeApi) -> AsyncIterator[Client]:
    client = await Client.connect(server=api.url, user_agent="switchtender-operator/0.1.0")
    yield client
    await client.close()


# --- requests ---------------------------------------------------------------------------------------------------


async def test_who_asks_is_said_in_the_user_agent(api: KubeApi, client: Client) -> None:
    await client.list(PODS.path())
    assert api.requests[-1].user_agent == "switchtender-operator/0.1.0"
    assert api.requests[-1].query == {"limit": "500"}


async def test_selectors_arrive_as_they_were_meant(api: KubeApi, client: Client) -> None:
    query = {"labelSelector": "a in (x, y),b!=c+d", "fieldSelector": "metadata.name=ü&limit=1"}
    await client.get(PODS.path(), query)
    assert api.requests[-1].query == query


async def test_a_whole_list_is_put_together_and_begun_again_when_its_token_expired(
    api: KubeApi, client: Client
) -> None:
    for n in range(5):
        api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{n}"}})
    api.fail("pods", "list", 410, times=1, when=lambda request: "continue" in request.query)
    listed = await client.list(PODS.path(), {"limit": 2})
    assert [raw["metadata"]["name"] for raw in listed["items"]] == [f"p{n}" for n in range(5)]
    assert len(api.calls("list")) == 2 + 3


async def test_create_apply_replace_patch_delete(api: KubeApi, client: Client) -> None:
    path = SETS.path("voice", "ivr")
    made = await client.create(SETS.path("voice"), SET)
    applied = await client.apply(path, {**SET, "spec": {"x": 2}}, field_manager="switchtender-operator")
    assert applied["metadata"]["generation"] == 2
    replaced = await client.replace(path, {**applied, "spec": {"x": 3}})
    patched = await client.patch(path, {"spec": {"y": 4}}, MERGE_PATCH)
    assert patched["spec"] == {"x": 3, "y": 4}
    with pytest.raises(Conflict):
        await client.delete(path, uid=made["metadata"]["uid"], resource_version=replaced["metadata"]["resourceVersion"])
    await client.delete(path, uid=made["metadata"]["uid"], propagation="Background")
    assert api.objects("destinationsets") == []
    assert api.calls("apply")[0].query == {"fieldManager": "switchtender-operator", "force": "true"}
    assert api.calls("delete")[-1].body["propagationPolicy"] == "Background"


async def test_errors_carry_status_reason_message_and_retry_after(api: KubeApi, client: Client) -> None:
    api.fail("pods", "list", 429, retry_after=7, message="too many", times=1)
    with pytest.raises(ApiError) as caught:
        await client.get(PODS.path())
    error = caught.value
    assert (error.status, error.reason, error.message, error.retry_after) == (429, "TooManyRequests", "too many", 7.0)
    assert str(error) == "429 TooManyRequests: too many"
    assert error.throttled
    assert not error.expired


async def test_an_error_page_of_a_proxy_is_an_error_without_its_text(api: KubeApi, client: Client) -> None:
    api.fail("pods", "list", 502, body=b"<html>Bad Gateway</html>")
    with pytest.raises(ApiError, match=r"^502$"):
        await client.get(PODS.path())


async def test_a_success_that_is_no_json_object_is_no_answer(api: KubeApi, client: Client) -> None:
    for body in (b"<html>Welcome</html>", b"[]"):
        api.fail("pods", "list", 200, body=body, times=1)
        with pytest.raises(Unreachable, match="the answer is no"):
            await client.get(PODS.path())


async def test_a_redirect_is_an_error_and_is_not_followed() -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/login"})

    async with serving(elsewhere) as port:
        client = await Client.connect(server=f"http://127.0.0.1:{port}", token=SECRET)
        with pytest.raises(ApiError, match="302"):
            await client.get(PODS.path())
        await client.close()
    assert seen == ["/api/v1/pods"]


async def test_nobody_there_a_cut_connection_and_no_answer_in_time(api: KubeApi, client: Client) -> None:
    frozen = asyncio.create_task(client.get(PODS.path()))
    api.freeze()
    with pytest.raises(Unreachable, match="no answer in time"):
        await client.get(PODS.path(), timeout=0.1)
    api.thaw(drop=True)
    await asyncio.gather(frozen, return_exceptions=True)
    await api.stop()
    with pytest.raises(Unreachable, match="Cannot connect"):
        await client.get(PODS.path())
    await api.start()
    assert (await client.get(PODS.path()))["items"] == []


async def test_a_closed_client_says_so(client: Client) -> None:
    await client.close()
    with pytest.raises(Unreachable, match="closed"):
        await client.get(PODS.path())


async def test_more_watches_than_any_pool_do_not_stop_requests(api: KubeApi, client: Client) -> None:
    tasks = [asyncio.create_task(follow(client)) for _ in range(110)]
    await api.watched("pods", 110)
    assert (await client.get(PODS.path(), timeout=5))["items"] == []
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- streams ----------------------------------------------------------------------------------------------------


async def test_a_watch_gives_lines_of_any_length(api: KubeApi, client: Client) -> None:
    long = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "long", "annotations": {"x": "y" * (5 << 20)}}}
    api.put(long)
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "short"}})
    found = []
    async with aclosing(client.watch(PODS.path(), {})) as lines:
        async for line in lines:
            found.append(json.loads(line)["object"]["metadata"]["name"])
            if len(found) == 2:
                break
    assert found == ["long", "short"]


async def follow(client: Client, **options: Any) -> None:
    async with aclosing(client.watch(PODS.path(), {}, **options)) as lines:
        async for _ in lines:
            pass


async def test_a_watch_that_is_cut_is_unreachable(api: KubeApi, client: Client) -> None:
    task = asyncio.create_task(follow(client))
    await api.watched("pods")
    api.drop_connections()
    with pytest.raises(Unreachable) as caught:
        await task
    assert not isinstance(caught.value, Silence)


async def test_a_watch_that_is_silent_for_too_long_is_given_up(api: KubeApi, client: Client) -> None:
    with pytest.raises(Silence, match=r"not a byte in 0\.1 s"):
        await follow(client, silence=0.1)


async def test_a_watch_that_is_refused_raises_what_the_server_said(api: KubeApi, client: Client) -> None:
    api.fail("pods", "watch", 403, message="no")
    with pytest.raises(ApiError, match="403 Forbidden: no"):
        await follow(client)


async def test_a_watch_that_is_left_leaves_no_connection(api: KubeApi, client: Client) -> None:
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})
    async with aclosing(client.watch(PODS.path(), {})) as lines:
        async for _ in lines:
            break
    for _ in range(30_000):
        if not api.watches("pods"):
            break
        await asyncio.sleep(0.002)
    assert api.watches("pods") == 0


# --- the fence --------------------------------------------------------------------------------------------------


class Gate:
    """A fence that is open for so many questions."""

    def __init__(self, opened: int, remaining: float = 15.0) -> None:
        self.left = opened
        self._remaining = remaining

    def __call__(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def remaining(self) -> float:
        return self._remaining


@pytest.mark.parametrize("opened", [0, 1])
async def test_behind_a_closed_fence_nothing_is_sent(api: KubeApi, client: Client, opened: int) -> None:
    """The second question is asked where the bytes go to the socket: what closed in between sends nothing either."""
    path = SETS.path("voice", "ivr")
    writes = (
        lambda fence: client.create(SETS.path("voice"), SET, fence=fence),
        lambda fence: client.replace(path, SET, fence=fence),
        lambda fence: client.patch(path, {"spec": {}}, MERGE_PATCH, fence=fence),
        lambda fence: client.apply(path, SET, field_manager="m", fence=fence),
        lambda fence: client.delete(path, fence=fence),
    )
    for write in writes:
        with pytest.raises(NotLeader):
            await write(Gate(opened))
    assert api.requests == []
    assert api.objects("destinationsets") == []
    await client.apply(path, SET, field_manager="m", fence=Gate(2))
    assert len(api.objects("destinationsets")) == 1


async def test_a_write_lasts_no_longer_than_the_lease(api: KubeApi, client: Client) -> None:
    api.freeze()
    with pytest.raises(Unreachable, match="no answer in time"):
        await client.create(SETS.path("voice"), SET, fence=Gate(9, remaining=0.1), timeout=3600)
    with pytest.raises(NotLeader):
        await client.create(SETS.path("voice"), SET, fence=Gate(9, remaining=0.0))
    with pytest.raises(Unreachable):
        await client.create(SETS.path("voice"), SET, fence=lambda: True, timeout=0.1)
