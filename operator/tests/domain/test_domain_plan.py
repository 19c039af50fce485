"""What is written and what is not: sets, slices, fail static, server-side defaults, size."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from domain_worlds import SELECTOR, SETTINGS, Cluster, raw_group, raw_pod

from switchtender_operator.domain import bodies, pod_members
from switchtender_operator.domain.plan import Plan, plan
from switchtender_operator.domain.pods import project

STATIC = {"name": "fs-old", "sip": "sip:192.0.2.20", "load": "fs://192.0.2.20"}


def pods(count: int) -> list[dict[str, Any]]:
    return [raw_pod(f"fs-{n:04}", f"10.{n // 65536}.{n // 256 % 256}.{n % 256}") for n in range(1, count + 1)]


def test_one_pods_change_rewrites_its_slice_alone():
    cluster = Cluster().add(*pods(450))
    assert [desired.name for desired in cluster.settle().apply] == ["ivr", "ivr.2", "ivr.3"]
    assert [len(each.spec["members"]) for each in cluster.sets.values()] == [200, 200, 50]
    assert ["policy" in each.spec for each in cluster.sets.values()] == [True, False, False]
    cluster.add(raw_pod("fs-0300", "10.0.1.44", ready=False))
    assert [desired.name for desired in cluster.settle().apply] == ["ivr.2"]


def test_a_policy_that_changes_no_member_rewrites_the_head_alone():
    cluster = Cluster().add(*pods(450))
    cluster.settle()
    cluster.edit({"capacity": {"maxSessions": 7}})
    assert [desired.name for desired in cluster.settle().apply] == ["ivr"]
    cluster.edit({"sip": {"port": 5080}})
    assert [desired.name for desired in cluster.settle().apply] == ["ivr", "ivr.2", "ivr.3"]


def test_thousands_of_pods_cost_what_they_are(monkeypatch: pytest.MonkeyPatch):
    """The pod that changed is looked at, and what differs in its slice is compared, whatever the size of the group."""
    counts = {"located": 0, "read": 0}
    locate, read_set = pod_members.locate, bodies.read_set

    def counted_locate(*arguments: Any) -> Any:
        counts["located"] += 1
        return locate(*arguments)

    def counted_read(raw: Any) -> Any:
        counts["read"] += len(raw["spec"]["members"])
        return read_set(raw)

    cluster = Cluster().add(*pods(5000))
    first = cluster.world()
    cluster.take(plan(first, cluster.now))
    changed = project(raw_pod("fs-2500", "10.0.9.196", ready=False))
    assert changed is not None
    assert first.pods is not None
    world = replace(first, pods={**first.pods, changed.uid: changed}, sets=tuple(cluster.sets.values()))
    monkeypatch.setattr(pod_members, "locate", counted_locate)
    monkeypatch.setattr(bodies, "read_set", counted_read)
    planned = plan(world, cluster.now)
    assert [desired.name for desired in planned.apply] == ["ivr.13"]
    assert counts == {"located": 1, "read": 2}


def test_an_emptied_slice_is_deleted():
    cluster = Cluster(settings=replace(SETTINGS, members_per_slice=2)).add(*pods(5))
    cluster.settle()
    del cluster.pods["uid-fs-0005"]
    planned = cluster.settle()
    assert not planned.apply
    assert [gone.name for gone in planned.delete] == ["ivr.3"]


def test_pods_that_are_not_known_stay():
    cluster = Cluster(group=raw_group({"members": {**SELECTOR, "static": [STATIC]}})).add(*pods(3))
    cluster.settle()
    before = cluster.members()
    cluster.pods_known = False
    assert cluster.plan().empty
    cluster.edit({"members": SELECTOR, "capacity": {"maxSessions": 7}})
    cluster.settle()
    assert cluster.sets["ivr"].spec["policy"]["capacity"] == {"maxSessions": 7}
    assert sorted(cluster.members()) == sorted(uid for uid in before if "/" not in uid)


def test_no_set_is_made_before_the_pods_are_known():
    cluster = Cluster(pods_known=False).add(*pods(3))
    planned = cluster.plan()
    assert not planned.apply
    assert planned.status is not None
    cluster.take(planned)
    assert cluster.condition("Ready") == ("Unknown", "NoMembers")
    cluster.pods_known = True
    cluster.settle()
    assert len(cluster.members()) == 3


def test_static_nodes_need_no_pods():
    cluster = Cluster(group=raw_group({"members": {"static": [STATIC]}}), pods_known=False)
    cluster.settle()
    assert list(cluster.by_name()) == ["fs-old"]


def test_an_api_server_that_fills_in_defaults_is_not_written_to_for_ever():
    cluster = Cluster(defaulting=True, settings=replace(SETTINGS, members_per_slice=2)).add(*pods(5))
    cluster.settle()
    assert "health" in cluster.sets["ivr"].spec["policy"]
    assert cluster.plan().empty
    cluster.add(raw_pod("fs-0001", "10.0.0.1", ready=False))
    assert [desired.name for desired in cluster.settle().apply] == ["ivr"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda each: replace(each, owner_uid=None),
        lambda each: replace(each, labels={**each.labels, "switchtender.dev/group": "other"}),
        lambda each: replace(each, annotations={}),
        lambda each: replace(each, spec={**each.spec, "members": []}),
        lambda each: replace(each, spec={**each.spec, "members": [{**each.spec["members"][0], "state": "Draining"}]}),
        lambda each: replace(each, spec={**each.spec, "members": [{**each.spec["members"][0], "state": "Novel"}]}),
        lambda each: replace(each, spec={**each.spec, "members": [7, *each.spec["members"]]}),
        lambda each: replace(each, spec={**each.spec, "members": "none"}),
        lambda each: replace(each, spec={**each.spec, "policy": {"balancer": "edge"}}),
        lambda each: replace(each, spec={**each.spec, "group": {**each.spec["group"], "generation": 0}}),
    ],
)
def test_what_somebody_else_did_to_a_set_is_put_right(spoil: Any):
    cluster = Cluster().add(*pods(1))
    cluster.settle()
    good = copy.deepcopy(cluster.sets["ivr"].spec)
    cluster.sets["ivr"] = spoil(cluster.sets["ivr"])
    assert [desired.name for desired in cluster.settle().apply] == ["ivr"]
    assert cluster.sets["ivr"].spec == good


def test_fields_of_a_newer_version_are_left_alone_while_nothing_else_changes():
    cluster = Cluster().add(*pods(1))
    cluster.settle()
    head = cluster.sets["ivr"]
    cluster.sets["ivr"] = replace(head, spec={**head.spec, "novelty": 1})
    assert cluster.plan().empty


def test_sets_of_others_are_not_ours():
    cluster = Cluster().add(*pods(1))
    cluster.settle()
    head = cluster.sets["ivr"]
    cluster.sets["elsewhere"] = replace(head, name="ivr.7", namespace="other", uid="x")
    cluster.sets["ivr-copy"] = replace(head, name="ivr-copy", uid="y")
    assert cluster.plan().empty


def test_a_plan_with_nothing_is_empty():
    assert Plan().empty
    assert not Plan(status={}).empty
