"""The arithmetic and the choice that Python borrows from the packet path."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender._core import Chooser, Evaluation, evaluate

BASE = {
    "sessions": 10,
    "max_sessions": 100,
    "cap": None,
    "headroom": 2,
    "share": 1.0,
    "legs_per_call": 2,
    "assigned": 0,
    "ended": 0,
}


def test_effective_capacity_and_free():
    room = evaluate(**BASE)
    assert (room.effective, room.capacity, room.free, room.eligible) == (10, 97, 87, True)
    assert room.utilization == pytest.approx(10 / 97)


def test_the_share_scales_what_we_assigned_and_guards_what_we_saw_end():
    assert evaluate(**{**BASE, "assigned": 3, "ended": 1, "share": 0.5}).effective == 18
    assert evaluate(**{**BASE, "assigned": 1, "ended": 3, "share": 0.5}).effective == 10
    assert evaluate(**{**BASE, "assigned": 1, "ended": 3, "share": 1.0}).effective == 6


def test_the_limit_is_max_sessions_less_one_and_the_cap():
    assert evaluate(**{**BASE, "headroom": 0, "sessions": 97}).eligible
    assert not evaluate(**{**BASE, "headroom": 0, "sessions": 98}).eligible
    assert evaluate(**{**BASE, "cap": 50.0}).capacity == 48


@pytest.mark.parametrize("wrong", [{"sessions": math.nan}, {"cap": math.inf}, {"share": 0.0}, {"share": 1.1}])
def test_nonsense_is_a_value_error(wrong):
    with pytest.raises(ValueError, match=r"finite|share"):
        evaluate(**{**BASE, **wrong})


numbers = st.floats(-1e6, 1e6)
counts = st.integers(0, 10**9)


@given(
    sessions=numbers,
    max_sessions=numbers,
    cap=st.none() | numbers,
    headroom=numbers,
    share=st.floats(0.001, 1),
    legs_per_call=st.integers(1, 10),
    assigned=counts,
    ended=counts,
)
def test_every_result_is_finite_and_sane(**load):
    room = evaluate(**load)
    assert all(math.isfinite(number) for number in (room.effective, room.capacity, room.free, room.utilization))
    assert min(room.effective, room.capacity, room.free) >= 0
    assert 0 <= room.utilization <= 1


def room(sessions: float, max_sessions: float = 101) -> Evaluation:
    return evaluate(**{**BASE, "legs_per_call": 1, "headroom": 0, "sessions": sessions, "max_sessions": max_sessions})


def test_the_less_utilized_of_two_wins_and_a_full_one_never():
    chooser = Chooser("LeastLoad", 7)
    assert {chooser.choose([(room(90), 1.0), (room(10), 1.0)], set()) for _ in range(50)} == {1}
    assert {chooser.choose([(room(100), 1.0), (room(99), 1.0)], set()) for _ in range(50)} == {1}


def test_what_is_excluded_or_full_is_not_chosen():
    chooser = Chooser("LeastLoad", 7)
    assert chooser.choose([(room(0), 1.0), (room(50), 1.0)], {0}) == 1
    assert chooser.choose([(room(0), 1.0)], {0}) is None
    assert chooser.choose([(room(100), 1.0)], set()) is None
    assert chooser.choose([], set()) is None


def test_round_robin_interleaves_by_weight():
    chooser = Chooser("RoundRobin", 0)
    nodes = [(room(0), 2.0), (room(0), 1.0)]
    taken = [chooser.choose(nodes, set()) for _ in range(6)]
    assert Counter(taken) == {0: 4, 1: 2}
    assert taken != sorted(taken)


def test_the_same_seed_chooses_the_same():
    nodes = [(room(0), 1.0)] * 8
    first, second = Chooser("LeastLoad", 3), Chooser("LeastLoad", 3)
    assert [first.choose(nodes, set()) for _ in range(50)] == [second.choose(nodes, set()) for _ in range(50)]


def test_an_unknown_algorithm_is_a_value_error():
    with pytest.raises(ValueError, match="Guess"):
        Chooser("Guess", 1)
