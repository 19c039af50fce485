"""Explanations by the packet core: attributes or a pasted message, read and placed as a received request is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from core_calls import group, open_node, settings, snapshot

from switchtender._core import ConfigError, Core

ONE, OTHER = ("fs1", "127.0.0.2:5060"), ("fs2", "127.0.0.3:5060", "TCP")

MESSAGE = """\
INVITE sip:conf7@example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1
Max-Forwards: 70
f: <sip:alice@example.org>;tag=1
t: "Conference" <sip:conf7@example.com>
i: 77@192.0.2.9
CSeq: 1 INVITE
X-Tenant: gold
Content-Length: 0
"""


@pytest.fixture
def core() -> Iterator[Core]:
    made = Core(json.dumps(settings()).encode())
    yield made
    made.stop(0)


def apply(core: Core, *nodes: Any, **changes: Any) -> None:
    core.apply(snapshot(*nodes, **changes))
    for uid, *_ in nodes:
        open_node(core, uid)


def ask(core: Core, **question: Any) -> dict[str, Any]:
    return json.loads(core.explain(json.dumps(question).encode()))


RULES = {
    "sources": {"sources": ["192.0.2.0/24"]},
    "user": {"request_uri": {"user_pattern": "^conf"}},
    "from": {"from": {"user": "alice"}},
    "to": {"to": {"host": "example.com"}},
    "method": {"methods": ["INVITE"]},
    "header": {"headers": [{"name": "X-Tenant", "value": "gold"}]},
}


@pytest.mark.parametrize("rule", RULES)
def test_a_pasted_message_and_its_attributes_match_alike(core, rule):
    apply(core, ONE, match=[{"request_uri": {"user": "nobody"}}, RULES[rule]])
    attributes = {
        "request_uri": "sip:conf7@example.com",
        "from": "sip:alice@example.org",
        "to": "sip:conf7@example.com",
        "call_id": "77@192.0.2.9",
        "headers": {"x-tenant": "gold"},
        "source": "192.0.2.9",
    }
    for question in (attributes, {"message": MESSAGE, "source": "192.0.2.9"}):
        answer = ask(core, **question)
        assert (answer["rule"], answer["matches"], answer["choice"]["uid"]) == (1, True, "fs1")
    missing = ask(core, request_uri="sip:x@elsewhere", method="OPTIONS")
    assert (missing["group"], missing["matches"], missing["reason"]) == (None, False, "NoGroup")


def test_the_key_of_a_call_leads_to_its_node_every_time(core):
    apply(core, ONE, OTHER, algorithm="Hash", hash_on={"type": "CallID", "name": None, "user_only": False})
    answers = [ask(core, message=MESSAGE) for _ in range(5)]
    assert len({(answer["hash"], answer["choice"]["uid"]) for answer in answers}) == 1
    assert answers[0]["hash"] == ask(core, request_uri="sip:a@b", call_id="77@192.0.2.9")["hash"]
    assert answers[0]["hash"] != ask(core, request_uri="sip:a@b", call_id="78@192.0.2.9")["hash"]


def test_a_registration_belongs_to_one_node_by_its_address_of_record_full_or_not(core):
    apply(core, ONE, OTHER)
    register = {"request_uri": "sip:example.com", "method": "REGISTER"}
    asked = {user: ask(core, to=f"sip:{user}@example.com", **register) for user in ("a", "b", "c", "d", "e", "f")}
    assert {answer["choice"]["uid"] for answer in asked.values()} == {"fs1", "fs2"}
    for uid in ("fs1", "fs2"):
        open_node(core, uid, sessions=99)
    for user, answer in asked.items():
        again = ask(core, to=f"sip:{user}@example.com", **register)
        assert (again["choice"], again["hash"]) == (answer["choice"], answer["hash"])
    assert {one["why"] for one in again["candidates"]} == {"is where it belongs", "has no room"}


def test_every_candidate_says_why(core):
    resources = [{"name": "ch", "limited": False}, {"name": "conf", "limited": True}]
    members = [
        {"node": 0, "weight": 1.0, "priority": 0, "draining": False, "limits": {"conf": 0}},
        {"node": 1, "weight": 2.0, "priority": 0, "draining": False, "limits": {"conf": 3}},
    ]
    rule = {"request_uri": {"user_pattern": "^conf"}, "resources": ["ch", "conf"]}
    apply(core, ONE, OTHER, resources=resources, members=members, match=[rule])
    answer = ask(core, message=MESSAGE)
    assert answer["wanted"] == {"legs": 1, "resources": ["conf"], "emergency": False}
    first, second = answer["candidates"]
    assert (first["verdict"], first["taken"], first["resources"]) == (
        "Resource",
        False,
        {"conf": {"in_use": 0, "limit": 0}},
    )
    assert first["why"] == "has none left of a resource that the call wants"
    assert (second["taken"], second["why"], second["transport"]) == (True, "takes the call", "TCP")
    assert (second["weight"], second["weight_now"], second["score"]) == (2.0, 2.0, 1.0)
    shown = {node["uid"]: node["resources"] for node in json.loads(core.nodes())["nodes"]}
    assert shown == {"fs1": {"conf": {"in_use": 0, "limit": 0}}, "fs2": {"conf": {"in_use": 0, "limit": 3}}}


def test_a_named_group_is_asked_whichever_would_match(core):
    apply(core, ONE, match=[{"request_uri": {"user": "7"}}])
    answer = ask(core, request_uri="sip:8@example.com", group="voice/ivr")
    assert (answer["matches"], answer["choice"]["uid"]) == (False, "fs1")
    with pytest.raises(ConfigError, match="no such group"):
        ask(core, request_uri="sip:8@example.com", group="voice/none")


def test_where_a_call_spills_to_is_shown(core):
    document = json.loads(snapshot(ONE, OTHER))
    spill = {"action": "Spill", "group": 1, "status": 503, "retry_after_s": [5, 15]}
    full = group(1, over_limit=spill)
    member = {"node": 1, "weight": 1.0, "priority": 0, "draining": False}
    other = group(0, name="overflow", match=[{"request_uri": {"user": "never"}}], members=[member])
    core.apply(json.dumps({**document, "groups": [full, other]}).encode())
    open_node(core, "fs1", sessions=99)
    open_node(core, "fs2")
    answer = ask(core, request_uri="sip:8@example.com")
    assert answer["group"]["name"] == "ivr"
    assert [one["verdict"] for one in answer["candidates"]] == ["Full"]
    assert [one["taken"] for one in answer["spill"]["candidates"]] == [True]
    assert (answer["choice"]["uid"], answer["choice"]["group"]["name"]) == ("fs2", "overflow")


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        ({"message": "SIP/2.0 200 OK"}, "/message"),
        ({"message": "hello"}, "/message"),
        ({"request_uri": "sip:a@b", "from": "sip:a@b\r\nX: y"}, "/from"),
        ({"request_uri": "sip:a@b", "headers": {"a:b": "c"}}, "/headers/a:b"),
        ({"request_uri": "sip:a@b", "headers": {"a": 7}}, "/headers/a"),
        ({"request_uri": "sip:a@b", "listener": "inside"}, "/listener"),
    ],
)
def test_what_cannot_be_read_is_named(core, question, pointer):
    with pytest.raises(ConfigError) as refused:
        ask(core, **question)
    assert refused.value.args[0] == pointer
