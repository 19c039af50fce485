"""The members of a group as its author writes them, and the resources a node has. Knows no other part of a group."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.cel import cel, cel_text, rules
from switchtender_api.v1alpha1.endpoints import ESL_WITHOUT_PASSWORD, NODE_URI, EslLocation, NodeUri
from switchtender_api.v1alpha1.units import Boolean, NodeName, ResourceName, Text, Time, Unique, Whole

Weight = Annotated[int, Whole(1, 10_000)]
MOST_STATIC = 2000
"""Static members of one group."""

Tier = Annotated[int, Whole(0, 1000)]


class Resource(Model):
    """Something of which every node has a limited amount, such as conference seats."""

    model_config = ConfigDict(
        json_schema_extra=cel("has(self.source) != has(self.limit)", "exactly one of source, limit")
    )

    name: ResourceName = Field(description="Name of the resource, as match rules name it.")
    source: Literal["Reported"] | None = Field(
        None, description="Reported: the limit is the session limit that the node reports. Excludes limit."
    )
    limit: Annotated[int, Whole(0, 1_000_000)] | None = Field(
        None, description="How many calls may use it at once, per node. Excludes source."
    )

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.source is None) == (self.limit is None):
            raise Refusal("a resource has one measure", accepted="exactly one of source, limit")
        return self


Resources = Annotated[tuple[Resource, ...], Field(max_length=32), Unique("resource", by="name")]

_LABEL_NAME = r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)"
_LABEL_KEY = rf"^([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL_NAME}$"

LabelKey = Annotated[str, Text(_LABEL_KEY, "a label's name, such as app or example.com/app", 317)]
LabelValue = Annotated[
    str, Text(f"^{_LABEL_NAME}?$", "at most 63 letters, digits, dots, dashes and underscores", 63, 0)
]


class LabelSelector(Model):
    """Which pods belong to the group."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            f"self.matchLabels.all(name, name.matches({cel_text(_LABEL_KEY)}))",
            "a label's name, such as app or example.com/app",
            "matchLabels",
        )
    )

    match_labels: dict[LabelKey, LabelValue] = Field(
        description="Labels that a pod must all have.", min_length=1, max_length=32
    )


class StaticMember(Model):
    """A node outside the cluster, or any node where there is no cluster."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(f"self.sip.matches({cel_text(NODE_URI)})", "sip:host[:port][;transport=udp|tcp]", "sip"),
            cel(
                f"!has(self.load) || self.load.matches({cel_text(ESL_WITHOUT_PASSWORD)})",
                "fs://[user@]host[:port] in Kubernetes, special characters of the user as %XX; the password comes from "
                "a Secret only: spec.esl.passwordFrom.secretKeyRef",
                "load",
            ),
        )
    )

    name: NodeName = Field(description="Name of the node, unique within the group.")
    sip: NodeUri = Field(
        description="Where the node takes SIP: sip:host[:port][;transport=udp|tcp]. Port and transport default to the "
        "group's; of a name that has neither there, to what DNS says (RFC 3263)."
    )
    load: EslLocation | None = Field(
        None,
        description="The node's Event Socket, fs://[user]:password@host[:port], with %XX for special characters. In "
        "Kubernetes without a password. Omitted: measured by our own counts against its configured capacity.",
    )
    weight: Weight = Field(1, description="Multiplies the node's share.")
    priority: Tier = Field(0, description="Tier of the node; a lower one is used only when no higher one has room.")
    backup: Boolean = Field(default=False, description="Used only when no other member of any tier takes calls.")
    resources: Resources = Field((), description="Resources of this node, over those of the group.")
    drain: Time | None = Field(
        None, description="The node takes no new calls since this RFC 3339 time; omitted or null: it does."
    )


class Members(Model):
    """The nodes of a group: pods, static ones, or both."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            "has(self.selector) || (has(self.static) && self.static.size() > 0)",
            "a group without members serves nobody: selector, static, or both",
        )
    )

    selector: LabelSelector | None = Field(None, description="Pods in the group's namespace; only in Kubernetes.")
    static: Annotated[tuple[StaticMember, ...], Unique("member", by="name")] = Field(
        (), description="Nodes given one by one.", max_length=MOST_STATIC
    )

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.selector is None and not self.static:
            raise Refusal("a group without members serves nobody", accepted="selector, static, or both")
        return self
