"""Objects of the API server to values and back: lenient where another version wrote them.

A cluster holds objects of newer and of older versions than this one. An unknown field is left out and named, wherever
it stands, but for a condition of a match rule: without it the rule would take calls that its author kept from it. That,
an unknown enum value, or any other value that this version cannot read, is a finding, and the caller keeps
what it last accepted. Status and most of metadata are never read. Does no I/O and asks no API server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from switchtender_api import rules, unsupported
from switchtender_api.problems import Finding, Path, format_path
from switchtender_api.v1alpha1 import BalancerGroup, BalancerGroupSpec, DestinationSet, GroupPolicy, SetMember
from switchtender_api.v1alpha1.destinations import MOST_MEMBERS
from switchtender_api.validation import fields_of, findings_of, model_in

_Readable = TypeVar("_Readable", bound=BaseModel)
_METADATA = ("name", "namespace", "labels", "annotations", "uid", "generation", "creationTimestamp")
_POLICY: Path = ("spec", "policy")
_MEMBERS: Path = ("spec", "members")


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """A BalancerGroup as far as this version can read it.

    `group` is None exactly if there are findings. `unknown` holds the paths of the fields that were left out.
    """

    group: BalancerGroup | None
    unknown: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadSet:
    """A DestinationSet as far as this version can read it.

    `set` is None where the policy or the frame could not be read. A member that could not is left out of it, named in
    `skipped` and explained in `findings`, and the others stay. `without_policy` is there when nothing but the policy
    could not be read: the same set with no policy, for a reader that keeps its last good policy and still follows the
    nodes.
    """

    set: DestinationSet | None
    unknown: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: tuple[str, ...] = ()
    without_policy: DestinationSet | None = None


def read_group(raw: Mapping[str, Any]) -> ReadGroup:
    """Return the BalancerGroup that the API server's JSON holds; its status is left out."""
    unknown: list[Path] = []
    value = _known(BalancerGroup, {key: raw[key] for key in raw if key != "status"}, (), unknown)
    group, findings = _validated(BalancerGroup, value)
    if group is not None:
        findings = tuple(rules.within(group))
    findings = (*findings, *_conditions(unknown))
    return ReadGroup(None if findings else group, tuple(map(format_path, unknown)), findings)


def read_set(raw: Mapping[str, Any]) -> ReadSet:
    """Return the DestinationSet that the API server's JSON holds."""
    unknown: list[Path] = []
    value = _known(DestinationSet, {key: raw[key] for key in raw if key != "status"}, (), unknown)
    spec = value.get("spec")
    if not isinstance(spec, dict):
        whole, findings = _validated(DestinationSet, value)
        return ReadSet(whole, tuple(map(format_path, unknown)), findings)
    raw_members = [] if spec.get("members") is None else spec["members"]
    fits = isinstance(raw_members, list) and len(raw_members) <= MOST_MEMBERS
    frame = {**value, "spec": {**spec, "members": [] if fits else raw_members, "policy": None}}
    bare, frame_findings = _validated(DestinationSet, frame)
    members, skipped, member_findings = _members(raw_members if fits else [])
    policy, policy_findings = _policy(spec.get("policy"))
    policy_findings = (*policy_findings, *_conditions(unknown))
    findings = (*frame_findings, *policy_findings, *member_findings)
    left_out = tuple(map(format_path, unknown))
    if bare is None:
        return ReadSet(None, left_out, findings, skipped)
    bare = _with(bare, members=members)
    if policy_findings:
        return ReadSet(None, left_out, findings, skipped, without_policy=bare)
    return ReadSet(_with(bare, policy=policy), left_out, findings, skipped)


def kubernetes_gaps(group: BalancerGroup) -> list[Finding]:
    """Return what a group in Kubernetes asks for that is not built yet or exists in a file only."""
    return unsupported.findings(group, "Kubernetes")


def dump_policy(spec: BalancerGroupSpec) -> dict[str, Any]:
    """Return what balancers are told of the spec as JSON for a set's head: camelCase, and only what its author gave."""
    return spec.model_dump(mode="json", exclude={"members", "autoscale"}, exclude_unset=True, exclude_none=True)


def dump_member(member: SetMember) -> dict[str, Any]:
    """Return a set's member as JSON: camelCase, and only what was given."""
    return member.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _conditions(unknown: Iterable[Path]) -> Iterable[Finding]:
    """Yield each unknown field within a match rule."""
    for path in unknown:
        if ("match", "rules") in pairwise(path):
            accepted = "a condition that this version knows"
            yield Finding(path, "a rule without this condition would take other calls, too", accepted=accepted)


def _policy(raw: Any) -> tuple[GroupPolicy | None, tuple[Finding, ...]]:
    return (None, ()) if raw is None else _validated(GroupPolicy, raw, _POLICY)


def _with(whole: DestinationSet, **fields: object) -> DestinationSet:
    return whole.model_copy(update={"spec": whole.spec.model_copy(update=fields)})


def _members(raw: list[Any]) -> tuple[tuple[SetMember, ...], tuple[str, ...], tuple[Finding, ...]]:
    """Return the members that can be read, the names of the others, and why those cannot."""
    members: list[SetMember] = []
    skipped: list[str] = []
    findings: list[Finding] = []
    for position, value in enumerate(raw):
        member, wrong = _validated(SetMember, value, (*_MEMBERS, position))
        if member is not None:
            members.append(member)
            continue
        name = value.get("name") if isinstance(value, dict) else None
        skipped.append(name if isinstance(name, str) and name else format_path((*_MEMBERS, position)))
        findings.extend(wrong)
    return tuple(members), tuple(skipped), tuple(findings)


def _validated(model: type[_Readable], value: Any, path: Path = ()) -> tuple[_Readable | None, tuple[Finding, ...]]:
    try:
        return model.model_validate(value, by_alias=True, by_name=False), ()
    except ValidationError as error:
        return None, tuple(_under(path, findings_of(error, model, value, {})))


def _under(path: Path, findings: Iterable[Finding]) -> Iterable[Finding]:
    return (Finding((*path, *each.path), each.message, each.found, each.accepted) for each in findings)


def _known(model: type[BaseModel], raw: Mapping[str, Any], path: Path, unknown: list[Path]) -> dict[str, Any]:
    """Return an object without the fields that its model does not have; their paths are appended to `unknown`.

    Of metadata, which belongs to Kubernetes, what we do not read is not unknown.
    """
    fields = fields_of(model)
    value: dict[str, Any] = {}
    for name, inner in raw.items():
        here: Path = (*path, name)
        if here == ("metadata",) and isinstance(inner, Mapping):
            value[name] = {key: inner[key] for key in _METADATA if inner.get(key) is not None}
        elif name not in fields:
            unknown.append(here)
        else:
            value[name] = _known_within(model_in(fields[name].annotation), inner, here, unknown)
    return value


def _known_within(model: type[BaseModel] | None, value: Any, path: Path, unknown: list[Path]) -> Any:
    if model is None:
        return value
    if isinstance(value, Mapping):
        return _known(model, value, path, unknown)
    if isinstance(value, list):
        return [_known_within(model, entry, (*path, position), unknown) for position, entry in enumerate(value)]
    return value
