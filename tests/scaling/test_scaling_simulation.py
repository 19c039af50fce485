"""What the simulation of stale reports must keep to, whoever chooses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.scaling.pool import Heartbeat, Node, Scenario, Simulation, surged
from tests.scaling.replicas import CHOICES, Dispatcher, LoadBalancer, weight

SMALL = Scenario(replicas=3, heartbeat=5.0, nodes=4, limit=21, warm_up=10.0, seconds=60.0)


def told(sessions: int, limit: int) -> Heartbeat:
    return Heartbeat(sessions=sessions, limit=limit, since_startup=sessions, measured=0.0, received=0.0)


@pytest.mark.parametrize("name", CHOICES)
def test_no_call_is_lost_sight_of(name: str) -> None:
    simulation = Simulation(replace(SMALL, load=1.2), CHOICES[name])
    before = simulation.scenario.nodes * 20
    simulation.run()
    whole = simulation.whole
    assert whole.offered == whole.answered + whole.lost > 0
    assert simulation.begun == before + whole.answered
    assert simulation.standing() == simulation.begun - simulation.ended
    assert all(node.calls <= node.sessions <= node.limit for node in simulation.nodes)


@pytest.mark.parametrize("name", CHOICES)
def test_the_same_seed_makes_the_same_figures(name: str) -> None:
    once, again = (Simulation(SMALL, CHOICES[name]).run() for _ in range(2))
    assert once == again
    assert Simulation(replace(SMALL, seed=2), CHOICES[name]).run() != once


def test_everyone_gets_the_same_calls() -> None:
    assert len({Simulation(SMALL, make).run().offered for make in CHOICES.values()}) == 1


@pytest.mark.parametrize("load", [0.7, 0.9, 1.3])
def test_one_of_ours_with_fresh_reports_never_passes_a_limit(load: float) -> None:
    outcome = Simulation(replace(SMALL, replicas=1, heartbeat=0.2, load=load), CHOICES["LeastLoad"]).run()
    assert outcome.overshoot == 0
    assert (outcome.lost > 0) == (load > 1)


def test_many_of_ours_on_old_reports_share_what_herds_of_others_pass() -> None:
    scenario = Scenario(replicas=16, heartbeat=20.0, seconds=60.0)
    ours, theirs = (Simulation(scenario, CHOICES[name]).run() for name in ("LeastLoad", "load_balancer"))
    assert ours.overshoot < 0.01 * ours.offered < 0.1 * theirs.offered < theirs.overshoot
    assert ours.variation < theirs.variation


def test_a_surge_brings_more_calls_in_its_time() -> None:
    scenario = surged(Scenario(replicas=1, heartbeat=1.0, seconds=60.0))
    calm = Simulation(replace(scenario, surge=None), CHOICES["LeastLoad"]).run()
    outcome = Simulation(scenario, CHOICES["LeastLoad"]).run()
    # Twenty of sixty seconds have three times the calls.
    assert 1.5 < outcome.offered / calm.offered < 1.85


def test_a_node_refuses_the_session_of_its_limit_and_keeps_it() -> None:
    node = Node(limit=3)
    assert [node.invite() for _ in range(4)] == ["answered", "answered", "zombie", "refused"]
    assert (node.calls, node.sessions) == (2, 3)


def test_load_balancer_forgets_its_own_calls_with_every_tick() -> None:
    """1,000 sessions, 400 of them taken, all by this one: 600 free; after 80 more calls and a tick, 600 again."""
    replica = LoadBalancer(replace(SMALL, nodes=1), 0)
    for _ in range(400):
        replica.placed(0.0, 0)
    replica.heard(0.0, 0, told(400, 1000))
    assert replica.free(0) == 600
    for _ in range(80):
        replica.placed(0.0, 0)
    assert replica.free(0) == 520
    replica.tick(1.0)
    assert replica.free(0) == 600


def test_load_balancer_takes_foreign_sessions_past_the_limit_for_room_in_relative_mode_alone() -> None:
    absolute, relative = (LoadBalancer(replace(SMALL, nodes=1), 0, relative=which) for which in (False, True))
    for replica in (absolute, relative):
        replica.heard(0.0, 0, told(1010, 1000))
    assert absolute.choose(0.0, set()) is None
    assert relative.free(0) == 100


@pytest.mark.parametrize(("sessions", "expected"), [(0, 100), (5, 100), (6, 99), (15, 99), (1000, 0), (1010, 65535)])
def test_weights_of_the_dispatcher_round_and_wrap(sessions: int, expected: int) -> None:
    assert weight(sessions, 1000) == expected


def test_the_dispatcher_stays_on_a_node_for_its_weight_and_gives_one_call_to_a_weight_of_none() -> None:
    replica = Dispatcher(replace(SMALL, nodes=3), 0)
    replica.weights = [3, 0, 2]
    chosen = [replica.choose(0.0, set()) for _ in range(18)]
    begin = chosen.index(0)
    assert chosen[begin : begin + 6] == [0, 0, 0, 1, 2, 2]
