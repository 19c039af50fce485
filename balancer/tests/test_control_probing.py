"""Probes in the running balancer: who is probed how, and what comes of it for the core, the views and the log."""

import asyncio
import json
import time

import pytest
from control_fakes import FS1, FS2, IVR, SHARED, FakeCore, FakeDriver, driver, group, member, plan_of, states, up

from switchtender.config.state_dir import TokenKey
from switchtender.control import watch as watch_module
from switchtender.control.balancer import Balancer
from switchtender.control.probing import target_of, thresholds
from switchtender.control.views import BalancerView
from switchtender.drivers.dns.names import Name
from switchtender.drivers.dns.names import Target as Place
from switchtender.drivers.options.agenda import Target
from switchtender.drivers.reports import Probe
from switchtender.load.probing import Thresholds


class FakeProber:
    def __init__(self):
        self.targets, self.closed = {}, False

    def set_targets(self, targets):
        self.targets = targets

    async def close(self):
        self.closed = True


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
    made.prober = FakeProber()
    yield made
    await made.close()


@pytest.fixture
def view(balancer):
    return BalancerView(balancer, "me", None, time.monotonic)


def outcomes(balancer, uid, *answers):
    now = time.monotonic()
    for answered in answers:
        status = 200 if answered else None
        balancer.probed(uid, Probe(answered=answered, sent=now - 0.01, received=now, status=status, detail="words"))


STRICT = "health: {options: {interval: 5s, timeout: 3s, failures: 2, successes: 4, codes: ['2xx']}}"
LOOSE = (
    "health: {options: {interval: 20s, timeout: 1s, failures: 5, successes: 1, codes: ['200', '404'], from: 'sip:p@h'}}"
)


@pytest.mark.parametrize("order", [(STRICT, LOOSE), (LOOSE, STRICT)])
def test_groups_of_one_node_are_probed_for_by_the_strictest(order):
    first, second = order
    plan = plan_of(group("ivr", member("fs1", 11), spec=first), group("conf", member("a", 11), spec=second))
    target = target_of(plan.groups, [entry.members[0] for entry in plan.groups], {})
    assert thresholds(plan.groups) == Thresholds(failures=2, successes=4)
    assert (target.address, target.transport) == (("127.0.0.11", 5060), "UDP")
    assert (target.interval, target.timeout, target.sender) == (5.0, 1.0, "sip:p@h")
    assert set(target.codes) == {("2xx",), ("200", "404")}


@pytest.mark.parametrize("options", ["null", "{interval: 0s}"])
def test_where_no_group_asks_nobody_is_probed(options):
    plan = plan_of(group("ivr", member("fs1", 11), spec=f"health: {{options: {options}}}"))
    assert (thresholds(plan.groups), target_of(plan.groups, plan.groups[0].members, {})) == (None, None)


def test_a_name_without_an_address_is_not_probed():
    plan = plan_of(IVR)
    named = plan.groups[0].members[0].model_copy(update={"addresses": ("fs.example.com",)})
    assert target_of(plan.groups, [named], {}) is None
    at = {Name("fs.example.com"): (Place("192.0.2.9", 5080, "TCP"),)}
    found = target_of(plan.groups, [named], at)
    assert (found.address, found.transport) == (("192.0.2.9", 5080), "TCP")


async def test_every_node_is_probed_once_and_who_left_no_more(balancer, drivers):
    await up(balancer, drivers, IVR, group("conf", member("a", 11)))
    assert len(balancer.prober.targets) == 2
    assert {target.address for target in balancer.prober.targets.values()} == {
        ("127.0.0.11", 5060),
        ("127.0.0.12", 5060),
    }
    await balancer.apply(plan_of(group("conf", member("a", 11))))
    assert balancer.prober.targets == {SHARED: Target(address=("127.0.0.11", 5060))}
    outcomes(balancer, FS2, False, False, False)
    await balancer.close()
    assert balancer.prober.closed


async def test_a_node_that_reports_and_does_not_answer_sip_is_shown_and_logged_so_once(
    balancer, core, drivers, view, caplog
):
    caplog.set_level("INFO")
    await up(balancer, drivers)
    caplog.clear()
    outcomes(balancer, FS1, False, False, False, False)
    assert core.reports(FS1)[-1]["admission"] == "unreachable"
    shown = {node["node"]: node for node in view.nodes()}
    assert (shown["fs1"]["state"], shown["fs1"]["reason"]) == ("down", "SipUnanswered")
    assert shown["fs1"]["probe"]["failures"] == 4
    assert shown["fs1"]["probe"]["results"] == {"answered": 0, "refused": 0, "unanswered": 4}
    assert shown["fs2"]["probe"] is None
    driver(drivers, "fs1").reports()
    outcomes(balancer, FS1, True, True)
    assert states(balancer)[FS1] == ("ready", "Reporting")
    said = [(record.state, record.reason, record.before) for record in caplog.records if hasattr(record, "state")]
    assert said == [("down", "SipUnanswered", "ready"), ("ready", "Reporting", "down")]
    assert json.dumps(view.nodes(), allow_nan=False)


async def test_a_call_that_is_answered_brings_it_back_before_the_probes_do(balancer, core, drivers):
    await up(balancer, drivers)
    outcomes(balancer, FS1, False, False, False)
    watch = balancer.watches[FS1]
    watch.saw_calls(ejected=False, answered_at=time.monotonic() - 60)
    assert states(balancer)[FS1][1] == "SipUnanswered", "that was before"
    watch.saw_calls(ejected=False, answered_at=time.monotonic())
    assert states(balancer)[FS1] == ("ready", "Reporting")
    assert core.reports(FS1)[-1]["admission"] == "open"


async def test_an_ejected_node_is_shown_as_such_and_left_to_the_packet_core(balancer, core, drivers):
    await up(balancer, drivers)
    watch = balancer.watches[FS1]
    watch.saw_calls(ejected=True, answered_at=None)
    assert states(balancer)[FS1] == ("down", "Ejected")
    assert core.reports(FS1)[-1]["admission"] == "open"
    watch.saw_calls(ejected=False, answered_at=None)
    assert states(balancer)[FS1] == ("ready", "Reporting")


async def test_a_disabled_node_is_not_probed(balancer, drivers, view):
    await up(balancer, drivers)
    outcomes(balancer, FS1, False, False, False)
    await view.order("disable", "fs1", {}, "127.0.0.1")
    assert set(balancer.prober.targets) == {FS2}
    await view.order("enable", "fs1", {}, "127.0.0.1")
    assert set(balancer.prober.targets) == {FS1, FS2}
    assert balancer.watches[FS1].model.probes.failures == 0


async def test_the_admin_state_is_shown_with_the_node(balancer, drivers, view):
    await up(balancer, drivers)
    await view.order("drain", "fs1", {}, "127.0.0.1")
    await view.order("weight", "fs1", {"weight": 3}, "127.0.0.1")
    shown = {node["node"]: node["admin"] for node in view.nodes()}
    since = shown["fs1"].pop("since")
    assert since == pytest.approx(time.time(), abs=60)
    assert shown == {
        "fs1": {"state": "Drained", "weight": 3, "resources": {}},
        "fs2": {"state": None, "since": None, "weight": None, "resources": {}},
    }


async def test_slow_start_takes_the_longest_of_the_groups(balancer, drivers):
    spec = "health: {slowStart: %s}"
    await up(
        balancer,
        drivers,
        group("ivr", member("fs1", 11), spec=spec % "0s"),
        group("conf", member("a", 11), spec=spec % "1m"),
    )
    [watch] = balancer.watches.values()
    assert watch.policy.slow_start == 60.0


async def test_who_is_probed_again_later_is_found_out_anew(balancer, core, drivers):
    await up(balancer, drivers)
    outcomes(balancer, FS1, False, False, False)
    assert states(balancer)[FS1][1] == "SipUnanswered"
    members = (member("fs1", 11), member("fs2", 12))
    await balancer.apply(plan_of(group("ivr", *members, spec="health: {options: null}")))
    assert states(balancer)[FS1] == ("ready", "Reporting")
    await balancer.apply(plan_of(group("ivr", *members)))
    assert states(balancer)[FS1] == ("ready", "Reporting")


async def test_a_node_disabled_while_its_driver_is_down_is_left_alone(balancer, drivers, view, monkeypatch):
    monkeypatch.setattr(watch_module, "_RESTART", 0.2)
    await up(balancer, drivers)
    driver(drivers, "fs1").failure.set_exception(RuntimeError("a fault of ours"))
    await asyncio.sleep(0.001)
    await view.order("disable", "fs1", {}, "127.0.0.1")
    await asyncio.sleep(0.25)
    assert [one.node for one in drivers if not one.left] == ["fs2"]
