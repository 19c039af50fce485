"""A day of calls through each way to scale, over the operator's own planning; and that faults in it would be seen."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest

from switchtender_operator.domain.autoscale import ScaleDecision, ScaleHistory, ScaleWorld, decide
from tests.autoscaling.calls import SHORT_DAY, Day, day
from tests.autoscaling.cluster import Cluster, Site
from tests.autoscaling.controllers import Target
from tests.autoscaling.operating import MIDNIGHT, Autoscaler, Group, Readings
from tests.autoscaling.play import (
    BOUNDS,
    PLAIN,
    Incident,
    Outcome,
    Policy,
    autoscale,
    autoscale_spec,
    by_name,
    ideal,
    play,
)

SEEDS = {"… StatefulSet": 2, "… new leader": 3, "… stale loads": 4, "… roll-out": 5}
"""Each on a day of its own; whatever is not named has seed 1."""


@cache
def calls(seed: int) -> Day:
    return day(SHORT_DAY, seed)


@cache
def outcome(name: str) -> Outcome:
    seed = SEEDS.get(name, 1)
    return play(by_name(name), calls(seed), seed)


def ours(**changes: object) -> Policy:
    return replace(by_name("spec.autoscale"), name="changed", **changes)  # type: ignore[arg-type]


OURS = ("spec.autoscale", *SEEDS)


@pytest.mark.parametrize("name", OURS)
def test_autoscaling_cuts_no_call_refuses_few_and_needs_not_much_more_than_the_ideal(name: str) -> None:
    run = outcome(name)
    best = ideal(calls(SEEDS.get(name, 1)))
    assert run.offered == len(calls(SEEDS.get(name, 1)))
    assert run.cut == 0
    assert run.rejected_share <= 0.005
    # A drain lasts as long as the last call: a quarter of this day, where it is a twelfth of a whole one.
    assert best.bare_hours < run.pod_hours <= 2 * best.buffered_hours
    # In a roll-out the old pods end while the new ones take their calls.
    assert run.peak <= (2 if name == "… roll-out" else 1.3) * max(best.buffered)
    assert run.flaps <= 1
    assert run.drained > 0


@pytest.mark.parametrize("name", OURS)
def test_the_pods_follow_the_calls_up_and_down(name: str) -> None:
    run = outcome(name)
    assert run.pods_by_minute[0] == BOUNDS.least
    assert run.peak >= 15
    assert run.pods_by_minute[-1] <= run.peak / 2


def test_no_pod_that_autoscaling_removes_needs_any_grace() -> None:
    assert by_name("spec.autoscale").site.grace == 0
    assert outcome("spec.autoscale").longest_drain > 600


def test_an_hpa_on_sessions_cuts_no_call_where_the_grace_is_longer_than_any() -> None:
    run = outcome("HPA on sessions")
    assert run.cut == 0
    assert run.drained > 0
    assert run.rejected_share <= 0.03
    assert run.pod_hours <= 2 * ideal(calls(1)).buffered_hours


def test_an_hpa_on_cpu_cuts_calls_and_only_the_grace_period_says_how_many() -> None:
    at_once, ten_minutes, two_hours = (outcome(f"HPA on CPU, {grace}") for grace in ("SIGTERM", "10 min", "2 h"))
    assert at_once.cut > 100
    assert 10 < ten_minutes.cut < at_once.cut
    assert two_hours.cut == 0
    # As a measure of how many pods are wanted, this flattering CPU is no worse than sessions.
    assert at_once.rejected_share <= 0.01
    assert at_once.pod_hours < ten_minutes.pod_hours < two_hours.pod_hours


def test_bridged_calls_are_counted_twice() -> None:
    bridged = Site(grace=0.0, capacity=100, legs=2)
    few = day(replace(SHORT_DAY, seconds=3600.0), 6)
    run, single = (play(ours(site=site), few, 6) for site in (bridged, PLAIN))
    assert run.cut == 0
    assert run.peak == single.peak
    assert run.pod_hours == pytest.approx(single.pod_hours, rel=0.05)


# --- faults that the simulation must notice -------------------------------------------------------------------------


def evening(seed: int) -> Day:
    """Eight hours from the afternoon's rush into the night, within forty minutes: enough to take nodes away."""
    shape = replace(SHORT_DAY, seconds=2400.0, begin=15.0, campaign=None, busiest=1.5, longest=600.0, hurry=10.0)
    return day(shape, seed)


def faulty(plan: object) -> Outcome:
    return play(ours(attach=autoscale(plan=plan)), evening(9), 9)  # type: ignore[arg-type]


def without_drain(world: ScaleWorld, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
    """Lower the replicas where a node would be drained."""
    decision, history = decide(world, history)
    if decision.drain:
        decision = replace(decision, drain=(), replicas=world.target.replicas - len(decision.drain))
    return decision, history


def impatient(world: ScaleWorld, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
    """Take away a node as soon as it drains."""
    decision, history = decide(world, history)
    if decision.replicas is None and any(node.drained_by_us and not node.terminating for node in world.nodes):
        decision = replace(decision, replicas=world.target.replicas - 1)
    return decision, history


def greedy(world: ScaleWorld, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
    """Never take anything away."""
    decision, history = decide(world, history)
    return replace(decision, drain=(), lowest=()), history


def lazy(world: ScaleWorld, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
    """Never add anything."""
    decision, history = decide(world, history)
    if decision.replicas is not None and decision.replicas > world.target.replicas:
        decision = replace(decision, replicas=None)
    return decision, history


def test_the_simulation_sees_what_a_fault_in_the_planning_costs() -> None:
    sound = faulty(decide)
    assert sound.cut == 0
    assert sound.drained > 3
    assert faulty(without_drain).cut > 0
    assert faulty(impatient).cut > 0
    assert faulty(greedy).pod_hours > 1.2 * sound.pod_hours
    assert faulty(lazy).rejected > 5 * sound.rejected + 50


def test_no_replica_is_taken_while_no_deletion_cost_can_be_written() -> None:
    def uncosted(world: ScaleWorld, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
        decision, history = decide(world, history)
        return replace(decision, lowest=()), history

    def attach(cluster: Cluster, target: Target, calls: Day, seed: int) -> None:
        spec = autoscale_spec(ordinal=False, hurry=calls.shape.hurry)
        Autoscaler(cluster, target, spec, Readings(cluster, Group()), Group(), uncosted)

    run = play(ours(attach=attach), evening(9), 9)
    assert run.cut == 0
    assert run.pods_by_minute[-1] == run.peak


@pytest.mark.parametrize("changed", [0.2, 0.5])
def test_a_new_leader_drains_nothing_before_it_saw_a_whole_window(changed: float) -> None:
    calls = day(replace(evening(7).shape, hurry=3.0), 7)
    begun: list[float] = []

    def watched(world: ScaleWorld, history: ScaleHistory) -> tuple[ScaleDecision, ScaleHistory]:
        decision, history = decide(world, history)
        if decision.drain:
            begun.append((world.now - MIDNIGHT).total_seconds())
        return decision, history

    play(ours(attach=autoscale(Incident(new_leader=(changed,)), plan=watched)), calls, 7)
    start = changed * calls.shape.seconds
    window = autoscale_spec(ordinal=False, hurry=calls.shape.hurry).scale_in.stabilization_window.total_seconds()
    assert [at for at in begun if start <= at < start + window] == []
    assert any(at >= start + window for at in begun)


def test_the_same_seed_plays_the_same_day() -> None:
    runs: list[Mapping[str, object]] = []
    few = day(replace(SHORT_DAY, seconds=900.0, pace=48.0, campaign=None), 3)
    for _ in range(2):
        run = play(by_name("spec.autoscale"), few, 3)
        runs.append({"hours": run.pod_hours, "pods": run.pods_by_minute, "refused": run.rejected})
    assert runs[0] == runs[1]
