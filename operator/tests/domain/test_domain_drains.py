"""Drains: their sources, what they count down to, what is told of them, and that every leader says the same."""

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from domain_worlds import NOW, Cluster, raw_group, raw_pod, report
from hypothesis import given, settings
from hypothesis import strategies as st

from switchtender_api.v1alpha1.status import BalancerGroupStatus

AT_ELEVEN = {"switchtender.dev/drain": "2026-03-01T11:00:00Z"}
BY_US = {**AT_ELEVEN, "switchtender.dev/drained-by": "autoscale"}
AT_SIX = {"switchtender.dev/drain": "2026-03-01T18:00:00Z"}
DELETED = {"deletion": "2026-03-01T14:00:00Z", "grace": 7200}
TEN, ELEVEN, NOON = (NOW.replace(hour=hour) for hour in (10, 11, 12))


def drains(*pods: dict[str, Any], cordoned: Any = None, **spec: Any) -> Cluster:
    cluster = Cluster(group=raw_group(spec), cordoned=cordoned or {}).add(*pods)
    cluster.settle()
    return cluster


def in_brief(cluster: Cluster, name: str = "p") -> tuple[str, str, str]:
    drain = cluster.by_name()[name]["drain"]
    return drain["reason"], drain["since"][11:16], drain["deadline"][11:16]


def shown(cluster: Cluster, name: str = "p") -> dict[str, Any] | None:
    status = BalancerGroupStatus.model_validate(cluster.status)
    assert status.model_dump(by_alias=True)["drainingSessions"] == cluster.status["drainingSessions"]
    return next(node.get("drain") for node in cluster.status["nodeSummaries"] if node["name"] == name)


def told(plan: Any) -> list[tuple[str, str, str]]:
    reasons = {"Draining", "Drained", "DrainExpired", "DrainCancelled"}
    return [(event.type, event.reason, event.message) for event in plan.events if event.reason in reasons]


# --- sources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod", "cordoned", "expected"),
    [
        ({"annotations": AT_ELEVEN}, {}, ("Requested", "11:00", "13:00")),
        ({"annotations": BY_US}, {}, ("ScaleIn", "11:00", "13:00")),
        ({"annotations": {**AT_ELEVEN, "switchtender.dev/drained-by": "me"}}, {}, ("Requested", "11:00", "13:00")),
        ({}, {"worker-1": TEN}, ("NodeCordoned", "10:00", "12:00")),
        ({}, {"worker-1": None}, ("NodeCordoned", "12:00", "14:00")),
        ({"annotations": AT_ELEVEN}, {"worker-1": TEN}, ("Requested", "10:00", "12:00")),
        ({"annotations": BY_US}, {"worker-1": None}, ("ScaleIn", "11:00", "13:00")),
        ({"annotations": AT_SIX}, {"worker-1": TEN}, ("NodeCordoned", "10:00", "12:00")),
        ({**DELETED, "annotations": BY_US}, {"worker-1": None}, ("Terminating", "11:00", "13:00")),
        (DELETED, {"worker-1": NOW.replace(hour=13)}, ("Terminating", "12:00", "14:00")),
        ({"deletion": "2026-03-01T12:01:00Z", "grace": 60}, {"worker-1": TEN}, ("Terminating", "10:00", "12:00")),
        (
            {"deletion": "2026-03-01T12:01:00Z", "grace": 60, "annotations": AT_ELEVEN},
            {},
            ("Terminating", "11:00", "12:01"),
        ),
    ],
)
def test_the_earliest_start_counts(pod: dict[str, Any], cordoned: Any, expected: tuple[str, str, str]):
    assert in_brief(drains(raw_pod("p", **pod), cordoned=cordoned)) == expected


def test_who_drains_says_nothing_without_a_drain():
    cluster = drains(raw_pod("p", annotations={"switchtender.dev/drained-by": "autoscale"}))
    assert cluster.by_name()["p"]["state"] == "Ready"


def test_other_kubernetes_nodes_do_not_matter():
    assert drains(raw_pod("p"), cordoned={"worker-2": TEN}).by_name()["p"]["state"] == "Ready"


def test_a_cordon_keeps_its_start_until_its_time_is_known():
    cluster = drains(raw_pod("p"), cordoned={"worker-1": None})
    assert in_brief(cluster) == ("NodeCordoned", "12:00", "14:00")
    cluster.now = NOW + timedelta(hours=1)
    assert cluster.plan().empty, "what the set says counts, not when it is looked at"
    cluster.cordoned = {"worker-1": NOON + timedelta(minutes=1)}
    cluster.settle()
    assert in_brief(cluster) == ("NodeCordoned", "12:01", "14:01")
    cluster.cordoned = {}
    cluster.settle()
    assert cluster.by_name()["p"]["state"] == "Ready"


def test_a_drain_that_begins_later_on_a_cordoned_node_changes_its_reason_then():
    cluster = Cluster(cordoned={"worker-1": TEN}).add(raw_pod("p", annotations=AT_SIX))
    cluster.settle()
    cluster.now = NOW.replace(hour=18)
    cluster.settle()
    assert in_brief(cluster) == ("Requested", "10:00", "12:00")


# --- every leader says the same -----------------------------------------------------------------------------------

FATES = st.sampled_from([{}, {}, DELETED, {"deletion": "2026-03-01T12:30:00Z"}])
WISHES = st.sampled_from([{}, {}, AT_ELEVEN, BY_US, AT_SIX])
NODES = st.sampled_from(["worker-1", "worker-2", "worker-3"])
POD = st.builds(
    lambda number, fate, annotations, node, ready: {
        **(
            pod := raw_pod(
                f"fs-{number}",
                f"10.0.1.{number + 1}",
                annotations=annotations,
                ready=ready,
                **fate,
            )
        ),
        "spec": {**pod["spec"], "nodeName": node},
    },
    st.integers(0, 4),
    FATES,
    WISHES,
    NODES,
    st.booleans(),
)
CORDONS = st.dictionaries(NODES, st.one_of(st.none(), st.sampled_from([TEN, ELEVEN, NOON])))
TIMED = st.dictionaries(NODES, st.sampled_from([TEN, ELEVEN, NOON]))
STEP = st.one_of(
    POD.map(lambda pod: ("pod", pod)),
    CORDONS.map(lambda cordons: ("cordons", cordons)),
    st.lists(st.integers(0, 4)).map(lambda paused: ("paused", paused)),
)


def happen(cluster: Cluster, step: tuple[str, Any]) -> None:
    kind, value = step
    if kind == "pod":
        cluster.add(value)
    elif kind == "cordons":
        cluster.cordoned = value
    else:
        known = cluster.by_name()
        names = {f"fs-{number}" for number in value} & set(known)
        cluster.observe({name: report(name, "draining", paused_by_us=name in names) for name in known})


@given(steps=st.lists(STEP, max_size=10), late=st.integers(0, 7200))
@settings(deadline=None, max_examples=60)
def test_a_new_leader_plans_nothing_else(steps: list[tuple[str, Any]], late: int):
    """Whatever has happened, who takes over later, from the objects alone, leaves the sets as they are."""
    cluster = Cluster(group=raw_group({"drain": {"pauseNode": True}}))
    for step in steps:
        happen(cluster, step)
        cluster.settle()
        other = replace(
            cluster,
            sets=copy.deepcopy(cluster.sets),
            status=copy.deepcopy(cluster.status),
            observation=None,
            written=None,
            now=min(cluster.now + timedelta(seconds=late), NOW.replace(hour=17)),
        )
        planned = other.plan()
        assert (planned.apply, planned.delete) == ((), ())


@given(pods=st.lists(POD, max_size=6), cordons=TIMED, data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_order_gives_the_same_drains(pods: list[Any], cordons: Any, data: st.DataObject):
    """Two that saw the same end, by different ways and at different times, write the same bytes."""
    last = {pod["metadata"]["uid"]: pod for pod in pods}
    straight = Cluster(cordoned=cordons).add(*last.values())
    straight.settle()
    other = Cluster(now=NOW + timedelta(seconds=data.draw(st.integers(0, 600))))
    for step in data.draw(st.permutations([("cordons", cordons), *(("pod", pod) for pod in pods)])):
        happen(other, step)
        if data.draw(st.booleans()):
            other.settle()
    other.pods = {}
    other.add(*last.values()).cordoned = cordons
    other.settle()
    assert {name: each.spec for name, each in other.sets.items()} == {
        name: each.spec for name, each in straight.sets.items()
    }


# --- who paused a node --------------------------------------------------------------------------------------------


def paused() -> Cluster:
    cluster = drains(raw_pod("p", annotations=AT_ELEVEN), drain={"pauseNode": True})
    cluster.observe({"p": report("p", "draining", paused_by_us=True)})
    cluster.settle()
    assert cluster.by_name()["p"]["drain"]["pausedByUs"] is True
    return cluster


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda cluster: cluster.observe({"p": report("p", "draining")}), id="balancers restarted"),
        pytest.param(lambda cluster: cluster.observe({}, instances={}), id="balancers away"),
        pytest.param(lambda cluster: cluster.add(raw_pod("p", **DELETED, annotations=AT_ELEVEN)), id="deleted"),
        pytest.param(lambda cluster: cluster.add(raw_pod("p", annotations=BY_US)), id="scaled in"),
        pytest.param(lambda cluster: cluster.edit({"drain": {"pauseNode": False}}), id="no pause any more"),
        pytest.param(lambda cluster: cluster.edit({"drain": {"pauseNode": True, "timeout": "1h"}}), id="edited"),
    ],
)
def test_the_mark_stays_while_the_node_drains(change: Any):
    cluster = paused()
    change(cluster)
    cluster.settle()
    cluster.observe({"p": report("p", "draining")})
    cluster.settle()
    assert cluster.by_name()["p"]["drain"]["pausedByUs"] is True


def test_the_mark_goes_with_the_drain():
    cluster = paused()
    cluster.add(raw_pod("p"))
    cluster.settle()
    cluster.observe({"p": report("p")})
    cluster.add(raw_pod("p", annotations=AT_ELEVEN))
    cluster.settle()
    assert "pausedByUs" not in cluster.by_name()["p"]["drain"]


def test_a_new_pod_of_the_same_name_was_not_paused_by_us():
    cluster = paused()
    del cluster.pods["uid-p"]
    cluster.add(raw_pod("p", uid="another", annotations=AT_ELEVEN))
    cluster.settle()
    assert "pausedByUs" not in cluster.by_name()["p"]["drain"]


# --- counting down ------------------------------------------------------------------------------------------------

PAUSED_AT = NOW - timedelta(minutes=30)


def counting(**spec: Any) -> Cluster:
    """A node that drains since eleven until one, with ten sessions, beside one that does not."""
    cluster = drains(raw_pod("p", annotations=AT_ELEVEN), raw_pod("q", "10.0.1.8"), **spec)
    cluster.observe({"p": report("p", "draining"), "q": report("q")})
    cluster.settle()
    return cluster


def test_the_status_counts_down():
    cluster = counting()
    assert shown(cluster) == {
        "since": "2026-03-01T11:00:00Z",
        "deadline": "2026-03-01T13:00:00Z",
        "drained": False,
        "expired": False,
    }
    assert shown(cluster, "q") is None
    assert (cluster.status["drainingSessions"], cluster.status["sessions"]) == (10, 10)
    cluster.observe({"p": report("p", "draining", sessions=9), "q": report("q")})
    planned = cluster.plan()
    assert planned.status is not None
    assert planned.status["drainingSessions"] == 9


@pytest.mark.parametrize(("remaining", "news"), [(96, False), (95, True), (0, True)])
def test_what_remains_is_news_in_steps_and_when_nothing_does(remaining: int, news: bool):
    cluster = drains(raw_pod("p", annotations=AT_ELEVEN))
    cluster.observe({"p": report("p", "draining", sessions=100)})
    cluster.settle()
    cluster.observe({"p": report("p", "draining", sessions=remaining)})
    assert (cluster.plan().status is not None) is news


@pytest.mark.parametrize(("policy", "words"), [("Hold", "they wait on"), ("Release", "they may go with their calls")])
def test_a_deadline_is_waited_for_and_told_once(policy: str, words: str):
    cluster = counting(drain={"onTimeout": policy})
    assert cluster.plan().wake_at == NOW.replace(hour=13)
    cluster.now = NOW.replace(hour=13)
    plan = cluster.settle()
    text = f"past the deadline with calls, {words} (drain.onTimeout: {policy}): p (10 sessions)"
    assert told(plan) == [("Warning", "DrainExpired", text)]
    assert shown(cluster)["expired"] is True
    assert cluster.by_name()["p"]["state"] == "Draining", "it takes no new calls after that either"
    assert cluster.plan().wake_at is None
    cluster.observe({"p": report("p", "draining", sessions=3), "q": report("q")})
    assert told(cluster.settle()) == []
    cluster.observe({"p": report("p", "draining", sessions=0), "q": report("q")})
    assert told(cluster.settle()) == [("Normal", "Drained", "no call is left on p (Requested)")]
    assert (shown(cluster)["drained"], shown(cluster)["expired"]) == (True, False)


@pytest.mark.parametrize(
    "said",
    [{"sessions": 0, "age": 90.0}, {"sessions": 0, "age": None}, {"sessions": None}, {"sessions": 0, "pending": 1.0}],
)
def test_only_a_fresh_report_of_no_sessions_and_no_call_on_its_way_says_drained(said: dict[str, Any]):
    cluster = counting()
    cluster.observe({"p": report("p", "draining", **said), "q": report("q")})
    plan = cluster.settle()
    assert told(plan) == []
    cluster.now = NOW.replace(hour=14)
    (event,) = told(cluster.settle())
    assert event[1] == "DrainExpired", "null is not zero"


def test_what_is_drained_stays_so_while_nobody_says_otherwise():
    cluster = counting()
    cluster.observe({"p": report("p", "draining", sessions=0), "q": report("q")})
    assert [event[1] for event in told(cluster.settle())] == ["Drained"]
    for silence in ({"p": report("p", "draining", sessions=0, age=99.0), "q": report("q")}, {"q": report("q")}, None):
        cluster.observe(silence or {}, **({} if silence else {"instances": {}}))
        cluster.now = NOW.replace(hour=14)
        assert told(cluster.settle()) == []
        assert shown(cluster)["drained"] is True
    cluster.observe({"p": report("p", "draining", sessions=2), "q": report("q")})
    assert [event[1] for event in told(cluster.settle())] == ["DrainExpired"]
    assert shown(cluster)["drained"] is False


def test_a_drain_begins_and_is_cancelled():
    cluster = drains(raw_pod("p"))
    cluster.add(raw_pod("p", annotations=AT_ELEVEN))
    assert told(cluster.settle()) == [("Normal", "Draining", "no new calls for p (Requested)")]
    cluster.add(raw_pod("p"))
    assert told(cluster.settle()) == [("Normal", "DrainCancelled", "no longer drained: p (Requested)")]
    assert shown(cluster) is None


def test_a_pod_that_takes_the_place_of_a_drained_one_cancels_nothing():
    cluster = counting()
    del cluster.pods["uid-p"]
    cluster.add(raw_pod("p", uid="another"))
    assert told(cluster.settle()) == []


def test_many_nodes_are_one_event():
    cluster = drains(*(raw_pod(f"fs-{n}", f"10.0.1.{n + 1}", annotations=AT_ELEVEN) for n in range(9)))
    cluster.observe({f"fs-{n}": report(f"fs-{n}", "draining", sessions=0) for n in range(9)})
    (event,) = told(cluster.settle())
    assert event[1] == "Drained"
    assert event[2].endswith("and 4 more")


def test_more_nodes_than_a_status_names_are_told_of_once():
    names = [f"fs-{n:02}" for n in range(60)]
    pods = [raw_pod(name, f"10.0.1.{n + 1}", annotations=AT_ELEVEN) for n, name in enumerate(names)]
    cluster = drains(*pods, raw_pod("z", "10.0.1.99"))
    told_of = []
    for left, elsewhere in ((9, 10), (0, 30), (0, 60), (0, 90)):
        reports = {name: report(name, "draining", sessions=0 if n else left) for n, name in enumerate(names)}
        cluster.observe(reports | {"z": report("z", sessions=elsewhere)})
        told_of += told(cluster.settle())
    assert [event[1] for event in told_of] == ["Drained", "Drained"], "at first of many, then of the one that was left"


def test_more_nodes_that_are_down_than_a_status_names_are_told_of_once():
    names = [f"fs-{n:02}" for n in range(60)]
    cluster = drains(*(raw_pod(name, f"10.0.1.{n + 1}") for n, name in enumerate((*names, "z"))))
    told_of = []
    for state, elsewhere in (("ready", 10), ("down", 30), ("down", 60), ("down", 90)):
        reports = {name: report(name, state) for name in names}
        cluster.observe(reports | {"z": report("z", sessions=elsewhere)})
        told_of += [event.reason for event in cluster.settle().events if event.reason.startswith("Node")]
    assert told_of == ["NodeDown"]


@pytest.mark.parametrize("unheard", [{"state": "ready"}, {"state": "unknown"}, {"open": True}])
def test_a_node_is_not_drained_before_every_balancer_keeps_new_calls_from_it(unheard: dict[str, Any]):
    cluster = drains(raw_pod("p"))
    cluster.observe({"p": report("p", sessions=0)})
    cluster.settle()
    cluster.add(raw_pod("p", annotations=AT_ELEVEN))
    cluster.observe({"p": report("p", **{"state": "draining", "sessions": 0, **unheard})})
    assert [event[1] for event in told(cluster.settle())] == ["Draining"]
    assert shown(cluster)["drained"] is False
    cluster.observe({"p": report("p", "draining", sessions=0)})
    assert [event[1] for event in told(cluster.settle())] == ["Drained"]


def test_nodes_that_drain_are_listed_before_all_others():
    pods = [raw_pod(f"fs-{n:02}", f"10.0.1.{n + 1}", ready=False) for n in range(60)]
    cluster = drains(*pods, raw_pod("z", "10.0.1.99", annotations=AT_ELEVEN))
    assert cluster.status["nodeSummaries"][0]["name"] == "z"


# --- a node's own will --------------------------------------------------------------------------------------------


def own_will(reason: str = "Paused", **more: Any) -> Cluster:
    cluster = drains(raw_pod("p"), raw_pod("q", "10.0.1.8"))
    cluster.observe({"p": report("p"), "q": report("q")})
    cluster.settle()
    wants(cluster, reason, **{"drain_since": PAUSED_AT, **more})
    return cluster


def wants(cluster: Cluster, reason: str, **more: Any) -> None:
    cluster.observe({"p": report("p", "draining", reason=reason, **more), "q": report("q")})


@pytest.mark.parametrize("reason", ["Paused", "ShutdownRequested", "ShuttingDown"])
def test_a_node_that_drains_of_its_own_will_counts_down_too(reason: str):
    cluster = own_will(reason)
    plan = cluster.settle()
    assert told(plan) == [("Normal", "Draining", f"no new calls for p ({reason})")]
    assert shown(cluster) == {
        "since": "2026-03-01T11:30:00Z",
        "deadline": "2026-03-01T13:30:00Z",
        "drained": False,
        "expired": False,
    }
    assert cluster.by_name()["p"]["state"] == "Ready", "its own will is no business of the sets"
    assert cluster.plan().wake_at == datetime(2026, 3, 1, 13, 30, tzinfo=UTC)
    cluster.observe({"p": report("p"), "q": report("q")})
    assert told(cluster.settle()) == [("Normal", "DrainCancelled", f"no longer drained: p ({reason})")]


def test_its_start_is_not_set_back_by_balancers_that_were_away():
    cluster = own_will()
    cluster.settle()
    wants(cluster, "Paused", drain_since=NOW)
    assert told(cluster.settle()) == []
    assert shown(cluster)["since"] == "2026-03-01T11:30:00Z"
    cluster.observe({}, instances={})
    cluster.settle()
    assert shown(cluster)["since"] == "2026-03-01T11:30:00Z"
    wants(cluster, "ShuttingDown", drain_since=NOW)
    cluster.settle()
    assert shown(cluster)["since"] == "2026-03-01T11:30:00Z"


def test_a_balancer_that_does_not_say_since_when_still_says_so():
    cluster = own_will(drain_since=None)
    cluster.settle()
    assert shown(cluster) is None
    assert cluster.status["draining"] == 1


def test_a_node_that_we_paused_has_no_will_of_its_own():
    cluster = paused()
    cluster.add(raw_pod("p"))
    cluster.settle()
    cluster.observe({"p": report("p", "draining", reason="Paused", drain_since=NOW, paused_by_us=True)})
    assert told(cluster.settle()) == []
    assert shown(cluster) is None


def test_a_node_that_paused_itself_before_it_was_drained_counts_from_then():
    cluster = own_will()
    cluster.settle()
    cluster.add(raw_pod("p", annotations={"switchtender.dev/drain": "2026-03-01T11:45:00.5Z"}))
    cluster.settle()
    assert in_brief(cluster) == ("Requested", "11:45", "13:45")
    for reported in ({"p": report("p", "draining", reason="Draining", drain_since=PAUSED_AT)}, None):
        cluster.observe(reported or {}, **({} if reported else {"instances": {}}))
        cluster.settle()
        drain = shown(cluster)
        assert (drain["since"], drain["deadline"]) == ("2026-03-01T11:30:00Z", "2026-03-01T13:30:00Z")
    wants(cluster, "Draining", drain_since=datetime(2026, 3, 1, 11, 45, tzinfo=UTC))
    cluster.settle()
    assert shown(cluster)["since"] == "2026-03-01T11:45:00.500000Z", "told to the second, and no other drain"
