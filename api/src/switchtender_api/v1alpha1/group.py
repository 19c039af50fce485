"""BalancerGroup: a set of nodes, which calls go to it and how. Knows neither the balancer nor where nodes come from.

Its larger parts have modules of their own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.constants import (
    API_VERSION,
    DEFAULT_BALANCER,
    DEFAULT_ESL_PORT,
    DEFAULT_NAMESPACE,
    DEFAULT_SIP_PORT,
)
from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1 import stateless
from switchtender_api.v1alpha1.autoscale import Autoscale
from switchtender_api.v1alpha1.base import Model, ObjectMeta
from switchtender_api.v1alpha1.capacity import Capacity
from switchtender_api.v1alpha1.cel import cel, cel_text, rules
from switchtender_api.v1alpha1.egress import Egress
from switchtender_api.v1alpha1.endpoints import EslUser, Transport
from switchtender_api.v1alpha1.health import Health
from switchtender_api.v1alpha1.match import Match
from switchtender_api.v1alpha1.members import Members
from switchtender_api.v1alpha1.passwords import PasswordFrom
from switchtender_api.v1alpha1.routing import Routing
from switchtender_api.v1alpha1.status import BalancerGroupStatus
from switchtender_api.v1alpha1.units import Boolean, Duration, ObjectName, Port

AddressSource = Literal["PodIP", "HostIP", "Annotation", "NetworkStatus"]


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
    large_requests: Transport = Field(
        "UDP", description="Transport towards nodes for requests over 1300 bytes (RFC 3261 section 18.1.1)."
    )


class Esl(Model):
    """How the group's Event Sockets are reached."""

    port: Port = Field(DEFAULT_ESL_PORT, description="Port, where a member names none.")
    user: EslUser | None = Field(
        None, description="User for userauth, written user@domain, where a member names none; null for plain auth."
    )
    password_from: PasswordFrom | None = Field(
        None, description="Where the password comes from, for members whose URL holds none."
    )


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
    egress: Egress | None = Field(
        None, description="Where calls from the nodes may leave to; null for nowhere: they get 403."
    )


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
            cel(
                "!has(self.autoscale) || has(self.members.selector)",
                "scaling is of the pods that members.selector selects",
                "autoscale",
            ),
            stateless.RULES,
        )
    )

    members: Members = Field(description="The nodes of the group.")
    autoscale: Autoscale | None = Field(
        None, description="The operator keeps the number of pods at what the calls need; null for never."
    )


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
            cel(
                "self.spec.?egress.?group.orValue('') != self.metadata.name",
                "calls cannot leave to the nodes that they come from: spec.egress.group",
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
