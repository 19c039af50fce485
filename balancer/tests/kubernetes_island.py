"""A network of its own for a test: nodes at addresses that a cluster could have, without leaving the machine.

In a cluster no node may be on loopback, so loopback will not do here. Everything that the test starts lives in a
network namespace that vanishes with it; every address of 10.77.0.0/16 is local in it (AnyIP).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes_stand import KEYS, OWN, TOKEN, TOKENS, KubeApi, key_file, secret
from tests.stand.agent import Agent, Dialog, request
from tests.stand.needed import needed
from tests.stand.nodes import Nodes
from tests.stand.process import StandError, ask, command, free_port, read_text
from tests.stand.sipp import Result, start

_CLONE_NEWNET = 0x40000000
BALANCER = "10.77.1.1"
CALLER = "10.77.2.2"
SIP = (BALANCER, 5060)


@contextlib.contextmanager
def island() -> Iterator[None]:
    """Move this thread, and whatever it starts, into a network of its own; skips where that is not allowed."""
    needed(shutil.which("ip"), "iproute2 is not installed")
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        moved = libc.unshare(_CLONE_NEWNET) == 0
        needed(moved, f"needs a network namespace of its own: {os.strerror(ctypes.get_errno())}")
        try:
            for words in ("link set lo up", "route add local 10.77.0.0/16 dev lo"):
                subprocess.run(["ip", *words.split()], check=True, capture_output=True)
            yield
        finally:
            assert libc.setns(home.fileno(), _CLONE_NEWNET) == 0


class Node:
    """A simulated node at a pod's address; what the stand's simulator needs to know of it."""

    def __init__(self, name: str, host: int, **settings: Any) -> None:
        self.name = name
        self.address = f"10.77.0.{host}"
        self.settings = settings

    def spec(self) -> str:
        """The value of ``--node``."""
        fixed = {"name": self.name, "sip": f"{self.address}:5060", "esl": f"{self.address}:8021"}
        return ",".join(f"{name}={value}" for name, value in (fixed | self.settings).items())

    def member(self, uid: str | None = None, **more: Any) -> dict[str, Any]:
        """The pod as a member of a set."""
        return {
            "uid": uid or f"uid-{self.name}",
            "name": self.name,
            "addresses": [self.address],
            "esl": {"host": self.address, "port": 8021},
            "state": "Ready",
            **more,
        }


class Town:
    """A scripted API server, simulated nodes and, from ``serving`` on, a balancer as a process."""

    def __init__(self, api: KubeApi, nodes: Nodes, folder: Path) -> None:
        self.api = api
        self.nodes = nodes
        self.folder = folder
        self.url = f"http://{BALANCER}:8080"

    async def asked(self, path: str) -> Any:
        """JSON of the balancer."""
        return await asyncio.to_thread(ask, f"{self.url}{path}")

    async def states(self) -> dict[str, tuple[str, str]]:
        """State and reason of each node by name."""
        return {node["node"]: (node["state"], node["reason"]) for node in (await self.asked("/api/v1/nodes"))["nodes"]}

    async def until(self, wanted: dict[str, tuple[str, str]]) -> None:
        """Wait until the nodes are in these states."""
        found: Any = None
        for _ in range(400):
            with contextlib.suppress(OSError):
                if (found := await self.states()) == wanted:
                    return
            await asyncio.sleep(0.05)
        raise StandError(f"{found}, not {wanted}: {self.log()[-3000:]}")

    def log(self) -> str:
        """What the balancer logged."""
        return (self.folder / "balancer.log").read_text(errors="replace")

    async def metric(self, line: str) -> float:
        """The value of a series, by its name with labels."""
        text = await asyncio.to_thread(read_text, f"{self.url}/metrics")
        return sum(float(entry.rpartition(" ")[2]) for entry in text.splitlines() if entry.startswith(line))

    async def calls(self, calls: int, rate: int = 20, pause_ms: int = 200) -> Result:
        """Place calls with SIPp, from first to last."""
        run = start("call", f"{BALANCER}:5060", self.folder, calls=calls, rate=rate, pause_ms=pause_ms, local=CALLER)
        return await asyncio.to_thread(run.result, 90)

    def handled(self) -> dict[str, int]:
        """Calls that each node has seen."""
        return {name: node["counters"]["answered"] for name, node in self.nodes.all().items()}

    @contextlib.asynccontextmanager
    async def serving(self, *, ready: bool = True, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the balancer until the block ends."""
        with (self.folder / "balancer.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                command("switchtender"), "serve", "--kubernetes", "--config", str(self.folder / "balancer.yaml"),
                "--keys-secret", KEYS, "--token-secret", TOKENS, "--kubeconfig", str(self.folder / "kubeconfig"),
                "--log-format", "console",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "POD_IP": BALANCER, "POD_NAMESPACE": OWN, **environ},
            )  # fmt: skip
        try:
            for _ in range(400 if ready else 0):
                if process.returncode is not None:
                    raise StandError(self.log()[-3000:])
                with contextlib.suppress(OSError):
                    await self.asked("/readyz")
                    break
                await asyncio.sleep(0.05)
            yield process
        finally:
            while process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 0.5)


@contextlib.asynccontextmanager
async def town(folder: Path, *nodes: Node, **spec: Any) -> AsyncIterator[Town]:
    """An API server and simulated nodes; the balancer is to be started."""
    port = free_port()
    arguments = [command("switchtender-sim"), "--http", f"127.0.0.1:{port}", "--heartbeat-interval", "1"]
    for node in nodes:
        arguments += ["--node", node.spec()]
    (folder / "balancer.yaml").write_text(yaml.safe_dump(config(folder / "state", **spec)))
    simulator = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert simulator.stdout is not None
        assert "ready" in json.loads(await simulator.stdout.readline())
        async with KubeApi() as api:
            api.kubeconfig(folder / "kubeconfig", namespace=OWN)
            api.put(secret(KEYS, OWN, keys_json=key_file(1)))
            api.put(secret(TOKENS, OWN, token=TOKEN))
            yield Town(api, Nodes((), f"http://127.0.0.1:{port}", simulator), folder)  # type: ignore[arg-type]
    finally:
        simulator.terminate()
        await simulator.wait()


def config(state_dir: Path, **spec: Any) -> dict[str, Any]:
    """The BalancerConfig as the chart would write it."""
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerConfig",
        "metadata": {"name": "default"},
        "spec": {
            "listeners": [{"name": "public", "address": "$(POD_IP)", "port": 5060}],
            "nodeSide": {"address": "$(POD_IP)", "port": 5070, "workerPorts": "5071-5074"},
            "stateDir": str(state_dir),
            "http": {"address": "$(POD_IP)", "port": 8080},
            "stop": {"deadline": "1s"},
            **spec,
        },
    }


class StandingCall:
    """A call that a scripted caller made and has not ended."""

    def __init__(self, user: str = "1000") -> None:
        self.agent = Agent(CALLER)
        self.agent.send(request("INVITE", f"sip:{user}@{BALANCER}", self.agent), SIP)
        answer = self.agent.next(200)
        self.dialog = Dialog.of_caller(self.agent, answer)
        self.dialog.send("ACK")

    def still_stands(self) -> None:
        """Refresh it with a re-INVITE that the node answers."""
        self.dialog.send("INVITE")
        self.agent.next(200)
        self.dialog.send("ACK")

    def end(self) -> None:
        """Hang up; the node agrees."""
        self.dialog.send("BYE")
        answer = self.agent.next(200)
        assert answer["CSeq"].endswith("BYE")
        self.agent.close()
