"""In Kubernetes what is wanted of a node stands in the API server: the command that says it. Pure."""

from __future__ import annotations

import json
import shlex

from switchtender.config.plan import is_pod
from switchtender.control.orders import Place
from switchtender.http.views import Json
from switchtender_api.constants import ANNOTATION_DRAIN, ANNOTATION_RESOURCES, ANNOTATION_WEIGHT

_FIELDS = {"weight": "weight", "resize": "resources"}


def command(verb: str, place: Place, order: Json) -> str:
    """The kubectl command that carries the order out: it annotates the pod, or edits the group that names the node."""
    namespace, name = place.group.namespace, place.member.name
    if not is_pod(place.member.uid):
        field = _FIELDS.get(verb, "drain")
        return f"kubectl -n {namespace} edit balancergroup {place.group.name}  # members.static[].{field} of {name}"
    return f"kubectl -n {namespace} annotate pod {name} {_annotation(verb, order)}"


def ours(verb: str, place: Place) -> str | None:
    """Our own command that carries a drain or its end out; None for what it does not do."""
    if verb not in {"drain", "undrain"}:
        return None
    group = "" if is_pod(place.member.uid) else f" --group {place.group.name}"
    return f"switchtender {verb} -n {place.group.namespace}{group} {place.member.name}"


def _annotation(verb: str, order: Json) -> str:
    if verb == "weight":
        return _set(ANNOTATION_WEIGHT, order.get("weight"))
    if verb == "resize":
        limit = order.get("limit")
        resources = [{"name": order.get("resource"), "limit": limit}]
        return _set(ANNOTATION_RESOURCES, None if limit is None else json.dumps(resources, separators=(",", ":")))
    if verb in {"undrain", "enable"}:
        return _set(ANNOTATION_DRAIN, None)
    return f'--overwrite {ANNOTATION_DRAIN}="$(date -u +%Y-%m-%dT%H:%M:%SZ)"'


def _set(annotation: str, value: object) -> str:
    return f"{annotation}-" if value is None else f"--overwrite {shlex.quote(f'{annotation}={value}')}"
