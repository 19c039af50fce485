"""From the observed world of a group to what is to be written: its sets, its status, its events. One pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from switchtender_operator.domain.world import GroupWorld, SetObject


@dataclass(frozen=True, slots=True)
class DesiredSet:
    """A DestinationSet to apply: the whole body for server-side apply."""

    name: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventNote:
    """A Kubernetes Event about the group: `reason` is one CamelCase word."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be written, in this order: `apply`, `delete`, `status` (None: leave it), then `events`.

    `wake_at` is when to plan again though nothing changes; None: no need.
    """

    apply: tuple[DesiredSet, ...] = ()
    delete: tuple[SetObject, ...] = ()
    status: dict[str, Any] | None = None
    events: tuple[EventNote, ...] = ()
    wake_at: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.apply or self.delete or self.status is not None or self.events)


@dataclass(frozen=True, slots=True)
class Watched:
    """The pods that a group follows: those with all `labels`; `annotations` are what `pods.project` must keep."""

    labels: Mapping[str, str]
    annotations: frozenset[str] = frozenset()


def watched_selector(world: GroupWorld) -> Watched | None:
    """Return which pods `plan` needs in `world.pods`, None if none; reads neither the pods nor the observation.

    That is not always what the spec says now: a refused edit leaves the selector that was last accepted.
    """
    raise NotImplementedError


def plan(world: GroupWorld, now: datetime) -> Plan:
    """Return what is to be written for the group; nothing for a world that is as it should be."""
    raise NotImplementedError
