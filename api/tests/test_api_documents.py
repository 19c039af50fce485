"""A whole file to values: the full sample, its members, its claims, and what is not built yet."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from switchtender_api import claims
from switchtender_api.loader import Documents, load
from switchtender_api.objects import dump_policy
from switchtender_api.problems import format_path
from switchtender_api.static_members import resolved_members, set_members
from switchtender_api.unsupported import GAPS, findings, unsupported
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, precedence
from switchtender_api.yaml_text import MOST_BYTES

FULL = Path(__file__).parent / "data" / "full.yaml"


@pytest.fixture(scope="module")
def full() -> Documents:
    return load(FULL.read_text(encoding="utf-8"), "full.yaml")


def group(**spec: object) -> BalancerGroup:
    members = spec.pop("members", {"static": [{"name": "fs1", "sip": "sip:192.0.2.1"}]})
    return BalancerGroup.model_validate({"metadata": {"name": "ivr"}, "spec": {"members": members, **spec}})


def config(**spec: object) -> BalancerConfig:
    return BalancerConfig.model_validate({"spec": {"listeners": [{"address": "127.0.0.1"}], **spec}})


def test_the_full_sample_loads(full):
    assert [(g.key, len(g.spec.members.static)) for g in full.groups] == [
        ("voice/ivr", 4),
        ("voice/spare", 1),
        ("voice/registrar", 2),
        ("voice/agents", 1),
        ("voice/night", 1),
    ]
    assert [listener.name for listener in full.config.spec.listeners] == ["public", "inside"]
    assert full.config.spec.node_side.advertise[0].host == "10.96.7.7"
    assert str(full.config.spec.peers.static[1]) == "[2001:db8::6]:8080"


def test_the_same_documents_load_as_bytes_and_with_a_byte_order_mark(full):
    assert load(FULL.read_bytes(), "full.yaml") == full
    assert load(b"\xef\xbb\xbf" + FULL.read_bytes(), "full.yaml") == full


def test_json_is_yaml():
    document = {"apiVersion": "switchtender.dev/v1alpha1", "kind": "BalancerConfig"}
    document["spec"] = {"listeners": [{"address": "::"}]}
    assert load(json.dumps(document, indent=2), "file.json").config.spec.listeners[0].address == ip_address("::")


def test_empty_documents_count_but_hold_nothing():
    text = FULL.read_text(encoding="utf-8")
    assert load(f"---\n# only a comment\n---\n{text}\n---\n", "full.yaml").groups == load(text, "full.yaml").groups


def test_anchors_and_merge_keys_are_followed():
    text = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
spec: {listeners: [{address: 127.0.0.1}]}
---
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {name: ivr}
spec:
  members:
    static:
    - &first {name: fs1, sip: "sip:192.0.2.1", weight: 7, priority: 3}
    - {<<: *first, name: fs2, sip: "sip:192.0.2.2"}
    - {priority: 1, <<: [{weight: 9, name: fs3}, *first], sip: "sip:192.0.2.3"}
"""
    members = load(text, "file.yaml").groups[0].spec.members.static
    assert [(m.name, m.weight, m.priority) for m in members] == [("fs1", 7, 3), ("fs2", 7, 3), ("fs3", 9, 1)]


def test_words_that_only_look_like_numbers_are_texts():
    text = FULL.read_text(encoding="utf-8").replace(
        "{team: voice}", "{a: 1:30, b: 2026-03-01, c: 0x1f, d: 007, e: .inf, f: 1_0}"
    )
    labels = load(text, "full.yaml").groups[0].metadata.labels
    assert labels == {"a": "1:30", "b": "2026-03-01", "c": "0x1f", "d": "007", "e": ".inf", "f": "1_0"}


def test_a_file_of_a_thousand_members_loads_and_one_past_the_limit_does_not():
    head, mark, tail = FULL.read_text(encoding="utf-8").rpartition("  capacity: {overLimit: {action: Allow}}")
    tail = mark + tail
    many = "".join(f'    - {{name: n{n}, sip: "sip:10.1.{n // 250}.{n % 250 + 1}"}}\n' for n in range(1000))
    assert len(load(head + many + tail, "big.yaml").groups[1].spec.members.static) == 1001
    with pytest.raises(Exception, match="longer than 4 MiB"):
        load(head + "#" * MOST_BYTES, "big.yaml")


def test_static_members_become_set_members(full):
    ivr, spare, registrar, *_ = full.groups
    plain, by_name = (member.sip for member in set_members(registrar))
    assert (plain.transport, plain.lookup, by_name.transport, by_name.lookup) == ("UDP", "Address", "TCP", "Service")
    one, two, three, four = set_members(ivr)
    assert one.uid == "voice/ivr/fs1@192.168.1.38:5060"
    assert (one.addresses, one.sip.port, one.weight, one.state) == (("192.168.1.38",), 5060, 10, "Ready")
    assert (one.esl.host, one.esl.port, one.esl.user) == ("192.168.1.38", 8021, None)
    assert two.uid == "voice/ivr/fs2@192.168.1.39:5080"
    assert (two.esl.host, two.esl.port, two.esl.user) == ("192.168.1.39", 8022, "balancer@example.com")
    assert three.uid == "voice/ivr/fs3@[2001:db8::3]:5060"
    assert three.state == "Draining"
    assert three.drain.since == datetime(2026, 3, 1, 22, tzinfo=UTC)
    assert three.drain.deadline == datetime(2026, 3, 2, 0, tzinfo=UTC)
    assert four.esl is None
    assert set_members(spare)[0].uid == "voice/spare/fs9@192.168.1.99:5060"


def test_ports_and_users_fall_back_to_the_group():
    members = {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://:pw@192.0.2.1"}]}
    spec = {"sip": {"port": 5080, "transport": "TCP"}, "esl": {"port": 8022, "user": "u@d"}}
    (member,) = set_members(group(members=members, **spec))
    assert (member.sip.port, member.sip.transport, member.esl.port, member.esl.user) == (5080, "TCP", 8022, "u@d")
    assert member.uid == "default/ivr/a@192.0.2.1:5080"


def test_passwords_come_from_the_url_else_from_the_group(full):
    resolution = resolved_members(full.groups[0], environ={"ESL_PASSWORD": "shared"}, read_file=str)
    passwords = [m.password and m.password.get_secret_value() for m in resolution.members]
    assert passwords == ["ClueCon", "p:w@rd", "shared", None]
    assert resolution.findings == ()


def test_a_password_that_is_missing_is_a_problem_with_a_place(full):
    resolution = resolved_members(full.groups[0], environ={}, read_file=str)
    (problem,) = full.problems(full.groups[0], resolution.findings)
    assert (problem.file, problem.line, problem.name) == ("full.yaml", 46, "voice/ivr")
    assert problem.path == "spec.esl.passwordFrom.env"
    assert problem.message == "the environment variable ESL_PASSWORD is not set"
    assert resolution.members[2].password is None


def test_a_password_file_is_read_only_where_a_member_needs_it():
    def read(path):
        raise AssertionError(path)

    members = {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://:pw@192.0.2.1"}]}
    resolution = resolved_members(
        group(members=members, esl={"passwordFrom": {"file": "/x"}}), environ={}, read_file=read
    )
    assert resolution.members[0].password.get_secret_value() == "pw"


def test_what_the_full_sample_asks_for_and_is_not_built(full):
    asked = {re.sub(r"\[\d+\]", "[]", problem.path) for problem in unsupported(full)}
    assert asked == {gap.path for gap in GAPS if gap.reason == "not built yet"}


BEYOND = [
    (config(peers={"service": "peers"}), "spec.peers.service"),
    (config(nodeSide={"advertise": [{"service": "nodes"}]}), "spec.nodeSide.advertise[].service"),
    (config(http={"admin": {"tokenReview": True}}), "spec.http.admin.tokenReview"),
    (group(members={"selector": {"matchLabels": {"app": "fs"}}}), "spec.members.selector"),
    (group(esl={"passwordFrom": {"secretKeyRef": {"name": "esl"}}}), "spec.esl.passwordFrom.secretKeyRef"),
    (group(autoscale={"target": {"name": "fs"}, "min": 1, "max": 2}), "spec.autoscale"),
]


WITH_PASSWORD = {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://:hunter2@192.0.2.1"}]}
BEYOND_IN_KUBERNETES = [
    (group(members=WITH_PASSWORD), "spec.members.static[].load"),
    (group(esl={"passwordFrom": {"env": "A"}}), "spec.esl.passwordFrom.env"),
    (group(esl={"passwordFrom": {"file": "/a"}}), "spec.esl.passwordFrom.file"),
]
NOT_IN_KUBERNETES = [
    (config(http={"admin": {"tokenFrom": {"env": "A"}}}), "spec.http.admin.tokenFrom"),
    (config(http={"tls": {"certificateFile": "/a", "keyFile": "/b"}}), "spec.http.tls"),
]
ONLY_IN_KUBERNETES = {
    "spec.http.admin.tokenReview",
    "spec.peers.service",
    "spec.nodeSide.advertise[].service",
    "spec.members.selector",
    "spec.esl.passwordFrom.secretKeyRef",
    "spec.autoscale",
}


def paths(found):
    return [format_path(finding.path).replace("[0]", "[]").replace("[1]", "[]") for finding in found]


@pytest.mark.parametrize(("document", "path"), BEYOND)
def test_each_thing_not_built_is_named(document, path):
    (finding,) = findings(document)
    assert paths([finding]) == [path]
    assert finding.accepted
    assert findings(document, "Kubernetes") == ([] if path in ONLY_IN_KUBERNETES else [finding])


@pytest.mark.parametrize(("document", "path"), BEYOND_IN_KUBERNETES)
def test_a_password_stands_in_no_document_in_kubernetes(document, path):
    assert findings(document) == []
    (finding,) = findings(document, "Kubernetes")
    assert paths([finding]) == [path]
    assert "Secret" in finding.message
    assert "hunter2" not in repr(finding)


@pytest.mark.parametrize(("document", "path"), NOT_IN_KUBERNETES)
def test_what_a_cluster_has_other_means_for_is_refused_there(document, path):
    assert findings(document) == []
    (finding,) = findings(document, "Kubernetes")
    assert (paths([finding]), finding.message) == ([path], "not in Kubernetes")


def test_every_gap_is_tested():
    assert {gap.path for gap in GAPS} == {path for _, path in BEYOND + BEYOND_IN_KUBERNETES + NOT_IN_KUBERNETES}


@pytest.mark.parametrize("sources", [{}, {"env": "A", "file": "/a"}, {"env": None, "file": None}])
def test_the_admin_token_has_one_source(sources):
    with pytest.raises(ValueError, match="one source of the token"):
        config(http={"admin": {"tokenFrom": sources}})


@pytest.mark.parametrize(
    "document",
    [
        config(),
        group(),
        group(
            routing={"algorithm": "Packed", "highWater": 70, "mode": "Stateful"},
            drain={"pauseNode": True, "onTimeout": "Release"},
        ),
        group(capacity={"resources": [{"name": "ch", "source": "Reported"}], "overLimit": {"action": "Allow"}}),
    ],
)
def test_what_is_built_is_no_gap(document):
    assert findings(document) == []


def test_claims_within_the_configuration_are_allowed():
    spec = config(groups={"namespaces": ["default"], "maxPriority": 10}, destinations={"allow": ["192.0.2.0/24"]}).spec
    assert list(claims.refusals(spec, group(match={"priority": 10}), kubernetes=True)) == []


def test_each_claim_beyond_the_configuration_is_refused():
    spec = config(groups={"namespaces": ["a", "b"], "maxPriority": 9}, destinations={"allow": ["198.51.100.0/24"]}).spec
    refused = list(claims.refusals(spec, group(match={"priority": 10}), kubernetes=False))
    assert [(finding.path, finding.accepted) for finding in refused] == [
        (("metadata", "namespace"), "a, b"),
        (("spec", "match", "priority"), "0 to 9"),
        (("spec", "members", "static", 0, "sip"), "198.51.100.0/24"),
    ]


@pytest.mark.parametrize(
    ("address", "kubernetes", "allowed"),
    [
        ("127.0.0.1", False, True),
        ("127.0.0.1", True, False),
        ("::1", True, False),
        ("169.254.169.254", True, False),
        ("fe80::1", True, False),
        ("10.0.0.1", True, True),
        ("2001:db8::1", True, True),
    ],
)
def test_where_nodes_may_be(address, kubernetes, allowed):
    allow = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert (claims.destination_refusal(ip_address(address), allow, kubernetes=kubernetes) is None) == allowed


def test_no_node_is_where_the_api_server_is():
    everywhere = config().spec
    one = group(members={"static": [{"name": "a", "sip": "sip:10.96.0.1"}, {"name": "b", "sip": "sip:10.96.0.2"}]})
    forbidden = frozenset({ip_address("10.96.0.1")})
    (finding,) = claims.refusals(everywhere, one, kubernetes=True, forbidden=forbidden)
    assert finding.path == ("spec", "members", "static", 0, "sip")
    assert "API server" in finding.message
    assert list(claims.refusals(everywhere, one, kubernetes=True)) == []


def test_no_family_is_allowed_by_the_other():
    assert claims.destination_refusal(ip_address("::1"), (ip_network("0.0.0.0/0"),), kubernetes=False) is not None


def test_groups_are_asked_by_priority_then_age_then_name():
    def at(name, priority, created=None):
        metadata = {"name": name, "creationTimestamp": created}
        spec = {"match": {"priority": priority}, "members": {"selector": {"matchLabels": {"a": "b"}}}}
        return BalancerGroup.model_validate({"metadata": metadata, "spec": spec})

    groups = [at("c", 0), at("b", 0), at("young", 5, "2026-03-01T00:00:00Z"), at("old", 5, "2025-03-01T00:00:00Z")]
    assert [g.name for g in sorted(groups, key=precedence)] == ["old", "young", "b", "c"]


@pytest.mark.parametrize(
    ("uri", "sip", "lookup"),
    [
        ("sip:fs.example.com", {}, "Any"),
        ("sip:fs.example.com;transport=tcp", {}, "Service"),
        ("sip:fs.example.com", {"transport": "TCP"}, "Service"),
        ("sip:fs.example.com:5080", {}, "Address"),
        ("sip:fs.example.com", {"port": 5060}, "Address"),
        ("sip:192.0.2.1", {}, "Address"),
    ],
)
def test_what_neither_a_member_nor_its_group_says_of_a_name_is_left_to_dns(uri, sip, lookup):
    (member,) = set_members(group(members={"static": [{"name": "a", "sip": uri}]}, sip=sip))
    assert member.sip.lookup == lookup


def test_no_probing_has_two_spellings_and_one_meaning():
    by_null, by_zero = (group(health={"options": options}) for options in (None, {"interval": "0s"}))
    assert by_null.spec == by_zero.spec
    assert by_null.spec.health.probe is None
    assert dump_policy(by_null.spec)["health"] == {"options": {"interval": "0s"}}
    assert group().spec.health.probe == group().spec.health.options


def test_a_listener_is_one_of_the_balancers():
    rules = {"rules": [{"listeners": ["public", "inside"]}]}
    egress = {"listener": "outside", "nextHops": [{"sip": "sip:192.0.2.9"}]}
    refused = list(claims.refusals(config().spec, group(match=rules, egress=egress), kubernetes=True))
    assert [(format_path(finding.path), finding.found) for finding in refused] == [
        ("spec.match.rules[0].listeners[1]", '"inside"'),
        ("spec.egress.listener", '"outside"'),
    ]


def test_calls_leave_to_no_forbidden_place():
    egress = {"nextHops": [{"sip": "sip:carrier.example.com"}, {"sip": "sip:127.0.0.1"}, {"sip": "sip:192.0.2.9"}]}
    (finding,) = claims.refusals(config().spec, group(egress=egress), kubernetes=True)
    assert format_path(finding.path) == "spec.egress.nextHops[1].sip"


def test_calls_leave_by_their_uri_to_networks_that_are_allowed_whole():
    spec = config(destinations={"allow": ["198.51.100.0/24", "2001:db8::/32"]}).spec
    static = {"static": [{"name": "a", "sip": "sip:198.51.100.1"}]}
    networks = ["198.51.100.128/25", "198.51.100.0/24", "198.51.0.0/16", "2001:db8:1::/48", "::/0"]
    one = group(members=static, egress={"requestUri": {"networks": networks}})
    refused = claims.refusals(spec, one, kubernetes=True)
    assert [finding.found for finding in refused] == ['"198.51.0.0/16"', '"::/0"']
