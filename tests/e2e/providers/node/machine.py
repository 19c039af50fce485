"""One machine of a test: a set of Linux namespaces that end whole. Knows nothing of Kubernetes.

A machine has its own processes, mounts and network. Its first process is the root of its PID namespace, so ending that
one process ends everything that ever ran on the machine, with its mounts, sockets and interfaces: a test that failed or
was killed leaves behind what a machine leaves behind whose plug was pulled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.e2e.providers.network import Namespace

# The first process of a machine: it reaps what it is left with, as any init does, and says when it stands.
_INIT = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
print(os.getpid(), flush=True)
while True:
    signal.sigwait({signal.SIGCHLD})
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""

# Daemons of a node leave state there, whatever they are told: a machine has its own /run and a /var to write to.
_PRIVATE_FOLDERS = """
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/var/upper /run/var/work
mount -t overlay -o lowerdir=/var,upperdir=/run/var/upper,workdir=/run/var/work overlay /var
"""


class MachineError(RuntimeError):
    """A machine could not be made, or a command on it failed."""


class Machine(Namespace):
    """A running machine: a network namespace with processes and mounts of its own. Not for sharing between threads."""

    def __init__(self, name: str, folder: Path) -> None:
        """Boot a machine called ``name``; ``folder`` takes the logs of what is spawned. Raises MachineError."""
        self.name = name
        self._logs = folder
        self._logs.mkdir(parents=True, exist_ok=True)
        self._spawned: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        self._init = subprocess.Popen(
            [
                "setpriv", "--pdeathsig", "KILL",  # nor does a machine outlive the tests
                "unshare", "--pid", "--mount", "--net", "--fork", "--kill-child=SIGKILL", "--mount-proc",
                sys.executable, "-c", _INIT,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._init.stdout is not None
        if not self._init.stdout.readline():
            _, error = self._init.communicate()
            raise MachineError(f"no namespaces for {name}: {error.decode().strip()}")
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        self.pid = int(children.read_text().split()[0])
        self.ip("link", "set", "lo", "up")
        self.run("sh", "-ec", _PRIVATE_FOLDERS)

    @property
    def path(self) -> Path:
        """Its network, for ``nsenter --net=``."""
        return Path(f"/proc/{self.pid}/ns/net")

    def ip(self, *arguments: str) -> None:
        """Run `ip` on its network, with the pids of the host."""
        self._run(self.on_network("ip", *arguments), check=True, stdin=None, patience=60)

    def delete(self) -> None:
        """As `power_off`."""
        self.power_off()

    @property
    def running(self) -> bool:
        """Whether the machine is up."""
        return self._init.poll() is None

    def on_network(self, *command: str) -> list[str]:
        """``command`` as a process of the host that uses this machine's network only; signals reach it directly."""
        return ["nsenter", f"--net={self.path}", "--", *command]

    def command(self, *command: str) -> list[str]:
        """``command`` as a process of this machine: its PIDs, its mounts, its network."""
        return ["nsenter", f"--target={self.pid}", "--pid", "--mount", "--net", "--", *command]

    def run(self, *command: str, check: bool = True, stdin: str | None = None, patience: float = 60) -> str:
        """Run ``command`` inside and give its output; raises MachineError when it fails and ``check`` is set."""
        return self._run(self.command(*command), check=check, stdin=stdin, patience=patience)

    def _run(self, command: list[str], *, check: bool, stdin: str | None, patience: float) -> str:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=patience, check=False)
        if check and done.returncode:
            what, said = " ".join(command[command.index("--") + 1 :]), (done.stderr or done.stdout).strip()[-2000:]
            raise MachineError(f"{self.name}: {what}: exit {done.returncode}: {said}")
        return done.stdout

    def spawn(self, name: str, *command: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a daemon inside; its output goes to ``name``.log. It lives until the machine ends."""
        log = self.log_file(name).open("ab")
        process = subprocess.Popen(
            self.command(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self._spawned.append((process, log))
        return process

    def log_file(self, name: str) -> Path:
        """Where the daemon ``name`` writes to."""
        return self._logs / f"{name}.log"

    def log(self, name: str, lines: int = 20) -> str:
        """The last lines that the daemon ``name`` wrote."""
        return "\n".join(self.log_file(name).read_text(errors="replace").splitlines()[-lines:])

    def power_off(self) -> None:
        """End the machine and everything on it, at once. May be called again."""
        if self._init.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._init.wait(30)
        for stream in (self._init.stdout, self._init.stderr):
            if stream is not None:
                stream.close()
        for process, log in self._spawned:
            process.wait(30)
            log.close()
        self._spawned.clear()


def until(condition: Callable[[], object], what: str, patience: float, every: float = 0.05) -> None:
    """Wait until ``condition()`` is true; raises MachineError naming ``what`` after ``patience`` seconds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise MachineError(f"{what} did not come about in {patience:g} s")
        time.sleep(every)
