"""What a node of a group can take, and what becomes of calls for which no node has room. Knows no algorithm."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.bounds import in_order, in_order_rule
from switchtender_api.v1alpha1.cel import cel
from switchtender_api.v1alpha1.members import Resources
from switchtender_api.v1alpha1.units import Auto, Duration, ObjectName, Whole


class RetryAfter(Model):
    """What Retry-After of our own refusals says: a random time within the bounds."""

    model_config = ConfigDict(json_schema_extra=in_order_rule(("min", "5s"), ("max", "15s")))

    min: Annotated[timedelta, Duration("1s", "1h")] = Field(timedelta(seconds=5), description="Shortest time.")
    max: Annotated[timedelta, Duration("1s", "1h")] = Field(timedelta(seconds=15), description="Longest time.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        in_order(("min", self.min), ("max", self.max))
        return self


class OverLimit(Model):
    """What happens to a call for which no node has room."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            "(has(self.action) && self.action == 'Spill') == has(self.group)",
            "a group for Spill, none otherwise",
            "group",
        )
    )

    action: Literal["Reject", "Allow", "Spill"] = Field(
        "Reject",
        description="Reject answers it; Allow exceeds configured limits, never what a node reports; Spill gives it to "
        "another group.",
    )
    status: Annotated[int, Whole(400, 699)] = Field(503, description="Status code of the refusal.")
    retry_after: RetryAfter = Field(RetryAfter(), description="Bounds of its Retry-After.")
    group: ObjectName | None = Field(
        None, description="Group in the same namespace that takes the calls; for Spill only."
    )

    @model_validator(mode="after")
    def _group_for_spill(self) -> Self:
        if (self.action == "Spill") != (self.group is not None):
            raise Refusal(
                f"action {self.action} {'takes no' if self.group else 'needs a'} group",
                accepted="a group for Spill, none otherwise",
                path=("group",),
            )
        return self


class Queue(Model):
    """How long a call is held when every node has room and only rates are used up."""

    max_wait: Annotated[timedelta, Duration("0s", "10s")] = Field(
        timedelta(milliseconds=500), description="Longest wait for the next second; 0s for none."
    )


class Capacity(Model):
    """What a node of the group can take."""

    resources: Resources = Field((), description="Resources of every node.")
    max_sessions: Annotated[int, Whole(1, 1_000_000)] | None = Field(
        None, description="Cap on a node's sessions, below what it reports; null for none."
    )
    headroom: Annotated[int | Auto, Whole(0, 1_000_000, auto=True)] = Field(
        "Auto", description="Sessions kept free on every node; Auto learns it."
    )
    emergency_reserve: Annotated[int, Whole(0, 1_000_000)] = Field(
        0,
        description="Sessions per node kept free for calls of a rule marked emergency, which may exceed maxSessions by "
        "as many, but never what the node reports.",
    )
    legs_per_call: Annotated[int, Whole(1, 16)] = Field(
        2,
        description="Sessions that a call takes on a node: 1 for announcements and voice agents, 2 where bridged.",
    )
    queue: Queue = Field(Queue(), description="How long a call is held when only rates are used up.")
    call_expiry: Annotated[timedelta, Duration("1m", "168h")] = Field(
        timedelta(hours=4), description="Age at which a call whose end was never seen gives its resources back."
    )
    over_limit: OverLimit = Field(OverLimit(), description="What happens to a call for which no node has room.")
