"""What holds of every decision of autoscaling, whatever the world and the history; and how it ends in a closed loop."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scale_cluster import CAPACITY, Cluster
from scale_worlds import NOW, after_a_window, node, world

from switchtender_operator.domain.autoscale import (
    LOWEST_COST,
    ScaleDecision,
    ScaleHistory,
    ScaleNode,
    ScaleWorld,
    decide,
)

EXAMPLES = 60
STATES = ("unknown", "ready", "ready", "ready", "full", "draining", "stale", "down")


def may_be_lost(seen: ScaleNode, on_timeout: str) -> bool:
    """Whether nobody minds this pod's end: autoscaling drains it, and it is empty and closed, never was ready, or
    released.
    """
    if not (seen.drained_by_us and seen.draining):
        return False
    empty = seen.sessions == 0 and not seen.open and seen.age is not None and seen.age <= 10
    return seen.pending or empty or (seen.expired and on_timeout == "Release")


def next_to_go(seen: ScaleWorld) -> list[ScaleNode]:
    """The pods of which Kubernetes may remove one if the replicas go down by one, by its sources."""
    alive = [each for each in seen.nodes if not each.terminating]
    if seen.target.ordinal:
        return [max(alive, key=lambda each: int(each.name.rsplit("-", 1)[1]))]
    unscheduled = [each for each in alive if each.pending]
    if unscheduled:
        return unscheduled
    line = [each for each in alive if not each.ready] or alive
    lowest = min(each.cost or 0 for each in line)
    return [each for each in line if (each.cost or 0) == lowest]


@st.composite
def nodes(draw: st.DrawFn, number: int, *, calm: bool) -> ScaleNode:
    """A node; a calm one serves or is drained, and its report is fresh."""
    kind = draw(st.sampled_from(["serving", "serving", "gone", "draining"] + ["any", "any"] * (not calm)))
    since = NOW - timedelta(seconds=draw(st.sampled_from([1, 60, 3600])))
    plain = node(f"fs-{number}", draw(st.sampled_from([0, 1, 9, 40, 120])), cost=draw(st.sampled_from([None, 0, 10])))
    if kind == "serving":
        return plain
    lagging = draw(st.booleans())
    drained = replace(plain, draining=True, drained_by_us=True, since=since, state="draining", open=lagging)
    if kind == "draining":
        return replace(drained, expired=draw(st.booleans()), drained_by_us=draw(st.booleans()))
    if kind == "gone":
        return replace(drained, sessions=draw(st.sampled_from([0, 0, 0, 1])), cost=LOWEST_COST)
    drains = draw(st.booleans())
    return replace(
        plain,
        ready=draw(st.booleans()),
        pending=draw(st.booleans()),
        terminating=draw(st.booleans()),
        drained_by_us=drains and draw(st.booleans()),
        draining=drains,
        since=since if drains else None,
        expired=draw(st.booleans()),
        state=draw(st.sampled_from(STATES)),
        sessions=draw(st.sampled_from([None, 0, 3, 100])),
        capacity=draw(st.sampled_from([None, 0.0, 50.0, 100.0])),
        age=draw(st.sampled_from([None, 0.0, 9.0, 100.0])),
        cost=draw(st.sampled_from([None, 0, 30, LOWEST_COST, -2000])),
        created=draw(st.sampled_from([None, NOW, NOW - timedelta(hours=1)])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> ScaleWorld:
    """Any world of up to seven nodes; in every other all is calm, so that nodes drain and go."""
    calm = draw(st.booleans())
    some = [draw(nodes(number, calm=calm)) for number in range(draw(st.integers(calm, 7)))]
    alive = sum(1 for each in some if not each.terminating)
    low = draw(st.integers(1, 2 if calm else 4))
    replicas = alive if calm else max(0, alive + draw(st.sampled_from([0, 0, -1, 1, 3])))
    return world(
        some,
        replicas=replicas,
        status_replicas=replicas if calm else draw(st.sampled_from([replicas, alive])),
        rolling=not calm and draw(st.booleans()),
        ordinal=draw(st.booleans()),
        on_timeout=draw(st.sampled_from(["Hold", "Release"])),
        legs_per_call=draw(st.integers(1, 2)),
        spec={
            "min": low,
            "max": low + draw(st.integers(0, 8)),
            "buffer": draw(st.sampled_from([{"calls": 0}, {"calls": 0}, {"calls": 50}, {"percent": 20}])),
            "scaleIn": {"maxStep": draw(st.integers(1, 3))},
            "scaleOut": {"maxStep": draw(st.integers(1, 3))},
        },
    )


def histories_of(seen: ScaleWorld) -> tuple[ScaleHistory, ScaleHistory]:
    """That of a new leader, and that of one who saw this world for a whole window."""
    return ScaleHistory(), after_a_window(seen)


def decisions_of(seen: ScaleWorld) -> list[ScaleDecision]:
    """What either leader decides."""
    return [decide(seen, history)[0] for history in histories_of(seen)]


def wanting(seen: ScaleWorld, uids: tuple[str, ...]) -> list[ScaleNode]:
    """The nodes of these uids, each of which must be there."""
    by_uid = {each.uid: each for each in seen.nodes}
    return [by_uid[uid] for uid in uids]


@given(seen=worlds())
@settings(max_examples=EXAMPLES)
def test_replicas_go_down_only_where_nothing_is_lost(seen: ScaleWorld) -> None:
    for decision in decisions_of(seen):
        if decision.replicas is not None and decision.replicas < seen.target.replicas:
            event("removed")
            assert decision.replicas == seen.target.replicas - 1
            assert not seen.target.rolling
            assert len([each for each in seen.nodes if not each.terminating]) == seen.target.replicas
            assert all(may_be_lost(each, seen.on_timeout) for each in next_to_go(seen))


@given(seen=worlds())
@settings(max_examples=EXAMPLES)
def test_only_what_may_go_is_marked_to_go_first(seen: ScaleWorld) -> None:
    for decision in decisions_of(seen):
        assert all(may_be_lost(each, seen.on_timeout) for each in wanting(seen, decision.lowest))
        assert seen.target.ordinal <= (decision.lowest == ())


@given(seen=worlds())
@settings(max_examples=EXAMPLES)
def test_desired_and_replicas_keep_within_their_bounds(seen: ScaleWorld) -> None:
    draining = sum(1 for each in seen.nodes if each.draining and not each.terminating)
    for decision in decisions_of(seen):
        assert seen.spec.min <= decision.desired <= seen.spec.max
        if decision.replicas is not None and decision.replicas > seen.target.replicas:
            event("added")
            assert decision.replicas - seen.target.replicas <= seen.spec.scale_out.max_step
            assert decision.replicas <= seen.spec.max + draining
            assert decision.drain == ()


@given(seen=worlds())
@settings(max_examples=EXAMPLES)
def test_never_drains_below_what_is_needed(seen: ScaleWorld) -> None:
    serving = [
        each.uid
        for each in seen.nodes
        if each.ready and not each.draining and not each.terminating and each.state in ("ready", "full")
    ]
    for decision in decisions_of(seen):
        left = len(set(serving) - set(decision.drain))
        drained = [each for each in wanting(seen, decision.drain) if not each.pending]
        assert len(decision.drain) <= seen.spec.scale_in.max_step
        if drained:
            event("drained")
            assert left >= max(decision.desired, seen.spec.min)
            assert not any(each.draining or each.terminating for each in drained)
            assert decision.revive == ()


@given(seen=worlds())
@settings(max_examples=EXAMPLES)
def test_only_what_autoscaling_drains_is_taken_back(seen: ScaleWorld) -> None:
    for decision in decisions_of(seen):
        assert all(each.drained_by_us and not each.terminating for each in wanting(seen, decision.revive))
        assert not set(decision.revive) & {*decision.drain, *decision.lowest}
        if decision.revive:
            event("revived")
            assert decision.replicas is None or decision.replicas > seen.target.replicas


@given(seen=worlds(), order=st.randoms(use_true_random=False))
@settings(max_examples=EXAMPLES)
def test_the_order_of_the_nodes_decides_nothing(seen: ScaleWorld, order: random.Random) -> None:
    shuffled = replace(seen, nodes=order.sample(seen.nodes, len(seen.nodes)))
    for history in histories_of(seen):
        assert decide(shuffled, history) == decide(seen, history)


@given(seen=worlds(), more=st.integers(1, 500), which=st.integers(0, 7))
@settings(max_examples=EXAMPLES)
def test_more_sessions_never_need_fewer_nodes(seen: ScaleWorld, more: int, which: int) -> None:
    some = list(seen.nodes)
    if some and (chosen := some[which % len(some)]).sessions is not None:
        some[which % len(some)] = replace(chosen, sessions=chosen.sessions + more)
    fuller = replace(seen, nodes=some)
    for history in histories_of(seen):
        before, after = decide(seen, history)[0], decide(fuller, history)[0]
        assert after.desired >= before.desired
        assert len(after.drain) <= len(before.drain)


@given(seen=worlds())
@settings(max_examples=EXAMPLES)
def test_a_new_leader_is_only_more_careful(seen: ScaleWorld) -> None:
    new, old = decisions_of(seen)
    """It does not know yet for how long a node has been down, so it takes back, adds and removes no more."""
    assert new.drain == ()
    assert set(new.revive) <= set(old.revive)
    if old.drain == () and new.replicas is not None:
        assert old.replicas is not None
        assert seen.target.replicas - 1 <= new.replicas <= max(old.replicas, seen.target.replicas - 1)


def closed_loop(seed: int, **more: Any) -> Cluster:
    """A cluster of small nodes: a new one is ready after half a minute or so, calls last two minutes."""
    spec = {
        "min": 2,
        "max": 12,
        "buffer": {"percent": 20},
        "scaleIn": {"stabilizationWindow": "5m"},
        "scaleOut": {"leadTime": "1m"},
    }
    return Cluster(random.Random(seed), spec=spec, **more)


@pytest.mark.parametrize("ordinal", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_up_and_down_again_without_a_call_cut(seed: int, *, ordinal: bool) -> None:
    cluster = closed_loop(seed, ordinal=ordinal)
    cluster.run(900, lambda _: 20)
    lost = cluster.lost
    cluster.run(1800, lambda passed: 20 + passed / 15)
    assert len(cluster.pods) >= 140 * 1.1 / CAPACITY
    assert cluster.lost == lost, "a rise within the lead time is met before it comes"
    cluster.run(3600, lambda _: 20)
    assert len(cluster.pods) <= 4
    assert cluster.drains >= 4
    assert cluster.cut == 0


def test_a_steady_load_comes_to_rest() -> None:
    cluster = closed_loop(7, chance=False)
    cluster.run(1800, lambda _: 100)
    before = cluster.drains, cluster.revivals
    rest = cluster.run(3600, lambda _: 100)
    assert {decision.replicas for decision in rest} == {None}
    assert (cluster.drains, cluster.revivals) == before
    assert len(cluster.pods) == 6, "100 sessions and a fifth more, 20 a node"


def test_calls_by_chance_move_few_nodes() -> None:
    cluster = closed_loop(5)
    cluster.run(900, lambda _: 100)
    before = cluster.drains
    cluster.run(3600, lambda _: 100)
    assert cluster.drains - before <= 12
    assert cluster.cut == 0


def test_leaders_that_change_all_the_time_cut_no_call() -> None:
    cluster = closed_loop(3)
    cluster.run(1200, lambda _: 140)
    for _ in range(12):
        cluster.history = ScaleHistory()
        cluster.run(400, lambda _: 20)
    assert cluster.cut == 0
    assert len(cluster.pods) <= 5
