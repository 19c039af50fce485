"""CRDs are made where missing, upgraded where older, and never changed otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from operator_stand import KubeApi, eventually, serving, writes

from switchtender_api.constants import ANNOTATION_CRD_REVISION, CRD_REVISION
from switchtender_api.crd import KINDS, custom_resource
from switchtender_kube import ApiError, Client
from switchtender_operator.publish import crds

NAME = "balancergroups.switchtender.dev"


@asynccontextmanager
async def server() -> AsyncIterator[tuple[KubeApi, Client]]:
    async with serving(own=False) as api:
        client = await Client.connect(server=api.url)
        try:
            yield api, client
        finally:
            await client.close()


def revised(revision: int | str | None) -> dict[str, Any]:
    """Our CRD of groups as of another revision, marked so that a change of it would show."""
    made = custom_resource("BalancerGroup")
    annotations = {"marked": "yes"} | ({} if revision is None else {ANNOTATION_CRD_REVISION: str(revision)})
    return {**made, "metadata": {**made["metadata"], "annotations": annotations}}


async def test_missing_ones_are_created() -> None:
    async with server() as (api, client):
        lines = await crds.apply_all(client)
        assert len(lines) == len(KINDS)
        assert all("created" in line for line in lines)
        assert await crds.served(client) == frozenset(KINDS)
        assert [one.verb for one in api.requests if one.verb in {"create", "apply"}] == ["create", "create"]


@pytest.mark.parametrize("revision", [CRD_REVISION, CRD_REVISION + 1, CRD_REVISION + 1000])
async def test_an_equal_or_newer_one_is_never_touched(revision: int) -> None:
    async with server() as (api, client):
        api.put(revised(revision))
        assert await crds.ensure(client, custom_resource("BalancerGroup")) == ("kept", revision)
        assert writes(api) == []


@pytest.mark.parametrize("revision", [CRD_REVISION - 1, None, "", "one", "-3"])
async def test_an_older_or_unmarked_one_is_upgraded(revision: int | str | None) -> None:
    async with server() as (api, client):
        api.put(revised(revision))
        assert await crds.ensure(client, custom_resource("BalancerGroup")) == ("upgraded", CRD_REVISION)
        found = api.object("customresourcedefinitions", None, NAME)
        assert crds.revision_of(found) == CRD_REVISION
        assert (await crds.ensure(client, custom_resource("BalancerGroup")))[0] == "kept"


async def test_who_loses_a_race_to_create_looks_again() -> None:
    async with server() as (api, client):
        api.fail("customresourcedefinitions", "get", 404, times=1)
        api.put(revised(CRD_REVISION + 1))
        assert await crds.ensure(client, custom_resource("BalancerGroup")) == ("kept", CRD_REVISION + 1)


async def test_who_loses_a_race_to_upgrade_does_not_undo_the_winner() -> None:
    """The upgrade is conditional on the version that was looked at."""
    async with server() as (api, client):
        api.put(revised(CRD_REVISION - 1))
        conflict = api.fail("customresourcedefinitions", "apply", 409, times=1)
        ensuring = asyncio.create_task(crds.ensure(client, custom_resource("BalancerGroup")))
        await eventually(lambda: conflict.hits)
        assert (await ensuring)[0] == "upgraded"
        (first, *_) = api.calls("apply", "customresourcedefinitions")
        assert first.body["metadata"]["resourceVersion"]


async def test_other_refusals_are_told() -> None:
    async with server() as (api, client):
        api.fail("customresourcedefinitions", "create", 403)
        with pytest.raises(ApiError) as refused:
            await crds.ensure(client, custom_resource("BalancerGroup"))
        assert refused.value.status == 403


async def test_one_that_is_not_served_is_an_error_that_names_it() -> None:
    async def at_once(_: float) -> None:
        return

    async with server() as (_, client):
        with pytest.raises(crds.NotEstablishedError, match=r"nothing\.example"):
            await crds.established(client, "nothing.example", patience=3.0, sleep=at_once)


async def test_without_the_right_to_make_them_it_waits_for_somebody_who_does() -> None:
    async with server() as (api, client):
        forbidden = api.fail("customresourcedefinitions", None, 403)
        noted: dict[str, int] = {}
        waiting = asyncio.create_task(crds.until_served(client, ensuring=True, note=noted.__setitem__, retry=0.02))
        await eventually(lambda: forbidden.hits > 3)
        assert not waiting.done()
        for kind in KINDS:
            api.put(custom_resource(kind))
        await asyncio.wait_for(waiting, 30)
        assert noted == {}


async def test_told_not_to_it_asks_for_no_definition_at_all() -> None:
    async with server() as (api, client):
        waiting = asyncio.create_task(crds.until_served(client, ensuring=False, note=lambda *_: None, retry=0.02))
        await asyncio.sleep(0.1)
        for kind in KINDS:
            api.put(custom_resource(kind))
        await asyncio.wait_for(waiting, 30)
        assert not [one for one in api.requests if one.resource == "customresourcedefinitions"]


async def test_an_api_server_that_comes_later_is_waited_for() -> None:
    async with server() as (api, client):
        await api.stop()
        noted: dict[str, int] = {}
        waiting = asyncio.create_task(crds.until_served(client, ensuring=True, note=noted.__setitem__, retry=0.02))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await api.start()
        await asyncio.wait_for(waiting, 30)
        assert set(noted.values()) == {CRD_REVISION}


async def test_deleting_them_twice_is_no_error() -> None:
    async with server() as (api, client):
        await crds.apply_all(client)
        assert all("deleted" in line for line in await crds.delete_all(client))
        assert api.objects("customresourcedefinitions") == []
        assert all("not there" in line for line in await crds.delete_all(client))
