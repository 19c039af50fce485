"""``switchtender serve --config``: the process. Starts everything in order, follows signals and the file, stops
gracefully.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import secrets
import time
from pathlib import Path

from switchtender._core import Core
from switchtender.config import hep, http_files
from switchtender.config.exposure import http_exposure
from switchtender.config.plan import Plan, read_plan
from switchtender.config.settings import settings
from switchtender.config.state_dir import StateDir
from switchtender.control import group_log
from switchtender.control.admin import Admin
from switchtender.control.balancer import Balancer
from switchtender.control.peers import Peers
from switchtender.control.views import BalancerView
from switchtender.http.listen import listening
from switchtender.http.sse import Streams
from switchtender.metrics.collector import expose
from switchtender.metrics.exposition import Exposition
from switchtender.metrics.families import CERTIFICATE_EXPIRY, LIVE_CLIENTS
from switchtender.metrics.readings import Readings
from switchtender.metrics.reloads import Reloads
from switchtender.serve import lifetime, signals
from switchtender.serve.admission import by_token
from switchtender.serve.certificates import HttpCertificate
from switchtender.serve.descriptors import make_room
from switchtender.serve.equipment import equip, refusal
from switchtender.serve.follow import follow, of_file
from switchtender.sources.file import identity

log = logging.getLogger(__name__)


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
                http_files.require(plan.documents, os.environ)
                tls = plan.documents.config.spec.http.tls
                certificate = None if tls is None else HttpCertificate(tls)
                view, balancer, peers = await self._start(plan, certificate, stack)
                following = follow(
                    self.path, seen, told.reload, of_file(self.path, balancer), self.reloads, balancer.journal
                )
                parts = [peers.run(), following, group_log.run(view.look)]
                if certificate is not None:
                    parts.append(certificate.follow(balancer.journal))
                await lifetime.serve(balancer, parts, told)
        log.info("stopped")

    async def _start(
        self, plan: Plan, certificate: HttpCertificate | None, stack: contextlib.AsyncExitStack
    ) -> tuple[BalancerView, Balancer, Peers]:
        """Everything up, or nothing left behind: each step that is done stands in ``stack``, to be undone."""
        spec = plan.documents.config.spec
        state_dir = stack.enter_context(contextlib.closing(StateDir(Path(spec.state_dir))))
        make_room(spec.tcp.max_connections)
        core = Core(json.dumps(settings(spec, hep.password(plan.documents, os.environ))).encode())
        instance = secrets.token_hex(8)
        trust = None if certificate is None else certificate.trust
        peers = Peers(tuple(str(peer) for peer in spec.peers.static), instance, time.monotonic, trust=trust)
        balancer = Balancer(
            core,
            state_dir.keys,
            clock=time.monotonic,
            replicas=peers.replicas,
            part=peers.part,
            admin=Admin(state_dir),
        )
        equip(balancer, lifetime.own_address(core), functools.partial(refusal, kubernetes=False, forbidden=frozenset()))
        stack.push_async_callback(balancer.close)
        exposition = Exposition()
        view = BalancerView(balancer, instance, exposition, time.monotonic)
        expose(exposition, balancer, view, self.reloads)
        streams = Streams()
        readings = Readings((LIVE_CLIENTS, lambda: [((), streams.clients)]))
        if certificate is not None:
            readings.add(CERTIFICATE_EXPIRY, lambda: [(("http",), certificate.expires())])
        exposition.add(readings)
        guard = by_token(spec.http.admin, state_dir, os.environ)
        tls = None if certificate is None else certificate.context
        http = await stack.enter_async_context(
            listening(view, str(spec.http.address), spec.http.port, guard=guard, tls=tls, streams=streams)
        )
        if (exposure := http_exposure(spec.http)) is not None:
            log.warning("%s", exposure)
        await balancer.apply(plan)
        stack.push_async_callback(lifetime.end, core)
        core.start()
        self.reloads.succeeded(time.time())
        groups = len(plan.groups)
        details = {"generation": balancer.generation, "groups": groups}
        balancer.journal.record("Configuration", "Applied", "configuration in force", details=details, logged=False)
        log.info("serving", extra={"listeners": lifetime.listeners(core), "http": http, "groups": groups})
        return view, balancer, peers
