"""What comes into force, what is refused and why, and what a refused edit leaves."""

from dataclasses import replace
from typing import Any

import pytest
from domain_worlds import ESL, SELECTOR, SETTINGS, Cluster, config, group_object, raw_group, raw_pod

from switchtender_operator.domain.plan import watched_selector
from switchtender_operator.domain.world import GroupWorld

STATIC = {"name": "fs-old", "sip": "sip:192.0.2.20", "load": "fs://192.0.2.20"}

REFUSED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"members": {}}, {}, "Invalid", "spec.members"),
    ({"sip": {"port": 0}}, {}, "Invalid", "spec.sip.port"),
    ({"esl": {"passwordFrom": {"env": "A"}}}, {}, "NotBuilt", "spec.esl.passwordFrom.env: in Kubernetes a password"),
    ({"balancer": "edge"}, {}, "BalancerNotFound", "spec.balancer: no balancer edge; known: broken, default"),
    (
        {"balancer": "broken"},
        {},
        "BalancerNotFound",
        "spec.balancer: the configuration of broken cannot be used: it is empty",
    ),
    ({}, {"groups": {"namespaces": ["other"]}}, "NamespaceNotAllowed", "metadata.namespace"),
    ({"match": {"priority": 20}}, {"groups": {"maxPriority": 10}}, "PriorityTooHigh", "accepted: 0 to 10"),
    (
        {"members": {"static": [STATIC]}},
        {"destinations": {"allow": ["10.0.0.0/8"]}},
        "DestinationNotAllowed",
        "spec.members.static[0].sip",
    ),
    (
        {"members": {"static": [{"name": "api", "sip": "sip:10.96.0.1"}]}},
        {},
        "DestinationNotAllowed",
        "spec.members.static[0].sip",
    ),
    (
        {"esl": {"passwordFrom": {"secretKeyRef": {"name": "mine"}}}},
        {},
        "SecretNotAllowed",
        "set esl.secretNames of the chart to [esl, mine]",
    ),
]


def cluster_of(spec: dict[str, Any], balancer: dict[str, Any]) -> Cluster:
    return Cluster(group=raw_group(spec), balancers={"default": config(**balancer), "broken": "it is empty"})


@pytest.mark.parametrize(("spec", "balancer", "reason", "message"), REFUSED, ids=[case[2] for case in REFUSED])
def test_a_group_never_accepted_has_no_set(spec: dict[str, Any], balancer: dict[str, Any], reason: str, message: str):
    cluster = cluster_of(spec, balancer).add(raw_pod("p"))
    plan = cluster.settle()
    assert not cluster.sets
    assert cluster.condition("Accepted") == ("False", reason)
    assert message in cluster.message("Accepted")
    assert cluster.condition("Programmed") == ("False", "NotAccepted")
    assert cluster.condition("Ready") == ("False", "NotAccepted")
    assert [(event.type, event.reason) for event in plan.events] == [("Warning", reason)]
    assert watched_selector(cluster.world()) is None


@pytest.mark.parametrize(("spec", "balancer", "reason", "message"), REFUSED, ids=[case[2] for case in REFUSED])
def test_a_refused_edit_leaves_what_was(spec: dict[str, Any], balancer: dict[str, Any], reason: str, message: str):
    cluster = Cluster(group=raw_group({"capacity": {"maxSessions": 50}}))
    cluster.add(raw_pod("p")).settle()
    head = cluster.sets["ivr"]
    cluster.balancers = {"default": config(**balancer), "broken": "it is empty"}
    cluster.edit(spec)
    plan = cluster.settle()
    assert not plan.apply
    assert not plan.delete
    assert cluster.condition("Accepted") == ("False", reason)
    assert message in cluster.message("Accepted")
    assert cluster.message("Programmed") == "generation 1 stays in force"
    assert cluster.status["observedGeneration"] == 2
    cluster.add(raw_pod("q", "10.0.1.8")).settle()
    assert sorted(cluster.by_name()) == ["p", "q"], "pods are followed all the same"
    assert cluster.sets["ivr"].spec["policy"] == head.spec["policy"]
    assert cluster.sets["ivr"].spec["group"]["generation"] == 1


def test_an_accepted_group():
    cluster = Cluster(group=raw_group({"capacity": {"maxSessions": 50}, "match": {"priority": 10}})).add(raw_pod("p"))
    plan = cluster.settle()
    (desired,) = plan.apply
    assert desired.body["metadata"] == {
        "name": "ivr",
        "namespace": "voice",
        "labels": {"switchtender.dev/group": "ivr", "app.kubernetes.io/managed-by": "switchtender-operator"},
        "annotations": {"switchtender.dev/selector": '{"app":"freeswitch"}'},
        "ownerReferences": [
            {
                "apiVersion": "switchtender.dev/v1alpha1",
                "kind": "BalancerGroup",
                "name": "ivr",
                "uid": "uid-ivr",
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
    assert desired.body["spec"]["group"] == {"name": "ivr", "uid": "uid-ivr", "generation": 1}
    assert desired.body["spec"]["policy"] == {
        "esl": {"passwordFrom": {"secretKeyRef": {"name": "esl"}}},
        "capacity": {"maxSessions": 50},
        "match": {"priority": 10},
    }


def test_unknown_fields_are_ignored_and_named():
    cluster = Cluster(group=raw_group({"routing": {"novelty": 1}}))
    cluster.settle()
    assert cluster.condition("Accepted") == ("True", "Accepted")
    assert "spec.routing.novelty" in cluster.message("Accepted")


def test_an_accepted_edit_follows_the_new_selector_at_once():
    cluster = Cluster().add(raw_pod("p"))
    cluster.settle()
    cluster.edit({"members": {"selector": {"matchLabels": {"app": "other"}}}})
    cluster.settle()
    assert cluster.by_name() == {}
    assert cluster.sets["ivr"].spec["group"]["generation"] == 2


def test_a_refused_edit_does_not_change_whom_the_group_follows():
    cluster = Cluster().add(raw_pod("p"))
    cluster.settle()
    cluster.edit({"members": {"selector": {"matchLabels": {"app": "other"}}}, "esl": {"passwordFrom": {"env": "A"}}})
    watched = watched_selector(cluster.world())
    assert watched is not None
    assert watched.labels == {"app": "freeswitch"}
    assert not cluster.settle().apply
    del cluster.pods["uid-p"]
    cluster.settle()
    assert cluster.by_name() == {}


def test_a_refused_edit_leaves_static_nodes_and_where_sip_goes():
    spec = {
        "members": {**SELECTOR, "static": [STATIC]},
        "sip": {"addressFrom": {"type": "Annotation", "name": "example.com/sip"}},
    }
    cluster = Cluster(group=raw_group(spec)).add(raw_pod("p", annotations={"example.com/sip": "203.0.113.9"}))
    cluster.settle()
    cluster.edit({"balancer": "edge"})
    assert not cluster.settle().apply
    assert sorted(cluster.by_name()) == ["fs-old", "p"]
    cluster.add(raw_pod("q", "10.0.1.8", annotations={"example.com/sip": "203.0.113.10"})).settle()
    assert cluster.by_name()["q"]["addresses"] == ["203.0.113.10", "10.0.1.8"]


@pytest.mark.parametrize(
    ("allow", "reason"),
    [
        (["10.0.0.0/8", "192.0.2.99/32"], "fs-old: SIP address 192.0.2.20: "),
        (["10.0.0.0/8", "192.0.2.20/32"], "fs-old: Event Socket address 192.0.2.99: "),
    ],
)
def test_a_static_node_leaves_where_none_may_be_any_more_though_the_edit_is_refused(allow: list[str], reason: str):
    static = {**STATIC, "load": "fs://192.0.2.99"}
    cluster = Cluster(group=raw_group({"members": {**SELECTOR, "static": [static]}})).add(raw_pod("p"))
    cluster.settle()
    cluster.balancers = {"default": config(destinations={"allow": allow})}
    plan = cluster.settle()
    assert cluster.condition("Accepted") == ("False", "DestinationNotAllowed")
    assert list(cluster.by_name()) == ["p"]
    left_out = [event.message for event in plan.events if event.reason == "NodeLeftOut"]
    assert len(left_out) == 1
    assert left_out[0].startswith(reason)


def test_a_refusal_healed_brings_the_edit_into_force():
    cluster = Cluster().add(raw_pod("p"))
    cluster.settle()
    cluster.edit({"balancer": "edge"})
    cluster.settle()
    cluster.balancers["edge"] = config()
    plan = cluster.settle()
    assert [desired.name for desired in plan.apply] == ["ivr"]
    assert cluster.sets["ivr"].spec["policy"]["balancer"] == "edge"
    assert ("Normal", "Accepted") in [(event.type, event.reason) for event in plan.events]


def test_a_policy_of_another_version_leaves_every_member_as_it_is():
    cluster = Cluster(group=raw_group({"members": {**SELECTOR, "static": [STATIC]}})).add(raw_pod("p"))
    cluster.settle()
    cluster.sets["ivr"].spec["policy"]["routing"] = {"algorithm": "Psychic"}
    cluster.edit({"routing": {"algorithm": "Psychic"}})
    cluster.add(raw_pod("q", "10.0.1.8"))
    del cluster.pods["uid-p"]
    assert not cluster.settle().apply
    assert sorted(cluster.by_name()) == ["fs-old", "p"]


def test_a_set_whose_head_is_gone_is_left_alone_while_the_spec_is_refused():
    cluster = Cluster(group=raw_group({"balancer": "edge"}))
    cluster.balancers["edge"] = config()
    cluster.add(raw_pod("p")).settle()
    del cluster.balancers["edge"], cluster.sets["ivr"]
    plan = cluster.settle()
    assert not plan.apply
    assert not cluster.sets


def test_a_group_that_is_being_deleted_is_left_to_the_cluster():
    cluster = Cluster().add(raw_pod("p"))
    cluster.settle()
    cluster.group["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    cluster.pods.clear()
    plan = cluster.plan()
    assert plan.empty
    assert plan.wake_at is None
    assert watched_selector(cluster.world()) is None


def test_the_same_name_again_is_another_group():
    cluster = Cluster(settings=replace(SETTINGS, members_per_slice=1)).add(raw_pod("p"), raw_pod("q", "10.0.1.8"))
    cluster.settle()
    assert sorted(cluster.sets) == ["ivr", "ivr.2"]
    cluster.group = raw_group(uid="uid-second")
    del cluster.pods["uid-q"]
    cluster.status = {}
    plan = cluster.settle()
    assert [desired.name for desired in plan.apply] == ["ivr"]
    assert [gone.name for gone in plan.delete] == ["ivr.2"]
    assert cluster.sets["ivr"].owner_uid == "uid-second"


def test_what_a_former_group_left_goes_though_the_new_one_is_refused():
    cluster = Cluster().add(raw_pod("p"))
    cluster.settle()
    cluster.group = raw_group({"balancer": "edge"}, uid="uid-second")
    cluster.status = {}
    cluster.settle()
    assert not cluster.sets


def test_the_selector_is_asked_for_without_pods():
    world = GroupWorld(
        group=group_object(
            raw_group({"sip": {"addressFrom": {"type": "NetworkStatus", "name": "sip-net"}}, "esl": ESL})
        ),
        pods=None,
        sets=(),
        balancers={"default": config()},
    )
    watched = watched_selector(world)
    assert watched is not None
    assert watched.labels == {"app": "freeswitch"}
    assert watched.annotations == {"k8s.v1.cni.cncf.io/network-status"}
