"""What becomes of sets between the API server and the packet core, with both played by the test."""

import asyncio
import json
import logging
import threading
import time
from types import SimpleNamespace

import pytest
from kubernetes_stand import head, member, slice_of
from test_control_balancer import FakeCore
from test_kubernetes_assembly import seen

from switchtender._core import ConfigError
from switchtender.config.last_good import FILE, LastGood, parse
from switchtender.config.pod_config import make_config
from switchtender.config.state_dir import StateDir, TokenKey
from switchtender.control.balancer import Balancer
from switchtender.control.cluster import Cluster, Facts
from switchtender.control.cluster_view import ClusterView, Stage, StartingView
from switchtender.control.watch import Watch
from switchtender.metrics.exposition import Exposition
from switchtender.metrics.reloads import Reloads

CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {name: default}
spec: {listeners: [{address: 10.0.0.1}]}
"""
FS = [member(f"fs-{i}", f"10.0.1.{i + 1}") for i in range(30)]
ROUND_ROBIN = {"routing": {"algorithm": "RoundRobin"}}


class PickyCore(FakeCore):
    """Refuses groups of these algorithms, as it would a pattern that it cannot compile."""

    dislikes = frozenset()

    def apply(self, document):
        for index, group in enumerate(json.loads(document)["groups"]):
            if group["algorithm"] in self.dislikes:
                raise ConfigError(f"/groups/{index}/algorithm", "not to my taste")
        return super().apply(document)

    def algorithms(self):
        return {group["name"]: group["algorithm"] for group in self.applied()[-1]["groups"]}

    def members(self):
        return {group["name"]: len(group["members"]) for group in self.applied()[-1]["groups"]}


class FakeSets:
    def __init__(self, *sets, synced=True):
        self.listener = None
        self.reflector = SimpleNamespace(store={}, synced=asyncio.Event(), idle=1.5)
        self.scopes = {None: self.reflector}
        self.put(*sets)
        if synced:
            self.reflector.synced.set()

    def put(self, *sets):
        self.reflector.store.clear()
        self.reflector.store.update({each.uid: each for each in sets})


class FakeSecrets:
    def __init__(self):
        self.listener = None
        self.wanted = set()

    def want(self, places):
        self.wanted = set(places)

    def __getitem__(self, place):
        assert place in self.wanted
        return SimpleNamespace(data=None, absent=False, refused=None)


@pytest.fixture
def core():
    made = PickyCore()
    yield made
    made.close()


@pytest.fixture
def made(core, tmp_path):
    state_dir = StateDir(tmp_path / "state", shared=True)
    reloads = Reloads()

    def make(sets, last_good=None, clock=time.monotonic):
        balancer = Balancer(core, (TokenKey(7, bytes(64)),), clock=time.monotonic, replicas=lambda: 1)
        documents = make_config(CONFIG, "balancer.yaml", environ={})
        return Cluster(
            balancer,
            documents,
            Facts(last_good or LastGood()),
            state_dir,
            sets=sets,
            secrets=FakeSecrets(),
            clock=clock,
            outcomes=reloads,
        )

    make.reloads = reloads
    make.state_dir = state_dir
    yield make
    state_dir.close()


IVR = seen(head("ivr", FS[0], group_uid="i"), age=9)
CONF = seen(head("conf", FS[1], group_uid="c"))


def changed(group, uid, **more):
    return seen(head(group, FS[5], policy=ROUND_ROBIN, group_uid=uid, **more), generation=2)


async def test_a_group_that_the_packet_core_refuses_keeps_its_policy_and_holds_up_no_other(made, core, caplog):
    sets = FakeSets(IVR, CONF)
    cluster = made(sets)
    await cluster.take_up()
    core.dislikes = {"RoundRobin"}
    sets.put(changed("ivr", "i"), CONF, seen(slice_of("conf", 2, FS[2], group_uid="c")))
    await cluster.take_up()
    assert core.algorithms() == {"ivr": "LeastLoad", "conf": "LeastLoad"}
    assert core.members() == {"ivr": 1, "conf": 2}
    [rejection] = cluster.assembly.rejected.values()
    assert (rejection.name, "not to my taste" in rejection.text) == ("ivr", True)
    assert made.reloads.last_ok is False
    # the same version is not offered again, the next one is
    before = len(core.applied())
    await cluster.take_up()
    assert len(core.applied()) == before
    core.dislikes = frozenset()
    sets.put(seen(head("ivr", FS[5], policy=ROUND_ROBIN, group_uid="i"), generation=3), CONF)
    await cluster.take_up()
    assert core.algorithms()["ivr"] == "RoundRobin"
    assert made.reloads.last_ok is True


async def test_a_group_that_is_refused_from_the_start_is_left_out(made, core):
    core.dislikes = {"RoundRobin"}
    cluster = made(FakeSets(changed("ivr", "i"), CONF, changed("third", "t")))
    await cluster.take_up()
    assert core.algorithms() == {"conf": "LeastLoad"}
    assert {rejection.name for rejection in cluster.assembly.rejected.values()} == {"ivr", "third"}


async def test_a_refusal_that_means_no_group_leaves_all_of_it_in_force(made, core, caplog):
    sets = FakeSets(IVR)
    cluster = made(sets)
    await cluster.take_up()
    core.refuses = ("/nodes", "no slot is free for more")
    sets.put(IVR, CONF)
    await cluster.take_up()
    assert core.algorithms() == {"ivr": "LeastLoad"}
    assert [each.version.name for each in cluster.assembly.acts_on] == ["ivr"]
    assert "no slot is free" in caplog.text


async def test_a_fault_of_ours_leaves_what_is_in_force(made, core, caplog, monkeypatch):
    sets = FakeSets(IVR)
    cluster = made(sets)
    await cluster.take_up()
    monkeypatch.setattr("switchtender.control.cluster.assemble", lambda *_: 1 / 0)
    sets.put(IVR, CONF)
    await cluster.take_up()
    assert "could not be taken up" in caplog.text
    assert [each.version.name for each in cluster.assembly.acts_on] == ["ivr"]
    assert made.reloads.last_ok is False


async def test_what_is_not_ours_does_not_reach_the_packet_core(made, core):
    sets = FakeSets(IVR)
    cluster = made(sets)
    await cluster.take_up()
    sets.put(IVR, seen(head("theirs", FS[3], policy={"balancer": "edge"}, group_uid="e")))
    await cluster.take_up()
    assert len(core.applied()) == 1


async def test_a_change_takes_up_the_nodes_that_it_is_about_alone(made, core, monkeypatch):
    two = seen(head("ivr", FS[0], FS[1], group_uid="i"))
    cluster = made(sets := FakeSets(two, CONF))
    await cluster.take_up()
    taken_up = []
    monkeypatch.setattr(Watch, "take_up", lambda watch, *_: taken_up.append(watch.name))
    further = slice_of("ivr", 2, FS[2], {**FS[3], "state": "NotReady"}, group_uid="i")
    sets.put(two, seen(further), CONF)
    await cluster.take_up()
    assert taken_up == ["fs-2", "fs-3"]
    taken_up.clear()
    further = slice_of("ivr", 2, FS[2], FS[3], group_uid="i")
    sets.put(two, seen(further, generation=2), CONF)
    await cluster.take_up()
    assert taken_up == ["fs-2", "fs-3"], "its slice was read anew"
    taken_up.clear()
    sets.put(two, seen(further, generation=2), changed("conf", "c"))
    await cluster.take_up()
    assert set(taken_up) >= {"fs-5"}
    assert "fs-0" not in taken_up


async def test_new_keys_go_down_with_the_same_groups(made, core):
    cluster = made(FakeSets(IVR))
    await cluster.take_up()
    cluster.use_keys((TokenKey(9, bytes(64)), TokenKey(7, bytes(64))))
    await cluster.take_up()
    assert [key["id"] for key in core.applied()[-1]["keys"]] == [9, 7]
    assert [key.id for key in made.state_dir.keys] == [9, 7]


async def test_keys_that_come_while_a_node_is_said_goodbye_to_are_not_forgotten(made, core, monkeypatch):
    cluster = made(sets := FakeSets(IVR, CONF))
    await cluster.take_up()

    async def goodbye(_watch):
        cluster.use_keys((TokenKey(9, bytes(64)), TokenKey(7, bytes(64))))

    monkeypatch.setattr(Watch, "stop", goodbye)
    sets.put(CONF)
    await cluster.take_up()
    await cluster.take_up()
    assert [key["id"] for key in core.applied()[-1]["keys"]] == [9, 7]


async def test_the_operator_is_answered_beside_the_event_loop_and_of_nodes_that_are_there_then(made, core, monkeypatch):
    cluster = made(sets := FakeSets(IVR, CONF))
    await cluster.take_up()
    view = ClusterView(cluster, "0123", Exposition(), time.monotonic, lambda: b"t")
    counted, counting, told = threading.Event(), threading.Event(), core.nodes()

    def nodes():
        counting.set()
        counted.wait(60)
        return told

    monkeypatch.setattr(core, "nodes", nodes)
    asked = asyncio.create_task(view.state())
    await asyncio.to_thread(counting.wait, 60)
    sets.put(CONF)
    await cluster.take_up()
    counted.set()
    answer = await asked
    assert [group["name"] for group in answer["groups"]] == ["conf"]
    assert [node["name"] for node in answer["nodes"]] == ["fs-1"]


def many(count):
    return [seen(head(f"g{i}", FS[i], group_uid=f"g{i}"), uid=f"g{i}") for i in range(count)]


@pytest.mark.parametrize(("before", "now", "in_force"), [
    (20, 0, 20), (20, 9, 20), (20, 10, 10), (1, 0, 1), (9, 1, 1), (0, 0, 0),
])  # fmt: skip
async def test_a_first_list_that_is_far_too_short_is_doubted_for_a_while(made, core, before, now, in_force):
    clock = SimpleNamespace(now=100.0)
    sets = FakeSets(*many(now), synced=False)
    cluster = made(sets, LastGood(tuple(many(before)), saved_at=1.0 if before else 0.0), clock=lambda: clock.now)
    await cluster.take_up()
    assert len(cluster.assembly.groups) == before, "until the list is there"
    sets.reflector.synced.set()
    await cluster.take_up()
    assert len(cluster.assembly.groups) == in_force
    clock.now += 11.0
    await cluster.take_up()
    assert len(cluster.assembly.groups) == now


async def test_nothing_is_kept_for_a_restart_before_the_api_server_told_it(made):
    sets = FakeSets(synced=False)
    cluster = made(sets, LastGood((IVR,), saved_at=5.0))
    await cluster.take_up()
    cluster.save()
    assert made.state_dir.read(FILE) is None
    assert cluster.age > 1000
    sets.put(IVR, CONF)
    sets.reflector.synced.set()
    await cluster.take_up()
    cluster.save()
    assert {each.name for each in parse(made.state_dir.read(FILE)).sets} == {"ivr", "conf"}
    assert cluster.age == 1.5


async def test_the_snapshot_has_one_writer(made, monkeypatch):
    cluster = made(FakeSets(IVR))
    await cluster.take_up()
    writing, over, written = threading.Event(), threading.Event(), []

    def write(_name, text):
        written.append(text)
        writing.set()
        over.wait(60)

    monkeypatch.setattr(made.state_dir, "write", write)
    first, second = (threading.Thread(target=cluster.save) for _ in range(2))
    first.start()
    await asyncio.to_thread(writing.wait, 60)
    second.start()
    await asyncio.to_thread(second.join, 0.05)
    over.set()
    for thread in (first, second):
        await asyncio.to_thread(thread.join, 60)
    assert len(written) == 1


async def test_unknown_fields_are_logged_once(made, caplog):
    caplog.set_level(logging.INFO)
    newer = seen(head("ivr", {**FS[0], "mood": "bright"}))
    cluster = made(FakeSets(newer))
    cluster.saw(newer)
    cluster.saw(newer)
    cluster.saw(None)
    assert sum("does not know" in record.getMessage() for record in caplog.records) == 1


def told(cluster):
    """What the journal has of the configuration, but for nodes."""
    return [
        (event.reason, event.places) for event in cluster.balancer.journal.after(0) if event.type == "Configuration"
    ]


async def test_groups_that_come_and_go_are_told_of_as_configuration_and_nodes_are_not(made, core):
    cluster = made(sets := FakeSets(IVR))
    await cluster.take_up()
    assert told(cluster) == [("Applied", ())]
    sets.put(seen(head("ivr", FS[0], FS[1], group_uid="i"), age=9, generation=2))
    await cluster.take_up()
    assert len(core.applied()) == 2, "a node joined"
    assert told(cluster) == [("Applied", ())]
    sets.put(seen(head("ivr", FS[0], FS[1], group_uid="i"), age=9, generation=2), CONF)
    await cluster.take_up()
    assert told(cluster) == [("Applied", ())] * 2


async def test_a_group_that_is_refused_is_an_event_of_the_group(made, core):
    core.dislikes = {"RoundRobin"}
    cluster = made(sets := FakeSets(IVR, CONF))
    await cluster.take_up()
    sets.put(changed("ivr", "i"), CONF)
    await cluster.take_up()
    assert told(cluster)[-1][0] == "Refused"
    assert [place.key for place in told(cluster)[-1][1]] == ["voice/ivr"]


async def test_the_stage_shows_what_is_there_before_and_after_calls_are_served(made):
    cluster = made(FakeSets(IVR))
    journal = cluster.balancer.journal
    stage = Stage(StartingView("0123", "front", Exposition(), lambda: b"t", journal))
    before = await stage.look()
    assert (before["ready"], before["notReady"], before["orders"], before["nodes"]) == (
        False,
        "starting",
        "kubectl",
        [],
    )
    assert (stage.traces, stage.journal) == (None, journal)
    await cluster.take_up()
    stage.shown = ClusterView(cluster, "0123", Exposition(), time.monotonic, lambda: b"t")
    after = await stage.look()
    assert before.keys() == after.keys()
    assert before["process"].keys() == after["process"].keys()
    assert stage.balancer().keys() == after.keys() - {"time", "groups", "nodes"}
    assert (after["orders"], [group["group"] for group in after["groups"]]) == ("kubectl", ["ivr"])
    assert stage.traces is cluster.balancer.traces
