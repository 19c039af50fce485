"""BalancerGroup: a set of nodes, which calls go to it and how. Knows neither the balancer nor where nodes come from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.constants import (
    API_VERSION,
    DEFAULT_BALANCER,
    DEFAULT_ESL_PORT,
    DEFAULT_NAMESPACE,
    DEFAULT_SIP_PORT,
)
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model, ObjectMeta
from switchtender_api.v1alpha1.cel import cel, cel_text, rules
from switchtender_api.v1alpha1.endpoints import EslUser, Transport
from switchtender_api.v1alpha1.members import Members, Resources
from switchtender_api.v1alpha1.passwords import PasswordFrom
from switchtender_api.v1alpha1.patterns import Pattern
from switchtender_api.v1alpha1.status import BalancerGroupStatus
from switchtender_api.v1alpha1.units import (
    DURATION_PATTERN,
    Auto,
    Boolean,
    Duration,
    Network,
    ObjectName,
    Port,
    ResourceName,
    Text,
    Unique,
    Whole,
)

Algorithm = Literal["LeastLoad", "Weighted", "RoundRobin", "Random", "Hash", "Packed", "First"]
HashSource = Literal["CallID", "From", "To", "RequestURI", "AuthUser", "SourceAddress", "Header"]
AddressSource = Literal["PodIP", "HostIP", "Annotation", "NetworkStatus"]

RetryOn = Annotated[
    str,
    Text(
        r"^(OwnRefusal|Timeout|Transport|[3-6][0-9][0-9])$",
        'OwnRefusal, Timeout, Transport, or a final status code in quotes such as "410"',
    ),
]


MOST_RULES = 100
"""Rules of one group, and networks of one rule."""


def _in_order_rule(low: str, high: str) -> dict[str, Any]:
    """Return the CEL of `_ordered`, with the defaults of the two fields; true while one of them is no duration."""
    pattern = cel_text(DURATION_PATTERN)
    readable = [f"!has(self.{name}) || self.{name} != '' && self.{name}.matches({pattern})" for name in ("min", "max")]
    least, most = f"has(self.min) ? self.min : '{low}'", f"has(self.max) ? self.max : '{high}'"
    rule = f"({readable[0]}) && ({readable[1]}) ? duration({least}) <= duration({most}) : true"
    return cel(rule, "min no greater than max", "min")


def _ordered(low: timedelta, high: timedelta) -> None:
    if low > high:
        raise Refusal("min is greater than max", accepted="min no greater than max")


class RequestUriMatch(Model):
    """Which Request-URIs a rule takes."""

    user_pattern: Pattern = Field(
        description="Regular expression that is found anywhere in the user part; anchor it with ^ and $ as needed."
    )


class MatchRule(Model):
    """Calls that belong to the group: all given conditions hold."""

    request_uri: RequestUriMatch | None = Field(None, description="Condition on the Request-URI.")
    sources: tuple[Network, ...] = Field(
        (), description="Networks that the request comes from; empty for every one.", max_length=MOST_RULES
    )
    resources: tuple[ResourceName, ...] = Field(
        (), description="Resources that such a call uses, by name.", max_length=32
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


class AddressFrom(Model):
    """Which of a pod's addresses takes SIP."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            "(has(self.type) && self.type in ['Annotation', 'NetworkStatus']) == has(self.name)",
            "a name for Annotation and NetworkStatus, none for PodIP and HostIP",
            "name",
        )
    )

    type: AddressSource = Field("PodIP", description="Where the address stands.")
    name: str | None = Field(
        None,
        description="Name of the annotation, or of the network; for Annotation and NetworkStatus.",
        min_length=1,
        max_length=317,
    )

    @model_validator(mode="after")
    def _name_where_needed(self) -> Self:
        if (self.type in ("Annotation", "NetworkStatus")) != (self.name is not None):
            raise Refusal(
                f"type {self.type} {'takes no' if self.name else 'needs a'} name",
                accepted="a name for Annotation and NetworkStatus, none for PodIP and HostIP",
                path=("name",),
            )
        return self


class Sip(Model):
    """How the group's nodes take SIP."""

    port: Port = Field(DEFAULT_SIP_PORT, description="Port, where a member names none.")
    transport: Transport = Field("UDP", description="Transport, where a member names none.")
    address_from: AddressFrom = Field(AddressFrom(), description="Which of a pod's addresses takes SIP.")
    ip_family: Literal["IPv4", "IPv6"] = Field("IPv4", description="Which family is used of a pod that has both.")


class Esl(Model):
    """How the group's Event Sockets are reached."""

    port: Port = Field(DEFAULT_ESL_PORT, description="Port, where a member names none.")
    user: EslUser | None = Field(
        None, description="User for userauth, written user@domain, where a member names none; null for plain auth."
    )
    password_from: PasswordFrom | None = Field(
        None, description="Where the password comes from, for members whose URL holds none."
    )


class HashOn(Model):
    """What the Hash algorithm keys on."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            "(has(self.type) && self.type == 'Header') == has(self.name)", "a name for Header, none otherwise", "name"
        )
    )

    type: HashSource = Field("CallID", description="Part of the request that is the key.")
    name: str | None = Field(None, description="Name of the header; for Header only.", min_length=1, max_length=100)

    @model_validator(mode="after")
    def _name_where_needed(self) -> Self:
        if (self.type == "Header") != (self.name is not None):
            raise Refusal(
                f"type {self.type} {'takes no' if self.name else 'needs a'} name",
                accepted="a name for Header, none otherwise",
                path=("name",),
            )
        return self


class CoolDown(Model):
    """How long a node is left alone after it refused a call itself: a random time within the bounds."""

    model_config = ConfigDict(json_schema_extra=_in_order_rule("1s", "2s"))

    min: Annotated[timedelta, Duration("0s", "60s")] = Field(timedelta(seconds=1), description="Shortest time.")
    max: Annotated[timedelta, Duration("0s", "60s")] = Field(timedelta(seconds=2), description="Longest time.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _ordered(self.min, self.max)
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


class Routing(Model):
    """How a call is placed."""

    mode: Literal["Stateful", "Stateless"] = Field(
        "Stateful", description="Stateful counts calls and fails over; Stateless forwards as RFC 3261 section 16.11."
    )
    algorithm: Algorithm = Field("LeastLoad", description="How a node is chosen among those with room.")
    hash_on: HashOn = Field(HashOn(), description="What the Hash algorithm keys on.")
    failover: Failover = Field(Failover(), description="When a call is offered to another node.")
    timer_c: Annotated[timedelta, Duration("10s", "1h")] = Field(
        timedelta(seconds=181),
        description="Longest wait for the next response of a ringing call (RFC 3261 Timer C, which asks for more than "
        "3 minutes).",
    )


class RetryAfter(Model):
    """What Retry-After of our own refusals says: a random time within the bounds."""

    model_config = ConfigDict(json_schema_extra=_in_order_rule("5s", "15s"))

    min: Annotated[timedelta, Duration("1s", "1h")] = Field(timedelta(seconds=5), description="Shortest time.")
    max: Annotated[timedelta, Duration("1s", "1h")] = Field(timedelta(seconds=15), description="Longest time.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _ordered(self.min, self.max)
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


class Capacity(Model):
    """What a node of the group can take."""

    resources: Resources = Field((), description="Resources of every node.")
    max_sessions: Annotated[int, Whole(1, 1_000_000)] | None = Field(
        None, description="Cap on a node's sessions, below what it reports; null for none."
    )
    headroom: Annotated[int | Auto, Whole(0, 1_000_000, auto=True)] = Field(
        "Auto", description="Sessions kept free on every node; Auto learns it."
    )
    legs_per_call: Annotated[int, Whole(1, 16)] = Field(
        2,
        description="Sessions that a call takes on a node: 1 for announcements and voice agents, 2 where bridged.",
    )
    over_limit: OverLimit = Field(OverLimit(), description="What happens to a call for which no node has room.")


class OptionsProbe(Model):
    """Probing of nodes by OPTIONS."""

    interval: Annotated[timedelta, Duration("1s", "10m")] = Field(
        timedelta(seconds=10), description="Time between two probes of a node."
    )
    failures: Annotated[int, Whole(1, 100)] = Field(3, description="Failed probes in a row that take a node out.")
    successes: Annotated[int, Whole(1, 100)] = Field(2, description="Answered probes in a row that bring it back.")


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
    options: OptionsProbe = Field(OptionsProbe(), description="Probing of nodes by OPTIONS.")


class Drain(Model):
    """How a node is drained."""

    timeout: Annotated[timedelta, Duration("0s", "168h")] = Field(
        timedelta(hours=2), description="Longest wait for its calls to end."
    )
    on_timeout: Literal["Hold", "Release"] = Field(
        "Hold", description="After that: Hold goes on waiting, Release gives the node free with its calls."
    )
    pause_node: Boolean = Field(default=False, description="Also pause inbound calls on the node itself.")


class GroupPolicy(Model):
    """All of a group but its members."""

    balancer: ObjectName = Field(DEFAULT_BALANCER, description="BalancerConfig that serves the group; immutable.")
    match: Match = Field(Match(), description="Which calls belong to the group.")
    sip: Sip = Field(Sip(), description="How its nodes take SIP.")
    esl: Esl = Field(Esl(), description="How its Event Sockets are reached.")
    routing: Routing = Field(Routing(), description="How a call is placed.")
    capacity: Capacity = Field(Capacity(), description="What a node can take.")
    health: Health = Field(Health(), description="How it is known that a node is well.")
    drain: Drain = Field(Drain(), description="How a node is drained.")


class BalancerGroupSpec(GroupPolicy):
    """A set of nodes, which calls go to it and how."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.balancer == oldSelf.balancer",
                "immutable: which balancer serves a group is said when the group is made",
                "balancer",
            ),
            cel(
                "!has(self.members.static) || has(self.esl) && has(self.esl.passwordFrom)"
                " || !self.members.static.exists(member, has(member.load))",
                "the Event Sockets of static members need a password: spec.esl.passwordFrom.secretKeyRef",
                "esl",
            ),
            cel(
                "!has(self.match) || !has(self.match.rules) || self.match.rules.all(rule, !has(rule.resources)"
                " || rule.resources.all(name, has(self.capacity) && has(self.capacity.resources)"
                " && self.capacity.resources.exists(resource, resource.name == name)))",
                "a rule names a resource that is not in capacity.resources",
                "match",
            ),
        )
    )

    members: Members = Field(description="The nodes of the group.")


class BalancerGroup(Model):
    """A set of nodes, which calls go to it and how."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                f"self.metadata.name.matches({cel_text('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')})",
                "the name of a group is 1 to 63 lower-case letters, digits and dashes, a letter or digit at both ends",
                "",
            ),
            cel(
                "self.spec.?capacity.?overLimit.?group.orValue('') != self.metadata.name",
                "a group cannot spill into itself: spec.capacity.overLimit.group",
                "",
            ),
        )
    )

    api_version: Literal["switchtender.dev/v1alpha1"] = Field(API_VERSION, description="Version of this schema.")
    kind: Literal["BalancerGroup"] = Field("BalancerGroup", description="Kind of the document.")
    metadata: ObjectMeta = Field(description="Metadata.")
    spec: BalancerGroupSpec = Field(description="What is wanted.")
    status: BalancerGroupStatus | None = Field(None, description="What is; written by the operator, ignored in a file.")

    @property
    def namespace(self) -> str:
        """The namespace, `default` where none stands."""
        return self.metadata.namespace or DEFAULT_NAMESPACE

    @property
    def name(self) -> str:
        """The name within the namespace."""
        return self.metadata.name

    @property
    def key(self) -> str:
        """`namespace/name`, unique among groups."""
        return f"{self.namespace}/{self.name}"


def precedence(group: BalancerGroup) -> tuple[int, datetime, str, str]:
    """Return the sort key by which groups are asked for a call: priority, then the oldest, then namespace and name.

    A group in a file has no age and comes after those that have.
    """
    age = group.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC)
    return -group.spec.match.priority, age, group.namespace, group.name
