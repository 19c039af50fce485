"""The drain of a node from its causes: since when, until when, why, and how far it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.cli import tables
from switchtender.load.drains import Drain, Terms, phase, remaining, together

times = st.floats(0, 1e10)
causes = st.builds(Drain, times, times, st.sampled_from(["Terminating", "Requested", "Paused"]))


def test_a_drain_without_a_deadline_of_its_own_ends_after_the_timeout_of_its_groups():
    assert Terms(timeout=600.0).begun(1000.0, "Paused") == Drain(1000.0, 1600.0, "Paused")


def test_several_causes_are_one_drain_from_the_first_to_the_strictest_for_the_strongest_reason():
    configured, ordered = Drain(2000.0, 9000.0, "Terminating"), Drain(1000.0, 9500.0, "Requested")
    assert together((configured, None, ordered)) == Drain(1000.0, 9000.0, "Terminating")
    assert together((None, None)) is None


@given(st.lists(causes | st.none()))
def test_a_further_cause_never_puts_a_drain_off(found):
    whole, fewer = together(found), together(found[:-1])
    if fewer is not None:
        assert whole.since <= fewer.since
        assert whole.deadline <= fewer.deadline


@pytest.mark.parametrize(
    ("known", "left"),
    [
        ({"fresh": True, "reported": 0, "effective": 0.0}, 0),
        ({"fresh": True, "reported": 7, "effective": 5.0}, 7),
        ({"fresh": True, "reported": 0, "effective": 1.2}, 2),
        ({"fresh": True, "reported": 0, "effective": 0.0, "in_setup": 1}, 1),
        ({"fresh": True, "reported": 0, "effective": -3.0}, 0),
        ({"fresh": True, "reported": None, "effective": 4.0}, None),
        ({"fresh": False, "reported": 0, "effective": 0.0}, None),
    ],
    ids=["empty", "reported", "placed since", "in set-up", "more ended than known", "no report", "not fresh"],
)
def test_a_node_is_empty_only_where_a_fresh_report_says_so_and_nothing_was_placed_since(known, left):
    assert remaining(**known) == left


@pytest.mark.parametrize(
    ("left", "now", "found"),
    [
        (3, 1599.9, "draining"),
        (3, 1600.0, "expired"),
        (None, 1600.0, "expired"),
        (None, 1000.0, "draining"),
        (0, 1000.0, "drained"),
        (0, 9999.0, "drained"),
    ],
)
def test_what_is_not_known_to_be_empty_expires_and_what_is_empty_never_does(left, now, found):
    assert phase(Drain(1000.0, 1600.0, "Requested"), left, now) == found


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "-"),
        ({"sessions": 0, "deadline": 0.0, "expired": False}, "drained"),
        ({"sessions": 3, "deadline": 7260.0, "expired": False}, "3 left, 2h00m"),
        ({"sessions": None, "deadline": 95.0, "expired": False}, "? left, 0m35s"),
        ({"sessions": 2, "deadline": 10.0, "expired": True}, "2 left, expired"),
    ],
)
def test_what_remains_is_shown_with_the_time_that_is_left(monkeypatch, known, words):
    monkeypatch.setattr("switchtender.cli.tables.time.time", lambda: 60.0)
    assert tables.drain(known) == words
