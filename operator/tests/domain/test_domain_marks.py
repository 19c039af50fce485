"""What is marked on pods: the deletion cost and safe-to-evict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scale_worlds import NOW, node, ours, starting, theirs

from switchtender_operator.domain.autoscale import LOWEST_COST, ScaleNode
from switchtender_operator.domain.marks import DRAINED_COST, RELEASED_COST, WRITE_EVERY, Marks, MarkWrite, wanted

NEVER: Mapping[str, datetime] = {}


def writes(
    *nodes: ScaleNode,
    current: Mapping[str, Marks] | None = None,
    written: Mapping[str, datetime] = NEVER,
    on_timeout: Literal["Hold", "Release"] = "Hold",
    budget: int = 100,
) -> list[MarkWrite]:
    """What is to be written; `current` and `written` by name."""
    return wanted(
        nodes,
        {f"uid-{name}": marks for name, marks in (current or {}).items()},
        {f"uid-{name}": at for name, at in written.items()},
        NOW,
        on_timeout=on_timeout,
        stale_after=10.0,
        budget=budget,
    )


def mark(one: ScaleNode, current: Marks | None = None, on_timeout: Literal["Hold", "Release"] = "Hold") -> Marks | None:
    """The marks that one node is to get, None where it is left as it is."""
    written = writes(one, current={one.name: current} if current else None, on_timeout=on_timeout)
    return written[0].marks if written else None


@pytest.mark.parametrize(
    ("sessions", "capacity", "cost"),
    [(0, 100.0, 0), (1, 100.0, 10), (10, 100.0, 10), (11, 100.0, 20), (100, 100.0, 100), (3, 4.0, 3), (7, 999.0, 100)],
)
def test_the_cost_is_the_sessions_rounded_up_to_a_tenth_of_what_the_node_takes(
    sessions: int, capacity: float, cost: int
) -> None:
    assert mark(node("a", sessions, capacity=capacity)) == Marks(cost, sessions == 0)


def test_a_node_that_does_not_say_what_it_takes_goes_by_the_others() -> None:
    some = writes(node("a", 7, capacity=None), node("b", 7, capacity=200.0), node("c", 7, capacity=100.0))
    assert [write.marks.cost for write in some] == [20, 20, 10]
    assert mark(node("a", 7, capacity=None)) == Marks(7, safe_to_evict=False)


def test_a_cost_that_is_right_to_within_a_step_stays() -> None:
    busy = [(10, None), (9, None), (3, None), (1, None), (0, Marks(0, safe_to_evict=True)), (11, Marks(20, False))]
    for sessions, expected in busy:
        assert mark(node("a", sessions), Marks(20 if sessions <= 10 and sessions else 10, False)) == expected, sessions
    assert mark(node("a", 5), Marks(30, safe_to_evict=False)) == Marks(10, safe_to_evict=False)


@pytest.mark.parametrize(
    "unknown",
    [
        starting("a"),
        node("a", None),
        node("a", 5, age=60.0),
        node("a", 5, age=None),
        theirs("a", 0, terminating=True),
    ],
)
def test_a_node_of_unknown_load_or_on_its_way_out_is_left_as_it_is(unknown: ScaleNode) -> None:
    assert mark(unknown, Marks(50, safe_to_evict=False)) is None


def test_a_drained_node_goes_before_those_that_take_calls() -> None:
    assert mark(theirs("a", 0)) == Marks(DRAINED_COST, safe_to_evict=True)
    assert mark(theirs("a", 5)) == Marks(10, safe_to_evict=False)
    assert mark(ours("a", 0)) == Marks(LOWEST_COST, safe_to_evict=True)
    assert mark(ours("a", 5)) == Marks(10, safe_to_evict=False)


def test_a_drain_just_begun_is_not_taken_for_done() -> None:
    assert mark(ours("a", 0, since=NOW - timedelta(seconds=5))) == Marks(0, safe_to_evict=True)


def test_past_the_deadline_hold_protects_and_release_gives_up() -> None:
    late = ours("a", 5, expired=True)
    assert mark(late) == Marks(10, safe_to_evict=False)
    assert mark(late, on_timeout="Release") == Marks(LOWEST_COST, safe_to_evict=True)
    late = theirs("a", 5, expired=True)
    assert mark(late, on_timeout="Release") == Marks(RELEASED_COST, safe_to_evict=True)
    assert DRAINED_COST < RELEASED_COST < 0, "an empty one goes before one whose calls are given up"


def test_what_is_right_is_not_written() -> None:
    assert mark(node("a", 5), Marks(10, safe_to_evict=False)) is None


def test_a_pod_is_written_once_a_minute() -> None:
    recent, old = NOW - timedelta(seconds=59), NOW - WRITE_EVERY
    assert writes(node("a", 5), written={"a": recent}) == []
    assert len(writes(node("a", 5), written={"a": old})) == 1
    assert len(writes(node("a", 5), written={"a": NOW + timedelta(hours=1)})) == 1, "the clock was set back"


def test_the_urgent_are_written_first_then_those_that_waited_longest() -> None:
    nodes = [node("a", 50), node("b", 50), node("c", 5), node("d", 0), node("e", 0)]
    current = {
        "a": Marks(90, safe_to_evict=False),
        "b": Marks(90, safe_to_evict=False),
        "c": Marks(0, safe_to_evict=True),
        "d": Marks(LOWEST_COST, safe_to_evict=True),
        "e": Marks(20, safe_to_evict=False),
    }
    written = {"a": NOW - timedelta(minutes=2), "b": NOW - timedelta(minutes=3), "e": NOW - timedelta(hours=1)}
    ordered = writes(*nodes, current=current, written=written)
    assert [(write.name, write.urgent) for write in ordered] == [
        ("c", True),
        ("d", True),
        ("e", False),
        ("b", False),
        ("a", False),
    ]
    assert [write.name for write in writes(*nodes, current=current, written=written, budget=2)] == ["c", "d"]
    assert writes(*nodes, current=current, budget=0) == []


@given(
    sessions=st.integers(0, 5000),
    capacity=st.sampled_from([None, 1.0, 20.0, 333.3, 5000.0]),
    current=st.builds(Marks, st.sampled_from([None, -1000, 0, 40, 300, 9000]), st.sampled_from([None, True, False])),
)
def test_a_node_with_calls_is_never_marked_as_free_and_a_mark_is_final(
    sessions: int, capacity: float | None, current: Marks
) -> None:
    one = node("a", sessions, capacity=capacity)
    after = mark(one, current) or current
    assert after.safe_to_evict is (sessions == 0)
    assert after.cost is not None
    assert (after.cost == 0) if sessions == 0 else (after.cost >= sessions)
    assert mark(one, after) is None


@given(many=st.lists(st.integers(0, 120), min_size=2, max_size=6))
def test_the_emptiest_node_never_costs_more_than_another_by_over_a_step(many: list[int]) -> None:
    costs = [mark(node(f"n{number}", sessions)) for number, sessions in enumerate(many)]
    emptiest = costs[many.index(min(many))]
    assert emptiest is not None
    assert all(other is not None and (emptiest.cost or 0) <= (other.cost or 0) for other in costs)
