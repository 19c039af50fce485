"""Rates of totals that grow, in virtual time; and what the flow of calls makes of the packet core's totals."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.control.flow import Flow, group_calls
from switchtender.telemetry.rates import LONG, Rates


def steady(rates, per_second, seconds, key="a", start=0.0, total=0):
    for second in range(seconds + 1):
        rates.take(start + second, {key: total + per_second * second})
    return total + per_second * seconds


def test_a_steady_flow_is_its_rate_and_its_count_of_the_last_minute():
    rates = Rates()
    steady(rates, 7, 200)
    assert rates.per_second("a") == pytest.approx(7)
    assert rates.lately("a") == 7 * LONG


def test_a_rate_is_the_mean_of_five_seconds_and_a_burst_leaves_them():
    rates = Rates()
    rates.take(0, {"a": 0})
    rates.take(1, {"a": 50})
    assert rates.per_second("a") == 50, "of as many seconds as there were"
    for second in range(2, 6):
        rates.take(second, {"a": 50})
    assert rates.per_second("a") == 10
    rates.take(6, {"a": 50})
    assert rates.per_second("a") == 0
    assert rates.lately("a") == 50
    rates.take(61.6, {"a": 50})
    assert rates.lately("a") == 0


def test_what_was_before_the_first_look_is_nobodys_rate():
    rates = Rates()
    rates.take(0, {"a": 1_000_000})
    assert (rates.per_second("a"), rates.lately("a")) == (0, 0)
    rates.take(1, {"a": 1_000_010, "b": 500})
    assert (rates.per_second("a"), rates.per_second("b")) == (10, 0)
    rates.take(2, {"a": 1_000_010, "b": 502})
    assert (rates.per_second("a"), rates.per_second("b")) == (5, 1)


def test_a_total_that_begins_anew_counts_from_nought():
    rates = Rates()
    end = steady(rates, 10, 10)
    rates.take(11, {"a": 4})
    assert rates.lately("a") == end + 4
    assert rates.per_second("a") == pytest.approx((4 * 10 + 4) / 5)


def test_who_leaves_is_forgotten_and_may_come_again():
    rates = Rates()
    end = steady(rates, 10, 10)
    rates.take(11, {"b": 0})
    assert (rates.per_second("a"), rates.lately("a")) == (0, 0)
    rates.take(12, {"a": end + 100, "b": 0})
    assert rates.lately("a") == end, "what it got while nobody looked is not known"
    rates.take(13, {"a": end + 101, "b": 0})
    assert rates.lately("a") == end + 1


def test_looks_that_come_late_do_not_change_the_rate():
    rates = Rates()
    for now in (0, 1.1, 1.9, 3.3, 4.0, 5.2, 6.4, 9.9, 10.1):
        rates.take(now, {"a": round(now * 100)})
    assert rates.per_second("a") == pytest.approx(100)


@given(st.lists(st.tuples(st.floats(0.2, 3), st.integers(0, 50)), min_size=1, max_size=200))
def test_the_last_minute_is_what_was_added_in_it(steps):
    rates, now, total = Rates(), 0.0, 0
    rates.take(now, {"a": 0})
    history = []
    for pause, added in steps:
        history.append((now, added))
        now, total = now + pause, total + added
        rates.take(now, {"a": total})
    surely = sum(added for began, added in history if began >= now - LONG)
    at_most = sum(added for began, added in history if began >= now - LONG - 1)
    assert surely <= rates.lately("a") <= at_most
    assert 0 <= rates.per_second("a") <= max(added / pause for pause, added in steps) * 1.0001


def counter(name, value, **labels):
    return {"name": name, "value": value, "labels": {"namespace": "voice", "group": "ivr", **labels}}


STATS = {
    "counters": [
        {"name": "sip_received_total", "value": 9, "labels": {}},
        counter("calls_offered_total", 12),
        counter("calls_total", 7, outcome="answered"),
        counter("calls_total", 1, outcome="timed_out"),
        counter("calls_rejected_total", 3, cause="full"),
        counter("calls_rejected_total", 1, cause="none_ready"),
        counter("failovers_total", 2, cause="silence"),
    ]
}


def test_what_became_of_a_groups_calls():
    [(key, calls)] = group_calls(STATS).items()
    assert key == ("voice", "ivr")
    assert (calls.offered, calls.outcomes) == (12, {"answered": 7, "timed_out": 1})
    assert (calls.rejected, calls.failovers) == ({"full": 3, "none_ready": 1}, {"silence": 2})


class Core:
    def __init__(self):
        self.assigned = {"fs1": 100, "fs2": 0}
        self.offered = 1000
        self.rejected = 0

    def baseline(self, uid, age):
        assert age == 0
        return type("Baseline", (), {"assigned_now": self.assigned[uid]})

    def stats(self):
        counters = [
            counter("calls_offered_total", self.offered),
            counter("calls_rejected_total", self.rejected, cause="full"),
        ]
        return json.dumps({"counters": counters}).encode()


def test_the_flow_of_a_core():
    now = 50.0
    core = Core()
    flow = Flow(core, lambda: now)
    for _ in range(11):
        flow.sample(core.assigned)
        now += 1
        core.assigned["fs1"] += 3
        core.assigned["fs2"] += 1
        core.offered += 5
        core.rejected += 1
    assert (flow.node("fs1"), flow.node("fs2"), flow.node("fs9")) == (3, 1, 0)
    assert (flow.lately("fs1"), flow.lately("fs2")) == (30, 10)
    assert (flow.offered("voice", "ivr"), flow.rejected("voice", "ivr")) == (5, 1)
    assert flow.offered("voice", "none") == 0
