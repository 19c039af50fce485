"""What types of objects the scripted API server knows, and how each behaves."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource type. ``generation``: counts changes of anything but metadata and status. ``status``: has that
    subresource.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    generation: bool = False
    unconditional_update: bool = True
    custom: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``plural.group``, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


BUILT_IN = (
    Kind("", "v1", "pods", "Pod", status=True, generation=True),
    Kind("", "v1", "secrets", "Secret"),
    Kind("", "v1", "configmaps", "ConfigMap"),
    Kind("", "v1", "services", "Service", status=True),
    Kind("", "v1", "events", "Event"),
    Kind("", "v1", "serviceaccounts", "ServiceAccount"),
    Kind("", "v1", "endpoints", "Endpoints"),
    Kind("", "v1", "namespaces", "Namespace", namespaced=False, status=True),
    Kind("", "v1", "nodes", "Node", namespaced=False, status=True),
    Kind("events.k8s.io", "v1", "events", "Event"),
    Kind("apps", "v1", "deployments", "Deployment", status=True, generation=True),
    Kind("apps", "v1", "statefulsets", "StatefulSet", status=True, generation=True),
    Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", status=True),
    Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", generation=True),
    Kind("coordination.k8s.io", "v1", "leases", "Lease", unconditional_update=False),
    Kind(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
        namespaced=False, status=True, generation=True, unconditional_update=False,
    ),
)  # fmt: skip

OWN = tuple(
    Kind(
        "switchtender.dev", "v1alpha1", plural, kind,
        status=plural == "balancergroups", generation=True, unconditional_update=False, custom=True,
    )
    for plural, kind in (("balancergroups", "BalancerGroup"), ("destinationsets", "DestinationSet"))
)  # fmt: skip


def of_definition(definition: Json) -> list[Kind]:
    """The types that a CustomResourceDefinition makes the server serve, one a served version."""
    spec = definition["spec"]
    return [
        Kind(
            spec["group"],
            version["name"],
            spec["names"]["plural"],
            spec["names"]["kind"],
            namespaced=spec["scope"] == "Namespaced",
            status="status" in (version.get("subresources") or {}),
            generation=True,
            unconditional_update=False,
            custom=True,
        )
        for version in spec["versions"]
        if version.get("served", True)
    ]
