"""``switchtender serve --kubernetes``: the process in a pod. Groups, passwords and peers come from the API server, the
BalancerConfig from a file beside it.

The order of a start: HTTP first, since probes come at once; then what stands in our headers and signs our tokens; then
the groups, of the API server or of the last good snapshot, whichever is there; the SIP sockets last, so that callers
who try before are refused by the kernel and go elsewhere at once.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from switchtender._core import Core
from switchtender.config import hep, last_good
from switchtender.config.destination_sets import seen_set
from switchtender.config.last_good import LastGood
from switchtender.config.pod_config import read_config, services_named, with_services
from switchtender.config.settings import settings
from switchtender.config.state_dir import KeysUnreadableError, StateDir, TokenKey, parse_keys, succeeding
from switchtender.control import group_log
from switchtender.control.balancer import Balancer
from switchtender.control.cluster import Cluster, Facts
from switchtender.control.cluster_view import ClusterView, Stage, StartingView
from switchtender.control.peers import Peers
from switchtender.control.reviews import Reviews
from switchtender.http.admin import Closed, Guard
from switchtender.http.listen import listening
from switchtender.http.sse import Streams
from switchtender.metrics.cluster import ClusterCollector, WatchCollector
from switchtender.metrics.collector import expose
from switchtender.metrics.exposition import Exposition
from switchtender.metrics.families import LIVE_CLIENTS
from switchtender.metrics.readings import Readings
from switchtender.metrics.reloads import Reloads
from switchtender.serve import lifetime, signals
from switchtender.serve.descriptors import make_room
from switchtender.serve.equipment import equip, refusal
from switchtender.serve.follow import FixedFieldsError, TakeUp, follow, refuse_fixed
from switchtender.sources.file import identity
from switchtender.sources.kubernetes import PeerSource, SecretSource, SetSource, Watches, cluster_ips
from switchtender.telemetry.journal import Journal
from switchtender_api.loader import Documents
from switchtender_api.v1alpha1.endpoints import host_address
from switchtender_api.v1alpha1.units import IpAddress
from switchtender_kube import ApiError, Client, ConfigurationError, Unreachable

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds for which the API server is asked for what the last good snapshot would tell, too."""
_AGAIN = 1.0
"""Seconds between two questions for a Service that is not there."""
_NO_REVIEW = "spec.http.admin.tokenReview is off: set balancer.http.admin.tokenReview of the chart to trace calls"
_KEYS = "keys.json"
_TOKEN = "token"  # noqa: S105 - the key that it is under


@dataclass(frozen=True, slots=True)
class Options:
    """Where a balancer in a pod finds what it needs.

    ``watch_namespaces`` empty: all of them. ``keys_secret`` None: token keys of this process's own, in ``stateDir``.
    ``token_secret`` None: ``/api/v1/state`` is not served. ``namespace`` None: as the credentials say.
    """

    config: Path
    watch_namespaces: tuple[str, ...] = ()
    keys_secret: str | None = None
    token_secret: str | None = None
    namespace: str | None = None
    kubeconfig: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


@dataclass(frozen=True, slots=True)
class Running:
    """What is up once a start is over."""

    cluster: Cluster
    view: ClusterView
    peers: Peers
    take_up: TakeUp


class KubernetesServer:
    """One balancer process in a cluster."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.reloads = Reloads()
        self.running: Running | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then until no transaction is open or the deadline has come.

        Raises DocumentErrors, ConfigurationError, StateDirInUseError, StateDirCorruptError, BindError, HttpBindError,
        ConfigError or OSError when it cannot start, ServeError when it fails later.
        """
        with signals.followed() as told:
            async with contextlib.AsyncExitStack() as stack:
                path = self.options.config
                seen = identity(path)
                documents = await asyncio.to_thread(read_config, path, environ=self.options.environ)
                start = _Start(self.options, documents, self.reloads, stack)
                self.running = await _unless(told.stop, start.run())
                if self.running is not None:
                    cluster, peers = self.running.cluster, self.running.peers
                    take_up, journal = self.running.take_up, cluster.balancer.journal
                    following = follow(path, seen, told.reload, take_up, self.reloads, journal)
                    await lifetime.serve(
                        cluster.balancer,
                        (cluster.run(), peers.run(), following, group_log.run(self.running.view.look)),
                        told,
                    )
                    cluster.save()
        log.info("stopped")


class _Start:
    """A start under way. Everything up, or nothing left behind: each step that is done stands in ``stack``."""

    def __init__(
        self, options: Options, documents: Documents, reloads: Reloads, stack: contextlib.AsyncExitStack
    ) -> None:
        self._options = options
        self._documents = documents
        self._reloads = reloads
        self._stack = stack
        self._instance = secrets.token_hex(8)
        self._streams = Streams()
        self._exposition = Exposition()
        self._exposition.add(Readings((LIVE_CLIENTS, lambda: [((), self._streams.clients)])))
        self._watches = Watches()
        self._journal = Journal()

    async def run(self) -> Running:
        options, spec, stack = self._options, self._documents.config.spec, self._stack
        hep_password = hep.password(self._documents, options.environ)
        shared = options.keys_secret is not None
        state_dir = stack.enter_context(contextlib.closing(StateDir(Path(spec.state_dir), shared=shared)))
        restored = _restored(state_dir)
        own = _OwnSecrets(options)
        name = self._documents.config.metadata.name
        waiting = StartingView(self._instance, name, self._exposition, own.token, self._journal)
        self._exposition.add(WatchCollector(self._watches))
        stage = Stage(waiting)
        reviews = Reviews()
        guard: Guard = reviews if spec.http.admin.token_review else Closed(_NO_REVIEW, orders=False)
        http = await stack.enter_async_context(
            listening(stage, str(spec.http.address), spec.http.port, guard=guard, streams=self._streams)
        )
        log.info("starting", extra={"http": http, "watching": list(options.watch_namespaces) or "all namespaces"})
        client = await Client.connect(kubeconfig=options.kubeconfig, user_agent="switchtender-balancer")
        stack.push_async_callback(client.close)
        reviews.client = client
        stack.push_async_callback(self._watches.close)
        namespace = options.namespace or client.namespace
        if namespace is None:
            raise ConfigurationError("the balancer's own namespace is not known: set --namespace or POD_NAMESPACE")
        own.follow(SecretSource(client, self._watches), namespace)
        sets = SetSource(client, self._watches, options.watch_namespaces, seen_set)
        waiting.reason = "waiting for the Services that the node side advertises"
        services = await self._services(client, namespace, restored)
        waiting.reason = "waiting for the Secret with the token keys"
        keys = await own.keys(state_dir)
        waiting.reason = "waiting for the first list of DestinationSets"
        if not restored.saved_at:
            await sets.synced()
        served = with_services(self._documents, services)
        make_room(served.config.spec.tcp.max_connections)
        core = Core(json.dumps(settings(served.config.spec, hep_password)).encode())
        peers = self._peers(client, namespace)
        balancer = Balancer(
            core, keys, clock=time.monotonic, replicas=peers.replicas, part=peers.part, journal=self._journal
        )
        forbidden = _forbidden(client, options.environ)
        equip(balancer, lifetime.own_address(core), functools.partial(refusal, kubernetes=True, forbidden=forbidden))
        stack.push_async_callback(balancer.close)
        cluster = Cluster(
            balancer,
            served,
            Facts(restored, services, forbidden, own.places),
            state_dir,
            sets=sets,
            secrets=SecretSource(client, self._watches),
            clock=time.monotonic,
            outcomes=self._reloads,
        )
        await cluster.take_up()
        stack.push_async_callback(lifetime.end, core)
        core.start()
        view = ClusterView(cluster, self._instance, self._exposition, time.monotonic, own.token)
        expose(self._exposition, balancer, view, self._reloads)
        self._exposition.add(ClusterCollector(cluster))
        own.hand_on(cluster.use_keys, keys)
        stage.shown = view
        groups = len(cluster.assembly.groups)
        log.info("serving", extra={"listeners": lifetime.listeners(core), "http": http, "groups": groups})
        return Running(cluster, view, peers, self._of_config(cluster, services))

    async def _services(self, client: Client, namespace: str, restored: LastGood) -> dict[str, tuple[str, ...]]:
        """The ClusterIPs of the Services that are advertised. They live as long as the Service: asked once."""
        names = services_named(self._documents)
        since = time.monotonic()
        found: dict[str, tuple[str, ...]] = {}
        said: dict[str, str] = {}
        while True:
            for name in sorted(names - found.keys()):
                problem = await _cluster_ips(client, namespace, name, found)
                if problem is not None and said.get(name) != problem:
                    said[name] = problem
                    log.warning("the Service that the node side advertises is not known: %s", problem)
            if names <= found.keys():
                return found
            if names <= restored.services.keys() and (said or time.monotonic() - since > _PATIENCE):
                log.warning("the node side is advertised at the address that it had before")
                return {**restored.services, **found}
            await asyncio.sleep(_AGAIN)

    def _peers(self, client: Client, namespace: str) -> Peers:
        spec = self._documents.config.spec.peers
        static = tuple(str(peer) for peer in spec.static)
        peers = Peers(static, self._instance, time.monotonic, changing=spec.service is not None)
        if spec.service is not None:
            PeerSource(
                client, self._watches, namespace, spec.service, lambda addresses: peers.ask((*static, *addresses))
            )
        return peers

    def _of_config(self, cluster: Cluster, services: Mapping[str, tuple[str, ...]]) -> TakeUp:
        """Takes up the file with the BalancerConfig; what the API server says is followed anyway."""
        before = self._documents.config

        async def take_up() -> dict[str, Any]:
            after = await asyncio.to_thread(read_config, self._options.config, environ=self._options.environ)
            refuse_fixed(before.spec, after.config.spec)
            if after.config.metadata.name != before.metadata.name:
                raise FixedFieldsError("metadata.name cannot change without a restart")
            cluster.use_config(with_services(after, services))
            return {"generation": cluster.balancer.generation}

        return take_up


class _OwnSecrets:
    """The Secrets in the balancer's own namespace: token keys that the replicas share, and the operator's bearer token.

    ``on_keys`` is called with keys that differ from those before, once somebody listens.
    """

    def __init__(self, options: Options) -> None:
        self.on_keys: Callable[[tuple[TokenKey, ...]], None] = lambda _: None
        self._options = options
        self._place: dict[str, tuple[str, str]] = {}
        self._source: SecretSource | None = None
        self._told: tuple[TokenKey, ...] = ()
        self._known: tuple[TokenKey, ...] = ()
        self._token = b""
        self._arrived = asyncio.Event()

    def follow(self, source: SecretSource, namespace: str) -> None:
        """Watch those that are configured."""
        self._source = source
        self._place = {
            which: (namespace, name)
            for which, name in (("keys", self._options.keys_secret), ("token", self._options.token_secret))
            if name is not None
        }
        source.listener = self._changed
        source.want(self._place.values())

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """Namespace and name of each."""
        return frozenset(self._place.values())

    def token(self) -> bytes | None:
        """The bearer token; empty while it is not known, None where none is configured."""
        return None if self._options.token_secret is None else self._token

    async def keys(self, state_dir: StateDir) -> tuple[TokenKey, ...]:
        """The keys to begin with. Shared ones are waited for where there is no copy of them: a process that signed with
        keys of its own would cut its calls off from the other replicas.
        """
        if self._options.keys_secret is None:
            return state_dir.keys
        if not state_dir.keys and not self._arrived.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), _PATIENCE)
        if not state_dir.keys and not self._arrived.is_set():
            log.warning("no token keys yet: waiting for Secret %s", self._options.keys_secret)
            await self._arrived.wait()
        if self._arrived.is_set():
            state_dir.keep_keys(succeeding(self._known, state_dir.keys))
        self._known = state_dir.keys
        return self._known

    def hand_on(self, listener: Callable[[tuple[TokenKey, ...]], None], keys: tuple[TokenKey, ...]) -> None:
        """Tell of keys from now on, and of those that came since ``keys`` were given."""
        self.on_keys = listener
        if self._known and self._known != keys:
            listener(self._known)

    def _changed(self) -> None:
        text = self._text("token", _TOKEN)
        if text:
            self._token = text.strip()
        text = self._text("keys", _KEYS)
        if text is None:
            return
        try:
            keys = parse_keys(text)
        except KeysUnreadableError as error:
            log.error("the Secret with the token keys: %s; the keys known before stay in use", error)
            return
        if keys == self._told:
            return
        self._told, before = keys, self._known
        self._known = succeeding(keys, before)
        self._arrived.set()
        if before and len(self._known) > len(keys):
            log.warning("the Secret with the token keys was made anew; the keys known before verify on")
        if self._known != before:
            self.on_keys(self._known)

    def _text(self, which: str, key: str) -> bytes | None:
        watch = self._source[self._place[which]] if self._source is not None and which in self._place else None
        if watch is None or watch.data is None:
            return None
        try:
            return base64.b64decode(watch.data.data[key], validate=True)
        except (KeyError, ValueError):
            log.error("Secret %s: key %s is not there, or is not base64", "/".join(self._place[which]), key)
            return None


async def _unless(stop: asyncio.Event, work: Awaitable[Running]) -> Running | None:
    """What the work gives; None, and the work canceled, when told to stop before."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _cluster_ips(client: Client, namespace: str, name: str, found: dict[str, tuple[str, ...]]) -> str | None:
    """Put the addresses of a Service into ``found``, or say why there are none."""
    try:
        addresses = await asyncio.wait_for(cluster_ips(client, namespace, name), _PATIENCE)
    except (ApiError, Unreachable, TimeoutError) as error:
        return f"{namespace}/{name}: {str(error) or 'no answer in time'}"
    if not addresses:
        return f"{namespace}/{name} has no ClusterIP: a headless Service cannot be advertised"
    found[name] = addresses
    return None


def _restored(state_dir: StateDir) -> LastGood:
    text = state_dir.read(last_good.FILE)
    if text is None:
        return LastGood()
    try:
        restored = last_good.parse(text)
    except last_good.LastGoodUnreadableError as error:
        log.warning("the last good snapshot is left aside: %s", error, extra={"stateDir": str(state_dir.path)})
        return LastGood()
    log.info("the last good snapshot is there", extra={"sets": len(restored.sets), "savedAt": restored.saved_at})
    return restored


def _forbidden(client: Client, environ: Mapping[str, str]) -> frozenset[IpAddress]:
    """The addresses of the API server, as far as they are literal."""
    hosts = (urlsplit(client.server).hostname, environ.get("KUBERNETES_SERVICE_HOST"))
    return frozenset(address for host in hosts if host and (address := host_address(host)) is not None)
