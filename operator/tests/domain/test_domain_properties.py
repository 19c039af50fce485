"""Whatever happens to a group, in whatever order: the same sets, nothing twice, nothing moved, nothing lost."""

from dataclasses import replace
from typing import Any

from domain_worlds import SELECTOR, SETTINGS, Cluster, raw_group, raw_pod, report
from hypothesis import given, settings
from hypothesis import strategies as st

from switchtender_api.objects import read_set
from switchtender_api.v1alpha1.status import BalancerGroupStatus

NAMES = [f"fs-{n}" for n in range(6)]
STATIC = [{"name": f"old-{n}", "sip": f"sip:192.0.2.{n + 1}", "load": f"fs://192.0.2.{n + 1}"} for n in range(2)]

SPECS: list[dict[str, Any]] = [
    {},
    {"sip": {"port": 5080}, "capacity": {"maxSessions": 50}},
    {"members": {**SELECTOR, "static": STATIC}},
    {"members": {"static": STATIC[:1]}},
    {"sip": {"addressFrom": {"type": "HostIP"}}},
    {"drain": {"pauseNode": True}},
    {"esl": {"passwordFrom": {"env": "A"}}},
    {"balancer": "edge"},
    {"members": {}},
]

PODS = st.builds(
    lambda name, ready, fate, annotation: raw_pod(
        name,
        # Addresses are of few, so that pods come to share one.
        f"10.0.1.{NAMES.index(name) % 5 + 1}",
        ready=ready,
        host=f"192.168.1.{NAMES.index(name) + 1}",
        annotations=annotation,
        **fate,
    ),
    st.sampled_from(NAMES),
    st.booleans(),
    st.sampled_from(
        [{}, {}, {"deletion": "2026-03-01T12:30:00Z"}, {"phase": "Failed"}, {"ips": []}, {"ips": ["127.0.0.1"]}]
    ),
    st.sampled_from(
        [
            {},
            {},
            {"switchtender.dev/weight": "7"},
            {"switchtender.dev/weight": "x"},
            {"switchtender.dev/drain": "2026-03-01T11:00:00Z"},
            {"switchtender.dev/drain": "2026-03-01T18:00:00Z"},
        ]
    ),
)
CHANGES = st.one_of(
    PODS.map(lambda pod: ("pod", pod)),
    st.sampled_from(NAMES).map(lambda name: ("gone", name)),
    st.sampled_from(SPECS).map(lambda spec: ("edit", spec)),
)
HISTORIES = st.lists(CHANGES, max_size=12)


def happen(cluster: Cluster, change: tuple[str, Any]) -> None:
    kind, value = change
    if kind == "pod":
        cluster.add(value)
    elif kind == "gone":
        cluster.pods.pop(f"uid-{value}", None)
    else:
        cluster.edit(value)


def small(most: int = 2, **more: Any) -> Cluster:
    return Cluster(settings=replace(SETTINGS, members_per_slice=most), **more)


@given(pods=st.lists(PODS, max_size=10), spec=st.sampled_from(SPECS[:5]), data=st.data())
@settings(deadline=None, max_examples=50)
def test_any_order_of_the_same_events_gives_the_same_sets(pods: list[Any], spec: dict[str, Any], data: st.DataObject):
    """The last word on each pod decides. Where endpoints are shared, who stands stays, so those are kept apart here."""
    last = {pod["metadata"]["uid"]: pod for pod in pods if not pod["metadata"]["name"].endswith("5")}
    straight, shuffled = Cluster(group=raw_group(spec)), Cluster(group=raw_group(spec))
    straight.add(*last.values()).settle()
    events: list[Any] = [("pod", pod) for pod in last.values()]
    noise = data.draw(st.lists(CHANGES.filter(lambda change: change[0] != "edit"), max_size=6))
    for change in [*noise, *data.draw(st.permutations(events))]:
        happen(shuffled, change)
        if data.draw(st.booleans()):
            shuffled.settle()
    for uid in set(shuffled.pods) - set(last):
        del shuffled.pods[uid]
    shuffled.settle()
    assert {name: each.spec for name, each in shuffled.sets.items()} == {
        name: each.spec for name, each in straight.sets.items()
    }


@given(history=HISTORIES, defaulting=st.booleans(), most=st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_an_applied_plan_plans_nothing_and_every_set_is_sound(
    history: list[tuple[str, Any]], defaulting: bool, most: int
):
    cluster = small(most, defaulting=defaulting)
    for change in history:
        happen(cluster, change)
        cluster.settle()  # which checks the fixpoint
        assert cluster.plan().empty
        members = cluster.members()  # which checks that none stands twice
        assert all(len(each.spec["members"]) <= most for each in cluster.sets.values())
        assert all(("policy" in each.spec) == (name == "ivr") for name, each in cluster.sets.items())
        endpoints = [member["esl"]["host"] for member in members.values() if member.get("esl")]
        assert len(endpoints) == len(set(endpoints))
        for name, each in cluster.sets.items():
            read = read_set(
                {
                    "apiVersion": "switchtender.dev/v1alpha1",
                    "kind": "DestinationSet",
                    "metadata": {"name": name, "namespace": "voice"},
                    "spec": each.spec,
                }
            )
            assert read.set is not None
            assert not read.findings


@given(history=HISTORIES, most=st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_no_member_moves_between_slices(history: list[tuple[str, Any]], most: int):
    cluster = small(most)
    before: dict[str, str] = {}
    for change in history:
        happen(cluster, change)
        cluster.settle()
        after = {member["uid"]: name for name, each in cluster.sets.items() for member in each.spec["members"]}
        assert all(after[uid] == name for uid, name in before.items() if uid in after)
        before = after


@given(history=HISTORIES, later=HISTORIES)
@settings(deadline=None, max_examples=50)
def test_no_pod_leaves_while_pods_are_not_known(history: list[tuple[str, Any]], later: list[tuple[str, Any]]):
    cluster = small()
    for change in history:
        happen(cluster, change)
    cluster.settle()
    cluster.pods_known = False
    for change in later:
        followed = {uid for uid in cluster.members() if "/" not in uid}
        happen(cluster, change)
        cluster.settle()
        now = {uid for uid in cluster.members() if "/" not in uid}
        spec = cluster.sets["ivr"].annotations if "ivr" in cluster.sets else {}
        assert now == (followed if "switchtender.dev/selector" in spec else set())


@given(history=HISTORIES, states=st.lists(st.sampled_from(["ready", "full", "stale", "down", "draining", "unknown"])))
@settings(deadline=None, max_examples=50)
def test_counts_are_consistent(history: list[tuple[str, Any]], states: list[str]):
    cluster = small()
    for change in history:
        happen(cluster, change)
    cluster.settle()
    names = cluster.by_name()
    cluster.observe({name: report(name, state) for name, state in zip(names, states, strict=False)})
    cluster.settle()
    status = BalancerGroupStatus.model_validate(cluster.status)
    assert status.nodes == len(names) == len(status.node_summaries)
    assert status.ready == sum(node.state in ("ready", "full") for node in status.node_summaries)
    assert status.draining == sum(node.state == "draining" for node in status.node_summaries)
    assert status.ready + status.draining <= status.nodes
    assert status.sessions == 10 * status.ready
    assert status.capacity == 100 * status.ready
    assert 0 <= status.utilization <= 100
    assert status.observed_generation == cluster.group["metadata"]["generation"]


@given(history=HISTORIES)
@settings(deadline=None, max_examples=50)
def test_a_crash_between_two_writes_heals(history: list[tuple[str, Any]]):
    """Each plan is written only in part; the next whole one makes the same members as if nothing had happened."""
    whole, broken = small(), small()
    for change in history:
        if change[0] == "pod" and change[1]["metadata"]["name"] == "fs-5":
            continue  # it shares an address, and of two that do the one that stands already stays
        happen(whole, change)
        happen(broken, change)
        whole.settle()
        planned = broken.plan()
        broken.take(replace(planned, apply=planned.apply[1:], delete=(), status=None))
    for cluster in (whole, broken):
        cluster.edit({})  # one that is accepted
        cluster.settle()
    assert broken.members() == whole.members()
