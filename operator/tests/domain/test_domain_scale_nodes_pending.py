"""Calls on their way to a node count as its sessions, as they do where the status says that a drain is done."""

from __future__ import annotations

import pytest
from domain_worlds import NOW, raw_pod

from switchtender_api.v1alpha1.group import Drain
from switchtender_operator.domain.pods import project
from switchtender_operator.domain.scale_nodes import scale_nodes
from switchtender_operator.domain.world import BalancersSeen, NodeReport, Observation


@pytest.mark.parametrize(("pending", "sessions"), [(0.0, 0), (0.4, 0), (0.6, 1), (2.0, 2)])
def test_a_node_that_a_call_is_on_its_way_to_is_not_empty(pending: float, sessions: int) -> None:
    pod = project(raw_pod("fs-0"))
    assert pod is not None
    report = NodeReport(name="fs-0", state="draining", age=1.0, sessions=0, capacity=100.0, pending=pending)
    seen = Observation(at=NOW, balancers=BalancersSeen(total=1), nodes={pod.uid: report})
    (node,) = scale_nodes([pod], {}, seen, Drain(), NOW)
    assert node.sessions == sessions
