"""What a cluster hears of a node's transitions: one Event and one line of the log each, and no flood of a node that
flaps.
"""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from operator_stand import (
    NAMESPACE,
    FakeBalancer,
    KubeApi,
    balancing,
    conditions,
    config_map,
    endpoint_slice,
    eventually,
    group,
    members,
    operating,
    pod,
    serving,
    settled,
)


@pytest.fixture
async def world() -> AsyncIterator[tuple[KubeApi, FakeBalancer]]:
    """A group of two nodes, both ready, with all Events about that sent."""
    async with serving() as api, balancing(FakeBalancer()) as balancer, operating(api):
        api.put(config_map())
        await eventually(lambda: api.object("secrets", "switchtender", "st-config-token"))
        balancer.token = _token(api)
        api.put(endpoint_slice(balancer.port))
        api.put(group())
        api.put(pod(0))
        api.put(pod(1))
        await eventually(lambda: len(members(api)) == 2)
        balancer.acts_on(api)
        await eventually(lambda: states(api) == {"fs-0": "ready", "fs-1": "ready"})
        await eventually(lambda: conditions(api).get("Programmed", ("", ""))[0] == "True")
        await settled(api)
        yield api, balancer


def _token(api: KubeApi) -> str:
    secret = api.object("secrets", "switchtender", "st-config-token")
    assert secret is not None
    return base64.b64decode(secret["data"]["token"]).decode()


def states(api: KubeApi) -> dict[str, str]:
    """The state of each node as the group's status has it."""
    found = api.object("balancergroups", NAMESPACE, "ivr") or {}
    return {one["name"]: one["state"] for one in found.get("status", {}).get("nodeSummaries", [])}


def says(balancer: FakeBalancer, name: str, state: str) -> None:
    """Let the balancer say this of the node."""
    for node in balancer.state["nodes"]:
        if node["name"] == name:
            node.update(state=state, reason="Reporting" if state == "ready" else "NoAnswer")


def of_nodes(api: KubeApi) -> Counter[str]:
    """How many Events about nodes there are, by reason."""
    reasons = (request.body["reason"] for request in api.calls("create", "events"))
    return Counter(reason for reason in reasons if reason.startswith("Node"))


async def test_a_transition_is_one_event_and_one_line(
    world: tuple[KubeApi, FakeBalancer], caplog: pytest.LogCaptureFixture
) -> None:
    api, balancer = world
    before = of_nodes(api)
    with caplog.at_level(logging.INFO, "switchtender_operator"):
        says(balancer, "fs-0", "down")
        await eventually(lambda: states(api)["fs-0"] == "down")
        await settled(api)
    assert of_nodes(api) - before == Counter(["NodeDown"])
    body = next(one.body for one in api.calls("create", "events") if one.body["reason"] == "NodeDown")
    assert (body["type"], body["regarding"]["name"]) == ("Warning", "ivr")
    assert "fs-0" in body["note"]
    assert "fs-1" not in body["note"]
    (line,) = [record for record in caplog.records if getattr(record, "reason", None) == "NodeDown"]
    assert (line.levelname, line.getMessage(), vars(line)["group"]) == ("WARNING", body["note"], "voice/ivr")


async def test_a_node_that_flaps_is_told_once_each_way(world: tuple[KubeApi, FakeBalancer]) -> None:
    api, balancer = world
    before = of_nodes(api)
    for state in ("down", "ready") * 4:
        says(balancer, "fs-0", state)
        await eventually(lambda state=state: states(api)["fs-0"] == state)
    await settled(api)
    assert of_nodes(api) - before == Counter(["NodeDown", "NodeReady"])
