"""Child processes that end with their owner, and free ports on loopback."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
STARTUP = 60.0
_FREE = range(22_000, 32_000)
"""Below the ports that Linux chooses from, and of no test's fixed ones."""


class StandError(Exception):
    """Something of the stand did not come up; the text holds its last words."""


def command(name: str) -> str:
    """The path of a program: of this environment first, then of the system. Raises StandError."""
    local = BIN / name
    found = str(local) if local.exists() else shutil.which(name)
    if found is None:
        raise StandError(f"{name} is not installed")
    return found


@contextlib.contextmanager
def child(arguments: Sequence[str], log: Path, *, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends, then end it: SIGTERM, after 10 s SIGKILL. Its output goes to ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=stdout or output, stderr=output)
    try:
        yield process
    finally:
        end(process)
        if process.stdout is not None:
            process.stdout.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a child: SIGTERM twice (the second means now), then SIGKILL."""
    for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, address: str = "127.0.0.1") -> int:
    """A port that nobody holds now, and that the kernel gives to nobody who asks for any; raises StandError."""
    for port in random.sample(_FREE, 100):
        with socket.socket(_family(address), kind) as probe, contextlib.suppress(OSError):
            probe.bind((address, port))
            return port
    raise StandError(f"no port of {address} from {_FREE.start} to {_FREE.stop - 1} is free")


def taken(kind: socket.SocketKind, address: str, port: int) -> bool:
    """Somebody holds this port; nothing is bound to find out, since that would keep others from it."""
    packed = socket.inet_pton(_family(address), address)
    words = [packed[i : i + 4][::-1].hex().upper() for i in range(0, len(packed), 4)]
    local = f"{''.join(words)}:{port:04X}"
    table = ("tcp" if kind == socket.SOCK_STREAM else "udp") + ("6" if ":" in address else "")
    lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    return any(line.split()[1] == local for line in lines)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask(url: str, method: str = "GET", body: dict[str, Any] | None = None, *, token: str | None = None) -> Any:
    """JSON over HTTP; raises OSError when nobody answers or the answer is an error. ``token``: for admin verbs."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5, context=_context(url)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise OSError(f"{method} {url}: {error.code} {error.read().decode(errors='replace')[:300]}") from None


def _context(url: str) -> ssl.SSLContext | None:
    """The stand's certificates are its own: there is nobody to vouch for them."""
    if not url.startswith("https:"):
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def read_text(url: str) -> str:
    """The text at ``url``; raises OSError."""
    with urllib.request.urlopen(url, timeout=5, context=_context(url)) as answer:
        text: str = answer.read().decode()
        return text


def until(condition: Any, what: str, patience: float = STARTUP) -> Any:
    """Ask ``condition`` until it gives something true and return that; raises StandError after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if found := condition():
                return found
        time.sleep(0.05)
    raise StandError(f"{what} did not come about within {patience:g} s")
