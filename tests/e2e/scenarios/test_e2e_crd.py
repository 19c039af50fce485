"""The custom resources on a real API server: taken whole, and each mistake refused in words that its author can use.

Nothing of this can be had offline: patterns, addresses and durations are judged by the API server's own CEL.
"""

import json

import pytest

from switchtender_api.crd import KINDS, custom_resource
from switchtender_api.objects import dump_member, dump_policy, read_group, read_set
from switchtender_api.problems import format_path
from tests.e2e.providers.cluster import APPLY, ApiError, CommandError

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUPS = "/apis/switchtender.dev/v1alpha1/namespaces/{}/balancergroups"
SETS = "/apis/switchtender.dev/v1alpha1/namespaces/{}/destinationsets"
API_VERSION = "switchtender.dev/v1alpha1"
PODS = {"selector": {"matchLabels": {"app": "freeswitch"}}}
SECRET = {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}}

EVERYTHING = {
    "balancer": "default",
    "match": {
        "priority": 10,
        "rules": [
            {"requestUri": {"userPattern": "^conf"}, "resources": ["ch", "conf"]},
            {"sources": ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::1"]},
            {
                "requestUri": {"user": "112", "host": "sip.example.com"},
                "to": {"userPattern": "^1"},
                "from": {"host": "2001:db8::9", "user": None},
                "methods": ["INVITE", "MESSAGE"],
                "headers": [
                    {"name": "X-Account"},
                    {"name": "X-Tier", "value": "gold"},
                    {"name": "Diversion", "pattern": "reason=busy", "value": None},
                ],
                "listeners": ["public"],
                "resources": ["ch"],
                "emergency": True,
            },
        ],
    },
    "members": {
        **PODS,
        "static": [
            {
                "name": "fs1",
                "sip": "sip:192.168.1.38",
                "load": "fs://192.168.1.38",
                "weight": 10,
                "priority": 0,
                "backup": True,
                "resources": [{"name": "conf", "limit": 5}],
                "drain": "2026-03-01T22:00:00Z",
            },
            {"name": "FS_2.x", "sip": "SIP:[2001:db8::1]:5080;transport=udp", "load": "fs://u%40d@[::1]:8021"},
            {"name": "fs3", "sip": "sip:fs3.example.com", "load": None, "drain": None},
        ],
    },
    "sip": {
        "port": 5060,
        "transport": "UDP",
        "addressFrom": {"type": "PodIP", "name": None},
        "ipFamily": "IPv4",
        "largeRequests": "TCP",
    },
    "esl": {"port": 8021, "user": None, **SECRET},
    "routing": {
        "mode": "Stateful",
        "algorithm": "LeastLoad",
        "hashOn": None,
        "weightsFrom": None,
        "highWater": None,
        "score": "busy-hour",
        "failover": {
            "attempts": 3,
            "retryOn": ["OwnRefusal", "410", "Timeout", "Transport"],
            "firstResponseTimeout": "2s",
            "progressTimeout": "1m30s",
            "coolDown": {"min": "500ms", "max": "2s"},
        },
        "timerC": "181s",
    },
    "capacity": {
        "resources": [{"name": "ch", "source": "Reported"}, {"name": "conf", "source": None, "limit": 10}],
        "maxSessions": None,
        "headroom": "Auto",
        "emergencyReserve": 5,
        "legsPerCall": 2,
        "queue": {"maxWait": "500ms"},
        "callExpiry": "4h",
        "overLimit": {"action": "Reject", "status": 503, "group": None, "retryAfter": {"min": "5s", "max": "15s"}},
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
            "codes": ["200", "4xx"],
            "from": "sip:probe@example.com",
        },
        "ejection": {"failures": 5, "duration": "30s", "maxDuration": "5m", "maxPercent": 50},
        "slowStart": "30s",
    },
    "drain": {"timeout": "2h", "onTimeout": "Hold", "pauseNode": False},
    "egress": {
        "listener": "public",
        "nextHops": [{"sip": "sip:carrier.example.com", "priority": 1, "weight": 3}, {"sip": "sip:[2001:db8::7]:5062"}],
        "group": None,
        "requestUri": None,
    },
}

TAKEN = {
    "the least": {},
    "a headroom by number": {"capacity": {"headroom": 0}},
    "an age by number": {"health": {"staleAfter": "5s"}},
    "only static members": {"members": {"static": [{"name": "a", "sip": "sip:192.0.2.1"}]}},
    "a header": {"routing": {"algorithm": "Hash", "hashOn": {"type": "Header", "name": "X-Account", "userOnly": True}}},
    "weights by hand": {"routing": {"algorithm": "Weighted", "weightsFrom": "Static"}},
    "a high-water mark": {"routing": {"algorithm": "Packed", "highWater": 80}},
    "no probing": {"health": {"options": {"interval": "0s"}}},
    "no probing, by null": {"health": {"options": None}},
    "no ejection, no slow start, no wait": {
        "health": {"ejection": {"failures": 0}, "slowStart": "0s"},
        "capacity": {"queue": {"maxWait": "0s"}},
    },
    "calls that leave to a group": {"egress": {"group": "other"}},
    "calls that leave by their URI": {"egress": {"requestUri": {"networks": ["198.51.100.0/24"]}}},
    "a stateless group": {
        "routing": {
            "mode": "Stateless",
            "algorithm": "Hash",
            "hashOn": {"type": "To", "userOnly": True},
            "score": None,
        },
        "capacity": {
            "resources": [{"name": "ch", "source": "Reported"}],
            "headroom": "Auto",
            "maxSessions": None,
            "emergencyReserve": 0,
            "queue": {"maxWait": "0s"},
            "overLimit": {"status": 503},
        },
    },
    "an annotation": {"sip": {"addressFrom": {"type": "Annotation", "name": "example.com/sip"}}},
    "another group": {"capacity": {"overLimit": {"action": "Spill", "group": "other"}}},
    "bounds by one end, beside the default": {"capacity": {"overLimit": {"retryAfter": {"min": "15s"}}}},
    "an empty label": {"members": {"selector": {"matchLabels": {"example.com/a.b": ""}}}},
    "a drain that pauses the node and sets it free": {"drain": {"pauseNode": True, "onTimeout": "Release"}},
}


def pattern(text):
    return {"match": {"rules": [{"requestUri": {"userPattern": text}}]}}


def node(**fields):
    return {"members": {"static": [{"name": "a", "sip": "sip:192.0.2.1", **fields}]}, "esl": SECRET}


ODD = {
    "a network in capitals": {"match": {"rules": [{"sources": ["2001:DB8::/32", "::/0", "0.0.0.0/0", "1.2.3.4/32"]}]}},
    "a user with marks": node(load="fs://u/x?y@a.example.com"),
    "a named host with a last dot": node(sip="sip:a."),
    "a drain with an offset": node(drain="2026-03-01t22:00:00.123456789+01:00"),
    "every unit": {"drain": {"timeout": "1h1m1s1ms"}},
    "zero": {"drain": {"timeout": "0s"}},
    "a count": pattern("^[0-9]{2,5}$"),
    "a named group": pattern("(?P<area>0[1-9])"),
    "a part in any case": pattern("(?i:conf)\\-"),
    "sets and classes": pattern("[^a-z.\\]]+\\d\\w*?\\b"),
}
"""What a file may say too, at the margins: the API server refuses none of it."""

LATER = {
    "a wildcard": (node(sip="sip:0.0.0.0"), "spec.members.static[0].sip"),
    "half an address": (node(sip="sip:1.2.3"), "spec.members.static[0].sip"),
    "a port beyond all": (node(sip="sip:1.2.3.4:65536"), "spec.members.static[0].sip"),
    "a broken escape": (node(load="fs://u%zz@a"), "spec.members.static[0].load"),
    "an address twice": (
        {"members": {"static": [{"name": "a", "sip": "sip:192.0.2.1"}, {"name": "b", "sip": "sip:192.0.2.1:5060"}]}},
        "spec.members.static[1].sip",
    ),
    "a member's unknown resource": (
        node(resources=[{"name": "conf", "limit": 1}]),
        "spec.members.static[0].resources[0].name",
    ),
    "a host that is none": (
        {"match": {"rules": [{"requestUri": {"host": "a:b"}}]}},
        "spec.match.rules[0].requestUri.host",
    ),
    "a stateless member with a limit": (
        {
            "members": {
                "static": [{"name": "a", "sip": "sip:192.0.2.1", "resources": [{"name": "ch", "limit": 1}]}],
            },
            "routing": {"mode": "Stateless", "algorithm": "Hash"},
            "capacity": {"resources": [{"name": "ch", "source": "Reported"}]},
        },
        "spec.members.static[0].resources[0]",
    ),
    "a pattern of RE2 alone": (pattern("[[:alpha:]]"), "spec.match.rules[0].requestUri.userPattern"),
    "a pattern with flags": (pattern("(?i)conf"), "spec.match.rules[0].requestUri.userPattern"),
}
"""What no rule of the API server sees: stored, and told by the condition Accepted."""

STATIC = "spec.members.static"
REFUSED = {
    # shape
    "no members": ({"members": None}, "spec.members: Required value"),
    "empty members": (
        {"members": {}},
        "spec.members: Invalid value: a group without members serves nobody: selector, static, or both",
    ),
    "empty static members": ({"members": {"static": []}}, "a group without members serves nobody"),
    "a misspelt field": ({"algoritm": "Hash"}, 'unknown field "spec.algoritm"'),
    "a number as a text": ({"sip": {"port": "5060"}}, "spec.sip.port in body must be of type integer"),
    "a flag as a text": ({"drain": {"pauseNode": "true"}}, "spec.drain.pauseNode in body must be of type boolean"),
    # one value
    "an algorithm in lower case": (
        {"routing": {"algorithm": "leastload"}},
        'spec.routing.algorithm: Unsupported value: "leastload": supported values: "LeastLoad", "Weighted"',
    ),
    "a port out of range": ({"sip": {"port": 65536}}, "spec.sip.port in body should be less than or equal to 65535"),
    "a duration without a unit": (
        {"drain": {"timeout": "120"}},
        'spec.drain.timeout: Invalid value: "120": a duration from 0s to 168h, such as 500ms, 2s or 1h30m',
    ),
    "a duration beyond its bounds": ({"health": {"pollInterval": "2m"}}, "a duration from 200ms to 60s"),
    "a duration beyond all bounds": ({"drain": {"timeout": "999999h9999999m"}}, "a duration from 0s to 168h"),
    "half a duration": ({"routing": {"timerC": "1m30"}}, "a duration from 10s to 1h"),
    "a fraction of a second": ({"health": {"pollInterval": "1.5s"}}, "a duration from 200ms to 60s"),
    "an age by another word": ({"health": {"staleAfter": "auto"}}, "Auto or a duration from 1s to 10m"),
    "a headroom by another word": (
        {"capacity": {"headroom": "auto"}},
        'spec.capacity.headroom: Invalid value: "auto": Auto or a whole number from 0 to 1000000',
    ),
    "a headroom below nothing": ({"capacity": {"headroom": -1}}, "Auto or a whole number from 0 to 1000000"),
    "a code that is no final one": (
        {"routing": {"failover": {"retryOn": ["180"]}}},
        "OwnRefusal, Timeout, Transport, or a final status code",
    ),
    "a network with host bits": (
        {"match": {"rules": [{"sources": ["192.0.2.1/24"]}]}},
        "a network such as 192.0.2.0/24, or one address",
    ),
    "a network that is none": ({"match": {"rules": [{"sources": ["example.com"]}]}}, "spec.match.rules[0].sources[0]"),
    "a pattern that is not closed": (
        {"match": {"rules": [{"requestUri": {"userPattern": "(a"}}]}},
        "a regular expression of at most 512 ASCII characters without look-around and back-references",
    ),
    "a pattern with look-ahead": (
        {"match": {"rules": [{"requestUri": {"userPattern": "^(?!conf)"}}]}},
        "without look-around and back-references",
    ),
    "a pattern with a back-reference": (
        {"match": {"rules": [{"requestUri": {"userPattern": "(a)\\1"}}]}},
        "without look-around and back-references",
    ),
    "a label that is none": (
        {"members": {"selector": {"matchLabels": {"app": "a b"}}}},
        "at most 63 letters, digits, dots, dashes",
    ),
    "a label's name that is none": (
        {"members": {"selector": {"matchLabels": {"a b": "c"}}}},
        "a label's name, such as app or example.com/app",
    ),
    "a node at no address": (
        {"members": {"static": [{"name": "a", "sip": "192.0.2.1"}]}},
        f"{STATIC}[0].sip: Invalid value: sip:host[:port][;transport=udp|tcp]",
    ),
    "a node with a user": (
        {"members": {"static": [{"name": "a", "sip": "sip:100@192.0.2.1"}]}},
        "sip:host[:port][;transport=udp|tcp]",
    ),
    "a drain at no time": (
        {"members": {"static": [{"name": "a", "sip": "sip:192.0.2.1", "drain": "tomorrow"}]}},
        f"{STATIC}[0].drain in body must be of type date-time",
    ),
    # several values
    "a member twice": (
        {"members": {"static": [{"name": "a", "sip": "sip:192.0.2.1"}, {"name": "a", "sip": "sip:192.0.2.2"}]}},
        f'{STATIC}[1]: Duplicate value: {{"name":"a"}}',
    ),
    "a resource twice": (
        {"capacity": {"resources": [{"name": "ch", "limit": 1}, {"name": "ch", "limit": 2}]}},
        'spec.capacity.resources[1]: Duplicate value: {"name":"ch"}',
    ),
    "a reason twice": (
        {"routing": {"failover": {"retryOn": ["Timeout", "Timeout"]}}},
        'retryOn[1]: Duplicate value: "Timeout"',
    ),
    "a resource without a measure": (
        {"capacity": {"resources": [{"name": "ch"}]}},
        "spec.capacity.resources[0]: Invalid value: exactly one of source, limit",
    ),
    "a resource with two measures": (
        {"capacity": {"resources": [{"name": "ch", "source": "Reported", "limit": 1}]}},
        "exactly one of source, limit",
    ),
    "a rule with an unknown resource": (
        {"match": {"rules": [{"resources": ["conf"]}]}, "capacity": {"resources": [{"name": "ch", "limit": 1}]}},
        "spec.match: Invalid value: a rule names a resource that is not in capacity.resources",
    ),
    "an annotation without a name": (
        {"sip": {"addressFrom": {"type": "Annotation"}}},
        "spec.sip.addressFrom.name: Invalid value: a name for Annotation and NetworkStatus, none for PodIP and HostIP",
    ),
    "a name without an annotation": (
        {"sip": {"addressFrom": {"name": "a"}}},
        "a name for Annotation and NetworkStatus",
    ),
    "a header without a name": (
        {"routing": {"algorithm": "Hash", "hashOn": {"type": "Header"}}},
        "spec.routing.hashOn.name: Invalid value: a name for Header, none otherwise",
    ),
    "a name without a header": (
        {"routing": {"algorithm": "Hash", "hashOn": {"type": "From", "name": "a"}}},
        "a name for Header, none otherwise",
    ),
    "Spill without a group": (
        {"capacity": {"overLimit": {"action": "Spill"}}},
        "spec.capacity.overLimit.group: Invalid value: a group for Spill, none otherwise",
    ),
    "a group without Spill": ({"capacity": {"overLimit": {"group": "other"}}}, "a group for Spill, none otherwise"),
    "Spill into itself": (
        {"capacity": {"overLimit": {"action": "Spill", "group": "ivr"}}},
        "a group cannot spill into itself: spec.capacity.overLimit.group",
    ),
    "a cool-down reversed": (
        {"routing": {"failover": {"coolDown": {"min": "3s"}}}},
        "spec.routing.failover.coolDown.min: Invalid value: min no greater than max",
    ),
    "Retry-After reversed": (
        {"capacity": {"overLimit": {"retryAfter": {"min": "20s", "max": "5s"}}}},
        "min no greater than max",
    ),
    # matching
    "a condition without content": (
        {"match": {"rules": [{"from": {}}]}},
        "spec.match.rules[0].from: Invalid value: user, host or userPattern",
    ),
    "a user with a space": ({"match": {"rules": [{"to": {"user": "a b"}}]}}, "printable ASCII without spaces and @"),
    "a method in lower case": (
        {"match": {"rules": [{"methods": ["invite"]}]}},
        "a method in capitals, such as INVITE, REGISTER or MESSAGE",
    ),
    "a method twice": ({"match": {"rules": [{"methods": ["INVITE", "INVITE"]}]}}, "Duplicate value"),
    "a header with value and pattern": (
        {"match": {"rules": [{"headers": [{"name": "A", "value": "b", "pattern": "c"}]}]}},
        "spec.match.rules[0].headers[0].pattern: Invalid value: value, pattern, or neither",
    ),
    "a header with a colon": (
        {"match": {"rules": [{"headers": [{"name": "A:"}]}]}},
        "the name of a header field, such as X-Account",
    ),
    "a value that no header has": (
        {"match": {"rules": [{"headers": [{"name": "A", "value": " b"}]}]}},
        "one line without spaces at its ends, not empty",
    ),
    "a header's pattern that is not closed": (
        {"match": {"rules": [{"headers": [{"name": "A", "pattern": "(a"}]}]}},
        "without look-around and back-references",
    ),
    # what one algorithm alone reads
    "hashOn without Hash": (
        {"routing": {"hashOn": {"type": "To"}}},
        "spec.routing.hashOn: Invalid value: hashOn is for algorithm Hash alone",
    ),
    "weightsFrom without Weighted": (
        {"routing": {"algorithm": "Random", "weightsFrom": "Static"}},
        "weightsFrom is for algorithm Weighted alone",
    ),
    "highWater without Packed": ({"routing": {"highWater": 80}}, "highWater is for algorithm Packed alone"),
    "a user part of a number": (
        {"routing": {"algorithm": "Hash", "hashOn": {"userOnly": True}}},
        "spec.routing.hashOn.userOnly: Invalid value: userOnly for From, To, RequestURI, Header alone",
    ),
    # health
    "probing too often": ({"health": {"options": {"interval": "10ms"}}}, "0s or a duration from 1s to 10m"),
    "a provisional code of a probe": ({"health": {"options": {"codes": ["100"]}}}, "a final status code in quotes"),
    "a probe from no URI": ({"health": {"options": {"from": "probe"}}}, "sip:[user@]host[:port]"),
    "ejection reversed": (
        {"health": {"ejection": {"duration": "10m"}}},
        "spec.health.ejection.duration: Invalid value: duration no greater than maxDuration",
    ),
    # egress
    "egress nowhere": (
        {"egress": {"listener": "public"}},
        "spec.egress: Invalid value: exactly one of nextHops, group, requestUri",
    ),
    "egress two ways": (
        {"egress": {"nextHops": [{"sip": "sip:192.0.2.9"}], "group": "other"}},
        "exactly one of nextHops, group, requestUri",
    ),
    "egress to no hop": ({"egress": {"nextHops": []}}, "exactly one of nextHops, group, requestUri"),
    "egress to no network": ({"egress": {"requestUri": {"networks": []}}}, "should have at least 1 items"),
    "egress to itself": ({"egress": {"group": "ivr"}}, "calls cannot leave to the nodes that they come from"),
    "egress to a group by a listener": (
        {"egress": {"group": "other", "listener": "public"}},
        "spec.egress.listener: Invalid value: a listener for nextHops and requestUri alone",
    ),
    "egress with a user": (
        {"egress": {"nextHops": [{"sip": "sip:a@192.0.2.9"}]}},
        "spec.egress.nextHops[0].sip: Invalid value: sip:host[:port][;transport=udp|tcp]",
    ),
    # a stateless proxy
    "stateless without Hash": (
        {"routing": {"mode": "Stateless"}},
        "spec.routing.algorithm: Invalid value: mode Stateless: algorithm: only Hash leads a retransmission",
    ),
    "stateless on what an ACK lacks": (
        {"routing": {"mode": "Stateless", "algorithm": "Hash", "hashOn": {"type": "AuthUser"}}},
        "mode Stateless: routing.hashOn.type: a CANCEL and an ACK do not carry it",
    ),
    **{
        f"stateless with {what}": (
            {**spec, "routing": {"mode": "Stateless", "algorithm": "Hash", **spec.get("routing", {})}},
            f"mode Stateless: {what}: ",
        )
        for what, spec in {
            "routing.score": {"routing": {"score": "a"}},
            "routing.failover": {"routing": {"failover": {"attempts": 1}}},
            "routing.timerC": {"routing": {"timerC": "60s"}},
            "capacity.maxSessions": {"capacity": {"maxSessions": 5}},
            "capacity.headroom": {"capacity": {"headroom": 0}},
            "capacity.emergencyReserve": {"capacity": {"emergencyReserve": 1}},
            "capacity.callExpiry": {"capacity": {"callExpiry": "1h"}},
            "capacity.queue.maxWait": {"capacity": {"queue": {"maxWait": "500ms"}}},
            "capacity.overLimit.action": {"capacity": {"overLimit": {"action": "Allow"}}},
            "capacity.resources": {"capacity": {"resources": [{"name": "conf", "limit": 1}]}},
            "match.rules": {"match": {"rules": [{"emergency": True}]}},
        }.items()
    },
    # passwords
    "a password from a variable": (
        {"esl": {"passwordFrom": {"env": "ESL"}}},
        "spec.esl.passwordFrom: Invalid value: in Kubernetes a password comes from a Secret only: secretKeyRef",
    ),
    "a password from a file": (
        {"esl": {"passwordFrom": {"file": "/a"}}},
        "in Kubernetes a password comes from a Secret only",
    ),
    "a password from two places": (
        {"esl": {"passwordFrom": {"file": "/a", **SECRET["passwordFrom"]}}},
        "comes from a Secret only",
    ),
    "a password in a URL": (
        {
            "members": {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://:hunter2@192.0.2.1"}]},
            "esl": SECRET,
        },
        f"{STATIC}[0].load: Invalid value: fs://[user@]host[:port] in Kubernetes, special characters of the user as",
    ),
    "a password with an @ in a URL": (
        {
            "members": {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://:hunter2@hunter2@192.0.2.1"}]},
            "esl": SECRET,
        },
        "the password comes from a Secret only",
    ),
    "a password in a URL without its @": (
        {
            "members": {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://:hunter2192.0.2.1"}]},
            "esl": SECRET,
        },
        "the password comes from a Secret only",
    ),
    "a password in the place of a URL": (
        {"members": {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "hunter2"}]}, "esl": SECRET},
        "the password comes from a Secret only",
    ),
    "a URL with a password in the place of another": (
        {"members": {"static": [{"name": "a", "sip": "fs://:hunter2@192.0.2.1"}]}},
        f"{STATIC}[0].sip: Invalid value: sip:host[:port][;transport=udp|tcp]",
    ),
    "a password in the place of a Secret": (
        {"esl": {"passwordFrom": {"secretKeyRef": {"name": "hunter2!"}}}},
        "spec.esl.passwordFrom.secretKeyRef.name: Invalid value: a Secret's name: lower-case letters, digits, dashes",
    ),
    "a password in the place of a Secret's key": (
        {"esl": {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "hunter2!"}}}},
        "spec.esl.passwordFrom.secretKeyRef.key: Invalid value: a Secret's key",
    ),
    "a password in the place of a variable": (
        {"esl": {"passwordFrom": {"env": "hunter2!"}}},
        "in Kubernetes a password comes from a Secret only",
    ),
    "no password anywhere": (
        {"members": {"static": [{"name": "a", "sip": "sip:192.0.2.1", "load": "fs://192.0.2.1"}]}},
        "the Event Sockets of static members need a password: spec.esl.passwordFrom.secretKeyRef",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def definitions(cluster):
    """Both definitions, established; they stay, as other scenarios use them."""
    for kind in KINDS:
        wanted = custom_resource(kind)
        path = f"{CRDS}/{wanted['metadata']['name']}"
        query = {"fieldManager": "switchtender-e2e", "force": "true", "fieldValidation": "Strict"}
        cluster.api("PATCH", path, wanted, content_type=APPLY, query=query)
        cluster.until(
            lambda path=path: conditions(cluster.get(path)).get("Established") == "True", f"{kind} established"
        )


def conditions(definition):
    return {
        condition["type"]: condition["status"] for condition in definition.get("status", {}).get("conditions") or []
    }


def group(name="ivr", **spec):
    spec = {"members": PODS, **spec}
    spec = {field: value for field, value in spec.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": "BalancerGroup", "metadata": {"name": name}, "spec": spec}


def tried(cluster, body, path=GROUPS):
    """What the API server would store."""
    return cluster.api("POST", path.format("default"), body, query={"dryRun": "All", "fieldValidation": "Strict"})


@pytest.mark.parametrize("kind", KINDS)
def test_the_definition_is_structural_and_served(cluster, kind):
    found = conditions(cluster.get(f"{CRDS}/{custom_resource(kind)['metadata']['name']}"))
    assert found == {"NamesAccepted": "True", "Established": "True"}


def test_a_group_with_every_field_is_taken_as_it_stands(cluster):
    stored = tried(cluster, group(**EVERYTHING))
    assert stored["spec"] == EVERYTHING
    read = read_group(stored)
    assert (read.unknown, read.findings) == ((), ())


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_right_is_taken(cluster, name):
    stored = tried(cluster, group(**TAKEN[name]))
    assert read_group(stored).findings == ()


@pytest.mark.parametrize("name", ODD)
def test_what_a_file_takes_at_the_margins_is_taken_here_too(cluster, name):
    assert read_group(tried(cluster, group(**ODD[name]))).findings == ()


@pytest.mark.parametrize("name", LATER)
def test_what_the_api_server_cannot_judge_is_found_when_it_is_read(cluster, name):
    spec, path = LATER[name]
    read = read_group(tried(cluster, group(**spec)))
    assert [format_path(finding.path) for finding in read.findings] == [path]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_in_words(cluster, name):
    spec, message = REFUSED[name]
    with pytest.raises(ApiError) as caught:
        tried(cluster, group(**spec))
    assert message in str(caught.value)
    assert caught.value.status in (400, 422)
    assert "hunter2" not in str(caught.value)
    assert "conversion error" not in str(caught.value)


def test_a_name_that_no_label_can_hold_is_refused(cluster):
    for name in ("ivr.2", "a" * 64):
        with pytest.raises(ApiError, match="the name of a group is 1 to 63 lower-case letters"):
            tried(cluster, group(name))


def test_the_api_server_writes_two_defaults_and_no_more(cluster):
    stored = tried(cluster, group())
    assert stored["spec"] == {"members": PODS, "balancer": "default", "routing": {"algorithm": "LeastLoad"}}


def test_the_balancer_of_a_group_never_changes(cluster, namespace):
    path = GROUPS.format(namespace)
    cluster.api("POST", path, group("one"))
    cluster.api("POST", path, group("two", balancer="inside"))
    assert cluster.merge(f"{path}/one", {"spec": {"match": {"priority": 3}}})["metadata"]["generation"] == 2
    for name, patch in (("one", {"balancer": "inside"}), ("two", {"balancer": None}), ("two", {"balancer": "default"})):
        with pytest.raises(ApiError, match=r"spec.balancer: Invalid value: immutable"):
            cluster.merge(f"{path}/{name}", {"spec": patch})


def test_server_side_apply_refuses_a_member_twice_and_joins_those_of_two_authors(cluster, namespace):
    def applied(manager, *names):
        static = [{"name": name, "sip": f"sip:192.0.2.{position + 1}"} for position, name in enumerate(names)]
        body = group(members={"static": static})
        query = {"fieldManager": manager}
        return cluster.api("PATCH", f"{GROUPS.format(namespace)}/ivr", body, content_type=APPLY, query=query)

    with pytest.raises(ApiError, match="duplicate entries for key"):
        applied("one", "a", "a")
    applied("one", "a")
    stored = applied("two", "b")
    assert [member["name"] for member in stored["spec"]["members"]["static"]] == ["a", "b"]


def test_status_is_written_by_itself_and_shown_in_columns(cluster, namespace):
    path = f"{GROUPS.format(namespace)}/ivr"
    cluster.api("POST", GROUPS.format(namespace), group())
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "lastTransitionTime": "2026-03-01T22:00:00Z",
    }
    status = {
        "observedGeneration": 1,
        "conditions": [
            condition,
            {**condition, "type": "Programmed", "status": "False", "reason": "Pending", "message": "1 of 2"},
        ],
        "nodes": 5,
        "ready": 4,
        "draining": 1,
        "sessions": 123,
        "capacity": 400,
        "utilization": 31,
        "nodeSummaries": [{"name": "fs-0", "state": "ready", "reason": "Reporting", "sessions": 3, "capacity": 99}],
        "truncated": False,
    }
    body = {"apiVersion": API_VERSION, "kind": "BalancerGroup", "status": status}
    stored = cluster.api(
        "PATCH", f"{path}/status", body, content_type=APPLY, query={"fieldManager": "e2e", "force": "true"}
    )
    assert (stored["status"], stored["metadata"]["generation"]) == (status, 1)
    header, row = cluster.kubectl("get", "bg", "ivr", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "NODES", "READY", "SESSIONS", "CAPACITY", "UTIL", "ALGORITHM", "AGE"]
    assert row.split()[:7] == ["ivr", "5", "4", "123", "400", "31", "LeastLoad"]
    header, row = cluster.kubectl("get", "bg", "ivr", "-n", namespace, "-o", "wide").splitlines()
    assert header.split()[8:] == ["BALANCER", "ACCEPTED", "PROGRAMMED"]
    assert row.split()[8:] == ["default", "Accepted", "Pending"]
    assert "balancergroup.switchtender.dev/ivr" in cluster.kubectl("get", "all", "-n", namespace)
    with pytest.raises(CommandError, match="NotFound"):
        cluster.kubectl("scale", "bg/ivr", "-n", namespace, "--replicas=2")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("bg", "A set of nodes, which calls go to it and how."),
        ("bg.spec.members.static.load", "In Kubernetes without a password"),
        ("bg.spec.routing.failover.firstResponseTimeout", "Default: 2s."),
        ("bg.spec.capacity.headroom", "Auto learns it"),
        ("bg.status.conditions.reason", "CamelCase"),
        ("dset.spec.members.state", "Values: Ready, NotReady, Draining."),
        ("dset.spec.policy.routing.algorithm", "How a node is chosen"),
    ],
)
def test_fields_explain_themselves(cluster, path, words):
    said = cluster.until(lambda: cluster.kubectl("explain", path, check=False), "an explanation")
    assert words in " ".join(said.split())


def destination_set(policy, *members, name="ivr"):
    spec = {"group": {"name": "ivr", "uid": "u", "generation": 1}, "policy": policy, "members": list(members)}
    return {"apiVersion": API_VERSION, "kind": "DestinationSet", "metadata": {"name": name}, "spec": spec}


MEMBER = {
    "uid": "3e0a1f5e-0000-4000-8000-000000000001",
    "name": "fs-0",
    "node": "worker-3",
    "zone": "a",
    "addresses": ["10.0.1.7"],
    "sip": {"port": 5060, "transport": "UDP"},
    "esl": {"host": "10.0.1.7", "port": 8021},
    "state": "Draining",
    "drain": {"since": "2026-03-01T22:00:00Z", "deadline": "2026-03-02T00:00:00Z", "reason": "Deleted"},
    "weight": 3,
    "backup": True,
    "resources": [{"name": "conf", "limit": 5}],
}


def test_a_set_takes_every_policy_that_a_group_may_have(cluster):
    for spec in (EVERYTHING, *TAKEN.values()):
        read = read_group(tried(cluster, group(**spec)))
        body = destination_set(dump_policy(read.group.spec), MEMBER)
        stored = tried(cluster, body, SETS)
        assert stored["spec"] == body["spec"]
        again = read_set(stored)
        assert (again.unknown, again.findings, again.skipped) == ((), (), ())
        assert dump_member(again.set.spec.members[0]) == MEMBER


def test_a_set_keeps_what_a_newer_operator_says(cluster):
    policy = {"routing": {"algorithm": "LeastLatency", "window": "3s"}, "shiny": {"a": [1]}}
    body = destination_set(policy, {**MEMBER, "state": "Hibernating", "shiny": 1}, name="ivr.2")
    stored = tried(cluster, body, SETS)
    assert stored["spec"] == body["spec"]
    assert read_set(stored).skipped == ("fs-0",)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"uid": None}, "uid"),
        ({"addresses": "10.0.1.7"}, "must be of type array"),
        ({"weight": "3"}, "must be of type integer"),
        ({"drain": {"since": "2026-03-01T22:00:00Z"}}, "deadline"),
    ],
)
def test_a_set_of_another_shape_is_refused(cluster, member, message):
    with pytest.raises(ApiError, match=message):
        tried(
            cluster,
            destination_set({}, {key: value for key, value in {**MEMBER, **member}.items() if value is not None}),
            SETS,
        )


def test_a_set_has_two_hundred_members_and_no_more(cluster):
    members = [{**MEMBER, "uid": str(number)} for number in range(201)]
    assert len(tried(cluster, destination_set({}, *members[:200]), SETS)["spec"]["members"]) == 200
    with pytest.raises(ApiError, match="must have at most 200 items"):
        tried(cluster, destination_set({}, *members), SETS)


def test_the_largest_group_fits_in_an_object(cluster):
    static = [{"name": f"n{number}", "sip": f"sip:10.{number // 250}.0.{number % 250 + 1}"} for number in range(2000)]
    assert len(json.dumps(tried(cluster, group(members={"static": static})))) < 1_500_000
