"""``switchtender serve``: the process. Starts everything in order, follows signals and the file, stops gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from switchtender._core import Core
from switchtender.config.plan import Plan, read_plan
from switchtender.config.settings import settings
from switchtender.config.state_dir import StateDir
from switchtender.control.balancer import Balancer
from switchtender.control.peers import Peers
from switchtender.control.views import BalancerView
from switchtender.http.listen import listening
from switchtender.metrics.collector import register
from switchtender.metrics.reloads import Reloads
from switchtender.serve import signals
from switchtender.serve.follow import follow
from switchtender.sources.file import Identity, identity
from switchtender_api.v1alpha1.endpoints import format_endpoint

log = logging.getLogger(__name__)

_STOP_POLL = 0.1
_TURN = 0.005
_TURNS = 1000
"""Looks, ``_TURN`` seconds apart, within which workers must have ended that are told to end now."""
_LIVENESS = 1.0
"""Seconds between two looks at whether the packet workers live."""


class ServeError(Exception):
    """A part of the control side failed while serving; what failed stands in the log."""


class Server:
    """One balancer process on one configuration file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reloads = Reloads()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then until no transaction is open or the deadline has come.

        Raises DocumentErrors, StateDirInUseError, StateDirCorruptError, BindError, HttpBindError, ConfigError or
        OSError when it cannot start, ServeError when it fails later.
        """
        with signals.followed() as told:
            async with contextlib.AsyncExitStack() as stack:
                seen = identity(self.path)
                plan = await asyncio.to_thread(read_plan, self.path)
                balancer, peers = await self._start(plan, stack)
                await self._serve(balancer, peers, seen, told)
        log.info("stopped")

    async def _start(self, plan: Plan, stack: contextlib.AsyncExitStack) -> tuple[Balancer, Peers]:
        """Everything up, or nothing left behind: each step that is done stands in ``stack``, to be undone."""
        spec = plan.documents.config.spec
        state_dir = stack.enter_context(contextlib.closing(StateDir(Path(spec.state_dir))))
        core = Core(json.dumps(settings(spec)).encode())
        instance = secrets.token_hex(8)
        peers = Peers(tuple(str(peer) for peer in spec.peers.static), instance, time.monotonic)
        balancer = Balancer(core, state_dir.keys, clock=time.monotonic, replicas=peers.replicas)
        stack.push_async_callback(balancer.close)
        registry = CollectorRegistry()
        view = BalancerView(balancer, instance, registry, time.monotonic)
        register(registry, balancer, view, self.reloads)
        http = await stack.enter_async_context(listening(view, str(spec.http.address), spec.http.port))
        await balancer.apply(plan)
        stack.push_async_callback(_end, core)
        core.start()
        self.reloads.succeeded(time.time())
        log.info("serving", extra={"listeners": _listeners(core), "http": http, "groups": len(plan.groups)})
        return balancer, peers

    async def _serve(self, balancer: Balancer, peers: Peers, seen: Identity, told: signals.Told) -> None:
        core = balancer.core
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(balancer.run()),
                    tasks.create_task(peers.run()),
                    tasks.create_task(follow(self.path, seen, told.reload, balancer, self.reloads)),
                    tasks.create_task(_workers_live(core, told.stop)),
                ]
                await told.stop.wait()
                await _drain(core, _deadline(balancer), told.hurry)
                for task in background:
                    task.cancel()
        except ExceptionGroup as failed:
            for error in _leaves(failed):
                log.critical("a part of the control side failed: the process ends", exc_info=error)
            raise ServeError(f"{_leaves(failed)[0]!r}") from None


def _deadline(balancer: Balancer) -> float:
    """Of the configuration in force, not of the one that the process was started with."""
    return 0.0 if balancer.plan is None else balancer.plan.documents.config.spec.stop.deadline.total_seconds()


def _listeners(core: Core) -> list[str]:
    listeners = json.loads(core.addresses())["listeners"]
    return [f"{entry['name']} {format_endpoint(entry['address'], entry['port'])}" for entry in listeners]


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    """What failed, without the groups that tasks wrap it in."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _workers_live(core: Core, stopping: asyncio.Event) -> None:
    """Raise RuntimeError when the packet workers have ended though nobody stopped them."""
    while not stopping.is_set():
        if core.stopped():
            raise RuntimeError("every packet worker has ended")
        await asyncio.sleep(_LIVENESS)


async def _drain(core: Core, deadline: float, hurry: asyncio.Event) -> None:
    """Everything is served on, new calls too, until no transaction was open for a while; ``hurry`` ends it."""
    log.info("stopping", extra={"deadline": deadline, "openTransactions": core.open_transactions()})
    core.stop(deadline)
    while not core.stopped() and not hurry.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), _STOP_POLL)
    await _end(core)
    lost = _lost(core)
    if lost:
        log.warning("stopped with open transactions", extra={"openTransactions": lost})


async def _end(core: Core) -> None:
    """End the workers now. One that hangs is left to the end of the process."""
    core.stop(0.0)
    for _ in range(_TURNS):
        if core.stopped():
            return
        await asyncio.sleep(_TURN)


def _lost(core: Core) -> int:
    """Transactions that were open when the workers ended, as they counted them."""
    counters = json.loads(core.stats())["counters"]
    return sum(entry["value"] for entry in counters if entry["name"] == "transactions_lost_at_stop_total")
