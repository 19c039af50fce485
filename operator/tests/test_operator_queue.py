"""The queue of dirty groups, in virtual time."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from switchtender_operator.reconcile.queue import DirtyKeys


def queue() -> DirtyKeys[str]:
    return DirtyKeys(quiet=0.1, most_delay=0.4, backoff_first=0.2, backoff_most=10.0, rng=random.Random(1))


def test_a_single_change_is_due_after_a_short_quiet() -> None:
    keys = queue()
    keys.changed("a", 10.0)
    assert keys.take(10.05) is None
    assert keys.next_due() == 10.1
    assert keys.take(10.1) == "a"
    assert keys.take(99.0) is None


def test_changes_in_a_row_are_one_turn_and_no_storm_delays_it_for_long() -> None:
    keys = queue()
    now = 0.0
    while keys.take(now) is None:
        keys.changed("a", now)
        now += 0.05
    assert 0.3 <= now <= 0.45
    assert keys.coalesced > 5


def test_a_key_that_is_worked_on_has_its_next_turn_after_that() -> None:
    keys = queue()
    keys.changed("a", 0.0)
    assert keys.take(1.0) == "a"
    keys.changed("a", 1.0)
    assert keys.take(2.0) is None
    assert keys.next_due() is None
    keys.done("a")
    assert keys.take(2.0) == "a"


def test_failures_in_a_row_wait_longer_each_time_up_to_a_cap() -> None:
    keys = queue()
    delays = []
    now = 0.0
    keys.changed("a", now)
    for _ in range(12):
        now += 100.0
        assert keys.take(now) == "a"
        delays.append(keys.failed("a", now))
    assert all(0.5 * 0.2 * 2**n <= delay <= 0.2 * 2**n for n, delay in enumerate(delays[:5]))
    assert 5.0 <= max(delays) <= 10.0
    keys.take(now + 100.0)
    keys.done("a")
    keys.changed("a", now + 200.0)
    keys.take(now + 201.0)
    assert keys.failed("a", now + 201.0) <= 0.2


def test_what_the_server_asked_for_is_the_least_delay() -> None:
    keys = queue()
    keys.changed("a", 0.0)
    keys.take(1.0)
    assert keys.failed("a", 1.0, at_least=7.0) == 7.0


def test_a_change_ends_the_wait_after_a_failure() -> None:
    keys = queue()
    keys.changed("a", 0.0)
    keys.take(1.0)
    keys.failed("a", 1.0, at_least=60.0)
    keys.changed("a", 2.0)
    assert keys.take(2.1) == "a"


def test_a_wake_up_is_a_turn_without_a_change_and_never_delays_one() -> None:
    keys = queue()
    keys.wake("a", 50.0)
    assert keys.depth == 0
    assert keys.oldest(40.0) == 0.0
    keys.changed("a", 40.0)
    assert keys.depth == 1
    assert keys.oldest(40.05) == 40.05 - 40.0
    assert keys.take(40.1) == "a"
    keys.done("a")
    keys.changed("b", 60.0)
    keys.wake("b", 90.0)
    assert keys.take(60.1) == "b"


def test_who_waits_longest_goes_first() -> None:
    keys = queue()
    keys.changed("late", 0.05)
    keys.changed("early", 0.0)
    assert [keys.take(1.0), keys.take(1.0)] == ["early", "late"]


def test_forgotten_keys_have_no_turn() -> None:
    keys = queue()
    keys.changed("a", 0.0)
    keys.forget("a")
    assert keys.take(10.0) is None


steps = st.lists(
    st.tuples(
        st.sampled_from(["changed", "wake", "done", "failed", "take"]), st.sampled_from("abc"), st.floats(0, 0.3)
    ),
    max_size=80,
)


@given(steps)
def test_no_key_is_handed_out_twice_and_no_change_is_lost(script: list[tuple[str, str, float]]) -> None:
    """Whatever happens: one worker a key, and each change is followed by a turn that began after it, in time."""
    keys: DirtyKeys[str] = DirtyKeys(quiet=0.1, most_delay=0.4, rng=random.Random(7))
    now, working, owed = 0.0, set(), {}
    for action, key, pause in script:
        now += pause
        if action == "changed":
            keys.changed(key, now)
            owed.setdefault(key, now)
        elif action == "wake":
            keys.wake(key, now + pause)
        elif action == "take":
            taken = keys.take(now)
            if taken is not None:
                assert taken not in working
                working.add(taken)
                owed.pop(taken, None)
        elif key in working:
            working.discard(key)
            keys.done(key) if action == "done" else keys.failed(key, now)
    for key in working:
        keys.done(key)
    later = now + 0.41
    due = set()
    while (taken := keys.take(later)) is not None:
        due.add(taken)
    assert set(owed) <= due
