"""The programs of a control plane as child processes, each with its log, ended by their process ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class StartError(Exception):
    """A program did not come up; the text holds the end of its log."""


class Processes:
    """Children by name. One name is one process at a time; its log is kept over restarts."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start a program in the network namespace of the calling thread, in a session of its own."""
        with self.log(name).open("ab") as output:
            self._running[name] = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if env is None else {**os.environ, **env},
                # A Ctrl-C is pytest's to handle: the control plane must outlive the tests' own cleaning up.
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """Where its output goes."""
        return self.logs / f"{name}.log"

    def pid(self, name: str) -> int:
        """Its process id; KeyError when it was not started."""
        return self._running[name].pid

    def alive(self, name: str) -> bool:
        """Whether it runs."""
        return name in self._running and self._running[name].poll() is None

    def stop(self, name: str, *, now: bool = False, patience: float = 10.0) -> None:
        """End a program: SIGTERM, then SIGKILL after ``patience`` seconds; ``now``: SIGKILL at once."""
        process = self._running.pop(name, None)
        if process is None:
            return
        if process.poll() is None and not now:
            process.terminate()
            # A stopped (SIGSTOP) child cannot follow SIGTERM.
            process.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        if process.poll() is None:
            process.kill()
        process.wait()

    def kill_all(self) -> None:
        """End every program at once, the last started first: none of them has anything worth keeping."""
        for name in reversed(list(self._running)):
            self.stop(name, now=True)

    def wait(self, name: str, ready: Callable[[], bool], patience: float = 90.0) -> None:
        """Ask ``ready`` until it is true; raises StartError when the program ends or ``patience`` seconds pass."""
        deadline = time.monotonic() + patience
        while not self._answered(ready):
            if not self.alive(name):
                raise StartError(f"{name} ended:\n{self.tail(name)}")
            if time.monotonic() > deadline:
                raise StartError(f"{name} was not ready within {patience:g} s:\n{self.tail(name)}")
            time.sleep(0.05)

    @staticmethod
    def _answered(ready: Callable[[], bool]) -> bool:
        try:
            return ready()
        except OSError:
            return False

    def tail(self, name: str, size: int = 3000) -> str:
        """The end of its log."""
        return self.log(name).read_text(errors="replace")[-size:]
