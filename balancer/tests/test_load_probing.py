"""What OPTIONS add to what is known of a node, and what stands above and below them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_events import Subject, heartbeat, link, poll, ready

from switchtender.drivers.reports import Probe
from switchtender.load.model import Policy
from switchtender.load.probing import Probes, Thresholds, probed, unreachable

PROBING = Thresholds(failures=3, successes=2)
MEASURED = Policy(probing=PROBING)
UNMEASURED = Policy(probing=PROBING, measured=False, cap=20.0)


def probe(at, *, answered=True, status=200):
    return Probe(answered=answered, sent=at - 0.01, received=at, status=status if answered else None)


def silence(*times):
    return [probe(at, answered=False) for at in times]


def reporting(policy=MEASURED):
    return Subject(policy).sees(link("authenticated"), ready(0.0), poll(0.0, 10), poll(1.0, 10), poll(2.0, 10))


@pytest.mark.parametrize("subject", [reporting(), Subject(UNMEASURED)], ids=["measured", "unmeasured"])
def test_thresholds_both_ways(subject):
    admission = subject.at(2.0)[2]
    subject.sees(*silence(2.0, 2.1))
    assert subject.at(2.1)[0] == "ready", "two of three"
    subject.sees(*silence(2.2))
    assert subject.at(2.2) == ("down", "SipUnanswered", "unreachable")
    subject.sees(probe(2.3))
    assert subject.at(2.3) == ("down", "SipUnanswered", "unreachable"), "one of two"
    subject.sees(*silence(2.4))
    subject.sees(probe(2.5), probe(2.6))
    name, _, after = subject.at(2.6)
    assert (name, after) == ("ready", admission)


def test_failures_that_are_not_in_a_row_never_take_it_out():
    subject = reporting()
    for turn in range(20):
        subject.sees(*silence(2.0 + turn / 100, 2.0 + turn / 100), probe(2.0 + turn / 100))
    assert subject.at(2.5)[0] == "ready"


def test_full_is_not_down_whatever_code_says_it():
    subject = Subject(UNMEASURED).sees(*(probe(at, status=503) for at in (1.0, 2.0, 3.0, 4.0)))
    assert subject.at(4.0) == ("ready", "Unmeasured", "unmeasured")


def test_a_call_that_is_answered_outweighs_probes_that_are_not():
    subject = reporting().sees(*silence(2.0, 2.1, 2.2))
    answered = replace(subject.model.probes, calls_answered_at=2.25)
    subject.model = replace(subject.model, probes=answered)
    assert subject.at(2.3) == ("ready", "Reporting", "open")
    subject.sees(*silence(2.4))
    assert subject.at(2.4)[1] == "SipUnanswered", "nothing was answered since this one left"


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (link("unreachable", 2.5), ("down", "ConnectionRefused")),
        (link("closed", 2.5), ("stale", "ConnectionClosed")),
        (poll(2.5, 98), ("full", "NoRoom")),
    ],
)
def test_the_event_socket_is_shown_before_options_and_no_call_goes_there(event, shown):
    subject = reporting().sees(*silence(2.0, 2.1, 2.2), event)
    assert subject.at(2.5) == (*shown, "unreachable")


@pytest.mark.parametrize("will", [ready(2.5, paused=True), ready(2.5, is_ready=False)])
def test_a_will_is_never_forgiven_as_unreachability_is(will):
    assert reporting().sees(*silence(2.0, 2.1, 2.2), will).at(2.5)[0::2] == ("draining", "closed")


@pytest.mark.parametrize("when_stale", ["LastValue", "StaticWeight"])
def test_a_stale_node_that_does_not_answer_either_gets_no_calls(when_stale):
    subject = reporting(Policy(probing=PROBING, when_stale=when_stale))
    assert subject.at(100.0)[2] != "unreachable"
    assert subject.sees(*silence(97.0, 98.0, 99.0)).at(100.0) == ("stale", "ReportsOverdue", "unreachable")


@pytest.mark.parametrize(("admin", "shown"), [("Drained", ("draining", "Drained")), ("Disabled", ("down", "Disabled"))])
@pytest.mark.parametrize("base", [MEASURED, UNMEASURED])
def test_what_an_operator_wants_comes_first(admin, shown, base):
    policy = replace(base, admin=admin)
    for events in ([], silence(2.0, 2.1, 2.2), [link("unreachable", 2.3)], [ready(2.4, paused=True)]):
        subject = reporting(base).sees(*events)
        subject.policy = policy
        assert subject.at(2.5) == (*shown, "closed")


def test_without_probing_what_was_probed_before_says_nothing():
    subject = reporting().sees(*silence(2.0, 2.1, 2.2))
    subject.policy = Policy()
    assert subject.at(2.3)[0] == "ready"


def test_a_new_process_is_still_to_be_found():
    subject = reporting().sees(heartbeat(2.0, 10, uuid="a"), *silence(2.0, 2.1, 2.2), heartbeat(2.5, 0, uuid="b"))
    assert subject.at(2.5)[1] == "SipUnanswered"
    assert subject.model.restarts == 1
    assert subject.sees(probe(2.6), probe(2.7)).at(2.7)[0] == "ready"


@pytest.mark.parametrize(("seconds", "factors"), [(0.0, (1.0, 1.0)), (10.0, (0.1, 0.5)), (30.0, (0.1, 5 / 30))])
def test_slow_start_takes_as_long_as_configured(seconds, factors):
    subject = Subject(Policy(slow_start=seconds), restarted_at=100.0).sees(poll(100.0))
    assert tuple(subject.publish(at)[1].weight_factor for at in (100.0, 105.0)) == pytest.approx(factors)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_the_run_is_what_the_last_probes_were(outcomes, failures, successes):
    probes, thresholds = Probes(), Thresholds(failures, successes)
    for at, answered in enumerate(outcomes):
        before = probes
        probes = probed(probes, probe(float(at), answered=answered), thresholds)
        assert (probes.failures == 0) is answered
        assert (probes.successes > 0) is answered
        if probes.unanswered and not before.unanswered:
            assert outcomes[at - failures + 1 : at + 1] == [False] * failures
        if before.unanswered and not probes.unanswered:
            assert outcomes[at - successes + 1 : at + 1] == [True] * successes
    assert unreachable(probes) is probes.unanswered
