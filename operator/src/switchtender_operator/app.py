"""The composition root: makes every part, connects them, and runs them until a signal. Decides nothing about groups."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from switchtender_api.v1alpha1.units import IpAddress
from switchtender_kube import (
    ApiError,
    Client,
    ConfigurationError,
    Elector,
    NotLeader,
    Reflector,
    Unreachable,
    WriteLimiter,
    boottime,
)
from switchtender_operator.config.settings import Settings
from switchtender_operator.config.timing import DEFAULT, Timing
from switchtender_operator.domain.world import Settings as PlanSettings
from switchtender_operator.kopf_adapter.login import Login, login_with
from switchtender_operator.kopf_adapter.waker import Waker
from switchtender_operator.publish import crds
from switchtender_operator.publish.pods import PodWriter
from switchtender_operator.publish.publisher import Publisher
from switchtender_operator.publish.secrets import keys_secret, token_secret
from switchtender_operator.reconcile import balancers
from switchtender_operator.reconcile.autoscaler import Autoscaler
from switchtender_operator.reconcile.caches import caches, unsynced
from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.cordons import CordonedNodes
from switchtender_operator.reconcile.marker import Marker
from switchtender_operator.reconcile.pod_watches import PODS, PodWatches, pod_reflector
from switchtender_operator.reconcile.queue import DirtyKeys
from switchtender_operator.reconcile.readings import Readings
from switchtender_operator.reconcile.reconciler import Reconciler, Wall, Written, utc_now
from switchtender_operator.reconcile.reflectors import Reflectors
from switchtender_operator.reconcile.targets import Targets
from switchtender_operator.reconcile.tokens import SecretTokens
from switchtender_operator.reconcile.turns import Turns
from switchtender_operator.telemetry.health import application, served
from switchtender_operator.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class StartError(Exception):
    """The operator could not start; the text says why, for a person."""


async def run_operator(settings: Settings, timing: Timing = DEFAULT) -> bool:
    """Run until SIGTERM or SIGINT; whether it ended by one, rather than by a failure, which the log tells.

    Raises StartError.
    """
    metrics = Metrics()
    stop = asyncio.Event()
    try:
        client = await Client.connect(
            kubeconfig=settings.kubeconfig,
            context=settings.context,
            user_agent=f"switchtender-operator/{version('switchtender-operator')}",
            observe=metrics.request,
        )
    except ConfigurationError as error:
        raise StartError(str(error)) from None
    login = login_with(settings.kubeconfig, settings.context)
    operator = Operator(client, login, settings, timing, metrics)
    try:
        probes = application(operator.alive, operator.unready, metrics.page)
        async with served(probes, settings.http_address, settings.http_port):
            with _signals(stop):
                return await _until(stop, operator, timing)
    except OSError as error:
        raise StartError(f"cannot bind {settings.http_address} port {settings.http_port}: {error.strerror}") from None
    finally:
        await client.close()


async def _until(stop: asyncio.Event, operator: Operator, timing: Timing) -> bool:
    work = asyncio.create_task(operator.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failed = work.done()
    if failed:
        log.error("a part of the operator failed", exc_info=work.exception())
        stopping.cancel()
    else:
        log.info("stopping")
        work.cancel()
        await asyncio.wait({work}, timeout=timing.stop_grace)
    return not failed


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Let the first signal set `stop`, the second end the process at once."""
    loop = asyncio.get_running_loop()

    def handle(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Operator:
    """All parts of one operator on one client; `run` lives until it is cancelled or a part fails."""

    def __init__(
        self,
        client: Client,
        login: Login,
        settings: Settings,
        timing: Timing,
        metrics: Metrics,
        *,
        wall: Wall = utc_now,
    ) -> None:
        self._client = client
        self._settings = settings
        self._timing = timing
        self._elector = Elector(
            client,
            settings.namespace,
            settings.lease_name,
            settings.identity,
            duration=settings.lease_duration,
            renew_deadline=settings.lease_duration * 2 / 3,
            retry=settings.lease_duration * 2 / 15,
        )
        self.leading = self._elector.is_leader if settings.leader_election else _always
        self._turns = Turns(DirtyKeys(timing.quiet, timing.most_delay, timing.backoff_first, timing.backoff_most))
        self._cluster = Cluster(self._turns.changed, clock=boottime, trust=timing.written_trust)
        make = Reflectors(client, timing)
        self._events = make.counted
        self._tasks = asyncio.TaskGroup()
        self._pods = PodWatches(
            lambda selection, changed: pod_reflector(make, selection, changed),
            self._turns.changed,
            self._tasks,
            patience=timing.pods_patience,
        )
        cordoned = CordonedNodes(self._pods.groups_on, self._turns.changed)
        self._caches = caches(make, settings, self._cluster, cordoned)
        self._observations = balancers.Observations(memory=timing.poll_memory)
        self._tokens = SecretTokens(
            client, settings.namespace, self._cluster.configurations, clock=boottime, retry=timing.token_retry
        )
        written = Written(self._cluster)
        limiter = WriteLimiter(settings.write_qps, settings.write_burst)
        self._publisher = Publisher(
            client,
            limiter,
            fence=self.leading,
            written=written,
            counted=metrics.write,
            instance=settings.identity,
            clock=boottime,
        )
        plan_settings = PlanSettings(
            esl_secret_names=settings.esl_secret_names,
            forbidden=_api_server(client.server),
            status_min_interval=timedelta(seconds=timing.status_interval),
            programmed_grace=timedelta(seconds=timing.programmed_grace),
        )
        pod_writer = PodWriter(client, limiter, fence=self.leading, counts=metrics)
        # Marks take no more than half of the writes a second, so that what balancers need never waits for them.
        budget = max(1, int(settings.write_qps * timing.autoscale / 2))
        self._autoscaler = Autoscaler(
            self._cluster,
            self._pods,
            self._observations,
            Targets(client, settings.autoscale_targets),
            pod_writer,
            Marker(pod_writer, enabled=settings.pod_marks, budget=budget),
            settings=plan_settings,
            changed=self._turns.changed,
            tell=self._publisher.tell,
            wall=wall,
            interval=timing.autoscale,
        )
        self._reconciler = Reconciler(
            self._turns,
            self._cluster,
            self._pods,
            self._observations,
            self._publisher,
            written,
            metrics,
            leading=self.leading,
            settings=plan_settings,
            scaling=self._autoscaler.scaling,
            timing=timing,
            cordoned=cordoned.since,
            wall=wall,
        )
        self._waker = Waker(
            login,
            lambda namespace, name: self._turns.changed(f"{namespace}/{name}"),
            namespaces=settings.watch_namespaces,
            backoff_most=timing.kopf_backoff_most,
        )
        self._metrics = metrics
        self._configured = asyncio.Event()
        self._cluster.config_changed = self._configured.set
        self._crds: dict[str, int] = {}
        self._crds_served = False
        self._warm = False
        metrics.read_from(self._readings().read)

    async def run(self) -> None:
        """Run every part. Raises what a part raised, as a group."""
        async with self._tasks as tasks:
            tasks.create_task(self._reconciler.run(), name="reconciler")
            tasks.create_task(self._reconciler.resync(), name="resync")
            await crds.until_served(
                self._client,
                ensuring=self._settings.ensure_crds,
                note=self._crds.__setitem__,
                retry=self._timing.crd_retry,
            )
            self._crds_served = True
            for _, one in self._caches:
                tasks.create_task(one.run(), name=one.name)
            for _, one in self._caches:
                await one.synced.wait()
            log.info("the caches are filled", extra={"groups": len(self._cluster.group_keys())})
            tasks.create_task(self._waker.run(), name="kopf")
            if self._settings.leader_election:
                tasks.create_task(self._elector.run(self._lead, self._followed), name="elector")
            else:
                tasks.create_task(self._lead(), name="leader")

    async def _lead(self) -> None:
        """What the leader alone does, until it is cancelled."""
        self._reconciler.all_changed()
        async with balancers.session(self._timing.poll_timeout) as session, asyncio.TaskGroup() as tasks:
            poller = balancers.Poller(
                self._observations,
                endpoints=self._cluster.endpoints,
                groups=lambda: [(key, self._cluster.balancer_of(key)) for key in self._cluster.group_keys()],
                dirty=self._turns.changed,
                token=self._tokens,
                fetch=lambda endpoint, token: balancers.fetch(session, endpoint, token),
                counted=lambda result: self._metrics.polls.labels(result).inc(),
                clock=boottime,
                interval=self._timing.poll,
            )
            tasks.create_task(poller.run(), name="poller")
            tasks.create_task(self._autoscaler.run(), name="autoscaler")
            tasks.create_task(self._keep_secrets(), name="secrets")

    async def _followed(self) -> None:
        """What is true when this replica does not lead any more: it asks no balancer, so it knows nothing of them."""
        self._observations.clear()
        self._autoscaler.clear()

    async def _keep_secrets(self) -> None:
        """See to it that each balancer has its Secrets: when one is configured, and again every few minutes."""
        while True:
            self._configured.clear()
            again = self._timing.resync
            for config in self._cluster.configurations():
                for make in (keys_secret, token_secret):
                    body = make(self._settings.namespace, config.config_map, config.balancer)
                    name = body["metadata"]["name"]
                    try:
                        if await self._publisher.create_once(self._settings.namespace, body):
                            log.info("a Secret was created", extra={"secret": name, "balancer": config.balancer})
                            self._tokens.forget()
                    except (ApiError, Unreachable) as error:
                        log.warning("a Secret could not be created", extra={"secret": name, "error": str(error)})
                        again = self._timing.secrets_retry
                    except NotLeader:
                        return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again):
                    await self._configured.wait()

    # --- what probes and metrics ask -------------------------------------------------------------------------

    def alive(self) -> list[str]:
        """Return which loops are stuck. That the API server is away is no reason to be restarted."""
        return [f"{one.name}: stuck" for _, one in self._running() if one.wedged] if self._crds_served else []

    def unready(self) -> list[str]:
        """Return what is missing until the caches are filled for the first time; nothing after that."""
        if self._warm:
            return []
        if not self._crds_served:
            return ["the API server does not serve the CRDs yet"]
        waiting = unsynced(one for _, one in self._running())
        if not waiting and self._turns.queue.open:
            waiting = [f"{self._turns.queue.open} groups have not been looked at yet"]
        self._warm = not waiting
        return waiting

    def _running(self) -> list[tuple[str, Reflector[Any]]]:
        """Return the reflectors with their resources."""
        return self._caches + [(PODS.plural, one) for one in self._pods.reflectors()]

    def _readings(self) -> Readings:
        return Readings(
            turns=self._turns,
            cluster=self._cluster,
            observations=self._observations,
            reflectors=self._running,
            events=self._events,
            leading=self.leading,
            synced=lambda: not self.unready(),
            wakes=lambda: self._waker.wakes,
            kopf_restarts=lambda: self._waker.restarts,
            crds=self._crds,
        )


def _always() -> bool:
    return True


def _api_server(url: str) -> frozenset[IpAddress]:
    """Return the addresses of the API server as far as this process was told them: no node may be there."""
    hosts = (urlsplit(url).hostname, os.environ.get("KUBERNETES_SERVICE_HOST"))
    found = set()
    for host in hosts:
        with contextlib.suppress(ValueError):
            found.add(ipaddress.ip_address(host or ""))
    return frozenset(found)
