"""A DestinationSet as it was seen: read leniently, with what could not be read of it in words.

Knows one object at a time; what the slices of a group mean together is ``assembly``'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from switchtender_api.constants import DEFAULT_BALANCER, LABEL_GROUP
from switchtender_api.objects import ReadSet, read_set
from switchtender_api.problems import Finding, format_path
from switchtender_api.v1alpha1 import GroupPolicy, SetMember

_TOLD = 5
"""Problems of a set, or of a group, that are told one by one."""

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name of a group."""


@dataclass(frozen=True, slots=True)
class SeenSet:
    """One version of one DestinationSet.

    ``group_uid`` None: not even the frame could be read, and ``problem`` says why. ``balancer`` None: which one the
    group is for cannot be told. ``policy`` is the head's; ``policy_problem`` why there is none on a head. ``left_out``
    names members that could not be read. ``document`` is what it takes to read it again, without what the API server
    keeps for itself.
    """

    namespace: str
    name: str
    group_name: str
    uid: str
    generation: int
    created: datetime | None
    group_uid: str | None
    group_generation: int
    balancer: str | None
    policy: GroupPolicy | None
    members: tuple[SetMember, ...]
    problem: str | None
    policy_problem: str | None
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]
    document: Json

    @property
    def key(self) -> Key:
        """The group it belongs to."""
        return self.namespace, self.group_name

    @property
    def head(self) -> bool:
        """Whether it is the slice that carries the policy."""
        return self.name == self.group_name

    @property
    def position(self) -> tuple[int, str]:
        """Where the slice stands in its group: the head first, then by number."""
        number = self.name.removeprefix(f"{self.group_name}.")
        return (0 if self.head else int(number) if number.isdecimal() else 1, self.name)


def seen_set(raw: Mapping[str, Any]) -> SeenSet | None:
    """What the API server's JSON says; None of an object without the metadata that every object has."""
    metadata = raw.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    namespace, name, uid = (metadata.get(field) for field in ("namespace", "name", "uid"))
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(uid, str)):
        return None
    read = read_set(raw)
    found = read.set or read.without_policy
    labels = metadata.get("labels")
    label = labels.get(LABEL_GROUP) if isinstance(labels, Mapping) else None
    group_name = found.spec.group.name if found else label if isinstance(label, str) else name.partition(".")[0]
    generation = metadata.get("generation")
    return SeenSet(
        namespace=namespace,
        name=name,
        group_name=group_name,
        uid=uid,
        generation=generation if isinstance(generation, int) else 0,
        created=found.metadata.creation_timestamp if found else None,
        group_uid=found.spec.group.uid if found else None,
        group_generation=found.spec.group.generation if found else 0,
        balancer=_balancer(raw),
        policy=read.set.spec.policy if read.set else None,
        members=found.spec.members if found else (),
        problem=None if found else say(read.findings),
        policy_problem=_policy_problem(read) if name == group_name else None,
        left_out=read.skipped,
        unknown=read.unknown,
        document=document_of(metadata, raw.get("spec")),
    )


def document_of(metadata: Mapping[str, Any], spec: Any) -> Json:
    """The object again with no more of its metadata than is read."""
    kept = ("namespace", "name", "uid", "generation", "creationTimestamp", "labels")
    return {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "DestinationSet",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": spec,
    }


def say(findings: Iterable[Finding]) -> str:
    """Findings in one line."""
    return brief([_say(finding) for finding in findings])


def brief(problems: Sequence[str]) -> str:
    """Problems in one line; a slice may hold hundreds of members that a newer version wrote."""
    more = len(problems) - _TOLD
    return "; ".join([*problems[:_TOLD], *([f"and {more} more"] if more > 0 else [])])


def _say(finding: Finding) -> str:
    said = [finding.message] if finding.message else []
    if finding.found is not None:
        said.append(f"found {finding.found}")
    if finding.accepted:
        said.append(f"accepted: {finding.accepted}")
    return f"{format_path(finding.path)}: {', '.join(said)}" if finding.path else ", ".join(said)


def _policy_problem(read: ReadSet) -> str | None:
    if read.set is None:
        return say(finding for finding in read.findings if finding.path[:2] == ("spec", "policy")) or "not readable"
    return "the head carries no policy" if read.set.spec.policy is None else None


def _balancer(raw: Mapping[str, Any]) -> str | None:
    """The balancer that the policy names, as far as that alone can be read; None where it cannot be told."""
    spec = raw.get("spec")
    policy = spec.get("policy") if isinstance(spec, Mapping) else None
    name = policy.get("balancer", DEFAULT_BALANCER) if isinstance(policy, Mapping) else None
    return name if isinstance(name, str) else None
