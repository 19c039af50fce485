"""Deciding the number of nodes, case by case. A node takes 100 sessions, and there is no buffer, unless said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from scale_worlds import NOW, after_a_window, fresh_leader, node, ours, settled, soon, starting, theirs, world

from switchtender_api.status import (
    AUTOSCALE_ACTIVE,
    AUTOSCALE_LIMITED,
    AUTOSCALE_ROLLOUT,
    AUTOSCALE_SCALED_TO_ZERO,
    AUTOSCALE_STALE_LOAD,
)
from switchtender_operator.domain.autoscale import LOWEST_COST, ScaleHistory, ScaleNode, decide

GOING = {"cost": LOWEST_COST}
DOWN = node("c", None, state="down", age=None, ready=False)
STALE = {"state": "stale", "age": 60.0}


class TestAdding:
    """More nodes than there are."""

    def test_more_sessions_than_the_nodes_take_add_nodes_at_once(self) -> None:
        decision = fresh_leader(world([node("a", 95), node("b", 90), node("c", 80)], spec={"buffer": {"percent": 20}}))
        assert (decision.desired, decision.replicas, decision.reason) == (4, 4, AUTOSCALE_ACTIVE)

    def test_nodes_on_their_way_count_as_there(self) -> None:
        assert fresh_leader(world([node("a", 100), node("b", 90), starting("c")], replicas=4)).replicas is None

    def test_no_more_than_max_step_are_on_their_way_at_a_time(self) -> None:
        nodes = [node("a", 100), node("b", 100), node("c", 100), node("d", 100)]
        step = {"scaleOut": {"maxStep": 2}, "buffer": {"calls": 400}}
        assert fresh_leader(world(nodes, spec=step)).replicas == 6
        assert fresh_leader(world([*nodes, starting("e")], spec=step)).replicas == 6
        assert fresh_leader(world([*nodes, starting("e")], replicas=6, spec=step)).replicas is None

    def test_no_more_than_max_and_it_says_so(self) -> None:
        decision = fresh_leader(world([node("a", 100), node("b", 100)], spec={"max": 3, "buffer": {"calls": 900}}))
        assert (decision.desired, decision.replicas, decision.reason) == (3, 3, AUTOSCALE_LIMITED)

    def test_max_counts_no_draining_nodes(self) -> None:
        seen = world([node("a", 100), theirs("b", 50), theirs("c", 50)], spec={"max": 2, "buffer": {"calls": 90}})
        assert fresh_leader(seen).replicas == 4

    def test_the_least_of_the_scale_out_window_counts(self) -> None:
        spec = {"scaleOut": {"stabilizationWindow": "30s", "leadTime": "0s"}}
        calm, busy = world([node("a", 50)], spec=spec), world([node("a", 180)], spec=spec)
        history = ScaleHistory()
        added = []
        for seconds in range(0, 100, 10):
            seen = calm if seconds < 40 else busy
            decision, history = decide(replace(seen, now=NOW + timedelta(seconds=seconds)), history)
            added.append(decision.replicas)
        assert added == [None] * 7 + [2] * 3

    def test_a_rise_is_extrapolated_over_the_lead_time(self) -> None:
        def rising(lead: str) -> list[int]:
            history, desired = ScaleHistory(), []
            for seconds in range(0, 125, 5):
                seen = world([node("a", 300 + seconds, capacity=500.0)], spec={"scaleOut": {"leadTime": lead}})
                decision, history = decide(replace(seen, now=NOW + timedelta(seconds=seconds)), history)
                desired.append(decision.desired)
            return desired

        assert rising("0s")[-1] == 1
        assert rising("5m")[-1] == 2
        assert rising("30m")[-1] == 2, "a rise no more than doubles the sessions"

    def test_falling_sessions_are_not_extrapolated(self) -> None:
        history = ScaleHistory()
        for seconds in range(0, 125, 5):
            seen = world([node("a", 450 - seconds, capacity=300.0), node("b", 0, capacity=300.0)])
            decision, history = decide(replace(seen, now=NOW + timedelta(seconds=seconds)), history)
        assert decision.desired == 2

    def test_what_chance_gives_is_no_rise(self) -> None:
        history = ScaleHistory()
        for seconds in range(0, 125, 5):
            sessions = 395 + seconds // 12
            seen = world([node("a", sessions, capacity=406.0)], spec={"scaleOut": {"leadTime": "5m"}})
            decision, history = decide(replace(seen, now=NOW + timedelta(seconds=seconds)), history)
        assert decision.desired == 1

    def test_a_percentage_of_few_sessions_is_room_for_one_call(self) -> None:
        full = [node("a", 5, capacity=6.0)]
        assert fresh_leader(world(full, spec={"buffer": {"percent": 10}}, legs_per_call=2)).desired == 2
        assert fresh_leader(world(full, spec={"buffer": {"percent": 10}}, legs_per_call=1)).desired == 1
        assert fresh_leader(world(full, spec={"buffer": {"percent": 0}}, legs_per_call=2)).desired == 1

    def test_a_buffer_of_calls_is_in_legs(self) -> None:
        seen = world([node("a", 60)], spec={"buffer": {"calls": 30}})
        assert fresh_leader(seen).desired == 1
        assert fresh_leader(replace(seen, legs_per_call=2)).desired == 2

    def test_fewer_than_min_set_by_hand_are_made_up_at_once(self) -> None:
        assert fresh_leader(world([node("a", 0)], spec={"min": 3})).replicas == 3

    def test_no_replicas_at_all_are_left_as_they_are(self) -> None:
        decision = fresh_leader(world([], spec={"min": 3}))
        assert (decision.replicas, decision.reason) == (None, AUTOSCALE_SCALED_TO_ZERO)


class TestRevival:
    """Nodes that autoscaling drains are taken back before any are added."""

    def test_the_fullest_comes_back_first_and_no_node_is_added(self) -> None:
        decision = fresh_leader(world([node("a", 100), node("b", 90), ours("c", 5), ours("d", 9)], spec={"min": 3}))
        assert (decision.revive, decision.replicas) == (("uid-d",), None)

    def test_what_they_do_not_make_up_is_added(self) -> None:
        decision = fresh_leader(world([node("a", 100), ours("b", 5)], spec={"min": 4}))
        assert (decision.revive, decision.replicas) == (("uid-b",), 4)

    def test_by_ordinal_the_lowest_comes_back_first(self) -> None:
        nodes = [node("fs-0", 100), ours("fs-1", 1), ours("fs-2", 50)]
        assert fresh_leader(world(nodes, ordinal=True, spec={"min": 2})).revive == ("uid-fs-1",)

    def test_a_node_drained_by_its_user_never_comes_back(self) -> None:
        decision = fresh_leader(world([node("a", 100), theirs("b", 5)], spec={"min": 2}))
        assert (decision.revive, decision.replicas) == ((), 3)

    def test_a_node_that_is_down_is_no_help(self) -> None:
        decision = fresh_leader(world([node("a", 100), ours("b", 5, state="down")], spec={"min": 2}))
        assert (decision.revive, decision.replicas) == ((), 3)

    def test_a_marked_node_stays_gone_while_the_controller_removes_pods(self) -> None:
        nodes = [node("a", 100), node("b", 100), ours("c", 0, **GOING), ours("d", 7)]
        decision = fresh_leader(world(nodes, replicas=3, status_replicas=4, spec={"min": 3}))
        assert decision.revive == ("uid-d",)

    def test_a_revived_node_is_not_revived_again_before_it_is_seen(self) -> None:
        seen = world([node("a", 100), ours("b", 5), ours("c", 4)], spec={"min": 2})
        decision, history = decide(seen, ScaleHistory())
        assert decision.revive == ("uid-b",)
        again, _ = decide(replace(seen, now=NOW + timedelta(seconds=1)), history)
        assert (again.revive, again.replicas) == ((), None)


class TestDraining:
    """Fewer nodes than there are: the surplus drains."""

    def test_nothing_drains_before_a_whole_window_of_this_leader(self) -> None:
        seen = world([node("a", 30), node("b", 10), node("c", 20)], spec={"scaleIn": {"maxStep": 1}})
        assert fresh_leader(seen).drain == ()
        assert settled(seen).drain == ("uid-b",)

    def test_the_most_of_the_window_counts(self) -> None:
        seen = world([node("a", 30), node("b", 10)])
        history = after_a_window(seen)
        peak = world([node("a", 90), node("b", 90)], now=NOW + timedelta(seconds=5))
        _, history = decide(peak, history)
        later = [decide(replace(seen, now=NOW + timedelta(seconds=s)), history)[0].drain for s in (10, 600)]
        assert later == [(), ()]

    def test_of_equally_empty_ones_the_youngest(self) -> None:
        nodes = [node("a", 9), node("b", 9, created=NOW - timedelta(minutes=20)), node("c", 9)]
        assert settled(world(nodes, spec={"scaleIn": {"maxStep": 1}})).drain == ("uid-b",)

    def test_no_more_than_max_step_within_a_window_whoever_began_them(self) -> None:
        nodes = [node(name, 1) for name in "abcdef"]
        assert len(settled(world(nodes)).drain) == 2
        assert len(settled(world([*nodes, ours("g", 3)])).drain) == 1
        ended = ours("g", 3, since=NOW - timedelta(minutes=11))
        assert len(settled(world([*nodes, ended])).drain) == 2

    def test_a_drain_begun_is_not_begun_again_before_it_is_seen(self) -> None:
        seen = world([node("a", 30), node("b", 10), node("c", 10)])
        decision, history = decide(seen, after_a_window(seen))
        assert set(decision.drain) == {"uid-b", "uid-c"}
        emptier = world([node("a", 0), node("b", 10), node("c", 10)], now=NOW + timedelta(seconds=1))
        assert decide(emptier, history)[0].drain == ()

    def test_a_drain_that_never_came_about_is_asked_for_again(self) -> None:
        seen = world([node("a", 30), node("b", 10)])
        _, history = decide(seen, after_a_window(seen))
        for seconds in (5, 10, 15):
            decision, history = decide(replace(seen, now=NOW + timedelta(seconds=seconds)), history)
            assert (decision.drain, decision.replicas, decision.lowest) == ((), None, ())
        assert decide(replace(seen, now=NOW + timedelta(seconds=20)), history)[0].drain == ("uid-b",)

    def test_sessions_of_draining_nodes_are_expected_on_the_others(self) -> None:
        nodes = [node("a", 60), node("b", 60), node("c", 60), theirs("d", 100)]
        assert settled(world(nodes)).drain == ()
        assert fresh_leader(world(nodes)).desired == 2, "but nothing is added for them before they come"

    def test_more_than_max_set_by_hand_drain(self) -> None:
        nodes = [node("a", 80), node("b", 85), node("c", 90)]
        assert settled(world(nodes, spec={"max": 2})).drain == ("uid-a",)

    def test_nodes_that_are_still_to_come_let_none_drain(self) -> None:
        nodes = [node("a", 90), node("b", 5), starting("c"), starting("d")]
        assert settled(world(nodes, spec={"min": 2})).drain == ()

    def test_pods_that_find_no_host_go_first(self) -> None:
        nodes = [node("a", 90), node("b", 0), starting("c", pending=True)]
        assert settled(world(nodes, spec={"scaleIn": {"maxStep": 1}})).drain == ("uid-c",)

    def test_by_ordinal_the_highest_drain(self) -> None:
        nodes = [node("fs-8", 0), node("fs-9", 10), node("fs-10", 40)]
        assert settled(world(nodes, ordinal=True)).drain == ("uid-fs-10", "uid-fs-9")

    def test_ordinals_may_start_anywhere(self) -> None:
        nodes = [node("fs-3", 50), node("fs-4", 10)]
        assert settled(world(nodes, ordinal=True)).drain == ("uid-fs-4",)

    @pytest.mark.parametrize("names", [("fs-0", "fs-2"), ("fs-0", "other"), ("fs-0", "fs-01")])
    def test_pods_not_numbered_without_a_gap_are_left_alone(self, names: tuple[str, str]) -> None:
        assert settled(world([node(name, 0) for name in names], ordinal=True)).drain == ()

    def test_below_a_top_pod_drained_by_its_user_none_drains_by_ordinal(self) -> None:
        nodes = [node("fs-0", 0), node("fs-1", 0), theirs("fs-2", 0)]
        assert settled(world(nodes, ordinal=True)).drain == ()

    def test_above_a_pod_drained_by_its_user_they_drain_by_ordinal(self) -> None:
        nodes = [node("fs-0", 0), theirs("fs-1", 0), node("fs-2", 0), node("fs-3", 0), ours("fs-4", 3)]
        assert settled(world(nodes, ordinal=True)).drain == ("uid-fs-3",)


def almost_gone(**more: Any) -> list[ScaleNode]:
    """One node with calls, and one that was drained, is empty and marked."""
    return [node("a", 30), replace(ours("b", 0, **GOING), **more)]


class TestRemoval:
    """The replicas go down by one where whatever Kubernetes could choose may go."""

    def test_an_empty_node_is_marked_and_removed_once_the_mark_is_read_back(self) -> None:
        decision = soon(world(almost_gone(cost=None)))
        assert (decision.lowest, decision.replicas) == (("uid-b",), None)
        decision = soon(world(almost_gone()))
        assert (decision.lowest, decision.replicas) == ((), 1)

    def test_the_controller_is_given_time_to_learn_of_the_mark(self) -> None:
        history, replicas = ScaleHistory(), []
        for seconds in (0, 2, 3):
            decision, history = decide(world(almost_gone(), now=NOW + timedelta(seconds=seconds)), history)
            replicas.append(decision.replicas)
        assert replicas == [None, None, 1]

    def test_the_mark_is_waited_for_even_where_no_other_cost_is_as_low(self) -> None:
        decision = soon(world([node("a", 30, cost=30), ours("b")]))
        assert (decision.lowest, decision.replicas) == (("uid-b",), None)

    def test_one_at_a_time(self) -> None:
        assert soon(world([*almost_gone(), ours("c", 0, **GOING)])).replicas == 2

    @pytest.mark.parametrize(
        "why",
        [
            {"status_replicas": 3},
            {"status_replicas": 1},
            {"replicas": 3},
            {"rolling": True},
        ],
    )
    def test_not_before_the_last_change_is_done(self, why: dict[str, Any]) -> None:
        assert soon(world(almost_gone(), **why)).replicas is None

    @pytest.mark.parametrize(
        "node_b",
        [
            {"sessions": 1},
            {"sessions": None, "age": None},
            {"age": 60.0},
            {"since": NOW - timedelta(seconds=5)},
            {"since": NOW - timedelta(seconds=14), "age": 6.0},
            {"since": None},
            {"drained_by_us": False},
            {"draining": False, "drained_by_us": False, "state": "ready"},
        ],
    )
    def test_not_while_it_may_have_a_call(self, node_b: dict[str, Any]) -> None:
        assert soon(world(almost_gone(**node_b))).replicas is None

    @pytest.mark.parametrize(
        "other",
        [
            node("c", 3, cost=LOWEST_COST),
            node("c", 3, cost=-5000),
            node("c", 3, ready=False),
            starting("c"),
            starting("c", pending=True),
            theirs("c", 0, cost=LOWEST_COST),
        ],
    )
    def test_not_while_another_pod_stands_first_in_line(self, other: ScaleNode) -> None:
        decision = soon(world([*almost_gone(), other]))
        assert decision.replicas is None
        assert "pod c would be removed first" in decision.message

    def test_a_pod_on_its_way_out_stands_in_no_line(self) -> None:
        gone = theirs("c", 7, terminating=True, ready=False)
        assert soon(world([*almost_gone(), gone])).replicas == 1

    def test_past_the_deadline_hold_waits_and_release_removes(self) -> None:
        nodes = almost_gone(sessions=4, expired=True)
        assert soon(world(nodes)).replicas is None
        assert soon(world(nodes, on_timeout="Release")).replicas == 1

    def test_a_pod_that_was_never_ready_needs_no_report(self) -> None:
        drain = {"drained_by_us": True, "draining": True, "since": NOW - timedelta(seconds=1), "pending": True}
        decision = soon(world([node("a", 30), starting("b", **drain)]))
        assert (decision.lowest, decision.replicas) == (("uid-b",), None)
        assert soon(world([node("a", 30), starting("b", **drain, **GOING)])).replicas == 1

    def test_by_ordinal_only_the_highest_and_without_a_mark(self) -> None:
        nodes = [node("fs-0", 30), ours("fs-1"), ours("fs-2", 2)]
        decision = soon(world(nodes, ordinal=True))
        assert (decision.lowest, decision.replicas) == ((), None)
        nodes[2] = ours("fs-2")
        assert soon(world(nodes, ordinal=True)).replicas == 2

    def test_by_ordinal_a_pod_that_is_not_ready_below_is_no_hindrance(self) -> None:
        nodes = [node("fs-0", 30), node("fs-1", 3, ready=False), ours("fs-2")]
        assert soon(world(nodes, ordinal=True)).replicas == 2

    def test_by_ordinal_the_top_pod_drained_by_its_user_stays_even_empty(self) -> None:
        assert soon(world([node("fs-0", 30), ours("fs-1"), theirs("fs-2")], ordinal=True)).replicas is None

    def test_a_node_that_is_needed_again_is_not_removed(self) -> None:
        decision = soon(world([node("a", 90), *almost_gone()[1:]], spec={"min": 2}))
        assert (decision.revive, decision.lowest, decision.replicas) == (("uid-b",), (), None)

    def test_its_removal_is_not_taken_for_a_shortage(self) -> None:
        seen = world([node("a", 90), node("c", 90), ours("b", 0, **GOING)], replicas=2, status_replicas=3)
        assert soon(seen).replicas is None


class TestUnknownAndFailed:
    """Nodes that do not say how they are."""

    def test_while_no_node_ever_reported_there_is_min_and_nothing_else(self) -> None:
        decision = fresh_leader(world([starting("a")], spec={"min": 2}))
        assert (decision.desired, decision.replicas, decision.reason) == (2, 2, AUTOSCALE_ACTIVE)
        silent = [node(name, None, age=None, capacity=None, state="unknown") for name in "abc"]
        decision = settled(world(silent))
        assert (decision.replicas, decision.drain, decision.reason) == (None, (), AUTOSCALE_STALE_LOAD)

    def test_stale_load_takes_nothing_away(self) -> None:
        nodes = [*almost_gone(), node("c", 1), node("d", 1), node("e", 2, **STALE)]
        decision = settled(world(nodes))
        assert (decision.drain, decision.replicas, decision.reason) == ((), None, AUTOSCALE_STALE_LOAD)

    def test_stale_load_adds_nothing_by_itself(self) -> None:
        decision = settled(world([node("a", 500, **STALE), node("b", 90, **STALE), node("c", 90)]))
        assert (decision.desired, decision.replicas) == (3, None)

    def test_beside_a_stale_node_the_others_may_be_short(self) -> None:
        assert fresh_leader(world([node("a", 5, **STALE), node("b", 100), node("c", 150)])).replicas == 4

    def test_a_failed_node_is_made_up_for_and_never_removed(self) -> None:
        nodes = [node("a", 100), node("b", 90), DOWN]
        assert settled(world(nodes, spec={"min": 3})).replicas == 4
        decision = settled(world([node("a", 10), node("b", 10), DOWN], spec={"min": 2}))
        assert (decision.drain, decision.replicas) == ((), None)

    @pytest.mark.parametrize("failing", [DOWN, replace(DOWN, state="ready", age=1.0, sessions=3)])
    def test_it_is_given_half_a_minute_to_come_back(self, failing: ScaleNode) -> None:
        seen = world([node("a", 90), failing], spec={"min": 2})
        history, added = ScaleHistory(), []
        for seconds in (0, 15, 29, 30):
            decision, history = decide(replace(seen, now=NOW + timedelta(seconds=seconds)), history)
            added.append(decision.replicas)
        assert added == [None, None, None, 3]

    def test_one_that_answers_no_more_for_a_moment_is_not_made_up_for(self) -> None:
        seen = world([node("a", 90), node("b", 90, state="stale", age=4.0)], spec={"min": 2})
        assert (settled(seen).replicas, settled(seen).reason) == (None, AUTOSCALE_STALE_LOAD)

    def test_where_every_node_failed_no_more_are_made(self) -> None:
        seen = world([node("a", 90), node("b", 90)])
        _, history = decide(seen, ScaleHistory())
        for seconds in (5, 40):
            down = [replace(DOWN, uid=each.uid, name=each.name) for each in seen.nodes]
            decision, history = decide(world(down, now=NOW + timedelta(seconds=seconds)), history)
            assert decision.replicas is None

    def test_failed_nodes_never_make_it_exceed_max(self) -> None:
        down = [replace(DOWN, uid=f"uid-{name}", name=name) for name in "bcd"]
        decision = settled(world([node("a", 100), *down], spec={"min": 3, "max": 5}))
        assert (decision.replicas, decision.reason) == (5, AUTOSCALE_LIMITED)

    def test_a_node_that_starts_and_refuses_the_event_socket_has_not_failed(self) -> None:
        assert settled(world([node("a", 90), starting("b", state="down")], spec={"min": 2})).replicas is None

    def test_a_node_that_never_becomes_ready_is_made_up_for_after_a_while(self) -> None:
        def with_one_made(minutes: int) -> int | None:
            late = starting("b", created=NOW - timedelta(minutes=minutes))
            return fresh_leader(world([node("a", 90), late], spec={"min": 2})).replicas

        assert with_one_made(9) is None
        assert with_one_made(11) == 3

    def test_a_pod_that_finds_no_host_is_not_made_up_for(self) -> None:
        late = starting("b", created=NOW - timedelta(hours=1), pending=True)
        assert fresh_leader(world([node("a", 90), late], spec={"min": 2})).replicas is None

    def test_where_all_nodes_are_drained_by_their_user_others_are_made(self) -> None:
        assert fresh_leader(world([theirs("a", 80), theirs("b", 80)], spec={"min": 2})).replicas == 4

    def test_what_a_node_takes_is_the_median(self) -> None:
        nodes = [node("a", 100), node("b", 100), node("c", 50, capacity=1000.0)]
        assert fresh_leader(world(nodes)).desired == 3


class TestRollout:
    """While the target's pods are replaced."""

    def test_nodes_are_added_but_none_is_taken_away(self) -> None:
        seen = world([*almost_gone(), node("c", 1), node("d", 1)], rolling=True)
        decision = settled(seen)
        assert (decision.drain, decision.replicas, decision.reason) == ((), None, AUTOSCALE_ROLLOUT)
        assert fresh_leader(world([node("a", 100), node("b", 150)], rolling=True)).replicas == 3

    def test_pods_it_starts_do_not_count_as_added(self) -> None:
        seen = world([node("a", 250), starting("b")], replicas=1, rolling=True, spec={"scaleOut": {"maxStep": 1}})
        assert fresh_leader(seen).replicas == 2


class TestLeader:
    """What one leader knows and the next does not."""

    def test_a_new_leader_finishes_what_the_last_began(self) -> None:
        assert soon(world(almost_gone())).replicas == 1

    @pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(seconds=-1), timedelta(hours=1)])
    def test_a_clock_that_was_set_makes_a_leader_begin_anew(self, jump: timedelta) -> None:
        seen = world([node("a", 30), node("b", 10)])
        history = after_a_window(seen)
        moved = [replace(each, created=None) for each in seen.nodes]
        assert decide(replace(seen, now=NOW + jump, nodes=moved), history)[0].drain == ()

    def test_a_longer_window_is_waited_for(self) -> None:
        seen = world([node("a", 30), node("b", 10)])
        longer = world(seen.nodes, spec={"scaleIn": {"stabilizationWindow": "11m"}})
        history = after_a_window(seen)
        assert decide(seen, history)[0].drain == ("uid-b",)
        assert decide(longer, history)[0].drain == ()

    def test_it_wants_to_look_again_when_time_alone_changes_something(self) -> None:
        seen = world([node("a", 30), node("b", 10)], spec={"scaleIn": {"stabilizationWindow": "2s"}})
        decision, history = decide(seen, ScaleHistory())
        assert decision.wake_after == 2.0
        assert decide(replace(seen, now=NOW + timedelta(seconds=2)), history)[0].drain == ("uid-b",)
        assert fresh_leader(world([node("a", 30)])).wake_after == 5.0
