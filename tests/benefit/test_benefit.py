"""The arithmetic of the comparison: what is ideal, what a goal asks, what the page says."""

import dataclasses

import pytest

from tests.benefit.goals import GOALS, judge
from tests.benefit.report import page
from tests.benefit.run import Result
from tests.benefit.scenes import EIGHT, LARGE, NOISY, SCENES, SMALL, Scene, Turn, ideal, room
from tests.stand.nodes import Node

BY_NAME = {scene.name: scene for scene in SCENES}


def result(scene: str, peer: str) -> Result:
    arrivals = BY_NAME[scene].arrivals()
    best = ideal(BY_NAME[scene], arrivals)
    return Result(scene, peer, len(arrivals), best, best, {}, 0, 0, 0, 0, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(("rate", "carried"), [(2, 120), (4, 240), (5, 300), (6, 348), (12, 348)])
def test_the_ideal_on_two_small_nodes_is_their_room_once_every_ten_seconds(rate: int, carried: int) -> None:
    assert sum(map(room, SMALL[0].nodes)) == 58
    scene = BY_NAME[f"small-{rate}"]
    assert ideal(scene, scene.arrivals()) == carried


def test_a_dead_node_takes_nothing_more_but_what_it_took_counts() -> None:
    nodes = (Node("a", 1, {"max-sessions": 3}), Node("b", 2, {"max-sessions": 3}))
    scene = Scene("x", "", nodes, rate=1.0, seconds=6.0, hold=100.0, turns=(Turn(2.5, "a", "crash"),))
    assert ideal(scene, scene.arrivals()) == 3
    assert ideal(dataclasses.replace(scene, turns=()), scene.arrivals()) == 4


def test_arrivals_are_the_same_each_time_and_as_many_as_the_rate_says() -> None:
    for scene in SCENES:
        assert scene.arrivals("poisson") == scene.arrivals("poisson")
        assert len(scene.arrivals()) == round(scene.rate * scene.seconds)
        assert len(scene.arrivals("poisson")) == pytest.approx(scene.rate * scene.seconds, rel=0.35)


def test_the_large_scene_offers_more_than_fits_and_the_eight_less_until_nodes_go() -> None:
    assert LARGE.rate * LARGE.hold > sum(map(room, LARGE.nodes))
    assert EIGHT.rate * (EIGHT.hold + EIGHT.setup) < sum(map(room, EIGHT.nodes))
    assert {turn.node for turn in EIGHT.turns} < {node.name for node in EIGHT.nodes}
    assert all(node.settings["idle-cpu"] == 0.5 for scene in NOISY for node in scene.nodes)


def test_every_goal_is_judged_on_runs_and_can_be_missed() -> None:
    runs = [result(scene, peer) for goal in GOALS for scene in goal.scenes for peer in goal.peers]
    assert len(judge(runs)) == len(GOALS)
    assert not any(verdict.missed for verdict in judge(runs))
    bad = [dataclasses.replace(run, succeeded=run.succeeded // 2, zombies=50, refused=100) for run in runs]
    assert all(len(verdict.missed) == verdict.judged for verdict in judge(bad))
    assert judge([]) == []


def test_the_page_has_a_row_a_run_a_line_a_balancer_and_names_what_was_missed() -> None:
    runs = [result(scene.name, peer) for scene in SMALL for peer in ("Kamailio dispatcher", "LeastLoad")]
    runs[-1] = dataclasses.replace(runs[-1], succeeded=1, failed={"503": 7})
    text = page(SCENES, runs, judge(runs), "evenly spaced")
    assert text.count("| Kamailio dispatcher |") == len(SMALL)
    assert text.count("\n    line [") == 2
    assert "missed: small-12, LeastLoad" in text
    assert "7 x 503" in text
    assert "## large" not in text
