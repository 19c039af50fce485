"""``switchtender serve``: the process. Starts everything in order, follows signals and the file, stops gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from switchtender._core import ConfigError, Core
from switchtender.config.plan import Plan, read_plan
from switchtender.config.settings import fixed_fields_changed, settings
from switchtender.config.state_dir import StateDir
from switchtender.control.balancer import Balancer
from switchtender.control.peers import Peers
from switchtender.control.views import BalancerView
from switchtender.http.app import application
from switchtender.metrics.collector import register
from switchtender.metrics.reloads import Reloads
from switchtender.sources.file import changes, identity
from switchtender_api.problems import DocumentErrors

log = logging.getLogger(__name__)

_STOP_POLL = 0.1


class Server:
    """One balancer process on one configuration file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reloads = Reloads()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then until no transaction is open or the deadline has come.

        Raises DocumentErrors, StateDirInUseError, StateDirCorruptError, BindError or OSError when it cannot start.
        """
        seen = identity(self.path)
        plan = read_plan(self.path)
        spec = plan.documents.config.spec
        with contextlib.closing(StateDir(Path(spec.state_dir))) as state_dir:
            core = Core(json.dumps(settings(spec)).encode())
            instance = secrets.token_hex(8)
            peers = Peers(tuple(str(peer) for peer in spec.peers.static), instance, time.monotonic)
            balancer = Balancer(core, state_dir.keys, clock=time.monotonic, replicas=peers.replicas)
            registry = CollectorRegistry()
            view = BalancerView(balancer, instance, registry, time.monotonic)
            register(registry, balancer, view, self.reloads)
            try:
                async with _http(view, str(spec.http.address), spec.http.port), asyncio.TaskGroup() as tasks:
                    await balancer.apply(plan)
                    core.start()
                    self.reloads.succeeded(time.time())
                    _announce(core, spec.http.address, spec.http.port)
                    background = [
                        tasks.create_task(balancer.run()),
                        tasks.create_task(peers.run()),
                        tasks.create_task(self._follow(balancer, seen)),
                    ]
                    await _told_to_stop()
                    await _drain(core, spec.stop.deadline.total_seconds())
                    for task in background:
                        task.cancel()
            finally:
                await balancer.close()
                core.stop(0.0)
        log.info("stopped")

    async def _follow(self, balancer: Balancer, seen: tuple[int, int, int, int] | None) -> None:
        """Reload on SIGHUP and on a change of the file."""
        wanted = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, wanted.set)

        async def watch_file() -> None:
            async for _ in changes(self.path, seen):
                wanted.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_file())
            while True:
                await wanted.wait()
                wanted.clear()
                await self._reload(balancer)

    async def _reload(self, balancer: Balancer) -> None:
        try:
            plan = read_plan(self.path)
            _refuse_fixed(balancer.plan, plan)
            await balancer.apply(plan)
        except DocumentErrors as errors:
            for problem in errors.problems:
                log.error("configuration refused: %s", problem.render())
            self.reloads.failed()
        except (ConfigError, FixedFieldsError) as error:
            log.error("configuration refused: %s", error)
            self.reloads.failed()
        else:
            log.info("configuration in force", extra={"generation": balancer.generation, "groups": len(plan.groups)})
            self.reloads.succeeded(time.time())


class FixedFieldsError(Exception):
    """A reload would change what is fixed for the life of the process."""


def _refuse_fixed(before: Plan | None, after: Plan) -> None:
    if before is None:
        return
    changed = fixed_fields_changed(before.documents.config.spec, after.documents.config.spec)
    if changed:
        raise FixedFieldsError(
            f"{', '.join(changed)} cannot change without a restart; nothing of the file was taken up"
        )


def _announce(core: Core, http_address: object, http_port: int) -> None:
    addresses = json.loads(core.addresses())
    log.info(
        "serving",
        extra={
            "listeners": [f"{entry['name']} {entry['address']}:{entry['port']}" for entry in addresses["listeners"]],
            "http": f"{http_address}:{http_port}",
        },
    )


@contextlib.asynccontextmanager
async def _http(view: BalancerView, address: str, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(application(view), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        yield
    finally:
        await runner.cleanup()


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


async def _drain(core: Core, deadline: float) -> None:
    """Everything is served on, new calls too, until no transaction was open for a while; a second signal ends it."""
    log.info("stopping", extra={"deadline": deadline, "openTransactions": core.open_transactions()})
    hurry = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hurry.set)
    core.stop(deadline)
    while not core.stopped() and not hurry.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), _STOP_POLL)
    lost = core.open_transactions()
    if lost:
        log.warning("stopped with open transactions", extra={"openTransactions": lost})
