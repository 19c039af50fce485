"""The snapshot document of what groups say, and that the packet core reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from switchtender._core import Core
from switchtender.config.limits import Part
from switchtender.config.names import Target, names_of
from switchtender.config.settings import settings
from switchtender.config.snapshot import GroupMembers, snapshot
from switchtender.config.state_dir import TokenKey
from switchtender_api.loader import load
from switchtender_api.static_members import set_members
from switchtender_api.unsupported import findings
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup

FULL = Path(__file__).parent.parent.parent / "api" / "tests" / "data" / "full.yaml"
LISTENERS = ["public", "inside"]


def entry(name="ivr", *, members=("sip:192.0.2.1",), **spec):
    static = [
        {"name": f"{name}{number}", **({"sip": each} if isinstance(each, str) else each)}
        for number, each in enumerate(members)
    ]
    group = BalancerGroup.model_validate({"metadata": {"name": name}, "spec": {"members": {"static": static}, **spec}})
    return GroupMembers(group, set_members(group))


def written(*entries, node_of=None, **options):
    uids = {member.uid: member.uid for each in entries for member in each.members}
    options = {"listeners": LISTENERS, **options}
    return snapshot(entries, keys=[TokenKey(1, bytes(64))], node_of={**uids, **(node_of or {})}, **options)


def of_one(*, listeners=LISTENERS, **spec):
    (group,) = written(entry(**spec), listeners=listeners)["groups"]
    return group


def test_a_group_that_says_nothing_has_the_defaults():
    group = of_one()
    assert group.pop("failover")["attempts"] == 3
    (member,) = group.pop("members")
    assert member == {"node": 0, "weight": 1.0, "priority": 0, "backup": False, "draining": False, "limits": {}}
    assert group == {
        "namespace": "default",
        "name": "ivr",
        "uid": "default/ivr",
        "generation": 0,
        "priority": 0,
        "match": [],
        "mode": "Stateful",
        "algorithm": "LeastLoad",
        "hash_on": {"type": "CallID", "name": None, "user_only": False},
        "weights_from": "Reported",
        "high_water": 0.8,
        "legs_per_call": 2,
        "resources": [],
        "emergency_reserve": 0,
        "queue_ms": 500,
        "call_expiry_ms": 4 * 3600 * 1000,
        "timer_c_ms": 181_000,
        "over_limit": {"action": "Reject", "group": None, "status": 503, "retry_after_s": [5, 15]},
        "panic_threshold": 0.5,
        "max_ejected": 0.5,
        "large_requests": "UDP",
        "egress": None,
    }


def test_a_rule_says_all_its_conditions():
    rule = {
        "requestUri": {"user": "112", "host": "SIP.example.com", "userPattern": "^1"},
        "to": {"userPattern": "^9"},
        "from": {"host": "2001:DB8::9"},
        "methods": ["INVITE"],
        "sources": ["192.0.2.0/24"],
        "headers": [{"name": "A"}, {"name": "B", "value": "b"}, {"name": "C", "pattern": "c$"}],
        "listeners": ["inside"],
        "resources": ["ch", "conf"],
        "emergency": True,
    }
    resources = [{"name": "ch", "source": "Reported"}, {"name": "conf", "limit": 5}]
    group = of_one(match={"rules": [rule]}, capacity={"resources": resources})
    assert group["resources"] == [{"name": "ch", "limited": False}, {"name": "conf", "limited": True}]
    assert group["match"] == [
        {
            "request_uri": {"user": "112", "host": "sip.example.com", "user_pattern": "^1"},
            "to": {"user": None, "host": None, "user_pattern": "^9"},
            "from": {"user": None, "host": "2001:db8::9", "user_pattern": None},
            "methods": ["INVITE"],
            "sources": ["192.0.2.0/24"],
            "headers": [
                {"name": "A", "value": None, "pattern": None},
                {"name": "B", "value": "b", "pattern": None},
                {"name": "C", "value": None, "pattern": "c$"},
            ],
            "listeners": [1],
            "resources": ["ch", "conf"],
            "emergency": True,
        }
    ]


def test_a_rule_for_a_listener_that_is_not_there_takes_no_call_at_all():
    group = of_one(match={"rules": [{"listeners": ["inside"]}]}, listeners=["public"])
    assert group["match"][0]["listeners"] == [65_535]


@pytest.mark.parametrize(
    ("routing", "field", "value"),
    [
        ({"algorithm": "Packed", "highWater": 60}, "high_water", 0.6),
        ({"algorithm": "Weighted", "weightsFrom": "Static"}, "weights_from", "Static"),
        (
            {"algorithm": "Hash", "hashOn": {"type": "Header", "name": "X-Account", "userOnly": True}},
            "hash_on",
            {"type": "Header", "name": "X-Account", "user_only": True},
        ),
        ({"algorithm": "Hash", "mode": "Stateless"}, "mode", "Stateless"),
        ({"algorithm": "Hash", "mode": "Stateless"}, "queue_ms", 0),
    ],
)
def test_what_an_algorithm_needs_to_know(routing, field, value):
    assert of_one(routing=routing)[field] == value


def test_limits_are_this_replicas_part():
    members = [
        {"sip": "sip:192.0.2.1"},
        {"sip": "sip:192.0.2.2", "backup": True, "resources": [{"name": "conf", "limit": 4}]},
    ]
    resources = [{"name": "ch", "source": "Reported"}, {"name": "conf", "limit": 11}]
    one = entry(members=members, capacity={"resources": resources})
    parts = [written(one, part=Part(3, rank))["groups"][0]["members"] for rank in range(3)]
    assert [[member["limits"]["conf"] for member in members] for members in parts] == [[4, 2], [4, 1], [3, 1]]
    assert [member["backup"] for member in parts[0]] == [False, True]


def test_a_node_of_two_groups_is_ejected_by_the_stricter_and_by_none_if_none_ejects():
    first = entry("a", health={"ejection": {"failures": 3, "duration": "10s", "maxDuration": "1m"}})
    second = entry("b", health={"ejection": {"failures": 7, "duration": "20s", "maxDuration": "30s"}})
    never = entry("c", health={"ejection": {"failures": 0}})
    one = {member.uid: "node" for each in (first, second, never) for member in each.members}

    def ejection(*entries):
        (node,) = written(*entries, node_of=one)["nodes"]
        return node["ejection"]

    assert ejection(first, second, never) == {"failures": 3, "duration_ms": 20_000, "max_ms": 60_000}
    assert ejection(never, second) == {"failures": 7, "duration_ms": 20_000, "max_ms": 30_000}
    assert ejection(never) is None


def test_a_group_spills_into_another_one_that_is_served_here_and_refuses_else():
    spilling = entry("a", capacity={"overLimit": {"action": "Spill", "group": "b"}})
    first, other = written(entry("b"), spilling)["groups"]
    assert (first["name"], other["name"]) == ("a", "b")
    assert (first["over_limit"]["action"], first["over_limit"]["group"]) == ("Spill", 1)
    (alone,) = written(spilling)["groups"]
    assert (alone["over_limit"]["action"], alone["over_limit"]["group"]) == ("Reject", None)


def test_calls_leave_to_another_group_that_is_served_here_and_nowhere_else():
    leaving = entry("a", egress={"group": "b"})
    egress = {"listener": 0, "next_hops": [], "group": 1, "request_uri": None}
    assert written(leaving, entry("b"))["groups"][0]["egress"] == egress
    assert written(leaving)["groups"][0]["egress"] is None


def test_calls_leave_by_their_uri_within_networks():
    group = of_one(egress={"listener": "inside", "requestUri": {"networks": ["198.51.100.0/24"]}})
    assert group["egress"] == {"listener": 1, "next_hops": [], "group": None, "request_uri": ["198.51.100.0/24"]}


def test_next_hops_stand_by_their_addresses_the_best_first():
    hops = [
        {"sip": "sip:192.0.2.9;transport=tcp", "priority": 1, "weight": 3},
        {"sip": "sip:carrier.example.com", "weight": 4},
    ]
    one = entry(egress={"nextHops": hops})
    (name,) = names_of(one.group, one.members)
    targets = (
        Target("198.51.100.1", 5062, "UDP"),
        Target("198.51.100.2", 5062, "UDP"),
        Target("2001:db8::1", 5062, "TCP", rank=1),
    )

    def written_hops(resolved):
        (group,) = written(one, resolved=resolved)["groups"]
        return [
            (hop["address"], hop["transport"], hop["priority"], hop["weight"]) for hop in group["egress"]["next_hops"]
        ]

    assert written_hops({}) == [("192.0.2.9:5060", "TCP", 127, 3)]
    assert written_hops({name: targets}) == [
        ("192.0.2.9:5060", "TCP", 127, 3),
        ("198.51.100.1:5062", "UDP", 63, 2),
        ("198.51.100.2:5062", "UDP", 63, 2),
        ("[2001:db8::1]:5062", "TCP", 62, 4),
    ]
    nowhere = entry(egress={"nextHops": hops[1:]})
    assert written(nowhere)["groups"][0]["egress"] is None


def test_no_more_next_hops_stand_than_are_tried_whatever_dns_says():
    hops = [{"sip": "sip:carrier.example.com"}, {"sip": "sip:192.0.2.9", "priority": 1}]
    one = entry(egress={"nextHops": hops})
    (name,) = names_of(one.group, one.members)
    targets = tuple(Target(f"198.51.{n // 250}.{n % 250 + 1}", 5060, "UDP") for n in range(400))
    (group,) = written(one, resolved={name: targets})["groups"]
    assert len(group["egress"]["next_hops"]) == 64
    assert group["egress"]["next_hops"][0]["address"] == "192.0.2.9:5060"


def test_a_member_given_by_name_is_a_node_once_its_name_is_somewhere():
    one = entry(members=["sip:fs1.example.com", "sip:192.0.2.2;transport=tcp"])
    (name,) = names_of(one.group, one.members)
    before = written(one)
    assert [node["sip"] for node in before["nodes"]] == ["192.0.2.2:5060"]
    assert [member["node"] for member in before["groups"][0]["members"]] == [0]
    after = written(one, resolved={name: (Target("192.0.2.1", 5070, "TCP"),)})
    assert [(node["sip"], node["transport"]) for node in after["nodes"]] == [
        ("192.0.2.1:5070", "TCP"),
        ("192.0.2.2:5060", "TCP"),
    ]


def test_the_packet_core_reads_every_field():
    documents = load(FULL.read_text(encoding="utf-8"), "full.yaml")
    not_built = ("spec", "routing", "algorithm")
    built = [group for group in documents.groups if not_built not in {finding.path for finding in findings(group)}]
    everything = [GroupMembers(group, set_members(group)) for group in built]
    names = {name for each in everything for name in names_of(each.group, each.members)}
    document = written(*everything, resolved={name: (Target("192.0.2.250", 5060, "UDP"),) for name in names})
    config = BalancerConfig.model_validate(
        {
            "spec": {
                "listeners": [{"name": name, "address": "127.0.0.1", "port": 0} for name in LISTENERS],
                "nodeSide": {"address": "127.0.0.1", "port": 0, "workerPorts": "0-0"},
            }
        }
    )
    core = Core(json.dumps(settings(config.spec)).encode())
    assert core.apply(json.dumps(document).encode()) == 1
