"""From pods to sets: a group is published, and its members follow what happens to the pods."""

import time

import pytest


@pytest.fixture(scope="module")
def operator(installation):
    with installation.operator() as program:
        yield program


def published(voice, name):
    return voice.cluster.get(voice.path("destinationsets", name))


def test_a_group_is_published(operator, voice, record_property):
    for name in ("fs-0", "fs-1"):
        voice.create_pod(name)
    voice.cluster.until(lambda: all(pod["status"].get("podIP") for pod in voice.pods().values()), "running pods")
    before = time.monotonic()
    created = voice.create_group("ivr")
    head = voice.cluster.until(lambda: published(voice, "ivr"), "the head", pause=0.01)
    taken = time.monotonic() - before
    record_property("published_seconds", round(taken, 3))
    assert taken < 10, "generous: a busy machine; the aim is 1 s"

    pods = voice.pods()
    assert head["spec"]["group"] == {"name": "ivr", "uid": created["metadata"]["uid"], "generation": 1}
    assert {member["name"]: member["uid"] for member in head["spec"]["members"]} == {
        name: pod["metadata"]["uid"] for name, pod in pods.items()
    }
    assert {tuple(member["addresses"]) for member in head["spec"]["members"]} == {
        (pod["status"]["podIP"],) for pod in pods.values()
    }
    owner = head["metadata"]["ownerReferences"]
    assert [(each["kind"], each["uid"], each["controller"]) for each in owner] == [
        ("BalancerGroup", created["metadata"]["uid"], True)
    ]
    assert "finalizers" not in head["metadata"]
    voice.cluster.until(lambda: voice.conditions("ivr").get("Accepted") == ("True", "Accepted"), "Accepted")
    group = voice.cluster.get(voice.path("balancergroups", "ivr"))
    assert "finalizers" not in group["metadata"]
    assert "annotations" not in group["metadata"]
    voice.cluster.until(lambda: voice.events("ivr"), "an Event about the group")


def test_a_pods_change_is_published(operator, voice, record_property):
    voice.create_group("ivr")
    voice.create_pod("fs-0", ready=False)
    voice.until_states("ivr", {"fs-0": "NotReady"})
    before = time.monotonic()
    voice.set_ready("fs-0", ready=True)
    voice.cluster.until(lambda: voice.states("ivr") == {"fs-0": "Ready"}, "fs-0 Ready", pause=0.01)
    record_property("changed_seconds", round(time.monotonic() - before, 3))


def test_ready_not_ready_terminating_gone(operator, voice):
    voice.create_group("ivr")
    voice.create_pod("fs-0", hold="yes")
    voice.create_pod("fs-1")
    voice.until_states("ivr", {"fs-0": "Ready", "fs-1": "Ready"})
    voice.set_ready("fs-0", ready=False)
    voice.until_states("ivr", {"fs-0": "NotReady", "fs-1": "Ready"})
    voice.set_ready("fs-0", ready=True)
    voice.until_states("ivr", {"fs-0": "Ready", "fs-1": "Ready"})
    voice.delete_pod("fs-0")
    voice.until_states("ivr", {"fs-0": "Draining", "fs-1": "Ready"})
    drain = voice.members("ivr")["fs-0"]["drain"]
    assert drain["since"]
    voice.set_ready("fs-0", ready=False)
    voice.let_go("fs-0")
    voice.until_states("ivr", {"fs-1": "Ready"})


def test_the_same_name_again_is_another_node(operator, voice):
    voice.create_group("ivr")
    first = voice.create_pod("fs-0")["metadata"]["uid"]
    voice.until_states("ivr", {"fs-0": "Ready"})
    assert voice.members("ivr")["fs-0"]["uid"] == first
    voice.delete_pod("fs-0", grace=0)
    voice.cluster.until(lambda: voice.cluster.get(voice.pod_path("fs-0")) is None, "the end of the first")
    second = voice.create_pod("fs-0")["metadata"]["uid"]
    assert second != first
    voice.until_running("fs-0")
    voice.cluster.until(lambda: voice.members("ivr").get("fs-0", {}).get("uid") == second, "the second as a member")
    assert [member["uid"] for each in voice.sets("ivr") for member in each["spec"]["members"]] == [second]


def test_a_label_makes_a_member_and_ends_it(operator, voice):
    voice.create_group("ivr")
    voice.create_group("conference", app="conference")
    voice.create_pod("fs-0")
    voice.create_pod("fs-1")
    voice.until_states("ivr", {"fs-0": "Ready", "fs-1": "Ready"})
    voice.label("fs-0", app="conference")
    voice.until_states("ivr", {"fs-1": "Ready"})
    voice.until_states("conference", {"fs-0": "Ready"})
    voice.label("fs-1", app=None)
    voice.until_states("ivr", {})
    voice.label("fs-1", app="freeswitch")
    voice.until_states("ivr", {"fs-1": "Ready"})


def test_a_group_that_goes_takes_its_sets_along(operator, voice):
    voice.create_group("ivr")
    voice.create_pod("fs-0")
    voice.until_states("ivr", {"fs-0": "Ready"})
    voice.cluster.delete(voice.path("balancergroups", "ivr"))
    voice.cluster.until(lambda: not voice.sets("ivr"), "the end of the sets")


def test_an_annotation_drains_and_overrides(operator, voice):
    voice.create_group("ivr")
    voice.create_pod("fs-0")
    voice.until_states("ivr", {"fs-0": "Ready"})
    pod = voice.pod_path("fs-0")
    voice.cluster.merge(pod, {"metadata": {"annotations": {"switchtender.dev/weight": "7"}}})
    voice.cluster.until(lambda: voice.members("ivr")["fs-0"]["weight"] == 7, "the weight")
    voice.cluster.merge(pod, {"metadata": {"annotations": {"switchtender.dev/drain": "2026-01-01T00:00:00Z"}}})
    voice.until_states("ivr", {"fs-0": "Draining"})
    voice.cluster.merge(pod, {"metadata": {"annotations": {"switchtender.dev/drain": None}}})
    voice.until_states("ivr", {"fs-0": "Ready"})


def test_a_refused_edit_keeps_the_policy_and_follows_the_pods(operator, voice):
    voice.create_group("ivr")
    voice.create_pod("fs-0")
    voice.until_states("ivr", {"fs-0": "Ready"})
    accepted = published(voice, "ivr")["spec"]["policy"]
    refused = {"esl": {"passwordFrom": {"secretKeyRef": {"name": "somebody-elses", "key": "password"}}}}
    voice.cluster.merge(voice.path("balancergroups", "ivr"), {"spec": refused})
    voice.cluster.until(lambda: voice.conditions("ivr").get("Accepted") == ("False", "SecretNotAllowed"), "the refusal")
    voice.create_pod("fs-1")
    voice.until_states("ivr", {"fs-0": "Ready", "fs-1": "Ready"})
    assert published(voice, "ivr")["spec"]["policy"] == accepted


@pytest.mark.full
def test_an_unchanged_world_is_not_written(operator, voice, cluster):
    voice.create_group("ivr")
    for number in range(3):
        voice.create_pod(f"fs-{number}")
    voice.until_states("ivr", {f"fs-{number}": "Ready" for number in range(3)})
    path = voice.path("balancergroups", "ivr")
    voice.cluster.until(lambda: cluster.get(path).get("status", {}).get("nodes") == 3, "the status", 40)
    before = [each["metadata"]["resourceVersion"] for each in voice.sets("ivr")]
    status = cluster.get(path)["metadata"]["resourceVersion"]
    cluster.merge(voice.pod_path("fs-0"), {"metadata": {"annotations": {"example.com/of-no-interest": "1"}}})
    time.sleep(11)  # a status that was held back would be written by now
    assert [each["metadata"]["resourceVersion"] for each in voice.sets("ivr")] == before
    assert cluster.get(path)["metadata"]["resourceVersion"] == status
