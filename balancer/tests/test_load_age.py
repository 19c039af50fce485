"""How old reports are, and how often they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_events import Subject, heartbeat, poll

from switchtender.load.age import OLDEST, WINDOW, Rhythm, StampClock, beat, interrupted, report_age
from switchtender.load.states import stale_after


def ages(reports, clock=None):
    clock = clock or StampClock()
    seen = []
    for report in reports:
        clock, age = report_age(clock, report)
        seen.append(age)
    return seen


def test_a_poll_is_as_old_as_its_question():
    assert ages([poll(10.0, asked=0.25)]) == [0.25]
    assert ages([poll(10.0, asked=-1.0)]) == [0.0]


@pytest.mark.parametrize("offset", [0.0, 1_795_413_593.0, -1_795_413_593.0])
def test_the_quickest_report_stands_for_no_delay(offset):
    delays = [0.020, 0.005, 0.300, 0.005]
    reports = [heartbeat(second, delay=delay, offset=offset) for second, delay in enumerate(delays)]
    assert ages(reports) == pytest.approx([0.0, 0.0, 0.295, 0.0], abs=1e-5)


@pytest.mark.parametrize("step", [-3600.0, -1.0, -0.5, 0.5, 1.0, 3600.0])
def test_a_step_of_the_nodes_clock_is_taken_out_where_reports_tell_the_uptime(step):
    before = [heartbeat(t, delay=0.01, uptime=100 + t) for t in range(5)]
    after = [heartbeat(t, delay=0.03, offset=step, uptime=100 + t) for t in range(5, 10)]
    assert ages(before + after) == pytest.approx([0.0] * 5 + [0.02] * 5, abs=1e-6)


def test_a_step_forward_without_uptime_costs_nothing():
    before = [heartbeat(t, delay=0.01) for t in range(5)]
    after = [heartbeat(t, delay=0.01, offset=60.0) for t in range(5, 8)]
    assert ages(before + after) == pytest.approx([0.0] * 8, abs=1e-6)


def test_a_long_step_back_without_uptime_starts_anew_with_one_unknown_age():
    before = [heartbeat(t, delay=0.01) for t in range(5)]
    after = [heartbeat(t, delay=0.01, offset=-60.0) for t in range(5, 8)]
    seen = ages(before + after)
    assert seen[5] is None
    assert seen[6:] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_a_short_step_back_without_uptime_is_forgotten():
    before = [heartbeat(t, delay=0.01) for t in range(5)]
    after = [heartbeat(t, delay=0.01, offset=-1.0) for t in range(5, 6 + WINDOW)]
    seen = ages(before + after)
    assert seen[5] == pytest.approx(1.0), "older than it is: the safe side"
    assert seen[-1] == pytest.approx(0.0)


def test_a_restart_of_the_node_is_no_step_of_its_clock():
    before = [heartbeat(t, delay=0.01, uptime=100 + t) for t in range(5)]
    after = [heartbeat(t, delay=0.02, uptime=t - 4) for t in range(6, 9)]
    assert ages(before + after)[5:] == pytest.approx([0.01] * 3, abs=1e-6)


def test_without_a_stamp_the_age_is_unknown():
    report = heartbeat(1.0)
    assert ages([type(report)(source="heartbeat", sessions=0, max_sessions=1, received=1.0)]) == [None]


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.floats(-1e4, 1e4), st.none() | st.integers(0, 10**9)), min_size=1, max_size=60
    )
)
def test_an_age_is_never_negative_nor_more_than_the_oldest(steps):
    clock, now = StampClock(), 0.0
    for gap, offset, uptime in steps:
        now += gap
        report = heartbeat(now, offset=offset, uptime=None if uptime is None else uptime / 1000)
        clock, age = report_age(clock, report)
        assert age is None or 0 <= age <= OLDEST
        assert len(clock.differences) <= WINDOW


def test_the_interval_is_learned_and_follows_a_change():
    rhythm = Rhythm()
    for second in range(10):
        rhythm = beat(rhythm, float(second))
    assert rhythm.interval == pytest.approx(1.0)
    for beats in range(1, 15):
        rhythm = beat(rhythm, 9.0 + 20.0 * beats)
    assert rhythm.interval == pytest.approx(20.0, rel=0.05)
    for beats in range(1, 30):
        rhythm = beat(rhythm, 289.0 + beats)
    assert rhythm.interval == pytest.approx(1.0, rel=0.05)


def test_one_outage_teaches_little():
    rhythm = beat(beat(beat(Rhythm(), 0.0), 1.0), 61.0)
    assert rhythm.interval == pytest.approx(1.5)
    broken = interrupted(beat(beat(Rhythm(), 0.0), 1.0))
    assert beat(broken, 61.0).interval == pytest.approx(1.0)


def test_stale_after_is_three_intervals_of_what_comes_most_often_and_at_least_three_seconds():
    subject = Subject()
    subject.sees(poll(0.0))
    assert stale_after(subject.model, subject.policy) == 60.0, "one report lets expect FreeSWITCH's default interval"
    subject.sees(poll(1.0), poll(2.0))
    assert stale_after(subject.model, subject.policy) == 3.0
    only_heartbeats = Subject().sees(*(heartbeat(t * 20.0) for t in range(5)))
    assert stale_after(only_heartbeats.model, only_heartbeats.policy) == pytest.approx(60.0)
    both = Subject().sees(*(event for t in range(40) for event in (poll(t + 0.5), *([heartbeat(t)] * (t % 20 == 0)))))
    assert stale_after(both.model, both.policy) == pytest.approx(3.0, abs=0.1)
