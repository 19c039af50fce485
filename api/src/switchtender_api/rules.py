"""What holds across fields and across documents, which no single model can see.

`within` looks at one document, `in_context` at a group beside the rest of its file. Both give every finding. Knows no
YAML and no line of a file.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator
from dataclasses import dataclass

from switchtender_api import claims
from switchtender_api.problems import Finding, Path, quote
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup
from switchtender_api.v1alpha1.units import IpAddress, PortRange

Loaded = BalancerConfig | BalancerGroup


def identity(document: Loaded) -> tuple[str, str]:
    """Return kind and name, a group's name with its namespace."""
    return document.kind, document.key if isinstance(document, BalancerGroup) else document.metadata.name


def within(document: Loaded) -> Iterator[Finding]:
    """Yield what is wrong within one document beyond its single fields."""
    return _within_group(document) if isinstance(document, BalancerGroup) else _within_config(document)


def in_context(group: BalancerGroup, config: BalancerConfig | None, groups: Container[str]) -> Iterator[Finding]:
    """Yield what is wrong with a group beside the other documents of its file.

    `groups` holds the namespace/name of every group in the file; `config` is None where none is usable.
    """
    target = group.spec.capacity.over_limit.group
    if target is not None and f"{group.namespace}/{target}" not in groups:
        path = ("spec", "capacity", "overLimit", "group")
        yield Finding(
            path, "no such group in the namespace", quote(target), "a group of this file in the same namespace"
        )
    if config is None:
        return
    if group.spec.balancer != config.metadata.name:
        message = "a file has one balancer, and its groups name it or leave the field out"
        yield Finding(("spec", "balancer"), message, quote(group.spec.balancer), config.metadata.name)
    yield from claims.refusals(config.spec, group, kubernetes=False)


def _within_config(config: BalancerConfig) -> Iterator[Finding]:
    spec = config.spec
    ports = spec.worker_ports
    if isinstance(spec.workers, int) and ports.first and ports.size < spec.workers:
        message = f"{spec.workers} workers need as many ports"
        yield Finding(
            ("spec", "nodeSide", "workerPorts"), message, quote(ports), f"a range of {spec.workers} ports or more"
        )
    for one, other in itertools.combinations(_sockets(config), 2):
        if one.overlaps(other):
            yield Finding(other.path, f"overlaps {one.name}", str(other), "an address and port of its own")


@dataclass(frozen=True, slots=True)
class _Socket:
    """Ports that the balancer binds."""

    path: Path
    name: str
    protocol: str
    address: IpAddress
    ports: PortRange

    def __str__(self) -> str:
        ports = str(self.ports.first) if self.ports.size == 1 else str(self.ports)
        return f"{self.protocol} {self.address} port {ports}"

    def overlaps(self, other: _Socket) -> bool:
        same_address = self.address == other.address or (
            self.address.version == other.address.version
            and (self.address.is_unspecified or other.address.is_unspecified)
        )
        chosen = self.ports.first > 0 and other.ports.first > 0
        same_port = self.ports.first <= other.ports.last and other.ports.first <= self.ports.last
        return self.protocol == other.protocol and same_address and chosen and same_port


def _sockets(config: BalancerConfig) -> Iterator[_Socket]:
    spec = config.spec
    for position, listener in enumerate(spec.listeners):
        for transport in dict.fromkeys(listener.transports):
            path: Path = ("spec", "listeners", position, "port")
            ports = PortRange(listener.port, listener.port)
            yield _Socket(path, f"listener {listener.name}", transport, listener.address, ports)
    side = spec.node_side
    if side is not None:
        ports = PortRange(side.port, side.port)
        yield _Socket(("spec", "nodeSide", "port"), "the node side", "UDP", side.address, ports)
    path = ("spec", "nodeSide", "workerPorts")
    yield _Socket(path, "the worker ports", "UDP", spec.worker_address, spec.worker_ports)
    http = PortRange(spec.http.port, spec.http.port)
    yield _Socket(("spec", "http", "port"), "http", "TCP", spec.http.address, http)


def _within_group(group: BalancerGroup) -> Iterator[Finding]:
    spec = group.spec
    static: Path = ("spec", "members", "static")
    seen: dict[tuple[str, int], str] = {}
    for position, member in enumerate(spec.members.static):
        endpoint = (member.sip.host, member.sip.port or spec.sip.port)
        if endpoint in seen:
            message = f"member {seen[endpoint]} has this address already"
            yield Finding((*static, position, "sip"), message, quote(member.sip), "an address of its own")
        seen.setdefault(endpoint, member.name)
        if member.load is not None and member.load.password is None and spec.esl.password_from is None:
            yield Finding(
                (*static, position, "load"),
                "no password: neither in the URL nor by spec.esl.passwordFrom",
                accepted="fs://[user]:password@host[:port], or spec.esl.passwordFrom",
            )
    known = {resource.name for resource in spec.capacity.resources}
    for position, rule in enumerate(spec.match.rules):
        for number, name in enumerate(rule.resources):
            if name not in known:
                path = ("spec", "match", "rules", position, "resources", number)
                yield Finding(
                    path, "no such resource", quote(name), ", ".join(sorted(known)) or "a name in capacity.resources"
                )
    if spec.capacity.over_limit.group == group.name:
        yield Finding(
            ("spec", "capacity", "overLimit", "group"),
            "a group cannot spill into itself",
            quote(group.name),
            "another group",
        )
