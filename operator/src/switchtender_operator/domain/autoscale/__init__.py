"""Planning the number of nodes of a group: pure, from the world and what the leader remembers. Knows no I/O."""

from switchtender_operator.domain.autoscale.decide import decide
from switchtender_operator.domain.autoscale.history import ScaleHistory
from switchtender_operator.domain.autoscale.world import (
    LOWEST_COST,
    ScaleDecision,
    ScaleNode,
    ScaleTargetSeen,
    ScaleWorld,
)

__all__ = ["LOWEST_COST", "ScaleDecision", "ScaleHistory", "ScaleNode", "ScaleTargetSeen", "ScaleWorld", "decide"]
