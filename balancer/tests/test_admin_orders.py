"""Orders: from a name and a verb to what stands afterwards, in a balancer over a core that records."""

import asyncio
import json
import re
import time

import pytest
from control_fakes import FS1, IVR, FakeCore, FakeDriver, driver, group, member, plan_of, states, up

from switchtender._core import ConfigError
from switchtender.config.overrides import Override
from switchtender.config.state_dir import TokenKey
from switchtender.control import watch as watch_module
from switchtender.control.balancer import Balancer
from switchtender.control.kubectl import command, ours
from switchtender.control.orders import places
from switchtender.control.views import BalancerView
from switchtender.http.views import BadQuestionError, NotFoundError

CONF = group("conf", member("a", 11))


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


async def test_a_drained_node_takes_no_calls_until_it_is_undrained(balancer, core, drivers, view):
    await up(balancer, drivers)
    answer = await view.order("drain", "fs1", {}, "127.0.0.1")
    assert states(balancer)[FS1] == ("draining", "Drained")
    assert core.reports(FS1)[-1]["admission"] == "closed"
    [told] = answer["members"]
    assert (told["before"]["state"], told["after"]["state"]) == (None, "Drained")
    await view.order("enable", "fs1", {}, "127.0.0.1")
    assert states(balancer)[FS1][1] == "Drained", "enable ends what disable began, nothing else"
    await view.order("undrain", "fs1", {}, "127.0.0.1")
    assert states(balancer)[FS1] == ("ready", "Reporting")
    assert not [one for one in drivers if one.left], "the Event Socket stays connected"


async def test_a_disabled_node_is_left_alone_and_found_again(balancer, core, drivers, view):
    await up(balancer, drivers)
    leaving = driver(drivers, "fs1")
    await view.order("disable", "fs1", {}, "127.0.0.1")
    assert states(balancer)[FS1] == ("down", "Disabled")
    assert core.reports(FS1)[-1]["admission"] == "closed"
    await balancer.close()
    assert leaving.left


async def test_what_is_enabled_again_must_report_first(balancer, core, drivers, view):
    await up(balancer, drivers)
    await view.order("disable", "fs1", {}, "127.0.0.1")
    await view.order("enable", "fs1", {}, "127.0.0.1")
    await asyncio.sleep(0)
    assert states(balancer)[FS1] == ("unknown", "NoReportYet")
    driver(drivers, "fs1").reports()
    assert states(balancer)[FS1] == ("ready", "Reporting")


async def test_a_reload_loses_no_order(balancer, core, drivers, view):
    await up(balancer, drivers)
    await view.order("drain", "fs1", {}, "127.0.0.1")
    await view.order("weight", "fs2", {"weight": 9}, "127.0.0.1")
    await balancer.apply(plan_of(IVR, CONF))
    assert states(balancer)[FS1] == ("draining", "Drained")
    shown = {(node["group"], node["node"]): node for node in view.nodes()}
    assert shown["ivr", "fs2"]["weight"] == 9.0
    assert shown["conf", "a"]["state"] == "draining", "the node is drained in every group"
    await balancer.apply(plan_of(CONF))
    await balancer.apply(plan_of(IVR))
    assert states(balancer)[FS1] == ("draining", "Drained"), "nor does a mistake in the file"


async def test_a_weight_is_that_of_one_group_and_can_be_reset(balancer, core, drivers, view):
    await up(balancer, drivers, group("ivr", member("fs1", 11)), group("conf", member("fs1", 11, rest=", weight: 4")))
    with pytest.raises(BadQuestionError, match="group: needed, for fs1 is a node of several: voice/conf, voice/ivr"):
        await view.order("weight", "fs1", {"weight": 9}, "127.0.0.1")
    await view.order("weight", "fs1", {"weight": 9, "group": "voice/ivr"}, "127.0.0.1")
    assert {node["group"]: node["weight"] for node in view.nodes()} == {"ivr": 9.0, "conf": 4.0}
    await view.order("weight", "fs1", {"weight": None, "group": "voice/ivr"}, "127.0.0.1")
    assert {node["group"]: node["weight"] for node in view.nodes()} == {"ivr": 1.0, "conf": 4.0}


async def test_a_name_of_two_nodes_needs_its_group_and_a_name_of_one_does_not(balancer, core, drivers, view):
    await up(balancer, drivers, group("ivr", member("fs1", 11)), group("conf", member("fs1", 12)))
    with pytest.raises(BadQuestionError, match="group: needed"):
        await view.order("drain", "fs1", {}, "127.0.0.1")
    await view.order("drain", "fs1", {"group": "voice/conf"}, "127.0.0.1")
    assert sorted(state for state, _ in states(balancer).values()) == ["draining", "ready"]


async def test_a_core_that_refuses_leaves_everything_as_it_was(balancer, core, drivers, view):
    await up(balancer, drivers)
    core.refuses = ("/nodes/0", "no")
    with pytest.raises(BadQuestionError, match="the packet core refuses it: no"):
        await view.order("drain", "fs1", {}, "127.0.0.1")
    assert balancer.admin.overrides == {}
    with pytest.raises(ConfigError):
        await balancer.override({FS1: Override("Drained")})
    assert states(balancer)[FS1] == ("ready", "Reporting")


@pytest.mark.parametrize(
    ("verb", "details", "said"),
    [
        ("drain", {"why": 1}, "why: unknown field; accepted: group"),
        ("drain", {"group": 7}, "group: accepted: namespace/name"),
        ("weight", {}, "weight: required"),
        ("weight", {"weight": 0}, "weight: 0: accepted: 1 to 10000"),
        ("weight", {"weight": True}, "weight: True: accepted"),
        ("weight", {"weight": 1.5}, "weight: 1.5: accepted"),
        ("resize", {"limit": 1}, "resource: not a resource with a limit of voice/ivr"),
        ("resize", {"resource": "ch", "limit": 1}, "accepted: none, the group has no resource with a limit"),
    ],
)
async def test_a_bad_order_names_the_field(balancer, core, drivers, view, verb, details, said):
    await up(balancer, drivers)
    with pytest.raises(BadQuestionError, match=re.escape(said)):
        await view.order(verb, "fs1", details, "127.0.0.1")
    assert balancer.admin.overrides == {}


@pytest.mark.parametrize("details", [{}, {"group": "voice/none"}])
async def test_an_unknown_node_is_not_found(balancer, core, drivers, view, details):
    await up(balancer, drivers)
    with pytest.raises(NotFoundError, match="no node is called fs9"):
        await view.order("drain", "fs9", details, "127.0.0.1")


async def test_orders_are_audited(balancer, core, drivers, view, caplog):
    caplog.set_level("INFO")
    await up(balancer, drivers)
    await view.order("weight", "fs1", {"weight": 5}, "127.0.0.9")
    [record] = [record for record in caplog.records if record.getMessage().startswith("order")]
    assert (record.getMessage(), record.node, record.by) == ("order: weight", "fs1", "127.0.0.9")
    assert json.dumps([entry["after"]["weight"] for entry in record.members]) == "[5]"
    assert [entry["before"]["weight"] for entry in record.members] == [None]


def kubernetes(uid):
    plan = plan_of(group("conf", member("fs1", 13)))
    [place] = places(plan.groups, "fs1", None)
    return type(place)(place.group, place.member.model_copy(update={"uid": uid}))


@pytest.mark.parametrize(
    ("verb", "order", "said"),
    [
        ("drain", {}, '--overwrite switchtender.dev/drain="$(date -u +%Y-%m-%dT%H:%M:%SZ)"'),
        ("disable", {}, '--overwrite switchtender.dev/drain="$(date -u +%Y-%m-%dT%H:%M:%SZ)"'),
        ("undrain", {}, "switchtender.dev/drain-"),
        ("weight", {"weight": 5}, "--overwrite switchtender.dev/weight=5"),
        ("weight", {"weight": None}, "switchtender.dev/weight-"),
        ("weight", {"weight": "5; rm -rf /"}, "--overwrite 'switchtender.dev/weight=5; rm -rf /'"),
        (
            "resize",
            {"resource": "conf", "limit": 4},
            """--overwrite 'switchtender.dev/resources=[{"name":"conf","limit":4}]'""",
        ),
    ],
)
def test_in_kubernetes_the_command_is_told(verb, order, said):
    assert command(verb, kubernetes("0b1c"), order) == f"kubectl -n voice annotate pod fs1 {said}"


@pytest.mark.parametrize(
    ("verb", "uid", "said"),
    [
        ("drain", "0b1c", "switchtender drain -n voice fs1"),
        ("undrain", "0b1c", "switchtender undrain -n voice fs1"),
        ("drain", "voice/conf/fs1@127.0.0.13:5060", "switchtender drain -n voice --group conf fs1"),
        ("weight", "0b1c", None),
    ],
)
def test_in_kubernetes_our_own_command_is_told_where_there_is_one(verb, uid, said):
    assert ours(verb, kubernetes(uid)) == said


def test_in_kubernetes_a_static_member_is_edited_in_its_group():
    told = command("drain", kubernetes("voice/conf/fs1@127.0.0.13:5060"), {})
    assert told == "kubectl -n voice edit balancergroup conf  # members.static[].drain of fs1"
