"""Static members to set members: the nodes that a group lists become what a DestinationSet would say of them.

So a balancer has one notion of a node, whether a file or the operator names it. Passwords are kept beside the member,
never in it. Opens nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from switchtender_api.problems import Finding
from switchtender_api.v1alpha1 import BalancerGroup, MemberDrain, MemberEsl, MemberSip, SetMember, StaticMember
from switchtender_api.v1alpha1.destinations import Lookup
from switchtender_api.v1alpha1.endpoints import Endpoint, host_address
from switchtender_api.v1alpha1.passwords import ReadFile, resolve

DRAIN_REASON = "Requested"


@dataclass(frozen=True, slots=True)
class ResolvedMember:
    """A node and the password of its Event Socket; None for a node without one, or where it could not be read."""

    member: SetMember
    password: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    """The members of a group in the order of the document, and what kept passwords from being read."""

    members: tuple[ResolvedMember, ...]
    findings: tuple[Finding, ...] = ()


def set_members(group: BalancerGroup) -> tuple[SetMember, ...]:
    """Return the group's static members as members of a DestinationSet, in the order of the document.

    A port comes from the member's URI, else from the group. The uid is `namespace/group/name@host:port` of SIP: a node
    of the same name at another address is another node.
    """
    return tuple(_set_member(group, member) for member in group.spec.members.static)


def resolved_members(group: BalancerGroup, *, environ: Mapping[str, str], read_file: ReadFile) -> Resolution:
    """Return the group's static members with their passwords: from the URL, else from the group's passwordFrom.

    `read_file` returns the text of the file at a path, or raises OSError or UnicodeDecodeError; it is asked once at
    most, and only if a member needs it.
    """
    shared: SecretStr | None = None
    findings: tuple[Finding, ...] = ()
    source = group.spec.esl.password_from
    if source is not None and any(_lacks_password(member) for member in group.spec.members.static):
        outcome = resolve(source, environ=environ, read_file=read_file, path=("spec", "esl", "passwordFrom"))
        if isinstance(outcome, Finding):
            findings = (outcome,)
        else:
            shared = outcome
    members = tuple(
        ResolvedMember(member, (static.load.password or shared) if static.load else None)
        for member, static in zip(set_members(group), group.spec.members.static, strict=True)
    )
    return Resolution(members, findings)


def _lacks_password(member: StaticMember) -> bool:
    return member.load is not None and member.load.password is None


def _set_member(group: BalancerGroup, member: StaticMember) -> SetMember:
    spec = group.spec
    port = member.sip.port or spec.sip.port
    load = member.load
    drain = None
    if member.drain is not None:
        deadline = member.drain + spec.drain.timeout
        drain = MemberDrain(since=member.drain, deadline=deadline, reason=DRAIN_REASON, pause=spec.drain.pause_node)
    optional = {"backup": True} if member.backup else {}
    return SetMember(
        uid=f"{group.key}/{member.name}@{Endpoint(member.sip.host, port)}",
        name=member.name,
        addresses=(member.sip.host,),
        sip=_sip(group, member, port),
        esl=MemberEsl(host=load.host, port=load.port or spec.esl.port, user=load.user or spec.esl.user)
        if load
        else None,
        state="Draining" if drain else "Ready",
        drain=drain,
        weight=member.weight,
        priority=member.priority,
        resources=member.resources,
        **optional,
    )


def _sip(group: BalancerGroup, member: StaticMember, port: int) -> MemberSip:
    """Return how the member takes SIP. What neither it nor the group says of a name is left to DNS (RFC 3263 §4)."""
    given = group.spec.sip.model_fields_set
    transport = member.sip.transport or group.spec.sip.transport
    if host_address(member.sip.host) is not None:
        return MemberSip(port=port, transport=transport)
    lookup: Lookup = "Any"
    if member.sip.port is not None or "port" in given:
        lookup = "Address"
    elif member.sip.transport is not None or "transport" in given:
        lookup = "Service"
    return MemberSip(port=port, transport=transport, lookup=lookup)
