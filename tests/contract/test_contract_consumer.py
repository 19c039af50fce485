"""The balancer takes the golden DestinationSets up as they stand, and those of a version to either side of its own."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from switchtender._core import Core
from switchtender.config.assembly import Assembly, Memory, Place, assemble
from switchtender.config.destination_sets import SeenSet, seen_set
from switchtender.config.plan import EslTarget, nodes_behind
from switchtender.config.settings import settings
from switchtender.config.snapshot import snapshot
from switchtender.config.state_dir import TokenKey
from switchtender_api.v1alpha1 import BalancerConfig

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))
KEY = TokenKey(1, bytes(64))
LISTENERS = [{"address": "127.0.0.88", "port": 0}]
NODE_SIDE = {"address": "127.0.0.88", "port": 0, "workerPorts": "0-0"}

Json = dict[str, Any]

golden = pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)


def sets_of(path: Path) -> list[Json]:
    """The sets as the API server would give them back."""
    found = []
    for number, raw in enumerate(yaml.safe_load_all(path.read_text()), 1):
        own = {"uid": f"set-{number}", "generation": number, "creationTimestamp": "2026-03-01T11:00:00Z"}
        found.append({**raw, "metadata": {**raw["metadata"], **own}})
    return found


def seen(raws: list[Json]) -> list[SeenSet]:
    found = [seen_set(raw) for raw in raws]
    return [each for each in found if each is not None]


def balancer_of(raws: list[Json]) -> str:
    [policy] = [raw["spec"]["policy"] for raw in raws if "policy" in raw["spec"]]
    name: str = policy.get("balancer", "default")
    return name


def config(name: str) -> BalancerConfig:
    spec = {"listeners": LISTENERS, "nodeSide": NODE_SIDE}
    return BalancerConfig.model_validate({"metadata": {"name": name}, "spec": spec})


def assembled(raws: list[Json], memory: Memory | None = None, name: str | None = None) -> Assembly:
    return assemble(seen(raws), Place(config(name or balancer_of(raws))), memory or Memory())


def policies(assembly: Assembly) -> list[Any]:
    return [entry.group for entry in assembly.groups]


def mappings(value: Any) -> Iterator[Json]:
    """Every mapping within, outermost first; not those of match rules, of which nothing may be left out."""
    if isinstance(value, dict):
        yield value
        value = [inner for name, inner in value.items() if name != "rules"]
    for inner in value if isinstance(value, list) else ():
        yield from mappings(inner)


@golden
def test_every_set_is_read_to_its_last_field(path):
    for each in seen(sets_of(path)):
        assert (each.problem, each.policy_problem, each.left_out, each.unknown) == (None, None, (), ())


@golden
def test_every_node_is_a_member_and_the_packet_core_takes_it(path):
    raws = sets_of(path)
    assembly = assembled(raws)
    assert assembly.rejected == {}
    [entry] = assembly.groups
    wanted = [member for raw in raws for member in raw["spec"].get("members", [])]
    assert [member.uid for member in entry.members] == list(dict.fromkeys(member["uid"] for member in wanted))
    assert len(assembly.acts_on) == len(raws)

    esl = {
        member.uid: EslTarget(member.esl.host, member.esl.port, member.esl.user, None)
        for member in entry.members
        if member.esl is not None
    }
    node_of = nodes_behind([member.uid for member in entry.members], esl, {})
    core = Core(json.dumps(settings(config("default").spec)).encode())
    core.apply(json.dumps(snapshot(assembly.groups, keys=[KEY], node_of=node_of, listeners=["public"])).encode())
    nodes = {node["uid"]: node for node in json.loads(core.nodes())["nodes"]}
    assert len(nodes) == len(set(node_of.values()))
    for member in wanted:
        node = nodes[node_of[member["uid"]]]
        assert member["addresses"][0] in node["sip"]
        assert node["sip"].endswith(f":{member.get('sip', {}).get('port', 5060)}")
        [place] = node["groups"]
        assert place["draining"] is (member.get("state") == "Draining")
        assert (place["weight"], place["priority"]) == (member.get("weight", 1), member.get("priority", 0))


@golden
def test_fields_of_a_newer_version_change_nothing(path):
    raws = sets_of(path)
    newer = copy.deepcopy(raws)
    added = 0
    for raw in newer:
        for mapping in list(mappings(raw["spec"])):
            mapping["ofANewerVersion"] = {"value": 1}
            added += 1
    before, after = assembled(raws), assembled(newer)
    assert policies(after) == policies(before)
    assert [entry.members for entry in after.groups] == [entry.members for entry in before.groups]
    assert after.rejected == {}
    assert sum(len(each.unknown) for each in seen(newer)) == added


@golden
def test_a_condition_of_a_newer_version_keeps_the_last_good_policy(path):
    raws = sets_of(path)
    before = assembled(raws)
    newer = copy.deepcopy(raws)
    [head] = [raw for raw in newer if "policy" in raw["spec"]]
    head["spec"]["policy"].setdefault("match", {})["rules"] = [{"ofANewerVersion": "x"}]
    head["metadata"]["generation"] += 10
    after = assembled(newer, before.memory)
    assert policies(after) == policies(before)
    assert [entry.members for entry in after.groups] == [entry.members for entry in before.groups]
    assert [rejection.text for rejection in after.rejected.values() if "ofANewerVersion" in rejection.text]


@golden
def test_an_enum_value_of_a_newer_version_keeps_the_last_good_policy(path):
    raws = sets_of(path)
    before = assembled(raws)
    newer = copy.deepcopy(raws)
    [head] = [raw for raw in newer if "policy" in raw["spec"]]
    head["spec"]["policy"].setdefault("routing", {})["algorithm"] = "Clairvoyance"
    head["metadata"]["generation"] += 10
    after = assembled(newer, before.memory)
    assert policies(after) == policies(before)
    assert [entry.members for entry in after.groups] == [entry.members for entry in before.groups]
    assert [rejection.text for rejection in after.rejected.values() if "Clairvoyance" in rejection.text]
    assert [each.version.generation for each in after.acts_on] == [each.version.generation for each in before.acts_on]
    # what is kept for a restart is what is in force, and is read again as such
    again = assemble(seen([each.document() for each in after.acts_on]), Place(config(balancer_of(raws))), Memory())
    assert policies(again) == policies(before)
    assert again.rejected == {}


@pytest.mark.parametrize(
    "path", [path for path in GOLDEN if "addresses:" in path.read_text()], ids=lambda path: path.stem
)
def test_a_member_state_of_a_newer_version_costs_that_member_alone(path):
    newer = sets_of(path)
    members = [member for raw in newer for member in raw["spec"].get("members", [])]
    uid = members[0]["uid"]
    for member in members:
        if member["uid"] == uid:
            member["state"] = "Hibernating"
    [entry] = assembled(newer).groups
    others = dict.fromkeys(member["uid"] for member in members if member["uid"] != uid)
    assert [member.uid for member in entry.members] == list(others)


@golden
def test_what_an_older_version_does_not_write_has_its_default(path):
    older = sets_of(path)
    name = balancer_of(older)
    for raw in older:
        raw["spec"]["members"] = [
            {field: member[field] for field in ("uid", "name", "addresses")}
            for member in raw["spec"].get("members", [])
        ]
        raw["spec"]["group"].pop("generation", None)
        if "policy" in raw["spec"]:
            raw["spec"]["policy"] = {"balancer": name} if name != "default" else {}
    assembly = assembled(older, name=name)
    assert assembly.rejected == {}
    [entry] = assembly.groups
    assert {(member.state, member.weight, member.sip.port) for member in entry.members} <= {("Ready", 1, 5060)}
    assert entry.group.spec.routing.algorithm == "LeastLoad"
