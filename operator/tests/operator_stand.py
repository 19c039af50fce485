"""What the tests of the operator's process share: objects, an operator in this process or in its own, a balancer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from kopf import ConnectionInfo

from switchtender_kube import Client
from switchtender_operator.app import Operator
from switchtender_operator.config.settings import Settings
from switchtender_operator.config.timing import Timing
from switchtender_operator.reconcile.reconciler import utc_now
from switchtender_operator.telemetry.metrics import Metrics

_ROOT = str(Path(__file__).parents[2])
if _ROOT not in sys.path:  # the stand belongs to the workspace, not to a package
    sys.path.insert(0, _ROOT)

from tests.stand.kube_api import Fault, KubeApi, eventually  # noqa: E402

__all__ = ["Fault", "KubeApi", "eventually"]

OWN = "switchtender"
NAMESPACE = "voice"
WRITES = {"create", "update", "patch", "apply", "delete"}

TIMING = Timing(
    quiet=0.02,
    most_delay=0.1,
    soonest_wake=0.05,
    backoff_first=0.05,
    backoff_most=0.5,
    poll=0.05,
    poll_timeout=1.0,
    autoscale=0.05,
    poll_memory=0.3,
    status_interval=0.2,
    programmed_grace=0.2,
    token_retry=0.1,
    secrets_retry=0.1,
    crd_retry=0.1,
    kopf_backoff_most=0.2,
    pods_patience=1.0,
    watch_silence=3.0,
    watch_confirm=0.2,
    watch_backoff=0.02,
    watch_backoff_most=0.2,
)

ESL = {"passwordFrom": {"secretKeyRef": {"name": "esl", "key": "password"}}}

Json = dict[str, Any]


def serving(**more: Any) -> KubeApi:
    """An API server whose watches say something now and then, as real ones do."""
    return KubeApi(bookmark_every=0.2, **more)


# --- objects ------------------------------------------------------------------------------------------------------


def group(name: str = "ivr", namespace: str = NAMESPACE, app: str = "fs", **spec: Any) -> Json:
    """A BalancerGroup whose pods have the label `app`."""
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerGroup",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"members": {"selector": {"matchLabels": {"app": app}}}, **spec},
    }


def pod(number: int = 0, namespace: str = NAMESPACE, app: str = "fs", *, ready: bool = True) -> Json:
    """A pod that runs, at an address of its number."""
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"fs-{number}", "namespace": namespace, "labels": {"app": app}},
        "spec": {"nodeName": "worker-1"},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


LISTENERS = "{listeners: [{address: $(POD_IP)}]}"


def config_map(name: str = "st-config", balancer: str = "default", spec: str = LISTENERS) -> Json:
    """A ConfigMap with a balancer's configuration."""
    frame = "apiVersion: switchtender.dev/v1alpha1\nkind: BalancerConfig\n"
    text = f"{frame}metadata: {{name: {balancer}}}\nspec: {spec}\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": OWN, "labels": {"switchtender.dev/balancer": balancer}},
        "data": {"balancer.yaml": text},
    }


def endpoint_slice(port: int, name: str = "st-peers-x", balancer: str = "default") -> Json:
    """An EndpointSlice with one balancer, which listens at the port on loopback."""
    target = {"kind": "Pod", "name": f"b-{port}", "uid": f"uid-{port}"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": OWN, "labels": {"switchtender.dev/balancer": balancer}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "targetRef": target}],
    }


def members(api: KubeApi, name: str = "ivr", namespace: str = NAMESPACE) -> dict[str, str]:
    """The members of all of a group's sets: state by name."""
    return {
        member["name"]: member["state"]
        for one in api.objects("destinationsets", namespace)
        if one["metadata"]["labels"].get("switchtender.dev/group") == name
        for member in one["spec"].get("members", [])
    }


def conditions(api: KubeApi, name: str = "ivr", namespace: str = NAMESPACE) -> dict[str, tuple[str, str]]:
    """The conditions of a group: status and reason by type."""
    found = api.object("balancergroups", namespace, name) or {}
    return {one["type"]: (one["status"], one["reason"]) for one in found.get("status", {}).get("conditions", [])}


def writes(api: KubeApi, since: int = 0, *, leases: bool = False) -> list[str]:
    """The writes that the API server was asked for, leases left out."""
    return [
        f"{one.verb} {one.path}"
        for one in api.requests[since:]
        if one.verb in WRITES and (leases or one.resource != "leases")
    ]


def fewest_members(api: KubeApi) -> Callable[[], int]:
    """Watch the sets from now on; the returned function gives the least number of members that they ever had."""
    least = [len(members(api))]

    def look(_: object) -> None:
        least[0] = min(least[0], len(members(api)))

    api.store.subscribers.add(look)
    return lambda: least[0]


# --- an operator in this process ----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def operating(
    api: KubeApi,
    *,
    timing: Timing = TIMING,
    wall: Callable[[], datetime] = utc_now,
    kopf: bool = False,
    **settings: Any,
) -> AsyncIterator[Operator]:
    """An operator that runs while the context lasts, and must not fail meanwhile; `kopf` stays at its login or not."""
    others = set(threading.enumerate())
    metrics = Metrics()
    client = await Client.connect(server=api.url, user_agent="switchtender-operator", observe=metrics.request)

    async def login() -> ConnectionInfo:
        if not kopf:
            await asyncio.Event().wait()
        return ConnectionInfo(server=api.url)

    given = {"namespace": OWN, "identity": f"test-{secrets.token_hex(4)}", "lease_duration": 15.0, "pod_marks": False}
    given |= settings
    operator = Operator(client, login, Settings(**given), timing, metrics, wall=wall)
    work = asyncio.create_task(operator.run())
    try:
        yield operator
        assert not work.done(), work.exception()
    finally:
        work.cancel()
        await asyncio.wait({work})
        await client.close()
        for thread in set(threading.enumerate()) - others:
            if thread.name == "kopf":
                await asyncio.to_thread(thread.join, 10)


async def settled(api: KubeApi, quiet: float = 0.3) -> None:
    """Wait until nothing was written for a while, which is one of the event loop: a machine at a halt is not quiet."""
    turn = 0.02
    seen, left = -1, 0
    while True:
        count = len(writes(api))
        if count != seen:
            seen, left = count, round(quiet / turn)
        if left <= 0:
            return
        left -= 1
        await asyncio.sleep(turn)


# --- an operator in a process of its own --------------------------------------------------------------------------


@dataclass
class Replica:
    """`switchtender-operator run` as a child."""

    process: asyncio.subprocess.Process
    log: Path
    identity: str

    def text(self) -> str:
        """What it logged so far."""
        return self.log.read_text()

    @property
    def url(self) -> str | None:
        """Its HTTP address, once it said so."""
        found = re.search(r'"port": (\d+)', self.text())
        return f"http://127.0.0.1:{found[1]}" if found else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def end(self) -> int:
        """Kill it if it still runs; its exit status."""
        if self.process.returncode is None:
            self.process.kill()
        return await self.process.wait()


@contextlib.asynccontextmanager
async def replica(
    api: KubeApi, directory: Path, *flags: str, identity: str = "a", **environment: str
) -> AsyncIterator[Replica]:
    """A replica that runs until it is told otherwise, or the context ends."""
    kubeconfig = api.kubeconfig(directory / f"kubeconfig-{identity}")
    log = directory / f"{identity}.log"
    command = ["-m", "switchtender_operator", "run", "--kubeconfig", str(kubeconfig), "--namespace", OWN]
    ports = ["--http-address", "127.0.0.1", "--http-port", "0", "--identity", identity]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, *ports, *flags, stdout=output, stderr=output, env={**kept, **environment}
        )
    one = Replica(process, log, identity)
    try:
        yield one
    finally:
        with contextlib.suppress(ProcessLookupError):
            one.send(signal.SIGCONT)
        await one.end()


# --- a balancer ---------------------------------------------------------------------------------------------------


@dataclass
class FakeBalancer:
    """Answers /api/v1/state as a balancer does; `state` is what it says, `token` what it asks for."""

    instance: str = "b1"
    token: str = ""
    state: Json = field(default_factory=dict)
    status: int = 200
    asked: int = 0
    port: int = 0

    def acts_on(self, api: KubeApi, **node: Any) -> None:
        """Say that it acts on all there is now, each node with these values."""
        sets = api.objects("destinationsets")
        groups = {
            (one["metadata"]["namespace"], one["metadata"]["labels"]["switchtender.dev/group"]): one for one in sets
        }
        self.state = {
            "sets": [{key: one["metadata"][key] for key in ("namespace", "name", "uid", "generation")} for one in sets],
            "groups": [
                {
                    "namespace": namespace,
                    "name": name,
                    "uid": one["spec"]["group"]["uid"],
                    "generation": one["spec"]["group"]["generation"],
                    "rejected": None,
                    "assigned": 5,
                }
                for (namespace, name), one in groups.items()
            ],
            "nodes": [
                {
                    "namespace": one["metadata"]["namespace"],
                    "group": one["metadata"]["labels"]["switchtender.dev/group"],
                    "uid": member["uid"],
                    "name": member["name"],
                    "state": "ready",
                    "reason": "Reporting",
                    "reportAge": 0.4,
                    "sessions": 10,
                    "maxSessions": 100,
                    "capacity": 99.0,
                    "effective": 10.0,
                    "verdict": "",
                    "pausedByUs": False,
                    **node,
                }
                for one in sets
                for member in one["spec"].get("members", [])
            ],
        }

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        empty: Json = {"sets": [], "groups": [], "nodes": []}
        frame = {"format": 1, "instance": self.instance, "version": "0.1.0", "balancer": "default", "unknownFields": 0}
        return web.json_response({**frame, **empty, **self.state}, status=self.status)


@contextlib.asynccontextmanager
async def balancing(balancer: FakeBalancer) -> AsyncIterator[FakeBalancer]:
    """The balancer on a port of loopback."""
    app = web.Application()
    app.router.add_get("/api/v1/state", balancer.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        balancer.port = runner.addresses[0][1]
        yield balancer
    finally:
        await runner.cleanup()
