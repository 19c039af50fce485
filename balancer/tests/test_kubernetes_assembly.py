"""Slices to groups, purely: in any order the same, and nothing that cannot be read or allowed is acted on."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_stand import GROUP_UID, head, member, slice_of

from switchtender.config.assembly import Memory, Place, assemble, with_refused
from switchtender.config.destination_sets import seen_set
from switchtender_api.v1alpha1 import BalancerConfig

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def place(forbidden=(), **spec):
    raw = {"metadata": {"name": "default"}, "spec": {"listeners": [{"address": "10.0.0.1"}], **spec}}
    return Place(BalancerConfig.model_validate(raw), frozenset(map(ip_address, forbidden)))


def seen(raw, *, generation=1, age=0, uid=None):
    """The set as the API server gives it back."""
    metadata = {
        "uid": uid or f"set-{raw['metadata']['name']}",
        "generation": generation,
        "creationTimestamp": (SINCE - timedelta(seconds=age)).isoformat(),
        "resourceVersion": "17",
        "managedFields": [{"manager": "switchtender-operator"}],
    }
    return seen_set({**raw, "metadata": {**raw["metadata"], **metadata}})


def names(assembly):
    return {entry.group.name: [member.name for member in entry.members] for entry in assembly.groups}


def algorithm(assembly, group="ivr"):
    return next(entry.group.spec.routing.algorithm for entry in assembly.groups if entry.group.name == group)


def texts(assembly):
    return {key[1]: rejection.text for key, rejection in assembly.rejected.items()}


FS = [member(f"fs-{i}", f"10.0.1.{i + 1}") for i in range(6)]
SLICED = [
    seen(head("ivr", FS[0], FS[1])),
    seen(slice_of("ivr", 2, FS[2], FS[3])),
    seen(slice_of("ivr", 10, FS[4])),
    seen(head("conf", member("c-0", "10.0.2.1"), group_uid="other")),
]
ROUND_ROBIN = {"routing": {"algorithm": "RoundRobin"}}


@settings(deadline=None)
@given(st.permutations(SLICED))
def test_slices_may_come_in_any_order(sets):
    assembly = assemble(sets, place(), Memory())
    assert names(assembly) == {"conf": ["c-0"], "ivr": ["fs-0", "fs-1", "fs-2", "fs-3", "fs-4"]}
    assert not assembly.rejected
    assert sorted(each.version.name for each in assembly.acts_on) == ["conf", "ivr", "ivr.10", "ivr.2"]


def test_a_group_needs_its_head():
    assert names(assemble(SLICED[1:3], place(), Memory())) == {}


def test_slices_of_another_life_of_the_group_are_not_its_own():
    old = seen(slice_of("ivr", 2, FS[2], group_uid="an-earlier-group"))
    assembly = assemble([SLICED[0], old], place(), Memory())
    assert names(assembly) == {"ivr": ["fs-0", "fs-1"]}
    assert [each.version.name for each in assembly.acts_on] == ["ivr"]


def test_groups_of_another_balancer_are_not_ours():
    other = seen(head("ivr", FS[0], policy={"balancer": "edge"}))
    broken = seen(head("conf", FS[1], policy={"balancer": "edge", "routing": {"algorithm": "Astrology"}}))
    assembly = assemble([other, broken], place(), Memory())
    assert (names(assembly), assembly.rejected, assembly.acts_on) == ({}, {}, ())


@pytest.mark.parametrize(("one", "other", "stricter"), [
    ("Ready", "NotReady", "NotReady"),
    ("NotReady", "Draining", "Draining"),
    ("Ready", "Draining", "Draining"),
    ("Ready", "Ready", "Ready"),
])  # fmt: skip
def test_a_node_seen_twice_counts_once_by_its_strictest_state(one, other, stricter):
    for first, second in ((one, other), (other, one)):
        twins = [
            seen(head("ivr", {**FS[0], "state": first})),
            seen(slice_of("ivr", 2, {**FS[0], "state": second}, FS[1])),
        ]
        [entry] = assemble(twins, place(), Memory()).groups
        assert [(node.name, node.state) for node in entry.members] == [("fs-0", stricter), ("fs-1", "Ready")]


def test_a_drain_in_either_slice_is_kept():
    drain = {"since": "2026-01-01T00:00:00Z", "deadline": "2026-01-01T02:00:00Z", "reason": "Requested"}
    twins = [seen(head("ivr", {**FS[0], "drain": drain})), seen(slice_of("ivr", 2, {**FS[0], "state": "NotReady"}))]
    [entry] = assemble(twins, place(), Memory()).groups
    assert entry.members[0].state == "NotReady"
    assert entry.members[0].drain is not None


def test_the_policy_switches_with_the_head_and_whole():
    before = assemble([SLICED[0], SLICED[1]], place(), Memory())
    assert algorithm(before) == "LeastLoad"
    newer = seen(head("ivr", FS[0], policy=ROUND_ROBIN, generation=2), generation=2)
    after = assemble([newer, SLICED[1]], place(), before.memory)
    assert algorithm(after) == "RoundRobin"
    assert names(after) == {"ivr": ["fs-0", "fs-2", "fs-3"]}
    [entry] = after.groups
    assert (entry.group.metadata.uid, entry.group.metadata.generation) == (GROUP_UID, 2)


BAD_POLICIES = {
    "an enum value of a newer version": {"routing": {"algorithm": "Astrology"}},
    "a value out of bounds": {"match": {"priority": -1}},
    "a password beside the Secrets": {"esl": {"passwordFrom": {"env": "ESL_PASSWORD"}}},
    "a priority that is not allowed": {"match": {"priority": 1001}},
}


@pytest.mark.parametrize("policy", BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_a_policy_that_cannot_be_acted_on_leaves_the_one_before(policy):
    before = assemble([SLICED[0]], place(), Memory())
    refused = seen(head("ivr", FS[0], FS[5], policy=policy, generation=2), generation=2)
    after = assemble([refused], place(), before.memory)
    assert algorithm(after) == "LeastLoad"
    assert names(after) == {"ivr": ["fs-0", "fs-5"]}, "its nodes are followed all the same"
    assert texts(after)["ivr"]
    [acted] = after.acts_on
    assert acted.version.generation == 1, "what is told to the operator is what is in force"
    kept = acted.document()
    assert kept["metadata"]["generation"] == 1
    assert [node["name"] for node in kept["spec"]["members"]] == ["fs-0", "fs-5"]
    # and then it is mended
    mended = seen(head("ivr", FS[0], policy=ROUND_ROBIN, generation=3), generation=3)
    again = assemble([mended], place(), after.memory)
    assert (algorithm(again), again.rejected) == ("RoundRobin", {})
    assert again.acts_on[0].version.generation == 3


@pytest.mark.parametrize("policy", BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_a_group_whose_first_policy_cannot_be_acted_on_is_not_served_and_says_why(policy):
    assembly = assemble([seen(head("ivr", FS[0], policy=policy)), SLICED[3]], place(), Memory())
    assert names(assembly) == {"conf": ["c-0"]}
    assert assembly.rejected["voice", "ivr"].uid == GROUP_UID
    assert texts(assembly)["ivr"]


def test_another_group_of_the_same_name_has_no_policy_before():
    before = assemble([SLICED[0]], place(), Memory())
    bad = seen(head("ivr", FS[0], policy={"routing": {"algorithm": "Astrology"}}, group_uid="new"), uid="set-2")
    assert names(assemble([bad], place(), before.memory)) == {}


def test_what_the_configuration_no_longer_allows_is_not_in_force():
    before = assemble([SLICED[0]], place(), Memory())
    after = assemble([SLICED[0]], place(groups={"namespaces": ["lab"]}), before.memory)
    assert names(after) == {}
    assert "namespace" in texts(after)["ivr"]


def test_a_policy_that_the_packet_core_refused_is_not_tried_again():
    before = assemble([SLICED[0]], place(), Memory())
    newer = seen(head("ivr", FS[0], policy=ROUND_ROBIN, generation=2), generation=2)
    memory = with_refused(before.memory, (newer.uid, newer.generation), "too clever")
    after = assemble([newer], place(), memory)
    assert algorithm(after) == "LeastLoad"
    assert texts(after) == {"ivr": "too clever"}
    newest = seen(head("ivr", FS[0], policy=ROUND_ROBIN, generation=3), generation=3)
    last = assemble([newest], place(), after.memory)
    assert algorithm(last) == "RoundRobin"
    assert last.memory.refused == {}


@pytest.mark.parametrize("broken", [
    {**slice_of("ivr", 2), "spec": {"group": None, "members": []}},
    slice_of("ivr", 2, members="none"),
    {**slice_of("ivr", 2), "spec": 7},
])  # fmt: skip
def test_a_slice_that_cannot_be_read_leaves_the_one_before(broken):
    before = assemble(SLICED[:2], place(), Memory())
    after = assemble([SLICED[0], seen(broken, generation=2)], place(), before.memory)
    assert names(after) == {"ivr": ["fs-0", "fs-1", "fs-2", "fs-3"]}
    assert "ivr.2" in texts(after)["ivr"]
    assert [each.version.generation for each in after.acts_on] == [1, 1]


def test_a_member_that_cannot_be_read_leaves_the_others():
    newer = {**FS[1], "state": "Daydreaming"}
    assembly = assemble([seen(head("ivr", FS[0], newer))], place(), Memory())
    assert names(assembly) == {"ivr": ["fs-0"]}
    assert "fs-1" in texts(assembly)["ivr"]


def test_unknown_fields_are_left_out_and_named():
    newer = head("ivr", {**FS[0], "mood": "bright"}, policy={"routing": {"algorithm": "RoundRobin", "stars": 5}})
    newer["spec"]["epoch"] = 1
    found = seen(newer)
    assembly = assemble([found], place(), Memory())
    assert (algorithm(assembly), assembly.rejected) == ("RoundRobin", {})
    assert len(found.unknown) == 3


def test_a_set_of_an_older_operator_lacks_fields_and_is_served():
    older = head("ivr", {"uid": "u", "name": "fs-0", "addresses": ["10.0.1.1"]})
    older["spec"]["policy"] = {}
    del older["spec"]["group"]["generation"]
    [entry] = assemble([seen(older)], place(), Memory()).groups
    assert entry.group.spec.routing.algorithm == "LeastLoad"
    assert (entry.members[0].state, entry.members[0].weight) == ("Ready", 1)


@pytest.mark.parametrize(("address", "word"), [
    ("127.0.0.1", "loopback"),
    ("169.254.169.254", "link-local"),
    ("::1", "loopback"),
    ("10.96.0.1", "API server"),
    ("192.168.1.1", "destinations.allow"),
])  # fmt: skip
def test_no_node_where_none_may_be(address, word):
    allowed = {"destinations": {"allow": ["10.0.0.0/8", "::/0"]}}
    sip = member("bad", address)
    esl = {**FS[1], "esl": {"host": address, "port": 8021}}
    assembly = assemble([seen(head("ivr", FS[0], sip, esl))], place(["10.96.0.1"], **allowed), Memory())
    assert names(assembly) == {"ivr": ["fs-0"]}
    assert word in texts(assembly)["ivr"]
    assert "bad" in texts(assembly)["ivr"]


def test_a_name_is_judged_where_it_turns_out_to_be_and_an_event_socket_has_none():
    esl = {**FS[1], "esl": {"host": "fs.example.com", "port": 8021}}
    assembly = assemble([seen(head("ivr", FS[0], member("named", "fs.example.com"), esl))], place(), Memory())
    assert names(assembly) == {"ivr": ["fs-0", "named"]}
    assert "given by its address" in texts(assembly)["ivr"]


def test_a_scorer_that_is_not_installed_keeps_the_policy_before():
    before = assemble([seen(head("ivr", FS[0]))], place(), Memory())
    newer = head("ivr", FS[0], policy={"routing": {"score": "nowhere"}}, generation=2)
    after = assemble([seen(newer, generation=2)], place(), before.memory)
    assert after.groups[0].group.spec.routing.score is None
    assert "no scorer of this name is installed" in texts(after)["ivr"]


def test_the_balancers_own_secrets_are_no_passwords():
    esl = {"esl": {"passwordFrom": {"secretKeyRef": {"name": "st-config-token", "key": "token"}}}}
    here = replace(place(), reserved={("voice", "st-config-token")})
    sets = [
        seen(head("ivr", FS[0], policy=esl)),
        seen(head("conf", FS[1], policy=esl, namespace="lab", group_uid="c"), uid="c"),
    ]
    assembly = assemble(sets, here, Memory())
    assert names(assembly) == {"conf": ["fs-1"]}
    assert "balancer's own" in texts(assembly)["ivr"]


def test_groups_are_asked_by_priority_then_by_age_of_the_head_then_by_name():
    sets = [
        seen(head("young", FS[0], group_uid="1"), age=10),
        seen(head("old", FS[1], group_uid="2"), age=20),
        seen(head("b-same", FS[2], group_uid="3"), age=15),
        seen(head("a-same", FS[3], group_uid="4"), age=15),
        seen(head("first", FS[4], group_uid="5", policy={"match": {"priority": 5}}), age=0),
    ]
    random.Random(7).shuffle(sets)
    assembly = assemble(sets, place(), Memory())
    assert list(names(assembly)) == ["first", "old", "a-same", "b-same", "young"]


def static(name, address, esl=None):
    uid = f"voice/conf/{name}@{address}:5060"
    return {**member(name, address, uid=uid), "esl": {"host": esl or address, "port": 8021}}


def test_a_static_member_that_is_a_pod_of_its_group_counts_once():
    pod = member("fs-0", "10.0.1.1", esl=True)
    sets = [seen(head("ivr", pod)), seen(slice_of("ivr", 2, static("outside", "10.0.1.1"), static("far", "10.9.9.9")))]
    assert names(assemble(sets, place(), Memory())) == {"ivr": ["fs-0", "far"]}


def test_a_node_takes_sip_at_one_address_whatever_groups_say():
    older = seen(head("ivr", FS[0]), age=5)
    younger = seen(head("conf", {**FS[0], "sip": {"port": 5080}}, FS[1], group_uid="c"))
    assembly = assemble([younger, older], place(), Memory())
    assert names(assembly) == {"ivr": ["fs-0"], "conf": ["fs-1"]}
    assert "another SIP address" in texts(assembly)["conf"]


def test_two_pods_at_one_endpoint_are_two_nodes():
    """On the host's network the next pod has the address of the last one, which is still going."""
    old = {**member("fs-0", "10.0.1.1", uid="pod-1", esl=True), "state": "Draining"}
    new = member("fs-0", "10.0.1.1", uid="pod-2", esl=True)
    [entry] = assemble([seen(head("ivr", old, new))], place(), Memory()).groups
    assert [node.uid for node in entry.members] == ["pod-1", "pod-2"]


def assembled_now(*sets):
    """The groups of these sets, with nothing known before."""
    return assemble(sets, place(), Memory())


@settings(deadline=None)
@given(st.lists(st.sampled_from(["LeastLoad", "RoundRobin", "Astrology", None]), max_size=8))
def test_the_policy_in_force_is_always_the_last_good_one(policies):
    memory, good = Memory(), None
    for generation, wanted in enumerate(policies, 1):
        raw = head("ivr", FS[0], policy={"routing": {"algorithm": wanted}}, generation=generation)
        if wanted is None:
            raw["spec"]["policy"] = "unreadable"
        assembly = assemble([seen(raw, generation=generation)], place(), memory)
        memory = assembly.memory
        if wanted in ("LeastLoad", "RoundRobin"):
            good = wanted, generation
        in_force = [
            (algorithm(assembly), entry.group.metadata.generation, acted.version.generation)
            for entry, acted in zip(assembly.groups, assembly.acts_on, strict=True)
        ]
        assert in_force == ([] if good is None else [(good[0], good[1], good[1])])
        # Of a head that cannot be read nobody can tell whose it is, until one of it could be.
        ours = good is not None or wanted is not None
        assert bool(assembly.rejected) == (ours and (good is None or good[1] != generation))


def test_many_problems_are_told_in_short():
    newer = [{**member(f"fs-{i}", f"10.0.2.{i + 1}"), "state": "Daydreaming"} for i in range(200)]
    told = texts(assemble([seen(head("ivr")), seen(slice_of("ivr", 2, *newer))], place(), Memory()))["ivr"]
    assert told.endswith("and 195 more")
    whole = seen(head("ivr", FS[0], *newer))  # one more than a slice may hold
    assert whole.problem.endswith("more")
    assert len(whole.problem) < 1000
    assert len(told) < 500


def test_calls_that_cannot_go_on_to_another_group_are_told_of():
    spilling = {"capacity": {"overLimit": {"action": "Spill", "group": "spare"}}}
    alone = assembled_now(seen(head("ivr", FS[0], policy=spilling)))
    assert [entry.group.name for entry in alone.groups] == ["ivr"], "it is served all the same"
    assert "capacity.overLimit.group: this balancer serves no group spare" in texts(alone)["ivr"]
    both = assembled_now(seen(head("ivr", FS[0], policy=spilling)), seen(head("spare", FS[1])))
    assert both.rejected == {}


@pytest.mark.parametrize(
    "networks", [["0.0.0.0/0", "::/0"], ["10.0.0.0/8"], ["169.0.0.0/8", "126.0.0.0/7", "fe00::/7"]]
)
def test_calls_by_their_uri_never_reach_what_is_closed_in_a_cluster(networks):
    policy = {"egress": {"requestUri": {"networks": networks}}}
    assembly = assemble([seen(head("ivr", FS[0], policy=policy))], place(["10.96.0.1"]), Memory())
    assert texts(assembly) == {}
    left = assembly.groups[0].group.spec.egress.request_uri.networks
    closed = [
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "169.254.169.254",
        "10.96.0.1",
        "::",
        "::1",
        "fe80::1",
        "::ffff:127.0.0.1",
    ]
    assert [address for address in closed if any(ip_address(address) in network for network in left)] == []
    wanted, near = [ip_network(network) for network in networks], "10.96.0.2 10.95.255.255 169.253.1.1 126.1.1.1 ::2"
    for address in map(ip_address, near.split()):
        assert any(address in each for each in left) == any(address in each for each in wanted)


def test_a_network_where_no_call_may_go_is_refused():
    policy = {"egress": {"requestUri": {"networks": ["10.0.0.0/8", "127.0.0.0/16"]}}}
    assembly = assemble([seen(head("ivr", FS[0], policy=policy))], place(), Memory())
    assert names(assembly) == {}
    assert "spec.egress.requestUri.networks[1]: in a cluster no call may go to loopback" in texts(assembly)["ivr"]
