"""What a document says, on the wire: from YAML to the packet core, and calls over real sockets."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from core_calls import WAIT, Call, Message, Peer, open_node, peers
from core_streams import Stream, stream_node

from switchtender._core import Core
from switchtender.config.limits import WHOLE, Part
from switchtender.config.settings import settings
from switchtender.config.snapshot import GroupMembers, snapshot
from switchtender.config.state_dir import TokenKey
from switchtender_api.loader import load
from switchtender_api.static_members import set_members

CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
spec:
  listeners:
  - {name: public, address: 127.0.0.1, port: 0%s}
  - {name: inside, address: 127.0.0.1, port: 0}
  nodeSide: {address: 127.0.0.1, port: 0, workerPorts: 0-0}
"""
GROUP = """\
---
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {name: %s}
spec:
  match: {priority: %d, rules: [%s]}
  members: {static: [%s]}
  %s
"""


@contextmanager
def served(text: str, part=WHOLE) -> Iterator[Core]:
    """A core that runs on a file's documents, its nodes open for calls."""
    documents = load(text, "file.yaml")
    entries = [GroupMembers(group, set_members(group)) for group in documents.groups]
    uids = [member.uid for entry in entries for member in entry.members]
    listeners = [listener.name for listener in documents.config.spec.listeners]
    core = Core(json.dumps(settings(documents.config.spec)).encode())
    key = TokenKey(1, bytes(range(64)))
    document = snapshot(entries, keys=[key], node_of={uid: uid for uid in uids}, listeners=listeners, part=part)
    core.apply(json.dumps(document).encode())
    for uid in uids:
        open_node(core, uid)
    core.start()
    try:
        yield core
    finally:
        core.stop(0)
        core.join()


class _Call(Call):
    """One that says more, at another listener if asked to."""

    def __init__(self, caller: Peer, core: Core, *extra: str, uri: str = "sip:100@example.com", listener: int = 0):
        super().__init__(caller, core, uri)
        place = json.loads(core.addresses())["listeners"][listener]
        self.to, self.extra = (place["address"], place["port"]), extra

    def begin(self, method: str = "INVITE") -> None:
        self.request(method, 1, self.uri, *self.extra, branch=self.branch)


def member(peer: Peer, name: str = "fs1", rest: str = "") -> str:
    return f'{{name: {name}, sip: "sip:{peer.endpoint}"{rest}}}'


@pytest.mark.parametrize(
    ("rule", "call", "method"),
    [
        ("requestUri: {user: '112'}", {"uri": "sip:112@example.com"}, "INVITE"),
        ("requestUri: {host: IVR.example.com}", {"uri": "sip:100@ivr.EXAMPLE.com"}, "INVITE"),
        ("requestUri: {userPattern: '^9+$'}", {"uri": "sip:999@example.com"}, "INVITE"),
        ("methods: [MESSAGE]", {}, "MESSAGE"),
        ("headers: [{name: x-account}]", {"extra": ["X-Account: 7"]}, "INVITE"),
        ("headers: [{name: X-Tier, value: gold}]", {"extra": ["X-Tier:   gold  "]}, "INVITE"),
        (
            "headers: [{name: Diversion, pattern: reason=busy}]",
            {"extra": ["Diversion: <sip:a@b>;reason=busy"]},
            "INVITE",
        ),
        ("listeners: [inside]", {"listener": 1}, "INVITE"),
    ],
)
def test_a_rule_takes_the_calls_that_it_speaks_of_and_no_others(rule, call, method):
    with peers(3) as (caller, special, other):
        text = CONFIG % "" + GROUP % ("special", 5, f"{{{rule}}}", member(special), "")
        with served(text + GROUP % ("other", 0, "", member(other), "")) as core:
            extra = call.pop("extra", [])
            _Call(caller, core, *extra, **call).begin(method)
            assert special.receive().method == method
            plain = _Call(caller, core)
            plain.begin()
            assert other.receive().get("Call-ID") == plain.call_id


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ("to: {user: '100', host: example.com}", True),
        ("to: {user: '101'}", False),
        ("from: {userPattern: ^call, host: example.org}", True),
        ("from: {host: example.com}", False),
    ],
)
def test_a_rule_looks_into_to_and_from(rule, fits):
    with peers(3) as (caller, special, other):
        text = CONFIG % "" + GROUP % ("special", 5, f"{{{rule}}}", member(special), "")
        with served(text + GROUP % ("other", 0, "", member(other), "")) as core:
            _Call(caller, core).begin()
            assert (special if fits else other).receive().method == "INVITE"


def test_a_backup_is_used_last_whatever_its_tier():
    with peers(3) as (caller, backup, first):
        members = ", ".join((member(backup, "backup", ", backup: true, priority: 9"), member(first, "first")))
        with served(CONFIG % "" + GROUP % ("ivr", 0, "", members, "")) as core:
            _Call(caller, core).begin()
            first.answer(first.receive(), "503 Maximum Calls In Progress")
            assert backup.receive().method == "INVITE"


def test_a_call_for_which_there_is_no_room_spills_into_another_group():
    with peers(3) as (caller, full, other):
        spill = "capacity: {overLimit: {action: Spill, group: spare}}"
        text = CONFIG % "" + GROUP % ("ivr", 5, "", member(full), spill)
        with served(text + GROUP % ("spare", 0, "{methods: [INFO]}", member(other), "")) as core:
            open_node(core, f"default/ivr/fs1@{full.endpoint}", sessions=99)
            _Call(caller, core).begin()
            assert other.receive().method == "INVITE"
            assert full.is_silent()


def test_a_listener_for_other_networks_refuses_with_403():
    with Peer("127.0.0.2") as node, Peer() as caller:
        text = CONFIG % ", allow: [192.0.2.0/24]" + GROUP % ("ivr", 0, "", member(node), "")
        with served(text) as core:
            _Call(caller, core).begin()
            caller.expect(403)
            _Call(caller, core, listener=1).begin()
            assert node.receive().method == "INVITE"


def test_callers_and_nodes_over_tcp():
    with stream_node() as node:
        static = f'{{name: a, sip: "sip:{node.endpoint};transport=tcp"}}'
        text = CONFIG % ", transports: [TCP]" + GROUP % ("ivr", 0, "", static, "")
        with served(text) as core:
            place = json.loads(core.addresses())["listeners"][0]
            with Stream.connect((place["address"], place["port"])) as caller:
                _Call(caller, core).begin()
                with node.accept() as taken:
                    invite = taken.receive()
                    assert invite.method == "INVITE"
                    taken.answer(invite, "486 Busy Here")
                    caller.expect(486)


def test_connections_of_one_source_are_limited():
    with Peer("127.0.0.2") as node:
        text = CONFIG % ", transports: [TCP]" + "  tcp: {maxConnectionsPerSource: 1}\n"
        with served(text + GROUP % ("ivr", 0, "", member(node), "")) as core:
            place = json.loads(core.addresses())["listeners"][0]
            first = Stream.connect((place["address"], place["port"]))
            with first, Stream.connect((place["address"], place["port"])) as second:
                assert second.is_closed()
                _Call(first, core).begin()
                assert node.receive().method == "INVITE"


def test_requests_too_large_for_a_datagram_go_over_tcp_where_a_group_says_so():
    with Peer("127.0.0.2") as node, socket.create_server((node.host, node.port)) as listening, Peer() as caller:
        listening.settimeout(WAIT)
        with served(CONFIG % "" + GROUP % ("ivr", 0, "", member(node), "sip: {largeRequests: TCP}")) as core:
            _Call(caller, core).begin()
            assert node.receive().method == "INVITE"
            large = _Call(caller, core, f"X-Long: {'x' * 1400}")
            large.begin()
            connected, _ = listening.accept()
            with Stream(connected, node.endpoint) as taken:
                assert taken.receive().get("Call-ID") == large.call_id


def test_a_node_without_room_in_every_resource_is_passed_by():
    with peers(3) as (caller, small, large):
        rules = '{requestUri: {userPattern: "^conf"}, resources: [conf]}, {}'
        members = f"{member(small, 'small', ', resources: [{name: conf, limit: 0}]')}, {member(large, 'large')}"
        rest = "capacity: {legsPerCall: 1, resources: [{name: ch, source: Reported}, {name: conf, limit: 2}]}"
        with served(CONFIG % "" + GROUP % ("ivr", 0, rules, members, rest)) as core:
            for _ in range(2):
                _Call(caller, core, uri="sip:conf1@example.com").begin()
                large.answer(large.receive(), "180 Ringing")
                caller.expect(180)
            _Call(caller, core, uri="sip:conf1@example.com").begin()
            caller.expect(503)
            assert small.is_silent()


def test_a_replica_holds_to_its_part_of_a_limit():
    with peers(2) as (caller, node):
        rest = "capacity: {resources: [{name: conf, limit: 3}]}"
        text = CONFIG % "" + GROUP % ("ivr", 0, "{resources: [conf]}", member(node), rest)
        with served(text, part=Part(2, 1)) as core:
            _Call(caller, core).begin()
            node.answer(node.receive(), "180 Ringing")
            caller.expect(180)
            _Call(caller, core).begin()
            caller.expect(503)


def test_calls_from_a_node_leave_by_its_group_and_nowhere_else():
    with Peer("127.0.0.2") as node, Peer("127.0.0.3") as other, Peer("127.0.0.4") as carrier:
        egress = f'egress: {{listener: inside, nextHops: [{{sip: "sip:{carrier.endpoint}"}}]}}'
        text = CONFIG % "" + GROUP % ("ivr", 0, "", member(node), egress)
        with served(text + GROUP % ("none", 0, "{methods: [INFO]}", member(other), "")) as core:
            addresses = json.loads(core.addresses())
            side = (addresses["node_side"]["address"], addresses["node_side"]["port"])
            allowed, refused = _Call(node, core), _Call(other, core)
            allowed.to = refused.to = side
            allowed.begin()
            invite = carrier.receive()
            assert invite.method == "INVITE"
            assert invite.source[1] == addresses["listeners"][1]["port"]
            refused.begin()
            other.expect(403)


def next_invite(*nodes: Peer) -> tuple[Peer, Message]:
    """The next INVITE at any of the nodes, and which; what ends the calls before is passed by."""
    while True:
        ready, _, _ = select.select([node.socket for node in nodes], [], [], WAIT)
        assert ready
        node = next(node for node in nodes if node.socket in ready)
        request = node.receive()
        if request.method == "INVITE":
            return node, request


def test_a_key_leads_to_one_node_without_any_memory():
    with peers(3) as (caller, one, two):
        members = f"{member(one, 'one')}, {member(two, 'two')}"
        rest = "routing: {mode: Stateless, algorithm: Hash, hashOn: {type: RequestURI, userOnly: true}}"
        with served(CONFIG % "" + GROUP % ("ivr", 0, "", members, rest)) as core:
            taken = set()
            for number in range(24):  # all of them lead to the same node once in 2^23
                nodes = set()
                for host in ("example.com", "example.org"):
                    _Call(caller, core, uri=f"sip:{number}@{host}").begin()
                    node, invite = next_invite(one, two)
                    node.answer(invite, "486 Busy Here")
                    caller.expect(486)
                    nodes.add(node.endpoint)
                assert len(nodes) == 1
                taken |= nodes
            assert len(taken) == 2
