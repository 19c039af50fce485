"""The whole operator in this process against the scripted API server: pods become sets, and nothing more is written."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

from operator_stand import (
    ESL,
    NAMESPACE,
    OWN,
    TIMING,
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
    writes,
)
from tests.stand.kube_api.kinds import BUILT_IN

from switchtender_operator.telemetry import metrics


def bodies(api: KubeApi, resource: str) -> list[Any]:
    """What was created of a resource, as it was sent."""
    return [one.body for one in api.calls("create", resource)]


def value(operator_metrics: bytes, name: str) -> float:
    """The value of a metric on the page; `name` with its labels, if it has any."""
    line = next(line for line in operator_metrics.decode().splitlines() if line.startswith(f"{metrics.PREFIX}{name} "))
    return float(line.split()[-1])


async def test_pods_and_a_group_become_a_set_that_follows_them() -> None:
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        api.put(pod(0))
        await eventually(lambda: members(api) == {"fs-0": "Ready"})
        api.put(pod(1))
        api.put(pod(0, ready=False))
        await eventually(lambda: members(api) == {"fs-0": "NotReady", "fs-1": "Ready"})
        api.delete("pods", NAMESPACE, "fs-1", grace=30)
        await eventually(lambda: members(api)["fs-1"] == "Draining")
        api.remove("pods", NAMESPACE, "fs-1")
        await eventually(lambda: members(api) == {"fs-0": "NotReady"})
        (head,) = api.objects("destinationsets")
        (owner,) = head["metadata"]["ownerReferences"]
        assert owner["uid"] == api.object("balancergroups", NAMESPACE, "ivr")["metadata"]["uid"]
        assert "finalizers" not in head["metadata"]
        assert {one.query["fieldManager"] for one in api.calls("apply", "destinationsets")} == {"switchtender-operator"}


async def test_a_set_that_lost_its_labels_is_not_lost() -> None:
    """Balancers go by what is in a set, so one that the operator no longer saw would route to the dead for ever."""
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        api.put(pod())
        await eventually(lambda: members(api) == {"fs-0": "Ready"})
        head = api.object("destinationsets", NAMESPACE, "ivr")
        dead = {**head["spec"]["members"][0], "uid": "of-a-pod-long-gone", "name": "fs-9"}
        api.put(
            {
                "apiVersion": head["apiVersion"],
                "kind": head["kind"],
                "metadata": {"name": "ivr.2", "namespace": NAMESPACE},
                "spec": {"group": head["spec"]["group"], "members": [dead]},
            }
        )
        await eventually(lambda: {one["metadata"]["name"] for one in api.objects("destinationsets")} == {"ivr"})


async def test_a_transition_is_an_event_about_the_group() -> None:
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        api.put(pod())
        (kind,) = [one for one in BUILT_IN if one.group == "events.k8s.io"]
        await eventually(lambda: api.store.objects(kind))
        event = api.store.objects(kind)[0]
        assert event["regarding"]["uid"] == api.object("balancergroups", NAMESPACE, "ivr")["metadata"]["uid"]
        assert event["metadata"]["namespace"] == NAMESPACE


async def test_an_unchanged_world_is_not_written_to() -> None:
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        for number in range(5):
            api.put(pod(number))
        await eventually(lambda: len(members(api)) == 5)
        await settled(api)
        before = len(api.requests)
        api.merge("pods", NAMESPACE, "fs-0", {"metadata": {"labels": {"unrelated": "x"}}})
        api.merge("balancergroups", NAMESPACE, "ivr", {"metadata": {"labels": {"unrelated": "x"}}})
        await asyncio.sleep(1.0)
        assert writes(api, before) == []
        marks = api.object("balancergroups", NAMESPACE, "ivr")["metadata"]
        assert not {"finalizers", "annotations"} & set(marks)


async def test_a_restart_writes_nothing() -> None:
    async with serving() as api:
        api.put(config_map())
        api.put(group())
        api.put(pod())
        async with operating(api):
            await eventually(lambda: members(api) and conditions(api))
            await settled(api)
        before = len(api.requests)
        async with operating(api) as operator:
            await eventually(operator.leading)
            await eventually(lambda: not operator.unready())
            await asyncio.sleep(0.5)
        assert [one for one in writes(api, before) if "/secrets" not in one] == []


async def test_pods_of_other_labels_and_namespaces_are_never_asked_for() -> None:
    async with serving() as api:
        api.put(config_map())
        async with operating(api):
            api.put(group("ivr", app="fs"))
            api.put(group("conf", app="conf"))
            api.put(group("ivr", namespace="other"))
            api.put(pod(0))
            await eventually(lambda: members(api))
            asked = {(one.namespace, one.query["labelSelector"]) for one in api.calls("list", "pods")}
            await eventually(
                lambda: (
                    len({(one.namespace, one.query.get("labelSelector")) for one in api.calls("watch", "pods")}) == 3
                )
            )
            asked = {(one.namespace, one.query["labelSelector"]) for one in api.calls("list", "pods")}
        assert asked == {(NAMESPACE, "app=fs"), (NAMESPACE, "app=conf"), ("other", "app=fs")}


async def test_groups_of_one_selector_share_a_watch_that_ends_with_the_last_of_them() -> None:
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group("a"))
        api.put(group("b"))
        api.put(pod())
        await eventually(lambda: members(api, "a") and members(api, "b"))
        assert api.watches("pods") == 1
        api.remove("balancergroups", NAMESPACE, "a")
        await settled(api)
        assert api.watches("pods") == 1
        api.remove("balancergroups", NAMESPACE, "b")
        await eventually(lambda: api.watches("pods") == 0)


async def test_namespace_mode_asks_nothing_at_cluster_scope() -> None:
    async with serving() as api, operating(api, kopf=True, watch_namespaces=("voice", "voice2"), ensure_crds=False):
        api.put(config_map())
        for namespace in ("voice", "voice2", "elsewhere"):
            api.put(group(namespace=namespace))
            api.put(pod(namespace=namespace))
        await eventually(lambda: members(api, namespace="voice") and members(api, namespace="voice2"))
        await eventually(
            lambda: [one for one in api.requests if one.user_agent.startswith("kopf") and one.verb == "watch"]
        )
        await settled(api)
        assert not members(api, namespace="elsewhere")
        objects = [one for one in api.requests if one.resource]
        assert {one.namespace for one in objects} == {"voice", "voice2", OWN}


async def test_cluster_mode_asks_once_for_all_namespaces() -> None:
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        await eventually(lambda: api.calls("watch", "pods"))
        ours = [one for one in api.calls("list", "balancergroups") if one.user_agent.startswith("switchtender")]
        assert {one.namespace for one in ours} == {None}
        assert {one.namespace for one in api.calls("list", "configmaps") + api.calls("list", "endpointslices")} == {OWN}


async def test_a_group_that_is_gone_gets_no_set() -> None:
    """Its set is the garbage collector's; one of the same name later is another group with another set."""
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        api.put(pod(0))
        await eventually(lambda: members(api))
        first = api.object("destinationsets", NAMESPACE, "ivr")["metadata"]["uid"]
        api.remove("balancergroups", NAMESPACE, "ivr")
        api.put(pod(1))
        await settled(api)
        assert api.objects("destinationsets") == []
        api.put(group())
        await eventually(lambda: set(members(api)) == {"fs-0", "fs-1"})
        assert api.object("destinationsets", NAMESPACE, "ivr")["metadata"]["uid"] != first


async def test_secrets_are_made_once_for_each_balancer_and_never_again() -> None:
    async with serving() as api:
        api.put(config_map())
        async with operating(api):
            await eventually(lambda: len(api.objects("secrets", OWN)) == 2)
            api.put(config_map("edge-config", "edge"))
            await eventually(lambda: len(api.objects("secrets", OWN)) == 4)
        made = {one["metadata"]["name"]: one["data"] for one in api.objects("secrets", OWN)}
        assert set(made) == {f"{name}-{what}" for name in ("st-config", "edge-config") for what in ("keys", "token")}
        async with operating(api) as operator:
            await eventually(operator.leading)
            await eventually(lambda: len(api.calls("create", "secrets")) >= 8)
        assert {one["metadata"]["name"]: one["data"] for one in api.objects("secrets", OWN)} == made
        assert not api.calls("list", "secrets")
        assert not api.calls("watch", "secrets")
        assert {one.name for one in api.calls("get", "secrets")} <= {"st-config-token", "edge-config-token"}


async def test_what_balancers_say_becomes_status() -> None:
    async with serving() as api, balancing(FakeBalancer()) as balancer, operating(api):
        api.put(config_map())
        api.put(group(esl=ESL))
        api.put(pod())
        await eventually(lambda: members(api) and api.object("secrets", OWN, "st-config-token"))
        token = api.object("secrets", OWN, "st-config-token")["data"]["token"]
        balancer.token = base64.b64decode(token).decode()
        balancer.acts_on(api)
        api.put(endpoint_slice(balancer.port))
        await eventually(lambda: conditions(api).get("Programmed") == ("True", "Programmed"))
        await eventually(lambda: api.object("balancergroups", NAMESPACE, "ivr")["status"]["sessions"] == 10)
        assert conditions(api)["StatsFresh"] == ("True", "Fresh")
        balancer.status = 500
        await eventually(lambda: conditions(api)["StatsFresh"][0] != "True")
        kept = api.object("balancergroups", NAMESPACE, "ivr")["status"]
        assert (kept["sessions"], kept["nodes"]) == (10, 1)
        assert members(api) == {"fs-0": "Ready"}


async def test_a_new_group_is_told_of_once_its_pods_and_balancers_are_known() -> None:
    """Its first status is one of a whole picture, not one of what was known first."""
    async with serving() as api, balancing(FakeBalancer()) as balancer, operating(api) as operator:
        api.put(config_map())
        await eventually(lambda: api.object("secrets", OWN, "st-config-token"))
        balancer.token = base64.b64decode(api.object("secrets", OWN, "st-config-token")["data"]["token"]).decode()
        api.put(endpoint_slice(balancer.port))
        await eventually(lambda: operator._observations.reachable() == {"default": (1, 1)})
        api.put(pod())
        api.put(group())
        await eventually(lambda: api.calls("apply", "balancergroups"))
        first = api.calls("apply", "balancergroups")[0].body["status"]
        said = {one["type"]: one["message"] for one in first["conditions"]}
        assert first["nodes"] == 1
        assert "not been asked" not in said["Programmed"]
        assert "not known yet" not in said["Ready"]


async def test_pods_that_may_not_be_listed_hold_a_group_up_for_a_moment_only() -> None:
    static = {"selector": {"matchLabels": {"app": "fs"}}, "static": [{"name": "outside", "sip": "sip:10.9.0.1"}]}
    async with serving() as api, operating(api, timing=replace(TIMING, pods_patience=0.2)):
        api.put(config_map())
        api.fail("pods", "list", 403)
        api.put(group(members=static))
        await eventually(lambda: conditions(api).get("Accepted") == ("True", "Accepted"))
        assert conditions(api)["Ready"][0] != "True"
        api.clear_faults()
        await eventually(lambda: members(api) == {"outside": "Ready"})


async def test_a_refused_token_is_read_again() -> None:
    async with serving() as api, balancing(FakeBalancer()) as balancer, operating(api) as operator:
        api.put(config_map())
        api.put(endpoint_slice(balancer.port))
        await eventually(lambda: balancer.asked)
        secret = api.object("secrets", OWN, "st-config-token")
        balancer.token = "rotated"
        api.put({**secret, "data": {"token": base64.b64encode(b"rotated").decode()}})
        await eventually(lambda: operator._observations.reachable() == {"default": (1, 1)})
        reads = len(api.calls("get", "secrets"))
        await asyncio.sleep(0.3)
        assert len(api.calls("get", "secrets")) == reads


async def test_a_node_that_another_group_lists_too_is_told_to_the_first_group() -> None:
    """Nothing about the first group changed, and yet it is looked at: the second group's set names its node."""
    static = {"static": [{"name": "outside", "sip": "sip:10.0.0.1", "load": "fs://10.0.0.1"}]}
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group("a", esl=ESL))
        api.put(pod(0))
        await eventually(lambda: members(api, "a") and conditions(api, "a"))
        await settled(api)
        api.put(group("b", esl=ESL, members=static))
        await eventually(lambda: members(api, "b"))
        told = lambda: {(one["regarding"]["name"], one["reason"]) for one in bodies(api, "events")}  # noqa: E731
        await eventually(lambda: ("a", "SharedNode") in told())


async def test_events_are_of_the_new_api_and_about_the_group() -> None:
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        api.put(pod())
        await eventually(lambda: api.calls("create", "events"))
        one = api.calls("create", "events")[0]
        assert one.path.startswith("/apis/events.k8s.io/v1/")
        assert one.body["regarding"]["name"] == "ivr"


async def test_the_metrics_page_tells_the_world() -> None:
    async with serving() as api, operating(api) as operator:
        api.put(config_map())
        api.put(group())
        api.put(pod())
        await eventually(lambda: members(api) and operator.leading())
        await settled(api)
        page, _ = operator._metrics.page()
        text = page.decode()
        assert value(page, "is_leader") == 1.0
        assert f'{metrics.PREFIX}members{{group="ivr",namespace="voice",state="Ready"}} 1.0' in text
        assert f'{metrics.PREFIX}published_generation{{group="ivr",namespace="voice"}} 1.0' in text
        assert f'{metrics.PREFIX}cached_objects{{resource="pods"}} 1.0' in text
        of_group = 'group="ivr",namespace="voice"'
        assert f"{metrics.PREFIX}group_generation{{{of_group}}} 1.0" in text
        assert f"{metrics.PREFIX}group_generation_in_force{{{of_group}}} 1.0" in text
        assert f'{metrics.PREFIX}group_condition{{{of_group},type="Accepted"}} 1.0' in text
        assert f'{metrics.PREFIX}writes_total{{kind="set",result="applied"}} 1.0' in text
        assert f'{metrics.PREFIX}api_requests_total{{code="200",verb="watch"}}' in text
        assert "fs-0" not in text
        assert "10.0.0.1" not in text


async def test_an_edit_that_is_refused_shows_in_the_metrics() -> None:
    """What is in force stays behind the newest edit, and the condition tells that it was refused."""
    async with serving() as api, operating(api) as operator:
        api.put(config_map())
        api.put(group())
        await eventually(lambda: conditions(api).get("Accepted") == ("True", "Accepted"))
        known = api.object("balancergroups", NAMESPACE, "ivr")
        api.put({**known, "spec": {**known["spec"], "match": {"priority": 10**6}}})
        await eventually(lambda: conditions(api)["Accepted"][0] == "False")

        def told() -> dict[str, float]:
            page, _ = operator._metrics.page()
            return {name: value(page, f"{name}{{{labels}}}") for name, labels in (
                ("group_generation", 'group="ivr",namespace="voice"'),
                ("group_generation_in_force", 'group="ivr",namespace="voice"'),
                ("group_condition", 'group="ivr",namespace="voice",type="Accepted"'),
            )}  # fmt: skip

        # The metrics read the status as the operator's own watch brought it back: later than we saw it here.
        await eventually(
            lambda: told() == {"group_generation": 2.0, "group_generation_in_force": 1.0, "group_condition": 0.0}
        )


async def test_a_standby_is_ready_and_writes_nothing() -> None:
    async with serving() as api:
        api.put(config_map())
        api.put(group())
        api.put(pod())
        async with operating(api) as first:
            await eventually(lambda: first.leading() and members(api))
            async with operating(api) as second:
                await eventually(lambda: not second.unready())
                assert not second.leading()
                assert not second.alive()
                assert second._pods.pods("voice/ivr")
                holder = api.object("leases", OWN, "switchtender-operator")["spec"]["holderIdentity"]
                assert holder == first._settings.identity


async def test_without_election_it_acts_at_once() -> None:
    async with serving() as api, operating(api, leader_election=False):
        api.put(config_map())
        api.put(group())
        api.put(pod())
        await eventually(lambda: members(api))
        assert not [one for one in api.requests if one.resource == "leases"]


async def test_a_configuration_that_cannot_be_used_is_told_to_its_groups() -> None:
    async with serving() as api, operating(api):
        api.put(config_map(spec="{nonsense: 1}"))
        api.put(group())
        await eventually(lambda: conditions(api).get("Accepted", ("", ""))[0] == "False")
        api.put(config_map())
        await eventually(lambda: conditions(api)["Accepted"] == ("True", "Accepted"))


async def test_bodies_are_json_and_small() -> None:
    """A set's apply carries what the operator owns, not what the API server adds."""
    async with serving() as api, operating(api):
        api.put(config_map())
        api.put(group())
        api.put(pod(0))
        await eventually(lambda: members(api))
        api.put(pod(1))
        await eventually(lambda: len(members(api)) == 2)
        last = api.calls("apply", "destinationsets")[-1].body
        assert "managedFields" not in json.dumps(last)
        assert "status" not in last
        assert last["metadata"]["resourceVersion"]
