"""The samples for HPA, prometheus-adapter and KEDA: each question in them, put to promtool, gives the nodes that a
group needs; and the rest of them says what docs/autoscaling.md says of it.

No schema of KEDA or prometheus-operator is at hand, so the fields of their objects are compared with those known here.
"""

import json

import pytest
import yaml
from tools.monitoring.recording import BUFFER
from tools.monitoring.rules import ROOT

from tests.views.declared import complaints
from tests.views.rules.promtool import Asked, Recorded, Recording, balancer, judge, node, of_group, states

SAMPLES = ROOT / "deploy" / "samples" / "autoscaling"
IVR = of_group("ivr")


def sample(name):
    return yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())


ADAPTER = yaml.safe_load(sample("prometheus-adapter")["data"]["config.yaml"])
EXTERNAL, OBJECT = sample("hpa"), sample("hpa-object")
KEDA, BUFFERS = sample("keda"), sample("buffer")


def load(of, sessions, capacity, state="ready"):
    """A node as two balancers export it."""
    return [
        series
        for which in "ab"
        for series in (
            balancer(which, "node_effective_sessions", f"{sessions}x20", **of),
            balancer(which, "node_capacity_sessions", f"{capacity}x20", **of),
            *states(which, of, (state, "1x20")),
        )
    ]


def rule(kind):
    (one,) = ADAPTER[kind]
    return one


def filled(kind, matchers, grouped):
    """The adapter's question for some objects or selector, as its template makes it."""
    series = rule(kind)["seriesQuery"].partition("{")[0]
    query = rule(kind)["metricsQuery"].replace("<<.Series>>", series)
    return query.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", grouped)


def external():
    """What an HPA on the external metric makes the adapter ask."""
    (metric,) = EXTERNAL["spec"]["metrics"]
    selected = metric["external"]["metric"]["selector"]["matchLabels"]
    matchers = {"namespace": EXTERNAL["metadata"]["namespace"], **selected}
    return filled("externalRules", ",".join(f'{name}="{text}"' for name, text in matchers.items()), "")


def of_object():
    """What an HPA on the metric of a group makes the adapter ask; the label is the one that stands for the kind."""
    (metric,) = OBJECT["spec"]["metrics"]
    described = metric["object"]["describedObject"]
    overrides = rule("rules")["resources"]["overrides"]
    kind = described["kind"].lower(), described["apiVersion"].partition("/")[0]
    (label,) = [name for name, known in overrides.items() if (known["resource"], known.get("group")) == kind]
    return filled("rules", f'namespace="{OBJECT["metadata"]["namespace"]}",{label}="{described["name"]}"', label)


def keda():
    (trigger,) = KEDA["spec"]["triggers"]
    return trigger["metadata"]["query"]


def answers(value):
    """Each recipe's answer: one sample, or none."""
    asked = ((external(), IVR), (of_object(), {"group": "ivr"}), (keda(), {}))
    return [Asked(query, [] if value is None else [(labels, value)]) for query, labels in asked]


BUSY = [
    *load(node("fs-0"), 90, 100),
    *load(node("fs-1"), 90, 100),
    *load(node("fs-2"), 70, 100, "draining"),
    *load(node("fs-0", "sales"), 10, 20),
]

CASES = [
    Recording("a fifth is kept free: 180 and 36 sessions over 100 a node", BUSY, "2m", answers(3)),
    Recording(
        "nobody hears any node: no answer, which is not zero",
        [*states("a", node("fs-0"), ("down", "1x20")), *load(node("fs-0", "sales"), 10, 20)],
        "2m",
        answers(None),
    ),
]


@pytest.mark.usefixtures("promtool")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_recipe_asks_for_the_nodes_that_are_needed(case, tmp_path):
    assert judge([case], tmp_path) == ""


@pytest.mark.usefixtures("promtool")
def test_the_sample_buffer_takes_the_place_of_the_fifth(tmp_path):
    rules = tmp_path / "buffers.yaml"
    rules.write_text(yaml.safe_dump(BUFFERS["spec"]))
    few = load(node("fs-0"), 75, 100)
    kept = Recorded("namespace_group:switchtender_buffer_sessions:max", [(IVR, 30)])
    assert judge([Recording("75 and 30 over 100", few, "2m", [kept, *answers(2)])], tmp_path, rules) == ""
    assert judge([Recording("75 and 15 over 100", few, "2m", answers(1))], tmp_path) == ""


def test_recipes_speak_of_what_is_recorded():
    for query in (external(), of_object(), keda(), rule("rules")["seriesQuery"], rule("externalRules")["seriesQuery"]):
        assert complaints(query, frozenset()) == []
    assert [each["record"] for group in BUFFERS["spec"]["groups"] for each in group["rules"]] == [BUFFER]


def test_the_metric_of_an_hpa_is_one_of_the_adapter():
    (first,), (second,) = EXTERNAL["spec"]["metrics"], OBJECT["spec"]["metrics"]
    assert first["external"]["metric"]["name"] == rule("externalRules")["name"]["as"]
    assert second["object"]["metric"]["name"] == rule("rules")["name"]["as"]


def test_what_is_wanted_is_what_is_set():
    """desired = ceil(metric / target), and the metric is in nodes."""
    (first,), (second,), (trigger,) = EXTERNAL["spec"]["metrics"], OBJECT["spec"]["metrics"], KEDA["spec"]["triggers"]
    assert first["external"]["target"] == second["object"]["target"] == {"type": "AverageValue", "averageValue": "1"}
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "1")


def test_recipes_are_the_same_but_for_the_metric():
    same = {name: part for name, part in EXTERNAL["spec"].items() if name != "metrics"}
    assert {name: part for name, part in OBJECT["spec"].items() if name != "metrics"} == same
    spec = KEDA["spec"]
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == same["behavior"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (same["minReplicas"], same["maxReplicas"])
    assert spec["scaleTargetRef"] == same["scaleTargetRef"]


def test_nodes_go_one_by_one_and_never_all():
    assert EXTERNAL["spec"]["minReplicas"] >= 2
    down = EXTERNAL["spec"]["behavior"]["scaleDown"]
    assert [(policy["type"], policy["value"]) for policy in down["policies"]] == [("Pods", 1)]
    assert down["stabilizationWindowSeconds"] >= 1800
    assert "idleReplicaCount" not in KEDA["spec"]


def test_keda_takes_no_value_for_an_error_that_takes_no_node_away():
    (trigger,) = KEDA["spec"]["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert KEDA["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_every_field_of_the_objects_without_a_schema_is_known():
    known = {
        "ScaledObject": {
            "scaleTargetRef", "pollingInterval", "minReplicaCount", "maxReplicaCount", "fallback", "advanced",
            "triggers",
        },
        "PrometheusRule": {"groups"},
    }  # fmt: skip
    for item in (KEDA, BUFFERS):
        assert set(item) == {"apiVersion", "kind", "metadata", "spec"}
        assert set(item["spec"]) <= known[item["kind"]]
    metadata = KEDA["spec"]["triggers"][0]["metadata"]
    assert set(metadata) == {"serverAddress", "query", "threshold", "ignoreNullValues"}
    assert all(isinstance(text, str) for text in metadata.values()), "KEDA takes texts alone: " + json.dumps(metadata)
    assert set(KEDA["spec"]["fallback"]) == {"failureThreshold", "replicas", "behavior"}


def test_targets_are_the_sample_nodes():
    nodes = yaml.safe_load((SAMPLES.parent / "freeswitch" / "deployment.yaml").read_text())
    for item in (EXTERNAL, OBJECT, KEDA):
        target = item["spec"]["scaleTargetRef"]
        assert target == {"apiVersion": nodes["apiVersion"], "kind": nodes["kind"], "name": nodes["metadata"]["name"]}
        assert item["metadata"]["namespace"] == nodes["metadata"]["namespace"]
