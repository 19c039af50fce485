"""What the operator keeps of the cluster besides pods: which resources, in which namespaces, and where it goes.

With namespaces to watch there is a reflector for each namespace and resource, and no request at cluster scope; without,
one for each resource. Kubernetes nodes, which have no namespace, are watched only where that is asked for. What belongs
to balancers is read in the operator's own namespace only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from switchtender_api.constants import LABEL_BALANCER
from switchtender_kube import Reflector, Resource
from switchtender_operator.config.settings import Settings
from switchtender_operator.publish.publisher import GROUPS, SETS
from switchtender_operator.reconcile.cluster import Cluster
from switchtender_operator.reconcile.cordons import NODES, CordonedNodes
from switchtender_operator.reconcile.objects import configuration, endpoints, group_object, kubernetes_node, set_object
from switchtender_operator.reconcile.reflectors import Reflectors

CONFIG_MAPS = Resource("", "v1", "configmaps")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")


def caches(
    reflectors: Reflectors, settings: Settings, cluster: Cluster, cordoned: CordonedNodes
) -> list[tuple[str, Reflector[Any]]]:
    """Return the reflectors that feed these with their resources' names, not running yet."""
    own, make = settings.namespace, reflectors.make
    found: list[tuple[str, Reflector[Any]]] = []
    for scope in settings.scopes:
        groups = make(GROUPS, scope, group_object, cluster.group_changed)
        sets = make(SETS, scope, set_object, cluster.set_changed)
        found += [(GROUPS.plural, groups), (SETS.plural, sets)]
    if settings.drain_cordoned_nodes:
        found.append((NODES.plural, make(NODES, None, kubernetes_node, cordoned.changed)))
    configs = make(CONFIG_MAPS, own, configuration, cluster.configuration_changed, label_selector=LABEL_BALANCER)
    slices = make(ENDPOINT_SLICES, own, endpoints, cluster.endpoints_changed, label_selector=LABEL_BALANCER)
    return [*found, (CONFIG_MAPS.plural, configs), (ENDPOINT_SLICES.plural, slices)]


def unsynced(reflectors: Iterable[Reflector[Any]]) -> list[str]:
    """Return the names of those whose first list is not complete, with what keeps it."""
    return [f"{one.name}: {one.health.error or one.health.state}" for one in reflectors if not one.synced.is_set()]
