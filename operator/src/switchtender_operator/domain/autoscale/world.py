"""What planning the number of nodes starts from and ends with, as values. Knows neither Kubernetes nor a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from switchtender_api.v1alpha1.autoscale import Autoscale

LOWEST_COST: Final = -1000
"""Deletion cost of a node that is to go: below whatever `marks` writes on the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleNode:
    """One pod of the target that is a member of the group.

    `ready`: scheduled and Ready. `pending`: in phase Pending, so it never was Ready and never had a call.
    `draining` by whatever reason, `since` when; `drained_by_us` where autoscaling asked for it; `expired`: past its
    deadline. `state` is a balancer's word: unknown, ready, full, draining, stale, down. `sessions` as reported,
    `open`: some balancer has not taken up that the node drains, and may send calls there.
    `capacity` in sessions, `age` of that report in seconds; None is not known. `cost` is the deletion cost as read
    back, None without.
    """

    uid: str
    name: str
    ready: bool
    terminating: bool
    drained_by_us: bool
    draining: bool
    since: datetime | None
    expired: bool
    state: str
    sessions: int | None
    capacity: float | None
    age: float | None
    cost: int | None
    created: datetime | None
    pending: bool = False
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTargetSeen:
    """The scale subresource of the target, and what is known of a roll-out.

    `status_replicas` is how many pods its controller says there are. `ordinal`: pods go by the highest ordinal, as
    those of a StatefulSet; else by the ranking of a ReplicaSet.
    """

    replicas: int
    status_replicas: int
    rolling: bool
    resource_version: str
    ordinal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleWorld:
    """Everything a decision is made from, beside the history. A report older than `stale_after` seconds is stale."""

    now: datetime
    spec: Autoscale
    legs_per_call: int
    on_timeout: Literal["Hold", "Release"]
    target: ScaleTargetSeen
    nodes: Sequence[ScaleNode]
    stale_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDecision:
    """What is to be done now. The tuples hold uids of pods.

    `desired`: nodes that the calls need now, within min and max; `replicas`: what the scale is to be set to, None to
    leave it; `drain` and `revive`: to be given, or freed of, both annotations; `lowest`: to get `LOWEST_COST`, which
    must be read back before the replicas go down. `reason` is one of the `AUTOSCALE_*`. `wake_after` seconds the
    world should be looked at again, whatever happens.
    """

    desired: int
    replicas: int | None = None
    drain: tuple[str, ...] = ()
    revive: tuple[str, ...] = ()
    lowest: tuple[str, ...] = ()
    reason: str
    message: str
    wake_after: float | None = None
