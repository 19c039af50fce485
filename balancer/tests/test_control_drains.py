"""Drains as a balancer shows and tells them: whose they are, since when, what remains, what a deadline does."""

import json
import time

import pytest
from control_fakes import FS1, SHARED, FakeCore, FakeDriver, driver, group, member, plan_of, states, up
from test_admin_overrides import Directory

from switchtender.config.state_dir import TokenKey
from switchtender.control import watch as watch_module
from switchtender.control.admin import Admin
from switchtender.control.balancer import Balancer
from switchtender.control.views import BalancerView
from switchtender.drivers.reports import Shutdown
from switchtender.telemetry.journal import Journal

STATIC = member("fs1", 11, rest=", drain: 2020-03-01T10:00:00Z")
BEGAN = 1583056800.0


@pytest.fixture(autouse=True)
def drivers(monkeypatch):
    FakeDriver.made = []
    monkeypatch.setattr(watch_module, "EslDriver", FakeDriver)
    return FakeDriver.made


@pytest.fixture
def core():
    made = FakeCore()
    made.effective = 0.0
    yield made
    made.close()


@pytest.fixture
def directory():
    return Directory()


def started(core, directory):
    return Balancer(
        core, (TokenKey(7, bytes(64)),), clock=time.monotonic, replicas=lambda: 1, admin=Admin(directory),
        journal=Journal(),
    )  # fmt: skip


@pytest.fixture
async def balancer(core, directory):
    made = started(core, directory)
    yield made
    await made.close()


def shown(balancer, name="fs1"):
    """The node's row, in the first of its groups."""
    return next(node for node in BalancerView(balancer, "me", None, time.monotonic).nodes() if node["node"] == name)


async def order(balancer, verb, **details):
    await BalancerView(balancer, "me", None, time.monotonic).order(verb, "fs1", details, "127.0.0.1")


def told(balancer, *types):
    return [(event.type, event.reason) for event in balancer.journal.after(0) if event.type in types]


def ivr(timeout="600s", **drain):
    said = {"timeout": timeout, **drain}
    return group("ivr", member("fs1", 11), member("fs2", 12), spec=f"drain: {json.dumps(said)}")


# Whose drain it is


async def test_a_configured_drain_began_when_the_file_says(balancer, drivers):
    await up(balancer, drivers, group("ivr", STATIC, spec="drain: {timeout: 168h}"))
    drain = shown(balancer)["drain"]
    assert (drain["since"], drain["deadline"], drain["reason"]) == (BEGAN, BEGAN + 168 * 3600, "Requested")


async def test_an_order_begins_when_it_is_given_and_goes_on_over_a_restart(balancer, core, directory, drivers):
    await up(balancer, drivers, ivr())
    await order(balancer, "drain")
    drain = shown(balancer)["drain"]
    assert drain["since"] == pytest.approx(time.time(), abs=60)
    assert drain["deadline"] == pytest.approx(drain["since"] + 600, abs=0.01)
    assert (drain["reason"], drain["expired"], drain["onTimeout"]) == ("Requested", False, "Hold")
    again = started(core, directory)
    await again.apply(plan_of(ivr()))
    after = shown(again)["drain"]
    assert (after["since"], after["deadline"]) == (drain["since"], drain["deadline"])
    await again.close()


async def test_the_same_order_once_more_puts_no_deadline_off_and_undrain_ends_it(balancer, drivers):
    await up(balancer, drivers, ivr())
    await order(balancer, "drain")
    [since] = {override.since for override in balancer.admin.overrides.values()}
    await order(balancer, "drain")
    assert {override.since for override in balancer.admin.overrides.values()} == {since}
    await order(balancer, "undrain")
    assert shown(balancer)["drain"] is None
    assert balancer.admin.overrides == {}


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (lambda one: one.checks(paused=True), "Paused"),
        (lambda one: one.checks(paused=False, shutdown=True), "ShutdownRequested"),
        (lambda one: one.say(Shutdown(requested=False, received=time.monotonic())), "ShuttingDown"),
    ],
)
async def test_a_nodes_own_will_counts_down_from_when_it_was_first_seen(balancer, drivers, say, reason):
    await up(balancer, drivers, ivr())
    say(driver(drivers, "fs1"))
    drain = shown(balancer)["drain"]
    assert drain["since"] == pytest.approx(time.time(), abs=60)
    assert (drain["reason"], drain["deadline"]) == (reason, pytest.approx(drain["since"] + 600, abs=0.01))
    driver(drivers, "fs1").checks(paused=True, shutdown=True)
    assert shown(balancer)["drain"]["since"] == drain["since"], "another will of the same node is the same drain"


async def test_a_will_that_ends_and_comes_back_is_another_drain(balancer, drivers):
    await up(balancer, drivers, ivr())
    one = driver(drivers, "fs1")
    one.checks(paused=True)
    one.checks(paused=False)
    assert shown(balancer)["drain"] is None
    assert states(balancer)[FS1] == ("ready", "Reporting")


async def test_that_a_node_is_not_ready_is_no_drain(balancer, drivers):
    await up(balancer, drivers, ivr())
    driver(drivers, "fs1").checks(paused=False, ready=False)
    assert states(balancer)[FS1] == ("draining", "NotReady")
    assert shown(balancer)["drain"] is None


async def test_a_shared_node_goes_by_the_shortest_deadline_and_holds_where_one_group_does(balancer, drivers):
    first = group("ivr", member("fs1", 11), spec="drain: {timeout: 600s, onTimeout: Release}")
    for second, on_timeout in (("{timeout: 60s}", "Hold"), ("{timeout: 60s, onTimeout: Release}", "Release")):
        await up(balancer, drivers, first, group("conf", member("a", 11), spec=f"drain: {second}"))
        await order(balancer, "drain")
        drain = shown(balancer)["drain"]
        assert drain["deadline"] == pytest.approx(drain["since"] + 60, abs=0.01)
        assert drain["onTimeout"] == on_timeout
        assert shown(balancer, "a")["drain"] == drain


async def test_a_drain_of_one_group_is_no_drain_of_the_other(balancer, drivers):
    await up(balancer, drivers, group("ivr", STATIC), group("conf", member("a", 11)))
    assert shown(balancer)["drain"]["reason"] == "Requested"
    assert shown(balancer, "a")["drain"] is None


# How far it is


async def test_what_remains_is_told_only_while_it_is_known(balancer, core, drivers):
    await up(balancer, drivers, ivr())
    await order(balancer, "drain")
    assert shown(balancer)["drain"]["sessions"] == 3
    core.more[FS1] = {"in_flight": 5}
    assert shown(balancer)["drain"]["sessions"] == 5, "calls in set-up are sessions to come"
    balancer.watches[FS1].model = balancer.watches[FS1]._identity()
    assert shown(balancer)["drain"]["sessions"] is None
    assert balancer.watches[FS1].state.name == "draining"


async def test_an_empty_node_is_told_of_once_and_an_expired_one_too(balancer, core, drivers):
    await up(balancer, drivers, group("ivr", STATIC, spec="drain: {onTimeout: Release}"))
    for _ in range(3):
        balancer.watches[FS1].follow_drain()
    [expired] = [event for event in balancer.journal.after(0) if event.type == "NodeDrainExpired"]
    assert (expired.reason, expired.severity, expired.details["sessions"]) == ("Release", "warning", 3)
    assert "may go on without" in expired.message
    assert shown(balancer)["reason"] == "DrainExpired"
    assert core.reports(FS1)[-1]["admission"] == "closed"
    driver(drivers, "fs1").reports(sessions=0)
    for _ in range(3):
        balancer.watches[FS1].follow_drain()
    assert told(balancer, "NodeDrained", "NodeDrainExpired") == [
        ("NodeDrainExpired", "Release"),
        ("NodeDrained", "Drained"),
    ]


async def test_whoever_waits_for_a_node_that_holds_goes_on_waiting(balancer, drivers):
    await up(balancer, drivers, group("ivr", STATIC))
    balancer.watches[FS1].follow_drain()
    [expired] = [event for event in balancer.journal.after(0) if event.type == "NodeDrainExpired"]
    assert (expired.reason, expired.details["onTimeout"]) == ("Hold", "Hold")
    assert "goes on waiting" in expired.message


async def test_a_drain_that_is_cancelled_is_told_of_anew_when_it_comes_back(balancer, drivers):
    await up(balancer, drivers, ivr())
    driver(drivers, "fs1").reports(sessions=0)
    for _ in range(2):
        await order(balancer, "drain")
        balancer.watches[FS1].follow_drain()
        await order(balancer, "undrain")
        balancer.watches[FS1].follow_drain()
    assert told(balancer, "NodeDrained") == [("NodeDrained", "Drained")] * 2


async def test_nothing_is_told_of_a_node_that_is_not_heard(balancer, drivers):
    await balancer.apply(plan_of(group("ivr", STATIC)))
    balancer.watches[FS1].follow_drain()
    assert told(balancer, "NodeDrained", "NodeDrainExpired") == []
    assert shown(balancer)["drain"]["expired"], "but it is not known to be empty"


async def test_groups_count_what_is_past_its_deadline(balancer, drivers):
    await up(balancer, drivers, group("ivr", STATIC, member("fs2", 12)))
    [seen] = BalancerView(balancer, "me", None, time.monotonic).groups()
    assert (seen["states"]["draining"], seen["drainingSessions"], seen["expiredDrains"]) == (1, 3, 1)


# Whether the node itself is paused


@pytest.mark.parametrize(
    ("groups", "ordered", "paused"),
    [
        ([group("ivr", STATIC, spec="drain: {pauseNode: true}")], False, [True]),
        ([group("ivr", STATIC)], False, []),
        ([ivr(pauseNode=True)], True, [True]),
        ([ivr()], True, []),
        ([ivr(pauseNode=True)], False, []),
        ([group("ivr", STATIC, spec="drain: {pauseNode: true}"), group("conf", member("a", 11))], False, []),
    ],
    ids=["configured", "not wished", "ordered", "ordered, not wished", "no drain", "another group still calls it"],
)
async def test_which_drains_pause_the_node(balancer, drivers, groups, ordered, paused):
    await up(balancer, drivers, *groups)
    if ordered:
        await order(balancer, "drain")
    first = next(one for one in drivers if one.node in {"fs1", "a"})
    first.checks(paused=False)
    assert first.asked == paused


async def test_what_was_paused_from_here_is_resumed_after_a_restart_in_mid_drain(balancer, core, directory, drivers):
    await up(balancer, drivers, ivr(pauseNode=True))
    await order(balancer, "drain")
    one = driver(drivers, "fs1")
    one.checks(paused=False)
    one.answers()
    one.checks(paused=True)
    assert states(balancer)[FS1] == ("draining", "Drained"), "the reason of the drain, not that it is paused"
    await balancer.close()
    again = started(core, directory)
    await up(again, drivers, ivr(pauseNode=True))
    await order(again, "undrain")
    one = driver(drivers, "fs1")
    one.checks(paused=True)
    assert one.asked == [False]
    assert states(again)[FS1] == ("draining", "Paused"), "until it is seen to be resumed"
    assert shown(again)["drain"] is None, "what we paused is no will of its own"
    one.answers()
    one.checks(paused=False)
    assert states(again)[FS1] == ("ready", "Reporting")
    assert not Admin(directory).paused([FS1])
    assert told(again, "NodePause") == [("NodePause", "Resumed")]
    await again.close()


async def test_what_a_person_paused_is_not_resumed(balancer, drivers):
    await up(balancer, drivers, ivr(pauseNode=True))
    one = driver(drivers, "fs1")
    one.checks(paused=True)
    await order(balancer, "drain")
    one.checks(paused=True)
    await order(balancer, "undrain")
    one.checks(paused=True)
    assert one.asked == []
    assert shown(balancer)["drain"]["reason"] == "Paused"


async def test_a_node_that_refuses_to_be_paused_is_told_of_once_with_what_to_change(balancer, drivers):
    await up(balancer, drivers, ivr(pauseNode=True))
    await order(balancer, "drain")
    one = driver(drivers, "fs1")
    for _ in range(3):
        one.checks(paused=False)
        one.answers(accepted=False, detail="-ERR permission denied")
    assert one.asked == [True], "and it is not asked again and again"
    [event] = [event for event in balancer.journal.after(0) if event.type == "NodePause"]
    assert (event.reason, event.severity) == ("Refused", "warning")
    assert "-ERR permission denied: allow the user the api command fsctl" in event.message


async def test_a_node_that_may_not_be_asked_is_not_paused_and_that_is_told_once(balancer, drivers):
    await up(balancer, drivers, ivr(pauseNode=True))
    await order(balancer, "drain")
    for _ in range(3):
        driver(drivers, "fs1").checks(paused=None)
    assert driver(drivers, "fs1").asked == []
    assert told(balancer, "NodePause") == [("NodePause", "Unknown")]


async def test_a_node_that_ends_is_not_paused_again_whatever_it_says(balancer, drivers):
    await up(balancer, drivers, ivr(pauseNode=True))
    one = driver(drivers, "fs1")
    one.checks(paused=True)
    await order(balancer, "drain")
    one.say(Shutdown(requested=False, received=time.monotonic()))
    one.checks(paused=False)
    assert (one.asked, told(balancer, "NodePause")) == ([], []), "somebody else paused it, and so it stays theirs"


async def test_members_that_are_one_node_are_paused_and_remembered_together(balancer, directory, drivers):
    first = group("ivr", member("fs1", 11), spec="drain: {pauseNode: true}")
    await up(balancer, drivers, first, group("conf", member("a", 11)))
    await order(balancer, "drain")
    [one] = drivers
    one.checks(paused=False)
    assert [Admin(directory).paused([uid]) for uid in (FS1, SHARED)] == [True, True]
