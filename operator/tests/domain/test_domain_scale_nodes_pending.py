"""Calls on their way to a node count as its sessions, as they do where the status says that a drain is done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from domain_worlds import NOW, raw_pod

from switchtender_api.constants import ANNOTATION_DRAIN, ANNOTATION_DRAINED_BY, DRAINED_BY_AUTOSCALE
from switchtender_api.v1alpha1.group import Drain
from switchtender_api.v1alpha1.units import format_time
from switchtender_operator.domain.autoscale.shrink import settled_empty
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


@pytest.mark.parametrize("taken_up", [True, False])
def test_a_node_that_some_balancer_still_sends_calls_to_is_not_to_go(taken_up: bool) -> None:
    raw = raw_pod("fs-0")
    began = format_time(NOW - timedelta(minutes=5))
    raw["metadata"]["annotations"] = {ANNOTATION_DRAIN: began, ANNOTATION_DRAINED_BY: DRAINED_BY_AUTOSCALE}
    pod = project(raw)
    assert pod is not None
    report = NodeReport(name="fs-0", state="draining", age=1.0, sessions=0, capacity=100.0, open=not taken_up)
    seen = Observation(at=NOW, balancers=BalancersSeen(total=2), nodes={pod.uid: report})
    (node,) = scale_nodes([pod], {}, seen, Drain(), NOW)
    assert settled_empty(node, NOW) is taken_up
