"""What is read of targets: roll-outs, selectors, rivals."""

from __future__ import annotations

from typing import Any

import pytest

from switchtender_api.v1alpha1.autoscale import ScaleTarget
from switchtender_kube import Resource
from switchtender_operator.config.settings import SHORT_TARGETS, ScalableKind, SettingsError, scalable_kinds
from switchtender_operator.reconcile.targets import UnfitError, read_target, rival, rolling

DEPLOYMENT = SHORT_TARGETS["Deployment"]


def whole(status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"generation": 4}, "spec": spec, "status": status}


ROLLING_SETS = {"currentRevision": "a", "updateRevision": "b", "replicas": 4}


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("Deployment", whole({"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3}), False),
        ("Deployment", whole({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 3}), True),
        ("Deployment", whole({"observedGeneration": 4, "replicas": 4, "updatedReplicas": 1}), True),
        ("Deployment", whole({"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2}, replicas=5), False),
        ("StatefulSet", whole({"currentRevision": "a", "updateRevision": "a", "replicas": 3}), False),
        ("StatefulSet", whole({**ROLLING_SETS, "updatedReplicas": 4}), True),
        ("StatefulSet", whole(ROLLING_SETS, updateStrategy={"type": "OnDelete"}), False),
        ("StatefulSet", whole(ROLLING_SETS, updateStrategy={"rollingUpdate": {"partition": 3}}), True),
        (
            "StatefulSet",
            whole({**ROLLING_SETS, "updatedReplicas": 1}, updateStrategy={"rollingUpdate": {"partition": 3}}),
            False,
        ),
        ("Rollout", whole({"replicas": 3}, replicas=3), False),
        ("Rollout", whole({"replicas": 2}, replicas=3), True),
        ("Rollout", whole({"replicas": 5, "updatedReplicas": 1}, replicas=5), True),
        ("Rollout", whole({"observedGeneration": "4", "replicas": 3, "updatedReplicas": 3}, replicas=3), False),
        ("Rollout", whole({"observedGeneration": "3", "replicas": 3, "updatedReplicas": 3}, replicas=3), True),
        ("Rollout", whole({"observedGeneration": "6b8f9", "replicas": 3, "updatedReplicas": 3}, replicas=3), False),
        ("Deployment", whole({}), False),
    ],
)
def test_roll_outs(kind: str, raw: dict[str, Any], expected: bool) -> None:
    assert rolling(kind, raw) is expected


def test_a_target_is_its_scale_and_the_labels_of_its_pods() -> None:
    raw = whole({}, template={"metadata": {"labels": {"app": "fs"}}})
    scale = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"replicas": 3},
        "status": {"replicas": 2, "selector": "app=fs"},
    }
    target = read_target(DEPLOYMENT, Resource("apps", "v1", "deployments"), raw, scale)
    assert (target.seen.replicas, target.seen.status_replicas, target.seen.resource_version) == (3, 2, "7")
    assert (target.seen.ordinal, target.template) == (False, {"app": "fs"})
    assert target.matches({"app": "fs", "x": "y"})
    assert not target.matches({"app": "other"})
    stateful = read_target(SHORT_TARGETS["StatefulSet"], Resource("apps", "v1", "statefulsets"), whole({}), scale)
    assert (stateful.seen.ordinal, stateful.template) == (True, None)
    kruise = ScalableKind("apps.kruise.io", "v1beta1", "statefulsets", "StatefulSet")
    advanced = read_target(kruise, Resource("apps.kruise.io", "v1beta1", "statefulsets"), whole({}), scale)
    assert advanced.seen.ordinal, "it goes by ordinals as well"


@pytest.mark.parametrize("selector", [None, "", "app in fs"])
def test_a_scale_that_names_no_pods_is_not_acted_on(selector: str | None) -> None:
    scale = {"metadata": {}, "spec": {"replicas": 3}, "status": {"selector": selector}}
    with pytest.raises(UnfitError) as refused:
        read_target(DEPLOYMENT, Resource("apps", "v1", "deployments"), whole({}), scale)
    assert refused.value.reason == "TargetMismatch"


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "fs"}, True),
        ({"apiVersion": "apps/v1beta2", "kind": "Deployment", "name": "fs"}, True),
        ({"kind": "Deployment", "name": "fs"}, True),
        ({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "fs"}, False),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "fs"}, False),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "fs2"}, False),
    ],
)
def test_rivals(reference: dict[str, str], found: bool) -> None:
    each = {"metadata": {"name": "by-cpu"}, "spec": {"scaleTargetRef": reference}}
    assert rival([{}, each], ScaleTarget(name="fs")) == ("by-cpu" if found else None)


def test_kinds_are_named_short_or_in_full() -> None:
    assert scalable_kinds("") == ()
    assert scalable_kinds("Deployment, argoproj.io/v1alpha1/rollouts:Rollout,Deployment") == (
        DEPLOYMENT,
        ScalableKind("argoproj.io", "v1alpha1", "rollouts", "Rollout"),
    )
    for wrong in ("ReplicaSet", "apps/v1:Deployment", "v1/replicationcontrollers:ReplicationController", "a/v1/b"):
        with pytest.raises(SettingsError, match="--autoscale-targets"):
            scalable_kinds(wrong)
