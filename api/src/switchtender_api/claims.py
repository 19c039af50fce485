"""What a group may claim on a balancer: namespace, priority, listeners, destinations.

Pure; knows neither files nor clusters.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from ipaddress import IPv6Address

from switchtender_api.problems import Finding, Path, quote
from switchtender_api.v1alpha1 import BalancerConfigSpec, BalancerGroup
from switchtender_api.v1alpha1.endpoints import host_address
from switchtender_api.v1alpha1.units import IpAddress, IpNetwork


def refusals(
    config: BalancerConfigSpec,
    group: BalancerGroup,
    *,
    kubernetes: bool,
    forbidden: Container[IpAddress] = frozenset(),
) -> Iterator[Finding]:
    """Yield each claim of the group that the balancer's configuration does not allow.

    `forbidden` holds addresses where no node may be whatever `destinations.allow` says: the API server's. Hosts given
    by name are not judged here: whoever resolves the name asks `destination_refusal`.
    """
    namespaces = config.groups.namespaces
    if namespaces and group.namespace not in namespaces:
        message = "the balancer serves no groups of this namespace"
        yield Finding(("metadata", "namespace"), message, quote(group.namespace), ", ".join(namespaces))
    priority, most = group.spec.match.priority, config.groups.max_priority
    if priority > most:
        message = "the balancer allows no priority as high"
        yield Finding(("spec", "match", "priority"), message, str(priority), f"0 to {most}")
    yield from _unknown_listeners(config, group)
    yield from _networks_beyond(config, group)
    for path, host in _hosts(group):
        address = host_address(host)
        if address is None:
            continue
        refusal = destination_refusal(address, config.destinations.allow, kubernetes=kubernetes, forbidden=forbidden)
        if refusal is not None:
            accepted = ", ".join(map(str, config.destinations.allow)) or "nothing: destinations.allow is empty"
            yield Finding(path, refusal, quote(address), accepted)


def _unknown_listeners(config: BalancerConfigSpec, group: BalancerGroup) -> Iterator[Finding]:
    known = [listener.name for listener in config.listeners]
    named: list[tuple[Path, str]] = [
        (("spec", "match", "rules", position, "listeners", number), name)
        for position, rule in enumerate(group.spec.match.rules)
        for number, name in enumerate(rule.listeners)
    ]
    egress = group.spec.egress
    if egress is not None and egress.listener is not None:
        named.append((("spec", "egress", "listener"), egress.listener))
    for path, name in named:
        if name not in known:
            yield Finding(path, "the balancer has no such listener", quote(name), ", ".join(known))


def _networks_beyond(config: BalancerConfigSpec, group: BalancerGroup) -> Iterator[Finding]:
    """Yield each network that calls may leave to by their Request-URI and that no allowed one holds whole."""
    by_uri = group.spec.egress.request_uri if group.spec.egress else None
    allowed = config.destinations.allow
    for position, network in enumerate(by_uri.networks if by_uri else ()):
        if not any(_holds(each, network) for each in allowed):
            path: Path = ("spec", "egress", "requestUri", "networks", position)
            accepted = ", ".join(map(str, allowed)) or "nothing: destinations.allow is empty"
            yield Finding(path, "destinations.allow of the balancer does not hold it whole", quote(network), accepted)


def _holds(outer: IpNetwork, inner: IpNetwork) -> bool:
    same = outer.version == inner.version and outer.prefixlen <= inner.prefixlen
    return same and inner.network_address in outer


def _hosts(group: BalancerGroup) -> Iterator[tuple[Path, str]]:
    """Yield each host that calls or logins may go to, with the field that names it."""
    for position, member in enumerate(group.spec.members.static):
        path: Path = ("spec", "members", "static", position)
        yield (*path, "sip"), member.sip.host
        if member.load is not None:
            yield (*path, "load"), member.load.host
    for position, hop in enumerate(group.spec.egress.next_hops if group.spec.egress else ()):
        yield ("spec", "egress", "nextHops", position, "sip"), hop.sip.host


def destination_refusal(
    address: IpAddress, allow: Iterable[IpNetwork], *, kubernetes: bool, forbidden: Container[IpAddress] = frozenset()
) -> str | None:
    """Return why no node may be at the address, None if one may. In Kubernetes loopback and link-local never may.

    An IPv4 address within an IPv6 one is refused whatever it holds: it would pass by the rules for either.
    """
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return "an IPv4 address within an IPv6 one"
    if address in forbidden:
        return "this is the API server's address, and no node is there"
    if kubernetes and (address.is_loopback or address.is_link_local):
        return "no node is at a loopback or link-local address in a cluster"
    if not any(address in network for network in allow if network.version == address.version):
        return "destinations.allow of the balancer holds no network with this address"
    return None
