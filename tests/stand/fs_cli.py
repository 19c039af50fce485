"""FreeSWITCH's fs_cli as scripts use it, ``-x`` alone: one command over the Event Socket, its answer on stdout.

Run as a program, on Python's standard library alone: it stands in images of simulated nodes, too. Where no node
answers, or the password is not its own, it says what fs_cli says and ends with status 255, as that does.
"""

from __future__ import annotations

import getopt
import socket
import sys
from collections.abc import Sequence
from typing import Final

_REFUSED: Final = 255
_CONNECT: Final = 2.0
_SHORT: Final = {"-H": "--host", "-P": "--port", "-p": "--password", "-t": "--timeout", "-x": "--execute"}
_DEFAULTS: Final = {
    "--host": "127.0.0.1",
    "--port": "8021",
    "--password": "ClueCon",
    "--timeout": "0",
    "--execute": "status",
}


class _LostError(Exception):
    """The Event Socket ended or refused."""


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    given, _ = getopt.getopt(list(arguments), "H:P:p:t:x:", [f"{name[2:]}=" for name in _DEFAULTS])
    options = dict(_DEFAULTS) | {_SHORT.get(name, name): value for name, value in given}
    host, port, password, command = (options[name] for name in ("--host", "--port", "--password", "--execute"))
    patience = int(options["--timeout"]) / 1000
    try:
        with socket.create_connection((host, int(port)), _CONNECT) as stream:
            _login(stream, password)
            stream.settimeout(patience or None)
            answer = _asked(stream, f"api {command}")
    except TimeoutError:
        return 0  # a node that says nothing in time prints nothing, and that is no failure to fs_cli
    except (OSError, _LostError) as error:
        sys.stdout.write(f"[ERROR] fs_cli.c:1699 main() Error Connecting [{error}]\n")
        return _REFUSED
    sys.stdout.write(answer + "\n")
    return 0


def _login(stream: socket.socket, password: str) -> None:
    _frame(stream)
    headers, _ = _said(stream, f"auth {password}")
    if not headers.get("Reply-Text", "").startswith("+OK"):
        raise _LostError(headers.get("Reply-Text", ""))


def _asked(stream: socket.socket, command: str) -> str:
    _, body = _said(stream, command)
    return body


def _said(stream: socket.socket, command: str) -> tuple[dict[str, str], str]:
    stream.sendall(f"{command}\n\n".encode())
    return _frame(stream)


def _frame(stream: socket.socket) -> tuple[dict[str, str], str]:
    """One frame: its headers and its body."""
    head = b""
    while not head.endswith(b"\n\n"):
        head += _read(stream, 1)
    lines = (line.partition(": ") for line in head.decode(errors="replace").strip().splitlines())
    headers = {name: value for name, _, value in lines}
    body = b""
    while len(body) < int(headers.get("Content-Length", 0)):
        body += _read(stream, int(headers["Content-Length"]) - len(body))
    return headers, body.decode(errors="replace")


def _read(stream: socket.socket, size: int) -> bytes:
    data = stream.recv(size)
    if not data:
        raise _LostError("the connection ended")
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
