"""The balancer as a process: a configuration for the stand's nodes, `switchtender serve`, its HTTP answers."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.stand.nodes import Node
from tests.stand.process import StandError, ask, child, command, until


@dataclass
class Layout:
    """Where a balancer listens on loopback. Every port stands on ``address``, which is the balancer's own."""

    address: str = "127.0.0.1"
    sip: int = 5060
    node_side: int = 5070
    worker_ports: tuple[int, int] = (5071, 5086)
    http: int = 8080
    workers: int = 1
    peers: tuple[str, ...] = ()
    tls: tuple[Path, Path] | None = None
    """Certificate and key of its HTTP interface."""

    @property
    def scheme(self) -> str:
        """How its HTTP interface is spoken to."""
        return "http" if self.tls is None else "https"

    @property
    def url(self) -> str:
        """Its HTTP interface."""
        return f"{self.scheme}://{self.address}:{self.http}"


@dataclass
class Group:
    """A group of the stand's nodes; ``spec`` is merged over what the stand needs."""

    name: str
    nodes: Sequence[Node]
    spec: dict[str, Any] = field(default_factory=dict)
    reported: bool = True

    def document(self) -> dict[str, Any]:
        """The BalancerGroup document."""
        static = []
        for node in self.nodes:
            member: dict[str, Any] = {"name": node.name, "sip": f"sip:{node.address}"}
            if self.reported:
                member["load"] = f"fs://:ClueCon@{node.address}"
            static.append(member)
        spec: dict[str, Any] = {"members": {"static": static}, "capacity": {"legsPerCall": 1}}
        for key, value in self.spec.items():
            spec[key] = {**spec.get(key, {}), **value} if isinstance(value, dict) else value
        return {
            "apiVersion": "switchtender.dev/v1alpha1",
            "kind": "BalancerGroup",
            "metadata": {"name": self.name},
            "spec": spec,
        }


def write_config(path: Path, layout: Layout, groups: Sequence[Group], state_dir: Path, **spec: Any) -> None:
    """Write the file that `switchtender serve` reads."""
    config = {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerConfig",
        "metadata": {"name": "default"},
        "spec": {
            "listeners": [{"name": "public", "address": layout.address, "port": layout.sip}],
            "nodeSide": {
                "address": layout.address,
                "port": layout.node_side,
                "workerPorts": f"{layout.worker_ports[0]}-{layout.worker_ports[1]}",
            },
            "workers": layout.workers,
            "peers": {"static": list(layout.peers)},
            "stateDir": str(state_dir),
            "http": {"address": layout.address, "port": layout.http, **_tls(layout)},
            **spec,
        },
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump_all([config, *(group.document() for group in groups)], sort_keys=False))
    fresh.replace(path)


def _tls(layout: Layout) -> dict[str, Any]:
    if layout.tls is None:
        return {}
    certificate, key = layout.tls
    return {"tls": {"certificateFile": str(certificate), "keyFile": str(key)}}


class Balancer:
    """A running balancer."""

    def __init__(self, layout: Layout, process: subprocess.Popen[bytes], log: Path, token_file: Path) -> None:
        self.layout = layout
        self.process = process
        self.log = log
        self.token_file = token_file

    def order(self, node: str, verb: str, **details: Any) -> Any:
        """What became of an order."""
        url = f"{self.layout.url}/api/v1/nodes/{node}/{verb}"
        return ask(url, "POST", details, token=self.token_file.read_text().strip())

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Its nodes by name."""
        return {node["node"]: node for node in ask(f"{self.layout.url}/api/v1/nodes")["nodes"]}

    def groups(self) -> dict[str, dict[str, Any]]:
        """Its groups by name."""
        return {group["group"]: group for group in ask(f"{self.layout.url}/api/v1/groups")["groups"]}

    def states(self) -> dict[str, str]:
        """The state of each node by name."""
        return {name: node["state"] for name, node in self.nodes().items()}


@contextlib.contextmanager
def serving(config: Path, layout: Layout, *, settled: bool = True) -> Iterator[Balancer]:
    """Run `switchtender serve` until the block ends; ``settled``: wait until no node is ``unknown`` any more."""
    log = config.with_suffix(".log")
    arguments = [command("switchtender"), "serve", "--config", str(config), "--log-format", "console"]
    with child(arguments, log) as process:
        balancer = Balancer(layout, process, log, _state_dir(config) / "admin-token")

        def ready() -> bool:
            if process.poll() is not None:
                raise StandError(f"the balancer ended: {log.read_text(errors='replace')[-3000:]}")
            ask(f"{layout.url}/readyz")
            return not settled or "unknown" not in balancer.states().values()

        until(ready, "a ready balancer")
        yield balancer


def _state_dir(config: Path) -> Path:
    """Where the balancer keeps what outlives it, as the file says."""
    return Path(next(yaml.safe_load_all(config.read_text()))["spec"]["stateDir"])
