"""One run: a scene's calls through one peer; what came of it, as numbers."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benefit.peers import Address, Peer, placed
from tests.benefit.scenes import Arrivals, Scene, Turn, ideal
from tests.stand.caller import Call, Caller, Outcome
from tests.stand.nodes import Node, Nodes, simulated

_LOOK = 0.5
_SETTLE = 3.0
"""Seconds in which replicas hear of each other and of every node."""


@dataclass(frozen=True)
class Result:
    """What came of a run. Delays are milliseconds."""

    scene: str
    peer: str
    offered: int
    ideal: int
    succeeded: int
    failed: dict[str, int]
    """By final status, as the caller saw it."""
    cut: int
    """Of those that succeeded: on the node when it was killed."""
    refused: int
    """503s by the nodes."""
    zombies: int
    retransmissions: int
    pdd_median: float
    pdd_p95: float
    pdd_p99: float

    @property
    def share(self) -> float:
        """Part of the ideal."""
        return self.succeeded / self.ideal if self.ideal else 1.0


def run(scene: Scene, peer: Peer, net: int, kind: Arrivals = "even") -> Result:
    """Play ``scene`` through ``peer`` on the addresses 127.0.``net``.*."""
    nodes = [Node(node.name, node.host, node.settings, net) for node in scene.nodes]
    arrivals = scene.arrivals(kind)
    with tempfile.TemporaryDirectory(prefix="switchtender-benefit-") as name:
        folder = Path(name)
        options = ["--heartbeat-interval", "1", "--answer-delay", f"{scene.setup}"]
        with simulated(nodes, folder, *options) as simulator, placed(peer, nodes, net, folder) as targets:
            return asyncio.run(_play(scene, peer, simulator, targets, arrivals, net))


async def _play(
    scene: Scene, peer: Peer, simulator: Nodes, targets: list[Address], arrivals: list[float], net: int
) -> Result:
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    for target in targets:
        _, caller = await loop.create_datagram_endpoint(
            partial(Caller, target, scene.hold), local_addr=(f"127.0.{net}.2", 0)
        )
        callers.append(caller)
    await asyncio.sleep(_SETTLE)
    began = loop.time()
    refusals: Counter[tuple[str, int, str]] = Counter()

    async def note() -> None:
        for name, node in (await asyncio.to_thread(simulator.all)).items():
            for cause, count in node["counters"]["refused"].items():
                refusals[name, node["lives"], cause] = count

    async def look() -> None:
        while True:
            await note()
            await asyncio.sleep(_LOOK)

    looking = asyncio.create_task(look())
    turning = asyncio.create_task(_turns(scene, simulator, callers, began))
    for number, at in enumerate(arrivals):
        await asyncio.sleep(began + at - loop.time())
        callers[number % len(callers)].place()
    await asyncio.gather(*(caller.finish() for caller in callers), turning)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    await note()
    calls = [call for caller in callers for call in caller.calls]
    return _result(scene, peer, arrivals, calls, refusals)


async def _turns(scene: Scene, simulator: Nodes, callers: list[Caller], began: float) -> None:
    loop = asyncio.get_running_loop()
    addresses = {node.name: node.address for node in simulator.nodes}
    for turn in scene.turns:
        await asyncio.sleep(began + turn.at - loop.time())
        await asyncio.to_thread(_turn, simulator, turn)
        # What it carried is lost whoever placed it there; what comes to it from now on is the peer's doing.
        for caller in callers:
            caller.node_killed(addresses[turn.node])


def _turn(simulator: Nodes, turn: Turn) -> None:
    if turn.action == "crash":
        simulator.do(turn.node, "crash")
    else:
        simulator.fault(turn.node, sip_silent=True, esl_silent=True)


def _result(
    scene: Scene, peer: Peer, arrivals: list[float], calls: list[Call], refusals: Counter[tuple[str, int, str]]
) -> Result:
    good = [call for call in calls if call.answered and call.outcome in (Outcome.ENDED, Outcome.CUT)]
    cut = [call for call in calls if call.outcome is Outcome.CUT]
    failed = Counter(str(call.status) for call in calls if call.outcome is Outcome.FAILED)
    if ringing := sum(not call.answered for call in cut):
        failed["cut while ringing"] = ringing
    delays = sorted(1000 * delay for call in calls if (delay := call.post_dial_delay) is not None)
    return Result(
        scene=scene.name,
        peer=peer.title,
        offered=len(calls),
        ideal=ideal(scene, arrivals),
        succeeded=len(good),
        failed=dict(sorted(failed.items())),
        cut=sum(call.answered for call in cut),
        refused=sum(refusals.values()),
        zombies=sum(count for (_, _, cause), count in refusals.items() if cause == "boundary"),
        retransmissions=sum(call.retransmissions for call in calls),
        pdd_median=_part(delays, 0.5),
        pdd_p95=_part(delays, 0.95),
        pdd_p99=_part(delays, 0.99),
    )


def _part(delays: list[float], part: float) -> float:
    return delays[int(part * (len(delays) - 1))] if delays else 0.0


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain values."""
    return {**vars(result), "share": round(result.share, 4)}
