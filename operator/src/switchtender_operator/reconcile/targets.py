"""What autoscaling acts on, as it is read from the API server: scale, roll-out, selector, and who else scales it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchtender_api.status import (
    AUTOSCALE_TARGET_MISMATCH,
    AUTOSCALE_TARGET_NOT_ALLOWED,
    AUTOSCALE_TARGET_NOT_FOUND,
)
from switchtender_api.v1alpha1.autoscale import ScaleTarget
from switchtender_kube import ApiError, Client, Resource
from switchtender_operator.config.settings import SHORT_TARGETS, ScalableKind
from switchtender_operator.domain.autoscale import ScaleTargetSeen
from switchtender_operator.domain.selectors import Matches, SelectorError, selector

Json = Mapping[str, Any]

HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
PODS = Resource("", "v1", "pods")
TARGETS_VALUE = "operator.autoscale.targets"


class UnfitError(Exception):
    """The target cannot be scaled; `reason` is one of AUTOSCALE_*, the text is for a person."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A target as it is now. `selector` selects its pods, `template` are the labels that these get, None if unknown."""

    resource: Resource
    seen: ScaleTargetSeen
    selector: str
    matches: Matches
    template: Mapping[str, str] | None


class Targets:
    """Reads targets of the kinds that the operator was given rights to."""

    def __init__(self, client: Client, kinds: Sequence[ScalableKind]) -> None:
        self._client = client
        self._kinds = {(kind.api_version, kind.kind): kind for kind in kinds}

    async def read(self, namespace: str, wanted: ScaleTarget) -> Target:
        """Return the target. Raises UnfitError, ApiError, Unreachable."""
        kind = self._kinds.get((wanted.api_version, wanted.kind))
        if kind is None:
            raise UnfitError(AUTOSCALE_TARGET_NOT_ALLOWED, self._not_listed(wanted))
        resource = Resource(kind.group, kind.version, kind.plural)
        try:
            whole = await self._client.get(resource.path(namespace, wanted.name))
            scale = await self._client.get(resource.path(namespace, wanted.name, "scale"))
        except ApiError as error:
            if error.status == 404:
                message = f"{wanted.kind} {wanted.name} is not there, or has no scale"
                raise UnfitError(AUTOSCALE_TARGET_NOT_FOUND, message) from None
            if error.status == 403:
                message = f"the operator may not read it: set {TARGETS_VALUE} of the chart ({error.message})"
                raise UnfitError(AUTOSCALE_TARGET_NOT_ALLOWED, message) from None
            raise
        return read_target(kind, resource, whole, scale)

    async def rivals(self, namespace: str) -> list[Json]:
        """Return the HorizontalPodAutoscalers of the namespace. Raises UnfitError, ApiError, Unreachable."""
        try:
            return list((await self._client.list(HPAS.path(namespace)))["items"])
        except ApiError as error:
            if error.status == 404:  # a cluster that serves none has none
                return []
            if error.status == 403:
                message = f"the operator may not list {HPAS.plural}: set {TARGETS_VALUE} of the chart"
                raise UnfitError(AUTOSCALE_TARGET_NOT_ALLOWED, message) from None
            raise

    async def pods(self, namespace: str, labels: str) -> list[Json]:
        """Return the pods with the labels as they are now, not as a watch last told. Raises ApiError, Unreachable."""
        return list((await self._client.list(PODS.path(namespace), {"labelSelector": labels}))["items"])

    def _not_listed(self, wanted: ScaleTarget) -> str:
        short = SHORT_TARGETS.get(wanted.kind)
        missing = f"{wanted.api_version}/<plural>:{wanted.kind}"
        if short is not None and short.api_version == wanted.api_version:
            missing = wanted.kind
        listed = [kind.kind if kind in SHORT_TARGETS.values() else _long(kind) for kind in self._kinds.values()]
        return (
            f"autoscale.target: the operator has no rights to {wanted.kind} ({wanted.api_version}); "
            f"set {TARGETS_VALUE} of the chart to [{', '.join([*listed, missing])}]"
        )


def _long(kind: ScalableKind) -> str:
    return f"{kind.api_version}/{kind.plural}:{kind.kind}"


def read_target(kind: ScalableKind, resource: Resource, whole: Json, scale: Json) -> Target:
    """Return what an object and its scale say. Raises UnfitError where they name no pods."""
    spec, status = _mapping(scale.get("spec")), _mapping(scale.get("status"))
    text = status.get("selector")
    try:
        matches = selector(text if isinstance(text, str) else "")
    except SelectorError as error:
        raise UnfitError(AUTOSCALE_TARGET_MISMATCH, f"status.selector of its scale: {error}") from None
    if not text:
        raise UnfitError(AUTOSCALE_TARGET_MISMATCH, "its scale has no status.selector, so its pods are not known")
    seen = ScaleTargetSeen(
        replicas=_count(spec, "replicas"),
        status_replicas=_count(status, "replicas"),
        rolling=rolling(kind.kind, whole),
        resource_version=str(_mapping(scale.get("metadata")).get("resourceVersion", "")),
        ordinal=kind.kind == "StatefulSet",  # of whichever group: OpenKruise has one, too
    )
    template = _mapping(_mapping(whole.get("spec")).get("template"))
    labels = _mapping(template.get("metadata")).get("labels") if template else None
    return Target(resource, seen, str(text), matches, labels if isinstance(labels, Mapping) else None)


def rolling(kind: str, whole: Json) -> bool:
    """Return whether a roll-out of the object is in progress, as `kubectl rollout status` would say.

    That pods are missing is none: it is told from the pods themselves. A StatefulSet that is updated by hand
    (OnDelete), or down to a partition, has no roll-out past that. Of other kinds, all pods have to be there, and of the
    present template where the status says of how many pods that is so.
    """
    metadata, spec, status = (_mapping(whole.get(part)) for part in ("metadata", "spec", "status"))
    observed = _generation(status.get("observedGeneration"))
    if observed is not None and observed < _count(metadata, "generation"):
        return True
    replicas, updated = _count(status, "replicas"), _count(status, "updatedReplicas")
    if kind == "Deployment":
        return updated < replicas
    if kind != "StatefulSet":
        return replicas != _count(spec, "replicas") or ("updatedReplicas" in status and updated < replicas)
    strategy = _mapping(spec.get("updateStrategy"))
    if strategy.get("type") == "OnDelete":
        return False
    partition = _count(_mapping(strategy.get("rollingUpdate")), "partition")
    if status.get("currentRevision") == status.get("updateRevision"):
        return False
    return partition == 0 or updated < replicas - partition


def rival(found: Iterable[Json], wanted: ScaleTarget) -> str | None:
    """Return the name of an HPA that scales the same target, None if there is none. Versions of a group are one."""
    for each in found:
        reference = _mapping(_mapping(each.get("spec")).get("scaleTargetRef"))
        if (reference.get("kind"), reference.get("name")) != (wanted.kind, wanted.name):
            continue
        if _group(reference.get("apiVersion") or wanted.api_version) == _group(wanted.api_version):
            return str(_mapping(each.get("metadata")).get("name"))
    return None


def _group(api_version: Any) -> str:
    group, slash, _ = str(api_version).partition("/")
    return group if slash else ""


def _generation(value: Any) -> int | None:
    """Return a generation, None where there is none. Argo's Rollouts have theirs as a text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) else None


def _mapping(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _count(values: Json, field: str) -> int:
    value = values.get(field)
    return value if isinstance(value, int) else 0
