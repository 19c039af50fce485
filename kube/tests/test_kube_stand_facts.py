"""Facts about an API server that the product relies on, held against the scripted one of the stand.

They were taken from a real kube-apiserver, and can be held against one again: ``KUBE_FACTS_KUBECONFIG=FILE pytest``.
"""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from tests.stand.kube_api import KubeApi, eventually

from switchtender_kube import ApiError, Client, Conflict, Resource
from switchtender_kube.client import JSON_PATCH, MERGE_PATCH

REAL = os.environ.get("KUBE_FACTS_KUBECONFIG")
THINGS = Resource("facts.switchtender.dev", "v1", "things")
PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)

NAME = "things.facts.switchtender.dev"
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": NAME},
    "spec": {
        "group": "facts.switchtender.dev",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                                "properties": {
                                    "conditions": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                        "items": {
                                            "type": "object",
                                            "required": ["type"],
                                            "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
                                        },
                                    }
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


@dataclass
class Server:
    client: Client
    namespace: str

    def thing(self, name: str = "a", subresource: str | None = None) -> str:
        return THINGS.path(self.namespace, name, subresource)

    @property
    def things(self) -> str:
        return THINGS.path(self.namespace)

    def body(self, name: str = "a", **more: Any) -> dict[str, Any]:
        return {"apiVersion": "facts.switchtender.dev/v1", "kind": "Thing", "metadata": {"name": name}, **more}

    async def make(self, name: str = "a", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
        body = self.body(name, spec=spec)
        body["metadata"]["labels"] = labels or {}
        return await self.client.create(self.things, body)

    async def events(self, count: int, path: str | None = None, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(60), aclosing(self.client.watch(path or self.things, query)) as lines:
            async for line in lines:
                found.append(json.loads(line))
                if len(found) == count:
                    break
        return found


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    namespace = f"facts-{uuid.uuid4().hex[:8]}"
    if REAL:
        client = await Client.connect(kubeconfig=REAL)
        await client.create(NAMESPACES.path(), {"metadata": {"name": namespace}})
        await client.apply(DEFINITIONS.path(name=NAME), DEFINITION, field_manager="facts")
        for _ in range(200):
            try:
                await client.list(THINGS.path(namespace))
                break
            except ApiError:
                await asyncio.sleep(0.05)
        yield Server(client, namespace)
        await client.close()
        return
    async with KubeApi() as api:
        client = await Client.connect(server=api.url)
        await client.create(DEFINITIONS.path(), DEFINITION)
        yield Server(client, namespace)
        await client.close()


def at(raw: dict[str, Any]) -> int:
    return int(raw["metadata"]["resourceVersion"])


async def refusal(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value


async def test_an_unknown_resource_is_a_404_without_details(server: Server) -> None:
    error = await refusal(server.client.get("/apis/facts.switchtender.dev/v1/nothings"))
    assert (error.status, error.reason) == (404, "NotFound") or error.status == 404
    assert (await refusal(server.client.get("/apis/nowhere.switchtender.dev/v1/things"))).status == 404


async def test_a_missing_object_is_named(server: Server) -> None:
    error = await refusal(server.client.get(server.thing("gone")))
    assert (error.status, error.reason) == (404, "NotFound")
    assert error.message == 'things.facts.switchtender.dev "gone" not found'


async def test_creating_gives_uid_generation_and_version(server: Server) -> None:
    made = await server.make(x=1)
    metadata = made["metadata"]
    assert metadata["uid"]
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["namespace"] == server.namespace


async def test_versions_are_numbers_that_grow_over_all_objects(server: Server) -> None:
    first, second = await server.make("a"), await server.make("b")
    pod = await server.client.create(
        PODS.path(server.namespace),
        {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    )
    assert at(first) < at(second) < at(pod)


async def test_the_same_name_again_is_already_exists(server: Server) -> None:
    await server.make()
    error = await refusal(server.make())
    assert (error.status, error.reason) == (409, "AlreadyExists")
    assert not isinstance(error, Conflict)


async def test_generate_name(server: Server) -> None:
    made = await server.client.create(server.things, {**server.body(), "metadata": {"generateName": "x-"}, "spec": {}})
    assert made["metadata"]["name"].startswith("x-")
    assert len(made["metadata"]["name"]) > 2


async def test_a_body_of_another_kind_or_namespace_is_refused(server: Server) -> None:
    assert (await refusal(server.client.create(server.things, {**server.body(), "kind": "Other"}))).status == 422
    assert (await refusal(server.client.create(SECRETS.path(server.namespace), server.body()))).status == 400
    elsewhere = server.body()
    elsewhere["metadata"]["namespace"] = "elsewhere"
    assert (await refusal(server.client.create(server.things, elsewhere))).status == 400


async def test_a_change_of_spec_is_a_generation_and_labels_are_none(server: Server) -> None:
    await server.make(x=1)
    changed = await server.client.patch(server.thing(), {"spec": {"x": 2}}, MERGE_PATCH)
    assert changed["metadata"]["generation"] == 2
    labeled = await server.client.patch(server.thing(), {"metadata": {"labels": {"l": "1"}}}, MERGE_PATCH)
    assert labeled["metadata"]["generation"] == 2
    assert at(labeled) > at(changed)


async def test_a_change_of_nothing_makes_no_version(server: Server) -> None:
    made = await server.make(x=1)
    assert at(await server.client.patch(server.thing(), {"spec": {"x": 1}}, MERGE_PATCH)) == at(made)
    applied = await server.client.apply(server.thing(), server.body(spec={"x": 1}), field_manager="m")
    again = await server.client.apply(server.thing(), server.body(spec={"x": 1}), field_manager="m")
    assert at(again) == at(applied)


async def test_status_is_written_through_its_subresource_only(server: Server) -> None:
    made = await server.client.create(server.things, server.body(spec={"x": 1}, status={"s": 1}))
    assert "status" not in made
    through_object = await server.client.patch(server.thing(), {"status": {"s": 2}}, MERGE_PATCH)
    assert "status" not in through_object
    body = {"status": {"s": 3}, "spec": {"x": 9}}
    through_status = await server.client.patch(server.thing("a", "status"), body, MERGE_PATCH)
    assert through_status["status"] == {"s": 3}
    assert through_status["spec"] == {"x": 1}
    assert through_status["metadata"]["generation"] == 1


async def test_an_update_needs_the_present_version(server: Server) -> None:
    made = await server.make(x=1)
    await server.client.replace(server.thing(), {**made, "spec": {"x": 2}})
    error = await refusal(server.client.replace(server.thing(), {**made, "spec": {"x": 3}}))
    assert isinstance(error, Conflict)
    assert error.message.startswith('Operation cannot be fulfilled on things.facts.switchtender.dev "a": ')
    unversioned = {**made, "metadata": {"name": "a"}}
    error = await refusal(server.client.replace(server.thing(), unversioned))
    assert (error.status, error.reason) == (422, "Invalid")
    assert "must be specified for an update" in error.message


async def test_a_lease_is_updated_under_its_version(server: Server) -> None:
    path = LEASES.path(server.namespace)
    body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    made = await server.client.create(path, body)
    await server.client.replace(
        LEASES.path(server.namespace, "l"), {**made, "spec": {**made["spec"], "holderIdentity": "b"}}
    )
    error = await refusal(server.client.replace(LEASES.path(server.namespace, "l"), made))
    assert isinstance(error, Conflict)


async def test_a_lease_may_be_held_by_nobody_for_a_second(server: Server) -> None:
    path = LEASES.path(server.namespace)
    made = await server.client.create(path, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": "2026-01-02T03:04:05.123456Z"}
    released = await server.client.replace(LEASES.path(server.namespace, "l"), {**made, "spec": spec})
    assert released["spec"]["holderIdentity"] == ""
    assert released["spec"]["renewTime"] == "2026-01-02T03:04:05.123456Z"


async def test_apply_creates_then_changes_and_drops_what_is_not_applied_any_more(server: Server) -> None:
    made = await server.client.apply(server.thing(), server.body(spec={"x": 1, "y": 2}), field_manager="m")
    assert made["metadata"]["generation"] == 1
    changed = await server.client.apply(server.thing(), server.body(spec={"x": 3}), field_manager="m")
    assert changed["spec"] == {"x": 3}
    assert changed["metadata"]["generation"] == 2
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_apply_drops_labels_it_does_not_apply_any_more_and_keeps_those_of_others(server: Server) -> None:
    body = server.body(spec={"x": 1})
    body["metadata"]["labels"] = {"mine": "1", "also": "2"}
    await server.client.apply(server.thing(), body, field_manager="m")
    await server.client.patch(server.thing(), {"metadata": {"labels": {"other": "3"}}}, MERGE_PATCH)
    body["metadata"]["labels"] = {"mine": "1"}
    changed = await server.client.apply(server.thing(), body, field_manager="m")
    assert changed["metadata"]["labels"] == {"mine": "1", "other": "3"}


async def test_apply_needs_a_field_manager(server: Server) -> None:
    error = await refusal(server.client.apply(server.thing(), server.body(spec={}), field_manager=""))
    assert error.status in {400, 422}
    assert "fieldManager" in error.message


async def test_apply_without_force_tells_whose_fields_those_are(server: Server) -> None:
    await server.client.apply(server.thing(), server.body(spec={"x": 1}), field_manager="first")
    theirs = server.body(spec={"x": 2})
    error = await refusal(server.client.apply(server.thing(), theirs, field_manager="second", force=False))
    assert isinstance(error, Conflict)
    assert error.fields == ('conflict with "first": .spec.x',)
    forced = await server.client.apply(server.thing(), theirs, field_manager="second")
    assert forced["spec"] == {"x": 2}


async def test_two_managers_of_the_same_value_do_not_conflict(server: Server) -> None:
    await server.client.apply(server.thing(), server.body(spec={"x": 1}), field_manager="first")
    both = await server.client.apply(server.thing(), server.body(spec={"x": 1}), field_manager="second", force=False)
    assert both["spec"] == {"x": 1}
    left = await server.client.apply(server.thing(), server.body(spec={}), field_manager="first")
    assert left["spec"] == {"x": 1}


async def test_conditions_are_applied_by_type(server: Server) -> None:
    await server.make()
    for manager, kind in (("one", "Ready"), ("two", "Accepted")):
        body = server.body(status={"conditions": [{"type": kind, "status": "True"}]})
        done = await server.client.apply(server.thing("a", "status"), body, field_manager=manager)
    assert sorted(condition["type"] for condition in done["status"]["conditions"]) == ["Accepted", "Ready"]
    body = server.body(status={"conditions": [{"type": "Other", "status": "True"}]})
    done = await server.client.apply(server.thing("a", "status"), body, field_manager="one")
    assert sorted(condition["type"] for condition in done["status"]["conditions"]) == ["Accepted", "Other"]


async def test_apply_on_the_status_of_nothing_is_a_404(server: Server) -> None:
    error = await refusal(
        server.client.apply(server.thing("no", "status"), server.body("no", status={}), field_manager="m")
    )
    assert error.status == 404


async def test_apply_under_another_uid_is_refused(server: Server) -> None:
    await server.make()
    body = server.body(spec={"x": 1})
    body["metadata"]["uid"] = str(uuid.uuid4())
    assert (await refusal(server.client.apply(server.thing(), body, field_manager="m"))).status in {409, 422}


async def test_json_patch_tests_before_it_changes(server: Server) -> None:
    await server.make(x=1)
    good = [{"op": "test", "path": "/spec/x", "value": 1}, {"op": "replace", "path": "/spec/x", "value": 2}]
    assert (await server.client.patch(server.thing(), good, JSON_PATCH))["spec"] == {"x": 2}
    assert (await refusal(server.client.patch(server.thing(), good, JSON_PATCH))).status == 422


async def test_delete_of_another_uid_is_a_conflict(server: Server) -> None:
    made = await server.make()
    error = await refusal(server.client.delete(server.thing(), uid=str(uuid.uuid4())))
    assert isinstance(error, Conflict)
    assert "the UID in the precondition" in error.message
    answer = await server.client.delete(server.thing(), uid=made["metadata"]["uid"])
    assert (answer["kind"], answer["status"]) == ("Status", "Success")


async def test_a_pod_on_a_node_ends_after_its_grace(server: Server) -> None:
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 7}
    made = await server.client.create(PODS.path(server.namespace), {"metadata": {"name": "p"}, "spec": spec})
    ending = await server.client.delete(PODS.path(server.namespace, "p"))
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 7
    assert ending["metadata"]["deletionTimestamp"]
    assert ending["metadata"]["uid"] == made["metadata"]["uid"]
    assert (await server.client.get(PODS.path(server.namespace, "p")))["metadata"]["deletionTimestamp"]
    await server.client.delete(PODS.path(server.namespace, "p"), grace=0)
    assert (await refusal(server.client.get(PODS.path(server.namespace, "p")))).status == 404


async def test_a_finalizer_holds_a_deleted_object(server: Server) -> None:
    body = server.body(spec={})
    body["metadata"]["finalizers"] = ["facts.switchtender.dev/hold"]
    await server.client.create(server.things, body)
    await server.client.delete(server.thing())
    held = await server.client.get(server.thing())
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == 2
    await server.client.patch(server.thing(), {"metadata": {"finalizers": None}}, MERGE_PATCH)
    assert (await refusal(server.client.get(server.thing()))).status == 404


async def test_pages_are_of_one_version(server: Server) -> None:
    for name in "abcde":
        await server.make(name)
    first = await server.client.get(server.things, {"limit": 2})
    assert [raw["metadata"]["name"] for raw in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    await server.make("aa")
    await server.client.delete(server.thing("c"))
    second = await server.client.get(server.things, {"limit": 2, "continue": first["metadata"]["continue"]})
    assert [raw["metadata"]["name"] for raw in second["items"]] == ["c", "d"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = await server.client.get(server.things, {"limit": 2, "continue": second["metadata"]["continue"]})
    assert [raw["metadata"]["name"] for raw in last["items"]] == ["e"]
    assert not last["metadata"].get("continue")


async def test_items_of_built_in_lists_do_not_say_their_kind_and_those_of_custom_ones_do(server: Server) -> None:
    await server.make()
    await server.client.create(SECRETS.path(server.namespace), {"metadata": {"name": "s"}})
    assert (await server.client.get(server.things))["items"][0]["kind"] == "Thing"
    secrets = await server.client.get(SECRETS.path(server.namespace))
    assert secrets["kind"] == "SecretList"
    assert "kind" not in secrets["items"][0]


async def test_a_list_can_be_had_as_of_a_version(server: Server) -> None:
    await server.make("a")
    then = await server.client.get(server.things)
    await server.make("b")
    await server.client.delete(server.thing("a"))
    query = {"resourceVersion": then["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact", "limit": 500}
    again = await server.client.get(server.things, query)
    assert [raw["metadata"]["name"] for raw in again["items"]] == ["a"]
    assert again["metadata"]["resourceVersion"] == then["metadata"]["resourceVersion"]


async def test_label_selectors(server: Server) -> None:
    await server.make("a", {"app": "fs", "tier": "1"})
    await server.make("b", {"app": "fs"})
    await server.make("c", {"app": "other", "tier": "2"})

    async def names(selector: str) -> str:
        listed = await server.client.list(server.things, {"labelSelector": selector})
        return "".join(raw["metadata"]["name"] for raw in listed["items"])

    assert await names("app=fs") == "ab"
    assert await names("app==fs,tier=1") == "a"
    assert await names("app!=fs") == "c"
    assert await names("tier") == "ac"
    assert await names("!tier") == "b"
    assert await names("tier in (1,2)") == "ac"
    assert await names("tier notin (1),app") == "bc"


async def test_field_selectors(server: Server) -> None:
    await server.make("a")
    await server.make("b")
    listed = await server.client.list(server.things, {"fieldSelector": "metadata.name=b"})
    assert [raw["metadata"]["name"] for raw in listed["items"]] == ["b"]
    cluster_wide = {"fieldSelector": f"metadata.namespace={server.namespace},metadata.name!=b"}
    listed = await server.client.list(THINGS.path(), cluster_wide)
    assert [raw["metadata"]["name"] for raw in listed["items"]] == ["a"]
    error = await refusal(server.client.get(server.things, {"fieldSelector": "spec.color=red"}))
    assert error.status == 400
    assert "field label not supported" in error.message


async def test_a_watch_goes_on_from_a_version(server: Server) -> None:
    made = await server.make("a", x=1)
    await server.client.patch(server.thing(), {"spec": {"x": 2}}, MERGE_PATCH)
    await server.client.delete(server.thing())
    modified, deleted = await server.events(2, resourceVersion=made["metadata"]["resourceVersion"])
    assert (modified["type"], modified["object"]["spec"]) == ("MODIFIED", {"x": 2})
    assert (deleted["type"], deleted["object"]["spec"]) == ("DELETED", {"x": 2})
    assert at(deleted["object"]) > at(modified["object"])


async def test_a_watch_without_a_version_begins_with_all_there_is(server: Server) -> None:
    await server.make("a")
    await server.make("b")
    added = await server.events(2)
    assert {(event["type"], event["object"]["metadata"]["name"]) for event in added} == {("ADDED", "a"), ("ADDED", "b")}


async def test_a_watch_sees_an_object_enter_and_leave_its_selector(server: Server) -> None:
    made = await server.make("a", x=1)
    for labels in ({"app": "fs"}, {"app": "fs", "more": "1"}, {"app": "gone"}):
        await server.client.patch(server.thing(), {"metadata": {"labels": labels}}, MERGE_PATCH)
    query = {"labelSelector": "app=fs", "resourceVersion": made["metadata"]["resourceVersion"]}
    events = await server.events(3, **query)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert at(events[2]["object"]) > at(events[1]["object"])
    assert events[2]["object"]["metadata"]["labels"] == {"app": "fs", "more": "1"}


async def test_a_watch_of_one_name(server: Server) -> None:
    version = (await server.make("a"))["metadata"]["resourceVersion"]
    await server.make("b")
    await server.client.patch(server.thing("a"), {"spec": {"x": 1}}, MERGE_PATCH)
    (event,) = await server.events(1, fieldSelector="metadata.name=a", resourceVersion=version)
    assert (event["type"], event["object"]["metadata"]["name"]) == ("MODIFIED", "a")


async def test_a_watch_from_too_old_a_version_gets_410_behind_a_200(server: Server) -> None:
    (event,) = await server.events(1, resourceVersion="1")
    assert event["type"] == "ERROR"
    status = event["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


async def test_a_watch_from_a_version_of_the_future_is_silent(server: Server) -> None:
    """So is one after the server was restored from a backup: there is no error to go by."""
    await server.make("a")
    assert await server.events(1, resourceVersion="999999999", timeoutSeconds=2) == []


async def test_a_list_as_of_a_version_of_the_future_is_504(server: Server) -> None:
    for match in ({}, {"resourceVersionMatch": "Exact"}):
        late = await refusal(server.client.get(server.things, {"resourceVersion": "999999999", **match}))
        assert (late.status, late.reason, late.retry_after) == (504, "Timeout", 1.0)
        assert "Too large resource version" in late.message


async def test_a_watch_ends_in_order_at_its_time(server: Server) -> None:
    made = await server.make("a")
    query = {"resourceVersion": made["metadata"]["resourceVersion"], "allowWatchBookmarks": True, "timeoutSeconds": 1}
    assert {event["type"] for event in await server.events(99, **query)} <= {"BOOKMARK"}


async def test_deleting_a_definition_ends_what_it_defined(server: Server) -> None:
    if REAL:
        pytest.skip("the other facts need the definition")
    await server.make("a")
    await server.client.delete(DEFINITIONS.path(name="things.facts.switchtender.dev"))
    assert (await refusal(server.client.get(server.things))).status == 404


async def test_a_new_definition_is_established(server: Server) -> None:
    found = await server.client.get(DEFINITIONS.path(name="things.facts.switchtender.dev"))
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"


async def test_what_only_a_deleted_owner_owned_goes() -> None:
    """Garbage collection: the controller manager's work on a real cluster, so only the scripted server is asked."""
    async with KubeApi() as api:
        owner = api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": "n"}})
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        owned = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "owned", "namespace": "n"}}
        api.put({**owned, "metadata": {**owned["metadata"], "ownerReferences": [reference]}})
        api.remove("configmaps", "n", "owner")
        assert api.objects("secrets") == []


async def test_the_hand_of_a_test_is_seen_by_open_watches() -> None:
    async with KubeApi() as api:
        client = await Client.connect(server=api.url)
        seen: list[str] = []

        async def watch() -> None:
            async with aclosing(client.watch(PODS.path(), {})) as lines:
                async for line in lines:
                    seen.append(json.loads(line)["type"])

        task = asyncio.create_task(watch())
        await api.watched("pods")
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"nodeName": "x"},
        }
        api.put({**pod, "status": {"phase": "Running"}})
        api.merge("pods", "n", "p", {"status": {"phase": "Failed"}})
        api.delete("pods", "n", "p")
        api.remove("pods", "n", "p")
        await eventually(lambda: len(seen) == 4)
        assert seen == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()
