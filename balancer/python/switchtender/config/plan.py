"""A configuration file as the balancer acts on it: documents checked, passwords read, members spread out.

This is where a file meets the machine it is used on. Whole or not at all: everything that keeps the file from being
acted on is gathered and raised at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from switchtender.config import scorers
from switchtender.config.snapshot import GroupMembers
from switchtender_api.loader import Documents, load
from switchtender_api.problems import DocumentErrors, Finding, Problem
from switchtender_api.static_members import ResolvedMember, resolved_members
from switchtender_api.unsupported import unsupported
from switchtender_api.v1alpha1 import BalancerGroup, MemberSip


@dataclass(frozen=True, slots=True)
class EslTarget:
    """A node's Event Socket and how to log in to it.

    ``password`` None: it is not known; ``awaited`` then says that nobody could be asked for it yet. ``rotates``: a new
    password is for the next login, one that stands is left alone.
    """

    host: str
    port: int
    user: str | None
    password: SecretStr | None = field(repr=False)
    awaited: bool = False
    rotates: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to serve. ``esl`` is by member uid; a member without ``load`` is not in it."""

    documents: Documents
    groups: tuple[GroupMembers, ...]
    esl: Mapping[str, EslTarget]


def read_plan(path: Path, *, environ: Mapping[str, str] = os.environ) -> Plan:
    """The plan of the file at ``path``. Raises DocumentErrors with everything that is wrong with it."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DocumentErrors([Problem(str(path), message=f"cannot be read: {error.strerror or error}")]) from None
    return make_plan(load(text, str(path)), environ=environ)


def make_plan(documents: Documents, *, environ: Mapping[str, str], now: datetime | None = None) -> Plan:
    """The plan of ``documents`` at ``now`` (the present); reads the password files they name. Raises DocumentErrors."""
    now = now or datetime.now(UTC)
    problems = list(unsupported(documents))
    groups: list[GroupMembers] = []
    esl: dict[str, EslTarget] = {}
    for group in documents.groups:
        resolution = resolved_members(group, environ=environ, read_file=_read_text)
        findings = list(resolution.findings) or _without_password(resolution.members)
        findings += _drained_later(group, now)
        findings += scorers.findings(group)
        problems += documents.problems(group, findings)
        groups.append(GroupMembers(group, tuple(entry.member for entry in resolution.members)))
        for entry in resolution.members:
            if entry.member.esl is not None and entry.password is not None:
                where = entry.member.esl
                esl[entry.member.uid] = EslTarget(where.host, where.port, where.user, entry.password)
    problems += _disagreements(documents, groups, esl)
    if problems:
        raise DocumentErrors(problems)
    return Plan(documents, tuple(groups), esl)


def nodes_behind(members: Iterable[str], esl: Mapping[str, EslTarget], before: Mapping[str, str]) -> dict[str, str]:
    """Member uid → uid of the node behind it: members that share an Event Socket are one node with one load.

    The node goes by the uid it had ``before``, unless that is now a member somewhere else, or by the first of its
    members' uids: so its counters and its load live on when a group that names it comes or goes.

    A pod is a node of its own whatever it shares: on the host's network, or under a StatefulSet, the next pod has the
    endpoint of the last one, and is another process. Static members that name a pod's Event Socket are that pod.
    """
    by_endpoint: dict[tuple[str, int], list[str]] = {}
    pods: dict[tuple[str, int], list[str]] = {}
    nodes: dict[str, str] = {}
    known = frozenset(members)
    for uid in sorted(known):
        endpoint = (esl[uid].host, esl[uid].port) if uid in esl else None
        if endpoint is None or is_pod(uid):
            nodes[uid] = uid
        if endpoint is not None:
            (pods if is_pod(uid) else by_endpoint).setdefault(endpoint, []).append(uid)
    taken: set[str] = set()
    for endpoint, sharing in by_endpoint.items():
        if endpoint in pods:
            running = (before[uid] for uid in sharing if before.get(uid) in pods[endpoint])
            nodes |= dict.fromkeys(sharing, next(running, pods[endpoint][0]))
            continue
        former = (before[uid] for uid in sharing if uid in before)
        kept = (uid for uid in former if uid not in taken and (uid in sharing or uid not in known))
        node = next(kept, sharing[0])
        taken.add(node)
        nodes |= dict.fromkeys(sharing, node)
    return nodes


def is_pod(uid: str) -> bool:
    """Whether a member of this uid is a pod; a static member's is ``namespace/group/name@endpoint``."""
    return "/" not in uid


def _drained_later(group: BalancerGroup, now: datetime) -> list[Finding]:
    """A drain that begins later would begin at once: it is refused rather than misread."""
    return [
        Finding(
            ("spec", "members", "static", position, "drain"),
            "a drain cannot be announced ahead",
            found=member.drain.isoformat(),
            accepted="the time it began, not later than now",
        )
        for position, member in enumerate(group.spec.members.static)
        if member.drain is not None and member.drain > now
    ]


def _without_password(members: Iterable[ResolvedMember]) -> list[Finding]:
    """Members whose URL holds no password in a group that names none."""
    return [
        Finding(
            ("spec", "members", "static", position, "load"),
            "no password in the URL, and the group names none",
            accepted="fs://:PASSWORD@host, or spec.esl.passwordFrom",
        )
        for position, entry in enumerate(members)
        if entry.member.esl is not None and entry.password is None
    ]


def _disagreements(documents: Documents, groups: Iterable[GroupMembers], esl: Mapping[str, EslTarget]) -> list[Problem]:
    """Members that share an Event Socket must agree on where the node takes SIP and how to log in to it."""
    first: dict[tuple[str, int], tuple[tuple[str, MemberSip], EslTarget]] = {}
    problems: list[Problem] = []
    for entry in groups:
        findings = []
        for position, member in enumerate(entry.members):
            target = esl.get(member.uid)
            if target is None:
                continue
            sip = (member.addresses[0], member.sip)
            known_sip, known = first.setdefault((target.host, target.port), (sip, target))
            if known_sip != sip or known != target:
                findings.append(
                    Finding(
                        ("spec", "members", "static", position, "load"),
                        "another member names the same Event Socket with another SIP address or login",
                        accepted="one SIP address and one login for one Event Socket",
                    )
                )
        problems += documents.problems(entry.group, findings)
    return problems


def _read_text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")
