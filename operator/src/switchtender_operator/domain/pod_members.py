"""Pods to members: whether a pod is a node, where it is reached, in which state, and what is to be remarked on it.

What does not change with time is worked out once for each pod and kept for as long as the pod is: a group is planned
again for every report of its load, and its thousands of pods are mostly the same each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from switchtender_api.v1alpha1 import MemberDrain, MemberEsl, MemberSip, SetMember
from switchtender_api.v1alpha1.group import Drain, Esl, Sip
from switchtender_operator.domain.addresses import Location, NoAddress, locate
from switchtender_operator.domain.drains import Cordons, Request, pod_drain, request_of
from switchtender_operator.domain.members import Destinations, Member, Roster, marked, member_of
from switchtender_operator.domain.notes import BAD_ANNOTATION, NODE_LEFT_OUT, POD_UNREADABLE, Note, remark
from switchtender_operator.domain.overrides import ReadOverrides, read_overrides, unknown_resources
from switchtender_operator.domain.pods import Pod


@dataclass(frozen=True, slots=True)
class Terms:
    """All but the time that bears on how a pod becomes a member; two groups with equal ones see a pod alike."""

    sip: Sip
    esl: Esl
    destinations: Destinations
    resources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Look:
    """A pod under certain terms: `member` None if it is no node; else as it is while it does not drain.

    `drain` is what its annotations ask for.
    """

    notes: tuple[Note, ...]
    member: Member | None = None
    drain: Request | None = None


def pod_members(
    pods: Iterable[Pod], terms: Terms, drain: Drain, paused: frozenset[str], cordons: Cordons, now: datetime
) -> Roster:
    """Return the members that pods are. `paused` holds the uids of nodes that a balancer paused.

    A pod that has ended or has no address yet is none; one whose address cannot be used is none and gets a note.
    """
    members: list[Member] = []
    notes: list[Note] = []
    begins: list[datetime] = []
    looks = _looks(terms)
    for pod in pods:
        if pod.gone:
            continue
        look = looks.get(pod)
        if look is None:
            look = looks[pod] = _look(pod, terms)
        notes += look.notes
        if look.member is None:
            continue
        draining = pod_drain(pod, look.drain, cordons.since(pod, now), drain, now)
        if draining.begins is not None:
            begins.append(draining.begins)
        mark = marked(draining.drain, paused=pod.uid in paused)
        members.append(look.member if mark is None else _drained(look.member, mark))
    return Roster(tuple(members), tuple(notes), min(begins, default=None))


@lru_cache(maxsize=256)
def _looks(terms: Terms) -> WeakKeyDictionary[Pod, _Look]:
    """Return what was worked out under the terms, by pod: the same object each time, for `terms` alone tells them."""
    del terms
    return WeakKeyDictionary()


def _look(pod: Pod, terms: Terms) -> _Look:
    notes = [remark(POD_UNREADABLE, f"{pod.name}: {problem}") for problem in pod.problems]
    try:
        location = locate(pod, terms.sip, terms.destinations.refusal)
    except NoAddress as reason:
        return _Look((*notes, remark(NODE_LEFT_OUT, f"{pod.name}: {reason}")))
    if location is None:
        return _Look(tuple(notes))
    overrides = read_overrides(pod)
    problems = (*overrides.problems, *unknown_resources(overrides.values, terms.resources))
    notes += (remark(BAD_ANNOTATION, f"{pod.name}: {problem}") for problem in problems)
    return _Look(tuple(notes), _render(pod, terms, location, overrides), request_of(pod, overrides.drain))


def _drained(member: Member, drain: MemberDrain) -> Member:
    body = {**member.body, "state": "Draining", "drain": drain.model_dump(mode="json", exclude_unset=True)}
    return replace(member, state="Draining", body=body)


def _render(pod: Pod, terms: Terms, location: Location, overrides: ReadOverrides) -> Member:
    """Return the pod as a member. Its values were validated where they come from, so they are not once more."""
    sip, esl, values = terms.sip, terms.esl, overrides.values
    socket = MemberEsl.model_construct(host=location.esl, port=esl.port, user=esl.user) if esl.password_from else None
    optional: dict[str, Any] = {"backup": True} if values.backup else {}  # an older balancer does not know it
    return member_of(
        SetMember.model_construct(
            uid=pod.uid,
            name=pod.name,
            node=pod.node,
            zone=pod.zone,
            addresses=location.addresses,
            sip=MemberSip.model_construct(port=sip.port, transport=sip.transport),
            esl=socket,
            state="Ready" if pod.ready else "NotReady",
            weight=values.weight,
            priority=values.priority,
            resources=values.resources,
            **optional,
        )
    )
