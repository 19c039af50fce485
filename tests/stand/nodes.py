"""Simulated FreeSWITCH nodes, driven over the simulator's HTTP API."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stand.process import StandError, ask, child, command, free_port


@dataclass(frozen=True)
class Node:
    """A node to simulate, at 127.0.``net``.``host``; ``settings`` as `switchtender-sim --help` names them."""

    name: str
    host: int
    settings: dict[str, str | int | float]
    net: int = 0

    @property
    def address(self) -> str:
        """Where it takes SIP (5060) and ESL (8021)."""
        return f"127.0.{self.net}.{self.host}"

    def spec(self) -> str:
        """The value of ``--node``."""
        fixed = {"name": self.name, "sip": f"{self.address}:5060", "esl": f"{self.address}:8021"}
        return ",".join(f"{name}={value}" for name, value in (fixed | self.settings).items())


class Nodes:
    """The nodes of one simulator process."""

    def __init__(self, nodes: Sequence[Node], url: str, process: subprocess.Popen[bytes]) -> None:
        self.nodes = tuple(nodes)
        self.process = process
        self._url = url

    def all(self) -> dict[str, dict[str, Any]]:
        """Every node as the simulator shows it, by name."""
        answer = ask(f"{self._url}/nodes")
        entries = answer["nodes"] if isinstance(answer, dict) and "nodes" in answer else answer
        return entries if isinstance(entries, dict) else {entry["name"]: entry for entry in entries}

    def do(self, name: str, action: str) -> None:
        """POST an action: crash, start?wait=1, pause?direction=inbound, term …"""
        ask(f"{self._url}/nodes/{name}/{action}", "POST")

    def change(self, name: str, **settings: Any) -> None:
        """Change settings of a node while it runs."""
        ask(f"{self._url}/nodes/{name}", "PATCH", settings)

    def fault(self, name: str, **faults: Any) -> None:
        """Turn fault switches of a node on or off."""
        ask(f"{self._url}/nodes/{name}/faults", "PATCH", faults)


@contextlib.contextmanager
def simulated(nodes: Sequence[Node], folder: Path, *options: str) -> Iterator[Nodes]:
    """Run the simulator with these nodes until the block ends."""
    port = free_port()
    arguments = [command("switchtender-sim"), "--http", f"127.0.0.1:{port}", *options]
    for node in nodes:
        arguments += ["--node", node.spec()]
    log = folder / "simulator.log"
    with child(arguments, log, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(b'{"ready"'):
            raise StandError(f"the simulator did not start: {log.read_text(errors='replace')[-2000:]}")
        json.loads(line)
        yield Nodes(nodes, f"http://127.0.0.1:{port}", process)
