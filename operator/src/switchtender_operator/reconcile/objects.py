"""Objects of the API server to the values that the operator keeps of them. Pure; keeps nothing and asks nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from switchtender_api.constants import LABEL_BALANCER
from switchtender_api.loader import load
from switchtender_api.objects import read_group
from switchtender_api.problems import DocumentErrors, Refusal
from switchtender_api.v1alpha1 import BalancerConfigSpec
from switchtender_api.v1alpha1.units import parse_time
from switchtender_operator.domain.world import GroupObject, SetObject

Value = TypeVar("Value")
Json = Mapping[str, Any]

CONFIG_KEY = "balancer.yaml"
HTTP_PORT_NAME = "http"

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""The taint that Kubernetes itself puts on a cordoned node."""

_VARIABLES = {"POD_IP": "192.0.2.1", "HOST_IP": "192.0.2.2", "POD_NAME": "pod", "POD_NAMESPACE": "namespace"}
"""What a balancer replaces in its configuration by its own values. None of them bears on what groups may claim."""

_VARIABLE = re.compile(r"\$\((" + "|".join(_VARIABLES) + r")\)")


@dataclass(frozen=True, slots=True)
class Seen(Generic[Value]):
    """An object at a version; `version` is its resourceVersion."""

    value: Value
    version: str

    def newer_than(self, other: Seen[Value]) -> bool:
        """Whether this is a later version; unknown order counts as later, for watches tell what comes next."""
        if self.version.isdigit() and other.version.isdigit():
            return int(self.version) > int(other.version)
        return self.version != other.version


@dataclass(frozen=True, slots=True)
class Configuration:
    """A BalancerConfig of a ConfigMap: `balancer` is its name, `config` a text where it cannot be used."""

    config_map: str
    balancer: str
    config: BalancerConfigSpec | str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A balancer's HTTP interface. `instance` tells pods apart: their uid, else the address."""

    instance: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints of one EndpointSlice of the balancer's headless Service."""

    balancer: str
    endpoints: tuple[Endpoint, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class KubernetesNode:
    """A node of the cluster; `since` is when it was cordoned, None where it is not or does not say."""

    uid: str
    name: str
    unschedulable: bool = False
    since: datetime | None = None


def kubernetes_node(raw: Json) -> KubernetesNode | None:
    """Return what of a node bears on the pods that run there, None if it has no identity."""
    metadata, spec = raw.get("metadata") or {}, raw.get("spec") or {}
    uid, name = metadata.get("uid"), metadata.get("name")
    if not (uid and name):
        return None
    if not spec.get("unschedulable"):
        return KubernetesNode(uid, name)
    times = (taint.get("timeAdded") for taint in spec.get("taints") or () if taint.get("key") == _UNSCHEDULABLE)
    return KubernetesNode(uid, name, unschedulable=True, since=next(filter(None, map(_time, times)), None))


def group_object(raw: Json) -> Seen[GroupObject] | None:
    """Return the BalancerGroup, None if it has no identity."""
    metadata = raw.get("metadata") or {}
    uid, namespace, name = metadata.get("uid"), metadata.get("namespace"), metadata.get("name")
    if not (uid and namespace and name):
        return None
    value = GroupObject(
        namespace=namespace,
        name=name,
        uid=uid,
        generation=metadata.get("generation") or 0,
        read=read_group(raw),
        created=_time(metadata.get("creationTimestamp")),
        status=raw.get("status") or {},
        deleting=metadata.get("deletionTimestamp") is not None,
    )
    return Seen(value, str(metadata.get("resourceVersion", "")))


def set_object(raw: Json) -> Seen[SetObject] | None:
    """Return the DestinationSet, None if it has no identity; when it changed is for the caller to know."""
    metadata = raw.get("metadata") or {}
    uid, namespace, name = metadata.get("uid"), metadata.get("namespace"), metadata.get("name")
    if not (uid and namespace and name):
        return None
    spec = raw.get("spec") or {}
    owners = metadata.get("ownerReferences") or ()
    value = SetObject(
        namespace=namespace,
        name=name,
        uid=uid,
        generation=metadata.get("generation") or 0,
        resource_version=str(metadata.get("resourceVersion", "")),
        spec=spec,
        group_uid=(spec.get("group") or {}).get("uid"),
        owner_uid=next((owner.get("uid") for owner in owners if owner.get("controller")), None),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
    )
    return Seen(value, value.resource_version)


def set_group(value: SetObject) -> str:
    """Return `namespace/name` of the group that the set belongs to: a slice is named `<group>` or `<group>.<n>`.

    Not by its label: balancers read a set whatever its labels are, so one that lost them must not be lost to us.
    """
    return f"{value.namespace}/{value.name.partition('.')[0]}"


def configuration(raw: Json) -> Configuration | None:
    """Return the configuration that a balancer's ConfigMap holds, None if it is labelled for no balancer."""
    metadata = raw.get("metadata") or {}
    name, balancer = metadata.get("name"), (metadata.get("labels") or {}).get(LABEL_BALANCER)
    if not (name and balancer):
        return None
    text = (raw.get("data") or {}).get(CONFIG_KEY)
    if not isinstance(text, str):
        return Configuration(name, balancer, f"ConfigMap {name} has no key {CONFIG_KEY}")
    return Configuration(name, balancer, _read_config(name, balancer, text))


def endpoints(raw: Json) -> Endpoints | None:
    """Return the balancers that an EndpointSlice lists, whatever their conditions; None if it is labelled for none.

    A balancer that is not ready or that is going away still carries calls and still says what it acts on.
    """
    metadata = raw.get("metadata") or {}
    balancer = (metadata.get("labels") or {}).get(LABEL_BALANCER)
    if not balancer or raw.get("addressType") == "FQDN":
        return None
    ports: Any = (port.get("port") for port in raw.get("ports") or () if port.get("name") == HTTP_PORT_NAME)
    port = next(ports, None)
    if not isinstance(port, int):
        return Endpoints(balancer)
    found = []
    for entry in raw.get("endpoints") or ():
        addresses = entry.get("addresses") or ()
        if addresses:
            target = entry.get("targetRef") or {}
            found.append(Endpoint(target.get("uid") or target.get("name") or addresses[0], addresses[0], port))
    return Endpoints(balancer, tuple(found))


def _read_config(config_map: str, balancer: str, text: str) -> BalancerConfigSpec | str:
    try:
        config = load(_VARIABLE.sub(lambda match: _VARIABLES[match[1]], text), CONFIG_KEY).config
    except DocumentErrors as errors:
        first = errors.problems[0]
        more = f" (and {len(errors.problems) - 1} more)" if len(errors.problems) > 1 else ""
        return f"ConfigMap {config_map}: {first.path or CONFIG_KEY}: {first.message}{more}"
    if config.metadata.name != balancer:
        return f"ConfigMap {config_map}: its label says {balancer}, its BalancerConfig {config.metadata.name}"
    return config.spec


def _time(text: Any) -> datetime | None:
    try:
        return parse_time(text) if isinstance(text, str) else None
    except Refusal:
        return None
