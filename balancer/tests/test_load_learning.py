"""Share, headroom and turns at the last slots."""

import random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_events import Subject, poll

from switchtender.load.learning import Learned, Step, headroom, learn, share, turn_taking
from switchtender.load.model import Policy


def step(growth=0.0, created=None, assigned=0.0, ended=0.0, excess=0.0, limit=100.0, seconds=1.0):
    return Step(
        seconds=seconds, growth=growth, created=created, assigned=assigned, ended=ended, excess=excess, limit=limit
    )


def test_without_calls_the_share_is_an_equal_part():
    assert share(Learned(), 1) == 1.0
    assert share(Learned(), 4) == 0.25


def test_the_share_is_our_part_of_the_new_sessions():
    learned = Learned()
    for _ in range(30):
        learned = learn(learned, step(created=10.0, assigned=3.0), legs=1.0)
    assert share(learned, 2) == pytest.approx(0.3, abs=0.01)
    assert share(learned, 1) == 0.5, "never below 1/(2R)"
    for _ in range(30):
        learned = learn(learned, step(created=3.0, assigned=3.0), legs=1.0)
    assert share(learned, 8) == pytest.approx(1.0, abs=0.01)


def test_our_own_calls_are_at_least_as_many_as_all():
    # A refused call was assigned but never made a session.
    learned = learn(Learned(), step(created=2.0, assigned=10.0), legs=1.0)
    assert share(learned, 1) == 1.0


def test_a_report_that_does_not_tell_new_sessions_leaves_the_share():
    learned = learn(Learned(own=3.0, grown=10.0), step(created=None, assigned=5.0), legs=1.0)
    assert (learned.own, learned.grown) == (3.0, 10.0)


def test_headroom_starts_at_two_calls_and_is_a_tenth_at_most():
    assert headroom(Learned(), limit=100.0, legs=2.0) == 4.0
    assert headroom(Learned(), limit=20.0, legs=2.0) == 2.0
    assert headroom(Learned(unexplained=50.0), limit=100.0, legs=2.0) == 10.0
    assert headroom(Learned(), limit=-5.0, legs=2.0) == 0.0


def test_headroom_falls_to_nothing_within_seconds_where_our_own_counts_explain_everything():
    for excess in (0.0, -80.0):  # near the limit and far below it
        learned = Learned()
        for _ in range(5):
            learned = learn(learned, step(created=5.0, assigned=5.0, ended=5.0, excess=excess), legs=1.0)
        assert headroom(learned, limit=100.0, legs=1.0) == 0.0


def test_two_calls_stay_free_until_calls_were_seen_and_while_others_place_theirs():
    idle = others = Learned()
    for _ in range(80):
        idle = learn(idle, step(created=0.0, excess=-80.0), legs=1.0)
        others = learn(others, step(growth=0.0, created=5.0, assigned=1.0, ended=1.0, excess=-80.0), legs=1.0)
    assert headroom(idle, limit=100.0, legs=1.0) == 2.0
    assert headroom(others, limit=100.0, legs=1.0) == 2.0
    for _ in range(5):
        others = learn(others, step(growth=4.0, created=5.0, assigned=1.0, ended=1.0, excess=-1.0), legs=1.0)
    assert 1.5 < headroom(others, limit=100.0, legs=1.0) < 4.0, "near the limit it is tested, and goes slowly"


def test_growth_that_we_knew_nothing_of_is_kept_free_when_it_goes_past_our_capacity():
    learned = learn(Learned(unexplained=0.0), step(growth=5.0, excess=4.0), legs=1.0)
    assert learned.unexplained == 5.0
    quiet = learn(learned, step(growth=0.0, excess=0.0), legs=1.0)
    assert quiet.unexplained == pytest.approx(4.75)


def test_growth_that_ends_far_below_the_limit_does_no_harm():
    learned = learn(Learned(unexplained=0.0), step(growth=30.0, excess=-40.0), legs=1.0)
    assert learned.unexplained == 0.0


def test_what_was_learned_at_the_limit_is_not_forgotten_away_from_it_while_others_place_calls():
    learned = Learned(own=2.0, grown=10.0, unexplained=6.0)
    for _ in range(1000):
        learned = learn(learned, step(created=10.0, assigned=2.0, growth=0.0, excess=-40.0), legs=1.0)
    assert learned.unexplained == 6.0


def test_what_is_forgotten_goes_by_time_not_by_the_number_of_reports():
    start = Learned(own=30.0, grown=40.0, unexplained=8.0)
    often = start
    for _ in range(10):
        often = learn(often, step(created=1.0, assigned=0.5, seconds=0.1), legs=1.0)
    once = learn(start, step(created=10.0, assigned=5.0), legs=1.0)
    assert often.unexplained == pytest.approx(once.unexplained)
    assert often.own / often.grown == pytest.approx(once.own / once.grown, rel=0.02)
    rare = learn(start, step(created=10.0, assigned=5.0, seconds=20.0), legs=1.0)
    assert rare == once, "a report is worth a second at most"


def test_a_configured_headroom_is_kept_exactly():
    subject = Subject(Policy(headroom=3.0), replicas=8).sees(poll(0.0, 10), poll(1.0, 80), poll(2.0, 10))
    assert subject.publish(2.0)[1].headroom == 3.0


def test_one_balancer_takes_no_turns():
    assert all(turn_taking(1.0, replicas=1, legs=2.0, moment=t / 7) == 0.0 for t in range(100))
    # Callers from elsewhere lower our share, but they do not look at free slots.
    assert all(turn_taking(0.5, replicas=1, legs=2.0, moment=t / 7) == 0.0 for t in range(100))


@pytest.mark.parametrize("replicas", [2, 4, 8])
def test_replicas_that_see_the_same_free_slots_take_turns(replicas):
    """Each sees ``free`` slots and takes calls until its own arithmetic says full. Without turns all of them take one
    too many; with them they take about what is free."""
    lots = random.Random(replicas)
    free, part = 4, 1.0 / replicas

    def taken(kept):
        count = 0
        while free - kept - count / part >= 1:
            count += 1
        return count

    alike = sum(taken(0.0) for _ in range(replicas))
    turns = [
        sum(taken(turn_taking(part, replicas=replicas, legs=1.0, moment=lots.uniform(0, 1e6))) for _ in range(replicas))
        for _ in range(500)
    ]
    assert alike >= free
    assert mean(turns) < max(alike, free + 1)
    assert 0.5 * free <= mean(turns) <= 1.6 * free


def test_the_lot_is_even_and_another_one_with_every_report():
    kept = [turn_taking(0.25, replicas=4, legs=1.0, moment=1000.0 + t * 1.0) for t in range(2000)]
    assert mean(kept) == pytest.approx(0.6 * mean(max(0.0, 4 * u / 1000 - 1) for u in range(1000)), rel=0.1)
    assert len(set(kept)) > 1000


finite = st.floats(-1e9, 1e9)


@given(
    st.lists(st.tuples(finite, st.none() | finite, st.floats(0, 1e9), st.floats(0, 1e9), finite, finite), max_size=50),
    st.integers(1, 16),
    st.integers(1, 64),
)
def test_whatever_comes_share_and_headroom_stay_in_bounds(steps, legs, replicas):
    learned = Learned()
    for growth, created, assigned, ended, excess, limit in steps:
        seen = step(growth, created, assigned, ended, excess, limit)
        learned = learn(learned, seen, legs=float(legs))
        assert 1 / (2 * replicas) <= share(learned, replicas) <= 1
        assert 0 <= headroom(learned, limit=limit, legs=legs) <= max(0.0, limit) * 0.1
        kept = turn_taking(share(learned, replicas), replicas=replicas, legs=legs, moment=abs(growth))
        assert 0 <= kept <= legs * replicas
