"""What is measured: each leg is started alone, with one worker, all of it on one processor."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import switchtender
from tests.performance import kamailio
from tests.performance.places import MEASURED_CPU, NODE_PORT, NODE_SIDE, OTHER_CPU, PROXY, nodes, on_processor
from tests.stand.balancer import Group, Layout, serving, write_config
from tests.stand.nodes import Node, simulated
from tests.stand.process import child, taken, until


@dataclass(frozen=True)
class Programs:
    """What cargo built for release: the generator, the forwarder, and the packet core as Python takes it."""

    folder: Path

    @property
    def sipload(self) -> str:
        """Both ends of the calls."""
        return str(self.folder / "sipload")

    @property
    def forwarder(self) -> str:
        """What only moves datagrams."""
        return str(self.folder / "forwarder")

    def package(self, folder: Path) -> Path:
        """A package ``switchtender`` in ``folder`` as it is installed, with the core that was built for release."""
        (installed,) = switchtender.__path__
        made = folder / "switchtender"
        made.mkdir(parents=True)
        for each in Path(installed).iterdir():
            if each.name != "__pycache__" and not each.name.startswith("_core.abi3"):
                (made / each.name).symlink_to(each)
        shutil.copy(self.folder / "lib_core.so", made / "_core.abi3.so")
        return folder


@dataclass(frozen=True)
class Leg:
    """One system under measurement. ``routing`` is the group's, for ours; empty for the others."""

    key: str
    title: str
    routing: tuple[tuple[str, Any], ...] = ()


FORWARDER = Leg("forwarder", "bare UDP forwarder")
KAMAILIO_STATEFUL = Leg("kamailio-stateful", "Kamailio, stateful")
KAMAILIO_STATELESS = Leg("kamailio-stateless", "Kamailio, stateless")
LEAST_LOAD = Leg("least-load", "Switchtender, stateful, LeastLoad", (("algorithm", "LeastLoad"),))
_BY_CALL = (("algorithm", "Hash"), ("hashOn", {"type": "CallID"}))
HASH = Leg("hash", "Switchtender, stateful, Hash", _BY_CALL)
STATELESS = Leg("stateless", "Switchtender, stateless", (("mode", "Stateless"), *_BY_CALL))
LEGS = (FORWARDER, KAMAILIO_STATEFUL, KAMAILIO_STATELESS, LEAST_LOAD, HASH, STATELESS)


@contextlib.contextmanager
def running(leg: Leg, count: int, programs: Programs, folder: Path) -> Iterator[int]:
    """Run a leg for so many nodes until the block ends; its process, whose descendants belong to it."""
    folder.mkdir(parents=True)
    members = [f"{node}:{NODE_PORT}" for node in nodes(count)]
    if leg.routing:
        with balancer(dict(leg.routing), count, programs, folder) as pid:
            yield pid
    elif leg is FORWARDER:
        places = ["--listen", f"{PROXY}:5060", "--upstream-bind", f"{PROXY}:{NODE_SIDE}", "--to", ",".join(members)]
        with (
            on_processor(MEASURED_CPU),
            child([programs.forwarder, *places], folder / "forwarder.log") as process,
        ):
            until(lambda: taken(socket.SOCK_DGRAM, PROXY, 5060), "the forwarder's socket")
            yield process.pid
    else:
        stateful = leg is KAMAILIO_STATEFUL
        with on_processor(MEASURED_CPU), kamailio.running(folder, PROXY, members, stateful=stateful) as pid:
            yield pid


@contextlib.contextmanager
def balancer(routing: dict[str, Any], count: int, programs: Programs, folder: Path) -> Iterator[int]:
    """Our balancer as its users run it: every node reports over its Event Socket, as often as FreeSWITCH does."""
    settings: dict[str, str | int | float] = {"max_sessions": 1_000_000, "sessions_per_second": 1_000_000}
    behind = [Node(f"fs{number}", 11 + number, settings, net=90) for number in range(count)]
    layout = Layout(address=PROXY, node_side=NODE_SIDE)
    config = folder / "balancer.yaml"
    write_config(config, layout, [Group("bench", behind, {"routing": routing, **_members(behind)})], folder / "state")
    path = os.pathsep.join([str(programs.package(folder / "package")), os.environ.get("PYTHONPATH", "")])
    with contextlib.ExitStack() as stack:
        with on_processor(OTHER_CPU):
            stack.enter_context(simulated(behind, folder))
        with on_processor(MEASURED_CPU), _environment(PYTHONPATH=path):
            running = stack.enter_context(serving(config, layout))
        yield running.process.pid


def _members(behind: Sequence[Node]) -> dict[str, Any]:
    """The nodes with their SIP where the generator is."""
    found = [
        {"name": node.name, "sip": f"sip:{node.address}:{NODE_PORT}", "load": f"fs://:ClueCon@{node.address}"}
        for node in behind
    ]
    return {"members": {"static": found}}


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
