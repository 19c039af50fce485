"""What real nodes ask of their host and what of it they give back; the parts of it that need no cluster."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import unavailable
from tests.e2e.images import base
from tests.e2e.providers import node
from tests.e2e.providers.node import cgroups, prerequisites
from tests.e2e.providers.node.machine import Machine, MachineError, until


@pytest.fixture
def possible():
    if reason := node.missing():
        unavailable(f"provider node: {reason}")


def test_what_is_missing_is_said_with_the_command_that_helps(tmp_path):
    if os.geteuid() != 0:
        assert "root" in prerequisites.missing()
        return
    said = prerequisites.missing({"no-such-program": "its-package", "sh": "dash"}, tmp_path)
    assert said.endswith("apt-get install --no-install-recommends containernetworking-plugins its-package")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("deb http://mirror.example/debian bookworm main\n", "http://mirror.example/debian"),
        (
            "deb [signed-by=/a.gpg] https://mirror.example/pub/debian/ stable main\n",
            "https://mirror.example/pub/debian",
        ),
        ("Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n", "http://mirror.example/debian"),
        ("deb http://mirror.example/debian-security bookworm-security main\n", "http://deb.debian.org/debian"),
        ("# deb http://old.example/debian bookworm main\n", "http://deb.debian.org/debian"),
    ],
)
def test_the_mirror_is_the_one_of_apt(tmp_path, text, found):
    (tmp_path / "sources.list").write_text(text)
    assert base.mirror(tmp_path) == found


def hierarchy(folder, **files):
    folder.mkdir(parents=True)
    for name, text in {"cgroup.procs": "", **files}.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_a_node_gets_a_cgroup_in_every_hierarchy_of_v1(tmp_path):
    hierarchy(tmp_path / "memory")
    hierarchy(tmp_path / "cpuset", cpuset__cpus="0-1", cpuset__mems="0")
    hierarchy(tmp_path / "unified")
    (tmp_path / "cpu").symlink_to("memory")
    assert not cgroups.is_v2(tmp_path)
    cgroups.create("node", tmp_path)
    assert (tmp_path / "memory" / "node").is_dir()
    assert not (tmp_path / "unified" / "node").exists()
    assert (tmp_path / "cpuset" / "node" / "cpuset.cpus").read_text() == "0-1", "an empty cpuset admits no process"
    # A kernel's files go with their folder; these are ours.
    for file in (tmp_path / "cpuset" / "node").iterdir():
        file.unlink()
    (tmp_path / "memory" / "node" / "kubepods" / "pod1").mkdir(parents=True)
    (tmp_path / "unified" / "node").mkdir()
    assert cgroups.remove("node", tmp_path, patience=0) == []
    assert sorted(path.name for path in tmp_path.rglob("node")) == []


def test_a_node_gets_one_cgroup_of_v2_with_what_a_kubelet_needs(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma")
    (tmp_path / "cgroup.subtree_control").write_text("")
    assert cgroups.is_v2(tmp_path)
    cgroups.create("node", tmp_path)
    assert (tmp_path / "node").is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids", "one controller a write; a kernel adds them up"
    (tmp_path / "node" / "busy").write_text("")
    assert cgroups.remove("node", tmp_path, patience=0) == [tmp_path / "node"], "what stays is said"


def test_a_machine_leaves_nothing(possible, tmp_path):
    before = Path("/proc/mounts").read_text()
    machine = Machine("alone", tmp_path)
    machine.spawn("daemon", "sh", "-c", "sleep 1000 & echo started; sleep 1000")
    until(lambda: machine.log("daemon"), "the daemon's word", 10)
    assert machine.run("sh", "-c", "echo $$").strip() != str(os.getpid())
    machine.run("sh", "-c", "echo here > /var/lib/left-behind; echo here > /run/left-behind")
    assert not Path("/var/lib/left-behind").exists()
    assert not Path("/run/left-behind").exists()
    with pytest.raises(MachineError, match="exit 3: no reason"):
        machine.run("sh", "-c", "echo no reason >&2; exit 3")
    inside = [process for process in Path("/proc").iterdir() if same_pids(process, machine.pid)]
    assert len(inside) >= 4, "its init, the shell and both that sleep"
    machine.power_off()
    assert not machine.running
    assert not any((process / "ns").exists() and process.exists() for process in inside)
    assert Path("/proc/mounts").read_text() == before


def same_pids(process, pid):
    try:
        return (process / "ns" / "pid_for_children").readlink() == Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:
        return False


def test_a_machine_does_not_outlive_the_tests(possible, tmp_path):
    """Not even those that are killed."""
    program = f"""
        import time
        from pathlib import Path
        from tests.e2e.providers.node.machine import Machine
        machine = Machine("orphan", Path({str(tmp_path)!r}))
        print(machine.pid, flush=True)
        time.sleep(1000)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as owner:
        pid = int(owner.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        owner.kill()
    end = time.monotonic() + 10
    while running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(pid)


def running(pid):
    """Whether the process is there and not a zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
