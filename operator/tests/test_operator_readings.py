"""What the metrics page says of a group's drains and scaling: what status and spec say, and nothing else."""

from __future__ import annotations

from typing import Any, cast

import pytest

from switchtender_api.objects import read_group
from switchtender_operator.domain.world import GroupObject
from switchtender_operator.reconcile.readings import Readings
from switchtender_operator.telemetry import metrics

AUTOSCALE = {"target": {"name": "freeswitch"}, "min": 2, "max": 20}
FIGURES = (
    metrics.DRAINING_NODES, metrics.DRAINING_SESSIONS, metrics.AUTOSCALE_REPLICAS, metrics.AUTOSCALE_DESIRED,
    metrics.AUTOSCALE_DRAINING, metrics.AUTOSCALE_MIN, metrics.AUTOSCALE_MAX,
)  # fmt: skip


class OneGroup:
    """A cluster with one group."""

    def __init__(self, spec: dict[str, Any], status: Any) -> None:
        raw = {
            "apiVersion": "switchtender.dev/v1alpha1",
            "kind": "BalancerGroup",
            "metadata": {"name": "ivr", "namespace": "voice"},
            "spec": {"members": {"selector": {"matchLabels": {"app": "freeswitch"}}}, **spec},
        }
        self._group = GroupObject(
            namespace="voice", name="ivr", uid="1", generation=1, read=read_group(raw), status=status
        )

    def group_keys(self) -> list[str]:
        return ["voice/ivr"]

    def group(self, key: str) -> GroupObject:
        assert key == "voice/ivr"
        return self._group


def told(spec: dict[str, Any], status: Any) -> list[float | None]:
    """The value of each of `FIGURES`; None where it has no series."""
    cluster = OneGroup(spec, status)
    nothing: dict[str, Any] = dict.fromkeys(
        ("turns", "observations", "reflectors", "events", "leading", "synced", "wakes", "kopf_restarts", "crds")
    )
    found = {family: list(samples) for family, samples in Readings(cluster=cast(Any, cluster), **nothing)._groups()}
    for family in FIGURES:
        assert [list(labels) for labels, _ in found[family]] in ([], [["voice", "ivr"]])
    return [found[family][0][1] if found[family] else None for family in FIGURES]


def test_drains_and_scaling_are_told_as_the_status_has_them() -> None:
    status = {
        "draining": 2,
        "drainingSessions": 31,
        "autoscale": {"replicas": 7, "desired": 5, "draining": 1, "lastScaleTime": "2026-01-01T00:00:00Z"},
    }
    assert told({"autoscale": AUTOSCALE}, status) == [2, 31, 7, 5, 1, 2, 20]


def test_a_group_that_nobody_scales_has_no_series_of_scaling() -> None:
    assert told({}, {"draining": 0, "drainingSessions": 0}) == [0, 0, None, None, None, None, None]


@pytest.mark.parametrize("status", [{}, {"draining": "2", "autoscale": None}, {"autoscale": [1]}])
def test_what_the_status_does_not_say_is_not_told(status: Any) -> None:
    assert told({"autoscale": AUTOSCALE}, status) == [None, None, None, None, None, 2, 20]


def test_a_spec_that_cannot_be_read_has_no_bounds() -> None:
    assert told({"autoscale": {**AUTOSCALE, "min": 30}}, {})[-2:] == [None, None]
