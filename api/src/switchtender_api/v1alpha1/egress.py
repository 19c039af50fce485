"""Where calls from a group's nodes may leave to. Knows no listener and no other group but by name."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from switchtender_api.problems import Refusal
from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.cel import cel, cel_text, rules
from switchtender_api.v1alpha1.endpoints import NODE_URI, NodeUri
from switchtender_api.v1alpha1.members import Tier, Weight
from switchtender_api.v1alpha1.units import Network, ObjectName

_ONE_OF = "exactly one of nextHops, group, requestUri"


class NextHop(Model):
    """A host that takes calls from the nodes."""

    model_config = ConfigDict(
        json_schema_extra=cel(f"self.sip.matches({cel_text(NODE_URI)})", "sip:host[:port][;transport=udp|tcp]", "sip")
    )

    sip: NodeUri = Field(
        description="Where it takes SIP: sip:host[:port][;transport=udp|tcp]. A name is looked up as RFC 3263 says."
    )
    priority: Tier = Field(0, description="Tier; a lower one is used only when no higher one answers.")
    weight: Weight = Field(1, description="Its share among those of its tier.")


class EgressByUri(Model):
    """Calls leave to the host in their Request-URI."""

    networks: tuple[Network, ...] = Field(
        description="Networks that this host may be in; others get 403.", min_length=1, max_length=100
    )


class Egress(Model):
    """Where calls from the nodes may leave to: exactly one of nextHops, group, requestUri."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "[has(self.nextHops) && self.nextHops.size() > 0, has(self.group), has(self.requestUri)]"
                ".exists_one(given, given)",
                _ONE_OF,
            ),
            cel("!has(self.group) || !has(self.listener)", "a listener for nextHops and requestUri alone", "listener"),
        )
    )

    listener: ObjectName | None = Field(
        None, description="Listener by which they leave; the balancer's first where omitted. Excludes group."
    )
    next_hops: tuple[NextHop, ...] = Field((), description="Hosts that take the calls.", max_length=64)
    group: ObjectName | None = Field(None, description="Group in the same namespace whose nodes take the calls.")
    request_uri: EgressByUri | None = Field(None, description="The host in the Request-URI takes the call.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum((bool(self.next_hops), self.group is not None, self.request_uri is not None)) != 1:
            raise Refusal("one way out, no more and no less", accepted=_ONE_OF)
        if self.group is not None and self.listener is not None:
            raise Refusal(
                "calls to nodes leave by the node side",
                accepted="a listener for nextHops and requestUri alone",
                path=("listener",),
            )
        return self
