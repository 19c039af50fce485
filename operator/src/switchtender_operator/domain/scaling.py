"""What a group's status says of `spec.autoscale`: a condition and figures, from what was last made of it.

Decides nothing about nodes; while nothing was made of it yet, the status before stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from switchtender_api import status as api
from switchtender_api.constants import CONDITION_AUTOSCALE_ACTIVE
from switchtender_api.v1alpha1.units import format_time
from switchtender_operator.domain.acceptance import Acceptance
from switchtender_operator.domain.conditions import Condition, Status, by_type
from switchtender_operator.domain.world import GroupWorld

ACTIVE = frozenset({api.AUTOSCALE_ACTIVE, api.AUTOSCALE_LIMITED, api.AUTOSCALE_ROLLOUT})
"""Reasons with which the condition is True: the target is scaled, as far as may be."""


def autoscale_active(world: GroupWorld, acceptance: Acceptance) -> Condition | None:
    """Return whether the target is scaled; None without spec.autoscale, and until that was first looked at."""
    was = by_type(world.group.status).get(CONDITION_AUTOSCALE_ACTIVE)
    group = acceptance.group
    if group is None:
        asked = world.group.read.group
        if (asked.spec.autoscale is None) if asked is not None else was is None:
            return None
        return Condition(
            CONDITION_AUTOSCALE_ACTIVE, "False", api.AUTOSCALE_NOT_ACCEPTED, "nothing is scaled by a refused spec"
        )
    if group.spec.autoscale is None:
        return None
    seen = world.autoscale
    if seen is not None and seen.generation == world.group.generation:
        status: Status = "True" if seen.reason in ACTIVE else "False"
        return Condition(CONDITION_AUTOSCALE_ACTIVE, status, seen.reason, seen.message)
    if was is None or was.get("observedGeneration") != world.group.generation:
        return None
    return Condition(CONDITION_AUTOSCALE_ACTIVE, was["status"], was["reason"], str(was.get("message", "")))


def figures(world: GroupWorld, acceptance: Acceptance) -> dict[str, Any]:
    """Return `autoscale` of the status, empty without spec.autoscale; what is not known is as it was."""
    group = acceptance.group or world.group.read.group
    before = world.group.status.get("autoscale")
    if group is None or group.spec.autoscale is None:
        return {}
    known = dict(before) if isinstance(before, Mapping) else {}
    seen = world.autoscale
    if seen is not None and seen.figures is not None:
        known |= {
            "replicas": seen.figures.replicas,
            "desired": seen.figures.desired,
            "draining": seen.figures.draining,
        }
    if seen is not None and seen.last_scale is not None:
        known["lastScaleTime"] = format_time(seen.last_scale.astimezone(UTC).replace(microsecond=0))
    return {"autoscale": known} if known else {}
