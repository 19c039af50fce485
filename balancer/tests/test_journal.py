"""The journal in virtual time: ids, repeats, what is kept, what is logged, who is woken."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchtender.control.core_events import in_one_word, told
from switchtender.telemetry.journal import TOGETHER, Journal, Place, Wanted

FS1 = (Place("voice", "ivr", "fs1"),)
FS2 = (Place("voice", "ivr", "fs2"), Place("voice", "conf", "two"))


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(clock, caplog):
    caplog.set_level(logging.INFO)
    return Journal(clock, kept=5)


def refuse(journal, places=FS1, reason="SystemBusy"):
    journal.record("NodeRefused", reason, "node refused a call", severity="warning", places=places)


def shown(journal, after=0, **wanted):
    return [(event.id, event.reason, event.count) for event in journal.after(after, Wanted(**wanted))]


def test_events_have_ids_that_grow_and_come_oldest_first(journal):
    for reason in "ABC":
        journal.record("Configuration", reason, reason)
    assert shown(journal) == [(1, "A", 1), (2, "B", 1), (3, "C", 1)]
    assert shown(journal, 2) == [(3, "C", 1)]
    assert shown(journal, 3) == []
    assert (journal.first, journal.last) == (1, 3)


def test_an_empty_journal_says_what_would_be_its_first(journal):
    assert (journal.first, journal.last, journal.after(0)) == (1, 0, [])


def test_the_oldest_leave_where_there_are_too_many(journal):
    for number in range(8):
        journal.record("Order", str(number), "order")
    assert [reason for _, reason, _ in shown(journal)] == ["3", "4", "5", "6", "7"]
    assert (journal.first, journal.last) == (4, 8)


def test_an_event_as_the_api_shows_it(journal, clock):
    journal.record("NodeState", "Reporting", "node is ready", places=FS2, details={"state": "ready"})
    [event] = journal.after(0)
    assert event.as_json() == {
        "id": 1,
        "time": 1000.0,
        "since": 1000.0,
        "type": "NodeState",
        "severity": "info",
        "namespace": "voice",
        "group": "ivr",
        "node": "fs2",
        "reason": "Reporting",
        "message": "node is ready",
        "count": 1,
        "details": {"state": "ready", "groups": ["voice/ivr", "voice/conf"]},
    }


def test_a_node_of_several_groups_is_found_by_each_of_its_names_but_not_by_a_mixture(journal):
    refuse(journal, FS2)
    for wanted in ({"node": "fs2"}, {"node": "two"}, {"group": "conf"}, {"namespace": "voice", "type": "NodeRefused"}):
        assert len(shown(journal, **wanted)) == 1, wanted
    for wanted in ({"node": "fs2", "group": "conf"}, {"namespace": "other"}, {"type": "NodeState"}, {"node": "fs1"}):
        assert shown(journal, **wanted) == [], wanted


def test_a_flood_is_one_event_that_is_shown_once_a_second_and_logged_every_ten(journal, clock, caplog):
    for _ in range(25):
        for _ in range(1000):
            refuse(journal)
            clock.now += 0.001
        journal.settle()
    [(last, _, count)] = shown(journal)
    assert 24_000 <= count <= 25_000
    assert last <= 26, "a new id at most once a second"
    [event] = journal.after(0)
    assert (event.since, round(event.time)) == (1000.0, 1024)
    assert len(caplog.records) == 3
    clock.now += TOGETHER
    journal.settle()
    assert sum(getattr(record, "count", 1) for record in caplog.records) == 25_000, "the log tells of each"
    refuse(journal)
    assert [count for _, _, count in shown(journal)] == [25_000, 1], "what comes later is an event of its own"


def test_what_is_of_another_node_or_reason_is_another_event(journal):
    for places, reason in ((FS1, "A"), (FS2, "A"), (FS1, "B"), (FS1, "A")):
        refuse(journal, places, reason)
    journal.settle()
    assert shown(journal) == [(1, "A", 1), (2, "A", 1), (3, "B", 1)], "not told of anew within the second"


def test_a_repeat_is_told_of_within_a_second_under_a_new_id(journal, clock):
    refuse(journal)
    clock.now += 0.3
    refuse(journal)
    assert shown(journal, 1) == []
    clock.now += 0.7
    journal.settle()
    assert shown(journal, 1) == [(2, "SystemBusy", 2)]
    journal.settle()
    assert shown(journal, 2) == [], "once"


def test_an_event_that_left_comes_back_only_with_a_repeat(journal, clock):
    refuse(journal)
    for number in range(5):
        journal.record("Order", str(number), "order")
    clock.now += 5
    journal.settle()
    assert "SystemBusy" not in [reason for _, reason, _ in shown(journal)]
    refuse(journal)
    assert shown(journal)[-1][1:] == ("SystemBusy", 2)


def test_a_node_that_goes_to_and_fro_is_two_events_and_a_line_for_each_turn(journal, clock, caplog):
    for state in ("stale", "ready") * 3:
        journal.record("NodeState", state, f"node is {state}", places=FS1)
        clock.now += 1
    assert shown(journal) == [(5, "stale", 3), (6, "ready", 3)]
    assert [record.getMessage() for record in caplog.records] == ["node is stale", "node is ready"] * 3


def test_no_order_joins_another(journal, caplog):
    for weight in (3, 4):
        journal.record("Order", "Weight", "order: weight", places=FS1, details={"weight": weight})
    assert [event.details["weight"] for event in journal.after(0)] == [3, 4]
    assert [record.weight for record in caplog.records] == [3, 4]


def test_a_line_names_node_groups_and_numbers(journal, caplog):
    journal.record("NodeState", "NoRoom", "node is full", severity="warning", places=FS2, details={"sessions": 9})
    journal.record("EventSocket", "ConnectionReset", "said elsewhere", places=FS2, logged=False)
    [record] = caplog.records
    assert (record.levelname, record.event, record.node, record.groups, record.reason, record.sessions) == (
        "WARNING",
        "NodeState",
        "fs2",
        ["voice/ivr", "voice/conf"],
        "NoRoom",
        9,
    )


def test_a_clock_that_is_set_back_joins_nothing_and_loses_nothing(journal, clock):
    refuse(journal)
    clock.now -= 500
    refuse(journal)
    journal.settle()
    assert shown(journal) == [(1, "SystemBusy", 1), (2, "SystemBusy", 1)]


async def test_who_listens_is_woken_and_who_left_is_not(journal):
    ear = asyncio.Event()
    with journal.news.heard_by(ear):
        journal.record("Order", "Drain", "order")
        assert ear.is_set()
    ear.clear()
    journal.record("Order", "Drain", "order")
    assert not ear.is_set()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["NodeRefused", "NodeState", "Order"]),
            st.sampled_from("AB"),
            st.floats(0, 15),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_whatever_happens_every_event_is_counted_once_and_ids_only_grow(happenings):
    clock = Clock()
    journal = Journal(clock, kept=1000)
    seen, cursor = {}, 0
    for kind, reason, pause, settle in happenings:
        journal.record(kind, reason, "it happened", logged=False)
        clock.now += pause
        if settle:
            journal.settle()
        for event in journal.after(cursor):
            assert event.id > cursor
            cursor = event.id
            seen[event.type, event.reason, event.since] = max(
                event.count, seen.get((event.type, event.reason, event.since), 0)
            )
    clock.now += 2 * TOGETHER
    journal.settle()
    assert sum(event.count for event in journal.after(0)) == len(happenings)
    assert cursor <= journal.last


@pytest.mark.parametrize(
    ("kind", "code", "detail", "type_", "reason"),
    [
        ("node_refused", 503, "Maximum Calls In Progress", "NodeRefused", "MaximumCallsInProgress"),
        ("node_refused", 486, "retried by the group's rules", "NodeRefused", "RetriedByTheGroupsRules"),
        ("node_timed_out", 0, "nothing after its 100", "NodeTimedOut", "NothingAfterIts100"),
        ("node_timed_out", 0, "", "NodeTimedOut", "Unknown"),
        ("node_transport_error", 0, "", "NodeTransportError", "TransportError"),
        ("shutdown_seen", 0, "", "NodeShutdownSeen", "ShuttingDown"),
        ("node_ejected", 0, "for 30 s after calls that failed in a row", "NodeEjected", "CallsFailed"),
        ("node_returned", 0, "", "NodeReturned", "Answered"),
        ("worker_panicked", 0, "braces {0} are text", "Worker", "Panicked"),
    ],
)
def test_what_the_packet_core_tells_in_words(kind, code, detail, type_, reason):
    found = told(kind, 1, code, detail)
    assert (found.type, found.reason) == (type_, reason)
    if kind not in ("node_transport_error", "shutdown_seen", "node_returned"):
        assert detail in found.message


def test_a_kind_that_nobody_knows_is_no_event():
    assert told("trace", 0, 0, "") is None


@given(st.text())
def test_one_word_is_one_word(words):
    assert in_one_word(words) == "" or in_one_word(words).isalnum()
