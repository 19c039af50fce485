"""DestinationSet: the nodes of a group as balancers are told them. Knows nothing of pods; holds no password, ever."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from switchtender_api.constants import API_VERSION, DEFAULT_SIP_PORT
from switchtender_api.v1alpha1.base import Model, ObjectMeta
from switchtender_api.v1alpha1.endpoints import AdvertisedHost, EslUser, Transport
from switchtender_api.v1alpha1.group import GroupPolicy
from switchtender_api.v1alpha1.members import Resources, Tier, Weight
from switchtender_api.v1alpha1.units import Boolean, ObjectName, Port, SliceName, Time, Whole

MOST_MEMBERS = 200
"""Members in one slice."""

Lookup = Literal["Address", "Service", "Any"]
MemberState = Literal["Ready", "NotReady", "Draining"]


class MemberSip(Model):
    """How the member takes SIP, at its first address."""

    port: Port = Field(DEFAULT_SIP_PORT, description="Port.")
    transport: Transport = Field("UDP", description="Transport.")
    lookup: Lookup = Field(
        "Address",
        description="How a host given by name is found (RFC 3263): Address by its addresses, at this port; Service by "
        "SRV for this transport; Any by NAPTR and SRV, which say the transport too.",
    )


class MemberEsl(Model):
    """Where the member's Event Socket is."""

    host: AdvertisedHost = Field(description="Address or host name.")
    port: Port = Field(description="Port.")
    user: EslUser | None = Field(None, description="User for userauth, written user@domain; null for plain auth.")


class MemberDrain(Model):
    """Why and until when the member is drained, in absolute times."""

    since: Time = Field(description="Since when it takes no new calls.")
    deadline: Time = Field(description="When waiting for its calls ends.")
    reason: str = Field(description="Why, as one CamelCase word.", max_length=100)
    pause: Boolean = Field(default=False, description="Balancers pause inbound calls on the node itself.")
    paused_by_us: Boolean = Field(
        default=False, description="A balancer paused the node; only then it is ever resumed."
    )


class SetMember(Model):
    """One node."""

    uid: str = Field(
        description="Identity of the node over its life: pod UID, or namespace/group/name@endpoint.",
        min_length=1,
        max_length=512,
    )
    name: str = Field(description="Name of the node or pod.", min_length=1, max_length=253)
    node: str | None = Field(None, description="Kubernetes node that it runs on.", max_length=253)
    zone: str | None = Field(None, description="Zone that it runs in.", max_length=253)
    addresses: tuple[AdvertisedHost, ...] = Field(
        description="Addresses of the node; the first takes SIP.", min_length=1, max_length=16
    )
    sip: MemberSip = Field(MemberSip(), description="How it takes SIP.")
    esl: MemberEsl | None = Field(None, description="Its Event Socket; null: measured by our own counts.")
    state: MemberState = Field("Ready", description="Whether it may take new calls.")
    drain: MemberDrain | None = Field(None, description="Why and until when it is drained.")
    weight: Weight = Field(1, description="Multiplies its share.")
    priority: Tier = Field(0, description="Tier of the node; higher ones are used first.")
    backup: Boolean = Field(default=False, description="Used only when no other member of any tier takes calls.")
    resources: Resources = Field((), description="Resources of this node, over those of the group.")


class GroupReference(Model):
    """The BalancerGroup that a set was made from."""

    name: ObjectName = Field(description="Name of the group.")
    uid: str = Field(description="Identity of the group over its life.", min_length=1, max_length=128)
    generation: Annotated[int, Whole(0, 2**53)] = Field(0, description="Generation of the group's spec.")


class DestinationSetSpec(Model):
    """A slice of a group's nodes."""

    group: GroupReference = Field(description="The group that it was made from.")
    policy: GroupPolicy | None = Field(
        None, description="The accepted spec of the group without members; on the head slice only."
    )
    members: tuple[SetMember, ...] = Field((), description="Nodes of the slice, at most 200.", max_length=MOST_MEMBERS)


class SetMeta(ObjectMeta):
    """Metadata of a slice, whose name is the group's, or the group's with a dot and a number."""

    name: SliceName = Field(description="The group's name; of further slices with a dot and a number from 2 on.")


class DestinationSet(Model):
    """A slice of a group's nodes, written by the operator, watched by balancers."""

    api_version: Literal["switchtender.dev/v1alpha1"] = Field(API_VERSION, description="Version of this schema.")
    kind: Literal["DestinationSet"] = Field("DestinationSet", description="Kind of the document.")
    metadata: SetMeta = Field(description="Metadata; the head slice is named like the group.")
    spec: DestinationSetSpec = Field(description="Nodes and policy.")
