"""What a plan stands on changes while it is in force: names move, replicas come, nodes restart, scores arrive."""

import asyncio
import time
from dataclasses import replace

import pytest
from control_fakes import FS1, FS2, IVR, FakeCore, FakeDriver, driver, group, member, plan_of, states, up

from switchtender._core import ConfigError
from switchtender.config import scorers
from switchtender.config.limits import Part
from switchtender.config.state_dir import TokenKey
from switchtender.control import watch as watch_module
from switchtender.control.balancer import Balancer
from switchtender.control.naming import Naming
from switchtender.control.peers import Peers, _Answer
from switchtender.control.views import BalancerView
from switchtender.drivers.dns.names import Found, NotFoundError, Target
from switchtender.drivers.reports import Probe
from switchtender_api.problems import DocumentErrors


@pytest.fixture(autouse=True)
def drivers(monkeypatch):
    FakeDriver.made = []
    monkeypatch.setattr(watch_module, "EslDriver", FakeDriver)
    monkeypatch.setattr("switchtender.control.balancer._TICK", 0.002)
    monkeypatch.setattr("switchtender.control.balancer._PATIENCE", 0.05)
    return FakeDriver.made


@pytest.fixture
def core():
    made = FakeCore()
    yield made
    made.close()


class Circumstances:
    part = Part()


@pytest.fixture
async def balancer(core):
    made = Balancer(
        core, (TokenKey(7, bytes(64)),), clock=time.monotonic, replicas=lambda: 1, part=lambda: Circumstances.part
    )
    Circumstances.part = Part()
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.close()


@pytest.fixture
def view(balancer):
    return BalancerView(balancer, "me", None, time.monotonic)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


class Dns:
    def __init__(self, **hosts):
        self.hosts = hosts

    async def find(self, name):
        address = self.hosts.get(name.host.partition(".")[0])
        if address is None:
            raise NotFoundError("DNS names no address", 0.001)
        return Found((Target(address, 5060, "UDP"),), 0.001)


def with_dns(balancer, dns):
    balancer.naming = Naming(lambda: dns, balancer.moved)


NAMED = group("ivr", member("fs1", 11), '{name: named, sip: "sip:fs.example.com", load: "fs://:x@127.0.0.12"}')
UID = "voice/ivr/named@fs.example.com:5060"


def endpoints(core):
    return {node["uid"]: node["sip"] for node in core.applied()[-1]["nodes"]}


async def test_a_member_by_name_is_served_at_its_address_and_moves_with_it(balancer, core, drivers, view):
    dns = Dns(fs="192.0.2.7")
    with_dns(balancer, dns)
    await up(balancer, drivers, NAMED)
    assert endpoints(core)[UID] == "192.0.2.7:5060"
    watch = balancer.watches[UID]
    dns.hosts["fs"] = "192.0.2.8"
    await until(lambda: endpoints(core)[UID] == "192.0.2.8:5060")
    assert balancer.watches[UID] is watch, "the same member at another address"
    assert states(balancer)[UID] == ("ready", "Reporting")
    assert len(drivers) == 2


async def test_a_name_that_nobody_knows_is_left_out_and_taken_in_later(balancer, core, drivers, view, monkeypatch):
    monkeypatch.setattr("switchtender.control.naming._AGAIN", 0.001)
    dns = Dns()
    with_dns(balancer, dns)
    await up(balancer, drivers, NAMED)
    assert set(endpoints(core)) == set(balancer.watches) == {FS1}
    assert view.groups()[0]["unresolved"] == ["fs.example.com"]
    dns.hosts["fs"] = "192.0.2.7"
    await until(lambda: UID in balancer.watches)
    assert view.groups()[0]["unresolved"] == []


LIMITED = group("ivr", member("fs1", 11), spec="capacity: {resources: [{name: conf, limit: 5}]}")


def limits(core):
    return core.applied()[-1]["groups"][0]["members"][0]["limits"]


@pytest.mark.usefixtures("drivers")
async def test_a_replica_more_leaves_each_a_part_of_the_limits(balancer, core, view, monkeypatch):
    monkeypatch.setattr("switchtender_api.unsupported.GAPS", ())
    await balancer.apply(plan_of(LIMITED))
    assert (limits(core), view.groups()[0]["resourceLimitsSplitOver"]) == ({"conf": 5}, None)
    Circumstances.part = Part(2, 0)
    await until(lambda: limits(core) == {"conf": 3})
    assert view.groups()[0]["resourceLimitsSplitOver"] == 2
    Circumstances.part = Part(2, 1)
    await until(lambda: limits(core) == {"conf": 2})


async def test_without_limits_replicas_change_no_snapshot(balancer, core, drivers):
    await up(balancer, drivers)
    applied = len(core.applied())
    Circumstances.part = Part(3, 1)
    await asyncio.sleep(0.02)
    assert len(core.applied()) == applied


def test_replicas_agree_on_who_is_which():
    everybody = ["c", "a", "b"]
    parts = []
    for own in everybody:
        peers = Peers((), own, lambda: 10.0)
        peers._alive = {f"at {other}": _Answer(other, 9.0) for other in everybody}
        parts.append(peers.part())
    assert sorted(part.rank for part in parts) == [0, 1, 2]
    assert {part.replicas for part in parts} == {3}
    alone = Peers((), "x", lambda: 100.0)
    alone._alive = {"gone": _Answer("a", 9.0)}
    assert alone.part() == Part(1, 0)


async def test_a_restart_is_told_to_the_packet_core_once(balancer, core, drivers):
    await up(balancer, drivers)
    node = driver(drivers, "fs1")
    node.reports(core_uuid="a", uptime_ms=50_000)
    node.reports(core_uuid="a", uptime_ms=51_000)
    assert ("restarted", FS1) not in core.calls
    node.reports(core_uuid="b", uptime_ms=100)
    node.reports(core_uuid="b", uptime_ms=1_100)
    assert core.calls.count(("restarted", FS1)) == 1
    restarted = core.calls.index(("restarted", FS1))
    assert core.calls[restarted + 1][:2] == ("report", FS1), "then comes what it reports now"


async def test_idle_cpu_goes_down_with_each_report(balancer, core, drivers):
    await up(balancer, drivers)
    assert core.reports(FS1)[-1]["idle_cpu"] is None
    driver(drivers, "fs1").reports(idle_cpu=73.5)
    assert core.reports(FS1)[-1]["idle_cpu"] == 73.5


SCORED = group("ivr", member("fs1", 11), member("fs2", 12, rest=", weight: 4"), spec="routing: {score: test}")


@pytest.fixture
def scorer(monkeypatch):
    seen = []

    def score(report, attributes):
        seen.append((report, attributes))
        return report["idleCPU"] / 100

    monkeypatch.setattr(scorers, "load", lambda name: score)
    return seen


async def test_a_score_follows_each_report(balancer, core, drivers, view, scorer):
    balancer.scores._load = scorers.load
    await balancer.apply(plan_of(SCORED))
    await asyncio.sleep(0)
    driver(drivers, "fs2").reports(idle_cpu=25.0)
    assert core.reports(FS2)[-1]["score"] == 1.0, "1 at first; nothing waits for a scorer"
    await until(lambda: core.reports(FS2)[-1]["score"] == 0.25)
    [(report, attributes)] = scorer
    assert (report["sessions"], report["maxSessions"], report["source"]) == (3, 100, "poll")
    assert attributes == {
        "namespace": "voice",
        "group": "ivr",
        "name": "fs2",
        "node": None,
        "zone": None,
        "weight": 4,
        "priority": 0,
        "backup": False,
    }
    assert {node["node"]: node["score"] for node in view.nodes()} == {"fs1": 1.0, "fs2": 0.25}
    await balancer.apply(plan_of(IVR))
    await until(lambda: core.reports(FS2)[-1]["score"] == 1.0)


async def test_of_two_groups_scores_the_smaller_counts(balancer, core, drivers):
    await up(balancer, drivers)
    watch = balancer.watches[FS1]
    watch.scored("voice/ivr", 0.5)
    watch.scored("voice/conf", 0.75)
    assert core.reports(FS1)[-1]["score"] == 0.5
    watch.scored("voice/ivr", 0.0)
    assert core.reports(FS1)[-1]["score"] == 0.0


@pytest.mark.parametrize(
    ("points", "said", "accepted"),
    [
        ({}, "no scorer of this name is installed", "null: no package"),
        ({"other": dict}, "no scorer of this name is installed", "other"),
        ({"test": 7}, "no callable but a int", "test"),
        ({"test": ImportError("no module")}, "cannot be loaded: ImportError: no module", "test"),
    ],
)
def test_a_scorer_that_cannot_be_had_refuses_the_group(monkeypatch, points, said, accepted):
    class Point:
        def __init__(self, name):
            self.name = name

        def load(self):
            if isinstance(points[self.name], Exception):
                raise points[self.name]
            return points[self.name]

    def entry_points(*, group, name=None):
        assert group == "switchtender.score"
        return [Point(each) for each in points if name in {None, each}]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    scorers.load.cache_clear()
    with pytest.raises(DocumentErrors) as refused:
        plan_of(SCORED)
    [problem] = refused.value.problems
    assert (problem.path, said in problem.message, accepted in problem.accepted) == ("spec.routing.score", True, True)


async def test_an_ejection_is_shown_from_its_event_on_and_looked_after(balancer, core, drivers):
    await up(balancer, drivers)
    core.more[FS1] = {"ejected_for_ms": 500}
    core.tell("node_ejected", 1.0, 0, FS1, 0, "for 0.5 s after calls that failed in a row")
    await until(lambda: states(balancer)[FS1] == ("down", "Ejected"))
    core.more[FS1] = {"ejected_for_ms": 0}
    await until(lambda: states(balancer)[FS1] == ("ready", "Reporting"))


async def test_orders_reach_a_node_whose_name_nobody_knows(balancer, core, drivers, view):
    dns = Dns()
    with_dns(balancer, dns)
    await up(balancer, drivers, NAMED)
    answer = await view.order("drain", "named", {}, "me")
    assert [entry["member"] for entry in answer["members"]] == [UID]
    assert balancer.admin.overrides[UID].state == "Drained"


async def test_a_refused_plan_leaves_the_names_and_networks_of_the_one_before(balancer, core, drivers):
    dns = Dns(fs="192.0.2.7", other="192.0.2.9")
    balancer.naming = Naming(
        lambda: dns, balancer.moved, lambda address, allow: None if len(allow) == 2 else "not in destinations"
    )
    await up(balancer, drivers, NAMED)
    plan = plan_of(NAMED.replace("fs.example.com", "other.example.com"))
    spec = plan.documents.config.spec
    narrow = spec.model_copy(update={"destinations": spec.destinations.model_copy(update={"allow": ()})})
    config = plan.documents.config.model_copy(update={"spec": narrow})
    core.refuses = ("/groups/0", "no")
    with pytest.raises(ConfigError):
        await balancer.apply(replace(plan, documents=replace(plan.documents, config=config)))
    core.refuses = None
    await until(lambda: {name.host for name in balancer.naming.resolved} == {"fs.example.com"})
    await balancer.reapply()
    assert endpoints(core)[UID] == "192.0.2.7:5060"


async def test_a_node_that_answers_calls_is_not_taken_out_for_a_moment_by_probes(balancer, core, drivers):
    await up(balancer, drivers, group("ivr", member("fs1", 11), spec="health: {options: {failures: 3}}"))
    core.more[FS1] = {"answered_ago": 0.0}
    for _ in range(2):
        now = time.monotonic()
        balancer.probed(FS1, Probe(answered=False, sent=now - 2, received=now, status=None, detail="no answer"))
    watch = balancer.watches[FS1]
    await until(lambda: watch.model.probes.calls_answered_at is not None)
    now = time.monotonic()
    balancer.probed(FS1, Probe(answered=False, sent=now - 2, received=now, status=None, detail="no answer"))
    assert watch.model.probes.unanswered
    assert watch.state.reason == "Reporting"
