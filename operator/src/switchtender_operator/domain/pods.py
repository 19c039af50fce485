"""Raw pods to the little of them that planning needs.

A projection is small, for thousands of them are kept: repeated texts are interned, nothing of managed fields, volumes
or environment stays, and equal projections mean that nothing of interest changed. It never raises, whatever the JSON
holds. Knows no group.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from switchtender_api.constants import ANNOTATION_DELETION_COST, ANNOTATION_SAFE_TO_EVICT, GROUP
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.units import parse_time

ANNOTATION_NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"
"""Where Multus and its kin say which addresses a pod has on which network."""

_OURS = f"{GROUP}/"
_MARKS = frozenset({ANNOTATION_DELETION_COST, ANNOTATION_SAFE_TO_EVICT})
_LABEL_NUMBERED = "statefulset.kubernetes.io/pod-name"
_OF_ONE_POD = frozenset({_LABEL_NUMBERED, "apps.kubernetes.io/pod-index"})
"""Labels that no two pods share, and by which nobody selects the pods of a workload."""

_LABEL_ZONE = "topology.kubernetes.io/zone"
_GONE = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Pod:
    """A pod. Addresses are canonical, without brackets; `grace` is that of a deletion under way.

    `problems` says what of the object could not be read, each as a sentence's end. `labels` are for selectors,
    `numbered` tells one of a StatefulSet, which removes the highest number whatever the others cost, and `marks` are
    the annotations that tell others how much the pod is needed: what is made of a pod for balancers depends on none of
    the three.
    """

    namespace: str
    name: str
    uid: str
    node: str | None = None
    zone: str | None = None
    host_ips: tuple[str, ...] = ()
    pod_ips: tuple[str, ...] = ()
    phase: str = ""
    ready: bool = False
    created: datetime | None = None
    deletion: datetime | None = None
    grace: timedelta = timedelta()
    annotations: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    numbered: bool = field(default=False, hash=False)
    labels: tuple[tuple[str, str], ...] = field(default=(), hash=False)
    marks: tuple[tuple[str, str], ...] = field(default=(), hash=False)

    @property
    def gone(self) -> bool:
        """Whether its containers have ended for good, so that its addresses may be another's already."""
        return self.phase in _GONE

    def annotation(self, name: str) -> str | None:
        """Return the value of a kept annotation, None where there is none."""
        return next((value for key, value in self.annotations if key == name), None)

    def mark(self, name: str) -> str | None:
        """Return the value of one of the marks, None where there is none."""
        return next((value for key, value in self.marks if key == name), None)

    def same_node(self, other: Pod) -> bool:
        """Whether both are one and the same node to balancers."""
        return self == replace(other, labels=self.labels, marks=self.marks, numbered=self.numbered)


def project(raw: Mapping[str, Any], *, keep: frozenset[str] = frozenset()) -> Pod | None:
    """Return the pod that the API server's JSON holds, None if it has no namespace, name or uid.

    Annotations kept are `switchtender.dev/*` and those in `keep`.
    """
    metadata, spec, status = (_mapping(raw.get(part)) for part in ("metadata", "spec", "status"))
    namespace, name, uid = (_text(metadata.get(part)) for part in ("namespace", "name", "uid"))
    if not namespace or not name or not uid:
        return None
    problems: list[str] = []
    zone = _text(_mapping(metadata.get("labels")).get(_LABEL_ZONE))
    grace = metadata.get("deletionGracePeriodSeconds")
    return Pod(
        namespace=sys.intern(namespace),
        name=name,
        uid=uid,
        node=_interned(spec.get("nodeName")),
        zone=sys.intern(zone) if zone else None,
        host_ips=_addresses(status, "hostIPs", "hostIP", problems),
        pod_ips=_addresses(status, "podIPs", "podIP", problems),
        phase=_interned(status.get("phase")) or "",
        ready=_ready(status.get("conditions")),
        created=_time(metadata, "creationTimestamp", problems),
        deletion=_time(metadata, "deletionTimestamp", problems),
        grace=timedelta(seconds=grace) if isinstance(grace, int) and 0 <= grace < 2**31 else timedelta(),
        numbered=_LABEL_NUMBERED in _mapping(metadata.get("labels")),
        annotations=tuple(_annotations(metadata.get("annotations"), keep)),
        labels=_shared(tuple(_labels(metadata.get("labels")))),
        marks=tuple(_texts(metadata.get("annotations"), _MARKS)),
        problems=tuple(problems),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _interned(value: Any) -> str | None:
    return sys.intern(value) if isinstance(value, str) and value else None


def _time(metadata: Mapping[str, Any], field: str, problems: list[str]) -> datetime | None:
    value = metadata.get(field)
    if value is None:
        return None
    try:
        return parse_time(value if isinstance(value, str) else "")
    except Refusal:
        problems.append(f"metadata.{field} is not a time")
        return None


def _addresses(status: Mapping[str, Any], several: str, single: str, problems: list[str]) -> tuple[str, ...]:
    """Return the addresses of a list of {ip: …}, or the single one of servers that know no list."""
    listed = status.get(several)
    texts: Iterable[Any] = [_mapping(entry).get("ip") for entry in listed] if isinstance(listed, list) else ()
    found = []
    for text in texts or [status.get(single)]:
        if not text:
            continue
        try:
            found.append(sys.intern(str(ipaddress.ip_address(text if isinstance(text, str) else ""))))
        except ValueError:
            problems.append(f"status.{several} holds something that is not an IP address")
    return tuple(dict.fromkeys(found))


def _ready(conditions: Any) -> bool:
    return any(
        _mapping(condition).get("type") == "Ready" and _mapping(condition).get("status") == "True"
        for condition in (conditions if isinstance(conditions, list) else ())
    )


def _annotations(raw: Any, keep: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield the kept annotations in order of their names, so that equal ones are equal."""
    for key, value in sorted(_mapping(raw).items(), key=lambda item: item[0]):
        if isinstance(value, str) and (key.startswith(_OURS) or key in keep):
            yield sys.intern(key), value


def _texts(raw: Any, keep: frozenset[str]) -> Iterator[tuple[str, str]]:
    for key in sorted(keep & _mapping(raw).keys()):
        if isinstance(value := raw[key], str):
            yield sys.intern(key), sys.intern(value)


def _labels(raw: Any) -> Iterator[tuple[str, str]]:
    for key, value in sorted(_mapping(raw).items(), key=lambda item: item[0]):
        if isinstance(value, str) and key not in _OF_ONE_POD:
            yield sys.intern(key), sys.intern(value)


@lru_cache(maxsize=1024)
def _shared(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the same object for equal labels: the pods of a workload have them in common."""
    return labels
