"""What a running balancer asks the network with beside the Event Sockets: OPTIONS, and DNS for names."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from ipaddress import ip_address

from switchtender.control.balancer import Balancer
from switchtender.control.naming import Finder, Naming
from switchtender.drivers.options.prober import Prober
from switchtender_api import claims
from switchtender_api.v1alpha1.units import IpAddress, IpNetwork

Refusal = Callable[[str, Sequence[IpNetwork]], str | None]


def equip(balancer: Balancer, own: str, refusal: Refusal) -> None:
    """Let the balancer probe from its ``own`` address, and resolve names; before its first plan. ``refusal`` tells why
    nothing may be at an address that a name turns out to be at, given ``destinations.allow``.
    """
    balancer.prober = Prober(own, balancer.probed)
    balancer.naming = Naming(lambda: _finder(own), balancer.moved, refusal)


def refusal(
    address: str, allow: Sequence[IpNetwork], *, kubernetes: bool, forbidden: Container[IpAddress]
) -> str | None:
    """Why no call may go to the address; None where calls may."""
    return claims.destination_refusal(ip_address(address), allow, kubernetes=kubernetes, forbidden=forbidden)


def _finder(own: str) -> Finder:
    """A resolver that looks for our own family first; most configurations have no name, and need none."""
    from switchtender.drivers.dns.rfc3263 import Names

    return Names(family="IPv6" if ":" in own else "IPv4")
