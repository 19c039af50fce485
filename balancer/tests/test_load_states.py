"""The states of a node: which, why, and what each means for new calls."""

import dataclasses
import inspect

import pytest
from load_events import Subject, heartbeat, link, poll, poll_timeout, ready, shutdown

from switchtender.load.model import NodeModel, Policy
from switchtender.load.states import REASONS, STATES, Published, publish, state, unchanging_until


def reporting(policy=None, **kwargs):
    """A node that reports each second up to 2.0, ready, 10 of 100 sessions."""
    subject = Subject(policy, **kwargs)
    return subject.sees(link("authenticated"), ready(0.0), poll(0.0, 10), poll(1.0, 10), poll(2.0, 10))


def test_every_state_in_its_order():
    subject = Subject()
    assert subject.at(0.0) == ("unknown", "NoReportYet", "unknown")
    subject.sees(link("connecting"), link("authenticated"))
    assert subject.at(0.1) == ("unknown", "NoReportYet", "unknown")
    subject.sees(poll(0.2, 10))
    assert subject.at(0.2) == ("ready", "Reporting", "open")
    subject.sees(poll(1.2, 98))
    assert subject.at(1.2) == ("full", "NoRoom", "open")
    subject.sees(poll(2.2, 10), ready(2.2, paused=True))
    assert subject.at(2.2) == ("draining", "Paused", "closed")
    subject.sees(ready(3.2), link("unreachable", 3.3))
    assert subject.at(3.3) == ("down", "ConnectionRefused", "unreachable")


def test_full_is_open_to_the_arithmetic_and_clears_by_itself():
    subject = reporting().sees(poll(3.0, 99))
    assert subject.at(3.0) == ("full", "NoRoom", "open")
    assert subject.sees(poll(4.0, 10)).at(4.0)[0] == "ready"


def test_the_cap_makes_full_too():
    subject = Subject(Policy(cap=12.0, headroom=0.0)).sees(poll(0.0, 10))
    assert subject.at(0.0)[0] == "ready"
    assert subject.sees(poll(1.0, 11)).at(1.0)[0] == "full"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ready(is_ready=False), "NotReady"),
        (ready(paused=True), "Paused"),
        (ready(is_ready=False, paused=True), "Paused"),
        (ready(ending=True), "ShutdownRequested"),
        (shutdown(requested=True), "ShutdownRequested"),
        (shutdown(), "ShuttingDown"),
    ],
)
def test_what_drains_a_node(event, reason):
    assert reporting().sees(event).at(2.0) == ("draining", reason, "closed")


def test_a_configured_drain_comes_first_and_closes_an_unmeasured_node_too():
    assert reporting(Policy(drained=True)).sees(ready(paused=True)).at(2.0) == ("draining", "Draining", "closed")
    assert Subject(Policy(drained=True, measured=False)).at(0.0) == ("draining", "Draining", "closed")


def test_a_heartbeat_after_shutdown_does_not_revive():
    subject = reporting().sees(heartbeat(2.0, 10, uptime=50), shutdown(2.1), heartbeat(2.5, 0, uptime=50.5))
    assert subject.at(2.5) == ("draining", "ShuttingDown", "closed")
    # Nor does a ready_check, a poll, or a new connection to the same process.
    subject.sees(ready(2.6), poll(2.7, 0, uptime=50.7), link("closed"), link("connecting"), link("authenticated"))
    subject.sees(ready(3.6), poll(3.7, 0, uptime=51.7))
    assert subject.at(3.7) == ("draining", "ShuttingDown", "closed")


def test_only_a_new_process_ends_a_shutdown():
    subject = reporting().sees(heartbeat(2.0, 10, uuid="a", uptime=50), shutdown(2.1), link("closed", 2.8))
    subject.sees(link("authenticated", 9.0), heartbeat(9.1, 0, uuid="b", uptime=2))
    assert subject.at(9.1) == ("ready", "Reporting", "open")


def test_a_shutdown_that_was_asked_for_can_be_taken_back():
    subject = reporting().sees(shutdown(requested=True))
    assert subject.at(2.0)[1] == "ShutdownRequested"
    assert subject.sees(ready(2.5, ending=False)).at(2.5)[0] == "ready"
    # A node that does not let us ask leaves it as it is.
    subject.sees(shutdown(requested=True)).sees(ready(3.0, ending=None, paused=None))
    assert subject.at(3.0)[1] == "ShutdownRequested"


def test_silence_makes_a_node_stale_and_a_report_ends_it():
    subject = reporting()
    assert subject.at(5.0)[0] == "ready"
    assert subject.at(5.01) == ("stale", "ReportsOverdue", "unreachable")
    assert subject.sees(poll(9.0, 10)).at(9.0)[0] == "ready"


def test_two_unanswered_polls_make_it_stale_at_once():
    subject = reporting().sees(poll_timeout(2.5))
    assert subject.at(2.5) == ("stale", "PollsUnanswered", "unreachable")
    assert subject.sees(link("silent", 2.5)).at(2.5)[1] == "PollsUnanswered"


@pytest.mark.parametrize(
    ("lost", "reason"),
    [("closed", "ConnectionClosed"), ("silent", "PollsUnanswered"), ("protocol_error", "ProtocolError")],
)
def test_a_lost_connection_is_stale_and_a_login_alone_does_not_end_that(lost, reason):
    subject = reporting().sees(link(lost, 2.1))
    assert subject.at(2.1) == ("stale", reason, "unreachable")
    subject.sees(link("connecting", 2.2), link("authenticated", 2.3), ready(2.3))
    assert subject.at(2.3) == ("stale", reason, "unreachable")
    assert subject.sees(poll(2.4, 10)).at(2.4) == ("ready", "Reporting", "open")


@pytest.mark.parametrize(("lost", "reason"), [("unreachable", "ConnectionRefused"), ("reset", "ConnectionReset")])
def test_refused_or_reset_is_down_until_a_login_and_stale_until_a_report(lost, reason):
    subject = reporting().sees(link(lost, 2.1))
    assert subject.at(2.1) == ("down", reason, "unreachable")
    told = subject.model.link_detail
    assert subject.sees(link("connecting", 2.2)).at(2.2)[0] == "down", "trying again is no outcome"
    assert subject.model.link_detail == told, "and nothing to tell"
    assert subject.sees(link("authenticated", 2.3)).at(2.3)[0] == "stale"
    assert subject.sees(poll(2.4, 10)).at(2.4)[0] == "ready"


@pytest.mark.parametrize(
    ("refusal", "reason"), [("acl_rejected", "AccessDenied"), ("auth_failed", "AuthenticationFailed")]
)
def test_a_refused_login_is_down(refusal, reason):
    assert Subject().sees(link(refusal)).at(0.0) == ("down", reason, "unreachable")


def test_a_node_without_a_report_is_unknown_after_its_connection_was_lost_and_found():
    subject = Subject().sees(link("unreachable"), link("connecting"), link("authenticated"))
    assert subject.at(0.0) == ("unknown", "NoReportYet", "unknown")


@pytest.mark.parametrize("will", [ready(paused=True), shutdown(), shutdown(requested=True), ready(is_ready=False)])
def test_a_nodes_will_outlives_its_connection(will):
    # Being unreachable may be our own fault and is forgiven in a panic; a pause must not be.
    subject = reporting().sees(will, link("unreachable", 2.1))
    assert subject.at(2.1)[0] == "down"
    assert subject.at(2.1)[2] == "closed"
    assert subject.sees(link("authenticated"), link("silent")).at(500.0, fresh_share=0.0)[2] == "closed"


def test_when_stale_auto_excludes_while_half_the_group_is_fresh_then_uses_the_last_value_then_the_weight():
    subject = reporting()
    assert subject.at(10.0, fresh_share=0.5)[2] == "unreachable"
    assert subject.at(10.0, fresh_share=0.49)[2] == "open"
    assert subject.at(62.0, fresh_share=0.49)[2] == "open"
    assert subject.at(62.1, fresh_share=0.49)[2] == "unmeasured"
    _, published = subject.publish(10.0, fresh_share=0.0)
    assert (published.sessions, published.max_sessions) == (10.0, 100.0)


@pytest.mark.parametrize(
    ("when_stale", "admission"), [("Exclude", "unreachable"), ("LastValue", "open"), ("StaticWeight", "unmeasured")]
)
def test_when_stale_may_be_chosen(when_stale, admission):
    subject = reporting(Policy(when_stale=when_stale))
    assert subject.at(10.0, fresh_share=1.0) == ("stale", "ReportsOverdue", admission)
    assert subject.at(1000.0, fresh_share=0.0)[2] == admission


def test_stale_after_may_be_chosen():
    subject = reporting(Policy(stale_after=30.0))
    assert subject.at(32.0)[0] == "ready"
    assert subject.at(32.1)[0] == "stale"


def test_a_member_without_load_is_measured_by_own_counts():
    subject = Subject(Policy(measured=False, cap=20.0), replicas=4)
    assert subject.at(0.0) == ("ready", "Unmeasured", "unmeasured")
    _, published = subject.publish(0.0)
    assert (published.cap, published.share, published.baseline_assigned) == (20.0, 0.25, 0)


@pytest.mark.parametrize(
    "reborn",
    [
        heartbeat(9.0, 0, uuid="b", uptime=2, since=0),
        heartbeat(9.0, 0, uuid="a", uptime=2, since=0),
        poll(9.0, 0, uptime=2, since=0),
    ],
)
def test_a_new_core_uuid_or_a_falling_uptime_is_a_restart_with_slow_start(reborn):
    subject = reporting().sees(ready(paused=True), heartbeat(3.0, 10, uptime=500, since=1000))
    subject.totals.assigned = 40
    subject.sees(reborn)
    assert subject.model.restarted_at == 9.0
    name, _, admission = subject.at(9.0)
    assert (name, admission) == ("ready", "open"), "the pause was the old process's"
    weights = [subject.publish(9.0 + seconds)[1].weight_factor for seconds in (0, 3, 15, 30, 3000)]
    assert weights == pytest.approx([0.1, 0.1, 0.5, 1.0, 1.0])
    _, published = subject.publish(9.0)
    assert (published.sessions, published.baseline_assigned) == (0.0, 40), "what the old process carried is gone"


def test_a_report_that_comes_late_is_no_restart():
    subject = Subject().sees(poll(5.0, 10, uptime=500.0), heartbeat(4.9, 10, delay=0.2, uptime=499.9))
    assert subject.model.restarted_at is None


def test_a_node_that_joins_a_running_pool_starts_slowly_too():
    subject = Subject(restarted_at=100.0).sees(poll(101.0))
    assert subject.publish(101.0)[1].weight_factor == pytest.approx(0.1)


def test_a_report_that_is_too_old_clears_nothing_but_shows_life():
    subject = reporting()
    subject.totals.assigned = 7
    subject.sees(poll(6.0, 50, asked=2.5))
    _, published = subject.publish(6.0)
    assert (published.sessions, published.baseline_assigned) == (10.0, 0)
    assert subject.at(8.0)[0] == "ready"
    subject.totals.exact = False
    subject.sees(poll(7.0, 50))
    assert subject.publish(7.0)[1].sessions == 10.0
    subject.totals.exact = True
    subject.sees(poll(8.0, 50))
    assert subject.publish(8.0)[1].sessions == 50.0
    assert subject.publish(8.0)[1].baseline_assigned == 7


def test_a_report_measured_before_the_last_one_does_not_replace_it():
    subject = Subject().sees(heartbeat(0.0, 5), poll(1.0, 30, asked=0.001))
    subject.sees(heartbeat(0.5, 20, delay=0.6))
    assert subject.publish(1.1)[1].sessions == 30.0


def test_what_a_report_leaves_out_stays():
    subject = Subject().sees(poll(0.0, rate=50), heartbeat(1.0), poll(2.0, rate=None))
    assert subject.publish(2.0)[1].sessions_per_second == 50.0


def test_what_is_published_are_the_arguments_of_the_packet_core():
    core = pytest.importorskip("switchtender._core")
    arguments = set(inspect.signature(core.Core.report).parameters) - {"self", "uid"}
    assert {field.name for field in dataclasses.fields(Published)} == arguments


@pytest.mark.parametrize("when_stale", ["Auto", "LastValue"])
@pytest.mark.parametrize("stale_after", [None, 10.0, 90.0])
@pytest.mark.parametrize("restarted_at", [None, 1.0])
@pytest.mark.parametrize("fresh_share", [1.0, 0.2])
def test_what_is_derived_once_holds_until_time_alone_changes_it(when_stale, stale_after, restarted_at, fresh_share):
    subject = reporting(Policy(when_stale=when_stale, stale_after=stale_after), restarted_at=restarted_at)
    held, until, derived = None, -1.0, 0
    for tick in range(8, 600):
        now = tick / 4
        if now >= until:
            held, until = subject.publish(now, fresh_share), unchanging_until(subject.model, subject.policy, now)
            derived += 1
        assert subject.publish(now, fresh_share) == held, now
    slow_start = 0 if restarted_at is None else 4 * 30
    assert derived <= slow_start + 6, "at the bounds only"


def test_states_and_reasons_are_documented():
    assert set(STATES) == {"unknown", "ready", "full", "draining", "stale", "down"}
    assert all(text.endswith(".") and name[0].isupper() and name.isalnum() for name, text in REASONS.items())
    new = state(NodeModel(), Policy(), 0.0)
    assert new.reason in REASONS
    assert publish(NodeModel(), Policy(), replicas=1, fresh_share=1.0, now=0.0)[1].admission == "unknown"
