"""The cluster of real nodes: control plane and first node on one machine, further machines beside it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.e2e.providers.cluster import Cluster
from tests.e2e.providers.control_plane import ControlPlane
from tests.e2e.providers.node import prerequisites, wiring
from tests.e2e.providers.node.kubernetes_node import Credentials, KubernetesNode
from tests.e2e.providers.node.machine import Machine

SANDBOX_IMAGE = "docker.io/switchtender/sandbox:e2e"
_FIRST_OUTSIDE = 101  # machines that are no nodes have addresses from here


def missing() -> str | None:
    """Why this cannot run here; None when it can."""
    return prerequisites.missing()


class NodeCluster(Cluster):
    """A cluster whose pods are real; machines outside of it can be plugged into its network."""

    def __init__(self, binaries: Path, folder: Path, plane: ControlPlane, first: Machine) -> None:
        super().__init__("node", binaries, plane.kubeconfig, folder, inside=first.inside, control_plane=plane)
        self.nodes: dict[int, KubernetesNode] = {}
        self._plane = plane
        self._first = first
        self._outside = 0
        self._stops = contextlib.ExitStack()

    @property
    def address(self) -> str:
        """The first node's address, where node ports are to be had."""
        return wiring.address(1)

    def join(self, number: int) -> KubernetesNode:
        """Make node ``number``, known to every other; nothing runs on it yet. Raises MachineError."""
        name = f"node-{number}"
        machine = self._first
        if number > 1:
            machine = Machine(name, self.folder / "logs" / name)
            self._stops.callback(machine.power_off)
            wiring.plug(machine, number, self._first)
        wiring.route_pods(machine, number, {other: node.machine for other, node in self.nodes.items()})
        credentials = Credentials(self._plane.authority, *self._plane.node_credentials(name, wiring.address(number)))
        folder = self.folder / name
        folder.mkdir()
        cgroup = f"switchtender-e2e-{os.getpid()}-{name}"
        node = KubernetesNode(machine, number, folder, self.binaries, credentials, cgroup, SANDBOX_IMAGE)
        self.nodes[number] = node
        self._stops.callback(node.stop)
        for daemon in ("containerd", "kubelet", "kube-proxy"):
            self.watch_log(machine.log_file(daemon))
        return node

    def start(self, *images: Sequence[Path]) -> None:
        """Start the control plane and a node for each of ``images``, and wait until all are Ready.

        Raises StartError, MachineError, AssertionError.
        """
        nodes = [self.join(number) for number in range(1, len(images) + 1)]
        with ThreadPoolExecutor() as pool:
            runtimes = [pool.submit(node.start_runtime, each) for node, each in zip(nodes, images, strict=True)]
            with self.inside():
                self._plane.start()
            for node, runtime in zip(nodes, runtimes, strict=True):
                runtime.result()
                node.start_kubelet()
        for node in nodes:
            self.until(partial(self._ready, node.name), f"{node.name} to be Ready", patience=60)

    def add_machine(self, name: str) -> tuple[Machine, str]:
        """Plug in a machine that is no node of the cluster; gives it and its address."""
        number = _FIRST_OUTSIDE + self._outside
        self._outside += 1
        machine = Machine(name, self.folder / "logs" / name)
        self._stops.callback(machine.power_off)
        wiring.plug(machine, number, self._first)
        return machine, wiring.address(number)

    def _ready(self, name: str) -> bool:
        node = self.get(f"/api/v1/nodes/{name}") or {}
        conditions = node.get("status", {}).get("conditions", [])
        taints = node.get("spec", {}).get("taints", [])
        return not taints and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def dump(self, folder: Path) -> str:
        """As `Cluster.dump`, with the last words of every pod."""
        pages = [super().dump(folder)]
        for pod in self.items("/api/v1/pods"):
            name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
            said = self.kubectl("logs", name, "-n", space, "--all-containers", "--tail=400", check=False)
            (folder / f"{space}.{name}.log").write_text(said)
            pages.append(f"--- {space}/{name}: {pod['status'].get('phase')}\n{said[-1500:]}")
        return "\n".join(pages)

    def stop(self) -> None:
        """Switch every machine off; raises MachineError when something of a node stays."""
        self.close()
        self._stops.close()


@contextlib.contextmanager
def cluster(binaries: Path, folder: Path, *images: Sequence[Path]) -> Iterator[NodeCluster]:
    """A cluster for the block, with one real node for each of ``images``, which it has (docker archives).

    Raises StartError, MachineError.
    """
    with contextlib.ExitStack() as stops:
        first = Machine("node-1", folder / "logs" / "node-1")
        stops.callback(first.power_off)
        wiring.make_switch(first)
        plane = ControlPlane(binaries, folder, reachable=True, kwok=False)
        stops.callback(plane.close)
        found = NodeCluster(binaries, folder, plane, first)
        # Nodes before the control plane: a kubelet without its API server only fills its log.
        stops.callback(found.stop)
        found.start(*images)
        yield found
