"""The golden table of refusals: what a person reads for each mistake. UPDATE_GOLDEN=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchtender_api.loader import load
from switchtender_api.problems import DocumentErrors

GOLDEN = Path(__file__).parent / "data" / "refusals.txt"
SECRET = "hunter2"

CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {name: default}
spec:
  listeners:
  - name: public
    address: 127.0.0.1
"""
GROUP = f"""\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {{name: ivr, namespace: voice}}
spec:
  members:
    static:
    - name: fs1
      sip: sip:192.0.2.1
      load: fs://:{SECRET}@192.0.2.1
"""


def both(config: str = "", group: str = "") -> str:
    """A valid file with lines added: to the config's last listener or spec, to the group's last member or spec."""
    return f"{CONFIG}{config}---\n{GROUP}{group}"


def swap(old: str, new: str) -> str:
    text = both()
    assert old in text
    return text.replace(old, new)


CASES = {
    # the file itself
    "empty file": "",
    "only comments": "# nothing yet\n---\n",
    "no BalancerConfig": GROUP,
    "two BalancerConfigs": f"{CONFIG}---\n{CONFIG}",
    "not UTF-8": b"kind: \xff\xfe",
    "a lone surrogate": "kind: \udc80",
    "a control character": f"{CONFIG}# \x07\n",
    "unclosed bracket": both(group="  match: [\n"),
    "wrong indentation": both(config="   port: 5060\n"),
    "tab as indentation": both(config="\tport: 5060\n"),
    "text where a mapping goes": "just a text",
    "list where a mapping goes": f"{CONFIG}---\n- a\n- b\n",
    "unknown alias": both(group="  esl: *nothing\n"),
    "alias to itself": both(group="  match: &m {rules: [*m]}\n"),
    "python tag": both(group="  match: !!python/object/apply:os.system [id]\n"),
    "scalar tag": both(group="  match: {priority: !!int '5'}\n"),
    "nested too deep": "[" * 60,
    "alias bomb": "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
    "duplicate field": both(config="    port: 5060\n    port: 5061\n"),
    "a boolean as field name": both(group="  on: true\n"),
    "merge of a text": both(group="  match: {<<: text}\n"),
    # what a document is
    "unknown apiVersion": swap("v1alpha1\nkind: BalancerG", "v1\nkind: BalancerG"),
    "missing kind": CONFIG.replace("kind: BalancerConfig\n", ""),
    "misspelt kind": swap("kind: BalancerGroup", "kind: Balancergroup"),
    "DestinationSet in a file": swap("kind: BalancerGroup", "kind: DestinationSet"),
    "no spec": CONFIG.split("spec:", maxsplit=1)[0],
    "spec is a text": CONFIG.split("spec:", maxsplit=1)[0] + "spec: listeners\n",
    "group without a name": swap("{name: ivr, namespace: voice}", "{namespace: voice}"),
    "group with a bad name": swap("name: ivr", "name: IVR_1"),
    "group name looks like a number": swap("name: ivr", "name: 404"),
    # unknown and missing fields
    "unknown field, near": both(config="    prot: 5060\n"),
    "unknown field, far": both(group="  colour: red\n"),
    "snake case": both(config="  state_dir: /tmp\n"),
    "listener without address": swap("    address: 127.0.0.1\n", "    port: 5060\n"),
    "no listeners": swap("listeners:\n  - name: public\n    address: 127.0.0.1", "listeners: []"),
    "group without members": CONFIG + "---\n" + GROUP.split("  members:", maxsplit=1)[0] + "  balancer: default\n",
    "empty members": CONFIG + "---\n" + GROUP.split("    static:", maxsplit=1)[0].rstrip() + " {}\n",
    "member without name and sip": both(group="    - {weight: 2}\n"),
    # values of the config
    "port out of range": both(config="    port: 65536\n"),
    "port in quotes": both(config='    port: "5060"\n'),
    "port as a decimal": both(config="    port: 5060.5\n"),
    "boolean as a text": both(config='    nat: "true"\n'),
    "address is a name": swap("address: 127.0.0.1", "address: localhost"),
    "unknown transport": both(config="    transports: [TLS]\n"),
    "transport twice": both(config="    transports: [UDP, UDP]\n"),
    "advertised wildcard": both(config="    advertise: {host: 0.0.0.0}\n"),
    "advertised scoped address": both(config='    advertise: {host: "fe80::1%eth0"}\n'),
    "two listeners of one name": both(config="  - {name: public, address: 127.0.0.1, port: 5061}\n"),
    "two listeners on one port": both(config="  - {name: other, address: 0.0.0.0}\n"),
    "node side on a listener's port": both(config="  nodeSide: {address: 127.0.0.1, port: 5060}\n"),
    "worker ports over a listener": both(config="  nodeSide: {workerPorts: 5050-5069}\n"),
    "worker ports over the node side": both(config="  nodeSide: {workerPorts: 5070-5080}\n"),
    "default worker ports over a listener": both(config="  - {name: other, address: 127.0.0.1, port: 5100}\n"),
    "HTTP on a TCP listener": both(config="    transports: [TCP]\n  http: {address: 0.0.0.0, port: 5060}\n"),
    "too few worker ports": both(config="  workers: 4\n  nodeSide: {workerPorts: 5071-5073}\n"),
    "worker ports reversed": both(config="  nodeSide: {workerPorts: 5080-5071}\n"),
    "worker ports as a list": both(config="  nodeSide: {workerPorts: [5071, 5134]}\n"),
    "workers by another word": both(config="  workers: auto\n"),
    "no workers": both(config="  workers: 0\n"),
    "node side advertised twice": both(config="  nodeSide: {advertise: [{host: 192.0.2.9, service: nodes}]}\n"),
    "node side advertised nowhere": both(config="  nodeSide: {advertise: [{port: 5070}]}\n"),
    "network with host bits": both(config="  destinations: {allow: [192.0.2.1/24]}\n"),
    "network that is none": both(config="  nodeSide: {sources: [192.0.2.0/33]}\n"),
    "peer without a port": both(config="  peers: {static: [10.0.0.6]}\n"),
    "relative state directory": both(config="  stateDir: state\n"),
    "deadline without a unit": both(config="  stop: {deadline: 180}\n"),
    "connections without end": both(config="  tcp: {idleTimeout: 1s, maxConnections: 0}\n"),
    "an ACL by name": both(config="    allow: [example.com]\n"),
    "worker ports over HTTP": both(config="  nodeSide: {workerPorts: 8070-8090}\n  http: {address: 0.0.0.0}\n"),
    "deadline too long": both(config="  stop: {deadline: 25h}\n"),
    # values of the group
    "algorithm in lower case": both(group="  routing: {algorithm: leastload}\n"),
    "retryOn as a number": both(group="  routing: {failover: {retryOn: [410]}}\n"),
    "retryOn by a provisional code": both(group='  routing: {failover: {retryOn: ["180"]}}\n'),
    "retryOn twice": both(group="  routing: {failover: {retryOn: [Timeout, Timeout]}}\n"),
    "timeout beyond bounds": both(group="  routing: {failover: {firstResponseTimeout: 40s}}\n"),
    "fraction of a second": both(group="  health: {pollInterval: 1.5s}\n"),
    "cool-down reversed": both(group="  routing: {failover: {coolDown: {min: 3s}}}\n"),
    "Retry-After reversed": both(group="  capacity: {overLimit: {retryAfter: {min: 20s, max: 5s}}}\n"),
    "Spill without a group": both(group="  capacity: {overLimit: {action: Spill}}\n"),
    "group without Spill": both(group="  capacity: {overLimit: {group: other}}\n"),
    "Spill into nothing": both(group="  capacity: {overLimit: {action: Spill, group: other}}\n"),
    "Spill into itself": both(group="  capacity: {overLimit: {action: Spill, group: ivr}}\n"),
    "headroom as a word": both(group="  capacity: {headroom: auto}\n"),
    "negative headroom": both(group="  capacity: {headroom: -1}\n"),
    "resource without a measure": both(group="  capacity: {resources: [{name: ch}]}\n"),
    "resource with two measures": both(group="  capacity: {resources: [{name: ch, source: Reported, limit: 5}]}\n"),
    "resource twice": both(group="  capacity: {resources: [{name: ch, limit: 1}, {name: ch, limit: 2}]}\n"),
    "rule with an unknown resource": both(group="  match: {rules: [{resources: [conf]}]}\n"),
    "look-ahead": both(group="  match: {rules: [{requestUri: {userPattern: '^(?!conf)'}}]}\n"),
    "back-reference": both(group="  match: {rules: [{requestUri: {userPattern: '(a)\\1'}}]}\n"),
    "unclosed group": both(group="  match: {rules: [{requestUri: {userPattern: '(a'}}]}\n"),
    "bad source network": both(group="  match: {rules: [{sources: [192.0.2.300]}]}\n"),
    "header without a name": both(group="  routing: {hashOn: {type: Header}}\n"),
    "user part of a number": both(group="  routing: {algorithm: Hash, hashOn: {userOnly: true}}\n"),
    "hashOn without Hash": both(group="  routing: {hashOn: {type: To}}\n"),
    "weightsFrom without Weighted": both(group="  routing: {algorithm: Random, weightsFrom: Static}\n"),
    "highWater without Packed": both(group="  routing: {highWater: 80}\n"),
    "two options of other algorithms": both(group="  routing: {highWater: 80, weightsFrom: Static}\n"),
    "highWater above all": both(group="  routing: {algorithm: Packed, highWater: 101}\n"),
    "scorer with a space": both(group="  routing: {score: my scorer}\n"),
    "a condition without content": both(group="  match: {rules: [{to: {}}]}\n"),
    "a user that looks like a number": both(group="  match: {rules: [{from: {user: 100}}]}\n"),
    "a host with a port": both(group="  match: {rules: [{requestUri: {host: 'a:5060'}}]}\n"),
    "a method in lower case": both(group="  match: {rules: [{methods: [invite]}]}\n"),
    "a header with value and pattern": both(group="  match: {rules: [{headers: [{name: A, value: b, pattern: c}]}]}\n"),
    "a header with a colon": both(group="  match: {rules: [{headers: [{name: 'A:'}]}]}\n"),
    "a value that no header has": both(group="  match: {rules: [{headers: [{name: A, value: ' b'}]}]}\n"),
    "a rule for no listener": both(group="  match: {rules: [{listeners: [inside]}]}\n"),
    "a misspelt condition": both(group="  match: {rules: [{form: {user: a}}]}\n"),
    "a member's unknown resource": both(
        group="      resources: [{name: conf, limit: 1}]\n  capacity: {resources: [{name: ch, source: Reported}]}\n"
    ),
    "a member's other measure": both(
        group="      resources: [{name: conf, source: Reported}]\n  capacity: {resources: [{name: conf, limit: 1}]}\n"
    ),
    "held for too long": both(group="  capacity: {queue: {maxWait: 1m}}\n"),
    "probing too often": both(group="  health: {options: {interval: 10ms}}\n"),
    "a probe's code as a number": both(group="  health: {options: {codes: [200]}}\n"),
    "a provisional code of a probe": both(group='  health: {options: {codes: ["100"]}}\n'),
    "a probe from no URI": both(group="  health: {options: {from: probe@example.com}}\n"),
    "ejection reversed": both(group="  health: {ejection: {duration: 10m}}\n"),
    "egress nowhere": both(group="  egress: {listener: public}\n"),
    "egress two ways": both(group="  egress: {nextHops: [{sip: 'sip:192.0.2.9'}], requestUri: {networks: ['::/0']}}\n"),
    "egress to no network": both(group="  egress: {requestUri: {networks: []}}\n"),
    "egress to no group": both(group="  egress: {group: other}\n"),
    "egress to itself": both(group="  egress: {group: ivr}\n"),
    "egress to a group by a listener": both(group="  egress: {group: ivr, listener: public}\n"),
    "egress by no listener": both(group="  egress: {listener: inside, nextHops: [{sip: 'sip:192.0.2.9'}]}\n"),
    "egress with a user": both(group="  egress: {nextHops: [{sip: 'sip:a@192.0.2.9'}]}\n"),
    "egress outside destinations.allow": both(
        config="  destinations: {allow: [192.0.2.0/24]}\n", group="  egress: {nextHops: [{sip: 'sip:198.51.100.1'}]}\n"
    ),
    "stateless without Hash": both(group="  routing: {mode: Stateless}\n"),
    "stateless on what an ACK lacks": both(
        group="  routing: {mode: Stateless, algorithm: Hash, hashOn: {type: AuthUser}}\n"
    ),
    "stateless with all that needs state": both(
        group="""\
  match: {rules: [{emergency: true}]}
  routing: {mode: Stateless, algorithm: Hash, score: a, failover: {attempts: 1}, timerC: 60s}
  capacity:
    resources: [{name: conf, limit: 5}]
    maxSessions: 5
    headroom: 0
    emergencyReserve: 1
    callExpiry: 1h
    queue: {maxWait: 500ms}
    overLimit: {action: Allow}
"""
    ),
    "annotation without a name": both(group="  sip: {addressFrom: {type: Annotation}}\n"),
    "priority beyond the balancer's": both(config="  groups: {maxPriority: 5}\n", group="  match: {priority: 6}\n"),
    "namespace not served": both(config="  groups: {namespaces: [other]}\n"),
    "node outside destinations.allow": both(config="  destinations: {allow: [198.51.100.0/24]}\n"),
    "another balancer": both(group="  balancer: other\n"),
    "group twice": f"{both()}---\n{GROUP}",
    "group twice, once by default": "---\n".join(
        (CONFIG, GROUP.replace(", namespace: voice", ""), GROUP.replace("voice", "default"))
    ),
    # members
    "member twice": both(group="    - {name: fs1, sip: sip:192.0.2.2}\n"),
    "address twice": both(group="    - {name: fs2, sip: 'sip:192.0.2.1:5060'}\n"),
    "weight as a boolean word": both(group="      weight: on\n"),
    "weight of zero": both(group="      weight: 0\n"),
    "sips": swap("sip: sip:192.0.2.1", "sip: sips:192.0.2.1"),
    "sip with a user": swap("sip: sip:192.0.2.1", "sip: sip:100@192.0.2.1"),
    "sip with a parameter": swap("sip: sip:192.0.2.1", "sip: sip:192.0.2.1;lr"),
    "sip with a bare IPv6 address": swap("sip: sip:192.0.2.1", "sip: sip:2001:db8::1"),
    "sip without a scheme": swap("sip: sip:192.0.2.1", "sip: 192.0.2.1"),
    "sip with half an address": swap("sip: sip:192.0.2.1", "sip: sip:192.0.2"),
    "sip at the wildcard": swap("sip: sip:192.0.2.1", "sip: sip:0.0.0.0"),
    "drain without an offset": both(group="      drain: 2026-03-01T22:00:00\n"),
    "drain on no day": both(group="      drain: 2026-02-30T22:00:00Z\n"),
    # credentials: nothing of them is shown
    "fs URL without the @": swap(f":{SECRET}@192", f":{SECRET}192"),
    "fs URL with a raw @": swap(f":{SECRET}@192", f":{SECRET}@{SECRET}@192"),
    "fs URL with a broken escape": swap(f":{SECRET}@192", f":{SECRET}%zz@192"),
    "fs URL with a line break": swap(f":{SECRET}@192", f":{SECRET}%0d%0a@192"),
    "fs URL with an empty password": swap(f":{SECRET}@192", ":@192"),
    "fs URL with a bad port": swap("@192.0.2.1", "@192.0.2.1:99999"),
    "fs URL with events": swap("@192.0.2.1", "@192.0.2.1?HEARTBEAT"),
    "fs URL in capitals": swap("fs://", "FS://"),
    "fs URL in the place of sip": swap("sip: sip:192.0.2.1", f"sip: fs://:{SECRET}@192.0.2.1"),
    "fs URL in a misspelt field": swap("load: fs", "laod: fs"),
    "fs URL as a field": swap(f"load: fs://:{SECRET}@192.0.2.1", f"'fs://:{SECRET}@192.0.2.1': {SECRET}"),
    "load as a mapping": swap(f"load: fs://:{SECRET}@192.0.2.1", f"load: {{password: {SECRET}}}"),
    "password in the document": both(group=f"  esl: {{password: {SECRET}}}\n"),
    "esl is a text": both(group=f"  esl: {SECRET}\n"),
    "passwordFrom is a text": both(group=f"  esl: {{passwordFrom: {SECRET}}}\n"),
    "passwordFrom holds the password": both(group=f"  esl: {{passwordFrom: {{{SECRET}: }}}}\n"),
    "passwordFrom.env holds a password": both(group=f"  esl: {{passwordFrom: {{env: '{SECRET}!'}}}}\n"),
    "passwordFrom with two sources": both(group="  esl: {passwordFrom: {env: A, file: /b}}\n"),
    "passwordFrom with none": both(group="  esl: {passwordFrom: {}}\n"),
    "no password anywhere": swap(f":{SECRET}@", ""),
    "password as an alias": swap(f"load: fs://:{SECRET}@192.0.2.1", f"load: *{SECRET}"),
    "password as a tag": swap(f"load: fs://:{SECRET}@192.0.2.1", f"load: !{SECRET} x"),
    "password breaks the syntax": swap(f":{SECRET}@192.0.2.1", f":{SECRET}: {SECRET}@192.0.2.1"),
    # several at once
    "everything at once": both(
        config="    prot: 5060\n  workers: many\n  stop: {deadline: 1}\n",
        group="    - {name: fs1, sip: sip:192.0.2.2}\n  routing: {mode: Stateles}\n  capacity: {headroom: -1}\n",
    ),
    "before and after a broken line": both(config="    prot: 5060\n", group="  match: {\n"),
}


def rendered(text: str | bytes) -> str:
    with pytest.raises(DocumentErrors) as caught:
        load(text, "file.yaml")
    return "\n".join(problem.render() for problem in caught.value.problems)


def table() -> str:
    return "".join(f"## {name}\n{rendered(text)}\n\n" for name, text in CASES.items())


def test_the_base_of_every_case_is_accepted():
    documents = load(both(), "file.yaml")
    assert [group.key for group in documents.groups] == ["voice/ivr"]


def test_refusals_read_as_agreed():
    actual = table()
    if os.environ.get("UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(actual, encoding="utf-8")
    assert actual == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_no_refusal_shows_a_password(name):
    with pytest.raises(DocumentErrors) as caught:
        load(CASES[name], "file.yaml")
    shown = str(caught.value) + repr(caught.value) + repr([problem.as_dict() for problem in caught.value.problems])
    assert SECRET not in shown


def test_a_problem_names_its_place_whole():
    with pytest.raises(DocumentErrors) as caught:
        load(CASES["algorithm in lower case"], "file.yaml")
    (problem,) = caught.value.problems
    assert problem.as_dict() == {
        "file": "file.yaml",
        "document": 2,
        "kind": "BalancerGroup",
        "name": "voice/ivr",
        "line": 18,
        "path": "spec.routing.algorithm",
        "found": '"leastload"',
        "accepted": "LeastLoad, Weighted, RoundRobin, Random, Hash, Packed, First",
        "message": "did you mean LeastLoad?",
    }
