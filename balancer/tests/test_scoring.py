"""Scorers: what counts as a score, and that none of them can hold anything up."""

import asyncio
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.control.scoring import ScorerThread, evaluate

KEY = ("n1", "voice/ivr")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "NoNumber"),
        ("1.0", "NoNumber"),
        (True, "NoNumber"),
        ([1], "NoNumber"),
        (-0.001, "Negative"),
        (-math.inf, "NotFinite"),
        (math.nan, "NotFinite"),
        (math.inf, "NotFinite"),
        (10**400, "NotFinite"),
    ],
)
def test_what_is_no_score(value, fault):
    score, found, words = evaluate(lambda report, attributes: value, {}, {})
    assert (score, found) == (None, fault)
    assert words.startswith("it returned")


@given(st.one_of(st.floats(min_value=0, allow_infinity=False), st.integers(0, 10**6)))
def test_what_is_one(value):
    assert evaluate(lambda report, attributes: value, {}, {}) == (float(value), None, "")


def test_it_sees_what_was_reported():
    assert (
        evaluate(
            lambda report, attributes: report["idleCPU"] / 100 * attributes["weight"], {"idleCPU": 50}, {"weight": 4}
        )[0]
        == 2.0
    )


def test_an_exception_is_told_by_its_type():
    _, fault, words = evaluate(lambda report, attributes: report["nothing"], {}, {})
    assert (fault, words) == ("Exception", "it raised KeyError: 'nothing'")


class Stand:
    """A scorer thread whose scorer does what the test says."""

    def __init__(self, scorer, limit=5.0):
        self.told = []
        self.changed = asyncio.Event()
        self.thread = ScorerThread("test", scorer, self._tell, limit=limit)

    def _tell(self, key, score):
        self.told.append((key, score))
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture
async def stands():
    made = []

    def make(*args, **rest):
        made.append(Stand(*args, **rest))
        return made[-1]

    yield make
    for stand in made:
        stand.thread.close()


async def test_every_report_is_scored_beside_the_event_loop(stands):
    threads = set()

    def scorer(report, attributes):
        threads.add(threading.current_thread())
        return report["n"]

    stand = stands(scorer)
    for n in range(50):
        stand.thread.ask((f"n{n}", "g"), {"n": n}, {})
    await stand.until(lambda: len(stand.told) == 50)
    assert {(key[0], score) for key, score in stand.told} == {(f"n{n}", float(n)) for n in range(50)}
    assert threads.isdisjoint({threading.current_thread()})
    assert len(threads) == 1
    assert not stand.thread.faults


async def test_a_stuck_scorer_is_left_alone_until_it_returns(stands, caplog):
    release, calls = threading.Event(), []

    def scorer(report, attributes):
        calls.append(report["n"])
        if len(calls) == 1:
            release.wait(5)
        return report["n"]

    stand = stands(scorer, limit=0.01)
    try:
        stand.thread.ask(KEY, {"n": 1}, {})
        await stand.until(lambda: stand.thread.stuck)
        for n in (2, 3, 4):
            stand.thread.ask(KEY, {"n": n}, {})
        stand.thread.ask(("n2", "g"), {"n": 9}, {})
        assert (calls, stand.told) == ([1], [])
        assert stand.thread.faults == {"TimedOut": 1}
        stand.thread._limit = 5.0
    finally:
        release.set()
    await stand.until(lambda: len(stand.told) == 2)
    assert calls == [1, 4, 9], "of one node only the newest report waits"
    assert stand.told == [(KEY, 4.0), (("n2", "g"), 9.0)], "what came too late is no score"
    assert len([record for record in caplog.records if "within 10 ms" in record.message]) == 1


async def test_each_kind_of_fault_is_counted_always_and_logged_once(stands, caplog):
    answers = iter([-1, -2, None, ValueError("x"), 3.0])

    def scorer(report, attributes):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    stand = stands(scorer)
    for n in range(5):
        stand.thread.ask((f"n{n}", "g"), {}, {})
    await stand.until(lambda: stand.told)
    assert stand.thread.faults == {"Negative": 2, "NoNumber": 1, "Exception": 1}
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "scorer test: it returned -1, less than 0",
        "scorer test: it returned NoneType, not a number",
        "scorer test: it raised ValueError: x",
    ]


async def test_who_left_is_scored_no_more(stands):
    release = threading.Event()

    def scorer(report, attributes):
        release.wait(5)
        return 1.0

    stand = stands(scorer)
    try:
        for name in ("a", "b", "c"):
            stand.thread.ask((name, "g"), {}, {})
        stand.thread.forget(lambda key: key[0] != "b")
    finally:
        release.set()
    await stand.until(lambda: len(stand.told) == 2)
    assert [key[0] for key, _ in stand.told] == ["a", "c"]


async def test_closed_it_tells_nothing_more(stands):
    release = threading.Event()
    stand = stands(lambda report, attributes: release.wait(5) and 1.0)
    stand.thread.ask(KEY, {}, {})
    stand.thread.close()
    release.set()
    await asyncio.sleep(0.02)
    assert stand.told == []


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize("fault", [SystemExit(3), UnspeakableError()])
async def test_whatever_a_scorer_raises_the_next_report_is_scored(stands, fault):
    faults = iter([fault])

    def scorer(report, attributes):
        for each in faults:
            raise each
        return 2.0

    stand = stands(scorer)
    stand.thread.ask(("n1", "g"), {}, {})
    stand.thread.ask(("n2", "g"), {}, {})
    await stand.until(lambda: stand.told)
    assert (stand.told, stand.thread.faults) == ([(("n2", "g"), 2.0)], {"Exception": 1})
