"""The balancer between a core that records what it is told and drivers that say what the test wants."""

import asyncio
import json
import logging
import time
from dataclasses import replace

import pytest
from control_fakes import FS1, FS2, IVR, FakeCore, FakeDriver, driver, group, member, plan_of, states, up
from pydantic import SecretStr

from switchtender._core import ConfigError
from switchtender.config.state_dir import TokenKey
from switchtender.control import watch as watch_module
from switchtender.control.balancer import Balancer
from switchtender.control.views import BalancerView
from switchtender.drivers.reports import Link, PollTimeout, Readiness
from switchtender.http.views import BadQuestionError


@pytest.fixture(autouse=True)
def drivers(monkeypatch):
    FakeDriver.made = []
    monkeypatch.setattr(watch_module, "EslDriver", FakeDriver)
    return FakeDriver.made


@pytest.fixture
def core():
    made = FakeCore()
    yield made
    made.close()


@pytest.fixture
async def balancer(core):
    made = Balancer(core, (TokenKey(7, bytes(64)),), clock=time.monotonic, replicas=lambda: 1)
    yield made
    await made.close()


@pytest.fixture
def view(balancer):
    return BalancerView(balancer, "me", None, time.monotonic)


async def test_the_core_gets_the_snapshot_before_any_report(balancer, core):
    await balancer.apply(plan_of(IVR))
    assert core.calls[0][0] == "apply"
    assert [call[:2] for call in core.calls[1:]] == [("report", FS1), ("report", FS2)]
    assert {report["admission"] for call in core.calls[1:] for report in call[2:]} == {"unknown"}
    assert balancer.generation == 1


async def test_a_report_takes_its_baseline_before_it_is_published(balancer, core, drivers):
    await up(balancer, drivers)
    core.calls.clear()
    driver(drivers, "fs1").reports(sessions=5)
    assert [call[:2] for call in core.calls] == [("baseline", FS1), ("report", FS1)]
    published = core.reports(FS1)[-1]
    assert (published["admission"], published["sessions"], published["max_sessions"]) == ("open", 5.0, 100.0)
    assert states(balancer)[FS1] == ("ready", "Reporting")


async def test_every_event_is_published_at_once(balancer, core, drivers):
    await up(balancer, drivers)
    driver(drivers, "fs1").say(Readiness(ready=True, paused_inbound=True, received=time.monotonic()))
    assert core.reports(FS1)[-1]["admission"] == "closed"
    assert states(balancer)[FS1] == ("draining", "Paused")
    driver(drivers, "fs2").say(PollTimeout(received=time.monotonic()))
    assert states(balancer)[FS2] == ("stale", "PollsUnanswered")


async def test_a_refused_snapshot_leaves_the_plan_before_it_whole(balancer, core, drivers):
    await up(balancer, drivers)
    before, known = balancer.plan, states(balancer)
    core.refuses = ("/groups/0", "no")
    with pytest.raises(ConfigError):
        await balancer.apply(plan_of(group("other", member("x", 13)), group("ivr", member("fs1", 11, password="new"))))
    assert balancer.plan is before
    assert balancer.generation == 1
    assert states(balancer) == known
    assert balancer.member(FS2, "voice", "ivr").name == "fs2"
    driver(drivers, "fs1").reports(sessions=9)
    assert core.reports(FS1)[-1]["sessions"] == 9.0
    assert len(drivers) == 2


async def test_a_node_that_leaves_is_said_goodbye_to_and_heard_no_more(balancer, core, drivers):
    await up(balancer, drivers)
    leaving = driver(drivers, "fs2")
    await balancer.apply(plan_of(group("ivr", member("fs1", 11))))
    assert leaving.left
    assert set(balancer.watches) == {FS1}
    leaving.say(Link(state="reset", detail="too late", since=0.0))
    assert core.reports(FS2)[-1]["admission"] == "open", "nothing was published of it after it left"


async def test_reports_that_arrive_while_a_driver_says_goodbye_go_to_the_new_plan(balancer, core, drivers):
    await up(balancer, drivers)
    applying = asyncio.create_task(balancer.apply(plan_of(group("ivr", member("fs1", 11), member("fs3", 13)))))
    await asyncio.sleep(0)
    driver(drivers, "fs1").reports(sessions=8)
    await applying
    assert core.reports(FS1)[-1]["sessions"] == 8.0
    assert states(balancer)["voice/ivr/fs3@127.0.0.13:5060"] == ("unknown", "NoReportYet")


async def test_an_unchanged_node_keeps_its_driver_over_a_reload(balancer, drivers):
    await up(balancer, drivers)
    await balancer.apply(plan_of(IVR))
    assert len(drivers) == 2
    assert not any(one.left for one in drivers)


async def test_a_new_password_is_used_at_once_and_what_is_known_stays(balancer, core, drivers):
    await up(balancer, drivers)
    old = driver(drivers, "fs1")
    await balancer.apply(plan_of(group("ivr", member("fs1", 11, password="new"), member("fs2", 12))))
    await asyncio.sleep(0)
    fresh = driver(drivers, "fs1")
    assert old.left
    assert fresh.credentials.password == "new"
    assert states(balancer)[FS1] == ("ready", "Reporting"), "the pool does not stand still for a new password"
    fresh.say(Link(state="auth_failed", detail="the node refused the login", since=time.monotonic()))
    assert states(balancer)[FS1] == ("down", "AuthenticationFailed")


async def test_another_event_socket_starts_from_nothing(balancer, drivers):
    await up(balancer, drivers)
    old = driver(drivers, "fs1")
    await balancer.apply(plan_of(group("ivr", member("fs1", 11, port=8022), member("fs2", 12))))
    await asyncio.sleep(0)
    assert old.left
    assert driver(drivers, "fs1").port == 8022
    assert states(balancer)[FS1] == ("unknown", "NoReportYet")


async def test_another_poll_interval_replaces_the_driver_and_keeps_the_state(balancer, drivers):
    await up(balancer, drivers)
    await balancer.apply(plan_of(group("ivr", member("fs1", 11), spec="health: {pollInterval: 200ms}")))
    await asyncio.sleep(0)
    assert driver(drivers, "fs1").poll == 0.2
    assert states(balancer)[FS1] == ("ready", "Reporting")


async def test_a_node_that_loses_its_event_socket_in_the_file_is_unmeasured(balancer, core, drivers):
    await up(balancer, drivers)
    await balancer.apply(plan_of(group("ivr", member("fs1", 11, esl=False), member("fs2", 12))))
    await asyncio.sleep(0)
    assert not [one for one in drivers if one.node == "fs1" and not one.left]
    assert states(balancer)[FS1] == ("ready", "Unmeasured")
    assert core.reports(FS1)[-1]["admission"] == "unmeasured"


async def test_a_driver_that_fails_is_logged_and_started_anew(balancer, drivers, monkeypatch, caplog):
    monkeypatch.setattr(watch_module, "_RESTART", 0.01)
    await up(balancer, drivers)
    driver(drivers, "fs1").failure.set_exception(RuntimeError("a fault of ours"))
    async with asyncio.timeout(60):
        while len(drivers) < 3:
            await asyncio.sleep(0.005)
    assert driver(drivers, "fs1").node == "fs1"
    assert "a fault of ours" in caplog.text
    assert states(balancer)[FS1] == ("ready", "Reporting")


async def test_a_reload_in_the_second_before_a_failed_driver_restarts_makes_one_driver(balancer, drivers, monkeypatch):
    monkeypatch.setattr(watch_module, "_RESTART", 0.02)
    await up(balancer, drivers)
    driver(drivers, "fs1").failure.set_exception(RuntimeError("a fault of ours"))
    await asyncio.sleep(0)
    await balancer.apply(plan_of(IVR))
    await asyncio.sleep(0.06)
    assert driver(drivers, "fs1")
    assert len(drivers) == 3


async def test_a_failed_driver_of_a_node_that_left_stays_down(balancer, drivers, monkeypatch):
    monkeypatch.setattr(watch_module, "_RESTART", 0.02)
    await up(balancer, drivers)
    driver(drivers, "fs2").failure.set_exception(RuntimeError("a fault of ours"))
    await asyncio.sleep(0)
    await balancer.apply(plan_of(group("ivr", member("fs1", 11))))
    await asyncio.sleep(0.06)
    assert len(drivers) == 2


CONF = group("conf", member("a", 11))


async def test_members_that_share_an_event_socket_are_one_node_with_one_driver(balancer, core, drivers, view):
    await up(balancer, drivers, IVR, CONF)
    assert len(drivers) == 2
    [document] = core.applied()
    assert len(document["nodes"]) == 2
    shown = {(node["group"], node["node"]) for node in view.nodes()}
    assert shown == {("ivr", "fs1"), ("ivr", "fs2"), ("conf", "a")}, "each group calls it by its own name"


async def test_a_shared_node_lives_on_when_the_group_that_named_it_goes(balancer, core, drivers):
    await up(balancer, drivers, IVR, CONF)
    known = core.applied()[-1]["nodes"]
    await balancer.apply(plan_of(CONF))
    [node] = core.applied()[-1]["nodes"]
    assert node["uid"] in {one["uid"] for one in known}
    assert states(balancer) == {node["uid"]: ("ready", "Reporting")}
    assert sum(not one.left for one in drivers) == 1


async def test_a_node_may_be_named_as_another_one_is_in_the_next_group(balancer, drivers, view):
    """Labels must stay unique: conf has its own fs1, and calls ivr's fs1 by the name a."""
    await up(balancer, drivers, IVR, group("conf", member("a", 11), member("fs1", 12)))
    names = [(node["group"], node["node"]) for node in view.nodes()]
    assert sorted(names) == [("conf", "a"), ("conf", "fs1"), ("ivr", "fs1"), ("ivr", "fs2")]


STRICT = """\
capacity: {maxSessions: 50, headroom: 4, legsPerCall: 2}
  health: {staleAfter: 10s, whenStale: Exclude, pollInterval: 500ms}"""
LOOSE = """\
capacity: {maxSessions: 80, headroom: 2, legsPerCall: 1}
  health: {staleAfter: 30s, whenStale: LastValue, pollInterval: 2s}"""


@pytest.mark.parametrize("order", [(STRICT, LOOSE), (LOOSE, STRICT)])
async def test_a_shared_node_goes_by_the_strictest_of_its_groups(balancer, drivers, order):
    first, second = order
    await balancer.apply(
        plan_of(group("ivr", member("fs1", 11), spec=first), group("conf", member("a", 11), spec=second))
    )
    [watch] = balancer.watches.values()
    policy = watch.policy
    assert (policy.cap, policy.headroom, policy.legs_per_call) == (50.0, 4.0, 2)
    assert (policy.stale_after, policy.when_stale, watch.poll_interval) == (10.0, "Exclude", 0.5)


async def test_headroom_is_learned_unless_every_group_fixes_one(balancer):
    await balancer.apply(
        plan_of(group("ivr", member("fs1", 11), spec="capacity: {headroom: 4}"), group("conf", member("a", 11)))
    )
    [watch] = balancer.watches.values()
    assert watch.policy.headroom is None


async def test_one_group_drains_its_member_and_the_node_goes_on_in_the_other(balancer, core, drivers, view):
    drained = member("fs1", 11, rest=", drain: 2020-11-23T10:00:00Z")
    await up(balancer, drivers, group("ivr", drained), CONF)
    assert {node["group"]: (node["state"], node["reason"]) for node in view.nodes()} == {
        "ivr": ("draining", "DrainExpired"),
        "conf": ("ready", "Reporting"),
    }
    [watch] = balancer.watches.values()
    assert core.reports(watch.uid)[-1]["admission"] == "open"
    await balancer.apply(plan_of(group("ivr", drained)))
    assert core.reports(watch.uid)[-1]["admission"] == "closed"


async def test_the_last_value_is_used_only_where_most_of_the_group_is_not_fresh(balancer, core, drivers):
    await up(balancer, drivers, group("ivr", *(member(f"fs{host}", host) for host in (11, 12, 13))))
    driver(drivers, "fs11").say(PollTimeout(received=time.monotonic()))
    balancer._publish(balancer.watches.values())
    uid = {watch.name: uid for uid, watch in balancer.watches.items()}
    assert core.reports(uid["fs11"])[-1]["admission"] == "unreachable"
    driver(drivers, "fs12").say(PollTimeout(received=time.monotonic()))
    balancer._publish(balancer.watches.values())
    assert core.reports(uid["fs11"])[-1]["admission"] == "open"
    assert core.reports(uid["fs13"])[-1]["admission"] == "open"


async def test_a_node_that_joins_a_running_pool_starts_slowly(balancer, core, drivers):
    await up(balancer, drivers)
    assert {core.reports(uid)[-1]["weight_factor"] for uid in (FS1, FS2)} == {1.0}
    joined = "voice/ivr/fs3@127.0.0.13:5060"
    await up(balancer, drivers, group("ivr", member("fs1", 11), member("fs2", 12), member("fs3", 13)))
    assert core.reports(joined)[-1]["weight_factor"] == pytest.approx(0.1, abs=0.01)
    assert core.reports(FS1)[-1]["weight_factor"] == 1.0


async def test_each_change_of_a_nodes_state_is_one_log_record_in_order(balancer, drivers, caplog):
    caplog.set_level("INFO")
    await up(balancer, drivers)
    for paused in (True, False):
        driver(drivers, "fs1").say(Readiness(ready=not paused, received=time.monotonic(), paused_inbound=paused))
    found = [record for record in caplog.records if hasattr(record, "before") and record.node == "fs1"]
    steps = [(record.before, record.state) for record in found if record.before != record.state]
    assert steps == [("unknown", "ready"), ("ready", "draining"), ("draining", "ready")]


async def test_core_events_become_events_and_log_records(balancer, core, drivers, caplog):
    caplog.set_level("DEBUG")
    await up(balancer, drivers)
    running = asyncio.create_task(balancer.run())
    await asyncio.sleep(0)
    core.tell("log", 1.0, 0, "", 30, "100% of a rate was reached")
    core.tell("worker_panicked", 1.0, 1, "", 0, "index out of bounds")
    core.tell("node_refused", 1.0, 0, FS1, 503, "Maximum Calls In Progress")
    core.tell("node_timed_out", 1.0, 0, "voice/ivr/gone@127.0.0.99:5060", 0, "no response")
    async with asyncio.timeout(60):
        while "no response" not in [getattr(record, "detail", "") for record in caplog.records]:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    found = [record for record in caplog.records if record.levelno > logging.INFO]
    assert [(record.levelname, record.getMessage()) for record in found] == [
        ("WARNING", "100% of a rate was reached"),
        ("ERROR", "packet core: worker 1 panicked: index out of bounds"),
        ("WARNING", "node refused a call: 503 Maximum Calls In Progress"),
        ("WARNING", "node did not answer a call: no response"),
    ]
    assert (found[2].node, found[2].groups, found[2].reason) == ("fs1", ["voice/ivr"], "MaximumCallsInProgress")
    told = [event.as_json() for event in balancer.journal.after(0) if event.severity != "info"]
    assert [(event["type"], event["reason"], event["node"]) for event in told] == [
        ("Worker", "Panicked", None),
        ("NodeRefused", "MaximumCallsInProgress", "fs1"),
        ("NodeTimedOut", "NoResponse", None),
    ]
    assert told[2]["details"]["uid"] == "voice/ivr/gone@127.0.0.99:5060"


async def test_time_alone_is_published_too_but_only_what_it_changes(balancer, core, drivers, monkeypatch):
    monkeypatch.setattr("switchtender.control.balancer._TICK", 0.005)
    await up(balancer, drivers)
    joined = "voice/ivr/fs3@127.0.0.13:5060"
    await up(balancer, drivers, group("ivr", member("fs1", 11), member("fs2", 12), member("fs3", 13)))
    known = len(core.reports(FS1)), len(core.reports(joined))
    running = asyncio.create_task(balancer.run())
    async with asyncio.timeout(60):
        while core.reports(joined)[-1]["weight_factor"] <= 0.1:  # in slow start; the first three seconds are a tenth
            balancer.watches[joined].model = replace(balancer.watches[joined].model, restarted_at=time.monotonic() - 15)
            await asyncio.sleep(0.001)
        while len(core.reports(joined)) < known[1] + 3:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(core.reports(FS1)) == known[0]


async def test_views_show_present_nodes_and_no_password(balancer, drivers, view):
    await up(balancer, drivers)
    nodes = view.nodes()
    assert [node["node"] for node in nodes] == ["fs1", "fs2"], "what was removed is not shown"
    assert json.dumps(nodes, allow_nan=False)
    assert "ClueCon" not in json.dumps(nodes)
    first = nodes[0]
    assert (first["sessions"], first["maxSessions"], first["state"], first["esl"]) == (
        3,
        100,
        "ready",
        "127.0.0.11:8021",
    )


async def test_a_node_without_room_on_the_packet_path_is_shown_full(balancer, core, drivers, view):
    await up(balancer, drivers, IVR, CONF)
    core.draws = dict.fromkeys(core.uids, "Full")
    assert {node["state"] for node in view.nodes()} == {"full"}
    assert {one["state"] for one in view.explain({"requestUri": "sip:1@a"})["candidates"]} == {"full"}
    assert [one["states"]["full"] for one in view.groups()] == [2, 1]


async def test_views_of_an_event_socket_at_ipv6_have_brackets(balancer, drivers, view):
    await up(balancer, drivers, group("ivr", '{name: six, sip: "sip:[::1]", load: "fs://:ClueCon@[::1]"}'))
    [node] = view.nodes()
    assert (node["esl"], node["sip"]) == ("[::1]:8021", "[::1]:5060")


async def test_before_the_first_plan_nothing_is_ready_and_nothing_is_shown(balancer, drivers, view):
    assert view.not_ready() == "no configuration is in force yet"
    assert view.groups() == []
    await up(balancer, drivers)
    assert view.not_ready() is None


async def test_groups_add_up_those_that_serve(balancer, drivers, view):
    await up(balancer, drivers)
    driver(drivers, "fs2").say(Readiness(ready=True, paused_inbound=True, received=time.monotonic()))
    [found] = view.groups()
    assert (found["namespace"], found["group"], found["nodes"]) == ("voice", "ivr", 2)
    assert found["states"] == {"unknown": 0, "ready": 1, "full": 0, "draining": 1, "stale": 0, "down": 0}
    assert (found["sessions"], found["drainingSessions"], found["capacity"]) == (3, 3, 1.0)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({}, "requestUri: required"),
        ({"requestUri": 7}, "requestUri: required"),
        (
            {"requestUri": "sip:1@a", "request_uri": "x"},
            "request_uri: unknown field; accepted: message, requestUri",
        ),
        ({"requestUri": "bad"}, "requestUri: not a URI"),
        ({"requestUri": "sip:1@a", "callId": 7}, "callId: expected a string"),
    ],
)
async def test_a_bad_question_names_the_field_as_it_was_asked(balancer, drivers, view, question, said):
    await up(balancer, drivers, IVR, CONF)
    with pytest.raises(BadQuestionError, match=said.replace("(", r"\(")):
        view.explain(question)


async def test_an_explanation_names_nodes_as_the_group_does(balancer, drivers, view):
    await up(balancer, drivers, IVR, CONF)
    answer = view.explain({"requestUri": "sip:1@a"})
    assert [(one["name"], one["state"], one["reason"]) for one in answer["candidates"]] == [("a", "ready", "Reporting")]
    assert answer["choice"]["name"] == "a"


async def test_an_explanation_without_a_group(balancer, drivers, view):
    await up(balancer, drivers)
    assert view.explain({"requestUri": "sip:1@a"})["group"] is None


def test_targets_do_not_show_their_password():
    plan = plan_of(IVR)
    assert "ClueCon" not in repr(plan)
    assert {type(target.password) for target in plan.esl.values()} == {SecretStr}
