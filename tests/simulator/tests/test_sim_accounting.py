"""Session accounting in virtual time against what a real node was measured to do."""

import heapq
import json
import re
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender_simulator.accounting import Refusal, RequestMeter, SessionLedger, uint32

DATA = Path(__file__).parent / "data"
LAG = 0.0004


def ledger(max_sessions: int = 100, sessions_per_second: int = 30, **kwargs) -> SessionLedger:
    return SessionLedger(max_sessions=max_sessions, sessions_per_second=sessions_per_second, now=0.0, **kwargs)


class Offer:
    """INVITEs over a ledger with the lag between the two looks, as `dialog.uas` makes them."""

    def __init__(self, ledger: SessionLedger) -> None:
        self.ledger = ledger
        self.answered = 0
        self.refused: list[Refusal] = []
        self._pending: deque[tuple[float, float]] = deque()
        self._endings: list[float] = []

    @property
    def live(self) -> int:
        return len(self._endings)

    def run_to(self, now: float) -> None:
        while True:
            due = [(self._pending[0][0], 0)] if self._pending else []
            due += [(ending, 1) for ending in self._endings[:1]]
            if not due or min(due)[0] > now:
                break
            when, kind = min(due)
            self.ledger.advance(when)
            if kind:
                heapq.heappop(self._endings)
                self.ledger.release()
                continue
            _, duration = self._pending.popleft()
            refusal = self.ledger.confirm(when)
            if refusal is None:
                self.answered += 1
                heapq.heappush(self._endings, when + duration)
            else:
                self.refused.append(refusal)
        self.ledger.advance(now)

    def invite(self, now: float, duration: float = 1e9) -> None:
        self.run_to(now)
        refusal = self.ledger.open_inbound()
        if refusal is None:
            self._pending.append((now + LAG, duration))
        else:
            self.refused.append(refusal)

    def bye(self, now: float) -> None:
        self.run_to(now)
        heapq.heappop(self._endings)
        self.ledger.release()


def heartbeats(name: str) -> list[dict[str, str]]:
    return [json.loads(found) for found in re.findall(rb'\{"Event-Name":"HEARTBEAT".*?\}', (DATA / name).read_bytes())]


def test_offered_load_at_the_limit_collapses_to_zero_calls_as_captured() -> None:
    # 10 calls/s of 10 s at max 20 for 25 s: 19 of 250 succeed, then every freed slot becomes a zombie.
    captured = heartbeats("heartbeats-overload.raw")
    offer = Offer(ledger(max_sessions=20))
    first_beat = 0.35  # the capture's first beat came when four calls had been placed
    ticks_at = 0.08
    offer.ledger._next_tick = ticks_at
    beats = []
    for number in range(250):
        now = number * 0.1
        while first_beat + len(beats) <= now:
            offer.run_to(first_beat + len(beats))
            beats.append((offer.ledger.count, offer.ledger.since_startup, offer.live, offer.ledger.zombies))
        offer.invite(now, duration=9.99)  # in the capture a BYE came just before the next INVITE
    assert offer.answered == 19
    assert [count for count, *_ in beats] == [int(beat["Session-Count"]) for beat in captured[: len(beats)]]
    since = [int(beat["Session-Since-Startup"]) for beat in captured[: len(beats)]]
    assert all(abs(ours - theirs) <= 1 for (_, ours, _, _), theirs in zip(beats, since, strict=True))
    collapsed = [(live, zombies) for _, _, live, zombies in beats[12:]]
    assert set(collapsed) == {(0, 20)}
    assert offer.ledger.peak == 20


@pytest.mark.parametrize(("offered", "early"), [(20, 0), (29, 9)])
def test_a_burst_onto_an_idle_node_is_decided_by_the_second_look(offered: int, early: int) -> None:
    # Measured at max 20: a burst of 20 gave 15 OK and 5 zombies, one of 29 gave 14 OK.
    offer = Offer(ledger(max_sessions=20, sessions_per_second=100))
    for number in range(offered):
        offer.invite(number * 0.00008)
    offer.run_to(1.0)
    assert offer.answered == 15
    assert offer.ledger.zombies == 5
    assert offer.refused.count(Refusal.FULL) == early
    assert offer.refused.count(Refusal.BOUNDARY) == 5
    assert offer.ledger.count == 20
    assert offer.ledger.since_startup == 20  # an early refusal makes no session


def test_two_invites_into_one_freed_slot_are_both_refused() -> None:
    offer = Offer(ledger(max_sessions=20, sessions_per_second=100))
    for number in range(19):
        offer.invite(number * 0.01)
    offer.run_to(1.0)
    assert offer.answered == 19
    offer.bye(2.0)
    offer.invite(2.0)
    offer.invite(2.0)
    offer.run_to(3.0)
    assert offer.answered == 19
    assert offer.refused == [Refusal.BOUNDARY] * 2
    assert (offer.live, offer.ledger.count) == (18, 20)


def test_a_boundary_refusal_holds_its_session_for_ten_seconds() -> None:
    offer = Offer(ledger(max_sessions=5))
    for number in range(4):
        offer.invite(float(number))
    offer.invite(5.0)
    offer.run_to(15.05)
    assert (offer.ledger.count, offer.ledger.zombies) == (5, 1)
    offer.run_to(15.07)
    assert (offer.ledger.count, offer.ledger.zombies) == (4, 0)
    assert offer.ledger.since_startup == 5


@pytest.mark.parametrize(("rate", "admitted"), [(30, 29), (2, 1), (1, 0)])
def test_one_less_than_the_rate_is_admitted_in_a_second(rate: int, admitted: int) -> None:
    offer = Offer(ledger(sessions_per_second=rate))
    for _ in range(40):
        offer.invite(0.5)
    offer.run_to(1.5)
    assert offer.answered == admitted
    assert offer.refused == [Refusal.SESSIONS_PER_SECOND] * (40 - admitted)
    assert offer.ledger.since_startup == admitted
    assert offer.ledger.last_second == 40  # refused ones count


def test_bursts_show_the_counters_of_the_capture() -> None:
    # Capture: 40 INVITEs at once onto a node that has had 19 sessions and holds one call.
    before, after = heartbeats("heartbeats-bursts.raw")[:2]
    offer = Offer(ledger())
    offer.ledger.since_startup = int(before["Session-Since-Startup"])
    offer.ledger.last_second_peak = int(before["Session-Per-Sec-Max"])
    offer.ledger.count = int(before["Session-Count"])
    for _ in range(40):
        offer.invite(0.5)
    offer.run_to(1.2)
    ours = offer.ledger
    assert (ours.count, ours.tokens, ours.last_second, ours.last_second_peak, ours.since_startup, ours.peak) == tuple(
        int(after[name])
        for name in (
            "Session-Count",
            "Session-Per-Sec",
            "Session-Per-Sec-Last",
            "Session-Per-Sec-Max",
            "Session-Since-Startup",
            "Session-Peak-Max",
        )
    )


def test_early_refusals_use_no_token() -> None:
    subject = ledger(max_sessions=1)
    subject.set_background(1)
    assert subject.open_inbound() is Refusal.FULL
    assert subject.tokens == 30
    subject = ledger()
    subject.min_idle_cpu, subject.idle_cpu = 90.0, 50.0
    assert subject.open_inbound() is Refusal.IDLE_CPU
    assert subject.tokens == 30


def test_overdrawn_tokens_and_a_lowered_rate_are_printed_as_unsigned() -> None:
    subject = ledger(sessions_per_second=30)
    for _ in range(52):
        subject.open_inbound()
    assert uint32(subject.tokens) == 4294967274  # as captured
    subject = ledger(sessions_per_second=30)
    for _ in range(9):
        subject.open_inbound()
    assert subject.set_rate(5) == 5
    subject.advance(1.0)
    assert uint32(subject.last_second) == 4294967280  # 5 − 21, as captured
    assert subject.last_second_peak == 0  # the comparison is signed
    assert subject.tokens == 5


def test_an_outbound_leg_may_take_the_last_slot_and_needs_a_token() -> None:
    subject = ledger(max_sessions=5)
    subject.set_background(4)
    assert subject.open_outbound() is None
    assert subject.count == 5
    assert subject.open_outbound() is Refusal.FULL
    subject = ledger(sessions_per_second=2)
    assert subject.open_inbound() is None
    assert subject.confirm(0.0) is None
    assert subject.open_outbound() is Refusal.SESSIONS_PER_SECOND


def test_peaks_tumble_each_five_minutes() -> None:
    offer = Offer(ledger())
    for _ in range(7):
        offer.invite(10.5, duration=20.0)
    offer.run_to(299.5)
    assert (offer.ledger.peak_five_minutes, offer.ledger.last_second_peak_five_minutes) == (7, 7)
    offer.run_to(300.5)
    assert (offer.ledger.peak_five_minutes, offer.ledger.last_second_peak_five_minutes) == (0, 0)
    assert (offer.ledger.peak, offer.ledger.last_second_peak) == (7, 7)


def test_zero_limits_are_ignored() -> None:
    subject = ledger()
    assert subject.set_limit(0) == 100
    assert subject.set_rate(0) == 30
    assert subject.set_limit(90) == 90


def test_background_sessions_are_exempt_and_can_go_down() -> None:
    subject = ledger(max_sessions=3)
    subject.set_background(5)
    assert (subject.count, subject.since_startup, subject.tokens) == (5, 5, 30)
    subject.set_background(1)
    assert (subject.count, subject.since_startup, subject.peak) == (1, 5, 5)


def answered_each_second(rates: list[int], limit: int = 1000) -> list[int]:
    meter = RequestMeter(limit=limit, now=0.0)
    out = []
    for second, rate in enumerate(rates):
        out.append(sum(not meter.drops(second + number / rate) for number in range(rate)))
    return out


def test_more_requests_than_the_profile_takes_are_a_silent_blackout() -> None:
    assert answered_each_second([1300] * 5) == [1300, 0, 0, 0, 0]
    assert answered_each_second([900] * 3) == [900] * 3
    assert answered_each_second([1300, 1300, 900, 900]) == [1300, 0, 0, 900]  # one second below it ends the blackout
    assert answered_each_second([5000, 5000], limit=0) == [5000, 5000]


def test_silence_ends_the_blackout() -> None:
    meter = RequestMeter(limit=10, now=0.0)
    for _ in range(20):
        meter.drops(0.5)
    assert meter.drops(1.5)
    assert not meter.drops(5.5)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2)), max_size=200), st.integers(1, 12), st.integers(1, 20))
def test_counts_never_lie(steps: list[tuple[float, int]], max_sessions: int, rate: int) -> None:
    offer = Offer(ledger(max_sessions=max_sessions, sessions_per_second=rate))
    now = 0.0
    for pause, kind in steps:
        now += pause
        offer.run_to(now)
        if kind == 0:
            offer.invite(now, duration=4.0)
        elif kind == 1 and offer.live:
            offer.bye(now)
        subject = offer.ledger
        assert 0 <= subject.zombies <= subject.count <= max_sessions
        assert offer.live == subject.count - subject.zombies - len(offer._pending)
        assert offer.live <= max_sessions - 1 or max_sessions == 1
        assert subject.peak >= subject.count
    offer.run_to(now + 100)
    assert offer.ledger.count == 0
