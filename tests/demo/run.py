"""One run of the scene: nodes, balancer, calls; what came of it, as numbers."""

from __future__ import annotations

import asyncio
import socket
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.demo import scene
from tests.stand.balancer import Balancer, Group, Layout, serving, write_config
from tests.stand.caller import Call, Caller, Outcome
from tests.stand.nodes import Nodes, simulated
from tests.stand.process import free_port, read_text, taken

CALLER = "127.0.0.2"
_LOOK = 0.5


@dataclass(frozen=True)
class Arrangement:
    """How the balancer is configured for a run."""

    title: str
    algorithm: str
    reported: bool


LEAST_LOAD = Arrangement("LeastLoad", "LeastLoad", reported=True)
BLIND = Arrangement("RoundRobin, blind", "RoundRobin", reported=False)


@dataclass(frozen=True)
class Look:
    """The run at one moment: what the table shows."""

    elapsed: float
    calls: tuple[Call, ...]
    nodes: dict[str, dict[str, Any]]
    said: tuple[str, ...]


@dataclass(frozen=True)
class Outcomes:
    """What came of a run. Delays are in milliseconds."""

    placed: int
    answered: int
    failed: int
    cut: int
    failovers: int
    refused: int
    zombies: int
    pdd_median: float
    pdd_p99: float
    by_node: dict[str, int]


Show = Callable[[Look], None]


def layout() -> Layout:
    """Where the balancer of the scene listens; one after the other may listen there."""
    http = free_port() if taken(socket.SOCK_STREAM, Layout.address, Layout.http) else Layout.http
    return Layout(sip=15060, node_side=15070, worker_ports=(15071, 15079), http=http)


@contextmanager
def stand(arrangement: Arrangement, layout: Layout) -> Iterator[tuple[Nodes, Balancer]]:
    """The nodes and the balancer of the scene, up and settled."""
    with tempfile.TemporaryDirectory(prefix="switchtender-demo-") as name:
        folder = Path(name)
        routing = {"algorithm": arrangement.algorithm}
        group = Group("demo", scene.NODES, {"routing": routing}, reported=arrangement.reported)
        write_config(folder / "demo.yaml", layout, [group], folder / "state")
        options = ("--heartbeat-interval", "1", "--answer-delay", "0.05")
        with simulated(scene.NODES, folder, *options) as nodes, serving(folder / "demo.yaml", layout) as balancer:
            yield nodes, balancer


def run(arrangement: Arrangement, layout: Layout, show: Show) -> Outcomes:
    """Play the scene once; ``show`` is called twice a second."""
    with stand(arrangement, layout) as (nodes, balancer):
        return asyncio.run(_play(nodes, balancer, show))


async def _play(nodes: Nodes, balancer: Balancer, show: Show) -> Outcomes:
    loop = asyncio.get_running_loop()
    target = (balancer.layout.address, balancer.layout.sip)
    _, caller = await loop.create_datagram_endpoint(lambda: Caller(target, scene.HOLD), local_addr=(CALLER, 0))
    refusals = _Refusals()
    began = loop.time()
    said: list[str] = []

    async def look() -> None:
        while True:
            known = await asyncio.to_thread(balancer.nodes)
            refusals.note(await asyncio.to_thread(nodes.all))
            show(Look(loop.time() - began, tuple(caller.calls), known, tuple(said)))
            await asyncio.sleep(_LOOK)

    async def turns() -> None:
        for turn in scene.TURNS:
            await asyncio.sleep(began + turn.at - loop.time())
            said.append(f"{turn.at:4.0f} s  {turn.words}")
            killed = turn.action == "crash"
            if killed:
                caller.node_killed(_address(turn.node))
            await asyncio.to_thread(nodes.do, turn.node, turn.action)
            if killed:  # those that came to it in between
                caller.node_killed(_address(turn.node))

    looking, turning = asyncio.create_task(look()), asyncio.create_task(turns())
    count = 0
    while loop.time() - began < scene.PLACING:
        caller.place()
        count += 1
        await asyncio.sleep(began + count / scene.RATE - loop.time())
    await asyncio.gather(caller.finish(), turning)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    refusals.note(await asyncio.to_thread(nodes.all))
    failovers = await asyncio.to_thread(_failovers, balancer)
    return _outcomes(caller.calls, refusals, failovers)


class _Refusals:
    """Refusals and zombie sessions over all nodes and all their lives: a node's own counters start anew with each."""

    def __init__(self) -> None:
        self._refused: Counter[tuple[str, int]] = Counter()
        self._zombies: Counter[tuple[str, int]] = Counter()

    def note(self, nodes: dict[str, dict[str, Any]]) -> None:
        for name, node in nodes.items():
            refused = node["counters"]["refused"]
            self._refused[name, node["lives"]] = sum(refused.values())
            self._zombies[name, node["lives"]] = refused.get("boundary", 0)

    @property
    def refused(self) -> int:
        return self._refused.total()

    @property
    def zombies(self) -> int:
        return self._zombies.total()


def _outcomes(calls: list[Call], refusals: _Refusals, failovers: int) -> Outcomes:
    names = {node.address: node.name for node in scene.NODES}
    delays = sorted(1000 * delay for call in calls if (delay := call.post_dial_delay) is not None)
    outcomes = Counter(call.outcome for call in calls)
    answered = [call for call in calls if call.answered]
    return Outcomes(
        placed=len(calls),
        answered=len(answered),
        failed=len(calls) - outcomes[Outcome.ENDED] - outcomes[Outcome.CUT],
        cut=outcomes[Outcome.CUT],
        failovers=failovers,
        refused=refusals.refused,
        zombies=refusals.zombies,
        pdd_median=statistics.median(delays) if delays else 0.0,
        pdd_p99=delays[int(0.99 * (len(delays) - 1))] if delays else 0.0,
        by_node=dict(Counter(names[call.node] for call in answered if call.node is not None)),
    )


def _failovers(balancer: Balancer) -> int:
    text = read_text(f"{balancer.layout.url}/metrics")
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == "switchtender_failovers"
        for sample in family.samples
        if sample.name.endswith("_total")
    )


def _address(name: str) -> str:
    return next(node.address for node in scene.NODES if node.name == name)


def keep(arrangement: Arrangement, layout: Layout) -> Generator[str, None, None]:
    """Leave the stand up: yields how calls are placed, then waits to be closed."""
    with stand(arrangement, layout) as (_, balancer):
        yield f"calls:       sip:anybody@{layout.address}:{layout.sip} (UDP)"
        yield f"orders:      .venv/bin/switchtender drain NODE --url {layout.url} --token-file {balancer.token_file}"
