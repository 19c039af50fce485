"""What balancers say, gathered by group: the youngest report wins, and only news wakes a group."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender_operator.domain.world import SetVersion
from switchtender_operator.reconcile.balancers import (
    BalancerState,
    Observations,
    Poller,
    UnauthorizedError,
    UnusableError,
    read_state,
)
from switchtender_operator.reconcile.objects import Endpoint

KEY = "voice/ivr"
WALL = datetime(2026, 1, 1, tzinfo=UTC)
A, B = Endpoint("a", "10.0.0.1", 8080), Endpoint("b", "10.0.0.2", 8080)


def raw(instance: str = "a", *, age: float | None = 0.5, sessions: int = 10, **more: Any) -> dict[str, Any]:
    node = {
        "namespace": "voice", "group": "ivr", "uid": "u1", "name": "fs-0", "state": "ready", "reason": "Reporting",
        "reportAge": age, "sessions": sessions, "maxSessions": 100, "capacity": 90.0, "effective": 10.0, "verdict": "",
        "pausedByUs": False,
    }  # fmt: skip
    return {
        "format": 1,
        "instance": instance,
        "version": "0.1.0",
        "balancer": "default",
        "sets": [
            {"namespace": "voice", "name": name, "uid": f"s-{name}", "generation": 3}
            for name in ("ivr", "ivr.2", "ivrx")
        ],
        "groups": [{"namespace": "voice", "name": "ivr", "uid": "g", "generation": 7, "rejected": None, "assigned": 5}],
        "nodes": [{**node, **more}],
        "unknownFields": 0,
        "somethingNew": {"of": "a later version"},
    }


def state(instance: str = "a", **more: Any) -> BalancerState:
    return read_state(raw(instance, **more))


def test_a_state_is_read_by_group() -> None:
    read = state()
    seen = read.groups[KEY]
    assert (seen.group_uid, seen.generation, seen.rejected) == ("g", 7, None)
    assert seen.sets == {"ivr": SetVersion("s-ivr", 3), "ivr.2": SetVersion("s-ivr.2", 3)}
    assert read.nodes[KEY]["u1"].sessions == 10


BROKEN = [
    {},
    {"format": 2},
    {**raw(), "format": "1"},
    {**raw(), "nodes": [{}]},
    {**raw(), "groups": 5},
    raw(sessions="many"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_cannot_be_read_is_refused_whole(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        read_state(broken)


def test_the_youngest_report_wins_and_only_placed_calls_are_summed() -> None:
    observations = Observations()
    states = {"a": state("a", age=3.0, sessions=50), "b": state("b", age=0.2, sessions=12)}
    observations.heard("default", [A, B], states, 100.0)
    observations.observe(KEY, "default", 100.0, WALL)
    seen = observations.of(KEY)
    assert seen is not None
    assert (seen.nodes["u1"].sessions, seen.nodes["u1"].age) == (12, 0.2)
    assert (seen.balancers.total, seen.balancers.reachable, seen.balancers.assigned) == (2, 2, 10)


def test_a_node_never_heard_of_yields_to_any_report() -> None:
    observations = Observations()
    states = {"a": state("a", age=None, sessions=0), "b": state("b", age=60.0, sessions=12)}
    observations.heard("default", [A, B], states, 0.0)
    observations.observe(KEY, "default", 0.0, WALL)
    assert observations.of(KEY).nodes["u1"].sessions == 12  # type: ignore[union-attr]


def test_that_one_balancer_paused_the_node_is_kept() -> None:
    observations = Observations()
    states = {"a": state("a", age=3.0, pausedByUs=True), "b": state("b", age=0.2)}
    observations.heard("default", [A, B], states, 0.0)
    observations.observe(KEY, "default", 0.0, WALL)
    assert observations.of(KEY).nodes["u1"].paused_by_us  # type: ignore[union-attr]


def test_a_balancer_is_remembered_for_a_moment_and_its_reports_grow_old() -> None:
    observations = Observations(memory=3.0)
    observations.heard("default", [A], {"a": state()}, 0.0)
    observations.observe(KEY, "default", 0.0, WALL)
    observations.heard("default", [A], {}, 2.0)
    assert not observations.observe(KEY, "default", 2.0, WALL)
    assert observations.of(KEY).nodes["u1"].age == 2.5  # type: ignore[union-attr]
    observations.heard("default", [A], {}, 4.0)
    assert observations.observe(KEY, "default", 4.0, WALL)
    kept = observations.of(KEY)
    assert kept is not None
    assert (kept.balancers.reachable, kept.balancers.total, kept.nodes["u1"].sessions) == (0, 1, 10)


def test_a_balancer_that_is_listed_no_more_is_forgotten_at_once() -> None:
    observations = Observations()
    observations.heard("default", [A, B], {"a": state("a"), "b": state("b")}, 0.0)
    observations.heard("default", [A], {"a": state("a")}, 1.0)
    assert observations.reachable() == {"default": (1, 1)}


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({}, False),
        ({"age": 1.9}, False),
        ({"sessions": 10, "effective": 11.0, "verdict": "x"}, False),
        ({"sessions": 11}, True),
        ({"state": "stale"}, True),
        ({"reason": "Silent"}, True),
        ({"capacity": 91.0}, False),
        ({"capacity": 40.0}, True),
        ({"pausedByUs": True}, True),
        ({"drain": {"since": 1772362800.0, "deadline": None, "reason": "Paused"}}, True),
    ],
)
def test_only_news_wakes_a_group(change: dict[str, Any], news: bool) -> None:
    observations = Observations()
    observations.heard("default", [A], {"a": state()}, 0.0)
    assert observations.observe(KEY, "default", 0.0, WALL)
    observations.heard("default", [A], {"a": state(**change)}, 1.0)
    assert observations.observe(KEY, "default", 1.0, WALL) is news


@pytest.mark.parametrize(("remaining", "effective"), [(2, 2.0), (0, 1.0), (0, 0.0)])
def test_what_remains_on_a_node_that_drains_is_news_in_a_large_group_too(remaining: int, effective: float) -> None:
    def told(sessions: int, effective: float) -> BalancerState:
        large = raw(sessions=sessions, effective=effective, state="draining")
        large["nodes"].append({**raw(sessions=9000)["nodes"][0], "uid": "u2", "name": "fs-1"})
        return read_state(large)

    observations = Observations()
    observations.heard("default", [A], {"a": told(3, 3.0)}, 0.0)
    observations.observe(KEY, "default", 0.0, WALL)
    observations.heard("default", [A], {"a": told(remaining, effective)}, 1.0)
    assert observations.observe(KEY, "default", 1.0, WALL)
    observations.heard("default", [A], {"a": told(remaining, effective)}, 2.0)
    assert not observations.observe(KEY, "default", 2.0, WALL)


def test_the_last_call_on_its_way_is_news() -> None:
    observations = Observations()
    observations.heard("default", [A], {"a": state(sessions=0, effective=1.0, state="draining")}, 0.0)
    observations.observe(KEY, "default", 0.0, WALL)
    observations.heard("default", [A], {"a": state(sessions=0, effective=0.0, state="draining")}, 1.0)
    assert observations.observe(KEY, "default", 1.0, WALL)


@pytest.mark.parametrize(
    "drain",
    [None, 5, "now", {}, {"since": None}, {"since": "now"}, {"since": -5}, {"since": 1e18}, {"since": float("nan")}],
)
def test_a_drain_that_cannot_be_read_is_none(drain: Any) -> None:
    assert state(drain=drain).nodes[KEY]["u1"].drain_since is None


def test_of_a_drain_the_earliest_start_and_the_most_calls_on_their_way_count() -> None:
    def told(instance: str, age: float, since: float | None, effective: float | None) -> BalancerState:
        drain = None if since is None else {"since": since, "deadline": since + 60, "reason": "Paused"}
        return state(instance, age=age, sessions=0, effective=effective, drain=drain)

    observations = Observations()
    states = {"a": told("a", 3.0, 1772362800.9, 2.0), "b": told("b", 0.2, 1772366400.0, 0.0)}
    observations.heard("default", [A, B], states, 0.0)
    observations.observe(KEY, "default", 0.0, WALL)
    merged = observations.of(KEY).nodes["u1"]  # type: ignore[union-attr]
    assert merged.drain_since == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert (merged.age, merged.pending, merged.empty) == (0.2, 2.0, False)


def test_a_node_is_empty_once_the_last_balancer_keeps_new_calls_from_it() -> None:
    observations = Observations()
    closed = state("a", age=0.2, sessions=0, effective=0.0, state="draining")
    for at, others, empty in ((0.0, "ready", False), (1.0, "unknown", False), (2.0, "draining", True)):
        states = {"a": closed, "b": state("b", age=3.0, sessions=0, effective=0.0, state=others)}
        observations.heard("default", [A, B], states, at)
        assert observations.observe(KEY, "default", at, WALL) is (at != 1.0)
        assert observations.of(KEY).nodes["u1"].empty is empty  # type: ignore[union-attr]


def test_a_report_that_is_young_again_is_news_of_an_empty_node() -> None:
    observations = Observations()
    for at, age, news in ((0.0, 40.0, True), (1.0, 41.0, False), (2.0, 0.4, True), (3.0, 0.5, False)):
        states = {"a": state(age=age, sessions=0, effective=0.0, state="draining")}
        observations.heard("default", [A], states, at)
        assert observations.observe(KEY, "default", at, WALL) is news


def test_small_steps_add_up_to_news() -> None:
    observations = Observations(step=0.05)
    woken = 0
    for step in range(200):
        observations.heard("default", [A], {"a": state(sessions=1000 + step)}, float(step))
        woken += observations.observe(KEY, "default", float(step), WALL)
    assert 3 <= woken <= 6


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 500)), min_size=1, max_size=8), st.randoms())
def test_the_order_of_balancers_does_not_matter(reports: list[tuple[float, int]], rng: Any) -> None:
    def merged(order: list[int]) -> float | None:
        observations = Observations()
        states = {str(n): state(str(n), age=reports[n][0], sessions=reports[n][1]) for n in order}
        observations.heard("default", [Endpoint(str(n), "10.0.0.1", 1) for n in order], states, 0.0)
        observations.observe(KEY, "default", 0.0, WALL)
        return observations.of(KEY).nodes["u1"].age  # type: ignore[union-attr]

    order = list(range(len(reports)))
    expected = merged(order)
    rng.shuffle(order)
    assert merged(order) == expected == min(age for age, _ in reports)


class Scripted:
    """A poller's surroundings: tokens and answers as the test says."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.tokens: list[str | None] = ["good"]
        self.dirty: list[str] = []
        self.counts: list[str] = []
        self.asked_with: list[str] = []

    async def token(self, balancer: str, *, refused: str | None) -> str | None:
        if refused is not None and len(self.tokens) > 1:
            self.tokens.pop(0)
        return None if self.tokens[0] == refused else self.tokens[0]

    async def fetch(self, endpoint: Endpoint, token: str) -> BalancerState:
        self.asked_with.append(token)
        if token != "good":
            raise UnauthorizedError
        answer = self.answers.get(endpoint.instance)
        if answer is None:
            raise UnusableError("no answer")
        return answer

    def poller(self, observations: Observations, *endpoints: Endpoint) -> Poller:
        return Poller(
            observations,
            endpoints=lambda: {"default": list(endpoints)},
            groups=lambda: [(KEY, "default")],
            dirty=self.dirty.append,
            token=self.token,
            fetch=self.fetch,
            counted=self.counts.append,
            clock=lambda: 0.0,
            wall=lambda: WALL,
        )


async def test_a_round_asks_all_and_wakes_once() -> None:
    world, observations = Scripted(), Observations()
    world.answers = {"a": state("a"), "b": state("b")}
    poller = world.poller(observations, A, B)
    await poller.round()
    await poller.round()
    assert world.dirty == [KEY]
    assert observations.reachable() == {"default": (2, 2)}
    assert observations.asked
    assert world.counts == ["ok"] * 4


async def test_a_refused_token_is_asked_for_once_more() -> None:
    world, observations = Scripted(), Observations()
    world.answers, world.tokens = {"a": state("a")}, ["old", "good"]
    await world.poller(observations, A).round()
    assert world.asked_with == ["old", "good"]
    assert observations.reachable() == {"default": (1, 1)}


async def test_no_token_and_no_answer_are_no_errors_of_ours() -> None:
    world, observations = Scripted(), Observations()
    world.tokens = [None]
    await world.poller(observations, A).round()
    world.tokens = ["bad"]
    await world.poller(observations, A).round()
    world.tokens = ["good"]
    await world.poller(observations, A).round()
    assert observations.reachable() == {"default": (0, 1)}
    assert world.counts == ["failed", "refused", "failed"]
