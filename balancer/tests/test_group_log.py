"""The line that each group with calls has in the log once a minute."""

import asyncio
import logging

from switchtender.control import group_log
from switchtender.control.group_log import lines


def group(name="ivr", offered=0, answered=0, failed=0, full=0, silence=0):
    return {
        "namespace": "voice",
        "group": name,
        "offered": offered,
        "calls": {"answered": answered, "server_error": failed},
        "rejected": {"full": full, "none_ready": 0},
        "failovers": {"silence": silence},
        "sessions": 7,
        "effective": 8.5,
        "capacity": 98.0,
        "eligible": 1,
        "nodes": 2,
        "more": "is not told",
    }


def totals(**counts):
    return {"voice/ivr": dict.fromkeys(("offered", "answered", "ended", "rejected", "failovers"), 0) | counts}


def test_what_happened_since_the_line_before():
    before = totals(offered=10, answered=8, ended=9, rejected=1)
    [line] = lines(before, [group(offered=17, answered=12, failed=2, full=4, silence=3)])
    assert line == {
        "groups": ["voice/ivr"],
        "seconds": 60.0,
        "offered": 7,
        "answered": 4,
        "ended": 5,
        "rejected": 3,
        "failovers": 3,
        "sessions": 7,
        "effective": 8.5,
        "capacity": 98.0,
        "eligible": 1,
        "nodes": 2,
    }


def test_no_line_where_nothing_happened_nor_for_what_was_not_there_before():
    assert list(lines(totals(offered=5), [group(offered=5), group("new", offered=9)])) == []


def test_a_group_that_begins_anew_counts_from_nought():
    [line] = lines(totals(offered=100, answered=90), [group(offered=3, answered=95)])
    assert (line["offered"], line["answered"]) == (3, 5)


async def test_lines_go_on_whatever_a_look_comes_to(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(group_log, "EVERY", 0.001)
    looks = iter([group(offered=1), group(offered=3), RuntimeError("a fault of ours"), group(offered=8)])
    done = asyncio.Event()

    async def look():
        found = next(looks, None)
        if found is None:
            done.set()
            await asyncio.sleep(60)
        if isinstance(found, Exception):
            raise found
        return {"groups": [found]}

    running = asyncio.create_task(group_log.run(look))
    await asyncio.wait_for(done.wait(), 30)
    running.cancel()
    told = [record.offered for record in caplog.records if record.getMessage() == "calls of the group"]
    assert told == [2, 5]
    assert "a fault of ours" in caplog.text
