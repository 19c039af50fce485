"""How a call is placed: mode, algorithm, and when another node is tried. Knows no other part of a group."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.bounds import in_order, in_order_rule
from switchtender_api.v1alpha1.cel import cel, rules
from switchtender_api.v1alpha1.units import Boolean, Duration, HeaderName, Text, Unique, Whole

Mode = Literal["Stateful", "Stateless"]
Algorithm = Literal["LeastLoad", "Weighted", "RoundRobin", "Random", "Hash", "Packed", "First"]
HashSource = Literal["CallID", "From", "To", "RequestURI", "AuthUser", "SourceAddress", "Header"]
WeightsFrom = Literal["Reported", "Static"]

WITH_USER_PART: tuple[HashSource, ...] = ("From", "To", "RequestURI", "Header")
"""Hash sources that are, or may be, a URI."""

DEFAULT_HIGH_WATER = 80

ScorerName = Annotated[
    str,
    Text(
        r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$",
        "1 to 63 lower-case letters, digits, dots, dashes and underscores, a letter or digit at both ends",
        63,
    ),
]
RetryOn = Annotated[
    str,
    Text(
        r"^(OwnRefusal|Timeout|Transport|[3-6][0-9][0-9])$",
        'OwnRefusal, Timeout, Transport, or a final status code in quotes such as "410"',
    ),
]


class HashOn(Model):
    """What the Hash algorithm keys on."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "(has(self.type) && self.type == 'Header') == has(self.name)",
                "a name for Header, none otherwise",
                "name",
            ),
            cel(
                "!has(self.userOnly) || !self.userOnly"
                f" || has(self.type) && self.type in [{', '.join(repr(source) for source in WITH_USER_PART)}]",
                f"userOnly for {', '.join(WITH_USER_PART)} alone",
                "userOnly",
            ),
        )
    )

    type: HashSource = Field("CallID", description="Part of the request that is the key.")
    name: HeaderName | None = Field(None, description="Name of the header field; for Header only.")
    user_only: Boolean = Field(
        default=False, description="Only the user part of the URI; for From, To, RequestURI and Header."
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if (self.type == "Header") != (self.name is not None):
            raise Refusal(
                f"type {self.type} {'takes no' if self.name else 'needs a'} name",
                accepted="a name for Header, none otherwise",
                path=("name",),
            )
        if self.user_only and self.type not in WITH_USER_PART:
            raise Refusal(
                f"type {self.type} has no user part",
                accepted=f"userOnly for {', '.join(WITH_USER_PART)} alone",
                path=("userOnly",),
            )
        return self


class CoolDown(Model):
    """How long a node is left alone after it refused a call itself: a random time within the bounds."""

    model_config = ConfigDict(json_schema_extra=in_order_rule(("min", "1s"), ("max", "2s")))

    min: Annotated[timedelta, Duration("0s", "60s")] = Field(timedelta(seconds=1), description="Shortest time.")
    max: Annotated[timedelta, Duration("0s", "60s")] = Field(timedelta(seconds=2), description="Longest time.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        in_order(("min", self.min), ("max", self.max))
        return self


class Failover(Model):
    """When and how often a call that could not be placed is offered to another node."""

    attempts: Annotated[int, Whole(1, 16)] = Field(3, description="Nodes tried for one call, the first one included.")
    retry_on: Annotated[tuple[RetryOn, ...], Unique("entry")] = Field(
        ("OwnRefusal", "410", "Timeout", "Transport"),
        description="What leads to the next node: the node's own refusal, silence, a transport error, or a final "
        "status code in quotes.",
        max_length=32,
    )
    first_response_timeout: Annotated[timedelta, Duration("100ms", "32s")] = Field(
        timedelta(seconds=2), description="Silence after the INVITE that counts as Timeout."
    )
    progress_timeout: Annotated[timedelta, Duration("500ms", "10m")] = Field(
        timedelta(seconds=10), description="Time after the node's 100 without further response that counts as Timeout."
    )
    cool_down: CoolDown = Field(CoolDown(), description="Time without new calls for a node that refused one itself.")


def _only_with(algorithm: Algorithm, field: str) -> dict[str, object]:
    """Return the CEL for a field that one algorithm alone reads; what nobody reads is refused, not ignored."""
    rule = f"!has(self.{field}) || has(self.algorithm) && self.algorithm == '{algorithm}'"
    return cel(rule, f"{field} is for algorithm {algorithm} alone", field)


class Routing(Model):
    """How a call is placed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _only_with("Hash", "hashOn"), _only_with("Weighted", "weightsFrom"), _only_with("Packed", "highWater")
        )
    )

    mode: Mode = Field(
        "Stateful", description="Stateful counts calls and fails over; Stateless forwards as RFC 3261 section 16.11."
    )
    algorithm: Algorithm = Field("LeastLoad", description="How a node is chosen among those with room.")
    hash_on: HashOn | None = Field(None, description="What the Hash algorithm keys on: CallID where omitted.")
    weights_from: WeightsFrom | None = Field(
        None,
        description="Where Weighted takes its weights from: Reported (where omitted) from the load that nodes report, "
        "Static from the members' weight alone.",
    )
    high_water: Annotated[int, Whole(1, 100)] | None = Field(
        None,
        description="Utilization in percent up to which Packed fills a node before the next; "
        f"{DEFAULT_HIGH_WATER} where omitted.",
    )
    score: ScorerName | None = Field(
        None,
        description="Name of an installed scorer, which gives each node a factor from its report; null for none.",
    )
    failover: Failover = Field(Failover(), description="When a call is offered to another node.")
    timer_c: Annotated[timedelta, Duration("10s", "1h")] = Field(
        timedelta(seconds=181),
        description="Longest wait for the next response of a ringing call (RFC 3261 Timer C, which asks for more than "
        "3 minutes).",
    )

    @property
    def key(self) -> HashOn:
        """What Hash keys on, given or not."""
        return self.hash_on or HashOn()

    @model_validator(mode="after")
    def _only_what_the_algorithm_reads(self) -> Self:
        given: tuple[tuple[str, object, Algorithm], ...] = (
            ("hashOn", self.hash_on, "Hash"),
            ("weightsFrom", self.weights_from, "Weighted"),
            ("highWater", self.high_water, "Packed"),
        )
        refusals = [
            Refusal(
                f"algorithm {self.algorithm} does not read it",
                accepted=f"{field} is for algorithm {algorithm} alone",
                path=(field,),
            )
            for field, value, algorithm in given
            if value is not None and self.algorithm != algorithm
        ]
        if refusals:
            first, *others = refusals
            raise Refusal(first.message, accepted=first.accepted, path=first.path, others=tuple(others))
        return self
