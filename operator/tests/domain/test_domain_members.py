"""Pods, static nodes and what stands in the sets, as members: states, drains, overrides, duplicates."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from domain_worlds import ESL, NOW, SELECTOR, Cluster, config, raw_group, raw_pod, report

from switchtender_api.objects import read_set
from switchtender_operator.domain.neighbors import Neighbors

STATIC = {"name": "fs-old", "sip": "sip:192.0.2.20", "load": "fs://192.0.2.20"}


def planned(*pods: dict[str, Any], **spec: Any) -> Cluster:
    cluster = Cluster(group=raw_group(spec)).add(*pods)
    cluster.settle()
    return cluster


def test_a_ready_pod_is_a_member():
    member = planned(raw_pod("fs-0", zone="a")).by_name()["fs-0"]
    assert member == {
        "uid": "uid-fs-0",
        "name": "fs-0",
        "node": "worker-1",
        "zone": "a",
        "addresses": ["10.0.1.7"],
        "sip": {"port": 5060, "transport": "UDP"},
        "esl": {"host": "10.0.1.7", "port": 8021},
        "state": "Ready",
        "weight": 1,
        "priority": 0,
        "resources": [],
    }


def test_ports_and_user_come_from_the_group():
    cluster = planned(raw_pod("fs-0"), sip={"port": 5080}, esl={**ESL, "port": 8022, "user": "ops@example.com"})
    member = cluster.by_name()["fs-0"]
    assert member["sip"] == {"port": 5080, "transport": "UDP"}
    assert member["esl"] == {"host": "10.0.1.7", "port": 8022, "user": "ops@example.com"}


def test_pods_of_a_group_without_a_password_have_no_event_socket():
    cluster = planned(raw_pod("fs-0"), esl={})
    assert "esl" not in cluster.by_name()["fs-0"]
    assert cluster.condition("Accepted") == ("True", "Accepted")
    assert "esl.passwordFrom is not set" in cluster.message("Accepted")


@pytest.mark.parametrize(
    ("pod", "state"),
    [
        (raw_pod("p"), "Ready"),
        (raw_pod("p", ready=False), "NotReady"),
        (raw_pod("p", phase="Pending", ready=False), "NotReady"),
        (raw_pod("p", phase="Unknown", ready=False), "NotReady"),
        (raw_pod("p", deletion="2026-03-01T12:00:30Z"), "Draining"),
        (raw_pod("p", ready=False, deletion="2026-03-01T12:00:30Z"), "Draining"),
        (raw_pod("p", annotations={"switchtender.dev/drain": "2026-03-01T11:00:00Z"}), "Draining"),
        (raw_pod("p", phase="Succeeded"), None),
        (raw_pod("p", phase="Failed", deletion="2026-03-01T12:00:30Z"), None),
        (raw_pod("p", None, phase="Pending", ready=False), None),
    ],
)
def test_what_state_a_pod_has(pod: dict[str, Any], state: str | None):
    member = planned(pod).by_name().get("p")
    assert (member and member["state"]) == state


DELETED_AT_NOON = {"deletion": "2026-03-01T14:00:00Z", "grace": 7200}


@pytest.mark.parametrize(
    ("pod", "timeout", "expected"),
    [
        (DELETED_AT_NOON, "3h", ("2026-03-01T12:00:00Z", "2026-03-01T14:00:00Z", "Terminating")),
        (DELETED_AT_NOON, "1h", ("2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z", "Terminating")),
        (
            {"annotations": {"switchtender.dev/drain": "2026-03-01T12:30:00+01:00"}},
            "1h",
            ("2026-03-01T11:30:00Z", "2026-03-01T12:30:00Z", "Requested"),
        ),
        (
            {**DELETED_AT_NOON, "annotations": {"switchtender.dev/drain": "2026-03-01T11:30:00Z"}},
            "2h",
            ("2026-03-01T11:30:00Z", "2026-03-01T13:30:00Z", "Terminating"),
        ),
        (
            {**DELETED_AT_NOON, "annotations": {"switchtender.dev/drain": "2026-03-01T11:30:00Z"}},
            "9h",
            ("2026-03-01T11:30:00Z", "2026-03-01T14:00:00Z", "Terminating"),
        ),
        (
            # Asked for before now, yet after the deletion, whose grace began at nine.
            {
                "deletion": "2026-03-01T14:00:00Z",
                "grace": 18000,
                "annotations": {"switchtender.dev/drain": "2026-03-01T11:30:00Z"},
            },
            "9h",
            ("2026-03-01T09:00:00Z", "2026-03-01T14:00:00Z", "Terminating"),
        ),
        (
            {**DELETED_AT_NOON, "annotations": {"switchtender.dev/drain": "2026-03-01T13:30:00Z"}},
            "9h",
            ("2026-03-01T12:00:00Z", "2026-03-01T14:00:00Z", "Terminating"),
        ),
    ],
)
def test_drains_are_absolute_times(pod: dict[str, Any], timeout: str, expected: tuple[str, str, str]):
    drain = planned(raw_pod("p", **pod), drain={"timeout": timeout}).by_name()["p"]["drain"]
    assert (drain["since"], drain["deadline"], drain["reason"]) == expected
    assert drain["pause"] is False


def test_a_drain_is_the_same_whenever_and_by_whomever_it_is_planned():
    pod = raw_pod("p", **DELETED_AT_NOON)
    drains = []
    for later in (timedelta(), timedelta(minutes=50), timedelta(days=2)):
        cluster = Cluster(now=NOW + later).add(pod)
        cluster.settle()
        drains.append(cluster.by_name()["p"]["drain"])
    assert drains[0] == drains[1] == drains[2]


def test_a_drain_asked_for_later_begins_then():
    pod = raw_pod("p", annotations={"switchtender.dev/drain": "2026-03-01T13:00:00Z"})
    cluster = Cluster().add(pod)
    plan = cluster.settle()
    assert cluster.by_name()["p"]["state"] == "Ready"
    assert "drain" not in cluster.by_name()["p"]
    assert plan.wake_at == datetime.fromisoformat("2026-03-01T13:00:00Z")
    cluster.now = plan.wake_at
    cluster.settle()
    assert cluster.by_name()["p"]["state"] == "Draining"


def test_a_static_drain_that_begins_later():
    cluster = Cluster(group=raw_group({"members": {"static": [{**STATIC, "drain": "2026-03-01T13:00:00Z"}]}}))
    plan = cluster.settle()
    assert cluster.by_name()["fs-old"]["state"] == "Ready"
    assert plan.wake_at == datetime.fromisoformat("2026-03-01T13:00:00Z")
    cluster.now = plan.wake_at
    cluster.settle()
    member = cluster.by_name()["fs-old"]
    assert (member["state"], member["drain"]["reason"]) == ("Draining", "Requested")


def test_a_drain_taken_back_makes_the_pod_ready_again():
    cluster = planned(raw_pod("p", annotations={"switchtender.dev/drain": "2026-03-01T11:00:00Z"}))
    cluster.add(raw_pod("p"))
    cluster.settle()
    assert cluster.by_name()["p"]["state"] == "Ready"
    assert "drain" not in cluster.by_name()["p"]


def test_who_paused_a_node_is_kept_for_as_long_as_it_drains():
    pod = raw_pod("p", **DELETED_AT_NOON)
    cluster = planned(pod, drain={"pauseNode": True})
    assert cluster.by_name()["p"]["drain"]["pause"] is True
    assert "pausedByUs" not in cluster.by_name()["p"]["drain"]
    cluster.observe({"p": report("p", "draining", paused_by_us=True)})
    cluster.settle()
    assert cluster.by_name()["p"]["drain"]["pausedByUs"] is True
    cluster.observe({"p": report("p", "draining")})
    assert not cluster.plan().apply, "a balancer that did not pause it itself knows nothing of it"
    assert cluster.by_name()["p"]["drain"]["pausedByUs"] is True


OVERRIDES = {
    "switchtender.dev/weight": "7",
    "switchtender.dev/priority": "2",
    "switchtender.dev/resources": '[{"name": "conf", "limit": 5}]',
}


def test_annotations_override_for_one_pod():
    member = planned(raw_pod("p", annotations=OVERRIDES)).by_name()["p"]
    assert (member["weight"], member["priority"]) == (7, 2)
    assert member["resources"] == [{"name": "conf", "limit": 5}]


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        ("weight", "heavy", 'found "heavy"; accepted: a whole number from 1 to 10000'),
        ("weight", "0", "found 0; accepted: a whole number from 1 to 10000"),
        ("weight", " 5", 'found " 5"; accepted: a whole number from 1 to 10000'),
        ("priority", "-1", 'found "-1"; accepted: a whole number from 0 to 1000'),
        ("resources", "conf=5", 'found "conf=5"; accepted: a list'),
        ("resources", '[{"name": "conf"}]', "at [0]: a resource has one measure; found a mapping"),
        ("drain", "soon", "not an RFC 3339 time"),
        ("drain", "2026-03-01 12:00", "not an RFC 3339 time"),
    ],
)
def test_a_wrong_annotation_is_named_and_the_others_count(annotation: str, value: str, message: str):
    cluster = Cluster().add(raw_pod("p", annotations={**OVERRIDES, f"switchtender.dev/{annotation}": value}))
    plan = cluster.settle()
    member = cluster.by_name()["p"]
    wanted = {"weight": 7, "priority": 2, "resources": [{"name": "conf", "limit": 5}]}
    wanted |= {"weight": {"weight": 1}, "priority": {"priority": 0}, "resources": {"resources": []}, "drain": {}}[
        annotation
    ]
    assert {field: member[field] for field in ("weight", "priority", "resources")} == wanted
    assert member["state"] == "Ready"
    notes = [event.message for event in plan.events if event.reason == "BadAnnotation"]
    assert any(note.startswith(f"p: annotation switchtender.dev/{annotation}") and message in note for note in notes)
    assert any(message in part for part in [cluster.message("Ready")])


def test_a_pod_that_cannot_be_a_node_is_named():
    cluster = Cluster(group=raw_group({"sip": {"addressFrom": {"type": "Annotation", "name": "example.com/sip"}}}))
    cluster.add(raw_pod("p", annotations={"example.com/sip": "192.0.2.7"}), raw_pod("q", "10.0.1.8"))
    plan = cluster.settle()
    assert list(cluster.by_name()) == ["p"]
    text = "q: it has no annotation example.com/sip"
    assert ("Warning", "NodeLeftOut", text) in [(event.type, event.reason, event.message) for event in plan.events]
    assert text in cluster.message("Ready")
    cluster.add(raw_pod("q", "10.0.1.8", annotations={"example.com/sip": "192.0.2.8"}))
    cluster.settle()
    assert sorted(cluster.by_name()) == ["p", "q"]
    assert "q:" not in cluster.message("Ready")


def test_destinations_of_the_balancer_bind_pods():
    cluster = Cluster(balancers={"default": config(destinations={"allow": ["10.0.1.0/24"]})})
    cluster.add(raw_pod("p"), raw_pod("q", "10.0.2.7")).settle()
    assert list(cluster.by_name()) == ["p"]
    assert "q: SIP address 10.0.2.7: destinations.allow of the balancer" in cluster.message("Ready")


def test_the_strictest_of_two_at_one_endpoint_counts():
    static = [{"name": "fs-old", "sip": "sip:10.0.1.7:5090", "load": "fs://10.0.1.7"}]
    cluster = Cluster(group=raw_group({"members": {**SELECTOR, "static": static}}))
    plan = cluster.add(raw_pod("p", ready=False)).settle()
    assert list(cluster.by_name()) == ["p"]
    event = next(event for event in plan.events if event.reason == "DuplicateNode")
    assert event.message == "fs-old: p is at its Event Socket 10.0.1.7:8021, and counts"
    assert cluster.status["nodes"] == 1


def test_of_two_equals_at_one_endpoint_the_one_that_stands_stays():
    cluster = planned(raw_pod("q"))
    cluster.add(raw_pod("a")).settle()
    assert list(cluster.by_name()) == ["q"]


def test_the_same_name_or_address_under_a_new_uid_is_a_new_member():
    cluster = planned(raw_pod("fs-0", uid="first"))
    del cluster.pods["first"]
    cluster.add(raw_pod("fs-0", uid="second")).settle()
    assert list(cluster.members()) == ["second"]


@pytest.mark.parametrize(
    ("uid", "noted"), [("uid-p", False), ("uid-other", True), ("voice/conf/fs@10.0.1.7:5060", True)]
)
def test_a_node_that_another_group_has_too(uid: str, noted: bool):
    neighbors = Neighbors()
    member = {"uid": uid, "name": "fs", "esl": {"host": "10.0.1.7", "port": 8021}}
    neighbors.put("set-conf", "voice", {"group": {"name": "conf"}, "members": [member]})
    cluster = Cluster(neighbors=neighbors).add(raw_pod("p"))
    plan = cluster.settle()
    notes = [event.message for event in plan.events if event.reason == "SharedNode"]
    assert list(cluster.by_name()) == ["p"], "both groups have it"
    assert notes == (["p: fs of voice/conf has the same Event Socket 10.0.1.7:8021: one node"] if noted else [])
    assert not cluster.plan().events


def test_static_nodes_listed_by_several_groups_are_so_on_purpose():
    neighbors = Neighbors()
    member = {"uid": "voice/conf/fs-old@192.0.2.20:5060", "name": "fs-old", "esl": {"host": "192.0.2.20", "port": 8021}}
    neighbors.put("set-conf", "voice", {"group": {"name": "conf"}, "members": [member]})
    cluster = Cluster(group=raw_group({"members": {"static": [STATIC]}}), neighbors=neighbors)
    assert not [event for event in cluster.settle().events if event.reason == "SharedNode"]


def test_neighbors_follow_their_sets():
    neighbors = Neighbors()
    member = {"uid": "u", "name": "fs", "esl": {"host": "fd00::7", "port": 8021}}
    neighbors.put("s", "voice", {"group": {"name": "conf"}, "members": [member, {"uid": 7}, None]})
    assert [each.uid for each in neighbors.at("[fd00::7]:8021", besides="voice/ivr")] == ["u"]
    assert neighbors.at("[fd00::7]:8021", besides="voice/conf") == []
    neighbors.put("s", "voice", {"group": {"name": "conf"}, "members": []})
    assert neighbors.at("[fd00::7]:8021", besides="voice/ivr") == []
    neighbors.drop("s")
    neighbors.drop("s")


def test_every_member_is_readable_by_a_balancer():
    annotations = {**OVERRIDES, "switchtender.dev/drain": "2026-03-01T11:00:00Z"}
    cluster = planned(
        raw_pod("p", ips=["10.0.1.7", "fd00::7"], annotations=annotations, zone="a"), raw_pod("q", "10.0.1.8")
    )
    head = cluster.sets["ivr"]
    raw = {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "DestinationSet",
        "metadata": {"name": "ivr", "namespace": "voice"},
        "spec": json.loads(json.dumps(head.spec)),
    }
    read = read_set(raw)
    assert (read.findings, read.unknown, read.skipped) == ((), (), ())
    assert read.set is not None
    assert [member.name for member in read.set.spec.members] == ["p", "q"]


def test_a_pod_may_be_a_backup():
    members = planned(
        raw_pod("p", annotations={"switchtender.dev/backup": "true"}),
        raw_pod("q", "10.0.1.8", annotations={"switchtender.dev/backup": "false"}),
    ).by_name()
    assert members["p"]["backup"] is True
    assert "backup" not in members["q"], "an older balancer is told no more than it must know"
    cluster = Cluster().add(raw_pod("p", annotations={"switchtender.dev/backup": "maybe"}))
    notes = [event.message for event in cluster.settle().events if event.reason == "BadAnnotation"]
    assert notes == ['p: annotation switchtender.dev/backup: found "maybe"; accepted: true or false']


@pytest.mark.parametrize(("known", "noted"), [("conf", False), ("ch", True)])
def test_a_resource_that_the_group_does_not_have_is_named(known: str, noted: bool):
    cluster = Cluster(group=raw_group({"capacity": {"resources": [{"name": known, "limit": 9}]}}))
    cluster.add(raw_pod("p", annotations=OVERRIDES))
    notes = [event.message for event in cluster.settle().events if event.reason == "BadAnnotation"]
    text = "p: annotation switchtender.dev/resources: no resource conf in capacity.resources"
    assert notes == ([text] if noted else [])
