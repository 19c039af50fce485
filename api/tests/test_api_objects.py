"""Objects of the API server: read as another version wrote them, written as this one means them."""

from __future__ import annotations

import json
import typing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from switchtender_api.objects import dump_member, dump_policy, kubernetes_gaps, read_group, read_set
from switchtender_api.problems import format_path
from switchtender_api.static_members import set_members
from switchtender_api.v1alpha1 import BalancerGroup, DestinationSet

METADATA = {
    "name": "ivr",
    "namespace": "voice",
    "uid": "0b6d7a3e-7d4c-4d3b-9d0b-0c9d6f1f2a11",
    "resourceVersion": "1234",
    "generation": 7,
    "creationTimestamp": "2026-03-01T22:00:00Z",
    "labels": {"app.kubernetes.io/managed-by": "Helm", "team": "voice"},
    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
    "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}],
    "finalizers": ["example.com/f"],
    "selfLink": "",
    "deletionTimestamp": "2026-03-02T22:00:00Z",
    "aFieldOfTomorrow": {"deep": [1]},
}
SPEC = {
    "balancer": "default",
    "match": {"priority": 10, "rules": [{"requestUri": {"userPattern": "^conf"}}, {"sources": ["192.0.2.0/24"]}]},
    "members": {"selector": {"matchLabels": {"app": "freeswitch"}}},
    "esl": {"passwordFrom": {"secretKeyRef": {"name": "esl"}}},
    "routing": {"algorithm": "RoundRobin", "failover": {"retryOn": ["OwnRefusal", "410"]}},
    "capacity": {"resources": [{"name": "ch", "source": "Reported"}], "headroom": 3, "maxSessions": None},
    "drain": {"timeout": "90m"},
}
MEMBER = {
    "uid": "5f0f…-pod",
    "name": "fs-0",
    "node": "worker-3",
    "zone": "a",
    "addresses": ["10.0.1.7"],
    "sip": {"port": 5060, "transport": "UDP"},
    "esl": {"host": "10.0.1.7", "port": 8021},
    "state": "Draining",
    "drain": {"since": "2026-03-01T22:00:00Z", "deadline": "2026-03-02T00:00:00Z", "reason": "Deleted", "pause": True},
    "weight": 3,
    "resources": [{"name": "conf", "limit": 5}],
}
REFERENCE = {"name": "ivr", "uid": "0b6d7a3e-7d4c-4d3b-9d0b-0c9d6f1f2a11", "generation": 7}


def edited(document, path, value):
    """The document with the field at a path, such as spec.match.rules.0.sources, set to a value."""
    copy = json.loads(json.dumps(document))
    *parents, last = path.split(".")
    at = copy
    for step in parents:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return copy


def group(**fields):
    head = {"apiVersion": "switchtender.dev/v1alpha1", "kind": "BalancerGroup"}
    return {**head, "metadata": METADATA, "spec": SPEC, **fields}


def destination_set(**fields):
    policy = {key: value for key, value in SPEC.items() if key != "members"}
    spec = {"group": REFERENCE, "policy": policy, "members": [MEMBER, {**MEMBER, "uid": "b", "name": "fs-1"}]}
    head = {"apiVersion": "switchtender.dev/v1alpha1", "kind": "DestinationSet"}
    return {**head, "metadata": METADATA, "spec": spec, **fields}


def findings_at(read):
    return [format_path(finding.path) for finding in read.findings]


def test_a_group_is_read_with_all_that_kubernetes_adds_to_it():
    read = read_group(group())
    assert (read.unknown, read.findings) == ((), ())
    metadata = read.group.metadata
    assert (read.group.key, metadata.uid, metadata.generation) == ("voice/ivr", METADATA["uid"], 7)
    assert metadata.creation_timestamp.year == 2026
    assert metadata.labels["team"] == "voice"
    assert read.group.spec.routing.algorithm == "RoundRobin"


def test_status_is_never_read():
    status = {"conditions": [{"type": "of tomorrow", "status": 5}], "nodes": "many", "fieldOfTomorrow": 1}
    read = read_group(group(status=status))
    assert (read.group.status, read.unknown, read.findings) == (None, (), ())


UNKNOWN = [
    ("spec.shiny", {"a": 1}, "spec.shiny"),
    ("spec.match.shiny", 1, "spec.match.shiny"),
    ("spec.capacity.resources.0.shiny", True, "spec.capacity.resources[0].shiny"),
    ("spec.members.selector.matchExpressions", [], "spec.members.selector.matchExpressions"),
    ("spec.esl.passwordFrom.secretKeyRef.optional", True, "spec.esl.passwordFrom.secretKeyRef.optional"),
    ("shiny", {}, "shiny"),
]


@pytest.mark.parametrize(("path", "value", "named"), UNKNOWN)
def test_a_field_of_a_newer_version_is_left_out_and_named(path, value, named):
    read = read_group(edited(group(), path, value))
    assert (read.unknown, read.findings) == ((named,), ())
    assert read.group == read_group(group()).group


@pytest.mark.parametrize("where", ["spec.match.rules.1.shiny", "spec.match.rules.0.requestUri.shiny"])
def test_an_unknown_condition_is_not_left_out_of_a_rule(where):
    """The rule would take calls that its author kept from it."""
    read = read_group(edited(group(), where, 1))
    named = where.replace(".0", "[0]").replace(".1", "[1]")
    assert (read.group, read.unknown, findings_at(read)) == (None, (named,), [named])
    of_set = read_set(edited(destination_set(), where.replace("spec", "spec.policy", 1), 1))
    assert (of_set.set, of_set.without_policy.spec.policy) == (None, None)
    assert len(of_set.without_policy.spec.members) == 2


def objects_within(value):
    """Every object in a document but those of metadata, of free names and within match rules."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in ("metadata", "matchLabels", "rules"):
                yield from objects_within(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects_within(inner)


@given(st.data())
def test_wherever_fields_of_tomorrow_stand_the_rest_is_read_as_ever(data):
    name = st.from_regex(r"[a-z][A-Za-z]{0,9}Tomorrow", fullmatch=True)
    json_value = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4)
    for make, read in ((group, read_group), (destination_set, read_set)):
        raw = json.loads(json.dumps(make()))
        places = list(objects_within(raw))
        added = data.draw(
            st.lists(st.tuples(st.integers(0, len(places) - 1), name, json_value), unique_by=lambda a: a[:2])
        )
        for place, field, value in added:
            places[place][field] = value
        found, expected = read(raw), read(make())
        assert len(found.unknown) == len(added)
        assert found == replace(expected, unknown=found.unknown)


def test_every_unknown_field_is_named():
    raw = group()
    for path, value, _ in UNKNOWN:
        raw = edited(raw, path, value)
    assert set(read_group(raw).unknown) == {named for _, _, named in UNKNOWN}


UNREADABLE = [
    ("spec.routing.algorithm", "LeastLatency", "spec.routing.algorithm"),
    ("spec.sip", {"transport": "TLS"}, "spec.sip.transport"),
    ("spec.routing.failover.retryOn.0", "Shiny", "spec.routing.failover.retryOn[0]"),
    ("spec.match.priority", "high", "spec.match.priority"),
    ("spec.match.rules.0.requestUri.userPattern", "(a", "spec.match.rules[0].requestUri.userPattern"),
    ("spec.drain.timeout", "2 hours", "spec.drain.timeout"),
    ("spec.match", [], "spec.match"),
    ("spec.members", {}, "spec.members"),
    ("metadata.name", "with.dot", "metadata.name"),
    ("apiVersion", "switchtender.dev/v1", "apiVersion"),
    # across fields
    ("spec.match.rules.0", {"resources": ["conf"]}, "spec.match.rules[0].resources[0]"),
    ("spec.capacity.overLimit", {"action": "Spill", "group": "ivr"}, "spec.capacity.overLimit.group"),
]


@pytest.mark.parametrize(("path", "value", "named"), UNREADABLE)
def test_a_value_that_this_version_cannot_read_is_a_finding_and_no_group(path, value, named):
    read = read_group(edited(group(), path, value))
    assert read.group is None
    assert findings_at(read) == [named]


def test_an_unknown_field_is_named_beside_a_bad_value():
    read = read_group(edited(edited(group(), "spec.shiny", 1), "spec.routing.algorithm", "LeastLatency"))
    assert (read.unknown, findings_at(read)) == (("spec.shiny",), ["spec.routing.algorithm"])


@pytest.mark.parametrize("raw", [{}, {"spec": None}, {"metadata": None, "spec": []}, {"metadata": [], "spec": "x"}])
def test_what_is_no_object_of_ours_is_findings(raw):
    assert read_group(raw).group is None
    assert read_group(raw).findings
    assert read_set(raw).set is None
    assert read_set(raw).findings


def test_no_password_is_in_a_finding():
    static = [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://:hunter2@192.0.2.1:0"}]
    read = read_group(edited(group(), "spec.members", {"static": static}))
    assert findings_at(read) == ["spec.members.static[0].load"]
    assert "hunter2" not in repr(read)


def test_a_group_from_before_a_field_was_added_has_its_default():
    read = read_group({"metadata": {"name": "old"}, "spec": {"members": {"selector": {"matchLabels": {"a": "b"}}}}})
    assert (read.group.spec.health.panic_threshold, read.group.spec.routing.failover.attempts) == (50, 3)


def test_a_set_is_read():
    read = read_set(destination_set())
    assert (read.unknown, read.findings, read.skipped, read.without_policy) == ((), (), (), None)
    assert [(member.uid, member.state, member.weight) for member in read.set.spec.members] == [
        ("5f0f…-pod", "Draining", 3),
        ("b", "Draining", 3),
    ]
    assert read.set.spec.policy.capacity.headroom == 3
    assert read.set.spec.group.generation == 7


def test_a_set_is_read_as_its_model_reads_it():
    raw = destination_set(metadata={"name": "ivr", "namespace": "voice"})
    assert read_set(raw).set == DestinationSet.model_validate(raw, by_alias=True, by_name=False)


def test_further_slices_have_no_policy_and_a_name_with_a_dot():
    raw = destination_set(metadata={**METADATA, "name": "ivr.12"}, spec={"group": REFERENCE, "members": [MEMBER]})
    read = read_set(raw)
    assert (read.set.metadata.name, read.set.spec.policy, read.without_policy) == ("ivr.12", None, None)


def test_an_empty_set_is_a_set():
    assert read_set(destination_set(spec={"group": REFERENCE})).set.spec.members == ()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("spec.shiny", 1, "spec.shiny"),
        ("spec.group.shiny", 1, "spec.group.shiny"),
        ("spec.policy.routing.shiny", 1, "spec.policy.routing.shiny"),
        ("spec.members.1.shiny", {}, "spec.members[1].shiny"),
        ("spec.members.1.drain.shiny", {}, "spec.members[1].drain.shiny"),
        ("spec.members.0.resources.0.shiny", 1, "spec.members[0].resources[0].shiny"),
    ],
)
def test_a_newer_operators_fields_of_a_set_are_left_out_and_named(path, value, named):
    read = read_set(edited(destination_set(), path, value))
    assert (read.unknown, read.findings, read.skipped) == ((named,), (), ())
    assert read.set == read_set(destination_set()).set


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("state", "Hibernating"),
        ("weight", 0),
        ("addresses", []),
        ("addresses", ["0.0.0.0"]),
        ("sip", {"transport": "TLS"}),
        ("drain", {"since": "yesterday"}),
        ("uid", None),
    ],
)
def test_one_unreadable_member_is_skipped_and_named_and_the_others_stay(path, value):
    read = read_set(edited(destination_set(), f"spec.members.1.{path}", value))
    assert [member.uid for member in read.set.spec.members] == ["5f0f…-pod"]
    assert read.set.spec.policy is not None
    assert read.skipped == ("fs-1",)
    assert all(place.startswith(f"spec.members[1].{path}") for place in findings_at(read))
    assert read.findings


def test_a_member_without_a_name_is_named_by_its_place():
    read = read_set(edited(destination_set(), "spec.members.0", "fs-0"))
    assert read.skipped == ("spec.members[0]",)
    assert [member.name for member in read.set.spec.members] == ["fs-1"]


def test_an_unreadable_policy_leaves_the_members_to_whoever_keeps_the_last_one():
    read = read_set(edited(destination_set(), "spec.policy.routing.algorithm", "LeastLatency"))
    assert read.set is None
    assert findings_at(read) == ["spec.policy.routing.algorithm"]
    assert read.without_policy.spec.policy is None
    assert len(read.without_policy.spec.members) == 2


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("spec.group", {"name": "ivr"}, "spec.group.uid"),
        ("spec.members", {"fs-0": MEMBER}, "spec.members"),
        ("spec.members", [{**MEMBER, "uid": str(n)} for n in range(201)], "spec.members"),
        ("metadata.name", "ivr.0", "metadata.name"),
        ("kind", "DestinationSlice", "kind"),
    ],
)
def test_a_set_whose_frame_cannot_be_read_is_none(path, value, named):
    read = read_set(edited(destination_set(), path, value))
    assert (read.set, read.without_policy) == (None, None)
    assert findings_at(read) == [named]


def test_a_policy_is_dumped_as_its_author_gave_it():
    spec = read_group(group()).group.spec
    wanted = {key: value for key, value in SPEC.items() if key != "members"}
    del wanted["capacity"]["maxSessions"]
    assert dump_policy(spec) == {**wanted, "drain": {"timeout": "1h30m"}}


def test_a_policy_with_nothing_given_is_empty():
    raw = group(spec={"members": SPEC["members"]})
    assert dump_policy(read_group(raw).group.spec) == {}


def test_what_is_dumped_is_read_back():
    spec = read_group(group()).group.spec
    members = read_set(destination_set()).set.spec.members
    raw = destination_set(
        spec={
            "group": REFERENCE,
            "policy": dump_policy(spec),
            "members": [dump_member(member) for member in members],
        }
    )
    read = read_set(json.loads(json.dumps(raw)))
    assert (read.unknown, read.findings) == ((), ())
    assert read.set.spec.members == members
    policy = read.set.spec.policy
    assert {name: getattr(policy, name) for name in type(policy).model_fields} == {
        name: getattr(spec, name) for name in type(policy).model_fields
    }


def test_static_members_are_read_back_and_hold_no_password():
    static = [
        {"name": "a", "sip": "sip:192.0.2.1", "load": "fs://u%40d:hunter2@192.0.2.1", "drain": "2026-03-01T22:00:00Z"},
        {"name": "b", "sip": "sip:[2001:db8::1]:5080", "resources": [{"name": "conf", "limit": 1}]},
    ]
    made = set_members(
        BalancerGroup.model_validate({"metadata": {"name": "g"}, "spec": {"members": {"static": static}}})
    )
    raw = destination_set(spec={"group": REFERENCE, "members": [dump_member(member) for member in made]})
    assert "hunter2" not in json.dumps(raw)
    read = read_set(raw)
    assert (read.set.spec.members, read.unknown, read.skipped) == (made, (), ())


def models(model, seen):
    for info in model.model_fields.values():
        for part in (info.annotation, *typing.get_args(info.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel) and part not in seen:
                seen.add(part)
                models(part, seen)
    return seen


def test_a_field_that_is_not_given_and_one_that_is_null_mean_the_same():
    """Or a dump, which leaves nulls out, would say something else than its source."""
    seen = models(BalancerGroup, set()) | models(DestinationSet, set())
    assert len(seen) > 30
    for model in seen:
        for name, info in model.model_fields.items():
            if type(None) in typing.get_args(info.annotation):
                assert info.default is None, f"{model.__name__}.{name}"


def test_gaps_in_kubernetes_are_those_of_kubernetes():
    assert kubernetes_gaps(read_group(group()).group) == []
    raw = edited(group(), "spec.esl", {"passwordFrom": {"env": "A"}})
    found = {format_path(finding.path): finding.message for finding in kubernetes_gaps(read_group(raw).group)}
    assert found == {"spec.esl.passwordFrom.env": "in Kubernetes a password comes from a Secret only"}
