"""FreeSWITCH pods with simulated nodes at their addresses (provider sim): kwok plays the pod, the node answers."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.providers.cluster import Json
from tests.e2e.providers.sim import pod_address
from tests.e2e.voice import APP, Voice
from tests.stand.nodes import Node, Nodes, simulated

ROOMY = {"max-sessions": 2000, "sessions-per-second": 1000, "max-requests-per-second": 0}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class PodNode(Node):
    """A node at a pod's address."""

    pod: str = ""

    @property
    def address(self) -> str:
        """Where it takes SIP (5060) and ESL (8021)."""
        return self.pod


class Switches:
    """FreeSWITCH pods of a namespace and the simulators behind them, until it is closed."""

    def __init__(self, voice: Voice, folder: Path, password: str = "ClueCon") -> None:
        self.voice = voice
        self._folder = folder
        self._password = password
        self._stack = contextlib.ExitStack()
        self._nodes: dict[str, Nodes] = {}

    def close(self) -> None:
        """End the simulators."""
        self._stack.close()

    def start(self, *names: str, ready: bool = True, app: str = APP, hold: bool = False, **settings: Any) -> None:
        """Start pods of these names with a roomy node each; ``settings`` as `switchtender-sim` names them."""
        wanted = ROOMY | {name.replace("_", "-"): value for name, value in settings.items()}
        nodes = [PodNode(name, 0, wanted, pod=pod_address()) for name in names]
        folder = self._folder / f"simulator-{next(_numbers)}"
        folder.mkdir()
        options = ("--heartbeat-interval", "1", "--password", self._password)
        with self.voice.cluster.inside():
            running = self._stack.enter_context(simulated(nodes, folder, *options))
        more = {"hold": "yes"} if hold else {}
        for node in nodes:
            self._nodes[node.name] = running
            self.voice.create_pod(node.name, app, address=node.address, ready=ready, **more)

    def all(self) -> dict[str, Json]:
        """Every node as its simulator shows it, by name."""
        found: dict[str, Json] = {}
        with self.voice.cluster.inside():
            for running in dict.fromkeys(self._nodes.values()):
                found |= running.all()
        return found

    def counted(self, counter: str) -> dict[str, int]:
        """A counter of each node by name: answered, byes_unanswered …"""
        return {name: int(node["counters"][counter]) for name, node in self.all().items()}

    def live_calls(self) -> int:
        """Calls that stand on all nodes together."""
        return sum(int(node["live_calls"]) for node in self.all().values())

    def do(self, action: str, names: Sequence[str] = ()) -> None:
        """POST an action of the simulator for these nodes, or all of them."""
        with self.voice.cluster.inside():
            for name in names or self._nodes:
                self._nodes[name].do(name, action)

    def change(self, **settings: Any) -> None:
        """Change a setting of every node while it runs."""
        with self.voice.cluster.inside():
            for name, running in self._nodes.items():
                running.change(name, **settings)
