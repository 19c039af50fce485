"""What counts as a run, what is made of runs, and that the page is what the file of results says."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.performance.goals import GOALS, Goal
from tests.performance.kamailio import arguments
from tests.performance.legs import FORWARDER, HASH, KAMAILIO_STATEFUL, LEAST_LOAD, Leg
from tests.performance.measure import Run, VoidError, drops, judged, processor_time
from tests.performance.rounds import TRIES, Results, played, told

END: dict[str, Any] = {
    "calls_completed": 1000,
    "calls_failed": 0,
    "retransmissions": 0,
    "unexpected": 0,
    "seconds": 2.0,
    "oneway_us": {"p50": 20, "p99": 90},
    "setup_us": {"p50": 60, "p99": 200},
}


def figures(cpu: float, p99: float = 100) -> Run:
    return Run(1000, 500, cpu, cpu, 20, p99, 60, 200)


def test_the_time_of_a_call_is_that_of_all_threads_and_of_those_born_meanwhile() -> None:
    run = judged(END, {1: 5_000_000, 2: 1_000_000}, {1: 45_000_000, 2: 2_000_000, 3: 9_000_000}, 0)
    assert (run.cpu, run.busiest, run.rate, run.oneway_p99) == (50.0, 40.0, 500, 90)


@pytest.mark.parametrize("fault", ["calls_failed", "retransmissions", "unexpected"])
def test_a_run_with_a_fault_does_not_count(fault: str) -> None:
    with pytest.raises(VoidError, match=f"{fault} 1"):
        judged({**END, fault: 1}, {}, {1: 1}, 0)


def test_a_run_in_which_the_kernel_dropped_something_does_not_count() -> None:
    with pytest.raises(VoidError, match="dropped 3"):
        judged(END, {}, {1: 1}, 3)


@pytest.mark.parametrize("end", [{}, {**END, "calls_completed": 0}])
def test_a_run_without_calls_does_not_count(end: dict[str, Any]) -> None:
    with pytest.raises(VoidError):
        judged(end, {}, {1: 1}, 0)


def test_what_the_kernel_dropped_is_read_from_its_table() -> None:
    table = (
        "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n"
        "Udp: 10 1 2 10 3 4\nUdpLite: InDatagrams\nUdpLite: 0\n"
    )
    assert drops(table) == 9
    assert drops() >= 0


def test_the_scheduler_counts_every_thread_of_a_process() -> None:
    asleep = threading.Event()
    thread = threading.Thread(target=asleep.wait)
    thread.start()
    try:
        this = threading.get_native_id()
        before = processor_time(os.getpid())
        assert {this, thread.native_id} <= set(before)
        assert sum(range(300_000)) > 0
        assert processor_time(os.getpid())[this] > before[this]
    finally:
        asleep.set()
        thread.join()


def test_a_round_has_every_leg_and_does_again_what_did_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    failing = iter([True, True])

    def run(leg: Leg, number: int) -> Run:
        if leg is HASH and next(failing, False):
            raise VoidError("retransmissions 1")
        return figures({"forwarder": 50.0, "hash": 60.0}[leg.key])

    results = played([FORWARDER, HASH], 3, run, random.Random(1))
    assert {leg: len(runs) for leg, runs in results.runs.items()} == {"forwarder": 3, "hash": 3}
    assert results.void == {"forwarder": 0, "hash": 2}
    assert results.ratios("hash", "forwarder") == [1.2, 1.2, 1.2]
    assert Results.from_json(json.loads(json.dumps(results.as_json()))) == results
    assert "void: retransmissions 1" in capsys.readouterr().err


def test_a_leg_that_never_counts_ends_it() -> None:
    tries = []

    def run(leg: Leg, number: int) -> Run:
        tries.append(number)
        raise VoidError("calls_failed 1")

    with pytest.raises(VoidError):
        played([FORWARDER], 1, run, random.Random(1))
    assert len(tries) == TRIES


def test_values_are_told_with_median_and_range() -> None:
    assert told([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)"


@pytest.mark.parametrize(("cpu", "reached"), [(55.0, True), (61.0, False)])
def test_goals_are_judged_by_the_median(cpu: float, reached: bool) -> None:
    runs = {LEAST_LOAD.key: [figures(cpu)], KAMAILIO_STATEFUL.key: [figures(100)], FORWARDER.key: [figures(50)]}
    goal = GOALS[0]
    values = goal.figure({"compare": Results(runs, {}).as_json()})
    assert goal.reached(values, goal.must) is reached
    assert not goal.figure({})


def test_a_goal_may_be_a_floor() -> None:
    goal = Goal("calls", 2.0, 2.5, lambda known: (), at_least=True)
    assert (goal.reached([2.1], 2.0), goal.reached([1.9], 2.0)) == (True, False)


def test_kamailio_is_told_to_be_fast(tmp_path: Path) -> None:
    told = arguments(tmp_path, "127.0.0.1", ["127.0.0.2:7000"], stateful=True)
    assert " ".join(told).count("tlsf") == 2
    config = (tmp_path / "kamailio.cfg").read_text()
    assert "t_relay()" in config
    assert "children=1" in config
    assert (tmp_path / "dispatcher.list").read_text() == "1 sip:127.0.0.2:7000\n"
