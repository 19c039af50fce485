"""What the tests of `switchtender serve` share: a configuration on loopback, and the command within this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from switchtender.serve.server import Server

_ROOT = str(Path(__file__).parents[2])
if _ROOT not in sys.path:  # the stand belongs to the workspace, not to a package
    sys.path.insert(0, _ROOT)

from tests.stand.balancer import Balancer, Group, Layout, serving, write_config  # noqa: E402
from tests.stand.nodes import Node, simulated  # noqa: E402
from tests.stand.process import ask, read_text, until  # noqa: E402

__all__ = [
    "Balancer",
    "Group",
    "Layout",
    "Node",
    "Serving",
    "ask",
    "config_of",
    "eventually",
    "group_of",
    "read_text",
    "served",
    "serving",
    "simulated",
    "until",
    "write",
    "write_config",
]


def config_of(state_dir: Path, *, address: str = "127.0.0.82", **spec: Any) -> dict[str, Any]:
    """A BalancerConfig whose every port the kernel picks."""
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerConfig",
        "metadata": {"name": "default"},
        "spec": {
            "listeners": [{"name": "public", "address": address, "port": 0}],
            "nodeSide": {"address": address, "port": 0, "workerPorts": "0-0"},
            "stateDir": str(state_dir),
            "http": {"address": address, "port": 0},
            **spec,
        },
    }


def group_of(name: str, *members: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A BalancerGroup of these members."""
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerGroup",
        "metadata": {"name": name},
        "spec": {"members": {"static": list(members)}, "capacity": {"legsPerCall": 1}, **spec},
    }


def write(path: Path, *documents: dict[str, Any]) -> Path:
    """Replace the file by these documents at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    fresh.replace(path)
    return path


async def eventually(condition: Callable[[], Any]) -> Any:
    """Wait within the event loop until it is so, and give what it gave."""
    async with asyncio.timeout(60):
        while not (found := condition()):
            await asyncio.sleep(0.005)
    return found


class Serving:
    """`switchtender serve` within this process: its records so far, its addresses, and its end."""

    def __init__(self, path: Path) -> None:
        self.records: list[logging.LogRecord] = []
        self.server = Server(path)
        self.task = asyncio.create_task(self.server.run())

    def messages(self, level: int = logging.INFO) -> list[str]:
        """What was logged from this level on."""
        return [record.getMessage() for record in self.records if record.levelno >= level]

    @property
    def listener(self) -> tuple[str, int]:
        """Where its first listener is."""
        name, _, port = self._serving().listeners[0].rpartition(":")
        return name.split()[1], int(port)

    async def get(self, path: str) -> Any:
        """The JSON at this path of its HTTP interface."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self._serving().http}{path}") as answer:
            return await answer.json()

    async def states(self) -> dict[str, tuple[str, str]]:
        """State and reason of each node."""
        return {node["node"]: (node["state"], node["reason"]) for node in (await self.get("/api/v1/nodes"))["nodes"]}

    def signal(self, number: signal.Signals) -> None:
        """As the system would send it."""
        os.kill(os.getpid(), number)

    def _serving(self) -> Any:
        [record] = [record for record in self.records if record.getMessage() == "serving"]
        return record


@contextlib.asynccontextmanager
async def served(path: Path) -> AsyncIterator[Serving]:
    """Serve this file while the block lasts, then stop at once."""
    serving_now = Serving(path)
    handler = logging.Handler()
    handler.emit = serving_now.records.append  # type: ignore[method-assign]
    package = logging.getLogger("switchtender")
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.DEBUG)
    try:
        await eventually(lambda: "serving" in serving_now.messages() or serving_now.task.done())
        if serving_now.task.done():
            await serving_now.task
        yield serving_now
    finally:
        while not serving_now.task.done():
            serving_now.signal(signal.SIGTERM)
            await asyncio.sleep(0.05)
        package.removeHandler(handler)
        package.setLevel(level)
    await serving_now.task
