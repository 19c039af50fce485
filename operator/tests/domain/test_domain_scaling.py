"""What a status says of spec.autoscale."""

from dataclasses import replace
from typing import Any

import pytest
from domain_worlds import NOW, Cluster, raw_group, raw_pod, report

from switchtender_api.status import REASONS
from switchtender_operator.domain import events
from switchtender_operator.domain.plan import Plan, plan
from switchtender_operator.domain.world import Scaling, ScalingFigures

ASKED = {"autoscale": {"target": {"name": "fs"}, "min": 1, "max": 4, "buffer": {"calls": 1}}}
FIGURES = ScalingFigures(replicas=3, desired=2, draining=1)


def scaled(cluster: Cluster, scaling: Scaling | None) -> Plan:
    planned = plan(replace(cluster.world(), autoscale=scaling, status_written=None), cluster.now)
    cluster.take(planned)
    return planned


def condition(cluster: Cluster) -> dict[str, Any] | None:
    return next((one for one in cluster.status["conditions"] if one["type"] == "AutoscaleActive"), None)


def a_cluster(**spec: Any) -> Cluster:
    cluster = Cluster(group=raw_group(spec)).add(raw_pod("fs-0"))
    cluster.take(cluster.plan())
    cluster.observe({"fs-0": report("fs-0")})
    return cluster


def test_nobody_who_did_not_ask_hears_of_it():
    cluster = a_cluster()
    scaled(cluster, None)
    assert condition(cluster) is None
    assert "autoscale" not in cluster.status


@pytest.mark.parametrize("reason", REASONS["AutoscaleActive"])
def test_each_reason_has_a_status_and_bad_ones_an_event(reason: str):
    cluster = a_cluster(**ASKED)
    planned = scaled(cluster, Scaling(generation=1, reason=reason, message="so it is", figures=FIGURES, last_scale=NOW))
    said = condition(cluster)
    assert said is not None
    assert (said["status"] == "True") is (reason in {"Active", "Limited", "RolloutInProgress"})
    assert (said["reason"], said["message"]) == (reason, "so it is")
    assert cluster.status["autoscale"] == {
        "replicas": 3, "desired": 2, "draining": 1, "lastScaleTime": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    warned = {event.reason for event in planned.events if event.type == "Warning"}
    harmless = {"Active", "Limited", "RolloutInProgress", "NotAccepted", "ScaledToZero"}
    assert warned == (set() if reason in harmless else {reason})


def test_until_it_is_looked_at_again_what_was_said_stands():
    cluster = a_cluster(**ASKED)
    scaled(cluster, None)
    assert condition(cluster) is None
    scaled(cluster, Scaling(generation=1, reason="HPAPresent", figures=FIGURES, last_scale=NOW))
    before = cluster.status
    assert scaled(cluster, None).status is None
    scaled(cluster, Scaling(generation=1, reason="TargetNotFound"))
    assert cluster.status["autoscale"] == before["autoscale"], "what cannot be known is kept"
    cluster.edit({**ASKED, "drain": {"timeout": "1h"}})
    scaled(cluster, Scaling(generation=1, reason="Active", figures=FIGURES))
    assert condition(cluster) is None, "what was made of a former spec says nothing of this one"


def test_a_refused_spec_scales_nothing():
    cluster = a_cluster(**ASKED)
    scaled(cluster, Scaling(generation=1, reason="Active", figures=FIGURES))
    cluster.edit({**ASKED, "balancer": "another"})
    scaled(cluster, Scaling(generation=1, reason="Active", figures=FIGURES))
    said = condition(cluster)
    assert said is not None
    assert (said["status"], said["reason"]) == ("False", "NotAccepted")


def test_a_figure_that_moves_is_news():
    cluster = a_cluster(**ASKED)
    scaled(cluster, Scaling(generation=1, reason="Active", figures=FIGURES))
    assert scaled(cluster, Scaling(generation=1, reason="Active", figures=FIGURES)).status is None
    moved = scaled(cluster, Scaling(generation=1, reason="Active", figures=replace(FIGURES, desired=3)))
    assert moved.status is not None
    assert not moved.events


def test_the_events_of_scaling_are_in_the_table():
    rows = {(one.type, one.reason) for one in events.reasons() if one.about == "autoscale"}
    assert rows == {("Normal", events.SCALED_OUT), ("Normal", events.SCALED_IN)}
