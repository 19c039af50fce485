"""Open files: as many as connections may need, as far as the system lets us."""

import logging
import resource

import pytest

from switchtender.serve import descriptors

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "raised", "warned"),
    [
        ((1024, 524288), (64096, 524288), False),
        ((1024, UNLIMITED), (64096, UNLIMITED), False),
        ((1024, 30000), (30000, 30000), False),
        ((1024, 4096), (4096, 4096), True),
        ((100000, 524288), None, False),
        ((UNLIMITED, UNLIMITED), None, False),
        ((4096, 4096), None, True),
    ],
)
def test_the_soft_limit_is_raised_to_what_is_needed_and_allowed(limits, raised, warned, monkeypatch, caplog):
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: given.append(wanted))
    with caplog.at_level(logging.WARNING):
        descriptors.make_room(20_000)
    assert given == ([raised] if raised else [])
    assert ("spec.tcp.maxConnections is 20000" in caplog.text) == warned
