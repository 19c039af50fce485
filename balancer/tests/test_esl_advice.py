"""What a node is told to change, from what one connection showed."""

from __future__ import annotations

import pytest

from switchtender.drivers.esl.advice import Advice, Observation, advise
from switchtender.drivers.reports import Link, LinkState, Readiness, Report


def observation(*events, shipped=False, legs=1):
    seen = Observation(8021, shipped, legs)
    for event in events:
        seen.take(event)
    return seen


def link(state: LinkState) -> Link:
    return Link(state=state, detail=f"the {state} detail", since=0.0)


def report(source="poll", at=0.0, **figures):
    figures = {"sessions": 3, "max_sessions": 200, "sessions_per_second_limit": 100} | figures
    return Report(source=source, received=at, **figures)


WELL = (
    link("authenticated"),
    report(),
    report("heartbeat", 1.0),
    report("heartbeat", 2.0),
    Readiness(ready=True, received=0.0, paused_inbound=False, shutdown_requested=False),
)


def of(seen, setting) -> Advice:
    (entry,) = [entry for entry in advise(seen, 5) if entry.setting == setting]
    return entry


def test_a_node_that_is_well_is_told_nothing():
    found = advise(observation(*WELL), 5)
    assert {entry.level for entry in found} == {"ok"}
    assert {entry.change for entry in found} == {""}


@pytest.mark.parametrize(
    ("state", "setting", "word"),
    [
        ("unreachable", "listen-ip, listen-port", "listen-ip"),
        ("acl_rejected", "apply-inbound-acl", "acl.conf.xml"),
        ("auth_failed", "password", "password"),
        ("silent", "listen-port", "mod_event_socket"),
        ("protocol_error", "listen-port", "no Event Socket"),
        ("closed", "listen-port", "log"),
        ("reset", "listen-port", "log"),
    ],
)
def test_each_way_not_to_be_let_in_names_its_setting(state, setting, word):
    (entry,) = advise(observation(link("connecting"), link(state)), 5)
    assert (entry.level, entry.setting) == ("problem", setting)
    assert word in entry.change
    assert f"the {state} detail" in entry.found


def test_a_node_that_says_nothing_at_all_is_a_problem():
    (entry,) = advise(observation(link("connecting")), 5)
    assert entry.level == "problem"


def test_the_password_that_everybody_knows():
    assert of(observation(*WELL, shipped=True), "password").level == "warning"


@pytest.mark.parametrize(
    ("most", "legs", "level"),
    [(1000, 1, "warning"), (2, 1, "ok"), (2, 2, "problem"), (1, 1, "problem")],
)
def test_max_sessions(most, legs, level):
    entry = of(observation(*WELL, report(max_sessions=most), legs=legs), "max-sessions")
    assert entry.level == level
    assert f"{most}, of which {most - 1} can be used" in entry.found


@pytest.mark.parametrize(("limit", "level"), [(1, "problem"), (30, "warning"), (31, "ok")])
def test_sessions_per_second(limit, level):
    seen = observation(*WELL, report("heartbeat", 3.0, sessions_per_second_limit=limit))
    assert of(seen, "sessions-per-second").level == level


def test_no_heartbeat_in_time_names_the_interval():
    entry = of(observation(link("authenticated"), report()), "event-heartbeat-interval")
    assert entry.level == "warning"
    assert "event-heartbeat-interval to 1" in entry.change


def test_heartbeats_tell_their_interval():
    assert of(observation(*WELL), "event-heartbeat-interval").found == "a heartbeat every 1.0 s"


def test_a_login_without_any_load_is_a_problem():
    assert of(observation(link("authenticated")), "max-sessions").level == "problem"


@pytest.mark.parametrize(
    ("readiness", "setting"),
    [
        ({"ready": False, "paused_inbound": False, "shutdown_requested": False}, "fsctl ready_check"),
        ({"ready": True, "paused_inbound": True, "shutdown_requested": False}, "fsctl pause"),
        ({"ready": True, "paused_inbound": False, "shutdown_requested": True}, "fsctl shutdown"),
        ({"ready": True}, "esl-allowed-api"),
    ],
)
def test_a_node_that_takes_no_calls_is_a_warning(readiness, setting):
    assert of(observation(*WELL, Readiness(received=9.0, **readiness)), setting).level == "warning"
