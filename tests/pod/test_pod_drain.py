"""switchtender-drain as the samples ship it, run by a POSIX shell on the Event Socket of a simulated node."""

import contextlib
import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.stand import drain_hook
from tests.stand.nodes import Node, simulated

SHELLS = [shell for shell in ("dash", "busybox sh") if shutil.which(shell.split()[0])]
CASES = ("calls", "idle", "deadline", "crash", "frozen", "password")
NODES = [Node(name, place, {"heartbeat-interval": 1}, net=61) for place, name in enumerate(CASES, 11)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with simulated(NODES, tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A folder with the script out of the sample's ConfigMap, and an fs_cli."""
    folder = tmp_path_factory.mktemp("pod")
    drain_hook.put_into(folder, sys.executable)
    return folder


class Drain:
    """One run of the script; ``log`` is what it said in the container's log."""

    def __init__(self, process, log):
        self.process = process
        self._log = log

    @property
    def log(self):
        return self._log.read_text() if self._log.exists() else ""

    def says(self, words):
        until = time.monotonic() + 60
        while words not in self.log:
            assert time.monotonic() < until, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.01)

    def ends(self):
        return self.process.wait(60)


@pytest.fixture
def drain(tools, tmp_path):
    """Starts the script on a node; what still runs of it ends with the test."""
    with contextlib.ExitStack() as running:

        def start(name, *, shell=("dash",), **environment):
            node = next(node for node in NODES if node.name == name)
            log = tmp_path / "log"
            process = subprocess.Popen(
                [*shell, str(tools / drain_hook.NAME)],
                env={
                    "PATH": f"{tools}:{os.environ['PATH']}",
                    "POD_IP": node.address,
                    "ESL_PASSWORD": "ClueCon",
                    "DRAIN_TIMEOUT": "60",
                    "DRAIN_POLL": "0.05",
                    "DRAIN_LOG": str(log),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            running.callback(_end, process)
            return Drain(process, log)

        yield start


def _end(process):
    if process.poll() is None:
        process.kill()
    assert process.communicate()[1] == b"", "a shell's own complaints have no place in it"


def phase(nodes, name):
    return nodes.all()[name]["phase"]


def is_over(nodes, name):
    until = time.monotonic() + 60
    while phase(nodes, name) == "running":
        assert time.monotonic() < until
        time.sleep(0.01)


def test_it_pauses_the_node_waits_for_the_last_session_and_shuts_down(nodes, drain):
    nodes.change("calls", background_sessions=2)
    draining = drain("calls")
    draining.says("sessions: 2, seconds left: ")
    assert "paused, no new calls come in" in draining.log
    assert nodes.all()["calls"]["paused_inbound"] is True
    time.sleep(0.3)
    assert draining.process.poll() is None, "calls stand"
    assert phase(nodes, "calls") == "running"
    nodes.change("calls", background_sessions=0)
    assert draining.ends() == 0
    assert "no sessions are left, shutting down" in draining.log
    is_over(nodes, "calls")


def test_a_node_without_calls_is_done_in_a_few_polls(nodes, drain):
    draining = drain("idle")
    assert draining.ends() == 0
    assert "sessions: 0, seconds left: " in draining.log
    is_over(nodes, "idle")


@pytest.mark.parametrize("shell", SHELLS)
def test_one_session_between_zeros_is_waited_for(drain, tmp_path, shell):
    """A node that says in turn how many sessions it has; what it is asked is written down."""
    script = tmp_path / "bin" / "fs_cli"
    script.parent.mkdir()
    script.write_text(
        f"""#!/bin/sh
cd {tmp_path}
for word in "$@"; do command=${{word#--execute=}}; done
echo "$command" >>asked
[ "$command" = status ] || {{ echo +OK; exit; }}
read -r count <left && sed -i 1d left
echo "$count session(s) - peak 9, last 5min 9"
"""
    )
    script.chmod(0o755)
    (tmp_path / "left").write_text("0\n0\n1\n0\n0\n0\n9\n")
    draining = drain("idle", shell=shell.split(), PATH=f"{script.parent}:{os.environ['PATH']}", DRAIN_POLL="0.01")
    assert draining.ends() == 0
    assert (tmp_path / "asked").read_text().split("\n") == [
        "fsctl pause inbound",
        *["status"] * 6,
        "fsctl shutdown",
        "",
    ]


def test_at_the_deadline_it_shuts_down_with_the_calls(nodes, drain):
    nodes.change("deadline", background_sessions=3)
    draining = drain("deadline", DRAIN_TIMEOUT="0")
    assert draining.ends() == 1
    assert "time is over, shutting down with sessions: 3" in draining.log
    is_over(nodes, "deadline")


def test_a_node_that_dies_ends_it(nodes, drain):
    nodes.change("crash", background_sessions=3)
    draining = drain("crash")
    draining.says("sessions: 3")
    nodes.do("crash", "crash")
    assert draining.ends() == 2
    assert "reaches no Event Socket at 127.0.61." in draining.log


def test_a_node_that_does_not_answer_is_no_dead_one(nodes, drain):
    nodes.fault("frozen", esl_silent=True)
    draining = drain("frozen", DRAIN_PATIENCE="0.2")
    draining.says("the node does not answer, asking on")
    nodes.change("frozen", background_sessions=1)
    time.sleep(0.3)
    assert draining.process.poll() is None
    nodes.fault("frozen", esl_silent=False)
    draining.says("paused, no new calls come in")
    nodes.change("frozen", background_sessions=0)
    assert draining.ends() == 0


def test_a_password_of_another_node_is_told(nodes, drain):
    draining = drain("password", ESL_PASSWORD="other", DRAIN_TIMEOUT="soon")
    assert draining.ends() == 2
    assert "DRAIN_TIMEOUT is soon, accepted: whole seconds; 7200 are used" in draining.log
    assert "is the node gone, the password another?" in draining.log
    assert phase(nodes, "password") == "running"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DRAIN_TIMEOUT": "0090"}, "seconds left: 90"),
        ({"DRAIN_TIMEOUT": "00"}, "seconds left: 0"),
        ({"DRAIN_TIMEOUT": "99999999999999999999"}, "accepted: whole seconds; 7200 are used"),
        ({"DRAIN_PATIENCE": "soon"}, "DRAIN_PATIENCE is soon, accepted: seconds; 5 are used"),
    ],
)
def test_an_odd_number_gives_up_no_call(drain, tmp_path, shell, variables, said):
    script = tmp_path / "bin" / "fs_cli"
    script.parent.mkdir()
    script.write_text("""#!/bin/sh\necho "2 session(s) - peak 9, last 5min 9"\n""")
    script.chmod(0o755)
    draining = drain("idle", shell=shell.split(), PATH=f"{script.parent}:{os.environ['PATH']}", **variables)
    if said.endswith("left: 0"):
        assert draining.ends() == 1
        assert said in draining.log
        return
    draining.says("sessions: 2")
    assert said in draining.log
    assert draining.process.poll() is None


def test_an_interval_that_is_none_is_a_second(tools):
    script = (tools / "switchtender-drain").read_text()
    pause = next(line for line in script.splitlines() if line.strip().startswith("sleep "))
    done = subprocess.run(
        ["dash", "-c", f'poll=soon; sleep() {{ echo "$1"; [ "$1" != soon ]; }}; {pause}'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["soon", "1"]


def test_without_a_log_of_the_container_it_speaks_on_standard_output(nodes, drain):
    draining = drain("password", ESL_PASSWORD="other", DRAIN_LOG="/nowhere/log")
    assert draining.ends() == 2
    assert b"switchtender-drain: fs_cli reaches no Event Socket" in draining.process.stdout.read()


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("UP 0 years\n4711 session(s) since startup\n12 session(s) - peak 40, last 5min 31 \n9 session(s) max\n", "12"),
        ("   7 session(s) - peak 40, last 5min 31\r\n", "7"),
        ("1 session(s) per Sec out of max 30, peak 2, last 5min 2\n1000 session(s) max\n", ""),
        ("-ERR permission denied\n", ""),
        ("", ""),
    ],
)
def test_sessions_are_told_from_their_neighbors(said, count):
    script = drain_hook.script()
    function = script[script.index("count() {") : script.index("\n}\n", script.index("count() {")) + 3]
    done = subprocess.run(
        ["dash", "-c", f'{function}count "$1"', "dash", said], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == count
