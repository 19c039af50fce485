"""Groups out of slices: what the DestinationSets that a balancer sees mean together, one version of one policy a group.

Pure. The policy is the head's and switches with it at once and whole; members come slice by slice. What cannot be
acted on leaves the version before in force, which ``Memory`` holds. Knows neither where sets come from nor passwords.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from switchtender.config import scorers
from switchtender.config.destination_sets import Json, Key, SeenSet, brief, say
from switchtender.config.plan import is_pod
from switchtender.config.snapshot import GroupMembers
from switchtender_api import claims, rules
from switchtender_api.constants import LABEL_GROUP
from switchtender_api.objects import kubernetes_gaps
from switchtender_api.problems import Finding, format_path
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, BalancerGroupSpec, SetMember, precedence
from switchtender_api.v1alpha1.base import ObjectMeta
from switchtender_api.v1alpha1.destinations import MemberState
from switchtender_api.v1alpha1.endpoints import Transport, host_address
from switchtender_api.v1alpha1.group import GroupPolicy
from switchtender_api.v1alpha1.members import LabelSelector, Members
from switchtender_api.v1alpha1.units import IpAddress

_HOSTS = 65_536
"""Hosts whose verdict is remembered."""

_STRICTEST_FIRST: tuple[MemberState, ...] = ("Draining", "NotReady", "Ready")

Version = tuple[str, int]
"""Uid and generation of a set."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose sets are assembled: this balancer's. Where no node may be whatever its configuration allows, and which
    Secrets (namespace and name) hold what no node may ever be sent as a password.

    Hosts are judged once as long as this lives: there may be thousands, and one pod's change asks for all.
    """

    config: BalancerConfig
    forbidden: Collection[IpAddress] = frozenset()
    reserved: Container[tuple[str, str]] = frozenset()
    _judged: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    def refusal(self, host: str) -> str | None:
        """Why no call and no login may go to the host; None where they may."""
        if host not in self._judged:
            if len(self._judged) >= _HOSTS:
                self._judged.clear()
            self._judged[host] = self._judge(host)
        return self._judged[host]

    def _judge(self, host: str) -> str | None:
        address = host_address(host)
        if address is None:
            return f"{host}: the Event Socket of a node is given by its address in Kubernetes"
        allow = self.config.spec.destinations.allow
        refusal = claims.destination_refusal(address, allow, kubernetes=True, forbidden=self.forbidden)
        return None if refusal is None else f"{address}: {refusal}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A policy in force: the group with it, and the version of the head that it came with."""

    group: BalancerGroup
    head: SeenSet


@dataclass(frozen=True, slots=True)
class Memory:
    """What later versions are measured against: policies in force by group, the last readable version of each slice by
    uid, and heads that the packet core refused, with its words.
    """

    policies: Mapping[Key, Accepted] = field(default_factory=dict)
    slices: Mapping[str, SeenSet] = field(default_factory=dict)
    refused: Mapping[Version, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a group is not served as its newest version says."""

    namespace: str
    name: str
    uid: str
    text: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice that is acted on: ``version`` is what was taken up of it, ``members`` where its members were read. They
    differ on a head whose newest policy is not in force.
    """

    version: SeenSet
    members: SeenSet

    def document(self) -> Json:
        """The set as it would read if it said what is acted on."""
        document = self.version.document
        if self.version is self.members:
            return document
        spec = {**document["spec"], "members": self.members.document["spec"].get("members") or []}
        return {**document, "spec": spec}


@dataclass(frozen=True, slots=True)
class Assembly:
    """What to serve, in the order in which groups are asked for a call.

    ``acts_on``: the version of each set that stands behind it. ``rejected``: by group, served by an older version, in
    part or not at all. ``memory``: for the next assembly, once this one is in force.
    """

    groups: tuple[GroupMembers, ...]
    acts_on: tuple[Slice, ...]
    rejected: Mapping[Key, Rejection]
    memory: Memory


def assemble(sets: Iterable[SeenSet], place: Place, memory: Memory) -> Assembly:
    """What these sets mean, given what was in force before."""
    sets = tuple(sets)
    readable, unreadable = _readable(sets, memory)
    heads = {seen.key: seen for seen in readable if seen.head}
    slices: dict[Key, list[SeenSet]] = {}
    for seen in sorted(readable, key=lambda seen: seen.position):
        head = heads.get(seen.key)
        if head is not None and head.group_uid == seen.group_uid:
            slices.setdefault(seen.key, []).append(seen)
    words: dict[Key, list[str]] = {key: list(problems) for key, problems in unreadable.items()}
    accepted: dict[Key, Accepted] = {}
    for key, head in heads.items():
        policy, problem = _policy(head, place, memory)
        if policy is not None:
            accepted[key] = policy
        if problem is not None:
            words.setdefault(key, []).append(problem)
    groups = []
    acts_on: list[Slice] = []
    nodes = _Nodes()
    for key, policy in sorted(accepted.items(), key=lambda entry: precedence(entry[1].group)):
        members, left_out = _members(slices[key], place, nodes)
        if left_out:
            words.setdefault(key, []).extend(left_out)
        groups.append(GroupMembers(policy.group, members))
        acts_on += (Slice(policy.head if seen.head else seen, seen) for seen in slices[key])
    for key, policy in accepted.items():
        for path, name in rules.others_named(policy.group):
            if (key[0], name) not in accepted:
                text = f"{format_path(path)}: this balancer serves no group {name} of the namespace: calls are refused"
                words.setdefault(key, []).append(text)
    ours = {seen.key for seen in sets if seen.balancer == place.config.metadata.name} | accepted.keys()
    rejected = {
        key: Rejection(*key, (heads[key].group_uid or "") if key in heads else "", brief(problems))
        for key, problems in words.items()
        if key in ours
    }
    present = {(seen.uid, seen.generation) for seen in heads.values()}
    refused = {version: text for version, text in memory.refused.items() if version in present}
    newest = Memory(accepted, {seen.uid: seen for seen in readable}, refused)
    return Assembly(tuple(groups), tuple(acts_on), rejected, newest)


def _readable(sets: Iterable[SeenSet], memory: Memory) -> tuple[list[SeenSet], dict[Key, list[str]]]:
    """The sets, the last readable version in the place of one that is not, and what is wrong with those."""
    readable: list[SeenSet] = []
    problems: dict[Key, list[str]] = {}
    for seen in sets:
        if seen.problem is None:
            readable.append(seen)
            continue
        before = memory.slices.get(seen.uid)
        if before is not None:
            readable.append(before)
        problems.setdefault(seen.key, []).append(f"{seen.name}: {seen.problem}")
    return readable, problems


def _policy(head: SeenSet, place: Place, memory: Memory) -> tuple[Accepted | None, str | None]:
    """The policy to go by, and why it is not the newest. Neither for a group of another balancer."""
    before = _in_force(head, place, memory)
    if head.balancer != place.config.metadata.name and (head.balancer is not None or before is None):
        return None, None
    version = head.uid, head.generation
    problem = memory.refused.get(version) or head.policy_problem
    if problem is None and head.policy is not None:
        if before is not None and (before.head.uid, before.head.generation) == version:
            return before, None
        group = _group(head, head.policy)
        problem = _refusal(group, place)
        if not problem:
            return Accepted(_confined(group, place), head), None
    return before, problem


def _in_force(head: SeenSet, place: Place, memory: Memory) -> Accepted | None:
    """The policy before this one, of the same group, as long as the configuration allows it."""
    before = memory.policies.get(head.key)
    if before is None or before.group.metadata.uid != head.group_uid or _refusal(before.group, place):
        return None
    return before


def _group(head: SeenSet, policy: GroupPolicy) -> BalancerGroup:
    given = {name: getattr(policy, name) for name in policy.model_fields_set}
    pods = Members(selector=LabelSelector(match_labels={LABEL_GROUP: head.group_name}))
    metadata = ObjectMeta(
        name=head.group_name,
        namespace=head.namespace,
        uid=head.group_uid,
        generation=head.group_generation,
        creation_timestamp=head.created,
    )
    return BalancerGroup(metadata=metadata, spec=BalancerGroupSpec(**given, members=pods))


def _confined(group: BalancerGroup, place: Place) -> BalancerGroup:
    """The group, with calls that leave by their Request-URI kept from where none may go in a cluster."""
    egress = group.spec.egress
    if egress is None or egress.request_uri is None:
        return group
    networks = claims.open_networks(egress.request_uri.networks, place.forbidden)
    by_uri = egress.request_uri.model_copy(update={"networks": networks})
    spec = group.spec.model_copy(update={"egress": egress.model_copy(update={"request_uri": by_uri})})
    return group.model_copy(update={"spec": spec})


def _refusal(group: BalancerGroup, place: Place) -> str:
    """The operator has judged all of this; a balancer does not stand on that."""
    found = [
        *rules.within(group),
        *kubernetes_gaps(group),
        *claims.refusals(place.config.spec, group, kubernetes=True, forbidden=place.forbidden),
        *_reserved(group, place),
        *scorers.findings(group),
    ]
    return say(found)


def _reserved(group: BalancerGroup, place: Place) -> Iterator[Finding]:
    source = group.spec.esl.password_from
    reference = source.secret_key_ref if source is not None else None
    if reference is not None and (group.namespace, reference.name) in place.reserved:
        path = ("spec", "esl", "passwordFrom", "secretKeyRef", "name")
        yield Finding(path, "the Secret is the balancer's own and holds no password", accepted="another Secret")


@dataclass(slots=True)
class _Nodes:
    """Where the nodes of the groups so far take SIP: by uid, and by Event Socket."""

    by_uid: dict[str, tuple[str, int, Transport]] = field(default_factory=dict)
    by_socket: dict[tuple[str, int], tuple[str, int, Transport]] = field(default_factory=dict)

    def agree(self, member: SetMember) -> bool:
        """Whether the member takes SIP where its node was said to before; one that does not is not taken note of."""
        sip = member.addresses[0], member.sip.port, member.sip.transport
        known = [self.by_uid.setdefault(member.uid, sip)]
        if member.esl is not None and not is_pod(member.uid):
            known.append(self.by_socket.setdefault((member.esl.host, member.esl.port), sip))
        elif member.esl is not None:
            self.by_socket.setdefault((member.esl.host, member.esl.port), sip)
        return all(place == sip for place in known)


def _members(slices: Iterable[SeenSet], place: Place, nodes: _Nodes) -> tuple[tuple[SetMember, ...], list[str]]:
    """The group's members, each node once, and who was left out and why."""
    members: dict[str, SetMember] = {}
    left_out: list[str] = []
    for seen in slices:
        left_out += (f"{name}: left out, as it cannot be read" for name in seen.left_out)
        for member in seen.members:
            twin = members.get(member.uid)
            members[member.uid] = member if twin is None else _stricter(twin, member)
    sockets = {(member.esl.host, member.esl.port) for member in members.values() if member.esl and is_pod(member.uid)}
    kept: list[SetMember] = []
    for member in members.values():
        socket = (member.esl.host, member.esl.port) if member.esl else None
        if not is_pod(member.uid) and socket is not None:
            if socket in sockets:
                continue  # the pod, or the static member before it, is this node
            sockets.add(socket)
        problem = _misplaced(member, place)
        if problem is None and not nodes.agree(member):
            problem = "another group names the same node with another SIP address"
        if problem is None:
            kept.append(member)
        else:
            left_out.append(f"{member.name}: left out: {problem}")
    return tuple(kept), left_out


def _stricter(one: SetMember, other: SetMember) -> SetMember:
    first, second = sorted((one, other), key=lambda member: _STRICTEST_FIRST.index(member.state))
    if first.drain is None and second.drain is not None:
        return first.model_copy(update={"drain": second.drain})
    return first


def _sip_refusal(host: str, place: Place) -> str | None:
    """A name is judged by where it turns out to be."""
    return None if host_address(host) is None else place.refusal(host)


def _misplaced(member: SetMember, place: Place) -> str | None:
    """Why no call and no login may go to where the member says it is."""
    return _sip_refusal(member.addresses[0], place) or (None if member.esl is None else place.refusal(member.esl.host))


def with_refused(memory: Memory, version: Version, text: str) -> Memory:
    """The memory once the packet core refused this version of a head."""
    return replace(memory, refused={**memory.refused, version: text})
