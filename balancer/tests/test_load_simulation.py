"""One to eight balancers before real nodes' accounts, at more than 1.3 times what the nodes can take."""

from dataclasses import replace

import pytest

pytest.importorskip("switchtender._core", reason="the packet core is not built")

from load_simulation import LARGE, LARGE_AT_1_3, SMALL, SMALL_AT_1_3, THROTTLED, Scenario, average, ideal, simulate

REPLICAS = (1, 2, 4, 8)
SEEDS = 3

# Answered calls against the ideal and zombies made by the rule "keep the decayed maximum of all unexplained growth
# free, take no turns", measured with the same nodes and rates: what the model has to be at least as good as.
PLAIN_RULE = {
    (0.0, 1): (0.959, 0),
    (0.0, 2): (0.917, 3),
    (0.0, 4): (0.871, 2),
    (0.0, 8): (0.863, 6),
    (1.0, 1): (0.593, 3),
    (1.0, 2): (0.594, 2),
    (1.0, 4): (0.603, 10),
    (1.0, 8): (0.599, 18),
}


# The same rule at 1.3 times the room.
PLAIN_RULE_AT_1_3 = {
    "small": {1: (0.936, 0), 2: (0.878, 0.7), 4: (0.845, 2.3), 8: (0.835, 6.7)},
    "large": {1: (1.004, 0), 2: (0.985, 0), 4: (0.970, 0), 8: (0.965, 0)},
}


@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize(("pool", "scenario", "seeds"), [("small", SMALL_AT_1_3, SEEDS), ("large", LARGE_AT_1_3, 1)])
def test_at_1_3_times_the_room_nothing_is_worse_than_under_the_plain_rule(pool, scenario, seeds, replicas):
    answered, zombies = PLAIN_RULE_AT_1_3[pool][replicas]
    seen = average(replace(scenario, replicas=replicas), seeds)
    assert seen.answered >= answered
    # One zombie in a single run of eighteen thousand calls is chance.
    assert seen.zombies <= zombies + (1 if seeds == 1 else 0)
    assert seen.rate_limited == 0


@pytest.fixture(scope="module")
def small():
    """Each cell of the small pool: sessions from elsewhere per second and node, balancers."""
    return {
        (outside, replicas): average(replace(SMALL, outside_rate=outside, replicas=replicas), SEEDS)
        for outside, replicas in PLAIN_RULE
    }


@pytest.mark.parametrize("cell", PLAIN_RULE, ids=str)
def test_each_cell_is_as_good_as_the_plain_rule(small, cell):
    answered, zombies = PLAIN_RULE[cell]
    # The spread of a mean of three runs.
    assert small[cell].answered >= answered - 0.012
    assert small[cell].zombies <= zombies + 1.5


def test_together_they_are_better(small):
    assert sum(cell.answered for cell in small.values()) > sum(answered for answered, _ in PLAIN_RULE.values())
    assert sum(cell.zombies for cell in small.values()) < 0.6 * sum(zombies for _, zombies in PLAIN_RULE.values())


def test_a_lone_balancer_makes_no_zombie_at_all(small):
    assert small[0.0, 1].zombies == 0
    assert small[0.0, 1].refused == 0


def test_nothing_kept_free_would_make_many(small):
    """What the learned headroom is for: the same eight balancers without it."""
    bare = average(replace(SMALL, replicas=8, headroom=0.0), 1)
    assert bare.zombies > 10 * max(1.0, small[0.0, 8].zombies)


@pytest.mark.parametrize("replicas", [1, 4])
def test_nodes_of_unlike_size_are_filled(replicas):
    seen = average(replace(LARGE, replicas=replicas, seconds=45.0), 1)
    assert seen.answered > 0.99
    assert seen.zombies <= 2


@pytest.mark.parametrize("replicas", REPLICAS)
def test_a_pool_at_twice_its_capacity_stays_in_full_use(replicas):
    """Balancers that try full nodes bring such a pool down to zombies only within twelve seconds, and it stays so."""
    outcome = simulate(replace(SMALL, replicas=replicas, seconds=120.0))
    steady = outcome.in_use[20:]
    assert min(steady) > 0.75
    assert sum(steady) / len(steady) > 0.9
    assert outcome.zombies <= 4


def test_the_simulated_node_collapses_as_the_real_one_does():
    """Ten calls a second of ten seconds to a node of 20: 19 of 250 succeed, then every slot that becomes free goes to
    a zombie. Measured on FreeSWITCH 1.11.1; the balancer that tries full nodes is one that believes more of them."""
    flood = Scenario(nodes=((20, 0),), rate=10, regular=True, seconds=25.5)
    blind = simulate(replace(flood, believed=10.0, cool_down=(0.0, 0.0)))
    assert blind.offered == pytest.approx(250, abs=1)
    assert blind.answered <= 25
    assert blind.in_use[-1] == 0.0
    # The same flood under the load model: 19 sessions, one call after the other.
    learned = simulate(flood)
    assert learned.zombies == 0
    assert learned.answered > 40
    assert learned.in_use[-1] > 0.8


@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize("legs", [1, 2])
def test_no_node_ever_reaches_its_sessions_per_second(replicas, legs):
    scenario = replace(THROTTLED, replicas=replicas, legs=legs, rate=THROTTLED.rate / legs, seconds=20.0)
    outcome = simulate(scenario)
    assert outcome.rate_limited == 0
    assert outcome.halves == 0
    assert outcome.answered > {1: 0.85, 2: 0.8, 4: 0.7, 8: 0.55}[replicas] * ideal(scenario)


@pytest.mark.parametrize("replicas", REPLICAS)
def test_bridged_calls_find_their_second_leg(replicas):
    scenario = Scenario(nodes=((200, 60), (40, 0)), rate=12, legs=2, replicas=replicas, seconds=120.0)
    outcome = simulate(scenario)
    assert outcome.halves == 0
    assert outcome.zombies <= 1
    assert outcome.answered > {1: 0.94, 2: 0.88, 4: 0.86, 8: 0.84}[replicas] * ideal(scenario)
