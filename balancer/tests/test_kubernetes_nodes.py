"""What Kubernetes says of a node: not ready, no password yet, another pod in its place."""

import asyncio
import time
from dataclasses import replace

import pytest
from pydantic import SecretStr
from test_control_balancer import FakeCore, FakeDriver

from switchtender.config.plan import EslTarget, Plan, nodes_behind
from switchtender.config.snapshot import GroupMembers
from switchtender.config.state_dir import TokenKey
from switchtender.control import watch as watch_module
from switchtender.control.balancer import Balancer
from switchtender.drivers.reports import Link, Readiness, Report
from switchtender.load.model import NodeModel, Policy
from switchtender.load.states import publish
from switchtender_api.loader import Documents
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, SetMember

LINKED = NodeModel(link="authenticated")
HEARD = replace(LINKED, report=Report(source="poll", sessions=3, max_sessions=100, received=0.0, sent=0.0))
REFUSED = NodeModel(link="auth_failed")
PAUSED = replace(HEARD, readiness=Readiness(ready=True, paused_inbound=True, received=0.0))
NEW = NodeModel()
CLOSED = NodeModel(link="closed", silence="ConnectionClosed")


@pytest.mark.parametrize(("model", "policy", "state", "admission"), [
    (HEARD, {"not_ready": True}, ("down", "PodNotReady"), "unreachable"),
    (NEW, {"not_ready": True}, ("down", "PodNotReady"), "unreachable"),
    (REFUSED, {"not_ready": True}, ("down", "PodNotReady"), "unreachable"),
    (NEW, {"not_ready": True, "measured": False}, ("down", "PodNotReady"), "unreachable"),
    # a will is never overridden, by nobody's panic
    (PAUSED, {"not_ready": True}, ("down", "PodNotReady"), "closed"),
    (HEARD, {"not_ready": True, "drained": True}, ("draining", "Draining"), "closed"),
    (NEW, {"not_ready": True, "drained": True, "measured": False}, ("draining", "Draining"), "closed"),
    # passwords
    (NEW, {"login": "Missing"}, ("unknown", "NoPassword"), "unknown"),
    (NEW, {"login": "Awaited"}, ("ready", "PasswordAwaited"), "unmeasured"),
    (NEW, {"login": "Awaited", "not_ready": True}, ("down", "PodNotReady"), "unreachable"),
    (NEW, {"login": "Awaited", "drained": True}, ("draining", "Draining"), "closed"),
    (REFUSED, {"login": "Awaited"}, ("down", "AuthenticationFailed"), "unreachable"),
    (CLOSED, {"login": "Awaited"}, ("unknown", "NoReportYet"), "unknown"),
    (HEARD, {"login": "Missing"}, ("ready", "Reporting"), "open"),
])  # fmt: skip
def test_what_a_pods_state_and_password_mean_for_new_calls(model, policy, state, admission):
    found, published = publish(model, Policy(legs_per_call=1, **policy), replicas=1, fresh_share=1.0, now=0.5)
    assert (found.name, found.reason) == state
    assert published.admission == admission


# Which members are one node


def socket(host):
    return EslTarget(f"10.0.1.{host}", 8021, None, None)


STATIC, OTHER = "voice/ivr/a@10.0.1.1:5060", "lab/conf/b@10.0.1.1:5060"


def test_pods_are_nodes_of_their_own_even_at_one_endpoint():
    esl = {"pod-1": socket(1), "pod-2": socket(1)}
    assert nodes_behind(esl, esl, {}) == {"pod-1": "pod-1", "pod-2": "pod-2"}
    assert nodes_behind(["pod-2"], esl, {"pod-1": "pod-1"}) == {"pod-2": "pod-2"}


def test_a_static_member_at_a_pods_socket_is_that_pod():
    esl = {STATIC: socket(1), "pod-1": socket(1), OTHER: socket(1)}
    assert set(nodes_behind(esl, esl, {}).values()) == {"pod-1"}


def test_a_static_member_stays_with_its_pod_while_the_next_one_comes_and_goes_on_with_it():
    esl = {STATIC: socket(1), "pod-9": socket(1), "pod-1": socket(1)}
    now = nodes_behind([STATIC, "pod-9"], esl, {})
    assert now == {STATIC: "pod-9", "pod-9": "pod-9"}
    both = nodes_behind([STATIC, "pod-9", "pod-1"], esl, now)
    assert both == {STATIC: "pod-9", "pod-9": "pod-9", "pod-1": "pod-1"}
    assert nodes_behind([STATIC, "pod-1"], esl, both) == {STATIC: "pod-1", "pod-1": "pod-1"}


def test_static_members_of_two_groups_are_one_node_as_before():
    esl = {STATIC: socket(1), OTHER: socket(1)}
    assert set(nodes_behind(esl, esl, {STATIC: STATIC}).values()) == {STATIC}


@pytest.mark.parametrize(("core_uuid", "uptime_ms", "slow"), [("b", 1_000, True), ("a", 91_000, False)])
async def test_a_pod_at_another_address_starts_slowly_if_it_is_another_process(
    balancer, drivers, core, core_uuid, uptime_ms, slow
):
    await put(balancer, "one")
    drivers[0].login()
    drivers[0].reports(core_uuid="a", uptime_ms=90_000)
    moved = plan("one", addresses=["10.0.1.2"], esl={"host": "10.0.1.2", "port": 8021})
    await balancer.apply(replace(moved, esl={"pod-1": replace(moved.esl["pod-1"], host="10.0.1.2")}))
    await asyncio.sleep(0)
    assert state(balancer) == ("unknown", "NoReportYet")
    drivers[1].login()
    drivers[1].reports(core_uuid=core_uuid, uptime_ms=uptime_ms)
    assert (core.reports("pod-1")[-1]["weight_factor"] < 0.2) is slow


# Passwords that rotate


@pytest.fixture(autouse=True)
def drivers(monkeypatch):
    FakeDriver.made = []
    monkeypatch.setattr(FakeDriver, "renew", lambda self, new: setattr(self, "credentials", new), raising=False)
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


DOCUMENTS = Documents(
    "config.yaml", BalancerConfig.model_validate({"spec": {"listeners": [{"address": "127.0.0.1"}]}}), ()
)
GROUP = BalancerGroup.model_validate(
    {
        "metadata": {"name": "ivr", "namespace": "voice", "uid": "group"},
        "spec": {"members": {"selector": {"matchLabels": {"app": "fs"}}}, "capacity": {"legsPerCall": 1}},
    }
)


def plan(password, *, uid="pod-1", awaited=False, **member):
    raw = {"uid": uid, "name": "fs-0", "addresses": ["10.0.1.1"], "esl": {"host": "10.0.1.1", "port": 8021}, **member}
    known = None if password is None else SecretStr(password)
    target = EslTarget("10.0.1.1", 8021, None, known, awaited, rotates=True)
    return Plan(DOCUMENTS, (GroupMembers(GROUP, (SetMember.model_validate(raw),)),), {uid: target})


async def put(balancer, *args, **kwargs):
    await balancer.apply(plan(*args, **kwargs))
    await asyncio.sleep(0)


def state(balancer, uid="pod-1"):
    return balancer.watches[uid].state.name, balancer.watches[uid].state.reason


async def test_a_login_that_stands_is_left_alone_and_the_next_uses_the_new_password(balancer, drivers):
    await put(balancer, "one")
    [driver] = drivers
    driver.login()
    driver.reports()
    await put(balancer, "two")
    assert drivers == [driver]
    assert not driver.left
    assert driver.credentials.password == "two"
    assert state(balancer) == ("ready", "Reporting")


async def test_a_node_that_refused_the_old_password_is_tried_with_the_new_one_at_once(balancer, drivers):
    await put(balancer, "one")
    drivers[0].say(Link(state="auth_failed", detail="", since=0.0))
    await put(balancer, "two")
    assert [driver.left for driver in drivers] == [True, False]
    assert drivers[1].credentials.password == "two"


async def test_another_user_logs_in_anew(balancer, drivers):
    await put(balancer, "one")
    drivers[0].login()
    changed = plan("one")
    target = replace(changed.esl["pod-1"], user="ops@example.com")
    await balancer.apply(replace(changed, esl={"pod-1": target}))
    await asyncio.sleep(0)
    assert [driver.left for driver in drivers] == [True, False]


async def test_a_password_that_is_no_longer_known_costs_no_login(balancer, drivers):
    await put(balancer, "one")
    drivers[0].login()
    drivers[0].reports()
    await put(balancer, None)
    assert [driver.left for driver in drivers] == [False]
    assert state(balancer) == ("ready", "Reporting")


async def test_a_node_without_a_password_is_not_logged_in_to(balancer, drivers):
    await put(balancer, None)
    assert (drivers, state(balancer)) == ([], ("unknown", "NoPassword"))
    await put(balancer, "one")
    assert [driver.credentials.password for driver in drivers] == ["one"]
    assert state(balancer) == ("unknown", "NoReportYet")


async def test_calls_to_a_node_whose_password_was_awaited_go_on_until_it_reports_or_fails(balancer, core, drivers):
    await put(balancer, None, awaited=True)
    assert core.reports("pod-1")[-1]["admission"] == "unmeasured"
    await put(balancer, "one")
    assert core.reports("pod-1")[-1]["admission"] == "unmeasured"
    drivers[0].login()
    assert state(balancer) == ("ready", "PasswordAwaited")
    drivers[0].reports()
    assert state(balancer) == ("ready", "Reporting")
    assert core.reports("pod-1")[-1]["admission"] == "open"


async def test_an_awaited_password_that_does_not_fit_takes_the_node_out(balancer, core, drivers):
    await put(balancer, None, awaited=True)
    await put(balancer, "one")
    drivers[0].say(Link(state="auth_failed", detail="", since=0.0))
    assert core.reports("pod-1")[-1]["admission"] == "unreachable"


async def test_a_pod_that_is_not_ready_stays_logged_in(balancer, core, drivers):
    await put(balancer, "one")
    drivers[0].login()
    drivers[0].reports()
    await put(balancer, "one", state="NotReady")
    assert [driver.left for driver in drivers] == [False]
    assert state(balancer) == ("down", "PodNotReady")
    drivers[0].reports(sessions=9)
    last = core.reports("pod-1")[-1]
    assert (last["admission"], last["sessions"]) == ("unreachable", 9.0), "what it reports is there for a panic"
    await put(balancer, "one")
    assert state(balancer) == ("ready", "Reporting")


async def test_a_terminating_pod_is_drained_with_or_without_a_drain_of_its_own(balancer, core, drivers):
    await put(balancer, "one", state="Draining")
    drivers[0].login()
    drivers[0].reports()
    assert state(balancer) == ("draining", "Draining")
    assert core.reports("pod-1")[-1]["admission"] == "closed"


async def test_the_next_pod_of_the_same_name_and_address_is_another_node(balancer, core, drivers):
    await put(balancer, "one")
    drivers[0].login()
    drivers[0].reports()
    await put(balancer, "one", uid="pod-2")
    assert list(balancer.watches) == ["pod-2"]
    assert [driver.left for driver in drivers] == [True, False]
    drivers[1].login()
    drivers[1].reports()
    assert core.reports("pod-2")[-1]["weight_factor"] < 0.2, "it starts slowly"
