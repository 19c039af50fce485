"""The table of Events' reasons holds every one that is ever given, with the type that it is given with."""

from itertools import product

from switchtender_api.status import REASONS
from switchtender_operator.domain import events, notes
from switchtender_operator.domain.conditions import Condition

TABLE = {(one.about, one.type, one.reason) for one in events.reasons()}
STATUSES = ("True", "False", "Unknown")
JUDGED = [(kind, reason, status) for kind, reasons in REASONS.items() for reason, status in product(reasons, STATUSES)]


def _before(kind, reason, status):
    return {"conditions": [{"type": kind, "status": status, "reason": reason}]}


def test_whatever_condition_follows_whichever():
    given = set()
    for kind, reason, status in JUDGED:
        for was in [{}, *(_before(*one) for one in JUDGED if one[0] == kind)]:
            told = events.of_conditions([Condition(kind, status, reason)], was)
            given.update((kind, event.type, event.reason) for event in told)
    assert given == {row for row in TABLE if row[0] in REASONS}


def test_remarks():
    declared = {value for name, value in vars(notes).items() if name.isupper() and isinstance(value, str)}
    assert declared == set(notes.REASONS)
    given = {
        ("remarks", event.type, event.reason)
        for reason in declared
        for event in events.of_notes([notes.remark(reason, "fs-0: so it is")], {})
    }
    assert given == {row for row in TABLE if row[0] == "remarks"}


def test_nodes():
    assert {row for row in TABLE if row[0] == "nodes"} == {
        ("nodes", "Normal", "Draining"),
        ("nodes", "Normal", "Drained"),
        ("nodes", "Warning", "DrainExpired"),
        ("nodes", "Normal", "DrainCancelled"),
        ("nodes", "Warning", "NodeDown"),
        ("nodes", "Warning", "NodeStale"),
        ("nodes", "Normal", "NodeFull"),
        ("nodes", "Normal", "NodeReady"),
    }


def test_each_reason_is_one_word_with_a_meaning():
    for one in events.reasons():
        assert one.reason.isalnum()
        assert one.reason[0].isupper()
        assert one.meaning.endswith(".")
