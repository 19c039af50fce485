"""The names that stand in other people's objects: API group, labels, annotations, condition types.

A name here is a contract with clusters that already run; it never changes its meaning. This module knows no model.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "switchtender.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "switchtender.dev/v1alpha1"

LABEL_GROUP: Final = f"{GROUP}/group"
"""On a DestinationSet: the name of the BalancerGroup it belongs to."""

LABEL_BALANCER: Final = f"{GROUP}/balancer"
"""On a balancer's ConfigMap, its Service and EndpointSlices: the name of its BalancerConfig."""

ANNOTATION_WEIGHT: Final = f"{GROUP}/weight"
ANNOTATION_PRIORITY: Final = f"{GROUP}/priority"
ANNOTATION_BACKUP: Final = f"{GROUP}/backup"
ANNOTATION_RESOURCES: Final = f"{GROUP}/resources"
"""On a pod: what overrides the group's values for that one node."""

ANNOTATION_DRAIN: Final = f"{GROUP}/drain"
"""On a pod: the RFC 3339 time from which it takes no new calls."""

ANNOTATION_DRAINED_BY: Final = f"{GROUP}/drained-by"
"""On a pod beside the former: who drains it; `DRAINED_BY_AUTOSCALE` alone is ever taken back by the operator."""

DRAINED_BY_AUTOSCALE: Final = "autoscale"

ANNOTATION_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""On a pod, by Kubernetes: ReplicaSets remove the one with the lowest first."""

ANNOTATION_SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""On a pod, by the cluster autoscaler: "false" keeps it from emptying the pod's host."""

ANNOTATION_SELECTOR: Final = f"{GROUP}/selector"
"""On the head of a group's sets: the pod labels last accepted, as JSON; what to follow while an edit is refused."""

ANNOTATION_CRD_REVISION: Final = f"{GROUP}/crd-revision"
"""On a CustomResourceDefinition of ours: which revision of the schema it is, a whole number."""

CRD_REVISION: Final = 1
"""Revision of the schemas made here. A higher one takes all that a lower one took; see crd_revisions.json."""

DEFAULT_NAMESPACE: Final = "default"
"""The namespace of a group in a file that names none."""

DEFAULT_BALANCER: Final = "default"

DEFAULT_SIP_PORT: Final = 5060
"""RFC 3261 §19.1.2: the port of a sip URI without one, over UDP and TCP."""

DEFAULT_ESL_PORT: Final = 8021
"""The port of FreeSWITCH's mod_event_socket."""

CONDITION_ACCEPTED: Final = "Accepted"
CONDITION_PROGRAMMED: Final = "Programmed"
CONDITION_READY: Final = "Ready"
CONDITION_STATS_FRESH: Final = "StatsFresh"
CONDITION_CAPACITY_AVAILABLE: Final = "CapacityAvailable"
CONDITION_AUTOSCALE_ACTIVE: Final = "AutoscaleActive"
CONDITION_NODE_SIDE_UNREACHABLE: Final = "NodeSideUnreachable"
