"""What a group may claim on a balancer: namespace, priority, listeners, destinations.

Pure; knows neither files nor clusters.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network

from switchtender_api.problems import Finding, Path, quote
from switchtender_api.v1alpha1 import BalancerConfigSpec, BalancerGroup
from switchtender_api.v1alpha1.endpoints import host_address
from switchtender_api.v1alpha1.units import IpAddress, IpNetwork

_NEVER_IN_A_CLUSTER: tuple[IpNetwork, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("169.254.0.0/16"),
    IPv6Network("::/128"),
    IPv6Network("::1/128"),
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("fe80::/10"),
)
"""This host, loopback and link-local; IPv4 within IPv6, which is loopback, too, or passes by the rules for IPv4."""


def refusals(
    config: BalancerConfigSpec,
    group: BalancerGroup,
    *,
    kubernetes: bool,
    forbidden: Collection[IpAddress] = frozenset(),
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
    if kubernetes:
        yield from _networks_closed(group, forbidden)
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


def _networks_closed(group: BalancerGroup, forbidden: Collection[IpAddress]) -> Iterator[Finding]:
    """Yield each network that calls may leave to by their Request-URI and that has no address where one may go."""
    by_uri = group.spec.egress.request_uri if group.spec.egress else None
    for position, network in enumerate(by_uri.networks if by_uri else ()):
        if not open_networks([network], forbidden):
            path: Path = ("spec", "egress", "requestUri", "networks", position)
            message = "in a cluster no call may go to loopback, link-local addresses or the API server"
            yield Finding(path, message, quote(network), "a network with other addresses")


def open_networks(networks: Iterable[IpNetwork], forbidden: Iterable[IpAddress]) -> tuple[IpNetwork, ...]:
    """Return what is left of the networks in a cluster, without addresses where no call may go, ``forbidden`` included.

    A few networks without overlap in the place of one that holds such addresses; none for one that holds no others.
    """
    closed = (*_NEVER_IN_A_CLUSTER, *(ip_network(address) for address in forbidden))
    networks = tuple(networks)
    left: list[IpNetwork] = [
        *collapse_addresses(network for network in networks if isinstance(network, IPv4Network)),
        *collapse_addresses(network for network in networks if isinstance(network, IPv6Network)),
    ]
    for hole in closed:
        left = [rest for network in left for rest in _without(network, hole)]
    return tuple(left)


def _without(network: IpNetwork, hole: IpNetwork) -> Iterable[IpNetwork]:
    if _holds(hole, network):
        return ()
    if isinstance(network, IPv4Network) and isinstance(hole, IPv4Network) and _holds(network, hole):
        return network.address_exclude(hole)
    if isinstance(network, IPv6Network) and isinstance(hole, IPv6Network) and _holds(network, hole):
        return network.address_exclude(hole)
    return (network,)


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
    if address.is_unspecified or address.is_multicast:
        return "nobody can be reached at this address"
    if kubernetes and (address.is_loopback or address.is_link_local):
        return "no node is at a loopback or link-local address in a cluster"
    if not any(address in network for network in allow if network.version == address.version):
        return "destinations.allow of the balancer holds no network with this address"
    return None
