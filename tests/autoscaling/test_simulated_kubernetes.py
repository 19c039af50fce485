"""The parts of the simulation: calls, the HPA's arithmetic, who removes which pod, what becomes of calls."""

import dataclasses
import math
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.autoscaling.calls import SHORT_DAY, WHOLE_DAY, Day, Shape, concurrent_by_minute, day
from tests.autoscaling.cluster import Cluster, Pod, Site
from tests.autoscaling.controllers import Deployment, StatefulSet, removal_order
from tests.autoscaling.hpa import Behavior, PodUse, Step, by_average, by_cpu
from tests.autoscaling.play import flaps, ideal

FLAT = Shape(seconds=3600.0, busiest=0.0, campaign=None)


def calls(*begins_and_lengths: tuple[float, float]) -> Day:
    begins, lengths = zip(*begins_and_lengths, strict=True)
    return Day(FLAT, begins, lengths)


def nothing() -> Day:
    return Day(FLAT, [], [])


# --- calls ----------------------------------------------------------------------------------------------------------


def test_a_day_has_the_calls_of_its_rate_a_heavy_tail_and_a_campaign() -> None:
    made = day(WHOLE_DAY, 7)
    assert len(made) == pytest.approx(sum(WHOLE_DAY.rate(minute * 60.0) * 60 for minute in range(1440)), rel=0.02)
    assert 100_000 < len(made) < 150_000
    assert fmean(made.lengths) == pytest.approx(240, rel=0.1)
    assert max(made.lengths) == WHOLE_DAY.longest
    assert sorted(made.begins) == made.begins
    # The longest twentieth of the calls is more than a quarter of all the talking.
    longest = sorted(made.lengths)[-len(made) // 20 :]
    assert sum(longest) > sum(made.lengths) / 4
    crowd = WHOLE_DAY.campaign
    assert crowd
    before = sum(crowd.start - 300 <= begin < crowd.start for begin in made.begins)
    within = sum(crowd.start <= begin < crowd.start + 300 for begin in made.begins)
    assert within > 1.8 * before


def test_the_same_seed_makes_the_same_calls_and_another_makes_others() -> None:
    assert day(SHORT_DAY, 1) == day(SHORT_DAY, 1)
    assert day(SHORT_DAY, 1).begins != day(SHORT_DAY, 2).begins


def test_the_most_calls_of_each_minute_count_those_that_came_before_it() -> None:
    counts = concurrent_by_minute(calls((10.0, 200.0), (15.0, 5.0), (70.0, 1.0), (185.0, 10.0)))
    assert counts[:6] == [2, 2, 1, 2, 0, 0]
    assert len(counts) == 60
    assert set(counts[6:]) == {0}


@given(st.lists(st.tuples(st.floats(0, 3500), st.floats(1, 4000)), min_size=1, max_size=60))
def test_no_minute_has_fewer_calls_than_stand_at_any_moment_of_it(made: list[tuple[float, float]]) -> None:
    counts = concurrent_by_minute(calls(*sorted(made)))
    for at, _ in made:
        standing = sum(begin <= at < begin + length for begin, length in made)
        assert counts[int(at // 60)] >= standing


def test_the_ideal_is_the_calls_over_what_a_pod_takes_and_the_buffer_on_top_within_bounds() -> None:
    best = ideal(calls(*((1.0 + index / 100, 100.0) for index in range(120))), Site(capacity=50))
    assert best.bare[0] == 3
    assert best.buffered[0] == math.ceil(120 * 1.2 / 50)
    assert (best.bare[10], best.buffered[10]) == (0, 2)


# --- HPA ------------------------------------------------------------------------------------------------------------


def use(name: str, share: float, *, ready_at: float | None = -1000.0, started: float = -1000.0) -> PodUse:
    return PodUse(name=name, started=started, ready_at=ready_at, sampled=600.0, use=share)


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [
        ([0.75, 0.75], 2),
        ([0.82, 0.82], 2),  # within a tenth
        ([0.84, 0.84], 3),
        ([0.9, 0.9, 0.9], 4),
        ([0.3, 0.3, 0.3, 0.3], 2),
        ([1.0, 0.1], 2),
    ],
)
def test_an_hpa_on_cpu_takes_the_mean_over_the_target_rounded_up(shares: list[float], wanted: int) -> None:
    pods = [use(str(index), share) for index, share in enumerate(shares)]
    assert by_cpu(pods, len(pods), 0.75, 610.0) == wanted


def test_an_hpa_on_cpu_takes_pods_that_start_for_idle_when_it_rises_and_leaves_them_out_when_it_falls() -> None:
    starting = use("new", 1.0, ready_at=None, started=590.0)
    assert by_cpu([use("a", 1.2), use("b", 1.2)], 2, 0.75, 610.0) == 4
    assert by_cpu([use("a", 1.2), use("b", 1.2), starting], 3, 0.75, 610.0) == 3
    assert by_cpu([use("a", 0.2), use("b", 0.2), starting], 3, 0.75, 610.0) == 1
    # One just ready, whose sample is from before that, is not believed either.
    for ready_at, wanted in ((595.0, 2), (580.0, 13)):
        assert by_cpu([use("a", 0.75), use("b", 9.0, ready_at=ready_at, started=550.0)], 2, 0.75, 610.0) == wanted
    assert by_cpu([starting], 1, 0.75, 610.0) == 1


def test_an_hpa_on_cpu_takes_a_pod_without_a_sample_for_busy_when_it_falls() -> None:
    silent = PodUse(name="new", started=-1000.0, ready_at=-900.0, sampled=None)
    assert by_cpu([use("a", 0.3), use("b", 0.3)], 2, 0.75, 610.0) == 1
    assert by_cpu([use("a", 0.3), use("b", 0.3), silent], 3, 0.75, 610.0) == 3


@pytest.mark.parametrize(("metric", "current", "wanted"), [(3, 2, 3), (21, 20, 20), (23, 20, 23), (19, 20, 20)])
def test_an_hpa_on_nodes_sets_what_is_wanted_but_for_a_tenth(metric: int, current: int, wanted: int) -> None:
    assert by_average(metric, current, 1) == wanted


def test_the_behavior_of_an_hpa_steps_up_and_waits_for_its_window_to_go_down() -> None:
    usual = Behavior(least=2, most=40)
    assert usual.replicas(30, 3, 0.0) == 7  # four more
    assert usual.replicas(30, 7, 10.0) == 7  # not again within 15 s
    assert usual.replicas(30, 7, 15.0) == 14  # twice as many
    assert usual.replicas(1, 14, 314.0) == 14  # 30 were wanted within 300 s
    assert usual.replicas(1, 14, 316.0) == 2
    slow = Behavior(least=2, most=40, down=Step(300.0, pods=1), down_window=0.0)
    assert [slow.replicas(2, now, at) for now, at in ((9, 0.0), (8, 100.0), (8, 301.0))] == [8, 8, 7]


def test_flaps_are_turns_within_a_time() -> None:
    assert flaps([(0.0, 2, 3), (10.0, 3, 4), (200.0, 4, 3), (900.0, 3, 4)]) == 1
    assert flaps([(0.0, 2, 3), (301.0, 3, 2)]) == 0


# --- controllers ----------------------------------------------------------------------------------------------------


def pod(
    name: str, *, host: int = 0, ready_at: float | None = 100.0, cost: int | None = None, running: float = 0.0
) -> Pod:
    made = Pod(uid=name, name=name, ordinal=0, revision=1, host=host, created=0.0, ready_at=ready_at, cost=cost)
    made.running_at = running
    return made


def test_a_replica_set_removes_by_phase_readiness_cost_spread_and_age() -> None:
    pods = [
        pod("f-old", host=1),
        pod("e-young", host=2, ready_at=990.0),
        pod("d-crowded", host=3, ready_at=100.0),
        pod("c-cheap", host=4, cost=-5),
        pod("b-unready", host=5, ready_at=None, cost=100),
        pod("a-pending", host=6, ready_at=None, cost=1000, running=2000.0),
        pod("g-dear", host=3, cost=7),
    ]
    order = [made.uid for made in removal_order(pods, pods, 1000.0)]
    assert order == ["a-pending", "b-unready", "c-cheap", "d-crowded", "e-young", "f-old", "g-dear"]


def settled(cluster: Cluster, seconds: float = 3600.0) -> None:
    cluster.play(Day(dataclasses.replace(FLAT, seconds=seconds), [], []))


def test_a_deployment_rolls_one_at_a_time_and_never_has_fewer_ready_than_asked_for() -> None:
    cluster = Cluster(Site(), 1)
    deployment = Deployment(cluster, 4)
    ready: list[int] = []
    cluster.at(10.0, deployment.roll)
    cluster.every(1.0, lambda: ready.append(sum(made.ready for made in cluster.active)))
    settled(cluster)
    assert not deployment.rolling
    assert len(cluster.pods) == 4
    assert min(ready) == 4
    assert max(ready) <= 5
    assert all(made.created >= 10.0 for made in cluster.pods)


def test_a_stateful_set_goes_by_ordinals_and_a_name_comes_back_when_it_is_free() -> None:
    cluster = Cluster(Site(capacity=1), 1)
    stateful = StatefulSet(cluster, 3)
    seen: list[list[tuple[int, bool]]] = []
    cluster.at(20.0, lambda: stateful.scale(2))
    cluster.at(30.0, lambda: stateful.scale(3))
    for at in (25.0, 35.0, 150.0):
        cluster.at(at, lambda: seen.append(sorted((made.ordinal, made.active) for made in cluster.pods)))
    cluster.play(calls((1.0, 100.0), (2.0, 100.0), (3.0, 100.0)))
    assert seen == [
        [(0, True), (1, True), (2, False)],
        [(0, True), (1, True), (2, False)],
        [(0, True), (1, True), (2, True)],
    ]
    assert cluster.tally.cut == 0


# --- calls on pods --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grace", "cut"), [(0.0, 3), (50.0, 2), (7260.0, 0)])
def test_calls_are_cut_that_outlast_the_grace_period_of_their_pod(grace: float, cut: int) -> None:
    cluster = Cluster(Site(grace=grace), 1)
    deployment = Deployment(cluster, 1)
    cluster.at(10.0, lambda: deployment.scale(0))
    cluster.play(calls((1.0, 30.0), (2.0, 300.0), (3.0, 3000.0), (20.0, 5.0)))
    assert cluster.tally.cut == cut
    assert (cluster.tally.offered, cluster.tally.rejected) == (4, 1)


def test_a_draining_pod_gets_calls_until_balancers_know_and_again_when_it_is_taken_back() -> None:
    cluster = Cluster(Site(told=1.0), 1)
    Deployment(cluster, 1)
    only = cluster.pods[0]
    cluster.at(10.0, lambda: cluster.drain(only, 10.0))
    cluster.at(20.0, lambda: cluster.revive(only))
    cluster.play(calls((10.5, 600.0), (11.5, 600.0), (20.5, 600.0), (21.5, 600.0)))
    assert cluster.tally.rejected == 2
    assert cluster.tally.revived == 1
    assert cluster.tally.drains == []


def test_calls_go_to_the_least_loaded_pod_and_are_refused_when_all_are_full() -> None:
    cluster = Cluster(Site(capacity=4, legs=2), 1)
    Deployment(cluster, 2)
    loads: list[list[int]] = []
    cluster.at(2.5, lambda: loads.append([made.calls for made in cluster.pods]))
    cluster.play(calls(*((float(second), 600.0) for second in range(1, 7))))
    assert loads == [[1, 1]]
    assert cluster.tally.rejected == 2
    assert cluster.tally.rejected_by_minute == {0: 2}


def test_a_new_pod_takes_calls_only_when_balancers_have_heard_of_it() -> None:
    cluster = Cluster(Site(soonest=30.0, latest=30.0, first_report=2.0), 1)
    deployment = Deployment(cluster, 0)
    cluster.at(1.0, lambda: deployment.scale(1))
    cluster.play(calls((32.5, 5.0), (33.5, 5.0)))
    assert cluster.tally.rejected == 1


def test_a_report_says_what_was_true_when_it_was_made() -> None:
    made = pod("a")
    made.change(10.2, 1, 1.0)
    assert made.report(10.9, 1.0) == 0
    assert made.report(11.0, 1.0) == 1
    made.change(12.5, 1, 1.0)
    made.change(12.6, 1, 1.0)
    assert made.report(12.9, 1.0) == 1
    assert made.report(13.1, 1.0) == 3


def test_pod_hours_are_counted_from_creation_to_the_end() -> None:
    cluster = Cluster(Site(), 1)
    deployment = Deployment(cluster, 2)
    cluster.at(1800.0, lambda: deployment.scale(1))
    cluster.play(nothing())
    assert cluster.tally.pod_seconds == pytest.approx(1800 + 3600)
    assert cluster.tally.scales == [(1800.0, 2, 1)]
