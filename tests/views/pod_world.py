"""A scripted API server with an operator and a balancer in processes of their own: what only a cluster exports.

It is enough for their metrics: the pods of its one group are nowhere, so its nodes stay down, and there are fewer than
it is to have, so the operator asks for more.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.stand.kube_api import KubeApi
from tests.stand.process import child, command, free_port, read_text, until

OWN = "switchtender"
NAMESPACE = "voice"
PODS = 3
_LABELS = {"app": "freeswitch"}
_ADDRESS = "127.0.0.1"
_API = "switchtender.dev/v1alpha1"


@dataclass(frozen=True)
class World:
    """Where the processes are scraped, as host:port."""

    operator: str
    balancer: str


@contextlib.contextmanager
def running(folder: Path) -> Iterator[World]:
    """The world while the block lasts, from when the operator hears that the balancer acts on what it made."""
    operator, balancer = free_port(), free_port()
    config = _config(balancer, folder / "state")
    (folder / "balancer.yaml").write_text(yaml.safe_dump(config))
    with _serving([*_objects(balancer, config)], folder / "kubeconfig") as server, contextlib.ExitStack() as stack:
        api = ["--kubeconfig", str(server.kubeconfig), "--namespace", OWN]
        http = ["--http-address", _ADDRESS, "--http-port", str(operator)]
        secrets = ["--keys-secret", "st-config-keys", "--token-secret", "st-config-token"]
        operating = [sys.executable, "-m", "switchtender_operator", "run", *api, *http, "--identity", "one"]
        balancing = [command("switchtender"), "serve", "--kubernetes", "--config", str(folder / "balancer.yaml")]
        stack.enter_context(child(operating, folder / "operator.log"))
        _until_said(f"{_ADDRESS}:{operator}", "switchtender_operator_published_generation{")
        stack.enter_context(child([*balancing, *api, *secrets], folder / "balancer.log"))
        world = World(f"{_ADDRESS}:{operator}", f"{_ADDRESS}:{balancer}")
        _until_said(world.balancer, "switchtender_group_sessions{")
        _until_said(world.operator, "switchtender_operator_acked_generation{")
        _until_said(world.operator, "switchtender_operator_scales_total{")
        server.cut()
        _until_said(world.operator, "switchtender_operator_watch_restarts_total{")
        yield world


def _until_said(target: str, words: str) -> None:
    until(lambda: words in read_text(f"http://{target}/metrics"), f"{words} at {target}")


@dataclass(frozen=True)
class _Server:
    kubeconfig: Path
    cut: Callable[[], None]
    """Close every connection, as an API server that is replaced does."""


@contextlib.contextmanager
def _serving(objects: list[dict[str, Any]], path: Path) -> Iterator[_Server]:
    """An API server with these objects, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted API server")
    thread.start()
    api = KubeApi(bookmark_every=0.5)

    async def start() -> None:
        await api.start()
        for each in objects:
            api.put(each)

    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield _Server(api.kubeconfig(path), lambda: loop.call_soon_threadsafe(api.drop_connections))
        asyncio.run_coroutine_threadsafe(api.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _config(http: int, state: Path) -> dict[str, Any]:
    spec = {
        "listeners": [{"name": "public", "address": _ADDRESS, "port": 0}],
        "nodeSide": {"address": _ADDRESS, "port": 0, "workerPorts": "0-0"},
        "stateDir": str(state),
        "http": {"address": _ADDRESS, "port": http},
    }
    return {"apiVersion": _API, "kind": "BalancerConfig", "metadata": {"name": "default"}, "spec": spec}


def _objects(balancer: int, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    ours = {"switchtender.dev/balancer": "default"}
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "st-config", "namespace": OWN, "labels": ours},
        "data": {"balancer.yaml": yaml.safe_dump(config)},
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "st-peers-x", "namespace": OWN, "labels": ours},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": balancer}],
        "endpoints": [{"addresses": [_ADDRESS], "targetRef": {"kind": "Pod", "name": "balancer-0", "uid": "b-0"}}],
    }
    yield {
        "apiVersion": _API,
        "kind": "BalancerGroup",
        "metadata": {"name": "ivr", "namespace": NAMESPACE},
        "spec": {
            "members": {"selector": {"matchLabels": _LABELS}},
            "autoscale": {"target": {"name": "freeswitch"}, "min": PODS + 2, "max": 20},
        },
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "freeswitch", "namespace": NAMESPACE},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}},
        },
        "status": {"replicas": PODS, "updatedReplicas": PODS},
    }
    for number in range(PODS):
        address = f"192.0.2.{number + 1}"
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"fs-{number}", "namespace": NAMESPACE, "labels": _LABELS},
            "spec": {"nodeName": "worker-1"},
            "status": {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
