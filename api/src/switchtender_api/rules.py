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
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, stateless
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
    for path, target in others_named(group):
        if f"{group.namespace}/{target}" not in groups:
            accepted = "a group of this file in the same namespace"
            yield Finding(path, "no such group in the namespace", quote(target), accepted)
    if config is None:
        return
    if group.spec.balancer != config.metadata.name:
        message = "a file has one balancer, and its groups name it or leave the field out"
        yield Finding(("spec", "balancer"), message, quote(group.spec.balancer), config.metadata.name)
    yield from claims.refusals(config.spec, group, kubernetes=False)


def others_named(group: BalancerGroup) -> Iterator[tuple[Path, str]]:
    """Yield each other group of the namespace that the group sends calls to, after the field that names it."""
    spec = group.spec
    if spec.capacity.over_limit.group is not None:
        yield ("spec", "capacity", "overLimit", "group"), spec.capacity.over_limit.group
    if spec.egress is not None and spec.egress.group is not None:
        yield ("spec", "egress", "group"), spec.egress.group


def _within_config(config: BalancerConfig) -> Iterator[Finding]:
    spec = config.spec
    ports = spec.worker_ports
    if isinstance(spec.workers, int) and ports.first and ports.size < spec.workers:
        message = f"{spec.workers} workers need as many ports"
        yield Finding(
            ("spec", "nodeSide", "workerPorts"), message, quote(ports), f"a range of {spec.workers} ports or more"
        )
    told: set[tuple[str, str]] = set()
    for one, other in itertools.combinations(_sockets(config), 2):
        if one.overlaps(other) and (one.name, other.name) not in told:
            told.add((one.name, other.name))
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
    for transport in ("UDP", "TCP"):  # nodes may choose, whatever callers may
        if side is not None:
            ports = PortRange(side.port, side.port)
            yield _Socket(("spec", "nodeSide", "port"), "the node side", transport, side.address, ports)
        path = ("spec", "nodeSide", "workerPorts")
        yield _Socket(path, "the worker ports", transport, spec.worker_address, spec.worker_ports)
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
    yield from _unknown_resources(group)
    yield from stateless.refusals(spec)
    for path, target in others_named(group):
        if target == group.name:
            spills = path[1] == "capacity"
            message = "a group cannot spill into itself" if spills else "calls cannot leave to the nodes they come from"
            yield Finding(path, message, quote(group.name), "another group")


def _unknown_resources(group: BalancerGroup) -> Iterator[Finding]:
    """Yield each resource that a rule or a member names and the group does not have, or measures otherwise."""
    spec = group.spec
    known = {resource.name: resource for resource in spec.capacity.resources}
    accepted = ", ".join(sorted(known)) or "a name in capacity.resources"
    for position, rule in enumerate(spec.match.rules):
        for number, name in enumerate(rule.resources):
            if name not in known:
                path: Path = ("spec", "match", "rules", position, "resources", number)
                yield Finding(path, "no such resource", quote(name), accepted)
    for position, member in enumerate(spec.members.static):
        for number, resource in enumerate(member.resources):
            path = ("spec", "members", "static", position, "resources", number)
            if resource.name not in known:
                yield Finding((*path, "name"), "no such resource", quote(resource.name), accepted)
            elif resource.source is not None and known[resource.name].limit is not None:
                message = "the group counts it itself: a member may have another limit, and no other measure"
                yield Finding((*path, "source"), message, quote(resource.source), "limit")
