"""The nodes of a group as members of its sets: from pods, from the group's static list, or as a set has them already.

Knows neither slices nor status. Two members at one endpoint are one node: the one in the strictest state counts.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from switchtender_api.claims import destination_refusal
from switchtender_api.objects import dump_member
from switchtender_api.v1alpha1 import MemberDrain, SetMember
from switchtender_api.v1alpha1.destinations import MemberState
from switchtender_api.v1alpha1.endpoints import format_endpoint, host_address
from switchtender_api.v1alpha1.units import IpAddress, IpNetwork
from switchtender_operator.domain.drains import Draining, static_drain
from switchtender_operator.domain.neighbors import Neighbors
from switchtender_operator.domain.notes import DUPLICATE_NODE, NODE_LEFT_OUT, SHARED_NODE, Note, remark

STRICTEST_FIRST: tuple[MemberState, ...] = ("Draining", "NotReady", "Ready")
_strictness = STRICTEST_FIRST.index


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


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where nodes may be: in networks of the balancer's `destinations.allow`, never at `forbidden` addresses."""

    allow: tuple[IpNetwork, ...]
    forbidden: frozenset[IpAddress] = frozenset()

    def refusal(self, host: str) -> str | None:
        """Return why no node may be at the host, None if one may or if it is a name."""
        address = host_address(host)
        if address is None:
            return None
        return destination_refusal(address, self.allow, kubernetes=True, forbidden=self.forbidden)


def static_members(members: Iterable[SetMember], paused: frozenset[str], now: datetime) -> Roster:
    """Return the static members as they are at `now`: one whose drain begins later is Ready until then."""
    found: list[Member] = []
    begins: list[datetime] = []
    for member in members:
        draining: Draining = static_drain(member.drain, now)
        if draining.begins is not None:
            begins.append(draining.begins)
        drain = marked(draining.drain, paused=member.uid in paused)
        found.append(member_of(member.model_copy(update={"state": "Draining" if drain else "Ready", "drain": drain})))
    return Roster(tuple(found), (), min(begins, default=None))


def written_bodies(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the members of a set as they stand there; what cannot even be told apart is passed over."""
    listed = spec.get("members")
    return [
        body
        for body in (listed if isinstance(listed, list) else ())
        if isinstance(body, Mapping) and isinstance(body.get("uid"), str)
    ]


def strictest(bodies: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return bodies by uid; of one that stands twice, as an interrupted write leaves it, the strictest state."""
    found: dict[str, Mapping[str, Any]] = {}
    for body in bodies:
        other = found.setdefault(body["uid"], body)
        if other is not body and _strictness(state_of(body)) < _strictness(state_of(other)):
            found[body["uid"]] = body
    return found


def written_member(body: Mapping[str, Any]) -> Member:
    """Return a member as it stands in a set, whatever wrote it."""
    name, addresses = body.get("name"), body.get("addresses")
    first = addresses[0] if isinstance(addresses, list) and addresses else None
    esl = body.get("esl")
    return Member(
        uid=body["uid"],
        name=name if isinstance(name, str) else body["uid"],
        state=state_of(body),
        sip=_endpoint(first, body.get("sip")) or f"unknown of {body['uid']}",
        esl=_endpoint(esl.get("host"), esl) if isinstance(esl, Mapping) else None,
        body=body,
    )


def state_of(body: Mapping[str, Any]) -> MemberState:
    """Return the state that a written member has; one that is not known takes no new calls."""
    state = body.get("state", "Ready")
    return state if state in STRICTEST_FIRST else "NotReady"


def _endpoint(host: Any, place: Any) -> str | None:
    port = place.get("port") if isinstance(place, Mapping) else None
    return format_endpoint(host, port) if isinstance(host, str) and isinstance(port, int) else None


def within(members: Iterable[Member], destinations: Destinations) -> Roster:
    """Return the members that are where nodes may be, and a note on each that is not."""
    kept: list[Member] = []
    notes: list[Note] = []
    for member in members:
        refused = [
            f"{what} address {host}: {reason}"
            for what, host in _hosts(member.body)
            if (reason := destinations.refusal(host)) is not None
        ]
        if refused:
            notes.append(remark(NODE_LEFT_OUT, f"{member.name}: {refused[0]}"))
        else:
            kept.append(member)
    return Roster(tuple(kept), tuple(notes))


def _hosts(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    addresses, esl = body.get("addresses"), body.get("esl")
    if isinstance(addresses, list) and addresses and isinstance(addresses[0], str):
        yield "SIP", addresses[0]
    if isinstance(esl, Mapping) and isinstance(esl.get("host"), str):
        yield "Event Socket", esl["host"]


def distinct(members: Iterable[Member], present: Container[str]) -> Roster:
    """Return the members with one for each endpoint of SIP and of ESL, and a note on each that was left out.

    The strictest state wins, then who is in the sets already (`present`, by uid), then name and uid.
    """
    taken: dict[tuple[str, str], Member] = {}
    kept: list[Member] = []
    notes: list[Note] = []
    for member in sorted(
        members, key=lambda each: (_strictness(each.state), each.uid not in present, each.name, each.uid)
    ):
        endpoints = [("SIP", member.sip)] + ([("Event Socket", member.esl)] if member.esl else [])
        other = next(((endpoint, taken[endpoint]) for endpoint in endpoints if endpoint in taken), None)
        if other is None:
            kept.append(member)
            taken.update((endpoint, member) for endpoint in endpoints)
        elif other[1].uid != member.uid:
            (what, place), first = other
            notes.append(remark(DUPLICATE_NODE, f"{member.name}: {first.name} is at its {what} {place}, and counts"))
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
                yield remark(SHARED_NODE, text)


def member_of(member: SetMember) -> Member:
    """Return a set's member with its body rendered."""
    return Member(
        uid=member.uid,
        name=member.name,
        state=member.state,
        sip=format_endpoint(member.addresses[0], member.sip.port),
        esl=format_endpoint(member.esl.host, member.esl.port) if member.esl else None,
        body=dump_member(member),
    )


def marked(drain: MemberDrain | None, *, paused: bool) -> MemberDrain | None:
    """Return the drain with the mark that a balancer paused the node, if one did.

    It stays though the group asks for no pause any more: who paused the node resumes it when the drain ends.
    """
    return drain.model_copy(update={"paused_by_us": True}) if drain is not None and paused else drain
