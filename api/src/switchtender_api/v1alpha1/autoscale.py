"""How many nodes a group is to have: what the operator scales, between which bounds, how soon. Knows no arithmetic."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.cel import cel, rules
from switchtender_api.v1alpha1.units import Duration, Text, Whole

ApiVersionName = Annotated[
    str,
    Text(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?v[a-z0-9]{1,62}$", "an API version such as apps/v1", 317),
]
KindName = Annotated[str, Text(r"^[A-Z][A-Za-z0-9]{0,62}$", "a kind such as Deployment", 63)]
TargetName = Annotated[
    str,
    Text(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$", "the name of an object, in lower case", 253),
]
_EITHER = "either calls or percent"


class ScaleTarget(Model):
    """What makes the group's pods: anything with a scale subresource that the operator was given rights to."""

    api_version: ApiVersionName = Field("apps/v1", description="API version of the target.")
    kind: KindName = Field(
        "Deployment",
        description="Kind of the target: Deployment, StatefulSet, or one of the chart's operator.autoscale.targets.",
    )
    name: TargetName = Field(description="Name of the target, in the group's namespace.")


class Buffer(Model):
    """Room kept free for calls that come before a new node is ready."""

    model_config = ConfigDict(
        json_schema_extra=cel("has(self.calls) != has(self.percent)", f"needs {_EITHER}", "calls")
    )

    calls: Annotated[int, Whole(0, 1_000_000)] | None = Field(None, description="So many calls; or give percent.")
    percent: Annotated[int, Whole(0, 1_000)] | None = Field(
        None, description="So much of the sessions that there are; or give calls."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.calls is None) == (self.percent is None):
            raise Refusal(f"needs {_EITHER}", accepted=_EITHER, path=("calls",))
        return self


class ScaleOut(Model):
    """How nodes are added."""

    stabilization_window: Annotated[timedelta, Duration("0s", "1h")] = Field(
        timedelta(0), description="The least that was wanted within this time counts; 0s adds nodes at once."
    )
    max_step: Annotated[int, Whole(1, 1_000)] = Field(10, description="Most nodes added at a time.")
    lead_time: Annotated[timedelta, Duration("0s", "30m")] = Field(
        timedelta(seconds=60),
        description="How long a new node takes to be ready: a rise of sessions is extrapolated over it; 0s for never.",
    )


class ScaleIn(Model):
    """How nodes are taken away: always by draining them first."""

    stabilization_window: Annotated[timedelta, Duration("0s", "24h")] = Field(
        timedelta(minutes=10), description="The most that was wanted within this time counts."
    )
    max_step: Annotated[int, Whole(1, 1_000)] = Field(
        2, description="Most nodes that begin to drain within one stabilizationWindow."
    )


class Autoscale(Model):
    """The operator keeps the number of nodes at what the calls need."""

    model_config = ConfigDict(
        json_schema_extra=rules(cel("self.min <= self.max", "min must not be above max", "min")),
    )

    target: ScaleTarget = Field(description="What makes the group's pods.")
    min: Annotated[int, Whole(1, 10_000)] = Field(description="Fewest nodes.")
    max: Annotated[int, Whole(1, 10_000)] = Field(description="Most nodes, those that drain not counted.")
    buffer: Buffer = Field(Buffer(percent=20), description="Room kept free for calls to come.")
    scale_out: ScaleOut = Field(ScaleOut(), description="How nodes are added.")
    scale_in: ScaleIn = Field(ScaleIn(), description="How nodes are taken away.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise Refusal("min must not be above max", accepted="min up to max", path=("min",))
        return self
