"""DestinationSets as they are written: whole bodies for server-side apply, and whether a set is as its body says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from switchtender_api.constants import ANNOTATION_SELECTOR, API_VERSION, LABEL_GROUP
from switchtender_api.objects import read_set
from switchtender_operator.domain.members import Member
from switchtender_operator.domain.slices import name_of
from switchtender_operator.domain.world import GroupObject, SetObject

Json = dict[str, Any]

MANAGED_BY = "switchtender-operator"
_LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Head:
    """What the head carries besides members: the accepted policy, its generation, the selector that went with it."""

    policy: Mapping[str, Any]
    generation: int
    selector: Mapping[str, str] | None


def render(group: GroupObject, number: int, members: Iterable[Member], head: Head) -> Json:
    """Return the body of a slice by number; policy, generation and selector stand on the first alone.

    So a changed policy rewrites the other slices only where their members change with it.
    """
    metadata: Json = {
        "name": name_of(group.name, number),
        "namespace": group.namespace,
        "labels": {LABEL_GROUP: group.name, _LABEL_MANAGED_BY: MANAGED_BY},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "BalancerGroup",
                "name": group.name,
                "uid": group.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
    spec: Json = {"group": {"name": group.name, "uid": group.uid}}
    if number == 1:
        spec["group"]["generation"] = head.generation
        spec["policy"] = head.policy
        if head.selector is not None:
            selector = json.dumps(dict(head.selector), sort_keys=True, separators=(",", ":"))
            metadata["annotations"] = {ANNOTATION_SELECTOR: selector}
    spec["members"] = [member.body for member in members]
    return {"apiVersion": API_VERSION, "kind": "DestinationSet", "metadata": metadata, "spec": spec}


def selector_of(head: SetObject) -> Mapping[str, str] | None:
    """Return the selector that a head was written with, None if it has none that can be read."""
    try:
        labels: Any = json.loads(head.annotations.get(ANNOTATION_SELECTOR, ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        return None
    return labels or None


def same(existing: SetObject, body: Json) -> bool:
    """Tell whether a set is as its body says, what the API server filled in by default included."""
    metadata, spec = body["metadata"], body["spec"]
    return (
        existing.owner_uid == metadata["ownerReferences"][0]["uid"]
        and all(existing.labels.get(name) == value for name, value in metadata["labels"].items())
        and existing.annotations.get(ANNOTATION_SELECTOR) == metadata.get("annotations", {}).get(ANNOTATION_SELECTOR)
        and (existing.spec == spec or _means_the_same(existing.name, existing.spec, spec))
    )


def _means_the_same(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Compare specs with defaults filled in; members that are literally the same are not read for it."""
    one_members, other_members = one.get("members"), other.get("members")
    if isinstance(one_members, list) and isinstance(other_members, list):
        if len(one_members) != len(other_members):
            return False
        pairs = [pair for pair in zip(one_members, other_members, strict=True) if pair[0] != pair[1]]
        one, other = (
            {**one, "members": [pair[0] for pair in pairs]},
            {**other, "members": [pair[1] for pair in pairs]},
        )
    read = [read_set(_framed(name, spec)) for spec in (one, other)]
    if any(each.set is None or each.skipped for each in read):
        return False
    return read[0].set == read[1].set


def _framed(name: str, spec: Mapping[str, Any]) -> Json:
    return {"apiVersion": API_VERSION, "kind": "DestinationSet", "metadata": {"name": name}, "spec": spec}
