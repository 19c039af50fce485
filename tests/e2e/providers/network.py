"""Network namespaces: made, entered by the calling thread, deleted. Linux and root only.

Entering moves the thread, so whatever it opens or starts meanwhile (sockets, child processes) is inside; what was open
before stays where it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000


def missing() -> str | None:
    """Why no namespace can be made here; None when one can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None:
        return "a network namespace needs iproute2 (Debian: apt-get install iproute2)"
    try:
        name = f"st-e2e-probe-{os.getpid()}"
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made here: {error.stderr.strip()}"
    return None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Namespace:
    """A network namespace with loopback up and nothing else; the way out is its own."""

    def __init__(self, name: str) -> None:
        """Make it; raises CalledProcessError."""
        self.name = name
        _ip("netns", "add", name)
        self.ip("link", "set", "lo", "up")

    @property
    def path(self) -> Path:
        """What `nsenter --net=` takes."""
        return Path("/run/netns") / self.name

    def ip(self, *arguments: str) -> None:
        """Run `ip` on it."""
        _ip("-n", self.name, *arguments)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread into it for the block; may be nested."""
        with Path("/proc/thread-self/ns/net").open() as before, self.path.open() as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())

    def delete(self) -> None:
        """Take it away; processes still inside keep it alive without a name."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", self.name)
