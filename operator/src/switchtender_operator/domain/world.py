"""The observed world of one group, as values: what `plan` decides from, and all that it decides from.

Made by whoever watches the cluster and asks the balancers; knows neither. Times are aware datetimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from switchtender_api.objects import ReadGroup
from switchtender_api.v1alpha1 import BalancerConfigSpec
from switchtender_api.v1alpha1.destinations import MOST_MEMBERS
from switchtender_api.v1alpha1.units import IpAddress
from switchtender_operator.domain.neighbors import Neighbors
from switchtender_operator.domain.pods import Pod

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupObject:
    """A BalancerGroup of the cluster. `status` is what was last written to it, as read back; empty if nothing was."""

    namespace: str
    name: str
    uid: str
    generation: int
    read: ReadGroup
    created: datetime | None = None
    status: Json = field(default_factory=dict)
    deleting: bool = False

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetObject:
    """A DestinationSet of the cluster, its spec as it stands there.

    `group_uid` is spec.group.uid, `owner_uid` the uid of the controlling owner. `changed` is when this version was
    first seen; None counts as long ago.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: Json
    group_uid: str | None = None
    owner_uid: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    changed: datetime | None = None


@dataclass(frozen=True, slots=True)
class SetVersion:
    """A version of a DestinationSet that a balancer acts on."""

    uid: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSeen:
    """What one balancer that answered says about the group.

    `generation` of the group's spec that it acts on, None while it knows no such group; `rejected` says why it keeps
    an older one; `sets` by name.
    """

    group_uid: str | None = None
    generation: int | None = None
    rejected: str | None = None
    sets: Mapping[str, SetVersion] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancersSeen:
    """The balancers that serve a group: how many there are, and by instance what those said that answered."""

    total: int
    instances: Mapping[str, BalancerSeen] = field(default_factory=dict)
    assigned: int = 0

    @property
    def reachable(self) -> int:
        """How many answered."""
        return len(self.instances)


_ONE_CALL = 0.5
"""Sessions that are surely less than one call, for what balancers expect is no whole number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What the balancer with the youngest report says about a member. `age` of that report in seconds, None without.

    Of any balancer, not of that one alone: `paused_by_us`, `drain_since` (the earliest, None unless it drains),
    `pending`, the most sessions of calls that one placed and the report does not have yet, and `open`: one has not
    taken up that the node drains.
    """

    name: str
    state: str
    reason: str = ""
    age: float | None = None
    sessions: int | None = None
    capacity: float | None = None
    effective: float | None = None
    max_sessions: int | None = None
    verdict: str = ""
    paused_by_us: bool = False
    drain_since: datetime | None = None
    pending: float = 0.0
    open: bool = False

    @property
    def empty(self) -> bool:
        """Whether the report, however old, says that no call is left, none is on its way there, and none will be."""
        closed = self.state == "draining" and not self.open
        return closed and self.sessions is not None and self.sessions <= 0 and self.pending < _ONE_CALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What balancers said of one group, `at` when they were asked; `nodes` by member uid.

    The same pod may be a member of several groups and has a report for each: capacity and verdict are a group's.
    """

    at: datetime
    balancers: BalancersSeen
    nodes: Mapping[str, NodeReport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingFigures:
    """Replicas that a target is told to have, nodes that the calls need, nodes that drain so that it can shrink."""

    replicas: int
    desired: int
    draining: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What was made of spec.autoscale of a `generation` of the group: `reason` is one of AUTOSCALE_*.

    `figures` None where the target could not be read. `last_scale` is when we last changed its replicas, None if that
    is not known to have been.
    """

    generation: int
    reason: str
    message: str = ""
    figures: ScalingFigures | None = None
    last_scale: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator is set to, as far as planning needs it.

    `forbidden` are addresses of the API server, where no node may be. `status_step` is a fraction. Balancers that lag
    behind a change of members alone for less than `programmed_grace` do not make a programmed group pending.
    """

    esl_secret_names: frozenset[str] = frozenset({"esl"})
    forbidden: frozenset[IpAddress] = frozenset()
    status_min_interval: timedelta = timedelta(seconds=10)
    status_step: float = 0.05
    programmed_grace: timedelta = timedelta(seconds=5)
    members_per_slice: int = MOST_MEMBERS


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWorld:
    """One group and what bears on it.

    `pods` by uid are those that `plan.watched_selector` asks for, None while they are not known: then members that
    are pods stay as they are. `sets` are those of the group's label in its namespace. `balancers` by name, a text
    where the configuration cannot be used. `observation` None while balancers have not been asked.
    `status_written` is when this process last wrote the group's status, None if it did not. `autoscale` is
    what was last made of spec.autoscale, None while nothing was. `cordoned` are the Kubernetes nodes that take no more
    pods, where that is asked for: since when by name, None where they do not say.
    """

    group: GroupObject
    pods: Mapping[str, Pod] | None
    sets: tuple[SetObject, ...]
    balancers: Mapping[str, BalancerConfigSpec | str]
    observation: Observation | None = None
    neighbors: Neighbors = field(default_factory=Neighbors)
    settings: Settings = field(default_factory=Settings)
    status_written: datetime | None = None
    autoscale: Scaling | None = None
    cordoned: Mapping[str, datetime | None] = field(default_factory=dict)
