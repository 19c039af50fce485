"""What a node counted can be shown as JSON, refusals by cause included."""

import json

from switchtender_simulator.counters import Counters


def test_refusals_are_shown_by_cause():
    counters = Counters()
    counters.refused["full"] += 2
    counters.failed["486"] += 1
    shown = json.loads(json.dumps(counters.shown()))
    assert (shown["refused"], shown["failed"], shown["invites"]) == ({"full": 2}, {"486": 1}, 0)
