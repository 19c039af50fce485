"""BalancerGroup's status: what the operator writes back. Knows nothing of how it is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from switchtender_api.v1alpha1.base import Model
from switchtender_api.v1alpha1.units import Boolean, Text, Time, Unique, Whole

Count = Annotated[int, Whole(0, 2**53)]
Word = Annotated[str, Text(r"^[A-Z][A-Za-z0-9]{0,99}$", "one CamelCase word", 100)]
"""Open on purpose: a newer operator knows more conditions and reasons; those of this version are in `status`."""


class Condition(Model):
    """One aspect of the group's state, as metav1.Condition."""

    type: Word = Field(description="Which aspect, as one CamelCase word.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Word = Field(description="Why, as one CamelCase word.")
    message: str = Field("", max_length=32_768, description="Why, for a person.")
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: Count | None = Field(None, description="Generation of the spec that this is about.")


class NodeDrain(Model):
    """How far the drain of a node is."""

    since: Time = Field(description="Since when it takes no new calls.")
    deadline: Time | None = Field(None, description="When waiting for its calls ends.")
    drained: Boolean = Field(default=False, description="Nothing is left: a fresh report said no sessions.")
    expired: Boolean = Field(default=False, description="The deadline has passed before that.")


class NodeSummary(Model):
    """One node in short."""

    name: str = Field(description="Name of the node or pod.", max_length=253)
    state: str = Field(description="State of the node: unknown, ready, full, draining, stale or down.", max_length=63)
    reason: str = Field("", description="Why, as one CamelCase word.", max_length=100)
    sessions: Count | None = Field(None, description="Sessions as the node last reported.")
    capacity: Count | None = Field(None, description="Sessions that the node can take.")
    drain: NodeDrain | None = Field(
        None, description="While it drains: since and until when; `sessions` are what remains."
    )


class AutoscaleStatus(Model):
    """What the operator makes of spec.autoscale; the condition AutoscaleActive says whether it acts."""

    replicas: Count = Field(0, description="Replicas that the target is told to have, draining ones among them.")
    desired: Count = Field(0, description="Nodes that the calls need, between min and max.")
    draining: Count = Field(0, description="Nodes that drain so that the target can shrink.")
    last_scale_time: Time | None = Field(None, description="When the number of replicas was last changed by us.")


class BalancerGroupStatus(Model):
    """What is."""

    observed_generation: Count | None = Field(None, description="Generation of the spec that this is about.")
    conditions: Annotated[tuple[Condition, ...], Unique("condition", by="type")] = Field(
        (), description="Aspects of the group's state.", max_length=32
    )
    nodes: Count = Field(0, description="Nodes in the group.")
    ready: Count = Field(0, description="Nodes that take new calls.")
    draining: Count = Field(0, description="Nodes that are draining.")
    sessions: Count = Field(0, description="Sessions on nodes that take new calls.")
    capacity: Count = Field(0, description="Sessions that those nodes can take.")
    utilization: Count = Field(0, description="Sessions over capacity, in percent.")
    draining_sessions: Count = Field(0, description="Sessions that remain on nodes that drain.")
    autoscale: AutoscaleStatus | None = Field(None, description="Figures of spec.autoscale, where it is given.")
    node_summaries: tuple[NodeSummary, ...] = Field((), description="The nodes in short, at most 50.", max_length=50)
    truncated: Boolean = Field(default=False, description="There are more nodes than summaries.")
