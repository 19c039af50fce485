"""FreeSWITCH nodes of a real cluster: Deployments of the simulator's image, one node a pod, and machines outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.images import build
from tests.e2e.providers.cluster import Cluster, Json
from tests.e2e.providers.node.machine import Machine
from tests.e2e.switches import ROOMY
from tests.stand import drain_hook
from tests.stand.nodes import Nodes
from tests.stand.process import ask, child, command

CONTROL = 9100
"""Port of the simulator's control interface, at each node's address."""
_SETTINGS = ROOMY | {"heartbeat-interval": 1}
_LAST_CALLS = 8
"""Seconds that a pod's preStop waits for calls, after which it has 4 to shut down in."""
_SCRIPTS = Path("/etc/freeswitch")


@dataclass(frozen=True)
class Switch:
    """A running node; ``inside`` is where its control interface is to be had."""

    name: str
    address: str
    inside: Callable[[], AbstractContextManager[None]]

    @property
    def _nodes(self) -> Nodes:
        return Nodes((), f"http://{self.address}:{CONTROL}", None)  # type: ignore[arg-type]

    def shown(self) -> Json:
        """Itself, as the simulator shows it."""
        with self.inside():
            return self._nodes.all()[self.name]

    def counted(self, counter: str) -> int:
        """One of its counters: answered, byes_received …"""
        return int(self.shown()["counters"][counter])

    def do(self, action: str) -> None:
        """POST an action: hupall, crash …"""
        with self.inside():
            self._nodes.do(self.name, action)


def scripts() -> Json:
    """The ConfigMap that the pods of ``deployment`` mount: switchtender-drain as the samples ship it, and an fs_cli."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "freeswitch"},
        "data": {
            drain_hook.NAME: drain_hook.script(),
            "fs_cli.py": drain_hook.FS_CLI.read_text(),
            "fs_cli": drain_hook.fs_cli("python3", _SCRIPTS / "fs_cli.py"),
        },
    }


def deployment(name: str, replicas: int, *, host: str | None = None) -> Json:
    """A Deployment of nodes that take calls for ``app: freeswitch``; ``host``: on that host's own network."""
    arguments = [
        "--node=name=$(POD_NAME),sip=$(POD_IP):5060,esl=$(POD_IP):8021",
        f"--http=$(POD_IP):{CONTROL}",
        "--password=$(ESL_PASSWORD)",
        *(f"--{setting}={value}" for setting, value in _SETTINGS.items()),
    ]
    container = {
        "name": "freeswitch",
        "image": build.reference("simulator"),
        "imagePullPolicy": "Never",
        "args": arguments,
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "ESL_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}},
            {"name": "DRAIN_TIMEOUT", "value": str(_LAST_CALLS)},
            {"name": "PATH", "value": f"{_SCRIPTS}:/opt/switchtender/bin:/usr/local/bin:/usr/bin:/bin"},
        ],
        "readinessProbe": {"tcpSocket": {"port": CONTROL}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"exec": {"command": ["sh", str(_SCRIPTS / drain_hook.NAME)]}}},
        "volumeMounts": [{"name": "scripts", "mountPath": str(_SCRIPTS), "readOnly": True}],
    }
    labels = {"app": "freeswitch", "deployment": name}
    where = {"hostNetwork": True, "nodeSelector": {"kubernetes.io/hostname": host}} if host else {}
    volume = {"name": "scripts", "configMap": {"name": "freeswitch", "defaultMode": 0o555}}
    spec = {
        "terminationGracePeriodSeconds": _LAST_CALLS + 4,
        "containers": [container],
        "volumes": [volume],
        **where,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def switches(cluster: Cluster, namespace: str) -> dict[str, Switch]:
    """The nodes that are ready pods and stay, by name."""
    found = {}
    for pod in cluster.items(f"/api/v1/namespaces/{namespace}/pods", "app=freeswitch"):
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
        if ready and "deletionTimestamp" not in pod["metadata"]:
            name = pod["metadata"]["name"]
            found[name] = Switch(name, pod["status"]["podIP"], cluster.inside)
    return found


@contextlib.contextmanager
def outside(name: str, machine: Machine, address: str, folder: Path, password: str) -> Iterator[Switch]:
    """A node that no Kubernetes knows, on a machine of its own, for the block."""
    options: dict[str, Any] = {**_SETTINGS, "password": password, "http": f"{address}:{CONTROL}"}
    arguments = [
        *machine.on_network(command("switchtender-sim")),
        f"--node=name={name},sip={address}:5060,esl={address}:8021",
        *(f"--{option}={value}" for option, value in options.items()),
    ]
    with child(arguments, folder / f"{name}.log") as process:
        switch = Switch(name, address, machine.inside)
        while process.poll() is None:
            with contextlib.suppress(OSError), machine.inside():
                ask(f"http://{address}:{CONTROL}/nodes")
                break
        yield switch
