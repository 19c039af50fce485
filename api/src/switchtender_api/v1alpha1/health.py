"""How it is known that a node is well. Knows neither who asks nodes nor how."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.bounds import in_order, in_order_rule
from switchtender_api.v1alpha1.endpoints import ProbeFrom
from switchtender_api.v1alpha1.units import Auto, Duration, Text, Unique, Whole

ProbeCode = Annotated[
    str, Text(r"^([2-6][0-9][0-9]|[2-6]xx)$", 'a final status code in quotes such as "200", or a class such as 4xx', 3)
]


class OptionsProbe(Model):
    """Probing of nodes by OPTIONS."""

    interval: Annotated[timedelta, Duration("1s", "10m", zero=True)] = Field(
        timedelta(seconds=10), description="Time between two probes of a node; 0s, like options: null, for no probing."
    )
    timeout: Annotated[timedelta, Duration("100ms", "32s")] = Field(
        timedelta(seconds=2), description="Silence after a probe that fails it."
    )
    failures: Annotated[int, Whole(1, 100)] = Field(3, description="Failed probes in a row that take a node out.")
    successes: Annotated[int, Whole(1, 100)] = Field(2, description="Answered probes in a row that bring it back.")
    codes: Annotated[tuple[ProbeCode, ...], Unique("code")] = Field(
        (),
        description='Final status codes that count as an answer, such as "200" or "4xx"; empty for every one.',
        max_length=32,
    )
    from_: ProbeFrom | None = Field(
        None, alias="from", description="URI in From of a probe; null for the balancer's own address."
    )


class Ejection(Model):
    """When a node that fails calls is left alone for a while, whatever it reports."""

    model_config = ConfigDict(json_schema_extra=in_order_rule(("duration", "30s"), ("maxDuration", "5m")))

    failures: Annotated[int, Whole(0, 100)] = Field(
        5, description="Failed or unanswered calls in a row that eject a node; 0 for never."
    )
    duration: Annotated[timedelta, Duration("1s", "1h")] = Field(
        timedelta(seconds=30), description="Time without new calls, doubled each time in a row."
    )
    max_duration: Annotated[timedelta, Duration("1s", "24h")] = Field(
        timedelta(minutes=5), description="Longest such time."
    )
    max_percent: Annotated[int, Whole(0, 100)] = Field(
        50, description="Percentage of the group's nodes that may be ejected at once; the last one never is."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        in_order(("duration", self.duration), ("maxDuration", self.max_duration))
        return self


class _NullForNone:
    """Marker: null says that nodes are not probed, as an interval of 0s does.

    It becomes that at once: a null in an object may be lost on its way (`kubectl apply` drops one from an update, and
    so do our dumps), and what is not given is the default.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._without_null, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "null"}]}

    def _without_null(self, value: Any) -> Any:
        return OptionsProbe(interval=timedelta(0)) if value is None else value


class Health(Model):
    """How it is known that a node is well."""

    poll_interval: Annotated[timedelta, Duration("200ms", "60s")] = Field(
        timedelta(seconds=1), description="Time between two questions on the Event Socket."
    )
    stale_after: Annotated[timedelta | Auto, Duration("1s", "10m", auto=True)] = Field(
        "Auto", description="Age at which a report is stale; Auto: three times the interval learned, at least 3s."
    )
    when_stale: Literal["Auto", "Exclude", "LastValue", "StaticWeight"] = Field(
        "Auto",
        description="What a stale node gets: Exclude no new calls, LastValue by its last report, StaticWeight by its "
        "weight alone; Auto excludes it while half the group is fresh, else uses the last value for 60s, then the "
        "weight.",
    )
    panic_threshold: Annotated[int, Whole(0, 100)] = Field(
        50, description="Percentage of reachable nodes below which evidence of unreachability is ignored; 0 for never."
    )
    options: Annotated[OptionsProbe, _NullForNone()] = Field(
        OptionsProbe(), description="Probing of nodes by OPTIONS; null for none."
    )
    ejection: Ejection = Field(Ejection(), description="When a node that fails calls is left alone.")
    slow_start: Annotated[timedelta, Duration("0s", "1h")] = Field(
        timedelta(seconds=30), description="Time in which a node that came or came back rises to its full share."
    )

    @property
    def probe(self) -> OptionsProbe | None:
        """How nodes are probed, None where they are not."""
        return self.options if self.options.interval else None
