"""Conditions of a BalancerGroup: every type and every reason with what it means.

A reason is a contract with scripts and alerts that read it; it never changes its meaning. The reference page of
conditions is made from here. Knows no world and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from switchtender_api.constants import (
    CONDITION_ACCEPTED,
    CONDITION_AUTOSCALE_ACTIVE,
    CONDITION_CAPACITY_AVAILABLE,
    CONDITION_NODE_SIDE_UNREACHABLE,
    CONDITION_PROGRAMMED,
    CONDITION_READY,
    CONDITION_STATS_FRESH,
)

CONDITIONS: Final[Mapping[str, str]] = {
    CONDITION_ACCEPTED: "The spec is valid and its balancer allows it; False keeps the policy accepted before.",
    CONDITION_PROGRAMMED: "Every balancer acts on the spec and the nodes as they are now.",
    CONDITION_READY: "At least one node takes new calls.",
    CONDITION_STATS_FRESH: "Every node's load is known from a report that is young enough.",
    CONDITION_CAPACITY_AVAILABLE: "There is room for at least one more call.",
    CONDITION_AUTOSCALE_ACTIVE: "The operator scales the target; the condition is there only with spec.autoscale.",
    CONDITION_NODE_SIDE_UNREACHABLE: "Some nodes could not reach the balancer; the condition is there only when True.",
}
"""Each condition type with what True means."""

ACCEPTED_ACCEPTED: Final = "Accepted"
ACCEPTED_INVALID: Final = "Invalid"
ACCEPTED_BALANCER_NOT_FOUND: Final = "BalancerNotFound"
ACCEPTED_NAMESPACE_NOT_ALLOWED: Final = "NamespaceNotAllowed"
ACCEPTED_PRIORITY_TOO_HIGH: Final = "PriorityTooHigh"
ACCEPTED_LISTENER_NOT_FOUND: Final = "ListenerNotFound"
ACCEPTED_DESTINATION_NOT_ALLOWED: Final = "DestinationNotAllowed"
ACCEPTED_SECRET_NOT_ALLOWED: Final = "SecretNotAllowed"  # noqa: S105 - names a reason
ACCEPTED_NOT_BUILT: Final = "NotBuilt"
PROGRAMMED_PROGRAMMED: Final = "Programmed"
PROGRAMMED_PENDING: Final = "Pending"
PROGRAMMED_REJECTED: Final = "Rejected"
PROGRAMMED_NO_BALANCERS: Final = "NoBalancers"
PROGRAMMED_NOT_ACCEPTED: Final = "NotAccepted"
READY_READY: Final = "Ready"
READY_NO_MEMBERS: Final = "NoMembers"
READY_NO_READY_MEMBERS: Final = "NoReadyMembers"
READY_NOT_ACCEPTED: Final = "NotAccepted"
STATS_FRESH: Final = "Fresh"
STATS_STALE: Final = "Stale"
STATS_NO_BALANCERS: Final = "NoBalancers"
STATS_NO_MEMBERS: Final = "NoMembers"
CAPACITY_AVAILABLE: Final = "Available"
CAPACITY_EXHAUSTED: Final = "Exhausted"
CAPACITY_UNKNOWN: Final = "Unknown"
AUTOSCALE_ACTIVE: Final = "Active"
AUTOSCALE_LIMITED: Final = "Limited"
AUTOSCALE_HPA_PRESENT: Final = "HPAPresent"
AUTOSCALE_TARGET_TAKEN: Final = "TargetTaken"
AUTOSCALE_TARGET_NOT_FOUND: Final = "TargetNotFound"
AUTOSCALE_TARGET_NOT_ALLOWED: Final = "TargetNotAllowed"
AUTOSCALE_TARGET_MISMATCH: Final = "TargetMismatch"
AUTOSCALE_STALE_LOAD: Final = "StaleLoad"
AUTOSCALE_ROLLOUT: Final = "RolloutInProgress"
AUTOSCALE_SCALED_TO_ZERO: Final = "ScaledToZero"
AUTOSCALE_NOT_ACCEPTED: Final = "NotAccepted"
AUTOSCALE_FAILED: Final = "Failed"
NODE_SIDE_NO_ADVERTISED_ADDRESS: Final = "NoAdvertisedAddress"

REASONS: Final[Mapping[str, Mapping[str, str]]] = {
    CONDITION_ACCEPTED: {
        ACCEPTED_ACCEPTED: "The spec is valid, the balancer allows it, and the set's head carries it.",
        ACCEPTED_INVALID: "The spec does not validate; the message lists every field that is wrong.",
        ACCEPTED_BALANCER_NOT_FOUND: "No balancer of the name in spec.balancer is known to the operator.",
        ACCEPTED_NAMESPACE_NOT_ALLOWED: "The balancer serves no groups of this namespace (groups.namespaces).",
        ACCEPTED_PRIORITY_TOO_HIGH: "match.priority is above what the balancer allows (groups.maxPriority).",
        ACCEPTED_LISTENER_NOT_FOUND: "A rule or egress names a listener that the balancer does not have.",
        ACCEPTED_DESTINATION_NOT_ALLOWED: "A static member or a next hop is where none may be (destinations.allow; in "
        "a cluster also loopback, link-local and the API server).",
        ACCEPTED_SECRET_NOT_ALLOWED: "Balancers may not read the Secret that holds the password; the message names the "
        "chart value to set.",
        ACCEPTED_NOT_BUILT: "The spec asks for something that is not built yet, or that exists in a file only.",
    },
    CONDITION_PROGRAMMED: {
        PROGRAMMED_PROGRAMMED: "Every balancer acts on this generation and on every slice of its nodes.",
        PROGRAMMED_PENDING: "Some balancers do not act on it yet; the message says how many do.",
        PROGRAMMED_REJECTED: "A balancer refused it and keeps the policy it had; the message says why.",
        PROGRAMMED_NO_BALANCERS: "No balancer answered the operator.",
        PROGRAMMED_NOT_ACCEPTED: "The spec is not accepted, so no balancer was told of it.",
    },
    CONDITION_READY: {
        READY_READY: "At least one node takes new calls.",
        READY_NO_MEMBERS: "The group has no nodes: no pod matches the selector and none is static.",
        READY_NO_READY_MEMBERS: "The group has nodes, none of which takes new calls.",
        READY_NOT_ACCEPTED: "No spec of this group was ever accepted, so it takes no calls.",
    },
    CONDITION_STATS_FRESH: {
        STATS_FRESH: "Every node that should report did so within health.staleAfter.",
        STATS_STALE: "Some node's last report is older than health.staleAfter.",
        STATS_NO_BALANCERS: "No balancer answered the operator; the figures are the last ones known.",
        STATS_NO_MEMBERS: "The group has no nodes to report.",
    },
    CONDITION_CAPACITY_AVAILABLE: {
        CAPACITY_AVAILABLE: "At least one node has room for a call.",
        CAPACITY_EXHAUSTED: "No node has room for a call; capacity.overLimit says what becomes of new ones.",
        CAPACITY_UNKNOWN: "No load is known from which to tell.",
    },
    CONDITION_AUTOSCALE_ACTIVE: {
        AUTOSCALE_ACTIVE: "The target has as many replicas as the calls need, or is on its way there.",
        AUTOSCALE_LIMITED: "The calls need more nodes than autoscale.max allows; the target has as many as it may.",
        AUTOSCALE_HPA_PRESENT: "A HorizontalPodAutoscaler scales the same target; the message names it.",
        AUTOSCALE_TARGET_TAKEN: "Another group scales the same target; the older one does, the message names it.",
        AUTOSCALE_TARGET_NOT_FOUND: "There is no such target in the group's namespace.",
        AUTOSCALE_TARGET_NOT_ALLOWED: "The operator has no rights to the target's kind; the message names the chart "
        "value to set.",
        AUTOSCALE_TARGET_MISMATCH: "The pods of the target are not those that members.selector selects.",
        AUTOSCALE_STALE_LOAD: "The load of some node is not known or too old; nothing is scaled by it.",
        AUTOSCALE_ROLLOUT: "A roll-out of the target is in progress: nodes may be added, none are taken away.",
        AUTOSCALE_SCALED_TO_ZERO: "The target was scaled to 0 replicas by hand, which turns autoscaling off, as with a "
        "HorizontalPodAutoscaler.",
        AUTOSCALE_NOT_ACCEPTED: "The spec is not accepted, so nothing is scaled by it.",
        AUTOSCALE_FAILED: "The API server refused or did not answer; the message says what.",
    },
    CONDITION_NODE_SIDE_UNREACHABLE: {
        NODE_SIDE_NO_ADVERTISED_ADDRESS: "No entry of the balancer's nodeSide.advertise is for the network of some "
        "nodes; the message names them.",
    },
}
"""Each condition type with its reasons and what each of them means."""
