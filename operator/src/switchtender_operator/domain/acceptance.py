"""Whether a group's spec may come into force: it is valid, built, bound to a balancer, and claims what it may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from switchtender_api import claims
from switchtender_api.objects import kubernetes_gaps
from switchtender_api.problems import Finding, format_path
from switchtender_api.status import (
    ACCEPTED_ACCEPTED,
    ACCEPTED_BALANCER_NOT_FOUND,
    ACCEPTED_DESTINATION_NOT_ALLOWED,
    ACCEPTED_INVALID,
    ACCEPTED_LISTENER_NOT_FOUND,
    ACCEPTED_NAMESPACE_NOT_ALLOWED,
    ACCEPTED_NOT_BUILT,
    ACCEPTED_PRIORITY_TOO_HIGH,
    ACCEPTED_SECRET_NOT_ALLOWED,
)
from switchtender_api.v1alpha1 import BalancerGroup
from switchtender_operator.domain.world import GroupWorld

SECRET_NAMES_VALUE = "esl.secretNames"  # noqa: S105 - the name of a value of the chart
_MOST_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The verdict on a spec; `group` is there exactly if it is accepted."""

    reason: str
    message: str
    group: BalancerGroup | None = None


def judge(world: GroupWorld) -> Acceptance:
    """Return whether the spec as it is now may come into force, with everything of the first kind that forbids it."""
    read = world.group.read
    group = read.group
    if group is None:
        return Acceptance(ACCEPTED_INVALID, _listed(read.findings))
    gaps = kubernetes_gaps(group)
    if gaps:
        return Acceptance(ACCEPTED_NOT_BUILT, _listed(gaps))
    refusal = _refusal_of_balancer(world, group) or _refusal_of_secret(world, group)
    if refusal is not None:
        return refusal
    remarks = []
    if group.spec.members.selector is not None and group.spec.esl.password_from is None:
        remarks.append("pods are measured by own counts only, for esl.passwordFrom is not set")
    if read.unknown:
        remarks.append(f"ignored, as this version does not know it: {', '.join(read.unknown[:_MOST_FINDINGS])}")
    return Acceptance(ACCEPTED_ACCEPTED, "; ".join(remarks), group)


def _refusal_of_balancer(world: GroupWorld, group: BalancerGroup) -> Acceptance | None:
    name = group.spec.balancer
    config = world.balancers.get(name)
    if config is None:
        known = ", ".join(sorted(world.balancers)) or "none"
        return Acceptance(ACCEPTED_BALANCER_NOT_FOUND, f"spec.balancer: no balancer {name}; known: {known}")
    if isinstance(config, str):
        message = f"spec.balancer: the configuration of {name} cannot be used: {config}"
        return Acceptance(ACCEPTED_BALANCER_NOT_FOUND, message)
    findings = list(claims.refusals(config, group, kubernetes=True, forbidden=world.settings.forbidden))
    if not findings:
        return None
    by_reason: dict[str, list[Finding]] = {}
    for finding in findings:
        by_reason.setdefault(_reason_of(finding), []).append(finding)
    reason, first = next(iter(by_reason.items()))
    return Acceptance(reason, _listed(first))


def _reason_of(finding: Finding) -> str:
    if finding.path[:1] == ("metadata",):
        return ACCEPTED_NAMESPACE_NOT_ALLOWED
    if finding.path == ("spec", "match", "priority"):
        return ACCEPTED_PRIORITY_TOO_HIGH
    listens = finding.path[:2] == ("spec", "match") or finding.path == ("spec", "egress", "listener")
    return ACCEPTED_LISTENER_NOT_FOUND if listens else ACCEPTED_DESTINATION_NOT_ALLOWED


def _refusal_of_secret(world: GroupWorld, group: BalancerGroup) -> Acceptance | None:
    source = group.spec.esl.password_from
    reference = source.secret_key_ref if source else None
    allowed = world.settings.esl_secret_names
    if reference is None or reference.name in allowed:
        return None
    names = ", ".join(sorted({*allowed, reference.name}))
    message = (
        f"spec.esl.passwordFrom.secretKeyRef.name: balancers may not read the Secret {reference.name}; "
        f"set {SECRET_NAMES_VALUE} of the chart to [{names}]"
    )
    return Acceptance(ACCEPTED_SECRET_NOT_ALLOWED, message)


def _listed(findings: Iterable[Finding]) -> str:
    texts = [_text(finding) for finding in findings]
    more = len(texts) - _MOST_FINDINGS
    return ". ".join(texts[:_MOST_FINDINGS] + ([f"And {more} more"] if more > 0 else []))


def _text(finding: Finding) -> str:
    return ": ".join(part for part in (format_path(finding.path), finding.said) if part)
