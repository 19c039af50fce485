"""`switchtender check --connect` against simulated nodes: real sockets, one run for all of them."""

import json

import pytest
from click.testing import CliRunner
from serve_stand import Node, simulated

from switchtender.cli import main

NODES = [
    Node(
        "well", 151, {"max-sessions": 200, "sessions-per-second": 100, "heartbeat-interval": 0.3, "password": "s3cret"}
    ),
    Node("shipped", 152, {"max-sessions": 1000, "heartbeat-interval": 20}),
    Node("fenced", 153, {"acl": "10.0.0.0/8"}),
]
CONFIG = """\
apiVersion: switchtender.dev/v1alpha1
kind: BalancerConfig
metadata: {name: default}
spec: {listeners: [{address: 127.0.0.1}]}
---
apiVersion: switchtender.dev/v1alpha1
kind: BalancerGroup
metadata: {name: ivr}
spec:
  members:
    static:
    - {name: well, sip: "sip:127.0.0.151", load: "fs://:s3cret@127.0.0.151"}
    - {name: shipped, sip: "sip:127.0.0.152", load: "fs://:ClueCon@127.0.0.152"}
    - {name: fenced, sip: "sip:127.0.0.153", load: "fs://:ClueCon@127.0.0.153"}
    - {name: nobody, sip: "sip:127.0.0.154", load: "fs://:ClueCon@127.0.0.154"}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with simulated(NODES, tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("ESL_PASSWORD", raising=False)
    return lambda *args, **options: CliRunner().invoke(main, ["check", *args], **options)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "balancer.yaml"
    path.write_text(CONFIG)
    return path


def levels(verdict):
    return {entry["setting"]: entry["level"] for entry in verdict["findings"]}


def test_every_node_of_a_file_is_told_what_to_change(nodes, run, file):
    result = run(str(file), "--connect", "--wait", "2", "-o", "json")
    assert result.exit_code == 1
    assert "s3cret" not in result.output
    well, shipped, fenced, nobody = json.loads(result.stdout)["nodes"]
    assert well["usable"]
    assert set(levels(well).values()) == {"ok"}
    assert shipped["usable"]
    assert {name for name, level in levels(shipped).items() if level == "warning"} == {
        "password",
        "max-sessions",
        "sessions-per-second",
        "event-heartbeat-interval",
    }
    assert levels(fenced)["apply-inbound-acl"] == "problem"
    assert levels(nobody) == {"listen-ip, listen-port": "problem", "sip-ip, sip-port": "problem"}


def test_a_node_by_its_url_with_the_password_from_the_environment(nodes, run):
    result = run("--node", "fs://127.0.0.151", "--wait", "2", env={"ESL_PASSWORD": "s3cret"})
    assert result.exit_code == 0
    assert "200, of which 199 can be used" in result.output
    assert "s3cret" not in result.output


def test_a_password_of_two_lines_in_the_environment_is_refused_in_words(run):
    result = run("--node", "fs://127.0.0.151", env={"ESL_PASSWORD": "s3cret\n"})
    assert result.exit_code == 2
    assert "line break" in result.output
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a FILE"),
        (("--node", "fs://127.0.0.151"), "ESL_PASSWORD"),
        (("--node", "http://127.0.0.151"), "not an fs:// URL"),
        (("--node", "fs://:x@127.0.0.151", "--wait", "0"), "--wait"),
    ],
)
def test_a_question_that_cannot_be_asked(run, arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output
