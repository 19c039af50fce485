"""What the chart gives Prometheus: what to scrape and how, the rules whole, thresholds and pages of one's own."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from tools.monitoring.rules import ALERTS, DEPLOY

from tests.e2e.chart.rendering import HelmError

RULES = {"monitoring.prometheusRule.enabled": True}
NAME = "st-switchtender"


def _groups(helm, **values):
    rendered = helm.template(
        {**RULES, **{f"monitoring.prometheusRule.{name}": value for name, value in values.items()}}
    )
    return rendered.one("PrometheusRule", NAME)["spec"]["groups"]


def _alerts(groups):
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_no_monitoring_unless_asked_for(helm):
    rendered = helm.template()
    assert rendered.of("PrometheusRule") == rendered.of("PodMonitor") == []


def test_labels_of_groups_and_nodes_win_over_those_of_pods(helm):
    monitors = helm.template({"monitoring.podMonitor.enabled": True}).of("PodMonitor")
    assert [monitor["metadata"]["name"] for monitor in monitors] == [f"{NAME}-operator", f"{NAME}-balancer"]
    for monitor in monitors:
        assert [endpoint["honorLabels"] for endpoint in monitor["spec"]["podMetricsEndpoints"]] == [True]


def test_the_rules_are_those_of_the_plain_file(helm):
    """Braces in annotations are Prometheus' own, and come through."""
    groups = _groups(helm)
    assert groups == yaml.safe_load((DEPLOY / "rules.yaml").read_text())["groups"]
    assert "{{ $labels.namespace }}" in _alerts(groups)["SwitchtenderNoEligibleNode"]["annotations"]["summary"]


def test_labels_select_the_rules(helm):
    rendered = helm.template({**RULES, "monitoring.prometheusRule.labels": {"release": "prometheus"}})
    assert rendered.one("PrometheusRule", NAME)["metadata"]["labels"]["release"] == "prometheus"


def test_an_alert_is_left_out(helm):
    left = _alerts(_groups(helm, disabledAlerts=["SwitchtenderSessionsLeaked", "SwitchtenderEventsLost"]))
    names = {alert.name for alert in ALERTS}
    assert set(left) == names - {"SwitchtenderSessionsLeaked", "SwitchtenderEventsLost"}


def test_every_threshold_can_be_another_one(helm):
    own = {alert.name: 4711.5 for alert in ALERTS if alert.threshold is not None}
    assert len(own) > 5
    usual, found = _alerts(_groups(helm)), _alerts(_groups(helm, thresholds=own))
    for name in usual:
        assert ("4711.5" in found[name]["expr"]) == (name in own)
        if name not in own:
            assert found[name] == usual[name]


def test_a_threshold_of_zero_is_one(helm):
    assert (
        "> 0\n"
        in _alerts(_groups(helm, thresholds={"SwitchtenderFailoverRate": 0}))["SwitchtenderFailoverRate"]["expr"]
    )


def test_runbooks_are_where_they_are_served(helm):
    for name, rule in _alerts(_groups(helm, runbookBaseUrl="https://wiki.example.com/switchtender/")).items():
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example.com/switchtender/{name}.md"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"disabledAlerts": ["SwitchtenderNodeDwon"]}, "there is no alert SwitchtenderNodeDwon"),
        ({"thresholds": {"SwitchtenderNodeDown": 1}}, "no alert SwitchtenderNodeDown has a threshold; those with one"),
        ({"thresholds": {"SwitchtenderGroupNearCapacity": "85%"}}, "got string, want number"),
    ],
)
def test_a_mistake_is_refused_with_a_word_that_helps(helm, values, message):
    with pytest.raises(HelmError, match=re.escape(message)):
        _groups(helm, **values)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_takes_adjusted_rules(helm, tmp_path):
    file = tmp_path / "rules.yaml"
    own = {alert.name: 0.5 for alert in ALERTS if alert.threshold is not None}
    file.write_text(yaml.safe_dump({"groups": _groups(helm, thresholds=own)}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _dashboards(helm, **values):
    given = {"create": True, **values}
    rendered = helm.template({f"monitoring.grafanaDashboard.{name}": value for name, value in given.items()})
    return [each for each in rendered.of("ConfigMap") if each["metadata"]["name"].endswith("-dashboard")]


def test_no_dashboards_unless_asked_for(helm):
    assert _dashboards(helm, create=False) == []


def test_the_dashboards_are_the_plain_files(helm):
    """Braces in legends are Grafana's own, and come through."""
    found = {name: text for each in _dashboards(helm) for name, text in each["data"].items()}
    plain = {path.name: path.read_text() for path in (DEPLOY / "dashboards").glob("*.json")}
    assert len(plain) == 4
    assert {name: json.loads(text) for name, text in found.items()} == {
        name: json.loads(text) for name, text in plain.items()
    }


def test_the_sidecar_finds_the_dashboards(helm):
    for each in _dashboards(helm):
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
    own = {"namespace": "grafana", "sidecarLabel": "dash", "sidecarLabelValue": "yes"}
    more = {"labels": {"team": "voice"}, "annotations": {"grafana_folder": "Voice"}}
    for each in _dashboards(helm, **own, **more):
        metadata = each["metadata"]
        assert metadata["namespace"] == "grafana"
        assert {"dash": "yes", "team": "voice"}.items() <= metadata["labels"].items()
        assert metadata["annotations"] == {"grafana_folder": "Voice"}
