"""What the documents can say and the balancer cannot do yet, in one table.

The models are the whole contract; this is the list of what is still missing behind it. Work that builds one of these
things deletes its line. `check`, `serve` and the operator refuse what is listed, rather than ignore it in silence. Some
things exist in one world only: a file has no pods and no Secrets, and in Kubernetes a password stands in no document.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from switchtender_api.loader import Documents
from switchtender_api.problems import Finding, Path, Problem, quote
from switchtender_api.v1alpha1 import BalancerConfig, BalancerGroup, EslUrl

World = Literal["File", "Kubernetes"]
"""Where a document was read: from a file, or from the API server and the operator's ConfigMaps."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing not built: a value of the field at `path` ([] for every entry) for which `missing` holds.

    Fields left at their default are never a gap: nobody asked for them.
    """

    kind: type[BaseModel]
    path: str
    missing: Callable[[Any], bool]
    accepted: str
    reason: str = "not built yet"
    worlds: tuple[World, ...] = ("File", "Kubernetes")


def _given(value: object) -> bool:
    return value is not None and value != ()


def _with_password(url: EslUrl | None) -> bool:
    return url is not None and url.password is not None


_CLUSTER = "only in Kubernetes, and this is a file"
_NOT_IN_CLUSTER = "not in Kubernetes"
_NO_PLACE = "in Kubernetes a password comes from a Secret only"
_REFERENCE = "spec.esl.passwordFrom.secretKeyRef"
_FILE: tuple[World, ...] = ("File",)
_KUBERNETES: tuple[World, ...] = ("Kubernetes",)

GAPS: tuple[Gap, ...] = (
    Gap(BalancerConfig, "spec.peers.service", _given, "peers.static", _CLUSTER, _FILE),
    Gap(BalancerConfig, "spec.nodeSide.advertise[].service", _given, "host", _CLUSTER, _FILE),
    Gap(BalancerConfig, "spec.http.admin.tokenReview", bool, "spec.http.admin.tokenFrom", _CLUSTER, _FILE),
    Gap(BalancerConfig, "spec.http.admin.tokenFrom", _given, "tokenReview", _NOT_IN_CLUSTER, _KUBERNETES),
    Gap(
        BalancerConfig,
        "spec.http.tls",
        _given,
        "null: probes, metrics and the operator ask over http",
        _NOT_IN_CLUSTER,
        _KUBERNETES,
    ),
    Gap(BalancerGroup, "spec.members.selector", _given, "members.static", _CLUSTER, _FILE),
    Gap(BalancerGroup, "spec.members.static[].load", _with_password, _REFERENCE, _NO_PLACE, _KUBERNETES),
    Gap(BalancerGroup, "spec.esl.passwordFrom.secretKeyRef", _given, "env or file", _CLUSTER, _FILE),
    Gap(BalancerGroup, "spec.esl.passwordFrom.env", _given, _REFERENCE, _NO_PLACE, _KUBERNETES),
    Gap(BalancerGroup, "spec.esl.passwordFrom.file", _given, _REFERENCE, _NO_PLACE, _KUBERNETES),
    Gap(BalancerGroup, "spec.autoscale", _given, "null", _CLUSTER, _FILE),
)


def unsupported(documents: Documents) -> list[Problem]:
    """Return what a file asks for that the standalone balancer cannot do yet; empty if it can do everything."""
    problems: list[Problem] = []
    everything: tuple[BalancerConfig | BalancerGroup, ...] = (documents.config, *documents.groups)
    for document in everything:
        problems.extend(documents.problems(document, findings(document)))
    return problems


def findings(document: BalancerConfig | BalancerGroup, world: World = "File") -> list[Finding]:
    """Return what one document asks for that cannot be done yet, or not in the world where it stands."""
    return [
        Finding(path, gap.reason, _shown(value), gap.accepted)
        for gap in GAPS
        if world in gap.worlds and isinstance(document, gap.kind)
        for path, value in _values(document, gap.path.split("."), ())
        if gap.missing(value)
    ]


def _values(value: Any, steps: list[str], path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield what stands at a path of field names, where it was given."""
    if not steps:
        yield path, value
        return
    if not isinstance(value, BaseModel):
        return
    name = steps[0].removesuffix("[]")
    attribute = next(key for key, info in type(value).model_fields.items() if (info.alias or key) == name)
    if attribute not in value.model_fields_set:
        return
    inner = getattr(value, attribute)
    if not steps[0].endswith("[]"):
        yield from _values(inner, steps[1:], (*path, name))
        return
    for position, item in enumerate(inner):
        yield from _values(item, steps[1:], (*path, name, position))


def _shown(value: Any) -> str | None:
    if isinstance(value, (BaseModel, EslUrl, tuple)):
        return None
    return json.dumps(value) if isinstance(value, (bool, int)) else quote(value)
