"""`switchtender serve --kubernetes` against a scripted API server: groups follow sets, and its absence changes nothing."""


import pytest
from kubernetes_stand import KubeApi, head, member, served, slice_of

READY = ("ready", "Unmeasured")


@pytest.fixture
async def api():
    async with KubeApi() as server:
        yield server


async def test_groups_follow_their_sets(api, tmp_path):
    api.put(head("ivr", member("fs-0", "192.0.2.1")))
    async with served(api, tmp_path) as pod:
        assert (await pod.get("/readyz"))[0] == 200
        await pod.until({"fs-0": READY})
        api.put(slice_of("ivr", 2, member("fs-1", "192.0.2.2")))
        await pod.until({"fs-0": READY, "fs-1": READY})
        api.merge("destinationsets", "voice", "ivr.2", {"spec": {"members": []}})
        await pod.until({"fs-0": READY})
        api.remove("destinationsets", "voice", "ivr")
        await pod.until({})
        assert (await pod.state())["groups"] == []
