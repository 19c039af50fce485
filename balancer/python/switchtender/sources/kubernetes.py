"""What a balancer reads of a cluster: DestinationSets, the Secrets it was given the names of, its Services, its peers.

Lists and watches; what is in an object is the business of whoever is told. While the API server is away or refuses,
what is known stays known.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from switchtender_api.constants import GROUP, VERSION
from switchtender_api.v1alpha1.endpoints import format_endpoint
from switchtender_kube import Client, Json, Reflector, Resource

log = logging.getLogger(__name__)

T = TypeVar("T")

DESTINATION_SETS: Final = Resource(GROUP, VERSION, "destinationsets")
SECRETS: Final = Resource("", "v1", "secrets")
SERVICES: Final = Resource("", "v1", "services")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices")

_SERVICE_LABEL = "kubernetes.io/service-name"
_PEER_PORT = "http"


class Watches:
    """Reflectors under way, by name. Made and closed in one event loop."""

    def __init__(self) -> None:
        self.reflectors: dict[str, Reflector[Any]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, reflector: Reflector[T]) -> None:
        """Run it until it is stopped by its name."""
        self.reflectors[reflector.name] = reflector
        self._tasks[reflector.name] = asyncio.get_running_loop().create_task(reflector.run(), name=reflector.name)

    def stop(self, name: str) -> None:
        """End the one of that name; its store stays readable."""
        del self.reflectors[name]
        self._tasks.pop(name).cancel()

    async def close(self) -> None:
        """End them all."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SetSource(Generic[T]):
    """DestinationSets of the given namespaces, of every one where none is given, as ``project`` makes them.

    ``listener`` is called after each change with what the object is now; None: it is gone.
    """

    def __init__(
        self,
        client: Client,
        watches: Watches,
        namespaces: Iterable[str],
        project: Callable[[Json], T | None],
    ) -> None:
        self.listener: Callable[[T | None], None] = lambda _: None
        self.scopes: Mapping[str | None, Reflector[T]] = {
            namespace: Reflector(
                client,
                DESTINATION_SETS,
                namespace=namespace,
                project=project,
                changed=lambda _uid, _old, new: self.listener(new),
            )
            for namespace in (tuple(dict.fromkeys(namespaces)) or (None,))
        }
        for reflector in self.scopes.values():
            watches.start(reflector)

    async def synced(self) -> None:
        """Return once the first list of every scope is complete."""
        for reflector in self.scopes.values():
            await reflector.synced.wait()


@dataclass(frozen=True, slots=True)
class SecretData:
    """The data of a Secret by key, in base64 as the API server gives it."""

    uid: str
    data: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class SecretWatch:
    """One Secret. ``data``: its last known content, also after it was deleted; None if it never was known."""

    reflector: Reflector[SecretData] = field(init=False)
    data: SecretData | None = None

    @property
    def absent(self) -> bool:
        """Whether the API server says that there is none, and never said otherwise."""
        return self.data is None and self.reflector.synced.is_set() and self.reflector.health.error is None

    @property
    def refused(self) -> str | None:
        """What the API server last said against our looking at it, or why it did not answer."""
        return self.reflector.health.error


class SecretSource:
    """Secrets by namespace and name, each on a watch of its own, as ``resourceNames`` asks for.

    ``listener`` is called after each change.
    """

    def __init__(self, client: Client, watches: Watches) -> None:
        self.listener: Callable[[], None] = lambda: None
        self._client = client
        self._watches = watches
        self._known: dict[tuple[str, str], SecretWatch] = {}

    def want(self, names: Iterable[tuple[str, str]]) -> None:
        """Watch exactly these from now on."""
        wanted = set(names)
        for place in [place for place in self._known if place not in wanted]:
            self._watches.stop(self._known.pop(place).reflector.name)
        for place in sorted(wanted - self._known.keys()):
            self._known[place] = self._watch(*place)

    def __getitem__(self, place: tuple[str, str]) -> SecretWatch:
        """The watch of a Secret that is wanted."""
        return self._known[place]

    def _watch(self, namespace: str, name: str) -> SecretWatch:
        watch = SecretWatch()

        def changed(_uid: str, _old: SecretData | None, new: SecretData | None) -> None:
            if new is None:
                log.warning("a Secret is gone; what was in it stays in use", extra={"secret": f"{namespace}/{name}"})
            else:
                watch.data = new
            self.listener()

        watch.reflector = Reflector(
            self._client,
            SECRETS,
            namespace=namespace,
            project=_secret,
            changed=changed,
            field_selector=f"metadata.name={name}",
            name=f"{namespace}/secrets/{name}",
            confidential=True,
        )
        self._watches.start(watch.reflector)
        return watch


def _secret(raw: Json) -> SecretData:
    data = raw.get("data")
    return SecretData(
        raw["metadata"]["uid"],
        {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {},
    )


class PeerSource:
    """HTTP addresses ("host:port") of the pods behind a headless Service; ``changed`` is called after each change."""

    def __init__(
        self, client: Client, watches: Watches, namespace: str, service: str, changed: Callable[[tuple[str, ...]], None]
    ) -> None:
        self._reflector: Reflector[tuple[str, ...]] = Reflector(
            client,
            ENDPOINT_SLICES,
            namespace=namespace,
            project=lambda raw: tuple(_peers(raw)),
            changed=lambda *_: changed(self.addresses()),
            label_selector=f"{_SERVICE_LABEL}={service}",
            name=f"{namespace}/endpointslices/{service}",
        )
        watches.start(self._reflector)

    def addresses(self) -> tuple[str, ...]:
        """Those known now, each once."""
        return tuple(sorted({address for slice_ in self._reflector.store.values() for address in slice_}))


def _peers(raw: Json) -> Iterator[str]:
    """Every endpoint, ready or not: a replica that is not ready yet, or stops, may well have calls."""
    ports = [port.get("port") for port in raw.get("ports") or () if port.get("name") == _PEER_PORT]
    if not ports or not isinstance(ports[0], int):
        return
    for endpoint in raw.get("endpoints") or ():
        for address in (endpoint.get("addresses") or ())[:1]:
            if _is_address(address):
                yield format_endpoint(address, ports[0])


async def cluster_ips(client: Client, namespace: str, service: str) -> tuple[str, ...]:
    """The addresses of a Service, the primary one first; none of a headless one. Raises ApiError, Unreachable."""
    spec = (await client.get(SERVICES.path(namespace, service))).get("spec") or {}
    found = [spec.get("clusterIP"), *(spec.get("clusterIPs") or ())]
    return tuple(dict.fromkeys(address for address in found if _is_address(address)))


def _is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True
