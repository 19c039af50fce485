"""Status and conditions: what they say, when they are written, what becomes an Event."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from domain_worlds import NOW, SELECTOR, Cluster, config, raw_group, raw_pod, report

from switchtender_api.status import REASONS
from switchtender_api.v1alpha1.status import BalancerGroupStatus
from switchtender_operator.domain.plan import Plan
from switchtender_operator.domain.world import BalancersSeen, Observation, SetVersion


def running(count: int = 2, **spec: Any) -> Cluster:
    """A group whose pods are written; balancers have not been asked."""
    cluster = Cluster(group=raw_group(spec)).add(*(raw_pod(f"fs-{n}", f"10.0.1.{n + 1}") for n in range(count)))
    cluster.settle()
    return cluster


def observed(count: int = 2, **spec: Any) -> Cluster:
    cluster = running(count, **spec)
    cluster.observe({f"fs-{n}": report(f"fs-{n}") for n in range(count)})
    cluster.settle()
    return cluster


def conditions(cluster: Cluster) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in cluster.status["conditions"]}


def told(plan: Plan) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for event in plan.events]


def test_a_group_that_runs():
    cluster = observed()
    status = BalancerGroupStatus.model_validate(cluster.status)
    assert conditions(cluster) == {
        "Accepted": ("True", "Accepted"),
        "Programmed": ("True", "Programmed"),
        "Ready": ("True", "Ready"),
        "StatsFresh": ("True", "Fresh"),
        "CapacityAvailable": ("True", "Available"),
    }
    assert (status.observed_generation, status.nodes, status.ready, status.draining) == (1, 2, 2, 0)
    assert (status.sessions, status.capacity, status.utilization) == (20, 200, 10)
    assert [node.model_dump(exclude_none=True) for node in status.node_summaries] == [
        {"name": f"fs-{n}", "state": "ready", "reason": "", "sessions": 10, "capacity": 100} for n in range(2)
    ]
    assert not status.truncated


def test_every_reason_is_a_documented_one():
    cluster = running()
    seen = set()
    for state in ("ready", "full", "stale", "down", "unknown", "draining"):
        cluster.observe({"fs-0": report("fs-0", state), "fs-1": report("fs-1", state)})
        cluster.settle()
        seen |= {(kind, reason) for kind, (_, reason) in conditions(cluster).items()}
    assert all(reason in REASONS[kind] for kind, reason in seen)
    assert len(seen) > 7


def test_a_new_group_before_balancers_have_been_asked():
    cluster = running()
    assert conditions(cluster) == {
        "Accepted": ("True", "Accepted"),
        "Programmed": ("Unknown", "Pending"),
        "Ready": ("False", "NoReadyMembers"),
        "StatsFresh": ("Unknown", "NoBalancers"),
        "CapacityAvailable": ("Unknown", "Unknown"),
    }
    assert [node["state"] for node in cluster.status["nodeSummaries"]] == ["unknown", "unknown"]


def test_full_draining_and_lost_nodes():
    cluster = Cluster().add(
        raw_pod("fs-0", "10.0.1.1"),
        raw_pod("fs-1", "10.0.1.2"),
        raw_pod("fs-2", "10.0.1.3", deletion="2026-03-01T12:00:30Z"),
        raw_pod("fs-3", "10.0.1.4", ready=False),
        raw_pod("fs-4", "10.0.1.5"),
        raw_pod("fs-5", "10.0.1.6"),
    )
    cluster.settle()
    cluster.observe(
        {
            "fs-0": report("fs-0", sessions=40),
            "fs-1": report("fs-1", "full", reason="NoRoom", sessions=100),
            "fs-2": report("fs-2", "draining", sessions=70),
            "fs-3": report("fs-3", sessions=3),
            "fs-4": report("fs-4", "draining", reason="Paused", sessions=5),
        }
    )
    cluster.settle()
    status = cluster.status
    assert (status["nodes"], status["ready"], status["draining"]) == (6, 2, 2)
    assert (status["sessions"], status["capacity"], status["utilization"]) == (140, 200, 70)
    assert [(node["name"], node["state"], node["reason"]) for node in status["nodeSummaries"]] == [
        ("fs-2", "draining", "Terminating"),
        ("fs-4", "draining", "Paused"),
        ("fs-3", "down", "PodNotReady"),
        ("fs-5", "unknown", "NoReportYet"),
        ("fs-0", "ready", ""),
        ("fs-1", "full", "NoRoom"),
    ]
    assert cluster.message("Ready") == "2 of 6 nodes take calls"


def test_nodes_in_trouble_come_first_and_the_list_is_bounded():
    cluster = observed(60)
    assert len(cluster.status["nodeSummaries"]) == 50
    assert cluster.status["truncated"] is True
    cluster.observe({f"fs-{n}": report(f"fs-{n}", "down" if n == 59 else "ready") for n in range(60)})
    cluster.settle()
    assert cluster.status["nodeSummaries"][0]["name"] == "fs-59"
    assert (cluster.status["nodes"], cluster.status["ready"]) == (60, 59)


# --- Programmed ------------------------------------------------------------------------------------------------------


def test_programmed_waits_for_every_balancer_that_answers():
    cluster = running()
    behind = cluster.seen(generation=None, sets={})
    cluster.observe({}, instances={"a": cluster.seen(), "b": behind})
    cluster.settle()
    assert conditions(cluster)["Programmed"] == ("False", "Pending")
    assert cluster.message("Programmed") == "1 of 2 balancers act on generation 1"
    cluster.observe({}, instances={"a": cluster.seen(), "b": cluster.seen()})
    cluster.settle()
    assert conditions(cluster)["Programmed"] == ("True", "Programmed")


def test_balancers_that_do_not_answer_are_not_waited_for_and_named():
    cluster = running()
    cluster.observe({}, total=3, instances={"a": cluster.seen()})
    cluster.settle()
    assert conditions(cluster)["Programmed"] == ("True", "Programmed")
    assert "the 1 of 3 that answer" in cluster.message("Programmed")


@pytest.mark.parametrize(("total", "status"), [(0, "False"), (2, "Unknown")])
def test_no_balancer_at_all(total: int, status: str):
    cluster = running()
    cluster.observe({}, total=total, instances={})
    plan = cluster.settle()
    assert conditions(cluster)["Programmed"] == (status, "NoBalancers")
    assert conditions(cluster)["StatsFresh"] == ("False", "NoBalancers")
    assert ("Warning", "NoBalancers") in told(plan)


def test_a_balancer_that_refuses():
    cluster = running()
    cluster.observe({}, instances={"a": cluster.seen(), "b": cluster.seen(rejected="no Secret esl", generation=0)})
    plan = cluster.settle()
    assert conditions(cluster)["Programmed"] == ("False", "Rejected")
    assert cluster.message("Programmed") == "no Secret esl"
    assert ("Warning", "Rejected") in told(plan)


def test_a_set_made_anew_is_another_version():
    cluster = observed()
    stale = cluster.seen(sets={"ivr": SetVersion("another", 99)})
    cluster.observe({}, instances={"a": stale})
    cluster.now += timedelta(hours=1)
    cluster.settle()
    assert conditions(cluster)["Programmed"] == ("False", "Pending")
    assert cluster.message("Programmed") == "0 of 1 balancers act on the nodes as they are now"


def test_balancers_a_moment_behind_with_members_do_not_flip_it():
    cluster = observed()
    since = cluster.status["conditions"][1]["lastTransitionTime"]
    behind = cluster.seen()
    cluster.add(raw_pod("fs-9", "10.0.1.99"))
    plan = cluster.plan()
    cluster.take(plan)
    changed = cluster.now
    cluster.observe({"fs-0": report("fs-0"), "fs-1": report("fs-1")}, instances={"a": behind})
    cluster.now += timedelta(seconds=1)
    plan = cluster.plan()
    assert plan.status is None or conditions(cluster)["Programmed"] == ("True", "Programmed")
    assert plan.wake_at == changed + cluster.settings.programmed_grace
    cluster.now = plan.wake_at
    cluster.settle()
    assert conditions(cluster)["Programmed"] == ("False", "Pending")
    assert cluster.status["conditions"][1]["lastTransitionTime"] != since


def test_an_edit_is_pending_at_once():
    cluster = observed()
    behind = cluster.seen()
    cluster.edit({"capacity": {"maxSessions": 9}})
    cluster.observe({"fs-0": report("fs-0"), "fs-1": report("fs-1")}, instances={"a": behind})
    cluster.observation = replace(
        cluster.observation,
        balancers=BalancersSeen(total=1, instances={"a": replace(behind, generation=1)}),
    )
    cluster.settle()
    assert conditions(cluster)["Programmed"] == ("False", "Pending")
    assert cluster.message("Programmed") == "0 of 1 balancers act on generation 2"


# --- StatsFresh, CapacityAvailable, Ready ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reports", "expected"),
    [
        ({}, [report("fs-0"), report("fs-1", "stale")], ("False", "Stale")),
        ({}, [report("fs-0"), report("fs-1", "down")], ("False", "Stale")),
        ({}, [report("fs-0"), report("fs-1", "unknown", age=None)], ("True", "Fresh")),
        ({}, [report("fs-0"), report("fs-1", age=7.0)], ("True", "Fresh")),
        ({"health": {"staleAfter": "5s"}}, [report("fs-0"), report("fs-1", age=7.0)], ("False", "Stale")),
        ({"esl": {}}, [report("fs-0", age=None), report("fs-1", age=None)], ("Unknown", "NoMembers")),
    ],
)
def test_stats_fresh(spec: dict[str, Any], reports: list[Any], expected: tuple[str, str]):
    cluster = running(**spec)
    cluster.observe({each.name: each for each in reports})
    cluster.settle()
    assert conditions(cluster)["StatsFresh"] == expected
    if expected[1] == "Stale":
        assert "fs-1" in cluster.message("StatsFresh")


def test_a_draining_node_need_not_report():
    cluster = running()
    cluster.add(raw_pod("fs-1", "10.0.1.2", deletion="2026-03-01T14:00:00Z", grace=7200))
    cluster.settle()
    cluster.observe({"fs-0": report("fs-0"), "fs-1": report("fs-1", "stale")})
    cluster.settle()
    assert conditions(cluster)["StatsFresh"] == ("True", "Fresh")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("ready", "full"), ("True", "Available")),
        (("full", "full"), ("False", "Exhausted")),
        (("full", "down"), ("False", "Exhausted")),
        (("unknown", "down"), ("Unknown", "Unknown")),
    ],
)
def test_capacity_available(states: tuple[str, str], expected: tuple[str, str]):
    cluster = running()
    cluster.observe({f"fs-{n}": report(f"fs-{n}", state) for n, state in enumerate(states)})
    cluster.settle()
    assert conditions(cluster)["CapacityAvailable"] == expected


def test_a_group_without_nodes():
    cluster = Cluster()
    cluster.settle()
    assert conditions(cluster)["Ready"] == ("False", "NoMembers")
    assert cluster.sets["ivr"].spec["members"] == []


def test_while_no_balancer_answers_the_load_stays_as_it_was():
    cluster = observed(3)
    before = cluster.status
    del cluster.pods["uid-fs-2"]
    cluster.observation = Observation(at=cluster.now, balancers=BalancersSeen(total=2))
    cluster.settle()
    assert {field: cluster.status[field] for field in ("sessions", "capacity", "utilization")} == {
        field: before[field] for field in ("sessions", "capacity", "utilization")
    }
    assert (cluster.status["nodes"], cluster.status["ready"]) == (2, 2)
    assert [node["state"] for node in cluster.status["nodeSummaries"]] == ["ready", "ready"]


def test_a_start_of_the_operator_flips_nothing():
    cluster = observed()
    before = cluster.status
    cluster.observation, cluster.written = None, None
    plan = cluster.plan()
    assert plan.status is None
    assert not plan.events
    assert cluster.status == before


# --- NodeSideUnreachable ---------------------------------------------------------------------------------------------

STATIC = {"members": {**SELECTOR, "static": [{"name": "fs-old", "sip": "sip:192.0.2.20", "load": "fs://192.0.2.20"}]}}
SERVICE = {"networks": ["0.0.0.0/0"], "service": "st-nodes"}
HOST = {"networks": ["192.0.2.0/24"], "host": "203.0.113.1"}


@pytest.mark.parametrize(
    ("advertise", "unreachable"),
    [
        ([], False),
        ([SERVICE], True),
        ([HOST, SERVICE], False),
        ([SERVICE, HOST], True),
        ([{"networks": ["10.0.0.0/8"], "host": "10.0.0.1"}], True),
        ([{"host": "203.0.113.1"}], False),
    ],
)
def test_nodes_outside_the_cluster_need_an_address_of_ours(advertise: list[Any], unreachable: bool):
    cluster = Cluster(group=raw_group(STATIC), balancers={"default": config(nodeSide={"advertise": advertise})})
    plan = cluster.add(raw_pod("p")).settle()
    assert conditions(cluster).get("NodeSideUnreachable") == (("True", "NoAdvertisedAddress") if unreachable else None)
    assert (("Warning", "NoAdvertisedAddress") in told(plan)) is unreachable
    if unreachable:
        assert "fs-old" in cluster.message("NodeSideUnreachable")
        assert ": p" not in cluster.message("NodeSideUnreachable")
        cluster.balancers = {"default": config(nodeSide={"advertise": [HOST, SERVICE]})}
        cluster.settle()
        assert "NodeSideUnreachable" not in conditions(cluster)


# --- when it is written ----------------------------------------------------------------------------------------------


def test_an_unchanged_world_writes_nothing():
    cluster = observed()
    for later in (timedelta(0), timedelta(hours=9)):
        cluster.now += later
        plan = cluster.plan()
        assert plan.empty
        assert plan.wake_at is None


@pytest.mark.parametrize(
    ("sessions", "written"), [(10, False), (14, False), (19, False), (20, True), (0, True), (90, True)]
)
def test_load_is_written_by_steps_of_five_percent(sessions: int, written: bool):
    cluster = observed()
    cluster.now += timedelta(minutes=1)
    cluster.observe({"fs-0": report("fs-0", sessions=sessions), "fs-1": report("fs-1", sessions=10 if sessions else 0)})
    plan = cluster.plan()
    assert (plan.status is not None) is written
    assert not plan.events


def test_the_first_call_and_the_last_are_written():
    cluster = running()
    for sessions in (0, 1, 0):
        cluster.now += timedelta(minutes=1)
        cluster.observe({"fs-0": report("fs-0", sessions=sessions), "fs-1": report("fs-1", sessions=0)})
        cluster.take(cluster.plan())
        assert cluster.status["sessions"] == sessions


def test_it_is_written_at_most_once_in_ten_seconds():
    cluster = observed()
    cluster.now = NOW + timedelta(hours=1)
    cluster.observe({"fs-0": report("fs-0", "full"), "fs-1": report("fs-1")})
    cluster.take(cluster.plan())
    first = cluster.now
    cluster.now += timedelta(seconds=4)
    cluster.observe({"fs-0": report("fs-0", "down"), "fs-1": report("fs-1", "full")})
    plan = cluster.plan()
    assert plan.empty, "neither the status nor the Event before its time"
    assert plan.wake_at == first + timedelta(seconds=10)
    cluster.now = plan.wake_at
    plan = cluster.plan()
    assert plan.status is not None
    assert ("Warning", "Exhausted") in told(plan)


def test_an_edit_is_answered_at_once():
    cluster = observed()
    cluster.now = cluster.written = NOW + timedelta(hours=1)
    cluster.edit({"esl": {"passwordFrom": {"env": "A"}}})
    plan = cluster.plan()
    assert plan.status is not None
    assert plan.status["observedGeneration"] == 2


def test_a_condition_keeps_the_time_of_its_last_transition():
    cluster = observed()
    before = {each["type"]: each["lastTransitionTime"] for each in cluster.status["conditions"]}
    cluster.now = NOW + timedelta(hours=1)
    cluster.observe({"fs-0": report("fs-0", "full"), "fs-1": report("fs-1", "full")})
    cluster.settle()
    after = {each["type"]: each["lastTransitionTime"] for each in cluster.status["conditions"]}
    assert after["CapacityAvailable"] == "2026-03-01T13:00:00Z"
    assert {kind for kind in after if after[kind] != before[kind]} == {"CapacityAvailable"}


def test_a_status_of_another_version_does_not_disturb():
    cluster = observed()
    cluster.status["conditions"].append({"type": "Novel", "status": "True", "reason": "New", "message": ""})
    cluster.status["novelty"] = 7
    assert cluster.plan().empty
    cluster.status = {"conditions": "none", "nodeSummaries": 7, "sessions": "many"}
    assert cluster.plan().status is not None


# --- Events ----------------------------------------------------------------------------------------------------------


def test_events_of_a_life():
    cluster = Cluster().add(raw_pod("fs-0", "10.0.1.1"))
    assert told(cluster.settle()) == [("Normal", "Accepted"), ("Warning", "NoReadyMembers")]
    cluster.observe({"fs-0": report("fs-0")})
    assert told(cluster.settle()) == [("Normal", "Ready")]
    cluster.observe({"fs-0": report("fs-0", "stale")})
    assert told(cluster.settle()) == [("Warning", "NoReadyMembers"), ("Warning", "Stale"), ("Warning", "NodeStale")]
    cluster.observe({"fs-0": report("fs-0")})
    assert told(cluster.settle()) == [("Normal", "Ready"), ("Normal", "Fresh"), ("Normal", "NodeReady")]
    cluster.add(raw_pod("fs-0", "10.0.1.1", deletion="2026-03-01T12:30:00Z"))
    plan = cluster.settle()
    assert told(plan) == [("Normal", "Draining"), ("Warning", "NoReadyMembers")]
    assert plan.events[0].message == "no new calls for fs-0 (Terminating)"


def test_many_drains_are_one_event():
    cluster = running(9)
    for n in range(9):
        cluster.add(raw_pod(f"fs-{n}", f"10.0.1.{n + 1}", deletion="2026-03-01T12:30:00Z"))
    events = [event.message for event in cluster.settle().events if event.reason == "Draining"]
    assert len(events) == 1
    assert events[0].endswith("and 4 more")


def test_more_remarks_than_a_message_holds():
    cluster = Cluster(group=raw_group({"sip": {"addressFrom": {"type": "Annotation", "name": "example.com/sip"}}}))
    cluster.add(*(raw_pod(f"fs-{n:02}", f"10.0.1.{n + 1}") for n in range(15)))
    plan = cluster.settle()
    assert sum(event.reason == "NodeLeftOut" for event in plan.events) == 10
    assert cluster.message("Ready").endswith("; and 5 more")
    assert cluster.message("Ready").startswith("no node; fs-00: ")


def test_a_remark_is_an_event_once_though_the_status_is_written_again():
    cluster = Cluster().add(raw_pod("fs-0", "10.0.1.1", annotations={"switchtender.dev/weight": "x"}))
    assert ("Warning", "BadAnnotation") in told(cluster.settle())
    cluster.add(raw_pod("fs-1", "10.0.1.2"))
    plan = cluster.settle()
    assert plan.status is not None
    assert ("Warning", "BadAnnotation") not in told(plan)


def test_a_balancer_that_acts_on_a_former_group_of_the_name_is_not_there_yet():
    cluster = observed()
    cluster.observe({}, instances={"a": cluster.seen(group_uid="former", generation=99)})
    cluster.settle()
    assert conditions(cluster)["Programmed"] == ("False", "Pending")


def test_a_group_not_programmed_yet_waits_for_its_nodes_too():
    cluster = running()
    cluster.observe({}, instances={"a": cluster.seen(sets={})})
    cluster.take(cluster.plan())
    assert conditions(cluster)["Programmed"] == ("False", "Pending")


def test_room_on_a_node_whose_pod_is_not_ready_is_no_room():
    cluster = Cluster().add(raw_pod("fs-0", "10.0.1.1"), raw_pod("fs-1", "10.0.1.2", ready=False))
    cluster.settle()
    cluster.observe({"fs-0": report("fs-0", "full"), "fs-1": report("fs-1", "ready")})
    cluster.settle()
    assert conditions(cluster)["CapacityAvailable"] == ("False", "Exhausted")


def test_what_came_from_the_pod_is_not_remembered_without_balancers():
    cluster = Cluster().add(raw_pod("fs-0", "10.0.1.1", ready=False))
    cluster.settle()
    assert cluster.status["nodeSummaries"][0]["reason"] == "PodNotReady"
    cluster.add(raw_pod("fs-0", "10.0.1.1"))
    cluster.settle()
    assert cluster.status["nodeSummaries"][0]["state"] == "unknown"


@pytest.mark.parametrize(
    ("annotations", "sip"),
    [
        ({"switchtender.dev/resources": f'[{{"{"k" * 60_000}": 1}}]'}, {}),
        ({"switchtender.dev/resources": '[{"name": "\\ud800"}]'}, {}),
        ({"example.com/ip": "x" * 60_000}, {"addressFrom": {"type": "Annotation", "name": "example.com/ip"}}),
    ],
)
def test_whatever_annotations_hold_the_status_can_be_written(annotations: dict[str, str], sip: dict[str, Any]):
    pods = [raw_pod(f"fs-{n}", f"10.0.1.{n + 1}", annotations=annotations) for n in range(15)]
    cluster = Cluster(group=raw_group({"sip": sip})).add(*pods)
    planned = cluster.settle()
    assert planned.events
    assert all(event.message.encode() for event in planned.events)
    assert cluster.message("Ready").encode()
    BalancerGroupStatus.model_validate(cluster.status)


def test_a_message_is_as_long_as_the_api_server_takes():
    names = [f"{n:063}" for n in range(1000)]
    cluster = Cluster(balancers={"default": config(groups={"namespaces": names})}).add(raw_pod("fs-0"))
    cluster.settle()
    assert cluster.condition("Accepted") == ("False", "NamespaceNotAllowed")
    BalancerGroupStatus.model_validate(cluster.status)


def test_a_clock_that_is_set_back_holds_nothing_up():
    cluster = observed()
    cluster.now -= timedelta(days=1)
    cluster.observe({f"fs-{n}": report(f"fs-{n}", "full") for n in range(2)}, instances={"a": cluster.seen(sets={})})
    planned = cluster.plan()
    assert planned.status is not None
    cluster.take(planned)
    assert conditions(cluster)["CapacityAvailable"] == ("False", "Exhausted")
    assert conditions(cluster)["Programmed"] == ("False", "Pending")
    cluster.observe({f"fs-{n}": report(f"fs-{n}") for n in range(2)})
    planned = cluster.plan()
    assert planned.status is None
    assert planned.wake_at == cluster.now + timedelta(seconds=10)


@pytest.mark.parametrize(
    "said",
    [
        {"capacity": math.inf, "sessions": 10**20},
        {"capacity": math.nan, "sessions": None, "effective": math.nan},
        {"capacity": -math.inf, "sessions": -1, "effective": -math.inf},
        {"state": "Resting" * 50, "reason": "x" * 500},
    ],
)
def test_whatever_a_balancer_says_the_status_can_be_written(said: dict[str, Any]):
    cluster = running()
    cluster.observe({"fs-0": report("fs-0", **said), "fs-1": report("fs-1")})
    cluster.settle()
    status = BalancerGroupStatus.model_validate(cluster.status)
    assert {node.name: node.sessions for node in status.node_summaries}["fs-1"] == 10


@pytest.mark.parametrize("told", [{}, {"status": "Maybe"}, {"status": "True", "reason": {}}, {"status": []}])
def test_a_malformed_condition_does_not_disturb(told: dict[str, Any]):
    cluster = observed()
    kept = [{"type": "Programmed", "reason": "Programmed", "observedGeneration": 1, **told}]
    nodes = [{"name": "fs-0", "state": "ready", "reason": []}]
    cluster.status, cluster.observation = {**cluster.status, "conditions": kept, "nodeSummaries": nodes}, None
    cluster.settle()
    assert cluster.condition("Programmed") == ("Unknown", "Pending")
