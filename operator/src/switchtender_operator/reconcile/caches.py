"""The reflectors of the operator: which resources are listed and watched, in which namespaces, and where it goes.

With namespaces to watch there is a reflector for each namespace and resource, and no request at cluster scope; without,
one for each resource. What belongs to balancers is read in the operator's own namespace only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from switchtender_api.constants import LABEL_BALANCER
from switchtender_kube import Client, Reflector, Resource
from switchtender_operator.config.settings import Settings
from switchtender_operator.publish.publisher import GROUPS, SETS
from switchtender_operator.publish.secrets import MANAGED_BY
from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.objects import configuration, endpoints, group_object, set_object

Value = TypeVar("Value")

CONFIG_MAPS = Resource("", "v1", "configmaps")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")

_MANAGED = ",".join(f"{label}={value}" for label, value in MANAGED_BY.items())


def reflectors(client: Client, settings: Settings, cluster: Cluster, counted: Counter[str]) -> list[Reflector[Any]]:
    """Return the reflectors that feed the cluster, not running yet; changes are counted by resource."""

    def counting(
        resource: Resource, changed: Callable[[str, Value | None, Value | None], None]
    ) -> Callable[[str, Value | None, Value | None], None]:
        def count(uid: str, old: Value | None, new: Value | None) -> None:
            counted[resource.plural] += 1
            changed(uid, old, new)

        return count

    found: list[Reflector[Any]] = []
    for scope in settings.scopes:
        found += [
            Reflector(
                client, GROUPS, namespace=scope, project=group_object, changed=counting(GROUPS, cluster.group_changed)
            ),
            Reflector(
                client,
                SETS,
                namespace=scope,
                project=set_object,
                changed=counting(SETS, cluster.set_changed),
                label_selector=_MANAGED,
            ),
        ]
    own = settings.namespace
    found += [
        Reflector(
            client,
            CONFIG_MAPS,
            namespace=own,
            project=configuration,
            changed=counting(CONFIG_MAPS, cluster.configuration_changed),
            label_selector=LABEL_BALANCER,
        ),
        Reflector(
            client,
            ENDPOINT_SLICES,
            namespace=own,
            project=endpoints,
            changed=counting(ENDPOINT_SLICES, cluster.endpoints_changed),
            label_selector=LABEL_BALANCER,
        ),
    ]
    return found


def unsynced(reflectors: Iterable[Reflector[Any]]) -> list[str]:
    """Return the names of those whose first list is not complete, with what keeps it."""
    return [f"{one.name}: {one.health.error or one.health.state}" for one in reflectors if not one.synced.is_set()]
