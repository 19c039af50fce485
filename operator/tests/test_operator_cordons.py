"""Cordoned Kubernetes nodes: watched only where asked for, whom a change concerns, and drains that outlive a leader."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from operator_stand import (
    NAMESPACE,
    OWN,
    FakeBalancer,
    KubeApi,
    balancing,
    config_map,
    endpoint_slice,
    eventually,
    group,
    members,
    operating,
    pod,
    serving,
    settled,
    writes,
)

from switchtender_operator.config.settings import Settings, SettingsError
from switchtender_operator.domain.plan import Watched
from switchtender_operator.domain.pods import Pod
from switchtender_operator.reconcile.cordons import CordonedNodes
from switchtender_operator.reconcile.objects import KubernetesNode, kubernetes_node
from switchtender_operator.reconcile.pod_watches import PodWatches


def node(name: str = "worker-1", *, cordoned: bool = False, since: str | None = None) -> dict[str, Any]:
    taint = {
        "key": "node.kubernetes.io/unschedulable",
        "effect": "NoSchedule",
        **({"timeAdded": since} if since else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"unschedulable": True, "taints": [taint]} if cordoned else {},
    }


def member(api: KubeApi, name: str = "fs-0") -> dict[str, Any]:
    (found,) = [
        member
        for one in api.objects("destinationsets", NAMESPACE)
        for member in one["spec"]["members"]
        if member["name"] == name
    ]
    return found


# --- what is read of a node ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "cordoned", "since"),
    [
        ({}, False, None),
        ({"unschedulable": False, "taints": [{"key": "node.kubernetes.io/unschedulable"}]}, False, None),
        ({"unschedulable": True}, True, None),
        ({"unschedulable": True, "taints": [{"key": "other", "timeAdded": "2026-03-01T12:00:00Z"}]}, True, None),
        (
            {"unschedulable": True, "taints": [{"key": "node.kubernetes.io/unschedulable", "timeAdded": "?"}]},
            True,
            None,
        ),
        (
            {
                "unschedulable": True,
                "taints": [{"key": "node.kubernetes.io/unschedulable", "timeAdded": "2026-03-01T12:00:00Z"}],
            },
            True,
            "2026-03-01T12:00:00+00:00",
        ),
    ],
)
def test_what_is_read_of_a_kubernetes_node(spec: dict[str, Any], cordoned: bool, since: str | None) -> None:
    read = kubernetes_node({"metadata": {"name": "w", "uid": "u"}, "spec": spec})
    assert read is not None
    assert (read.name, read.unschedulable, read.since and read.since.isoformat()) == ("w", cordoned, since)
    assert kubernetes_node({"metadata": {"name": "w"}, "spec": spec}) is None


def test_a_change_wakes_the_groups_on_that_node_and_no_other() -> None:
    woken: list[str] = []
    cordoned = CordonedNodes({"w": ["voice/ivr"], "x": ["voice/conf"]}.__getitem__, woken.append)
    free, held = KubernetesNode("u", "w"), KubernetesNode("u", "w", unschedulable=True)
    cordoned.changed("u", None, free)
    assert woken == [], "a node that takes pods concerns nobody"
    cordoned.changed("u", free, held)
    assert (woken, dict(cordoned.since())) == (["voice/ivr"], {"w": None})
    again = KubernetesNode("v", "w", unschedulable=True)
    cordoned.changed("v", None, again)
    cordoned.changed("u", held, None)
    assert dict(cordoned.since()) == {"w": None}, "the new node of the name is cordoned, too"
    cordoned.changed("v", again, KubernetesNode("v", "w"))
    assert dict(cordoned.since()) == {}
    assert set(woken) == {"voice/ivr"}


def test_a_cordoned_node_that_is_removed_gives_its_pods_no_calls_back() -> None:
    woken: list[str] = []
    on = {"w": ["voice/ivr"]}
    cordoned = CordonedNodes(lambda name: on.get(name, []), woken.append)
    held, next_one = KubernetesNode("u", "w", unschedulable=True), KubernetesNode("v", "w")
    cordoned.changed("u", None, held)
    cordoned.changed("u", held, None)
    assert (woken, dict(cordoned.since())) == (["voice/ivr"], {"w": None}), "the drain goes on"
    on.clear()
    assert dict(cordoned.since()) == {}, "and is forgotten with the last pod"
    cordoned.changed("u", None, held)
    on["w"] = ["voice/ivr"]
    cordoned.changed("u", held, None)
    cordoned.changed("v", None, next_one)
    assert dict(cordoned.since()) == {}, "another node of the name takes pods"
    cordoned.changed("v", next_one, None)
    assert dict(cordoned.since()) == {}


class _Reflector:
    """Stands for a reflector that never ends; `changed` is how it tells."""

    name = "pods"

    def __init__(self, changed: Any) -> None:
        self.changed = changed
        self.synced = asyncio.Event()
        self.store: dict[str, Pod] = {}

    async def run(self) -> None:
        await asyncio.Event().wait()


async def test_groups_are_found_by_the_nodes_of_their_pods() -> None:
    made: dict[str, _Reflector] = {}

    def make(selection: Any, changed: Any) -> Any:
        made[selection.selector] = _Reflector(changed)
        return made[selection.selector]

    async with asyncio.TaskGroup() as tasks:
        watches = PodWatches(make, lambda _: None, tasks)
        for key, app in (("voice/a", "fs"), ("voice/b", "fs"), ("voice/c", "other")):
            watches.follow(key, "voice", Watched({"app": app}))

        def on(name: str) -> Iterator[Pod]:
            for number in range(2):
                yield Pod(namespace="voice", name=f"{name}-{number}", uid=f"{name}-{number}", node=name)

        first, second = on("w")
        tell = made["app=fs"].changed
        tell(first.uid, None, first)
        tell(second.uid, None, second)
        made["app=other"].changed("x", None, next(on("x")))
        assert watches.groups_on("w") == {"voice/a", "voice/b"}
        assert watches.groups_on("x") == {"voice/c"}
        assert watches.groups_on("nowhere") == set()
        tell(first.uid, first, None)
        assert watches.groups_on("w") == {"voice/a", "voice/b"}, "the other pod is there still"
        waiting = Pod(namespace="voice", name="p", uid="p")
        tell("p", None, waiting)
        tell("p", waiting, Pod(namespace="voice", name="p", uid="p", node="y"))
        assert watches.groups_on("y") == {"voice/a", "voice/b"}, "a pod is given its node later"
        tell(second.uid, second, None)
        assert watches.groups_on("w") == set()
        for key in ("voice/a", "voice/b", "voice/c"):
            watches.follow(key, "voice", None)
        assert watches.groups_on("y") == watches.groups_on("x") == set()


def test_nodes_are_not_watched_from_within_namespaces() -> None:
    with pytest.raises(SettingsError, match="--drain-cordoned-nodes"):
        Settings(namespace=OWN, identity="a", watch_namespaces=("voice",), drain_cordoned_nodes=True)


# --- the operator -------------------------------------------------------------------------------------------------


async def test_nodes_are_asked_for_only_where_that_is_wanted() -> None:
    async with serving() as api, operating(api):
        api.put(node(cordoned=True))
        api.put(config_map())
        api.put(group())
        api.put(pod())
        await eventually(lambda: members(api) == {"fs-0": "Ready"})
        await settled(api)
        assert not [request for request in api.requests if request.resource == "nodes"]


async def test_a_cordoned_node_drains_its_pods() -> None:
    async with serving() as api:
        api.put(node(cordoned=True, since="2026-03-01T12:00:00Z"))
        api.put(node("worker-2"))
        api.put(config_map())
        api.put(group())
        api.put(pod(0))
        elsewhere = pod(1)
        elsewhere["spec"]["nodeName"] = "worker-2"
        api.put(elsewhere)
        async with operating(api, drain_cordoned_nodes=True):
            await eventually(lambda: members(api) == {"fs-0": "Draining", "fs-1": "Ready"})
            drain = member(api)["drain"]
            assert (drain["reason"], drain["since"], drain["deadline"]) == (
                "NodeCordoned",
                "2026-03-01T12:00:00Z",
                "2026-03-01T14:00:00Z",
            )
            api.put(node())
            await eventually(lambda: members(api) == {"fs-0": "Ready", "fs-1": "Ready"})
            api.put(node("worker-2", cordoned=True))
            await eventually(lambda: members(api) == {"fs-0": "Ready", "fs-1": "Draining"})
            await settled(api)
            before = len(api.requests)
            api.merge("nodes", None, "worker-2", {"metadata": {"labels": {"unrelated": "x"}}})
            await asyncio.sleep(0.4)
            assert writes(api, before) == []
            reasons = {request.body["reason"] for request in api.calls("create", "events")}
            assert {"Draining", "DrainCancelled"} <= reasons


def status(api: KubeApi) -> dict[str, Any]:
    found: dict[str, Any] = (api.object("balancergroups", NAMESPACE, "ivr") or {}).get("status", {})
    return found


def drains(api: KubeApi) -> dict[str, Any]:
    return {one["name"]: one.get("drain") for one in status(api).get("nodeSummaries", [])}


async def test_another_leader_goes_on_with_the_drains_as_they_stand() -> None:
    """One is asked for, one has a cordon that does not say since when, and one drains of its own will."""
    async with serving() as api, balancing(FakeBalancer()) as balancer:
        for number, name in enumerate(("worker-1", "worker-2", "worker-3")):
            one = pod(number)
            one["spec"]["nodeName"] = name
            api.put(one)
            api.put(node(name, cordoned=name == "worker-2"))
        api.put(config_map())
        api.put(endpoint_slice(balancer.port))
        api.put(group())
        asked = {"metadata": {"annotations": {"switchtender.dev/drain": "2026-03-01T11:00:00Z"}}}
        api.merge("pods", NAMESPACE, "fs-0", asked)
        async with operating(api, drain_cordoned_nodes=True):
            await eventually(lambda: members(api) == {"fs-0": "Draining", "fs-1": "Draining", "fs-2": "Ready"})
            await eventually(lambda: api.object("secrets", OWN, "st-config-token"))
            token = api.object("secrets", OWN, "st-config-token")["data"]["token"]  # type: ignore[index]
            balancer.token = base64.b64decode(token).decode()
            balancer.acts_on(api)
            for told in balancer.state["nodes"]:
                own = told["name"] == "fs-2"
                told.update(state="draining", reason="Paused" if own else "Draining", pausedByUs=not own)
                told["drain"] = {"since": 1772362800.4, "deadline": 1772370000.4, "reason": "Paused"} if own else None
            await eventually(
                lambda: member(api)["drain"].get("pausedByUs") and member(api, "fs-1")["drain"].get("pausedByUs")
            )
            await eventually(lambda: (drains(api).get("fs-2") or {}).get("since") == "2026-03-01T11:00:00Z")
            balancer.acts_on(api)  # a balancer that was started anew: it paused nobody, and sees fs-2 paused now
            for told in balancer.state["nodes"]:
                own = told["name"] == "fs-2"
                told.update(state="draining", reason="Paused" if own else "Draining")
                told["drain"] = {"since": 1772366400.0, "deadline": 1772373600.0, "reason": "Paused"} if own else None
            await settled(api)
        sets = {one["metadata"]["name"]: copy.deepcopy(one["spec"]) for one in api.objects("destinationsets")}
        before, shown = len(api.requests), drains(api)
        assert member(api)["drain"]["pausedByUs"] is member(api, "fs-1")["drain"]["pausedByUs"] is True
        assert shown["fs-2"]["since"] == "2026-03-01T11:00:00Z"
        assert shown["fs-1"]["expired"] is False
        assert shown["fs-0"]["expired"] is True
        async with operating(api, drain_cordoned_nodes=True) as other:
            await eventually(lambda: other.leading() and len(api.calls("watch", "nodes")) > 1)
            api.merge("pods", NAMESPACE, "fs-1", {"metadata": {"labels": {"unrelated": "x"}}})
            await settled(api, 0.6)
            assert {one["metadata"]["name"]: one["spec"] for one in api.objects("destinationsets")} == sets
            assert drains(api) == shown
            assert not [line for line in writes(api, before) if "destinationsets" in line or "events" in line]
