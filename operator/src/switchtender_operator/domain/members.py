"""The nodes of a group as members of its sets: from pods, from the group's static list, or as a set has them already.

Knows neither slices nor status. Two members at one endpoint are one node: the one in the strictest state counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from switchtender_api.claims import destination_refusal
from switchtender_api.objects import dump_member
from switchtender_api.v1alpha1 import GroupPolicy, MemberDrain, MemberEsl, MemberSip, SetMember
from switchtender_api.v1alpha1.destinations import MemberState
from switchtender_api.v1alpha1.endpoints import format_endpoint, host_address
from switchtender_api.v1alpha1.units import IpAddress, IpNetwork
from switchtender_operator.domain.addresses import NoAddress, locate
from switchtender_operator.domain.drains import Draining, pod_drain, static_drain
from switchtender_operator.domain.neighbors import Neighbors
from switchtender_operator.domain.notes import (
    BAD_ANNOTATION,
    DUPLICATE_NODE,
    NODE_LEFT_OUT,
    POD_UNREADABLE,
    SHARED_NODE,
    Note,
    information,
    warning,
)
from switchtender_operator.domain.overrides import read_overrides
from switchtender_operator.domain.pods import Pod

STRICTEST_FIRST: tuple[MemberState, ...] = ("Draining", "NotReady", "Ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One node of a group; `body` is what stands in the set. `sip` and `esl` are "host:port", `esl` None without."""

    uid: str
    name: str
    state: MemberState
    sip: str
    esl: str | None
    body: Mapping[str, Any] = field(hash=False)

    @property
    def is_pod(self) -> bool:
        """Whether the node is a pod: the uid of a static member holds its group's namespace and name."""
        return "/" not in self.uid

    @property
    def drain_reason(self) -> str:
        """Why it is drained, empty if it is not."""
        drain = self.body.get("drain")
        reason = drain.get("reason") if isinstance(drain, Mapping) else None
        return reason if isinstance(reason, str) else ""


@dataclass(frozen=True, slots=True)
class Roster:
    """Members in no particular order, what there is to remark, and the next time at which that changes by itself."""

    members: tuple[Member, ...] = ()
    notes: tuple[Note, ...] = ()
    wake_at: datetime | None = None


class Destinations:
    """Where nodes may be: judges addresses, each once."""

    def __init__(self, allow: tuple[IpNetwork, ...], forbidden: frozenset[IpAddress]) -> None:
        self._allow = allow
        self._forbidden = forbidden
        self._judged: dict[str, str | None] = {}

    def refusal(self, host: str) -> str | None:
        """Return why no node may be at the host, None if one may or if it is a name."""
        if host not in self._judged:
            address = host_address(host)
            self._judged[host] = (
                None
                if address is None
                else destination_refusal(address, self._allow, kubernetes=True, forbidden=self._forbidden)
            )
        return self._judged[host]


def pod_members(
    pods: Iterable[Pod], policy: GroupPolicy, destinations: Destinations, paused: frozenset[str], now: datetime
) -> Roster:
    """Return the members that pods are. `paused` holds the uids of nodes that a balancer paused.

    A pod that has ended or has no address yet is none; one whose address cannot be used is none and gets a note.
    """
    members: list[Member] = []
    notes: list[Note] = []
    begins: list[datetime] = []
    for pod in pods:
        if pod.gone:
            continue
        notes += (warning(POD_UNREADABLE, f"{pod.name}: {problem}") for problem in pod.problems)
        try:
            location = locate(pod, policy.sip, destinations.refusal)
        except NoAddress as reason:
            notes.append(warning(NODE_LEFT_OUT, f"{pod.name}: {reason}"))
            continue
        if location is None:
            continue
        overrides = read_overrides(pod)
        notes += (warning(BAD_ANNOTATION, f"{pod.name}: {problem}") for problem in overrides.problems)
        draining = pod_drain(pod, overrides.drain, policy.drain, now)
        if draining.begins is not None:
            begins.append(draining.begins)
        state: MemberState = "Draining" if draining.drain else "Ready" if pod.ready else "NotReady"
        esl = policy.esl
        # Values that were validated where they come from: validating each node again would be most of a plan's time.
        member = SetMember.model_construct(
            uid=pod.uid,
            name=pod.name,
            node=pod.node,
            zone=pod.zone,
            addresses=location.addresses,
            sip=MemberSip.model_construct(port=policy.sip.port, transport=policy.sip.transport),
            esl=MemberEsl.model_construct(host=location.esl, port=esl.port, user=esl.user)
            if esl.password_from
            else None,
            state=state,
            drain=_marked(draining.drain, paused=pod.uid in paused),
            weight=overrides.values.weight,
            priority=overrides.values.priority,
            resources=overrides.values.resources,
        )
        members.append(_member(member))
    return Roster(tuple(members), tuple(notes), min(begins, default=None))


def static_members(members: Iterable[SetMember], paused: frozenset[str], now: datetime) -> Roster:
    """Return the static members as they are at `now`: one whose drain begins later is Ready until then."""
    found: list[Member] = []
    begins: list[datetime] = []
    for member in members:
        draining: Draining = static_drain(member.drain, now)
        if draining.begins is not None:
            begins.append(draining.begins)
        drain = _marked(draining.drain, paused=member.uid in paused)
        found.append(_member(member.model_copy(update={"state": "Draining" if drain else "Ready", "drain": drain})))
    return Roster(tuple(found), (), min(begins, default=None))


def written_members(specs: Iterable[Mapping[str, Any]]) -> Iterator[Member]:
    """Yield the members of sets as they stand there; one that cannot even be told apart is passed over."""
    for spec in specs:
        listed = spec.get("members")
        for body in listed if isinstance(listed, list) else ():
            if not isinstance(body, Mapping) or not isinstance(body.get("uid"), str):
                continue
            name = body.get("name")
            state = body.get("state", "Ready")
            addresses = body.get("addresses")
            yield Member(
                uid=body["uid"],
                name=name if isinstance(name, str) else body["uid"],
                state=state if state in STRICTEST_FIRST else "NotReady",
                sip=_written_endpoint(addresses[0] if isinstance(addresses, list) and addresses else None, body, "sip"),
                esl=_written_endpoint(None, body, "esl") or None,
                body=body,
            )


def within(members: Iterable[Member], destinations: Destinations) -> Roster:
    """Return the members that are where nodes may be, and a note on each that is not."""
    kept: list[Member] = []
    notes: list[Note] = []
    for member in members:
        addresses = member.body.get("addresses")
        host = addresses[0] if isinstance(addresses, list) and addresses else ""
        reason = destinations.refusal(host) if isinstance(host, str) else None
        if reason is None:
            kept.append(member)
        else:
            notes.append(warning(NODE_LEFT_OUT, f"{member.name}: SIP address {host}: {reason}"))
    return Roster(tuple(kept), tuple(notes))


def distinct(members: Iterable[Member], present: frozenset[str]) -> Roster:
    """Return the members with one for each endpoint of SIP and of ESL, and a note on each that was left out.

    The strictest state wins, then who is in the sets already (`present`, by uid), then name and uid.
    """
    taken: dict[tuple[str, str], Member] = {}
    kept: list[Member] = []
    notes: list[Note] = []
    for member in sorted(
        members, key=lambda each: (STRICTEST_FIRST.index(each.state), each.uid not in present, each.name, each.uid)
    ):
        endpoints = [("SIP", member.sip)] + ([("Event Socket", member.esl)] if member.esl else [])
        other = next(((endpoint, taken[endpoint]) for endpoint in endpoints if endpoint in taken), None)
        if other is None:
            kept.append(member)
            taken.update((endpoint, member) for endpoint in endpoints)
        elif other[1].uid != member.uid:
            (what, place), first = other
            notes.append(warning(DUPLICATE_NODE, f"{member.name}: {first.name} is at its {what} {place}, and counts"))
    return Roster(tuple(kept), tuple(notes))


def shared(members: Iterable[Member], neighbors: Neighbors, group: str) -> Iterator[Note]:
    """Yield a note on each member whose Event Socket another group has under another uid, where one is a pod.

    The same pod in two groups has one uid and is what it seems. Static members that several groups list are so on
    purpose. A pod's address listed as a static member elsewhere will be another's one day.
    """
    for member in members:
        for other in neighbors.at(member.esl, besides=group) if member.esl else ():
            if other.uid != member.uid and (member.is_pod or "/" not in other.uid):
                text = f"{member.name}: {other.name} of {other.group} has the same Event Socket {member.esl}: one node"
                yield information(SHARED_NODE, text)


def _member(member: SetMember) -> Member:
    return Member(
        uid=member.uid,
        name=member.name,
        state=member.state,
        sip=format_endpoint(member.addresses[0], member.sip.port),
        esl=format_endpoint(member.esl.host, member.esl.port) if member.esl else None,
        body=dump_member(member),
    )


def _marked(drain: MemberDrain | None, *, paused: bool) -> MemberDrain | None:
    return drain.model_copy(update={"paused_by_us": True}) if drain is not None and drain.pause and paused else drain


def _written_endpoint(host: Any, body: Mapping[str, Any], field_name: str) -> str:
    place = body.get(field_name)
    if not isinstance(place, Mapping):
        return ""
    host = host if host is not None else place.get("host")
    port = place.get("port")
    return format_endpoint(host, port) if isinstance(host, str) and isinstance(port, int) else ""
