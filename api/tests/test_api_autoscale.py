"""spec.autoscale: its defaults, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from switchtender_api.objects import dump_policy, read_group
from switchtender_api.problems import format_path
from switchtender_api.v1alpha1.autoscale import Autoscale
from switchtender_api.validation import findings_of

SMALLEST: dict[str, Any] = {"target": {"name": "freeswitch"}, "min": 2, "max": 5}


def _read(**changed: Any) -> Autoscale:
    return Autoscale.model_validate({**SMALLEST, **changed}, by_alias=True, by_name=False)


def test_the_smallest_one_scales_a_deployment_with_a_fifth_to_spare():
    autoscale = _read()
    assert (autoscale.target.api_version, autoscale.target.kind) == ("apps/v1", "Deployment")
    assert (autoscale.buffer.percent, autoscale.buffer.calls) == (20, None)
    assert autoscale.scale_out.stabilization_window == timedelta(0)
    assert autoscale.scale_in.stabilization_window == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"min": 6}, "min"),
        ({"min": 0}, "min"),
        ({"buffer": {}}, "buffer"),
        ({"buffer": {"calls": 3, "percent": 3}}, "buffer"),
        ({"target": {"name": "Freeswitch"}}, "target"),
        ({"target": {"name": "freeswitch", "apiVersion": "apps"}}, "target"),
        ({"target": {"name": "freeswitch", "kind": "deployments"}}, "target"),
        ({"scaleIn": {"maxStep": 0}}, "scaleIn"),
        ({"scaleOut": {"leadTime": "1d"}}, "scaleOut"),
    ],
)
def test_what_cannot_be_names_its_field(changed: dict[str, Any], field: str):
    with pytest.raises(ValidationError) as refused:
        _read(**changed)
    [finding] = findings_of(refused.value, Autoscale, {**SMALLEST, **changed}, {})
    assert field in format_path(finding.path)


def test_balancers_are_told_nothing_of_it():
    group = {
        "apiVersion": "switchtender.dev/v1alpha1",
        "kind": "BalancerGroup",
        "metadata": {"name": "ivr", "namespace": "voice"},
        "spec": {"members": {"selector": {"matchLabels": {"app": "freeswitch"}}}, "autoscale": SMALLEST},
    }
    read = read_group(group)
    assert read.group is not None
    assert read.group.spec.autoscale is not None
    assert dump_policy(read.group.spec) == {}
