"""The hosts of a plan that are given by name, and where they turned out to be. Pure: asks no DNS.

RFC 3263 asks for what a URI leaves open: a port that stands means that the addresses of the name are asked for and no
SRV record, a transport that stands means that no NAPTR record is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from switchtender.drivers.dns.names import Name, Target
from switchtender_api.constants import DEFAULT_SIP_PORT
from switchtender_api.v1alpha1 import BalancerGroup, SetMember
from switchtender_api.v1alpha1.destinations import Lookup
from switchtender_api.v1alpha1.egress import NextHop
from switchtender_api.v1alpha1.endpoints import SipUri, host_address

Resolved = Mapping[Name, tuple[Target, ...]]
"""Where names are, by name, the best place first. A name that is not in it is not known to be anywhere."""


def member_name(member: SetMember) -> Name | None:
    """What to ask for a member; None where its address stands."""
    host = member.addresses[0]
    if host_address(host) is not None:
        return None
    return Name(host, member.sip.port, member.sip.transport, member.sip.lookup)


def hop_name(hop: NextHop) -> Name | None:
    """What to ask for a next hop; None where its address stands."""
    return None if host_address(hop.sip.host) is not None else _uri_name(hop.sip)


def _uri_name(uri: SipUri) -> Name:
    lookup: Lookup = "Address" if uri.port is not None else "Service" if uri.transport is not None else "Any"
    return Name(uri.host, uri.port or DEFAULT_SIP_PORT, uri.transport or "UDP", lookup)


def names_of(group: BalancerGroup, members: Iterable[SetMember]) -> Iterator[Name]:
    """Every name that takes calls of a group with these members: the members' own and those of next hops."""
    for member in members:
        name = member_name(member)
        if name is not None:
            yield name
    for hop in group.spec.egress.next_hops if group.spec.egress else ():
        name = hop_name(hop)
        if name is not None:
            yield name


def member_target(member: SetMember, resolved: Resolved) -> Target | None:
    """Where a member takes SIP; None while its name is not known to be anywhere."""
    name = member_name(member)
    if name is None:
        return Target(member.addresses[0], member.sip.port, member.sip.transport)
    return next(iter(resolved.get(name, ())), None)


def hop_targets(hop: NextHop, resolved: Resolved) -> tuple[Target, ...]:
    """Where a next hop takes SIP; none while its name is not known to be anywhere."""
    name = hop_name(hop)
    if name is None:
        return (Target(hop.sip.host, hop.sip.port or DEFAULT_SIP_PORT, hop.sip.transport or "UDP"),)
    return resolved.get(name, ())


__all__ = ["Name", "Resolved", "Target", "hop_name", "hop_targets", "member_name", "member_target", "names_of"]
