"""From a file to what is acted on: the plan, the core's settings and snapshot, and what is refused on the way."""

import pytest
from pydantic import SecretStr

from switchtender.config.cpus import workers_for
from switchtender.config.plan import EslTarget, nodes_behind, read_plan
from switchtender.config.settings import fixed_fields_changed, settings
from switchtender.config.snapshot import snapshot
from switchtender.config.state_dir import TokenKey
from switchtender_api.loader import load
from switchtender_api.problems import DocumentErrors

ENVIRON = {"ESL_PASSWORD": "geheim"}
FS1 = "voice/ivr/fs1@127.0.0.11:5060"
FS2 = "voice/ivr/fs2@127.0.0.12:5080"


def plan_of(path, text=None, environ=None):
    if text is not None:
        path.write_text(text)
    return read_plan(path, environ=ENVIRON if environ is None else environ)


def refused(path, text=None, environ=None):
    with pytest.raises(DocumentErrors) as caught:
        plan_of(path, text, environ)
    return [problem.render() for problem in caught.value.problems]


def test_members_are_spread_out_with_their_event_sockets_and_passwords(config_file):
    plan = plan_of(config_file)
    assert {uid: (target.host, target.port) for uid, target in plan.esl.items()} == {
        FS1: ("127.0.0.11", 8021),
        FS2: ("127.0.0.12", 8022),
    }
    assert plan.esl[FS1].password.get_secret_value() == "ClueCon"
    assert plan.esl[FS2].password.get_secret_value() == "geheim"
    assert "geheim" not in repr(plan)
    assert "ClueCon" not in repr(plan)


def test_a_missing_variable_names_the_field_and_the_variable(config_file):
    [problem] = refused(config_file, environ={})
    assert "spec.esl.passwordFrom.env" in problem
    assert "ESL_PASSWORD" in problem
    assert "BalancerGroup voice/ivr" in problem


def test_a_member_without_any_password_is_refused(config_file, config_text):
    text = config_text.replace("  esl: {passwordFrom: {env: ESL_PASSWORD}}\n", "")
    [problem] = refused(config_file, text)
    assert "spec.members.static[1].load" in problem
    assert "passwordFrom" in problem


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    [problem] = refused(tmp_path / "nowhere.yaml")
    assert "cannot be read: No such file or directory" in problem


def test_what_a_file_cannot_have_is_refused_and_not_ignored(config_file, config_text):
    [problem] = refused(config_file, config_text + "  autoscale: {target: {name: fs}, min: 1, max: 2}\n")
    assert "spec.autoscale" in problem
    assert "only in Kubernetes" in problem


def test_a_claim_above_the_allowed_priority_is_refused(config_file, config_text):
    [problem] = refused(config_file, config_text + "  match: {priority: 5000}\n")
    assert "spec.match.priority" in problem
    assert "5000" in problem


def test_all_problems_come_at_once(config_file, config_text):
    text = config_text + "  autoscale: {target: {name: fs}, min: 1, max: 2}\n"
    assert len(refused(config_file, text, environ={})) == 2


OTHER_GROUP = """\
---
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {name: conf, namespace: voice}
spec:
  members: {static: [{name: a, sip: "%s", load: "fs://:ClueCon@127.0.0.11"}]}
"""


def test_members_that_share_an_event_socket_are_one_node(config_file, config_text):
    plan = plan_of(config_file, config_text + OTHER_GROUP % "sip:127.0.0.11")
    uids = [member.uid for entry in plan.groups for member in entry.members]
    node_of = nodes_behind(uids, plan.esl, {})
    assert node_of["voice/conf/a@127.0.0.11:5060"] == node_of[FS1]
    document = snapshot(plan.groups, keys=[TokenKey.fresh()], node_of=node_of, listeners=["public"])
    assert len(document["nodes"]) == 2
    assert [len(group["members"]) for group in document["groups"]] == [1, 2]


def test_a_shared_event_socket_with_another_sip_address_is_refused(config_file, config_text):
    [problem] = refused(config_file, config_text + OTHER_GROUP % "sip:127.0.0.99")
    assert "same Event Socket" in problem


def test_a_shared_node_keeps_the_uid_it_was_known_by():
    target = EslTarget("h", 8021, None, SecretStr("x"))
    esl = {"a/x": target, "b/x": target}
    assert nodes_behind(["b/x"], esl, {}) == {"b/x": "b/x"}
    assert nodes_behind(["a/x", "b/x"], esl, {"b/x": "b/x"}) == {"a/x": "b/x", "b/x": "b/x"}
    before = {"a/x": "b/x", "b/x": "b/x"}
    assert nodes_behind(["a/x"], esl, before) == {"a/x": "b/x"}, "the group that named it has gone, the node has not"
    moved = {**esl, "b/x": EslTarget("elsewhere", 8021, None, SecretStr("x"))}
    assert nodes_behind(["a/x", "b/x"], moved, before) == {"a/x": "a/x", "b/x": "b/x"}, "two nodes, two uids"
    apart = {"a/x": target, "c/x": EslTarget("elsewhere", 8021, None, SecretStr("x"))}
    assert nodes_behind(["a/x", "c/x"], apart, {"a/x": "b/x", "c/x": "b/x"}) == {"a/x": "b/x", "c/x": "c/x"}


EJECTION = {"failures": 5, "duration_ms": 30_000, "max_ms": 300_000}


def test_the_snapshot_says_what_the_documents_say(config_file):
    plan = plan_of(config_file)
    key = TokenKey(7, bytes(64))
    document = snapshot(plan.groups, keys=[key], node_of={FS1: FS1, FS2: FS2}, listeners=["public"])
    assert document["keys"] == [{"id": 7, "secret": "A" * 86 + "=="}]
    assert document["nodes"] == [
        {"uid": FS1, "name": "fs1", "sip": "127.0.0.11:5060", "transport": "UDP", "ejection": EJECTION},
        {"uid": FS2, "name": "fs2", "sip": "127.0.0.12:5080", "transport": "UDP", "ejection": EJECTION},
    ]
    [group] = document["groups"]
    assert group["members"] == [
        {"node": 0, "weight": 1.0, "priority": 0, "backup": False, "draining": False, "limits": {}},
        {"node": 1, "weight": 3.0, "priority": 5, "backup": False, "draining": False, "limits": {}},
    ]
    assert group["failover"] == {
        "attempts": 3,
        "retry_on": {"own_refusal": True, "timeout": True, "transport": True, "codes": [410]},
        "first_response_timeout_ms": 2000,
        "progress_timeout_ms": 10000,
        "cool_down_ms": [1000, 2000],
    }
    assert group["over_limit"] == {"action": "Reject", "group": None, "status": 503, "retry_after_s": [5, 15]}


def test_groups_come_by_priority_then_by_name(config_file, config_text):
    other = OTHER_GROUP.replace("spec:", "spec:\n  match: {priority: 10, rules: [{requestUri: {userPattern: ^conf}}]}")
    plan = plan_of(config_file, config_text + other % "sip:127.0.0.11")
    node_of = {member.uid: FS1 for entry in plan.groups for member in entry.members}
    groups = snapshot(plan.groups, keys=[TokenKey.fresh()], node_of=node_of, listeners=["public"])["groups"]
    assert [group["name"] for group in groups] == ["conf", "ivr"]
    (rule,) = groups[0]["match"]
    assert rule["request_uri"] == {"user": None, "host": None, "user_pattern": "^conf"}


def test_a_drained_member_is_draining(config_file, config_text):
    text = config_text.replace("priority: 5}", "priority: 5, drain: 2026-11-23T10:00:00Z}")
    plan = plan_of(config_file, text)
    document = snapshot(plan.groups, keys=[TokenKey.fresh()], node_of={FS1: FS1, FS2: FS2}, listeners=["public"])
    assert [member["draining"] for member in document["groups"][0]["members"]] == [False, True]


def test_a_drain_cannot_be_announced_ahead(config_file, config_text):
    [problem] = refused(config_file, config_text.replace("priority: 5}", "priority: 5, drain: 2096-11-23T10:00:00Z}"))
    assert "spec.members.static[1].drain" in problem
    assert "not later than now" in problem


def test_settings_of_one_listener_that_serves_both_sides(config_file):
    spec = plan_of(config_file).documents.config.spec
    document = settings(spec)
    assert document["node_side"] is None
    assert document["listeners"] == [
        {
            "name": "public",
            "address": "127.0.0.1",
            "port": 5060,
            "advertise": None,
            "nat": False,
            "transports": ["UDP"],
            "allow": [],
        }
    ]
    assert document["tcp"] == {
        "idle_timeout_ms": 600_000,
        "connect_timeout_ms": 2000,
        "max_connections": 20_000,
        "max_per_source": 1000,
    }
    assert (document["workers"], document["stop_deadline_ms"]) == (1, 180_000)


def test_settings_of_a_listener_for_some_networks_and_both_transports(config_file, config_text):
    text = config_text.replace(
        "port: 5060}", "port: 5060, transports: [TCP, UDP], allow: [192.0.2.0/24, 198.51.100.7]}"
    )
    text = text.replace("  stateDir:", "  tcp: {idleTimeout: 1m, maxConnectionsPerSource: 3}\n  stateDir:")
    document = settings(load(text, "file.yaml").config.spec)
    (listener,) = document["listeners"]
    assert (listener["transports"], listener["allow"]) == (["TCP", "UDP"], ["192.0.2.0/24", "198.51.100.7/32"])
    assert (document["tcp"]["idle_timeout_ms"], document["tcp"]["max_per_source"]) == (60_000, 3)


def test_settings_with_a_node_side(config_file, config_text):
    side = (
        "  nodeSide: {address: 127.0.0.1, port: 5070, workerPorts: 5071-5080, sources: [10.0.0.0/8],\n"
        "             advertise: [{networks: [0.0.0.0/0], host: 10.96.7.7}]}\n  stateDir:"
    )
    spec = plan_of(config_file, config_text.replace("  stateDir:", side)).documents.config.spec
    assert settings(spec)["node_side"] == {
        "address": "127.0.0.1",
        "port": 5070,
        "worker_ports": [5071, 5080],
        "advertise": [{"networks": ["0.0.0.0/0"], "host": "10.96.7.7", "port": 5070}],
        "sources": ["10.0.0.0/8"],
    }


def test_an_address_without_networks_is_advertised_to_every_node(config_file, config_text):
    side = "  nodeSide: {address: 127.0.0.1, port: 5070, advertise: [{host: 10.96.7.7}]}\n  stateDir:"
    spec = plan_of(config_file, config_text.replace("  stateDir:", side)).documents.config.spec
    (entry,) = settings(spec)["node_side"]["advertise"]
    assert entry["networks"] == ["0.0.0.0/0", "::/0"]


def test_a_reload_may_change_groups_but_not_listeners(config_file, config_text):
    before = plan_of(config_file).documents.config.spec
    assert fixed_fields_changed(before, plan_of(config_file, config_text).documents.config.spec) == []
    after = plan_of(config_file, config_text.replace("port: 5060}", "port: 5062}")).documents.config.spec
    assert fixed_fields_changed(before, after) == ["spec.listeners"]
    spec = load(config_text.replace("  stateDir:", "  tcp: {idleTimeout: 1m}\n  stateDir:"), "file.yaml").config.spec
    assert fixed_fields_changed(before, spec) == ["spec.tcp"]


@pytest.mark.parametrize(
    ("cpu_max", "cpus", "workers"),
    [
        ("max 100000", 8, 7),
        ("200000 100000", 8, 1),
        ("350000 100000", 8, 2),
        ("50000 100000", 8, 1),
        ("max 100000", 1, 1),
        ("nonsense", 4, 3),
        ("0 0", 2, 1),
        ("max 100000", 500, 64),
    ],
)
def test_automatic_workers(cpu_max, cpus, workers):
    assert workers_for(cpu_max, cpus) == workers
