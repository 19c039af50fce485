"""The JSON schema: every field described, no word that YAML 1.1 reads as something else, defaults as the models'."""

from __future__ import annotations

import json
import re

import pytest

from switchtender_api.schema import KINDS, json_schema
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, DestinationSet

# https://yaml.org/type/bool.html and https://yaml.org/type/null.html
YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}

FIELDS_OF_THE_CONTRACT = {
    "BalancerConfig": """
        name address port transports advertise host nat nodeSide workerPorts networks sources workers limits
        maxTransactions stop deadline peers static service groups namespaces maxPriority destinations allow
        stateDir http allow tcp idleTimeout connectTimeout maxConnections maxConnectionsPerSource
        hep collector captureId passwordFrom
    """,
    "BalancerGroup": """
        balancer match priority rules requestUri userPattern resources sources members selector matchLabels
        static name sip load weight limit drain transport addressFrom type ipFamily esl port passwordFrom
        secretKeyRef env file key routing mode algorithm hashOn failover attempts retryOn
        firstResponseTimeout progressTimeout capacity source maxSessions headroom legsPerCall overLimit
        action status retryAfter min max group health pollInterval staleAfter whenStale options interval
        failures successes timeout onTimeout pauseNode observedGeneration conditions nodes ready draining
        sessions utilization nodeSummaries truncated user host to from methods headers value pattern listeners
        emergency userOnly weightsFrom highWater score queue maxWait emergencyReserve callExpiry largeRequests
        codes ejection duration maxDuration maxPercent slowStart backup egress listener nextHops networks
    """,
    "DestinationSet": """
        group uid generation policy members node zone addresses sip esl host user state drain weight
        priority backup lookup resources since deadline reason pause pausedByUs labels
    """,
}


def objects(schema):
    """Every object schema, by the name it is defined under."""
    yield "", schema
    yield from schema["$defs"].items()


def fields(schema):
    for name, definition in objects(schema):
        for field, value in definition.get("properties", {}).items():
            yield f"{name}.{field}", field, value


def enum_values(node):
    if isinstance(node, dict):
        yield from node.get("enum", ())
        if "const" in node:
            yield node["const"]
        for key, value in node.items():
            if key not in ("default", "properties"):
                yield from enum_values(value)
        for value in node.get("properties", {}).values():
            yield from enum_values(value)
    elif isinstance(node, list):
        for item in node:
            yield from enum_values(item)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind):
    schema = json_schema(kind)
    seen = list(fields(schema))
    assert len(seen) > 30
    for place, _, value in seen:
        reference = value.get("$ref", "").removeprefix("#/$defs/")
        description = value.get("description") or (schema["$defs"][reference]["description"] if reference else "")
        assert description.endswith("."), place


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_is_closed(kind):
    for name, definition in objects(json_schema(kind)):
        if definition.get("type") == "object":
            assert definition["additionalProperties"] is False, name


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_or_value_is_a_yaml_word(kind):
    schema = json_schema(kind)
    names = {field for _, field, _ in fields(schema)}
    values = {value for value in enum_values(schema) if isinstance(value, str)}
    assert "kind" in names
    assert "UDP" in values
    if kind == "BalancerGroup":
        values -= {"True", "False"}  # metav1.Condition's status: Kubernetes' own, and never written by hand
    assert not {word for word in names | values if word.lower() in YAML_WORDS}


@pytest.mark.parametrize("kind", KINDS)
def test_enum_values_are_camel_case_and_fields_lower_camel_case(kind):
    schema = json_schema(kind)
    for _, field, _ in fields(schema):
        assert re.fullmatch(r"[a-z][A-Za-z0-9]*", field), field
    for value in enum_values(schema):
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*|switchtender\.dev/v1alpha1", value), value


@pytest.mark.parametrize("kind", KINDS)
def test_the_fields_of_the_contract_are_there(kind):
    names = {field for _, field, _ in fields(json_schema(kind))}
    assert set(FIELDS_OF_THE_CONTRACT[kind].split()) <= names


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_plain_json_and_stable(kind):
    assert json.loads(json.dumps(json_schema(kind))) == json_schema(kind)


MINIMAL = [
    (BalancerConfig, {"spec": {"listeners": [{"address": "0.0.0.0"}]}}),
    (
        BalancerGroup,
        {"metadata": {"name": "a"}, "spec": {"members": {"static": [{"name": "b", "sip": "sip:192.0.2.1"}]}}},
    ),
    (DestinationSet, {"metadata": {"name": "a"}, "spec": {"group": {"name": "a", "uid": "u"}, "policy": {}}}),
]


@pytest.mark.parametrize(("model", "document"), MINIMAL)
def test_what_a_model_writes_it_reads_back(model, document):
    first = model.model_validate(document, by_alias=True, by_name=False)
    assert model.model_validate(json.loads(first.model_dump_json()), by_alias=True, by_name=False) == first


@pytest.mark.parametrize(("model", "document"), MINIMAL)
def test_models_are_values(model, document):
    value = model.model_validate(document)
    with pytest.raises(ValueError, match="frozen"):
        value.spec = None
    assert value == model.model_validate(document)


def test_defaults_are_those_of_the_contract():
    config = BalancerConfig.model_validate(MINIMAL[0][1])
    listener = {
        "name": "public",
        "address": "0.0.0.0",
        "port": 5060,
        "transports": ["UDP"],
        "advertise": None,
        "allow": [],
        "nat": False,
    }
    assert json.loads(config.model_dump_json())["spec"] == {
        "listeners": [listener],
        "nodeSide": None,
        "workers": 1,
        "limits": {"maxTransactions": 200000},
        "tcp": {
            "idleTimeout": "10m",
            "connectTimeout": "2s",
            "maxConnections": 20000,
            "maxConnectionsPerSource": 1000,
        },
        "stop": {"deadline": "3m"},
        "peers": {"static": [], "service": None},
        "groups": {"namespaces": [], "maxPriority": 1000},
        "destinations": {"allow": ["0.0.0.0/0", "::/0"]},
        "stateDir": "/var/lib/switchtender",
        "http": {
            "address": "127.0.0.1",
            "port": 8080,
            "admin": {"tokenFrom": None, "tokenReview": False},
            "tls": None,
        },
        "hep": None,
    }
    assert str(config.spec.worker_ports) == "5071-5134"
    assert str(config.spec.worker_address) == "0.0.0.0"
    group = BalancerGroup.model_validate(MINIMAL[1][1])
    member = {
        "name": "b",
        "sip": "sip:192.0.2.1",
        "load": None,
        "weight": 1,
        "priority": 0,
        "backup": False,
        "resources": [],
        "drain": None,
    }
    assert json.loads(group.model_dump_json())["spec"] == {
        "balancer": "default",
        "match": {"priority": 0, "rules": []},
        "members": {"selector": None, "static": [member]},
        "sip": {
            "port": 5060,
            "transport": "UDP",
            "addressFrom": {"type": "PodIP", "name": None},
            "ipFamily": "IPv4",
            "largeRequests": "UDP",
        },
        "esl": {"port": 8021, "user": None, "passwordFrom": None},
        "routing": {
            "mode": "Stateful",
            "algorithm": "LeastLoad",
            "hashOn": None,
            "weightsFrom": None,
            "highWater": None,
            "score": None,
            "failover": {
                "attempts": 3,
                "retryOn": ["OwnRefusal", "410", "Timeout", "Transport"],
                "firstResponseTimeout": "2s",
                "progressTimeout": "10s",
                "coolDown": {"min": "1s", "max": "2s"},
            },
            "timerC": "3m1s",
        },
        "capacity": {
            "resources": [],
            "maxSessions": None,
            "headroom": "Auto",
            "emergencyReserve": 0,
            "legsPerCall": 2,
            "queue": {"maxWait": "500ms"},
            "callExpiry": "4h",
            "overLimit": {
                "action": "Reject",
                "status": 503,
                "retryAfter": {"min": "5s", "max": "15s"},
                "group": None,
            },
        },
        "health": {
            "pollInterval": "1s",
            "staleAfter": "Auto",
            "whenStale": "Auto",
            "panicThreshold": 50,
            "options": {
                "interval": "10s",
                "timeout": "2s",
                "failures": 3,
                "successes": 2,
                "codes": [],
                "from": None,
            },
            "ejection": {"failures": 5, "duration": "30s", "maxDuration": "5m", "maxPercent": 50},
            "slowStart": "30s",
        },
        "drain": {"timeout": "2h", "onTimeout": "Hold", "pauseNode": False},
        "egress": None,
        "autoscale": None,
    }


def test_defaults_stand_as_an_author_would_write_them():
    definitions = json_schema("BalancerConfig")["$defs"]
    assert definitions["Stop"]["properties"]["deadline"]["default"] == "3m"
    assert definitions["NodeSide"]["properties"]["workerPorts"]["default"] == "5071-5134"
