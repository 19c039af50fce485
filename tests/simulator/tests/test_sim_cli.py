"""The command line, as a process."""

import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from switchtender_simulator.cli import main
from switchtender_simulator.settings import FIXED, NodeSettings, SettingsError, parse_node

NODE = "name=fs1,sip=127.0.0.1:0,esl=127.0.0.1:0"


@contextmanager
def simulator(*arguments: str):
    command = [sys.executable, "-m", "switchtender_simulator", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, json.loads(process.stdout.readline())["ready"]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_when_all_is_bound_and_ends_on_a_signal(number: signal.Signals) -> None:
    with simulator("--node", NODE, "--node", NODE.replace("fs1", "fs2"), "--http", "127.0.0.1:0") as (process, ready):
        assert list(ready["nodes"]) == ["fs1", "fs2"]
        host, _, port = ready["nodes"]["fs2"]["esl"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            assert client.recv(100) == b"Content-Type: auth/request\n\n"
        with urlopen(f"{ready['http']}/nodes/fs1", timeout=5) as answer:
            assert json.load(answer)["sip"] == ready["nodes"]["fs1"]["sip"]
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_sigterm_can_be_freeswitchs() -> None:
    with simulator("--node", NODE, "--sigterm", "freeswitch") as (process, ready):
        host, _, port = ready["nodes"]["fs1"]["esl"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            client.sendall(b"auth ClueCon\n\nevent json SHUTDOWN\n\n")
            heard = b""
            while b"enabled json\n\n" not in heard:
                heard += client.recv(4096)
            process.send_signal(signal.SIGTERM)
            while part := client.recv(4096):
                heard += part
        assert b'"Event-Name":"SHUTDOWN"' in heard
        assert heard.endswith(b"Content-Length: 31\n\nThe system is being shut down.\n")
        assert process.wait(10) == 0


def test_a_nodes_file_and_defaults_for_all(tmp_path: Path) -> None:
    file = tmp_path / "nodes.json"
    nodes = [
        {"name": "a", "sip": "127.0.0.1:0", "esl": "127.0.0.1:0", "max-sessions": 20},
        {
            "name": "b",
            "sip": "127.0.0.1:0",
            "esl": "127.0.0.1:0",
            "users": [{"name": "u@d", "password": "p", "api": ["status"]}],
        },
    ]
    file.write_text(json.dumps(nodes))
    options = ["--max-sessions", "70", "--user", "lb@d:pw", "--elegant-term", "true", "--http", "127.0.0.1:0"]
    with (
        simulator("--nodes-file", str(file), *options) as (_, ready),
        urlopen(f"{ready['http']}/nodes", timeout=5) as answer,
    ):
        first, second = (node["settings"] for node in json.load(answer))
    assert (first["max_sessions"], second["max_sessions"]) == (20, 70)
    assert first["elegant_term"] is True
    assert first["users"] == [{"name": "lb@d", "password": "pw", "events": None, "api": None}]
    assert second["users"][0]["api"] == ["status"]


def test_help_names_every_setting() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    options = set(re.findall(r"--([a-z0-9-]+)", text))
    for field in fields(NodeSettings):
        if field.name not in FIXED:
            assert field.name.replace("_", "-") in options


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "at least one --node"),
        (["--node", "fs1"], "is not NAME=VALUE"),
        (["--node", "name=a,sip=nowhere"], "is not HOST:PORT"),
        (["--node", "name=a,sip=[::1]:5060"], "IPv4 only"),
        (["--node", "name=a,colour=red"], "unknown setting 'colour'"),
        (["--node", "name=a,max-sessions=-1"], "out of range"),
        (["--node", NODE, "--node", NODE], "same name"),
        (["--node", NODE, "--node", NODE.replace("fs1", "b"), "--sigterm", "freeswitch"], "one node"),
        (["--node", NODE, "--http", "here"], "is not HOST:PORT"),
        (["--node", "name=a,bye-from=nobody"], "not one of node, caller"),
    ],
)
def test_wrong_use_is_explained(arguments: list[str], word: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert word in result.output


def test_an_address_in_use_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        spec = f"name=a,esl=127.0.0.1:0,sip=127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, ["--node", spec])
    assert result.exit_code == 1
    assert "in use" in result.output


def test_a_node_spec_overrides_the_defaults() -> None:
    settings = parse_node(
        "name=x,max_sessions=5,acl=10.0.0.0/8+192.0.2.0/24,elegant-term=true", {"max_sessions": 9, "t1": 0.1}
    )
    assert (settings.max_sessions, settings.t1, settings.elegant_term) == (5, 0.1, True)
    assert settings.acl == ["10.0.0.0/8", "192.0.2.0/24"]
    with pytest.raises(SettingsError, match="users"):
        parse_node("name=x", {"users": [{"nick": "u"}]})
