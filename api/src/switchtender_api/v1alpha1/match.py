"""Which calls belong to a group. Knows no other part of a group, and not how a call is placed."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.cel import cel
from switchtender_api.v1alpha1.endpoints import RequestHost
from switchtender_api.v1alpha1.patterns import Pattern
from switchtender_api.v1alpha1.units import Boolean, HeaderName, Network, ObjectName, ResourceName, Text, Unique, Whole

MOST_RULES = 100
"""Rules of one group, and networks of one rule."""

UserPart = Annotated[str, Text(r"^[!-?A-~]+$", "printable ASCII without spaces and @", 128)]
Method = Annotated[
    str, Text(r"^[A-Z][A-Z0-9.!%*_+~-]{0,31}$", "a method in capitals, such as INVITE, REGISTER or MESSAGE", 32)
]
HeaderValue = Annotated[
    str,
    Text(
        r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$", "one line without spaces at its ends, not empty", 256
    ),
]


class UriMatch(Model):
    """What a URI must be: all given conditions hold."""

    model_config = ConfigDict(
        json_schema_extra=cel("has(self.user) || has(self.host) || has(self.userPattern)", "user, host or userPattern")
    )

    user: UserPart | None = Field(None, description="The user part, exactly.")
    host: RequestHost | None = Field(None, description="The host: an address or a name, in any case.")
    user_pattern: Pattern | None = Field(
        None,
        description="Regular expression that is found anywhere in the user part; anchor it with ^ and $ as needed.",
    )

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.user is None and self.host is None and self.user_pattern is None:
            raise Refusal("a condition without content", accepted="user, host or userPattern")
        return self


class HeaderMatch(Model):
    """What a header field must be: there, of this value, or with this pattern in it. The first of its name counts."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            "!has(self.value) || !has(self.pattern)",
            "value, pattern, or neither: then the field must be there",
            "pattern",
        )
    )

    name: HeaderName = Field(description="Name of the header field, in any case.")
    value: HeaderValue | None = Field(None, description="The value, exactly. Excludes pattern.")
    pattern: Pattern | None = Field(
        None, description="Regular expression that is found anywhere in the value. Excludes value."
    )

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if self.value is not None and self.pattern is not None:
            raise Refusal(
                "value excludes pattern",
                accepted="value, pattern, or neither: then the field must be there",
                path=("pattern",),
            )
        return self


class MatchRule(Model):
    """Calls that belong to the group: all given conditions hold."""

    request_uri: UriMatch | None = Field(None, description="Condition on the Request-URI.")
    to: UriMatch | None = Field(None, description="Condition on the URI in To.")
    from_: UriMatch | None = Field(None, alias="from", description="Condition on the URI in From.")
    methods: Annotated[tuple[Method, ...], Unique("method")] = Field(
        (), description="Methods of the request that begins it; empty for every one.", max_length=16
    )
    sources: tuple[Network, ...] = Field(
        (), description="Networks that the request comes from; empty for every one.", max_length=MOST_RULES
    )
    headers: tuple[HeaderMatch, ...] = Field((), description="Conditions on header fields.", max_length=8)
    listeners: Annotated[tuple[ObjectName, ...], Unique("listener")] = Field(
        (), description="Listeners of the balancer that the request comes in by; empty for every one.", max_length=16
    )
    resources: Annotated[tuple[ResourceName, ...], Unique("resource")] = Field(
        (),
        description="Resources that such a call uses, by name, one of each. Sessions are counted in any case.",
        max_length=32,
    )
    emergency: Boolean = Field(
        default=False, description="Such calls may use what capacity.emergencyReserve keeps for them."
    )


class Match(Model):
    """Which calls belong to the group."""

    priority: Annotated[int, Whole(0, 1_000_000)] = Field(
        0,
        description="The group with the highest priority is asked first; then the oldest, then by namespace and name.",
    )
    rules: tuple[MatchRule, ...] = Field(
        (), description="Any of them makes a call the group's; empty for every call.", max_length=MOST_RULES
    )
